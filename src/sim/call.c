/* What a call asks for: model, stream, limits, and its prompt's size. */
#include "sim/imitation_impl.h"

#include "base/arena.h"
#include "model/tokens.h"

static void copy(char *to, size_t size, struct np_span from)
{
    size_t n = from.n < size - 1 ? from.n : size - 1;
    memcpy(to, from.p, n);
    to[n] = '\0';
}

/* Tokens of a content: a string, or a list of parts with text. *last is its last text. */
static int64_t content_tokens(struct np_span content, struct np_span *last)
{
    if (np_json_kind(content) == NP_JSON_STRING) {
        *last = content;
        return np_tokens_estimate(np_json_inner(content), true);
    }
    int64_t sum = 0;
    if (np_json_kind(content) != NP_JSON_ARRAY)
        return 0;
    struct np_json_walk w = np_json_walk(content);
    struct np_span part, text;
    while (np_json_item(&w, &part)) {
        if (np_json_kind(part) == NP_JSON_OBJECT && np_json_get(part, "text", &text) &&
            np_json_kind(text) == NP_JSON_STRING) {
            *last = text;
            sum += np_tokens_estimate(np_json_inner(text), true);
        }
    }
    return sum;
}

/* The model's name as it is meant: an escaped slash is a slash. */
static enum np_err read_model(struct np_span model, struct np_sim_call *out)
{
    struct np_span text;
    struct np_arena *a = np_arena_new(NP_SIM_HEAD_MAX);
    if (!a)
        return NP_E_NOMEM;
    enum np_err err = np_json_inner(model).n < 6 * sizeof out->model
                          ? np_json_text(a, model, false, &text)
                          : NP_E_INVALID;
    if (!err && text.n >= sizeof out->model)
        err = NP_E_INVALID;
    if (!err)
        copy(out->model, sizeof out->model, text);
    np_arena_free(a);
    return err;
}

/* A limit of tokens; null is as good as none. */
static bool read_limit(struct np_span body, const char *key, int64_t *out)
{
    struct np_span v;
    return np_json_get(body, key, &v) && np_json_kind(v) == NP_JSON_NUMBER &&
           np_json_i64(v, out) == NP_OK;
}

static bool flag(struct np_span object, const char *key)
{
    struct np_span v;
    return np_json_get(object, key, &v) && np_json_kind(v) == NP_JSON_TRUE;
}

static void read_messages(struct np_span messages, struct np_sim_call *out)
{
    struct np_json_walk w = np_json_walk(messages);
    struct np_span message, content;
    while (np_json_item(&w, &message)) {
        if (np_json_kind(message) == NP_JSON_OBJECT && np_json_get(message, "content", &content))
            out->call.prompt_tokens +=
                content_tokens(content, &out->call.prompt) + NP_TOKENS_PER_MESSAGE;
    }
}

/* The first part of the path names the provider, where it is no version. */
static void read_provider(enum np_dialect dialect, struct np_span path, struct np_sim_call *out)
{
    const char *end = path.p + path.n;
    const char *p = path.n > 1 ? path.p + 1 : end;
    const char *slash = memchr(p, '/', (size_t)(end - p));
    struct np_span first = np_span_make(p, (size_t)((slash ? slash : end) - p));
    if (!slash || np_span_is(first, "v1") || np_span_is(first, "chat"))
        first = np_span_of(dialect == NP_DIALECT_OPENAI ? "openai" : "anthropic");
    copy(out->provider, sizeof out->provider, first);
}

enum np_err np_sim_call_read(enum np_dialect dialect, struct np_span path, struct np_span body,
                             struct np_sim_call *out)
{
    struct np_json_fault fault;
    struct np_span model, messages, v;
    *out = (struct np_sim_call){.dialect = dialect, .call = {.max_tokens = -1}};
    if (np_json_check(body, NP_JSON_DEPTH, &fault) || np_json_kind(body) != NP_JSON_OBJECT)
        return NP_E_INVALID;
    if (!np_json_get(body, "model", &model) || np_json_kind(model) != NP_JSON_STRING ||
        !np_json_get(body, "messages", &messages) || np_json_kind(messages) != NP_JSON_ARRAY)
        return NP_E_INVALID;
    enum np_err err = read_model(model, out);
    if (err)
        return err;
    read_provider(dialect, path, out);
    read_messages(messages, out);
    if (np_json_get(body, "system", &v)) {
        struct np_span ignored = NP_SPAN_NONE;
        out->call.prompt_tokens += content_tokens(v, &ignored);
    }
    if (!read_limit(body, "max_completion_tokens", &out->call.max_tokens))
        (void)read_limit(body, "max_tokens", &out->call.max_tokens);
    out->call.stream = flag(body, "stream");
    if (np_json_get(body, "stream_options", &v) && np_json_kind(v) == NP_JSON_OBJECT)
        out->include_usage = flag(v, "include_usage");
    out->call.provider = np_span_of(out->provider);
    out->call.model = np_span_of(out->model);
    return NP_OK;
}
