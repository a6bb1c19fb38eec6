/* Inside the driver: its state for one exchange, and the steps that its files share. */
#ifndef NP_ENGINE_DRIVE_IMPL_H
#define NP_ENGINE_DRIVE_IMPL_H

#include "engine/drive.h"
#include "engine/quota.h"
#include "provider/sse.h"

/* At most this many attempts with one candidate, whatever a policy asks for. */
#define NP_TRIES_A_CANDIDATE 2
/* max_tokens is never lowered below this to fit a budget (or below what was asked for, if less). */
#define NP_COMPLETION_FLOOR 64
/* A candidate that is not known yet is given this long where others wait behind it. */
#define NP_UNKNOWN_P95_MS 1500
/* The ledger is asked again after this long, whether or not it has said something. */
#define NP_MONEY_WAIT_MS 250
/* An attempt that can't have at least this long is not made. */
#define NP_LEAST_ATTEMPT_MS 20
/* Calls that are read on for exact usage after their client left, a worker. */
#define NP_MAX_DRAINING 32

enum np_drive_state { NP_DRIVE_NEW, NP_DRIVE_CALLING, NP_DRIVE_WAITING, NP_DRIVE_DONE };

/* The streamed answer of an exchange: what its present attempt has brought. */
struct np_flow {
    const struct np_stream_form *form; /* of the attempt's adapter */
    struct np_sse sse;
    struct np_buf text;  /* what it said, decoded: all where it is kept, else the last of it */
    size_t text_bytes;   /* all that it said */
    int64_t text_tokens; /* estimate of what is not in text any more */
    struct np_stream_usage usage;
    struct np_answer fault; /* of an error in the stream */
    enum np_finish finish;
    int64_t thought_tokens; /* estimate of what it thought aloud */
    unsigned idle_events;   /* that brought neither text nor thought before the first text */
    size_t idle_bytes;      /* of them */
    uint64_t first_ns;      /* the first text */
    bool keep;              /* somebody wants the whole text at the end */
    bool hidden;            /* its model spends tokens that no answer shows */
    bool open;              /* the reply is a stream */
    bool alive;             /* text or thought has come */
    bool finished;          /* the provider said why it ends */
    bool ended;             /* … and that it is whole */
    bool failed;            /* an error came, or what can't be read; fault says it */
};

struct np_drive {
    enum np_drive_state state;
    enum np_reason obstacle;           /* the last thing that stood in the way; never breaker */
    size_t behind_breakers;            /* candidates that were passed over for their breaker */
    struct np_budget_block block;      /* of obstacle budget */
    bool blocked_by_budget;            /* block is filled */
    bool for_money;                    /* waits, or waited, for the ledger with this candidate */
    struct np_refusal refusal;         /* a budget hook's own, when it gave one */
    uint32_t keys_tried[NP_MAX_PLAN];  /* a bit a key, by candidate */
    bool again;                        /* the next attempt repeats its candidate */
    bool other_key;                    /* … with another key: no try, no retry budget */
    int64_t limit_tokens[NP_MAX_PLAN]; /* the real context limit, once a provider named it; 0 */
    size_t too_small;                  /* candidates whose context was too small */
    int64_t too_small_room;            /* the largest context among them, in tokens */
    int64_t last_retry_after_ms;       /* of the last failed attempt, or until a key is free; -1 */
    uint64_t phase_ns;                 /* when the call or wait began */
    struct np_quota quota;             /* what it holds of its tenant's limits */
    bool outside;                      /* waits for the ledger before anything else */
    struct np_flow *flow;              /* NULL: the client wants the answer whole */
};

static inline struct np_drive *np_drive_of(const struct np_exchange *x)
{
    return x->drive;
}

static inline struct np_candidate *np_drive_candidate(struct np_exchange *x)
{
    return &x->plan[x->at];
}

static inline struct np_attempt *np_drive_attempt(struct np_exchange *x)
{
    return &x->attempts[x->n_attempts - 1];
}

/* What is left of the endpoint's deadline, in milliseconds; 0 when it is over. */
int64_t np_drive_left_ms(const struct np_exchange *x, struct np_now now);
/* The script of the exchange's generation. */
struct np_script *np_drive_script(const struct np_drive_env *env, struct np_exchange *x);

