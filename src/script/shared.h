/* shared.get/set/incr: one small table of strings and numbers for all workers, with a time to live
 * an entry; bounded (4,096 entries, keys to 256 bytes, strings to 4 KB). Short lock. */
#ifndef NP_SCRIPT_SHARED_H
#define NP_SCRIPT_SHARED_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

struct np_shared;

struct np_shared_value {
    enum { NP_SHARED_NIL, NP_SHARED_NUMBER, NP_SHARED_STRING, NP_SHARED_BOOL } kind;
    double number;
    char *string; /* the caller's to free */
    size_t length;
};

struct np_shared *np_shared_new(void);
void np_shared_free(struct np_shared *s);
void np_shared_get(struct np_shared *s, struct np_span key, int64_t now_ms,
                   struct np_shared_value *out);
/* ttl_ms 0: for ever. kind NIL removes. NP_E_FULL when the table is full of living entries. */
enum np_err np_shared_set(struct np_shared *s, struct np_span key, const struct np_shared_value *v,
                          int64_t ttl_ms, int64_t now_ms) NP_MUST_CHECK;
/* Adds to a number, 0 when it is not there (then the ttl starts). NP_E_INVALID when it is no number. */
enum np_err np_shared_incr(struct np_shared *s, struct np_span key, double by, int64_t ttl_ms,
                           int64_t now_ms, double *out) NP_MUST_CHECK;

#endif
