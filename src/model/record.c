/* Texts made of a finished exchange. Nothing here decides; what is empty is left out of the decision
 * record, and never out of a reply. */
#include "model/record.h"

#include "base/clock.h"
#include "base/json.h"

/* These see the key when they are part of their caller. */
#define PART __attribute__((always_inline)) static inline void

PART put_span_unless_empty(struct np_json_w *w, const char *key, struct np_span s)
{
    if (s.n > 0)
        np_json_w_str(w, key, s);
}

static uint64_t passed(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

static int64_t passed_ms(uint64_t from_ns, uint64_t to_ns)
{
    return (int64_t)(passed(from_ns, to_ns) / NP_NS_PER_MS);
}

/* The ids of context that was left out, in the request's order. */
static void put_dropped(struct np_json_w *w, const struct np_request *r)
{
    np_json_w_begin_key(w, "dropped", '[');
    for (size_t i = 0; i < r->n_context; i++)
        if (!r->context[i].kept)
            np_json_w_raw(w, NULL, r->context[i].id);
    np_json_w_end(w, ']');
}

static bool any_dropped(const struct np_request *r)
{
    for (size_t i = 0; i < r->n_context; i++)
        if (!r->context[i].kept)
            return true;
    return false;
}

/* What the attempt that answered used, a broken stream's too; nothing for a degraded reply. */
static struct np_usage answering_usage(const struct np_exchange *x)
{
    for (size_t i = x->n_attempts; i > 0 && !x->outcome.degraded; i--) {
        const struct np_attempt *a = &x->attempts[i - 1];
        if (x->outcome.broken ? a->emitted : a->class == NP_CLASS_ok && a->ended)
            return a->usage;
    }
    return (struct np_usage){0};
}

static void put_reply(struct np_buf *b, const struct np_exchange *x, bool with_text)
{
    const struct np_model *m = x->answered_by;
    struct np_usage usage = answering_usage(x);
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "requestId", x->id);
    if (with_text)
        np_json_w_str(&w, "text", x->outcome.text);
    np_json_w_cstr(&w, "model", m ? m->name : NULL);
    np_json_w_cstr(&w, "provider", m ? m->provider->name : NULL);
    np_json_w_cstr(&w, "finishReason", np_finish_name(x->outcome.finish));
    np_json_w_begin_key(&w, "usage", '{');
    np_json_w_i64(&w, "promptTokens", usage.prompt);
    np_json_w_i64(&w, "completionTokens", usage.completion);
    np_json_w_i64(&w, "cachedTokens", usage.cached);
    np_json_w_nano(&w, "costUsd", x->cost_nusd);
    np_json_w_end(&w, '}');
    np_json_w_bool(&w, "degraded", x->outcome.degraded);
    if (x->outcome.degraded)
        np_json_w_cstr(&w, "reason", np_reason_name(x->outcome.reason));
    np_json_w_i64(&w, "attempts", (int64_t)x->n_attempts);
    np_json_w_i64(&w, "latencyMs", passed_ms(x->accept_ns, x->end_ns));
    np_json_w_cstr(&w, "policy", x->policy);
    put_dropped(&w, &x->request);
    np_json_w_end(&w, '}');
}

void np_record_reply(struct np_buf *b, const struct np_exchange *x)
{
    put_reply(b, x, true);
}

void np_record_stream_end(struct np_buf *b, const struct np_exchange *x)
{
    put_reply(b, x, false);
}

static struct np_span refusal_type(const struct np_refusal *r)
{
    return r->type_text.n > 0 ? r->type_text : np_span_of(np_refusal_name(r->type));
}

void np_record_error(struct np_buf *b, const struct np_refusal *r, const char *request_id)
{
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "error", '{');
    np_json_w_str(&w, "type", refusal_type(r));
    np_json_w_str(&w, "message", r->message);
    if (r->param.n > 0)
        np_json_w_str(&w, "param", r->param);
    else
        np_json_w_null(&w, "param");
    np_json_w_cstr(&w, "requestId", request_id);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
}

