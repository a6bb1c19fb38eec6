/* The spans of an exchange, with the names of OpenTelemetry's conventions for HTTP and generative AI, and
 * names of our own (neap.*) where they have none. Field numbers are those of opentelemetry-proto's
 * trace.proto. */
#include "model/trace.h"

#include "model/exchange.h"
#include "model/money.h"

#include <math.h>

#define SPANS 2 /* ScopeSpans.spans */
#define ATTRS 9 /* Span.attributes */
#define PART_MAX_BYTES ((size_t)64 << 10)

enum { KIND_SERVER = 2, KIND_CLIENT = 3 };
enum { STATUS_ERROR = 2 };
enum { FLAG_SAMPLED = 1, FLAG_REMOTE_KNOWN = 0x100, FLAG_REMOTE = 0x200 };

/* These see the key when they are part of their caller. */
#define PART __attribute__((always_inline)) static inline void

PART attr(struct np_otlp *o, const char *key, const char *value)
{
    if (value && value[0])
        np_otlp_attr(o, ATTRS, key, np_span_of(value));
}

PART attr_count(struct np_otlp *o, const char *key, int64_t n)
{
    if (n > 0)
        np_otlp_attr_i64(o, ATTRS, key, n);
}

/* Shown, never reckoned with. */
PART attr_usd(struct np_otlp *o, const char *key, int64_t nusd)
{
    np_otlp_attr_f64(o, ATTRS, key, (double)nusd / 1e9);
}

static uint64_t since_1970(uint64_t mono_ns, const struct np_span_facts *facts)
{
    return mono_ns + (uint64_t)facts->unix_offset_ns;
}

static void put_times(struct np_otlp *o, uint64_t start_ns, uint64_t end_ns,
                      const struct np_span_facts *facts)
{
    np_otlp_fixed(o, 7, "startTimeUnixNano", since_1970(start_ns, facts));
    np_otlp_fixed(o, 8, "endTimeUnixNano",
                  since_1970(end_ns > start_ns ? end_ns : start_ns, facts));
}

static void put_status(struct np_otlp *o, bool failed)
{
    if (!failed)
        return;
    np_otlp_begin(o, 15, "status");
    np_otlp_enum(o, 3, "code", STATUS_ERROR);
    np_otlp_end(o);
}

/* Whether the parent is of another process. */
static void put_flags(struct np_otlp *o, bool remote)
{
    np_otlp_fixed32(o, 16, "flags", FLAG_SAMPLED | FLAG_REMOTE_KNOWN | (remote ? FLAG_REMOTE : 0));
}

/* --- the request's --------------------------------------------------------------------------------- */

/* "POST /api/assistant/reply"; of a path that is none of ours only the method. Cut where it is long. */
static void put_name(struct np_otlp *o, const char *what, const char *of)
{
    char name[512];
    size_t n = strlen(what), more = of ? strlen(of) : 0;
    n = n < sizeof name - 1 ? n : sizeof name - 1;
    memcpy(name, what, n);
    if (of) {
        name[n++] = ' ';
        more = more < sizeof name - n ? more : sizeof name - n;
        memcpy(name + n, of, more);
    }
    np_otlp_text(o, 5, "name", np_span_make(name, n + more));
}

static void begin_request(struct np_otlp *o, const struct np_trace *t)
{
    np_otlp_begin_long(o, SPANS, NULL);
    np_otlp_id(o, 1, "traceId", t->id, sizeof t->id);
    np_otlp_id(o, 2, "spanId", t->span, sizeof t->span);
    if (t->state.n > 0)
        np_otlp_text(o, 3, "traceState", t->state);
    if (t->has_parent)
        np_otlp_id(o, 4, "parentSpanId", t->parent, sizeof t->parent);
}

static void put_route(struct np_otlp *o, const char *method, const char *route)
{
    attr(o, "http.request.method", method);
    attr(o, "http.route", route);
    attr(o, "url.path", route);
}

