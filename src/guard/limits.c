/* Calls in flight and the retry budget of each provider: atomics, exact under contention. */
#include "guard/guard_impl.h"

#include "base/err.h"

/* The retry budget in tenths of a retry. */
#define TENTHS_FULL 100
#define TENTHS_LEAST 50 /* none is granted at this or below */
#define TENTHS_FIRST 1  /* back for each first attempt */
#define TENTHS_REPEAT 10

static struct np_provider_state *state_of(struct np_guard *g, const struct np_provider *p)
{
    np_require(p->slot < NP_MAX_PROVIDERS);
    return &g->provider[p->slot];
}

bool np_inflight_take(struct np_guard *g, const struct np_provider *p)
{
    _Atomic int64_t *inflight = &state_of(g, p)->inflight;
    int64_t now = atomic_load_explicit(inflight, memory_order_relaxed);
    do {
        if (p->max_inflight > 0 && now >= (int64_t)p->max_inflight) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(inflight, &now, now + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void np_inflight_give(struct np_guard *g, const struct np_provider *p)
{
    int64_t was = atomic_fetch_sub_explicit(&state_of(g, p)->inflight, 1, memory_order_relaxed);
    np_require(was > 0);
}

int64_t np_inflight_get(struct np_guard *g, const struct np_provider *p)
{
    return atomic_load_explicit(&state_of(g, p)->inflight, memory_order_relaxed);
}

static void put_back(struct np_guard *g, const struct np_provider *p, int32_t more)
{
    _Atomic int32_t *tenths = &state_of(g, p)->retry_tenths;
    int32_t now = atomic_load_explicit(tenths, memory_order_relaxed);
    int32_t then;
    do {
        then = now + more < TENTHS_FULL ? now + more : TENTHS_FULL;
    } while (then != now && !atomic_compare_exchange_weak_explicit(
                                tenths, &now, then, memory_order_relaxed, memory_order_relaxed));
}

void np_retry_budget_first(struct np_guard *g, const struct np_provider *p)
{
    put_back(g, p, TENTHS_FIRST);
}

void np_retry_budget_give(struct np_guard *g, const struct np_provider *p)
{
    put_back(g, p, TENTHS_REPEAT);
}

bool np_retry_budget_take(struct np_guard *g, const struct np_provider *p)
{
    _Atomic int32_t *tenths = &state_of(g, p)->retry_tenths;
    int32_t now = atomic_load_explicit(tenths, memory_order_relaxed);
    do {
        if (now <= TENTHS_LEAST) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(tenths, &now, now - TENTHS_REPEAT,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

double np_retry_budget_tokens(struct np_guard *g, const struct np_provider *p)
{
    return (double)atomic_load_explicit(&state_of(g, p)->retry_tenths, memory_order_relaxed) / 10;
}
