/* The shared store: leases come from Redis through lease.lua, and each instance keeps a journal.
 *
 * A round: the journal gets what this instance settled and gives what it knows of everybody (one
 * transaction); the script is called for each account, with all of that; the journal gets all of what
 * it answered (another transaction), and only then may a grant be spent. So any survivor can tell a
 * store that lost its memory what was granted to whom. A lease is counted from before the call. */
#include "ledger/store_kinds.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_MS 30000
#define LEASE_MARGIN_MS 2000 /* clocks do not run alike */
#define BEAT_NS (2 * NP_NS_PER_S)
#define SPEAK_MS 5000 /* two beats and a little: after a loss everybody who lives has spoken */
#define KEEP_MS (INT64_C(7) * 24 * 3600 * 1000)
#define ROUND_NS (2 * NP_NS_PER_S)
#define PEERS_MAX 512
#define FIXED_ARGS 17
#define NUMBER 24

struct redis_store;

/* The call of one lease, and what it answered. */
struct asked {
    struct redis_store *store;
    size_t at; /* of the lease in the round */
    struct np_known known;
    struct np_peer *peers; /* NULL: no good answer */
    size_t n_peers;
};

struct redis_store {
    struct np_store store;
    struct np_journal *journal;
    struct np_redis_url url;
    struct np_loop *loop;
    struct np_redis_link *link;
    struct np_timer timeout;
    struct np_round *round; /* under way; NULL: none */
    struct asked *asked;    /* one a lease of the round */
    size_t waiting;         /* answers that have not come */
    bool bad;               /* some answer was none */
    bool told;
    uint64_t began_ns;
    char last_run[48];
    uint64_t
        suspect_ns; /* when the store was met anew: it may have lost something; 0: it was not */
};

extern const unsigned char np_lease_script[];
extern const size_t np_lease_script_bytes;

/* --- the end of a round --------------------------------------------------------------------------- */

static void free_asked(struct redis_store *s)
{
    for (size_t i = 0; s->asked && i < s->round->n; i++) {
        free(s->asked[i].peers);
    }
    free(s->asked);
    s->asked = NULL;
}

/* Whether the lease has an answer, which it then takes over. */
static bool take_answer(struct redis_store *s, struct np_lease *lease, const struct asked *a)
{
    const char *self = np_journal_id(s->journal)->instance;
    lease->others_held = lease->others_settled = 0;
    for (size_t i = 0; i < a->n_peers; i++) {
        const struct np_peer *p = &a->peers[i];
        int64_t leased = p->granted - p->returned;
        if (strcmp(p->instance, self) == 0) {
            lease->granted = p->granted > lease->granted ? p->granted : lease->granted;
            lease->returned = p->returned;
            continue;
        }
        lease->others_held += leased > p->settled ? leased : p->settled;
        lease->others_settled += p->settled;
    }
    lease->until_ns = s->began_ns + LEASE_MS * NP_NS_PER_MS;
    return a->peers != NULL;
}

/* Writes everybody's vectors of one answer. This instance's own classes are written already. */
static enum np_err journal_answer(struct redis_store *s, const struct np_lease *lease,
                                  const struct asked *a)
{
    const char *self = np_journal_id(s->journal)->instance;
    enum np_err err = np_journal_know(s->journal, lease, &a->known);
    for (size_t i = 0; i < a->n_peers && !err; i++) {
        const struct np_peer *p = &a->peers[i];
        struct np_vector v = {.granted = p->granted, .returned = p->returned};
        if (strcmp(p->instance, self) != 0) {
            v.settled[NP_SETTLED_EXACT] = p->settled;
        }
        err = np_journal_put(s->journal, lease, p->instance, &v);
    }
    return err;
}

static bool journal_answers(struct redis_store *s)
{
    struct np_round *round = s->round;
    size_t n = 0;
    for (size_t i = 0; i < round->n; i++) {
        n += s->asked[i].peers != NULL;
    }
    if (n == 0) {
        return true;
    }
    if (np_journal_begin(s->journal)) {
        return false;
    }
    enum np_err err = NP_OK;
    for (size_t i = 0; i < round->n && !err; i++) {
        if (s->asked[i].peers) {
            err = journal_answer(s, &round->leases[i], &s->asked[i]);
        }
    }
    return np_journal_commit(s->journal) == NP_OK;
}

