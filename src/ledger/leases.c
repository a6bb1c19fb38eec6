/* Leases: what an instance holds of an account, how much it asks for, and when. All of it is
 * arithmetic on records, under the ledger's lock; the asking itself is the store's.
 *
 * A chunk is what two seconds of late have taken, at least the largest attempt, at most a twentieth
 * of the limit; the store lowers it to half of what is left for each live instance. More is asked
 * for when less than half a chunk is free, so that the way of a request seldom meets an empty
 * account. */
#include "ledger/ledger_impl.h"

#include <stdlib.h>

#define CHUNK_S 2
#define RATE_MS 1000
/* A window that ended so long ago is forgotten although the store was not told its last. */
#define FORGET_MS 60000
/* What the others have spent is asked for so long after the last call, where somebody looks. */
#define SEEN_MS 300000
/* Free money of an account that nobody touched for this long goes back. */
#define IDLE_MS 5000
/* A limit that only the others' free money stands before is asked about anew after this long. */
#define ASK_AGAIN_NS (NP_NS_PER_S / 2)

static void check(const struct np_record *r)
{
    np_require(r->v.granted - r->v.returned == np_vector_settled(&r->v) + r->reserved + r->free);
    np_require(r->reserved >= 0);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool immediate(const struct np_ledger *l)
{
    return l->store->ops->immediate;
}

int64_t np_lease_left(const struct np_record *r, int64_t limit)
{
    int64_t used = np_vector_settled(&r->v) + r->reserved;
    int64_t left = limit - r->others_held;
    return left > used ? left - used : 0;
}

bool np_lease_clean(const struct np_ledger *l, const struct np_record *r)
{
    if (immediate(l)) {
        return true;
    }
    if (r->asking || r->listed || (r->opened && r->free > 0)) {
        return false;
    }
    /* Long after its end the journal's word is enough. */
    return !r->dirty || (r->written && l->wall_ms >= r->end_ms + FORGET_MS);
}

/* --- how much ------------------------------------------------------------------------------------- */

/* Counts what was taken, by seconds of the ledger's time. */
static void count_rate(const struct np_ledger *l, struct np_record *r, int64_t amount)
{
    int64_t since_ms = l->wall_ms - r->rate_ms;
    if (since_ms >= RATE_MS) {
        r->rate_last = since_ms < 2 * RATE_MS ? r->rate_sum : 0;
        r->rate_sum = 0;
        r->rate_ms = l->wall_ms;
    }
    r->rate_sum = least(r->rate_sum + amount, NP_SPENT_MAX);
    r->largest = most(r->largest, amount);
    r->touched_ms = l->wall_ms;
}

/* Whether anybody wants money of it these days. */
static bool busy(const struct np_ledger *l, const struct np_record *r)
{
    return !l->closing && l->wall_ms < r->end_ms && l->wall_ms - r->touched_ms < CHUNK_S * RATE_MS;
}

static int64_t chunk_of(const struct np_record *r)
{
    int64_t rate = most(r->rate_last, r->rate_sum);
    return most(least(CHUNK_S * rate, r->limit / 20), r->largest);
}

int64_t np_store_grant(int64_t left, int64_t need, int64_t want, int64_t instances)
{
    np_require(need >= 0 && want >= need && instances >= 1);
    int64_t share = most(left, 0) / 2 / instances;
    return least(most(left, 0), most(need, least(want, share)));
}

/* --- giving back ---------------------------------------------------------------------------------- */

static void give_back(struct np_ledger *l, uint32_t number, int64_t amount)
{
    struct np_record *r = np_record_at(l, number);
    np_require(amount >= 0 && amount <= r->free);
    if (amount == 0) {
        return;
    }
    r->free -= amount;
    r->v.returned += amount;
    r->dirty = true;
    r->written = false;
    check(r);
    np_record_list(l, number);
    np_thread_kick(l->thread, false);
}

/* What is free above the limit goes back. A limit may have been lowered while a grant was on its way,
 * or a call that now gives money back was open. */
static void trim(struct np_ledger *l, uint32_t number)
{
    struct np_record *r = np_record_at(l, number);
    int64_t room = np_lease_left(r, r->limit);
    if (r->free > room) {
        give_back(l, number, r->free - room);
    }
}

void np_lease_limit(struct np_ledger *l, uint32_t number, int64_t limit)
{
    struct np_record *r = np_record_at(l, number);
    int64_t was = r->limit;
    r->limit = limit;
    if (limit < was) {
        trim(l, number);
    }
}

void np_lease_tend(struct np_ledger *l, uint32_t number, uint64_t beat_ns, bool all)
{
    struct np_record *r = np_record_at(l, number);
    if (!r->current && np_lease_clean(l, r)) {
        return;
    }
    bool idle = l->wall_ms >= r->end_ms || l->wall_ms - r->touched_ms >= IDLE_MS;
    if ((idle || all) && r->opened && r->free > 0) {
        give_back(l, number, r->free);
    }
    bool holds = r->free > 0 || r->open > 0;
    bool seen = r->looked && l->wall_ms - r->touched_ms < SEEN_MS;
    if (beat_ns > 0 && r->opened && (holds || seen) &&
        np_clock_mono_ns(l->clock) - r->answered_ns >= beat_ns) {
        np_record_list(l, number);
        r->looked = false;
    }
    if (r->dirty) {
        np_record_list(l, number);
    }
}

/* --- asking --------------------------------------------------------------------------------------- */

void np_lease_ask(struct np_ledger *l, uint32_t number, struct np_lease *out)
{
    struct np_record *r = np_record_at(l, number);
    int64_t need = !l->closing && l->wall_ms < r->end_ms ? r->need : 0;
    int64_t want = need;
    if (busy(l, r) && !immediate(l)) {
        want = most(need, chunk_of(r) - most(r->free, 0));
    }
    r->need = 0;
    r->dirty = false;
    r->asking = true;
    *out = (struct np_lease){.record = number,
                             .start_ms = r->start_ms,
                             .end_ms = r->end_ms,
                             .limit = r->limit,
                             .need = need,
                             .want = want,
                             .opened = r->opened,
                             .own = r->v,
                             .until_ns = UINT64_MAX};
    memcpy(out->account, r->account, sizeof out->account);
}

static void adopt(struct np_record *r, const struct np_vector *base)
{
    np_vector_add(&r->v, base);
    r->free += base->granted - base->returned - np_vector_settled(base);
}

void np_lease_answer(struct np_ledger *l, const struct np_lease *lease)
{
    struct np_record *r = np_record_at(l, lease->record);
    np_require(r->asking);
    r->asking = false;
    r->written = lease->durable && !r->dirty;
    r->dirty = r->dirty || !lease->durable || !lease->answered;
    if (!r->opened && (lease->answered || lease->durable)) {
        adopt(r, &lease->base);
        r->opened = true;
        r->others_held = lease->others_held;
        r->others_settled = lease->others_settled;
    }
    if (lease->answered) {
        if (lease->granted > r->v.granted) {
            r->free += lease->granted - r->v.granted;
            r->v.granted = lease->granted;
        }
        if (lease->returned > lease->own.returned) {
            r->free -= lease->returned - lease->own.returned;
            r->v.returned += lease->returned - lease->own.returned;
        }
        r->others_held = lease->others_held;
        r->others_settled = lease->others_settled;
        r->until_ns = lease->until_ns;
        r->answered_ns = np_clock_mono_ns(l->clock);
        trim(l, lease->record);
    }
    check(r);
    np_record_drop(l, lease->record);
}

static void ask(struct np_ledger *l, uint32_t number, int64_t amount)
{
    struct np_record *r = np_record_at(l, number);
    r->need = least(r->need + amount, r->limit);
    if (!immediate(l)) {
        np_record_list(l, number);
        np_thread_kick(l->thread, true);
        return;
    }
    struct np_lease lease;
    np_lease_ask(l, number, &lease);
    struct np_round round = {.leases = &lease, .n = 1};
    l->store->ops->round(l->store, &round);
    np_lease_answer(l, &lease);
}

/* Without the store: this instance's part of what it knows to be left, on its own word. */
static bool take_share(struct np_ledger *l, struct np_record *r, int64_t amount)
{
    if (l->share == 0 || !r->opened) {
        return false;
    }
    int64_t own = np_vector_held(&r->v);
    int64_t may = least(r->limit / (int64_t)l->share, r->limit - r->others_held) - own;
    int64_t lacks = amount - r->free;
    if (lacks > may) {
        return false;
    }
    r->v.granted += lacks;
    r->free += lacks;
    r->until_ns = UINT64_MAX;
    r->dirty = true;
    r->written = false;
    check(r);
    return true;
}

/* Whether the limit itself stands before amount; false while only what others hold unspent does, and
 * that was not asked about of late. */
static bool walled(const struct np_record *r, int64_t amount, uint64_t now_ns)
{
    int64_t left = np_lease_left(r, r->limit);
    if (!r->opened || left >= amount) {
        return false;
    }
    int64_t others_free = r->others_held - r->others_settled;
    bool stale = now_ns - r->answered_ns > ASK_AGAIN_NS;
    return others_free <= 0 || !stale || left + others_free < amount;
}

static bool has(const struct np_record *r, int64_t amount, uint64_t now_ns)
{
    return r->opened && now_ns < r->until_ns && r->free >= amount;
}

enum np_err np_lease_cover(struct np_ledger *l, uint32_t number, int64_t amount)
{
    struct np_record *r = np_record_at(l, number);
    uint64_t now_ns = np_clock_mono_ns(l->clock);
    if (!walled(r, amount, now_ns) && !has(r, amount, now_ns)) {
        bool held = r->opened && now_ns < r->until_ns;
        ask(l, number, held ? amount - r->free : amount);
    }
    if (walled(r, amount, now_ns)) {
        return NP_E_REFUSED;
    }
    if (has(r, amount, now_ns)) {
        return NP_OK;
    }
    if (np_ledger_store_up(l)) {
        atomic_store_explicit(&l->waited, true, memory_order_relaxed);
        return NP_E_BUSY;
    }
    return take_share(l, r, amount) ? NP_OK : NP_E_CLOSED;
}

/* --- taking and settling -------------------------------------------------------------------------- */

void np_lease_take(struct np_ledger *l, uint32_t number, int64_t amount)
{
    struct np_record *r = np_record_at(l, number);
    np_require(amount >= 0 && (amount == 0 || r->free >= amount));
    r->free -= amount;
    r->reserved += amount;
    r->open++;
    count_rate(l, r, amount);
    check(r);
    if (!immediate(l) && r->opened && r->free < chunk_of(r) / 2 &&
        r->free < np_lease_left(r, r->limit)) {
        np_record_list(l, number);
        np_thread_kick(l->thread, true);
    }
}

void np_lease_settle(struct np_ledger *l, uint32_t number, int64_t amount, enum np_settled class,
                     int64_t cost)
{
    struct np_record *r = np_record_at(l, number);
    np_require(r->open > 0 && r->reserved >= amount);
    cost = least(cost, NP_SPENT_MAX - np_vector_settled(&r->v));
    r->open--;
    r->reserved -= amount;
    r->free += amount - cost;
    r->v.settled[class] += cost;
    check(r);
    if (cost > 0) {
        r->dirty = true;
        r->written = false;
        np_record_list(l, number);
        np_thread_kick(l->thread, false);
    }
    if (r->opened) {
        trim(l, number);
    }
    np_record_drop(l, number);
}
