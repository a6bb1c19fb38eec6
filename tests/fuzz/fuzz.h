/* What the fuzz targets share. Each fuzz_<name>.c has its inputs to begin with and one function that must
 * bear whatever bytes it is given; what must hold is np_require'd. libFuzzer runs them (run.sh), and
 * replay.c wherever there is none, as a test. */
#ifndef NP_TEST_FUZZ_H
#define NP_TEST_FUZZ_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

extern const struct np_span fuzz_seeds[];
extern const size_t fuzz_n_seeds;

#define SEED(literal)                      \
    {                                      \
        "" literal, sizeof("" literal) - 1 \
    }
#define FUZZ_SEEDS(...)                                \
    const struct np_span fuzz_seeds[] = {__VA_ARGS__}; \
    const size_t fuzz_n_seeds = sizeof fuzz_seeds / sizeof fuzz_seeds[0]

/* Takes an input; 0 as libFuzzer wants it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The next byte of the input, which steers; 0 at its end. */
static inline uint8_t fuzz_byte(struct np_span *in)
{
    if (in->n == 0)
        return 0;
    uint8_t byte = (uint8_t)in->p[0];
    *in = np_span_make(in->p + 1, in->n - 1);
    return byte;
}

#endif
