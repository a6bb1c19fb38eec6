/* Generations of policies: a set that went live, what its hooks did, and each worker's hold of it.
 *
 * A generation is counted, and shared by all threads; only its tallies change. A worker's np_here is
 * made by the keeper, used by its worker alone, and goes back to the keeper with its last exchange. */
#ifndef NP_ENGINE_GENERATION_H
#define NP_ENGINE_GENERATION_H

#include "base/rng.h"
#include "engine/lend.h"
#include "script/hooks.h"

#include <stdatomic.h>

struct np_worker;

/* What made a reload happen. */
enum np_trigger {
    NP_TRIGGER_START,
    NP_TRIGGER_FOLDER,   /* the folder has changed */
    NP_TRIGGER_SIGNAL,   /* SIGHUP */
    NP_TRIGGER_OPERATOR, /* the admin socket */
    NP_TRIGGER_ERRORS    /* hooks that fail: back by itself */
};

const char *np_trigger_name(enum np_trigger trigger);

/* What happened on a generation; one a worker, written by it alone. */
struct np_tally {
    _Alignas(64) _Atomic uint64_t requests;
    _Atomic uint64_t calls[NP_HOOK_COUNT], errors[NP_HOOK_COUNT];
};

/* Of one version, shared by the generations that differ in keys alone. */
struct np_tallies {
    atomic_uint holds;
    size_t n;
    struct np_tally each[]; /* by worker */
};

/* The sum over workers. */
struct np_tally_sum {
    uint64_t requests;
    uint64_t calls[NP_HOOK_COUNT], errors[NP_HOOK_COUNT];
};

struct np_generation {
    atomic_uint holds;
    unsigned number; /* from 1, over the life of the process */
    struct np_policyset *set;
    int64_t loaded_wall_ms;
    enum np_trigger trigger;
    struct np_tallies *tallies;
    char fault[256]; /* "": none; what its tests said at the start. The keeper's lock is held */
};

/* Holds the set. NULL without memory. */
struct np_generation *np_generation_new(struct np_policyset *set, unsigned number,
                                        enum np_trigger trigger, size_t n_workers);
/* The same version, its set loaded anew for the sake of its keys: number and tallies go on. */
struct np_generation *np_generation_renew(const struct np_generation *g, struct np_policyset *set,
                                          enum np_trigger trigger);
struct np_generation *np_generation_hold(struct np_generation *g);
void np_generation_drop(struct np_generation *g);
void np_generation_sum(const struct np_generation *g, struct np_tally_sum *out);

/* Whether hooks err in over 1 % of at least 200 calls, and 5 times as often as those of before. */
bool np_tally_errs(const struct np_tally_sum *now, const struct np_tally_sum *before);

/* One generation as one worker holds it: this worker's Lua state, and the exchanges that began with
 * it. */
struct np_here {
    struct np_generation *gen;
    struct np_policyset *set; /* the generation's */
    struct np_tally *tally;   /* this worker's */
    struct np_script *script;
    struct np_lender lender;
    struct np_powers powers;
    struct np_rng rng; /* of its policies: they run on the keeper's thread while they are loaded */
    struct np_worker *worker;
    unsigned exchanges;
    bool retired; /* a newer one is in place; goes back to the keeper with its last exchange */
};

struct np_here *np_here_new(struct np_worker *w, struct np_generation *gen);
void np_here_free(struct np_here *here);
/* Its script, a new one where a call ran out of memory: no request goes without because of another. On the
 * worker's thread, outside of hooks. */
struct np_script *np_here_script(struct np_here *here);

/* Adds one on the worker's thread. */
static inline void np_tally_add(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
