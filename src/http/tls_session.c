/* A client's TLS session, watched on its way to the socket. With TLS 1.2 a client may ask for a new handshake on
 * a connection that has one. Nobody needs it, each costs us more than the client, and it has been a hole
 * before. The library answers by closing as if all were well. Here the client gets the alert
 * no_renegotiation and the connection then ends without the word that says that all is well.
 *
 * A client may also end its session and leave the connection open until it hears the same from us: some
 * libraries do when they are told to close. Nobody reads while a call waits, so it is looked for here. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "http/call.h"

#define RECORD_HEAD_BYTES 5
#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define RECORD_DATA 23
/* What follows the head: level and description, the kind of record, a tag. */
#define ALERT_BYTES_1_3 19
/* Before 1.3 there may be 8 bytes of a nonce. */
#define ALERT_BYTES_MAX 32

/* Finished was seen of the client, of the server. */
enum { OF_CLIENT = 1, OF_SERVER = 2 };

static int on_finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                       const gnutls_datum_t *message)
{
    (void)type;
    (void)when;
    (void)message;
    struct np_conn *conn = gnutls_transport_get_ptr(session);
    conn->tls.finished |= incoming ? OF_CLIENT : OF_SERVER;
    return 0;
}

/* Goes through what came, record by record; false: a second handshake begins. */
static bool follow(struct np_tls_watch *t, const unsigned char *bytes, size_t n)
{
    while (n > 0) {
        if (t->left > 0) {
            size_t step = n < t->left ? n : t->left;
            t->left -= step;
            bytes += step;
            n -= step;
            continue;
        }
        t->head[t->n_head++] = *bytes++;
        n--;
        if (t->n_head < RECORD_HEAD_BYTES)
            continue;
        t->n_head = 0;
        t->left = ((size_t)t->head[3] << 8) + t->head[4];
        if (t->head[0] == RECORD_HANDSHAKE && t->finished == (OF_CLIENT | OF_SERVER))
            return false;
    }
    return true;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *bytes, size_t n)
{
    struct np_conn *conn = ptr;
    ssize_t got = conn->tls.refused ? -1 : recv(conn->fd, bytes, n, 0);
    if (conn->tls.refused)
        errno = ECONNRESET;
    conn->front->moves += got >= 0;
    conn->tls.pulled += got > 0 ? (size_t)got : 0;
    if (got <= 0 || follow(&conn->tls, bytes, (size_t)got))
        return got;
    (void)gnutls_alert_send(conn->tls.session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
    conn->tls.refused = true;
    errno = ECONNRESET;
    return -1;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *bytes, size_t n)
{
    struct np_conn *conn = ptr;
    if (conn->tls.refused) {
        errno = EPIPE;
        return -1;
    }
    ssize_t sent = send(conn->fd, bytes, n, MSG_NOSIGNAL);
    conn->front->moves += sent > 0;
    return sent;
}

static int wait_for_input(gnutls_transport_ptr_t ptr, unsigned ms)
{
    const struct np_conn *conn = ptr;
    struct pollfd p = {.fd = conn->fd, .events = POLLIN};
    return poll(&p, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

/* Whether a whole record has come that an alert may be in: in TLS 1.3 they look like two bytes of data. */
static bool alert_came(const struct np_conn *conn)
{
    unsigned char bytes[RECORD_HEAD_BYTES + ALERT_BYTES_MAX];
    ssize_t got = recv(conn->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (got < RECORD_HEAD_BYTES)
        return false;
    size_t n = ((size_t)bytes[3] << 8) + bytes[4];
    if ((size_t)got < RECORD_HEAD_BYTES + n)
        return false;
    return bytes[0] == RECORD_ALERT ||
           (bytes[0] == RECORD_DATA && n == ALERT_BYTES_1_3 &&
            gnutls_protocol_get_version(conn->tls.session) == GNUTLS_TLS1_3);
}

bool np_tls_has_left(struct np_conn *conn)
{
    struct np_tls_watch *t = &conn->tls;
    if (!t->session || !t->came || t->refused || t->finished != (OF_CLIENT | OF_SERVER))
        return false;
    t->came = false;
    while (t->left == 0 && t->n_head == 0 && gnutls_record_check_pending(t->session) == 0 &&
           alert_came(conn)) {
        char word[2];
        ssize_t got = gnutls_record_recv(t->session, word, sizeof word);
        /* Data after all: a request that begins with it is lost, so the connection takes none. */
        if (got > 0)
            conn->call->close = true;
        else if (got != GNUTLS_E_WARNING_ALERT_RECEIVED)
            return got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED;
    }
    return false;
}

void np_tls_watch_start(struct np_conn *conn, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_session_t session = info ? (gnutls_session_t)info->tls_session : NULL;
    if (!session)
        return;
    conn->tls.session = session;
    gnutls_transport_set_ptr(session, conn);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_push_function(session, push);
    gnutls_transport_set_pull_timeout_function(session, wait_for_input);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST,
                                       on_finished);
}
