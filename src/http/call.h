/* What the files of this room share: the front, its connections and its calls. Nobody else includes
 * it.
 *
 * A front owns its connections, a connection its one call. libmicrohttpd decides when they end: it
 * tells np_call_completed and np_conn_notify, and nothing else frees them. */
#ifndef NP_HTTP_CALL_H
#define NP_HTTP_CALL_H

#include "http/front.h"
#include "http/limits.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "model/class.h"
#include "model/request.h"

/* A connection's memory in the library: takes heads of about 6 KB (measured: 6,400 bytes pass, 6,700
 * do not), and is zeroed for each request. */
#define NP_HTTP_POOL_BYTES 7168
/* A larger head is refused. */
#define NP_HTTP_HEAD_BYTES 6000

/* Connections that wait to be taken; the kernel cuts it at net.core.somaxconn. */
#define NP_BACKLOG 4096

/* How often a connection is looked at. */
#define NP_CHECKS_PER_PATIENCE 5

enum np_http_stage {
    NP_STAGE_LINE,   /* the request line is in */
    NP_STAGE_HEAD,   /* `head` runs, or the front refuses */
    NP_STAGE_BODY,   /* gathering */
    NP_STAGE_DROP,   /* the reply is known; what is left of a small body is thrown away first */
    NP_STAGE_WAIT,   /* `whole` has begun, no reply is queued */
    NP_STAGE_SENDING /* the library has the reply */
};

/* What is watched of a client's TLS session. */
struct np_tls_watch {
    gnutls_session_t session;
    unsigned char head[5]; /* of the record that comes */
    unsigned n_head;
    size_t left;     /* of the record's rest */
    uint64_t pulled; /* bytes since the present pause between requests began */
    unsigned finished;
    bool came;    /* bytes came that were not looked at */
    bool refused; /* nothing goes in or out any more */
};

struct np_conn {
    struct np_front *front;
    struct np_conn *prev, *next; /* in the order of their next check */
    struct np_http_call *call;   /* under way; NULL between requests */
    struct np_watch watch;       /* for EPOLLRDHUP: the library does not look while suspended */
    int fd;                      /* the library's */
    uint64_t check_ns;
    uint64_t since_ns;   /* when the connection, or its present pause between requests, began */
    uint64_t received;   /* bytes on the socket at the last check in this pause */
    uint64_t taken;      /* bytes of requests that have ended */
    uint64_t trickle_ns; /* since when bytes came without a request line; 0: none did */
    uintptr_t memory;    /* where the library keeps its requests' heads; 0: none came */
    bool used;           /* it has seen a request line */
    bool marked;         /* received is of this pause */
    bool peer_closed;    /* or half-closed */
    bool counted;        /* it takes a place of the limits */
    struct np_http_peer peer;
    struct np_tls_watch tls;
};

/* A reply that is given piece by piece. */
struct np_http_stream {
    struct MHD_Response *response; /* the library's, while it asks for pieces */
    struct np_buf waiting;         /* what the library has not taken */
    size_t from;                   /* of it that it has */
    uint64_t since_ns;             /* since when the library has not taken what there is */
    uint64_t put_ns;               /* when something was given last */
    bool full;                     /* the owner was told that it is */
    bool ended;                    /* nothing more is given */
};

struct np_http_call {
    /* What each piece of a stream touches stands together: of thousands of streams none is in a cache. */
    struct np_front *front;
    struct np_conn *conn;
    struct MHD_Connection *mhd;
    struct np_http_call *next_resume;
    struct np_http_stream *stream; /* NULL: the reply is, or will be, whole */
    enum np_http_stage stage;

    bool has_length, chunked, expects;
    bool listed;  /* among those whose chunks come */
    bool looked;  /* bytes waited at the last look */
    bool opened;  /* has seen `head`, so that `gone` is owed */
    bool replied; /* by the owner or the front */
    bool close;   /* the connection ends with the reply */
    bool linger;  /* input may still come when it ends: read and drop before closing */
    bool suspended;
    bool resuming; /* it is in the line of those that go on */
    bool left;     /* the client is away; the owner knows */
    bool aborted;  /* end the connection without a reply */
    bool raw_sent; /* a refusal went out past the library */

    LIST_ENTRY(np_http_call) chunked_link;
    void *user;

    const char *method;
    const char *version;
    const char *target_at; /* where the target lay in the library's memory: compared, never read */
    size_t target_bytes;
    struct np_span path, query; /* in target */

    struct MHD_Response *response; /* prepared, not yet queued */
    unsigned status;
    struct np_refusal refused; /* the front's own, its texts left out; status 0: none */

    struct np_buf body;
    size_t limit;
    uint64_t length;   /* announced */
    uint64_t received; /* of the body, dropped bytes included */
    uint64_t accept_ns;
    uint64_t stage_ns; /* when the present stage began */
    uint64_t taken;    /* of its connection's bytes, at the last look at a chunked body */
    size_t head_bytes;
    size_t reply_bytes;
    const char *id; /* the owner's; NULL: none was set */
    char target[];  /* as it stood on the request line, NUL-terminated */
};

struct np_linger;

struct np_front {
    struct np_loop *loop;
    struct np_front_config config;
    struct np_front_ops ops;
    struct MHD_Daemon *daemon;
    struct np_watch watch; /* the library's epoll descriptor */

    struct np_http_call *resume_first;
    struct np_http_call **resume_last;
    struct np_timer resume_timer; /* wakes the loop when the next resuming is due */
    uint64_t resume_ns;           /* not before this */
    uint64_t due_ns;              /* when the library wants to run at the latest */

