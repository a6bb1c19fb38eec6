/* The thread that talks to the store: one round at a time, each with all that has gathered. Workers
 * kick it; what is urgent begins a round at once, settlements wait a little for others. Grants, and
 * what became of the store, go back into the records under the short lock; listeners hear last. */
#include "ledger/ledger_impl.h"

#include "base/log.h"
#include "base/loop.h"

#include <signal.h>
#include <stdlib.h>

#define GATHER_NS (20 * NP_NS_PER_MS)
#define TICK_NS (NP_NS_PER_S / 2)
#define LEASES_A_ROUND 1024
#define CLOCK_JUMP_MS 5000
#define LAST_WORDS_NS (3 * NP_NS_PER_S)
/* Windows that ended and settlements are kept this long. */
#define KEPT_MS (INT64_C(8) * 24 * 3600 * 1000)
#define PRUNE_EVERY_NS (60 * NP_NS_PER_S)

enum kick { KICK_NONE, KICK_SOON, KICK_NOW };

struct np_thread {
    struct np_ledger *ledger;
    struct np_loop *loop;
    pthread_t thread;
    struct np_timer tick, soon;
    _Atomic int kicked; /* enum kick; what was posted and not heard yet */
    bool urgent;        /* somebody waits for the next round */
    bool asking;        /* a round is under way */
    struct np_round round;
    struct np_lease *leases; /* LEASES_A_ROUND */
    struct np_rows rows;     /* those of the round; kept until they are durable */
    int64_t last_wall_ms;
    uint64_t last_mono_ns, pruned_ns;
};

static uint64_t now_ns(const struct np_thread *t)
{
    return np_clock_mono_ns(t->ledger->clock);
}

/* --- rounds --------------------------------------------------------------------------------------- */

/* Takes from the list what is in it, and the settlements. */
static void gather(struct np_thread *t)
{
    struct np_ledger *l = t->ledger;
    size_t n = 0;
    pthread_mutex_lock(&l->lock);
    while (l->first_listed != NP_LEDGER_NONE && n < LEASES_A_ROUND) {
        uint32_t number = l->first_listed;
        struct np_record *r = np_record_at(l, number);
        l->first_listed = r->next_listed;
        r->listed = false;
        np_lease_ask(l, number, &t->leases[n++]);
    }
    if (np_rows_empty(&t->rows)) {
        np_rows_move(&t->rows, &l->rows);
    }
    pthread_mutex_unlock(&l->lock);
    t->round = (struct np_round){
        .leases = t->leases, .n = n, .rows = &t->rows, .done = t->round.done, .ctx = t};
}

static bool more_waits(struct np_ledger *l)
{
    pthread_mutex_lock(&l->lock);
    bool more = l->first_listed != NP_LEDGER_NONE || !np_rows_empty(&l->rows);
    pthread_mutex_unlock(&l->lock);
    return more;
}

static void begin(struct np_thread *t)
{
    struct np_ledger *l = t->ledger;
    if (t->asking) {
        return;
    }
    t->urgent = false;
    np_timer_stop(np_loop_timers(t->loop), &t->soon);
    gather(t);
    bool up = atomic_load_explicit(&l->store_up, memory_order_relaxed);
    if (t->round.n == 0 && np_rows_empty(&t->rows) && up) {
        return;
    }
    t->asking = true;
    atomic_store_explicit(&l->asked_ns, now_ns(t), memory_order_relaxed);
    l->store->ops->round(l->store, &t->round);
}

static void tell(struct np_ledger *l)
{
    pthread_mutex_lock(&l->news);
    for (struct np_ledger_listener *at = l->listeners; at; at = at->next) {
        at->heard(at->ctx);
    }
    pthread_mutex_unlock(&l->news);
}

static void note_store(struct np_thread *t, bool ok)
{
    struct np_ledger *l = t->ledger;
    bool was = atomic_exchange(&l->store_up, ok);
    if (was && !ok) {
        np_log(NP_LOG_ERROR, "the ledger's store can't be reached; what is leased is spent",
               NP_KVS("store", l->store_name));
    } else if (!was && ok) {
        np_log(NP_LOG_INFO, "the ledger's store can be reached again",
               NP_KVS("store", l->store_name));
    }
}

