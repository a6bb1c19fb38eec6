/* Listening sockets. */
#include "http/dialect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/call.h"
#include "http/gate.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_bytes(const union address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4;
}

/* Splits at the last colon; localhost is 127.0.0.1. False when it is no address and port. */
static bool parse(const char *addr_port, union address *a)
{
    struct np_span name, port;
    unsigned long long n;
    char text[INET6_ADDRSTRLEN + 2];
    if (!np_gate_split_host(np_span_of(addr_port), &name, &port) || !np_span_to_u64(port, &n) ||
        n > 65535 || name.n >= sizeof text) {
        return false;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    memset(a, 0, sizeof *a);
    if (name.n > 2 && text[0] == '[') {
        text[name.n - 1] = '\0';
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons((uint16_t)n);
        return inet_pton(AF_INET6, text + 1, &a->v6.sin6_addr) == 1;
    }
    a->v4.sin_family = AF_INET;
    a->v4.sin_port = htons((uint16_t)n);
    return inet_pton(AF_INET, strcmp(text, "localhost") == 0 ? "127.0.0.1" : text,
                     &a->v4.sin_addr) == 1;
}

/* A sentence that lives until the thread's next failure. */
static const char *sentence(const char *addr_port, int error)
{
    static _Thread_local char text[256];
    switch (error) {
    case EADDRINUSE:
        snprintf(text, sizeof text, "%.100s is in use by another program", addr_port);
        break;
    case EADDRNOTAVAIL:
        snprintf(text, sizeof text, "%.100s is not an address of this machine", addr_port);
        break;
    case EACCES:
        snprintf(text, sizeof text, "%.100s may not be listened on by this user", addr_port);
        break;
    case EINVAL:
        snprintf(text, sizeof text,
                 "\"%.100s\" is not ADDRESS:PORT (127.0.0.1:8080, [::1]:8080, localhost:8080)",
                 addr_port);
        break;
    default:
        snprintf(text, sizeof text, "%.100s can't be listened on: %s", addr_port, strerror(error));
    }
    return text;
}

static bool set_on(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* Alone at first, so that a second neap is told that the port is taken; open to siblings then. */
static bool bind_and_listen(int fd, const union address *a, bool shared)
{
    if (!set_on(fd, SOL_SOCKET, SO_REUSEADDR)) {
        return false;
    }
    if (a->any.sa_family == AF_INET6 && !set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY)) {
        return false;
    }
    if (shared && !set_on(fd, SOL_SOCKET, SO_REUSEPORT)) {
        return false;
    }
    return bind(fd, &a->any, address_bytes(a)) == 0 &&
           (shared || set_on(fd, SOL_SOCKET, SO_REUSEPORT)) && listen(fd, NP_BACKLOG) == 0;
}

int np_http_listen(const char *addr_port, bool shared, const char **why)
{
    union address a;
    if (!parse(addr_port, &a)) {
        *why = sentence(addr_port, EINVAL);
        return -1;
    }
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind_and_listen(fd, &a, shared)) {
        return fd;
    }
    *why = sentence(addr_port, errno);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

unsigned np_http_port(int fd)
{
    union address a;
    socklen_t size = sizeof a;
    if (getsockname(fd, &a.any, &size) != 0) {
        return 0;
    }
    return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

bool np_http_is_address(const char *addr_port)
{
    union address a;
    return parse(addr_port, &a);
}

bool np_http_is_loopback(const char *addr_port)
{
    union address a;
    struct np_span name, port;
    return parse(addr_port, &a) && np_gate_split_host(np_span_of(addr_port), &name, &port) &&
           np_gate_is_loopback(name);
}

void np_http_address_text(const struct sockaddr *a, char out[INET6_ADDRSTRLEN + 2])
{
    union address copy;
    out[0] = '\0';
    if (a->sa_family == AF_INET) {
        memcpy(&copy.v4, a, sizeof copy.v4);
        inet_ntop(AF_INET, &copy.v4.sin_addr, out, INET6_ADDRSTRLEN);
    } else if (a->sa_family == AF_INET6) {
        memcpy(&copy.v6, a, sizeof copy.v6);
        out[0] = '[';
        inet_ntop(AF_INET6, &copy.v6.sin6_addr, out + 1, INET6_ADDRSTRLEN);
        strcat(out, "]");
    }
}
