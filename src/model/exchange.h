/* The exchange: one client call from accept to account, and everything that hangs on it. It belongs
 * to one worker; no other thread ever sees it. Its memory is its arena, freed in one place
 * (engine/account.c) when neither its client nor its driver needs it any more. */
#ifndef NP_MODEL_EXCHANGE_H
#define NP_MODEL_EXCHANGE_H

#include "base/arena.h"
#include "base/id.h"
#include "base/timer.h"
#include "model/catalog.h"
#include "model/class.h"
#include "model/identity.h"
#include "model/money.h"
#include "model/request.h"
#include "model/trace.h"
#include "model/usage.h"

#define NP_MAX_ATTEMPTS 16
#define NP_MAX_SKIPS 16
#define NP_MAX_HOOK_NOTES 64

/* One entry of the plan. */
struct np_candidate {
    const struct np_model *model;
    uint32_t timeout_ms;     /* 0: the provider's */
    uint32_t hedge_after_ms; /* 0: none */
    int64_t max_tokens;      /* -1: not lowered */
    /* Worked out when it is prepared: */
    int64_t prompt_raw;     /* estimate, with the kept context */
    int64_t prompt_tokens;  /* the same as this model is likely to count it */
    int64_t prompt_bound;   /* at most, by bytes */
    int64_t completion_max; /* what the call will be allowed */
    int64_t estimated_nusd;
    int64_t worst_nusd;
    int64_t limit_tokens; /* the real context limit, once a provider named it; 0 */
    uint32_t keys_tried;  /* a bit a key */
    uint16_t tries;       /* attempts with it so far, other keys not counted */
    bool shortened;       /* truncated to the provider's real limit already */
    bool hedged;          /* was asked beside another, and is not tried anew */
};

enum np_settled { NP_SETTLED_VOID, NP_SETTLED_EXACT, NP_SETTLED_ESTIMATED, NP_SETTLED_PRESUMED };

const char *np_settled_name(enum np_settled s);

/* Which accounts hold money for an attempt. Filled by ledger/. */
struct np_reservation {
    uint32_t account[NP_MAX_ACCOUNTS]; /* numbers of the ledger's */
    int64_t window_start[NP_MAX_ACCOUNTS];
    size_t n;
    int64_t amount_nusd;
    uint64_t number;                      /* its own, in the life of the process */
    const char *request, *tenant, *model; /* labels; live as long as the exchange */
    unsigned attempt;
    bool open;
};

struct np_attempt {
    const struct np_model *model;
    size_t candidate; /* index into the plan */
    const struct np_secret *key;
    unsigned number; /* from 1 over the exchange */
    enum np_class class;
    unsigned status;      /* 0: none */
    uint32_t deltas;      /* its text has reached the client in so many pieces */
    struct np_span error; /* short, escaped when printed, at most 512 bytes */
    struct np_span provider_request_id;
    struct np_identity said;                  /* of a good answer whose trace is sampled */
    int64_t retry_after_ms;                   /* -1: not said */
    uint64_t start_ns, first_byte_ns, end_ns; /* monotonic; 0: did not happen. Of a stream the first
                                               * text counts as its first byte */
    uint64_t connect_ns;                      /* how long connecting took; 0: reused or unknown */
    struct np_usage usage;
    int64_t cost_nusd;
    int64_t retry_in_ms; /* the wait that follows; -1: none */
    size_t after_notes;  /* hooks called before it */
    enum np_settled settled;
    bool usage_reported;
    bool usage_flagged; /* what was reported is impossible; replaced by the estimate */
    bool again;         /* it repeats its predecessor's candidate */
    bool probe;         /* it is the breaker's probe */
    bool hedge;         /* it began beside another that had not answered */
    bool lost;          /* another answered first, and it was ended */
    bool emitted;       /* text of it has reached the client */
    bool ended;
    struct np_reservation reservation;
};

struct np_skipped {
    const struct np_model *model;
    enum np_skip why;
    uint16_t after_notes, after_attempts; /* hooks called and attempts made before */
    struct np_span account;               /* the budget that had no room, in the arena; n 0: none */
};

/* One call of a hook, for the record. Texts are in the arena. On the live ground steps are not known:
 * counting would cost time there. */
struct np_hook_note {
    enum np_hook hook;
    uint32_t us;
    uint64_t ns;          /* the same, finer */
    int64_t steps;        /* VM instructions, and the like in C; 0: not counted */
    const char *file;     /* where it returned or failed, in the policy set; NULL: not known */
    unsigned line;        /* of that file */
    struct np_span error; /* how it failed, in Lua's words behind the place; n 0: not known */
    struct np_span
        returned; /* in short: "nothing", "next", "gpt-4.1, gpt-4.1-mini", "failed: time" */
    struct np_span why;
};

