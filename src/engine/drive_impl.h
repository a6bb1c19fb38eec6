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
/* Nor is one thought to be quicker than this: what a busy machine takes comes on top of its p95. */
#define NP_QUICKEST_P95_MS 100
/* The ledger is asked again after this long, whether or not it has said something. */
#define NP_MONEY_WAIT_MS 250
/* An attempt that can't have at least this long is not made. */
#define NP_LEAST_ATTEMPT_MS 20
/* Calls that are read on for exact usage after their client left, a worker. */
#define NP_MAX_DRAINING 32

enum np_drive_state { NP_DRIVE_NEW, NP_DRIVE_CALLING, NP_DRIVE_WAITING, NP_DRIVE_DONE };

/* The streamed answer of a leg: what its present attempt has brought. */
struct np_flow {
    const struct np_stream_form *form; /* of the attempt's adapter */
    struct np_sse sse;
    struct np_stream_frame frame;
    struct np_buf text;  /* what it said, decoded: all where it is kept, else the last of it */
    size_t text_bytes;   /* all that it said */
    int64_t text_tokens; /* estimate of what is not in text any more */
    struct np_stream_usage usage;
    struct np_identity said;
    struct np_span error; /* what is wrong with the stream */
    enum np_class fault;  /* … and what that is called */
    enum np_finish finish;
    int64_t thought_tokens; /* estimate of what it thought aloud */
    size_t idle_bytes; /* of events that brought neither text nor thought before the first text */
    uint64_t first_ns; /* the first text */
    uint64_t others;   /* parts of the answer that are no text; see np_stream_sort */
    unsigned half;     /* of a pair whose other half may come; see np_stream_join */
    unsigned idle_events;
    unsigned events; /* of a sampled trace */
    bool keep;       /* somebody wants the whole text at the end */
    bool hidden;     /* its model spends tokens that no answer shows */
    bool open;       /* the reply is a stream */
    bool alive;      /* text or thought has come */
    bool finished;   /* the provider said why it ends */
    bool ended;      /* … and that it is whole */
    bool failed;     /* an error came, or what can't be read; fault and error say it */
};

/* One of the calls that an exchange may have under way. */
struct np_leg {
    struct np_attempt *attempt; /* NULL: none is under way */
    uint64_t until_ns;          /* when it is cut, while nothing has come of it */
    struct np_flow *flow; /* of its streamed answer; NULL: the client wants it whole, or never */
};

struct np_drive {
    enum np_drive_state state;
    enum np_reason obstacle; /* the last thing that stood in the way; never breaker */
    struct np_leg leg[NP_LEGS];
    struct np_attempt *attempt;    /* the last one that ended; NULL: none did */
    uint64_t hedge_at_ns;          /* when a second is asked beside the call; 0: not */
    size_t hedged_at;              /* the candidate beside which it was */
    bool *kept;                    /* what the first of two legs keeps of the context */
    size_t behind_breakers;        /* candidates that were passed over for their breaker */
    struct np_budget_block *block; /* of obstacle budget, in the arena; NULL: none was yet */
    int64_t need_nusd;             /* the least that the attempt may have cost */
    bool hedged;                   /* it was: once an exchange */
    bool hedging;                  /* an attempt beside another is being prepared */
    bool hedge_counted;            /* it counts for the share of its endpoint */
    bool won;                      /* one has brought what the client gets */
    bool outside;                  /* waits for the ledger before anything else */
    bool blocked_by_budget;        /* block is filled, and still holds */
    bool for_money;                /* waits, or waited, for the ledger with this candidate */
    bool again;                    /* the next attempt repeats its candidate */
    bool other_key;                /* … with another key: no try, no retry budget */
    bool unsaid_limit;             /* a provider found the prompt too long without figures */
    size_t too_small;              /* candidates whose context was too small */
    int64_t too_small_room;        /* the largest context among them, in tokens */
    int64_t last_retry_after_ms;   /* of the last failed attempt, or until a key is free; -1 */
    uint64_t phase_ns;             /* when the call or wait began; the first of two calls */
    struct np_quota quota;         /* what it holds of its tenant's limits */
};

static inline struct np_drive *np_drive_of(const struct np_exchange *x)
{
    return x->drive;
}

static inline struct np_candidate *np_drive_candidate(struct np_exchange *x)
{
    return &x->plan[x->at];
}

static inline struct np_flow *np_drive_flow(const struct np_exchange *x, const struct np_attempt *a)
{
    return np_drive_of(x)->leg[a->hedge].flow;
}

