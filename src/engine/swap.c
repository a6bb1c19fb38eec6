/* The swap: every worker takes its new state between two requests, the last one's word ends the wait.
 *
 * The keeper yields to requests, so a lock of its own may be held for long: no worker ever takes one. */
#include "engine/keeper_impl.h"

#include <stdlib.h>
#include <time.h>

struct swap_order {
    struct np_here *next;
    struct np_keeper *keeper;
};

static void swap_done(void *ctx)
{
    struct np_keeper *k = ctx;
    (void)sem_post(&k->swapped);
}

static void swap_on_worker(void *ctx)
{
    struct swap_order *o = ctx;
    np_worker_swap(o->next->worker, o->next, swap_done, o->keeper);
    free(o);
}

/* Makes a state for each worker, or none. */
static bool make_states(struct np_keeper *k, struct np_generation *gen, struct swap_order **orders)
{
    struct neap_engine *e = k->engine;
    for (size_t i = 0; i < e->n_workers; i++) {
        orders[i] = calloc(1, sizeof *orders[i]);
        if (orders[i]) {
            orders[i]->keeper = k;
            orders[i]->next = np_here_new(e->workers[i], gen);
        }
        if (!orders[i] || !orders[i]->next) {
            for (size_t j = 0; j <= i; j++) {
                if (orders[j])
                    np_here_free(orders[j]->next);
                free(orders[j]);
            }
            return false;
        }
    }
    return true;
}

bool np_keeper_swap(struct np_keeper *k, struct np_generation *gen)
{
    struct neap_engine *e = k->engine;
    struct swap_order *orders[NP_MAX_WORKERS];
    if (!make_states(k, gen, orders))
        return false;
    for (size_t i = 0; i < e->n_workers; i++) {
        /* A worker whose queue is full is busy with others' calls: it empties it every turn. */
        while (np_loop_post(np_worker_loop(e->workers[i]), swap_on_worker, orders[i]) != NP_OK)
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (size_t i = 0; i < e->n_workers; i++) {
        while (sem_wait(&k->swapped) != 0) {
        }
    }
    return true;
}
