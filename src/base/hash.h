/* SHA-256, by libcrypto; the only file that knows it. */
#ifndef NP_BASE_HASH_H
#define NP_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_SHA256_BYTES 32

struct np_sha256;

struct np_sha256 *np_sha256_new(void);
void np_sha256_add(struct np_sha256 *h, const void *p, size_t n);
/* Gives the digest and frees h. */
void np_sha256_end(struct np_sha256 *h, uint8_t out[NP_SHA256_BYTES]);
/* The digest of one block. */
void np_sha256(const void *p, size_t n, uint8_t out[NP_SHA256_BYTES]);
/* Lower-case hex of n bytes and a NUL into out (2n + 1 bytes). */
void np_hex(const uint8_t *p, size_t n, char *out);
/* Reads 2n hex digits of either case; false when there are others. */
bool np_unhex(const char *hex, size_t n, uint8_t *out);
/* Equality in constant time. */
bool np_equal_ct(const void *a, const void *b, size_t n);
/* A cheap keyed-free hash for tables of trusted names (FNV-1a, 64 bits). */
uint64_t np_fnv1a(const void *p, size_t n);

#endif
