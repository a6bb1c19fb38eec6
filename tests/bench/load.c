/*
 * The benchmark's client: keeps connections to one server and, told so on its standard input, loads it
 * for a while and prints what it saw.
 *
 *   load PORT PATH BODY-FILE MARKER CONNECTIONS
 *
 * A line on standard input is one window:
 *   closed RAMP SKIP SECONDS   each connection asks again as soon as it is answered; the first questions
 *                              are spread over RAMP seconds
 *   rate N SKIP SECONDS        N questions a second, evenly spaced, whatever the answers do
 * and is answered by the lines `begin` (SKIP seconds are over: counting starts), `end` (SECONDS more are
 * over) and, once everything in flight has come back, a JSON object. Both marks let the caller read the
 * server's clocks at the right moments.
 *
 * With `rate`, latency counts from the moment at which the question was due, so a server that stalls
 * pays for the questions that had to wait (no coordinated omission). Connections stay open from window
 * to window and are opened when first needed. A reply is right if its status is 200 and MARKER occurs
 * in its body. One thread; the buffers live as long as the process.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REPLY_MAX = 16384,
    EVENTS_MAX = 512,
    SAMPLES_MAX = 4000000,
    ERRORS_MAX = 1000,
    DRAIN_SECONDS = 5,
};

static const uint64_t second_ns = 1000000000;

struct conn {
    int fd; /* -1: not open */
    bool busy;
    bool close_after; /* the server said it will close */
    uint64_t since_ns;
    size_t sent;
    size_t got;
    char *in;
};

struct window {
    bool open_loop;
    uint64_t start_ns, begin_ns, end_ns;
    uint64_t ramp_ns;
    double gap_ns;   /* open loop: between two questions */
    uint64_t issued; /* open loop: questions so far; closed: connections started */
};

struct tally {
    uint64_t status, body, broken, late;
    size_t samples;
};

static struct {
    int epoll;
    struct sockaddr_in server;
    char *request;
    size_t request_bytes;
    const char *marker;
    struct conn *conns;
    size_t nconns;
    size_t nbusy;
    size_t *idle; /* ring of connection numbers, longest idle first */
    size_t idle_first, nidle;
    uint64_t *samples_ns;
    struct window window;
    struct tally tally;
} load;

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(3);
}

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * second_ns + (uint64_t)at.tv_nsec;
}

static uint64_t errors(void)
{
    return load.tally.status + load.tally.body + load.tally.broken + load.tally.late;
}

static void watch(struct conn *conn, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(load.epoll, how, conn->fd, &event) != 0) {
        die("epoll_ctl");
    }
}

static void conn_open(struct conn *conn)
{
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 ||
        connect(conn->fd, (struct sockaddr *)&load.server, sizeof load.server) != 0) {
        die("connect");
    }
    int one = 1;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    conn->close_after = false;
    watch(conn, EPOLL_CTL_ADD, EPOLLIN);
}

static void conn_close(struct conn *conn)
{
    close(conn->fd);
    conn->fd = -1;
}

static void ask(struct conn *conn, uint64_t since_ns);

/* The connection has nothing in flight any more: the next question, or to the idle ones. */
static void rest(struct conn *conn, uint64_t now)
{
    conn->busy = false;
    load.nbusy--;
    if (!load.window.open_loop && now < load.window.end_ns && errors() < ERRORS_MAX) {
        ask(conn, now);
        return;
    }
    load.idle[(load.idle_first + load.nidle++) % load.nconns] = (size_t)(conn - load.conns);
}

static void broken(struct conn *conn)
{
    load.tally.broken++;
    conn_close(conn);
    rest(conn, now_ns());
}

