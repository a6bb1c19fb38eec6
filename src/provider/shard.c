/* Shards: CURLMs of a few calls each, the lowest filled first so that connections are met again.
 * A shard that stood idle until its connections are too old to be used again is ended. */
#include "provider/pool.h"

#include <stdlib.h>
#include <sys/epoll.h>

#define SHARDS_MAX 4096
#define KEEP_TLS_NS (600 * NP_NS_PER_S)

/* ----------------------------------------------------------------------- what libcurl asks us for */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    (void)unused;
    struct np_shard *s = ctx;
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) {
        events |= EPOLLIN;
    }
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) {
        events |= EPOLLOUT;
    }
    struct np_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    if (np_sock_want(s, call, fd, events) != NP_OK && call) {
        np_call_fail(call, NP_CALL_NO_MEMORY, "the socket could not be watched");
    }
    return 0; /* anything else would end all calls of the CURLM */
}

static void mark_dirty(struct np_shard *s)
{
    if (!s->dirty) {
        s->dirty = true;
        TAILQ_INSERT_TAIL(&s->u->dirty, s, dirty_link);
    }
    np_upstream_kick(s->u);
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    struct np_shard *s = ctx;
    if (timeout_ms == 0) {
        mark_dirty(s);
    } else if (timeout_ms < 0) {
        np_timer_stop(s->u->timers, &s->timer);
    } else {
        uint64_t now = np_loop_now_ns(s->u->loop);
        np_timer_set(s->u->timers, &s->timer, now + (uint64_t)timeout_ms * NP_NS_PER_MS);
    }
    return 0;
}

static void timer_fired(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    np_shard_act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

/* ---------------------------------------------------------------------------------- birth and end */

/* How long a shard may stand idle: while its connections can be used again, and for long where it
 * holds a parsed CA store, which costs 30 ms and 2.6 MB with Debian's bundle. */
static uint64_t keep_ns(const struct np_shard *s)
{
    uint64_t reuse = (uint64_t)s->u->reuse_idle_s * NP_NS_PER_S;
    return s->tls && reuse < KEEP_TLS_NS ? KEEP_TLS_NS : reuse;
}

static void idle_fired(void *ctx, uint64_t now_ns)
{
    struct np_shard *s = ctx;
    struct np_upstream *u = s->u;
    uint64_t age = keep_ns(s);
    if (s->in_flight > 0) {
        np_timer_set(u->timers, &s->idle, now_ns + age);
    } else if (now_ns < s->idle_since_ns + age) {
        np_timer_set(u->timers, &s->idle, s->idle_since_ns + age);
    } else {
        np_shard_free(s);
        np_call_trim(u, u->per_multi);
    }
}

static bool set_options(struct np_shard *s)
{
    long most = 2L * (long)s->u->per_multi;
    return curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, most) == CURLM_OK;
}

static struct np_shard *shard_new(struct np_upstream *u, unsigned index)
{
    struct np_shard *s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    s->u = u;
    s->index = index;
    s->idle_since_ns = np_loop_now_ns(u->loop);
    LIST_INIT(&s->calls);
    np_timer_init(&s->timer, timer_fired, s);
    np_timer_init(&s->idle, idle_fired, s);
    s->multi = curl_multi_init();
    if (!s->multi || !set_options(s)) {
        curl_multi_cleanup(s->multi);
        free(s);
        return NULL;
    }
    np_timer_set(u->timers, &s->idle, s->idle_since_ns + keep_ns(s));
    u->shards[index] = s;
    return s;
}

void np_shard_free(struct np_shard *s)
{
    struct np_upstream *u = s->u;
    np_require(s->in_flight == 0 && !u->in_curl);
    u->in_curl = true;
    curl_multi_cleanup(s->multi);
    u->in_curl = false;
    np_timer_stop(u->timers, &s->timer);
    np_timer_stop(u->timers, &s->idle);
    if (s->dirty) {
        TAILQ_REMOVE(&u->dirty, s, dirty_link);
    }
    u->shards[s->index] = NULL;
    if (s->index < u->first_room) {
        u->first_room = s->index;
    }
    free(s);
}

