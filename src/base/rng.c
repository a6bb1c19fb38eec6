/* Seeded chance and the kernel's. See the header for the sources of the algorithms. */
#include "base/rng.h"

#include "base/err.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void np_rng_seed(struct np_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->s[i] = splitmix64(&seed);
    }
}

uint64_t np_rng_u64(struct np_rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t np_rng_below(struct np_rng *r, uint64_t n)
{
    np_require(n > 0);
    uint64_t uneven = (0 - n) % n; /* 2^64 mod n: so many numbers are too many */
    uint64_t x = np_rng_u64(r);
    while (x < uneven) {
        x = np_rng_u64(r);
    }
    return x % n;
}

double np_rng_unit(struct np_rng *r)
{
    return (double)(np_rng_u64(r) >> 11) * 0x1.0p-53;
}

void np_random_bytes(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        np_require(got > 0 || errno == EINTR);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}
