/* SLO burn: minutes of the last three days an endpoint, summed when asked. A window is that many
 * minutes, the one that is running included. Minutes that are over never change (a caller whose
 * clock lags adds to the newest), so their sums are remembered until the next minute.
 *
 * What counts: slow replies and cost over all replies, errors and degraded ones over what is not the
 * caller's fault; a caller's fault is never slow. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_NS (60 * NP_NS_PER_S)
#define MINUTES NP_SLO_MINUTES
#define P95_SHARE 0.05

static const uint32_t window_minutes[NP_BURN_COUNT] = {5, 30, 60, 360, MINUTES};

const char *np_objective_name(enum np_objective o)
{
    static const char *const names[] = {"p95_ms", "error_rate", "degraded_rate", "cost_usd"};
    np_require((unsigned)o < NP_OBJ_COUNT);
    return names[o];
}

const char *np_burn_window_name(enum np_burn_window w)
{
    static const char *const names[] = {"5m", "30m", "1h", "6h", "3d"};
    np_require((unsigned)w < NP_BURN_COUNT);
    return names[w];
}

/* Room below for the minutes of an earlier life: a clock that began with the machine is small. */
static uint32_t minute_of(uint64_t now_ns)
{
    return (uint32_t)(now_ns / MINUTE_NS) + 1 + MINUTES;
}

void np_slo_add(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns,
                uint64_t latency_ns, bool bad, bool counted, bool degraded, int64_t cost_nusd)
{
    np_require(e->slot < NP_MAX_ENDPOINTS);
    struct np_slo_book *book = &g->slo[e->slot];
    bool slow = e->slo.p95_ms > 0 && latency_ns > e->slo.p95_ms * NP_NS_PER_MS;
    pthread_mutex_lock(&book->lock);
    if (!book->cells) {
        book->cells = calloc(MINUTES, sizeof book->cells[0]);
    }
    if (book->cells) {
        uint32_t minute = minute_of(now_ns);
        book->newest = minute > book->newest ? minute : book->newest;
        struct np_slo_cell *c = &book->cells[book->newest % MINUTES];
        if (c->minute != book->newest) {
            *c = (struct np_slo_cell){.minute = book->newest};
        }
        c->total++;
        c->counted += counted;
        c->slow += counted && slow;
        c->bad += counted && bad;
        c->degraded += counted && degraded;
        c->cost_nusd += cost_nusd;
    }
    pthread_mutex_unlock(&book->lock);
}

static void sums_add(struct np_slo_view *s, const struct np_slo_cell *c)
{
    s->total += c->total;
    s->counted += c->counted;
    s->slow += c->slow;
    s->bad += c->bad;
    s->degraded += c->degraded;
    s->cost_nusd += (double)c->cost_nusd;
}

/* The sums of a window that ends now, under the lock. */
static struct np_slo_view sums_of(struct np_slo_book *book, enum np_burn_window w, uint64_t now_ns)
{
    if (!book->cells) {
        return (struct np_slo_view){0};
    }
    uint32_t minute = minute_of(now_ns);
    book->newest = minute > book->newest ? minute : book->newest;
    if (book->memo_minute[w] != book->newest) {
        struct np_slo_view sums = {0};
        for (uint32_t i = 1; i < window_minutes[w] && i < book->newest; i++) {
            const struct np_slo_cell *c = &book->cells[(book->newest - i) % MINUTES];
            if (c->minute == book->newest - i) {
                sums_add(&sums, c);
            }
        }
        book->memo[w] = sums;
        book->memo_minute[w] = book->newest;
    }
    struct np_slo_view sums = book->memo[w];
    const struct np_slo_cell *running = &book->cells[book->newest % MINUTES];
    if (running->minute == book->newest) {
        sums_add(&sums, running);
    }
    return sums;
}

static double share(double part, uint64_t whole, double objective)
{
    return whole == 0 || !(objective > 0) ? 0 : part / (double)whole / objective;
}

