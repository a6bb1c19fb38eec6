/* Copying a few bytes without a call: most keys and names of records, lines and spans are that short. */
#ifndef NP_BASE_COPY_H
#define NP_BASE_COPY_H

#include <stddef.h>
#include <string.h>

/* memcpy, best for up to 32 bytes: each size in two moves that may overlap. */
static inline void np_copy_few(char *to, const char *from, size_t n)
{
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

#endif
