/* The life of a call, as the library tells it: the request line is in (np_call_line), the head is in
 * (the handler's first call), pieces of the body, the body's end (the last call, again after each
 * resuming), the end (np_call_completed). */
#include "http/call.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "http/gate.h"

/* A body up to this is read to its end when its request is refused, so that the connection can be
 * used again. */
#define DROP_BYTES_MAX 16384
/* What is set aside for a body on its announcement alone. */
#define TRUST_BYTES_MAX 65536

void np_call_stage(struct np_http_call *c, enum np_http_stage stage)
{
    c->stage = stage;
    c->stage_ns = np_loop_now_ns(c->front->loop);
}

void np_call_count(struct np_front *f, enum np_http_refusal cause)
{
    if (f->ops.refused) {
        f->ops.refused(f->ops.ctx, cause);
    }
}

/* uri is NULL when a request line has none. Without memory the handler ends the connection. */
void *np_call_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct np_front *f = cls;
    f->moves++;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct np_conn *conn = info ? info->socket_context : NULL;
    size_t n = uri ? strlen(uri) : 0;
    if (!conn) {
        return NULL;
    }
    struct np_http_call *c = calloc(1, sizeof *c + n + 1);
    if (!c) {
        np_call_count(f, NP_HTTP_REFUSAL_memory);
        return NULL;
    }
    c->front = f;
    c->conn = conn;
    c->mhd = mhd;
    c->target_at = uri;
    c->target_bytes = n;
    if (n > 0) {
        memcpy(c->target, uri, n);
    }
    np_buf_init(&c->body, 0);
    np_call_stage(c, NP_STAGE_LINE);
    conn->call = c;
    conn->used = true;
    return c;
}

/* ------------------------------------------------------------------------------------------- head */

static bool body_follows(const struct np_http_call *c)
{
    return c->chunked || c->length > 0;
}

/* A reply is known before the body came. A short body is dropped first; else the reply goes out at
 * once (which stops a client that waits for 100 Continue) and the connection ends with it. */
static enum MHD_Result answer_early(struct np_http_call *c)
{
    if (c->aborted) {
        return MHD_NO;
    }
    bool lasts = !c->close && !c->chunked && !c->expects && c->length <= DROP_BYTES_MAX;
    if (lasts || !body_follows(c)) {
        c->linger = c->close;
        np_call_stage(c, NP_STAGE_DROP);
        return MHD_YES;
    }
    c->linger = true;
    c->close = true;
    return np_reply_queue(c);
}

static enum MHD_Result refuse(struct np_http_call *c, enum np_http_refusal cause,
                              enum np_refusal_type type, const char *message)
{
    np_reply_refuse(c, cause, type, message);
    if (c->aborted) {
        return MHD_NO;
    }
    c->linger = true;
    return np_reply_queue(c);
}

/* Whether the head leaves the library too little of the connection's memory to write a reply's head:
 * it would close the connection without a word. */
static bool head_too_large(struct np_http_call *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    c->head_bytes = info ? info->header_size : 0;
    return c->head_bytes > NP_HTTP_HEAD_BYTES;
}

static enum MHD_Result take_head(struct np_http_call *c, const char *method, const char *version)
{
    struct np_front *f = c->front;
    struct np_gate_fault fault;
    c->method = method;
    c->version = version;
    c->accept_ns = np_loop_now_ns(f->loop);
    c->limit = f->config.max_body_bytes;
    np_call_stage(c, NP_STAGE_HEAD);
    if (head_too_large(c)) {
        np_reply_refuse_raw(c, NP_HTTP_REFUSAL_too_large, NP_REFUSAL_headers_too_large,
                            "the request's head is larger than 6,000 bytes");
        np_linger_start(f, c->conn->fd);
        return MHD_NO;
    }
    if (!np_gate_pass(c, &fault)) {
        return refuse(c, fault.cause, fault.type, fault.message);
    }
    c->opened = true;
    f->n_open++;
    f->ops.head(f->ops.ctx, c);
    if (c->replied) {
        return answer_early(c);
    }
    if (c->length > c->limit) {
        return refuse(c, NP_HTTP_REFUSAL_too_large, NP_REFUSAL_too_large,
                      "the body is larger than this endpoint takes");
    }
    np_buf_init(&c->body, c->limit);
    size_t reserve = c->length < TRUST_BYTES_MAX ? (size_t)c->length : TRUST_BYTES_MAX;
    if (reserve > 0 && np_buf_reserve(&c->body, reserve) == NP_E_NOMEM) {
        return refuse(c, NP_HTTP_REFUSAL_memory, NP_REFUSAL_overloaded, "out of memory");
    }
    np_call_stage(c, NP_STAGE_BODY);
    if (c->chunked) {
        np_chunks_begin(c);
    }
    return MHD_YES;
}

/* ------------------------------------------------------------------------------------------- body */

