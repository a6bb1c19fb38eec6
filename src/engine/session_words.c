/* What commands are given: words, quoted texts, parts between commas. */
#include "engine/session_impl.h"

#include <stdlib.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct np_span np_session_trim(struct np_span text)
{
    while (text.n > 0 && is_blank(text.p[0]))
        text = np_span_make(text.p + 1, text.n - 1);
    while (text.n > 0 && is_blank(text.p[text.n - 1]))
        text.n--;
    return text;
}

/* Behind the quoted text that begins at i. */
static size_t skip_quoted(struct np_span text, size_t i)
{
    char quote = text.p[i++];
    while (i < text.n && text.p[i] != quote)
        i += text.p[i] == '\\' ? 2 : 1;
    return i < text.n ? i + 1 : text.n;
}

struct np_span np_session_word(struct np_span *rest)
{
    *rest = np_session_trim(*rest);
    size_t n = 0;
    if (rest->n > 0 && rest->p[0] == '"')
        n = skip_quoted(*rest, 0);
    else
        while (n < rest->n && !is_blank(rest->p[n]))
            n++;
    struct np_span word = np_span_make(rest->p, n);
    *rest = np_session_trim(np_span_make(rest->p + n, rest->n - n));
    return word;
}

struct np_span np_session_part(struct np_span *rest)
{
    size_t i = 0;
    int depth = 0;
    while (i < rest->n) {
        char c = rest->p[i];
        if (c == '"' || c == '\'') {
            i = skip_quoted(*rest, i);
            continue;
        }
        if (c == ',' && depth == 0)
            break;
        depth += c == '{' || c == '(' || c == '[';
        depth -= c == '}' || c == ')' || c == ']';
        i++;
    }
    struct np_span part = np_session_trim(np_span_make(rest->p, i));
    size_t used = i < rest->n ? i + 1 : i;
    *rest = np_session_trim(np_span_make(rest->p + used, rest->n - used));
    return part;
}

char *np_session_copy(struct np_span text)
{
    char *copy = malloc(text.n + 1);
    np_require(copy);
    memcpy(copy, text.p ? text.p : "", text.n);
    copy[text.n] = '\0';
    return copy;
}

/* --- lines that are too wide ------------------------------------------------------------------------- */

/* How many bytes of the line fill the columns; escape sequences fill none. */
static size_t fill(struct np_span line, size_t columns)
{
    size_t i = 0, used = 0;
    while (i < line.n) {
        if (line.p[i] == '\033') {
            while (i < line.n && line.p[i] != 'm')
                i++;
        } else if (((unsigned char)line.p[i] & 0xc0) != 0x80 && used++ == columns) {
            return i;
        }
        i++;
    }
    return line.n;
}

/* Where the second column of a line begins: behind the first gap of two blanks; 0: it has none. */
static size_t second_column(struct np_span line)
{
    size_t i = 0, columns = 0;
    bool words = false;
    for (; i + 2 < line.n && columns < 36; i++) {
        if (line.p[i] == '\033') {
            while (i < line.n && line.p[i] != 'm')
                i++;
            continue;
        }
        if (words && line.p[i - 1] == ' ' && line.p[i - 2] == ' ' && line.p[i] != ' ')
            return columns;
        words = words || line.p[i] != ' ';
        columns += ((unsigned char)line.p[i] & 0xc0) != 0x80;
    }
    return 0;
}

static void wrap_line(struct np_span line, size_t width, struct np_buf *out)
{
    size_t indent = second_column(line), first = 0;
    while (first < line.n && line.p[first] == ' ')
        first++;
    indent = indent ? indent : first + 2;
    size_t room = width;
    for (size_t end; (end = fill(line, room)) < line.n; room = width - indent) {
        while (end > first + 1 && line.p[end] != ' ')
            end--;
        if (end <= first + 1)
            break; /* a word as wide as that stays whole */
        np_buf_printf(out, "%.*s\n%*s", (int)end, line.p, (int)indent, "");
        line = np_session_trim(np_span_make(line.p + end, line.n - end));
        first = 0;
    }
    np_buf_span(out, line);
}

void np_session_wrap(const struct neap_session *s, struct np_span text, struct np_buf *out)
{
    if (s->o.width == 0) {
        np_buf_span(out, text);
        return;
    }
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        wrap_line(np_span_make(text.p, n), s->o.width, out);
        if (end)
            np_buf_char(out, '\n');
        n += end != NULL;
        text = np_span_make(text.p + n, text.n - n);
    }
}
