/* The descriptors that libcurl uses, by number, and their registration with the loop. */
#include "provider/pool.h"

#include <stdlib.h>
#include <sys/epoll.h>
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

static void ready(void *ctx, uint32_t events)
{
    struct np_sock *sock = ctx;
    if (sock->want == 0) {
        np_loop_remove(sock->u->loop, &sock->watch);
        sock->have = 0;
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

static struct np_sock *remember(struct np_upstream *u, curl_socket_t fd)
{
    if ((size_t)fd >= u->n_socks) {
        size_t n = u->n_socks * 2 > (size_t)fd + 64 ? u->n_socks * 2 : (size_t)fd + 64;
        struct np_sock **socks = realloc(u->socks, n * sizeof *socks);
        if (!socks) {
            return NULL;
        }
        memset(socks + u->n_socks, 0, (n - u->n_socks) * sizeof *socks);
        u->socks = socks;
        u->n_socks = n;
    }
    np_require(!u->socks[fd]);
    struct np_sock *sock = calloc(1, sizeof *sock);
    if (sock) {
        sock->u = u;
        sock->fd = fd;
        sock->watch = (struct np_watch){.ready = ready, .ctx = sock, .fd = -1};
        u->socks[fd] = sock;
    }
    return sock;
}

curl_socket_t np_sock_open(struct np_call *call, const struct curl_sockaddr *address)
{
    if (np_url_address_refused(&address->addr)) {
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        return CURL_SOCKET_BAD;
    }
    struct np_sock *sock = remember(call->u, fd);
    if (!sock) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    sock->own = true;
    sock->shard = call->shard;
    call->opened = true;
    return fd;
}

int np_sock_close(struct np_upstream *u, curl_socket_t fd)
{
    struct np_sock *sock = find(u, fd);
    if (sock) {
        forget(sock);
    }
    return close(fd);
}

enum np_err np_sock_want(struct np_shard *s, curl_socket_t fd, uint32_t events)
{
    struct np_sock *sock = find(s->u, fd);
    if (events == 0) {
        if (sock && sock->own) {
            sock->want = 0;
        } else if (sock) {
            forget(sock);
        }
        return NP_OK;
    }
    if (!sock) {
        sock = remember(s->u, fd);
        if (!sock) {
            return NP_E_NOMEM;
        }
    }
    sock->shard = s;
    sock->want = events;
    if (sock->have == events) {
        return NP_OK;
    }
    enum np_err err = sock->have ? np_loop_change(s->u->loop, &sock->watch, events)
                                 : np_loop_add(s->u->loop, &sock->watch, fd, events);
    if (err == NP_OK) {
        sock->have = events;
    }
    return err;
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
