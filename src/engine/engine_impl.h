/* The engine's threads and what they share. Workers (one loop each) carry exchanges; the keeper reads
 * policies and frees old states; the admin thread answers operators; the writer drains the rings of
 * logs and records. What workers share is in guard, ledger and the shared store, each with its own
 * short locks. */
#ifndef NP_ENGINE_ENGINE_IMPL_H
#define NP_ENGINE_ENGINE_IMPL_H

#include <neap/neap.h>

#include "base/loop.h"
#include "base/ring.h"
#include "engine/account.h"
#include "engine/drive.h"
#include "engine/generation.h"
#include "http/front.h"
#include "http/limits.h"
#include "http/tls.h"
#include "script/shared.h"

#include <pthread.h>
#include <stdatomic.h>

#define NP_MAX_WORKERS 64
#define NP_KEPT_GENERATIONS 5

struct np_worker;
struct np_keeper;
struct np_admin;
struct np_writer;
struct np_recent;
struct np_monitor;
struct np_otel;

struct neap_engine {
    struct neap_options options; /* with defaults filled in */
    struct np_slots slots;
    struct np_guard *guard;
    struct np_ledger *ledger;
    unsigned store_share; /* --on-store-loss share:N; 0: degrade */
    struct np_shared *shared;
    struct np_http_limits *limits; /* connections of clients */
    struct np_tls *tls;            /* NULL: clients speak plain HTTP */
    struct neap_mock *mock;        /* --simulate */
    char simulate_url[64];         /* "http://127.0.0.1:PORT"; empty: real providers */
    char *hosts_text;              /* what hosts point into */
    const char *hosts[16];
    size_t n_hosts;
    struct np_worker *workers[NP_MAX_WORKERS];
    struct np_meters
        *meters[NP_MAX_WORKERS + 2]; /* by worker; then the admin thread's, the monitor's */
    struct np_till *tills[NP_MAX_WORKERS];
    size_t n_workers;
    struct np_keeper *keeper;
    struct np_admin *admin;
    struct np_writer *writer;
    _Atomic uint64_t records_lost; /* reached the writer and no file */
    struct np_monitor *monitor;
    struct np_otel *otel; /* NULL: nothing is asked for */
    struct np_series *series;
    int listen_fds[NP_MAX_WORKERS], admin_fd;
    unsigned port, admin_port;
    int64_t started_wall_ms;
    unsigned lingering;      /* a front's sockets of refused clients that are read on */
    _Atomic size_t inflight; /* requests that have begun */
    _Atomic bool draining;
    _Atomic bool hurry;
};

/* --- worker.c */
struct np_worker *np_worker_new(struct neap_engine *e, unsigned number, int listen_fd,
                                struct np_generation *first);
enum np_err np_worker_start(struct np_worker *w) NP_MUST_CHECK;
/* On the worker's thread: puts a generation in place between two requests, then calls done(ctx). */
void np_worker_swap(struct np_worker *w, struct np_here *next, void (*done)(void *ctx), void *ctx);
void np_worker_drain(struct np_worker *w);
/* Whether its order to drain was carried out. */
bool np_worker_drained(const struct np_worker *w);
/* The time to drain is over: what is under way ends, and its clients are told. */
void np_worker_dismiss(struct np_worker *w);
/* Calls of clients that are not answered yet, and calls that are read on for their usage. */
size_t np_worker_open(const struct np_worker *w);
struct np_ring *np_worker_ring(struct np_worker *w);
/* NULL: it writes none. */
struct np_ring *np_worker_spans(struct np_worker *w);
struct np_loop *np_worker_loop(struct np_worker *w);
/* Ends its thread. */
void np_worker_join(struct np_worker *w);
/* Ends every connection and exchange; its thread has ended, the writer has not. */
void np_worker_close(struct np_worker *w);
/* Frees it; its thread has ended. */
void np_worker_free(struct np_worker *w);

