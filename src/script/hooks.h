/* Calling a policy set's hooks. A state (np_script) belongs to one worker and one generation. Each call
 * reads the exchange through one reused handle, judges what came back, and writes it into the exchange
 * or a verdict. Every call leaves a note for the decision record in the exchange. */
#ifndef NP_SCRIPT_HOOKS_H
#define NP_SCRIPT_HOOKS_H

#include "model/exchange.h"
#include "script/limiter.h"
#include "script/policyset.h"
#include "script/powers.h"

#include <signal.h>

struct np_script;

/* NULL without memory or when the set does not load in this state (it did at np_policyset_load). The
 * set is held. Hooks are bounded by CPU time when timed, else by steps (1,000,000
 * instructions each). */
struct np_script *np_script_new(struct np_policyset *set, const struct np_powers *powers,
                                bool timed);
void np_script_free(struct np_script *s);
/* Steps the collector; called between requests, never inside hooks. */
void np_script_idle(struct np_script *s);
size_t np_script_bytes(const struct np_script *s);
/* Whether the set has this hook. */
bool np_script_has(const struct np_script *s, enum np_hook hook);
/* A call ran out of memory: whoever owns the state renews it before the next hook, whosever that is. */
bool np_script_spoiled(const struct np_script *s);
/* A new state of the same set, powers and limits, ready for what the old one was ready for; what it declared
 * of streams goes over to the new one, the rest of the old one is the caller's to free. NULL without
 * memory, or where the lines of the old one are watched: it stays as it is. */
struct np_script *np_script_renew(struct np_script *old);

enum np_hook_result {
    NP_HOOK_ABSENT,  /* there is no such hook */
    NP_HOOK_NOTHING, /* it returned nil: no opinion */
    NP_HOOK_GAVE,    /* its answer is in the exchange or the verdict */
    NP_HOOK_FAILED   /* error, time, memory or wrong kind; the default decides */
};

/* Calls that are bounded by steps end once *flag is not 0; NULL: never. */
void np_script_interrupt(struct np_script *s, const volatile sig_atomic_t *flag);

struct np_hook_report {
    enum np_hook_result result;
    int failure; /* np_hook_failure of metrics/meters.h by value: 0 error 1 time 2 memory 3 type */
    uint64_t ns;
    bool stalled;    /* it overran its limit by more than 20 ms: a function of ours has no bound */
    char error[256]; /* "route.lua:14: …"; no client text of prompts */
};

/* GAVE: *refusal. The hook may also have changed the request. */
void np_hook_admit(struct np_script *s, struct np_exchange *x, struct np_refusal *refusal,
                   struct np_hook_report *rep);
/* GAVE: x->plan and x->n_plan. An unknown model, an empty or too long list is a failure of type. */
void np_hook_route(struct np_script *s, struct np_exchange *x, struct np_hook_report *rep);
/* GAVE: `kept` of the context items (pinned ones stay kept whatever it returns). */
void np_hook_truncate(struct np_script *s, struct np_exchange *x, const struct np_candidate *c,
                      int64_t room_tokens, struct np_hook_report *rep);

enum np_verdict_kind {
    NP_VERDICT_NONE,
    NP_VERDICT_LOWER, /* budget: max_tokens */
    NP_VERDICT_RETRY, /* retry: retry_in_ms */
    NP_VERDICT_NEXT,
    NP_VERDICT_DEGRADE,
    NP_VERDICT_FAIL,  /* retry */
    NP_VERDICT_REFUSE /* budget: refusal */
};

struct np_verdict {
    enum np_verdict_kind kind;
    int64_t max_tokens;
    int64_t retry_in_ms;
    struct np_refusal refusal;
};

void np_hook_budget(struct np_script *s, struct np_exchange *x, const struct np_candidate *c,
                    struct np_verdict *v, struct np_hook_report *rep);
/* remaining_ms is what is left of the deadline now. */
void np_hook_retry(struct np_script *s, struct np_exchange *x, const struct np_attempt *a,
                   struct np_verdict *v, struct np_hook_report *rep);
/* GAVE: x->answer.text was changed, or v->kind is NP_VERDICT_DEGRADE. */
void np_hook_respond(struct np_script *s, struct np_exchange *x, struct np_verdict *v,
                     struct np_hook_report *rep);
/* GAVE: text, status and retry_after_s of x->outcome, where it returned them. */
void np_hook_degrade(struct np_script *s, struct np_exchange *x, enum np_reason reason,
                     struct np_hook_report *rep);

/* What the alert hook says: something to tell, or names of alerts that are not to be told now. */
#define NP_ALARMS 64
struct np_alarms {
    struct np_alarm {
        char alert[40], subject[96]; /* subject "": of a silence every one */
        char severity[8];            /* page ticket info */
        char text[256];
        bool silence;
    } list[NP_ALARMS];
    size_t n;
};
/* x is of no request: endpoint, tenant and catalogue are what the policy set has first. */
void np_hook_alert(struct np_script *s, struct np_exchange *x, struct np_alarms *out,
                   struct np_hook_report *rep);

/* The version of Lua as loaded. */
void np_script_version(char *out, size_t size);

#endif
