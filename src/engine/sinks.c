/* Webhooks. */
#include "engine/sinks.h"

#include "base/json.h"
#include "base/log.h"
#include "provider/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 64
#define TRIES_MAX 5
#define FIRST_WAIT_NS NP_NS_PER_S /* then 4, 16, 64 seconds */
#define TRY_NS (10 * NP_NS_PER_S)
#define BODY_MAX_BYTES ((size_t)64 << 10)
#define REPLY_MAX_BYTES ((size_t)64 << 10)

struct delivery {
    struct np_sinks *sinks; /* NULL: a free place */
    uint64_t order;
    struct np_alert alert;
    char label[NP_LABEL_BYTES];
    char url[1100];
    struct np_buf body;
    unsigned tries;
    struct np_call *call; /* under way */
    struct np_timer again;
};

struct np_sinks {
    struct np_loop *loop;
    struct np_upstream *upstream;
    struct np_sinks_ops ops;
    uint64_t orders;
    struct delivery places[WAITING_MAX];
};

/* --- messages ----------------------------------------------------------------------------------------- */

static void time_field(struct np_json_w *w, const char *key, int64_t at_ms)
{
    char text[32];
    np_clock_format_utc(at_ms, text, sizeof text);
    np_json_w_cstr(w, key, text);
}

void np_sinks_plain(struct np_buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            (void)np_buf_puts(b, "&amp;");
        else if (*text == '<')
            (void)np_buf_puts(b, "&lt;");
        else if (*text == '>')
            (void)np_buf_puts(b, "&gt;");
        else
            (void)np_buf_char(b, *text);
    }
}

static void slack_body(const struct np_alert *a, struct np_json_w *w)
{
    struct np_buf line;
    np_buf_init(&line, BODY_MAX_BYTES);
    (void)np_buf_printf(&line, "[%s] *%s*: ", a->resolved_wall_ms ? "resolved" : a->fact.severity,
                        a->fact.alert);
    np_sinks_plain(&line, a->fact.text);
    np_json_w_str(w, "text", np_buf_view(&line));
    np_buf_free(&line);
}

void np_sinks_body(const struct np_alert *a, bool slack, struct np_buf *out)
{
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    if (slack) {
        slack_body(a, &w);
    } else {
        np_json_w_cstr(&w, "alert", a->fact.alert);
        np_json_w_cstr(&w, "subject", a->fact.subject);
        np_json_w_cstr(&w, "severity", a->fact.severity);
        np_json_w_cstr(&w, "state", a->resolved_wall_ms ? "resolved" : "firing");
        np_json_w_cstr(&w, "text", a->fact.text);
        np_json_w_f64(&w, "value", a->fact.value);
        np_json_w_f64(&w, "threshold", a->fact.threshold);
        time_field(&w, "since", a->since_wall_ms);
        if (a->resolved_wall_ms)
            time_field(&w, "resolvedAt", a->resolved_wall_ms);
    }
    np_json_w_end(&w, '}');
}

/* --- deliveries --------------------------------------------------------------------------------------- */

static void pump(struct np_sinks *s);

static void end(struct delivery *d)
{
    np_timer_stop(np_loop_timers(d->sinks->loop), &d->again);
    np_buf_free(&d->body);
    d->sinks = NULL;
}

static void give_up(struct delivery *d, const char *why, unsigned status)
{
    np_log(NP_LOG_ERROR, "an alert could not be delivered", NP_KVS("alert", d->alert.fact.alert),
           NP_KVS("sink", d->label), NP_KVI("tries", d->tries), NP_KVI("status", status),
           NP_KVS("error", why));
    end(d);
}

static void on_head(void *ctx, struct np_call *call, unsigned status)
{
    (void)ctx;
    (void)call;
    (void)status;
}

static void on_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    (void)ctx;
    (void)call;
    (void)bytes;
}

/* Whether another try may help. */
static bool may_help(const struct np_call_end *e)
{
    return e->how != NP_CALL_COMPLETE || e->status >= 500 || e->status == 408 || e->status == 429;
}

