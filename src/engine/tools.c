/* What the command line asks of the engine without starting it: keys, versions. */
#include <neap/neap.h>

#include "base/hash.h"
#include "base/rng.h"
#include "http/front.h"
#include "ledger/ledger.h"
#include "http/tls.h"
#include "provider/upstream.h"
#include "script/hooks.h"

#include <stdio.h>
#include <stdlib.h>

#define MARK "neap_"
#define MARK_BYTES 5
#define BODY_BYTES 48 /* the mark and 43 digits */
#define KEY_BYTES 54

static void hash_of(const char *key, size_t length, char hash[80])
{
    uint8_t digest[NP_SHA256_BYTES];
    np_sha256(key, length, digest);
    memcpy(hash, "sha256:", 7);
    np_hex(digest, sizeof digest, hash + 7);
}

/* The last six letters of a key: hex digits of the SHA-256 over what stands before them. */
static void checksum(const char *key, char out[7])
{
    uint8_t digest[NP_SHA256_BYTES];
    np_sha256(key, BODY_BYTES, digest);
    np_hex(digest, 3, out);
}

bool neap_key_hash(const char *key, size_t length, char hash[80])
{
    char sum[7];
    hash_of(key, length, hash);
    if (length < MARK_BYTES || memcmp(key, MARK, MARK_BYTES) != 0)
        return true;
    if (length != KEY_BYTES)
        return false;
    checksum(key, sum);
    return memcmp(sum, key + BODY_BYTES, 6) == 0;
}

/* The rule of tenants.lua (lua/neap/schema.lua). */
const char *neap_key_tenant_fault(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(name);
    if (n == 0 || n > 64 || strspn(name, letters) != n)
        return "must be a name of letters, digits and . _ -, 64 at most";
    if (strcmp(name, "anonymous") == 0)
        return "anonymous is the name of callers without a key, where there are no tenants";
    return NULL;
}

/* "neap_", 43 characters of base 62 for 256 random bits (the rest of a division is dropped bit by bit),
 * and the checksum. */
void neap_key_new(char key[64], char hash[80])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t random[32];
    np_random_bytes(random, sizeof random);
    memcpy(key, MARK, MARK_BYTES);
    for (int i = 0; i < BODY_BYTES - MARK_BYTES; i++) {
        unsigned rest = 0;
        for (size_t j = 0; j < sizeof random; j++) {
            unsigned v = rest * 256 + random[j];
            random[j] = (uint8_t)(v / 62);
            rest = v % 62;
        }
        key[MARK_BYTES + i] = digits[rest];
    }
    checksum(key, key + BODY_BYTES);
    hash_of(key, KEY_BYTES, hash);
}

const char *neap_version(void)
{
    return NEAP_VERSION;
}

void neap_version_libraries(char *out, size_t size)
{
    char script[256];
    np_script_version(script, sizeof script);
    (void)snprintf(out, size, "libmicrohttpd %s\ngnutls %s\n%s\n%s\n%s\n", np_front_version(),
                   np_tls_version(), np_upstream_version(), script, np_ledger_version());
}
