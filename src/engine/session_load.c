/* Loading requests: from Lua tables and files. */
#include "engine/session_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* The mocks that make the providers answer as they did in a record. */
static void take_answers(struct neap_session *s, struct np_span record)
{
    const struct np_catalog *c = np_session_catalog(s);
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    for (size_t i = 0; i < c->n_models; i++) {
        struct np_buf answers;
        struct np_json_w list;
        np_buf_init(&answers, NP_SESSION_TEXT_BYTES);
        np_json_w_init(&list, &answers);
        np_json_w_begin(&list, '[');
        size_t n = np_session_record_answers(&list, record, np_span_of(c->models[i].name));
        np_json_w_end(&list, ']');
        if (n > 0)
            np_json_w_raw(&w, c->models[i].name, np_buf_view(&answers));
        np_buf_free(&answers);
    }
    np_json_w_end(&w, '}');
    free(s->scene.mocks);
    s->scene.mocks = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
}

/* "was: degraded (budget) 18:02:11 under 91c0…" */
static void say_was(struct neap_session *s, struct np_span record, bool whole)
{
    struct np_span outcome = NP_SPAN("\"\""), reason = outcome, at = outcome, policy = outcome;
    (void)np_json_get(record, "outcome", &outcome);
    bool degraded = np_json_get(record, "reason", &reason);
    (void)np_json_get(record, "at", &at);
    (void)np_json_get(record, "policy", &policy);
    outcome = np_json_inner(outcome);
    reason = np_json_inner(reason);
    at = np_json_inner(at);
    policy = np_json_inner(policy);
    np_session_say(s, "     was: %.*s", (int)outcome.n, outcome.p);
    if (degraded)
        np_session_say(s, " (%.*s)", (int)reason.n, reason.p);
    if (at.n >= 19)
        np_session_say(s, " %.8s", at.p + 11);
    np_session_say(s, " under %.*s\n", (int)policy.n, policy.p);
    np_session_say(s, "     its providers are mocked as they answered%s\n",
                   whole ? ""
                         : "; its text was not recorded: a prompt of the same size stands for it");
}

/* A request of the decision log: .load req_01jd4m, .load req_01jd4m from FILE. */
static bool load_record(struct neap_session *s, struct np_span args)
{
    struct np_span id = np_session_word(&args), word = np_session_word(&args);
    const char *file = s->o.decisions;
    bool whole, named = np_span_is(word, "from") && args.n > 0;
    if (!named && !file)
        return np_session_fail(s,
                               "which decision records? .load %.*s from FILE, or neap repl "
                               "--decisions FILE",
                               (int)id.n, id.p);
    char *path = named ? np_session_copy(args) : np_session_copy(np_span_of(file));
    struct np_records records;
    bool ok = np_session_records_read(s, path, &records);
    const struct np_span *record = ok ? np_session_records_find(&records, id) : NULL;
    if (ok && !record)
        (void)np_session_fail(
            s, "%s has no request whose id begins with %.*s; its last one is %.*s", path, (int)id.n,
            id.p, (int)np_session_record_id(records.line[records.n - 1]).n,
            np_session_record_id(records.line[records.n - 1]).p);
    char *request = record ? np_session_record_request(*record, &whole) : NULL;
    ok = request && np_session_request(s, request);
    if (ok) {
        take_answers(s, *record);
        np_session_say_request(s);
        say_was(s, *record, whole);
    }
    np_session_records_free(&records);
    free(path);
    return ok;
}

/* Whether a request of the decision log is meant: by neap's own kind of id, by "from", or because there
 * is no such file. */
static bool is_id(const struct neap_session *s, struct np_span args)
{
    struct np_span rest = args, word = np_session_word(&rest);
    if (args.p[0] == '{')
        return false;
    if (np_span_starts(word, "req_") || np_span_starts(rest, "from "))
        return true;
    char *path = np_session_copy(args);
    bool file = access(path, F_OK) == 0;
    free(path);
    return !file && rest.n == 0 && s->o.decisions != NULL;
}

bool np_session_load(struct neap_session *s, struct np_span args)
{
    if (args.n == 0) {
        np_session_say_request(s);
        return true;
    }
    if (is_id(s, args))
        return load_record(s, args);
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
