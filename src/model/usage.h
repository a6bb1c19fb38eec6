/* Tokens of one attempt, normalised over providers. */
#ifndef NP_MODEL_USAGE_H
#define NP_MODEL_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define NP_USAGE_MAX INT64_C(1000000000) /* above it, usage is impossible */

/* prompt counts every input token, cached and written ones included; cached, cache_write and
 * cache_write_1h are parts of prompt. completion counts every output token; reasoning is a part of
 * completion. Whether it came from the provider or is an estimate stands beside it. */
struct np_usage {
    int64_t prompt;
    int64_t completion;
    int64_t cached;
    int64_t cache_write;
    int64_t cache_write_1h;
    int64_t reasoning;
};

/* False when a count is negative or over NP_USAGE_MAX, or parts are more than their whole. */
bool np_usage_possible(const struct np_usage *u);

#endif
