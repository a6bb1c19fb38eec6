/* Sliding statistics: what they say, when they say nothing, and that five minutes are forgotten. */
#include "guard/guard.h"

#include "base/clock.h"
#include "support/fail_alloc.h"

#include <check.h>

#define MS(n) ((uint64_t)(n)*NP_NS_PER_MS)
#define S(n) ((uint64_t)(n)*NP_NS_PER_S)
#define T0 S(3000) /* the edge of a cell */

static struct np_guard *g;
static struct np_provider provider = {.name = "p"};
static struct np_model model = {.name = "m", .slot = 511, .provider = &provider};
static struct np_endpoint endpoint = {.path = "/api/x/reply", .slot = 63};

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    np_guard_free(g);
}

static void attempts(uint64_t now, unsigned n, uint64_t latency_ns, bool ok, int64_t tokens)
{
    for (unsigned i = 0; i < n; i++) {
        np_stat_attempt(g, &model, now, latency_ns, ok, tokens);
    }
}

static double p95(uint64_t now)
{
    return np_stat_model_p95_ms(g, model.slot, now);
}

START_TEST(nothing_is_said_of_fewer_than_twenty)
{
    ck_assert_double_eq(p95(T0), -1);
    attempts(T0, 19, MS(100), true, 50);
    ck_assert_double_eq(p95(T0), -1);
    ck_assert_double_eq(np_stat_model_p50_ms(g, model.slot, T0), -1);
    ck_assert_int_eq(np_stat_completion_p95(g, model.slot, T0), -1);
    attempts(T0, 1, MS(100), true, 50);
    ck_assert_double_eq_tol(p95(T0), 100, 100 / 16.0);
    ck_assert_int_ge(np_stat_completion_p95(g, model.slot, T0), 50);
    ck_assert_int_le(np_stat_completion_p95(g, model.slot, T0), 54);
}
END_TEST

START_TEST(the_p95_is_near_the_true_one)
{
    for (unsigned i = 1; i <= 1000; i++) {
        attempts(T0 + MS(i), 1, MS(i), true, i);
    }
    ck_assert_double_eq_tol(p95(T0 + S(1)), 950, 950 / 16.0);
    ck_assert_double_eq_tol(np_stat_model_p50_ms(g, model.slot, T0 + S(1)), 500, 500 / 16.0);
    ck_assert_double_eq_tol((double)np_stat_completion_p95(g, model.slot, T0 + S(1)), 950, 60);
}
END_TEST

START_TEST(failed_attempts_have_no_latency_but_count_for_the_error_rate)
{
    ck_assert_double_eq(np_stat_model_error_rate(g, model.slot, T0), 0);
    attempts(T0, 30, MS(100), true, 5);
    attempts(T0, 10, MS(9000), false, -1);
    ck_assert_double_eq_tol(p95(T0), 100, 100 / 16.0);
    ck_assert_double_eq(np_stat_model_error_rate(g, model.slot, T0), 0.25);
}
END_TEST

START_TEST(unknown_token_counts_are_left_out)
{
    attempts(T0, 30, MS(100), true, -1);
    ck_assert_int_eq(np_stat_completion_p95(g, model.slot, T0), -1);
}
END_TEST

START_TEST(what_is_five_minutes_old_is_forgotten)
{
    attempts(T0, 100, MS(5000), true, 10);
    attempts(T0, 100, MS(1), false, 10);
    attempts(T0 + S(200), 100, MS(10), true, 10);
    ck_assert_double_gt(p95(T0 + S(299)), 4000);
    ck_assert_double_lt(p95(T0 + S(300)), 11);
    ck_assert_double_eq(np_stat_model_error_rate(g, model.slot, T0 + S(300)), 0);
    ck_assert_double_eq(p95(T0 + S(501)), -1);
}
END_TEST

START_TEST(how_long_answers_were_is_known_however_seldom_they_come)
{
    for (unsigned i = 1; i <= 19; i++) {
        attempts(T0 + S(600) * i, 1, MS(10), true, i);
    }
    ck_assert_int_eq(np_stat_completion_p95(g, model.slot, T0 + S(600) * 19), -1);
    attempts(T0 + S(600) * 20, 1, MS(10), true, 20);
    ck_assert_double_eq(p95(T0 + S(600) * 20), -1);
    ck_assert_int_eq(np_stat_completion_p95(g, model.slot, T0 + S(600) * 20), 19);
    for (unsigned i = 21; i <= 500; i++) {
        attempts(T0 + S(600) * i, 1, MS(10), true, i);
    }
    /* Of 437 to 500 three are above. */
    ck_assert_int_eq(np_stat_completion_p95(g, model.slot, T0 + S(600) * 500), 497);
}
END_TEST

