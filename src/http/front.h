/* The client side of HTTP: one libmicrohttpd daemon on one loop. It frames, gates and limits; it
 * knows nothing of what the requests mean. Used for the client socket (one front a worker, sockets
 * with SO_REUSEPORT) and for the admin socket.
 *
 * Life of a call: head (all headers are in and the gate let them pass) → whole (the body is in) →
 * reply. In `head` the owner either replies at once or says how large a body may be. After `whole`
 * the connection is suspended until np_http_reply. `gone` comes exactly once for each call that saw
 * `head`, as the last event: the reply has left or the client has. After it the call is invalid. */
#ifndef NP_HTTP_FRONT_H
#define NP_HTTP_FRONT_H

#include "base/loop.h"
#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

#define NP_HTTP_ID_BYTES 129 /* the longest request id and its NUL */

struct np_front;
struct np_refusal;
struct np_http_limits; /* http/limits.h */
struct np_http_call;

enum np_http_end {
    NP_HTTP_SENT, /* the whole reply was handed to the kernel */
    NP_HTTP_LEFT, /* the client closed, reset or timed out before that */
};

/* Why the front itself refused: for neap_http_refused_total{cause}. */
#define NP_HTTP_REFUSALS(X) \
    X(framing)              \
    X(length_required) X(too_large) X(path) X(host) X(origin) X(timeout) X(memory) X(slow_reader)
/* Of connections, before there is a request. */
#define NP_HTTP_REFUSALS_AT_DOOR(X) X(connections) X(per_address) X(descriptors)

enum np_http_refusal {
#define NP_HTTP_REFUSAL_ENUM(name) NP_HTTP_REFUSAL_##name,
    NP_HTTP_REFUSALS(NP_HTTP_REFUSAL_ENUM) NP_HTTP_REFUSALS_AT_DOOR(NP_HTTP_REFUSAL_ENUM)
#undef NP_HTTP_REFUSAL_ENUM
        NP_HTTP_REFUSAL_COUNT
};

const char *np_http_refusal_name(enum np_http_refusal r);

struct np_front_ops {
    /* Either np_http_reply, or np_http_accept with the body's limit, or neither: then the limit is
     * max_body_bytes. */
    void (*head)(void *ctx, struct np_http_call *c);
    void (*whole)(void *ctx, struct np_http_call *c);
    void (*gone)(void *ctx, struct np_http_call *c, enum np_http_end end);
    /* The client has closed while the call waits for its reply. Comes at most once, before `gone`;
     * `gone` follows soon, within a few turns. Also for half-closed clients. May be NULL. */
    void (*left)(void *ctx, struct np_http_call *c);
    /* What waits of a streamed reply has fallen below NP_HTTP_STREAM_LOW again. May be NULL. */
    void (*drained)(void *ctx, struct np_http_call *c);
    /* A refusal of the front's own was sent; for counting. May be NULL. A call that had seen `head`
     * gets its `gone` without a reply of the owner's. */
    void (*refused)(void *ctx, enum np_http_refusal cause);
    /* Such a refusal was of a call whose head was read, and that had not seen `head`: its id, for the
     * record. May be NULL. */
    void (*turned_away)(void *ctx, struct np_http_call *c, const struct np_refusal *r,
                        const char *id);
    void *ctx;
};

struct np_http_field {
    const char *name;
    const char *value;
};

/* Which hosts and origins are let in. */
struct np_front_gate {
    bool check_host;    /* Host must be loopback, the listen address or one of hosts */
    bool check_origin;  /* a foreign Origin or Sec-Fetch-Site: cross-site or same-site is refused */
    bool bodiless_post; /* a POST without a length has an empty body instead of 411 */
    const char *const *hosts;
    size_t n_hosts;
};

struct np_front_config {
    int listen_fd; /* already listening, not blocking; stays the caller's */
    struct np_front_gate gate;
    size_t max_body_bytes;
    unsigned max_connections;      /* of this front; over it 503 */
    struct np_http_limits *limits; /* of all fronts that share them; NULL: none */
    unsigned max_lingering;        /* sockets that are read on after an early refusal; 0: 256 */
    unsigned idle_timeout_s;
    /* For a request's head, and before a body's least rate (1 KB/s) counts; 0: 10 s. */
    unsigned patience_ms;
    bool tls;            /* shows np_tls_new's certificate (http/tls.h) */
    unsigned stall_ms;   /* a stream of which the client takes nothing for so long ends; 0: 30 s */
    unsigned comment_ms; /* one is sent when a stream was silent for about so long; 0: 15 s */
    const char *request_id_header; /* NULL: the front's own refusals carry no id */
    /* The id of a refusal of the front's own: the client's if it may be taken, else a new one. ctx is
     * the ops'. Without it only a valid client's id is sent back. */
    void (*make_id)(void *ctx, char out[NP_HTTP_ID_BYTES], struct np_span client_id);
    const struct np_http_field *fields; /* on every answer but streams; refusals of its own too */
    size_t n_fields;
};

