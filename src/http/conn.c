/* Connections: who left, and who is too slow. The library has one timeout, for silence; a client that
 * sends a byte a second is never silent. So each connection is looked at every fifth of the patience,
 * in one queue (the interval is the same for all, so the queue stays in order):
 *
 *   head     must be in after the patience, from the connection's begin or its request line on
 *   pause    between requests may last as the library's timeout lets it, unless there are bytes that
 *            make no request line: then again the patience
 *   body     1 KB/s on average once the patience is over, else 408
 *   reply    1 KB/s on average once a minute is over; a streamed one: see stream.c
 *
 * While a call waits for its reply the owner's deadline counts, nothing here.
 *
 * The library also misses an end of the stream that arrives together with data: it is told once of
 * both, reads the data, and waits to be told again. So a connection whose peer has closed is looked at
 * soon, and then the kernel is made to tell once more. */
#include "http/call.h"

#include <errno.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define LEAST_BYTES_PER_S 1024
#define REPLY_PATIENCE_NS (60 * NP_NS_PER_S)
/* Long enough for the library to read what came before the end of the stream. */
#define SOON_NS NP_NS_PER_MS
/* What the kernel and the loop may differ in about when a request's last byte came. */
#define PAUSED_NS (100 * NP_NS_PER_MS)

/* ------------------------------------------------------------------------------------------ queue */

static void unlink_conn(struct np_front *f, struct np_conn *conn)
{
    if (conn->prev) {
        conn->prev->next = conn->next;
    } else {
        f->conn_first = conn->next;
    }
    if (conn->next) {
        conn->next->prev = conn->prev;
    } else {
        f->conn_last = conn->prev;
    }
    conn->prev = conn->next = NULL;
}

static void link_last(struct np_front *f, struct np_conn *conn, uint64_t now_ns)
{
    conn->check_ns = now_ns + f->patience_ns / NP_CHECKS_PER_PATIENCE;
    conn->prev = f->conn_last;
    if (conn->prev) {
        conn->prev->next = conn;
    } else {
        f->conn_first = conn;
        np_timer_set(np_loop_timers(f->loop), &f->check_timer, conn->check_ns);
    }
    f->conn_last = conn;
}

/* Has it looked at before all others. */
static void hurry(struct np_conn *conn)
{
    struct np_front *f = conn->front;
    unlink_conn(f, conn);
    conn->check_ns = np_loop_now_ns(f->loop) + SOON_NS;
    conn->next = f->conn_first;
    if (conn->next) {
        conn->next->prev = conn;
    } else {
        f->conn_last = conn;
    }
    f->conn_first = conn;
    np_timer_set(np_loop_timers(f->loop), &f->check_timer, conn->check_ns);
}

/* --------------------------------------------------------------------------------- begin and end */

void np_conn_peer_closed(struct np_conn *conn)
{
    conn->peer_closed = true;
    hurry(conn);
    if (conn->call) {
        np_call_leave(conn->call);
    }
}

static void peer_says(void *ctx, uint32_t events)
{
    struct np_conn *conn = ctx;
    if (conn->peer_closed) {
        return;
    }
    conn->tls.came = true;
    bool closed = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (closed || (conn->call && np_call_may_leave(conn->call) && np_tls_has_left(conn))) {
        np_conn_peer_closed(conn);
    }
}

static void give_up(struct np_front *f, const union MHD_ConnectionInfo *info)
{
    np_call_count(f, NP_HTTP_REFUSAL_memory);
    if (info) {
        shutdown(info->connect_fd, SHUT_RDWR);
    }
}

/* Without memory the connection is not counted, and ends at once. */
static void begin(struct np_front *f, struct MHD_Connection *mhd, void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct np_conn *conn = info ? calloc(1, sizeof *conn) : NULL;
    if (!conn) {
        give_up(f, info);
        return;
    }
    conn->front = f;
    conn->fd = info->connect_fd;
    conn->watch = (struct np_watch){.ready = peer_says, .ctx = conn, .fd = -1};
    uint32_t input = f->config.tls ? EPOLLIN : 0;
    if (np_loop_add(f->loop, &conn->watch, conn->fd, EPOLLRDHUP | EPOLLET | input) != NP_OK) {
        free(conn);
        give_up(f, info);
        return;
    }
    np_conn_pause(conn, np_loop_now_ns(f->loop));
    link_last(f, conn, conn->since_ns);
    conn->peer = f->arriving;
    f->arrived = true;
    if (f->config.tls) {
        np_tls_watch_start(conn, mhd);
    }
    f->n_conns++;
    conn->counted = true;
    *socket_context = conn;
}

void np_conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                    enum MHD_ConnectionNotificationCode code)
{
    struct np_front *f = cls;
    struct np_conn *conn = *socket_context;
    f->moves++;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        begin(f, mhd, socket_context);
        return;
    }
    if (!conn) {
        return;
    }
    /* libmicrohttpd 1.0.1 forgets to say that a request has ended when it refuses a chunk's line twice. */
    void *call = conn->call;
    if (call) {
        np_call_completed(f, mhd, &call, MHD_REQUEST_TERMINATED_WITH_ERROR);
    }
    *socket_context = NULL;
    np_loop_remove(f->loop, &conn->watch);
    unlink_conn(f, conn);
    np_conn_uncount(conn);
    free(conn);
}

