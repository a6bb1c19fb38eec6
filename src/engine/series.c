/* Rings of periods, filled from differences of totals. A period in which nobody took them is empty, what
 * came in it counts for the next one. */
#include "engine/series.h"

#include "base/hist.h"
#include "base/json.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FINE 180
#define COARSE 1440

struct cell {
    uint32_t requests, errors, degraded, clients;
    uint32_t p95_us; /* 0: nothing came */
    int64_t cost_nusd;
};

/* What has come since the beginning; only grows. */
struct live {
    _Atomic uint64_t requests, errors, degraded, clients;
    _Atomic int64_t cost_nusd;
    struct np_hist took;
};

/* What of it a ring knows already. */
struct seen {
    uint64_t requests, errors, degraded, clients;
    int64_t cost_nusd;
    struct np_hist took;
};

struct book {
    struct live live;
    struct seen seen[NP_SERIES_SPANS];
    struct cell fine[FINE], coarse[COARSE];
};

struct scale {
    uint64_t step_ns;
    size_t n;
    uint64_t first,
        until; /* periods since the clock began: cells of first to until - 1 are there */
};

struct np_series {
    pthread_mutex_t lock; /* over scales, seen and cells */
    struct scale scale[NP_SERIES_SPANS];
    struct book *_Atomic book[NP_MAX_ENDPOINTS];
    struct book all; /* its live is not used: it sums up the others' cells */
};

struct np_series *np_series_new(uint64_t now_ns)
{
    struct np_series *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->scale[NP_SERIES_15M] = (struct scale){.step_ns = NP_SERIES_STEP_NS, .n = FINE};
    s->scale[NP_SERIES_24H] = (struct scale){.step_ns = 60 * NP_NS_PER_S, .n = COARSE};
    for (size_t i = 0; i < NP_SERIES_SPANS; i++)
        s->scale[i].first = s->scale[i].until = now_ns / s->scale[i].step_ns;
    return s;
}

void np_series_free(struct np_series *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < NP_MAX_ENDPOINTS; i++)
        free(atomic_load(&s->book[i]));
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

uint64_t np_series_next_ns(uint64_t now_ns)
{
    return (now_ns / NP_SERIES_STEP_NS + 1) * NP_SERIES_STEP_NS;
}

/* --- adding --------------------------------------------------------------------------------------- */

static struct book *book_of(struct np_series *s, uint32_t slot)
{
    struct book *b = atomic_load_explicit(&s->book[slot], memory_order_acquire);
    if (b)
        return b;
    struct book *made = calloc(1, sizeof *made);
    if (!made || atomic_compare_exchange_strong(&s->book[slot], &b, made))
        return made;
    free(made);
    return b;
}

