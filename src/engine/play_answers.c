/* The providers of a play: scripted answers, in the dialect of whoever is asked. */
#include "engine/play_impl.h"

#include "model/tokens.h"

#include <stdio.h>

#define DEFAULT_AFTER_MS 300
#define MAX_AFTER_MS INT64_C(86400000)
#define MAX_ANSWERS 10000
#define MAX_GUESSES 192

/* What makes an attempt end in a class: status, and the words that adapters know it by. */
struct failure {
    unsigned openai_status, anthropic_status;
    const char *openai_code, *anthropic_type, *message;
};

static const struct failure failures[NP_CLASS_COUNT] = {
    [NP_CLASS_rate_limited] = {429, 429, "rate_limit_exceeded", "rate_limit_error", "slow down"},
    [NP_CLASS_quota] = {429, 402, "insufficient_quota", "billing_error", "the quota is used up"},
    [NP_CLASS_overloaded] = {503, 529, "overloaded", "overloaded_error", "overloaded"},
    [NP_CLASS_server_error] = {500, 500, "server_error", "api_error", "it went wrong"},
    [NP_CLASS_credential] = {401, 401, "invalid_api_key", "authentication_error", "no such key"},
    [NP_CLASS_model_gone] = {404, 404, "model_not_found", "not_found_error", "no such model"},
    [NP_CLASS_too_long] = {400, 400, "context_length_exceeded", "invalid_request_error",
                           "prompt is too long"},
    [NP_CLASS_filtered] = {400, 400, "content_filter", "invalid_request_error",
                           "blocked by content filtering policy"},
    [NP_CLASS_rejected] = {400, 400, "invalid_value", "invalid_request_error", "a bad request"},
};

/* --- reading ----------------------------------------------------------------------------------------- */

static enum np_err read_class(struct np_play *p, struct np_span value, enum np_class *out)
{
    const char *names[NP_CLASS_COUNT];
    struct np_span name;
    size_t n = 0;
    enum np_err err = np_play_text(p, "an answer's error", value, &name);
    if (err)
        return err;
    for (int c = 0; c < NP_CLASS_COUNT; c++) {
        bool scripted = failures[c].openai_status > 0 || c == NP_CLASS_network ||
                        c == NP_CLASS_timeout || c == NP_CLASS_bad_reply || c == NP_CLASS_cut;
        if (!scripted)
            continue;
        names[n++] = np_class_name((enum np_class)c);
        if (np_span_is(name, names[n - 1])) {
            *out = (enum np_class)c;
            return NP_OK;
        }
    }
    return np_play_unknown(p, "error of providers", name, names, n);
}

static enum np_err read_status(struct np_play *p, struct np_span value, unsigned *out)
{
    int64_t n;
    enum np_err err = np_play_whole(p, "an answer's status", value, &n);
    if (err)
        return err;
    if (n < 200 || n > 599)
        return np_play_fault(p, "an answer's status is from 200 to 599, got %lld", (long long)n);
    *out = (unsigned)n;
    return NP_OK;
}

static enum np_err read_usage(struct np_play *p, struct np_span value, struct np_play_answer *a)
{
    static const char *const names[] = {"prompt", "completion", "cached"};
    int64_t *const parts[] = {&a->prompt, &a->completion, &a->cached};
    struct np_span key, item, name;
    if (np_json_kind(value) != NP_JSON_OBJECT)
        return np_play_fault(p, "an answer's usage is {prompt=, completion=, cached=}");
    for (struct np_json_walk w = np_json_walk(value); np_json_member(&w, &key, &item);) {
        size_t i = 0;
        enum np_err err = np_play_name(p, key, &name);
        while (!err && i < 3 && !np_span_is(name, names[i]))
            i++;
        if (!err && i == 3)
            err = np_play_unknown(p, "field of usage", name, names, 3);
        if (!err)
            err = np_play_whole(p, "usage", item, parts[i]);
        if (err)
            return err;
    }
    return NP_OK;
}

/* Seconds, or the header's own text. */
static enum np_err read_retry_after(struct np_play *p, struct np_span value, struct np_span *out)
{
    if (np_json_kind(value) != NP_JSON_NUMBER)
        return np_play_text(p, "an answer's retry_after", value, out);
    *out = np_arena_dup(p->arena, value);
    return out->p ? NP_OK : NP_E_NOMEM;
}

static enum np_err read_after(struct np_play *p, struct np_span value, int64_t *out)
{
    enum np_err err = np_play_whole(p, "an answer's after_ms", value, out);
    if (!err && *out > MAX_AFTER_MS)
        err = np_play_fault(p, "an answer's after_ms is more than a day");
    return err;
}

