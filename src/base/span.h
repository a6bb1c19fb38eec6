/* A view of bytes that somebody else owns. The owner's life bounds the view's; nothing here
 * allocates. Spans are not NUL-terminated unless their maker says so. */
#ifndef NP_BASE_SPAN_H
#define NP_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct np_span {
    const char *p;
    size_t n;
};

#define NP_SPAN(literal) ((struct np_span){"" literal, sizeof(literal) - 1})
#define NP_SPAN_NONE ((struct np_span){NULL, 0})

/* The view of a C string; NULL gives the empty span. */
static inline struct np_span np_span_of(const char *s)
{
    return (struct np_span){s, s ? strlen(s) : 0};
}

static inline struct np_span np_span_make(const char *p, size_t n)
{
    return (struct np_span){p, n};
}

static inline bool np_span_eq(struct np_span a, struct np_span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool np_span_is(struct np_span a, const char *s)
{
    return np_span_eq(a, np_span_of(s));
}

static inline bool np_span_starts(struct np_span a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.n >= n && memcmp(a.p, prefix, n) == 0;
}

/* Equality of ASCII letters without regard to case, as header names want it. */
bool np_span_eq_nocase(struct np_span a, struct np_span b);

/* A whole number in decimal, nothing else around it. False when it is not one or overflows. */
bool np_span_to_u64(struct np_span s, unsigned long long *out);

/* The candidate that lies nearest to `word` by edit distance, for "did you mean"; when none is near
 * enough (at most a third of the letters differ), one that it is short for, or that is short for it; else
 * NULL. */
const char *np_span_guess(struct np_span word, const char *const *candidates, size_t n);

#endif