static void end_round(struct redis_store *s)
{
    struct np_round *round = s->round;
    np_timer_stop(np_loop_timers(s->loop), &s->timeout);
    bool good = journal_answers(s);
    for (size_t i = 0; i < round->n && good; i++) {
        round->leases[i].answered = take_answer(s, &round->leases[i], &s->asked[i]);
    }
    round->store_ok = good && !s->bad;
    if (round->store_ok) {
        s->told = false;
    }
    free_asked(s);
    s->round = NULL;
    round->done(round->ctx, round);
}

static void fail_round(struct redis_store *s, const char *why)
{
    if (!s->told) {
        np_log(NP_LOG_ERROR, "Redis does not answer as it must", NP_KVS("host", s->url.host),
               NP_KVI("port", s->url.port), NP_KVS("error", why));
    }
    s->told = true;
    s->bad = true;
}

/* --- answers -------------------------------------------------------------------------------------- */

static bool read_i64(const char *text, int64_t *out)
{
    unsigned long long n;
    if (!np_span_to_u64(np_span_of(text), &n) || n > INT64_MAX) {
        return false;
    }
    *out = (int64_t)n;
    return true;
}

/* Reads the vectors that follow the first six texts. */
static bool read_peers(struct asked *a, const char *const *texts, size_t n)
{
    a->n_peers = n / 4;
    a->peers = n % 4 == 0 ? calloc(a->n_peers + 1, sizeof *a->peers) : NULL;
    bool good = a->peers != NULL;
    for (size_t i = 0; i < a->n_peers && good; i++) {
        struct np_peer *p = &a->peers[i];
        const char *const *t = &texts[i * 4];
        (void)snprintf(p->instance, sizeof p->instance, "%s", t[0]);
        good = read_i64(t[1], &p->granted) && read_i64(t[2], &p->returned) &&
               read_i64(t[3], &p->settled);
    }
    if (!good) {
        free(a->peers);
        a->peers = NULL;
        a->n_peers = 0;
    }
    return good;
}

static bool read_answer(struct redis_store *s, struct asked *a, const struct np_redis_answer *r)
{
    int64_t now_ms;
    struct np_known known = {0};
    if (r->n < 6 || !read_i64(r->texts[2], &known.seq) || !read_i64(r->texts[3], &now_ms) ||
        !read_peers(a, r->texts + 6, r->n - 6)) {
        return false;
    }
    (void)snprintf(known.epoch, sizeof known.epoch, "%s", r->texts[1]);
    if (a->known.epoch[0] && strcmp(a->known.epoch, known.epoch) != 0) {
        s->round->epochs++;
        /* It may have forgotten accounts too that this instance has not asked for yet. */
        s->suspect_ns = np_clock_mono_ns(&np_clock_live);
    }
    a->known = known;
    s->round->store_ms = now_ms;
    s->round->mono_ns = np_clock_mono_ns(&np_clock_live);
    return true;
}

static void on_answer(void *ctx, const struct np_redis_answer *r)
{
    struct asked *a = ctx;
    struct redis_store *s = a->store;
    /* A script that is not there is loaded by the link, and who waits asks again. */
    if (!r->texts && strncmp(r->error, "NOSCRIPT", 8) != 0) {
        fail_round(s, r->error);
    } else if (r->texts && r->n > 0 && strcmp(r->texts[0], "ok") != 0) {
        fail_round(s, "another neap goes on with this instance's journal: each needs a --state "
                      "folder of its own, not a copy");
    } else if (r->texts && !read_answer(s, a, r)) {
        fail_round(s, "an answer that is none of the lease script");
    }
    np_require(s->waiting > 0);
    if (--s->waiting == 0) {
        end_round(s);
    }
}

/* --- asking --------------------------------------------------------------------------------------- */

struct args {
    const char *texts[FIXED_ARGS + 4 * PEERS_MAX];
    char numbers[FIXED_ARGS + 3 * PEERS_MAX][NUMBER];
    size_t n, n_numbers;
};

static void add_text(struct args *a, const char *text)
{
    a->texts[a->n++] = text;
}

static void add_number(struct args *a, int64_t n)
{
    char *text = a->numbers[a->n_numbers++];
    (void)snprintf(text, NUMBER, "%lld", (long long)n);
    add_text(a, text);
}