/* --- keeper.c */
struct np_reload_verdict {
    char version[16];
    const char *result; /* ok unchanged rejected rolled_back */
    struct np_problems problems;
};
enum np_reload_kind { NP_RELOAD_ANEW, NP_RELOAD_ROLLBACK };

/* A generation as operators see it, or a set that did not become one. */
struct np_generation_view {
    unsigned number; /* 0: it never went live */
    char version[16];
    int64_t loaded_wall_ms; /* when it went live; when it was rejected or rolled back */
    const char *state;      /* running kept rejected rolled_back */
    enum np_trigger trigger;
    struct np_tally_sum sum;
    char error[512];
};
#define NP_GENERATION_VIEWS (NP_KEPT_GENERATIONS + 2)

struct np_keeper *np_keeper_new(struct neap_engine *e, struct np_generation *first);
enum np_err np_keeper_start(struct np_keeper *k) NP_MUST_CHECK;
/* From any thread: reads the policies anew (or goes back one), then calls done on the keeper's thread;
 * done NULL: the verdict is only logged. */
void np_keeper_reload(struct np_keeper *k, enum np_reload_kind kind, enum np_trigger trigger,
                      void (*done)(void *ctx, const struct np_reload_verdict *v), void *ctx);
/* From any thread: frees a retired generation's state; a script whose memory failed. On the keeper's thread,
 * or, where too many wait there, at once. */
void np_keeper_bury(struct np_keeper *k, struct np_here *here);
void np_keeper_bury_script(struct np_keeper *k, struct np_script *script);
/* The running set, held for the caller. */
struct np_policyset *np_keeper_current(struct np_keeper *k);
/* The newest first. */
size_t np_keeper_generations(struct np_keeper *k, struct np_generation_view *out, size_t max);
/* Reloads so far by result: ok unchanged rejected rolled_back. */
void np_keeper_counts(struct np_keeper *k, uint64_t out[4]);
/* Ends its thread; before the workers' threads, which answer its swaps. */
void np_keeper_join(struct np_keeper *k);
/* Frees it and what was left to bury; after the workers are freed. */
void np_keeper_free(struct np_keeper *k);

/* --- admin.c */
struct np_admin *np_admin_new(struct neap_engine *e, int listen_fd);
enum np_err np_admin_start(struct np_admin *a) NP_MUST_CHECK;
/* Ends its thread; before the keeper's, which may still post verdicts to it. */
void np_admin_join(struct np_admin *a);
/* Frees it; after the keeper. */
void np_admin_free(struct np_admin *a);

/* --- status.c: what the admin socket shows */
void np_status_metrics(struct neap_engine *e, struct np_buf *out);
void np_status_json(struct neap_engine *e, struct np_buf *out);
void np_status_breakers(struct neap_engine *e, struct np_buf *out);
void np_status_budgets(struct neap_engine *e, struct np_buf *out);
void np_status_policies(struct neap_engine *e, struct np_buf *out);
void np_status_series(struct neap_engine *e, enum np_series_span span, struct np_buf *out);

/* --- writer.c */
struct np_writer *np_writer_new(struct neap_engine *e, const char *decisions, char *why,
                                size_t size);
enum np_err np_writer_start(struct np_writer *w) NP_MUST_CHECK;
/* The newest records; lives as long as the writer. */
struct np_recent *np_writer_recent(struct np_writer *w);
/* Returns when what the workers told before is in the log, the file and the memory, at the latest after
 * 100 ms. For threads that may wait a moment: not a worker's. */
void np_writer_gather(struct np_writer *w);
void np_writer_reopen(struct np_writer *w);
/* Drains every ring a last time, then ends. After the workers' threads have ended. */
void np_writer_stop(struct np_writer *w);

/* --- options.c */
/* Fills in defaults and checks; NEAP_USAGE and *why otherwise. */
enum neap_status np_options_check(struct neap_engine *e, const struct neap_options *given,
                                  char why[NEAP_WHY]);

#endif
