/* Finds columns for problems of which only the line is known: Lua's own messages have no more. */
#include "script/policyset_impl.h"

#include <ctype.h>
#include <string.h>

/* The text of a line, without its end; p NULL: there is none. */
static struct np_span line_of(struct np_span source, unsigned line)
{
    const char *p = source.p, *end = source.p + source.n;
    for (unsigned i = 1; i < line && p; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    if (!p || p > end)
        return NP_SPAN_NONE;
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    return np_span_make(p, (size_t)((stop ? stop : end) - p));
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* "… near 'token'": where the token stands in the line, counted from 1; 0: nowhere. */
static unsigned column_near(struct np_span line, const char *text)
{
    const char *near = strstr(text, "near '");
    size_t n = near ? strlen(near + 6) : 0;
    if (n < 2 || near[6 + n - 1] != '\'')
        return 0;
    const char *token = near + 6;
    n--;
    for (size_t i = 0; i + n <= line.n; i++) {
        bool starts = i == 0 || !is_word(token[0]) || !is_word(line.p[i - 1]);
        bool ends = i + n == line.n || !is_word(token[n - 1]) || !is_word(line.p[i + n]);
        if (starts && ends && memcmp(line.p + i, token, n) == 0)
            return (unsigned)i + 1;
    }
    return 0;
}

static unsigned first_column(struct np_span line)
{
    size_t i = 0;
    while (i < line.n && isspace((unsigned char)line.p[i]))
        i++;
    return i < line.n ? (unsigned)i + 1 : 1;
}

void np_policyset_place(const struct np_policyset *set, struct np_problems *problems)
{
    for (size_t i = 0; i < problems->n; i++) {
        struct np_problem *q = &problems->list[i];
        const struct np_set_file *f = q->column == 0 ? np_set_file_find(set, q->file) : NULL;
        if (!f || q->line == 0)
            continue;
        struct np_span line = line_of(f->source, q->line);
        if (!line.p)
            continue;
        q->column = column_near(line, q->text);
        if (q->column == 0)
            q->column = first_column(line);
    }
}