    LIST_HEAD(, np_http_call) chunked; /* whose bodies come */
    uint64_t moves;                    /* times that the library has told something, or used TLS */
    uint64_t still_ns; /* how long it waits after runs without a move; 0: it moved */

    struct np_conn *conn_first, *conn_last;
    struct np_timer check_timer;
    uint64_t patience_ns;

    struct np_linger *lingering;
    size_t n_lingering;

    struct np_watch listen_watch;
    struct np_timer accept_timer; /* while no connection can be taken */
    struct np_http_peer arriving; /* of the connection that is handed to the library */
    bool arrived;                 /* np_conn_notify has taken it over */
    int spare_fd;                 /* given up to refuse a client without descriptors; -1: none */
    uint64_t warn_ns;             /* not before this is it said again that there are none */
    size_t n_conns;

    size_t n_open;
    size_t n_suspended;
    char listen_host[INET6_ADDRSTRLEN + 2]; /* "" when it listens on every address */
    bool ready;
    bool draining;
    bool freeing;
    bool old_parser; /* libmicrohttpd before 1.0: it hides bytes from us */
};

/* call.c: the library's callbacks. */
void *np_call_line(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result np_call_handle(void *cls, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_bytes, void **con_cls);
void np_call_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode code);
void np_call_stage(struct np_http_call *c, enum np_http_stage stage);
/* The client has closed while the call waits. */
void np_call_leave(struct np_http_call *c);
/* Whether there is somebody to tell that the client is away. */
bool np_call_may_leave(const struct np_http_call *c);
/* Counts a refusal of the front's own. */
void np_call_count(struct np_front *f, enum np_http_refusal cause);

/* chunks.c: a chunked body begins, and has ended one way or the other. */
void np_chunks_begin(struct np_http_call *c);
void np_chunks_end(struct np_http_call *c);
/* The library says that there is something to do, and does nothing: refuses those that can't go on. */
void np_chunks_check(struct np_front *f);

/* accept.c: false without descriptors or memory. */
bool np_accept_start(struct np_front *f);
/* Takes who waits, and nobody else. */
void np_accept_drain(struct np_front *f);
void np_accept_stop(struct np_front *f);

/* conn.c */
void np_conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                    enum MHD_ConnectionNotificationCode code);
/* The deadlines of all connections; a timer's callback. */
void np_conn_check(void *ctx, uint64_t now_ns);
/* It takes no place any more, though it may not have ended yet. */
void np_conn_uncount(struct np_conn *conn);
void np_conn_pause(struct np_conn *conn, uint64_t now_ns);
/* Its client has left. */
void np_conn_peer_closed(struct np_conn *conn);

/* tls.c: gnutls_certificate_retrieve_function2, for the library. */
int np_tls_show(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
                const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **chain,
                unsigned *n_chain, gnutls_privkey_t *key);

/* tls_session.c: whether a client whose request is whole has ended its session, which it may do while its
 * connection stays open. */
bool np_tls_has_left(struct np_conn *conn);
/* tls_session.c: from now on a client's second handshake is refused. */
void np_tls_watch_start(struct np_conn *conn, struct MHD_Connection *mhd);

/* front.c: has the library go on with a suspended call. */
void np_front_resume(struct np_http_call *c);

/* reply.c */
/* Makes the response; false (and aborted) without memory. */
bool np_reply_prepare(struct np_http_call *c, const struct np_http_reply *reply);
/* Gives the prepared response to the library. */
enum MHD_Result np_reply_queue(struct np_http_call *c);
/* The front's own refusal before the body is gathered: prepared like any other reply, and closes. */
void np_reply_refuse(struct np_http_call *c, enum np_http_refusal cause, enum np_refusal_type type,
                     const char *message);
/* The same in the midst of a body, where the library takes no reply: written to the socket past it.
 * The caller ends the connection. */
void np_reply_refuse_raw(struct np_http_call *c, enum np_http_refusal cause,
                         enum np_refusal_type type, const char *message);

/* A refusal to a connection that the library does not know. */
void np_reply_overloaded(struct np_front *f, int fd, const char *message, int retry_after_s);

/* stream.c */
/* Ends readers that stall, and gives a comment where nothing was given for long. */
void np_stream_check(struct np_http_call *c, uint64_t now_ns);
void np_stream_free(struct np_http_stream *s);

/* call.c: the library is to leave the call alone until np_front_resume. */
void np_call_suspend(struct np_http_call *c);

/* dialect.c: the error object. */
void np_dialect_body(struct np_buf *b, const struct np_refusal *r, const char *request_id);
void np_dialect_refuse(struct np_http_call *c, const struct np_refusal *r, const char *request_id,
                       const char *allow, bool close);

/* listen.c: an address without its port, IPv6 in brackets; "" for other kinds. */
void np_http_address_text(const struct sockaddr *a, char out[INET6_ADDRSTRLEN + 2]);

/* linger.c: keeps reading from a duplicate of a socket that the library is about to close, so that
 * the kernel does not reset it under the reply that the client has not read yet. At most 1 MB or
 * 1 s; nothing happens when too many linger already. */
void np_linger_start(struct np_front *f, int fd);
/* The same with a descriptor that the library never had, which then is closed here; false: it stays
 * the caller's. */
bool np_linger_take(struct np_front *f, int fd);
void np_linger_end_all(struct np_front *f);

#endif
