/* The live ground: what the driver asks for, done with the front, the upstream and the loop's timers. */
#include "engine/waiting.h"
#include "http/dialect.h"
#include "model/record.h"

#include <inttypes.h>
#include <stdio.h>

static struct np_live *live_of(const struct np_exchange *x)
{
    return x->ground;
}

static void unlink_read_on(struct np_worker *w, struct np_live *live)
{
    if (live->prev)
        live->prev->next = live->next;
    else if (w->read_on == live)
        w->read_on = live->next;
    if (live->next)
        live->next->prev = live->prev;
    live->prev = live->next = NULL;
}

/* Puts it behind those that wait for the ledger. */
static void link_awaiting(struct np_worker *w, struct np_live *live)
{
    struct np_live **at = &w->awaiting;
    live->before = w->last_awaiting;
    live->behind = NULL;
    if (w->last_awaiting)
        at = &w->last_awaiting->behind;
    *at = w->last_awaiting = live;
    live->awaits = true;
    w->n_awaiting++;
}

void np_live_wait_over(struct np_live *live)
{
    struct np_worker *w = live->worker;
    np_timer_stop(np_loop_timers(w->loop), &live->timer);
    if (!live->awaits)
        return;
    *(live->before ? &live->before->behind : &w->awaiting) = live->behind;
    *(live->behind ? &live->behind->before : &w->last_awaiting) = live->before;
    live->awaits = false;
    w->n_awaiting--;
}

static void link_read_on(struct np_worker *w, struct np_live *live)
{
    if (live->prev || w->read_on == live)
        return;
    live->next = w->read_on;
    if (live->next)
        live->next->prev = live;
    w->read_on = live;
}

void np_live_settle(struct np_exchange *x)
{
    struct np_live *live = live_of(x);
    struct np_worker *w = live->worker;
    if (live->client)
        return;
    if (!np_drive_idle(x)) {
        link_read_on(w, live);
        return;
    }
    unlink_read_on(w, live);
    struct np_here *here = x->gen;
    np_live_wait_over(live);
    np_waiting_over(live);
    for (unsigned i = 0; i < NP_LEGS; i++) {
        np_require(!live->leg[i].call);
        np_buf_free(&live->leg[i].reply);
    }
    np_buf_free(&live->body);
    np_account_close(&w->account, x, !live->untold);
    np_require(here->exchanges > 0);
    here->exchanges--;
    if (here->retired && here->exchanges == 0)
        np_keeper_bury(w->engine->keeper, here);
    atomic_fetch_sub_explicit(&w->open, 1, memory_order_relaxed);
}

void np_live_abandon(struct np_worker *w)
{
    while (w->read_on) {
        struct np_exchange *x = w->read_on->x;
        np_drive_abandon(&w->drive, x, np_worker_now(w));
        np_live_settle(x);
    }
}

static void on_head(void *ctx, struct np_call *call, unsigned status)
{
    struct np_live_leg *leg = ctx;
    leg->streamed =
        np_drive_head(leg->x, leg->number, status, np_call_header(call, "content-type"));
}

static void on_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    struct np_live_leg *leg = ctx;
    struct np_exchange *x = leg->x;
    struct np_live *live = live_of(x);
    struct np_worker *w = live->worker;
    __builtin_prefetch(live->client);
    (void)call; /* the upstream ends a reply that passes NP_REPLY_MAX_BYTES */
    if (!leg->streamed) {
        (void)np_buf_span(&leg->reply, bytes);
        return;
    }
    np_drive_data(&w->drive, x, leg->number, bytes, np_worker_now(w));
    np_live_settle(x);
}