/* The attempt that is under way beside this one; NULL: there is none. */
static inline struct np_attempt *np_drive_other(const struct np_exchange *x,
                                                const struct np_attempt *a)
{
    return np_drive_of(x)->leg[!a->hedge].attempt;
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
 * at least NP_QUICKEST_P95_MS, or NP_UNKNOWN_P95_MS. */
int64_t np_drive_likely_ms(const struct np_drive_env *env, const struct np_model *m,
                           struct np_now now);

/* drive.c: the attempt's call is over. end->how and answer are what became of it. */
void np_drive_end_attempt(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                          const struct np_call_end *end, const struct np_answer *answer,
                          struct np_now now);
/* drive.c: ends the attempt's call, for whose answer nobody waits any more. */
void np_drive_cut(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                  struct np_now now);
/* drive.c: an answer for a call that brought no whole reply, by how it ended. */
void np_drive_failure(struct np_exchange *x, const struct np_call_end *end, struct np_now now,
                      struct np_answer *out);

/* stream.c: the leg's flow; NP_E_NOMEM. */
enum np_err np_flow_make(struct np_exchange *x, unsigned leg) NP_MUST_CHECK;
/* stream.c: begins anew for an attempt. */
enum np_err np_flow_begin(struct np_drive_env *env, struct np_exchange *x,
                          const struct np_attempt *a, bool hidden) NP_MUST_CHECK;
/* stream.c: what became of a streamed reply whose call ended so. */
void np_flow_answer(struct np_exchange *x, const struct np_attempt *a,
                    const struct np_call_end *end, struct np_now now, struct np_answer *out);
/* stream.c: usage of a stream that ended before its provider told it: the prompt as told or counted,
 * what came, and a second's worth more; all that was allowed where tokens are hidden. */
struct np_usage np_flow_estimate(const struct np_exchange *x, const struct np_attempt *a,
                                 struct np_now now);

/* drive.c: the exchange is in its last state: what it held of its tenant's limits goes back. */
void np_drive_over(struct np_drive_env *env, struct np_exchange *x);

/* What stands in the way of an attempt. */
struct np_obstacle {
    enum {
        NP_CLEAR,
        NP_SKIPPED,   /* why, reason */
        NP_TOO_SMALL, /* room: the model's context */
        NP_FAILED,    /* hook, whose on_error is refuse */
        NP_DEGRADED,  /* reason: a hook's word */
        NP_REFUSED,   /* refusal */
        NP_AWAITED    /* the ledger's news */
    } kind;
    enum np_skip why;
    enum np_reason reason;
    enum np_hook hook;
    enum np_hedge hedge; /* what it is to one; none: as `why` says */
    int64_t room;
    struct np_refusal refusal;
};

/* What became of trying a candidate. */
enum np_tried { NP_TRIED_CALLING, NP_TRIED_PASSED, NP_TRIED_ENDED, NP_TRIED_WAITING };

/* prepare.c: everything before an attempt's first byte leaves. */
enum np_tried np_drive_try(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* prepare.c: the same for the candidate at x->at, without acting on what stands in the way; a call is
 * under way when it is clear. */
struct np_obstacle np_drive_prepare(struct np_drive_env *env, struct np_exchange *x,
                                    struct np_now now);
/* prepare.c: passes the candidate over. */
enum np_tried np_drive_skip(struct np_drive_env *env, struct np_exchange *x, enum np_skip why,
                            enum np_reason obstacle);
/* prepare.c: when a call with the candidate that began at start_ns is over by its own limits and the deadline. */
uint64_t np_drive_limit_ns(const struct np_exchange *x, const struct np_candidate *c,
                           uint64_t start_ns);
/* prepare.c: when what is tried after the candidate at x->at must have its turn, `begun` attempts being made by
 * then; the deadline where nothing is. */
uint64_t np_drive_room_from_ns(const struct np_drive_env *env, const struct np_exchange *x,
                               unsigned begun, struct np_now now);
/* prepare.c: the place in the plan of what is tried after the candidate at x->at; n_plan: nothing. */
size_t np_drive_next(const struct np_exchange *x);

/* hedge.c: asks for a wake when a second is to be asked beside this attempt, which has just begun and is
 * cut at until_ns. */
void np_hedge_arm(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a,
                  uint64_t until_ns);
void np_hedge_disarm(struct np_drive_env *env, struct np_exchange *x);
/* hedge.c: the time has come. */
void np_hedge_due(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* hedge.c: takes what a hedge takes off its endpoint's share and the slow provider's retry budget. False:
 * there is none. */
bool np_hedge_take(struct np_drive_env *env, const struct np_exchange *x, struct np_now now,
                   struct np_obstacle *no);
/* hedge.c: what was just taken was not used. */
void np_hedge_give(struct np_drive_env *env, const struct np_exchange *x, struct np_now now);
/* hedge.c: this attempt brings what the client gets; another that is under way is ended. */
void np_hedge_won(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a,
                  struct np_now now);
/* hedge.c: the attempt has failed, and another is under way. */
void np_hedge_failed(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a);
/* hedge.c: what became of it, once. */
void np_hedge_note(struct np_drive_env *env, struct np_exchange *x, enum np_hedge came);

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

/* decide.c: what follows the failed attempt. */
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
/* A stream that neap itself ends after text had reached the client. */
void np_drive_end_midway(struct np_drive_env *env, struct np_exchange *x,
                         const struct np_refusal *r, struct np_now now);
void np_drive_answer(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* The plan is used up: what the last obstacle calls for. */
void np_drive_exhausted(struct np_drive_env *env, struct np_exchange *x, struct np_now now);

#endif
