/* Decision records as something to run again: the request, and what its providers answered. */
#include "engine/session_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES ((long)64 << 20)
/* What a message has beside its words, about; for prompts that are made up. */
#define FRAMING_TOKENS 8
#define MOST_WORDS 200000

/* --- reading ---------------------------------------------------------------------------------------- */

/* The end of a file, from the start of a line; malloc'ed and ended by NUL. */
static char *read_end(struct neap_session *s, const char *path, size_t *n)
{
    FILE *f = fopen(path, "r");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        (void)np_session_fail(s, "%s can't be read: %s", path, strerror(errno));
        if (f)
            (void)fclose(f);
        return NULL;
    }
    long size = ftell(f), skip = size > FILE_BYTES ? size - FILE_BYTES : 0;
    (void)fseek(f, skip, SEEK_SET);
    char *text = malloc((size_t)(size - skip) + 1);
    np_require(text);
    *n = fread(text, 1, (size_t)(size - skip), f);
    text[*n] = '\0';
    (void)fclose(f);
    const char *first = skip ? memchr(text, '\n', *n) : NULL;
    if (first) {
        *n -= (size_t)(first + 1 - text);
        memmove(text, first + 1, *n + 1);
    }
    return text;
}

static bool is_record(struct np_span line)
{
    struct np_json_fault fault;
    struct np_span id;
    return np_json_check(line, NP_JSON_DEPTH, &fault) == NP_OK &&
           np_json_kind(line) == NP_JSON_OBJECT && np_json_get(line, "requestId", &id) &&
           np_json_kind(id) == NP_JSON_STRING;
}

bool np_session_records_read(struct neap_session *s, const char *path, struct np_records *r)
{
    size_t n, cap = 0;
    *r = (struct np_records){.text = read_end(s, path, &n)};
    if (!r->text)
        return false;
    struct np_span rest = np_span_make(r->text, n);
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t length = end ? (size_t)(end - rest.p) : rest.n;
        struct np_span line = np_span_make(rest.p, length);
        rest = np_span_make(rest.p + length + (end != NULL), rest.n - length - (end != NULL));
        if (!is_record(line))
            continue;
        if (r->n == cap) {
            cap = cap ? 2 * cap : 256;
            r->line = realloc(r->line, cap * sizeof *r->line);
            np_require(r->line);
        }
        r->line[r->n++] = line;
    }
    if (r->n > 0)
        return true;
    np_session_records_free(r);
    return np_session_fail(
        s,
        "%s has no decision records: they are one JSON object a line, as neap serve "
        "--decisions writes them",
        path);
}

void np_session_records_free(struct np_records *r)
{
    free(r->text);
    free(r->line);
    *r = (struct np_records){0};
}

struct np_span np_session_record_id(struct np_span record)
{
    struct np_span id = NP_SPAN_NONE;
    (void)np_json_get(record, "requestId", &id);
    return np_json_inner(id);
}

/* The newest record whose id begins so. */
const struct np_span *np_session_records_find(const struct np_records *r, struct np_span id)
{
    for (size_t i = r->n; i > 0; i--) {
        struct np_span have = np_session_record_id(r->line[i - 1]);
        if (have.n >= id.n && memcmp(have.p, id.p, id.n) == 0)
            return &r->line[i - 1];
    }
    return NULL;
}

/* --- the request ------------------------------------------------------------------------------------ */

static int64_t whole_of(struct np_span object, const char *key, int64_t otherwise)
{
    struct np_span value;
    int64_t n;
    return np_json_get(object, key, &value) && np_json_i64(value, &n) == NP_OK ? n : otherwise;
}

/* A prompt of about as many tokens as the record estimated. */
static void put_made_up(struct np_json_w *w, struct np_span record)
{
    struct np_span estimate = NP_SPAN("{}");
    (void)np_json_get(record, "estimate", &estimate);
    int64_t tokens = whole_of(estimate, "promptTokens", FRAMING_TOKENS + 1) - FRAMING_TOKENS;
    int64_t max_tokens = whole_of(estimate, "maxTokens", 0);
    tokens = tokens < 1 ? 1 : tokens > MOST_WORDS ? MOST_WORDS : tokens;
    char *words = malloc((size_t)tokens * 5 + 1);
    np_require(words);
    for (int64_t i = 0; i < tokens; i++)
        memcpy(words + i * 5, "word ", 5);
    np_json_w_str(w, "prompt", np_span_make(words, (size_t)tokens * 5));
    if (max_tokens > 0)
        np_json_w_i64(w, "maxTokens", max_tokens);
    free(words);
}

static void put_name(struct np_json_w *w, struct np_span record, const char *name)
{
    struct np_span value;
    if (np_json_get(record, name, &value) && np_json_kind(value) == NP_JSON_STRING)
        np_json_w_raw(w, name, value);
}

