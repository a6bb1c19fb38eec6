/* The exporter's life, the spans that wait, and its messages. */
#include "engine/otel_impl.h"

#include "base/log.h"
#include "metrics/otlp.h"

#include <stdlib.h>

#define SPANS_MAX_BYTES ((size_t)8 << 20) /* of one batch; a span is about 1 KB */
#define TEXT_MAX_BYTES ((size_t)16 << 20) /* of /metrics */
#define HEAD_BYTES 4096                   /* what usually stands before them */
#define TAIL_BYTES 64                     /* and between and behind them, at most */
#define SEND_BYTES (512u << 10)           /* at once: a batch of usual size */
#define LAST_NS (3 * NP_NS_PER_S)

/* --- from the environment -------------------------------------------------------------------------- */

static const char *from_environment(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

static void warn(void *ctx, const char *name, const char *what)
{
    (void)ctx;
    np_log(NP_LOG_WARN, "OpenTelemetry: a variable is not taken", NP_KVS("variable", name),
           NP_KVS("error", what));
}

/* --- messages -------------------------------------------------------------------------------------- */

static void put_attrs(struct np_otlp *o, const struct np_otel_config *c)
{
    np_otlp_list(o, "attributes");
    for (size_t i = 0; i < c->n_attrs; i++)
        np_otlp_attr(o, 1, c->attrs[i].key, np_span_of(c->attrs[i].value));
    np_otlp_list_end(o);
}

/* Export…ServiceRequest { resource_… = 1 { resource = 1, scope_… = 2 { scope = 1, items = 2 } } } */
struct words {
    const char *resources, *scopes, *items;
};

static const struct words of_traces = {"resourceSpans", "scopeSpans", "spans"};
static const struct words of_metrics = {"resourceMetrics", "scopeMetrics", "metrics"};

static void begin_message(struct np_otlp *o, const struct np_otel *t, const struct words *w)
{
    np_otlp_list(o, w->resources);
    np_otlp_begin_huge(o, 1, NULL);
    np_otlp_begin(o, 1, "resource");
    put_attrs(o, &t->config);
    np_otlp_end(o);
    np_otlp_list(o, w->scopes);
    np_otlp_begin_huge(o, 2, NULL);
    np_otlp_begin(o, 1, "scope");
    np_otlp_text(o, 1, "name", NP_SPAN("neap"));
    np_otlp_text(o, 2, "version", np_span_of(neap_version()));
    np_otlp_end(o);
    np_otlp_list(o, w->items);
}

static void end_message(struct np_otlp *o)
{
    np_otlp_list_end(o);
    np_otlp_end(o);
    np_otlp_list_end(o);
    np_otlp_end(o);
    np_otlp_list_end(o);
}

static void begin_whole(struct np_otlp *o, struct np_buf *body, bool json)
{
    np_otlp_init(o, body, json);
    if (json)
        np_json_w_begin(&o->w, '{');
}

static void end_whole(struct np_otlp *o)
{
    if (o->json)
        np_json_w_end(&o->w, '}');
}

/* --- spans that wait ------------------------------------------------------------------------------- */

void np_otel_lost(struct np_otel *o, unsigned n)
{
    atomic_fetch_add_explicit(&o->dropped, n, memory_order_relaxed);
}

static void look(void *ctx);

static struct np_otel_batch *batch_at(struct np_otel *o, size_t i)
{
    return &o->batches[(o->first + i) % o->max_batches];
}

static struct np_otel_batch *open_next(struct np_otel *o)
{
    if (o->n_batches == o->max_batches)
        return NULL;
    struct np_otel_batch *b = batch_at(o, o->n_batches);
    o->n_batches++;
    b->n = 0;
    np_buf_reset(&b->spans);
    (void)np_buf_reserve(&b->spans, HEAD_BYTES);
    begin_whole(&b->head, &b->spans, o->config.traces.json);
    begin_message(&b->head, o, &of_traces);
    if (!np_buf_failed(&b->spans))
        return b;
    o->n_batches--;
    return NULL;
}

/* With the lock: the batch that n more spans go to; NULL when there is no room. */
static struct np_otel_batch *place(struct np_otel *o, unsigned n)
{
    if (o->queued + n > o->config.queue)
        return NULL;
    struct np_otel_batch *b = o->n_batches ? batch_at(o, o->n_batches - 1) : NULL;
    if (b && (b->n < o->config.batch) &&
        (b->n + n <= o->config.batch || o->n_batches == o->max_batches))
        return b;
    return open_next(o);
}

static bool append(struct np_otel *o, struct np_otel_batch *b, struct np_span spans, unsigned n)
{
    if (np_buf_reserve(&b->spans, spans.n + TAIL_BYTES)) {
        b->spans.failed = false;
        return false;
    }
    if (o->config.traces.json && b->n > 0)
        (void)np_buf_char(&b->spans, ',');
    (void)np_buf_span(&b->spans, spans);
    b->n += n;
    o->queued += n;
    return true;
}

/* A batch may be full by its bytes before it is by its spans: the next one takes what it can't. */
static bool keep(struct np_otel *o, struct np_span spans, unsigned n)
{
    struct np_otel_batch *b = place(o, n);
    if (!b || append(o, b, spans, n))
        return b != NULL;
    b = b->n > 0 ? open_next(o) : NULL;
    return b && append(o, b, spans, n);
}

/* With the lock. */
static void take(struct np_otel *o, struct np_span spans, unsigned n)
{
    if (!keep(o, spans, n))
        np_otel_lost(o, n);
}

/* Ends the time with the lock, and wakes the loop where a batch is full. */
static void taken(struct np_otel *o)
{
    bool wake = false;
    if (!o->woken && o->n_batches > 0 &&
        (o->n_batches > 1 || o->batches[o->first].n >= o->config.batch))
        wake = o->woken = true;
    pthread_mutex_unlock(&o->lock);
    if (wake && np_loop_post(o->loop, look, o) != NP_OK) {
        pthread_mutex_lock(&o->lock);
        o->woken = false; /* the next spans, or the timer, see to it */
        pthread_mutex_unlock(&o->lock);
    }
}

void np_otel_take(struct np_otel *o, struct np_span spans, unsigned n)
{
    pthread_mutex_lock(&o->lock);
    take(o, spans, n);
    taken(o);
}

void np_otel_drain(struct np_otel *o, struct np_ring *spans)
{
    uint32_t n;
    struct np_span record;
    if (!spans || !np_ring_peek(spans, &n, &record))
        return;
    pthread_mutex_lock(&o->lock);
    do {
        take(o, record, n);
        np_ring_pop(spans);
    } while (np_ring_peek(spans, &n, &record));
    taken(o);
}

/* The oldest batch's bytes go to the message; 0 when none is to be sent now. The memory of the message that was
 * sent last is that of the next batch to begin, so that few batches' memory is in use, none grows anew and caches
 * know it, although the circle has room for a long queue. */
static unsigned take_batch(struct np_otel *o, bool any, struct np_otlp *head)
{
    unsigned n = 0;
    pthread_mutex_lock(&o->lock);
    struct np_otel_batch *b = batch_at(o, 0);
    o->woken = false;
    if (o->n_batches > 0 && (any || o->n_batches > 1 || b->n >= o->config.batch)) {
        struct np_buf sent = o->traces.body;
        n = b->n;
        o->traces.body = b->spans;
        *head = b->head;
        b->n = 0;
        o->first = (o->first + 1) % o->max_batches;
        o->n_batches--;
        o->queued -= n;
        struct np_otel_batch *next = batch_at(o, o->n_batches);
        b->spans = next->spans; /* which may be itself */
        next->spans = sent;
    }
    pthread_mutex_unlock(&o->lock);
    return n;
}

/* --- traces ---------------------------------------------------------------------------------------- */

static void leave_if_done(struct np_otel *o);

/* Ends the message that began with its batch, which has kept room for that. */
static void end_batch(struct np_otel *o, struct np_otlp *head)
{
    np_otlp_goes_on(head, &o->traces.body);
    end_message(head);
    end_whole(head);
    np_require(!np_buf_failed(&o->traces.body));
}

/* Sends the next batch, if one is due and none is under way. */
static void send_spans(struct np_otel *o)
{
    if (!o->config.traces.on || o->traces.busy)
        return;
    struct np_otlp head;
    o->sending = take_batch(o, o->due, &head);
    if (o->sending > 0) {
        end_batch(o, &head);
        np_otel_send(&o->traces);
    } else {
        o->due = false;
    }
    leave_if_done(o);
}

static void look(void *ctx)
{
    send_spans(ctx);
}

static void spans_done(void *ctx, bool sent, uint64_t rejected)
{
    struct np_otel *o = ctx;
    uint64_t refused = rejected < o->sending ? rejected : o->sending;
    atomic_fetch_add(sent ? &o->sent : &o->failed, o->sending - (sent ? refused : 0));
    atomic_fetch_add(&o->rejected, sent ? refused : 0);
    o->sending = 0;
    send_spans(o);
}

static void on_delay(void *ctx, uint64_t now_ns)
{
    struct np_otel *o = ctx;
    o->due = true;
    np_timer_set(np_loop_timers(o->loop), &o->delay, now_ns + o->config.delay_ms * NP_NS_PER_MS);
    send_spans(o);
}

/* --- metrics --------------------------------------------------------------------------------------- */

/* Models that the running set has not any more keep their name. */
static void put_model(void *ctx, struct np_otlp *w, unsigned field, struct np_span provider,
                      struct np_span model)
{
    const struct np_model *m = np_catalog_model(ctx, model);
    if (m && np_span_is(provider, m->provider->name)) {
        np_trace_model(w, field, m, false);
        return;
    }
    np_otlp_attr(w, field, "gen_ai.operation.name", NP_SPAN("chat"));
    np_otlp_attr(w, field, "gen_ai.provider.name", provider);
    np_otlp_attr(w, field, "gen_ai.request.model", model);
}

static void put_metrics(struct np_otel *o, struct np_span text)
{
    struct np_policyset *set = np_keeper_current(o->engine->keeper);
    struct np_otlp w;
    struct np_otlp_scrape scrape = {.start_ns = o->start_unix_ns,
                                    .model = put_model,
                                    .ctx = (void *)(uintptr_t)np_policyset_catalog(set)};
    scrape.now_ns = np_clock_mono_ns(&np_clock_live) + (uint64_t)np_clock_unix_offset_ns();
    begin_whole(&w, &o->metrics.body, o->config.metrics.json);
    begin_message(&w, o, &of_metrics);
    np_otlp_metrics(&w, text, &scrape);
    end_message(&w);
    end_whole(&w);
    np_policyset_drop(set);
}

static void send_metrics(struct np_otel *o)
{
    struct np_buf text;
    if (!o->config.metrics.on || o->metrics.busy)
        return;
    np_buf_init(&text, TEXT_MAX_BYTES);
    np_status_metrics(o->engine, &text);
    put_metrics(o, np_buf_view(&text));
    if (np_buf_failed(&text) || np_buf_failed(&o->metrics.body)) {
        np_log(NP_LOG_ERROR, "metrics could not be sent", NP_KVS("error", np_err_text(NP_E_NOMEM)));
        np_buf_reset(&o->metrics.body);
    } else {
        np_otel_send(&o->metrics);
    }
    np_buf_free(&text);
}

static void metrics_done(void *ctx, bool sent, uint64_t rejected)
{
    struct np_otel *o = ctx;
    (void)sent;
    (void)rejected;
    if (o->stopping && !o->metrics_final) {
        o->metrics_final = true;
        send_metrics(o);
    }
    leave_if_done(o);
}

static void on_interval(void *ctx, uint64_t now_ns)
{
    struct np_otel *o = ctx;
    np_timer_set(np_loop_timers(o->loop), &o->interval,
                 now_ns + o->config.interval_ms * NP_NS_PER_MS);
    send_metrics(o);
}

/* --- for /metrics ---------------------------------------------------------------------------------- */

static void put_count(struct np_buf *out, struct np_buf *labels, const char *name,
                      const char *signal, const char *result, uint64_t n)
{
    np_buf_reset(labels);
    if (signal)
        np_prom_label(labels, "signal", signal);
    np_prom_label(labels, "result", result);
    (void)np_buf_char(labels, '\0');
    np_prom_i64(out, name, labels->p, (int64_t)n);
}

static void put_exports(struct np_buf *out, struct np_buf *labels, const struct np_otel_sender *s)
{
    static const char *const results[NP_OTEL_RESULTS] = {"ok", "retried", "failed"};
    for (int i = 0; s->config->on && i < NP_OTEL_RESULTS; i++)
        put_count(out, labels, "neap_otel_exports_total", s->signal, results[i],
                  atomic_load(&s->results[i]));
}

void np_otel_metrics(struct np_otel *o, struct np_buf *out)
{
    struct np_buf labels;
    if (!o)
        return;
    np_buf_init(&labels, 1024);
    np_prom_head(out, "neap_otel_exports_total", "counter",
                 "Messages to the OpenTelemetry collector, by what became of them");
    put_exports(out, &labels, &o->traces);
    put_exports(out, &labels, &o->metrics);
    if (o->config.traces.on) {
        const char *name = "neap_otel_spans_total";
        np_prom_head(
            out, name, "counter",
            "Spans: taken by the collector, refused by it, not delivered, or dropped for lack "
            "of room");
        put_count(out, &labels, name, NULL, "sent", atomic_load(&o->sent));
        put_count(out, &labels, name, NULL, "refused", atomic_load(&o->rejected));
        put_count(out, &labels, name, NULL, "failed", atomic_load(&o->failed));
        put_count(out, &labels, name, NULL, "dropped", atomic_load(&o->dropped));
    }
    np_buf_free(&labels);
}

const struct np_trace_rule *np_otel_rule(const struct np_otel *o)
{
    return o && o->config.traces.on ? &o->config.rule : NULL;
}

/* --- life ------------------------------------------------------------------------------------------ */

static void on_give_up(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    np_loop_stop(((struct np_otel *)ctx)->loop);
}

/* Whether all that is to be sent at the end is through. */
static void leave_if_done(struct np_otel *o)
{
    if (o->stopping && !o->traces.busy && !o->metrics.busy && !o->due)
        np_loop_stop(o->loop);
}

static void begin_stop(void *ctx)
{
    struct np_otel *o = ctx;
    o->stopping = o->due = true;
    np_timer_stop(np_loop_timers(o->loop), &o->delay);
    np_timer_stop(np_loop_timers(o->loop), &o->interval);
    np_timer_set(np_loop_timers(o->loop), &o->give_up, np_loop_refresh_ns(o->loop) + LAST_NS);
    np_otel_send_last(&o->traces);
    np_otel_send_last(&o->metrics);
    if (!o->metrics.busy) {
        o->metrics_final = true;
        send_metrics(o);
    }
    if (o->config.traces.on)
        send_spans(o);
    else
        o->due = false;
    leave_if_done(o);
}

static void *thread_main(void *arg)
{
    struct np_otel *o = arg;
    uint64_t now_ns = np_loop_refresh_ns(o->loop);
    if (o->config.traces.on)
        np_timer_set(np_loop_timers(o->loop), &o->delay,
                     now_ns + o->config.delay_ms * NP_NS_PER_MS);
    if (o->config.metrics.on)
        np_timer_set(np_loop_timers(o->loop), &o->interval,
                     now_ns + o->config.interval_ms * NP_NS_PER_MS);
    np_loop_run(o->loop);
    return NULL;
}

static void init_sender(struct np_otel *o, struct np_otel_sender *s,
                        const struct np_otel_signal_config *config, const char *signal,
                        void (*done)(void *ctx, bool sent, uint64_t rejected))
{
    s->signal = signal;
    s->config = config;
    s->loop = o->loop;
    s->upstream = o->upstream;
    s->rng = &o->rng;
    s->done = done;
    s->ctx = o;
    np_otel_sender_init(s);
}

static enum np_err make_parts(struct np_otel *o)
{
    uint64_t seed;
    const struct np_upstream_config config = {
        .ca_file = o->config.ca_file ? o->config.ca_file : o->engine->options.ca_file,
        .per_multi = 16,
        .reuse_idle_s = 20,
        .send_bytes = SEND_BYTES};
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&o->rng, seed);
    o->max_batches = o->config.queue / o->config.batch + 2;
    o->batches = calloc(o->max_batches, sizeof *o->batches);
    o->loop = np_loop_new(&np_clock_live);
    o->upstream = o->loop ? np_upstream_new(o->loop, &config) : NULL;
    if (!o->batches || !o->upstream)
        return NP_E_NOMEM;
    for (size_t i = 0; i < o->max_batches; i++)
        np_buf_init(&o->batches[i].spans, SPANS_MAX_BYTES);
    init_sender(o, &o->traces, &o->config.traces, "traces", spans_done);
    np_buf_init(&o->traces.body, SPANS_MAX_BYTES); /* it changes places with those */
    init_sender(o, &o->metrics, &o->config.metrics, "metrics", metrics_done);
    np_timer_init(&o->delay, on_delay, o);
    np_timer_init(&o->interval, on_interval, o);
    np_timer_init(&o->give_up, on_give_up, o);
    return NP_OK;
}

