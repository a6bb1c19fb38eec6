/*
 * The benchmark's provider: answers each POST to its path with one fixed reply, at once or after a
 * delay.
 *
 *   upstream PORT PATH REPLY-FILE DELAY-MS
 *
 * It does as little as HTTP allows, because it shares a core with the client and must never be what
 * limits the server between them. Requests need a Content-Length and come one at a time on a
 * connection; another path or method is answered 404, so a peer that asks for the wrong thing fails.
 * All delays are equal, so the waiting requests form a queue in the order of their arrival. One thread.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 65536, EVENTS_MAX = 512 };

struct conn {
    int fd;
    bool waiting; /* its reply is in the queue */
    bool gone;    /* the peer left while it waited */
    bool found;
    size_t got;
    size_t want; /* the whole request; 0 until its head is read */
    uint64_t due_ns;
    struct conn *next; /* in the queue */
    char in[REQUEST_MAX];
};

static struct {
    int epoll;
    int listener;
    const char *path;
    char *reply;
    size_t reply_bytes;
    uint64_t delay_ns;
    struct conn *first, *last;
} up;

static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

static void die(const char *what)
{
    fprintf(stderr, "upstream: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(3);
}

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static void conn_end(struct conn *conn)
{
    close(conn->fd);
    free(conn);
}

/* The reply fits an empty socket buffer, so a short write means a peer that does not read. */
static void answer(struct conn *conn)
{
    const char *bytes = conn->found ? up.reply : not_found;
    size_t n = conn->found ? up.reply_bytes : sizeof not_found - 1;
    conn->waiting = false;
    conn->got = 0;
    conn->want = 0;
    if (conn->gone || send(conn->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n) {
        conn_end(conn);
    }
}

static void enqueue(struct conn *conn)
{
    conn->waiting = true;
    conn->due_ns = now_ns() + up.delay_ns;
    conn->next = NULL;
    if (up.first == NULL) {
        up.first = conn;
    } else {
        up.last->next = conn;
    }
    up.last = conn;
}

/* Reads the head's end, path and length. False: the request can't be served. */
static bool read_head(struct conn *conn)
{
    conn->in[conn->got] = '\0';
    char *body = strstr(conn->in, "\r\n\r\n");
    if (body == NULL) {
        return conn->got < REQUEST_MAX - 1;
    }
    char *length = strcasestr(conn->in, "\r\ncontent-length:");
    if (length == NULL || length > body) {
        fputs("upstream: a request without a Content-Length\n", stderr);
        return false;
    }
    size_t path = strlen(up.path);
    conn->found = strncmp(conn->in, "POST ", 5) == 0 && strncmp(conn->in + 5, up.path, path) == 0 &&
                  conn->in[5 + path] == ' ';
    conn->want = (size_t)(body + 4 - conn->in) + strtoul(length + 17, NULL, 10);
    return true;
}

static void receive(struct conn *conn)
{
    /* Nobody reads the body: what comes behind the head's buffer is only counted. */
    size_t at = conn->want == 0 ? conn->got : 0;
    ssize_t n = recv(conn->fd, conn->in + at, REQUEST_MAX - 1 - at, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || conn->waiting) {
        if (!conn->waiting) {
            conn_end(conn);
        } else if (!conn->gone) {
            conn->gone = true;
            epoll_ctl(up.epoll, EPOLL_CTL_DEL, conn->fd, NULL);
        }
        return;
    }
    conn->got += (size_t)n;
    if (conn->want == 0 && !read_head(conn)) {
        conn_end(conn);
        return;
    }
    if (conn->want == 0 || conn->got < conn->want) {
        return;
    }
    if (up.delay_ns == 0) {
        answer(conn);
    } else {
        enqueue(conn);
    }
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(up.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *conn = calloc(1, sizeof *conn);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (conn == NULL || epoll_ctl(up.epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            die("accept");
        }
        conn->fd = fd;
    }
}

static void answer_due(void)
{
    uint64_t now = now_ns();
    while (up.first != NULL && up.first->due_ns <= now) {
        struct conn *conn = up.first;
        up.first = conn->next;
        answer(conn);
    }
}

static void serve(void)
{
    static struct epoll_event events[EVENTS_MAX];
    for (;;) {
        struct timespec left = {0};
        if (up.first != NULL) {
            uint64_t now = now_ns();
            uint64_t ns = up.first->due_ns > now ? up.first->due_ns - now : 0;
            left = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
        }
        int n = epoll_pwait2(up.epoll, events, EVENTS_MAX, up.first != NULL ? &left : NULL, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all();
            } else {
                receive(events[i].data.ptr);
            }
        }
        answer_due();
    }
}

static void prepare_reply(const char *file)
{
    static char body[REQUEST_MAX];
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        die(file);
    }
    size_t n = fread(body, 1, sizeof body, in);
    fclose(in);
    int total =
        asprintf(&up.reply,
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_bench\r\n"
                 "openai-processing-ms: 0\r\nContent-Length: %zu\r\n\r\n%.*s",
                 n, (int)n, body);
    if (total < 0) {
        die("reply");
    }
    up.reply_bytes = (size_t)total;
}

static void prepare_listener(uint16_t port)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    up.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(up.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    up.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bind(up.listener, (struct sockaddr *)&here, sizeof here) != 0 ||
        listen(up.listener, 4096) != 0 ||
        epoll_ctl(up.epoll, EPOLL_CTL_ADD, up.listener, &event) != 0) {
        die("listen");
    }
}

int main(int argc, char **argv)
{
    int port = argc == 5 ? atoi(argv[1]) : 0;
    if (port <= 0 || port > 65535) {
        fputs("usage: upstream PORT PATH REPLY-FILE DELAY-MS\n", stderr);
        return 2;
    }
    up.path = argv[2];
    up.delay_ns = strtoull(argv[4], NULL, 10) * 1000000;
    prepare_reply(argv[3]);
    prepare_listener((uint16_t)port);
    serve();
}