static enum np_err grow(struct np_upstream *u)
{
    unsigned n = u->n_shards ? u->n_shards * 2 : 8;
    if (n > SHARDS_MAX) {
        return NP_E_FULL;
    }
    struct np_shard **shards = realloc(u->shards, n * sizeof *shards);
    if (!shards) {
        return NP_E_NOMEM;
    }
    for (unsigned i = u->n_shards; i < n; i++) {
        shards[i] = NULL;
    }
    u->shards = shards;
    u->n_shards = n;
    return NP_OK;
}

static bool is_full(const struct np_shard *s)
{
    return s && (s->broken || s->in_flight >= s->u->per_multi);
}

enum np_err np_shard_pick(struct np_upstream *u, struct np_shard **out)
{
    while (u->first_room < u->n_shards && is_full(u->shards[u->first_room])) {
        u->first_room++;
    }
    if (u->first_room == u->n_shards) {
        enum np_err err = grow(u);
        if (err != NP_OK) {
            return err;
        }
    }
    *out = u->shards[u->first_room];
    if (!*out) {
        *out = shard_new(u, u->first_room);
    }
    return *out ? NP_OK : NP_E_NOMEM;
}

/* ------------------------------------------------------------------------------------------ calls */

enum np_err np_shard_add(struct np_shard *s, struct np_call *call)
{
    struct np_upstream *u = s->u;
    np_require(!u->in_curl);
    u->in_curl = true;
    call->shard = s;
    CURLMcode rc = curl_multi_add_handle(s->multi, call->easy);
    u->in_curl = false;
    if (rc != CURLM_OK) {
        return rc == CURLM_OUT_OF_MEMORY ? NP_E_NOMEM : NP_E_IO;
    }
    s->tls = s->tls || call->url->tls;
    LIST_INSERT_HEAD(&s->calls, call, link);
    s->in_flight++;
    /* libcurl asks for this itself as a rule, but not when it had asked before. */
    mark_dirty(s);
    return NP_OK;
}

void np_shard_remove(struct np_shard *s, struct np_call *call)
{
    struct np_upstream *u = s->u;
    np_require(!u->in_curl && call->shard == s);
    u->in_curl = true;
    curl_multi_remove_handle(s->multi, call->easy);
    u->in_curl = false;
    LIST_REMOVE(call, link);
    call->shard = NULL;
    s->in_flight--;
    if (s->index < u->first_room) {
        u->first_room = s->index;
    }
    if (s->in_flight == 0) {
        s->idle_since_ns = np_loop_now_ns(u->loop);
    }
}

static void end_finished(struct np_shard *s)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(s->multi, &left))) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode code = message->data.result;
        struct np_call *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        np_require(call);
        np_call_finish(call, np_how_of(code, call), np_how_text(code, call));
    }
}

/* When memory runs out inside libcurl 7.88 it forgets to watch a socket, and later divides by the size
 * of a table that it has freed: such a CURLM is not used again. */
static void end_broken(struct np_shard *s)
{
    s->broken = true;
    while (!LIST_EMPTY(&s->calls)) {
        np_call_finish(LIST_FIRST(&s->calls), NP_CALL_NO_MEMORY, "out of memory in libcurl");
    }
    np_shard_free(s);
}

void np_shard_act(struct np_shard *s, curl_socket_t fd, int events)
{
    struct np_upstream *u = s->u;
    np_require(!u->in_curl);
    int running;
    u->in_curl = true;
    CURLMcode rc = curl_multi_socket_action(s->multi, fd, events, &running);
    u->in_curl = false;
    np_upstream_deliver(u);
    end_finished(s);
    if (rc == CURLM_OUT_OF_MEMORY || rc == CURLM_INTERNAL_ERROR) {
        end_broken(s);
    }
}
