/* Inside a worker: one thread, one loop, one front, one upstream, one driver. */
#ifndef NP_ENGINE_WORKER_IMPL_H
#define NP_ENGINE_WORKER_IMPL_H

#include "engine/engine_impl.h"
#include "guard/line.h"
#include "provider/upstream.h"

struct np_worker {
    struct neap_engine *engine;
    unsigned number;
    pthread_t thread;
    bool running;
    struct np_loop *loop;
    struct np_front *front;
    struct np_upstream *upstream;
    struct np_here *here; /* the generation of new requests */
    struct np_ring *ring; /* log lines and decision records, to the writer */
    struct np_meters *meters;
    struct np_till *till;
    struct np_rng rng;
    struct np_ground ground;
    struct np_drive_env drive;
    struct np_buf delta;  /* the driver's scratch */
    struct np_buf record; /* the account's */
    struct np_account_env account;
    struct np_otel_side otel;
    _Atomic size_t open;                      /* exchanges that are not closed */
    _Atomic bool drained;                     /* its front takes no further connections */
    struct np_live *read_on;                  /* those whose client left, and whose call goes on */
    struct np_live *awaiting, *last_awaiting; /* those that wait for money, the oldest first */
    size_t n_awaiting;
    struct np_line line; /* requests that are whole and have not begun */
    struct np_timer line_timer;
    uint64_t front_ns;      /* when the front's part of this turn began */
    uint64_t shed_since_ns; /* refusals of the present second, for the log */
    unsigned shed;
    struct np_ledger_listener listener;
    _Atomic bool money_posted; /* the loop will hear of the ledger's news */
};

#define NP_REPLY_MAX_BYTES (16u << 20) /* a provider's whole reply */
#define NP_BODY_MAX_BYTES (32u << 20)  /* what a client gets */

/* One of the calls that an exchange may have under way. */
struct np_live_leg {
    struct np_exchange *x;
    unsigned number;
    bool streamed;        /* its reply is given to the driver piece by piece */
    bool paused;          /* it waits for the client to read */
    struct np_call *call; /* NULL: none is under way */
    struct np_span body;  /* what it sends; p NULL: not held any more */
    struct np_buf reply;  /* what the provider sent so far */
};

/* An exchange on the live ground. In the exchange's arena. */
struct np_live {
    struct np_worker *worker;
    struct np_http_call *client; /* NULL once it is gone */
    struct np_live_leg leg[NP_LEGS];
    struct np_timer timer; /* the wait between attempts, or beside one */
    struct np_buf body;    /* what the client gets; borrowed by the front */
    struct np_exchange *x;
    struct np_live *prev, *next;     /* in the worker's read_on */
    struct np_live *before, *behind; /* in the worker's awaiting */
    struct np_line_place place;
    bool begun;     /* it gets a stream, and that has begun */
    bool awaits;    /* it is in the worker's awaiting */
    bool has_place; /* it counts as under way */
    bool untold;    /* one of a flood of refusals: no log line, no record */
};

static inline struct np_now np_worker_now(const struct np_worker *w)
{
    return (struct np_now){np_loop_now_ns(w->loop), np_clock_wall_ms(&np_clock_live)};
}

/* intake.c: the client side's events. */
struct np_front_ops np_intake_ops(struct np_worker *w);
/* intake.c: how the refusals of the front get their request ids; ctx of its ops is the worker. */
void np_intake_ids(struct np_front_config *config);
/* intake.c: the time to drain is over: whoever waits is told, and what is under way ends. */
void np_intake_dismiss(struct np_worker *w);
/* live_stream.c: a streamed reply. */
void np_live_emit(void *ctx, struct np_exchange *x, unsigned leg, struct np_span json_text);
/* live_stream.c: the end of the reply of an exchange whose client wants a stream. */
void np_live_end_stream(struct np_exchange *x);
/* live_stream.c: paused calls go on. */
void np_live_go_on(struct np_live *live);
/* live.c: the ground that performs. */
struct np_ground np_live_ground(struct np_worker *w);
/* live.c: its wait has ended, however. */
void np_live_wait_over(struct np_live *live);
/* live.c: the ledger has news for those that wait for money. */
void np_live_money(struct np_worker *w);
/* live.c: closes the exchange when neither the client nor the driver needs it any more. */
void np_live_settle(struct np_exchange *x);
/* live.c: ends every call that is read on although its client has left. */
void np_live_abandon(struct np_worker *w);

#endif