/* How long ago the store may have lost what it knew; -1: everybody who lives has spoken since. */
static int64_t lost_ago_ms(const struct redis_store *s)
{
    uint64_t ago_ns = np_clock_mono_ns(&np_clock_live) - s->suspect_ns;
    return s->suspect_ns > 0 && ago_ns < SPEAK_MS * NP_NS_PER_MS ? (int64_t)(ago_ns / NP_NS_PER_MS)
                                                                 : -1;
}

static bool call(struct redis_store *s, struct args *args, const struct np_lease *lease,
                 struct asked *a)
{
    const struct np_journal_id *id = np_journal_id(s->journal);
    char key[NP_ACCOUNT_TEXT + 48], fresh[17];
    uint8_t bytes[8];
    np_random_bytes(bytes, sizeof bytes);
    np_hex(bytes, sizeof bytes, fresh);
    (void)snprintf(key, sizeof key, "neap:{%s/%lld}", lease->account, (long long)lease->start_ms);
    args->n = args->n_numbers = 0;
    add_text(args, id->instance);
    add_number(args, id->boot);
    add_text(args, id->nonce);
    add_text(args, np_redis_link_run(s->link));
    add_text(args, a->known.epoch);
    add_number(args, a->known.seq);
    add_text(args, fresh);
    add_number(args, lease->limit);
    add_number(args, lease->need);
    add_number(args, lease->want);
    add_number(args, lease->start_ms);
    if (lease->end_ms == INT64_MAX) {
        add_text(args, "");
    } else {
        add_number(args, lease->end_ms);
    }
    add_number(args, LEASE_MS + LEASE_MARGIN_MS);
    add_number(args, SPEAK_MS);
    add_number(args, KEEP_MS);
    add_number(args, lost_ago_ms(s));
    add_number(args, (int64_t)a->n_peers);
    for (size_t i = 0; i < a->n_peers; i++) {
        add_text(args, a->peers[i].instance);
        add_number(args, a->peers[i].granted);
        add_number(args, a->peers[i].returned);
        add_number(args, a->peers[i].settled);
    }
    return np_redis_link_call(s->link, key, args->texts, args->n, on_answer, a);
}

/* Calls the script for every lease. */
static void ask_all(struct redis_store *s)
{
    struct np_round *round = s->round;
    struct args *args = malloc(sizeof *args);
    s->waiting = 1; /* this loop's own */
    for (size_t i = 0; i < round->n && args; i++) {
        struct asked *a = &s->asked[i];
        s->waiting++;
        bool sent = call(s, args, &round->leases[i], a);
        free(a->peers);
        a->peers = NULL;
        a->n_peers = 0;
        if (!sent) {
            s->waiting--;
            fail_round(s, "a call can't be sent");
        }
    }
    if (!args) {
        fail_round(s, "no memory");
    }
    free(args);
    if (--s->waiting == 0) {
        end_round(s);
    }
}

/* What this instance knows, for one lease: its own vector is written, everybody's is read. */
static enum np_err journal_lease(struct redis_store *s, struct np_lease *lease, struct asked *a)
{
    struct np_journal *j = s->journal;
    *a = (struct asked){.store = s, .at = (size_t)(lease - s->round->leases)};
    a->peers = calloc(PEERS_MAX, sizeof *a->peers);
    enum np_err err = a->peers ? np_journal_own(j, lease) : NP_E_NOMEM;
    struct np_vector v = lease->own;
    v.granted = lease->granted;
    err = err ? err : np_journal_put(j, lease, np_journal_id(j)->instance, &v);
    err = err ? err
              : np_journal_others(j, lease->account, lease->start_ms, &lease->others_held,
                                  &lease->others_settled);
    err = err ? err : np_journal_known(j, lease->account, lease->start_ms, &a->known);
    return err ? err
               : np_journal_peers(j, lease->account, lease->start_ms, a->peers, PEERS_MAX,
                                  &a->n_peers);
}

static bool journal_round(struct redis_store *s)
{
    struct np_round *round = s->round;
    if (np_journal_begin(s->journal)) {
        return false;
    }
    enum np_err err = np_journal_rows(s->journal, round->rows);
    for (size_t i = 0; i < round->n && !err; i++) {
        err = journal_lease(s, &round->leases[i], &s->asked[i]);
    }
    bool good = np_journal_commit(s->journal) == NP_OK && !err;
    for (size_t i = 0; i < round->n; i++) {
        round->leases[i].durable = good;
    }
    round->rows_durable = good;
    return good;
}

