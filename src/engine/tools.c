/* What the command line asks of the engine without starting it: check, keys, versions. */
#include <neap/neap.h>

#include "base/hash.h"
#include "base/rng.h"
#include "engine/gate.h"
#include "http/front.h"
#include "http/tls.h"
#include "provider/upstream.h"
#include "script/hooks.h"
#include "script/policyset.h"

#include <stdio.h>
#include <stdlib.h>

enum neap_status neap_check(const char *dir, bool deny_warnings, char **out)
{
    struct np_slots slots;
    struct np_problems problems;
    struct np_policyset *set = NULL;
    struct np_buf text;
    if (np_slots_init(&slots) != NP_OK)
        return NEAP_FAILED;
    np_problems_init(&problems);
    np_buf_init(&text, 1u << 20);
    struct np_load_options options = {.slots = &slots, .simulated = true};
    enum np_err err = np_policyset_read(dir, &set, &problems);
    if (!err)
        err = np_gate_check(set, &options, &problems);
    np_problems_print(&problems, &text);
    bool bad = err || problems.errors > 0 || (deny_warnings && problems.n > 0);
    if (!bad)
        (void)np_buf_printf(&text, "%s: version %s, no errors\n", dir, np_policyset_version(set));
    *out = strndup(text.n ? text.p : "", text.n);
    np_policyset_drop(set);
    np_buf_free(&text);
    np_problems_free(&problems);
    np_slots_free(&slots);
    return bad ? NEAP_NO : NEAP_GOOD;
}

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
    (void)snprintf(out, size, "libmicrohttpd %s\ngnutls %s\n%s\n%s\n", np_front_version(),
                   np_tls_version(), np_upstream_version(), script);
}
