/* What the files of the OpenTelemetry exporter share. */
#ifndef NP_ENGINE_OTEL_IMPL_H
#define NP_ENGINE_OTEL_IMPL_H

#include "engine/engine_impl.h"
#include "engine/otel.h"
#include "provider/upstream.h"

#define NP_OTEL_FIELDS 32
#define NP_OTEL_URL_BYTES 1100
#define NP_OTEL_ATTRS 64

/* --- otel_config.c: the environment ---------------------------------------------------------------- */

struct np_otel_signal_config {
    bool on;
    bool json; /* else protobuf */
    char url[NP_OTEL_URL_BYTES];
    uint32_t timeout_ms;
    struct np_call_field fields[NP_OTEL_FIELDS]; /* headers; in texts */
    size_t n_fields;
};

struct np_otel_attr {
    const char *key, *value; /* in texts */
};

struct np_otel_config {
    struct np_otel_signal_config traces, metrics;
    struct np_trace_rule rule;
    uint32_t delay_ms, interval_ms;
    uint32_t queue, batch; /* spans */
    const char *ca_file;   /* NULL: --ca-file's */
    struct np_otel_attr attrs[NP_OTEL_ATTRS];
    size_t n_attrs;
    struct np_arena *texts;
};

/* Where the environment's variables are; get gives NULL where there is none. */
struct np_otel_env {
    const char *(*get)(void *ctx, const char *name);
    /* A variable that is not taken as it is; texts without its value, which may be a secret. */
    void (*warn)(void *ctx, const char *name, const char *what);
    void *ctx;
};

/* NP_E_NOMEM; *out must be freed in either case. */
enum np_err np_otel_config_read(struct np_otel_config *out,
                                const struct np_otel_env *env) NP_MUST_CHECK;
void np_otel_config_free(struct np_otel_config *c);

/* --- otel_send.c: one message at a time to one address --------------------------------------------- */

enum np_otel_result { NP_OTEL_OK, NP_OTEL_RETRIED, NP_OTEL_FAILED, NP_OTEL_RESULTS };

struct np_otel_sender {
    const char *signal; /* "traces" or "metrics" */
    const struct np_otel_signal_config *config;
    struct np_loop *loop;
    struct np_upstream *upstream;
    struct np_rng *rng;
    struct np_buf body, reply;
    struct np_call *call; /* under way */
    struct np_timer again;
    unsigned tries;
    bool busy;    /* a message is under way, or waits to be tried again */
    bool last;    /* nothing is tried again any more */
    bool failing; /* told once */
    _Atomic uint64_t results[NP_OTEL_RESULTS];
    /* The message is through (rejected: how many of its items the collector did not take) or given up. */
    void (*done)(void *ctx, bool sent, uint64_t rejected);
    void *ctx;
};

void np_otel_sender_init(struct np_otel_sender *s);
/* Sends body, which is filled; not busy. done follows, not from inside, in every case. */
void np_otel_send(struct np_otel_sender *s);
/* What waits to be tried again is tried now, and then given up. */
void np_otel_send_last(struct np_otel_sender *s);
void np_otel_sender_free(struct np_otel_sender *s);

/* --- otel.c ---------------------------------------------------------------------------------------- */

struct np_otel_batch {
    struct np_buf spans; /* the message as far as it goes */
    struct np_otlp head; /* what is open in it */
    unsigned n;
};

struct np_otel {
    struct neap_engine *engine;
    struct np_otel_config config;
    struct np_loop *loop;
    struct np_upstream *upstream;
    struct np_rng rng;
    pthread_t thread;
    bool running;
    uint64_t start_unix_ns;
    /* The loop's. */
    struct np_otel_sender traces, metrics;
    struct np_timer delay, interval, give_up;
    unsigned sending; /* spans under way */
    bool due;         /* batches are sent although they are not full */
    bool stopping, metrics_final;
    /* Batches that wait, the oldest first; the writer's and the loop's. */
    pthread_mutex_t lock;
    struct np_otel_batch *batches; /* a circle of max_batches */
    size_t max_batches, first, n_batches;
    unsigned queued; /* spans in them */
    bool woken;      /* the loop will look */
    _Atomic uint64_t sent, dropped, rejected, failed;
};

/* otel.c: spans that found no place. */
void np_otel_lost(struct np_otel *o, unsigned n);

#endif
