/* The daemon on our loop. libmicrohttpd runs without threads: its epoll descriptor is a watch of the
 * loop, and each turn of the loop ends with running it when it has something to do.
 *
 * Resuming a suspended connection makes the library walk over all suspended ones, at 20 to 50 ns each
 * (measured with 0.9.75). So calls that are to go on gather in a list, which is handed over at most
 * once every so many microseconds as calls are suspended. */
#include "http/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "http/call.h"

#define RUNS_MAX 8  /* a turn; the rest follows in the next */
#define IDLE_RUNS 2 /* after which nothing will come of another */
/* The library counts connections that have ended until it cleans up after them. */
#define CONNECTIONS_SPARE 256
/* Below this many suspended calls the walk is cheaper than waiting. */
#define RESUME_BATCH_LEAST 256
#define RESUME_NS_PER_CALL 1000
#define RESUME_NS_MAX (5 * NP_NS_PER_MS)
#define DEFAULT_PATIENCE_MS 10000
/* How long the library waits that wants to run and then does nothing: twice as long each time. See still(). */
#define STILL_NS (2 * NP_NS_PER_MS)
#define STILL_NS_MAX (32 * NP_NS_PER_MS)

const char *np_http_refusal_name(enum np_http_refusal r)
{
#define NAME(name) #name,
    static const char *const names[] = {NP_HTTP_REFUSALS(NAME) NP_HTTP_REFUSALS_AT_DOOR(NAME)};
#undef NAME
    np_require((size_t)r < NP_HTTP_REFUSAL_COUNT);
    return names[r];
}

/* ------------------------------------------------------------------------------------------- turns */

/* libmicrohttpd 0.9.75 says that it has something to do while it can do nothing: with a chunked body's line
 * that fills its memory (chunks.c), and with a TLS handshake whose next bytes have not come. New bytes wake
 * it whatever it says; so it waits, where nothing moved when it ran. */
static void still(struct np_front *f, uint64_t now_ns)
{
    uint64_t next_ns = f->still_ns * 2 < STILL_NS_MAX ? f->still_ns * 2 : STILL_NS_MAX;
    f->still_ns = f->still_ns && LIST_EMPTY(&f->chunked) ? next_ns : STILL_NS;
    f->due_ns = now_ns + f->still_ns;
    np_chunks_check(f);
}

/* Queued replies and resumed calls need a second run, and the library says so with a timeout of 0. With TLS
 * all that goes in or out is a move, so that two runs without one are the last. */
static void run(struct np_front *f, uint64_t now_ns)
{
    uint64_t began = f->moves;
    f->ready = false;
    for (int i = 0, idle = 0; i < RUNS_MAX && !(f->config.tls && idle == IDLE_RUNS); i++) {
        MHD_UNSIGNED_LONG_LONG ms;
        uint64_t before = f->moves;
        MHD_run(f->daemon);
        if (MHD_get_timeout(f->daemon, &ms) != MHD_YES) {
            f->due_ns = UINT64_MAX;
            return;
        }
        if (ms > 0) {
            f->due_ns = now_ns + ms * NP_NS_PER_MS;
            return;
        }
        idle = f->moves == before ? idle + 1 : 0;
    }
    if (f->moves == began && (f->config.tls || !LIST_EMPTY(&f->chunked))) {
        still(f, now_ns);
    } else {
        f->still_ns = f->due_ns = 0;
    }
}

static void resume_all(struct np_front *f, uint64_t now_ns)
{
    size_t suspended = f->n_suspended;
    uint64_t tick = suspended < RESUME_BATCH_LEAST ? 0 : suspended * RESUME_NS_PER_CALL;
    f->resume_ns = now_ns + (tick < RESUME_NS_MAX ? tick : RESUME_NS_MAX);
    while (f->resume_first) {
        struct np_http_call *c = f->resume_first;
        f->resume_first = c->next_resume;
        c->suspended = c->resuming = false;
        f->n_suspended--;
        MHD_resume_connection(c->mhd);
    }
    f->resume_last = &f->resume_first;
    np_timer_stop(np_loop_timers(f->loop), &f->resume_timer);
    f->ready = true;
}

