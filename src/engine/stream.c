/* Streamed answers: from a provider's bytes to texts for the client. Nothing is emitted before the first
 * text has come, so an attempt that fails before is like any other; after it the exchange can only go on
 * or break off. Works on both grounds. */
#include "engine/drive_impl.h"

#include "base/json.h"
#include "model/tokens.h"

#include <strings.h>

#define TEXT_MAX_BYTES (16u << 20)
/* Of a text that nobody wants at the end: as much as an estimate of its tokens is made of at once, in which a word that
 * is cut in two may count for one more. With one more piece it seldom takes more than half a KB. */
#define TEXT_WINDOW_BYTES 448
/* What may come before the first text or thought, beside the time for it. */
#define IDLE_EVENTS_MAX 1000
#define SAID_EVENTS 4 /* the first, in which providers say what they are */
#define IDLE_BYTES_MAX ((size_t)1 << 20)
/* After the event that ends a stream its call has so long to end too, so that its connection can be used
 * again. */
#define END_GRACE_NS (100 * NP_NS_PER_MS)
/* A rate is measured over this much at least; else it is taken to be so many a second. */
#define RATE_LEAST_NS (500 * NP_NS_PER_MS)
#define UNKNOWN_RATE 100

/* ------------------------------------------------------------------------------- birth and end */

enum np_err np_flow_make(struct np_exchange *x, unsigned leg)
{
    struct np_flow *f = np_arena_alloc(x->arena, sizeof *f);
    if (!f)
        return NP_E_NOMEM;
    np_sse_init(&f->sse);
    f->frame = (struct np_stream_frame){NULL, 0, 0, 0};
    np_buf_init(&f->text, TEXT_MAX_BYTES);
    np_drive_of(x)->leg[leg].flow = f;
    return NP_OK;
}

enum np_err np_flow_begin(struct np_drive_env *env, struct np_exchange *x,
                          const struct np_attempt *a, bool hidden)
{
    struct np_flow *f = np_drive_flow(x, a);
    struct np_flow kept = *f;
    np_sse_reset(&kept.sse);
    np_buf_reset(&kept.text);
    np_stream_frame_drop(&kept.frame);
    *f = (struct np_flow){.sse = kept.sse,
                          .text = kept.text,
                          .finish = NP_FINISH_stop,
                          .keep = env->keep_texts ||
                                  np_script_has(np_drive_script(env, x), NP_HOOK_respond),
                          .hidden = hidden};
    np_stream_usage_init(&f->usage);
    f->form = np_adapter_stream(np_drive_script(env, x), a->model->provider->adapter);
    return f->form ? NP_OK : NP_E_NOMEM;
}

void np_drive_free(struct np_exchange *x)
{
    for (unsigned leg = 0; x->drive && leg < NP_LEGS; leg++) {
        struct np_flow *f = np_drive_of(x)->leg[leg].flow;
        if (!f)
            continue;
        np_sse_free(&f->sse);
        np_stream_frame_drop(&f->frame);
        np_buf_free(&f->text);
    }
}

/* ------------------------------------------------------------------------------------- reading */

/* "text/event-stream; charset=utf-8" */
static bool is_event_stream(struct np_span type)
{
    static const char name[] = "text/event-stream";
    size_t n = sizeof name - 1;
    return type.n >= n && strncasecmp(type.p, name, n) == 0 &&
           (type.n == n || type.p[n] == ';' || type.p[n] == ' ' || type.p[n] == '\t');
}

bool np_drive_head(struct np_exchange *x, unsigned leg, unsigned status,
                   struct np_span content_type)
{
    struct np_flow *f = np_drive_of(x)->leg[leg].flow;
    if (f)
        f->open = status == 200 && is_event_stream(content_type);
    return f && f->open;
}

static void fail(struct np_flow *f, enum np_class class, struct np_span words)
{
    f->failed = true;
    f->fault = class;
    f->error = words;
}

