/* What the engine lends to policies: small functions over guards, ledger and clocks. Pointers may be
 * NULL where a ground has nothing to offer; the policy then sees nil. Amounts are nano-dollars. */
#ifndef NP_SCRIPT_POWERS_H
#define NP_SCRIPT_POWERS_H

#include "base/clock.h"
#include "base/rng.h"
#include "base/span.h"

#include <stdint.h>

struct np_shared; /* the store behind shared.get/set/incr; one a process, see shared.h */

struct np_powers {
    void *ctx;
    /* name is an endpoint's path or a model's name. Negative: nothing is known (nil). */
    double (*p95_ms)(void *ctx, struct np_span name);
    double (*error_rate)(void *ctx, struct np_span name);
    /* objective and window by name ("cost_usd", "1h"); an empty objective: the worst. */
    double (*burn)(void *ctx, struct np_span endpoint, struct np_span objective,
                   struct np_span window);
    /* False: there is no such budget (nil). window empty: the account's first. */
    bool (*spent)(void *ctx, struct np_span account, struct np_span window, int64_t *out_nusd);
    bool (*remaining)(void *ctx, struct np_span account, int64_t *out_nusd);
    /* "closed", "half open", "open"; NULL: no such model. */
    const char *(*breaker)(void *ctx, struct np_span model);
    /* An estimate of tokens as that model is likely to count it; NULL: no correction is known. -1: no
     * such model. */
    int64_t (*tokens)(void *ctx, struct np_span model, int64_t estimated);
    const struct np_clock *clock; /* now_ms, and hook durations */
    struct np_rng *rng;           /* random(), pick, jitter */
    struct np_shared *shared;
};

#endif
