/* The running correction of token estimates, a pair of provider and model: how many tokens it
 * reported for each that was estimated. The mean of the first sixteen reports, then a moving average
 * that forgets a report by a sixteenth with each that follows.
 *
 * One word a pair: the upper half counts reports (up to WARM), the lower is the ratio in 65,536ths. */
#include "guard/guard_impl.h"

#include "base/err.h"

#define ONE UINT64_C(65536)
#define WARM 16
#define LEAST_TOKENS 64
/* No tokenizer is further off than this; a report that says so is no count and teaches nothing. */
#define MOST_APART 4

static uint64_t ratio_of(struct np_guard *g, uint32_t slot)
{
    np_require(slot < NP_MAX_PAIRS);
    uint64_t word = atomic_load_explicit(&g->ratio[slot], memory_order_relaxed);
    return word == 0 ? ONE : word & UINT32_MAX;
}

/* value · by / over, rounded down; what is beyond all counts of tokens stays INT64_MAX. */
static int64_t scaled(int64_t value, uint64_t by, uint64_t over)
{
    if (value <= 0)
        return 0;
    if (value > INT64_MAX / (int64_t)(ONE * MOST_APART))
        return INT64_MAX;
    return (int64_t)((uint64_t)value * by / over);
}

void np_ratio_learn(struct np_guard *g, uint32_t pair_slot, int64_t estimated, int64_t reported)
{
    np_require(pair_slot < NP_MAX_PAIRS);
    if (estimated < LEAST_TOKENS || reported <= 0)
        return;
    uint64_t seen = (uint64_t)scaled(reported, ONE, (uint64_t)estimated);
    if (seen < ONE / MOST_APART || seen > ONE * MOST_APART)
        return;
    uint64_t word = atomic_load_explicit(&g->ratio[pair_slot], memory_order_relaxed);
    uint64_t next;
    do {
        uint64_t n = word >> 32, ratio = word & UINT32_MAX;
        n = n < WARM ? n + 1 : WARM;
        ratio = (ratio * (n - 1) + seen + n / 2) / n;
        next = n << 32 | ratio;
    } while (!atomic_compare_exchange_weak_explicit(&g->ratio[pair_slot], &word, next,
                                                    memory_order_relaxed, memory_order_relaxed));
}

int64_t np_ratio_apply(struct np_guard *g, uint32_t pair_slot, int64_t estimated)
{
    return scaled(estimated, ratio_of(g, pair_slot), ONE);
}

int64_t np_ratio_invert(struct np_guard *g, uint32_t pair_slot, int64_t counted)
{
    return scaled(counted, ONE, ratio_of(g, pair_slot));
}