/* An error in the stream means what the adapter says of it, and is never good. */
static void take_error(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *on,
                       struct np_span data)
{
    struct np_flow *f = np_drive_flow(x, on);
    struct np_wire_reply reply = {
        .status = 200, .content_type = NP_SPAN("application/json"), .body = data};
    fail(f, NP_CLASS_bad_reply, NP_SPAN("the stream says that it failed"));
    struct np_answer a;
    if (np_adapter_answer(np_drive_script(env, x), x, on->model, &reply, &a) ||
        a.class == NP_CLASS_ok)
        return;
    f->fault = a.class;
    if (a.error.n > 0)
        f->error = a.error;
}

static void take_text(struct np_buf *delta, struct np_flow *f, struct np_span string)
{
    enum np_err err = np_buf_span(delta, np_json_inner(string));
    size_t before = f->text.n;
    if (!err)
        err = np_json_put_text(&f->text, string);
    f->text_bytes += f->text.n - before;
    if (!f->keep && f->text.n > TEXT_WINDOW_BYTES) {
        f->text_tokens += np_tokens_estimate(np_buf_view(&f->text), false);
        np_buf_reset(&f->text);
    }
    if (err)
        fail(f, NP_CLASS_bad_reply,
             err == NP_E_FULL ? NP_SPAN("the answer is larger than allowed")
                              : NP_SPAN("no memory for the answer"));
}

/* Whether the string is there and not empty. */
static bool says_something(struct np_span string)
{
    return string.p && np_json_inner(string).n > 0;
}

struct reading {
    struct np_drive_env *env;
    struct np_exchange *x;
    const struct np_attempt *a;
    struct np_flow *flow; /* the attempt's */
};

static void take_said(const struct reading *r, struct np_flow *f, const struct np_stream_event *e,
                      struct np_span data)
{
    if (r->x->trace.sampled && f->events++ < SAID_EVENTS && f->said.model.n == 0 && e->read)
        (void)np_identity_read(data, r->x->arena, &f->said);
}

struct parts {
    const struct reading *r;
    struct np_flow *flow;
    bool text, thought; /* there was some */
};

static void take_part(void *ctx, struct np_span string, bool thought)
{
    struct parts *p = ctx;
    if (!says_something(string))
        return;
    if (thought) {
        p->flow->thought_tokens += np_tokens_estimate(np_json_inner(string), true);
        p->thought = true;
    } else {
        take_text(p->r->env->delta, p->flow, string);
        p->text = true;
    }
}

static void take_event(const struct reading *r, struct np_flow *f, struct np_stream_event *e,
                       struct np_span data)
{
    np_stream_sort(f->form, &f->others, e);
    np_stream_frame_keep(&f->frame, data, e);
    np_stream_usage_take(&f->usage, e);
    take_said(r, f, e, data);
    if (e->failed) {
        take_error(r->env, r->x, r->a, data);
        return;
    }
    bool text = says_something(e->at[NP_STREAM_text]);
    bool thought = says_something(e->at[NP_STREAM_thought]);
    if (e->at[NP_STREAM_finish].p) {
        f->finish = np_stream_finish(f->form, e->at[NP_STREAM_finish]);
        f->finished = true;
    }
    if (text)
        take_text(r->env->delta, f, e->at[NP_STREAM_text]);
    if (thought)
        f->thought_tokens += np_tokens_estimate(np_json_inner(e->at[NP_STREAM_thought]), true);
    if (e->parts.p) {
        struct parts parts = {r, f, text, thought};
        np_stream_parts(e->parts, false, take_part, &parts);
        text = parts.text;
        thought = parts.thought;
    }
    f->alive = f->alive || text || thought;
    f->ended = f->ended || e->ends;
    if (!text && !thought && f->text_bytes == 0) {
        f->idle_events++;
        f->idle_bytes += data.n;
        if (f->idle_events > IDLE_EVENTS_MAX || f->idle_bytes > IDLE_BYTES_MAX)
            fail(f, NP_CLASS_bad_reply, NP_SPAN("the stream brings no answer"));
    }
}

