/* Taking connections. The library could do it, but it takes ten a run, knows no way to refuse one with a
 * word, and without descriptors it either spins or waits for one of its own connections to end. So the
 * front takes them itself and hands them over.
 *
 * Over a limit a client is told 503 and let go; of those that rest between two requests the longest
 * known one gives way first. Without descriptors one that is kept spare serves to tell those who wait
 * that they must come again, a few at a time, with pauses between: whoever is full has no CPU to lose. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "http/call.h"

#define ACCEPTS_A_TURN 2048
#define REFUSALS_A_PAUSE 16
#define PAUSE_NS (50 * NP_NS_PER_MS)
#define WARN_NS (10 * NP_NS_PER_S)
/* How many connections are looked at for one that rests. */
#define LOOKS_FOR_REST 64
#define RESTED_NS NP_NS_PER_S
#define RETRY_AFTER_S 1

union address {
    struct sockaddr any;
    struct sockaddr_storage storage;
};

/* ---------------------------------------------------------------------------------------- refusals */

/* What was read of a refused client so far is dropped, so that closing does not reset the reply away. */
static void drop_input(int fd)
{
    char scratch[4096];
    ssize_t n;
    do {
        n = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);
    } while (n == (ssize_t)sizeof scratch);
}

/* Ends a connection that the library never saw; with a word where none must be encrypted. */
static void turn_away(struct np_front *f, int fd, enum np_http_refusal cause, const char *message)
{
    np_call_count(f, cause);
    if (!f->config.tls) {
        np_reply_overloaded(f, fd, message, RETRY_AFTER_S);
        (void)shutdown(fd, SHUT_WR);
    }
    if (f->config.tls || !np_linger_take(f, fd)) {
        drop_input(fd);
        close(fd);
    }
}

/* Ends a connection that rests between two requests, if one is found soon; its place is free at once. */
static bool make_room(struct np_front *f)
{
    uint64_t now_ns = np_loop_now_ns(f->loop);
    struct np_conn *conn = f->conn_first, *oldest = NULL;
    for (int i = 0; conn && i < LOOKS_FOR_REST; i++, conn = conn->next) {
        bool rests = conn->used && conn->counted && !conn->call && conn->trickle_ns == 0;
        if (rests && (!oldest || conn->since_ns < oldest->since_ns))
            oldest = conn;
    }
    if (!oldest || now_ns - oldest->since_ns < RESTED_NS)
        return false;
    np_conn_uncount(oldest);
    (void)shutdown(oldest->fd, SHUT_RDWR);
    return true;
}

static enum np_http_room take_place(struct np_front *f)
{
    if (f->n_conns >= f->config.max_connections)
        return NP_HTTP_ROOM_NONE;
    return f->config.limits ? np_http_limits_take(f->config.limits, &f->arriving) : NP_HTTP_ROOM;
}

/* Whether there is room; a place of the shared limits is taken then. */
static bool admit(struct np_front *f, int fd)
{
    enum np_http_room room = take_place(f);
    if (room == NP_HTTP_ROOM_NONE && make_room(f))
        room = take_place(f);
    if (room == NP_HTTP_ROOM_NONE)
        turn_away(f, fd, NP_HTTP_REFUSAL_connections, "too many connections now");
    else if (room == NP_HTTP_ROOM_NONE_FOR_ADDRESS)
        turn_away(f, fd, NP_HTTP_REFUSAL_per_address, "too many connections from this address");
    return room == NP_HTTP_ROOM;
}

/* ------------------------------------------------------------------------------------------ taking */

static void hand_over(struct np_front *f, int fd, const union address *a, socklen_t size)
{
    f->arriving = np_http_peer_of(&a->any);
    if (!admit(f, fd))
        return;
    f->arrived = false;
    if (MHD_add_connection(f->daemon, fd, &a->any, size) != MHD_YES)
        np_call_count(f, NP_HTTP_REFUSAL_memory);
    /* np_conn_notify takes the place over; without memory for it there is nobody to give it back. */
    if (!f->arrived && f->config.limits)
        np_http_limits_give(f->config.limits, &f->arriving);
    f->ready = true;
}