static void on_done(void *ctx, struct np_call *call, const struct np_call_end *end)
{
    struct np_live_leg *leg = ctx;
    struct np_exchange *x = leg->x;
    struct np_worker *w = live_of(x)->worker;
    struct np_now now = np_worker_now(w);
    struct np_call_result result = {.end = *end};
    if (np_buf_failed(&leg->reply))
        result.end.how = NP_CALL_NO_MEMORY;
    struct np_span id = np_call_header(call, "x-request-id");
    result.reply = (struct np_wire_reply){
        .status = end->status,
        .content_type = np_call_header(call, "content-type"),
        .retry_after = np_call_header(call, "retry-after"),
        .retry_after_ms = np_call_header(call, "retry-after-ms"),
        .request_id = id.p ? id : np_call_header(call, "request-id"),
        .body = np_buf_view(&leg->reply),
        .wall_ms = now.wall_ms,
    };
    leg->call = NULL;
    np_drive_done(&w->drive, x, leg->number, &result, now);
    np_live_settle(x);
}

static const struct np_call_ops call_ops = {on_head, on_data, on_done};

/* Where a provider is: its own base URL, or its place among the imitations. */
static struct np_span base_url(const struct neap_engine *e, const struct np_provider *p, char *buf,
                               size_t size)
{
    if (!e->simulate_url[0])
        return np_span_of(p->base_url);
    int n = snprintf(buf, size, "%s/%s%s", e->simulate_url, p->name,
                     p->adapter == NP_ADAPTER_OPENAI ? "/v1" : "");
    np_require(n > 0 && (size_t)n < size);
    return np_span_make(buf, (size_t)n);
}

/* The trace goes on with the provider; what an operator has set for it goes before. The attempt is not
 * counted yet. */
static size_t trace_fields(const struct np_exchange *x, const struct np_wire *wire,
                           struct np_call_field *out, char header[NP_TRACEPARENT_BYTES])
{
    if (!x->trace.known)
        return 0;
    for (size_t i = 0; i < wire->n_fields; i++) {
        if (np_span_eq_nocase(wire->fields[i].name, NP_SPAN("traceparent")))
            return 0;
    }
    np_trace_header(&x->trace, (unsigned)x->n_attempts + 1, header);
    out[0] = (struct np_call_field){NP_SPAN("traceparent"), np_span_of(header)};
    if (x->trace.state.n == 0)
        return 1;
    out[1] = (struct np_call_field){NP_SPAN("tracestate"), x->trace.state};
    return 2;
}

static enum np_err ground_call(void *ctx, struct np_exchange *x, struct np_call_order *order)
{
    struct np_worker *w = ctx;
    struct np_live_leg *leg = &live_of(x)->leg[order->leg];
    const struct np_provider *p = order->model->provider;
    char url[256], traceparent[NP_TRACEPARENT_BYTES];
    struct np_call_field fields[NP_WIRE_FIELDS + 2];
    size_t n_fields = order->wire->n_fields;
    for (size_t i = 0; i < order->wire->n_fields; i++)
        fields[i] =
            (struct np_call_field){order->wire->fields[i].name, order->wire->fields[i].value};
    n_fields += trace_fields(x, order->wire, fields + n_fields, traceparent);
    struct np_call_spec spec = {
        .base_url = base_url(w->engine, p, url, sizeof url),
        .path = order->wire->path,
        .fields = fields,
        .n_fields = n_fields,
        .body = order->wire->body,
        .connect_timeout_ms = p->connect_timeout_ms,
        .first_byte_timeout_ms = p->first_token_timeout_ms,
        .idle_timeout_ms = p->idle_timeout_ms,
        .stream = order->stream,
        .limit_ns = order->stream ? x->deadline_ns : 0,
        .deadline_ns = order->deadline_ns,
        .max_reply_bytes = NP_REPLY_MAX_BYTES,
    };
    np_buf_reset(&leg->reply);
    leg->streamed = leg->paused = false;
    leg->body = order->wire->body;
    order->started_ns = np_loop_refresh_ns(w->loop);
    return np_upstream_start(w->upstream, &spec, &call_ops, leg, &leg->call);
}

static bool ground_abort(void *ctx, struct np_exchange *x, unsigned number)
{
    (void)ctx;
    struct np_live_leg *leg = &live_of(x)->leg[number];
    bool sent = np_call_sent(leg->call);
    np_call_abort(leg->call);
    leg->call = NULL;
    return sent;
}

