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