static enum np_err read_field(struct np_play *p, struct np_span name, struct np_span value,
                              struct np_play_answer *a)
{
    static const char *const names[] = {"text",  "after_ms", "status", "retry_after",
                                        "error", "usage",    "finish"};
    if (np_span_is(name, "text"))
        return np_play_text(p, "an answer's text", value, &a->text);
    if (np_span_is(name, "after_ms"))
        return read_after(p, value, &a->after_ms);
    if (np_span_is(name, "status"))
        return read_status(p, value, &a->status);
    if (np_span_is(name, "retry_after"))
        return read_retry_after(p, value, &a->retry_after);
    if (np_span_is(name, "error"))
        return read_class(p, value, &a->class);
    if (np_span_is(name, "usage"))
        return read_usage(p, value, a);
    if (np_span_is(name, "finish"))
        return np_play_text(p, "an answer's finish", value, &a->finish);
    return np_play_unknown(p, "field of answers", name, names, sizeof names / sizeof *names);
}

static enum np_err read_answer(struct np_play *p, struct np_span value, struct np_play_answer *a)
{
    struct np_span key, item, name;
    *a = (struct np_play_answer){
        .after_ms = -1, .prompt = -1, .completion = -1, .cached = -1, .class = NP_CLASS_ok};
    switch (np_json_kind(value)) {
    case NP_JSON_NUMBER:
        return read_status(p, value, &a->status);
    case NP_JSON_STRING:
        return np_play_text(p, "an answer", value, &a->text);
    case NP_JSON_OBJECT:
        break;
    default:
        return np_play_fault(p, "an answer is a status, a text or a table, not %s",
                             np_json_kind_name(np_json_kind(value)));
    }
    for (struct np_json_walk w = np_json_walk(value); np_json_member(&w, &key, &item);) {
        enum np_err err = np_play_name(p, key, &name);
        if (!err)
            err = read_field(p, name, item, a);
        if (err)
            return err;
    }
    return NP_OK;
}

static enum np_err read_answers(struct np_play *p, struct np_span value, struct np_play_script *s)
{
    struct np_span item;
    bool list = np_json_kind(value) == NP_JSON_ARRAY;
    size_t n = list ? 0 : 1;
    if (list) {
        for (struct np_json_walk w = np_json_walk(value); np_json_item(&w, &item);)
            n++;
    }
    if (n == 0)
        return NP_OK;
    if (n > MAX_ANSWERS)
        return np_play_fault(p, "more than %d answers of one provider", MAX_ANSWERS);
    s->answers = np_arena_array(p->arena, n, sizeof *s->answers);
    if (!s->answers)
        return NP_E_NOMEM;
    if (!list) {
        s->n = 1;
        return read_answer(p, value, &s->answers[0]);
    }
    for (struct np_json_walk w = np_json_walk(value); np_json_item(&w, &item);) {
        enum np_err err = read_answer(p, item, &s->answers[s->n++]);
        if (err)
            return err;
    }
    return NP_OK;
}

/* Providers and models of the catalogue, for the guess; true when one is called so. */
static bool is_asked(const struct np_catalog *c, struct np_span name, const char **names, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < c->n_providers && *n < MAX_GUESSES; i++)
        names[(*n)++] = c->providers[i].name;
    for (size_t i = 0; i < c->n_models && *n < MAX_GUESSES; i++)
        names[(*n)++] = c->models[i].name;
    for (size_t i = 0; i < *n; i++) {
        if (np_span_is(name, names[i]))
            return true;
    }
    return np_catalog_model(c, name) != NULL;
}

enum np_err np_play_read_providers(struct np_play *p, struct np_span providers)
{
    struct np_span key, value;
    size_t n = 0;
    for (struct np_json_walk w = np_json_walk(providers); np_json_member(&w, &key, &value);)
        n++;
    p->scripts = np_arena_array(p->arena, n ? n : 1, sizeof *p->scripts);
    if (!p->scripts)
        return NP_E_NOMEM;
    for (struct np_json_walk w = np_json_walk(providers); np_json_member(&w, &key, &value);) {
        const char *names[MAX_GUESSES];
        size_t n_names;
        struct np_play_script *s = &p->scripts[p->n_scripts];
        enum np_err err = np_play_name(p, key, &s->name);
        if (!err && !is_asked(p->catalog, s->name, names, &n_names))
            err = np_play_unknown(p, "provider or model", s->name, names, n_names);
        if (!err)
            err = read_answers(p, value, s);
        if (err)
            return err;
        p->n_scripts++;
    }
    return NP_OK;
}

/* --- answering --------------------------------------------------------------------------------------- */

