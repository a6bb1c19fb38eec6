/* The descriptors that libcurl uses, by number, and their registration with the loop. */
#include "provider/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct np_sock *find(const struct np_upstream *u, curl_socket_t fd)
{
    return (size_t)fd < u->n_socks ? u->socks[fd] : NULL;
}

static void forget(struct np_sock *sock)
{
    np_loop_remove(sock->u->loop, &sock->watch);
    sock->u->socks[sock->fd] = NULL;
    free(sock);
}

/* An idle connection has something to say: its end, or bytes that nobody asked for, which would be
 * taken for the answer to the next request. Either way it must not be used again, and libcurl looks
 * only for an orderly end before it does: what is there is thrown away, and the end made. False when
 * there is nothing: the event is of before, and what it told of was read because of another. */
static bool spoil(const struct np_sock *sock)
{
    char waste[4096];
    ssize_t n = recv(sock->fd, waste, sizeof waste, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return false;
    }
    for (int i = 0; i < 64 && n > 0; i++) {
        n = recv(sock->fd, waste, sizeof waste, MSG_DONTWAIT);
    }
    (void)shutdown(sock->fd, SHUT_RDWR);
    return true;
}

static void idle_ready(struct np_sock *sock)
{
    if (!sock->held && !spoil(sock) && sock->have == EPOLLIN) {
        return;
    }
    np_loop_remove(sock->u->loop, &sock->watch);
    sock->have = 0;
}

static void ready(void *ctx, uint32_t events)
{
    struct np_sock *sock = ctx;
    if (sock->want == 0) {
        idle_ready(sock);
        return;
    }
    int act = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        act |= CURL_CSELECT_IN;
    }
    if (events & (EPOLLOUT | EPOLLERR)) {
        act |= CURL_CSELECT_OUT;
    }
    np_shard_act(sock->shard, sock->fd, act);
}

static bool make_room(struct np_upstream *u, curl_socket_t fd)
{
    if ((size_t)fd < u->n_socks) {
        return true;
    }
    size_t n = u->n_socks * 2 > (size_t)fd + 64 ? u->n_socks * 2 : (size_t)fd + 64;
    struct np_sock **socks = realloc(u->socks, n * sizeof *socks);
    if (!socks) {
        return false;
    }
    memset(socks + u->n_socks, 0, (n - u->n_socks) * sizeof *socks);
    u->socks = socks;
    u->n_socks = n;
    return true;
}

static struct np_sock *remember(struct np_shard *s, curl_socket_t fd)
{
    struct np_upstream *u = s->u;
    struct np_sock *sock = make_room(u, fd) ? calloc(1, sizeof *sock) : NULL;
    if (sock) {
        sock->u = u;
        sock->shard = s;
        sock->fd = fd;
        sock->watch = (struct np_watch){.ready = ready, .ctx = sock, .fd = -1};
        u->socks[fd] = sock;
    }
    return sock;
}

static enum np_err watch(struct np_sock *sock, uint32_t events)
{
    sock->want = events;
    if (sock->have == events) {
        return NP_OK;
    }
    struct np_loop *loop = sock->u->loop;
    enum np_err err = sock->have ? np_loop_change(loop, &sock->watch, events)
                                 : np_loop_add(loop, &sock->watch, sock->fd, events);
    if (err == NP_OK) {
        sock->have = events;
    }
    return err;
}

/* libcurl 7.88 closes a socket that never got to be connected without np_sock_close. If the next
 * address gets the same number it does not even ask to watch it, as in its books it does. */
static bool take_over(struct np_shard *s, curl_socket_t fd)
{
    struct np_sock *old = find(s->u, fd);
    if (!old) {
        return true;
    }
    uint32_t want = old->want;
    forget(old);
    if (want == 0) {
        return true;
    }
    struct np_sock *sock = remember(s, fd);
    return sock && watch(sock, want) == NP_OK;
}

curl_socket_t np_sock_open(struct np_call *call, const struct curl_sockaddr *address)
{
    if (np_url_address_refused(&address->addr)) {
        call->refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0 && !take_over(call->shard, fd)) {
        close(fd);
        fd = -1;
    }
    call->opened = call->opened || fd >= 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

int np_sock_close(struct np_upstream *u, curl_socket_t fd)
{
    struct np_sock *sock = find(u, fd);
    if (sock) {
        forget(sock);
    }
    return close(fd);
}

enum np_err np_sock_want(struct np_shard *s, const struct np_call *call, curl_socket_t fd,
                         uint32_t events)
{
    struct np_sock *sock = find(s->u, fd);
    if (events == 0) {
        if (sock && sock->kept) {
            sock->want = 0;
            sock->held = call && (call->paused || call->held);
        } else if (sock) {
            forget(sock);
        }
        return NP_OK;
    }
    sock = sock ? sock : remember(s, fd);
    if (!sock) {
        return NP_E_NOMEM;
    }
    sock->kept = sock->kept || (call && call->sent);
    return watch(sock, events);
}

void np_sock_free_all(struct np_upstream *u)
{
    for (size_t i = 0; i < u->n_socks; i++) {
        if (u->socks[i]) {
            forget(u->socks[i]);
        }
    }
    free(u->socks);
}
