/* The histogram: error, edges, merging. */
#include "base/hist.h"

#include "base/rng.h"

#include <check.h>
#include <stdlib.h>

static struct np_hist h;

static void setup(void)
{
    np_hist_clear(&h);
}

static void teardown(void) {}

START_TEST(nothing_counted_is_no_quantile)
{
    ck_assert_uint_eq(np_hist_total(&h), 0);
    ck_assert_uint_eq(np_hist_quantile(&h, 0.5), 0);
}
END_TEST

START_TEST(small_values_are_exact)
{
    for (uint64_t v = 1; v < 32; v++) {
        np_hist_clear(&h);
        np_hist_add(&h, v);
        ck_assert_uint_eq(np_hist_quantile(&h, 1), v);
    }
}
END_TEST

START_TEST(every_value_is_found_again_within_a_sixteenth)
{
    struct np_rng r;
    np_rng_seed(&r, 5);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = (np_rng_u64(&r) >> (24 + np_rng_below(&r, 40))) + 1;
        np_hist_clear(&h);
        np_hist_add(&h, v);
        uint64_t edge = np_hist_quantile(&h, 0.5);
        ck_assert_uint_ge(edge, v);
        ck_assert_uint_le(edge - v, v / 16);
    }
}
END_TEST

START_TEST(values_out_of_range_count_as_the_nearest)
{
    np_hist_add(&h, 0);
    ck_assert_uint_eq(np_hist_quantile(&h, 1), 1);
    np_hist_add(&h, UINT64_MAX);
    np_hist_add(&h, UINT64_C(1) << 41);
    ck_assert_uint_eq(np_hist_quantile(&h, 1), UINT64_C(1) << 40);
    ck_assert_uint_eq(np_hist_total(&h), 3);
}
END_TEST

static const struct {
    double q;
    uint64_t rank;
} quantiles[] = {{0.001, 1}, {0.01, 1}, {0.011, 2}, {0.07, 7}, {0.5, 50}, {0.99, 99}, {1, 100}};

START_TEST(a_quantile_is_the_value_of_its_rank)
{
    for (uint64_t rank = 1; rank <= 100; rank++) {
        np_hist_add(&h, UINT64_C(1) << rank / 3);
    }
    uint64_t v = UINT64_C(1) << quantiles[_i].rank / 3;
    uint64_t got = np_hist_quantile(&h, quantiles[_i].q);
    ck_assert_uint_ge(got, v);
    ck_assert_uint_le(got, v + v / 16);
}
END_TEST

START_TEST(merging_adds_the_counts)
{
    static struct np_hist other;
    for (uint64_t v = 1; v <= 1000; v++) {
        np_hist_add(v % 2 ? &h : &other, v);
    }
    np_hist_merge(&h, &other);
    ck_assert_uint_eq(np_hist_total(&h), 1000);
    ck_assert_uint_eq(np_hist_total(&other), 500);
    uint64_t median = np_hist_quantile(&h, 0.5);
    ck_assert_uint_ge(median, 500);
    ck_assert_uint_le(median, 531);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/hist");
    TCase *c = tcase_create("hist");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, nothing_counted_is_no_quantile);
    tcase_add_test(c, small_values_are_exact);
    tcase_add_test(c, every_value_is_found_again_within_a_sixteenth);
    tcase_add_test(c, values_out_of_range_count_as_the_nearest);
    tcase_add_loop_test(c, a_quantile_is_the_value_of_its_rank, 0,
                        sizeof quantiles / sizeof *quantiles);
    tcase_add_test(c, merging_adds_the_counts);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
