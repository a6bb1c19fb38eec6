/* What the hooks of a set did in a run of its tests: calls, steps, time, and which of the outcomes that
 * each can have were seen. */
#ifndef NP_ENGINE_TEST_TALLY_H
#define NP_ENGINE_TEST_TALLY_H

#include "model/exchange.h"

#define NP_TALLY_OUTCOMES 6

struct np_tally {
    struct {
        uint64_t calls, ns;
        int64_t steps;
        uint64_t outcomes[NP_TALLY_OUTCOMES]; /* the last one is "error" */
    } hook[NP_HOOK_COUNT];
};

/* Adds the hooks of a finished exchange. */
void np_tally_add(struct np_tally *t, const struct np_exchange *x);
/* The name of an outcome, as a policy writes it; NULL: the hook has no such. */
const char *np_tally_outcome(enum np_hook hook, size_t i);

#endif
