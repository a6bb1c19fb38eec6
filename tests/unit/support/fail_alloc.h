/* Makes the n-th allocation of the calling thread fail, wherever it is asked for: a test that links
 * this has a malloc, calloc, realloc and aligned_alloc of its own before the C library's (and before
 * the sanitizers', to which they pass on).
 *
 *     for (size_t n = 0; np_fail_nth(n), !(ok = try_it()); n++) { ... nothing is left over ... }
 *     np_fail_never();
 */
#ifndef NP_TEST_FAIL_ALLOC_H
#define NP_TEST_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* The next n allocations of this thread succeed, the one after them fails, and then none does. */
void np_fail_nth(size_t n);
/* Like np_fail_nth, but all that come after the first n fail too. */
void np_fail_from(size_t n);
/* No more failures. */
void np_fail_never(void);
/* Whether a failure was given since the last np_fail_nth or np_fail_from. */
bool np_fail_happened(void);

#endif
