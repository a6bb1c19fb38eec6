/* .test: what the session has done, written as a test beside the hook that it is about. */
#include "engine/session_impl.h"

#include "script/testhost.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A member of the given JSON as Lua; nothing where there is none or an empty one. */
static void put_member(struct neap_session *s, struct np_buf *b, struct np_span given,
                       const char *name)
{
    struct np_span value;
    if (!np_json_get(given, name, &value) || np_span_is(value, "{}"))
        return;
    np_buf_printf(b, "    %s = ", name);
    np_console_show(s->console, value, true, b);
    np_buf_puts(b, ",\n");
}

/* The deeds from the start on, oldest first; malloc'ed. */
static struct np_deed **chain_of(const struct neap_session *s, size_t *n)
{
    struct np_deed *last = s->scene.deed;
    *n = (size_t)last->number + 1;
    struct np_deed **chain = calloc(*n, sizeof(struct np_deed *));
    np_require(chain);
    for (struct np_deed *d = last; d; d = d->before)
        chain[d->number] = d;
    return chain;
}

/* The world since the run before: budgets and breakers of all, times added up. */
struct world {
    struct np_buf budgets, breakers;
    int64_t after_ms;
};

static void add_world(struct world *w, struct np_span given)
{
    static const char *const names[] = {"budgets", "breakers"};
    struct np_buf *const into[] = {&w->budgets, &w->breakers};
    struct np_span value, key, item;
    int64_t ms;
    for (size_t i = 0; i < 2; i++) {
        if (!np_json_get(given, names[i], &value))
            continue;
        for (struct np_json_walk k = np_json_walk(value); np_json_member(&k, &key, &item);)
            np_buf_printf(into[i], "%s\"%.*s\":%.*s", into[i]->n ? "," : "", (int)key.n, key.p,
                          (int)item.n, item.p);
    }
    if (np_json_get(given, "after_ms", &value) && np_json_i64(value, &ms) == NP_OK)
        w->after_ms += ms;
}

static void put_world(struct neap_session *s, struct np_buf *b, struct world *w)
{
    struct np_buf json;
    np_buf_init(&json, NP_SESSION_TEXT_BYTES);
    np_buf_printf(&json, "{\"budgets\":{%.*s},\"breakers\":{%.*s}}", (int)w->budgets.n,
                  w->budgets.n ? w->budgets.p : "", (int)w->breakers.n,
                  w->breakers.n ? w->breakers.p : "");
    put_member(s, b, np_buf_view(&json), "budgets");
    put_member(s, b, np_buf_view(&json), "breakers");
    if (w->after_ms > 0)
        np_buf_printf(b, "    after_ms = %lld,\n", (long long)w->after_ms);
    np_buf_free(&json);
    np_buf_reset(&w->budgets);
    np_buf_reset(&w->breakers);
    w->after_ms = 0;
}

/* The last run as a play, and where `all` the ones before it. False: there is none. */
static bool put_plays(struct neap_session *s, bool all, struct np_buf *b)
{
    size_t n, last = 0;
    struct np_deed **chain = chain_of(s, &n);
    struct world w = {.after_ms = 0};
    np_buf_init(&w.budgets, NP_SESSION_TEXT_BYTES);
    np_buf_init(&w.breakers, NP_SESSION_TEXT_BYTES);
    for (size_t i = 1; i < n; i++)
        last = chain[i]->kind == NP_DEED_RUN ? i : last;
    for (size_t i = 1; i <= last; i++) {
        struct np_span given = np_span_of(chain[i]->given);
        if (chain[i]->kind == NP_DEED_WORLD)
            add_world(&w, given);
        if (chain[i]->kind != NP_DEED_RUN || (!all && i < last))
            continue;
        np_buf_puts(b, i == last ? "  local run = play {\n" : "  play {\n");
        put_member(s, b, given, "request");
        put_world(s, b, &w);
        put_member(s, b, given, "providers");
        np_buf_puts(b, "  }\n");
    }
    np_buf_free(&w.budgets);
    np_buf_free(&w.breakers);
    free(chain);
    return last > 0;
}

