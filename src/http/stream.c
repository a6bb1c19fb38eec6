/* Replies that are given piece by piece. The library asks for bytes when it can write; with none it is
 * suspended until there are some. What waits is bounded by the owner, who stops giving when told that it
 * is enough and is told when to go on. A reader that takes nothing for too long ends; one that waits
 * gets a comment from time to time, so that nobody on the way takes the connection for dead. */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "http/call.h"

#define DEFAULT_STALL_MS 30000
#define DEFAULT_COMMENT_MS 15000
/* What the library keeps beside each stream, and asks for at once where it sends no chunks (HTTP/1.0). */
#define BLOCK_BYTES 256
/* What the kernel holds of a stream beyond what is on its way; it would take megabytes. */
#define UNSENT_BYTES 16384

static size_t waits(const struct np_http_stream *s)
{
    return s->waiting.n - s->from;
}

static void take_out(struct np_http_stream *s, char *out, size_t n)
{
    memcpy(out, s->waiting.p + s->from, n);
    s->from += n;
    if (waits(s) == 0) {
        s->from = 0;
        np_buf_free(&s->waiting);
    }
}

struct field {
    char name[64];
    char value[NP_HTTP_ID_BYTES];
};

/* The first field that may go. The library notes by itself what "Connection" says. */
static enum MHD_Result copy_field(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    (void)kind;
    struct field *f = ctx;
    size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
    if (name_bytes > sizeof f->name || value_bytes > sizeof f->value ||
        strcasecmp(name, MHD_HTTP_HEADER_CONNECTION) == 0) {
        return MHD_YES;
    }
    memcpy(f->name, name, name_bytes);
    memcpy(f->value, value, value_bytes);
    return MHD_NO;
}

/* The head has left, and the stream may last. The library compares with what it is given while it
 * frees: it gets copies. */
static void drop_head(const struct np_http_stream *s)
{
    struct field f;
    do {
        f.name[0] = '\0';
        (void)MHD_get_response_headers(s->response, copy_field, &f);
    } while (f.name[0] != '\0' && MHD_del_response_header(s->response, f.name, f.value) == MHD_YES);
}

/* The library asks for bytes. */
static ssize_t give(void *cls, uint64_t pos, char *out, size_t max)
{
    struct np_http_call *c = cls;
    struct np_http_stream *s = c->stream;
    struct np_front *f = c->front;
    f->moves++;
    if (c->aborted) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (pos == 0 && s->from == 0) {
        drop_head(s);
    }
    if (waits(s) == 0) {
        if (s->ended) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        np_call_suspend(c);
        return 0;
    }
    size_t n = waits(s) < max ? waits(s) : max;
    __builtin_prefetch(&c->conn->peer_closed); /* for the suspending that follows the sending */
    take_out(s, out, n);
    s->since_ns = np_loop_now_ns(f->loop);
    if (s->full && waits(s) <= NP_HTTP_STREAM_LOW) {
        s->full = false;
        if (f->ops.drained && !c->left) {
            f->ops.drained(f->ops.ctx, c);
        }
    }
    return (ssize_t)n;
}

static bool prepare(struct np_http_call *c, const struct np_http_reply *head)
{
    struct np_http_stream *s = calloc(1, sizeof *s);
    if (!s) {
        return false;
    }
    c->stream = s;
    np_buf_init(&s->waiting, NP_HTTP_STREAM_MAX);
    s->since_ns = s->put_ns = np_loop_now_ns(c->front->loop);
    c->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, give, c, NULL);
    if (!c->response) {
        return false;
    }
    s->response = c->response;
    c->status = head->status;
    c->close = c->close || head->close;
    if (head->content_type) {
        MHD_add_response_header(c->response, MHD_HTTP_HEADER_CONTENT_TYPE, head->content_type);
    }
    for (size_t i = 0; i < head->n_fields; i++) {
        MHD_add_response_header(c->response, head->fields[i].name, head->fields[i].value);
    }
    return true;
}

void np_http_stream_begin(struct np_http_call *c, const struct np_http_reply *head)
{
    int unsent = UNSENT_BYTES;
    if (c->left || c->front->freeing) {
        return;
    }
    np_require(!c->replied && (c->stage == NP_STAGE_HEAD || c->stage == NP_STAGE_WAIT));
    c->replied = true;
    if (!prepare(c, head)) {
        c->aborted = true;
    }
    (void)setsockopt(c->conn->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    if (c->suspended) {
        np_front_resume(c);
    }
}

/* Whether there is a stream that can be given to. */
static bool is_open(const struct np_http_call *c)
{
    return c->stream && !c->left && !c->aborted && !c->front->freeing;
}

bool np_http_stream_put(struct np_http_call *c, struct np_span bytes)
{
    if (!is_open(c)) {
        return true;
    }
    struct np_http_stream *s = c->stream;
    np_require(!s->ended);
    s->put_ns = np_loop_now_ns(c->front->loop);
    if (waits(s) == 0) {
        s->since_ns = s->put_ns;
    } else if (s->from > s->waiting.n / 2) {
        np_buf_drop(&s->waiting, s->from);
        s->from = 0;
    }
    if (np_buf_span(&s->waiting, bytes) != NP_OK) {
        c->aborted = true;
        np_call_count(c->front, NP_HTTP_REFUSAL_memory);
    }
    if (c->suspended && c->stage == NP_STAGE_SENDING) {
        np_front_resume(c);
    }
    s->full = s->full || waits(s) > NP_HTTP_STREAM_HIGH;
    return !s->full;
}

void np_http_stream_end(struct np_http_call *c)
{
    if (!is_open(c)) {
        return;
    }
    c->stream->ended = true;
    if (c->suspended && c->stage == NP_STAGE_SENDING) {
        np_front_resume(c);
    }
}

void np_stream_check(struct np_http_call *c, uint64_t now_ns)
{
    const struct np_front_config *config = &c->front->config;
    struct np_http_stream *s = c->stream;
    uint64_t stall_ms = config->stall_ms ? config->stall_ms : DEFAULT_STALL_MS;
    uint64_t comment_ms = config->comment_ms ? config->comment_ms : DEFAULT_COMMENT_MS;
    if (!c->suspended) {
        if (now_ns - s->since_ns > stall_ms * NP_NS_PER_MS) {
            np_call_count(c->front, NP_HTTP_REFUSAL_slow_reader);
            shutdown(c->conn->fd, SHUT_RDWR);
        }
        return;
    }
    /* Connections are looked at now and then: rather too early than too late. */
    uint64_t silent_ns = now_ns - s->put_ns + c->front->patience_ns / NP_CHECKS_PER_PATIENCE;
    if (!s->ended && silent_ns > comment_ms * NP_NS_PER_MS) {
        (void)np_http_stream_put(c, NP_SPAN(": keep-alive\n\n"));
    }
}

void np_stream_free(struct np_http_stream *s)
{
    if (s) {
        np_buf_free(&s->waiting);
        free(s);
    }
}
