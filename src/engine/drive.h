/* The driver: a state machine that carries one exchange from its body to its one reply. It takes events
 * (request in, call done, wait over, client gone), asks its ground for actions (call, wait, reply) and
 * decides with hooks, guards and ledger. It does no I/O and reads no clock: every event brings the
 * time. The same driver runs on the live and on the simulated ground.
 *
 * States: NEW → (CALLING | WAITING)* → DONE. While CALLING a second call may run beside a slow one: see
 * hedge.c. In DONE the exchange's outcome stands; the ground's reply
 * was asked for exactly once, unless the client was gone before. */
#ifndef NP_ENGINE_DRIVE_H
#define NP_ENGINE_DRIVE_H

#include "base/rng.h"
#include "guard/guard.h"
#include "ledger/ledger.h"
#include "metrics/meters.h"
#include "model/exchange.h"
#include "provider/upstream.h"
#include "script/adapter.h"
#include "script/hooks.h"

/* The most of drive_env's delta: one event of a stream, and what came with it. */
#define NP_DRIVE_DELTA_BYTES ((size_t)2 << 20)

/* When an event happened. */
struct np_now {
    uint64_t mono_ns;
    int64_t wall_ms;
};

/* Calls of one exchange that may be under way at once: the second is a hedge. */
#define NP_LEGS 2

/* What the driver asks for a call, beside the wire request. */
struct np_call_order {
    unsigned leg; /* which of the exchange's calls it is */
    const struct np_model *model;
    const struct np_wire *wire; /* until call returns; its texts are in the exchange's arena */
    uint64_t deadline_ns;       /* monotonic: when the call is cut */
    uint64_t started_ns;        /* set by the ground: when it began the call */
    bool stream;                /* the reply may come piece by piece: see np_drive_head */
};

/* The ground: who performs. None of these may call back into the driver before returning. */
struct np_ground {
    /* Starts a call of the exchange, one a leg, and says when that was (hooks and adapter have taken their time
     * since the event); np_drive_done follows unless abort comes first. */
    enum np_err (*call)(void *ctx, struct np_exchange *x, struct np_call_order *order);
    /* Ends the call; np_drive_done does not follow. True when a byte of the request may have left. */
    bool (*abort)(void *ctx, struct np_exchange *x, unsigned leg);
    /* What is awaited of a streamed reply has come: the time-out for it is over, and the call is cut
     * at deadline_ns. */
    void (*flows)(void *ctx, struct np_exchange *x, unsigned leg, uint64_t deadline_ns);
    /* The call is cut at deadline_ns from now on, and not before. */
    void (*put_off)(void *ctx, struct np_exchange *x, unsigned leg, uint64_t deadline_ns);
    /* Gives a piece of the leg's streamed answer to the client: text as the inside of a JSON string, valid until
     * it returns. The first begins the one reply; `reply` then only ends it. */
    void (*emit)(void *ctx, struct np_exchange *x, unsigned leg, struct np_span json_text);
    /* np_drive_wake follows at this time, not earlier. At most one wait an exchange, between calls or
     * beside one. */
    void (*wait)(void *ctx, struct np_exchange *x, uint64_t at_ns);
    /* … and does not follow any more. */
    void (*unwait)(void *ctx, struct np_exchange *x);
    /* np_drive_wake follows when the ledger has news, at this time at the latest. Counts as its wait. */
    void (*await)(void *ctx, struct np_exchange *x, uint64_t at_ns);
    /* Gives x->outcome to the client; comes once. What was emitted is not given again. */
    void (*reply)(void *ctx, struct np_exchange *x);
    void *ctx;
};

/* What the driver of one worker works with; not its own. script is that of the exchange's generation:
 * it is asked for at each event. */
struct np_drive_env {
    const struct np_ground *ground;
    struct np_guard *guard;
    struct np_ledger *ledger;
    struct np_meters *meters;
    struct np_rng *rng;
    struct np_script *(*script)(void *ctx, struct np_exchange *x);
    void *script_ctx;
    /* A hook was called; NULL: nobody counts. */
    void (*hooked)(struct np_exchange *x, enum np_hook hook, bool failed);
    struct np_buf *delta;    /* scratch for the texts of one piece of a stream */
    bool keep_texts;         /* the outcome's text is wanted of streams, too */
    unsigned draining_calls; /* calls read on for exact usage after their client left */
};

/* A call's end as the driver wants it: how it ended, and the reply where one came. */
struct np_call_result {
    struct np_call_end end;
    struct np_wire_reply reply; /* spans live until np_drive_done returns */
};

/* Starts: endpoint, tenant, catalogue, policy, id, times and body of x are set. */
void np_drive_request(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* The head of the leg's reply has come. True: its body is a stream, and wanted as np_drive_data; else
 * whole in np_drive_done. */
bool np_drive_head(struct np_exchange *x, unsigned leg, unsigned status,
                   struct np_span content_type);
/* The next bytes of a stream. Calls may have been aborted in it, and others begun. */
void np_drive_data(struct np_drive_env *env, struct np_exchange *x, unsigned leg,
                   struct np_span bytes, struct np_now now);
void np_drive_done(struct np_drive_env *env, struct np_exchange *x, unsigned leg,
                   const struct np_call_result *result, struct np_now now);
void np_drive_wake(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* The client went away before its reply. */
void np_drive_gone(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* Ends the calls that are read on although its client has left. */
void np_drive_abandon(struct np_drive_env *env, struct np_exchange *x, struct np_now now);
/* What is under way ends now, and its client is told why. */
void np_drive_dismiss(struct np_drive_env *env, struct np_exchange *x, const struct np_refusal *r,
                      struct np_now now);
/* Frees what the driver holds outside of the exchange's arena. */
void np_drive_free(struct np_exchange *x);
/* Nothing of the exchange is under way at a provider any more and its outcome stands. */
bool np_drive_idle(const struct np_exchange *x);

#endif
