/*
 * The benchmark's provider: answers each POST to its path with one fixed reply, at once or after a
 * delay.
 *
 *   upstream PORT PATH REPLY-FILE DELAY-MS [CHUNKS GAP-MS]
 *
 * With CHUNKS a question that asks for a stream gets so many chunks of one word, the first at once and each
 * further one GAP-MS after the one before, then the usage and the end.
 *
 * It does as little as HTTP allows, because it shares a core with the client and must never be what
 * limits the server between them. Requests need a Content-Length and come one at a time on a
 * connection; another path or method is answered 404, so a peer that asks for the wrong thing fails.
 * All delays are equal, and all gaps, so those that wait form a queue in the order of their arrival. One
 * thread.
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
    bool asks;         /* it wants its reply streamed */
    bool streams;      /* its reply is one */
    unsigned chunks;   /* of it that are still to be sent */
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
    unsigned chunks; /* 0: no streams */
    uint64_t gap_ns;
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

#define CHUNK(delta, finish)                                                                     \
    "data: {\"id\":\"chatcmpl-9xKQ2mVbT4cLrYh7dE1sWzUf\",\"object\":\"chat.completion.chunk\","  \
    "\"created\":1762300800,\"model\":\"gpt-4.1-mini-2025-04-14\",\"service_tier\":\"default\"," \
    "\"system_fingerprint\":\"fp_3f1a9c27d0\",\"choices\":[{\"index\":0,\"delta\":{" delta "},"  \
    "\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"
#define STREAM_HEAD                                                                        \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: " \
    "no-cache\r\nx-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n"

static const char stream_first[] = CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null");
static const char stream_word[] = CHUNK("\"content\":\" tick\"", "null");
static const char stream_end[] = CHUNK(
    "",
    "\"stop\"") "data: {\"id\":\"chatcmpl-9xKQ2mVbT4cLrYh7dE1sWzUf\",\"choices\":[],\"usage\":{"
                "\"prompt_tokens\":431,\"completion_tokens\":52,\"total_tokens\":483}}\n\ndata: [DONE]\n\n";

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

static void enqueue(struct conn *conn, uint64_t due_ns)
{
    conn->waiting = true;
    conn->due_ns = due_ns;
    conn->next = NULL;
    if (up.first == NULL) {
        up.first = conn;
    } else {
        up.last->next = conn;
    }
    up.last = conn;
}

/* A chunk of the transfer encoding; false when it can't be sent. */
static bool send_chunk(const struct conn *conn, const char *head, const char *text,
                       const char *last)
{
    char bytes[2048];
    int n = snprintf(bytes, sizeof bytes, "%s%zx\r\n%s\r\n%s", head, strlen(text), text, last);
    return send(conn->fd, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

/* The next part of its stream is due. */
static void go_on(struct conn *conn)
{
    bool sent = !conn->gone;
    if (sent && conn->chunks > 0) {
        conn->chunks--;
        sent = send_chunk(conn, "", stream_word, "");
    } else if (sent) {
        conn->streams = conn->waiting = false;
        conn->got = conn->want = 0;
        if (!send_chunk(conn, "", stream_end, "0\r\n\r\n")) {
            conn_end(conn);
        }
        return;
    }
    if (sent) {
        enqueue(conn, conn->due_ns + up.gap_ns);
    } else {
        conn_end(conn);
    }
}

static void begin_stream(struct conn *conn)
{
    conn->streams = true;
    conn->asks = false;
    conn->chunks = up.chunks;
    conn->due_ns = now_ns();
    if (send_chunk(conn, STREAM_HEAD, stream_first, "")) {
        go_on(conn);
    } else {
        conn_end(conn);
    }
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

/* Whether what has just come asks for a stream; it says so in one piece. */
static void look_for_wish(struct conn *conn, size_t at, size_t n)
{
    static const char wish[] = "\"stream\":true";
    if (up.chunks > 0 && memmem(conn->in + at, n, wish, sizeof wish - 1) != NULL) {
        conn->asks = true;
    }
}

/* The request is whole. */
static void reply(struct conn *conn)
{
    if (conn->found && conn->asks) {
        begin_stream(conn);
    } else if (up.delay_ns == 0) {
        answer(conn);
    } else {
        enqueue(conn, now_ns() + up.delay_ns);
    }
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
    look_for_wish(conn, at, (size_t)n);
    if (conn->want == 0 && !read_head(conn)) {
        conn_end(conn);
        return;
    }
    if (conn->want == 0 || conn->got < conn->want) {
        return;
    }
    reply(conn);
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
        if (conn->streams) {
            go_on(conn);
        } else {
            answer(conn);
        }
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
    int port = argc == 5 || argc == 7 ? atoi(argv[1]) : 0;
    if (port <= 0 || port > 65535) {
        fputs("usage: upstream PORT PATH REPLY-FILE DELAY-MS [CHUNKS GAP-MS]\n", stderr);
        return 2;
    }
    up.path = argv[2];
    up.delay_ns = strtoull(argv[4], NULL, 10) * 1000000;
    if (argc == 7) {
        up.chunks = (unsigned)strtoul(argv[5], NULL, 10);
        up.gap_ns = strtoull(argv[6], NULL, 10) * 1000000;
    }
    prepare_reply(argv[3]);
    prepare_listener((uint16_t)port);
    serve();
}
