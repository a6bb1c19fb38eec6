/* A front on a loop with an owner that does as the path says, and clients on raw sockets. One
 * thread: while a client waits, the loop turns.
 *
 *   /head       replied in `head`                 /whole   replied in `whole` (the body, echoed)
 *   /later      kept in rig.waiting               /close   like /whole, and closes
 *   /small      bodies up to 100 bytes            /head413 refused in `head` with 413
 */
#ifndef NP_TEST_HTTP_RIG_H
#define NP_TEST_HTTP_RIG_H

#include "http/dialect.h"
#include "http/front.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS NP_NS_PER_MS
#define RIG_WAITING_MAX 2048

struct rig {
    struct np_loop *loop;
    struct np_front *front;
    struct np_front_config config;
    int listen_fd;
    unsigned port;
    unsigned heads, wholes, gones, sent, left, drained;
    unsigned refused[NP_HTTP_REFUSAL_COUNT];
    struct np_http_call *waiting[RIG_WAITING_MAX]; /* calls of /later, in their order */
    unsigned n_waiting;
    char method[32], path[256], query[256], body[4096];
};

struct client {
    int fd;
    size_t n;
    bool eof, reset;
    char in[65536];
};

struct reply {
    int status; /* 0: none came */
    char head[4096];
    char body[16384];
    size_t body_n;
};

static struct rig rig;

/* Instead of libcheck's assertions where allocations are made to fail: those allocate. */
static inline void rig_must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static inline void rig_copy(char *out, size_t size, struct np_span s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    memcpy(out, s.n ? s.p : "", n);
    out[n] = '\0';
}

static inline void rig_text(struct np_http_call *c, unsigned status, struct np_span body,
                            bool close)
{
    static const struct np_http_field field = {"X-Rig", "yes"};
    np_http_reply(c, &(struct np_http_reply){.status = status,
                                             .content_type = "text/plain",
                                             .fields = &field,
                                             .n_fields = 1,
                                             .body = body,
                                             .close = close});
}

static inline void rig_head(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    r->heads++;
    rig_copy(r->method, sizeof r->method, np_http_method(c));
    rig_copy(r->path, sizeof r->path, np_http_path(c));
    rig_copy(r->query, sizeof r->query, np_http_query(c));
    np_http_set_user(c, r);
    if (np_span_is(np_http_path(c), "/head")) {
        rig_text(c, 404, NP_SPAN("from head"), false);
    } else if (np_span_is(np_http_path(c), "/head413")) {
        np_http_set_request_id(c, "the-owner's");
        np_http_refuse(c,
                       &(struct np_refusal){.type = NP_REFUSAL_too_large,
                                            .message = NP_SPAN("no \"room\""),
                                            .retry_after_s = -1},
                       "the-owner's", NULL);
    } else if (np_span_is(np_http_path(c), "/small")) {
        np_http_set_request_id(c, "small-1");
        np_http_accept(c, 100);
    }
}

static inline void rig_whole(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    r->wholes++;
    rig_copy(r->body, sizeof r->body, np_http_body(c));
    if (np_span_is(np_http_path(c), "/later")) {
        rig_must(r->n_waiting < RIG_WAITING_MAX);
        r->waiting[r->n_waiting++] = c;
        return;
    }
    rig_text(c, 200, np_http_body(c), np_span_is(np_http_path(c), "/close"));
}

static inline void rig_gone(void *ctx, struct np_http_call *c, enum np_http_end end)
{
    struct rig *r = ctx;
    rig_must(np_http_user(c) == r);
    r->gones++;
    if (end == NP_HTTP_SENT) {
        r->sent++;
    }
    for (size_t i = 0; i < r->n_waiting; i++) {
        if (r->waiting[i] == c) {
            r->waiting[i] = r->waiting[--r->n_waiting];
        }
    }
}

static inline void rig_left(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    rig_must(np_http_user(c) == r);
    r->left++;
}

static inline void rig_drained(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    rig_must(np_http_user(c) == r);
    r->drained++;
}

static inline void rig_refused(void *ctx, enum np_http_refusal cause)
{
    struct rig *r = ctx;
    r->refused[cause]++;
}

static inline const struct np_front_ops *rig_ops(void)
{
    static const struct np_front_ops ops = {.head = rig_head,
                                            .whole = rig_whole,
                                            .gone = rig_gone,
                                            .left = rig_left,
                                            .drained = rig_drained,
                                            .refused = rig_refused,
                                            .ctx = &rig};
    return &ops;
}

/* Opens the socket; *rig.config may be changed before rig_start. */
static inline void rig_listen(void)
{
    const char *why = NULL;
    memset(&rig, 0, sizeof rig);
    rig.loop = np_loop_new(&np_clock_live);
    rig.listen_fd = np_http_listen("127.0.0.1:0", false, &why);
    ck_assert_msg(rig.listen_fd >= 0, "%s", why);
    rig.port = np_http_port(rig.listen_fd);
    rig.config = (struct np_front_config){.listen_fd = rig.listen_fd,
                                          .max_body_bytes = 1024 * 1024,
                                          .max_connections = 1000,
                                          .idle_timeout_s = 30,
                                          .request_id_header = "X-Request-Id"};
}

static inline void rig_start(void)
{
    rig.front = np_front_new(rig.loop, &rig.config, rig_ops());
    ck_assert_ptr_nonnull(rig.front);
}

static inline void rig_setup(void)
{
    rig_listen();
    rig_start();
}