/* NULL without memory or descriptors. config's and ops' structs are copied, what they point to is not. */
struct np_front *np_front_new(struct np_loop *loop, const struct np_front_config *config,
                              const struct np_front_ops *ops);
/* No further connections; idle ones are closed; calls that are under way go on, and their connections
 * end with them. */
void np_front_drain(struct np_front *f);
/* Calls that saw `head` but not yet `gone`. */
size_t np_front_open(const struct np_front *f);
/* Those of them that wait for their reply, or for the rest of a stream: each may be ended in `fn`. */
void np_front_each_unanswered(struct np_front *f, void (*fn)(void *ctx, struct np_http_call *c),
                              void *ctx);
/* Ends every connection (`gone` comes for each call) and frees. Not inside a turn of the loop, and the
 * loop must not turn afterwards. */
void np_front_free(struct np_front *f);

/* The gate's rules may change with a reload (tenants appear): takes effect for the next request. */
void np_front_gate_set(struct np_front *f, bool check_host, bool check_origin);

/* What the request says. Spans live as long as the call. */
struct np_span np_http_method(const struct np_http_call *c);
struct np_span np_http_path(const struct np_http_call *c);  /* raw, without the query */
struct np_span np_http_query(const struct np_http_call *c); /* without '?', may be empty */
/* The first header of this name; p NULL when it is not there. */
struct np_span np_http_header(const struct np_http_call *c, const char *name);
/* The whole body; after `whole` only. Valid until `gone`. */
struct np_span np_http_body(const struct np_http_call *c);
/* Monotonic time at which the request's first header call came. */
uint64_t np_http_accept_ns(const struct np_http_call *c);
/* The owner's own pointer. */
void np_http_set_user(struct np_http_call *c, void *user);
void *np_http_user(const struct np_http_call *c);

/* The id that the owner gave the call in `head`; refusals of the front's own after that carry it. Must
 * live until `gone`. */
void np_http_set_request_id(struct np_http_call *c, const char *id);

/* How large the body may be; in `head` only. A larger one is 413 at once, by the front: `gone` comes
 * without `whole`. */
void np_http_accept(struct np_http_call *c, size_t max_body_bytes);

struct np_http_reply {
    unsigned status;
    const char *content_type;
    const struct np_http_field *fields;
    size_t n_fields;
    struct np_span body; /* copied unless borrowed */
    bool borrowed;       /* body lives until `gone` */
    bool close;          /* end the connection after it */
};

/* Gives the one reply of a call; in `head`, or at any time after `whole` has begun, from anything that
 * runs on the loop's thread. Works for HEAD too. Ignored when the client has left meanwhile. A field that
 * holds control bytes is left out. Without memory for it the connection ends (`gone`: NP_HTTP_LEFT). */
void np_http_reply(struct np_http_call *c, const struct np_http_reply *reply);

/* A reply whose body is given piece by piece, as server-sent events: begin once, instead of
 * np_http_reply and when that might be called; then put any number of times; then end. What the
 * client has not taken waits here. After a put that says so (above NP_HTTP_STREAM_HIGH) the owner
 * should give no more until `drained`; more than NP_HTTP_STREAM_MAX ends the connection. All three are
 * ignored when the client has left. `left` comes for a client that closes before the end. */
#define NP_HTTP_STREAM_HIGH ((size_t)16 * 1024)
#define NP_HTTP_STREAM_LOW ((size_t)4 * 1024)
#define NP_HTTP_STREAM_MAX ((size_t)33 * 1024 * 1024) /* one put may be a whole answer */

/* Of head its status, content type and fields count. */
void np_http_stream_begin(struct np_http_call *c, const struct np_http_reply *head);
/* False: enough waits now. */
bool np_http_stream_put(struct np_http_call *c, struct np_span bytes);
void np_http_stream_end(struct np_http_call *c);

/* The version of libmicrohttpd as loaded. */
const char *np_front_version(void);

#endif