static void note_epochs(struct np_ledger *l, const struct np_round *round)
{
    if (round->epochs > 0) {
        atomic_fetch_add(&l->epoch_changes, round->epochs);
        np_log(NP_LOG_WARN,
               "the ledger's store began anew or went back; it is told what was granted",
               NP_KVS("store", l->store_name), NP_KVI("accounts", round->epochs));
    }
}

/* The store's clock decides windows. Under the lock. */
static void note_time(struct np_ledger *l, const struct np_round *round)
{
    if (round->store_ms == 0) {
        return;
    }
    if (l->store_ms == 0) {
        np_records_begin(l, round->store_ms);
    } else {
        uint64_t since_ns = round->mono_ns - l->store_ns;
        int64_t off = round->store_ms - l->store_ms - (int64_t)(since_ns / NP_NS_PER_MS);
        if (off > CLOCK_JUMP_MS || off < -CLOCK_JUMP_MS) {
            atomic_fetch_add(&l->clock_jumps, 1);
        }
    }
    l->store_ms = round->store_ms;
    l->store_ns = round->mono_ns;
}

static void round_done(void *ctx, struct np_round *round)
{
    struct np_thread *t = ctx;
    struct np_ledger *l = t->ledger;
    np_require(t->asking);
    atomic_store_explicit(&l->asked_ns, 0, memory_order_relaxed);
    if (round->rows_durable) {
        np_rows_free(&t->rows);
    }
    note_epochs(l, round);
    pthread_mutex_lock(&l->lock);
    note_time(l, round);
    for (size_t i = 0; i < round->n; i++) {
        np_lease_answer(l, &round->leases[i]);
    }
    pthread_mutex_unlock(&l->lock);
    t->asking = false;
    note_store(t, round->store_ok);
    if (atomic_exchange(&l->waited, false)) {
        tell(l);
    }
    if (round->store_ok && more_waits(l)) {
        np_timer_set(np_loop_timers(t->loop), &t->soon,
                     t->urgent ? now_ns(t) : now_ns(t) + GATHER_NS);
    }
}

/* --- when ----------------------------------------------------------------------------------------- */

static void on_soon(void *ctx, uint64_t at_ns)
{
    (void)at_ns;
    begin(ctx);
}

/* On the loop: a worker kicked. */
static void on_kick(void *ctx)
{
    struct np_thread *t = ctx;
    t->urgent = atomic_exchange(&t->kicked, KICK_NONE) == KICK_NOW || t->urgent;
    if (t->asking || !atomic_load(&t->ledger->store_up)) {
        return; /* the end of the round, or the next tick, looks again */
    }
    if (t->urgent) {
        begin(t);
    } else if (t->soon.slot == 0) {
        np_timer_set(np_loop_timers(t->loop), &t->soon, now_ns(t) + GATHER_NS);
    }
}

void np_thread_kick(struct np_thread *t, bool at_once)
{
    int how = at_once ? KICK_NOW : KICK_SOON;
    if (!t || atomic_load_explicit(&t->kicked, memory_order_relaxed) >= how) {
        return;
    }
    int was = atomic_exchange(&t->kicked, how);
    if (was > how) {
        atomic_store(&t->kicked, was);
    } else if (np_loop_post(t->loop, on_kick, t) != NP_OK) {
        atomic_store(&t->kicked, KICK_NONE);
    }
}

/* Looks after every record, some of them at a time. */
static void tend_all(struct np_thread *t, bool all)
{
    struct np_ledger *l = t->ledger;
    for (uint32_t i = 0, made = 1; i < made;) {
        pthread_mutex_lock(&l->lock);
        np_records_time(l, np_clock_wall_ms(l->clock));
        made = l->made;
        for (uint32_t end = i + NP_LEDGER_CHUNK; i < end && i < made; i++) {
            np_lease_tend(l, i, l->store->ops->beat_ns, all);
        }
        pthread_mutex_unlock(&l->lock);
    }
}