/* The library can't queue a reply in the midst of a body. */
static enum MHD_Result refuse_midway(struct np_http_call *c, enum np_err err)
{
    if (err == NP_E_NOMEM) {
        np_reply_refuse_raw(c, NP_HTTP_REFUSAL_memory, NP_REFUSAL_overloaded, "out of memory");
    } else {
        np_reply_refuse_raw(c, NP_HTTP_REFUSAL_too_large, NP_REFUSAL_too_large,
                            "the body is larger than this endpoint takes");
    }
    np_linger_start(c->front, c->conn->fd);
    return MHD_NO;
}

static enum MHD_Result take_piece(struct np_http_call *c, const char *data, size_t *data_bytes)
{
    size_t n = *data_bytes;
    *data_bytes = 0;
    c->received += n;
    if (c->stage != NP_STAGE_BODY) {
        return MHD_YES;
    }
    enum np_err err = np_buf_put(&c->body, data, n);
    return err == NP_OK ? MHD_YES : refuse_midway(c, err);
}

void np_call_suspend(struct np_http_call *c)
{
    MHD_suspend_connection(c->mhd);
    c->suspended = true;
    c->front->n_suspended++;
    if (c->conn->peer_closed) {
        np_call_leave(c);
    } else if (np_call_may_leave(c) && np_tls_has_left(c->conn)) {
        np_conn_peer_closed(c->conn);
    }
}

/* The whole request is in, or a suspended call goes on. */
static enum MHD_Result take_end(struct np_http_call *c)
{
    if (c->stage == NP_STAGE_BODY) {
        np_chunks_end(c);
        np_call_stage(c, NP_STAGE_WAIT);
        c->front->ops.whole(c->front->ops.ctx, c);
    }
    if (c->aborted) {
        return MHD_NO;
    }
    if (c->replied) {
        return np_reply_queue(c);
    }
    np_call_suspend(c);
    return MHD_YES;
}

enum MHD_Result np_call_handle(void *cls, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_bytes, void **con_cls)
{
    (void)mhd;
    (void)url;
    struct np_front *f = cls;
    struct np_http_call *c = *con_cls;
    f->moves++;
    if (!c) {
        return MHD_NO;
    }
    if (c->stage == NP_STAGE_LINE) {
        return take_head(c, method, version);
    }
    return *data_bytes > 0 ? take_piece(c, data, data_bytes) : take_end(c);
}

/* -------------------------------------------------------------------------------------------- end */

bool np_call_may_leave(const struct np_http_call *c)
{
    if (c->left) {
        return false;
    }
    return c->stream ? !c->stream->ended : !c->replied && c->stage == NP_STAGE_WAIT && c->suspended;
}

/* A connection that is not suspended waits until it can write: it is made to find out. */
void np_call_leave(struct np_http_call *c)
{
    struct np_front *f = c->front;
    if (!np_call_may_leave(c)) {
        return;
    }
    c->left = true;
    if (f->ops.left) {
        f->ops.left(f->ops.ctx, c);
    }
    c->aborted = true;
    if (c->suspended) {
        np_front_resume(c);
    } else {
        shutdown(c->conn->fd, SHUT_RDWR);
    }
}

/* What the library refused by itself (too long a head, a malformed chunk, …) is counted too, and its
 * client has not left. */
static void note_library_refusal(struct np_http_call *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    if (c->stage == NP_STAGE_SENDING || !info || info->http_status < 400) {
        return;
    }
    enum np_refusal_type type = NP_REFUSAL_invalid_request;
    enum np_http_refusal cause = NP_HTTP_REFUSAL_framing;
    switch (info->http_status) {
    case MHD_HTTP_CONTENT_TOO_LARGE:
        type = NP_REFUSAL_too_large;
        cause = NP_HTTP_REFUSAL_too_large;
        break;
    case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
        type = NP_REFUSAL_headers_too_large;
        cause = NP_HTTP_REFUSAL_too_large;
        break;
    case MHD_HTTP_URI_TOO_LONG:
        cause = NP_HTTP_REFUSAL_path;
        break;
    default:
        break;
    }
    c->refused = (struct np_refusal){
        .type = type, .status = info->http_status, .message = NP_SPAN(""), .retry_after_s = -1};
    c->raw_sent = true;
    np_call_count(c->front, cause);
}

void np_call_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode code)
{
    (void)mhd;
    struct np_front *f = cls;
    struct np_http_call *c = *con_cls;
    f->moves++;
    if (!c) {
        return;
    }
    *con_cls = NULL;
    np_chunks_end(c);
    np_require(!c->suspended);
    bool sent = c->stage == NP_STAGE_SENDING && code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (sent && c->linger) {
        np_linger_start(f, c->conn->fd);
    } else if (sent && f->draining) {
        /* A reply that began before the drain could not say that it is the last. */
        shutdown(c->conn->fd, SHUT_RDWR);
    }
    note_library_refusal(c);
    if (c->opened) {
        f->n_open--;
        f->ops.gone(f->ops.ctx, c, sent || c->raw_sent ? NP_HTTP_SENT : NP_HTTP_LEFT);
    }
    if (c->response) {
        MHD_destroy_response(c->response);
    }
    c->conn->call = NULL;
    c->conn->taken += c->head_bytes + c->received;
    np_conn_pause(c->conn, np_loop_now_ns(f->loop));
    np_stream_free(c->stream);
    np_buf_free(&c->body);
    free(c);
}
