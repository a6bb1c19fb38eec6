/* The life of one call: start, timeouts, pause, end. Each call has one timer, which is armed for the
 * earliest that can end it and only moved when it fires or when that time comes nearer. */
#include "provider/pool.h"

#define HEAD_KEPT_BYTES ((size_t)8 * 1024)
#define WARM_NS (5 * NP_NS_PER_S)
/* An error is one from its head on; what it says of itself is waited for so long. */
#define ERROR_BODY_NS (2 * NP_NS_PER_S)

/* ----------------------------------------------------------------------------------------- timers */

/* When the call ends if nothing more happens, and how. */
static uint64_t due_ns(const struct np_call *call, enum np_call_how *how)
{
    uint64_t due = UINT64_MAX;
    if (!call->sent) {
        due = call->connect_due_ns;
        *how = NP_CALL_CONNECT_TIMEOUT;
    } else if (call->first_byte_ns == 0 || (call->stream && !call->flows)) {
        due = call->first_due_ns;
        *how = NP_CALL_FIRST_BYTE_TIMEOUT;
    } else if (!call->paused && call->idle_ns != UINT64_MAX) {
        due = call->last_byte_ns + call->idle_ns;
        *how = NP_CALL_IDLE_TIMEOUT;
    }
    uint64_t total = call->paused && call->limit_ns ? call->limit_ns : call->deadline_ns;
    if (total <= due) {
        due = total;
        *how = NP_CALL_TOTAL_TIMEOUT;
    }
    if (call->error_due_ns < due) {
        due = call->error_due_ns;
        *how = NP_CALL_TOTAL_TIMEOUT;
    }
    return due;
}

void np_call_error(struct np_call *call)
{
    call->error_due_ns = np_loop_now_ns(call->u->loop) + ERROR_BODY_NS;
    np_call_rearm(call);
}

void np_call_rearm(struct np_call *call)
{
    enum np_call_how how;
    uint64_t due = due_ns(call, &how);
    if (due != UINT64_MAX && (call->timer.slot == 0 || due < call->timer.at_ns)) {
        np_timer_set(call->u->timers, &call->timer, due);
    }
}

static void timer_fired(void *ctx, uint64_t now_ns)
{
    static const char *const details[] = {
        [NP_CALL_CONNECT_TIMEOUT] = "no connection within connect_timeout_ms",
        [NP_CALL_FIRST_BYTE_TIMEOUT] = "nothing of the answer within first_token_timeout_ms",
        [NP_CALL_IDLE_TIMEOUT] = "no further byte within idle_timeout_ms",
        [NP_CALL_TOTAL_TIMEOUT] = "the time for the whole call is over",
    };
    struct np_call *call = ctx;
    enum np_call_how how = NP_CALL_TOTAL_TIMEOUT;
    bool error = call->error_due_ns <= now_ns;
    if (call->queued) { /* what came is told first */
        np_timer_set(call->u->timers, &call->timer, now_ns);
        np_upstream_kick(call->u);
    } else if (due_ns(call, &how) <= now_ns) {
        np_call_finish(call, how, error ? "the error's head came, the rest did not" : details[how]);
    } else {
        np_call_rearm(call);
    }
}

/* ------------------------------------------------------------------------------------------ start */

static uint64_t after(uint64_t start_ns, uint32_t ms)
{
    return ms == 0 ? UINT64_MAX : start_ns + ms * NP_NS_PER_MS;
}

/* Everything that changes from call to call; the rest stays from the call before. */
static void begin(struct np_call *call, const struct np_call_spec *spec, uint64_t now_ns)
{
    call->state = NP_CALL_RUNNING;
    call->start_ns = now_ns;
    call->connect_due_ns = after(now_ns, spec->connect_timeout_ms);
    call->first_due_ns = after(now_ns, spec->first_byte_timeout_ms);
    call->idle_ns = spec->idle_timeout_ms ? spec->idle_timeout_ms * NP_NS_PER_MS : UINT64_MAX;
    call->deadline_ns = spec->deadline_ns ? spec->deadline_ns : UINT64_MAX;
    call->error_due_ns = UINT64_MAX;
    call->limit_ns = spec->limit_ns;
    call->last_byte_ns = call->first_byte_ns = call->connect_ns = 0;
    call->opened = call->refused = call->sent = call->head_done = call->paused = call->head_due =
        false;
    call->encoded = call->early = call->failed = call->flows = false;
    call->stream = spec->stream;
    call->turn_bytes = 0;
    call->segment_first = call->segment_last = NP_NO_SEGMENT;
    call->status = 0;
    call->received = call->head_bytes = 0;
    call->max_reply_bytes = spec->max_reply_bytes;
    np_buf_reset(&call->head);
    call->error[0] = '\0';
    np_timer_init(&call->timer, timer_fired, call);
}

