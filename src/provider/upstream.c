/* The pool as a whole: birth and end, and the turn: shards that libcurl wants to act, and the
 * delivery of what it reported. */
#include "provider/pool.h"

#include <pthread.h>
#include <stdlib.h>

#define PASSES 4 /* a turn; what is left waits for the next, so that others get their share */

/* ----------------------------------------------------------------------------------------- events */

void np_upstream_kick(struct np_upstream *u)
{
    if (!u->kicked) {
        u->kicked = true;
        np_timer_set(u->timers, &u->kick, np_loop_now_ns(u->loop));
    }
}

/* Hands out one call's pending events; any callback may end it, and what has ended is no more. */
static void deliver_call(struct np_upstream *u, struct np_call *call)
{
    u->current = call;
    call->turn_bytes = 0;
    if (call->head_due) {
        call->head_due = false;
        call->ops->head(call->ctx, call, call->status);
    }
    struct np_span bytes;
    while (u->current == call && np_reply_next(call, &bytes)) {
        call->ops->data(call->ctx, call, bytes);
    }
    if (u->current == call && call->failed) {
        np_call_finish(call, call->fail_how, call->fail_detail);
    }
    u->current = NULL;
}

static void drain(struct np_upstream *u)
{
    struct np_call *call;
    while ((call = TAILQ_FIRST(&u->pending))) {
        TAILQ_REMOVE(&u->pending, call, pending_link);
        call->queued = false;
        deliver_call(u, call);
    }
    u->scratch_n = 0;
}

/* Lets those go on that were stopped because scratch was full. */
static void unhold(struct np_upstream *u)
{
    struct np_call_queue held = TAILQ_HEAD_INITIALIZER(held);
    TAILQ_CONCAT(&held, &u->held, held_link);
    struct np_call *call;
    u->in_curl = true;
    while ((call = TAILQ_FIRST(&held))) {
        TAILQ_REMOVE(&held, call, held_link);
        call->held = false;
        if (!call->paused) {
            curl_easy_pause(call->easy, CURLPAUSE_CONT);
        }
    }
    u->in_curl = false;
}

void np_upstream_deliver(struct np_upstream *u)
{
    np_require(!u->in_curl && !u->delivering);
    u->delivering = true;
    drain(u);
    if (!TAILQ_EMPTY(&u->held)) {
        unhold(u);
        drain(u);
    }
    u->delivering = false;
    if (!TAILQ_EMPTY(&u->held)) {
        np_upstream_kick(u);
    }
}

static void pass(struct np_upstream *u)
{
    u->kicked = false;
    np_timer_stop(u->timers, &u->kick);
    TAILQ_HEAD(, np_shard) dirty = TAILQ_HEAD_INITIALIZER(dirty);
    struct np_shard *s;
    for (unsigned n = u->n_shards; n > 0 && (s = TAILQ_FIRST(&u->dirty)); n--) {
        TAILQ_REMOVE(&u->dirty, s, dirty_link);
        s->dirty = false;
        np_shard_act(s, CURL_SOCKET_TIMEOUT, 0);
    }
    np_upstream_deliver(u);
}

static uint64_t each_turn(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    struct np_upstream *u = ctx;
    for (int i = 0; u->kicked && i < PASSES; i++) {
        pass(u);
    }
    return UINT64_MAX; /* the kick is a timer too */
}

static void kick_fired(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns; /* the end of this turn sees to it */
}

/* ---------------------------------------------------------------------------------- birth and end */

static CURLcode global_result;

static void init_library(void)
{
    global_result = np_handle_init();
}

static bool make_share(struct np_upstream *u)
{
    u->share = curl_share_init();
    return u->share &&
           curl_share_setopt(u->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK &&
           curl_share_setopt(u->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
}

struct np_upstream *np_upstream_new(struct np_loop *loop, const struct np_upstream_config *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    struct np_upstream *u = global_result == CURLE_OK ? calloc(1, sizeof *u) : NULL;
    if (!u) {
        return NULL;
    }
    u->loop = loop;
    u->timers = np_loop_timers(loop);
    u->per_multi = config->per_multi ? config->per_multi : 64;
    u->send_bytes = config->send_bytes ? (long)config->send_bytes : 16384;
    u->reuse_idle_s = config->reuse_idle_s ? (long)config->reuse_idle_s : 20;
    u->one_call_a_handle = curl_version_info(CURLVERSION_NOW)->version_num < 0x080101;
    u->stops_between_reads = curl_version_info(CURLVERSION_NOW)->version_num >= 0x080700;
    TAILQ_INIT(&u->dirty);
    TAILQ_INIT(&u->pending);
    TAILQ_INIT(&u->held);
    LIST_INIT(&u->free_calls);
    np_timer_init(&u->kick, kick_fired, u);
    u->scratch = malloc(NP_SCRATCH_BYTES);
    if (!u->scratch || !make_share(u)) {
        goto fail;
    }
    if (config->ca_file && !(u->ca_file = strdup(config->ca_file))) {
        goto fail;
    }
    if (np_loop_each_turn(loop, each_turn, u) != NP_OK) {
        goto fail;
    }
    return u;

fail:
    free(u->ca_file);
    curl_share_cleanup(u->share);
    free(u->scratch);
    free(u);
    return NULL;
}

void np_upstream_free(struct np_upstream *u)
{
    if (!u) {
        return;
    }
    np_require(!u->in_curl && !u->delivering);
    for (unsigned i = 0; i < u->n_shards; i++) {
        struct np_shard *s = u->shards[i];
        while (s && !LIST_EMPTY(&s->calls)) {
            np_call_drop(LIST_FIRST(&s->calls));
        }
        if (s) {
            np_shard_free(s);
        }
    }
    np_timer_stop(u->timers, &u->kick);
    np_call_trim(u, 0);
    for (size_t i = 0; i < NP_URLS; i++) {
        if (u->urls[i]) {
            np_url_release(u->urls[i]);
        }
    }
    curl_share_cleanup(u->share);
    np_sock_free_all(u);
    free(u->shards);
    free(u->scratch);
    free(u->ca_file);
    free(u);
}

const char *np_upstream_version(void)
{
    return curl_version();
}
