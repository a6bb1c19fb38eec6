/* Chunked bodies that can't go on. libmicrohttpd 0.9.75 waits for the end of a line with a chunk's size
 * even when the line has filled all the memory that its connection may take: it reads no more and says at
 * once that it has something to do, again and again. It tells nobody; so when it does that and nothing
 * moves, the chunked bodies are looked at, and one whose bytes lie in the kernel unread from one look to
 * the next is refused. */
#include "http/call.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void np_chunks_begin(struct np_http_call *c)
{
    LIST_INSERT_HEAD(&c->front->chunked, c, chunked_link);
    c->listed = true;
}

void np_chunks_end(struct np_http_call *c)
{
    if (c->listed) {
        LIST_REMOVE(c, chunked_link);
        c->listed = false;
    }
}

/* Bytes that came and that the library has not asked for. */
static uint64_t unread(const struct np_conn *conn)
{
    int n = 0;
    uint64_t held = conn->tls.session ? gnutls_record_check_pending(conn->tls.session) : 0;
    return held + (ioctl(conn->fd, FIONREAD, &n) == 0 ? (uint64_t)n : 0);
}

/* All that came on the connection; later bytes count here first, so that a body that moves never looks
 * as if it did not. */
static uint64_t arrived(const struct np_conn *conn)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    (void)getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_bytes_received;
}

/* Whether bytes, or the end of them, wait as they did at the look before. */
static bool stands_still(struct np_http_call *c)
{
    uint64_t waiting = unread(c->conn), taken = arrived(c->conn) - waiting;
    bool still = c->looked && c->taken == taken;
    c->looked = waiting > 0 || c->conn->peer_closed;
    c->taken = taken;
    return still && c->looked;
}

void np_chunks_check(struct np_front *f)
{
    struct np_http_call *next;
    for (struct np_http_call *c = LIST_FIRST(&f->chunked); c; c = next) {
        next = LIST_NEXT(c, chunked_link);
        if (!stands_still(c)) {
            continue;
        }
        np_chunks_end(c);
        np_reply_refuse_raw(c, NP_HTTP_REFUSAL_framing, NP_REFUSAL_invalid_request,
                            "the line with a chunk's size is too long");
        np_linger_start(f, c->conn->fd);
        shutdown(c->conn->fd, SHUT_RDWR);
    }
}
