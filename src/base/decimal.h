/* Decimal numbers as text, read exactly: no double stands between. */
#ifndef NP_BASE_DECIMAL_H
#define NP_BASE_DECIMAL_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

/* The decimal ("4", "-0.02", "1e-3") times 10^scale as a whole number: NP_E_SYNTAX when it is no
 * decimal, NP_E_INVALID when digits would be lost, NP_E_RANGE when it does not fit. */
enum np_err np_decimal_scaled(struct np_span decimal, unsigned scale, int64_t *out) NP_MUST_CHECK;

#endif
