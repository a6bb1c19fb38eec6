/* Inside of script/ only: one call of a hook, between who makes it (hooks.c) and who judges what came
 * back (judge.c). */
#ifndef NP_SCRIPT_HOOK_CALL_H
#define NP_SCRIPT_HOOK_CALL_H

#include "script/script.h"

struct np_hook_call {
    struct np_script *s;
    struct np_exchange *x;
    enum np_hook hook;
    const struct np_candidate *candidate;
    const struct np_attempt *attempt;
    int64_t room_tokens;
    struct np_refusal *refusal;
    struct np_verdict *verdict;
    struct np_alarms *alarms;
    /* What came of it. */
    bool gave;
    struct np_span returned, why;
    bool measured; /* it ran where the clock stands still; then how long it really took: */
    uint64_t measured_ns;
};

/* Takes the hook's answer at index 2 into the exchange or the verdict; the handle req is at 1.
 * Raises errors of kind type, before anything was changed; they name the place of the hook. */
typedef void np_judge(lua_State *L, struct np_hook_call *call);

np_judge np_judge_alert;

extern np_judge *const np_judges[NP_HOOK_COUNT];

#endif