START_TEST(lately_goes_before_long_ago)
{
    attempts(T0, 40, MS(10), true, 4000);
    attempts(T0 + S(600), 20, MS(10), true, 50);
    ck_assert_int_le(np_stat_completion_p95(g, model.slot, T0 + S(600)), 54);
}
END_TEST

START_TEST(a_cell_that_comes_round_again_starts_empty)
{
    attempts(T0, 100, MS(5000), true, 10);
    attempts(T0 + S(300), 100, MS(10), true, 10);
    ck_assert_double_lt(p95(T0 + S(301)), 11);
}
END_TEST

START_TEST(a_clock_that_lags_a_lap_behind_is_not_counted)
{
    attempts(T0 + S(300), 100, MS(10), true, 10);
    attempts(T0, 100, MS(5000), true, 10);
    ck_assert_double_lt(p95(T0 + S(301)), 11);
}
END_TEST

START_TEST(a_quantile_is_at_most_a_second_or_a_sixteenth_old)
{
    attempts(T0, 1000, MS(100), true, 10);
    ck_assert_double_lt(p95(T0), 110);
    attempts(T0, 61, MS(900), true, 10);
    ck_assert_double_lt(p95(T0), 110);
    ck_assert_double_gt(p95(T0 + S(1)), 800);
    attempts(T0 + S(1), 2000, MS(5000), true, 10);
    ck_assert_double_gt(p95(T0 + S(1)), 4000);
}
END_TEST

START_TEST(an_endpoints_p95_is_of_all_replies_its_error_rate_of_what_counts)
{
    for (int i = 0; i < 40; i++) {
        bool counted = i % 2 == 0;
        np_stat_exchange(g, &endpoint, T0, MS(100), i < 10, counted, false, 0);
    }
    ck_assert_double_eq_tol(np_stat_endpoint_p95_ms(g, endpoint.slot, T0), 100, 100 / 16.0);
    ck_assert_double_eq(np_stat_endpoint_error_rate(g, endpoint.slot, T0), 5.0 / 20);
    ck_assert_double_eq(np_stat_endpoint_p95_ms(g, endpoint.slot - 1, T0), -1);
}
END_TEST

START_TEST(without_memory_statistics_stay_silent_and_limits_hold)
{
    np_fail_from(0);
    attempts(T0, 30, MS(100), true, 10);
    np_stat_exchange(g, &endpoint, T0, MS(100), true, true, false, 5);
    np_fail_never();
    ck_assert(np_fail_happened());
    ck_assert_double_eq(p95(T0), -1);
    ck_assert_double_eq(np_stat_endpoint_error_rate(g, endpoint.slot, T0), 0);
    ck_assert_double_eq(np_slo_burn(g, &endpoint, NP_OBJ_ERRORS, NP_BURN_5M, T0), 0);
    attempts(T0, 30, MS(100), true, 10);
    ck_assert_double_gt(p95(T0), 0);
}
END_TEST

START_TEST(without_memory_there_is_no_guard)
{
    np_fail_nth(0);
    struct np_guard *none = np_guard_new(1);
    np_fail_never();
    ck_assert_ptr_null(none);
    np_guard_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stats");
    TCase *t = tcase_create("stats");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_is_said_of_fewer_than_twenty);
    tcase_add_test(t, the_p95_is_near_the_true_one);
    tcase_add_test(t, failed_attempts_have_no_latency_but_count_for_the_error_rate);
    tcase_add_test(t, unknown_token_counts_are_left_out);
    tcase_add_test(t, what_is_five_minutes_old_is_forgotten);
    tcase_add_test(t, how_long_answers_were_is_known_however_seldom_they_come);
    tcase_add_test(t, lately_goes_before_long_ago);
    tcase_add_test(t, a_cell_that_comes_round_again_starts_empty);
    tcase_add_test(t, a_clock_that_lags_a_lap_behind_is_not_counted);
    tcase_add_test(t, a_quantile_is_at_most_a_second_or_a_sixteenth_old);
    tcase_add_test(t, an_endpoints_p95_is_of_all_replies_its_error_rate_of_what_counts);
    tcase_add_test(t, without_memory_statistics_stay_silent_and_limits_hold);
    tcase_add_test(t, without_memory_there_is_no_guard);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
