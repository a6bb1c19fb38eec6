/* Walks over JSON that has passed np_json_check, and its values as C has them. Because of the check
 * nothing here meets a malformed text; what would be one ends the process. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"
#include "base/json_scan.h"
#include "base/utf8.h"

/* Numbers up to this long are given to strtod as they stand. */
#define NUMBER_TEXT 64
/* Significant digits that decide about a double (17 do for all but exact ties). */
#define NUMBER_DIGITS 40

/* After the opening quote: the place of the closing one. Short strings end within the first words;
 * for long ones the C library's memchr is faster. */
static const char *string_end(const char *p, const char *end)
{
    for (int words = 0; words < 3 && end - p >= 8; words++) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t marks = np_json_equal_bytes(w, '"') | np_json_equal_bytes(w, '\\');
        if (!marks) {
            p += 8;
            continue;
        }
        p += np_json_first_mark(marks);
        if (*p == '"')
            return p;
        if (*p == '\\')
            p += 2;
    }
    const char *start = p;
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        np_require(quote);
        const char *q = quote;
        while (q > start && q[-1] == '\\')
            q--;
        if ((quote - q) % 2 == 0)
            return quote;
        p = start = quote + 1;
    }
}

/* At a bracket: past the one that closes it. */
static const char *nested_end(const char *p, const char *end)
{
    unsigned depth = 0;
    for (; p < end; p++) {
        switch (*p) {
        case '"':
            p = string_end(p + 1, end);
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return p + 1;
            break;
        default:
            break;
        }
    }
    np_require(depth == 0);
    return end;
}

static const char *value_end(const char *p, const char *end)
{
    np_require(p < end);
    if (*p == '"')
        return string_end(p + 1, end) + 1;
    if (*p == '{' || *p == '[')
        return nested_end(p, end);
    while (p < end && *p != ',' && *p != '}' && *p != ']' && !np_json_is_blank(*p))
        p++;
    return p;
}

enum np_json_kind np_json_kind(struct np_span value)
{
    const char *end = value.p + value.n;
    const char *p = np_json_skip_blank(value.p, end);
    np_require(p < end);
    switch (*p) {
    case 'n':
        return NP_JSON_NULL;
    case 'f':
        return NP_JSON_FALSE;
    case 't':
        return NP_JSON_TRUE;
    case '"':
        return NP_JSON_STRING;
    case '[':
        return NP_JSON_ARRAY;
    case '{':
        return NP_JSON_OBJECT;
    default:
        return NP_JSON_NUMBER;
    }
}

const char *np_json_kind_name(enum np_json_kind kind)
{
    static const char *const names[] = {
        [NP_JSON_NULL] = "null",       [NP_JSON_FALSE] = "false",     [NP_JSON_TRUE] = "true",
        [NP_JSON_NUMBER] = "a number", [NP_JSON_STRING] = "a string", [NP_JSON_ARRAY] = "a list",
        [NP_JSON_OBJECT] = "an object"};
    return names[kind];
}

struct np_json_walk np_json_walk(struct np_span value)
{
    const char *end = value.p + value.n;
    const char *p = np_json_skip_blank(value.p, end);
    np_require(p < end && (*p == '{' || *p == '['));
    return (struct np_json_walk){p + 1, end};
}

/* Past blanks and the comma; false at the closing bracket. */
static bool walk_on(struct np_json_walk *w)
{
    w->p = np_json_skip_blank(w->p, w->end);
    if (w->p < w->end && *w->p == ',')
        w->p = np_json_skip_blank(w->p + 1, w->end);
    np_require(w->p < w->end);
    return *w->p != '}' && *w->p != ']';
}

static struct np_span walk_value(struct np_json_walk *w)
{
    const char *p = w->p;
    w->p = value_end(p, w->end);
    return np_span_make(p, (size_t)(w->p - p));
}

bool np_json_member(struct np_json_walk *w, struct np_span *key, struct np_span *value)
{
    if (!walk_on(w))
        return false;
    np_require(*w->p == '"');
    const char *p = w->p + 1;
    w->p = string_end(p, w->end);
    *key = np_span_make(p, (size_t)(w->p - p));
    w->p = np_json_skip_blank(w->p + 1, w->end);
    np_require(w->p < w->end && *w->p == ':');
    w->p = np_json_skip_blank(w->p + 1, w->end);
    *value = walk_value(w);
    return true;
}

bool np_json_item(struct np_json_walk *w, struct np_span *value)
{
    if (!walk_on(w))
        return false;
    *value = walk_value(w);
    return true;
}

bool np_json_get(struct np_span object, const char *key, struct np_span *value)
{
    if (np_json_kind(object) != NP_JSON_OBJECT)
        return false;
    struct np_json_walk w = np_json_walk(object);
    struct np_span k, v, want = np_span_of(key);
    bool found = false;
    while (np_json_member(&w, &k, &v)) {
        if (np_span_eq(k, want)) {
            *value = v;
            found = true;
        }
    }
    return found;
}

