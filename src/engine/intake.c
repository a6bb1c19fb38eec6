/* The client side of a worker: who may call what, the birth of an exchange, and its client's end. */
#include "base/log.h"
#include "engine/waiting.h"
#include "http/dialect.h"

#include <strings.h>

#define ARENA_SPARE_BYTES (40u << 20)
#define REQUEST_ID "X-Request-Id"

_Static_assert(NP_HTTP_ID_BYTES >= NP_ID_CLIENT_MAX + 1, "a client's id must fit");

/* The id of a call: its client's where that may be taken, else a new one. */
static void make_id(void *ctx, char out[NP_HTTP_ID_BYTES], struct np_span given)
{
    struct np_worker *w = ctx;
    if (given.p && np_id_valid(given)) {
        memcpy(out, given.p, given.n);
        out[given.n] = '\0';
    } else {
        np_id_make(&w->rng, np_clock_wall_ms(&np_clock_live), out);
    }
}

/* A call that was refused before it became an exchange carries no user pointer. */

static void count_refusal(struct np_worker *w, const struct np_http_call *c,
                          enum np_refusal_type type, const struct np_endpoint *endpoint)
{
    if (!endpoint) {
        np_meter_add(w->meters, NP_FAMILY_http_refused, NP_HTTP_REFUSAL_path, 0, 0, 1);
        return;
    }
    unsigned status = np_refusal_status(type);
    uint64_t now_ns = np_loop_now_ns(w->loop);
    uint64_t took_ns = now_ns - np_http_accept_ns(c);
    np_meter_add(w->meters, NP_FAMILY_requests, endpoint->slot, status, 0, 1);
    np_meter_observe(w->meters, NP_FAMILY_request_duration, endpoint->slot, 0, (int64_t)took_ns);
    np_meter_observe(w->meters, NP_FAMILY_overhead, endpoint->slot, 0, (int64_t)took_ns);
    const struct np_till_entry entry = {
        .kind = NP_TILL_ENDPOINT,
        .slot = endpoint->slot,
        .sum = {.n = 1, .bad = status >= 500, .refused = status < 500}};
    np_till_add(w->till, np_clock_wall_ms(&np_clock_live), &entry, 1);
    const struct np_series_event event = {
        .latency_ns = took_ns, .error = status >= 500, .client = status < 500};
    if (w->engine->series)
        np_series_add(w->engine->series, endpoint->slot, &event);
    if (status >= 500)
        np_stat_exchange(w->engine->guard, endpoint, now_ns, took_ns, true, true, false, 0);
    if (type == NP_REFUSAL_draining)
        np_meter_add(w->meters, NP_FAMILY_shed, NP_SHED_DRAINING, 0, 0, 1);
}

static void read_trace(struct np_worker *w, const struct np_http_call *c, struct np_trace *t)
{
    np_trace_begin(t, np_otel_rule(w->engine->otel), &w->rng, np_http_header(c, "traceparent"),
                   np_http_header(c, "tracestate"));
}

static void tell_refusal(struct np_worker *w, struct np_http_call *c, const struct np_refusal *r,
                         const char *id, const struct np_endpoint *endpoint)
{
    np_log(NP_LOG_INFO, "refused", NP_KVS("request", id), NP_KVI("status", r->status),
           NP_KVS("type", np_refusal_name(r->type)), NP_KVS("tenant", r->tenant ? r->tenant : "-"));
    uint64_t now_ns = np_loop_refresh_ns(w->loop);
    np_account_refusal(&w->account, r, id, endpoint, now_ns - np_http_accept_ns(c));
    struct np_trace trace;
    read_trace(w, c, &trace);
    np_otel_refused(&w->otel, &trace, r, id, endpoint ? endpoint->path : NULL, np_http_method(c),
                    np_http_accept_ns(c), now_ns);
}

