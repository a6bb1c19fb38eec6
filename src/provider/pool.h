/* What the files of this room share: the pool of calls, CURLMs and sockets behind one np_upstream.
 *
 * Users' callbacks never run inside libcurl. What libcurl reports is only noted (`pending`, bytes
 * copied to `scratch`) and handed out by np_upstream_deliver once libcurl has returned. So a user may
 * start, abort, pause and resume any call in any callback, and once np_call_abort has returned
 * nothing reads the body any more. `in_curl` guards this. */
#ifndef NP_PROVIDER_POOL_H
#define NP_PROVIDER_POOL_H

#include "provider/upstream.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define NP_HEAD_MAX_BYTES ((size_t)64 * 1024)
#define NP_READ_BYTES 2040L /* what libcurl reads at once: its BUFFERSIZE; one more is allocated */
/* The same of a stream, whose pieces are small and which keeps it for long. libcurl takes no less. */
#define NP_READ_STREAM_BYTES 1024L
/* At most this much of a reply comes after np_call_pause: what libcurl had read already. */
#define NP_SCRATCH_BYTES ((uint32_t)32 * NP_READ_BYTES)
#define NP_URLS 64
#define NP_NO_SEGMENT UINT32_MAX

TAILQ_HEAD(np_call_queue, np_call);
LIST_HEAD(np_call_list, np_call);

/* A parsed URL; base URL and path joined. Counted: the cache holds it, and each call. */
struct np_url {
    CURLU *parsed;
    uint64_t hash;
    uint64_t used; /* for LRU */
    unsigned refs;
    bool tls;
    size_t n;
    char text[];
};

/* A descriptor that libcurl watches. Once it has carried a request its registration with epoll is
 * lazy: when libcurl says that it no longer watches it, it stays registered, as the next request will
 * want the same. An event on such a one ends the registration. Before, and for descriptors that are
 * no connections, it is exact, as libcurl may close them without a word. */
struct np_sock {
    struct np_upstream *u;
    struct np_shard *shard;
    struct np_watch watch;
    int fd;
    uint32_t want; /* EPOLLIN, EPOLLOUT as libcurl wants; 0: nothing */
    uint32_t have; /* as epoll has it; 0: not registered */
    bool held;     /* nothing is wanted because its call stands still, not because it is idle */
    bool kept;     /* a connection that carried a request: it is closed by np_sock_close */
};

/* One CURLM. libcurl searches a host's connections linearly, so each has few calls at a time. */
struct np_shard {
    struct np_upstream *u;
    unsigned index;
    unsigned in_flight;
    CURLM *multi;
    struct np_timer timer;  /* libcurl's */
    struct np_timer idle;   /* ends the shard when its connections are too old */
    uint64_t idle_since_ns; /* since when in_flight is 0 */
    struct np_call_list calls;
    bool tls;    /* it has made TLS connections, so it holds a CA store */
    bool broken; /* takes no more calls */
    bool dirty;
    TAILQ_ENTRY(np_shard) dirty_link;
};

enum np_call_state { NP_CALL_FREE, NP_CALL_RUNNING, NP_CALL_ENDING };

/* One call with its easy handle. Both are kept for the next call when this one is over, where that does no
 * harm (one_call_a_handle). */
struct np_call {
    struct np_upstream *u;
    struct np_shard *shard;
    CURL *easy;
    bool inside; /* it lies in the handle's block, and ends with it */
    struct np_url *url;
    const struct np_call_ops *ops;
    void *ctx;
    enum np_call_state state;
    LIST_ENTRY(np_call) link; /* of its shard, or of the free ones */

    struct np_timer timer; /* never later than what ends the call next; moved when it fires */
    uint64_t start_ns;
    uint64_t connect_due_ns;
    uint64_t first_due_ns;
    uint64_t deadline_ns;
    uint64_t error_due_ns; /* when the rest of an error is given up */
    uint64_t limit_ns;     /* what pauses may put the deadline off to; 0: they do not */
    uint64_t paused_ns;    /* since when it is paused */
    uint64_t idle_ns;
    uint64_t last_byte_ns;
    uint64_t first_byte_ns;
    uint64_t connect_ns;
    size_t body_bytes; /* of the request */

    bool opened;    /* it opened a socket, so it does not run on a reused connection */
    bool refused;   /* an address of the name must not be called */
    bool sent;      /* the request was handed to the connection */
    bool head_done; /* the head of the final reply is complete */
    bool encoded;   /* the head names an encoding */
    bool early;     /* the head came before the whole request had left */
    bool warm;      /* only opens a connection */
    bool paused;    /* by the user */
    bool held;      /* by us, scratch being full or its turn being over; in u->held */
    bool stream;    /* its reply comes piece by piece */
    bool flows;     /* what was waited for of a stream has come */
    bool queued;    /* in u->pending */
    bool head_due;  /* pending: the head */
    bool failed;    /* pending: the end, as below */
    enum np_call_how fail_how;
    const char *fail_detail; /* static */
    TAILQ_ENTRY(np_call) pending_link;
    TAILQ_ENTRY(np_call) held_link;
    uint32_t segment_first; /* pending: bytes in u->scratch */
    uint32_t segment_last;
    uint32_t turn_bytes; /* in scratch */

    unsigned status;
    size_t received;
    size_t max_reply_bytes;
    size_t head_bytes;  /* all header bytes, also of interim replies and trailers */
    struct np_buf head; /* raw lines of the last head */

    char *lines; /* memory of the request's header list */
    size_t lines_bytes;
    char error[CURL_ERROR_SIZE];
};

