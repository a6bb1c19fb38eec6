/* The contract's error object, as the rooms below the endpoints give it. */
#include "http/dialect.h"

#include <stdio.h>

#include "base/json.h"
#include "http/call.h"

/* Messages may quote what the client sent; longer than this they help nobody. */
#define BODY_BYTES_MAX 16384

void np_dialect_body(struct np_buf *b, const struct np_refusal *r, const char *request_id)
{
    struct np_json_w w;
    struct np_span type = r->type_text;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "error", '{');
    np_json_w_str(&w, "type", type.n > 0 ? type : np_span_of(np_refusal_name(r->type)));
    np_json_w_str(&w, "message", r->message);
    if (r->param.n > 0) {
        np_json_w_str(&w, "param", r->param);
    } else {
        np_json_w_null(&w, "param");
    }
    np_json_w_cstr(&w, "requestId", request_id);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
}

void np_dialect_refuse(struct np_http_call *c, const struct np_refusal *r, const char *request_id,
                       const char *allow, bool close)
{
    struct np_http_field fields[4];
    size_t n = 0;
    char seconds[24];
    const char *id_header = c->front->config.request_id_header;
    if (r->type == NP_REFUSAL_unauthorized) {
        fields[n++] = (struct np_http_field){"WWW-Authenticate", "Bearer"};
    }
    if (request_id) {
        fields[n++] = (struct np_http_field){id_header ? id_header : "X-Request-Id", request_id};
    }
    if (r->retry_after_s >= 0) {
        snprintf(seconds, sizeof seconds, "%lld", (long long)r->retry_after_s);
        fields[n++] = (struct np_http_field){"Retry-After", seconds};
    }
    if (allow) {
        fields[n++] = (struct np_http_field){"Allow", allow};
    }
    struct np_buf body;
    np_buf_init(&body, BODY_BYTES_MAX);
    np_dialect_body(&body, r, request_id);
    np_http_reply(c, &(struct np_http_reply){
                         .status = r->status ? r->status : np_refusal_status(r->type),
                         .content_type = "application/json",
                         .fields = fields,
                         .n_fields = n,
                         .body = np_buf_failed(&body) ? NP_SPAN_NONE : np_buf_view(&body),
                         .close = close,
                     });
    np_buf_free(&body);
}

void np_http_refuse(struct np_http_call *c, const struct np_refusal *r, const char *request_id,
                    const char *allow)
{
    unsigned status = r->status ? r->status : np_refusal_status(r->type);
    np_dialect_refuse(c, r, request_id, allow, status == 408 || status == 413);
}

/* ----------------------------------------------------------------------------------- content types */

static struct np_span trim(struct np_span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = np_span_make(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* What stands before the next semicolon; *rest is what follows it. */
static struct np_span take_part(struct np_span *rest)
{
    const char *mark = rest->n > 0 ? memchr(rest->p, ';', rest->n) : NULL;
    size_t n = mark ? (size_t)(mark - rest->p) : rest->n;
    struct np_span part = np_span_make(rest->p, n);
    size_t taken = mark ? n + 1 : n;
    *rest = np_span_make(rest->p + taken, rest->n - taken);
    return trim(part);
}

static bool names_json(struct np_span type)
{
    const struct np_span suffix = NP_SPAN("+json");
    if (np_span_eq_nocase(type, NP_SPAN("application/json"))) {
        return true;
    }
    const char *slash = type.n > 0 ? memchr(type.p, '/', type.n) : NULL;
    if (!slash || slash == type.p || type.n < suffix.n) {
        return false;
    }
    const char *tail = type.p + type.n - suffix.n;
    return tail > slash + 1 && np_span_eq_nocase(np_span_make(tail, suffix.n), suffix);
}

/* Parameters other than charset say nothing about how the bytes are read. */
static bool allows_utf8(struct np_span parameter)
{
    const struct np_span charset = NP_SPAN("charset=");
    if (parameter.n < charset.n ||
        !np_span_eq_nocase(np_span_make(parameter.p, charset.n), charset)) {
        return true;
    }
    struct np_span value = np_span_make(parameter.p + charset.n, parameter.n - charset.n);
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        value = np_span_make(value.p + 1, value.n - 2);
    }
    return np_span_eq_nocase(value, NP_SPAN("utf-8")) || np_span_eq_nocase(value, NP_SPAN("utf8"));
}

bool np_http_is_json(struct np_span content_type)
{
    if (!names_json(take_part(&content_type))) {
        return false;
    }
    while (content_type.n > 0) {
        if (!allows_utf8(take_part(&content_type))) {
            return false;
        }
    }
    return true;
}