/* drive.c: tries the plan from x->at on until a call or wait is under way or the outcome stands. */
void np_drive_advance(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* drive.c: counts a hook's call. True when its failure must be answered by a refusal. */
bool np_drive_hook_done(struct np_drive_env *env, struct np_exchange *x, enum np_hook hook,
                        const struct np_hook_report *rep);

/* drive.c: ends the exchange with policy_failed. */
void np_drive_refuse_failed_hook(struct np_drive_env *env, struct np_exchange *x, enum np_hook hook,
                                 struct np_now now);
/* drive.c: how long a call of this model is likely to take at most, in milliseconds: its p95 of late,
 * or NP_UNKNOWN_P95_MS. */
int64_t np_drive_likely_ms(const struct np_drive_env *env, const struct np_model *m,
                           struct np_now now);

/* drive.c: the attempt's call is over. end->how and answer are what became of it. */
void np_drive_end_attempt(struct np_drive_env *env, struct np_exchange *x,
                          const struct np_call_end *end, const struct np_answer *answer,
                          struct np_now now);
/* drive.c: an answer for a call that brought no whole reply, by how it ended. */
void np_drive_failure(struct np_exchange *x, const struct np_call_end *end, struct np_now now,
                      struct np_answer *out);

/* stream.c: the exchange's flow; NP_E_NOMEM. */
enum np_err np_flow_make(struct np_exchange *x) NP_MUST_CHECK;
/* stream.c: begins anew for an attempt with this model. */
enum np_err np_flow_begin(struct np_drive_env *env, struct np_exchange *x, const struct np_model *m,
                          bool hidden) NP_MUST_CHECK;
/* stream.c: what became of a streamed reply whose call ended so. */
void np_flow_answer(struct np_exchange *x, const struct np_call_end *end, struct np_now now,
                    struct np_answer *out);
/* stream.c: usage of a stream that ended before its provider told it: the prompt as told or counted,
 * what came, and a second's worth more; all that was allowed where tokens are hidden. */
struct np_usage np_flow_estimate(const struct np_exchange *x, const struct np_attempt *a,
                                 struct np_now now);

/* drive.c: the exchange is in its last state: what it held of its tenant's limits goes back. */
void np_drive_over(struct np_drive_env *env, struct np_exchange *x);

/* What became of trying a candidate. */
enum np_tried { NP_TRIED_CALLING, NP_TRIED_PASSED, NP_TRIED_ENDED, NP_TRIED_WAITING };

/* prepare.c: everything before an attempt's first byte leaves. */
enum np_tried np_drive_try(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* prepare.c: passes the candidate over. */
enum np_tried np_drive_skip(struct np_drive_env *env, struct np_exchange *x, enum np_skip why,
                            enum np_reason obstacle);

/* money.c: holds the worst cost of an attempt with the candidate, lowering completion_max where the
 * caps ask for it. NP_E_BUSY: the ledger asks its store for the money. */
enum np_err np_drive_reserve(struct np_drive_env *env, struct np_exchange *x,
                             struct np_candidate *c, struct np_now now, struct np_reservation *out);
/* money.c: waits for the ledger's news about the candidate's money. */
void np_drive_await_money(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* money.c: usage and cost of an attempt that has ended, booked. answer NULL: nothing was understood. */
void np_drive_settle(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                     const struct np_call_end *end, const struct np_answer *answer,
                     struct np_now now);

/* decide.c: what follows a failed attempt. */
void np_drive_decide(struct np_drive_env *env, struct np_exchange *x,
                     const struct np_answer *answer, struct np_now now);

/* finish.c: the ways in which an exchange ends. Each asks the ground for the one reply. */
void np_drive_refuse(struct np_drive_env *env, struct np_exchange *x, const struct np_refusal *r,
                     struct np_now now);
void np_drive_degrade(struct np_drive_env *env, struct np_exchange *x, enum np_reason reason,
                      struct np_now now);
/* A stream that broke off after text had reached the client. */
void np_drive_break_off(struct np_drive_env *env, struct np_exchange *x,
                        const struct np_answer *answer, struct np_now now);
void np_drive_answer(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* The plan is used up: what the last obstacle calls for. */
void np_drive_exhausted(struct np_drive_env *env, struct np_exchange *x, struct np_now now);

#endif