#define NP_HOOK_PLACE 96
/* Where it returned or failed, "route.lua:14", in text; n 0: not known. */
struct np_span np_hook_note_place(const struct np_hook_note *h, char text[NP_HOOK_PLACE]);

/* What an adapter understood of a provider's answer. */
struct np_answer {
    enum np_class class;
    enum np_finish finish;
    struct np_span text; /* decoded UTF-8, in the arena */
    struct np_span provider_request_id;
    struct np_identity said; /* where the trace is sampled */
    struct np_span error;
    int64_t retry_after_ms; /* -1: not said */
    int64_t limit_tokens;   /* too_long: the real limit when it was said; -1 */
    int64_t prompt_seen;    /* … and the prompt's tokens as the provider counted them; -1 */
    struct np_usage usage;
    bool usage_reported;
    bool usage_flagged;
};

/* What the client gets. */
struct np_outcome {
    unsigned status;
    enum np_reason reason;
    enum np_finish finish;
    bool degraded;
    bool refused; /* the refusal is the answer */
    bool broken;  /* a stream ended with an error after text had reached the client; the refusal
                   * says which */
    struct np_span text;
    struct np_refusal refusal; /* status >= 400 */
    int64_t retry_after_s;     /* -1: none */
};

struct np_exchange {
    struct np_arena *arena;

    const char *id; /* in the arena */
    int64_t at_wall_ms;
    uint64_t accept_ns;   /* first byte of the request seen */
    uint64_t deadline_ns; /* monotonic */
    const struct np_endpoint *endpoint;
    const struct np_tenant *tenant;
    const struct np_catalog *catalog;
    const char *policy; /* version */
    struct np_trace trace;
    struct np_span body;
    struct np_request request;
    struct np_span tags; /* raw JSON of what admit wrote; p NULL: none */

    struct np_candidate *plan; /* in the arena */
    size_t n_plan;
    size_t at; /* the candidate that is being tried */

    struct np_attempt *attempts; /* in the arena, moved as it grows; NULL before the first */
    size_t n_attempts;
    unsigned counted_attempts; /* towards max_attempts */
    uint32_t notes_lost;       /* calls of hooks beyond NP_MAX_HOOK_NOTES */
    /* Both grow in the arena, so that the many requests with few of them stay small. */
    struct np_skipped *skipped;
    size_t n_skipped;
    struct np_hook_note *notes;
    size_t n_notes;
    uint64_t hooks_ns; /* spent in hooks */

    int64_t cost_nusd;     /* settled so far */
    int64_t reserved_nusd; /* open now */
    int64_t reserved_max_nusd;
    uint64_t upstream_ns; /* spent waiting for providers and in waits between attempts */

    struct np_answer answer; /* of the attempt that was good */
    const struct np_model *answered_by;
    struct np_outcome outcome;
    uint64_t first_text_ns; /* when the first did; 0: none */
    uint64_t end_ns;
    enum np_hedge hedge; /* what became of asking a second beside the first */
    bool emitted;        /* text of a streamed answer has reached the client */
    bool done;           /* the one reply was given, or nobody is there to take it */
    bool client_gone;

    void *ground; /* the ground's own handle on this exchange */
    void *drive;  /* the driver's own state */
    void *gen;    /* the generation it began with, as this worker holds it */
};

/* A new exchange with its arena; NULL without memory. */
struct np_exchange *np_exchange_new(size_t arena_max_bytes);
/* For engine/account.c only, and for exchanges that nobody has driven. */
void np_exchange_free(struct np_exchange *x);

/* Makes room for a plan of at most n candidates, and leaves it empty; false without memory. */
bool np_exchange_plan(struct np_exchange *x, size_t n) NP_MUST_CHECK;

/* Room for one more attempt, behind those that are counted; NULL without memory, or when there are
 * NP_MAX_ATTEMPTS. The others may have moved. */
struct np_attempt *np_exchange_attempt(struct np_exchange *x);

/* The note, for what more is known of the call, valid until the next; NULL when there are too many or
 * no memory for it. */
struct np_hook_note *np_exchange_note_hook(struct np_exchange *x, enum np_hook hook, uint64_t ns,
                                           struct np_span returned, struct np_span why);
void np_exchange_note_skip(struct np_exchange *x, const struct np_model *m, enum np_skip why);

#endif
