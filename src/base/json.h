/* JSON on raw bytes: a strict check (RFC 8259, UTF-8, bounded depth, no lone surrogates), walks over
 * text that has passed the check, and a writer. Nothing is built in memory: values are views.
 *
 * np_json_check must have accepted a text before any other reader here may see it. */
#ifndef NP_BASE_JSON_H
#define NP_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/decimal.h"
#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

#define NP_JSON_DEPTH 64

struct np_json_fault {
    size_t offset;    /* byte at which it went wrong */
    unsigned line;    /* from 1 */
    unsigned column;  /* from 1, in bytes */
    const char *what; /* "a comma or } expected"; static */
};

/* The whole text is one value with blanks around it, nothing else. NP_E_SYNTAX fills *fault.
 * max_depth is at most NP_JSON_DEPTH. */
enum np_err np_json_check(struct np_span text, unsigned max_depth,
                          struct np_json_fault *fault) NP_MUST_CHECK;

/* From behind an opening quote: the closing one of a string that the check would pass; NULL: there is none. */
const char *np_json_string(const char *p, const char *end);

enum np_json_kind {
    NP_JSON_NULL,
    NP_JSON_FALSE,
    NP_JSON_TRUE,
    NP_JSON_NUMBER,
    NP_JSON_STRING,
    NP_JSON_ARRAY,
    NP_JSON_OBJECT
};

/* By the first byte of a value; blanks before it are skipped. */
enum np_json_kind np_json_kind(struct np_span value);
/* "a string", "an object", … for messages. */
const char *np_json_kind_name(enum np_json_kind kind);

/* A walk over the members of one object or the items of one array. */
struct np_json_walk {
    const char *p;
    const char *end;
};

/* value must be an object or an array (np_require). Blanks around it are allowed. */
struct np_json_walk np_json_walk(struct np_span value);
/* The next member: its key as written between the quotes (escapes kept) and its value without
 * blanks around it. False at the end. */
bool np_json_member(struct np_json_walk *w, struct np_span *key, struct np_span *value);
bool np_json_item(struct np_json_walk *w, struct np_span *value);
/* The last member of this (unescaped) name; false when there is none, or the value is no object. Linear. */
bool np_json_get(struct np_span object, const char *key, struct np_span *value);

/* The inside of a string value, escapes kept. */
struct np_span np_json_inner(struct np_span string_value);
/* A string value without quotes and escapes: the view itself when it holds none, else a copy in the
 * arena. NP_E_NOMEM, or NP_E_INVALID when it holds U+0000 and allow_nul is false. */
enum np_err np_json_text(struct np_arena *a, struct np_span string_value, bool allow_nul,
                         struct np_span *out) NP_MUST_CHECK;
/* Appends a string value without quotes and escapes, U+0000 too. NP_E_FULL, NP_E_NOMEM. */
enum np_err np_json_put_text(struct np_buf *b, struct np_span string_value);
/* A number that is whole ("4", "4.0", "4e2" are) and fits. NP_E_INVALID otherwise. */
enum np_err np_json_i64(struct np_span number, int64_t *out) NP_MUST_CHECK;
enum np_err np_json_double(struct np_span number, double *out) NP_MUST_CHECK;

/* Writing. The caller keeps commas in order by np_json_w's own state. */
struct np_json_w {
    struct np_buf *b;
    uint64_t first; /* a bit a level: nothing was written yet */
    unsigned depth;
};

void np_json_w_init(struct np_json_w *w, struct np_buf *b);
void np_json_w_end(struct np_json_w *w, char close);

/* Members and items: key NULL is an item. A key whose length the compiler knows goes out as it is: no quote,
 * backslash, control or byte above ASCII may be in it. Any other is looked at. */
struct np_json_key {
    const char *p;
    size_t n; /* SIZE_MAX: not known */
};
#define NP_JSON_W __attribute__((always_inline)) static inline
NP_JSON_W struct np_json_key np_json_key(const char *key)
{
    bool known = __builtin_constant_p(key ? strlen(key) : 0);
    return (struct np_json_key){key, known && key ? strlen(key) : SIZE_MAX};
}

