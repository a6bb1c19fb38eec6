/* Allocations that fail when a test wants it. The real ones are the sanitizer's where there is one
 * (weak, else NULL), or glibc's by their internal names. */
#include "support/fail_alloc.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void *__interceptor_malloc(size_t n) __attribute__((weak));
void *__interceptor_calloc(size_t n, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *p, size_t n) __attribute__((weak));
void *__interceptor_aligned_alloc(size_t align, size_t n) __attribute__((weak));
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

/* The first allocations come before the sanitizers are awake, so their checks must stay out of here. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined", "thread")))

/* Volatile, or the compiler that knows malloc moves these past it. In the static TLS block, as its
 * own allocation would come back here. */
static _Thread_local volatile bool armed __attribute__((tls_model("initial-exec")));
static _Thread_local volatile bool lasting __attribute__((tls_model("initial-exec")));
static _Thread_local volatile bool happened __attribute__((tls_model("initial-exec")));
static _Thread_local volatile size_t left __attribute__((tls_model("initial-exec")));

static void arm(size_t n, bool for_good)
{
    left = n;
    lasting = for_good;
    happened = false;
    armed = true;
}

void np_fail_nth(size_t n)
{
    arm(n, false);
}

void np_fail_from(size_t n)
{
    arm(n, true);
}

void np_fail_never(void)
{
    armed = false;
}

bool np_fail_happened(void)
{
    return happened;
}

UNCHECKED static bool fails(void)
{
    if (!armed) {
        return false;
    }
    if (left > 0) {
        left = left - 1;
        return false;
    }
    armed = lasting;
    happened = true;
    errno = ENOMEM;
    return true;
}

UNCHECKED void *malloc(size_t n)
{
    if (fails()) {
        return NULL;
    }
    return __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n);
}

UNCHECKED void *calloc(size_t n, size_t size)
{
    if (fails()) {
        return NULL;
    }
    return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

UNCHECKED void *realloc(void *p, size_t n)
{
    if (fails()) {
        return NULL;
    }
    return __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}

/* glibc's own does not come by the realloc above. */
UNCHECKED void *reallocarray(void *p, size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, n * size);
}

UNCHECKED void *aligned_alloc(size_t align, size_t n)
{
    if (fails()) {
        return NULL;
    }
    return __interceptor_aligned_alloc ? __interceptor_aligned_alloc(align, n)
                                       : __libc_memalign(align, n);
}