/* Reads an event that is no JSON by itself, but may be with what came before or comes after it. */
static enum np_err read_joined(struct np_flow *f, struct np_span name, struct np_span *data,
                               struct np_buf *whole, struct np_stream_event *e)
{
    bool joined = false;
    enum np_err err = np_stream_join(*data, &f->half, whole, &joined);
    if (err)
        return err;
    *data = np_buf_view(whole);
    return np_stream_read(f->form, name, *data, e);
}

static bool on_event(void *ctx, struct np_span name, struct np_span data)
{
    const struct reading *r = ctx;
    struct np_flow *f = r->flow;
    struct np_stream_event e;
    struct np_buf whole;
    np_buf_init(&whole, NP_SSE_LINE_MAX + 6);
    enum np_err err = NP_OK;
    if (!np_stream_frame_read(&f->frame, name, data, &e))
        err = np_stream_read(f->form, name, data, &e);
    if (err)
        err = read_joined(f, name, &data, &whole, &e);
    else if (says_something(e.at[NP_STREAM_text]))
        f->half = 0; /* the other half did not come: it is left out */
    if (err)
        fail(f, NP_CLASS_bad_reply,
             err == NP_E_NOMEM ? NP_SPAN("no memory for the stream")
                               : NP_SPAN("an event of the stream is not JSON"));
    else
        take_event(r, f, &e, data);
    np_buf_free(&whole);
    return !f->ended && !f->failed;
}

/* ------------------------------------------------------------------------------------ emitting */

static void emit(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                 struct np_flow *f, struct np_now now)
{
    struct np_buf *delta = env->delta;
    if (delta->n == 0)
        return;
    if (f->first_ns == 0) {
        f->first_ns = now.mono_ns;
        np_hedge_won(env, x, a, now);
    }
    if (!x->client_gone) {
        if (!x->emitted)
            x->first_text_ns = now.mono_ns;
        x->emitted = a->emitted = true;
        a->deltas++;
        env->ground->emit(env->ground->ctx, x, a->hedge, np_buf_view(delta));
    }
    np_buf_reset(delta);
}

/* Has a stream's memory come while the first of it is looked at: with thousands of them none of it is in a
 * cache. */
static void fetch(const struct np_flow *f)
{
    const char *at = (const char *)f;
    for (size_t i = 0; i < sizeof *f; i += 64)
        __builtin_prefetch(at + i);
}

/* The call ends here: the rest of what it would bring is not wanted. */
static void cut_short(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                      struct np_now now)
{
    struct np_call_end end = {.how = NP_CALL_BAD_FRAMING, .status = 200, .request_sent = true};
    struct np_answer answer;
    (void)env->ground->abort(env->ground->ctx, x, a->hedge);
    np_flow_answer(x, a, &end, now, &answer);
    np_drive_end_attempt(env, x, a, &end, &answer, now);
}

void np_drive_data(struct np_drive_env *env, struct np_exchange *x, unsigned leg,
                   struct np_span bytes, struct np_now now)
{
    struct np_flow *f = np_drive_of(x)->leg[leg].flow;
    struct np_attempt *a = np_drive_of(x)->leg[leg].attempt;
    np_require(np_drive_of(x)->state == NP_DRIVE_CALLING && a && f);
    fetch(f);
    __builtin_prefetch(&a->deltas);
    np_require(f->open && !f->failed);
    if (f->ended)
        return;
    bool alive = f->alive;
    struct reading r = {env, x, a, f};
    np_buf_reset(env->delta);
    enum np_err err = np_sse_feed(&f->sse, bytes, on_event, &r);
    if (err)
        fail(f, NP_CLASS_bad_reply,
             err == NP_E_FULL ? NP_SPAN("an event of the stream is larger than 1 MB")
                              : NP_SPAN("no memory for the stream"));
    emit(env, x, a, f, now);
    if ((f->alive && !alive) || f->ended)
        np_hedge_disarm(env, x);
    if (f->failed) {
        cut_short(env, x, a, now);
    } else if (f->ended) {
        uint64_t due = now.mono_ns + END_GRACE_NS;
        env->ground->flows(env->ground->ctx, x, leg, due < x->deadline_ns ? due : x->deadline_ns);
    } else if (f->alive && !alive) {
        /* No other candidate has to find time after it any more. */
        env->ground->flows(env->ground->ctx, x, leg,
                           np_drive_limit_ns(x, &x->plan[a->candidate], a->start_ns));
    }
}

