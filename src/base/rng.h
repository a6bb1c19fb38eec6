/* Seeded chance: xoshiro256** (Blackman and Vigna, https://prng.di.unimi.it), the seed spread by
 * splitmix64. The same seed gives the same numbers everywhere. Not for secrets. */
#ifndef NP_BASE_RNG_H
#define NP_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct np_rng {
    uint64_t s[4];
};

void np_rng_seed(struct np_rng *r, uint64_t seed);
uint64_t np_rng_u64(struct np_rng *r);
/* Even over 0 <= x < n; n > 0. */
uint64_t np_rng_below(struct np_rng *r, uint64_t n);
/* Even over 0 <= x < 1. */
double np_rng_unit(struct np_rng *r);

/* Bytes from the kernel, fit for keys and seeds. */
void np_random_bytes(void *out, size_t n);

#endif
