/* Reading decimals into whole numbers. */
#include "base/decimal.h"

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
