/* The simulated ground: the real driver, Lua state, guards and ledger on virtual time, seeded chance and
 * scripted providers. No sockets, no threads, no waiting. Hooks are bounded by steps, not time, so
 * that the same seed and source give the same decisions everywhere. */
#ifndef NP_ENGINE_SIMGROUND_H
#define NP_ENGINE_SIMGROUND_H

#include "engine/drive.h"

struct np_sim;

/* How one call ends; texts are copied. */
struct np_sim_reply {
    enum np_call_how how;
    unsigned status;
    uint64_t takes_ns; /* cut at the call's deadline, as the live ground does */
    bool not_sent;     /* the request never left (connection refused, …) */
    /* The body is a stream of events: the first comes at first_ns, the last at takes_ns, and how is what
     * the call ends with then. The provider's time-outs hold for it. */
    bool stream;
    uint64_t first_ns;
    struct np_span content_type, retry_after, body;
};

struct np_sim_source {
    /* Asked once a call, when it starts. */
    void (*call)(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                 struct np_rng *rng, struct np_sim_reply *out);
    /* The exchange has its outcome (or its client has left); it is freed afterwards. */
    void (*closed)(void *ctx, const struct np_exchange *x);
    void *ctx;
    /* Hooks are bounded by time instead of steps, to measure them as they run in production. False
     * wherever the outcome counts. */
    bool timed;
};

/* set is held; NULL without memory. */
struct np_sim *np_sim_new(struct np_policyset *set, uint64_t seed,
                          const struct np_sim_source *source);
void np_sim_free(struct np_sim *s);

struct np_sim_client {
    struct np_span body;
    const char *endpoint;     /* must be in the catalogue */
    const char *tenant;       /* NULL: the first of the catalogue, else anonymous */
    uint64_t at_ns;           /* virtual time at which the request comes, not before now */
    uint64_t leaves_after_ns; /* 0: it stays */
};

/* Adds a client. NP_E_NOTFOUND: no such endpoint or tenant. */
enum np_err np_sim_add(struct np_sim *s, const struct np_sim_client *client) NP_MUST_CHECK;
/* An exchange as np_sim_add makes it, that nothing happens to; the caller's to free. */
enum np_err np_sim_exchange(struct np_sim *s, const struct np_sim_client *client,
                            struct np_exchange **out) NP_MUST_CHECK;
/* Lets time pass until nothing is left to happen. */
void np_sim_run(struct np_sim *s);
/* The same until a time, which is now afterwards. */
void np_sim_pass(struct np_sim *s, uint64_t until_ns);
/* Another set takes over between two requests, as a reload does: time, breakers, accounts and shared
 * values carry on. It was loaded with the same slots, and is held. NP_E_NOMEM: the old one stays. */
enum np_err np_sim_turn(struct np_sim *s, struct np_policyset *set) NP_MUST_CHECK;
uint64_t np_sim_now_ns(const struct np_sim *s);
/* From here on chance is that of this seed. */
void np_sim_seed(struct np_sim *s, uint64_t seed);
/* The wall clock at a virtual time. */
int64_t np_sim_wall_ms(uint64_t at_ns);
struct np_guard *np_sim_guard(struct np_sim *s);
struct np_ledger *np_sim_ledger(struct np_sim *s);
/* What the ground lends to policies; valid until the next turn. */
const struct np_powers *np_sim_powers(const struct np_sim *s);
/* The Lua state of its hooks; valid until the next turn. */
struct np_script *np_sim_script(struct np_sim *s);
/* The meters of the simulated worker. */
struct np_meters *np_sim_meters(struct np_sim *s);
/* Exchanges that are not closed. */
size_t np_sim_open(const struct np_sim *s);

#endif
