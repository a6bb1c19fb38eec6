/* A mergeable histogram with logarithmic buckets: values from 1 to 2^40, relative error at most
 * 1/16 (16 sub-buckets an octave). Counting and merging are safe between threads (relaxed atomics);
 * a reader sees each count once, at some time. The scheme of HdrHistogram, reduced. */
#ifndef NP_BASE_HIST_H
#define NP_BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define NP_HIST_BUCKETS (41 * 16)

struct np_hist {
    _Atomic uint32_t count[NP_HIST_BUCKETS];
};

void np_hist_add(struct np_hist *h, uint64_t value);
void np_hist_clear(struct np_hist *h);
/* Adds from's counts to into. */
void np_hist_merge(struct np_hist *into, const struct np_hist *from);
uint64_t np_hist_total(const struct np_hist *h);
/* The upper edge of the bucket that holds the q-quantile, 0 < q <= 1; 0 when nothing was counted. */
uint64_t np_hist_quantile(const struct np_hist *h, double q);

#endif