static uint64_t turn(void *ctx, uint64_t now_ns)
{
    struct np_front *f = ctx;
    if (f->resume_first && now_ns >= f->resume_ns) {
        resume_all(f, now_ns);
    }
    if (f->ready || now_ns >= f->due_ns) {
        run(f, now_ns);
    }
    return f->ready ? 0 : f->due_ns;
}

/* The timer only wakes the loop: others may call this after the front's part of a turn is over. */
void np_front_resume(struct np_http_call *c)
{
    struct np_front *f = c->front;
    if (c->resuming) {
        return;
    }
    c->resuming = true;
    if (!f->resume_first) {
        np_timer_set(np_loop_timers(f->loop), &f->resume_timer, f->resume_ns);
    }
    c->next_resume = NULL;
    *f->resume_last = c;
    f->resume_last = &c->next_resume;
}

static void wake(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
}

static void daemon_ready(void *ctx, uint32_t events)
{
    (void)events;
    struct np_front *f = ctx;
    f->ready = true;
}

/* ---------------------------------------------------------------------------------- the daemon */

static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

/* The library's messages hold nothing of the client's. Running out of descriptors is the operator's
 * business; the rest is about single connections. */
__attribute__((format(printf, 2, 0))) static void log_line(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n') {
        text[--n] = '\0';
    }
    enum np_log_level level = strstr(text, "resource limit") ? NP_LOG_WARN : NP_LOG_DEBUG;
    np_log(level, "libmicrohttpd", NP_KVS("said", text));
}

/* TLS 1.2 and 1.3, key exchanges that keep old traffic secret, authenticated ciphers only. */
#define TLS_PRIORITIES                                                            \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:" \
    "-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:-MAC-ALL:+AEAD:"    \
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"                 \
    "-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:%SERVER_PRECEDENCE"

/* Later versions put a connection that they are handed into a queue, unless they hear that all is done
 * by one thread: accept.c counts on being told of it before MHD_add_connection returns. */
#if MHD_VERSION >= 0x00097707
#define ONE_THREAD MHD_USE_NO_THREAD_SAFETY
#else
#define ONE_THREAD 0
#endif

static struct MHD_Daemon *start_daemon(struct np_front *f)
{
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG | ONE_THREAD;
    if (f->config.tls)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, np_call_handle, f, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)NP_HTTP_POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        f->config.max_connections + CONNECTIONS_SPARE, MHD_OPTION_CONNECTION_TIMEOUT,
        f->config.idle_timeout_s, MHD_OPTION_STRICT_FOR_CLIENT, f->old_parser ? 0 : 1,
        MHD_OPTION_URI_LOG_CALLBACK, np_call_line, f, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, np_call_completed, f, MHD_OPTION_NOTIFY_CONNECTION,
        np_conn_notify, f,
        /* Without TLS the list ends here. */
        f->config.tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, TLS_PRIORITIES,
        MHD_OPTION_HTTPS_CERT_CALLBACK, np_tls_show, MHD_OPTION_END);
}

static void note_listen_host(struct np_front *f)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    socklen_t size = sizeof a;
    if (getsockname(f->config.listen_fd, &a.any, &size) != 0) {
        return;
    }
    bool every = a.any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr)
                                             : a.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    if (!every) {
        np_http_address_text(&a.any, f->listen_host);
    }
}