static int take(struct np_front *f, union address *a, socklen_t *size)
{
    *size = sizeof *a;
    return accept4(f->config.listen_fd, &a->any, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void pause_taking(struct np_front *f, int error)
{
    uint64_t now_ns = np_loop_now_ns(f->loop);
    np_loop_remove(f->loop, &f->listen_watch);
    np_timer_set(np_loop_timers(f->loop), &f->accept_timer, now_ns + PAUSE_NS);
    if (now_ns >= f->warn_ns) {
        f->warn_ns = now_ns + WARN_NS;
        np_log(NP_LOG_WARN, "no connection can be taken now", NP_KVS("error", strerror(error)),
               NP_KVI("connections", f->n_conns));
    }
}

static void keep_spare(struct np_front *f)
{
    if (f->spare_fd < 0)
        f->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Uses the spare descriptor to tell some of those who wait. */
static void refuse_some(struct np_front *f)
{
    union address a;
    socklen_t size;
    if (f->spare_fd < 0)
        return;
    close(f->spare_fd);
    f->spare_fd = -1;
    for (int i = 0; i < REFUSALS_A_PAUSE; i++) {
        int fd = take(f, &a, &size);
        if (fd < 0)
            break;
        np_call_count(f, NP_HTTP_REFUSAL_descriptors);
        if (!f->config.tls)
            np_reply_overloaded(f, fd, "no descriptor is left for a connection", RETRY_AFTER_S);
        (void)shutdown(fd, SHUT_WR);
        drop_input(fd);
        close(fd);
    }
    keep_spare(f);
}

/* Whether taking goes on after accept4 said no. */
static bool overcome(struct np_front *f)
{
    int error = errno;
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        pause_taking(f, error);
        (void)make_room(f);
        refuse_some(f);
        return false;
    case EINVAL: /* it listens no longer */
    case EBADF:
        np_loop_remove(f->loop, &f->listen_watch);
        return false;
    case EINTR: /* or the connection's own fault */
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
        return true;
    default: /* ENOBUFS, ENOMEM, and what else lasts */
        pause_taking(f, error);
        return false;
    }
}

static bool take_one(struct np_front *f)
{
    union address a;
    socklen_t size;
    int fd = take(f, &a, &size);
    if (fd < 0)
        return overcome(f);
    hand_over(f, fd, &a, size);
    return true;
}

static void arrivals(void *ctx, uint32_t events)
{
    (void)events;
    struct np_front *f = ctx;
    for (int i = 0; i < ACCEPTS_A_TURN && take_one(f); i++) {
    }
}

static void try_again(void *ctx, uint64_t now_ns)
{
    struct np_front *f = ctx;
    keep_spare(f);
    if (np_loop_add(f->loop, &f->listen_watch, f->config.listen_fd, EPOLLIN) != NP_OK)
        np_timer_set(np_loop_timers(f->loop), &f->accept_timer, now_ns + PAUSE_NS);
}

/* ----------------------------------------------------------------------------------- from outside */

bool np_accept_start(struct np_front *f)
{
    f->listen_watch = (struct np_watch){.ready = arrivals, .ctx = f, .fd = -1};
    np_timer_init(&f->accept_timer, try_again, f);
    f->spare_fd = -1;
    keep_spare(f);
    return np_loop_add(f->loop, &f->listen_watch, f->config.listen_fd, EPOLLIN) == NP_OK;
}

/* What waits in the backlog is taken first: it would be reset when the socket closes. */
void np_accept_drain(struct np_front *f)
{
    for (int i = 0; i < NP_BACKLOG && take_one(f); i++) {
    }
    np_accept_stop(f);
    /* Who comes now is refused by the kernel, instead of waiting for somebody to take it. */
    (void)shutdown(f->config.listen_fd, SHUT_RDWR);
}

void np_accept_stop(struct np_front *f)
{
    np_loop_remove(f->loop, &f->listen_watch);
    np_timer_stop(np_loop_timers(f->loop), &f->accept_timer);
    if (f->spare_fd >= 0)
        close(f->spare_fd);
    f->spare_fd = -1;
}