static void put_expect(struct neap_session *s, struct np_buf *b, const char *name)
{
    struct np_span value;
    if (!np_json_get(np_buf_view(&s->run), name, &value))
        return;
    np_buf_printf(b, "  expect(run.%s, ", name);
    np_console_show(s->console, value, true, b);
    np_buf_puts(b, ")\n");
}

/* What the hook in focus returned at each of its calls. */
static void put_hook_expect(struct neap_session *s, struct np_buf *b)
{
    struct np_span hooks, calls, call, value;
    unsigned n = 0;
    if (!np_json_get(np_buf_view(&s->run), "hooks", &hooks) ||
        !np_json_get(hooks, s->focus, &calls))
        return;
    for (struct np_json_walk w = np_json_walk(calls); np_json_item(&w, &call);) {
        if (!np_json_get(call, "returned", &value))
            continue;
        np_buf_printf(b, "  expect(run.hooks.%s[%u].returned, ", s->focus, ++n);
        np_console_show(s->console, value, true, b);
        np_buf_puts(b, ")\n");
    }
}

static void put_test(struct neap_session *s, struct np_span name, bool all, struct np_buf *b)
{
    np_buf_reset(b);
    np_buf_printf(b, "test(\"%.*s\", function()\n", (int)name.n, name.p);
    (void)put_plays(s, all, b);
    put_expect(s, b, "status");
    put_expect(s, b, "plan");
    put_expect(s, b, "model");
    put_expect(s, b, "reason");
    put_hook_expect(s, b);
    np_buf_puts(b, "end)\n");
}

/* The number of the line at which an appended text will begin. */
static unsigned next_line(const char *path)
{
    unsigned n = 1;
    FILE *f = fopen(path, "r");
    for (int c; f && (c = fgetc(f)) != EOF;)
        n += c == '\n';
    if (f)
        (void)fclose(f);
    return n;
}

/* Writes text behind the first `keep` bytes of a file. */
static bool put_behind(struct neap_session *s, const char *path, long keep, const struct np_buf *b)
{
    FILE *f = fopen(path, keep > 0 ? "r+" : "w");
    bool ok = f && ftruncate(fileno(f), keep) == 0 && fseek(f, keep, SEEK_SET) == 0 &&
              (keep == 0 || fputc('\n', f) != EOF) && fwrite(b->p, 1, b->n, f) == b->n;
    int error = errno;
    if (f && fclose(f) != 0)
        ok = false;
    return ok ? true : np_session_fail(s, "%s can't be written: %s", path, strerror(error));
}

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

/* Loads the set with its new test and runs that. The set, to be dropped, where it passes; else text
 * says why not. */
static struct np_policyset *prove(struct neap_session *s, const char *name, struct np_buf *text)
{
    struct np_test_counts counts = {0};
    np_buf_reset(text);
    struct np_policyset *set = np_session_load_set(s, s->o.dir, text);
    if (!set)
        return NULL;
    np_buf_reset(text);
    if (np_session_prove(set, name, &counts, text) && counts.failed == 0 && counts.passed > 0)
        return set;
    np_policyset_drop(set);
    return NULL;
}

/* Whether the file has the test as it would be written. */
static bool has_text(struct neap_session *s, const char *path, struct np_span name)
{
    struct np_buf b, source;
    char piece[4096];
    bool has = false;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_buf_init(&source, NP_SESSION_TEXT_BYTES);
    FILE *f = fopen(path, "r");
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        np_buf_put(&source, piece, n);
    if (f)
        (void)fclose(f);
    for (int all = 0; source.n > 0 && all < 2 && !has; all++) {
        put_test(s, name, all == 1, &b);
        has = memmem(source.p, source.n, b.p, b.n) != NULL;
    }
    np_buf_free(&b);
    np_buf_free(&source);
    return has;
}