static void send_more(struct conn *conn)
{
    ssize_t n =
        send(conn->fd, load.request + conn->sent, load.request_bytes - conn->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        broken(conn);
        return;
    }
    bool waited = conn->sent > 0;
    conn->sent += n > 0 ? (size_t)n : 0;
    if (conn->sent < load.request_bytes) {
        watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    } else if (waited) {
        watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void ask(struct conn *conn, uint64_t since_ns)
{
    if (conn->fd < 0) {
        conn_open(conn);
    }
    conn->busy = true;
    conn->since_ns = since_ns;
    conn->sent = 0;
    conn->got = 0;
    load.nbusy++;
    send_more(conn);
}

/*
 * Walks a chunked body at `from`. Returns its end, NULL while it is incomplete. With `into` the chunks'
 * contents are moved there, one after the other, ended by NUL.
 */
static char *chunks(char *from, char *end, char *into)
{
    for (;;) {
        char *data = memmem(from, (size_t)(end - from), "\r\n", 2);
        if (data == NULL) {
            return NULL;
        }
        data += 2;
        size_t size = strtoul(from, NULL, 16);
        if ((size_t)(end - data) < size + 2) {
            return NULL;
        }
        if (into != NULL) {
            memmove(into, data, size);
            into += size;
            *into = '\0';
        }
        if (size == 0) {
            return data + 2;
        }
        from = data + size + 2;
    }
}

/* The body of a whole reply, ended by NUL; NULL while more must come. */
static char *reply_body(struct conn *conn)
{
    char *end = conn->in + conn->got;
    *end = '\0';
    char *body = memmem(conn->in, conn->got, "\r\n\r\n", 4);
    if (body == NULL) {
        return NULL;
    }
    body += 4;
    size_t length = 0;
    bool chunked = false;
    for (char *line = strstr(conn->in, "\r\n") + 2; line < body - 2;
         line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = strtoul(line + 15, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) {
            chunked = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            conn->close_after = true;
        }
    }
    if (!chunked) {
        return (size_t)(end - body) >= length ? body : NULL;
    }
    if (chunks(body, end, NULL) == NULL) {
        return NULL;
    }
    chunks(body, end, body);
    return body;
}

static void account(struct conn *conn, const char *body, uint64_t now)
{
    if (strncmp(conn->in, "HTTP/1.1 200 ", 13) != 0) {
        if (load.tally.status++ == 0) {
            fprintf(stderr, "load: first refusal: %.400s\n", conn->in);
        }
        return;
    }
    if (strstr(body, load.marker) == NULL) {
        if (load.tally.body++ == 0) {
            fprintf(stderr, "load: first wrong body: %.400s\n", body);
        }
        return;
    }
    const struct window *window = &load.window;
    uint64_t when = window->open_loop ? conn->since_ns : now;
    if (when >= window->begin_ns && when < window->end_ns && load.tally.samples < SAMPLES_MAX) {
        load.samples_ns[load.tally.samples++] = now - conn->since_ns;
    }
}

static void receive(struct conn *conn)
{
    ssize_t n = recv(conn->fd, conn->in + conn->got, REPLY_MAX - conn->got, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (!conn->busy) {
        /* Closed, or spoken to, between two questions: the next one opens it anew. */
        conn_close(conn);
        return;
    }
    if (n <= 0 || conn->got + (size_t)n == REPLY_MAX) {
        broken(conn);
        return;
    }
    conn->got += (size_t)n;
    char *body = reply_body(conn);
    if (body == NULL) {
        return;
    }
    uint64_t now = now_ns();
    account(conn, body, now);
    if (conn->close_after) {
        conn_close(conn);
    }
    rest(conn, now);
}

/* Asks what is due. Returns when the next question is due; UINT64_MAX if answers decide that. */
static uint64_t ask_due(uint64_t now)
{
    struct window *window = &load.window;
    for (;;) {
        uint64_t due = window->start_ns;
        if (window->open_loop) {
            due += (uint64_t)(window->gap_ns * (double)window->issued);
        } else {
            due += window->ramp_ns * window->issued / load.nconns;
        }
        bool over = window->open_loop ? due >= window->end_ns : window->issued == load.nconns;
        if (over || load.nidle == 0) {
            return UINT64_MAX;
        }
        if (due > now) {
            return due;
        }
        window->issued++;
        struct conn *conn = &load.conns[load.idle[load.idle_first]];
        load.idle_first = (load.idle_first + 1) % load.nconns;
        load.nidle--;
        ask(conn, due);
    }
}

static int wait_and_handle(uint64_t until_ns)
{
    static struct epoll_event events[EVENTS_MAX];
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / second_ns), (long)(left % second_ns)};
    int n = epoll_pwait2(load.epoll, events, EVENTS_MAX, &timeout, NULL);
    if (n < 0 && errno != EINTR) {
        die("epoll_pwait2");
    }
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn->fd < 0) {
            continue;
        }
        if (conn->busy && conn->sent < load.request_bytes && (events[i].events & EPOLLOUT) != 0) {
            send_more(conn);
        } else {
            receive(conn);
        }
    }
    return n;
}

/* Between two windows servers close connections that rest for long; who asked on one would count a broken reply. */
static void forget_closed(void)
{
    while (wait_and_handle(0) > 0) {
    }
}

