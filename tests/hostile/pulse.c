/* How long a thread of the server keeps others waiting, told from how long this machine does.
 *
 *   pulse PORT PID TID
 *
 * Every millisecond it asks the server, on one connection, for a path that there is not: the thread answers
 * by itself. What counts is the time from when the question was sent until the kernel had the answer (its own
 * time stamp, so that it does not matter when this process gets to read it), less the time in which the
 * thread was ready but no CPU was free for it (/proc/PID/task/TID/schedstat). Each pulse of more than 1 ms is
 * a line: when it was sent (CLOCK_REALTIME, s), what counts, what was waited for (ms). On SIGTERM the last
 * line says how many pulses there were. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void end(int number)
{
    (void)number;
    over = 1;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The thread's time on the list of those that may run. */
static int64_t queued_ns(int schedstat)
{
    char text[128];
    ssize_t n = pread(schedstat, text, sizeof text - 1, 0);
    long long ran, queued;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%lld %lld", &ran, &queued) == 2 ? queued : 0;
}

/* When the kernel had the answer; 0: the connection has ended. */
static int64_t answered_ns(int fd)
{
    char bytes[8192], control[512];
    struct iovec io = {bytes, sizeof bytes};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(fd, &m, 0) <= 0)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct timespec t;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    return now_ns();
}

static int connected(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) != 0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    static const char question[] = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char path[64];
    if (argc != 4)
        return 2;
    snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", argv[2], argv[3]);
    int fd = connected(argv[1]), schedstat = open(path, O_RDONLY);
    if (fd < 0 || schedstat < 0)
        return 2;
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
    long pulses = 0;
    for (; !over; pulses++) {
        int64_t queued = queued_ns(schedstat);
        if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0)
            return 1;
        int64_t sent = now_ns(), answered = answered_ns(fd);
        if (answered == 0)
            return over ? 0 : 1;
        int64_t waited = answered - sent;
        queued = queued_ns(schedstat) - queued;
        int64_t counts = waited > queued ? waited - queued : 0;
        if (waited > 1000000)
            printf("%.6f %.3f %.3f\n", (double)sent / 1e9, (double)counts / 1e6,
                   (double)waited / 1e6);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    printf("%ld\n", pulses);
    return 0;
}
