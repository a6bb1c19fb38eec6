/* Policy generations and what happened on them. */
#include "engine/generation.h"

#include "base/log.h"
#include "engine/worker_impl.h"
#include "script/adapter.h"

#include <stdlib.h>

#define LEAST_CALLS 200
#define ERRORS_IN 100 /* over one in so many calls */
#define TIMES_AS_OFTEN 5

const char *np_trigger_name(enum np_trigger trigger)
{
    static const char *const names[] = {"start", "folder", "signal", "operator", "errors"};
    return names[trigger];
}

static struct np_tallies *new_tallies(size_t n)
{
    size_t bytes = sizeof(struct np_tallies) + n * sizeof(struct np_tally);
    /* A line of cache for each: workers write all the time. */
    struct np_tallies *t = aligned_alloc(_Alignof(struct np_tallies), bytes);
    if (!t)
        return NULL;
    memset(t, 0, bytes);
    atomic_init(&t->holds, 1);
    t->n = n;
    return t;
}

static void drop_tallies(struct np_tallies *t)
{
    if (t && atomic_fetch_sub_explicit(&t->holds, 1, memory_order_acq_rel) == 1)
        free(t);
}

/* Takes over the tallies. */
static struct np_generation *make(struct np_policyset *set, unsigned number,
                                  enum np_trigger trigger, struct np_tallies *tallies)
{
    struct np_generation *g = tallies ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        drop_tallies(tallies);
        return NULL;
    }
    atomic_init(&g->holds, 1);
    g->tallies = tallies;
    g->number = number;
    g->set = np_policyset_hold(set);
    g->loaded_wall_ms = np_clock_wall_ms(&np_clock_live);
    g->trigger = trigger;
    return g;
}

struct np_generation *np_generation_new(struct np_policyset *set, unsigned number,
                                        enum np_trigger trigger, size_t n_workers)
{
    return make(set, number, trigger, new_tallies(n_workers));
}

struct np_generation *np_generation_renew(const struct np_generation *g, struct np_policyset *set,
                                          enum np_trigger trigger)
{
    atomic_fetch_add_explicit(&g->tallies->holds, 1, memory_order_relaxed);
    return make(set, g->number, trigger, g->tallies);
}

struct np_generation *np_generation_hold(struct np_generation *g)
{
    atomic_fetch_add_explicit(&g->holds, 1, memory_order_relaxed);
    return g;
}

void np_generation_drop(struct np_generation *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->holds, 1, memory_order_acq_rel) != 1)
        return;
    np_policyset_drop(g->set);
    drop_tallies(g->tallies);
    free(g);
}

static uint64_t read_count(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

void np_generation_sum(const struct np_generation *g, struct np_tally_sum *out)
{
    *out = (struct np_tally_sum){0};
    for (size_t i = 0; i < g->tallies->n; i++) {
        const struct np_tally *t = &g->tallies->each[i];
        out->requests += read_count(&t->requests);
        for (int h = 0; h < NP_HOOK_COUNT; h++) {
            out->calls[h] += read_count(&t->calls[h]);
            out->errors[h] += read_count(&t->errors[h]);
        }
    }
}

static void add_up(const struct np_tally_sum *s, double *calls, double *errors)
{
    *calls = *errors = 0;
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        *calls += (double)s->calls[h];
        *errors += (double)s->errors[h];
    }
}

bool np_tally_errs(const struct np_tally_sum *now, const struct np_tally_sum *before)
{
    double calls, errors, calls_before, errors_before;
    add_up(now, &calls, &errors);
    add_up(before, &calls_before, &errors_before);
    if (calls < LEAST_CALLS || errors * ERRORS_IN <= calls)
        return false;
    /* One without calls had no errors: then any are more often. */
    return errors * calls_before >= TIMES_AS_OFTEN * errors_before * calls;
}

struct np_here *np_here_new(struct np_worker *w, struct np_generation *gen)
{
    struct np_here *here = calloc(1, sizeof *here);
    if (!here)
        return NULL;
    here->worker = w;
    here->lender = (struct np_lender){.guard = w->engine->guard,
                                      .ledger = w->engine->ledger,
                                      .catalog = np_policyset_catalog(gen->set),
                                      .clock = &np_clock_live};
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&here->rng, seed);
    here->powers = np_lend(&here->lender, &here->rng, w->engine->shared);
    here->script = np_script_new(gen->set, &here->powers, true);
    /* Adapters too are compiled here, off the worker: the first request would wait for them. */
    if (!here->script || np_adapters_open(here->script) != NP_OK) {
        np_script_free(here->script);
        free(here);
        return NULL;
    }
    here->gen = np_generation_hold(gen);
    here->set = gen->set;
    here->tally = &gen->tallies->each[w->number];
    return here;
}

struct np_script *np_here_script(struct np_here *here)
{
    struct np_script *old = here->script;
    if (!np_script_spoiled(old))
        return old;
    struct np_script *next = np_script_renew(old);
    if (!next)
        return old;
    here->script = next;
    np_log(NP_LOG_WARN, "Lua state replaced after a memory failure",
           NP_KVI("worker", here->worker->number));
    np_keeper_bury_script(here->worker->engine->keeper, old);
    return next;
}

void np_here_free(struct np_here *here)
{
    if (!here)
        return;
    np_script_free(here->script);
    np_generation_drop(here->gen);
    free(here);
}
