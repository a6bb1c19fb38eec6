/* What one worker has taken in since its till was last emptied: requests, failures and money, by endpoint,
 * tenant and model, each under the UTC hour in which the request ended; latencies by endpoint. The worker
 * adds, whoever keeps the books empties; both hold its lock for some memory accesses only, since
 * emptying takes the rows away whole.
 *
 * Bounded: what comes when there are NP_TILL_ROWS goes to one row a kind, NP_TILL_OTHERS. */
#ifndef NP_GUARD_TILL_H
#define NP_GUARD_TILL_H

#include "base/hist.h"

#include <stddef.h>
#include <stdint.h>

#define NP_TILL_ROWS 16384
#define NP_TILL_OTHERS UINT32_MAX

enum np_till_kind { NP_TILL_ENDPOINT, NP_TILL_TENANT, NP_TILL_MODEL, NP_TILL_KINDS };

struct np_till_sum {
    uint64_t n;       /* requests; of a model its attempts */
    uint64_t bad;     /* failures that are not the caller's fault; of a model all */
    uint64_t refused; /* the caller's fault, or the caller left */
    uint64_t degraded;
    int64_t cost_nusd, presumed_nusd;
};

struct np_till_entry {
    enum np_till_kind kind;
    uint32_t slot;
    struct np_till_sum sum;
    uint64_t latency_ns; /* 0: none to be counted */
};

struct np_till_row {
    int64_t hour; /* from 1970 */
    enum np_till_kind kind;
    uint32_t slot;
    struct np_till_sum sum;
    struct np_hist *latency; /* nanoseconds; NULL: none was counted */
};

struct np_till_rows {
    struct np_till_row *row;
    size_t n;
    uint64_t lost; /* entries for which there was no memory */
};

struct np_till;

/* NULL without memory. */
struct np_till *np_till_new(void);
void np_till_free(struct np_till *t);
/* The entries of one request that ended at wall_ms. */
void np_till_add(struct np_till *t, int64_t wall_ms, const struct np_till_entry *e, size_t n);
/* All rows, for the caller to free; the till is empty then. From any thread. */
void np_till_empty(struct np_till *t, struct np_till_rows *out);
void np_till_rows_free(struct np_till_rows *r);

void np_till_sum_add(struct np_till_sum *to, const struct np_till_sum *s);

#endif
