/* The provider side of HTTP: calls over libcurl's multi interface on one loop. It performs what it
 * is told and reports times and bytes; it never retries, follows, decompresses or decides.
 *
 * Events of a call: head once (status and headers are in), data any number of times, done once, last
 * (not after np_call_abort). None comes from inside np_upstream_start. */
#ifndef NP_PROVIDER_UPSTREAM_H
#define NP_PROVIDER_UPSTREAM_H

#include "base/loop.h"
#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

struct np_upstream;
struct np_call;

/* How a call ended. */
enum np_call_how {
    NP_CALL_COMPLETE,      /* the whole reply came */
    NP_CALL_NO_NAME,       /* DNS */
    NP_CALL_NO_CONNECTION, /* refused, unreachable */
    NP_CALL_NO_TLS,        /* handshake or certificate */
    NP_CALL_RESET, /* sent (perhaps in part), then the connection failed before a whole reply */
    NP_CALL_CONNECT_TIMEOUT,
    NP_CALL_FIRST_BYTE_TIMEOUT, /* sent, no byte of a reply in time */
    NP_CALL_IDLE_TIMEOUT,
    NP_CALL_TOTAL_TIMEOUT,
    NP_CALL_TOO_LARGE,   /* headers over 64 KB or body over max_reply_bytes */
    NP_CALL_BAD_FRAMING, /* not HTTP, or an encoding that was not asked for */
    NP_CALL_NO_MEMORY
};

const char *np_call_how_name(enum np_call_how how); /* "connection refused", … for `error` */

struct np_call_end {
    enum np_call_how how;
    unsigned status;        /* 0: none came */
    bool request_sent;      /* at least one byte of the request may have reached the provider */
    uint64_t connect_ns;    /* how long DNS, TCP and TLS took; 0 on a reused connection */
    uint64_t first_byte_ns; /* monotonic time of the first byte of any reply; 0: none came */
    char detail[96];        /* libcurl's words, control bytes removed, no URL and no secret */
};

struct np_call_ops {
    void (*head)(void *ctx, struct np_call *call, unsigned status);
    void (*data)(void *ctx, struct np_call *call, struct np_span bytes);
    void (*done)(void *ctx, struct np_call *call, const struct np_call_end *end);
};

/* Header lines are checked (NP_E_INVALID): a token, tab and printable ASCII, and none that frame the
 * request or ask for an encoding (Host, Content-Length, Accept-Encoding, …). At most 128 and 64 KB
 * (NP_E_FULL). A time of 0 means no such limit. All count from the start but idle_timeout_ms. */
struct np_call_spec {
    struct np_span base_url; /* of the provider, from the operator's file */
    struct np_span path;     /* "/chat/completions": appended; already percent-encoded */
    const struct np_call_field {
        struct np_span name;
        struct np_span value;
    } * fields;
    size_t n_fields;
    struct np_span body; /* must live until done or abort, or until np_call_uploaded says so */
    uint32_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms;
    /* The reply comes piece by piece: first_byte_timeout_ms runs on until np_call_flows, idle_timeout_ms
     * counts after it, and no more than NP_CALL_TURN_BYTES are given in one go. */
    bool stream;
    uint64_t deadline_ns; /* monotonic, total */
    /* A stream's deadline is put off by the time that it is paused, to this at most: a slow reader is no
     * slow provider. 0: it is not. */
    uint64_t limit_ns;
    size_t max_reply_bytes;
};

#define NP_CALL_TURN_BYTES ((uint32_t)8 * 1024)

struct np_upstream_config {
    const char *ca_file;   /* NULL: the system's store */
    unsigned per_multi;    /* calls in flight of one CURLM; 64 */
    unsigned reuse_idle_s; /* a connection idle for longer is not used again; 20 */
    unsigned send_bytes;   /* of a body at once; 16384, which is the least */
};

struct np_upstream *np_upstream_new(struct np_loop *loop, const struct np_upstream_config *config);
/* Calls under way are aborted without events. */
void np_upstream_free(struct np_upstream *u);

/* Starts a call. On an error nothing was started and no event comes; NP_E_TIMEOUT: the deadline has
 * passed. */
enum np_err np_upstream_start(struct np_upstream *u, const struct np_call_spec *spec,
                              const struct np_call_ops *ops, void *ctx,
                              struct np_call **out) NP_MUST_CHECK;
/* Ends it at once; its connection is closed unless the reply was whole. No event follows. */
void np_call_abort(struct np_call *call);
/* What was waited for of a streamed reply has come. The total time ends at deadline_ns from now on. */
void np_call_flows(struct np_call *call, uint64_t deadline_ns);
/* The total time ends at deadline_ns from now on; what is awaited of it is as before. */
void np_call_put_off(struct np_call *call, uint64_t deadline_ns);
/* Whether a byte of the request may have left. */
bool np_call_sent(const struct np_call *call);
/* Whether the whole body of the request has left: nobody looks at it any more. */
bool np_call_uploaded(const struct np_call *call);
/* Stops and continues reading (a slow client). What was read already may still come: up to 64 KB, of a
 * streamed reply NP_CALL_TURN_BYTES; the idle timeout does not count while it is paused. */
void np_call_pause(struct np_call *call);
void np_call_resume(struct np_call *call);
/* A reply's header, from head on; p NULL when it is not there. Of a stream that flows only X-Request-Id and
 * Request-Id. */
struct np_span np_call_header(const struct np_call *call, const char *name);

/* Opens up to n connections to a provider ahead of need; silently gives up on failure. */
void np_upstream_warm(struct np_upstream *u, struct np_span base_url, unsigned n);

/* Whether a base URL may be called at all: http or https, a host, no user, query or fragment, not a
 * link-local or metadata address. *why says what is wrong. */
bool np_upstream_url_ok(struct np_span base_url, const char **why);

const char *np_upstream_version(void);

#endif
