/* Fields by table, and refusals that name the place. */
#include "model/request_fields.h"

#include <stdarg.h>
#include <stdio.h>

#define PATH_BYTES 160
/* How much of a client's value a message shows. */
#define SHOWN_BYTES 40
#define MAX_FIELDS 16

static size_t path_print(const struct np_path *at, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    if (!at)
        return 0;
    if (at->up) {
        n = path_print(at->up, out, size);
        n += (size_t)snprintf(out + n, size - n, ".");
    }
    n += (size_t)snprintf(out + n, size - n, "%s", at->name);
    if (at->index >= 0)
        n += (size_t)snprintf(out + n, size - n, "[%ld]", at->index);
    np_require(n < size);
    return n;
}

enum np_err np_reader_refuse(struct np_reader *r, const struct np_path *at, const char *fmt, ...)
{
    char message[512], path[PATH_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    size_t n = path_print(at, path, sizeof path);
    const char *param = np_arena_strdup(r->arena, path);
    const char *text = np_arena_printf(r->arena, "%s %s", at ? path : "the body", message);
    if (!param || !text)
        return NP_E_NOMEM;
    *r->refusal = (struct np_refusal){
        .type = NP_REFUSAL_invalid_request,
        .status = np_refusal_status(NP_REFUSAL_invalid_request),
        .message = np_span_of(text),
        .param = np_span_make(param, n),
        .retry_after_s = -1,
    };
    return NP_E_INVALID;
}

/* At most SHOWN_BYTES of raw JSON, whole characters only; *more tells that it was cut. */
static int shown(struct np_span raw, const char **more)
{
    *more = "";
    if (raw.n <= SHOWN_BYTES)
        return (int)raw.n;
    *more = "…";
    size_t n = SHOWN_BYTES;
    while (n > 0 && ((unsigned char)raw.p[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

enum np_err np_reader_wrong(struct np_reader *r, const struct np_path *at, const char *wanted,
                            struct np_span value, bool is_private)
{
    enum np_json_kind kind = np_json_kind(value);
    if (is_private || kind == NP_JSON_ARRAY || kind == NP_JSON_OBJECT)
        return np_reader_refuse(r, at, "must be %s, got %s", wanted, np_json_kind_name(kind));
    const char *more;
    int n = shown(value, &more);
    return np_reader_refuse(r, at, "must be %s, got %.*s%s", wanted, n, value.p, more);
}

/* The place of a name in the table; n when it is not there. */
static size_t find_name(const struct np_span *names, size_t n, struct np_span key)
{
    size_t i = 0;
    while (i < n && !np_span_eq(names[i], key))
        i++;
    return i;
}

/* Fields of other interfaces that clients send. */
static bool is_common(struct np_span name)
{
    static const char *const names[] = {
        "tools",
        "tool_choice",
        "tool_calls",
        "top_p",
        "top_k",
        "n",
        "user",
        "name",
        "response_format",
        "seed",
        "logprobs",
        "logit_bias",
        "functions",
        "stream_options",
        "presence_penalty",
        "service_tier",
        "reasoning_effort",
        "thinking",
        "store",
        "frequency_penalty",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (np_span_is(name, names[i]))
            return true;
    return false;
}

/* "PLACE.(unknown)": a name that is like none may be a text that went astray, which records do not keep. */
static enum np_err hide_name(struct np_reader *r, const struct np_path *at, struct np_span name,
                             enum np_err err)
{
    struct np_path field = {at, "(unknown)", -1};
    if (is_common(name))
        return err;
    char path[PATH_BYTES];
    size_t n = path_print(&field, path, sizeof path);
    const char *place = np_arena_strdup(r->arena, path);
    if (!place)
        return NP_E_NOMEM;
    r->refusal->place = np_span_make(place, n);
    return err;
}

/* An unknown field, told with a guess, else with the list of what is known. */
static enum np_err refuse_unknown(struct np_reader *r, const struct np_path *at,
                                  const struct np_span *names, size_t n, struct np_span key,
                                  struct np_span decoded)
{
    const char *known[MAX_FIELDS], *more;
    char list[256], name[SHOWN_BYTES + 8];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        known[i] = names[i].p;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known[i]);
    }
    int length = shown(key, &more);
    snprintf(name, sizeof name, "%.*s%s", length, key.p, key.n > 0 ? more : "\"\"");
    /* The field itself is the param, as the client wrote it. */
    struct np_path field = {at, name, -1};
    const char *guess = np_span_guess(decoded, known, n);
    if (guess)
        return np_reader_refuse(r, &field, "is an unknown field; did you mean %s?", guess);
    return hide_name(r, at, decoded,
                     np_reader_refuse(r, &field, "is an unknown field; known are %s", list));
}

/* Which field a key names. Escaped names are refused: what other readers of the same body make of
 * them is not certain. */
static enum np_err find_field(struct np_reader *r, const struct np_path *at,
                              const struct np_span *names, size_t n, struct np_span key,
                              size_t *out)
{
    *out = find_name(names, n, key);
    if (*out < n)
        return NP_OK;
    struct np_span decoded = key;
    if (key.n > 0 && memchr(key.p, '\\', key.n)) {
        struct np_span quoted = np_span_make(key.p - 1, key.n + 2);
        if (np_json_text(r->arena, quoted, true, &decoded))
            return NP_E_NOMEM;
        size_t i = find_name(names, n, decoded);
        if (i < n) {
            struct np_path field = {at, names[i].p, -1};
            return np_reader_refuse(r, &field,
                                    "is written with escapes; its name must stand plain");
        }
    }
    return refuse_unknown(r, at, names, n, key, decoded);
}

enum np_err np_reader_fields(struct np_reader *r, const struct np_path *at, struct np_span object,
                             const struct np_span *names, size_t n, struct np_span *values)
{
    np_require(n <= MAX_FIELDS);
    if (np_json_kind(object) != NP_JSON_OBJECT)
        return np_reader_wrong(r, at, "an object", object, true);
    for (size_t i = 0; i < n; i++)
        values[i] = NP_SPAN_NONE;
    unsigned seen = 0;
    struct np_json_walk walk = np_json_walk(object);
    struct np_span key, value;
    while (np_json_member(&walk, &key, &value)) {
        size_t i;
        enum np_err err = find_field(r, at, names, n, key, &i);
        if (err)
            return err;
        if (seen & 1u << i) {
            struct np_path field = {at, names[i].p, -1};
            return np_reader_refuse(r, &field, "is given twice");
        }
        seen |= 1u << i;
        if (*value.p != 'n')
            values[i] = value;
    }
    return NP_OK;
}

enum np_err np_reader_string(struct np_reader *r, const struct np_path *at, struct np_span value,
                             bool is_private)
{
    if (np_json_kind(value) != NP_JSON_STRING)
        return np_reader_wrong(r, at, "a string", value, is_private);
    return NP_OK;
}

enum np_err np_reader_bool(struct np_reader *r, const struct np_path *at, struct np_span value,
                           bool *out)
{
    enum np_json_kind kind = np_json_kind(value);
    if (kind != NP_JSON_TRUE && kind != NP_JSON_FALSE)
        return np_reader_wrong(r, at, "true or false", value, false);
    *out = kind == NP_JSON_TRUE;
    return NP_OK;
}

enum np_err np_reader_list(struct np_reader *r, const struct np_path *at, struct np_span value,
                           size_t max, size_t *n)
{
    if (np_json_kind(value) != NP_JSON_ARRAY)
        return np_reader_wrong(r, at, "a list", value, true);
    struct np_json_walk walk = np_json_walk(value);
    struct np_span item;
    *n = 0;
    while (np_json_item(&walk, &item))
        ++*n;
    if (*n > max)
        return np_reader_refuse(r, at, "must have at most %zu items, got %zu", max, *n);
    return NP_OK;
}

enum np_err np_reader_name(struct np_reader *r, const struct np_path *at, struct np_span value,
                           size_t max, struct np_span *out)
{
    if (np_json_kind(value) != NP_JSON_STRING)
        return np_reader_wrong(r, at, "a string", value, false);
    enum np_err err = np_json_text(r->arena, value, false, out);
    if (err == NP_E_NOMEM)
        return err;
    if (err)
        return np_reader_refuse(r, at, "must not hold the character U+0000");
    if (out->n > max)
        return np_reader_refuse(r, at, "must have at most %zu bytes, got %zu", max, out->n);
    return NP_OK;
}