/* What has not come back in time is lost; its connection can't be used again. */
static void give_up(void)
{
    for (size_t i = 0; i < load.nconns && load.nbusy > 0; i++) {
        struct conn *conn = &load.conns[i];
        if (conn->busy) {
            load.tally.late++;
            conn_close(conn);
            rest(conn, UINT64_MAX);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(double q)
{
    size_t n = load.tally.samples;
    return n == 0 ? 0 : (double)load.samples_ns[(size_t)(q * (double)(n - 1))] / 1000;
}

static void report(void)
{
    const struct tally *tally = &load.tally;
    qsort(load.samples_ns, tally->samples, sizeof *load.samples_ns, by_size);
    printf(
        "{\"count\": %zu, \"errors\": %llu, \"status\": %llu, \"body\": %llu, \"broken\": %llu, "
        "\"late\": %llu, \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
        tally->samples, (unsigned long long)errors(), (unsigned long long)tally->status,
        (unsigned long long)tally->body, (unsigned long long)tally->broken,
        (unsigned long long)tally->late,
        (double)(load.window.end_ns - load.window.begin_ns) / (double)second_ns, quantile_us(0.5),
        quantile_us(0.99), quantile_us(1));
}

static void run_window(void)
{
    struct window *window = &load.window;
    load.tally = (struct tally){0};
    window->issued = 0;
    uint64_t drained_ns = window->end_ns + DRAIN_SECONDS * second_ns;
    bool begun = false;
    bool ended = false;
    while (!ended || load.nbusy > 0) {
        uint64_t now = now_ns();
        if (!begun && now >= window->begin_ns) {
            begun = true;
            puts("begin");
        }
        if (!ended && now >= window->end_ns) {
            ended = true;
            puts("end");
            if (load.nbusy == 0) {
                break;
            }
        }
        if (now >= drained_ns) {
            give_up();
            break;
        }
        uint64_t next = ended ? drained_ns : begun ? window->end_ns : window->begin_ns;
        uint64_t due = ask_due(now);
        wait_and_handle(due < next ? due : next);
    }
    report();
}

/* Reads a window from its line; false if it is none. */
static bool read_window(const char *line)
{
    struct window *window = &load.window;
    double first = 0;
    double skip = 0;
    double seconds = 0;
    *window = (struct window){0};
    if (sscanf(line, "rate %lf %lf %lf", &first, &skip, &seconds) == 3 && first > 0) {
        window->open_loop = true;
        window->gap_ns = (double)second_ns / first;
    } else if (sscanf(line, "closed %lf %lf %lf", &first, &skip, &seconds) == 3 && first >= 0) {
        window->ramp_ns = (uint64_t)(first * (double)second_ns);
    } else {
        return false;
    }
    window->start_ns = now_ns();
    window->begin_ns = window->start_ns + (uint64_t)(skip * (double)second_ns);
    window->end_ns = window->begin_ns + (uint64_t)(seconds * (double)second_ns);
    return true;
}

static void prepare_request(const char *path, const char *file, int port)
{
    static char body[65536];
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        die(file);
    }
    size_t n = fread(body, 1, sizeof body, in);
    fclose(in);
    int total =
        asprintf(&load.request,
                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n%.*s",
                 path, port, n, (int)n, body);
    if (total < 0) {
        die("request");
    }
    load.request_bytes = (size_t)total;
}

static void prepare_conns(size_t n)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    load.nconns = n;
    load.conns = calloc(n, sizeof *load.conns);
    load.idle = calloc(n, sizeof *load.idle);
    load.samples_ns = malloc(SAMPLES_MAX * sizeof *load.samples_ns);
    if (load.conns == NULL || load.idle == NULL || load.samples_ns == NULL) {
        die("memory");
    }
    for (size_t i = 0; i < n; i++) {
        load.conns[i].fd = -1;
        load.conns[i].in = malloc(REPLY_MAX + 1);
        load.idle[i] = i;
        if (load.conns[i].in == NULL) {
            die("memory");
        }
    }
    load.nidle = n;
}

int main(int argc, char **argv)
{
    int port = argc == 6 ? atoi(argv[1]) : 0;
    int n = argc == 6 ? atoi(argv[5]) : 0;
    if (port <= 0 || port > 65535 || n <= 0) {
        fputs("usage: load PORT PATH BODY-FILE MARKER CONNECTIONS\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Else the kernel may wake us 50 us late, which would be a part of each latency. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    load.server.sin_family = AF_INET;
    load.server.sin_port = htons((uint16_t)port);
    load.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    load.marker = argv[4];
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    prepare_request(argv[2], argv[3], port);
    prepare_conns((size_t)n);
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        forget_closed();
        if (!read_window(line)) {
            fprintf(stderr, "load: not a window: %s", line);
            return 2;
        }
        run_window();
    }
    return 0;
}
