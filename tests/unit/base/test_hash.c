/* Digests, hex, comparison. */
#include "base/hash.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* FIPS 180-2, appendix B. */
static const struct {
    const char *text;
    const char *digest;
} digests[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(sha256_gives_the_published_digests_whole_and_in_pieces)
{
    uint8_t out[NP_SHA256_BYTES];
    char hex[2 * NP_SHA256_BYTES + 1];
    const char *text = digests[_i].text;
    size_t n = strlen(text);

    np_sha256(text, n, out);
    np_hex(out, sizeof out, hex);
    ck_assert_str_eq(hex, digests[_i].digest);

    struct np_sha256 *h = np_sha256_new();
    for (size_t i = 0; i < n; i++) {
        np_sha256_add(h, text + i, 1);
    }
    np_sha256_add(h, NULL, 0);
    np_sha256_end(h, out);
    np_hex(out, sizeof out, hex);
    ck_assert_str_eq(hex, digests[_i].digest);
}
END_TEST

START_TEST(without_memory_there_is_no_hash_and_no_leak)
{
    uint8_t out[NP_SHA256_BYTES];
    np_sha256("", 0, out); /* libcrypto's own beginnings are not what is tested */
    struct np_sha256 *h = NULL;
    for (size_t n = 0; !h; n++) {
        np_fail_nth(n);
        h = np_sha256_new();
        np_fail_never();
        ck_assert((h != NULL) != np_fail_happened());
    }
    np_sha256_end(h, out);
}
END_TEST

START_TEST(hex_goes_both_ways)
{
    const uint8_t bytes[] = {0x00, 0x9f, 0xa0, 0xff};
    char hex[9];
    uint8_t back[4];
    np_hex(bytes, 4, hex);
    ck_assert_str_eq(hex, "009fa0ff");
    ck_assert(np_unhex("009FA0ff", 4, back));
    ck_assert_mem_eq(back, bytes, 4);
    np_hex(bytes, 0, hex);
    ck_assert_str_eq(hex, "");
}
END_TEST

START_TEST(hex_that_is_short_or_none_is_refused)
{
    static const char *const bad[] = {"",     "0",    "00",   "000",  "000g", "00 0",
                                      "0x00", "00/0", "00:0", "00@0", "00`0"};
    uint8_t out[2];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *exact = strdup(bad[i]); /* so that ASan sees a read past the end */
        ck_assert_msg(!np_unhex(exact, 2, out), "%s", bad[i]);
        free(exact);
    }
}
END_TEST

START_TEST(equality_in_constant_time_is_equality)
{
    ck_assert(np_equal_ct("abc", "abd", 2));
    ck_assert(!np_equal_ct("abc", "abd", 3));
    ck_assert(np_equal_ct("a", "b", 0));
}
END_TEST

START_TEST(fnv1a_gives_the_published_values)
{
    ck_assert_uint_eq(np_fnv1a("", 0), UINT64_C(0xcbf29ce484222325));
    ck_assert_uint_eq(np_fnv1a("a", 1), UINT64_C(0xaf63dc4c8601ec8c));
    ck_assert_uint_eq(np_fnv1a("foobar", 6), UINT64_C(0x85944171f73967e8));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/hash");
    TCase *c = tcase_create("hash");
    tcase_add_loop_test(c, sha256_gives_the_published_digests_whole_and_in_pieces, 0,
                        sizeof digests / sizeof *digests);
    tcase_add_test(c, without_memory_there_is_no_hash_and_no_leak);
    tcase_add_test(c, hex_goes_both_ways);
    tcase_add_test(c, hex_that_is_short_or_none_is_refused);
    tcase_add_test(c, equality_in_constant_time_is_equality);
    tcase_add_test(c, fnv1a_gives_the_published_values);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
