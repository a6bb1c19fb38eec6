/* Reading the body of a reply endpoint: one strict check of the whole text, then walks that hand
 * each field to its reader. What the client wrote as prompt, system, messages or context never
 * enters a message of refusal. */
#include "model/request_fields.h"

#include <math.h>

#include "model/tokens.h"

#define MODEL_BYTES 256
#define METADATA_MAX 256

/* Order and names of the fields; the fields' own readers stand in this order too. */
#define FIELDS(X)  \
    X(prompt)      \
    X(messages)    \
    X(system)      \
    X(context)     \
    X(maxTokens)   \
    X(temperature) \
    X(stop)        \
    X(stream)      \
    X(model)       \
    X(metadata)

enum field {
#define FIELD(name) F_##name,
    FIELDS(FIELD)
#undef FIELD
        F_COUNT
};

static const struct np_span field_names[F_COUNT] = {
#define FIELD(name) {#name, sizeof #name - 1},
    FIELDS(FIELD)
#undef FIELD
};

/* Reads one field that is given. */
typedef enum np_err field_reader(struct np_reader *r, const struct np_path *at,
                                 struct np_span value, struct np_request *out);

/* A prompt is one message of the user's. */
static enum np_err read_prompt(struct np_reader *r, const struct np_path *at, struct np_span value,
                               struct np_request *out)
{
    enum np_err err = np_reader_string(r, at, value, true);
    if (err)
        return err;
    struct np_span inner = np_json_inner(value);
    if (inner.n == 0)
        return np_reader_refuse(r, at, "must not be empty");
    struct np_message *m = np_arena_array(r->arena, 1, sizeof *m);
    if (!m)
        return NP_E_NOMEM;
    m->role = NP_ROLE_USER;
    m->content = value;
    m->tokens = np_tokens_estimate(inner, true) + NP_TOKENS_PER_MESSAGE;
    m->bytes = inner.n;
    out->messages = m;
    out->n_messages = 1;
    return NP_OK;
}

static enum np_err read_messages(struct np_reader *r, const struct np_path *at,
                                 struct np_span value, struct np_request *out)
{
    (void)at;
    return np_reader_messages(r, value, out);
}

static enum np_err read_system(struct np_reader *r, const struct np_path *at, struct np_span value,
                               struct np_request *out)
{
    enum np_err err = np_reader_string(r, at, value, true);
    if (err)
        return err;
    out->system = value;
    out->system_tokens = np_tokens_estimate(np_json_inner(value), true) + NP_TOKENS_PER_MESSAGE;
    return NP_OK;
}

static enum np_err read_context(struct np_reader *r, const struct np_path *at, struct np_span value,
                                struct np_request *out)
{
    (void)at;
    return np_reader_context(r, value, out);
}

static enum np_err read_maxTokens(struct np_reader *r, const struct np_path *at,
                                  struct np_span value, struct np_request *out)
{
    int64_t n;
    if (np_json_kind(value) != NP_JSON_NUMBER || np_json_i64(value, &n) || n < 1 ||
        n > NP_MAX_TOKENS)
        return np_reader_wrong(r, at, "a whole number from 1 to 1048576", value, false);
    out->max_tokens = n;
    return NP_OK;
}

static enum np_err read_temperature(struct np_reader *r, const struct np_path *at,
                                    struct np_span value, struct np_request *out)
{
    double t;
    if (np_json_kind(value) != NP_JSON_NUMBER || np_json_double(value, &t) || t < 0 || t > 2)
        return np_reader_wrong(r, at, "a number from 0 to 2", value, false);
    out->temperature = t;
    out->temperature_raw = value;
    return NP_OK;
}

static enum np_err read_stop_item(struct np_reader *r, const struct np_path *at,
                                  struct np_span value)
{
    enum np_err err = np_reader_string(r, at, value, false);
    if (!err && np_json_inner(value).n == 0)
        return np_reader_refuse(r, at, "must not be empty");
    return err;
}