/* The answers of the model where it has some, else those of its provider. */
static struct np_play_script *script_of(struct np_play *p, const struct np_model *m)
{
    struct np_play_script *found = NULL;
    for (size_t i = 0; i < p->n_scripts; i++) {
        if (p->scripts[i].n > 0 && np_span_is(p->scripts[i].name, m->name))
            return &p->scripts[i];
        if (p->scripts[i].n > 0 && np_span_is(p->scripts[i].name, m->provider->name))
            found = &p->scripts[i];
    }
    return found;
}

static struct np_play_answer next_answer(struct np_play *p, const struct np_model *m)
{
    struct np_play_script *s = script_of(p, m);
    if (s) {
        size_t at = s->calls < s->n ? s->calls : s->n - 1;
        s->calls++;
        return s->answers[at];
    }
    return (struct np_play_answer){
        .after_ms = -1, .prompt = -1, .completion = -1, .cached = -1, .class = NP_CLASS_ok};
}

struct tokens {
    int64_t prompt, completion, cached;
    bool cut;
};

/* What is not given is counted: the prompt as estimated, the text up to what was allowed. */
static struct tokens count(const struct np_exchange *x, const struct np_play_answer *a,
                           struct np_span text)
{
    const struct np_candidate *c = &x->plan[x->at];
    int64_t completion = np_tokens_estimate(text, false);
    struct tokens t = {.prompt = a->prompt, .completion = a->completion, .cached = a->cached};
    t.cut = t.completion < 0 && completion > c->completion_max;
    t.prompt = t.prompt < 0 ? c->prompt_tokens : t.prompt;
    t.completion = t.completion >= 0 ? t.completion : t.cut ? c->completion_max : completion;
    t.cached = t.cached < 0 ? 0 : t.cached;
    return t;
}

static void write_openai(struct np_json_w *w, const struct np_model *m, struct np_span text,
                         struct np_span finish, const struct tokens *t)
{
    np_json_w_cstr(w, "id", "chatcmpl-play");
    np_json_w_cstr(w, "object", "chat.completion");
    np_json_w_cstr(w, "model", m->id);
    np_json_w_begin_key(w, "choices", '[');
    np_json_w_begin(w, '{');
    np_json_w_i64(w, "index", 0);
    np_json_w_begin_key(w, "message", '{');
    np_json_w_cstr(w, "role", "assistant");
    np_json_w_str(w, "content", text);
    np_json_w_end(w, '}');
    np_json_w_str(w, "finish_reason",
                  finish.n ? finish
                  : t->cut ? NP_SPAN("length")
                           : NP_SPAN("stop"));
    np_json_w_end(w, '}');
    np_json_w_end(w, ']');
    np_json_w_begin_key(w, "usage", '{');
    np_json_w_i64(w, "prompt_tokens", t->prompt);
    np_json_w_i64(w, "completion_tokens", t->completion);
    np_json_w_begin_key(w, "prompt_tokens_details", '{');
    np_json_w_i64(w, "cached_tokens", t->cached);
    np_json_w_end(w, '}');
    np_json_w_end(w, '}');
}

static struct np_span anthropic_finish(struct np_span finish, bool cut)
{
    static const char *const words[][2] = {{"stop", "end_turn"},
                                           {"length", "max_tokens"},
                                           {"tool_calls", "tool_use"},
                                           {"content_filter", "refusal"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (np_span_is(finish, words[i][0]))
            return np_span_of(words[i][1]);
    }
    return finish.n ? finish : cut ? NP_SPAN("max_tokens") : NP_SPAN("end_turn");
}

static void write_anthropic(struct np_json_w *w, const struct np_model *m, struct np_span text,
                            struct np_span finish, const struct tokens *t)
{
    np_json_w_cstr(w, "id", "msg_play");
    np_json_w_cstr(w, "type", "message");
    np_json_w_cstr(w, "role", "assistant");
    np_json_w_cstr(w, "model", m->id);
    np_json_w_begin_key(w, "content", '[');
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "type", "text");
    np_json_w_str(w, "text", text);
    np_json_w_end(w, '}');
    np_json_w_end(w, ']');
    np_json_w_str(w, "stop_reason", anthropic_finish(finish, t->cut));
    np_json_w_begin_key(w, "usage", '{');
    /* Theirs leaves out what came from the cache. */
    np_json_w_i64(w, "input_tokens", t->prompt > t->cached ? t->prompt - t->cached : 0);
    np_json_w_i64(w, "cache_read_input_tokens", t->cached);
    np_json_w_i64(w, "output_tokens", t->completion);
    np_json_w_end(w, '}');
}

