/* SHA-256 and comparison in constant time, by libcrypto; hex and FNV-1a by hand. The algorithm is
 * fetched once for the process, because each look-up by name costs more than a short digest. */
#include "base/hash.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct np_sha256 {
    EVP_MD_CTX *ctx;
};

static EVP_MD *fetched; /* never changes after the first use */

static void fetch(void)
{
    fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* A libcrypto without SHA-256, or no memory at its first use, is no state to go on in. */
static const EVP_MD *sha256(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    np_require(pthread_once(&once, fetch) == 0);
    np_require(fetched);
    return fetched;
}

/* NULL without memory. */
struct np_sha256 *np_sha256_new(void)
{
    struct np_sha256 *h = malloc(sizeof *h);
    if (!h) {
        return NULL;
    }
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx) {
        goto free_h;
    }
    if (EVP_DigestInit_ex2(h->ctx, sha256(), NULL) != 1) {
        goto free_ctx;
    }
    return h;

free_ctx:
    EVP_MD_CTX_free(h->ctx);
free_h:
    free(h);
    return NULL;
}

void np_sha256_add(struct np_sha256 *h, const void *p, size_t n)
{
    np_require(EVP_DigestUpdate(h->ctx, p, n) == 1);
}

void np_sha256_end(struct np_sha256 *h, uint8_t out[NP_SHA256_BYTES])
{
    np_require(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

/* Ends the process when libcrypto finds no memory for its state. */
void np_sha256(const void *p, size_t n, uint8_t out[NP_SHA256_BYTES])
{
    np_require(EVP_Digest(p, n, out, NULL, sha256(), NULL) == 1);
}

void np_hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool np_unhex(const char *hex, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit_of(hex[2 * i]);
        int low = high < 0 ? -1 : digit_of(hex[2 * i + 1]); /* a text may end at its first half */
        if (low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

bool np_equal_ct(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

uint64_t np_fnv1a(const void *p, size_t n)
{
    const unsigned char *bytes = p;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}