void np_conn_uncount(struct np_conn *conn)
{
    struct np_front *f = conn->front;
    if (!conn->counted) {
        return;
    }
    conn->counted = false;
    f->n_conns--;
    if (f->config.limits) {
        np_http_limits_give(f->config.limits, &conn->peer);
    }
}

void np_conn_pause(struct np_conn *conn, uint64_t now_ns)
{
    conn->since_ns = now_ns;
    conn->trickle_ns = 0;
    conn->tls.pulled = 0;
    conn->marked = false;
}

/* --------------------------------------------------------------------------------------- deadlines */

/* The library sees the end of the stream and closes. */
static void cut(struct np_conn *conn)
{
    np_call_count(conn->front, NP_HTTP_REFUSAL_timeout);
    shutdown(conn->fd, SHUT_RDWR);
}

/* Zeros where the kernel knows nothing of the socket. */
static struct tcp_info socket_info(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info;
}

/* Whether bytes came since the last look in this pause or, at the first one, are there. Without TLS and with
 * the old parser all bytes of requests are known; else what came in the moment in which the pause began is
 * not told from what came before. */
static bool has_trickled(const struct np_conn *conn, const struct tcp_info *info, uint64_t now_ns)
{
    if (conn->marked) {
        return info->tcpi_bytes_received != conn->received;
    }
    if (conn->tls.session) {
        return conn->tls.pulled > 0;
    }
    if (conn->front->old_parser) {
        return info->tcpi_bytes_received > conn->taken;
    }
    uint64_t since_data_ns = info->tcpi_last_data_recv * NP_NS_PER_MS;
    return info->tcpi_bytes_received > 0 && conn->since_ns + PAUSED_NS + since_data_ns < now_ns;
}

static void check_pause(struct np_conn *conn, uint64_t now_ns)
{
    uint64_t patience = conn->front->patience_ns;
    if (!conn->used) {
        if (now_ns - conn->since_ns >= patience) {
            cut(conn);
        }
        return;
    }
    struct tcp_info info = socket_info(conn->fd);
    if (conn->trickle_ns == 0 && has_trickled(conn, &info, now_ns)) {
        conn->trickle_ns = now_ns;
    }
    conn->received = info.tcpi_bytes_received;
    conn->marked = true;
    if (conn->trickle_ns != 0 && now_ns - conn->trickle_ns >= patience) {
        cut(conn);
    }
}

/* Whether n bytes in so many nanoseconds are fewer than may be asked for. */
static bool too_slow(uint64_t n, uint64_t elapsed_ns, uint64_t patience_ns)
{
    return elapsed_ns > patience_ns &&
           n / LEAST_BYTES_PER_S < (elapsed_ns - patience_ns) / NP_NS_PER_S;
}

/* Every call of this wakes those who poll, whether or not the peer has closed already. */
static void tell_end(const struct np_conn *conn)
{
    if (!conn->call || conn->call->stage != NP_STAGE_WAIT) {
        shutdown(conn->fd, SHUT_RD);
    }
}

static void check_call(struct np_conn *conn, struct np_http_call *c, uint64_t now_ns)
{
    uint64_t elapsed = now_ns - c->stage_ns, patience = conn->front->patience_ns;
    switch (c->stage) {
    case NP_STAGE_LINE:
        if (elapsed >= patience) {
            cut(conn);
        }
        break;
    case NP_STAGE_BODY:
        if (too_slow(c->received, elapsed, patience)) {
            np_reply_refuse_raw(c, NP_HTTP_REFUSAL_timeout, NP_REFUSAL_invalid_request,
                                "the body came too slowly");
            shutdown(conn->fd, SHUT_RDWR);
        }
        break;
    case NP_STAGE_DROP:
        if (too_slow(c->received, elapsed, patience)) {
            cut(conn);
        }
        break;
    case NP_STAGE_SENDING:
        if (c->stream) {
            np_stream_check(c, now_ns);
        } else if (elapsed > REPLY_PATIENCE_NS + c->reply_bytes / LEAST_BYTES_PER_S * NP_NS_PER_S) {
            cut(conn);
        }
        break;
    case NP_STAGE_HEAD:
    case NP_STAGE_WAIT:
        break;
    }
}

void np_conn_check(void *ctx, uint64_t now_ns)
{
    struct np_front *f = ctx;
    while (f->conn_first && f->conn_first->check_ns <= now_ns) {
        struct np_conn *conn = f->conn_first;
        if (conn->peer_closed) {
            tell_end(conn);
        }
        if (conn->call) {
            check_call(conn, conn->call, now_ns);
        } else {
            check_pause(conn, now_ns);
        }
        unlink_conn(f, conn);
        link_last(f, conn, now_ns);
    }
    if (f->conn_first) {
        np_timer_set(np_loop_timers(f->loop), &f->check_timer, f->conn_first->check_ns);
    }
}