enum np_err np_otel_new(struct neap_engine *e, struct np_otel **out)
{
    const struct np_otel_env env = {.get = from_environment, .warn = warn};
    struct np_otel *o = calloc(1, sizeof *o);
    *out = NULL;
    if (!o)
        return NP_E_NOMEM;
    o->engine = e;
    np_require(pthread_mutex_init(&o->lock, NULL) == 0);
    o->start_unix_ns = np_clock_mono_ns(&np_clock_live) + (uint64_t)np_clock_unix_offset_ns();
    enum np_err err = np_otel_config_read(&o->config, &env);
    bool wanted = o->config.traces.on || o->config.metrics.on;
    if (!err && wanted)
        err = make_parts(o);
    if (err || !wanted) {
        np_otel_free(o);
        return err;
    }
    *out = o;
    return NP_OK;
}

enum np_err np_otel_start(struct np_otel *o)
{
    if (!o)
        return NP_OK;
    np_log(NP_LOG_INFO, "OpenTelemetry is on", NP_KVB("traces", o->config.traces.on),
           NP_KVB("metrics", o->config.metrics.on));
    o->running = pthread_create(&o->thread, NULL, thread_main, o) == 0;
    return o->running ? NP_OK : NP_E_NOMEM;
}

void np_otel_stop(struct np_otel *o)
{
    if (!o || !o->running)
        return;
    if (np_loop_post(o->loop, begin_stop, o) != NP_OK)
        np_loop_stop(o->loop);
    (void)pthread_join(o->thread, NULL);
    o->running = false;
    unsigned left = o->queued + o->sending;
    if (left > 0)
        np_log(NP_LOG_WARN, "spans were not sent before the end", NP_KVI("count", left));
}

void np_otel_free(struct np_otel *o)
{
    if (!o)
        return;
    if (o->upstream)
        np_upstream_free(o->upstream);
    np_otel_sender_free(&o->traces);
    np_otel_sender_free(&o->metrics);
    for (size_t i = 0; o->batches && i < o->max_batches; i++)
        np_buf_free(&o->batches[i].spans);
    free(o->batches);
    if (o->loop)
        np_loop_free(o->loop);
    np_otel_config_free(&o->config);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
