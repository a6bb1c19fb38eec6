/* Names that get a small whole number for the life of the process: providers, models, endpoints,
 * tenants, hooks. State that outlives a policy generation (breakers, metrics, statistics) is kept
 * in arrays by these numbers. Append-only and bounded; lookups by readers need no lock. */
#ifndef NP_BASE_INTERN_H
#define NP_BASE_INTERN_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

struct np_intern;

struct np_intern *np_intern_new(uint32_t max);
void np_intern_free(struct np_intern *t);
/* The number of a name, given on first sight; from any thread (short lock). NP_E_FULL at the max. */
enum np_err np_intern_add(struct np_intern *t, struct np_span name, uint32_t *out) NP_MUST_CHECK;
/* The name of a number that was given; NUL-terminated, lives as long as the table. */
const char *np_intern_name(const struct np_intern *t, uint32_t number);
/* How many numbers were given; all below are named. */
uint32_t np_intern_count(const struct np_intern *t);

#endif