static enum np_err read_stop(struct np_reader *r, const struct np_path *at, struct np_span value,
                             struct np_request *out)
{
    enum np_json_kind kind = np_json_kind(value);
    if (kind == NP_JSON_STRING) {
        const char *list = np_arena_printf(r->arena, "[%.*s]", (int)value.n, value.p);
        if (!list)
            return NP_E_NOMEM;
        out->stop = np_span_of(list);
        return read_stop_item(r, at, value);
    }
    if (kind != NP_JSON_ARRAY)
        return np_reader_wrong(r, at, "a string or a list of strings", value, false);
    size_t n;
    enum np_err err = np_reader_list(r, at, value, NP_MAX_STOP, &n);
    if (err)
        return err;
    if (n == 0)
        return np_reader_refuse(r, at, "must have 1 to 4 strings, got an empty list");
    struct np_json_walk walk = np_json_walk(value);
    struct np_path item_at = {NULL, "stop", 0};
    struct np_span item;
    for (; np_json_item(&walk, &item); item_at.index++)
        if ((err = read_stop_item(r, &item_at, item)))
            return err;
    out->stop = value;
    return NP_OK;
}

static enum np_err read_stream(struct np_reader *r, const struct np_path *at, struct np_span value,
                               struct np_request *out)
{
    return np_reader_bool(r, at, value, &out->stream);
}

static enum np_err read_model(struct np_reader *r, const struct np_path *at, struct np_span value,
                              struct np_request *out)
{
    return np_reader_name(r, at, value, MODEL_BYTES, &out->model);
}

/* Any JSON is let through, but no name twice: readers differ in which of the two they take. */
static enum np_err read_metadata(struct np_reader *r, const struct np_path *at,
                                 struct np_span value, struct np_request *out)
{
    if (np_json_kind(value) != NP_JSON_OBJECT)
        return np_reader_wrong(r, at, "an object", value, false);
    struct np_span names[METADATA_MAX], key, member;
    struct np_json_walk walk = np_json_walk(value);
    size_t n = 0;
    while (np_json_member(&walk, &key, &member)) {
        if (n == METADATA_MAX)
            return np_reader_refuse(r, at, "must have at most %d fields", METADATA_MAX);
        struct np_span quoted = np_span_make(key.p - 1, key.n + 2);
        if (np_json_text(r->arena, quoted, true, &names[n]))
            return NP_E_NOMEM;
        for (size_t i = 0; i < n; i++)
            if (np_span_eq(names[i], names[n]))
                return np_reader_refuse(r, at, "has a field twice, its number %zu and %zu", i + 1,
                                        n + 1);
        n++;
    }
    out->metadata = value;
    return NP_OK;
}

static field_reader *const readers[F_COUNT] = {
#define FIELD(name) read_##name,
    FIELDS(FIELD)
#undef FIELD
};

static enum np_err check_text(struct np_reader *r, struct np_span body)
{
    struct np_json_fault fault;
    enum np_err err = np_json_check(body, NP_JSON_DEPTH, &fault);
    if (!err)
        return NP_OK;
    return np_reader_refuse(r, NULL, "is not valid JSON: line %u, column %u: %s", fault.line,
                            fault.column, fault.what);
}

enum np_err np_request_parse(struct np_arena *a, struct np_span body, struct np_request *out,
                             struct np_refusal *refusal)
{
    struct np_reader r = {a, refusal};
    struct np_span values[F_COUNT];
    *out = (struct np_request){.max_tokens = -1, .temperature = NAN};
    enum np_err err = check_text(&r, body);
    if (err || (err = np_reader_fields(&r, NULL, body, field_names, F_COUNT, values)))
        return err;
    if (values[F_prompt].p && values[F_messages].p) {
        struct np_path at = {NULL, "messages", -1};
        return np_reader_refuse(&r, &at, "and prompt must not both be given");
    }
    if (!values[F_prompt].p && !values[F_messages].p) {
        struct np_path at = {NULL, "prompt", -1};
        return np_reader_refuse(&r, &at, "or messages is required");
    }
    for (size_t i = 0; i < F_COUNT; i++) {
        struct np_path at = {NULL, field_names[i].p, -1};
        if (values[i].p && (err = readers[i](&r, &at, values[i], out)))
            return err;
    }
    return NP_OK;
}
