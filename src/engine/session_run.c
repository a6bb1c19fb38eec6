/* Running the loaded request, and saying what came of it. */
#include "engine/session_impl.h"

#include <stdlib.h>

/* What is given to the play, malloc'ed. */
static char *given(const struct neap_session *s)
{
    struct np_buf b;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_buf_printf(&b, "{\"request\":%s,\"providers\":%s}", s->scene.request, s->scene.mocks);
    np_require(!np_buf_failed(&b));
    char *text = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return text;
}

#define INDENT 30

/* How many columns text takes, near enough: bytes that begin a letter. */
static size_t columns(struct np_span text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return n;
}

/* Where a line that is too wide is broken: at the last gap of two blanks that fits; 0: nowhere. */
static size_t break_at(struct np_span line, size_t width)
{
    size_t at = 0;
    for (size_t i = INDENT; i + 2 < line.n; i++) {
        if (line.p[i] == ' ' && line.p[i + 1] == ' ' && line.p[i - 1] != ' ' &&
            columns(np_span_make(line.p, i)) <= width)
            at = i;
    }
    return at;
}

/* A line of the run: its first word stands out; a narrow terminal gets it in two. */
static void say_line(struct neap_session *s, struct np_span line)
{
    size_t n = 0, width = s->o.width;
    while (n < line.n && line.p[n] != ' ')
        n++;
    enum np_style style = NP_STYLE_BOLD;
    if (np_span_starts(line, "ok "))
        style = NP_STYLE_GREEN;
    else if (np_span_starts(line, "degraded") || np_span_starts(line, "refused"))
        style = NP_STYLE_YELLOW;
    size_t end = width > 0 && columns(line) > width ? break_at(line, width) : 0;
    end = end ? end : line.n;
    np_session_say(s, "%s%.*s%s%.*s\n", np_session_style(s, style), (int)n, line.p,
                   np_session_style(s, NP_STYLE_OFF), (int)(end - n), line.p + n);
    if (end < line.n) {
        struct np_span rest = np_session_trim(np_span_make(line.p + end, line.n - end));
        np_session_say(s, "%*s%.*s\n", INDENT, "", (int)rest.n, rest.p);
    }
}

/* The last run, in lines. */
static void say_trace(struct neap_session *s)
{
    struct np_span text = np_play_shown(s->play);
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        say_line(s, np_span_make(text.p, n));
        n += end != NULL;
        text = np_span_make(text.p + n, text.n - n);
    }
}

bool np_session_run_and_say(struct neap_session *s, const char *hook)
{
    if (!np_session_run_watched(s, hook, given(s)))
        return false;
    say_trace(s);
    return true;
}

bool np_session_do_run(struct neap_session *s, struct np_span args)
{
    if (args.n > 0)
        return np_session_fail(
            s, ".run takes nothing: .load a request, .mock its providers, then .run");
    return np_session_run_and_say(s, NULL);
}
