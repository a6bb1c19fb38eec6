/* What things mean and what may be typed: .doc, completion, the greeting. */
#include "engine/session_impl.h"

#include "script/testhost.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_NAMES 128

static void show_prose(struct neap_session *s, struct np_span text)
{
    struct np_buf wrapped;
    np_buf_init(&wrapped, NP_SESSION_TEXT_BYTES);
    np_session_wrap(s, text, &wrapped);
    np_session_show(s, np_buf_view(&wrapped));
    np_buf_free(&wrapped);
}

bool np_session_doc(struct neap_session *s, struct np_span args)
{
    struct np_buf text;
    if (args.n == 0)
        return np_session_fail(s, ".doc says what a hook, field or function is: .doc retry, .doc "
                                  "req.prompt_tokens, .doc stats.p95");
    if (args.p[0] == '.')
        return np_session_help(s, args);
    np_buf_init(&text, NP_SESSION_TEXT_BYTES);
    enum np_err err = np_words_tell(s->words, args, &text);
    if (err)
        (void)np_session_fail(s, "%.*s", (int)text.n, text.n ? text.p : "");
    else
        show_prose(s, np_buf_view(&text));
    np_buf_free(&text);
    return !err;
}

/* --- completion ------------------------------------------------------------------------------------- */

/* Who is told the words that begin with what is typed. */
struct teller {
    struct np_span typed;
    void (*tell)(void *ctx, const char *word);
    void *ctx;
    const char *before; /* put before each word */
};

static void offer(const struct teller *t, const char *word)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s%s", t->before, word);
    if (n > 0 && (size_t)n < sizeof text && np_span_starts(np_span_of(text), "") &&
        strncmp(text, t->typed.p, t->typed.n) == 0)
        t->tell(t->ctx, text);
}

static void offer_word(void *ctx, const char *name, const char *text)
{
    (void)text;
    offer(ctx, name);
}

static void offer_commands(const struct teller *t)
{
    for (size_t i = 0; i < np_session_n_commands; i++)
        offer(t, np_session_commands[i].name);
}

/* Names of the data: what may stand in quotes and behind commands. */
static void offer_names(struct neap_session *s, const struct teller *t)
{
    const struct np_catalog *c = np_session_catalog(s);
    struct np_account_view *views = calloc(MAX_NAMES, sizeof *views);
    struct np_sim *sim = np_play_sim(s->play);
    np_require(views);
    for (size_t i = 0; i < c->n_models; i++)
        offer(t, c->models[i].name);
    for (size_t i = 0; i < c->n_providers; i++)
        offer(t, c->providers[i].name);
    for (size_t i = 0; i < c->n_tenants; i++)
        offer(t, c->tenants[i].name);
    for (size_t i = 0; i < c->n_endpoints; i++)
        offer(t, c->endpoints[i].path);
    size_t n =
        np_ledger_list(np_sim_ledger(sim), c, np_sim_wall_ms(np_sim_now_ns(sim)), views, MAX_NAMES);
    for (size_t i = 0; i < n; i++)
        offer(t, views[i].name);
    free(views);
}

static void offer_files(const struct teller *t)
{
    char folder[1024];
    size_t slash = t->typed.n;
    while (slash > 0 && t->typed.p[slash - 1] != '/')
        slash--;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)slash, t->typed.p);
    DIR *dir = opendir(slash ? folder : ".");
    struct teller below = *t;
    below.before = folder;
    for (struct dirent *d; dir && (d = readdir(dir));) {
        char name[300];
        (void)snprintf(name, sizeof name, "%s%s", d->d_name, d->d_type == DT_DIR ? "/" : "");
        if (d->d_name[0] != '.')
            offer(&below, name);
    }
    if (dir)
        (void)closedir(dir);
}

/* What may follow a command. */
static void offer_arguments(struct neap_session *s, struct np_span command, const struct teller *t)
{
    static const char *const hooks[] = {"admit", "route",   "truncate", "budget",
                                        "retry", "respond", "degrade"};
    struct np_span name = np_span_make(command.p + 1, command.n - 1);
    if (np_span_is(name, "help"))
        offer_commands(t);
    else if (np_span_is(name, "doc"))
        (void)!np_words_list(s->words, t->typed, offer_word, (void *)(uintptr_t)t);
    else if (np_span_is(name, "load") || np_span_is(name, "save"))
        offer_files(t);
    else if (np_span_is(name, "edit") || np_span_is(name, "step"))
        for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
            offer(t, hooks[i]);
    else
        offer_names(s, t);
}

/* Whether a quote is open at the cursor; then *from is behind it. */
static bool in_quotes(struct np_span line, size_t *from)
{
    bool open = false;
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != '"')
            continue;
        open = !open;
        *from = i + 1;
    }
    return open;
}

static bool is_path(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == ':' || c == '[' || c == ']';
}

/* Fields of req are all told, also those that this request has not. */
static size_t complete_lua(struct neap_session *s, struct np_span line, struct teller *t)
{
    size_t from = line.n;
    while (from > 0 && is_path(line.p[from - 1]))
        from--;
    t->typed = np_span_make(line.p + from, line.n - from);
    const char *dot = memchr(t->typed.p, '.', t->typed.n);
    if (np_span_starts(t->typed, "req.") && !memchr(dot + 1, '.', t->typed.n - 4)) {
        t->before = "req.";
        (void)!np_words_fields(s->words, NP_SPAN("req"), offer_word, t);
        return from;
    }
    np_console_complete(s->console, t->typed, t->tell, t->ctx);
    return from;
}

size_t neap_session_complete(struct neap_session *s, const char *line, size_t cursor,
                             void (*tell)(void *ctx, const char *word), void *ctx)
{
    struct np_span text = np_span_make(line, cursor), rest = text;
    struct teller t = {.tell = tell, .ctx = ctx, .before = ""};
    size_t from = cursor;
    if (in_quotes(text, &from)) {
        t.typed = np_span_make(line + from, cursor - from);
        offer_names(s, &t);
        return from;
    }
    if (text.n == 0 || text.p[0] != '.')
        return complete_lua(s, text, &t);
    struct np_span command = np_session_word(&rest);
    from = cursor;
    while (from > 0 && line[from - 1] != ' ' && line[from - 1] != ',')
        from--;
    t.typed = np_span_make(line + from, cursor - from);
    if (from == 0) {
        t.before = ".";
        offer_commands(&t);
    } else {
        offer_arguments(s, command, &t);
    }
    return from;
}

/* --- the greeting ------------------------------------------------------------------------------------ */

void neap_session_greet(struct neap_session *s)
{
    struct np_policyset *set = np_session_set_of(s);
    struct np_test_counts counts;
    bool ok = np_session_prove(set, NULL, &counts, NULL);
    np_session_say(s, "neap %s  policies %s%s%s (%zu files", neap_version(),
                   np_session_style(s, NP_STYLE_BOLD), np_policyset_version(set),
                   np_session_style(s, NP_STYLE_OFF), np_policyset_files(set));
    if (ok && counts.failed > 0)
        np_session_say(s, ", %s%zu of %zu tests fail%s", np_session_style(s, NP_STYLE_RED),
                       counts.failed, counts.passed + counts.failed,
                       np_session_style(s, NP_STYLE_OFF));
    else if (ok && counts.passed > 0)
        np_session_say(s, ", %zu tests pass", counts.passed);
    np_session_say(s,
                   ")\nsimulated ground, seed %llu: nothing is called, nothing is paid   .help\n",
                   (unsigned long long)s->scene.deed->seed);
    np_session_flush(s);
}