static void put_answer(struct np_otlp *o, unsigned status, bool https)
{
    attr(o, "url.scheme", https ? "https" : "http");
    attr_count(o, "http.response.status_code", status);
}

static void put_result(struct np_otlp *o, const struct np_exchange *x)
{
    const struct np_outcome *r = &x->outcome;
    bool error = r->refused || r->broken;
    attr(o, "neap.outcome",
         x->client_gone ? "cancelled"
         : error        ? np_refusal_name(r->refusal.type)
         : r->degraded  ? "degraded"
                        : "ok");
    if (r->degraded)
        attr(o, "neap.reason", np_reason_name(r->reason));
    if (r->broken || (error && r->status >= 500))
        attr(o, "error.type", np_refusal_name(r->refusal.type));
    if (x->answered_by)
        attr(o, "neap.model", x->answered_by->name);
    np_otlp_attr_bool(o, ATTRS, "neap.degraded", r->degraded);
    np_otlp_attr_i64(o, ATTRS, "neap.attempts", (int64_t)x->n_attempts);
    attr_count(o, "neap.skipped", (int64_t)x->n_skipped);
    attr_usd(o, "neap.cost_usd", x->cost_nusd);
    np_otlp_attr_f64(o, ATTRS, "neap.hooks.duration", (double)x->hooks_ns / 1e9);
    if (x->request.stream)
        np_otlp_attr_bool(o, ATTRS, "neap.stream", true);
}

static void put_request(struct np_otlp *o, const struct np_exchange *x,
                        const struct np_span_facts *facts)
{
    const char *route = x->endpoint ? x->endpoint->path : NULL;
    begin_request(o, &x->trace);
    put_name(o, "POST", route);
    np_otlp_enum(o, 6, "kind", KIND_SERVER);
    put_times(o, x->accept_ns, x->end_ns, facts);
    np_otlp_list(o, "attributes");
    if (x->endpoint && x->endpoint->attrs.n > 0 && !o->json)
        np_otlp_raw(o, x->endpoint->attrs);
    else
        put_route(o, "POST", route);
    put_answer(o, x->outcome.status, facts->https);
    attr(o, "neap.request.id", x->id);
    attr(o, "neap.tenant", x->tenant ? x->tenant->name : NULL);
    attr(o, "neap.policy", x->policy);
    put_result(o, x);
    np_otlp_list_end(o);
    put_status(o, x->outcome.broken || x->outcome.status >= 500);
    put_flags(o, x->trace.has_parent);
    np_otlp_end(o);
}

/* --- an attempt's ---------------------------------------------------------------------------------- */

/* Host and port of "https://host:port/path"; a literal IPv6 address without its brackets. */
static void put_server(struct np_otlp *o, unsigned field, const char *url, bool with_port)
{
    const char *host = strstr(url, "://");
    unsigned port = strncmp(url, "https:", 6) == 0 ? 443 : 80;
    if (!host)
        return;
    host += 3;
    const char *end = host + strcspn(host, "/?#");
    const char *stop = *host == '[' ? strchr(host, ']') : NULL;
    const char *colon = memchr(stop ? stop : host, ':', (size_t)(end - (stop ? stop : host)));
    if (colon)
        port = 0;
    for (const char *p = colon ? colon + 1 : end; p < end && *p >= '0' && *p <= '9'; p++)
        port = port * 10 + (unsigned)(*p - '0');
    struct np_span name = stop ? np_span_make(host + 1, (size_t)(stop - host - 1))
                               : np_span_make(host, (size_t)((colon ? colon : end) - host));
    np_otlp_attr(o, field, "server.address", name);
    if (with_port)
        np_otlp_attr_i64(o, field, "server.port", port);
}

