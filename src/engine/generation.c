/* A policy generation as one worker holds it. */
#include "engine/worker_impl.h"

#include <stdlib.h>

struct np_here *np_here_new(struct np_worker *w, struct np_policyset *set)
{
    struct np_here *here = calloc(1, sizeof *here);
    if (!here)
        return NULL;
    here->worker = w;
    here->lender = (struct np_lender){.guard = w->engine->guard,
                                      .ledger = w->engine->ledger,
                                      .catalog = np_policyset_catalog(set),
                                      .clock = &np_clock_live};
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&here->rng, seed);
    here->powers = np_lend(&here->lender, &here->rng, w->engine->shared);
    here->script = np_script_new(set, &here->powers, w->engine->watchdog);
    if (!here->script) {
        free(here);
        return NULL;
    }
    here->set = np_policyset_hold(set);
    return here;
}

void np_here_free(struct np_here *here)
{
    if (!here)
        return;
    np_script_free(here->script);
    np_policyset_drop(here->set);
    free(here);
}