struct np_upstream {
    struct np_loop *loop;
    struct np_timers *timers;
    CURLSH *share; /* DNS and TLS sessions of all shards */
    char *ca_file;
    unsigned per_multi;
    long reuse_idle_s, send_bytes;
    /* A handle of libcurl before 8.1.1 that is used again still points to the last header of the reply
     * before, which is freed; a reply whose first header line is a continuation is written there
     * (curl#11103). */
    bool one_call_a_handle;
    /* From 8.7 on libcurl copies what is left of a read that is refused midway to 16 KB that it makes for
     * it; told to read no more it gives the rest of that read. But if it may still write it reads once
     * more, so it is told to do neither where nothing is left to write. Before 8.7 it keeps as much as it
     * must, either way. */
    bool stops_between_reads;

    struct np_shard **shards; /* NULL where one has ended */
    unsigned n_shards;
    unsigned first_room; /* none below has room */
    TAILQ_HEAD(, np_shard) dirty;
    struct np_timer kick; /* set when something waits that no event will report */
    bool kicked;

    bool in_curl;
    bool delivering;
    struct np_call *current; /* whose callback runs; NULL once it was aborted */
    struct np_call_queue pending;
    struct np_call_queue held;
    char *scratch;
    uint32_t scratch_n;

    struct np_call_list free_calls;
    unsigned n_free_calls;

    struct np_sock **socks; /* by descriptor */
    size_t n_socks;

    struct np_url *urls[NP_URLS];
    uint64_t url_clock;
};

/* upstream.c */

/* Makes the loop look at dirty shards and pending events in this turn or at once in the next. */
void np_upstream_kick(struct np_upstream *u);
/* Hands out what is pending. Not from inside libcurl. */
void np_upstream_deliver(struct np_upstream *u);

/* shard.c */

/* The lowest shard with room, made if need be. */
enum np_err np_shard_pick(struct np_upstream *u, struct np_shard **out) NP_MUST_CHECK;
enum np_err np_shard_add(struct np_shard *s, struct np_call *call) NP_MUST_CHECK;
/* Takes the call out; libcurl knows it no longer. */
void np_shard_remove(struct np_shard *s, struct np_call *call);
/* Lets libcurl act on a descriptor (or CURL_SOCKET_TIMEOUT), then delivers and ends calls. The shard
 * may be gone afterwards. */
void np_shard_act(struct np_shard *s, curl_socket_t fd, int events);
void np_shard_free(struct np_shard *s);

/* sock.c */

/* CURLOPT_OPENSOCKETFUNCTION for a call; CURL_SOCKET_BAD on failure. */
curl_socket_t np_sock_open(struct np_call *call, const struct curl_sockaddr *address);
/* Takes it from the loop and closes it. */
int np_sock_close(struct np_upstream *u, curl_socket_t fd);
/* libcurl wants these events (0: none) of a descriptor, for a call if that is known. */
enum np_err np_sock_want(struct np_shard *s, const struct np_call *call, curl_socket_t fd,
                         uint32_t events) NP_MUST_CHECK;
void np_sock_free_all(struct np_upstream *u);

/* call.c */

/* The failure is reported when libcurl has returned. detail is static. */
void np_call_fail(struct np_call *call, enum np_call_how how, const char *detail);
/* Ends it, tells the user, and keeps it for another. */
void np_call_finish(struct np_call *call, enum np_call_how how, const char *detail);
/* Puts it in the line of those with pending events. */
void np_call_enqueue(struct np_call *call);
/* Ends a call silently; for np_call_abort and np_upstream_free. */
void np_call_drop(struct np_call *call);
/* The head of an error is in: the rest has little time. */
void np_call_error(struct np_call *call);
/* Sees to it that the timer is not later than what ends the call next. */
void np_call_rearm(struct np_call *call);
/* libcurl is to read no more of it; also from inside libcurl. */
void np_call_stop_reading(struct np_call *call);
/* Frees calls that are kept for another until at most `keep` are left. */
void np_call_trim(struct np_upstream *u, unsigned keep);

/* handle.c */

/* Begins libcurl, in place of curl_global_init. */
CURLcode np_handle_init(void);
/* A call with its easy handle, all that never changes set; a kept one if there is one. */
struct np_call *np_call_new(struct np_upstream *u);
void np_call_free(struct np_call *call);
/* Builds the header list in the call's own memory. *list stays valid until the next call. */
enum np_err np_call_lines(struct np_call *call, const struct np_call_spec *spec,
                          struct curl_slist **list) NP_MUST_CHECK;
/* The request has left: its header list is not needed any more. */
void np_call_forget_lines(struct np_call *call);

/* reply.c: libcurl's callbacks for the reply */

/* A stream flows: of its reply's head only the fields that name the request are kept. */
void np_reply_trim_head(struct np_call *call);
size_t np_reply_header(char *p, size_t size, size_t n, void *call);
size_t np_reply_body(char *p, size_t size, size_t n, void *call);
/* Takes the call's next pending bytes out of scratch; false when there are none. */
bool np_reply_next(struct np_call *call, struct np_span *bytes);

/* how.c */

/* What a libcurl result means for this call. */
enum np_call_how np_how_of(CURLcode code, const struct np_call *call);
/* The words for it. */
const char *np_how_text(CURLcode code, const struct np_call *call);
/* Copies text, control bytes made blanks, ended before anything that looks like a URL. */
void np_how_detail(char *out, size_t size, const char *text);

/* url.c */

/* The parsed URL of base and path, with a reference for the caller. */
enum np_err np_url_get(struct np_upstream *u, struct np_span base, struct np_span path,
                       struct np_url **out) NP_MUST_CHECK;
void np_url_release(struct np_url *url);
/* Whether an address must never be called: link-local and metadata services. */
bool np_url_address_refused(const struct sockaddr *address);

#endif