static void ask_round(struct np_store *store, struct np_round *round)
{
    struct redis_store *s = (struct redis_store *)store;
    s->round = round;
    s->bad = false;
    s->began_ns = np_clock_mono_ns(&np_clock_live);
    s->asked = calloc(round->n + 1, sizeof *s->asked);
    if (!s->asked || !journal_round(s)) {
        s->bad = true;
        free_asked(s);
        s->asked = calloc(round->n + 1, sizeof *s->asked);
        np_require(s->asked);
        end_round(s);
        return;
    }
    np_timer_set(np_loop_timers(s->loop), &s->timeout, s->began_ns + ROUND_NS);
    if (np_redis_link_ready(s->link)) {
        ask_all(s);
    } else {
        np_redis_link_open(s->link);
    }
}

/* --- the link's news ------------------------------------------------------------------------------ */

static void on_ready(void *ctx)
{
    struct redis_store *s = ctx;
    const char *run = np_redis_link_run(s->link);
    /* Another server than before may have lost its memory, and so may a young one that is met by an
     * instance that is not new itself. */
    bool young = np_redis_link_uptime_ms(s->link) < LEASE_MS + LEASE_MARGIN_MS;
    bool first = s->last_run[0] == '\0';
    if (first ? young && np_journal_id(s->journal)->boot > 1 : strcmp(run, s->last_run) != 0) {
        s->suspect_ns = np_clock_mono_ns(&np_clock_live);
    }
    (void)snprintf(s->last_run, sizeof s->last_run, "%s", run);
    if (s->round && s->waiting == 0) {
        ask_all(s);
    }
}

static void on_lost(void *ctx, const char *why)
{
    struct redis_store *s = ctx;
    if (!s->round) {
        return;
    }
    fail_round(s, why);
    if (s->waiting == 0) {
        end_round(s);
    }
}

static void on_timeout(void *ctx, uint64_t now_ns)
{
    struct redis_store *s = ctx;
    (void)now_ns;
    fail_round(s, "no answer in time");
    /* What is under way hears of it here, and ends the round. */
    np_redis_link_drop(s->link);
    if (s->round && s->waiting == 0) {
        end_round(s);
    }
}

/* --- life ----------------------------------------------------------------------------------------- */

static enum np_err attach(struct np_store *store, struct np_loop *loop)
{
    struct redis_store *s = (struct redis_store *)store;
    s->loop = loop;
    s->link = np_redis_link_new(loop, &s->url, (const char *)np_lease_script, np_lease_script_bytes,
                                &(struct np_redis_ops){.ready = on_ready, .lost = on_lost}, s);
    return s->link ? NP_OK : NP_E_NOMEM;
}

static void detach(struct np_store *store)
{
    struct redis_store *s = (struct redis_store *)store;
    if (s->round) {
        np_timer_stop(np_loop_timers(s->loop), &s->timeout);
        np_redis_link_drop(s->link);
        s->bad = true;
        if (s->round) {
            end_round(s);
        }
    }
    np_redis_link_free(s->link);
    s->link = NULL;
}

static bool prune(struct np_store *store, int64_t before_ms)
{
    return np_journal_prune(((struct redis_store *)store)->journal, before_ms);
}

static void release(struct np_store *store)
{
    struct redis_store *s = (struct redis_store *)store;
    np_require(!s->link);
    np_journal_free(s->journal);
    free(s);
}

static const struct np_store_ops ops = {.name = "redis:",
                                        .round = ask_round,
                                        .attach = attach,
                                        .detach = detach,
                                        .prune = prune,
                                        .free = release,
                                        .beat_ns = BEAT_NS};

struct np_store *np_store_redis_new(struct np_journal *journal, const struct np_redis_url *url)
{
    struct redis_store *s = calloc(1, sizeof *s);
    if (!s) {
        np_journal_free(journal);
        return NULL;
    }
    s->store.ops = &ops;
    s->journal = journal;
    s->url = *url;
    np_timer_init(&s->timeout, on_timeout, s);
    return &s->store;
}
