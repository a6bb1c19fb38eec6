/* A session: its life, its lines, what it says. */
#include "engine/session_impl.h"

#include "engine/admin_url.h"
#include "engine/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_REQUEST "{\"prompt\":\"How do I reset my VPN token?\"}"
#define SEED 1

/* --- saying --------------------------------------------------------------------------------------- */

void np_session_say(struct neap_session *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)np_buf_vprintf(&s->out, fmt, ap);
    va_end(ap);
}

void np_session_say_span(struct neap_session *s, struct np_span text)
{
    np_buf_span(&s->out, text);
}

void np_session_say_prose(struct neap_session *s, struct np_span text)
{
    np_session_wrap(s, text, &s->out);
}

static void hand_out(struct neap_session *s, bool problem)
{
    struct np_buf text;
    np_buf_init(&text, 4 * NP_SESSION_TEXT_BYTES);
    np_buf_harmless(&text, np_buf_view(&s->out), "\n\t\033"); /* styles begin with ESC */
    np_buf_char(&text, '\0');
    if (text.n > 1 && !np_buf_failed(&s->out) && !np_buf_failed(&text))
        s->o.say(s->o.ctx, text.p, problem);
    np_buf_free(&text);
    np_buf_reset(&s->out);
}

void np_session_flush(struct neap_session *s)
{
    hand_out(s, false);
}

const char *np_session_style(const struct neap_session *s, enum np_style style)
{
    static const char *const codes[] = {"\033[0m",  "\033[1m",  "\033[2m",
                                        "\033[31m", "\033[32m", "\033[33m"};
    return s->o.colour ? codes[style] : "";
}

bool np_session_fail(struct neap_session *s, const char *fmt, ...)
{
    va_list ap;
    np_session_flush(s);
    np_session_say(s, "%s", np_session_style(s, NP_STYLE_RED));
    va_start(ap, fmt);
    (void)np_buf_vprintf(&s->out, fmt, ap);
    va_end(ap);
    while (s->out.n > 0 && s->out.p[s->out.n - 1] == '\n')
        s->out.n--;
    np_session_say(s, "%s\n", np_session_style(s, NP_STYLE_OFF));
    hand_out(s, true);
    s->failed = true;
    return false;
}

bool np_session_unknown(struct neap_session *s, const char *what, struct np_span name,
                        const char *const *names, size_t n)
{
    const char *guess = np_span_guess(name, names, n);
    if (guess)
        return np_session_fail(s, "there is no %s \"%.*s\"; did you mean \"%s\"?", what,
                               (int)name.n, name.p, guess);
    struct np_buf list;
    np_buf_init(&list, 4096);
    for (size_t i = 0; i < n && i < 12; i++)
        np_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    if (n > 12)
        np_buf_puts(&list, ", …");
    np_buf_char(&list, '\0');
    (void)np_session_fail(s, "there is no %s \"%.*s\"; there are: %s", what, (int)name.n, name.p,
                          list.n > 1 && !np_buf_failed(&list) ? list.p : "none");
    np_buf_free(&list);
    return false;
}

/* The length of the first lines of text. */
static size_t first_lines(struct np_span text, unsigned lines)
{
    size_t n = 0;
    while (lines > 0 && n < text.n) {
        const char *end = memchr(text.p + n, '\n', text.n - n);
        n = end ? (size_t)(end - text.p) + 1 : text.n;
        lines--;
    }
    return n;
}

static unsigned count_lines(struct np_span text)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

void np_session_show(struct neap_session *s, struct np_span text)
{
    /* Three lines more are better than a line that says so. */
    bool cut = count_lines(text) > NP_SESSION_LINES + 3;
    size_t n = cut ? first_lines(text, NP_SESSION_LINES) : text.n;
    np_session_say_span(s, np_span_make(text.p, n));
    struct np_buf rest;
    np_buf_init(&rest, NP_SESSION_TEXT_BYTES);
    np_buf_put(&rest, text.p + n, text.n - n);
    if (cut)
        np_session_say(s, "%s… %u more lines: .more%s\n", np_session_style(s, NP_STYLE_DIM),
                       count_lines(np_buf_view(&rest)), np_session_style(s, NP_STYLE_OFF));
    np_buf_free(&s->more);
    s->more = rest;
}

/* --- lines ---------------------------------------------------------------------------------------- */

static enum neap_line run_lua(struct neap_session *s, struct np_span text)
{
    struct np_buf shown;
    np_buf_init(&shown, NP_SESSION_TEXT_BYTES);
    enum np_line end = np_console_run(s->console, text, &shown);
    if (end == NP_LINE_FAILED)
        (void)np_session_fail(s, "%.*s", (int)shown.n, shown.n ? shown.p : "");
    else
        np_session_show(s, np_buf_view(&shown));
    np_buf_free(&shown);
    return end == NP_LINE_MORE     ? NEAP_LINE_MORE
           : end == NP_LINE_FAILED ? NEAP_LINE_FAILED
                                   : NEAP_LINE_GOOD;
}

/* Whether brackets or quotes are open at the end: then a command goes on in the next line. */
static bool is_open(struct np_span text)
{
    int depth = 0;
    char quote = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quote && c == '\\')
            i++;
        else if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '"')
            quote = c;
        else if (c == '{' || c == '(' || c == '[')
            depth++;
        else if (c == '}' || c == ')' || c == ']')
            depth--;
    }
    return depth > 0;
}

