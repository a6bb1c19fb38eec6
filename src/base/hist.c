/* The histogram. A value's bucket is its octave (the place of its highest bit) and the 4 bits after
 * that; below 16 each value has a bucket of its own. Values of 0 count as 1, those above 2^40 as
 * 2^40. */
#include "base/hist.h"

#define SUB_BITS 4
#define SUBS (1U << SUB_BITS)
#define VALUE_MAX (UINT64_C(1) << 40)

static unsigned bucket_of(uint64_t v)
{
    v = v < 1 ? 1 : v > VALUE_MAX ? VALUE_MAX : v;
    unsigned octave = 63U - (unsigned)__builtin_clzll(v);
    unsigned sub = (unsigned)((v << SUB_BITS) >> octave) & (SUBS - 1);
    return octave * SUBS + sub;
}

/* The largest value that falls into a bucket. */
static uint64_t edge_of(unsigned bucket)
{
    unsigned octave = bucket / SUBS;
    uint64_t first_after = ((uint64_t)SUBS + bucket % SUBS + 1) << octave >> SUB_BITS;
    uint64_t edge =
        octave < SUB_BITS ? (SUBS + bucket % SUBS) >> (SUB_BITS - octave) : first_after - 1;
    return edge > VALUE_MAX ? VALUE_MAX : edge;
}

static uint32_t count_of(const struct np_hist *h, unsigned bucket)
{
    return atomic_load_explicit(&h->count[bucket], memory_order_relaxed);
}

void np_hist_add(struct np_hist *h, uint64_t value)
{
    atomic_fetch_add_explicit(&h->count[bucket_of(value)], 1, memory_order_relaxed);
}

void np_hist_clear(struct np_hist *h)
{
    for (unsigned i = 0; i < NP_HIST_BUCKETS; i++) {
        atomic_store_explicit(&h->count[i], 0, memory_order_relaxed);
    }
}

void np_hist_merge(struct np_hist *into, const struct np_hist *from)
{
    for (unsigned i = 0; i < NP_HIST_BUCKETS; i++) {
        uint32_t n = count_of(from, i);
        if (n > 0) {
            atomic_fetch_add_explicit(&into->count[i], n, memory_order_relaxed);
        }
    }
}

uint64_t np_hist_total(const struct np_hist *h)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < NP_HIST_BUCKETS; i++) {
        total += count_of(h, i);
    }
    return total;
}

/* The value of rank ceil(q·total), as if all were sorted. Counts that come or go meanwhile shift it
 * by no more than they are. */
uint64_t np_hist_quantile(const struct np_hist *h, double q)
{
    uint64_t total = np_hist_total(h);
    uint64_t seen = 0, edge = 0;
    double wanted = q * (double)total * (1 - 1e-12); /* 0.07 of 100 is 7, not 7.000000000000001 */
    for (unsigned i = 0; i < NP_HIST_BUCKETS; i++) {
        uint32_t n = count_of(h, i);
        if (n == 0) {
            continue;
        }
        seen += n;
        edge = edge_of(i);
        if ((double)seen >= wanted) {
            break;
        }
    }
    return edge;
}