static void watch_clock(struct np_thread *t)
{
    int64_t wall_ms = np_clock_wall_ms(t->ledger->clock);
    uint64_t mono_ns = now_ns(t);
    int64_t expected = t->last_wall_ms + (int64_t)((mono_ns - t->last_mono_ns) / NP_NS_PER_MS);
    int64_t off = wall_ms - expected;
    if (t->last_mono_ns > 0 && (off > CLOCK_JUMP_MS || off < -CLOCK_JUMP_MS)) {
        atomic_fetch_add(&t->ledger->clock_jumps, 1);
        np_log(NP_LOG_WARN, "the clock jumped; budget windows only go forward",
               NP_KVI("by_ms", off));
    }
    t->last_wall_ms = wall_ms;
    t->last_mono_ns = mono_ns;
}

static void on_tick(void *ctx, uint64_t at_ns)
{
    struct np_thread *t = ctx;
    struct np_store *s = t->ledger->store;
    watch_clock(t);
    tend_all(t, false);
    begin(t);
    if (!t->asking && s->ops->prune && at_ns - t->pruned_ns >= PRUNE_EVERY_NS &&
        atomic_load(&t->ledger->store_up)) {
        bool more = s->ops->prune(s, np_clock_wall_ms(t->ledger->clock) - KEPT_MS);
        t->pruned_ns = more ? t->pruned_ns : at_ns;
    }
    np_timer_set(np_loop_timers(t->loop), &t->tick, np_loop_refresh_ns(t->loop) + TICK_NS);
}

/* --- life ----------------------------------------------------------------------------------------- */

static void *thread_main(void *arg)
{
    struct np_thread *t = arg;
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    np_loop_run(t->loop);
    return NULL;
}

enum np_err np_thread_start(struct np_ledger *l)
{
    struct np_thread *t = calloc(1, sizeof *t);
    if (!t) {
        return NP_E_NOMEM;
    }
    t->ledger = l;
    t->round.done = round_done;
    t->leases = calloc(LEASES_A_ROUND, sizeof *t->leases);
    t->loop = np_loop_new(l->clock);
    if (!t->leases || !t->loop) {
        goto free_parts;
    }
    if (l->store->ops->attach && l->store->ops->attach(l->store, t->loop) != NP_OK) {
        goto free_parts;
    }
    np_timer_init(&t->tick, on_tick, t);
    np_timer_init(&t->soon, on_soon, t);
    np_timer_set(np_loop_timers(t->loop), &t->tick, now_ns(t));
    l->thread = t;
    if (pthread_create(&t->thread, NULL, thread_main, t) != 0) {
        goto detach;
    }
    return NP_OK;

detach:
    if (l->store->ops->detach) {
        l->store->ops->detach(l->store);
    }
free_parts:
    l->thread = NULL;
    if (t->loop) {
        np_loop_free(t->loop);
    }
    free(t->leases);
    free(t);
    return NP_E_NOMEM;
}

/* Everything goes back and is written, as long as the store answers. */
static void last_words(struct np_thread *t)
{
    uint64_t until_ns = now_ns(t) + LAST_WORDS_NS;
    t->ledger->closing = true;
    tend_all(t, true);
    for (;;) {
        begin(t);
        while (t->asking && now_ns(t) < until_ns) {
            np_loop_turn(t->loop, NP_NS_PER_S / 100);
        }
        tend_all(t, true); /* what a round that was thought lost had granted */
        bool more = more_waits(t->ledger) || !np_rows_empty(&t->rows);
        if (t->asking || !more || now_ns(t) >= until_ns || !atomic_load(&t->ledger->store_up)) {
            break;
        }
    }
    if (t->asking || more_waits(t->ledger) || !np_rows_empty(&t->rows)) {
        np_log(NP_LOG_WARN,
               "the ledger ends with money that its store has not heard of: it counts "
               "as spent",
               NP_KVS("store", t->ledger->store_name));
    }
}

void np_thread_free(struct np_thread *t)
{
    if (!t) {
        return;
    }
    np_loop_stop(t->loop);
    (void)pthread_join(t->thread, NULL);
    last_words(t);
    if (t->ledger->store->ops->detach) {
        t->ledger->store->ops->detach(t->ledger->store);
    }
    np_loop_free(t->loop);
    np_rows_free(&t->rows);
    free(t->leases);
    free(t);
}
