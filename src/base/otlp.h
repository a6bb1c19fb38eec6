/* Writing messages of OTLP, the OpenTelemetry protocol, in either of its two encodings by the same
 * calls: a field has a number for protobuf and a name for JSON. It knows how values are written, not
 * what the messages are (https://github.com/open-telemetry/opentelemetry-proto, stable since 1.0).
 * A full buffer marks itself; nobody here looks. */
#ifndef NP_BASE_OTLP_H
#define NP_BASE_OTLP_H

#include "base/buf.h"
#include "base/json.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define NP_OTLP_DEPTH 16
#define NP_OTLP_ID_MAX 32 /* bytes */

struct np_otlp {
    struct np_buf *b;
    bool json;
    struct np_json_w w;
    struct {
        size_t at;   /* where the bytes of an open message begin */
        size_t room; /* bytes that were left before them for its length */
    } open[NP_OTLP_DEPTH];
    unsigned depth;
};

void np_otlp_init(struct np_otlp *o, struct np_buf *b, bool json);
/* A message; as an item of a list name is NULL. */
void np_otlp_begin(struct np_otlp *o, unsigned field, const char *name);
/* The same for one that will be of 128 bytes or more, which moves no bytes. */
void np_otlp_begin_long(struct np_otlp *o, unsigned field, const char *name);
/* The same for one of any length: its length takes four bytes whatever it is, and no bytes are moved. */
void np_otlp_begin_huge(struct np_otlp *o, unsigned field, const char *name);
/* Goes on in b, to which all that was written has moved. */
void np_otlp_goes_on(struct np_otlp *o, struct np_buf *b);
void np_otlp_end(struct np_otlp *o);
/* The items of a repeated field stand between these; nothing in protobuf. */
void np_otlp_list(struct np_otlp *o, const char *name);
void np_otlp_list_end(struct np_otlp *o);
/* Bytes that are not UTF-8 become U+FFFD. */
void np_otlp_text(struct np_otlp *o, unsigned field, const char *name, struct np_span s);
/* Bytes, in JSON as hex: the ids of traces and spans. */
void np_otlp_id(struct np_otlp *o, unsigned field, const char *name, const uint8_t *id, size_t n);
/* fixed64: times in nanoseconds, counts. */
void np_otlp_fixed(struct np_otlp *o, unsigned field, const char *name, uint64_t v);
void np_otlp_fixed32(struct np_otlp *o, unsigned field, const char *name, uint32_t v);
void np_otlp_double(struct np_otlp *o, unsigned field, const char *name, double v);
void np_otlp_enum(struct np_otlp *o, unsigned field, const char *name, unsigned v);
void np_otlp_bool(struct np_otlp *o, unsigned field, const char *name, bool v);
/* Packed lists. */
void np_otlp_fixeds(struct np_otlp *o, unsigned field, const char *name, const uint64_t *v,
                    size_t n);
void np_otlp_doubles(struct np_otlp *o, unsigned field, const char *name, const double *v,
                     size_t n);

/* Fields that are written already, in protobuf. */
void np_otlp_raw(struct np_otlp *o, struct np_span fields);

/* Attributes: items of the list `field`. Of a key that the compiler sees it knows the length. */
void np_otlp_put_attr(struct np_otlp *o, unsigned field, struct np_span key, struct np_span text);
void np_otlp_put_i64(struct np_otlp *o, unsigned field, struct np_span key, int64_t v);
void np_otlp_put_f64(struct np_otlp *o, unsigned field, struct np_span key, double v);
void np_otlp_put_bool(struct np_otlp *o, unsigned field, struct np_span key, bool v);
void np_otlp_put_list(struct np_otlp *o, unsigned field, struct np_span key, struct np_span text);

#define NP_OTLP_ATTR __attribute__((always_inline)) static inline void
NP_OTLP_ATTR np_otlp_attr(struct np_otlp *o, unsigned field, const char *key, struct np_span text)
{
    np_otlp_put_attr(o, field, np_span_make(key, strlen(key)), text);
}
NP_OTLP_ATTR np_otlp_attr_i64(struct np_otlp *o, unsigned field, const char *key, int64_t v)
{
    np_otlp_put_i64(o, field, np_span_make(key, strlen(key)), v);
}
NP_OTLP_ATTR np_otlp_attr_f64(struct np_otlp *o, unsigned field, const char *key, double v)
{
    np_otlp_put_f64(o, field, np_span_make(key, strlen(key)), v);
}
NP_OTLP_ATTR np_otlp_attr_bool(struct np_otlp *o, unsigned field, const char *key, bool v)
{
    np_otlp_put_bool(o, field, np_span_make(key, strlen(key)), v);
}
/* A list of one text. */
NP_OTLP_ATTR np_otlp_attr_list(struct np_otlp *o, unsigned field, const char *key,
                               struct np_span text)
{
    np_otlp_put_list(o, field, np_span_make(key, strlen(key)), text);
}
#undef NP_OTLP_ATTR

/* Reading what a collector answers: the next field of a protobuf message. *varint holds numbers, *bytes
 * what is length-delimited. False at the end and at what is malformed. */
bool np_otlp_next(struct np_span *rest, unsigned *field, uint64_t *varint, struct np_span *bytes);

#endif
