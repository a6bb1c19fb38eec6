/* OTLP's two encodings. A protobuf message's length stands before its bytes: one byte is left for it,
 * and the bytes are moved where it takes more. */
#include "base/otlp.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

void np_otlp_init(struct np_otlp *o, struct np_buf *b, bool json)
{
    *o = (struct np_otlp){.b = b, .json = json};
    np_json_w_init(&o->w, b);
}

/* --- protobuf ----------------------------------------------------------------------------------- */

static size_t encode(uint64_t v, unsigned char out[10])
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (unsigned char)(v | 0x80);
    out[n++] = (unsigned char)v;
    return n;
}

static void varint(struct np_buf *b, uint64_t v)
{
    unsigned char bytes[10];
    (void)np_buf_put(b, bytes, encode(v, bytes));
}

static void tag(struct np_buf *b, unsigned field, unsigned wire)
{
    varint(b, (uint64_t)field << 3 | wire);
}

static void fixed64(struct np_buf *b, uint64_t v)
{
    unsigned char bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    (void)np_buf_put(b, bytes, sizeof bytes);
}

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* How long s is with each byte that is not UTF-8 replaced. */
static size_t clean_bytes(struct np_span s)
{
    size_t n = 0;
    uint32_t cp;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        size_t step = (unsigned char)*p < 0x80 ? 1 : np_utf8_next(p, end, &cp);
        n += step ? step : 3;
        p += step ? step : 1;
    }
    return n;
}

static void put_clean(struct np_buf *b, struct np_span s)
{
    uint32_t cp;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        size_t step = (unsigned char)*p < 0x80 ? 1 : np_utf8_next(p, end, &cp);
        (void)np_buf_put(b, step ? p : "\xef\xbf\xbd", step ? step : 3);
        p += step ? step : 1;
    }
}

static void text(struct np_buf *b, unsigned field, struct np_span s)
{
    size_t n = clean_bytes(s);
    tag(b, field, WIRE_BYTES);
    varint(b, n);
    if (n == s.n)
        (void)np_buf_span(b, s);
    else
        put_clean(b, s);
}

/* --- messages ----------------------------------------------------------------------------------- */

void np_otlp_begin(struct np_otlp *o, unsigned field, const char *name)
{
    if (o->json) {
        np_json_w_begin_key(&o->w, name, '{');
        return;
    }
    np_require(o->depth < NP_OTLP_DEPTH);
    tag(o->b, field, WIRE_BYTES);
    (void)np_buf_char(o->b, '\0');
    o->at[o->depth++] = o->b->n;
}

void np_otlp_end(struct np_otlp *o)
{
    if (o->json) {
        np_json_w_end(&o->w, '}');
        return;
    }
    np_require(o->depth > 0);
    size_t at = o->at[--o->depth];
    if (np_buf_failed(o->b))
        return;
    unsigned char bytes[10];
    size_t length = o->b->n - at, n = encode(length, bytes);
    if (n > 1) {
        if (np_buf_reserve(o->b, n - 1))
            return;
        memmove(o->b->p + at + n - 1, o->b->p + at, length);
        o->b->n += n - 1;
    }
    memcpy(o->b->p + at - 1, bytes, n);
}

void np_otlp_list(struct np_otlp *o, const char *name)
{
    if (o->json)
        np_json_w_begin_key(&o->w, name, '[');
}

void np_otlp_list_end(struct np_otlp *o)
{
    if (o->json)
        np_json_w_end(&o->w, ']');
}

/* --- values ------------------------------------------------------------------------------------- */

/* 64-bit integers are texts in JSON. */
static void json_u64(struct np_otlp *o, const char *name, uint64_t v)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, v);
    np_json_w_cstr(&o->w, name, digits);
}

static void json_double(struct np_otlp *o, const char *name, double v)
{
    if (isfinite(v))
        np_json_w_f64(&o->w, name, v);
    else
        np_json_w_cstr(&o->w, name, isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
}

void np_otlp_text(struct np_otlp *o, unsigned field, const char *name, struct np_span s)
{
    if (o->json)
        np_json_w_str(&o->w, name, s);
    else
        text(o->b, field, s);
}

void np_otlp_id(struct np_otlp *o, unsigned field, const char *name, const uint8_t *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char hex[64];
    if (!o->json) {
        tag(o->b, field, WIRE_BYTES);
        varint(o->b, n);
        (void)np_buf_put(o->b, id, n);
        return;
    }
    np_require(n * 2 <= sizeof hex);
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[id[i] >> 4];
        hex[2 * i + 1] = digits[id[i] & 15];
    }
    np_json_w_str(&o->w, name, np_span_make(hex, 2 * n));
}

void np_otlp_fixed(struct np_otlp *o, unsigned field, const char *name, uint64_t v)
{
    if (o->json) {
        json_u64(o, name, v);
        return;
    }
    tag(o->b, field, WIRE_FIXED64);
    fixed64(o->b, v);
}

void np_otlp_fixed32(struct np_otlp *o, unsigned field, const char *name, uint32_t v)
{
    if (o->json) {
        np_json_w_i64(&o->w, name, v);
        return;
    }
    const unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8),
                                    (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
    tag(o->b, field, WIRE_FIXED32);
    (void)np_buf_put(o->b, bytes, sizeof bytes);
}

