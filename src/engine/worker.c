/* A worker's life: made by the engine, one thread, ended by the engine. */
#include "base/log.h"
#include "engine/waiting.h"

#include <signal.h>
#include <stdlib.h>

#define RING_BYTES (1u << 20)         /* ten times what 20 ms of full load write */
#define RING_BODIES_BYTES (16u << 20) /* with prompts and replies in the records */
#define IDLE_TIMEOUT_S 75
/* A CURLM takes 42 KB, and looks at all of a host's connections when a call begins. */
#define CALLS_A_MULTI 128

static void on_hook(struct np_exchange *x, enum np_hook hook, bool failed)
{
    struct np_tally *t = ((struct np_here *)x->gen)->tally;
    np_tally_add(&t->calls[hook]);
    if (failed)
        np_tally_add(&t->errors[hook]);
}

static struct np_script *script_of(void *ctx, struct np_exchange *x)
{
    (void)ctx;
    return np_here_script(x->gen);
}

/* Between requests the collector gets a step. */
static uint64_t each_turn(void *ctx, uint64_t now_ns)
{
    struct np_worker *w = ctx;
    (void)now_ns;
    np_script_idle(np_here_script(w->here));
    return UINT64_MAX;
}

static enum np_err make_parts(struct np_worker *w, int listen_fd)
{
    struct neap_engine *e = w->engine;
    w->loop = np_loop_new(&np_clock_live);
    size_t ring_bytes = e->options.record_bodies ? RING_BODIES_BYTES : RING_BYTES;
    w->ring = np_ring_new(ring_bytes);
    w->meters = np_meters_new();
    w->till = np_till_new();
    if (np_otel_side_init(&w->otel, e->otel, w->meters) || !w->loop || !w->ring || !w->meters ||
        !w->till)
        return NP_E_NOMEM;
    struct np_front_config config = {.listen_fd = listen_fd,
                                     .tls = e->tls != NULL,
                                     .gate = {.hosts = e->hosts, .n_hosts = e->n_hosts},
                                     .max_body_bytes = 1u << 20,
                                     .max_connections = e->options.max_connections,
                                     .limits = e->limits,
                                     .max_lingering = e->lingering,
                                     .idle_timeout_s = IDLE_TIMEOUT_S};
    np_intake_ids(&config);
    struct np_front_ops ops = np_intake_ops(w);
    if (np_loop_each_turn(w->loop, np_waiting_before_front, w) != NP_OK)
        return NP_E_NOMEM;
    w->front = np_front_new(w->loop, &config, &ops);
    if (!w->front || np_loop_each_turn(w->loop, np_waiting_turn, w) != NP_OK)
        return NP_E_NOMEM;
    /* After both, so that a call starts in the turn in which its request came. */
    w->upstream =
        np_upstream_new(w->loop, &(struct np_upstream_config){.ca_file = e->options.ca_file,
                                                              .per_multi = CALLS_A_MULTI,
                                                              .reuse_idle_s = 20});
    if (!w->upstream)
        return NP_E_NOMEM;
    return np_loop_each_turn(w->loop, each_turn, w);
}

/* The gate against web pages holds while nobody needs a key. */
static void set_gate(struct np_worker *w)
{
    bool open = np_policyset_catalog(w->here->set)->n_tenants == 0;
    np_front_gate_set(w->front, open, open);
}

/* Ends every connection, and with it every exchange. */
static void close_sides(struct np_worker *w)
{
    if (w->front)
        np_front_free(w->front);
    np_live_abandon(w);
    if (w->upstream)
        np_upstream_free(w->upstream);
    w->front = NULL;
    w->upstream = NULL;
}

static void on_money(void *ctx)
{
    struct np_worker *w = ctx;
    atomic_store(&w->money_posted, false);
    np_live_money(w);
}

/* On the ledger's thread. Where the loop can't take the news, those that wait ask by themselves. */
static void heard(void *ctx)
{
    struct np_worker *w = ctx;
    if (atomic_exchange(&w->money_posted, true))
        return;
    if (np_loop_post(w->loop, on_money, w) != NP_OK)
        atomic_store(&w->money_posted, false);
}

static void free_parts(struct np_worker *w)
{
    np_ledger_unlisten(w->engine->ledger, &w->listener);
    close_sides(w);
    np_here_free(w->here);
    if (w->loop)
        np_loop_free(w->loop);
    np_buf_free(&w->delta);
    np_buf_free(&w->record);
    np_otel_side_free(&w->otel);
    np_ring_free(w->ring);
    np_meters_free(w->meters);
    np_till_free(w->till);
    free(w);
}