static enum np_err set_request(struct np_call *call, const struct np_call_spec *spec)
{
    struct curl_slist *lines;
    enum np_err err = np_call_lines(call, spec, &lines);
    if (err == NP_OK) {
        err = np_url_get(call->u, spec->base_url, spec->path, &call->url);
    }
    if (err != NP_OK) {
        return err;
    }
    CURL *e = call->easy;
    CURLcode rc = curl_easy_setopt(e, CURLOPT_CURLU, call->url->parsed);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_HTTPHEADER, lines);
    rc = rc ? rc
            : curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
                               spec->stream ? NP_READ_STREAM_BYTES : NP_READ_BYTES);
    if (call->warm) {
        rc = rc ? rc : curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else {
        const char *body = spec->body.p ? spec->body.p : "";
        call->body_bytes = spec->body.n;
        rc = rc ? rc : curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.n);
        rc = rc ? rc : curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    }
    return rc ? NP_E_NOMEM : NP_OK;
}

/* Keeps it for another call, or ends it. */
static void recycle(struct np_call *call)
{
    struct np_upstream *u = call->u;
    call->state = NP_CALL_FREE;
    if (call->url) {
        np_url_release(call->url);
        call->url = NULL;
    }
    if (call->warm) {
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 0L);
        call->warm = false;
    }
    if (u->one_call_a_handle) {
        np_call_free(call);
        return;
    }
    if (call->head.cap > HEAD_KEPT_BYTES) {
        np_buf_free(&call->head);
    }
    LIST_INSERT_HEAD(&u->free_calls, call, link);
    u->n_free_calls++;
}

static enum np_err start(struct np_upstream *u, const struct np_call_spec *spec, bool warm,
                         struct np_call **out)
{
    uint64_t now = np_loop_now_ns(u->loop);
    if (spec->deadline_ns != 0 && spec->deadline_ns <= now) {
        return NP_E_TIMEOUT;
    }
    struct np_shard *shard;
    enum np_err err = np_shard_pick(u, &shard);
    if (err != NP_OK) {
        return err;
    }
    struct np_call *call = np_call_new(u);
    if (!call) {
        return NP_E_NOMEM;
    }
    call->warm = warm;
    begin(call, spec, now);
    err = set_request(call, spec);
    if (err == NP_OK) {
        err = np_shard_add(shard, call);
    }
    if (err != NP_OK) {
        recycle(call);
        return err;
    }
    np_call_rearm(call);
    *out = call;
    return NP_OK;
}

enum np_err np_upstream_start(struct np_upstream *u, const struct np_call_spec *spec,
                              const struct np_call_ops *ops, void *ctx, struct np_call **out)
{
    enum np_err err = start(u, spec, false, out);
    if (err == NP_OK) {
        (*out)->ops = ops;
        (*out)->ctx = ctx;
    }
    return err;
}

static void warm_head(void *ctx, struct np_call *call, unsigned status)
{
    (void)ctx;
    (void)call;
    (void)status;
}

static void warm_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    (void)ctx;
    (void)call;
    (void)bytes;
}

static void warm_done(void *ctx, struct np_call *call, const struct np_call_end *end)
{
    (void)ctx;
    (void)call;
    (void)end;
}

/* A HEAD without credentials: libcurl keeps only connections that have carried a request. */
void np_upstream_warm(struct np_upstream *u, struct np_span base_url, unsigned n)
{
    static const struct np_call_ops ops = {warm_head, warm_data, warm_done};
    struct np_call_spec spec = {
        .base_url = base_url,
        .deadline_ns = np_loop_now_ns(u->loop) + WARM_NS,
        .max_reply_bytes = NP_HEAD_MAX_BYTES,
    };
    struct np_call *call;
    for (unsigned i = 0; i < n && start(u, &spec, true, &call) == NP_OK; i++) {
        call->ops = &ops;
        call->ctx = NULL;
    }
}

/* -------------------------------------------------------------------------------------------- end */

void np_call_enqueue(struct np_call *call)
{
    if (!call->queued) {
        call->queued = true;
        TAILQ_INSERT_TAIL(&call->u->pending, call, pending_link);
    }
}

