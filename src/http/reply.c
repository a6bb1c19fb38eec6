/* Replies: the owner's, and what the front says itself. A reply is made at once, which copies what
 * must be copied, and queued when the library is next ready to take it: it takes one only in the
 * first and in the last call of its handler. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/id.h"
#include "http/call.h"
#include "http/dialect.h"

/* A refusal past the library: head and error object. */
#define RAW_BYTES_MAX 4096

static bool add_header(struct MHD_Response *r, const char *name, const char *value)
{
    return MHD_add_response_header(r, name, value) == MHD_YES;
}

static void add_fields(struct MHD_Response *r, const struct np_http_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_header(r, fields[i].name, fields[i].value);
    }
}

bool np_reply_prepare(struct np_http_call *c, const struct np_http_reply *reply)
{
    /* The library takes a pointer to bytes that may change; it does not write to them. */
    union {
        const char *bytes;
        void *p;
    } body = {.bytes = reply->body.n > 0 ? reply->body.p : ""};
    c->replied = true;
    c->status = reply->status;
    c->close = c->close || reply->close;
    c->reply_bytes = reply->body.n;
    c->response = MHD_create_response_from_buffer(
        reply->body.n, body.p, reply->borrowed ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
    if (!c->response) {
        c->aborted = true;
        return false;
    }
    if (reply->content_type) {
        add_header(c->response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    }
    add_fields(c->response, c->front->config.fields, c->front->config.n_fields);
    add_fields(c->response, reply->fields, reply->n_fields);
    return true;
}

/* After a chunked request the connection ends: what the library took for the end of its body may
 * not be what others take for it. */
enum MHD_Result np_reply_queue(struct np_http_call *c)
{
    bool ends = c->close || c->chunked || c->front->draining;
    if (!c->response || (ends && !add_header(c->response, MHD_HTTP_HEADER_CONNECTION, "close"))) {
        return MHD_NO;
    }
    enum MHD_Result queued = MHD_queue_response(c->mhd, c->status, c->response);
    MHD_destroy_response(c->response);
    c->response = NULL;
    if (queued == MHD_YES) {
        np_call_stage(c, NP_STAGE_SENDING);
    }
    return queued;
}

void np_http_reply(struct np_http_call *c, const struct np_http_reply *reply)
{
    if (c->left || c->front->freeing) {
        return;
    }
    np_require(!c->replied && (c->stage == NP_STAGE_HEAD || c->stage == NP_STAGE_WAIT));
    np_reply_prepare(c, reply);
    if (c->suspended) {
        np_front_resume(c);
    }
}

/* ------------------------------------------------------------------------------ the front's refusals */

/* The id that a refusal carries; NULL: none. */
static const char *refusal_id(struct np_http_call *c, char made[NP_HTTP_ID_BYTES])
{
    const struct np_front_config *config = &c->front->config;
    if (c->id) {
        return c->id;
    }
    if (!config->request_id_header) {
        return NULL;
    }
    struct np_span client = np_http_header(c, config->request_id_header);
    if (config->make_id) {
        config->make_id(c->front->ops.ctx, made, client);
        return made;
    }
    if (!np_id_valid(client)) {
        return NULL;
    }
    memcpy(made, client.p, client.n);
    made[client.n] = '\0';
    return made;
}

static struct np_refusal refusal(enum np_refusal_type type, unsigned status, const char *message)
{
    return (struct np_refusal){
        .type = type, .status = status, .message = np_span_of(message), .retry_after_s = -1};
}

struct np_refusal np_http_refused(const struct np_http_call *c)
{
    return c->refused;
}

static void tell_turned_away(struct np_http_call *c, const struct np_refusal *r, const char *id)
{
    const struct np_front_ops *ops = &c->front->ops;
    if (ops->turned_away && !c->opened && c->stage != NP_STAGE_LINE && id) {
        ops->turned_away(ops->ctx, c, r, id);
    }
}

void np_reply_refuse(struct np_http_call *c, enum np_http_refusal cause, enum np_refusal_type type,
                     const char *message)
{
    char made[NP_HTTP_ID_BYTES];
    const char *id = refusal_id(c, made);
    struct np_refusal r = refusal(type, np_refusal_status(type), message);
    c->refused = refusal(type, r.status, "");
    np_call_count(c->front, cause);
    tell_turned_away(c, &r, id);
    np_dialect_refuse(c, &r, id, NULL, true);
}

static void write_raw(struct np_buf *b, const struct np_front_config *config, unsigned status,
                      struct np_span body, const char *id, int retry_after_s)
{
    const char *id_header = config->request_id_header ? config->request_id_header : "X-Request-Id";
    np_buf_printf(b,
                  "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n",
                  status, MHD_get_reason_phrase_for(status), body.n);
    if (id) {
        np_buf_printf(b, "%s: %s\r\n", id_header, id);
    }
    if (retry_after_s >= 0) {
        np_buf_printf(b, "Retry-After: %d\r\n", retry_after_s);
    }
    for (size_t i = 0; i < config->n_fields; i++) {
        np_buf_printf(b, "%s: %s\r\n", config->fields[i].name, config->fields[i].value);
    }
    np_buf_puts(b, "\r\n");
    np_buf_span(b, body);
}

/* Past the library, but not past its TLS. True when all of it was taken. */
static bool send_raw(struct np_http_call *c, struct np_span bytes)
{
    const union MHD_ConnectionInfo *info =
        c->front->config.tls ? MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)
                             : NULL;
    ssize_t sent = info ? gnutls_record_send((gnutls_session_t)info->tls_session, bytes.p, bytes.n)
                        : send(c->conn->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 && (size_t)sent == bytes.n;
}

void np_reply_refuse_raw(struct np_http_call *c, enum np_http_refusal cause,
                         enum np_refusal_type type, const char *message)
{
    char made[NP_HTTP_ID_BYTES];
    const char *id = refusal_id(c, made);
    unsigned status = cause == NP_HTTP_REFUSAL_timeout ? 408 : np_refusal_status(type);
    struct np_refusal r = refusal(type, status, message);
    struct np_buf body, raw;
    c->refused = refusal(type, status, "");
    np_call_count(c->front, cause);
    tell_turned_away(c, &r, id);
    np_buf_init(&body, RAW_BYTES_MAX / 2);
    np_buf_init(&raw, RAW_BYTES_MAX);
    np_dialect_body(&body, &r, id);
    write_raw(&raw, &c->front->config, status, np_buf_view(&body), id, -1);
    if (!np_buf_failed(&body) && !np_buf_failed(&raw)) {
        c->raw_sent = send_raw(c, np_buf_view(&raw));
    }
    np_buf_free(&body);
    np_buf_free(&raw);
}

void np_reply_overloaded(struct np_front *f, int fd, const char *message, int retry_after_s)
{
    char made[NP_HTTP_ID_BYTES];
    const char *id = NULL;
    struct np_buf body, raw;
    struct np_refusal r = refusal(NP_REFUSAL_overloaded, 0, message);
    if (f->config.make_id) {
        f->config.make_id(f->ops.ctx, made, NP_SPAN_NONE);
        id = made;
    }
    np_buf_init(&body, RAW_BYTES_MAX / 2);
    np_buf_init(&raw, RAW_BYTES_MAX);
    np_dialect_body(&body, &r, id);
    write_raw(&raw, &f->config, np_refusal_status(r.type), np_buf_view(&body), id, retry_after_s);
    if (!np_buf_failed(&body) && !np_buf_failed(&raw)) {
        (void)send(fd, raw.p, raw.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    np_buf_free(&body);
    np_buf_free(&raw);
}