static enum neap_line run_command(struct neap_session *s, struct np_span text)
{
    struct np_span rest = text;
    struct np_span name = np_session_word(&rest);
    name = np_span_make(name.p + 1, name.n - 1);
    if (is_open(rest))
        return NEAP_LINE_MORE;
    const struct np_session_command *c = np_session_command(name);
    if (!c) {
        (void)np_session_unknown_command(s, name);
        return NEAP_LINE_FAILED;
    }
    if (c->changes)
        np_session_mark(s, text);
    bool ok = c->run(s, np_session_trim(rest));
    if (c->changes)
        np_session_unmark(s, !ok);
    return ok ? NEAP_LINE_GOOD : NEAP_LINE_FAILED;
}

static void remember(struct neap_session *s, struct np_span text)
{
    if (np_span_starts(text, ".save") || np_span_starts(text, ".undo"))
        return;
    np_buf_span(&s->saved, text);
    np_buf_char(&s->saved, '\n');
    np_buf_span(&s->saved, np_buf_view(&s->asked));
}

enum neap_line neap_session_line(struct neap_session *s, const char *text)
{
    struct np_span line = np_session_trim(np_span_of(text));
    bool command = line.n > 1 && line.p[0] == '.' && line.p[1] >= 'a' && line.p[1] <= 'z';
    s->interrupted = 0;
    s->failed = false;
    np_buf_reset(&s->asked);
    if (line.n == 0)
        return NEAP_LINE_GOOD;
    enum neap_line end = command ? run_command(s, line) : run_lua(s, line);
    np_session_flush(s);
    if (end == NEAP_LINE_GOOD)
        remember(s, line);
    return s->leave ? NEAP_LINE_LEAVE : end;
}

void neap_session_interrupt(struct neap_session *s)
{
    s->interrupted = 1;
}

/* --- life ----------------------------------------------------------------------------------------- */

void neap_session_free(struct neap_session *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_marks; i++) {
        np_session_scene_free(&s->marks[i].scene);
        free(s->marks[i].line);
    }
    np_console_free(s->console);
    np_words_free(s->words);
    np_stepper_free(s->stepper);
    for (size_t i = 0; i < s->n_differences; i++)
        free(s->differences[i]);
    if (s->x)
        np_exchange_free(s->x);
    np_play_free(s->play);
    np_session_scene_free(&s->scene);
    np_buf_free(&s->saved);
    np_buf_free(&s->asked);
    np_buf_free(&s->more);
    np_buf_free(&s->out);
    np_buf_free(&s->run);
    np_buf_free(&s->why);
    np_buf_free(&s->costs);
    np_slots_free(&s->slots);
    free(s);
}

/* A set that loads can be worked with, whatever else the gate says of it. */
struct np_policyset *np_session_load_set(struct neap_session *s, const char *dir,
                                         struct np_buf *text)
{
    struct np_problems problems;
    struct np_policyset *set = NULL;
    struct np_load_options load = {.slots = &s->slots, .simulated = true};
    np_problems_init(&problems);
    enum np_err err = np_policyset_read(dir, &set, &problems);
    if (!err)
        err = np_gate_check(set, &load, &problems);
    bool loaded = set && np_policyset_catalog(set);
    np_problems_print(&problems, text);
    if (loaded && err)
        np_buf_puts(text, "neap serve would refuse this set for that\n");
    np_problems_free(&problems);
    if (loaded)
        return set;
    np_policyset_drop(set);
    return NULL;
}

static enum neap_status open_session(struct neap_session *s, char why[NEAP_WHY])
{
    struct np_buf text;
    np_buf_init(&text, NEAP_WHY - 1);
    struct np_policyset *set = np_session_load_set(s, s->o.dir, &text);
    if (!set) {
        (void)snprintf(why, NEAP_WHY, "%.*s%s does not load", (int)text.n, text.n ? text.p : "",
                       s->o.dir);
        np_buf_free(&text);
        return access(s->o.dir, R_OK | X_OK) == 0 ? NEAP_NO : NEAP_FAILED;
    }
    np_session_say_span(s, np_buf_view(&text));
    np_session_flush(s);
    np_buf_free(&text);
    s->console = np_console_new(set, &s->interrupted);
    s->words = np_words_new();
    bool ok = s->console && s->words && np_session_stepper(s) && np_session_start(s, set, SEED) &&
              np_session_request(s, np_session_copy(NP_SPAN(FIRST_REQUEST)));
    np_policyset_drop(set);
    if (!ok)
        (void)snprintf(why, NEAP_WHY, "no memory for a session");
    return ok ? NEAP_GOOD : NEAP_FAILED;
}

enum neap_status neap_session_new(const struct neap_session_options *options,
                                  struct neap_session **out, char why[NEAP_WHY])
{
    char url[1024];
    if (options->attach && np_admin_url(options->attach, "", url, sizeof url, why))
        return NEAP_USAGE;
    struct neap_session *s = calloc(1, sizeof *s);
    if (!s || np_slots_init(&s->slots) != NP_OK) {
        (void)snprintf(why, NEAP_WHY, "no memory for a session");
        free(s);
        return NEAP_FAILED;
    }
    s->o = *options;
    np_buf_init(&s->saved, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->asked, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->more, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->out, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->run, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->why, NP_SESSION_TEXT_BYTES);
    np_buf_init(&s->costs, NP_SESSION_TEXT_BYTES);
    (void)snprintf(s->focus, sizeof s->focus, "route");
    s->scene.mocks = np_session_copy(NP_SPAN("{}"));
    enum neap_status status = open_session(s, why);
    if (status) {
        neap_session_free(s);
        return status;
    }
    *out = s;
    return NEAP_GOOD;
}
