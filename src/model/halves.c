/* Surrogate pairs that a provider has cut in two: it ends one event's text with the first half of a
 * character and begins the next one's with the second, as what counts in UTF-16 does. Alone each is no
 * JSON. */
#include "model/stream.h"

#include "base/json_scan.h"

#define ESCAPE_BYTES ((size_t)6) /* \ud83d */

/* The half that is written at p, not before `base` (the first of 1024); 0: none is. */
static unsigned half_at(const char *p, const char *end, int base)
{
    int c =
        (size_t)(end - p) >= ESCAPE_BYTES && p[0] == '\\' && p[1] == 'u' ? np_json_hex4(p + 2) : -1;
    return c >= base && c < base + 0x400 ? (unsigned)c : 0;
}

static void put_half(struct np_buf *out, unsigned half)
{
    static const char digits[] = "0123456789abcdef";
    const char text[] = {'\\',
                         'u',
                         digits[half >> 12 & 15],
                         digits[half >> 8 & 15],
                         digits[half >> 4 & 15],
                         digits[half & 15]};
    (void)np_buf_put(out, text, sizeof text);
}

struct joining {
    const char *p, *end;
    struct np_buf *out;
    unsigned waits; /* the half of an earlier event; 0: none, or it has found the other */
    unsigned holds; /* the half that ends a string of this one */
    bool changed;
};

/* The inside of a string and its closing quote. */
static void join_string(struct joining *j)
{
    if (j->waits && half_at(j->p, j->end, 0xdc00)) {
        put_half(j->out, j->waits);
        j->waits = 0;
        j->changed = true;
        (void)np_buf_put(j->out, j->p, ESCAPE_BYTES);
        j->p += ESCAPE_BYTES;
    }
    while (j->p < j->end && *j->p != '"') {
        const char *from = j->p;
        unsigned half = *from == '\\' ? half_at(from, j->end, 0xd800) : 0;
        size_t n = *from != '\\' ? 1 : half ? ESCAPE_BYTES : 2;
        n = n < (size_t)(j->end - from) ? n : (size_t)(j->end - from);
        j->p += n;
        if (half && j->p < j->end && *j->p == '"') {
            j->holds = half;
            j->changed = true;
        } else {
            (void)np_buf_put(j->out, from, n);
        }
    }
    if (j->p < j->end)
        (void)np_buf_char(j->out, *j->p++);
}

enum np_err np_stream_join(struct np_span data, unsigned *half, struct np_buf *out, bool *joined)
{
    struct joining j = {data.p, data.p + data.n, out, *half, 0, false};
    while (j.p < j.end) {
        const char *quote = memchr(j.p, '"', (size_t)(j.end - j.p));
        size_t n = quote ? (size_t)(quote - j.p) + 1 : (size_t)(j.end - j.p);
        (void)np_buf_put(out, j.p, n);
        j.p += n;
        if (quote)
            join_string(&j);
    }
    if (!j.changed)
        return NP_E_SYNTAX;
    if (np_buf_failed(out))
        return NP_E_NOMEM;
    *joined = *half != 0 && j.waits == 0;
    *half = j.holds ? j.holds : j.waits;
    return NP_OK;
}
