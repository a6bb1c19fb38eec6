/* Lines for a terminal: what came from outside made harmless, entries broken between words. */
#include "engine/explain_lines.h"

#include "base/json.h"

#define COLUMNS 80
#define INDENT 11

/* The length of the character of UTF-8 at p that would move the cursor, hide or turn text around; 0:
 * it is harmless. C0, DEL, C1, U+200E/F, U+2028 to U+202E, U+2066 to U+2069. */
static size_t harmful(const char *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;
    if (c[0] < 0x20 || c[0] == 0x7f)
        return 1;
    if (n >= 2 && c[0] == 0xc2 && c[1] < 0xa0)
        return 2;
    if (n < 3 || c[0] != 0xe2)
        return 0;
    static const unsigned char marks[][3] = {
        {0x80, 0x8e, 0x8f}, {0x80, 0xa8, 0xae}, {0x81, 0xa6, 0xa9}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (c[1] == marks[i][0] && c[2] >= marks[i][1] && c[2] <= marks[i][2])
            return 3;
    }
    return 0;
}

void np_explain_text(struct np_buf *b, struct np_span inner)
{
    struct np_buf plain;
    if (inner.n == 0)
        return;
    np_buf_init(&plain, NP_EXPLAIN_ENTRY_BYTES);
    /* The value with its quotes: inner is a view into it. */
    (void)np_json_put_text(&plain, np_span_make(inner.p - 1, inner.n + 2));
    for (size_t i = 0; i < plain.n; i++) {
        size_t n = harmful(plain.p + i, plain.n - i);
        for (size_t k = 0; k < n; k++)
            (void)np_buf_printf(b, "\\x%02x", (unsigned)(unsigned char)plain.p[i + k]);
        if (n == 0)
            (void)np_buf_char(b, plain.p[i]);
        else
            i += n - 1;
    }
    np_buf_free(&plain);
}

/* Columns of a text: the characters of UTF-8 that begin in it. */
static size_t columns_of(const char *p, size_t n)
{
    size_t columns = 0;
    for (size_t i = 0; i < n; i++)
        columns += ((unsigned char)p[i] & 0xc0) != 0x80;
    return columns;
}

/* As many bytes of a word as fill the columns, at least one character. */
static size_t bytes_in(const char *p, size_t n, size_t columns)
{
    size_t i = 0, seen = 0;
    for (; i < n; i++) {
        seen += ((unsigned char)p[i] & 0xc0) != 0x80;
        if (seen > columns && i > 0)
            break;
    }
    return i;
}

/* A label in its column and a text beside it, broken between words into lines of 80 columns. */
static void put_entry(struct np_buf *out, const char *label, struct np_span text)
{
    size_t at = INDENT;
    bool first = true;
    (void)np_buf_printf(out, "%-*s", INDENT, label);
    while (text.n > 0) {
        const char *blank = memchr(text.p, ' ', text.n);
        size_t n = blank ? (size_t)(blank - text.p) : text.n;
        if (at > INDENT && at + 1 + columns_of(text.p, n) > COLUMNS) {
            while (out->n > 0 && out->p[out->n - 1] == ' ')
                out->n--;
            (void)np_buf_printf(out, "\n%*s", INDENT, "");
            at = INDENT;
            first = true;
        }
        if (columns_of(text.p, n) > COLUMNS - INDENT)
            n = bytes_in(text.p, n, COLUMNS - INDENT);
        if (!first)
            (void)np_buf_char(out, ' ');
        (void)np_buf_put(out, text.p, n);
        at += columns_of(text.p, n) + !first;
        first = false;
        n += n < text.n && text.p[n] == ' ';
        text = np_span_make(text.p + n, text.n - n);
    }
    (void)np_buf_char(out, '\n');
}

void np_explain_entry(struct np_buf *out, const char *label, struct np_buf *b)
{
    if (b->n > 0)
        put_entry(out, label, np_buf_view(b));
    np_buf_reset(b);
}
