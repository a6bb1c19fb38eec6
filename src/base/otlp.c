/* OTLP's two encodings. A protobuf message's length stands before its bytes: one byte is left for it,
 * and the bytes are moved where it takes more. */
#include "base/otlp.h"

#include "base/copy.h"
#include "base/decimal.h"
#include "base/utf8.h"

#include <math.h>

#define HUGE_ROOM 4 /* of a length: below 256 MB */

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
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(out, &v, 8);
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

static void begin(struct np_otlp *o, unsigned field, const char *name, size_t room)
{
    if (o->json) {
        np_json_w_begin_key(&o->w, name, '{');
        return;
    }
    np_require(o->depth < NP_OTLP_DEPTH);
    unsigned char head[12] = {0};
    (void)np_buf_put(o->b, head, put_tag(head, field, WIRE_BYTES) + room);
    o->open[o->depth].at = o->b->n;
    o->open[o->depth++].room = room;
}

void np_otlp_begin(struct np_otlp *o, unsigned field, const char *name)
{
    begin(o, field, name, 1);
}

void np_otlp_begin_long(struct np_otlp *o, unsigned field, const char *name)
{
    begin(o, field, name, 2);
}

void np_otlp_begin_huge(struct np_otlp *o, unsigned field, const char *name)
{
    begin(o, field, name, HUGE_ROOM);
}

void np_otlp_goes_on(struct np_otlp *o, struct np_buf *b)
{
    o->b = o->w.b = b;
}

void np_otlp_end(struct np_otlp *o)
{
    if (o->json) {
        np_json_w_end(&o->w, '}');
        return;
    }
    np_require(o->depth > 0);
    o->depth--;
    size_t at = o->open[o->depth].at, room = o->open[o->depth].room;
    if (np_buf_failed(o->b))
        return;
    unsigned char bytes[10];
    size_t length = o->b->n - at, n = encode(length, bytes);
    if (room == HUGE_ROOM) {
        for (; n < room; n++) {
            bytes[n - 1] |= 0x80; /* goes on, with zeros */
            bytes[n] = 0;
        }
    }
    if (n != room) {
        if (n > room && np_buf_reserve(o->b, n - room))
            return;
        memmove(o->b->p + at + n - room, o->b->p + at, length);
        o->b->n = o->b->n + n - room;
    }
    memcpy(o->b->p + at - room, bytes, n);
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
    char digits[NP_DECIMAL_BYTES];
    np_json_w_str(&o->w, name, np_span_make(digits, (size_t)(np_decimal_put(digits, v) - digits)));
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
    char hex[2 * NP_OTLP_ID_MAX];
    if (!o->json) {
        unsigned char bytes[20 + NP_OTLP_ID_MAX];
        size_t head = put_length(bytes, field, n);
        np_require(n <= NP_OTLP_ID_MAX);
        memcpy(bytes + head, id, n);
        (void)np_buf_put(o->b, bytes, head + n);
        return;
    }
    np_require(n <= NP_OTLP_ID_MAX);
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

void np_otlp_raw(struct np_otlp *o, struct np_span fields)
{
    np_require(!o->json);
    (void)np_buf_span(o->b, fields);
}

/* --- attributes --------------------------------------------------------------------------------- */

static void begin_attr(struct np_otlp *o, unsigned field, struct np_span key)
{
    np_otlp_begin(o, field, NULL);
    np_otlp_text(o, 1, "key", key);
    np_otlp_begin(o, 2, "value");
}

static void end_attr(struct np_otlp *o)
{
    np_otlp_end(o);
    np_otlp_end(o);
}

/* A request has about thirty attributes, so in protobuf those whose lengths take one byte each are written
 * in place: KeyValue { key = 1; AnyValue value = 2 } up to the value's n bytes. NULL: this is none such. */
static char *quick(struct np_otlp *o, unsigned field, struct np_span key, size_t n)
{
    if (o->json || field > 15 || n > 120 || key.n > 120 - n || !np_buf_fits(o->b, key.n + n + 6))
        return NULL;
    char *p = o->b->p + o->b->n;
    *p++ = (char)(field << 3 | WIRE_BYTES);
    *p++ = (char)(key.n + n + 4);
    *p++ = 1 << 3 | WIRE_BYTES;
    *p++ = (char)key.n;
    np_copy_few(p, key.p, key.n);
    p += key.n;
    *p++ = 2 << 3 | WIRE_BYTES;
    *p++ = (char)n;
    o->b->n = (size_t)(p + n - o->b->p);
    return p;
}

/* AnyValue { string = 1, bool = 2, int = 3, double = 4, array = 5 } */
void np_otlp_put_attr(struct np_otlp *o, unsigned field, struct np_span key, struct np_span s)
{
    char *p = s.n < 100 && all_ascii(s) ? quick(o, field, key, s.n + 2) : NULL;
    if (!p) {
        begin_attr(o, field, key);
        np_otlp_text(o, 1, "stringValue", s);
        end_attr(o);
        return;
    }
    p[0] = 1 << 3 | WIRE_BYTES;
    p[1] = (char)s.n;
    np_copy_few(p + 2, s.p, s.n);
}

void np_otlp_put_i64(struct np_otlp *o, unsigned field, struct np_span key, int64_t v)
{
    char digits[NP_DECIMAL_BYTES];
    unsigned char bytes[11] = {3 << 3 | WIRE_VARINT};
    size_t n = o->json ? 0 : 1 + encode((uint64_t)v, bytes + 1);
    char *p = quick(o, field, key, n);
    if (p) {
        memcpy(p, bytes, n);
        return;
    }
    begin_attr(o, field, key);
    if (o->json)
        np_json_w_str(&o->w, "intValue",
                      np_span_make(digits, (size_t)(np_decimal_put_i64(digits, v) - digits)));
    else
        (void)np_buf_put(o->b, bytes, n);
    end_attr(o);
}

void np_otlp_put_f64(struct np_otlp *o, unsigned field, struct np_span key, double v)
{
    char *p = quick(o, field, key, 9);
    if (!p) {
        begin_attr(o, field, key);
        np_otlp_double(o, 4, "doubleValue", v);
        end_attr(o);
        return;
    }
    unsigned char bytes[8];
    put_fixed64(bytes, bits_of(v));
    p[0] = 4 << 3 | WIRE_FIXED64;
    memcpy(p + 1, bytes, sizeof bytes);
}

void np_otlp_put_bool(struct np_otlp *o, unsigned field, struct np_span key, bool v)
{
    char *p = quick(o, field, key, 2);
    if (!p) {
        begin_attr(o, field, key);
        np_otlp_bool(o, 2, "boolValue", v);
        end_attr(o);
        return;
    }
    p[0] = 2 << 3 | WIRE_VARINT;
    p[1] = v;
}

void np_otlp_put_list(struct np_otlp *o, unsigned field, struct np_span key, struct np_span s)
{
    char *p = s.n < 100 && all_ascii(s) ? quick(o, field, key, s.n + 6) : NULL;
    if (p) {
        *p++ = 5 << 3 | WIRE_BYTES;
        *p++ = (char)(s.n + 4);
        *p++ = 1 << 3 | WIRE_BYTES;
        *p++ = (char)(s.n + 2);
        *p++ = 1 << 3 | WIRE_BYTES;
        *p++ = (char)s.n;
        memcpy(p, s.n > 0 ? s.p : "", s.n);
        return;
    }
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
