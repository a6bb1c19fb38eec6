/*
 * A client that asks whether or not it is answered, to see what a server does with more than it can do.
 *
 *   flood PORT PATH BODY-FILE CONNECTIONS
 *
 * A line on standard input is a schedule of phases without a pause between them:
 *   open RATE SECONDS …    RATE questions a second, evenly spaced, whatever the answers do
 *   closed CONNS SECONDS   so many connections, each asks again as soon as it is answered
 * and is answered by a JSON line a phase. A question belongs to the phase in which it was due; its
 * time counts from then. What comes back is told by kind: good (200, not degraded), degraded, shed (503),
 * other, broken (no whole answer). `quiet_s` says from when on in a phase every 100 ms had at least 95 %
 * good answers; -1: never. Connections are used again, the last one first. One thread.
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

enum { REPLY_MAX = 16384, EVENTS_MAX = 512, PHASES_MAX = 16, SLOTS_MAX = 1200, LATE_S = 10 };
enum kind { GOOD, DEGRADED, SHED, OTHER, BROKEN, KINDS };

static const uint64_t second_ns = 1000000000;
static const char *const kind_names[KINDS] = {"good", "degraded", "shed", "other", "broken"};

struct conn {
    int fd; /* -1: not open */
    bool busy;
    int phase;
    uint64_t due_ns, sent_ns;
    size_t sent, got;
    struct conn *next; /* idle */
    char *in;
};

struct sample {
    float due_ms, sent_ms;
};

struct phase {
    bool open;
    double rate;
    uint64_t from_ns, to_ns;
    uint64_t issued, skipped;
    struct sample *samples[KINDS];
    size_t n[KINDS], room[KINDS];
    uint32_t slot[SLOTS_MAX][2]; /* by 100 ms of the due time: all, good */
};

static struct {
    int epoll;
    struct sockaddr_in server;
    char *request;
    size_t request_bytes;
    struct conn *conns, *idle;
    size_t nconns, nbusy;
    struct phase phases[PHASES_MAX];
    int nphases;
} flood;

static void die(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(3);
}

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * second_ns + (uint64_t)at.tv_nsec;
}

static void ask(struct conn *conn, int phase, uint64_t due_ns);

/* Counts an answer, or that there was none. */
static void note(struct conn *conn, enum kind kind)
{
    uint64_t now = now_ns();
    struct phase *p = &flood.phases[conn->phase];
    if (p->n[kind] == p->room[kind]) {
        p->room[kind] = p->room[kind] ? 2 * p->room[kind] : 4096;
        p->samples[kind] = realloc(p->samples[kind], p->room[kind] * sizeof *p->samples[kind]);
        if (p->samples[kind] == NULL) {
            die("memory");
        }
    }
    p->samples[kind][p->n[kind]++] =
        (struct sample){(float)(now - conn->due_ns) / 1e6F, (float)(now - conn->sent_ns) / 1e6F};
    uint64_t slot = (conn->due_ns - p->from_ns) / (second_ns / 10);
    if (slot < SLOTS_MAX) {
        p->slot[slot][0]++;
        p->slot[slot][1] += kind == GOOD;
    }
}

static void rest(struct conn *conn)
{
    conn->busy = false;
    flood.nbusy--;
    struct phase *p = &flood.phases[conn->phase];
    if (!p->open && now_ns() < p->to_ns) {
        ask(conn, conn->phase, now_ns());
        return;
    }
    conn->next = flood.idle;
    flood.idle = conn;
}

static void hang_up(struct conn *conn)
{
    close(conn->fd);
    conn->fd = -1;
}

static void lost(struct conn *conn)
{
    note(conn, BROKEN);
    hang_up(conn);
    rest(conn);
}

