/* Loading requests: from Lua tables and files. */
#include "engine/session_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES ((size_t)16 << 20)
#define SHOWN_TEXT 40

char *np_session_value(struct neap_session *s, struct np_span text)
{
    struct np_buf json, why;
    char *value = NULL;
    np_buf_init(&json, NP_SESSION_TEXT_BYTES);
    np_buf_init(&why, 4096);
    enum np_line end = np_console_json(s->console, text, &json, &why);
    if (end == NP_LINE_GOOD && !np_buf_failed(&json))
        value = np_session_copy(np_buf_view(&json));
    else
        (void)np_session_fail(s, "%.*s", (int)why.n, why.n ? why.p : "the value is unfinished");
    np_buf_free(&json);
    np_buf_free(&why);
    return value;
}

char *np_session_file(struct neap_session *s, const char *path, size_t *n)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        (void)np_session_fail(s, "%s can't be read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(FILE_BYTES + 1);
    np_require(text);
    *n = fread(text, 1, FILE_BYTES, f);
    bool whole = feof(f) || fgetc(f) == EOF;
    bool failed = ferror(f);
    (void)fclose(f);
    text[*n] = '\0';
    if (whole && !failed)
        return text;
    (void)np_session_fail(s, failed ? "%s can't be read" : "%s is longer than 16 MiB", path);
    free(text);
    return NULL;
}

/* --- what is loaded -------------------------------------------------------------------------------- */

static void say_metadata(struct neap_session *s)
{
    struct np_span key, value, metadata = s->x->request.metadata;
    if (!metadata.p)
        return;
    for (struct np_json_walk w = np_json_walk(metadata); np_json_member(&w, &key, &value);) {
        enum np_json_kind kind = np_json_kind(value);
        struct np_span text = kind == NP_JSON_STRING ? np_json_inner(value) : value;
        if (kind != NP_JSON_ARRAY && kind != NP_JSON_OBJECT && text.n <= SHOWN_TEXT)
            np_session_say(s, ", %.*s %.*s", (int)key.n, key.p, (int)text.n, text.p);
    }
}

void np_session_say_request(struct neap_session *s)
{
    const struct np_exchange *x = s->x;
    if (!x)
        return;
    np_session_say(s, "req  %s%s%s %s  %lld tokens", np_session_style(s, NP_STYLE_BOLD),
                   x->tenant->name, np_session_style(s, NP_STYLE_OFF), x->endpoint->path,
                   (long long)np_request_prompt_tokens(&x->request));
    if (x->request.n_context > 0)
        np_session_say(s, ", %zu context item%s", x->request.n_context,
                       x->request.n_context == 1 ? "" : "s");
    if (x->request.stream)
        np_session_say(s, ", stream");
    say_metadata(s);
    np_session_say(s, "\n");
}

/* --- .load ----------------------------------------------------------------------------------------- */

/* Lua that makes a table: as a file of data is, or the table alone. */
static char *lua_value(struct neap_session *s, struct np_span text)
{
    if (!np_span_starts(text, "return"))
        return np_session_value(s, text);
    return np_session_value(s, np_span_make(text.p + 6, text.n - 6));
}

/* A file's request: JSON, or Lua. */
static char *read_request(struct neap_session *s, const char *path)
{
    struct np_json_fault fault;
    size_t n;
    char *text = np_session_file(s, path, &n);
    if (!text)
        return NULL;
    struct np_span body = np_session_trim(np_span_make(text, n));
    char *json = np_json_check(body, NP_JSON_DEPTH, &fault) == NP_OK ? np_session_copy(body)
                                                                     : lua_value(s, body);
    free(text);
    return json;
}

bool np_session_load(struct neap_session *s, struct np_span args)
{
    if (args.n == 0) {
        np_session_say_request(s);
        return true;
    }
    char *json, *path = np_session_copy(args);
    if (args.p[0] == '{')
        json = np_session_value(s, args);
    else
        json = read_request(s, path);
    free(path);
    if (!json)
        return false;
    if (np_json_kind(np_span_of(json)) != NP_JSON_OBJECT) {
        free(json);
        return np_session_fail(s,
                               "a request is a table: .load {prompt = \"hi\", tenant = \"acme\"}");
    }
    if (!np_session_request(s, json))
        return false;
    np_session_say_request(s);
    return true;
}