/* told: with log line, record and trace. */
static void give_refusal(struct np_worker *w, struct np_http_call *c, const struct np_refusal *r,
                         const struct np_endpoint *endpoint, bool told)
{
    char id[NP_HTTP_ID_BYTES];
    make_id(w, id, np_http_header(c, REQUEST_ID));
    count_refusal(w, c, r->type, endpoint);
    if (told)
        tell_refusal(w, c, r, id, endpoint);
    np_http_refuse(c, r, id, r->type == NP_REFUSAL_method_not_allowed ? "POST" : NULL);
}

static void refuse(struct np_worker *w, struct np_http_call *c, enum np_refusal_type type,
                   const char *message, const struct np_endpoint *endpoint)
{
    struct np_refusal r = {.type = type,
                           .status = np_refusal_status(type),
                           .message = np_span_of(message),
                           .retry_after_s = np_refusal_status(type) == 503 ? 1 : -1};
    give_refusal(w, c, &r, endpoint, true);
}

static struct np_refusal draining(void)
{
    return (struct np_refusal){.type = NP_REFUSAL_draining,
                               .status = np_refusal_status(NP_REFUSAL_draining),
                               .message = NP_SPAN("this instance is shutting down"),
                               .retry_after_s = 1};
}

/* The key that a call carries; p NULL: none. */
static struct np_span key_of(const struct np_http_call *c)
{
    struct np_span auth = np_http_header(c, "authorization");
    if (auth.p && auth.n > 7 && strncasecmp(auth.p, "bearer ", 7) == 0) {
        struct np_span key = np_span_make(auth.p + 7, auth.n - 7);
        while (key.n > 0 && key.p[0] == ' ') {
            key.p++;
            key.n--;
        }
        return key;
    }
    return np_http_header(c, "x-api-key");
}

/* The tenant of a call; NULL after it was refused. Unknown, expired and disabled keys get one answer. */
static const struct np_tenant *authenticate(struct np_worker *w, struct np_http_call *c,
                                            const struct np_catalog *catalog,
                                            const struct np_endpoint *endpoint)
{
    if (catalog->n_tenants == 0)
        return catalog->anonymous;
    struct np_span key = key_of(c);
    if (!key.p || key.n == 0) {
        refuse(w, c, NP_REFUSAL_unauthorized,
               "a key is required: Authorization: Bearer KEY, or x-api-key: KEY", endpoint);
        return NULL;
    }
    uint8_t hash[NP_SHA256_BYTES];
    np_sha256(key.p, key.n, hash);
    const struct np_tenant *t = np_catalog_tenant(catalog, hash);
    int64_t wall_ms = np_clock_wall_ms(&np_clock_live);
    if (!t || t->disabled || (t->expires_ms > 0 && wall_ms >= t->expires_ms)) {
        refuse(w, c, NP_REFUSAL_unauthorized, "the key is unknown, expired or disabled", endpoint);
        return NULL;
    }
    if (!np_tenant_may_use_endpoint(t, endpoint)) {
        const struct np_refusal r = {.type = NP_REFUSAL_forbidden,
                                     .status = np_refusal_status(NP_REFUSAL_forbidden),
                                     .message = NP_SPAN("this key may not use this endpoint"),
                                     .retry_after_s = -1,
                                     .tenant = t->name};
        give_refusal(w, c, &r, endpoint, true);
        return NULL;
    }
    return t;
}

