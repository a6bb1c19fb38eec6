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

/* A field's head: its number and kind. */
static size_t put_tag(unsigned char out[10], unsigned field, unsigned wire)
{
    return encode((uint64_t)field << 3 | wire, out);
}

static void put_fixed64(unsigned char out[8], uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void put_varint(struct np_buf *b, unsigned field, uint64_t v)
{
    unsigned char bytes[20];
    size_t n = put_tag(bytes, field, WIRE_VARINT);
    n += encode(v, bytes + n);
    (void)np_buf_put(b, bytes, n);
}

static void put_64(struct np_buf *b, unsigned field, uint64_t v)
{
    unsigned char bytes[18];
    size_t n = put_tag(bytes, field, WIRE_FIXED64);
    put_fixed64(bytes + n, v);
    (void)np_buf_put(b, bytes, n + 8);
}

/* The head of a field of n bytes. */
static size_t put_length(unsigned char out[20], unsigned field, size_t n)
{
    size_t at = put_tag(out, field, WIRE_BYTES);
    return at + encode(n, out + at);
}

static bool all_ascii(struct np_span s)
{
    uint64_t any = 0, eight;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&eight, s.p + i, 8);
        any |= eight;
    }
    for (; i < s.n; i++)
        any |= (unsigned char)s.p[i];
    return (any & UINT64_C(0x8080808080808080)) == 0;
}

/* How long s is with each byte that is not UTF-8 replaced. */
static size_t clean_bytes(struct np_span s)
{
    size_t n = 0;
    uint32_t cp;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        size_t step = np_utf8_next(p, end, &cp);
        n += step ? step : 3;
        p += step ? step : 1;
    }
    return n;
}

static void put_clean(struct np_buf *b, struct np_span s)
{
    uint32_t cp;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        size_t step = np_utf8_next(p, end, &cp);
        (void)np_buf_put(b, step ? p : "\xef\xbf\xbd", step ? step : 3);
        p += step ? step : 1;
    }
}

static void put_text(struct np_buf *b, unsigned field, struct np_span s)
{
    unsigned char head[20];
    size_t n = all_ascii(s) ? s.n : clean_bytes(s);
    if (np_buf_reserve(b, sizeof head + n))
        return;
    (void)np_buf_put(b, head, put_length(head, field, n));
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
    unsigned char head[11];
    size_t n = put_tag(head, field, WIRE_BYTES);
    head[n] = 0;
    (void)np_buf_put(o->b, head, n + 1);
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
        put_text(o->b, field, s);
}