static void put_plan(struct np_json_w *w, const struct np_exchange *x)
{
    if (x->n_plan == 0)
        return;
    const struct np_candidate *c = NULL; /* the latest that one was worked out for */
    for (size_t i = x->at < x->n_plan ? x->at + 1 : x->n_plan; i > 0 && !c; i--)
        c = x->plan[i - 1].completion_max > 0 ? &x->plan[i - 1] : NULL;
    if (c) {
        np_json_w_begin_key(w, "estimate", '{');
        np_json_w_i64(w, "promptTokens", c->prompt_tokens);
        np_json_w_i64(w, "maxTokens", c->completion_max);
        np_json_w_nano(w, "costUsd", c->estimated_nusd);
        np_json_w_nano(w, "worstUsd", c->worst_nusd);
        np_json_w_end(w, '}');
    }
    np_json_w_begin_key(w, "plan", '[');
    for (size_t i = 0; i < x->n_plan; i++)
        np_json_w_cstr(w, NULL, x->plan[i].model->name);
    np_json_w_end(w, ']');
}

PART put_count(struct np_json_w *w, const char *key, int64_t n)
{
    if (n > 0)
        np_json_w_i64(w, key, n);
}

/* Attempts that were made before the n-th note. */
static int64_t attempts_before(const struct np_exchange *x, size_t note)
{
    int64_t n = 0;
    for (size_t i = 0; i < x->n_attempts; i++)
        n += x->attempts[i].after_notes <= note;
    return n;
}

/* Where it returned: `line` of the hook's own file, else `at`. Short, as each record has it often. */
static void put_place(struct np_json_w *w, const struct np_hook_note *h)
{
    char place[NP_HOOK_PLACE];
    const char *name = np_hook_name(h->hook);
    size_t n = strlen(name);
    if (h->file && strncmp(h->file, name, n) == 0 && strcmp(h->file + n, ".lua") == 0)
        np_json_w_i64(w, "line", h->line);
    else
        put_span_unless_empty(w, "at", np_hook_note_place(h, place));
}

static void put_hooks(struct np_json_w *w, const struct np_exchange *x)
{
    if (x->n_notes == 0)
        return;
    np_json_w_begin_key(w, "hooks", '[');
    for (size_t i = 0; i < x->n_notes; i++) {
        const struct np_hook_note *h = &x->notes[i];
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "name", np_hook_name(h->hook));
        np_json_w_i64(w, "us", h->us);
        if (h->steps > 0)
            np_json_w_i64(w, "steps", h->steps);
        put_place(w, h);
        put_span_unless_empty(w, "returned", h->returned);
        put_span_unless_empty(w, "why", h->why);
        put_span_unless_empty(w, "error", h->error);
        put_count(w, "attempts", attempts_before(x, i));
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    put_count(w, "hooksLeftOut", x->notes_lost);
}

static void put_tokens(struct np_json_w *w, const struct np_usage *u)
{
    if (u->prompt == 0 && u->completion == 0)
        return;
    np_json_w_begin_key(w, "tokens", '{');
    np_json_w_i64(w, "prompt", u->prompt);
    np_json_w_i64(w, "completion", u->completion);
    put_count(w, "cached", u->cached);
    put_count(w, "cacheWrite", u->cache_write);
    put_count(w, "cacheWrite1h", u->cache_write_1h);
    put_count(w, "reasoning", u->reasoning);
    np_json_w_end(w, '}');
}

static void put_attempt(struct np_json_w *w, const struct np_exchange *x,
                        const struct np_attempt *a)
{
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "provider", a->model->provider->name);
    np_json_w_cstr(w, "model", a->model->name);
    if (a->key && a->model->provider->n_keys > 1)
        np_json_w_cstr(w, "key", a->key->label);
    np_json_w_i64(w, "atMs", passed_ms(x->accept_ns, a->start_ns));
    np_json_w_cstr(w, "class", np_class_name(a->class));
    put_count(w, "status", a->status);
    put_span_unless_empty(w, "error", a->error);
    if (a->class != NP_CLASS_ok)
        put_span_unless_empty(w, "providerRequestId", a->provider_request_id);
    put_count(w, "retryAfterMs", a->retry_after_ms);
    if (a->probe)
        np_json_w_bool(w, "probe", true);
    if (a->hedge)
        np_json_w_bool(w, "hedge", true);
    if (a->lost)
        np_json_w_bool(w, "lost", true);
    if (a->first_byte_ns > 0)
        np_json_w_i64(w, "ttftMs", passed_ms(a->start_ns, a->first_byte_ns));
    put_count(w, "deltas", a->deltas);
    np_json_w_i64(w, "latencyMs", passed_ms(a->start_ns, a->end_ns));
    put_tokens(w, &a->usage);
    if (a->usage_flagged)
        np_json_w_bool(w, "usageImpossible", true);
    if (a->reservation.amount_nusd > 0)
        np_json_w_nano(w, "reservedUsd", a->reservation.amount_nusd);
    np_json_w_nano(w, "costUsd", a->cost_nusd);
    np_json_w_cstr(w, "settled", np_settled_name(a->settled));
    if (a->retry_in_ms >= 0)
        np_json_w_i64(w, "retryInMs", a->retry_in_ms);
    np_json_w_end(w, '}');
}

