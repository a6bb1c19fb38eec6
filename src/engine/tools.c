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

void neap_key_hash(const char *key, size_t length, char hash[80])
{
    uint8_t digest[NP_SHA256_BYTES];
    np_sha256(key, length, digest);
    memcpy(hash, "sha256:", 7);
    np_hex(digest, sizeof digest, hash + 7);
}

/* "neap_", 43 characters of base 62 for 256 random bits (the rest of a division is dropped bit by bit),
 * and 6 hex digits of the SHA-256 over what stands before them. */
void neap_key_new(char key[64], char hash[80])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t random[32];
    np_random_bytes(random, sizeof random);
    memcpy(key, "neap_", 5);
    for (int i = 0; i < 43; i++) {
        unsigned rest = 0;
        for (size_t j = 0; j < sizeof random; j++) {
            unsigned v = rest * 256 + random[j];
            random[j] = (uint8_t)(v / 62);
            rest = v % 62;
        }
        key[5 + i] = digits[rest];
    }
    uint8_t digest[NP_SHA256_BYTES];
    np_sha256(key, 48, digest);
    np_hex(digest, 3, key + 48);
    neap_key_hash(key, 54, hash);
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
