/* Writing JSON into a bounded buffer. A full buffer marks itself; nobody here looks. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "base/utf8.h"

void np_json_w_init(struct np_json_w *w, struct np_buf *b)
{
    *w = (struct np_json_w){.b = b, .first = 1};
}

/* The comma, where one is due. */
static void separate(struct np_json_w *w)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->first & bit)
        w->first &= ~bit;
    else
        np_buf_char(w->b, ',');
}

void np_json_w_key(struct np_json_w *w, struct np_span key)
{
    separate(w);
    np_buf_char(w->b, '"');
    np_json_escape(w->b, key);
    np_buf_put(w->b, "\":", 2);
    /* What follows is this member's value and takes no comma. */
    w->first |= UINT64_C(1) << w->depth;
}

static char *at_end(struct np_json_w *w, size_t more)
{
    return np_buf_fits(w->b, more) ? w->b->p + w->b->n : NULL;
}

/* Keys that are plain, as nearly all are, go out at once. */
char *np_json_before_slow(struct np_json_w *w, struct np_json_key key, size_t more)
{
    bool known = key.n != SIZE_MAX;
    if (!key.p) {
        separate(w);
        return at_end(w, more);
    }
    if (!known)
        key.n = strlen(key.p);
    if (!np_buf_fits(w->b, key.n + 4 + more))
        return NULL;
    if (!known && np_json_skip_plain(key.p, key.p + key.n) != key.p + key.n) {
        np_json_w_key(w, np_span_make(key.p, key.n));
        separate(w);
        return at_end(w, more);
    }
    return np_json_before_known(w, key);
}

void np_json_opened(struct np_json_w *w, char *p, char open)
{
    np_require(w->depth < 63);
    if (p) {
        *p = open;
        w->b->n = (size_t)(p - w->b->p) + 1;
    }
    w->depth++;
    w->first |= UINT64_C(1) << w->depth;
}

void np_json_w_end(struct np_json_w *w, char close)
{
    np_require(w->depth > 0);
    w->depth--;
    np_buf_char(w->b, close);
}

void np_json_put_f64(struct np_json_w *w, struct np_json_key key, double v)
{
    char text[32] = "null";
    /* The shortest that reads back the same. */
    for (int digits = 15; isfinite(v) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (!(strtod(text, NULL) < v) && !(strtod(text, NULL) > v))
            break;
    }
    size_t n = strlen(text);
    char *p = np_json_before(w, key, n);
    if (p) {
        memcpy(p, text, n);
        w->b->n = (size_t)(p - w->b->p) + n;
    }
}

static void escape_ascii(struct np_buf *b, unsigned char c)
{
    static const char letters[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                   ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
    static const char hex[] = "0123456789abcdef";
    if (c < sizeof letters && letters[c]) {
        np_buf_put(b, (char[]){'\\', letters[c]}, 2);
        return;
    }
    np_buf_put(b, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void np_json_escape(struct np_buf *b, struct np_span s)
{
    if (s.n == 0)
        return;
    const char *p = s.p, *run = s.p, *end = s.p + s.n;
    for (;;) {
        p = np_json_skip_plain(p, end);
        uint32_t cp = 0;
        size_t n = p < end && (unsigned char)*p >= 0x80 ? np_utf8_next(p, end, &cp) : 0;
        if (n > 0 && cp != 0x2028 && cp != 0x2029) {
            p += n;
            continue;
        }
        np_buf_put(b, run, (size_t)(p - run));
        if (p == end)
            return;
        if (n > 0)
            np_buf_puts(b, cp == 0x2028 ? "\\u2028" : "\\u2029");
        else if ((unsigned char)*p >= 0x80)
            np_buf_put(b, "\xef\xbf\xbd", 3);
        else
            escape_ascii(b, (unsigned char)*p);
        p += n > 0 ? n : 1;
        run = p;
    }
}

#define LONG_BYTES 512 /* written twice if something in it is to be escaped */
#define ONES UINT64_C(0x0101010101010101)

/* Bit 7 of a byte of the result is set where one of w is no plain one; nothing is set where all are. */
static uint64_t odd_bytes(uint64_t w)
{
    return w | (w - ONES * 0x20) | ((w ^ ONES * '"') - ONES) | ((w ^ ONES * '\\') - ONES);
}

static inline uint64_t copy_8(char *to, const char *from)
{
    uint64_t w;
    memcpy(&w, from, 8);
    memcpy(to, &w, 8);
    return odd_bytes(w);
}

/* Copies s; whether all of it is plain. */
static bool copy_plain(char *to, struct np_span s)
{
    uint64_t odd = 0;
    uint32_t low, high;
    size_t i = 0;
    if (s.n >= 8) {
        for (; i + 8 < s.n; i += 8)
            odd |= copy_8(to + i, s.p + i);
        odd |= copy_8(to + s.n - 8, s.p + s.n - 8);
    } else if (s.n >= 4) {
        memcpy(&low, s.p, 4);
        memcpy(&high, s.p + s.n - 4, 4);
        memcpy(to, &low, 4);
        memcpy(to + s.n - 4, &high, 4);
        odd = odd_bytes((uint64_t)high << 32 | low);
    } else {
        for (; i < s.n; i++) {
            to[i] = s.p[i];
            odd |= np_json_is_plain((unsigned char)s.p[i]) ? 0 : 0x80;
        }
    }
    return (odd & ONES * 0x80) == 0;
}

/* There is room for s and two quotes. What takes more grows the buffer; a failure marks it. */
void np_json_put_string(struct np_json_w *w, char *p, struct np_span s)
{
    struct np_buf *b = w->b;
    b->n = (size_t)(p - b->p) + 1;
    *p = '"';
    if (s.n <= LONG_BYTES && copy_plain(p + 1, s)) {
        p[s.n + 1] = '"';
        b->n += s.n + 1;
        return;
    }
    np_json_escape(b, s);
    np_buf_char(b, '"');
}
