/* The side of the caller in this room's tests: a loop with an upstream, and calls that keep what
 * they got. */
#ifndef NP_TEST_PROVIDER_CLIENT_H
#define NP_TEST_PROVIDER_CLIENT_H

#include "provider/upstream.h"

#include "base/buf.h"
#include "support/raw_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    struct np_loop *loop;
    struct np_upstream *up;
    char base[128];
    struct np_call_spec spec; /* copied into each call */
};

/* What a call got. The hooks, where set, run after the event was noted. */
struct got {
    struct client *client;
    struct np_call *call;
    unsigned heads, datas, dones;
    unsigned status;
    struct np_buf body;
    struct np_call_end end;
    void (*on_head)(struct got *g);
    void (*on_data)(struct got *g);
    void (*on_done)(struct got *g);
    void *other;
};

static inline void client_head(void *ctx, struct np_call *call, unsigned status)
{
    struct got *g = ctx;
    ck_assert_ptr_eq(call, g->call);
    ck_assert_uint_eq(g->heads + g->datas + g->dones, 0);
    g->heads++;
    g->status = status;
    if (g->on_head) {
        g->on_head(g);
    }
}

static inline void client_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    struct got *g = ctx;
    ck_assert_ptr_eq(call, g->call);
    ck_assert_uint_eq(g->heads, 1);
    ck_assert_uint_eq(g->dones, 0);
    ck_assert_uint_gt(bytes.n, 0);
    g->datas++;
    ck_assert_int_eq(np_buf_span(&g->body, bytes), NP_OK);
    if (g->on_data) {
        g->on_data(g);
    }
}

static inline void client_done(void *ctx, struct np_call *call, const struct np_call_end *end)
{
    struct got *g = ctx;
    ck_assert_ptr_eq(call, g->call);
    ck_assert_uint_eq(g->dones, 0);
    g->dones++;
    g->end = *end;
    if (g->on_done) {
        g->on_done(g);
    }
}

static inline const struct np_call_ops *client_ops(void)
{
    static const struct np_call_ops ops = {client_head, client_data, client_done};
    return &ops;
}

static inline void client_open_with(struct client *c, struct np_upstream_config config)
{
    *c = (struct client){.loop = np_loop_new(&np_clock_live)};
    ck_assert_ptr_nonnull(c->loop);
    c->up = np_upstream_new(c->loop, &config);
    ck_assert_ptr_nonnull(c->up);
    c->spec = (struct np_call_spec){
        .path = NP_SPAN("/chat"),
        .body = NP_SPAN("{\"q\":1}"),
        .connect_timeout_ms = 5000,
        .first_byte_timeout_ms = 5000,
        .idle_timeout_ms = 5000,
        .max_reply_bytes = (size_t)16 << 20,
    };
}

static inline void client_open(struct client *c)
{
    client_open_with(c, (struct np_upstream_config){.per_multi = 64, .reuse_idle_s = 20});
}

static inline void client_close(struct client *c)
{
    np_upstream_free(c->up);
    np_loop_free(c->loop);
}

static inline void client_aim(struct client *c, const struct np_raw_server *s)
{
    snprintf(c->base, sizeof c->base, "http://127.0.0.1:%u/v1", np_raw_port(s));
    c->spec.base_url = np_span_of(c->base);
}

/* The deadline is 10 s from now where the spec has none. */
static inline enum np_err client_try(struct client *c, struct got *g)
{
    struct np_call_spec spec = c->spec;
    uint64_t now = np_loop_refresh_ns(c->loop);
    spec.deadline_ns = spec.deadline_ns ? spec.deadline_ns : now + 10 * NP_NS_PER_S;
    g->client = c;
    np_buf_init(&g->body, (size_t)32 << 20);
    return np_upstream_start(c->up, &spec, client_ops(), g, &g->call);
}

static inline void client_start(struct client *c, struct got *g)
{
    ck_assert_int_eq(client_try(c, g), NP_OK);
    ck_assert_uint_eq(g->heads + g->datas + g->dones, 0);
}

/* Turns until *count reaches n; fails after 12 s. */
static inline void client_until(struct client *c, const unsigned *count, unsigned n)
{
    uint64_t end = np_loop_refresh_ns(c->loop) + 12 * NP_NS_PER_S;
    while (*count < n) {
        np_loop_turn(c->loop, NP_NS_PER_S / 10);
        ck_assert_msg(np_loop_now_ns(c->loop) < end, "nothing came within 12 s");
    }
}

static inline void client_turn_for(struct client *c, uint64_t ms)
{
    uint64_t end = np_loop_refresh_ns(c->loop) + ms * NP_NS_PER_MS;
    while (np_loop_now_ns(c->loop) < end) {
        np_loop_turn(c->loop, end - np_loop_now_ns(c->loop));
    }
}

/* Turns until a count of the server's reaches n. */
static inline void client_until_server(struct client *c, struct np_raw_server *s,
                                       unsigned (*count)(struct np_raw_server *s), unsigned n)
{
    uint64_t end = np_loop_refresh_ns(c->loop) + 12 * NP_NS_PER_S;
    while (count(s) < n) {
        np_loop_turn(c->loop, NP_NS_PER_MS);
        ck_assert_msg(np_loop_now_ns(c->loop) < end, "the server saw nothing within 12 s");
    }
}

static inline void client_call(struct client *c, struct got *g)
{
    *g = (struct got){0};
    client_start(c, g);
    client_until(c, &g->dones, 1);
}

static inline void got_free(struct got *g)
{
    np_buf_free(&g->body);
}

static inline void assert_how(const struct got *g, enum np_call_how how)
{
    ck_assert_msg(g->end.how == how, "ended with %s (%s) instead of %s",
                  np_call_how_name(g->end.how), g->end.detail, np_call_how_name(how));
}

static inline void assert_body(const struct got *g, const char *text)
{
    ck_assert_msg(np_span_is(np_buf_view(&g->body), text), "body is \"%.*s\"", (int)g->body.n,
                  g->body.p ? g->body.p : "");
}

/* One call against a server of this behaviour; the caller frees what it got. */
static inline void one_call(void (*serve)(struct np_raw_conn *c), struct got *g)
{
    struct np_raw_server *s = np_raw_start(serve, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    client_call(&c, g);
    client_close(&c);
    np_raw_stop(s);
}

/* A port that does not answer: with a full backlog the kernel drops further SYNs. */
struct deaf_port {
    int fds[5];
    unsigned port;
};

static inline void deaf_open(struct deaf_port *d)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    d->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(d->fds[0], (struct sockaddr *)&a, size), 0);
    ck_assert_int_eq(listen(d->fds[0], 0), 0);
    ck_assert_int_eq(getsockname(d->fds[0], (struct sockaddr *)&a, &size), 0);
    for (size_t i = 1; i < sizeof d->fds / sizeof d->fds[0]; i++) {
        d->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(d->fds[i], (struct sockaddr *)&a, size);
    }
    d->port = ntohs(a.sin_port);
}

static inline void deaf_close(struct deaf_port *d)
{
    for (size_t i = 0; i < sizeof d->fds / sizeof d->fds[0]; i++) {
        close(d->fds[i]);
    }
}

static inline int run_suite(Suite *suite)
{
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
