/*
 * The benchmark's client for streamed answers: keeps many streams of one server open at once and, told so
 * on its standard input, prints what it saw.
 *
 *   streams PORT PATH BODY-FILE STREAMS
 *
 * A line on standard input is one window:
 *   RAMP SKIP SECONDS   opens the streams, spread over RAMP seconds; one that ends is asked for anew
 * and is answered by the lines `begin` (SKIP seconds are over: counting starts), `end` (SECONDS more are
 * over) and a JSON object; then every connection is closed.
 *
 * A chunk is an occurrence of the word "tick": the provider (upstream.c) says it once a chunk. The first
 * token of a stream counts from when it was asked for. A stream is whole if its status is 200, it said as
 * many ticks as the first of all that ended, and it ended with the end of a chunked body. One thread.
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
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, READ_MAX = 65536, SAMPLES_MAX = 1000000, TAIL = 8 };

static const uint64_t second_ns = 1000000000;
static const char word[] = "tick";
static const char end_of_body[] = "\r\n0\r\n\r\n";

struct stream {
    int fd; /* -1: not open */
    bool asked, right;
    uint64_t since_ns;
    uint64_t ticks;
    char tail[TAIL]; /* the last bytes, in which a word may have begun */
    size_t ntail;
};

static struct {
    int epoll;
    struct sockaddr_in server;
    char *request;
    size_t request_bytes;
    struct stream *streams;
    size_t nstreams, open;
    uint64_t *first_ns; /* times to the first token in the counted part */
    size_t nfirst;
    uint64_t ticks_of_one; /* 0: none has ended */
    uint64_t ticks, bad, whole;
    uint64_t start_ns, ramp_ns, begin_ns, end_ns;
} run;

static void die(const char *what)
{
    fprintf(stderr, "streams: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(3);
}

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * second_ns + (uint64_t)at.tv_nsec;
}

static bool counts(uint64_t at_ns)
{
    return at_ns >= run.begin_ns && at_ns < run.end_ns;
}

static void end_stream(struct stream *s, bool bad)
{
    run.bad += bad;
    close(s->fd);
    s->fd = -1;
}

/* Asks for a stream; on a connection of its own where it has none. */
static void ask(struct stream *s)
{
    if (s->fd < 0) {
        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&run.server, sizeof run.server) != 0) {
            die("connect");
        }
        int one = 1;
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(s->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
        if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, s->fd, &event) != 0) {
            die("epoll_ctl");
        }
    }
    s->asked = s->right = false;
    s->ticks = s->ntail = 0;
    s->since_ns = now_ns();
    if (send(s->fd, run.request, run.request_bytes, MSG_NOSIGNAL) != (ssize_t)run.request_bytes) {
        end_stream(s, true);
    }
}

static void first_token(struct stream *s, uint64_t now)
{
    if (counts(now) && run.nfirst < SAMPLES_MAX) {
        run.first_ns[run.nfirst++] = now - s->since_ns;
    }
}

static void ended(struct stream *s, uint64_t now)
{
    if (run.ticks_of_one == 0) {
        run.ticks_of_one = s->ticks;
    }
    if (s->ticks != run.ticks_of_one) {
        end_stream(s, true);
        return;
    }
    run.whole += counts(now);
    ask(s);
}

/* Looks at what has come, with the tail of what came before in front of it. */
static void look(struct stream *s, const char *bytes, size_t n)
{
    uint64_t now = now_ns();
    if (!s->asked) {
        s->asked = true;
        s->right = n >= 13 && memcmp(bytes + s->ntail, "HTTP/1.1 200 ", 13) == 0;
        if (!s->right) {
            fprintf(stderr, "streams: a refusal: %.300s\n", bytes + s->ntail);
        }
    }
    /* A word that ends in the tail was counted with it. */
    size_t skip = s->ntail >= sizeof word - 1 ? s->ntail - (sizeof word - 2) : 0;
    const char *at = bytes + skip, *end = bytes + n;
    while ((at = memmem(at, (size_t)(end - at), word, sizeof word - 1)) != NULL) {
        at += sizeof word - 1;
        if (s->ticks++ == 0) {
            first_token(s, now);
        }
        run.ticks += counts(now);
    }
    size_t last = sizeof end_of_body - 1;
    bool over = n >= last && memcmp(end - last, end_of_body, last) == 0;
    const char *tail = n > TAIL ? end - TAIL : bytes;
    s->ntail = (size_t)(end - tail);
    memcpy(s->tail, tail, s->ntail);
    if (over && !s->right) {
        end_stream(s, true);
    } else if (over) {
        ended(s, now);
    }
}