void np_trace_model(struct np_otlp *o, unsigned field, const struct np_model *m, bool with_port)
{
    static const char *const adapters[NP_ADAPTER_COUNT] = {
        [NP_ADAPTER_OPENAI] = "openai", [NP_ADAPTER_ANTHROPIC] = "anthropic"};
    np_otlp_attr(o, field, "gen_ai.operation.name", NP_SPAN("chat"));
    np_otlp_attr(o, field, "gen_ai.provider.name", np_span_of(adapters[m->provider->adapter]));
    np_otlp_attr(o, field, "gen_ai.request.model", np_span_of(m->id));
    put_server(o, field, m->provider->base_url, with_port);
}

static void put_model(struct np_otlp *o, const struct np_model *m)
{
    np_trace_model(o, ATTRS, m, true);
    attr(o, "neap.provider", m->provider->name);
    attr(o, "neap.model", m->name);
}

static void put_usage(struct np_otlp *o, const struct np_usage *u)
{
    if (u->prompt == 0 && u->completion == 0)
        return;
    np_otlp_attr_i64(o, ATTRS, "gen_ai.usage.input_tokens", u->prompt);
    np_otlp_attr_i64(o, ATTRS, "gen_ai.usage.output_tokens", u->completion);
    attr_count(o, "gen_ai.usage.cache_read.input_tokens", u->cached);
    attr_count(o, "gen_ai.usage.cache_creation.input_tokens", u->cache_write + u->cache_write_1h);
    attr_count(o, "gen_ai.usage.reasoning.output_tokens", u->reasoning);
}

/* One that was ended because another had answered first has not failed. */
static bool failed(const struct np_attempt *a)
{
    return a->class != NP_CLASS_ok && !a->lost;
}

static void put_call(struct np_otlp *o, const struct np_exchange *x, const struct np_attempt *a)
{
    const struct np_candidate *c = &x->plan[a->candidate];
    if (a->model->attrs.n > 0 && !o->json)
        np_otlp_raw(o, a->model->attrs);
    else
        put_model(o, a->model);
    attr_count(o, "gen_ai.request.max_tokens", c->completion_max);
    if (!isnan(x->request.temperature))
        np_otlp_attr_f64(o, ATTRS, "gen_ai.request.temperature", x->request.temperature);
    if (x->request.stream)
        np_otlp_attr_bool(o, ATTRS, "gen_ai.request.stream", true);
    put_usage(o, &a->usage);
    if (a->class == NP_CLASS_ok && x->answered_by == a->model)
        np_otlp_attr_list(o, ATTRS, "gen_ai.response.finish_reasons",
                          np_span_of(np_finish_name(x->outcome.finish)));
    if (a->said.id.n > 0)
        np_otlp_attr(o, ATTRS, "gen_ai.response.id", a->said.id);
    if (a->said.model.n > 0)
        np_otlp_attr(o, ATTRS, "gen_ai.response.model", a->said.model);
    if (x->request.stream && a->first_byte_ns > a->start_ns)
        np_otlp_attr_f64(o, ATTRS, "gen_ai.response.time_to_first_chunk",
                         (double)(a->first_byte_ns - a->start_ns) / 1e9);
    attr_count(o, "http.response.status_code", a->status);
    if (a->number > 1 && !a->hedge)
        np_otlp_attr_i64(o, ATTRS, "http.request.resend_count", a->number - 1);
    if (failed(a))
        attr(o, "error.type", np_class_name(a->class));
}

static void put_money(struct np_otlp *o, const struct np_attempt *a)
{
    attr_usd(o, "neap.cost_usd", a->cost_nusd);
    attr(o, "neap.settled", np_settled_name(a->settled));
    if (a->retry_in_ms >= 0)
        np_otlp_attr_f64(o, ATTRS, "neap.retry_in", (double)a->retry_in_ms / 1e3);
    if (a->probe)
        np_otlp_attr_bool(o, ATTRS, "neap.probe", true);
    if (a->hedge)
        np_otlp_attr_bool(o, ATTRS, "neap.hedge", true);
    if (a->lost)
        np_otlp_attr_bool(o, ATTRS, "neap.lost", true);
}

