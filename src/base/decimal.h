/* Decimal numbers as text, read and written exactly: no double stands between. */
#ifndef NP_BASE_DECIMAL_H
#define NP_BASE_DECIMAL_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

/* The decimal ("4", "-0.02", "1e-3") times 10^scale as a whole number: NP_E_SYNTAX when it is no
 * decimal, NP_E_INVALID when digits would be lost, NP_E_RANGE when it does not fit. */
enum np_err np_decimal_scaled(struct np_span decimal, unsigned scale, int64_t *out) NP_MUST_CHECK;

/* Writes at p, without a NUL; where it ends. All that each needs is NP_DECIMAL_BYTES at most. */
#define NP_DECIMAL_BYTES 24
char *np_decimal_put(char *p, uint64_t v);
char *np_decimal_put_i64(char *p, int64_t v);
/* v billionths, without zeros at the end: "0.0006", "-2". */
char *np_decimal_put_nano(char *p, int64_t v);

#endif