void np_slo_look(struct np_guard *g, const struct np_endpoint *e, enum np_burn_window w,
                 uint64_t now_ns, struct np_slo_view *out)
{
    np_require(e->slot < NP_MAX_ENDPOINTS && (unsigned)w < NP_BURN_COUNT);
    struct np_slo_book *book = &g->slo[e->slot];
    pthread_mutex_lock(&book->lock);
    *out = sums_of(book, w, now_ns);
    pthread_mutex_unlock(&book->lock);
}

/* An objective that the endpoint does not set burns nothing. */
double np_slo_burn(struct np_guard *g, const struct np_endpoint *e, enum np_objective o,
                   enum np_burn_window w, uint64_t now_ns)
{
    struct np_slo_view s;
    np_slo_look(g, e, w, now_ns, &s);
    switch (o) {
    case NP_OBJ_P95:
        return share((double)s.slow, s.total, e->slo.p95_ms > 0 ? P95_SHARE : 0);
    case NP_OBJ_ERRORS:
        return share((double)s.bad, s.counted, e->slo.error_rate);
    case NP_OBJ_DEGRADED:
        return share((double)s.degraded, s.counted, e->slo.degraded_rate);
    case NP_OBJ_COST:
        return share(s.cost_nusd, s.total, (double)e->slo.cost_nusd);
    default:
        return 0;
    }
}

uint64_t np_slo_bad(struct np_guard *g, const struct np_endpoint *e, enum np_objective o,
                    enum np_burn_window w, uint64_t now_ns)
{
    struct np_slo_view s;
    np_slo_look(g, e, w, now_ns, &s);
    const uint64_t counts[NP_OBJ_COUNT] = {s.slow, s.bad, s.degraded, s.total};
    return counts[o];
}

/* --- over restarts ------------------------------------------------------------------------------- */

static int64_t wall_minute(int64_t wall_ms)
{
    return wall_ms / 60000;
}

size_t np_slo_export(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns, int64_t wall_ms,
                     struct np_slo_minute *out, size_t max)
{
    np_require(endpoint_slot < NP_MAX_ENDPOINTS);
    struct np_slo_book *book = &g->slo[endpoint_slot];
    uint32_t now = minute_of(now_ns);
    size_t n = 0;
    pthread_mutex_lock(&book->lock);
    for (uint32_t back = 0; book->cells && back < MINUTES && n < max; back++) {
        const struct np_slo_cell *c = &book->cells[(now - back) % MINUTES];
        if (c->minute != now - back) {
            continue;
        }
        out[n++] = (struct np_slo_minute){.wall_minute = wall_minute(wall_ms) - back,
                                          .total = c->total,
                                          .counted = c->counted,
                                          .slow = c->slow,
                                          .bad = c->bad,
                                          .degraded = c->degraded,
                                          .cost_nusd = c->cost_nusd};
    }
    pthread_mutex_unlock(&book->lock);
    return n;
}

static void import_minute(struct np_slo_book *book, uint32_t minute, const struct np_slo_minute *m)
{
    struct np_slo_cell *c = &book->cells[minute % MINUTES];
    if (c->minute > minute) {
        return;
    }
    if (c->minute < minute) {
        *c = (struct np_slo_cell){.minute = minute};
    }
    c->total += m->total;
    c->counted += m->counted;
    c->slow += m->slow;
    c->bad += m->bad;
    c->degraded += m->degraded;
    c->cost_nusd += m->cost_nusd;
}

void np_slo_import(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns, int64_t wall_ms,
                   const struct np_slo_minute *minutes, size_t n)
{
    np_require(endpoint_slot < NP_MAX_ENDPOINTS);
    struct np_slo_book *book = &g->slo[endpoint_slot];
    uint32_t now = minute_of(now_ns);
    pthread_mutex_lock(&book->lock);
    if (!book->cells) {
        book->cells = calloc(MINUTES, sizeof book->cells[0]);
    }
    book->newest = now > book->newest ? now : book->newest;
    for (size_t i = 0; book->cells && i < n; i++) {
        int64_t back = wall_minute(wall_ms) - minutes[i].wall_minute;
        if (back >= 0 && back < MINUTES) {
            import_minute(book, now - (uint32_t)back, &minutes[i]);
        }
    }
    memset(book->memo_minute, 0, sizeof book->memo_minute);
    pthread_mutex_unlock(&book->lock);
}
