/* The raw server's threads: one accepts, one a connection. */
#include "support/raw_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 512
#define REQUEST_MAX ((size_t)8 << 20)

struct np_raw_server {
    int fd;
    unsigned port;
    void (*serve)(struct np_raw_conn *c);
    void *ctx;
    pthread_t acceptor;
    pthread_mutex_t lock; /* guards what follows */
    bool stopping;
    unsigned connections;
    unsigned requests;
    unsigned closed;
    char *last;
    pthread_t threads[CONNS_MAX];
    struct np_raw_conn conns[CONNS_MAX];
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void *conn_main(void *arg)
{
    struct np_raw_conn *c = arg;
    c->server->serve(c);
    pthread_mutex_lock(&c->server->lock);
    close(c->fd);
    c->fd = -1;
    pthread_mutex_unlock(&c->server->lock);
    free(c->request);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct np_raw_server *s = arg;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        pthread_mutex_lock(&s->lock);
        if (s->stopping || fd < 0) {
            pthread_mutex_unlock(&s->lock);
            if (fd >= 0) {
                close(fd);
            }
            return NULL;
        }
        must(s->connections < CONNS_MAX, "too many connections for the raw server");
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        unsigned nth = s->connections++;
        s->conns[nth] = (struct np_raw_conn){.server = s, .ctx = s->ctx, .fd = fd, .nth = nth};
        must(pthread_create(&s->threads[nth], NULL, conn_main, &s->conns[nth]) == 0, "thread");
        pthread_mutex_unlock(&s->lock);
    }
}

struct np_raw_server *np_raw_start(void (*serve)(struct np_raw_conn *c), void *ctx)
{
    struct np_raw_server *s = calloc(1, sizeof *s);
    must(s != NULL, "memory");
    s->serve = serve;
    s->ctx = ctx;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    must(bind(s->fd, (struct sockaddr *)&a, size) == 0, "bind");
    must(listen(s->fd, CONNS_MAX) == 0, "listen");
    must(getsockname(s->fd, (struct sockaddr *)&a, &size) == 0, "getsockname");
    s->port = ntohs(a.sin_port);
    must(pthread_create(&s->acceptor, NULL, accept_main, s) == 0, "thread");
    return s;
}

void np_raw_stop(struct np_raw_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    for (unsigned i = 0; i < s->connections; i++) {
        pthread_mutex_lock(&s->lock);
        if (s->conns[i].fd >= 0) {
            shutdown(s->conns[i].fd, SHUT_RDWR);
        }
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->threads[i], NULL);
    }
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->last);
    free(s);
}

unsigned np_raw_port(const struct np_raw_server *s)
{
    return s->port;
}

static unsigned locked(struct np_raw_server *s, const unsigned *n)
{
    pthread_mutex_lock(&s->lock);
    unsigned value = *n;
    pthread_mutex_unlock(&s->lock);
    return value;
}

unsigned np_raw_connections(struct np_raw_server *s)
{
    return locked(s, &s->connections);
}

unsigned np_raw_requests(struct np_raw_server *s)
{
    return locked(s, &s->requests);
}

unsigned np_raw_closed(struct np_raw_server *s)
{
    return locked(s, &s->closed);
}

char *np_raw_last(struct np_raw_server *s)
{
    pthread_mutex_lock(&s->lock);
    char *copy = strdup(s->last ? s->last : "");
    pthread_mutex_unlock(&s->lock);
    return copy;
}

/* ---------------------------------------------------------------------------- for the connections */

static void count_closed(struct np_raw_conn *c)
{
    pthread_mutex_lock(&c->server->lock);
    c->server->closed += !c->server->stopping;
    pthread_mutex_unlock(&c->server->lock);
}

/* How long the request in the buffer is; 0 while its head is not complete. */
static size_t whole(struct np_raw_conn *c)
{
    char *end = strstr(c->request, "\r\n\r\n");
    if (!end) {
        return 0;
    }
    c->body_at = (size_t)(end - c->request) + 4;
    const char *length = strcasestr(c->request, "\r\nContent-Length:");
    return c->body_at + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
}

bool np_raw_read(struct np_raw_conn *c)
{
    if (!c->request) {
        c->request = malloc(REQUEST_MAX);
        must(c->request != NULL, "memory");
    }
    c->request_n = 0;
    c->request[0] = '\0';
    for (size_t want = 0; want == 0 || c->request_n < want; want = whole(c)) {
        ssize_t n = read(c->fd, c->request + c->request_n, REQUEST_MAX - 1 - c->request_n);
        if (n <= 0) {
            count_closed(c);
            return false;
        }
        c->request_n += (size_t)n;
        c->request[c->request_n] = '\0';
    }
    pthread_mutex_lock(&c->server->lock);
    c->server->requests++;
    free(c->server->last);
    c->server->last = strdup(c->request);
    pthread_mutex_unlock(&c->server->lock);
    return true;
}

bool np_raw_send(struct np_raw_conn *c, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

void np_raw_say(struct np_raw_conn *c, const char *text)
{
    (void)np_raw_send(c, text, strlen(text));
}

void np_raw_wait_closed(struct np_raw_conn *c)
{
    char buf[4096];
    while (read(c->fd, buf, sizeof buf) > 0) {
    }
    count_closed(c);
}

void np_raw_reset(struct np_raw_conn *c)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}
