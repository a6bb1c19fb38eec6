/* How many of an endpoint's requests may have a second call beside their first: one in twenty of those of
 * the last minute, so none before the twentieth. Cells of ten seconds under a lock of their own. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#define CELL_NS (10 * NP_NS_PER_S)
#define ONE_IN 20

struct sums {
    uint64_t requests, hedges;
};

/* Locks the endpoint's share. */
static struct np_hedge_share *share_of(struct np_guard *g, const struct np_endpoint *e)
{
    np_require(e->slot < NP_MAX_ENDPOINTS);
    struct np_hedge_share *s = &g->hedge[e->slot];
    pthread_mutex_lock(&s->lock);
    return s;
}

/* The cell of a time; a later lap's where workers' clocks are apart. */
static struct np_hedge_cell *cell_of(struct np_hedge_share *s, uint64_t now_ns)
{
    uint64_t epoch = now_ns / CELL_NS;
    struct np_hedge_cell *c = &s->cell[epoch % NP_HEDGE_CELLS];
    if (c->epoch < epoch) {
        *c = (struct np_hedge_cell){.epoch = epoch};
    }
    return c;
}

static struct sums sums_of(const struct np_hedge_share *s, uint64_t now_ns)
{
    uint64_t epoch = now_ns / CELL_NS;
    struct sums sum = {0, 0};
    for (size_t i = 0; i < NP_HEDGE_CELLS; i++) {
        if (s->cell[i].epoch + NP_HEDGE_CELLS > epoch) {
            sum.requests += s->cell[i].requests;
            sum.hedges += s->cell[i].hedges;
        }
    }
    return sum;
}

static bool is_left(const struct np_hedge_share *s, uint64_t now_ns)
{
    struct sums sum = sums_of(s, now_ns);
    return (sum.hedges + 1) * ONE_IN <= sum.requests;
}

void np_hedge_share_count(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns)
{
    struct np_hedge_share *s = share_of(g, e);
    cell_of(s, now_ns)->requests++;
    pthread_mutex_unlock(&s->lock);
}

bool np_hedge_share_left(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns)
{
    struct np_hedge_share *s = share_of(g, e);
    bool left = is_left(s, now_ns);
    pthread_mutex_unlock(&s->lock);
    return left;
}

bool np_hedge_share_take(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns)
{
    struct np_hedge_share *s = share_of(g, e);
    bool left = is_left(s, now_ns);
    if (left) {
        cell_of(s, now_ns)->hedges++;
    }
    pthread_mutex_unlock(&s->lock);
    return left;
}

void np_hedge_share_give(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns)
{
    struct np_hedge_share *s = share_of(g, e);
    struct np_hedge_cell *c = cell_of(s, now_ns);
    if (c->hedges > 0) {
        c->hedges--;
    }
    pthread_mutex_unlock(&s->lock);
}
