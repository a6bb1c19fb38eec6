/* UTF-8, one character at a time, as RFC 3629 has it: no overlong forms, no surrogates, nothing
 * above U+10FFFF. */
#ifndef NP_BASE_UTF8_H
#define NP_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Whether the n bytes at s, which left holds, continue a character. */
static inline int np_utf8_tail(const unsigned char *s, size_t n, size_t left)
{
    if (left < n)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return 1;
}

/* The character at p, which lies before end: its length in bytes and, in *cp, its number. 0 when
 * no valid character begins there. */
static inline size_t np_utf8_next(const char *p, const char *end, uint32_t *cp)
{
    const unsigned char *s = (const unsigned char *)p;
    size_t left = (size_t)(end - p) - 1;
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    if (s[0] < 0xe0) {
        if (s[0] < 0xc2 || !np_utf8_tail(s + 1, 1, left))
            return 0;
        *cp = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
        return 2;
    }
    if (s[0] < 0xf0) {
        if (!np_utf8_tail(s + 1, 2, left))
            return 0;
        *cp = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        return *cp >= 0x800 && (*cp & 0xfffff800) != 0xd800 ? 3 : 0;
    }
    if (s[0] > 0xf4 || !np_utf8_tail(s + 1, 3, left))
        return 0;
    *cp = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
          (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    return *cp >= 0x10000 && *cp <= 0x10ffff ? 4 : 0;
}

/* Writes the character cp, which must be one, to p and returns its length, at most 4. */
static inline size_t np_utf8_put(char *p, uint32_t cp)
{
    if (cp < 0x80) {
        p[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        p[0] = (char)(0xc0 | cp >> 6);
        p[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        p[0] = (char)(0xe0 | cp >> 12);
        p[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        p[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    p[0] = (char)(0xf0 | cp >> 18);
    p[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    p[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    p[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

#endif