static void put_attempts(struct np_json_w *w, const struct np_exchange *x)
{
    np_json_w_begin_key(w, "attempts", '[');
    for (size_t i = 0; i < x->n_attempts; i++)
        put_attempt(w, x, &x->attempts[i]);
    np_json_w_end(w, ']');
    if (x->n_skipped == 0)
        return;
    np_json_w_begin_key(w, "skipped", '[');
    for (size_t i = 0; i < x->n_skipped; i++) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "model", x->skipped[i].model->name);
        np_json_w_cstr(w, "why", np_skip_name(x->skipped[i].why));
        np_json_w_i64(w, "hooks", (int64_t)x->skipped[i].after_notes);
        np_json_w_i64(w, "attempts", (int64_t)x->skipped[i].after_attempts);
        put_span_unless_empty(w, "account", x->skipped[i].account);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

/* Whether a declared budget stands over this exchange, and the name of its account's holder. */
static bool budget_applies(const struct np_budget *g, const struct np_exchange *x,
                           const char **kind, const char **name)
{
    *name = g->name;
    switch (g->kind) {
    case NP_ACCOUNT_GLOBAL:
        *kind = "global";
        return true;
    case NP_ACCOUNT_EACH_TENANT:
        *kind = "tenant";
        *name = x->tenant ? x->tenant->name : "";
        return x->tenant != NULL;
    case NP_ACCOUNT_TENANT:
        *kind = "tenant";
        return x->tenant && strcmp(x->tenant->name, g->name) == 0;
    case NP_ACCOUNT_ENDPOINT:
        *kind = "endpoint";
        return x->endpoint && strcmp(x->endpoint->path, g->name) == 0;
    default:
        break;
    }
    bool model = g->kind == NP_ACCOUNT_MODEL;
    *kind = model ? "model" : "provider";
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct np_model *m = x->attempts[i].model;
        if (strcmp(model ? m->name : m->provider->name, g->name) == 0)
            return true;
    }
    return false;
}

/* "tenant:acme/day" as an item of the list that is being written. */
static void put_account(struct np_json_w *w, const char *kind, const char *name,
                        enum np_window window)
{
    char text[256];
    struct np_span parts[] = {np_span_of(kind), np_span_of(*name ? ":" : ""), np_span_of(name),
                              np_span_of("/"), np_span_of(np_window_name(window))};
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t fits = parts[i].n < sizeof text - n ? parts[i].n : sizeof text - n;
        memcpy(text + n, parts[i].p, fits);
        n += fits;
    }
    np_json_w_str(w, NULL, np_span_make(text, n));
}

static void put_budget(struct np_json_w *w, const struct np_exchange *x)
{
    if (x->n_attempts == 0)
        return;
    np_json_w_begin_key(w, "budget", '{');
    np_json_w_begin_key(w, "accounts", '[');
    for (size_t i = 0; x->catalog && i < x->catalog->n_budgets; i++) {
        const char *kind, *name;
        if (budget_applies(&x->catalog->budgets[i], x, &kind, &name))
            put_account(w, kind, name, x->catalog->budgets[i].window);
    }
    np_json_w_end(w, ']');
    np_json_w_nano(w, "reserved", x->reserved_max_nusd);
    np_json_w_nano(w, "settled", x->cost_nusd);
    np_json_w_end(w, '}');
}

/* A body as a member: as JSON on one line when it was understood, else as text. */
static void put_bodies(struct np_json_w *w, const struct np_exchange *x)
{
    if (x->request.messages && x->body.n > 0) {
        np_json_w_raw(w, "request", NP_SPAN(" "));
        /* Line ends stand between tokens only: in strings they are escaped. */
        struct np_span rest = x->body;
        while (rest.n > 0) {
            size_t n = 0;
            while (n < rest.n && rest.p[n] != '\n' && rest.p[n] != '\r')
                n++;
            np_buf_put(w->b, rest.p, n);
            n += n < rest.n;
            rest = np_span_make(rest.p + n, rest.n - n);
        }
    } else {
        np_json_w_str(w, "request", x->body);
    }
    if (!x->outcome.refused)
        np_json_w_str(w, "reply", x->outcome.text);
}

