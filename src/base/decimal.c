/* Reading decimals into whole numbers, and writing them: two digits at a time, as records, lines and spans
 * of each request hold dozens. */
#include "base/decimal.h"

#include <string.h>

/* Exponents stop growing here: far above what any digits in a text could make up for. */
#define EXPONENT_MAX INT64_C(1000000000000)

struct decimal {
    uint64_t digits; /* the significant ones, without zeros at their end */
    int64_t exponent;
    bool negative;
    bool overflow; /* more significant digits than 64 bits hold */
};

/* Takes a further digit; zeros wait until a digit other than zero follows them. */
static void take_digit(struct decimal *d, unsigned digit, int64_t *zeros)
{
    if (digit == 0) {
        *zeros += d->digits != 0;
        return;
    }
    for (; *zeros >= 0; (*zeros)--)
        d->overflow |= __builtin_mul_overflow(d->digits, UINT64_C(10), &d->digits);
    d->overflow |= __builtin_add_overflow(d->digits, (uint64_t)digit, &d->digits);
    *zeros = 0;
}

/* The digits before the exponent; false when there are none. */
static bool read_digits(struct decimal *d, const char **p, const char *end)
{
    int64_t zeros = 0, places = 0;
    bool any = false, point = false;
    for (; *p < end; (*p)++) {
        char c = **p;
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        any = true;
        places += point;
        if (!d->overflow)
            take_digit(d, (unsigned)(c - '0'), &zeros);
    }
    d->exponent = zeros - places;
    return any && (*p)[-1] != '.';
}

static bool read_exponent(struct decimal *d, const char *p, const char *end)
{
    if (p == end)
        return true;
    if (*p != 'e' && *p != 'E')
        return false;
    p++;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '+' || *p == '-'))
        p++;
    if (p == end)
        return false;
    int64_t e = 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        if (e < EXPONENT_MAX)
            e = e * 10 + (*p - '0');
    }
    d->exponent += negative ? -e : e;
    return true;
}

enum np_err np_decimal_scaled(struct np_span decimal, unsigned scale, int64_t *out)
{
    const char *p = decimal.p, *end = decimal.p + decimal.n;
    struct decimal d = {.negative = decimal.n > 0 && *p == '-'};
    p += d.negative;
    if (p == end || *p == '.' || !read_digits(&d, &p, end) || !read_exponent(&d, p, end))
        return NP_E_SYNTAX;
    d.exponent += scale;
    *out = 0;
    if (d.digits == 0 && !d.overflow)
        return NP_OK;
    /* The last of the digits is not 0, so a negative exponent can't be made up for. */
    if (d.exponent < 0)
        return NP_E_INVALID;
    if (d.overflow)
        return NP_E_RANGE;
    for (; d.exponent > 0; d.exponent--)
        if (__builtin_mul_overflow(d.digits, UINT64_C(10), &d.digits))
            return NP_E_RANGE;
    if (d.digits > (uint64_t)INT64_MAX)
        return NP_E_RANGE;
    *out = d.negative ? -(int64_t)d.digits : (int64_t)d.digits;
    return NP_OK;
}

/* ------------------------------------------------------------------------------------- writing */

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

static unsigned width(uint64_t v)
{
    unsigned n = 0;
    for (; v >= 10000; v /= 10000)
        n += 4;
    return n + (v < 10 ? 1 : v < 100 ? 2 : v < 1000 ? 3 : 4);
}

char *np_decimal_put(char *p, uint64_t v)
{
    char *end = p + width(v), *at = end;
    for (; v >= 100; v /= 100)
        memcpy(at -= 2, pairs + 2 * (v % 100), 2);
    if (v >= 10)
        memcpy(at - 2, pairs + 2 * v, 2);
    else
        at[-1] = (char)('0' + v);
    return end;
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

char *np_decimal_put_i64(char *p, int64_t v)
{
    if (v < 0)
        *p++ = '-';
    return np_decimal_put(p, magnitude(v));
}

char *np_decimal_put_nano(char *p, int64_t v)
{
    const uint32_t billion = 1000000000;
    uint64_t all = magnitude(v), fraction = all % billion;
    if (v < 0)
        *p++ = '-';
    p = np_decimal_put(p, all / billion);
    if (fraction == 0)
        return p;
    uint64_t left = fraction;
    for (char *at = p + 10; at > p + 2; left /= 100)
        memcpy(at -= 2, pairs + 2 * (left % 100), 2);
    p[0] = '.';
    p[1] = (char)('0' + left);
    for (p += 10; p[-1] == '0';)
        p--;
    return p;
}
