/* Sliding statistics of the last five minutes: ten cells of thirty seconds, each with counts and
 * histograms, turned over by whoever comes first in a new cell. Adding takes no lock but for that;
 * a cell without memory counts nothing.
 *
 * Completions of a pair are remembered beyond that, the last few: how long a model's answers are does not
 * change while nobody asks.
 *
 * A quantile is remembered until a sixteenth more or fewer values are there, or a second has passed:
 * policies ask for it at every request. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>

#define CELL_NS (30 * NP_NS_PER_S)
#define LEAST 20 /* values before a quantile says anything */
#define MEMO_NS NP_NS_PER_S

enum { HIST_LATENCY, HIST_TOKENS };
enum { MEMO_MEDIAN = 2 };

static uint32_t load(const _Atomic uint32_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void bump(_Atomic uint32_t *v)
{
    atomic_fetch_add_explicit(v, 1, memory_order_relaxed);
}

static uint32_t epoch_of(uint64_t now_ns)
{
    return (uint32_t)(now_ns / CELL_NS);
}

static void cell_clear(struct np_stat_cell *c, size_t n_hists)
{
    atomic_store_explicit(&c->calls, 0, memory_order_relaxed);
    atomic_store_explicit(&c->failed, 0, memory_order_relaxed);
    for (size_t i = 0; i < n_hists; i++) {
        atomic_store_explicit(&c->n[i], 0, memory_order_relaxed);
        np_hist_clear(&c->hist[i]);
    }
}

/* The cell of an epoch under the lock, made or turned over; NULL without memory or when a later lap
 * has it already. */
static struct np_stat_cell *cell_turn(struct np_stat_series *s, uint32_t epoch)
{
    struct np_stat_cell *_Atomic *at = &s->cell[epoch % NP_STAT_CELLS];
    struct np_stat_cell *c = atomic_load_explicit(at, memory_order_acquire);
    if (!c) {
        c = calloc(1, sizeof *c + s->n_hists * sizeof c->hist[0]);
        if (c) {
            atomic_init(&c->epoch, epoch);
            atomic_store_explicit(at, c, memory_order_release);
        }
        return c;
    }
    uint32_t had = load(&c->epoch);
    if (had > epoch) {
        return NULL;
    }
    if (had < epoch) {
        cell_clear(c, s->n_hists);
        atomic_store_explicit(&c->epoch, epoch, memory_order_release);
    }
    return c;
}

static struct np_stat_cell *cell_for(struct np_stat_series *s, uint64_t now_ns)
{
    uint32_t epoch = epoch_of(now_ns);
    struct np_stat_cell *c =
        atomic_load_explicit(&s->cell[epoch % NP_STAT_CELLS], memory_order_acquire);
    if (c && atomic_load_explicit(&c->epoch, memory_order_acquire) == epoch) {
        return c;
    }
    pthread_mutex_lock(&s->lock);
    c = cell_turn(s, epoch);
    pthread_mutex_unlock(&s->lock);
    return c;
}

/* The i-th cell if it lies in the last five minutes, else NULL. */
static struct np_stat_cell *cell_live(struct np_stat_series *s, size_t i, uint64_t now_ns)
{
    struct np_stat_cell *c = atomic_load_explicit(&s->cell[i], memory_order_acquire);
    if (!c) {
        return NULL;
    }
    uint32_t epoch = atomic_load_explicit(&c->epoch, memory_order_acquire);
    return epoch_of(now_ns) - epoch < NP_STAT_CELLS ? c : NULL;
}

static void add_value(struct np_stat_cell *c, size_t which, uint64_t value)
{
    np_hist_add(&c->hist[which], value);
    bump(&c->n[which]);
}

/* --- reading ------------------------------------------------------------------------------------ */

static uint64_t quantile_now(struct np_stat_series *s, size_t which, double q, uint64_t now_ns)
{
    struct np_hist all;
    np_hist_clear(&all);
    for (size_t i = 0; i < NP_STAT_CELLS; i++) {
        struct np_stat_cell *c = cell_live(s, i, now_ns);
        if (c) {
            np_hist_merge(&all, &c->hist[which]);
        }
    }
    return np_hist_quantile(&all, q);
}

static bool memo_holds(const struct np_stat_memo *m, uint32_t total, uint64_t now_ns)
{
    uint32_t of = load(&m->of);
    uint32_t apart = of > total ? of - total : total - of;
    uint64_t at = atomic_load_explicit(&m->at_ns, memory_order_relaxed);
    return of > 0 && apart <= of / 16 && now_ns >= at && now_ns - at < MEMO_NS;
}

/* A quantile of a histogram of the series in *out; false when fewer than LEAST values are there. */
static bool quantile_of(struct np_stat_series *s, size_t which, double q, struct np_stat_memo *m,
                        uint64_t now_ns, uint64_t *out)
{
    uint32_t total = 0;
    for (size_t i = 0; i < NP_STAT_CELLS; i++) {
        struct np_stat_cell *c = cell_live(s, i, now_ns);
        total += c ? load(&c->n[which]) : 0;
    }
    if (total < LEAST) {
        return false;
    }
    if (memo_holds(m, total, now_ns)) {
        *out = atomic_load_explicit(&m->value, memory_order_relaxed);
        return true;
    }
    *out = quantile_now(s, which, q, now_ns);
    atomic_store_explicit(&m->value, *out, memory_order_relaxed);
    atomic_store_explicit(&m->at_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&m->of, total, memory_order_relaxed);
    return true;
}

static bool p95_of(struct np_stat_series *s, size_t which, uint64_t now_ns, uint64_t *out)
{
    return quantile_of(s, which, 0.95, &s->memo[which], now_ns, out);
}

static void last_add(struct np_stat_last *l, uint64_t tokens)
{
    uint32_t at = atomic_fetch_add_explicit(&l->n, 1, memory_order_relaxed) % NP_STAT_LAST;
    uint32_t value = tokens < UINT32_MAX ? (uint32_t)tokens : UINT32_MAX;
    atomic_store_explicit(&l->tokens[at], value, memory_order_relaxed);
}

/* The p95 of the last completions by counting those above each; -1 when fewer than LEAST were put in. */
static int64_t last_p95(struct np_stat_last *l)
{
    uint32_t value[NP_STAT_LAST], n = load(&l->n);
    n = n < NP_STAT_LAST ? n : NP_STAT_LAST;
    if (n < LEAST) {
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        value[i] = load(&l->tokens[i]);
    }
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t above = 0;
        for (uint32_t k = 0; k < n; k++) {
            above += value[k] > value[i];
        }
        if (above <= n / 20 && value[i] < least) {
            least = value[i];
        }
    }
    return least;
}

