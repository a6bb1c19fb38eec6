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

/* The comma and the key, where they are due. Keys that are plain, as nearly all are, go out at once. */
static void begin_value(struct np_json_w *w, const char *key)
{
    if (!key) {
        separate(w);
        return;
    }
    size_t n = strlen(key);
    uint64_t bit = UINT64_C(1) << w->depth;
    if (np_json_skip_plain(key, key + n) != key + n || np_buf_reserve(w->b, n + 4)) {
        np_json_w_key(w, np_span_make(key, n));
        separate(w);
        return;
    }
    char *p = w->b->p + w->b->n;
    if (!(w->first & bit))
        *p++ = ',';
    w->first &= ~bit;
    *p++ = '"';
    memcpy(p, key, n);
    p += n;
    *p++ = '"';
    *p++ = ':';
    w->b->n = (size_t)(p - w->b->p);
}

void np_json_w_begin_key(struct np_json_w *w, const char *key, char open)
{
    np_require(w->depth < 63);
    begin_value(w, key);
    np_buf_char(w->b, open);
    w->depth++;
    w->first |= UINT64_C(1) << w->depth;
}

void np_json_w_begin(struct np_json_w *w, char open)
{
    np_json_w_begin_key(w, NULL, open);
}

void np_json_w_end(struct np_json_w *w, char close)
{
    np_require(w->depth > 0);
    w->depth--;
    np_buf_char(w->b, close);
}

void np_json_w_str(struct np_json_w *w, const char *key, struct np_span s)
{
    begin_value(w, key);
    (void)np_buf_reserve(w->b, s.n + 2); /* so that it grows once; a failure marks the buffer */
    np_buf_char(w->b, '"');
    np_json_escape(w->b, s);
    np_buf_char(w->b, '"');
}

void np_json_w_cstr(struct np_json_w *w, const char *key, const char *s)
{
    if (s)
        np_json_w_str(w, key, np_span_of(s));
    else
        np_json_w_null(w, key);
}

void np_json_w_i64(struct np_json_w *w, const char *key, int64_t v)
{
    begin_value(w, key);
    np_buf_i64(w->b, v);
}

void np_json_w_f64(struct np_json_w *w, const char *key, double v)
{
    if (!isfinite(v)) {
        np_json_w_null(w, key);
        return;
    }
    begin_value(w, key);
    /* The shortest that reads back the same. */
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (!(strtod(text, NULL) < v) && !(strtod(text, NULL) > v))
            break;
    }
    np_buf_puts(w->b, text);
}

void np_json_w_bool(struct np_json_w *w, const char *key, bool v)
{
    begin_value(w, key);
    np_buf_puts(w->b, v ? "true" : "false");
}

void np_json_w_null(struct np_json_w *w, const char *key)
{
    begin_value(w, key);
    np_buf_put(w->b, "null", 4);
}

void np_json_w_raw(struct np_json_w *w, const char *key, struct np_span json)
{
    begin_value(w, key);
    np_buf_span(w->b, json);
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
