/* What providers answer: .mock openai 429, timeout, ok "Sure." in 900ms. And fields of the request. */
#include "engine/session_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_NAMES 192

/* --- answers -------------------------------------------------------------------------------------- */

/* Appends a Lua text's JSON. */
static bool put_text(struct neap_session *s, struct np_json_w *w, struct np_span quoted)
{
    char *json = np_session_value(s, quoted);
    if (json)
        np_json_w_raw(w, "text", np_span_of(json));
    free(json);
    return json != NULL;
}

static bool is_whole(struct np_span word)
{
    unsigned long long n;
    return np_span_to_u64(word, &n);
}

/* "in 900ms", "after 2s", "retry_after 1", "\"text\"": what follows the first word. */
static bool put_rest(struct neap_session *s, struct np_json_w *w, struct np_span rest)
{
    while (rest.n > 0) {
        struct np_span word = np_session_word(&rest);
        uint64_t ms;
        if (word.p[0] == '"') {
            if (!put_text(s, w, word))
                return false;
            continue;
        }
        struct np_span value = np_session_word(&rest);
        bool in = np_span_is(word, "in") || np_span_is(word, "after");
        if (in && np_session_read_span_ms(value, &ms))
            np_json_w_i64(w, "after_ms", (int64_t)ms);
        else if (np_span_is(word, "retry_after") && is_whole(value))
            np_json_w_raw(w, "retry_after", value);
        else
            return np_session_fail(s,
                                   "an answer is a status, ok, an error or a text, then perhaps "
                                   "in 900ms or retry_after 2; got \"%.*s %.*s\"",
                                   (int)word.n, word.p, (int)value.n, value.p);
    }
    return true;
}

/* One answer as JSON. */
static bool put_answer(struct neap_session *s, struct np_json_w *w, struct np_span part)
{
    if (part.n > 0 && part.p[0] == '{') {
        char *json = np_session_value(s, part);
        if (json)
            np_json_w_raw(w, NULL, np_span_of(json));
        free(json);
        return json != NULL;
    }
    struct np_span rest = part;
    if (part.n == 0)
        return np_session_fail(s, "an answer is missing: .mock openai 429, ok \"Sure.\"");
    np_json_w_begin(w, '{');
    if (part.p[0] != '"') {
        struct np_span word = np_session_word(&rest);
        if (is_whole(word))
            np_json_w_raw(w, "status", word);
        else if (!np_span_is(word, "ok"))
            np_json_w_str(w, "error", word);
    }
    bool ok = put_rest(s, w, rest);
    np_json_w_end(w, '}');
    return ok;
}

static bool put_answers(struct neap_session *s, struct np_json_w *w, struct np_span args)
{
    bool ok = true;
    np_json_w_begin(w, '[');
    do
        ok = put_answer(s, w, np_session_part(&args));
    while (ok && args.n > 0);
    np_json_w_end(w, ']');
    return ok;
}

/* --- the table of mocks ----------------------------------------------------------------------------- */

static bool is_provider_of(const struct np_catalog *c, struct np_span provider,
                           struct np_span model)
{
    const struct np_model *m = np_catalog_model(c, model);
    return m && np_span_is(provider, m->provider->name);
}

/* Copies the mocks but for this name's; what is said of a provider holds for all of its models. */
static void put_others(struct neap_session *s, struct np_json_w *w, struct np_span name)
{
    struct np_span key, value;
    for (struct np_json_walk walk = np_json_walk(np_span_of(s->scene.mocks));
         np_json_member(&walk, &key, &value);) {
        if (np_span_eq(key, name) || is_provider_of(np_session_catalog(s), name, key))
            continue;
        np_json_w_key(w, key);
        np_json_w_raw(w, NULL, value);
    }
}

/* Whether the play takes these mocks; nothing happens to the ground. */
static bool look_at(struct neap_session *s, struct np_span mocks)
{
    struct np_buf given, why;
    np_buf_init(&given, NP_SESSION_TEXT_BYTES);
    np_buf_init(&why, 4096);
    np_buf_puts(&given, "{\"providers\":");
    np_buf_span(&given, mocks);
    np_buf_puts(&given, "}");
    enum np_err err = np_play_world(s->play, np_buf_view(&given), &why);
    if (err)
        (void)np_session_fail(s, "%.*s", (int)why.n, why.n ? why.p : "");
    np_buf_free(&given);
    np_buf_free(&why);
    return !err;
}

