/* Growing bytes with a maximum that is fixed at birth. A write that would pass the maximum, or
 * find no memory, leaves the buffer as it was and marks it failed; writers may ignore single
 * results and ask np_buf_failed once at the end. */
#ifndef NP_BASE_BUF_H
#define NP_BASE_BUF_H

#include "base/err.h"
#include "base/span.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

struct np_buf {
    char *p;
    size_t n;
    uint32_t cap;
    uint32_t max;
    bool failed;
};

/* At most 4 GB less two bytes. No memory is taken before the first write. */
void np_buf_init(struct np_buf *b, size_t max_bytes);
void np_buf_free(struct np_buf *b);
/* Empties it and clears the failure; keeps its memory. */
void np_buf_reset(struct np_buf *b);
enum np_err np_buf_reserve(struct np_buf *b, size_t more);
enum np_err np_buf_printf(struct np_buf *b, const char *fmt, ...) NP_PRINTF(2, 3);
enum np_err np_buf_vprintf(struct np_buf *b, const char *fmt, va_list ap);
/* Drops the first n bytes. */
void np_buf_drop(struct np_buf *b, size_t n);

/* Whether n more bytes fit, perhaps after growing. */
static inline bool np_buf_fits(struct np_buf *b, size_t n)
{
    return n <= b->cap - b->n || np_buf_reserve(b, n) == NP_OK;
}

/* What is written fits nearly always: no call then. */
static inline enum np_err np_buf_put(struct np_buf *b, const void *p, size_t n)
{
    enum np_err err = n <= b->cap - b->n ? NP_OK : np_buf_reserve(b, n);
    if (err == NP_OK && n > 0) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
    return err;
}

static inline enum np_err np_buf_char(struct np_buf *b, char c)
{
    enum np_err err = b->n < b->cap ? NP_OK : np_buf_reserve(b, 1);
    if (err == NP_OK)
        b->p[b->n++] = c;
    return err;
}

static inline enum np_err np_buf_puts(struct np_buf *b, const char *s)
{
    return np_buf_put(b, s, strlen(s));
}

static inline enum np_err np_buf_span(struct np_buf *b, struct np_span s)
{
    return np_buf_put(b, s.p, s.n);
}

/* Text of others for a terminal: what is no UTF-8, controls and what turns the direction of writing as
 * \xNN, but for the controls in keep. */
void np_buf_harmless(struct np_buf *b, struct np_span s, const char *keep);

/* A decimal integer, faster than printf. */
enum np_err np_buf_i64(struct np_buf *b, int64_t v);

static inline bool np_buf_failed(const struct np_buf *b)
{
    return b->failed;
}

static inline struct np_span np_buf_view(const struct np_buf *b)
{
    return (struct np_span){b->p, b->n};
}

#endif
