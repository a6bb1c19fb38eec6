/* The breakers. A pair is closed until `failures` calls in a row failed, or `rate` of at least
 * min_calls calls in the window; then open for open_ms, or for the longest Retry-After that the row
 * of failures brought if that is longer; then half open: one probe at a time. Two good probes close
 * it, a failing one opens it anew. Calls that began before it opened change nothing when they end,
 * but a longer Retry-After of theirs keeps it open.
 *
 * The rate is looked at whenever a call that counts ends, a good one too. Closed and without a
 * failure in the window, asking is one atomic load and a good report one compare-and-swap; open,
 * asking is two loads.
 *
 * A cell is a tenth of the window in one word: its number since the start of time (32 bits), calls
 * (16), failed ones (16); when calls are full both are halved, which keeps their share. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#define GOOD_PROBES 2
/* What is told to wait while a probe is under way: nobody knows when it ends. */
#define PROBE_WAIT_NS NP_NS_PER_S
#define CELL_MAX 65535U

const char *np_breaker_state_name(enum np_breaker_state s)
{
    static const char *const names[] = {"closed", "half_open", "open"};
    np_require((unsigned)s <= NP_BREAKER_OPEN);
    return names[s];
}

static struct np_breaker *breaker_of(struct np_guard *g, const struct np_model *m)
{
    np_require(m->slot < NP_MAX_PAIRS);
    return &g->breaker[m->slot];
}

static enum np_breaker_state state_of(const struct np_breaker *b)
{
    return (enum np_breaker_state)atomic_load_explicit(&b->state, memory_order_acquire);
}

static uint64_t until_of(const struct np_breaker *b)
{
    return atomic_load_explicit(&b->until_ns, memory_order_relaxed);
}

/* --- the window -------------------------------------------------------------------------------- */

static uint32_t epoch_of(uint32_t window_ms, uint64_t now_ns)
{
    uint64_t cell_ns = (uint64_t)(window_ms ? window_ms : 1) * NP_NS_PER_MS / NP_BREAKER_CELLS;
    return (uint32_t)(now_ns / cell_ns);
}

static uint64_t cell_make(uint32_t epoch, uint32_t calls, uint32_t failed)
{
    return (uint64_t)epoch << 32 | (uint64_t)calls << 16 | failed;
}

static uint32_t cell_calls(uint64_t cell)
{
    return (uint32_t)(cell >> 16) & CELL_MAX;
}

static uint32_t cell_failed(uint64_t cell)
{
    return (uint32_t)cell & CELL_MAX;
}

/* Adds one call at a time. A caller whose clock lags by more than the window is not counted. */
static void window_add(struct np_breaker *b, uint32_t epoch, bool failed)
{
    _Atomic uint64_t *at = &b->cell[epoch % NP_BREAKER_CELLS];
    uint64_t old = atomic_load_explicit(at, memory_order_relaxed);
    uint64_t new;
    do {
        uint32_t calls = cell_calls(old), bad = cell_failed(old);
        int32_t age = (int32_t)(epoch - (uint32_t)(old >> 32));
        if (age < 0 && age > -1000 && calls > 0) {
            return;
        }
        if (age != 0) {
            calls = bad = 0;
        }
        if (calls == CELL_MAX) {
            calls /= 2;
            bad /= 2;
        }
        new = cell_make(epoch, calls + 1, bad + failed);
    } while (!atomic_compare_exchange_weak_explicit(at, &old, new, memory_order_relaxed,
                                                    memory_order_relaxed));
}

static void window_sum(const struct np_breaker *b, uint32_t epoch, unsigned *calls,
                       unsigned *failed)
{
    *calls = *failed = 0;
    for (size_t i = 0; i < NP_BREAKER_CELLS; i++) {
        uint64_t cell = atomic_load_explicit(&b->cell[i], memory_order_relaxed);
        if (epoch - (uint32_t)(cell >> 32) < NP_BREAKER_CELLS) {
            *calls += cell_calls(cell);
            *failed += cell_failed(cell);
        }
    }
}