struct np_front *np_front_new(struct np_loop *loop, const struct np_front_config *config,
                              const struct np_front_ops *ops)
{
    struct np_front *f = calloc(1, sizeof *f);
    if (!f) {
        return NULL;
    }
    unsigned patience_ms = config->patience_ms ? config->patience_ms : DEFAULT_PATIENCE_MS;
    f->loop = loop;
    f->config = *config;
    f->ops = *ops;
    f->patience_ns = patience_ms * NP_NS_PER_MS;
    f->resume_last = &f->resume_first;
    LIST_INIT(&f->chunked);
    f->old_parser = MHD_get_version()[0] == '0';
    f->watch = (struct np_watch){.ready = daemon_ready, .ctx = f, .fd = -1};
    np_timer_init(&f->resume_timer, wake, f);
    np_timer_init(&f->check_timer, np_conn_check, f);
    note_listen_host(f);
    f->daemon = start_daemon(f);
    if (!f->daemon) {
        goto free_front;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(f->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || np_loop_add(loop, &f->watch, info->epoll_fd, EPOLLIN) != NP_OK) {
        goto stop_daemon;
    }
    if (!np_accept_start(f)) {
        goto stop_accepting;
    }
    if (np_loop_each_turn(loop, turn, f) != NP_OK) {
        goto stop_accepting;
    }
    return f;

stop_accepting:
    np_accept_stop(f);
    np_loop_remove(loop, &f->watch);
stop_daemon:
    MHD_stop_daemon(f->daemon);
free_front:
    free(f);
    return NULL;
}

/* A connection that has not sent its first request yet may be about to; its patience will end it. */
void np_front_drain(struct np_front *f)
{
    if (f->draining) {
        return;
    }
    np_accept_drain(f);
    f->draining = true;
    run(f, np_loop_now_ns(f->loop));
    for (struct np_conn *conn = f->conn_first; conn; conn = conn->next) {
        if (!conn->call && conn->used) {
            shutdown(conn->fd, SHUT_RDWR);
        }
    }
    f->ready = true;
}

size_t np_front_open(const struct np_front *f)
{
    return f->n_open;
}

void np_front_each_unanswered(struct np_front *f, void (*fn)(void *ctx, struct np_http_call *c),
                              void *ctx)
{
    for (struct np_conn *conn = f->conn_first; conn; conn = conn->next) {
        struct np_http_call *c = conn->call;
        if (!c || !c->opened || c->left || c->aborted) {
            continue;
        }
        if (c->stream ? !c->stream->ended : c->stage == NP_STAGE_WAIT && !c->replied) {
            fn(ctx, c);
        }
    }
}

/* The library forbids stopping while calls are suspended. */
void np_front_free(struct np_front *f)
{
    if (!f) {
        return;
    }
    f->freeing = true;
    for (struct np_conn *conn = f->conn_first; conn; conn = conn->next) {
        if (conn->call && conn->call->suspended) {
            conn->call->suspended = false;
            conn->call->aborted = true;
            MHD_resume_connection(conn->call->mhd);
        }
    }
    np_accept_stop(f);
    np_loop_remove(f->loop, &f->watch);
    MHD_stop_daemon(f->daemon);
    np_linger_end_all(f);
    np_timer_stop(np_loop_timers(f->loop), &f->resume_timer);
    np_timer_stop(np_loop_timers(f->loop), &f->check_timer);
    free(f);
}

void np_front_gate_set(struct np_front *f, bool check_host, bool check_origin)
{
    f->config.gate.check_host = check_host;
    f->config.gate.check_origin = check_origin;
}

/* ------------------------------------------------------------------------------ what a request says */

struct np_span np_http_method(const struct np_http_call *c)
{
    return np_span_of(c->method);
}

struct np_span np_http_path(const struct np_http_call *c)
{
    return c->path;
}

struct np_span np_http_query(const struct np_http_call *c)
{
    return c->query;
}

struct np_span np_http_header(const struct np_http_call *c, const char *name)
{
    const char *value = NULL;
    size_t n = 0;
    if (MHD_lookup_connection_value_n(c->mhd, MHD_HEADER_KIND, name, strlen(name), &value, &n) !=
            MHD_YES ||
        !value) {
        return NP_SPAN_NONE;
    }
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t')) {
        n--;
    }
    return np_span_make(value, n);
}

struct np_span np_http_body(const struct np_http_call *c)
{
    return np_buf_view(&c->body);
}

uint64_t np_http_accept_ns(const struct np_http_call *c)
{
    return c->accept_ns;
}

void np_http_set_user(struct np_http_call *c, void *user)
{
    c->user = user;
}

void *np_http_user(const struct np_http_call *c)
{
    return c->user;
}

void np_http_set_request_id(struct np_http_call *c, const char *id)
{
    c->id = id;
}

void np_http_accept(struct np_http_call *c, size_t max_body_bytes)
{
    np_require(c->stage == NP_STAGE_HEAD && !c->replied);
    c->limit = max_body_bytes;
}