static bool is_name(struct neap_session *s, struct np_span name)
{
    const struct np_catalog *c = np_session_catalog(s);
    const char *names[MAX_NAMES];
    size_t n = 0;
    for (size_t i = 0; i < c->n_providers && n < MAX_NAMES; i++)
        names[n++] = c->providers[i].name;
    for (size_t i = 0; i < c->n_models && n < MAX_NAMES; i++)
        names[n++] = c->models[i].name;
    for (size_t i = 0; i < n; i++) {
        if (np_span_is(name, names[i]))
            return true;
    }
    return np_session_unknown(s, "provider or model", name, names, n);
}

static bool say_mocks(struct neap_session *s)
{
    struct np_span key, value;
    bool any = false;
    for (struct np_json_walk w = np_json_walk(np_span_of(s->scene.mocks));
         np_json_member(&w, &key, &value);) {
        struct np_buf shown;
        np_buf_init(&shown, NP_SESSION_TEXT_BYTES);
        np_console_show(s->console, value, true, &shown);
        np_session_say(s, "%-18.*s %.*s\n", (int)key.n, key.p, (int)shown.n,
                       shown.n ? shown.p : "");
        np_buf_free(&shown);
        any = true;
    }
    np_session_say(s, any ? "each answers in turn, the last one repeats\n"
                          : "nothing is mocked: good answers come after 300 ms\n");
    return true;
}

static void set_mocks(struct neap_session *s, struct np_span json)
{
    free(s->scene.mocks);
    s->scene.mocks = np_session_copy(json);
}

bool np_session_mock(struct neap_session *s, struct np_span args)
{
    struct np_span name = np_session_word(&args);
    if (name.n == 0)
        return say_mocks(s);
    if (np_span_is(name, "off")) {
        set_mocks(s, NP_SPAN("{}"));
        return say_mocks(s);
    }
    if (name.n > 1 && name.p[0] == '"')
        name = np_span_make(name.p + 1, name.n - 2);
    if (!is_name(s, name))
        return false;
    if (args.n == 0)
        return np_session_fail(
            s, "what does it answer? .mock %.*s 429, timeout, ok \"Sure.\" in 900ms", (int)name.n,
            name.p);
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    put_others(s, &w, name);
    bool ok = true;
    if (!np_span_is(args, "off")) {
        np_json_w_key(&w, name);
        ok = put_answers(s, &w, args);
    }
    np_json_w_end(&w, '}');
    ok = ok && look_at(s, np_buf_view(&b));
    if (ok)
        set_mocks(s, np_buf_view(&b));
    np_buf_free(&b);
    return ok;
}

/* --- fields of the request --------------------------------------------------------------------------- */

/* The request with a field set, for .set: "metadata.tier" has one level below. */
static void put_field(struct np_json_w *w, struct np_span object, struct np_span path,
                      struct np_span value)
{
    const char *dot = memchr(path.p, '.', path.n);
    struct np_span name = np_span_make(path.p, dot ? (size_t)(dot - path.p) : path.n);
    struct np_span key, old, inner = NP_SPAN("{}");
    for (struct np_json_walk walk = np_json_walk(object); np_json_member(&walk, &key, &old);) {
        if (np_span_eq(key, name)) {
            inner = old;
            continue;
        }
        np_json_w_key(w, key);
        np_json_w_raw(w, NULL, old);
    }
    if (!dot && np_json_kind(value) == NP_JSON_NULL)
        return;
    np_json_w_key(w, name);
    if (!dot) {
        np_json_w_raw(w, NULL, value);
        return;
    }
    np_json_w_begin(w, '{');
    if (np_json_kind(inner) != NP_JSON_OBJECT)
        inner = NP_SPAN("{}");
    put_field(w, inner, np_span_make(dot + 1, path.n - name.n - 1), value);
    np_json_w_end(w, '}');
}

bool np_session_set_field(struct neap_session *s, struct np_span path, struct np_span value)
{
    if (value.n == 0)
        return np_session_fail(s,
                               ".set %.*s wants a value: .set budget tenant:acme/day 4.99, .set "
                               "metadata.tier \"gold\"",
                               (int)path.n, path.p);
    char *json = np_session_value(s, value);
    if (!json)
        return false;
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    put_field(&w, np_span_of(s->scene.request), path, np_span_of(json));
    np_json_w_end(&w, '}');
    char *request = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    free(json);
    if (!np_session_request(s, request))
        return false;
    np_session_say_request(s);
    return true;
}