/* The exchange of an admitted call; NULL without memory. */
static struct np_exchange *birth(struct np_worker *w, struct np_http_call *c,
                                 const struct np_endpoint *endpoint, const struct np_tenant *tenant)
{
    struct np_here *here = w->here;
    struct np_exchange *x = np_exchange_new(endpoint->body_bytes * 8 + ARENA_SPARE_BYTES);
    if (!x)
        return NULL;
    char id[NP_HTTP_ID_BYTES];
    make_id(w, id, np_http_header(c, REQUEST_ID));
    struct np_live *live = np_arena_alloc(x->arena, sizeof *live);
    x->id = np_arena_strdup(x->arena, id);
    if (!live || !x->id) {
        np_exchange_free(x);
        return NULL;
    }
    x->at_wall_ms = np_clock_wall_ms(&np_clock_live);
    np_http_set_request_id(c, x->id);
    read_trace(w, c, &x->trace);
    if (x->trace.state.n > 0)
        x->trace.state = np_arena_dup(x->arena, x->trace.state);
    x->accept_ns = np_http_accept_ns(c);
    x->deadline_ns = x->accept_ns + (uint64_t)endpoint->deadline_ms * NP_NS_PER_MS;
    x->endpoint = endpoint;
    x->tenant = tenant;
    x->catalog = np_policyset_catalog(here->set);
    x->policy = np_policyset_version(here->set);
    x->gen = here;
    x->ground = live;
    live->worker = w;
    live->client = c;
    live->x = x;
    for (unsigned i = 0; i < NP_LEGS; i++) {
        live->leg[i].x = x;
        live->leg[i].number = i;
        np_buf_init(&live->leg[i].reply, NP_REPLY_MAX_BYTES);
    }
    np_buf_init(&live->body, NP_BODY_MAX_BYTES);
    here->exchanges++;
    np_tally_add(&here->tally->requests);
    atomic_fetch_add_explicit(&w->open, 1, memory_order_relaxed);
    np_http_set_user(c, x);
    return x;
}

static bool media_ok(struct np_worker *w, struct np_http_call *c, const struct np_endpoint *e)
{
    if (!np_http_is_json(np_http_header(c, "content-type"))) {
        refuse(w, c, NP_REFUSAL_unsupported_media_type,
               "the body must be JSON, with Content-Type: application/json", e);
        return false;
    }
    struct np_span coding = np_http_header(c, "content-encoding");
    if (coding.p && !np_span_eq_nocase(coding, NP_SPAN("identity"))) {
        refuse(w, c, NP_REFUSAL_unsupported_media_type,
               "the body must be sent without Content-Encoding", e);
        return false;
    }
    return true;
}

static void on_head(void *ctx, struct np_http_call *c)
{
    struct np_worker *w = ctx;
    const struct np_catalog *catalog = np_policyset_catalog(w->here->set);
    const struct np_endpoint *endpoint = np_catalog_endpoint(catalog, np_http_path(c));
    if (!endpoint && !np_span_is(np_http_method(c), "OPTIONS")) {
        refuse(w, c, NP_REFUSAL_not_found, "there is no such endpoint", NULL);
        return;
    }
    if (!np_span_is(np_http_method(c), "POST")) {
        refuse(w, c, NP_REFUSAL_method_not_allowed, "only POST is served here", endpoint);
        return;
    }
    if (atomic_load_explicit(&w->engine->draining, memory_order_relaxed)) {
        const struct np_refusal r = draining();
        give_refusal(w, c, &r, endpoint, true);
        return;
    }
    const struct np_tenant *tenant = authenticate(w, c, catalog, endpoint);
    if (!tenant || !media_ok(w, c, endpoint))
        return;
    if (!np_waiting_admits(w, tenant)) {
        struct np_refusal r = np_waiting_refusal();
        give_refusal(w, c, &r, endpoint, np_waiting_shed(w));
        return;
    }
    if (!birth(w, c, endpoint, tenant)) {
        np_meter_add(w->meters, NP_FAMILY_shed, NP_SHED_MEMORY, 0, 0, 1);
        refuse(w, c, NP_REFUSAL_overloaded, "no memory for this request now", endpoint);
        return;
    }
    np_http_accept(c, endpoint->body_bytes);
}

static void on_whole(void *ctx, struct np_http_call *c)
{
    struct np_worker *w = ctx;
    struct np_exchange *x = np_http_user(c);
    if (!x)
        return;
    x->body = np_http_body(c);
    /* A call that is read on after its client left outlives the front's copy of the body. */
    if (x->endpoint->drain_on_disconnect)
        x->body = np_arena_dup(x->arena, x->body);
    np_waiting_request(w, x);
}