/* Without the blanks around it. */
static struct np_span trimmed(struct np_span s)
{
    while (s.n > 0 && np_json_is_blank(s.p[s.n - 1]))
        s.n--;
    while (s.n > 0 && np_json_is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    return s;
}

struct np_span np_json_inner(struct np_span string_value)
{
    struct np_span s = trimmed(string_value);
    np_require(s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"');
    return np_span_make(s.p + 1, s.n - 2);
}

/* The character of the escape at p, a backslash; *p moves past it. */
static uint32_t escaped_char(const char **at)
{
    const char *p = *at + 1;
    *at += 2;
    switch (*p) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return (unsigned char)*p;
    }
    uint32_t c = (uint32_t)np_json_hex4(p + 1);
    *at += 4;
    if ((c & 0xfc00) == 0xd800) {
        uint32_t low = (uint32_t)np_json_hex4(p + 7);
        *at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return c;
}

/* The inside of a string without its escapes, to `out`, which has room for as many bytes; returns how
 * many there are. *nul: U+0000 is among them. */
static size_t unescape(struct np_span in, char *out, bool *nul)
{
    const char *p = in.p, *end = in.p + in.n;
    char *q = out;
    for (const char *escape; (escape = memchr(p, '\\', (size_t)(end - p)));) {
        memcpy(q, p, (size_t)(escape - p));
        q += escape - p;
        uint32_t c = escaped_char(&escape);
        *nul = *nul || c == 0;
        q += np_utf8_put(q, c);
        p = escape;
    }
    memcpy(q, p, (size_t)(end - p));
    return (size_t)(q - out) + (size_t)(end - p);
}

enum np_err np_json_text(struct np_arena *a, struct np_span string_value, bool allow_nul,
                         struct np_span *out)
{
    struct np_span in = np_json_inner(string_value);
    if (in.n == 0 || !memchr(in.p, '\\', in.n)) {
        *out = in;
        return NP_OK;
    }
    /* No escape is shorter than what it stands for. */
    char *copy = np_arena_bytes(a, in.n);
    if (!copy)
        return NP_E_NOMEM;
    bool nul = false;
    *out = np_span_make(copy, unescape(in, copy, &nul));
    return nul && !allow_nul ? NP_E_INVALID : NP_OK;
}

enum np_err np_json_put_text(struct np_buf *b, struct np_span string_value)
{
    struct np_span in = np_json_inner(string_value);
    enum np_err err = np_buf_reserve(b, in.n);
    bool nul = false;
    if (!err && in.n > 0)
        b->n += unescape(in, b->p + b->n, &nul);
    return err;
}

enum np_err np_json_i64(struct np_span number, int64_t *out)
{
    int64_t v;
    if (np_decimal_scaled(trimmed(number), 0, &v))
        return NP_E_INVALID;
    *out = v;
    return NP_OK;
}

/* The exponent that a number is written with, from its e on; 0 without one. Bounded. */
static long long written_exponent(const char *p, const char *end)
{
    if (p == end)
        return 0;
    long long e = 0;
    bool negative = p[1] == '-';
    for (p += 1 + (p[1] == '-' || p[1] == '+'); p < end; p++)
        if (e < 1000000000)
            e = e * 10 + (*p - '0');
    return negative ? -e : e;
}

/* A long number in few digits with the same magnitude; a text for strtod. */
static void shortened_number(struct np_span s, char out[NUMBER_TEXT])
{
    char digits[NUMBER_DIGITS + 1];
    size_t n = 0;
    long long exponent = 0;
    bool point = false;
    const char *p = s.p, *end = s.p + s.n;
    const char *sign = *p == '-' ? "-" : "";
    for (p += *p == '-'; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (n == NUMBER_DIGITS)
            exponent++;
        else if (n > 0 || *p != '0')
            digits[n++] = *p;
        exponent -= point;
    }
    exponent += written_exponent(p, end);
    digits[n] = '\0';
    snprintf(out, NUMBER_TEXT, "%s0%se%lld", sign, digits, exponent);
}

enum np_err np_json_double(struct np_span number, double *out)
{
    struct np_span s = trimmed(number);
    unsigned long long whole;
    if (s.n == 0)
        return NP_E_INVALID;
    if (s.n <= 15 && np_span_to_u64(s, &whole)) {
        *out = (double)whole;
        return NP_OK;
    }
    char text[NUMBER_TEXT];
    if (s.n < sizeof text) {
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
    } else {
        shortened_number(s, text);
    }
    char *end;
    double v = strtod(text, &end);
    if (*end || !isfinite(v))
        return NP_E_INVALID;
    *out = v;
    return NP_OK;
}