static void window_clear(struct np_breaker *b, uint32_t window_ms)
{
    for (size_t i = 0; i < NP_BREAKER_CELLS; i++) {
        atomic_store_explicit(&b->cell[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&b->failed_at_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&b->window_ms, window_ms, memory_order_relaxed);
}

/* --- its states, under the lock ----------------------------------------------------------------- */

static void to_open(struct np_breaker *b, const struct np_breaker_rule *rule, uint64_t now_ns)
{
    uint64_t until = np_guard_later(now_ns, (uint64_t)rule->open_ms * NP_NS_PER_MS);
    until = until > b->retry_until_ns ? until : b->retry_until_ns;
    atomic_store_explicit(&b->until_ns, until, memory_order_relaxed);
    b->opened++;
    atomic_store_explicit(&b->state, NP_BREAKER_OPEN, memory_order_release);
}

static void to_closed(struct np_breaker *b, const struct np_breaker_rule *rule)
{
    window_clear(b, rule->window_ms);
    b->retry_until_ns = 0;
    atomic_store_explicit(&b->row, 0, memory_order_relaxed);
    atomic_store_explicit(&b->state, NP_BREAKER_CLOSED, memory_order_release);
}

static bool should_open(const struct np_breaker *b, const struct np_breaker_rule *rule,
                        uint64_t now_ns)
{
    uint32_t row = atomic_load_explicit(&b->row, memory_order_relaxed);
    if (rule->failures > 0 && row >= rule->failures) {
        return true;
    }
    if (!(rule->rate > 0)) {
        return false;
    }
    unsigned calls, failed;
    window_sum(b, epoch_of(rule->window_ms, now_ns), &calls, &failed);
    /* The small number: 0.07 of 100 is 7, whatever the product of doubles says. */
    return failed > 0 && calls >= rule->min_calls &&
           (double)failed + 1e-9 >= rule->rate * (double)calls;
}

static void while_closed(struct np_breaker *b, const struct np_breaker_rule *rule, uint64_t now_ns,
                         bool failed)
{
    if (atomic_load_explicit(&b->window_ms, memory_order_relaxed) != rule->window_ms) {
        window_clear(b, rule->window_ms);
    }
    window_add(b, epoch_of(rule->window_ms, now_ns), failed);
    if (failed) {
        atomic_store_explicit(&b->failed_at_ns, now_ns, memory_order_relaxed);
    } else {
        atomic_store_explicit(&b->row, 0, memory_order_relaxed);
        b->retry_until_ns = 0;
    }
    if (should_open(b, rule, now_ns)) {
        to_open(b, rule, now_ns);
    }
}

/* The end of the one probe. */
static void probe_ended(struct np_breaker *b, const struct np_breaker_rule *rule, uint64_t now_ns,
                        bool failed)
{
    if (failed) {
        to_open(b, rule, now_ns);
    } else if (++b->good_probes >= GOOD_PROBES) {
        to_closed(b, rule);
    }
}

static void probe_back(struct np_breaker *b)
{
    np_require(b->probe_out && state_of(b) == NP_BREAKER_HALF_OPEN);
    b->probe_out = false;
}

static void note_failure(struct np_breaker *b, uint64_t now_ns, enum np_class c,
                         int64_t retry_after_ms)
{
    atomic_fetch_add_explicit(&b->row, 1, memory_order_relaxed);
    b->last_class = c;
    uint64_t until = np_guard_later(now_ns, np_guard_advice_ns(retry_after_ms));
    b->retry_until_ns = until > b->retry_until_ns ? until : b->retry_until_ns;
}

/* Whether a good call that ends changes nothing but the window's counts. */
static bool is_quiet(const struct np_breaker *b, const struct np_breaker_rule *rule,
                     uint64_t now_ns)
{
    if (state_of(b) != NP_BREAKER_CLOSED ||
        atomic_load_explicit(&b->row, memory_order_relaxed) > 0 ||
        atomic_load_explicit(&b->window_ms, memory_order_relaxed) != rule->window_ms) {
        return false;
    }
    uint64_t failed_at = atomic_load_explicit(&b->failed_at_ns, memory_order_relaxed);
    return failed_at == 0 || !(rule->rate > 0) ||
           now_ns > failed_at + (uint64_t)rule->window_ms * NP_NS_PER_MS;
}

static void report_locked(struct np_breaker *b, const struct np_breaker_rule *rule, uint64_t now_ns,
                          enum np_class c, int64_t retry_after_ms, bool probe)
{
    bool failed = np_class_trips_breaker(c);
    if (probe) {
        probe_back(b);
    }
    if (!failed && c != NP_CLASS_ok) {
        return;
    }
    enum np_breaker_state state = state_of(b);
    if (probe || state == NP_BREAKER_CLOSED) {
        if (failed) {
            note_failure(b, now_ns, c, retry_after_ms);
        }
        (probe ? probe_ended : while_closed)(b, rule, now_ns, failed);
    } else if (failed && state == NP_BREAKER_OPEN) {
        uint64_t until = np_guard_later(now_ns, np_guard_advice_ns(retry_after_ms));
        if (until > until_of(b)) {
            atomic_store_explicit(&b->until_ns, until, memory_order_relaxed);
        }
    }
}

/* --- from outside ------------------------------------------------------------------------------- */

static enum np_pass ask_locked(struct np_breaker *b, uint64_t now_ns)
{
    enum np_breaker_state state = state_of(b);
    if (state == NP_BREAKER_CLOSED) {
        return NP_PASS_YES;
    }
    if (state == NP_BREAKER_OPEN) {
        if (now_ns < until_of(b)) {
            return NP_PASS_NO;
        }
        b->good_probes = 0;
        b->retry_until_ns = 0;
        atomic_store_explicit(&b->state, NP_BREAKER_HALF_OPEN, memory_order_release);
    }
    if (b->probe_out) {
        return NP_PASS_NO;
    }
    b->probe_out = true;
    return NP_PASS_PROBE;
}

enum np_pass np_breaker_ask(struct np_guard *g, const struct np_model *m, uint64_t now_ns)
{
    struct np_breaker *b = breaker_of(g, m);
    enum np_breaker_state state = state_of(b);
    if (state == NP_BREAKER_CLOSED) {
        return NP_PASS_YES;
    }
    if (state == NP_BREAKER_OPEN && now_ns < until_of(b)) {
        return NP_PASS_NO;
    }
    pthread_mutex_lock(&b->lock);
    enum np_pass pass = ask_locked(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    return pass;
}

void np_breaker_report(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                       enum np_class c, int64_t retry_after_ms, bool probe)
{
    struct np_breaker *b = breaker_of(g, m);
    const struct np_breaker_rule *rule = &m->provider->breaker;
    if (c == NP_CLASS_ok && !probe && is_quiet(b, rule, now_ns)) {
        window_add(b, epoch_of(rule->window_ms, now_ns), false);
        return;
    }
    pthread_mutex_lock(&b->lock);
    report_locked(b, rule, now_ns, c, retry_after_ms, probe);
    pthread_mutex_unlock(&b->lock);
}

void np_breaker_release(struct np_guard *g, const struct np_model *m, uint64_t now_ns)
{
    (void)now_ns;
    struct np_breaker *b = breaker_of(g, m);
    pthread_mutex_lock(&b->lock);
    probe_back(b);
    pthread_mutex_unlock(&b->lock);
}

static enum np_breaker_state get_locked(const struct np_breaker *b, uint64_t now_ns)
{
    enum np_breaker_state state = state_of(b);
    return state == NP_BREAKER_OPEN && now_ns >= until_of(b) ? NP_BREAKER_HALF_OPEN : state;
}

static uint64_t wait_locked(const struct np_breaker *b, uint64_t now_ns)
{
    switch (get_locked(b, now_ns)) {
    case NP_BREAKER_OPEN:
        return until_of(b) - now_ns;
    case NP_BREAKER_HALF_OPEN:
        return b->probe_out ? PROBE_WAIT_NS : 0;
    default:
        return 0;
    }
}

bool np_breaker_would_pass(struct np_guard *g, const struct np_model *m, uint64_t now_ns)
{
    return np_breaker_wait_ns(g, m, now_ns) == 0;
}

enum np_breaker_state np_breaker_get(struct np_guard *g, const struct np_model *m, uint64_t now_ns)
{
    struct np_breaker *b = breaker_of(g, m);
    if (state_of(b) == NP_BREAKER_CLOSED) {
        return NP_BREAKER_CLOSED;
    }
    pthread_mutex_lock(&b->lock);
    enum np_breaker_state state = get_locked(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    return state;
}

uint64_t np_breaker_wait_ns(struct np_guard *g, const struct np_model *m, uint64_t now_ns)
{
    struct np_breaker *b = breaker_of(g, m);
    if (state_of(b) == NP_BREAKER_CLOSED) {
        return 0;
    }
    pthread_mutex_lock(&b->lock);
    uint64_t wait = wait_locked(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    return wait;
}

/* failures_in_row and last_class speak of failures that count; while it is open they are those that
 * opened it. */
void np_breaker_view(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                     struct np_breaker_view *out)
{
    struct np_breaker *b = breaker_of(g, m);
    pthread_mutex_lock(&b->lock);
    out->state = get_locked(b, now_ns);
    out->failures_in_row = atomic_load_explicit(&b->row, memory_order_relaxed);
    uint32_t window_ms = atomic_load_explicit(&b->window_ms, memory_order_relaxed);
    window_sum(b, epoch_of(window_ms, now_ns), &out->calls, &out->failed);
    out->opened = b->opened;
    out->wait_ns = wait_locked(b, now_ns);
    out->last_class = b->last_class;
    pthread_mutex_unlock(&b->lock);
}
