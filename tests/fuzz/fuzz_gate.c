/* Bytes of clients: what is answered is HTTP, calls end as often as they begin, and no head that parsers
 * could read differently is served on a connection that carries on. */
#include "fuzz/fuzz.h"

#include "http/dialect.h"
#include "http/front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define POST "POST /x HTTP/1.1\r\nHost: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define NEXT "GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"

FUZZ_SEEDS(SEED(POST JSON "Content-Length: 2\r\n\r\n{}" NEXT),
           SEED(POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" NEXT),
           SEED(POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" NEXT),
           SEED(POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT),
           SEED(POST "X-A: b\r\n c\r\nContent-Length : 2\r\n\r\n{}" NEXT),
           SEED("\r\n" POST "X\x00: b\rc\r\nContent-Length: 2\r\n\r\n{}" NEXT),
           SEED("GET /x?a=%00 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" NEXT),
           SEED("GET //x/../y HTTP/1.1\r\nHost: a\r\nHost: b\r\nExpect: 100-continue\r\n\r\n" NEXT),
           SEED("\x16\x03\x01\x02"),
           SEED("HEAD /x HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: null\r\n\r\n"));

struct rig {
    struct np_loop *loop;
    struct np_front *front;
    unsigned port, heads, gones, served;
};

static void on_head(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    r->heads++;
    (void)np_http_header(c, "x-a");
    np_require(np_http_path(c).n > 0 && np_http_path(c).p[0] == '/');
}

static void on_whole(void *ctx, struct np_http_call *c)
{
    struct rig *r = ctx;
    r->served++;
    np_http_reply(c, &(struct np_http_reply){
                         .status = 200, .content_type = "text/plain", .body = np_http_body(c)});
}

static void on_gone(void *ctx, struct np_http_call *c, enum np_http_end end)
{
    struct rig *r = ctx;
    (void)c;
    (void)end;
    r->gones++;
}

static struct rig *rig(void)
{
    static struct rig r;
    if (r.loop)
        return &r;
    const char *why = NULL;
    struct np_front_ops ops = {.head = on_head, .whole = on_whole, .gone = on_gone, .ctx = &r};
    struct np_front_config config = {.listen_fd = np_http_listen("127.0.0.1:0", false, &why),
                                     .max_body_bytes = 65536,
                                     .max_connections = 1000,
                                     .idle_timeout_s = 5,
                                     .request_id_header = "X-Request-Id"};
    r.loop = np_loop_new(&np_clock_live);
    np_require(config.listen_fd >= 0);
    r.port = np_http_port(config.listen_fd);
    r.front = np_front_new(r.loop, &config, &ops);
    np_require(r.front);
    return &r;
}

/* ------------------------------------------------------------------------- what a second parser sees */

static bool line_is(const char *line, size_t n, const char *name)
{
    size_t m = strlen(name);
    return n > m && strncasecmp(line, name, m) == 0 && strchr(": \t", line[m]);
}

/* The next line without its end, which is LF, as the most lenient have it. A NUL before that cannot be told
 * from a CR (gate.c). */
static struct np_span next_line(struct np_span *in)
{
    const char *end = memchr(in->p, '\n', in->n);
    size_t n = end ? (size_t)(end - in->p) : in->n;
    struct np_span line =
        np_span_make(in->p, n > 0 && (in->p[n - 1] == '\r' || in->p[n - 1] == '\0') ? n - 1 : n);
    n += end != NULL;
    *in = np_span_make(in->p + n, in->n - n);
    return line;
}

static bool is_bad(struct np_span line, bool first)
{
    return memchr(line.p, '\0', line.n) || memchr(line.p, '\r', line.n) ||
           (!first && (line.p[0] == ' ' || line.p[0] == '\t'));
}

/* How many requests may be served of a connection that begins so. */
static unsigned may_be_served(struct np_span in)
{
    unsigned lengths = 0, codings = 0;
    bool first = true;
    while (in.n > 0) {
        struct np_span line = next_line(&in);
        if (line.n == 0 && first)
            continue;
        if (line.n == 0)
            break;
        if (is_bad(line, first))
            return 0;
        first = false;
        lengths += line_is(line.p, line.n, "content-length");
        codings += line_is(line.p, line.n, "transfer-encoding");
    }
    if (lengths + codings > 1)
        return 0;
    return codings > 0 ? 1 : UINT_MAX;
}

/* ----------------------------------------------------------------------------------------- the client */

static int dial(const struct rig *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)r->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    np_require(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

static size_t said_bytes;

/* Takes what there is of an answer; false at its end. */
static bool take(int fd, char *first, size_t *n)
{
    char piece[4096];
    ssize_t got = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN;
    said_bytes += (size_t)got;
    for (ssize_t i = 0; i < got && *n < 5; i++)
        first[(*n)++] = piece[i];
    return got > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rig *r = rig();
    char first[5];
    size_t said = 0;
    unsigned served = r->served;
    int fd = dial(r);
    (void)!send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (unsigned turns = 0, idle = 0; turns < 200 && idle < 5; turns++) {
        size_t before = said_bytes;
        np_loop_turn(r->loop, 0);
        if (!take(fd, first, &said))
            break;
        idle = said_bytes == before ? idle + 1 : 0;
    }
    np_require(said == 0 || memcmp(first, "HTTP/", said) == 0);
    np_require(r->served - served <= may_be_served(np_span_make((const char *)data, n)));
    struct linger hard = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    for (unsigned turns = 0; turns < 2000 && np_front_open(r->front) > 0; turns++)
        np_loop_turn(r->loop, NP_NS_PER_MS);
    np_require(r->heads == r->gones);
    return 0;
}
