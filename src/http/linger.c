/* Closing a socket whose input has not been read makes the kernel reset it, and a client that is
 * still sending may then never see the reply. The library closes at once; so a duplicate of the
 * descriptor stays open here, and what comes is read and dropped until the client closes, 1 MB came or
 * 1 s is over. */
#include "http/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_BYTES (1024 * 1024)
#define LINGER_NS NP_NS_PER_S
#define LINGERING_MAX 256 /* more than that is an attack, not clients to be polite to */

/* Where descriptors are few they are not for those who were refused. */
static bool too_many(const struct np_front *f)
{
    unsigned most = f->config.max_lingering ? f->config.max_lingering : LINGERING_MAX;
    return f->n_lingering >= most;
}

struct np_linger {
    struct np_front *front;
    struct np_linger *prev, *next;
    struct np_watch watch;
    struct np_timer timer;
    int fd;
    size_t left;
};

static void end(struct np_linger *l)
{
    struct np_front *f = l->front;
    np_loop_remove(f->loop, &l->watch);
    np_timer_stop(np_loop_timers(f->loop), &l->timer);
    close(l->fd);
    if (l->prev) {
        l->prev->next = l->next;
    } else {
        f->lingering = l->next;
    }
    if (l->next) {
        l->next->prev = l->prev;
    }
    f->n_lingering--;
    free(l);
}

static void drop(void *ctx, uint32_t events)
{
    (void)events;
    static _Thread_local char scratch[16384];
    struct np_linger *l = ctx;
    for (int i = 0; i < 8; i++) {
        ssize_t n = recv(l->fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0 || (size_t)n >= l->left) {
            end(l);
            return;
        }
        l->left -= (size_t)n;
    }
}

static void expire(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    end(ctx);
}

bool np_linger_take(struct np_front *f, int fd)
{
    if (too_many(f) || f->freeing) {
        return false;
    }
    struct np_linger *l = calloc(1, sizeof *l);
    if (!l) {
        return false;
    }
    l->front = f;
    l->left = LINGER_BYTES;
    l->watch = (struct np_watch){.ready = drop, .ctx = l, .fd = -1};
    np_timer_init(&l->timer, expire, l);
    l->fd = fd;
    if (np_loop_add(f->loop, &l->watch, l->fd, EPOLLIN) != NP_OK) {
        free(l);
        return false;
    }
    np_timer_set(np_loop_timers(f->loop), &l->timer, np_loop_now_ns(f->loop) + LINGER_NS);
    l->next = f->lingering;
    if (l->next) {
        l->next->prev = l;
    }
    f->lingering = l;
    f->n_lingering++;
    return true;
}

void np_linger_start(struct np_front *f, int fd)
{
    int copy = too_many(f) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0 && !np_linger_take(f, copy)) {
        close(copy);
    }
}

void np_linger_end_all(struct np_front *f)
{
    while (f->lingering) {
        end(f->lingering);
    }
}