void np_otlp_double(struct np_otlp *o, unsigned field, const char *name, double v)
{
    if (o->json) {
        json_double(o, name, v);
        return;
    }
    tag(o->b, field, WIRE_FIXED64);
    fixed64(o->b, bits_of(v));
}

void np_otlp_enum(struct np_otlp *o, unsigned field, const char *name, unsigned v)
{
    if (o->json) {
        np_json_w_i64(&o->w, name, v);
        return;
    }
    tag(o->b, field, WIRE_VARINT);
    varint(o->b, v);
}

void np_otlp_bool(struct np_otlp *o, unsigned field, const char *name, bool v)
{
    if (o->json)
        np_json_w_bool(&o->w, name, v);
    else
        np_otlp_enum(o, field, name, v);
}

static void begin_packed(struct np_otlp *o, unsigned field, const char *name, size_t n)
{
    if (o->json) {
        np_json_w_begin_key(&o->w, name, '[');
        return;
    }
    tag(o->b, field, WIRE_BYTES);
    varint(o->b, 8 * n);
}

void np_otlp_fixeds(struct np_otlp *o, unsigned field, const char *name, const uint64_t *v,
                    size_t n)
{
    begin_packed(o, field, name, n);
    for (size_t i = 0; i < n; i++) {
        if (o->json)
            json_u64(o, NULL, v[i]);
        else
            fixed64(o->b, v[i]);
    }
    np_otlp_list_end(o);
}

void np_otlp_doubles(struct np_otlp *o, unsigned field, const char *name, const double *v, size_t n)
{
    begin_packed(o, field, name, n);
    for (size_t i = 0; i < n; i++) {
        if (o->json)
            json_double(o, NULL, v[i]);
        else
            fixed64(o->b, bits_of(v[i]));
    }
    np_otlp_list_end(o);
}

/* --- attributes --------------------------------------------------------------------------------- */

/* KeyValue { key = 1; AnyValue value = 2 { string = 1, bool = 2, int = 3, double = 4, array = 5 } } */
static void begin_attr(struct np_otlp *o, unsigned field, const char *key)
{
    np_otlp_begin(o, field, NULL);
    np_otlp_text(o, 1, "key", np_span_of(key));
    np_otlp_begin(o, 2, "value");
}

static void end_attr(struct np_otlp *o)
{
    np_otlp_end(o);
    np_otlp_end(o);
}

void np_otlp_attr(struct np_otlp *o, unsigned field, const char *key, struct np_span s)
{
    begin_attr(o, field, key);
    np_otlp_text(o, 1, "stringValue", s);
    end_attr(o);
}

void np_otlp_attr_i64(struct np_otlp *o, unsigned field, const char *key, int64_t v)
{
    begin_attr(o, field, key);
    if (o->json) {
        char digits[24];
        (void)snprintf(digits, sizeof digits, "%" PRId64, v);
        np_json_w_cstr(&o->w, "intValue", digits);
    } else {
        tag(o->b, 3, WIRE_VARINT);
        varint(o->b, (uint64_t)v);
    }
    end_attr(o);
}

void np_otlp_attr_f64(struct np_otlp *o, unsigned field, const char *key, double v)
{
    begin_attr(o, field, key);
    np_otlp_double(o, 4, "doubleValue", v);
    end_attr(o);
}

void np_otlp_attr_bool(struct np_otlp *o, unsigned field, const char *key, bool v)
{
    begin_attr(o, field, key);
    np_otlp_bool(o, 2, "boolValue", v);
    end_attr(o);
}

void np_otlp_attr_list(struct np_otlp *o, unsigned field, const char *key, struct np_span s)
{
    begin_attr(o, field, key);
    np_otlp_begin(o, 5, "arrayValue");
    np_otlp_list(o, "values");
    np_otlp_begin(o, 1, NULL);
    np_otlp_text(o, 1, "stringValue", s);
    np_otlp_end(o);
    np_otlp_list_end(o);
    np_otlp_end(o);
    end_attr(o);
}

/* --- reading ------------------------------------------------------------------------------------ */

static bool take_varint(struct np_span *rest, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 10 && i < rest->n; i++) {
        unsigned char byte = (unsigned char)rest->p[i];
        *out |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = np_span_make(rest->p + i + 1, rest->n - i - 1);
            return true;
        }
    }
    return false;
}

bool np_otlp_next(struct np_span *rest, unsigned *field, uint64_t *number, struct np_span *bytes)
{
    uint64_t head, n;
    *number = 0;
    *bytes = NP_SPAN_NONE;
    if (!take_varint(rest, &head) || head >> 3 == 0 || head >> 3 > 536870911)
        return false;
    *field = (unsigned)(head >> 3);
    switch (head & 7) {
    case WIRE_VARINT:
        return take_varint(rest, number);
    case WIRE_BYTES:
        if (!take_varint(rest, &n))
            return false;
        break;
    case WIRE_FIXED64:
        n = 8;
        break;
    case WIRE_FIXED32:
        n = 4;
        break;
    default:
        return false;
    }
    if (n > rest->n)
        return false;
    *bytes = np_span_make(rest->p, (size_t)n);
    *rest = np_span_make(rest->p + n, rest->n - (size_t)n);
    return true;
}
