/* Growing bytes. n <= cap <= max always; the memory behind p is one byte longer than cap, because
 * vsnprintf ends its text with a NUL that is never part of the content. What is put must not lie in
 * the buffer itself: growing moves it. */
#include "base/buf.h"

#include "base/decimal.h"
#include "base/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* With the byte behind it a size that allocators have. */
#define LEAST_CAP 255
#define MOST_CAP (UINT32_MAX - 1)

void np_buf_init(struct np_buf *b, size_t max_bytes)
{
    *b = (struct np_buf){.max = max_bytes < MOST_CAP ? (uint32_t)max_bytes : MOST_CAP};
}

void np_buf_free(struct np_buf *b)
{
    free(b->p);
    np_buf_init(b, b->max);
}

void np_buf_reset(struct np_buf *b)
{
    b->n = 0;
    b->failed = false;
}

enum np_err np_buf_reserve(struct np_buf *b, size_t more)
{
    if (more <= b->cap - b->n) {
        return NP_OK;
    }
    if (more > b->max - b->n) {
        b->failed = true;
        return NP_E_FULL;
    }
    size_t cap = b->cap < LEAST_CAP / 2 ? LEAST_CAP : (size_t)b->cap * 2;
    cap = cap < b->n + more ? b->n + more : cap;
    cap = cap > b->max ? b->max : cap;
    char *p = realloc(b->p, cap + 1);
    if (!p) {
        b->failed = true;
        return NP_E_NOMEM;
    }
    b->p = p;
    b->cap = (uint32_t)cap;
    return NP_OK;
}

enum np_err np_buf_vprintf(struct np_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->p ? b->cap - b->n + 1 : 0;
    int n = vsnprintf(b->p ? b->p + b->n : NULL, room, fmt, ap);
    enum np_err err = NP_OK;
    if (n < 0) {
        b->failed = true;
        err = NP_E_INVALID;
    } else if ((size_t)n >= room) {
        err = np_buf_reserve(b, (size_t)n);
        if (err == NP_OK && n > 0) {
            vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        }
    }
    if (err == NP_OK) {
        b->n += (size_t)n;
    }
    va_end(again);
    return err;
}

enum np_err np_buf_printf(struct np_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum np_err err = np_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return err;
}

enum np_err np_buf_i64(struct np_buf *b, int64_t v)
{
    if (b->cap - b->n >= NP_DECIMAL_BYTES) {
        b->n = (size_t)(np_decimal_put_i64(b->p + b->n, v) - b->p);
        return NP_OK;
    }
    char text[NP_DECIMAL_BYTES];
    return np_buf_put(b, text, (size_t)(np_decimal_put_i64(text, v) - text));
}

static bool is_harmful(uint32_t c, const char *keep)
{
    if (c < 0x20)
        return c == 0 || !strchr(keep, (int)c);
    return (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void np_buf_harmless(struct np_buf *b, struct np_span s, const char *keep)
{
    uint32_t c;
    for (size_t i = 0, n; i < s.n; i += n) {
        n = np_utf8_next(s.p + i, s.p + s.n, &c);
        if (n > 0 && !is_harmful(c, keep)) {
            np_buf_put(b, s.p + i, n);
            continue;
        }
        n = n ? n : 1;
        for (size_t k = 0; k < n; k++)
            np_buf_printf(b, "\\x%02x", (unsigned)(unsigned char)s.p[i + k]);
    }
}

void np_buf_drop(struct np_buf *b, size_t n)
{
    np_require(n <= b->n);
    if (n > 0 && n < b->n) {
        memmove(b->p, b->p + n, b->n - n);
    }
    b->n -= n;
}