static void write_error(struct np_json_w *w, enum np_adapter dialect, const struct failure *f)
{
    bool openai = dialect == NP_ADAPTER_OPENAI;
    if (!openai)
        np_json_w_cstr(w, "type", "error");
    np_json_w_begin_key(w, "error", '{');
    np_json_w_cstr(w, "message", f->message);
    np_json_w_cstr(w, "type", openai ? f->openai_code : f->anthropic_type);
    if (openai)
        np_json_w_cstr(w, "code", f->openai_code);
    np_json_w_end(w, '}');
}

static void answer_error(struct np_play *p, enum np_adapter dialect, const struct np_play_answer *a,
                         struct np_sim_reply *out)
{
    static const struct failure plain = {0, 0, "scripted", "scripted_error",
                                         "scripted by the test"};
    const struct failure *f = a->class == NP_CLASS_ok ? &plain : &failures[a->class];
    struct np_json_w w;
    out->status = a->status                      ? a->status
                  : dialect == NP_ADAPTER_OPENAI ? f->openai_status
                                                 : f->anthropic_status;
    np_json_w_init(&w, &p->body);
    np_json_w_begin(&w, '{');
    write_error(&w, dialect, f);
    np_json_w_end(&w, '}');
}

static void answer_good(struct np_play *p, const struct np_exchange *x, const struct np_model *m,
                        const struct np_play_answer *a)
{
    struct np_span text = a->text.p ? a->text : NP_SPAN("A good answer.");
    struct tokens t = count(x, a, text);
    struct np_json_w w;
    np_json_w_init(&w, &p->body);
    np_json_w_begin(&w, '{');
    if (m->provider->adapter == NP_ADAPTER_OPENAI)
        write_openai(&w, m, text, a->finish, &t);
    else
        write_anthropic(&w, m, text, a->finish, &t);
    np_json_w_end(&w, '}');
}

/* A streamed answer, or one that breaks off in its midst. */
static void answer_stream(struct np_play *p, const struct np_exchange *x, const struct np_model *m,
                          const struct np_play_answer *a, struct np_sim_reply *out)
{
    struct np_span text = a->text.p ? a->text : NP_SPAN("A good answer.");
    struct tokens t = count(x, a, text);
    bool openai = m->provider->adapter == NP_ADAPTER_OPENAI;
    struct np_span plain = a->finish.n ? a->finish : t.cut ? NP_SPAN("length") : NP_SPAN("stop");
    struct np_play_said said = {.text = text,
                                .finish = openai ? plain : anthropic_finish(a->finish, t.cut),
                                .prompt = t.prompt,
                                .completion = t.completion,
                                .cached = t.cached};
    np_play_write_stream(&p->body, m->provider->adapter, &said, a->class == NP_CLASS_cut);
    out->stream = true;
    if (a->class == NP_CLASS_cut)
        out->how = NP_CALL_RESET;
}

/* A reply that takes longer than its provider may is cut as on the live ground; a scripted timeout
 * always is. */
static void take_time(const struct np_provider *provider, const struct np_play_answer *a,
                      struct np_sim_reply *out)
{
    bool timeout = a->class == NP_CLASS_timeout;
    int64_t ms = a->after_ms >= 0 ? a->after_ms : timeout ? MAX_AFTER_MS : DEFAULT_AFTER_MS;
    int64_t first = provider->first_token_timeout_ms;
    bool late = first > 0 && ms > first;
    if (timeout || late)
        *out = (struct np_sim_reply){.how = NP_CALL_FIRST_BYTE_TIMEOUT};
    out->takes_ns = out->first_ns = (uint64_t)(late ? first : ms) * NP_NS_PER_MS;
}

void np_play_on_call(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                     struct np_rng *rng, struct np_sim_reply *out)
{
    struct np_play *p = ctx;
    const struct np_model *m = order->model;
    struct np_play_answer a = next_answer(p, m);
    (void)rng;
    np_buf_reset(&p->body);
    *out = (struct np_sim_reply){.how = NP_CALL_COMPLETE, .status = a.status ? a.status : 200};
    bool breaks = a.class == NP_CLASS_cut;
    if (a.class == NP_CLASS_network || (breaks && !order->stream))
        *out = (struct np_sim_reply){.how = NP_CALL_RESET};
    else if (a.class == NP_CLASS_bad_reply)
        (void)np_buf_puts(&p->body, "{\"choices\": [ {{{");
    else if (order->stream && (breaks || a.class == NP_CLASS_ok) && out->status < 300)
        answer_stream(p, x, m, &a, out);
    else if (a.class == NP_CLASS_ok && out->status < 300)
        answer_good(p, x, m, &a);
    else if (a.class != NP_CLASS_timeout)
        answer_error(p, m->provider->adapter, &a, out);
    out->retry_after = a.retry_after;
    out->body = np_buf_view(&p->body);
    take_time(m->provider, &a, out);
}
