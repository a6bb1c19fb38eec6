#include "rig.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct rig rig;
struct rig_got got;

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return rig.now_ns;
}

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return 0;
}

static enum np_err ask(void *ctx, const struct np_imitation_call *call,
                       struct np_imitation_answer *out)
{
    (void)ctx;
    rig.call = *call;
    memcpy(rig.provider, call->provider.p, call->provider.n);
    rig.provider[call->provider.n] = '\0';
    memcpy(rig.model, call->model.p, call->model.n);
    rig.model[call->model.n] = '\0';
    *out = rig.answer;
    return rig.answer_err;
}

static enum np_err control(void *ctx, struct np_span json, struct np_buf *why)
{
    (void)ctx;
    memcpy(rig.control, json.p, json.n);
    rig.control[json.n] = '\0';
    if (rig.control_err)
        (void)np_buf_puts(why, "line 1: \"no\"");
    return rig.control_err;
}

void rig_set_up(void)
{
    static const struct np_imitation_source source = {ask, control, NULL};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    rig = (struct rig){.now_ns = 1000000000, .clock = {mono_ns, wall_ms, NULL}};
    rig.answer = (struct np_imitation_answer){.status = 200,
                                              .text = "Hello there.",
                                              .retry_after_s = -1,
                                              .stall_at = -1,
                                              .reset_at = -1,
                                              .fin_at = -1};
    rig.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(rig.listen_fd, 0);
    ck_assert_int_eq(bind(rig.listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(rig.listen_fd, 64), 0);
    ck_assert_int_eq(getsockname(rig.listen_fd, (struct sockaddr *)&a, &size), 0);
    rig.port = ntohs(a.sin_port);
    rig.loop = np_loop_new(&rig.clock);
    ck_assert_ptr_nonnull(rig.loop);
    rig.imitation = np_imitation_new(rig.loop, rig.listen_fd, &source);
    ck_assert_ptr_nonnull(rig.imitation);
}

void rig_tear_down(void)
{
    np_imitation_free(rig.imitation);
    np_loop_free(rig.loop);
    close(rig.listen_fd);
}

int rig_connect(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)rig.port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        abort();
    got.n = 0;
    got.end = RIG_OPEN;
    return fd;
}

void rig_say_bytes(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            np_loop_turn(rig.loop, RIG_MS);
            continue;
        }
        if (sent < 0)
            return; /* what the imitation made of it is to be read */
        p += sent;
        n -= (size_t)sent;
    }
}

void rig_say(int fd, const char *text)
{
    rig_say_bytes(fd, text, strlen(text));
}

/* Whether there was something to read. */
static bool read_some(int fd)
{
    size_t room = sizeof got.p - 1 - got.n;
    if (got.end != RIG_OPEN || room == 0)
        return false;
    ssize_t n = recv(fd, got.p + got.n, room, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        got.end = n == 0 ? RIG_CLOSED : RIG_RESET;
        return false;
    }
    got.n += (size_t)n;
    got.p[got.n] = '\0';
    return true;
}

void rig_settle(int fd)
{
    for (int quiet = 0; quiet < 5; quiet++) {
        np_loop_turn(rig.loop, 0);
        while (read_some(fd))
            quiet = 0;
    }
    got.p[got.n] = '\0';
}

void rig_after(int fd, uint64_t ns)
{
    rig.now_ns += ns;
    rig_settle(fd);
}

const char *rig_ask(const char *request)
{
    int fd = rig_connect();
    rig_say(fd, request);
    rig_settle(fd);
    close(fd);
    np_loop_turn(rig.loop, 0);
    np_loop_turn(rig.loop, 0);
    return got.p;
}

const char *rig_post(const char *path, const char *body)
{
    static char request[4096];
    int n = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", path,
                     strlen(body), body);
    if (n < 0 || (size_t)n >= sizeof request)
        abort();
    return request;
}

const char *rig_body(void)
{
    const char *body = strstr(got.p, "\r\n\r\n");
    ck_assert_msg(body, "no head: %s", got.p);
    return body + 4;
}

long rig_count(const char *name)
{
    char key[64];
    struct rig_got *kept = malloc(sizeof *kept);
    ck_assert_ptr_nonnull(kept);
    *kept = got;
    const char *all = rig_ask("GET /calls HTTP/1.1\r\n\r\n");
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(all, key);
    ck_assert_msg(at, "no %s in %s", name, all);
    long value = strtol(at + strlen(key), NULL, 10);
    got = *kept;
    free(kept);
    return value;
}
