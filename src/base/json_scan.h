/* What the files of the JSON reader and writer share: fast ways through bytes. For src/base/json*.c
 * only. */
#ifndef NP_BASE_JSON_SCAN_H
#define NP_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Eight bytes at once: the high bit of each byte of the result tells whether that byte of w is zero
 * (the lowest such bit is exact; bits above it may be false alarms). From Bit Twiddling Hacks. */
static inline uint64_t np_json_zero_bytes(uint64_t w)
{
    return (w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080);
}

static inline uint64_t np_json_equal_bytes(uint64_t w, unsigned char c)
{
    return np_json_zero_bytes(w ^ UINT64_C(0x0101010101010101) * c);
}

/* The first of the marked bytes of a word that was loaded from memory. */
static inline size_t np_json_first_mark(uint64_t marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(marks) / 8;
#else
    /* False alarms lie before the true mark here: let the caller look at the bytes one by one. */
    (void)marks;
    return 0;
#endif
}

static inline bool np_json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The first byte from p that is not plain: a quote, a backslash, a control byte, or not ASCII. */
static inline const char *np_json_skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t marks = np_json_equal_bytes(w, '"') | np_json_equal_bytes(w, '\\') |
                         ((w - UINT64_C(0x2020202020202020)) & UINT64_C(0x8080808080808080)) |
                         (w & UINT64_C(0x8080808080808080));
        if (marks) {
            p += np_json_first_mark(marks);
            break;
        }
        p += 8;
    }
    while (p < end && np_json_is_plain((unsigned char)*p))
        p++;
    return p;
}

static inline bool np_json_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *np_json_skip_blank(const char *p, const char *end)
{
    while (p < end && np_json_is_blank(*p))
        p++;
    return p;
}

/* Four hex digits as a number; -1 when they are not. p has four bytes. */
static inline int np_json_hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

#endif
