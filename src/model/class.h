/* How an attempt ends: exactly one class each, and what the class means by itself. One table, so
 * that names in records, metrics and policies are the same everywhere. */
#ifndef NP_MODEL_CLASS_H
#define NP_MODEL_CLASS_H

#include "base/span.h"

enum np_fault {
    NP_FAULT_NONE,
    NP_FAULT_PROVIDER,
    NP_FAULT_OPERATOR,
    NP_FAULT_CALLER,
    NP_FAULT_NEAP
};

/* What is done after a class when no policy says otherwise. */
enum np_then {
    NP_THEN_DONE,     /* ok */
    NP_THEN_AGAIN,    /* the same candidate once more, else next */
    NP_THEN_NEXT,     /* the next candidate */
    NP_THEN_KEY,      /* the next key of the provider, then next */
    NP_THEN_SHORTEN,  /* truncate to the real limit once, or a candidate with more room, else 400 */
    NP_THEN_FILTERED, /* degrade, reason filtered */
    NP_THEN_STOP,     /* 400 with the provider's words */
    NP_THEN_ABORT,    /* nobody waits any more */
    NP_THEN_DEGRADE   /* degrade, reason deadline */
};

/*    name          whose fault  then      counts for the breaker */
#define NP_CLASSES(X)                      \
    X(ok, NONE, DONE, false)               \
    X(network, PROVIDER, AGAIN, true)      \
    X(timeout, PROVIDER, AGAIN, true)      \
    X(rate_limited, PROVIDER, AGAIN, true) \
    X(quota, PROVIDER, NEXT, false)        \
    X(overloaded, PROVIDER, AGAIN, true)   \
    X(server_error, PROVIDER, AGAIN, true) \
    X(bad_reply, PROVIDER, NEXT, true)     \
    X(cut, PROVIDER, STOP, true)           \
    X(credential, OPERATOR, KEY, false)    \
    X(model_gone, OPERATOR, NEXT, false)   \
    X(too_long, CALLER, SHORTEN, false)    \
    X(filtered, CALLER, FILTERED, false)   \
    X(rejected, CALLER, STOP, false)       \
    X(cancelled, CALLER, ABORT, false)     \
    X(deadline, NEAP, DEGRADE, false)

enum np_class {
#define NP_CLASS_ENUM(name, fault, then, breaker) NP_CLASS_##name,
    NP_CLASSES(NP_CLASS_ENUM)
#undef NP_CLASS_ENUM
        NP_CLASS_COUNT
};

const char *np_class_name(enum np_class c);
/* NP_CLASS_COUNT when there is no such class. */
enum np_class np_class_find(struct np_span name);
enum np_fault np_class_fault(enum np_class c);
enum np_then np_class_then(enum np_class c);
bool np_class_trips_breaker(enum np_class c);

/* Why a reply is degraded. */
#define NP_REASONS(X) \
    X(none) X(budget) X(breaker) X(deadline) X(exhausted) X(filtered) X(shed) X(policy)

enum np_reason {
#define NP_REASON_ENUM(name) NP_REASON_##name,
    NP_REASONS(NP_REASON_ENUM)
#undef NP_REASON_ENUM
        NP_REASON_COUNT
};

const char *np_reason_name(enum np_reason r);
enum np_reason np_reason_find(struct np_span name); /* NP_REASON_COUNT: unknown */

/* Why a candidate was passed over without a call. */
#define NP_SKIPS(X) X(none) X(budget) X(breaker) X(busy) X(quota) X(deadline)

enum np_skip {
#define NP_SKIP_ENUM(name) NP_SKIP_##name,
    NP_SKIPS(NP_SKIP_ENUM)
#undef NP_SKIP_ENUM
        NP_SKIP_COUNT
};

const char *np_skip_name(enum np_skip s);

/* What became of asking a second candidate beside a slow first one: it answered first, the first one
 * did, it failed by itself, the client left; or why it was not asked: no other provider, the share of
 * requests, the retry budget, a budget's room or fullness, a breaker, places in flight, keys, attempts,
 * time, or a policy's word. */
#define NP_HEDGES_MADE(X) X(won) X(lost) X(failed) X(left)
#define NP_HEDGES_NOT_NOW(X) X(share) X(retries) X(budget) X(breaker) X(busy) X(quota)
#define NP_HEDGES_NOT(X) X(provider) X(attempts) X(deadline) X(policy) NP_HEDGES_NOT_NOW(X)
#define NP_HEDGES(X) X(none) NP_HEDGES_MADE(X) NP_HEDGES_NOT(X)

enum np_hedge {
#define NP_HEDGE_ENUM(name) NP_HEDGE_##name,
    NP_HEDGES(NP_HEDGE_ENUM)
#undef NP_HEDGE_ENUM
        NP_HEDGE_COUNT
};

const char *np_hedge_name(enum np_hedge h);

#define NP_FINISHES(X) X(stop) X(length) X(tool_calls) X(content_filter) X(degraded) X(error)

enum np_finish {
#define NP_FINISH_ENUM(name) NP_FINISH_##name,
    NP_FINISHES(NP_FINISH_ENUM)
#undef NP_FINISH_ENUM
        NP_FINISH_COUNT
};

const char *np_finish_name(enum np_finish f);
enum np_finish np_finish_find(struct np_span name); /* NP_FINISH_COUNT: unknown */

/* The types of error that a client can meet: name and HTTP status. */
#define NP_REFUSALS(X)             \
    X(invalid_request, 400)        \
    X(unauthorized, 401)           \
    X(forbidden, 403)              \
    X(not_found, 404)              \
    X(method_not_allowed, 405)     \
    X(length_required, 411)        \
    X(too_large, 413)              \
    X(unsupported_media_type, 415) \
    X(headers_too_large, 431)      \
    X(conflict, 409)               \
    X(rate_limited, 429)           \
    X(budget_exceeded, 429)        \
    X(upstream_failed, 502)        \
    X(deadline_exceeded, 504)      \
    X(overloaded, 503)             \
    X(draining, 503)               \
    X(policy_failed, 503)

enum np_refusal_type {
#define NP_REFUSAL_ENUM(name, status) NP_REFUSAL_##name,
    NP_REFUSALS(NP_REFUSAL_ENUM)
#undef NP_REFUSAL_ENUM
        NP_REFUSAL_COUNT
};

const char *np_refusal_name(enum np_refusal_type t);
unsigned np_refusal_status(enum np_refusal_type t);

#endif