static void bump(_Atomic uint64_t *count, bool counts)
{
    if (counts)
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

void np_series_add(struct np_series *s, uint32_t endpoint_slot, const struct np_series_event *e)
{
    np_require(endpoint_slot < NP_MAX_ENDPOINTS);
    struct book *b = book_of(s, endpoint_slot);
    if (!b)
        return;
    bump(&b->live.requests, true);
    bump(&b->live.errors, e->error);
    bump(&b->live.degraded, e->degraded);
    bump(&b->live.clients, e->client);
    if (e->cost_nusd != 0)
        atomic_fetch_add_explicit(&b->live.cost_nusd, e->cost_nusd, memory_order_relaxed);
    np_hist_add(&b->live.took, e->latency_ns);
}

/* --- sampling, under the lock --------------------------------------------------------------------- */

static struct cell *cell_at(struct book *b, enum np_series_span span, uint64_t period)
{
    return span == NP_SERIES_15M ? &b->fine[period % FINE] : &b->coarse[period % COARSE];
}

/* What came since the last time. */
static uint32_t grown(_Atomic uint64_t *live, uint64_t *seen)
{
    uint64_t now = atomic_load_explicit(live, memory_order_relaxed), before = *seen;
    *seen = now;
    return (uint32_t)(now - before);
}

static void grown_hist(const struct np_hist *live, struct np_hist *seen, struct np_hist *out)
{
    for (size_t i = 0; i < NP_HIST_BUCKETS; i++) {
        uint32_t now = atomic_load_explicit(&live->count[i], memory_order_relaxed);
        uint32_t before = atomic_load_explicit(&seen->count[i], memory_order_relaxed);
        atomic_store_explicit(&seen->count[i], now, memory_order_relaxed);
        atomic_store_explicit(&out->count[i], now - before, memory_order_relaxed);
    }
}

static uint32_t p95_us(const struct np_hist *took)
{
    uint64_t us = np_hist_quantile(took, 0.95) / 1000;
    return np_hist_total(took) == 0 ? 0 : us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Fills the cell with what came; adds it to all and to took. */
static void take(struct book *b, enum np_series_span span, struct cell *c, struct cell *all,
                 struct np_hist *took)
{
    struct seen *seen = &b->seen[span];
    struct np_hist came;
    int64_t cost_nusd = atomic_load_explicit(&b->live.cost_nusd, memory_order_relaxed);
    grown_hist(&b->live.took, &seen->took, &came);
    *c = (struct cell){.requests = grown(&b->live.requests, &seen->requests),
                       .errors = grown(&b->live.errors, &seen->errors),
                       .degraded = grown(&b->live.degraded, &seen->degraded),
                       .clients = grown(&b->live.clients, &seen->clients),
                       .p95_us = p95_us(&came),
                       .cost_nusd = cost_nusd - seen->cost_nusd};
    seen->cost_nusd = cost_nusd;
    all->requests += c->requests;
    all->errors += c->errors;
    all->degraded += c->degraded;
    all->clients += c->clients;
    all->cost_nusd += c->cost_nusd;
    np_hist_merge(took, &came);
}

static void clear_missed(struct book *b, enum np_series_span span, const struct scale *k,
                         uint64_t last)
{
    uint64_t from = last - k->until > k->n ? last - k->n : k->until;
    for (uint64_t period = from; period < last; period++)
        *cell_at(b, span, period) = (struct cell){0};
}

static void sample_scale(struct np_series *s, enum np_series_span span, uint64_t now_ns)
{
    struct scale *k = &s->scale[span];
    uint64_t until = now_ns / k->step_ns;
    if (until <= k->until)
        return;
    struct cell *all = cell_at(&s->all, span, until - 1);
    struct np_hist took;
    np_hist_clear(&took);
    clear_missed(&s->all, span, k, until - 1);
    *all = (struct cell){0};
    for (size_t i = 0; i < NP_MAX_ENDPOINTS; i++) {
        struct book *b = atomic_load_explicit(&s->book[i], memory_order_acquire);
        if (!b)
            continue;
        clear_missed(b, span, k, until - 1);
        take(b, span, cell_at(b, span, until - 1), all, &took);
    }
    all->p95_us = p95_us(&took);
    k->until = until;
}

void np_series_sample(struct np_series *s, uint64_t now_ns)
{
    (void)pthread_mutex_lock(&s->lock);
    sample_scale(s, NP_SERIES_15M, now_ns);
    sample_scale(s, NP_SERIES_24H, now_ns);
    (void)pthread_mutex_unlock(&s->lock);
}

/* --- reading -------------------------------------------------------------------------------------- */

bool np_series_read(struct np_span query, enum np_series_span *out, char why[NP_SERIES_WHY])
{
    bool fine = query.n == 0 || np_span_is(query, "span=15m");
    *out = fine ? NP_SERIES_15M : NP_SERIES_24H;
    if (fine || np_span_is(query, "span=24h"))
        return true;
    (void)snprintf(why, NP_SERIES_WHY, "the query may be span=15m or span=24h, nothing else");
    return false;
}

struct page {
    struct np_json_w *w;
    enum np_series_span span;
    uint64_t from, until;
};

static void put_counts(const struct page *p, struct book *b, const char *key, size_t offset)
{
    np_json_w_begin_key(p->w, key, '[');
    for (uint64_t period = p->from; period < p->until; period++) {
        const char *c = (const char *)cell_at(b, p->span, period);
        uint32_t n;
        memcpy(&n, c + offset, sizeof n);
        np_json_w_i64(p->w, NULL, n);
    }
    np_json_w_end(p->w, ']');
}

static void put_p95(const struct page *p, struct book *b)
{
    np_json_w_begin_key(p->w, "p95Ms", '[');
    for (uint64_t period = p->from; period < p->until; period++) {
        uint32_t us = cell_at(b, p->span, period)->p95_us;
        if (us > 0)
            np_json_w_f64(p->w, NULL, us / 1000.0);
        else
            np_json_w_null(p->w, NULL);
    }
    np_json_w_end(p->w, ']');
}

static void put_cost(const struct page *p, struct book *b)
{
    np_json_w_begin_key(p->w, "costUsd", '[');
    for (uint64_t period = p->from; period < p->until; period++) {
        char text[NP_MONEY_TEXT];
        size_t n = np_money_format(cell_at(b, p->span, period)->cost_nusd, text);
        np_json_w_raw(p->w, NULL, np_span_make(text, n));
    }
    np_json_w_end(p->w, ']');
}

static void put_book(const struct page *p, struct book *b)
{
    put_counts(p, b, "requests", offsetof(struct cell, requests));
    put_counts(p, b, "errors", offsetof(struct cell, errors));
    put_counts(p, b, "degraded", offsetof(struct cell, degraded));
    put_counts(p, b, "clientErrors", offsetof(struct cell, clients));
    put_p95(p, b);
    put_cost(p, b);
}

static bool any(const struct page *p, struct book *b)
{
    for (uint64_t period = p->from; b && period < p->until; period++) {
        if (cell_at(b, p->span, period)->requests > 0)
            return true;
    }
    return false;
}

static void put_time(struct np_json_w *w, const char *key, int64_t at_ms)
{
    char text[32];
    np_clock_format_utc(at_ms, text, sizeof text);
    np_json_w_cstr(w, key, text);
}

void np_series_json(struct np_series *s, const struct np_catalog *c, enum np_series_span span,
                    uint64_t now_ns, int64_t wall_ms, struct np_buf *out)
{
    struct np_json_w w;
    np_json_w_init(&w, out);
    (void)pthread_mutex_lock(&s->lock);
    const struct scale *k = &s->scale[span];
    uint64_t n = k->until - k->first < k->n ? k->until - k->first : k->n;
    const struct page p = {&w, span, k->until - n, k->until};
    int64_t step_ms = (int64_t)(k->step_ns / NP_NS_PER_MS);
    int64_t until_ms = wall_ms - (int64_t)(now_ns / NP_NS_PER_MS) + (int64_t)k->until * step_ms;
    np_json_w_begin(&w, '{');
    np_json_w_i64(&w, "stepS", step_ms / 1000);
    put_time(&w, "from", until_ms - (int64_t)n * step_ms);
    put_time(&w, "until", until_ms);
    np_json_w_begin_key(&w, "all", '{');
    put_book(&p, &s->all);
    np_json_w_end(&w, '}');
    np_json_w_begin_key(&w, "endpoints", '[');
    for (size_t i = 0; i < c->n_endpoints; i++) {
        struct book *b = atomic_load_explicit(&s->book[c->endpoints[i].slot], memory_order_acquire);
        if (!any(&p, b))
            continue;
        np_json_w_begin(&w, '{');
        np_json_w_cstr(&w, "path", c->endpoints[i].path);
        put_book(&p, b);
        np_json_w_end(&w, '}');
    }
    np_json_w_end(&w, ']');
    np_json_w_end(&w, '}');
    (void)pthread_mutex_unlock(&s->lock);
    (void)np_buf_char(out, '\n');
}