void np_call_fail(struct np_call *call, enum np_call_how how, const char *detail)
{
    if (!call->failed) {
        call->failed = true;
        call->fail_how = how;
        call->fail_detail = detail;
        np_call_enqueue(call);
        np_upstream_kick(call->u);
    }
}

/* Out of libcurl and of every line, but its reply can still be looked at. */
static void leave(struct np_call *call)
{
    struct np_upstream *u = call->u;
    call->state = NP_CALL_ENDING;
    np_shard_remove(call->shard, call);
    np_timer_stop(u->timers, &call->timer);
    if (call->queued) {
        TAILQ_REMOVE(&u->pending, call, pending_link);
        call->queued = false;
    }
    if (call->held) {
        TAILQ_REMOVE(&u->held, call, held_link);
        call->held = false;
    }
    if (u->current == call) {
        u->current = NULL;
    }
}

void np_call_finish(struct np_call *call, enum np_call_how how, const char *detail)
{
    np_require(call->state == NP_CALL_RUNNING);
    struct np_call_end end = {
        .how = how,
        .status = call->status,
        .request_sent = call->sent,
        .connect_ns = call->connect_ns,
        .first_byte_ns = call->first_byte_ns,
    };
    if (how != NP_CALL_COMPLETE) {
        np_how_detail(end.detail, sizeof end.detail, detail);
    }
    leave(call);
    call->ops->done(call->ctx, call, &end);
    recycle(call);
}

void np_call_drop(struct np_call *call)
{
    leave(call);
    recycle(call);
}

void np_call_abort(struct np_call *call)
{
    np_require(call->state != NP_CALL_FREE);
    if (call->state == NP_CALL_RUNNING) {
        np_call_drop(call);
    }
}

void np_call_trim(struct np_upstream *u, unsigned keep)
{
    while (u->n_free_calls > keep) {
        struct np_call *call = LIST_FIRST(&u->free_calls);
        LIST_REMOVE(call, link);
        u->n_free_calls--;
        np_call_free(call);
    }
}

void np_call_put_off(struct np_call *call, uint64_t deadline_ns)
{
    call->deadline_ns = deadline_ns;
    np_call_rearm(call);
}

void np_call_flows(struct np_call *call, uint64_t deadline_ns)
{
    call->flows = true;
    np_call_put_off(call, deadline_ns);
    if (np_call_uploaded(call)) {
        np_call_forget_lines(call);
    }
    np_reply_trim_head(call);
}

/* ------------------------------------------------------------------------------------------ pause */

void np_call_stop_reading(struct np_call *call)
{
    bool all = call->u->stops_between_reads && np_call_uploaded(call);
    curl_easy_pause(call->easy, all ? CURLPAUSE_ALL : CURLPAUSE_RECV);
}

/* The pause that ends now was not the provider's. */
static void put_off(struct np_call *call)
{
    if (call->limit_ns == 0 || call->deadline_ns >= call->limit_ns) {
        return;
    }
    uint64_t lasted = np_loop_now_ns(call->u->loop) - call->paused_ns;
    uint64_t room = call->limit_ns - call->deadline_ns;
    call->deadline_ns += lasted < room ? lasted : room;
}

/* Before the head libcurl would forget it; then np_reply_body asks for it with the first bytes. */
void np_call_pause(struct np_call *call)
{
    if (call->state == NP_CALL_RUNNING && !call->paused) {
        call->paused = true;
        call->paused_ns = np_loop_now_ns(call->u->loop);
        if (call->head_done) {
            np_require(!call->u->in_curl);
            call->u->in_curl = true;
            np_call_stop_reading(call);
            call->u->in_curl = false;
        }
    }
}

void np_call_resume(struct np_call *call)
{
    if (call->state != NP_CALL_RUNNING || !call->paused) {
        return;
    }
    call->paused = false;
    call->last_byte_ns = np_loop_now_ns(call->u->loop);
    put_off(call);
    np_call_rearm(call);
    if (!call->held && call->head_done) {
        np_require(!call->u->in_curl);
        call->u->in_curl = true;
        curl_easy_pause(call->easy, CURLPAUSE_CONT);
        call->u->in_curl = false;
        np_upstream_kick(call->u);
    }
}

bool np_call_sent(const struct np_call *call)
{
    return call->sent;
}

bool np_call_uploaded(const struct np_call *call)
{
    curl_off_t n = -1;
    return curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &n) == CURLE_OK && n >= 0 &&
           (size_t)n == call->body_bytes;
}