/* Words of neap's own. What is said of an invalid request quotes it, and hooks may quote it too. */
static void put_message(struct np_json_w *w, const struct np_refusal *r)
{
    put_span_unless_empty(w, "param", r->place.p ? r->place : r->param);
    if (r->type != NP_REFUSAL_invalid_request && r->type_text.n == 0)
        put_span_unless_empty(w, "message", r->message);
}

struct np_span np_record_outcome(const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    if (x->client_gone)
        return NP_SPAN("cancelled");
    if (o->refused || o->broken)
        return refusal_type(&o->refusal);
    return o->degraded ? NP_SPAN("degraded") : NP_SPAN("ok");
}

static void put_outcome(struct np_json_w *w, const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    np_json_w_str(w, "outcome", np_record_outcome(x));
    if (o->degraded)
        np_json_w_cstr(w, "reason", np_reason_name(o->reason));
    put_count(w, "status", o->status);
    if (o->refused || o->broken)
        put_message(w, &o->refusal);
    put_count(w, "retryAfterS", o->retry_after_s);
    if (!o->refused && !o->degraded && !o->broken && o->finish != NP_FINISH_stop)
        np_json_w_cstr(w, "finishReason", np_finish_name(o->finish));
    np_json_w_nano(w, "costUsd", x->cost_nusd);
    if (x->hedge)
        np_json_w_cstr(w, "hedge", np_hedge_name(x->hedge));
    if (x->request.stream)
        np_json_w_bool(w, "stream", true);
    if (o->broken)
        np_json_w_bool(w, "brokeOff", true);
    if (x->first_text_ns)
        np_json_w_i64(w, "firstTextMs", passed_ms(x->accept_ns, x->first_text_ns));
    np_json_w_i64(w, "latencyMs", passed_ms(x->accept_ns, x->end_ns));
    uint64_t all_ns = passed(x->accept_ns, x->end_ns);
    np_json_w_i64(w, "overheadUs", (int64_t)(passed(x->upstream_ns, all_ns) / 1000));
}

void np_record_decision(struct np_buf *b, const struct np_exchange *x, bool bodies)
{
    char at[32];
    np_clock_format_utc(x->at_wall_ms, at, sizeof at);
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "requestId", x->id);
    np_json_w_cstr(&w, "at", at);
    if (x->endpoint)
        np_json_w_cstr(&w, "endpoint", x->endpoint->path);
    if (x->tenant)
        np_json_w_cstr(&w, "tenant", x->tenant->name);
    if (x->policy)
        np_json_w_cstr(&w, "policy", x->policy);
    put_plan(&w, x);
    put_hooks(&w, x);
    put_attempts(&w, x);
    put_budget(&w, x);
    if (any_dropped(&x->request))
        put_dropped(&w, &x->request);
    put_outcome(&w, x);
    if (bodies)
        put_bodies(&w, x);
    np_json_w_end(&w, '}');
    np_buf_char(b, '\n');
}

void np_record_refusal(struct np_buf *b, const struct np_refusal *r, const char *request_id,
                       int64_t at_wall_ms, const char *endpoint, uint64_t took_ns)
{
    char at[32];
    np_clock_format_utc(at_wall_ms, at, sizeof at);
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "requestId", request_id);
    np_json_w_cstr(&w, "at", at);
    if (endpoint)
        np_json_w_cstr(&w, "endpoint", endpoint);
    if (r->tenant)
        np_json_w_cstr(&w, "tenant", r->tenant);
    np_json_w_begin_key(&w, "attempts", '[');
    np_json_w_end(&w, ']');
    np_json_w_str(&w, "outcome", refusal_type(r));
    np_json_w_i64(&w, "status", r->status);
    put_message(&w, r);
    np_json_w_nano(&w, "costUsd", 0);
    np_json_w_i64(&w, "latencyMs", (int64_t)(took_ns / NP_NS_PER_MS));
    np_json_w_i64(&w, "overheadUs", (int64_t)(took_ns / 1000));
    np_json_w_end(&w, '}');
    np_buf_char(b, '\n');
}