/* There is room for it. */
NP_JSON_W char *np_json_before_known(struct np_json_w *w, struct np_json_key key)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    char *p = w->b->p + w->b->n;
    *p = ',';
    p += (w->first & bit) == 0;
    w->first &= ~bit;
    *p++ = '"';
    memcpy(p, key.p, key.n);
    p += key.n;
    memcpy(p, "\":", 2);
    return p + 2;
}
/* What stands before a value: the comma and the key, where they are due, with room behind them for `more` bytes.
 * Where the value goes; NULL: the buffer has failed. The buffer's n does not count any of it yet. */
char *np_json_before_slow(struct np_json_w *w, struct np_json_key key, size_t more);
NP_JSON_W char *np_json_before(struct np_json_w *w, struct np_json_key key, size_t more)
{
    struct np_buf *b = w->b;
    if (!key.p || key.n == SIZE_MAX || key.n + 4 + more > b->cap - b->n)
        return np_json_before_slow(w, key, more);
    return np_json_before_known(w, key);
}

void np_json_opened(struct np_json_w *w, char *p, char open);
void np_json_put_string(struct np_json_w *w, char *p, struct np_span s);
void np_json_put_f64(struct np_json_w *w, struct np_json_key key, double v);

NP_JSON_W void np_json_w_begin_key(struct np_json_w *w, const char *key, char open)
{
    np_json_opened(w, np_json_before(w, np_json_key(key), 1), open);
}
NP_JSON_W void np_json_w_begin(struct np_json_w *w, char open) /* '{' or '[' as an item */
{
    np_json_opened(w, np_json_before(w, np_json_key(NULL), 1), open);
}
NP_JSON_W void np_json_w_str(struct np_json_w *w, const char *key, struct np_span s)
{
    char *p = np_json_before(w, np_json_key(key), s.n + 2);
    if (p)
        np_json_put_string(w, p, s);
}
NP_JSON_W void np_json_w_raw(struct np_json_w *w, const char *key, struct np_span json)
{
    char *p = np_json_before(w, np_json_key(key), json.n);
    if (p) {
        memcpy(p, json.n > 0 ? json.p : "", json.n);
        w->b->n = (size_t)(p - w->b->p) + json.n;
    }
}
NP_JSON_W void np_json_w_cstr(struct np_json_w *w, const char *key, const char *s) /* NULL: null */
{
    if (s)
        np_json_w_str(w, key, np_span_of(s));
    else
        np_json_w_raw(w, key, NP_SPAN("null"));
}
NP_JSON_W void np_json_w_i64(struct np_json_w *w, const char *key, int64_t v)
{
    char *p = np_json_before(w, np_json_key(key), NP_DECIMAL_BYTES);
    if (p)
        w->b->n = (size_t)(np_decimal_put_i64(p, v) - w->b->p);
}
/* v billionths as a decimal number. */
NP_JSON_W void np_json_w_nano(struct np_json_w *w, const char *key, int64_t v)
{
    char *p = np_json_before(w, np_json_key(key), NP_DECIMAL_BYTES);
    if (p)
        w->b->n = (size_t)(np_decimal_put_nano(p, v) - w->b->p);
}
NP_JSON_W void np_json_w_f64(struct np_json_w *w, const char *key, double v) /* NaN, inf: null */
{
    np_json_put_f64(w, np_json_key(key), v);
}
NP_JSON_W void np_json_w_bool(struct np_json_w *w, const char *key, bool v)
{
    np_json_w_raw(w, key, v ? NP_SPAN("true") : NP_SPAN("false"));
}
NP_JSON_W void np_json_w_null(struct np_json_w *w, const char *key)
{
    np_json_w_raw(w, key, NP_SPAN("null"));
}
#undef NP_JSON_W
/* An object member whose name is a span. */
void np_json_w_key(struct np_json_w *w, struct np_span key);
/* Appends s escaped, without quotes. Bytes that are not UTF-8 become U+FFFD; U+2028 and U+2029 are
 * escaped, so that the text is safe in logs and scripts too. */
void np_json_escape(struct np_buf *b, struct np_span s);

#endif