static bool dial(struct conn *conn)
{
    int one = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (conn->fd < 0) {
        die("socket");
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(conn->fd, (struct sockaddr *)&flood.server, sizeof flood.server) != 0 &&
        errno != EINPROGRESS) {
        return false;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
    if (epoll_ctl(flood.epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        die("epoll_ctl");
    }
    return true;
}

static void send_more(struct conn *conn)
{
    while (conn->sent < flood.request_bytes) {
        ssize_t n = send(conn->fd, flood.request + conn->sent, flood.request_bytes - conn->sent,
                         MSG_NOSIGNAL);
        if (n < 0) {
            return; /* the answer, or the end, tells what is wrong */
        }
        conn->sent += (size_t)n;
    }
}

static void ask(struct conn *conn, int phase, uint64_t due_ns)
{
    conn->busy = true;
    conn->phase = phase;
    conn->due_ns = due_ns;
    conn->sent_ns = now_ns();
    conn->sent = conn->got = 0;
    flood.nbusy++;
    if (conn->fd < 0 && !dial(conn)) {
        lost(conn);
        return;
    }
    send_more(conn);
}

/* The whole answer's kind; KINDS while more must come. */
static enum kind judge(struct conn *conn, bool *close_after)
{
    conn->in[conn->got] = '\0';
    char *body = strstr(conn->in, "\r\n\r\n");
    if (body == NULL) {
        return KINDS;
    }
    body += 4;
    char *length = strcasestr(conn->in, "content-length:");
    if (length == NULL || length > body) {
        return BROKEN;
    }
    size_t want = strtoul(length + 15, NULL, 10);
    if ((size_t)(conn->in + conn->got - body) < want) {
        return KINDS;
    }
    char *closing = strcasestr(conn->in, "connection: close");
    *close_after = closing != NULL && closing < body;
    if (strncmp(conn->in, "HTTP/1.1 503 ", 13) == 0) {
        return SHED;
    }
    if (strncmp(conn->in, "HTTP/1.1 200 ", 13) != 0) {
        return OTHER;
    }
    return strstr(body, "\"degraded\":false") != NULL ? GOOD : DEGRADED;
}

static void receive(struct conn *conn)
{
    for (;;) {
        ssize_t n = recv(conn->fd, conn->in + conn->got, REPLY_MAX - conn->got, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (!conn->busy) {
            hang_up(conn);
            return;
        }
        if (n <= 0 || conn->got + (size_t)n == REPLY_MAX) {
            lost(conn);
            return;
        }
        conn->got += (size_t)n;
        bool close_after = false;
        enum kind kind = judge(conn, &close_after);
        if (kind == KINDS) {
            continue;
        }
        note(conn, kind);
        if (close_after || conn->sent < flood.request_bytes) {
            hang_up(conn);
        }
        rest(conn);
        return;
    }
}

/* Asks what is due in a phase; when the next question is due. */
static uint64_t ask_due(struct phase *p, int number, uint64_t now)
{
    for (;;) {
        uint64_t due = p->from_ns;
        if (p->open) {
            due += (uint64_t)((double)p->issued * (double)second_ns / p->rate);
        } else if (p->issued >= (uint64_t)p->rate) {
            return UINT64_MAX;
        }
        if (due >= p->to_ns) {
            return UINT64_MAX;
        }
        if (due > now) {
            return due;
        }
        p->issued++;
        struct conn *conn = flood.idle;
        if (conn == NULL) {
            p->skipped++;
            continue;
        }
        flood.idle = conn->next;
        ask(conn, number, due);
    }
}

static int handle(uint64_t until_ns)
{
    static struct epoll_event events[EVENTS_MAX];
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / second_ns), (long)(left % second_ns)};
    int n = epoll_pwait2(flood.epoll, events, EVENTS_MAX, &timeout, NULL);
    if (n < 0 && errno != EINTR) {
        die("epoll_pwait2");
    }
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn->fd < 0) {
            continue;
        }
        if (conn->busy && (events[i].events & EPOLLOUT) != 0) {
            send_more(conn);
        }
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            receive(conn);
        }
    }
    return n;
}