static double error_rate_of(struct np_stat_series *s, uint64_t now_ns)
{
    uint64_t calls = 0, failed = 0;
    for (size_t i = 0; i < NP_STAT_CELLS; i++) {
        struct np_stat_cell *c = cell_live(s, i, now_ns);
        calls += c ? load(&c->calls) : 0;
        failed += c ? load(&c->failed) : 0;
    }
    return calls == 0 ? 0 : (double)failed / (double)calls;
}

static struct np_stat_series *model_of(struct np_guard *g, uint32_t slot)
{
    np_require(slot < NP_MAX_PAIRS);
    return &g->model[slot];
}

static struct np_stat_last *last_of(struct np_guard *g, uint32_t slot)
{
    np_require(slot < NP_MAX_PAIRS);
    return &g->last[slot];
}

static struct np_stat_series *endpoint_of(struct np_guard *g, uint32_t slot)
{
    np_require(slot < NP_MAX_ENDPOINTS);
    return &g->endpoint[slot];
}

static double p95_ms_of(struct np_stat_series *s, uint64_t now_ns)
{
    uint64_t ns;
    return p95_of(s, HIST_LATENCY, now_ns, &ns) ? (double)ns / (double)NP_NS_PER_MS : -1;
}

/* --- from outside ------------------------------------------------------------------------------- */

void np_stat_attempt(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                     uint64_t latency_ns, bool ok, int64_t completion_tokens)
{
    struct np_stat_cell *c = cell_for(model_of(g, m->slot), now_ns);
    if (ok && completion_tokens >= 0) {
        last_add(last_of(g, m->slot), (uint64_t)completion_tokens);
    }
    if (!c) {
        return;
    }
    bump(&c->calls);
    if (!ok) {
        bump(&c->failed);
        return;
    }
    add_value(c, HIST_LATENCY, latency_ns);
    if (completion_tokens >= 0) {
        add_value(c, HIST_TOKENS, (uint64_t)completion_tokens);
    }
}

void np_stat_exchange(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns,
                      uint64_t latency_ns, bool bad, bool counted, bool degraded, int64_t cost_nusd)
{
    np_slo_add(g, e, now_ns, latency_ns, bad, counted, degraded, cost_nusd);
    struct np_stat_cell *c = cell_for(endpoint_of(g, e->slot), now_ns);
    if (!c) {
        return;
    }
    add_value(c, HIST_LATENCY, latency_ns);
    if (counted) {
        bump(&c->calls);
        if (bad) {
            bump(&c->failed);
        }
    }
}

double np_stat_model_p95_ms(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns)
{
    return p95_ms_of(model_of(g, pair_slot), now_ns);
}

double np_stat_model_p50_ms(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns)
{
    struct np_stat_series *s = model_of(g, pair_slot);
    uint64_t ns;
    return quantile_of(s, HIST_LATENCY, 0.5, &s->memo[MEMO_MEDIAN], now_ns, &ns)
               ? (double)ns / (double)NP_NS_PER_MS
               : -1;
}

double np_stat_endpoint_p95_ms(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns)
{
    return p95_ms_of(endpoint_of(g, endpoint_slot), now_ns);
}

double np_stat_model_error_rate(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns)
{
    return error_rate_of(model_of(g, pair_slot), now_ns);
}

double np_stat_endpoint_error_rate(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns)
{
    return error_rate_of(endpoint_of(g, endpoint_slot), now_ns);
}

int64_t np_stat_completion_p95(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns)
{
    uint64_t tokens;
    return p95_of(model_of(g, pair_slot), HIST_TOKENS, now_ns, &tokens)
               ? (int64_t)tokens
               : last_p95(last_of(g, pair_slot));
}