static void on_done(void *ctx, struct np_call *call, const struct np_call_end *e)
{
    struct delivery *d = ctx;
    struct np_sinks *s = d->sinks;
    (void)call;
    d->call = NULL;
    if (e->how == NP_CALL_COMPLETE && e->status >= 200 && e->status < 300) {
        s->ops.sent(s->ops.ctx, &d->alert, d->label);
        end(d);
    } else if (d->tries >= TRIES_MAX || !may_help(e)) {
        give_up(d, e->how == NP_CALL_COMPLETE ? "" : np_call_how_name(e->how), e->status);
    } else {
        uint64_t wait_ns = FIRST_WAIT_NS << (2 * (d->tries - 1));
        np_timer_set(np_loop_timers(s->loop), &d->again, np_loop_refresh_ns(s->loop) + wait_ns);
    }
    pump(s);
}

static void start(struct delivery *d)
{
    static const struct np_call_ops ops = {.head = on_head, .data = on_data, .done = on_done};
    const struct np_call_field fields[] = {{NP_SPAN("content-type"), NP_SPAN("application/json")}};
    uint64_t now_ns = np_loop_refresh_ns(d->sinks->loop);
    const struct np_call_spec spec = {.base_url = np_span_of(d->url),
                                      .path = NP_SPAN(""),
                                      .fields = fields,
                                      .n_fields = 1,
                                      .body = np_buf_view(&d->body),
                                      .deadline_ns = now_ns + TRY_NS,
                                      .max_reply_bytes = REPLY_MAX_BYTES};
    d->tries++;
    enum np_err err = np_upstream_start(d->sinks->upstream, &spec, &ops, d, &d->call);
    if (err)
        give_up(d, err == NP_E_INVALID ? "its address can't be called" : np_err_text(err), 0);
}

/* Whether an earlier message to the same sink is not through. */
static bool must_wait(const struct np_sinks *s, const struct delivery *d)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        const struct delivery *o = &s->places[i];
        if (o->sinks && o->order < d->order && strcmp(o->url, d->url) == 0)
            return true;
    }
    return false;
}

static void pump(struct np_sinks *s)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        struct delivery *d = &s->places[i];
        if (d->sinks && !d->call && d->again.slot == 0 && !must_wait(s, d))
            start(d);
    }
}

static void on_again(void *ctx, uint64_t now_ns)
{
    struct delivery *d = ctx;
    (void)now_ns;
    pump(d->sinks);
}

static struct delivery *free_place(struct np_sinks *s)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        if (!s->places[i].sinks)
            return &s->places[i];
    }
    return NULL;
}

void np_sinks_put(struct np_sinks *s, const struct np_sink *sink, const struct np_alert *a,
                  struct np_span body)
{
    struct delivery *d = free_place(s);
    if (!sink->url)
        return;
    if (!d || strlen(sink->url) >= sizeof d->url) {
        np_log(NP_LOG_ERROR, "an alert was dropped", NP_KVS("alert", a->fact.alert),
               NP_KVS("sink", sink->label),
               NP_KVS("error", d ? "the address is too long" : "too many wait already"));
        return;
    }
    *d = (struct delivery){.sinks = s, .order = ++s->orders, .alert = *a};
    np_label_brief(sink->label, d->label);
    (void)snprintf(d->url, sizeof d->url, "%s", sink->url);
    np_timer_init(&d->again, on_again, d);
    np_buf_init(&d->body, BODY_MAX_BYTES);
    if (body.p)
        (void)np_buf_span(&d->body, body);
    else
        np_sinks_body(a, sink->slack, &d->body);
    if (np_buf_failed(&d->body))
        give_up(d, np_err_text(NP_E_NOMEM), 0);
    pump(s);
}

struct np_sinks *np_sinks_new(struct np_loop *loop, const char *ca_file,
                              const struct np_sinks_ops *ops)
{
    struct np_sinks *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->loop = loop;
    s->ops = *ops;
    s->upstream = np_upstream_new(
        loop,
        &(struct np_upstream_config){.ca_file = ca_file, .per_multi = 16, .reuse_idle_s = 20});
    if (!s->upstream) {
        free(s);
        return NULL;
    }
    return s;
}

void np_sinks_free(struct np_sinks *s)
{
    if (!s)
        return;
    np_upstream_free(s->upstream);
    for (size_t i = 0; i < WAITING_MAX; i++) {
        if (s->places[i].sinks)
            end(&s->places[i]);
    }
    free(s);
}