static void receive(struct stream *s)
{
    static char bytes[TAIL + READ_MAX + 1];
    memcpy(bytes, s->tail, s->ntail);
    ssize_t n = recv(s->fd, bytes + s->ntail, READ_MAX, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        end_stream(s, true);
        return;
    }
    bytes[s->ntail + (size_t)n] = '\0';
    look(s, bytes, s->ntail + (size_t)n);
}

/* Opens what is due by now; when the next is, UINT64_MAX when all are open. */
static uint64_t open_due(uint64_t now)
{
    while (run.open < run.nstreams) {
        uint64_t due = run.start_ns + run.ramp_ns * run.open / run.nstreams;
        if (due > now) {
            return due;
        }
        ask(&run.streams[run.open++]);
    }
    return UINT64_MAX;
}

static void wait_and_handle(uint64_t until_ns)
{
    static struct epoll_event events[EVENTS_MAX];
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / second_ns), (long)(left % second_ns)};
    int n = epoll_pwait2(run.epoll, events, EVENTS_MAX, &timeout, NULL);
    if (n < 0 && errno != EINTR) {
        die("epoll_pwait2");
    }
    for (int i = 0; i < n; i++) {
        struct stream *s = events[i].data.ptr;
        if (s->fd >= 0) {
            receive(s);
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
    return run.nfirst == 0 ? 0
                           : (double)run.first_ns[(size_t)(q * (double)(run.nfirst - 1))] / 1000;
}

static void report(void)
{
    size_t open = 0;
    for (size_t i = 0; i < run.nstreams; i++) {
        open += run.streams[i].fd >= 0;
    }
    qsort(run.first_ns, run.nfirst, sizeof *run.first_ns, by_size);
    printf("{\"count\": %llu, \"errors\": %llu, \"open\": %zu, \"whole\": %llu, \"ticks\": %llu, "
           "\"first\": %zu, \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)run.ticks, (unsigned long long)run.bad, open,
           (unsigned long long)run.whole, (unsigned long long)run.ticks_of_one, run.nfirst,
           (double)(run.end_ns - run.begin_ns) / (double)second_ns, quantile_us(0.5),
           quantile_us(0.99));
}

static void run_window(double ramp, double skip, double seconds)
{
    run.ticks = run.bad = run.whole = run.nfirst = run.open = 0;
    run.start_ns = now_ns();
    run.ramp_ns = (uint64_t)(ramp * (double)second_ns);
    run.begin_ns = run.start_ns + (uint64_t)(skip * (double)second_ns);
    run.end_ns = run.begin_ns + (uint64_t)(seconds * (double)second_ns);
    bool begun = false;
    for (;;) {
        uint64_t now = now_ns();
        if (!begun && now >= run.begin_ns) {
            begun = true;
            puts("begin");
        }
        if (now >= run.end_ns) {
            break;
        }
        uint64_t next = begun ? run.end_ns : run.begin_ns;
        uint64_t due = open_due(now);
        wait_and_handle(due < next ? due : next);
    }
    puts("end");
    report();
    for (size_t i = 0; i < run.nstreams; i++) {
        if (run.streams[i].fd >= 0) {
            end_stream(&run.streams[i], false);
        }
    }
}

static void prepare(const char *path, const char *file, int port, size_t n)
{
    static char body[65536];
    struct rlimit files;
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        die(file);
    }
    size_t bytes = fread(body, 1, sizeof body, in);
    fclose(in);
    int total = asprintf(&run.request,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: "
                         "application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                         path, port, bytes, (int)bytes, body);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.nstreams = n;
    run.streams = calloc(n, sizeof *run.streams);
    run.first_ns = malloc(SAMPLES_MAX * sizeof *run.first_ns);
    if (total < 0 || run.streams == NULL || run.first_ns == NULL) {
        die("memory");
    }
    run.request_bytes = (size_t)total;
    for (size_t i = 0; i < n; i++) {
        run.streams[i].fd = -1;
    }
}

int main(int argc, char **argv)
{
    int port = argc == 5 ? atoi(argv[1]) : 0;
    int n = argc == 5 ? atoi(argv[4]) : 0;
    if (port <= 0 || port > 65535 || n <= 0) {
        fputs("usage: streams PORT PATH BODY-FILE STREAMS\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    run.server.sin_family = AF_INET;
    run.server.sin_port = htons((uint16_t)port);
    run.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    prepare(argv[2], argv[3], port, (size_t)n);
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        double ramp, skip, seconds;
        if (sscanf(line, "%lf %lf %lf", &ramp, &skip, &seconds) != 3) {
            fprintf(stderr, "streams: not a window: %s", line);
            return 2;
        }
        run_window(ramp, skip, seconds);
    }
    return 0;
}
