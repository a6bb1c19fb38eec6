/* Webhooks. */
#include "engine/sinks.h"

#include "base/json.h"
#include "base/log.h"
#include "provider/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one sink: as many as there can be alerts. A receiver that is gone takes no place of another's. */
#define WAITING_MAX NP_ALERTS
#define SINKS_MAX \
    64 /* addresses that are looked at in turn: those of old policies may wait still */
#define TRIES_MAX 5
#define FIRST_WAIT_NS NP_NS_PER_S /* then 4, 16, 64 seconds */
#define TRY_NS (10 * NP_NS_PER_S)
#define BODY_MAX_BYTES ((size_t)64 << 10)
#define REPLY_MAX_BYTES ((size_t)64 << 10)

struct delivery {
    struct np_sinks *sinks;
    struct delivery *next; /* the one that came after it */
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
    struct delivery *first; /* of all that are not through, in the order that they came */
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
    struct delivery **at = &d->sinks->first;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    np_timer_stop(np_loop_timers(d->sinks->loop), &d->again);
    np_buf_free(&d->body);
    free(d);
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

/* Where the path of an address begins: a receiver's may end in a query, which is no part of a base. */
static size_t path_at(struct np_span url)
{
    const char *scheme = memmem(url.p, url.n, "://", 3);
    size_t at = scheme ? (size_t)(scheme - url.p) + 3 : url.n;
    while (at < url.n && url.p[at] != '/' && url.p[at] != '?')
        at++;
    return at;
}

/* Whether it is under way. */
static bool start(struct delivery *d)
{
    static const struct np_call_ops ops = {.head = on_head, .data = on_data, .done = on_done};
    const struct np_call_field fields[] = {{NP_SPAN("content-type"), NP_SPAN("application/json")},
                                           {NP_SPAN("user-agent"), NP_SPAN("neap/" NEAP_VERSION)}};
    uint64_t now_ns = np_loop_refresh_ns(d->sinks->loop);
    struct np_span url = np_span_of(d->url);
    size_t path = path_at(url);
    const struct np_call_spec spec = {.base_url = np_span_make(url.p, path),
                                      .path = np_span_make(url.p + path, url.n - path),
                                      .fields = fields,
                                      .n_fields = sizeof fields / sizeof fields[0],
                                      .body = np_buf_view(&d->body),
                                      .deadline_ns = now_ns + TRY_NS,
                                      .max_reply_bytes = REPLY_MAX_BYTES};
    d->tries++;
    enum np_err err = np_upstream_start(d->sinks->upstream, &spec, &ops, d, &d->call);
    if (err)
        give_up(d, err == NP_E_INVALID ? "its address can't be called" : np_err_text(err), 0);
    return !err;
}

/* Begins the oldest message of each sink, unless it is under way or waits for its next try. */
static void pump(struct np_sinks *s)
{
    const struct delivery *oldest[SINKS_MAX];
    size_t n = 0;
    for (struct delivery *d = s->first, *next; d && n < SINKS_MAX; d = next) {
        size_t i = 0;
        next = d->next;
        while (i < n && strcmp(oldest[i]->url, d->url) != 0)
            i++;
        if (i < n)
            continue;
        if (d->call || d->again.slot != 0 || start(d))
            oldest[n++] = d;
    }
}

static void on_again(void *ctx, uint64_t now_ns)
{
    struct delivery *d = ctx;
    (void)now_ns;
    pump(d->sinks);
}

static void dropped(const struct np_alert *a, const struct np_sink *sink, const char *why)
{
    np_log(NP_LOG_ERROR, "an alert was dropped", NP_KVS("alert", a->fact.alert),
           NP_KVS("sink", sink->label), NP_KVS("error", why));
}

/* A place at the end, unless too many wait for the same sink; NULL: *why says why not. */
static struct delivery *place(struct np_sinks *s, const char *url, const char **why)
{
    struct delivery **last = &s->first;
    size_t n = 0;
    for (; *last; last = &(*last)->next)
        n += strcmp((*last)->url, url) == 0;
    struct delivery *d = n < WAITING_MAX ? calloc(1, sizeof *d) : NULL;
    *why = n < WAITING_MAX ? np_err_text(NP_E_NOMEM) : "too many wait already";
    if (d) {
        d->sinks = s;
        *last = d;
    }
    return d;
}

void np_sinks_put(struct np_sinks *s, const struct np_sink *sink, const struct np_alert *a,
                  struct np_span body)
{
    const char *why = "the address is too long";
    if (!sink->url)
        return;
    struct delivery *d = strlen(sink->url) < sizeof d->url ? place(s, sink->url, &why) : NULL;
    if (!d) {
        dropped(a, sink, why);
        return;
    }
    d->alert = *a;
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
    while (s->first)
        end(s->first);
    free(s);
}