/* What is to be done about a name. */
enum place { FREE, DONE, REFUSED };

/* A second test of a name would break its file. The very same one, as when a saved session runs again,
 * is left alone. */
static enum place look_for(struct neap_session *s, const char *file, struct np_span name)
{
    struct np_buf text;
    enum place place = REFUSED;
    unsigned line = 0;
    char path[4096], *title = np_session_copy(name);
    (void)snprintf(path, sizeof path, "%s/%s", s->o.dir, file);
    np_buf_init(&text, NP_SESSION_TEXT_BYTES);
    struct np_policyset *set = np_session_load_set(s, s->o.dir, &text);
    if (!set)
        (void)np_session_fail(s, "%.*s%s does not load", (int)text.n, text.n ? text.p : "",
                              s->o.dir);
    else if (!np_session_find_test(set, file, title, &line))
        (void)np_session_fail(s, "no memory to look for tests");
    else if (line == 0)
        place = FREE;
    else if (has_text(s, path, name))
        place = DONE;
    else
        (void)np_session_fail(s,
                              "%s:%u has a test \"%s\" already, which is another one; nothing was "
                              "written: give this one another name",
                              file, line, title);
    if (place == DONE)
        np_session_say(s, "%s:%u has this very test already\n", file, line);
    np_policyset_drop(set);
    np_buf_free(&text);
    free(title);
    return place;
}

/* Writes the test, the shorter one first: what ran before may not matter to it. */
static bool write_test(struct neap_session *s, const char *file, struct np_span name)
{
    char path[4096];
    struct np_buf b, text;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_buf_init(&text, NP_SESSION_TEXT_BYTES);
    (void)snprintf(path, sizeof path, "%s/%s", s->o.dir, file);
    long keep = size_of(path);
    unsigned line = next_line(path) + (keep > 0);
    char *title = np_session_copy(name);
    struct np_policyset *set = NULL;
    bool ok = true;
    for (int all = 0; all < 2 && ok && !set; all++) {
        put_test(s, name, all == 1, &b);
        ok = put_behind(s, path, keep, &b);
        set = ok ? prove(s, title, &text) : NULL;
    }
    if (set)
        ok = np_session_turn(s, set);
    np_session_say(s, "wrote %s:%u, %s\n", file, line, set ? "passes" : "but it does not pass");
    if (ok && !set)
        ok = np_session_fail(s, "%.*s", (int)text.n, text.n ? text.p : "");
    np_policyset_drop(set);
    free(title);
    np_buf_free(&b);
    np_buf_free(&text);
    return ok;
}

/* A name that stands in a Lua text as it is, and is a pattern of itself. */
static bool is_good_name(struct np_span name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (strchr("\"\\[", name.p[i]) || (unsigned char)name.p[i] < 0x20)
            return false;
    }
    return name.n > 0 && name.n < 200;
}

bool np_session_test(struct neap_session *s, struct np_span args)
{
    struct np_span name = np_session_word(&args), hook = np_session_word(&args);
    char file[64];
    if (name.n > 1 && name.p[0] == '"')
        name = np_span_make(name.p + 1, name.n - 2);
    if (!is_good_name(name))
        return np_session_fail(s, ".test wants a sentence: .test \"a_gold_tenant_falls_back\" %s",
                               s->focus);
    if (hook.n > 0 && !np_session_is_hook(hook))
        return np_session_fail(s, "a test stands beside a hook: .test \"%.*s\" route", (int)name.n,
                               name.p);
    if (s->run.n == 0)
        return np_session_fail(s, "nothing was run yet: .run, then .test \"%.*s\"", (int)name.n,
                               name.p);
    if (hook.n > 0)
        (void)snprintf(s->focus, sizeof s->focus, "%.*s", (int)hook.n, hook.p);
    (void)snprintf(file, sizeof file, "%s_test.lua", s->focus);
    enum place place = look_for(s, file, name);
    return place == FREE ? write_test(s, file, name) : place == DONE;
}
