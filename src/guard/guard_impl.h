/* What the files of guard/ share: the state behind struct np_guard. Every array is by slot, so that
 * what was learnt outlives a reload; what is large is made on first use and lives until
 * np_guard_free. */
#ifndef NP_GUARD_GUARD_IMPL_H
#define NP_GUARD_GUARD_IMPL_H

#include "base/hist.h"
#include "guard/guard.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_BREAKER_CELLS 10
#define NP_STAT_CELLS 10
#define NP_STAT_LAST 64
#define NP_HEDGE_CELLS 6
#define NP_GUARD_KEYS 2048 /* slots of secrets; a key beyond is never held */
#define NP_CACHE_LINE 64

/* A breaker. What is atomic may be read at any time and is written under the lock, the cells by
 * anybody; the rest belongs to the lock. */
struct np_breaker {
    alignas(NP_CACHE_LINE) pthread_mutex_t lock;
    _Atomic uint32_t state;        /* enum np_breaker_state; OPEN also once until_ns has passed */
    _Atomic uint32_t row;          /* failures in a row; kept while it is open */
    _Atomic uint32_t window_ms;    /* the rule's when the cells were last cleared */
    _Atomic uint64_t failed_at_ns; /* the last failure while closed; 0: none since it closed */
    _Atomic uint64_t until_ns;     /* the end of being open */
    _Atomic uint64_t cell[NP_BREAKER_CELLS]; /* tenths of the window; see breaker.c */
    uint64_t retry_until_ns;                 /* the longest Retry-After of this row of failures */
    bool probe_out;
    unsigned good_probes;
    uint64_t opened;
    enum np_class last_class;
};

/* One thirty-second cell of a sliding statistic; hist[] has as many as the series says. */
struct np_stat_cell {
    _Atomic uint32_t epoch; /* which thirty seconds */
    _Atomic uint32_t calls, failed;
    _Atomic uint32_t n[2]; /* values in each histogram */
    struct np_hist hist[];
};

/* A quantile that was worked out lately. */
struct np_stat_memo {
    _Atomic uint64_t at_ns, value;
    _Atomic uint32_t of; /* of how many values; 0: never */
};

struct np_stat_series {
    pthread_mutex_t lock; /* turns cells over; adding takes none */
    size_t n_hists;
    struct np_stat_memo memo[3]; /* a histogram's p95 by its number; the median of latency */
    struct np_stat_cell *_Atomic cell[NP_STAT_CELLS];
};

/* The last completions of a pair, in tokens, each in its place by turns. */
struct np_stat_last {
    _Atomic uint32_t n; /* that were put in */
    _Atomic uint32_t tokens[NP_STAT_LAST];
};

struct np_slo_cell {
    uint32_t minute; /* from 1; 0: empty */
    uint32_t total, counted, slow, bad, degraded;
    int64_t cost_nusd;
};

/* Three days of minutes of one endpoint, all under the lock. */
struct np_slo_book {
    pthread_mutex_t lock;
    struct np_slo_cell *cells;              /* NULL before the first exchange */
    uint32_t newest;                        /* minutes before it never change */
    uint32_t memo_minute[NP_BURN_COUNT];    /* for which `newest` memo holds; 0: none */
    struct np_slo_view memo[NP_BURN_COUNT]; /* the window's minutes before `newest` */
};

struct np_hedge_cell {
    uint64_t epoch; /* which ten seconds */
    uint32_t requests, hedges;
};

/* The last minute of an endpoint, all under the lock. */
struct np_hedge_share {
    pthread_mutex_t lock;
    struct np_hedge_cell cell[NP_HEDGE_CELLS];
};

struct np_key_hold {
    _Atomic uint64_t until_ns;
    _Atomic uint32_t strikes; /* of class credential since it last worked */
    uint64_t strike_until_ns; /* under keys_lock */
};

/* What a provider's calls share. */
struct np_provider_state {
    alignas(NP_CACHE_LINE) _Atomic int64_t inflight;
    _Atomic int32_t retry_tenths;
    _Atomic uint32_t turn; /* whose turn it is among its keys */
};

struct np_guard {
    struct np_breaker breaker[NP_MAX_PAIRS];
    struct np_provider_state provider[NP_MAX_PROVIDERS];
    pthread_mutex_t keys_lock;
    struct np_key_hold key[NP_GUARD_KEYS];
    struct np_stat_series model[NP_MAX_PAIRS];
    struct np_stat_last last[NP_MAX_PAIRS];
    struct np_stat_series endpoint[NP_MAX_ENDPOINTS];
    struct np_slo_book slo[NP_MAX_ENDPOINTS];
    struct np_hedge_share hedge[NP_MAX_ENDPOINTS];
    _Atomic uint64_t ratio[NP_MAX_PAIRS]; /* see ratio.c */
};

/* Books one exchange; called by np_stat_exchange. Without memory for an endpoint's first cells it
 * is not counted. */
void np_slo_add(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns,
                uint64_t latency_ns, bool bad, bool counted, bool degraded, int64_t cost_nusd);

/* a + b, UINT64_MAX where that would pass it. */
static inline uint64_t np_guard_later(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* A provider's Retry-After as nanoseconds, at most an hour: a provider that errs or lies must not
 * take itself out for good. 0 when it was not said. */
uint64_t np_guard_advice_ns(int64_t retry_after_ms);

#endif
