/* Memory that ends all at once: an exchange's, a catalogue's. Chunks grow by doubling up to a
 * maximum that is given at birth; of single blocks only those of a kilobyte or more can end before.
 * Under ASan the unused part of each chunk is poisoned. Not shared between threads while it grows. */
#ifndef NP_BASE_ARENA_H
#define NP_BASE_ARENA_H

#include "base/err.h"
#include "base/span.h"

#include <stdarg.h>
#include <stddef.h>

struct np_arena;

/* An arena whose blocks add up to at most max_bytes; NULL without memory. */
struct np_arena *np_arena_new(size_t max_bytes);
void np_arena_free(struct np_arena *a);

/* A zeroed block aligned for any type; NULL when the maximum is reached or memory is out. */
void *np_arena_alloc(struct np_arena *a, size_t bytes) NP_MUST_CHECK;
/* Like np_arena_alloc for n elements; NULL also when the product overflows. */
void *np_arena_array(struct np_arena *a, size_t n, size_t size) NP_MUST_CHECK;
/* An unzeroed block without alignment, for text. */
char *np_arena_bytes(struct np_arena *a, size_t bytes) NP_MUST_CHECK;
/* Copies, each followed by a NUL that the span does not count. p is NULL on failure. */
struct np_span np_arena_dup(struct np_arena *a, struct np_span s);
char *np_arena_strdup(struct np_arena *a, const char *s) NP_MUST_CHECK;
char *np_arena_printf(struct np_arena *a, const char *fmt, ...) NP_PRINTF(2, 3) NP_MUST_CHECK;

/* Frees a block before its time, if it is so large that it has memory of its own; else nothing happens.
 * Nobody may look at it any more. */
void np_arena_drop(struct np_arena *a, const void *block);

/* Bytes handed out so far. */
size_t np_arena_used(const struct np_arena *a);

#endif