static inline void rig_teardown(void)
{
    np_front_free(rig.front);
    np_loop_free(rig.loop);
    close(rig.listen_fd);
    ck_assert_uint_eq(rig.heads, rig.gones);
}

static inline uint64_t rig_now(void)
{
    return np_clock_mono_ns(&np_clock_live);
}

/* Turns until *what reaches at_least, or a second is over. */
static inline void rig_until(const unsigned *what, unsigned at_least)
{
    uint64_t end = rig_now() + 2000 * MS;
    while (*what < at_least && rig_now() < end) {
        np_loop_turn(rig.loop, 5 * MS);
    }
    ck_assert_uint_ge(*what, at_least);
}

static inline void rig_turn_for(uint64_t ms)
{
    uint64_t end = rig_now() + ms * MS;
    while (rig_now() < end) {
        np_loop_turn(rig.loop, MS);
    }
}

/* ---------------------------------------------------------------------------------------- clients */

/* Connects; false when that is refused. */
static inline bool client_connect(struct client *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)rig.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0;
}

static inline struct client *client_new(void)
{
    struct client *c = calloc(1, sizeof *c);
    ck_assert(client_connect(c));
    return c;
}

static inline void client_free(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    free(c);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
}

/* Sends what goes out without waiting, the loop turning between; returns how much went out. */
static inline size_t client_send(struct client *c, const void *p, size_t n)
{
    size_t sent = 0;
    uint64_t end = rig_now() + 5000 * MS;
    while (sent < n && rig_now() < end) {
        ssize_t k = send(c->fd, (const char *)p + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k > 0) {
            sent += (size_t)k;
        } else if (errno != EAGAIN) {
            break;
        }
        np_loop_turn(rig.loop, 0);
    }
    return sent;
}

static inline void client_say(struct client *c, const char *text)
{
    ck_assert_uint_eq(client_send(c, text, strlen(text)), strlen(text));
}

/* Takes in what has come. */
static inline void client_pull(struct client *c)
{
    while (!c->eof && !c->reset && c->n < sizeof c->in - 1) {
        ssize_t k = recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, MSG_DONTWAIT);
        if (k > 0) {
            c->n += (size_t)k;
        } else if (k == 0) {
            c->eof = true;
        } else if (errno == EAGAIN) {
            break;
        } else {
            c->reset = true;
        }
    }
    c->in[c->n] = '\0';
}

static inline bool client_ended(struct client *c)
{
    return c->eof || c->reset;
}

/* The value of a header of a reply's head; "" when it is not there. */
static inline const char *reply_header(const struct reply *r, const char *name)
{
    static char value[512];
    size_t n = strlen(name);
    value[0] = '\0';
    for (const char *line = strchr(r->head, '\n'); line; line = strchr(line + 1, '\n')) {
        if (strncasecmp(line + 1, name, n) == 0 && line[1 + n] == ':') {
            sscanf(line + 2 + n, " %511[^\r\n]", value);
            break;
        }
    }
    return value;
}

/* Whether a whole reply lies in the input: taken out of it then. */
static inline bool client_take(struct client *c, bool to_head, struct reply *r)
{
    memset(r, 0, sizeof *r);
    const char *blank = strstr(c->in, "\r\n\r\n");
    if (!blank) {
        return false;
    }
    size_t head_n = (size_t)(blank - c->in) + 4;
    ck_assert_uint_lt(head_n, sizeof r->head);
    memcpy(r->head, c->in, head_n);
    sscanf(r->head, "HTTP/1.%*d %d", &r->status);
    size_t body_n =
        to_head || r->status == 100 ? 0 : strtoul(reply_header(r, "Content-Length"), NULL, 10);
    if (c->n < head_n + body_n) {
        r->status = 0;
        return false;
    }
    ck_assert_uint_lt(body_n, sizeof r->body);
    memcpy(r->body, c->in + head_n, body_n);
    r->body_n = body_n;
    c->n -= head_n + body_n;
    memmove(c->in, c->in + head_n + body_n, c->n + 1);
    return true;
}

/* The next reply; status 0 when none came within ms or before the end. */
static inline struct reply client_read_for(struct client *c, bool to_head, uint64_t ms)
{
    struct reply r;
    uint64_t end = rig_now() + ms * MS;
    for (;;) {
        client_pull(c);
        if (client_take(c, to_head, &r) || client_ended(c) || rig_now() >= end) {
            return r;
        }
        np_loop_turn(rig.loop, 2 * MS);
    }
}

static inline struct reply client_read(struct client *c)
{
    return client_read_for(c, false, 2000);
}

/* Whether the front ends the connection within ms. */
static inline bool client_closed_within(struct client *c, uint64_t ms)
{
    uint64_t end = rig_now() + ms * MS;
    for (client_pull(c); !client_ended(c) && rig_now() < end; client_pull(c)) {
        np_loop_turn(rig.loop, 2 * MS);
    }
    return client_ended(c);
}

static inline struct reply client_ask(struct client *c, const char *request)
{
    client_say(c, request);
    return client_read(c);
}

/* One request on a connection of its own. */
static inline struct reply ask(const char *request)
{
    struct client *c = client_new();
    struct reply r = client_ask(c, request);
    client_free(c);
    return r;
}

static inline bool alive(struct client *c)
{
    client_pull(c);
    if (client_ended(c)) {
        return false;
    }
    struct reply r = client_ask(c, "GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return r.status == 404 && strcmp(r.body, "from head") == 0;
}

static inline int rig_run(Suite *s)
{
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
