/* The life of the guards' state, and what its files share. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define ADVICE_MAX_MS INT64_C(3600000)
#define RETRY_TENTHS_FULL 100

uint64_t np_guard_advice_ns(int64_t retry_after_ms)
{
    if (retry_after_ms <= 0) {
        return 0;
    }
    int64_t ms = retry_after_ms < ADVICE_MAX_MS ? retry_after_ms : ADVICE_MAX_MS;
    return (uint64_t)ms * NP_NS_PER_MS;
}

static void init_series(struct np_stat_series *s, size_t n_hists)
{
    np_require(pthread_mutex_init(&s->lock, NULL) == 0);
    s->n_hists = n_hists;
}

/* NULL without memory. The seed decides with which of its keys each provider begins, so that the
 * instances of a fleet do not all lean on the first. */
struct np_guard *np_guard_new(uint64_t seed)
{
    struct np_guard *g = aligned_alloc(alignof(struct np_guard), sizeof *g);
    if (!g) {
        return NULL;
    }
    memset(g, 0, sizeof *g);
    struct np_rng rng;
    np_rng_seed(&rng, seed);
    np_require(pthread_mutex_init(&g->keys_lock, NULL) == 0);
    for (size_t i = 0; i < NP_MAX_PAIRS; i++) {
        np_require(pthread_mutex_init(&g->breaker[i].lock, NULL) == 0);
        g->breaker[i].last_class = NP_CLASS_COUNT;
        init_series(&g->model[i], 2);
    }
    for (size_t i = 0; i < NP_MAX_PROVIDERS; i++) {
        atomic_init(&g->provider[i].retry_tenths, RETRY_TENTHS_FULL);
        atomic_init(&g->provider[i].turn, (uint32_t)np_rng_below(&rng, NP_MAX_KEYS));
    }
    for (size_t i = 0; i < NP_MAX_ENDPOINTS; i++) {
        np_require(pthread_mutex_init(&g->slo[i].lock, NULL) == 0);
        np_require(pthread_mutex_init(&g->hedge[i].lock, NULL) == 0);
        init_series(&g->endpoint[i], 1);
    }
    return g;
}

static void end_series(struct np_stat_series *s)
{
    for (size_t i = 0; i < NP_STAT_CELLS; i++) {
        free(atomic_load_explicit(&s->cell[i], memory_order_relaxed));
    }
    pthread_mutex_destroy(&s->lock);
}

void np_guard_free(struct np_guard *g)
{
    if (!g) {
        return;
    }
    for (size_t i = 0; i < NP_MAX_ENDPOINTS; i++) {
        end_series(&g->endpoint[i]);
        free(g->slo[i].cells);
        pthread_mutex_destroy(&g->slo[i].lock);
        pthread_mutex_destroy(&g->hedge[i].lock);
    }
    for (size_t i = 0; i < NP_MAX_PAIRS; i++) {
        end_series(&g->model[i]);
        pthread_mutex_destroy(&g->breaker[i].lock);
    }
    pthread_mutex_destroy(&g->keys_lock);
    free(g);
}