static void ground_flows(void *ctx, struct np_exchange *x, unsigned leg, uint64_t deadline_ns)
{
    (void)ctx;
    struct np_live_leg *l = &live_of(x)->leg[leg];
    np_call_flows(l->call, deadline_ns);
    /* A stream may last, and its prompt may be long. */
    if (l->body.p && np_call_uploaded(l->call)) {
        np_arena_drop(x->arena, l->body.p);
        l->body = NP_SPAN_NONE;
    }
}

static void ground_put_off(void *ctx, struct np_exchange *x, unsigned leg, uint64_t deadline_ns)
{
    (void)ctx;
    np_call_put_off(live_of(x)->leg[leg].call, deadline_ns);
}

static void on_wake(void *ctx, uint64_t now_ns)
{
    struct np_exchange *x = ctx;
    struct np_live *live = live_of(x);
    struct np_now now = {now_ns, np_clock_wall_ms(&np_clock_live)};
    np_live_wait_over(live);
    np_drive_wake(&live->worker->drive, x, now);
    np_live_settle(x);
}

/* Those that wait now each ask once; who must wait on stands behind them again. */
void np_live_money(struct np_worker *w)
{
    uint64_t now_ns = np_loop_now_ns(w->loop);
    for (size_t n = w->n_awaiting; n > 0 && w->awaiting; n--)
        on_wake(w->awaiting->x, now_ns);
}

static void ground_wait(void *ctx, struct np_exchange *x, uint64_t at_ns)
{
    struct np_worker *w = ctx;
    struct np_live *live = live_of(x);
    np_timer_init(&live->timer, on_wake, x);
    np_timer_set(np_loop_timers(w->loop), &live->timer, at_ns);
}

static void ground_unwait(void *ctx, struct np_exchange *x)
{
    (void)ctx;
    np_live_wait_over(live_of(x));
}

static void ground_await(void *ctx, struct np_exchange *x, uint64_t at_ns)
{
    ground_wait(ctx, x, at_ns);
    link_awaiting(ctx, live_of(x));
}

static void ground_reply(void *ctx, struct np_exchange *x)
{
    (void)ctx;
    struct np_live *live = live_of(x);
    if (!live->client)
        return;
    if (x->request.stream && !x->outcome.refused && x->outcome.status == 200) {
        np_live_end_stream(x);
        return;
    }
    char retry_after[24];
    struct np_http_field fields[2] = {{"X-Request-Id", x->id}};
    size_t n = 1;
    if (x->outcome.retry_after_s >= 0) {
        (void)snprintf(retry_after, sizeof retry_after, "%" PRId64, x->outcome.retry_after_s);
        fields[n++] = (struct np_http_field){"Retry-After", retry_after};
    }
    if (x->outcome.refused)
        np_record_error(&live->body, &x->outcome.refusal, x->id);
    else
        np_record_reply(&live->body, x);
    struct np_http_reply reply = {.status = x->outcome.status,
                                  .content_type = "application/json",
                                  .fields = fields,
                                  .n_fields = n,
                                  .body = np_buf_view(&live->body),
                                  .borrowed = true};
    if (np_buf_failed(&live->body)) {
        reply.status = x->outcome.status = 503;
        reply.body = NP_SPAN("{\"error\":{\"type\":\"overloaded\",\"message\":\"no memory for the "
                             "reply\",\"param\":null,\"requestId\":null}}");
    }
    np_http_reply(live->client, &reply);
}

struct np_ground np_live_ground(struct np_worker *w)
{
    return (struct np_ground){.call = ground_call,
                              .abort = ground_abort,
                              .flows = ground_flows,
                              .put_off = ground_put_off,
                              .emit = np_live_emit,
                              .wait = ground_wait,
                              .unwait = ground_unwait,
                              .await = ground_await,
                              .reply = ground_reply,
                              .ctx = w};
}