/* What servers closed between two schedules is not asked on. */
static void forget_closed(void)
{
    while (handle(0) > 0) {
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(float *v, size_t n, double q)
{
    return n == 0 ? 0 : v[(size_t)(q * (double)(n - 1))];
}

static double quiet_from(const struct phase *p)
{
    size_t slots = (size_t)((p->to_ns - p->from_ns) / (second_ns / 10)), from = 0;
    for (size_t i = 0; i < slots && i < SLOTS_MAX; i++) {
        if (p->slot[i][1] * 20 < p->slot[i][0] * 19) {
            from = i + 1;
        }
    }
    return from >= slots ? -1 : (double)from / 10;
}

static void report(struct phase *p)
{
    double seconds = (double)(p->to_ns - p->from_ns) / (double)second_ns;
    printf(
        "{\"rate\": %.1f, \"seconds\": %.2f, \"issued\": %llu, \"skipped\": %llu, \"quiet_s\": %.1f",
        p->rate, seconds, (unsigned long long)p->issued, (unsigned long long)p->skipped,
        quiet_from(p));
    for (int k = 0; k < KINDS; k++) {
        float *v = malloc((p->n[k] + 1) * sizeof *v);
        if (v == NULL) {
            die("memory");
        }
        printf(", \"%s\": {\"n\": %zu, \"per_s\": %.1f", kind_names[k], p->n[k],
               (double)p->n[k] / seconds);
        for (int from = 0; from < 2; from++) {
            for (size_t i = 0; i < p->n[k]; i++) {
                v[i] = from ? p->samples[k][i].sent_ms : p->samples[k][i].due_ms;
            }
            qsort(v, p->n[k], sizeof *v, by_size);
            const char *suffix = from ? "_sent" : "";
            printf(", \"p50%s\": %.2f, \"p95%s\": %.2f, \"p99%s\": %.2f", suffix,
                   quantile(v, p->n[k], 0.5), suffix, quantile(v, p->n[k], 0.95), suffix,
                   quantile(v, p->n[k], 0.99));
        }
        printf("}");
        free(v);
        free(p->samples[k]);
    }
    printf("}\n");
}

/* Until all that was asked is answered, or nobody can be expected to answer any more. */
static void run(void)
{
    uint64_t end = flood.phases[flood.nphases - 1].to_ns + LATE_S * second_ns;
    for (;;) {
        uint64_t now = now_ns(), next = end;
        bool over = true;
        for (int i = 0; i < flood.nphases; i++) {
            struct phase *p = &flood.phases[i];
            if (now < p->to_ns) {
                uint64_t due = now >= p->from_ns ? ask_due(p, i, now) : p->from_ns;
                due = due < p->to_ns ? due : p->to_ns;
                next = due < next ? due : next;
                over = false;
            }
        }
        if (now >= end || (over && flood.nbusy == 0)) {
            break;
        }
        handle(next);
    }
    for (size_t i = 0; i < flood.nconns; i++) {
        if (flood.conns[i].busy) {
            lost(&flood.conns[i]);
        }
    }
    for (int i = 0; i < flood.nphases; i++) {
        report(&flood.phases[i]);
    }
}

static bool read_schedule(char *line)
{
    char *save = NULL;
    uint64_t at = now_ns();
    flood.nphases = 0;
    for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        const char *rate = strtok_r(NULL, " \n", &save), *seconds = strtok_r(NULL, " \n", &save);
        if (flood.nphases == PHASES_MAX || !rate || !seconds || atof(rate) <= 0) {
            return false;
        }
        struct phase *p = &flood.phases[flood.nphases++];
        memset(p, 0, sizeof *p);
        p->open = strcmp(word, "open") == 0;
        p->rate = atof(rate);
        p->from_ns = at;
        p->to_ns = at += (uint64_t)(atof(seconds) * (double)second_ns);
    }
    return flood.nphases > 0;
}

static void prepare(const char *path, const char *file, int port, size_t n)
{
    static char body[1 << 20];
    struct rlimit files;
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        die(file);
    }
    size_t bytes = fread(body, 1, sizeof body, in);
    fclose(in);
    int total =
        asprintf(&flood.request,
                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n%.*s",
                 path, port, bytes, (int)bytes, body);
    if (total < 0) {
        die("request");
    }
    flood.request_bytes = (size_t)total;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    flood.nconns = n;
    flood.conns = calloc(n, sizeof *flood.conns);
    for (size_t i = n; flood.conns && i-- > 0;) {
        struct conn *conn = &flood.conns[i];
        conn->fd = -1;
        conn->in = malloc(REPLY_MAX + 1);
        conn->next = flood.idle;
        flood.idle = conn;
        if (conn->in == NULL) {
            die("memory");
        }
    }
}

int main(int argc, char **argv)
{
    int port = argc == 5 ? atoi(argv[1]) : 0, n = argc == 5 ? atoi(argv[4]) : 0;
    char line[1024];
    if (port <= 0 || port > 65535 || n <= 0) {
        fputs("usage: flood PORT PATH BODY-FILE CONNECTIONS\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    flood.server.sin_family = AF_INET;
    flood.server.sin_port = htons((uint16_t)port);
    flood.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    flood.epoll = epoll_create1(EPOLL_CLOEXEC);
    prepare(argv[2], argv[3], port, (size_t)n);
    while (fgets(line, sizeof line, stdin) != NULL) {
        forget_closed();
        if (!read_schedule(line)) {
            fprintf(stderr, "flood: not a schedule: %s", line);
            return 2;
        }
        run();
    }
    return 0;
}