/* -------------------------------------------------------------------------------------- the end */

/* Whether the provider has said all: that it is whole, or why it ends, where the call then ended well. */
static bool is_whole(const struct np_flow *f, const struct np_call_end *end)
{
    return !f->failed && (f->ended || (f->finished && end->how == NP_CALL_COMPLETE));
}

/* An answer that may be empty: what was asked for ended before its first word. */
static bool may_be_empty(enum np_finish finish)
{
    return finish != NP_FINISH_stop;
}

static void answer_of_broken(const struct np_flow *f, struct np_exchange *x,
                             const struct np_call_end *end, struct np_now now,
                             struct np_answer *out)
{
    if (f->failed) {
        *out = (struct np_answer){.class = f->fault,
                                  .error = f->error,
                                  .retry_after_ms = -1,
                                  .limit_tokens = -1,
                                  .prompt_seen = -1};
    } else {
        np_drive_failure(x, end, now, out);
        if (end->how == NP_CALL_COMPLETE) {
            out->class = NP_CLASS_bad_reply;
            out->error = NP_SPAN("the stream ended before it was whole");
        } else if (out->class == NP_CLASS_network) {
            out->class = NP_CLASS_bad_reply;
        }
    }
    if (x->emitted && out->class != NP_CLASS_deadline)
        out->class = NP_CLASS_cut;
}

void np_flow_answer(struct np_exchange *x, const struct np_attempt *a,
                    const struct np_call_end *end, struct np_now now, struct np_answer *out)
{
    const struct np_flow *f = np_drive_flow(x, a);
    if (!is_whole(f, end)) {
        answer_of_broken(f, x, end, now, out);
    } else {
        *out = (struct np_answer){.class = NP_CLASS_ok,
                                  .finish = f->finish,
                                  .retry_after_ms = -1,
                                  .limit_tokens = -1,
                                  .prompt_seen = -1};
        if (f->text_bytes == 0 && !may_be_empty(f->finish)) {
            out->class = NP_CLASS_bad_reply;
            out->error = NP_SPAN("the reply holds no message, or an empty one");
        }
    }
    if (out->class == NP_CLASS_ok)
        out->said = f->said;
    out->text = f->keep && f->text.n > 0 ? np_buf_view(&f->text) : NP_SPAN("");
    /* What is counted while it flows is not the last word. */
    bool possible = true;
    out->usage_reported = (f->finished || f->ended) &&
                          np_stream_usage_sum(f->form, &f->usage, &out->usage, &possible);
    out->usage_flagged = out->usage_reported && !possible;
}

/* Tokens that the provider makes in a second. */
static int64_t rate(const struct np_flow *f, int64_t tokens, struct np_now now)
{
    uint64_t flowing_ns = f->first_ns && now.mono_ns > f->first_ns ? now.mono_ns - f->first_ns : 0;
    if (flowing_ns >= RATE_LEAST_NS)
        return tokens * (int64_t)NP_NS_PER_S / (int64_t)flowing_ns + 1;
    return UNKNOWN_RATE;
}

struct np_usage np_flow_estimate(const struct np_exchange *x, const struct np_attempt *a,
                                 struct np_now now)
{
    const struct np_flow *f = np_drive_flow(x, a);
    const struct np_candidate *c = &x->plan[a->candidate];
    int64_t tokens =
        f->text_tokens + np_tokens_estimate(np_buf_view(&f->text), false) + f->thought_tokens;
    struct np_usage u;
    if (!np_stream_usage_prompt(f->form, &f->usage, &u))
        u = (struct np_usage){.prompt = c->prompt_tokens};
    /* What was sent whole needs no further second. */
    if (!f->finished && !f->ended)
        tokens = f->hidden ? c->completion_max : tokens + rate(f, tokens, now);
    if (!f->usage.flagged && f->usage.completion > tokens)
        tokens = f->usage.completion;
    u.completion = tokens < c->completion_max ? tokens : c->completion_max;
    return u;
}