char *np_session_record_request(struct np_span record, bool *whole)
{
    struct np_span request, key, value;
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    *whole = np_json_get(record, "request", &request) && np_json_kind(request) == NP_JSON_OBJECT;
    if (*whole) {
        for (struct np_json_walk k = np_json_walk(request); np_json_member(&k, &key, &value);) {
            np_json_w_key(&w, key);
            np_json_w_raw(&w, NULL, value);
        }
    } else {
        put_made_up(&w, record);
    }
    put_name(&w, record, "tenant");
    put_name(&w, record, "endpoint");
    np_json_w_end(&w, '}');
    char *text = np_buf_failed(&b) ? NULL : np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return text;
}

/* --- the answers ------------------------------------------------------------------------------------ */

static void put_usage(struct np_json_w *w, struct np_span attempt)
{
    static const char *const names[] = {"prompt", "completion", "cached"};
    struct np_span tokens;
    if (!np_json_get(attempt, "tokens", &tokens) || np_json_kind(tokens) != NP_JSON_OBJECT)
        return;
    np_json_w_begin_key(w, "usage", '{');
    for (size_t i = 0; i < 3; i++) {
        int64_t n = whole_of(tokens, names[i], -1);
        if (n >= 0)
            np_json_w_i64(w, names[i], n);
    }
    np_json_w_end(w, '}');
}

/* How an attempt of a class is scripted: what was cut by neap itself would have taken longer. */
static void put_class(struct np_json_w *w, struct np_span class, int64_t status, int64_t ms)
{
    static const char *const lost[] = {"cut", "cancelled"};
    bool deadline = np_span_is(class, "deadline");
    for (size_t i = 0; i < 2; i++)
        class = np_span_is(class, lost[i]) ? NP_SPAN("network") : class;
    if (deadline)
        ms = 86400000;
    else if (!np_span_is(class, "ok"))
        np_json_w_str(w, "error", class);
    if (status >= 400 && !deadline)
        np_json_w_i64(w, "status", status);
    if (!np_span_is(class, "timeout") && ms >= 0)
        np_json_w_i64(w, "after_ms", ms);
}

char *np_session_attempt_answer(struct np_span record, struct np_span attempt)
{
    struct np_span class, reply;
    struct np_buf b;
    struct np_json_w w;
    if (!np_json_get(attempt, "class", &class) || np_json_kind(class) != NP_JSON_STRING)
        return NULL;
    class = np_json_inner(class);
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    put_class(&w, class, whole_of(attempt, "status", 0), whole_of(attempt, "latencyMs", -1));
    if (np_span_is(class, "ok")) {
        put_usage(&w, attempt);
        if (np_json_get(record, "reply", &reply) && np_json_kind(reply) == NP_JSON_STRING)
            np_json_w_raw(&w, "text", reply);
    }
    np_json_w_end(&w, '}');
    char *text = np_buf_failed(&b) ? NULL : np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return text;
}

bool np_session_record_was_decided(struct np_span record)
{
    static const char *const signs[] = {"hooks", "plan"};
    struct np_span value, attempts = np_session_record_attempts(record);
    for (size_t i = 0; i < 2; i++) {
        if (np_json_get(record, signs[i], &value))
            return true;
    }
    struct np_json_walk k = np_json_walk(attempts);
    return np_json_item(&k, &value);
}

struct np_span np_session_record_attempts(struct np_span record)
{
    struct np_span attempts;
    return np_json_get(record, "attempts", &attempts) && np_json_kind(attempts) == NP_JSON_ARRAY
               ? attempts
               : NP_SPAN("[]");
}

struct np_span np_session_attempt_model(struct np_span attempt)
{
    struct np_span model;
    return np_json_get(attempt, "model", &model) && np_json_kind(model) == NP_JSON_STRING
               ? np_json_inner(model)
               : NP_SPAN_NONE;
}

/* Appends the answers that a model gave within a record; how many. */
static size_t put_answers_of(struct np_json_w *w, struct np_span record, struct np_span model)
{
    struct np_span attempt;
    size_t n = 0;
    for (struct np_json_walk k = np_json_walk(np_session_record_attempts(record));
         np_json_item(&k, &attempt);) {
        if (!np_span_eq(np_session_attempt_model(attempt), model))
            continue;
        char *answer = np_session_attempt_answer(record, attempt);
        if (answer) {
            np_json_w_raw(w, NULL, np_span_of(answer));
            n++;
        }
        free(answer);
    }
    return n;
}

size_t np_session_record_answers(struct np_json_w *w, struct np_span record, struct np_span model)
{
    return put_answers_of(w, record, model);
}
