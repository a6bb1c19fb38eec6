/* Replies of providers, byte by byte as they come over a socket: a call has at most one head, then data
 * within its bound, then exactly one end, whatever was sent. The first byte says how the connection ends
 * and where the reply is cut in two. */
#include "fuzz/fuzz.h"

#include "provider/upstream.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define BODY_BYTES ((size_t)4096)

FUZZ_SEEDS(SEED("\x01" OK_HEAD "Content-Length: 5\r\n\r\nhello"),
           SEED("\x10" OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
           SEED("\x21HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK_HEAD
                "\r\nhello"),
           SEED("\x30HTTP/1.0 429 Slow\r\nRetry-After: 5\r\n folded\r\n\r\n"),
           SEED("\x41HTTP/1.1 101 Switch\r\nUpgrade: h2c\r\n\r\nPRI"),
           SEED("\x80" OK_HEAD
                "Content-Length: 5\r\nContent-Length: 6\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"),
           SEED("\x90HTTP/2 200\r\n\r\n"),
           SEED("\x05"
                "hello"));

struct got {
    unsigned heads, datas, dones;
    size_t bytes;
    struct np_call_end end;
};

static void on_head(void *ctx, struct np_call *call, unsigned status)
{
    struct got *g = ctx;
    np_require(g->heads == 0 && g->datas == 0 && g->dones == 0 && status >= 200);
    g->heads++;
    (void)np_call_header(call, "content-type");
    (void)np_call_header(call, "retry-after");
}

static void on_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    struct got *g = ctx;
    (void)call;
    np_require(g->heads == 1 && g->dones == 0 && bytes.n > 0);
    g->datas++;
    g->bytes += bytes.n;
    np_require(g->bytes <= BODY_BYTES);
}

static void on_done(void *ctx, struct np_call *call, const struct np_call_end *end)
{
    struct got *g = ctx;
    (void)call;
    g->dones++;
    g->end = *end;
}

static const struct np_call_ops ops = {on_head, on_data, on_done};

struct ground {
    struct np_loop *loop;
    struct np_upstream *up;
    int listener;
    char base[64];
};

static struct ground *ground(void)
{
    static struct ground g;
    if (g.loop)
        return &g;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    struct np_upstream_config config = {.per_multi = 64, .reuse_idle_s = 20};
    g.loop = np_loop_new(&np_clock_live);
    g.up = np_upstream_new(g.loop, &config);
    g.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    np_require(g.up && bind(g.listener, (struct sockaddr *)&a, n) == 0 &&
               listen(g.listener, 8) == 0);
    np_require(getsockname(g.listener, (struct sockaddr *)&a, &n) == 0);
    (void)snprintf(g.base, sizeof g.base, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return &g;
}

/* Reads the request as far as it has come; whether it is whole. */
static bool heard(int fd, char *request, size_t size, size_t *have)
{
    ssize_t n = recv(fd, request + *have, size - 1 - *have, MSG_DONTWAIT);
    *have += n > 0 ? (size_t)n : 0;
    request[*have] = '\0';
    return strstr(request, "\r\n\r\n{}") != NULL;
}

static void answer(struct ground *g, int fd, struct np_span in, uint8_t how)
{
    size_t first = in.n * (how >> 4) / 16;
    (void)!send(fd, in.p, first, MSG_NOSIGNAL);
    np_loop_turn(g->loop, 0);
    (void)!send(fd, in.p + first, in.n - first, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (how & 1)
        np_loop_turn(g->loop, 0);
    if (how & 2) {
        struct linger hard = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct ground *g = ground();
    struct np_span in = np_span_make((const char *)data, n);
    uint8_t how = fuzz_byte(&in);
    struct np_call_spec spec = {.base_url = np_span_of(g->base),
                                .path = NP_SPAN("/x"),
                                .body = NP_SPAN("{}"),
                                .connect_timeout_ms = 2000,
                                .first_byte_timeout_ms = 2000,
                                .idle_timeout_ms = 2000,
                                .stream = how & 4,
                                .deadline_ns = np_loop_refresh_ns(g->loop) + 4 * NP_NS_PER_S,
                                .max_reply_bytes = BODY_BYTES};
    struct got got = {0};
    struct np_call *call;
    char request[1024];
    size_t have = 0;
    int fd = -1;
    np_require(np_upstream_start(g->up, &spec, &ops, &got, &call) == NP_OK);
    while (got.dones == 0) {
        np_loop_turn(g->loop, NP_NS_PER_MS);
        if (fd == -1)
            fd = accept(g->listener, NULL, NULL);
        if (fd >= 0 && heard(fd, request, sizeof request, &have)) {
            answer(g, fd, in, how);
            fd = -2;
        }
    }
    if (fd >= 0)
        close(fd);
    np_require(got.dones == 1 && memchr(got.end.detail, '\0', sizeof got.end.detail));
    np_require(got.end.how != NP_CALL_COMPLETE || got.heads == 1);
    return 0;
}
