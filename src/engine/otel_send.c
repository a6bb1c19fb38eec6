/* One message at a time to a collector: tried again with growing waits where that may help, as OTLP's
 * specification says; what a collector says to a part of it is read. Addresses, headers and bodies are
 * never logged. */
#include "engine/otel_impl.h"

#include "base/log.h"

#include <stdio.h>

#define TRIES_MAX 5
#define FIRST_WAIT_NS NP_NS_PER_S /* doubled each time, with half of it by chance */
#define WAIT_MAX_NS (30 * NP_NS_PER_S)
#define REPLY_MAX_BYTES ((size_t)64 << 10)
#define BODY_MAX_BYTES ((size_t)32 << 20)
#define LAST_TRY_NS (2 * NP_NS_PER_S)

static void count(struct np_otel_sender *s, enum np_otel_result result)
{
    atomic_fetch_add_explicit(&s->results[result], 1, memory_order_relaxed);
}

static void end(struct np_otel_sender *s, bool sent, uint64_t rejected)
{
    count(s, sent ? NP_OTEL_OK : NP_OTEL_FAILED);
    s->busy = false;
    s->tries = 0;
    np_buf_reset(&s->body);
    s->done(s->ctx, sent, rejected);
}

/* Told once, until a message is taken again. */
static void give_up(struct np_otel_sender *s, const char *why, unsigned status)
{
    if (!s->failing)
        np_log(NP_LOG_ERROR, "telemetry could not be delivered", NP_KVS("signal", s->signal),
               NP_KVI("tries", s->tries), NP_KVI("status", status), NP_KVS("error", why));
    s->failing = true;
    end(s, false, 0);
}

/* --- what a collector answers ---------------------------------------------------------------------- */

static bool find_field(struct np_span message, unsigned field, uint64_t *number,
                       struct np_span *bytes)
{
    unsigned at;
    while (np_otlp_next(&message, &at, number, bytes)) {
        if (at == field)
            return true;
    }
    return false;
}

/* The count of a partial success: a 64-bit integer, in JSON a text (or a number). */
static uint64_t rejected_json(struct np_span body, const char *key)
{
    struct np_json_fault fault;
    struct np_span partial, value;
    unsigned long long n;
    if (np_json_check(body, NP_JSON_DEPTH, &fault) || np_json_kind(body) != NP_JSON_OBJECT ||
        !np_json_get(body, "partialSuccess", &partial) || np_json_kind(partial) != NP_JSON_OBJECT ||
        !np_json_get(partial, key, &value))
        return 0;
    if (np_json_kind(value) == NP_JSON_STRING)
        value = np_json_inner(value);
    return np_span_to_u64(value, &n) ? n : 0;
}

/* Export…ServiceResponse { partial_success = 1 { rejected = 1, error_message = 2 } } */
static uint64_t rejected_protobuf(struct np_span body)
{
    uint64_t n;
    struct np_span partial, bytes;
    if (!find_field(body, 1, &n, &partial) || !find_field(partial, 1, &n, &bytes))
        return 0;
    return n < INT64_MAX ? n : 0;
}

static uint64_t rejected(const struct np_otel_sender *s)
{
    struct np_span body = np_buf_view(&s->reply);
    if (body.n == 0 || np_buf_failed(&s->reply))
        return 0;
    if (!s->config->json)
        return rejected_protobuf(body);
    return rejected_json(body, s->signal[0] == 't' ? "rejectedSpans" : "rejectedDataPoints");
}

static void taken(struct np_otel_sender *s)
{
    uint64_t n = rejected(s);
    if (s->failing)
        np_log(NP_LOG_INFO, "telemetry is delivered again", NP_KVS("signal", s->signal));
    s->failing = false;
    if (n > 0)
        np_log(NP_LOG_WARN, "the collector has not taken all", NP_KVS("signal", s->signal),
               NP_KVI("rejected", n));
    end(s, true, n);
}

/* --- tries ----------------------------------------------------------------------------------------- */

static bool may_help(const struct np_call_end *e)
{
    return e->how != NP_CALL_COMPLETE || e->status == 429 || e->status == 502 || e->status == 503 ||
           e->status == 504;
}

