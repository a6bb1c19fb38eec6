/* Request ids. */
#include "base/id.h"

#include <check.h>
#include <stdlib.h>

START_TEST(an_id_is_its_prefix_and_26_valid_characters)
{
    struct np_rng r;
    char id[NP_ID_BYTES];
    np_rng_seed(&r, 1);
    for (int i = 0; i < 1000; i++) {
        np_id_make(&r, INT64_C(1795540844123) + i, id);
        ck_assert_uint_eq(strlen(id), 30);
        ck_assert(np_span_starts(np_span_of(id), "req_"));
        ck_assert_uint_eq(strspn(id + 4, "0123456789abcdefghjkmnpqrstvwxyz"), 26);
        ck_assert(np_id_valid(np_span_of(id)));
    }
}
END_TEST

/* The example of the ULID specification: 01ARYZ6S41 is 1469918176385 ms. */
START_TEST(the_time_stands_first_as_in_a_ulid)
{
    struct np_rng r;
    char id[NP_ID_BYTES];
    np_rng_seed(&r, 1);
    np_id_make(&r, INT64_C(1469918176385), id);
    ck_assert(np_span_starts(np_span_of(id), "req_01aryz6s41"));
}
END_TEST

START_TEST(ids_sort_by_time_and_differ_within_a_millisecond)
{
    struct np_rng r;
    char a[NP_ID_BYTES], b[NP_ID_BYTES];
    np_rng_seed(&r, 1);
    for (int64_t ms = 1000; ms < INT64_C(1) << 47; ms *= 3) {
        np_id_make(&r, ms, a);
        np_id_make(&r, ms + 1, b);
        ck_assert_str_lt(a, b);
        np_id_make(&r, ms, b);
        ck_assert_str_ne(a, b);
    }
}
END_TEST

START_TEST(a_clients_id_is_taken_when_it_is_harmless)
{
    char longest[NP_ID_CLIENT_MAX + 1];
    memset(longest, 'x', sizeof longest);
    ck_assert(np_id_valid(NP_SPAN("a")));
    ck_assert(np_id_valid(NP_SPAN("AZaz09._-")));
    ck_assert(np_id_valid(np_span_make(longest, NP_ID_CLIENT_MAX)));
    ck_assert(!np_id_valid(np_span_make(longest, NP_ID_CLIENT_MAX + 1)));
    ck_assert(!np_id_valid(NP_SPAN("")));
    ck_assert(!np_id_valid(NP_SPAN("a b")));
    ck_assert(!np_id_valid(NP_SPAN("a\n")));
    ck_assert(!np_id_valid(NP_SPAN("a\0b")));
    ck_assert(!np_id_valid(NP_SPAN("a/b")));
    ck_assert(!np_id_valid(NP_SPAN("\xc3\xa4")));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/id");
    TCase *c = tcase_create("id");
    tcase_add_test(c, an_id_is_its_prefix_and_26_valid_characters);
    tcase_add_test(c, the_time_stands_first_as_in_a_ulid);
    tcase_add_test(c, ids_sort_by_time_and_differ_within_a_millisecond);
    tcase_add_test(c, a_clients_id_is_taken_when_it_is_harmless);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