struct np_worker *np_worker_new(struct neap_engine *e, unsigned number, int listen_fd,
                                struct np_generation *first)
{
    struct np_worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    uint64_t seed;
    w->engine = e;
    w->number = number;
    np_waiting_init(w);
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&w->rng, seed);
    if (make_parts(w, listen_fd) || !(w->here = np_here_new(w, first))) {
        free_parts(w);
        return NULL;
    }
    w->ground = np_live_ground(w);
    np_buf_init(&w->delta, NP_DRIVE_DELTA_BYTES);
    np_buf_init(&w->record, NP_ACCOUNT_RECORD_MAX_BYTES);
    w->drive = (struct np_drive_env){.ground = &w->ground,
                                     .guard = e->guard,
                                     .ledger = e->ledger,
                                     .meters = w->meters,
                                     .rng = &w->rng,
                                     .script = script_of,
                                     .hooked = on_hook,
                                     .delta = &w->delta,
                                     .keep_texts = e->options.record_bodies};
    bool recorded = e->options.decisions || e->options.keep_records > 0;
    w->account = (struct np_account_env){.guard = e->guard,
                                         .meters = w->meters,
                                         .till = w->till,
                                         .decisions = recorded ? w->ring : NULL,
                                         .text = &w->record,
                                         .bodies = e->options.record_bodies,
                                         .series = e->series,
                                         .otel = &w->otel};
    set_gate(w);
    w->listener = (struct np_ledger_listener){.heard = heard, .ctx = w};
    np_ledger_listen(e->ledger, &w->listener);
    e->meters[number] = w->meters;
    e->tills[number] = w->till;
    return w;
}

/* Opens the connections that providers are to keep warm. */
static void warm(struct np_worker *w)
{
    const struct np_catalog *c = np_policyset_catalog(w->here->set);
    if (w->engine->simulate_url[0])
        return;
    for (size_t i = 0; i < c->n_providers; i++) {
        if (c->providers[i].keep_warm > 0)
            np_upstream_warm(w->upstream, np_span_of(c->providers[i].base_url),
                             c->providers[i].keep_warm);
    }
}

static void *thread_main(void *arg)
{
    struct np_worker *w = arg;
    np_log_use_ring(w->ring);
    warm(w);
    np_loop_run(w->loop);
    np_log_use_ring(NULL);
    return NULL;
}

enum np_err np_worker_start(struct np_worker *w)
{
    w->running = pthread_create(&w->thread, NULL, thread_main, w) == 0;
    return w->running ? NP_OK : NP_E_NOMEM;
}

void np_worker_swap(struct np_worker *w, struct np_here *next, void (*done)(void *ctx), void *ctx)
{
    struct np_here *old = w->here;
    w->here = next;
    old->retired = true;
    if (old->exchanges == 0)
        np_keeper_bury(w->engine->keeper, old);
    set_gate(w);
    if (w->running)
        warm(w);
    if (done)
        done(ctx);
}

static void drain_on_loop(void *ctx)
{
    struct np_worker *w = ctx;
    np_front_drain(w->front);
    atomic_store(&w->drained, true);
}

void np_worker_drain(struct np_worker *w)
{
    if (np_loop_post(w->loop, drain_on_loop, w) != NP_OK)
        np_log(NP_LOG_ERROR, "worker does not take the order to drain",
               NP_KVI("worker", w->number));
}

static void dismiss_on_loop(void *ctx)
{
    np_intake_dismiss(ctx);
}

void np_worker_dismiss(struct np_worker *w)
{
    if (np_loop_post(w->loop, dismiss_on_loop, w) != NP_OK)
        np_log(NP_LOG_ERROR, "worker does not take the order to end", NP_KVI("worker", w->number));
}

bool np_worker_drained(const struct np_worker *w)
{
    return atomic_load(&w->drained);
}

size_t np_worker_open(const struct np_worker *w)
{
    return atomic_load_explicit(&w->open, memory_order_relaxed);
}

struct np_ring *np_worker_ring(struct np_worker *w)
{
    return w->ring;
}

struct np_ring *np_worker_spans(struct np_worker *w)
{
    return w->otel.spans;
}

struct np_loop *np_worker_loop(struct np_worker *w)
{
    return w->loop;
}

void np_worker_join(struct np_worker *w)
{
    if (!w->running)
        return;
    np_loop_stop(w->loop);
    (void)pthread_join(w->thread, NULL);
    w->running = false;
}

void np_worker_close(struct np_worker *w)
{
    np_require(!w->running);
    np_log_use_ring(w->ring);
    close_sides(w);
    np_log_use_ring(NULL);
}

void np_worker_free(struct np_worker *w)
{
    if (!w)
        return;
    np_require(!w->running);
    w->engine->meters[w->number] = NULL;
    w->engine->tills[w->number] = NULL;
    free_parts(w);
}