void np_otlp_id(struct np_otlp *o, unsigned field, const char *name, const uint8_t *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char hex[64];
    if (!o->json) {
        unsigned char head[20];
        (void)np_buf_put(o->b, head, put_length(head, field, n));
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
    put_64(o->b, field, v);
}

void np_otlp_fixed32(struct np_otlp *o, unsigned field, const char *name, uint32_t v)
{
    if (o->json) {
        np_json_w_i64(&o->w, name, v);
        return;
    }
    unsigned char bytes[18];
    size_t n = put_tag(bytes, field, WIRE_FIXED32);
    put_fixed64(bytes + n, v);
    (void)np_buf_put(o->b, bytes, n + 4);
}

void np_otlp_double(struct np_otlp *o, unsigned field, const char *name, double v)
{
    if (o->json) {
        json_double(o, name, v);
        return;
    }
    put_64(o->b, field, bits_of(v));
}

void np_otlp_enum(struct np_otlp *o, unsigned field, const char *name, unsigned v)
{
    if (o->json) {
        np_json_w_i64(&o->w, name, v);
        return;
    }
    put_varint(o->b, field, v);
}

void np_otlp_bool(struct np_otlp *o, unsigned field, const char *name, bool v)
{
    if (o->json)
        np_json_w_bool(&o->w, name, v);
    else
        np_otlp_enum(o, field, name, v);
}

static void put_raw_64(struct np_buf *b, uint64_t v)
{
    unsigned char bytes[8];
    put_fixed64(bytes, v);
    (void)np_buf_put(b, bytes, sizeof bytes);
}

static void begin_packed(struct np_otlp *o, unsigned field, const char *name, size_t n)
{
    if (o->json) {
        np_json_w_begin_key(&o->w, name, '[');
        return;
    }
    unsigned char head[20];
    (void)np_buf_put(o->b, head, put_length(head, field, 8 * n));
}

void np_otlp_fixeds(struct np_otlp *o, unsigned field, const char *name, const uint64_t *v,
                    size_t n)
{
    begin_packed(o, field, name, n);
    for (size_t i = 0; i < n; i++) {
        if (o->json)
            json_u64(o, NULL, v[i]);
        else
            put_raw_64(o->b, v[i]);
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
            put_raw_64(o->b, bits_of(v[i]));
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

/* An attribute whose lengths take one byte each, as nearly all do, at p; behind it. */
static char *put_short_attr(char *p, unsigned field, struct np_span key, const unsigned char *head,
                            size_t n_head, struct np_span rest)
{
    *p++ = (char)(field << 3 | WIRE_BYTES);
    *p++ = (char)(4 + key.n + n_head + rest.n);
    *p++ = 1 << 3 | WIRE_BYTES;
    *p++ = (char)key.n;
    memcpy(p, key.p, key.n);
    p += key.n;
    *p++ = 2 << 3 | WIRE_BYTES;
    *p++ = (char)(n_head + rest.n);
    for (size_t i = 0; i < n_head; i++)
        *p++ = (char)head[i];
    if (rest.n > 0)
        memcpy(p, rest.p, rest.n);
    return p + rest.n;
}

/* All of an attribute at once, as there are many: `head` begins the AnyValue, `rest` ends it. */
static void put_attr(struct np_buf *b, unsigned field, const char *name, const unsigned char *head,
                     size_t n_head, struct np_span rest)
{
    struct np_span key = np_span_of(name);
    size_t any = n_head + rest.n;
    if (np_buf_reserve(b, 64 + key.n + any))
        return;
    if (field < 16 && key.n + any < 120) {
        b->n = (size_t)(put_short_attr(b->p + b->n, field, key, head, n_head, rest) - b->p);
        return;
    }
    unsigned char bytes[60];
    size_t n_key = put_length(bytes, 1, key.n), n_any = put_length(bytes + 20, 2, any);
    size_t n_all = put_length(bytes + 40, field, n_key + key.n + n_any + any);
    (void)np_buf_put(b, bytes + 40, n_all);
    (void)np_buf_put(b, bytes, n_key);
    (void)np_buf_span(b, key);
    (void)np_buf_put(b, bytes + 20, n_any);
    (void)np_buf_put(b, head, n_head);
    (void)np_buf_span(b, rest);
}

void np_otlp_attr(struct np_otlp *o, unsigned field, const char *key, struct np_span s)
{
    unsigned char head[20];
    if (!o->json && all_ascii(s)) {
        put_attr(o->b, field, key, head, put_length(head, 1, s.n), s);
        return;
    }
    begin_attr(o, field, key);
    np_otlp_text(o, 1, "stringValue", s);
    end_attr(o);
}

void np_otlp_attr_i64(struct np_otlp *o, unsigned field, const char *key, int64_t v)
{
    if (!o->json) {
        unsigned char head[20];
        size_t n = put_tag(head, 3, WIRE_VARINT);
        n += encode((uint64_t)v, head + n);
        put_attr(o->b, field, key, head, n, NP_SPAN_NONE);
        return;
    }
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRId64, v);
    begin_attr(o, field, key);
    np_json_w_cstr(&o->w, "intValue", digits);
    end_attr(o);
}

void np_otlp_attr_f64(struct np_otlp *o, unsigned field, const char *key, double v)
{
    if (!o->json) {
        unsigned char head[18];
        size_t n = put_tag(head, 4, WIRE_FIXED64);
        put_fixed64(head + n, bits_of(v));
        put_attr(o->b, field, key, head, n + 8, NP_SPAN_NONE);
        return;
    }
    begin_attr(o, field, key);
    json_double(o, "doubleValue", v);
    end_attr(o);
}

void np_otlp_attr_bool(struct np_otlp *o, unsigned field, const char *key, bool v)
{
    if (!o->json) {
        const unsigned char head[] = {2 << 3 | WIRE_VARINT, v};
        put_attr(o->b, field, key, head, sizeof head, NP_SPAN_NONE);
        return;
    }
    begin_attr(o, field, key);
    np_json_w_bool(&o->w, "boolValue", v);
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