/* Until the next try: what the collector wishes, seconds or a date, else growing. */
static uint64_t wait_ns(struct np_otel_sender *s, struct np_span wish)
{
    unsigned long long seconds;
    char text[64];
    uint64_t ns = FIRST_WAIT_NS << (s->tries - 1);
    ns = ns / 2 + np_rng_below(s->rng, ns);
    if (wish.p && np_span_to_u64(wish, &seconds)) {
        ns = seconds < 3600 ? seconds * NP_NS_PER_S : WAIT_MAX_NS;
    } else if (wish.p && wish.n < sizeof text) {
        (void)snprintf(text, sizeof text, "%.*s", (int)wish.n, wish.p);
        int64_t at_ms = np_clock_parse_http_date(text);
        int64_t left_ms = at_ms - np_clock_wall_ms(&np_clock_live);
        if (at_ms >= 0 && left_ms >= 0)
            ns = (uint64_t)left_ms < WAIT_MAX_NS / NP_NS_PER_MS ? (uint64_t)left_ms * NP_NS_PER_MS
                                                                : WAIT_MAX_NS;
    }
    return ns < WAIT_MAX_NS ? ns : WAIT_MAX_NS;
}

static void on_head(void *ctx, struct np_call *call, unsigned status)
{
    (void)ctx;
    (void)call;
    (void)status;
}

static void on_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    (void)call;
    (void)np_buf_span(&((struct np_otel_sender *)ctx)->reply, bytes);
}

static void on_done(void *ctx, struct np_call *call, const struct np_call_end *e)
{
    struct np_otel_sender *s = ctx;
    s->call = NULL;
    if (e->how == NP_CALL_COMPLETE && e->status >= 200 && e->status < 300) {
        taken(s);
    } else if (s->last || s->tries >= TRIES_MAX || !may_help(e)) {
        give_up(s, e->how == NP_CALL_COMPLETE ? "" : np_call_how_name(e->how), e->status);
    } else {
        count(s, NP_OTEL_RETRIED);
        uint64_t ns = wait_ns(s, np_call_header(call, "retry-after"));
        np_timer_set(np_loop_timers(s->loop), &s->again, np_loop_refresh_ns(s->loop) + ns);
    }
}

static void start(struct np_otel_sender *s)
{
    static const struct np_call_ops ops = {.head = on_head, .data = on_data, .done = on_done};
    uint64_t now_ns = np_loop_refresh_ns(s->loop);
    uint64_t most_ns = s->config->timeout_ms * NP_NS_PER_MS;
    const struct np_call_spec spec = {
        .base_url = np_span_of(s->config->url),
        .path = NP_SPAN(""),
        .fields = s->config->fields,
        .n_fields = s->config->n_fields,
        .body = np_buf_view(&s->body),
        .deadline_ns = now_ns + (s->last && most_ns > LAST_TRY_NS ? LAST_TRY_NS : most_ns),
        .max_reply_bytes = REPLY_MAX_BYTES};
    np_buf_reset(&s->reply);
    s->tries++;
    enum np_err err = np_upstream_start(s->upstream, &spec, &ops, s, &s->call);
    if (err)
        give_up(s, err == NP_E_INVALID ? "a header can't be sent" : np_err_text(err), 0);
}

static void on_again(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    start(ctx);
}

void np_otel_sender_init(struct np_otel_sender *s)
{
    np_buf_init(&s->body, BODY_MAX_BYTES);
    np_buf_init(&s->reply, REPLY_MAX_BYTES);
    np_timer_init(&s->again, on_again, s);
}

/* From a timer, so that nothing ends inside the caller. */
void np_otel_send(struct np_otel_sender *s)
{
    np_require(!s->busy);
    s->busy = true;
    np_timer_set(np_loop_timers(s->loop), &s->again, np_loop_now_ns(s->loop));
}

void np_otel_send_last(struct np_otel_sender *s)
{
    s->last = true;
    if (s->busy && !s->call)
        np_timer_set(np_loop_timers(s->loop), &s->again, np_loop_now_ns(s->loop));
}

void np_otel_sender_free(struct np_otel_sender *s)
{
    if (s->loop)
        np_timer_stop(np_loop_timers(s->loop), &s->again);
    np_buf_free(&s->body);
    np_buf_free(&s->reply);
}
