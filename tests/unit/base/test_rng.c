/* Seeded chance: that it is the algorithm it says it is, and that it is even. */
#include "base/rng.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Reference values: the authors' xoshiro256starstar.c with the state {1, 2, 3, 4}. */
START_TEST(the_numbers_are_those_of_the_published_algorithm)
{
    static const uint64_t expected[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240),
                                        UINT64_C(1216172134540287360)};
    struct np_rng r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_uint_eq(np_rng_u64(&r), expected[i]);
    }
}
END_TEST

/* Reference value: splitmix64 of the seed 0 begins with e220a8397b1dcdaf. */
START_TEST(the_seed_is_spread_by_splitmix64)
{
    struct np_rng r;
    np_rng_seed(&r, 0);
    ck_assert_uint_eq(r.s[0], UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(r.s[1], UINT64_C(0x6e789e6aa1b965f4));
}
END_TEST

START_TEST(the_same_seed_gives_the_same_numbers_and_another_gives_others)
{
    struct np_rng a, b, c;
    np_rng_seed(&a, 42);
    np_rng_seed(&b, 42);
    np_rng_seed(&c, 43);
    int equal = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t v = np_rng_u64(&a);
        ck_assert_uint_eq(v, np_rng_u64(&b));
        equal += v == np_rng_u64(&c);
    }
    ck_assert_int_eq(equal, 0);
}
END_TEST

START_TEST(numbers_below_n_are_even_and_below_n)
{
    struct np_rng r;
    unsigned count[7] = {0};
    np_rng_seed(&r, 1);
    for (int i = 0; i < 70000; i++) {
        uint64_t v = np_rng_below(&r, 7);
        ck_assert_uint_lt(v, 7);
        count[v]++;
    }
    for (int i = 0; i < 7; i++) { /* 10,000 each; 500 is more than 5 sigma */
        ck_assert_uint_gt(count[i], 9500);
        ck_assert_uint_lt(count[i], 10500);
    }
    ck_assert_uint_eq(np_rng_below(&r, 1), 0);
    ck_assert_uint_lt(np_rng_below(&r, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(a_number_below_nothing_ends_the_process)
{
    struct np_rng r;
    np_rng_seed(&r, 1);
    np_rng_below(&r, 0);
}
END_TEST

START_TEST(units_lie_in_their_interval_and_around_a_half)
{
    struct np_rng r;
    double sum = 0;
    np_rng_seed(&r, 1);
    for (int i = 0; i < 10000; i++) {
        double v = np_rng_unit(&r);
        ck_assert(v >= 0 && v < 1);
        sum += v;
    }
    ck_assert(sum > 4850 && sum < 5150);
}
END_TEST

START_TEST(the_kernels_bytes_fill_what_was_asked_for_and_no_more)
{
    unsigned char a[300], b[300];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    np_random_bytes(a, sizeof a - 1);
    np_random_bytes(b, sizeof b - 1);
    np_random_bytes(b, 0);
    ck_assert(memcmp(a, b, sizeof a - 1) != 0);
    ck_assert_uint_eq(a[299], 0);
    ck_assert_uint_eq(b[299], 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/rng");
    TCase *c = tcase_create("rng");
    tcase_add_test(c, the_numbers_are_those_of_the_published_algorithm);
    tcase_add_test(c, the_seed_is_spread_by_splitmix64);
    tcase_add_test(c, the_same_seed_gives_the_same_numbers_and_another_gives_others);
    tcase_add_test(c, numbers_below_n_are_even_and_below_n);
    tcase_add_test_raise_signal(c, a_number_below_nothing_ends_the_process, SIGABRT);
    tcase_add_test(c, units_lie_in_their_interval_and_around_a_half);
    tcase_add_test(c, the_kernels_bytes_fill_what_was_asked_for_and_no_more);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