static void put_attempt(struct np_otlp *o, const struct np_exchange *x, const struct np_attempt *a,
                        const struct np_span_facts *facts)
{
    uint8_t id[NP_SPAN_ID_BYTES];
    np_trace_attempt_id(&x->trace, a->number, id);
    np_otlp_begin_long(o, SPANS, NULL);
    np_otlp_id(o, 1, "traceId", x->trace.id, sizeof x->trace.id);
    np_otlp_id(o, 2, "spanId", id, sizeof id);
    if (x->trace.state.n > 0)
        np_otlp_text(o, 3, "traceState", x->trace.state);
    np_otlp_id(o, 4, "parentSpanId", x->trace.span, sizeof x->trace.span);
    put_name(o, "chat", a->model->id);
    np_otlp_enum(o, 6, "kind", KIND_CLIENT);
    put_times(o, a->start_ns, a->end_ns ? a->end_ns : x->end_ns, facts);
    np_otlp_list(o, "attributes");
    put_call(o, x, a);
    put_money(o, a);
    np_otlp_list_end(o);
    put_status(o, failed(a));
    put_flags(o, false);
    np_otlp_end(o);
}

static enum np_err keep_part(struct np_arena *a, const struct np_buf *b, struct np_span *out)
{
    if (np_buf_failed(b))
        return NP_E_NOMEM;
    *out = np_arena_dup(a, np_buf_view(b));
    return out->p ? NP_OK : NP_E_NOMEM;
}

enum np_err np_trace_parts(struct np_arena *a, struct np_endpoint *e, struct np_model *m)
{
    struct np_buf b;
    struct np_otlp o;
    enum np_err err = NP_OK;
    np_buf_init(&b, PART_MAX_BYTES);
    np_otlp_init(&o, &b, false);
    if (e) {
        put_route(&o, "POST", e->path);
        err = keep_part(a, &b, &e->attrs);
    }
    np_buf_reset(&b);
    if (!err && m) {
        put_model(&o, m);
        err = keep_part(a, &b, &m->attrs);
    }
    np_buf_free(&b);
    return err;
}

unsigned np_trace_spans(struct np_otlp *o, const struct np_exchange *x,
                        const struct np_span_facts *facts)
{
    put_request(o, x, facts);
    for (size_t i = 0; i < x->n_attempts; i++)
        put_attempt(o, x, &x->attempts[i], facts);
    return 1 + (unsigned)x->n_attempts;
}

/* Methods that the conventions know; others have one name. */
static const char *method_name(struct np_span method)
{
    static const char *const known[] = {"CONNECT", "DELETE", "GET",  "HEAD", "OPTIONS",
                                        "PATCH",   "PUT",    "POST", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (np_span_is(method, known[i]))
            return known[i];
    }
    return "_OTHER";
}

void np_trace_refused(struct np_otlp *o, const struct np_trace *t, const struct np_refusal *r,
                      const char *request_id, const char *endpoint, struct np_span method,
                      uint64_t start_ns, uint64_t end_ns, const struct np_span_facts *facts)
{
    const char *verb = method_name(method);
    begin_request(o, t);
    put_name(o, strcmp(verb, "_OTHER") == 0 ? "HTTP" : verb, endpoint);
    np_otlp_enum(o, 6, "kind", KIND_SERVER);
    put_times(o, start_ns, end_ns, facts);
    np_otlp_list(o, "attributes");
    put_route(o, verb, endpoint);
    put_answer(o, r->status, facts->https);
    attr(o, "neap.request.id", request_id);
    attr(o, "neap.outcome", np_refusal_name(r->type));
    if (r->status >= 500)
        attr(o, "error.type", np_refusal_name(r->type));
    np_otlp_list_end(o);
    put_status(o, r->status >= 500);
    put_flags(o, t->has_parent);
    np_otlp_end(o);
}