static void client_left(struct np_worker *w, struct np_exchange *x)
{
    struct np_live *live = x->ground;
    np_live_wait_over(live);
    np_line_leave(&w->line, &live->place);
    np_drive_gone(&w->drive, x, np_worker_now(w));
    np_live_go_on(live); /* what is read on has nobody to wait for */
}

/* Its request is whole, and it has no reply yet. */
static void dismiss(void *ctx, struct np_http_call *c)
{
    struct np_worker *w = ctx;
    struct np_exchange *x = np_http_user(c);
    if (!x || x->done || x->client_gone)
        return;
    const struct np_refusal r = draining();
    struct np_live *live = x->ground;
    np_meter_add(w->meters, NP_FAMILY_shed, NP_SHED_DRAINING, 0, 0, 1);
    np_live_wait_over(live);
    np_line_leave(&w->line, &live->place);
    if (x->drive) {
        np_drive_dismiss(&w->drive, x, &r, np_worker_now(w));
        return;
    }
    x->outcome = (struct np_outcome){
        .status = r.status, .refused = true, .refusal = r, .retry_after_s = r.retry_after_s};
    x->done = true;
    x->end_ns = np_loop_now_ns(w->loop);
    w->ground.reply(w->ground.ctx, x);
}

void np_intake_dismiss(struct np_worker *w)
{
    np_front_each_unanswered(w->front, dismiss, w);
    np_live_abandon(w);
}

static void on_left(void *ctx, struct np_http_call *c)
{
    struct np_exchange *x = np_http_user(c);
    if (x && !x->client_gone && !x->done)
        client_left(ctx, x);
}

static void on_gone(void *ctx, struct np_http_call *c, enum np_http_end end)
{
    struct np_worker *w = ctx;
    struct np_exchange *x = np_http_user(c);
    if (!x)
        return;
    struct np_live *live = x->ground;
    if (end == NP_HTTP_LEFT && !x->client_gone)
        client_left(w, x);
    /* The front itself refused the body: it was too large, came too slowly, or found no memory. */
    struct np_refusal r = np_http_refused(c);
    if (r.status && !x->done) {
        x->outcome = (struct np_outcome){
            .status = r.status, .refused = true, .refusal = r, .retry_after_s = -1};
        if (r.status == np_refusal_status(NP_REFUSAL_overloaded))
            np_meter_add(w->meters, NP_FAMILY_shed, NP_SHED_MEMORY, 0, 0, 1);
    }
    live->client = NULL;
    x->end_ns = np_loop_refresh_ns(w->loop);
    np_live_settle(x);
}

static void on_drained(void *ctx, struct np_http_call *c)
{
    (void)ctx;
    const struct np_exchange *x = np_http_user(c);
    if (x)
        np_live_go_on(x->ground);
}

static void on_refused(void *ctx, enum np_http_refusal cause)
{
    struct np_worker *w = ctx;
    np_meter_add(w->meters, NP_FAMILY_http_refused, (uint32_t)cause, 0, 0, 1);
}

void np_intake_ids(struct np_front_config *config)
{
    config->request_id_header = REQUEST_ID;
    config->make_id = make_id;
}

/* The front refused it before it was anybody's: told like a refusal of ours, counted by on_refused. */
static void on_turned_away(void *ctx, struct np_http_call *c, const struct np_refusal *r,
                           const char *id)
{
    tell_refusal(ctx, c, r, id, NULL);
}

struct np_front_ops np_intake_ops(struct np_worker *w)
{
    return (struct np_front_ops){.head = on_head,
                                 .whole = on_whole,
                                 .gone = on_gone,
                                 .left = on_left,
                                 .drained = on_drained,
                                 .refused = on_refused,
                                 .turned_away = on_turned_away,
                                 .ctx = w};
}
