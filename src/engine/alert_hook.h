/* The alert hook of the running policy set, in a Lua state of the monitor's own. */
#ifndef NP_ENGINE_ALERT_HOOK_H
#define NP_ENGINE_ALERT_HOOK_H

#include "engine/alerts.h"
#include "engine/engine_impl.h"

/* Of the monitor's thread; begins as zeroes. */
struct np_alert_hook {
    struct np_policyset *set; /* held; NULL: none yet */
    struct np_script *script; /* NULL: the set has no such hook */
    struct np_lender lender;
    struct np_powers powers;
    struct np_rng rng;
    char failed[256]; /* what was last told of a failure, so that it is told once */
};

/* Asks the set's hook, and adds and silences as it says; where it fails the facts stay as they are. */
void np_alert_hook_run(struct np_alert_hook *h, struct neap_engine *e, struct np_policyset *set,
                       struct np_alert_facts *facts);
/* What the hook gets in the place of a request, so that the functions of policies have what they look at;
 * NULL without memory, or where the set has no endpoint. np_exchange_free it. */
struct np_exchange *np_alert_stand_in(const struct np_policyset *set);
void np_alert_hook_close(struct np_alert_hook *h);

#endif
