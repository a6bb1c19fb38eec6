/* SLO burn: shares over windows, against the objectives of the endpoint. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>

#define MS(n) ((uint64_t)(n)*NP_NS_PER_MS)
#define S(n) ((uint64_t)(n)*NP_NS_PER_S)
#define MIN(n) (S(60) * (n))
#define T0 MIN(10000)
#define USD(n) ((int64_t)((n)*1e9))

static struct np_guard *g;
static struct np_endpoint endpoint;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    endpoint = (struct np_endpoint){
        .path = "/api/x/reply",
        .slot = 1,
        .slo = {.p95_ms = 2500, .error_rate = 0.01, .degraded_rate = 0.05, .cost_nusd = USD(0.01)}};
}

static void teardown(void)
{
    np_guard_free(g);
}

static void good(uint64_t now, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        np_stat_exchange(g, &endpoint, now, MS(100), false, true, false, 0);
    }
}

static void bad(uint64_t now, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        np_stat_exchange(g, &endpoint, now, MS(100), true, true, false, 0);
    }
}

static double burn(enum np_objective o, enum np_burn_window w, uint64_t now)
{
    return np_slo_burn(g, &endpoint, o, w, now);
}

START_TEST(nothing_seen_burns_nothing)
{
    for (unsigned o = 0; o < NP_OBJ_COUNT; o++) {
        for (unsigned w = 0; w < NP_BURN_COUNT; w++) {
            ck_assert_double_eq(burn((enum np_objective)o, (enum np_burn_window)w, T0), 0);
        }
    }
}
END_TEST

START_TEST(errors_burn_by_their_share_over_the_objective)
{
    good(T0, 90);
    bad(T0, 10);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_5M, T0), 10, 1e-9);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_3D, T0), 10, 1e-9);
}
END_TEST

START_TEST(slow_replies_burn_over_five_percent)
{
    good(T0, 90);
    for (int i = 0; i < 10; i++) {
        np_stat_exchange(g, &endpoint, T0, MS(2500) + (uint64_t)(i < 5), false, true, false, 0);
    }
    ck_assert_double_eq_tol(burn(NP_OBJ_P95, NP_BURN_5M, T0), 1, 1e-9);
}
END_TEST

START_TEST(degraded_replies_burn)
{
    good(T0, 80);
    for (int i = 0; i < 20; i++) {
        np_stat_exchange(g, &endpoint, T0, MS(1), false, true, true, 0);
    }
    ck_assert_double_eq_tol(burn(NP_OBJ_DEGRADED, NP_BURN_5M, T0), 4, 1e-9);
}
END_TEST

START_TEST(cost_burns_by_its_mean)
{
    np_stat_exchange(g, &endpoint, T0, MS(1), false, true, false, USD(0.03));
    np_stat_exchange(g, &endpoint, T0, MS(1), false, true, false, USD(0.01));
    ck_assert_double_eq_tol(burn(NP_OBJ_COST, NP_BURN_5M, T0), 2, 1e-9);
}
END_TEST

START_TEST(a_callers_fault_is_neither_bad_nor_slow_nor_degraded)
{
    good(T0, 1);
    for (int i = 0; i < 99; i++) {
        np_stat_exchange(g, &endpoint, T0, MS(9000), true, false, true, 0);
    }
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, NP_BURN_5M, T0), 0);
    ck_assert_double_eq(burn(NP_OBJ_DEGRADED, NP_BURN_5M, T0), 0);
    ck_assert_double_eq(burn(NP_OBJ_P95, NP_BURN_5M, T0), 0);
    bad(T0, 1);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_5M, T0), 50, 1e-9);
}
END_TEST

/* Each window: seen until its last minute, gone after it. */
START_TEST(a_window_forgets_what_is_older)
{
    static const uint64_t minutes[] = {5, 30, 60, 360, 4320};
    enum np_burn_window w = (enum np_burn_window)_i;
    bad(T0, 1);
    good(T0 + MIN(1), 1);
    ck_assert_double_gt(burn(NP_OBJ_ERRORS, w, T0 + MIN(minutes[_i] - 1)), 0);
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, w, T0 + MIN(minutes[_i])), 0);
    good(T0 + MIN(minutes[_i]), 1);
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, w, T0 + MIN(minutes[_i])), 0);
}
END_TEST

START_TEST(what_was_asked_within_the_minute_is_not_stale)
{
    good(T0, 1);
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, NP_BURN_1H, T0), 0);
    bad(T0 + S(1), 1);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_1H, T0 + S(2)), 50, 1e-9);
    bad(T0 + MIN(1), 2);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_1H, T0 + MIN(1)), 75, 1e-9);
}
END_TEST

START_TEST(a_clock_that_lags_adds_to_the_newest_minute)
{
    good(T0 + MIN(1), 1);
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, NP_BURN_5M, T0 + MIN(1)), 0);
    bad(T0 + MIN(1) - 1, 1);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_5M, T0 + MIN(1)), 50, 1e-9);
}
END_TEST

START_TEST(an_objective_that_is_not_set_burns_nothing)
{
    endpoint.slo = (struct np_slo){0};
    np_stat_exchange(g, &endpoint, T0, S(60), true, true, true, USD(5));
    for (unsigned o = 0; o < NP_OBJ_COUNT; o++) {
        ck_assert_double_eq(burn((enum np_objective)o, NP_BURN_5M, T0), 0);
    }
}
END_TEST

START_TEST(endpoints_are_apart)
{
    struct np_endpoint other = endpoint;
    other.slot = 2;
    bad(T0, 10);
    ck_assert_double_eq(np_slo_burn(g, &other, NP_OBJ_ERRORS, NP_BURN_5M, T0), 0);
}
END_TEST

START_TEST(objectives_and_windows_have_the_contracts_names)
{
    ck_assert_str_eq(np_objective_name(NP_OBJ_P95), "p95_ms");
    ck_assert_str_eq(np_objective_name(NP_OBJ_ERRORS), "error_rate");
    ck_assert_str_eq(np_objective_name(NP_OBJ_DEGRADED), "degraded_rate");
    ck_assert_str_eq(np_objective_name(NP_OBJ_COST), "cost_usd");
    ck_assert_str_eq(np_burn_window_name(NP_BURN_5M), "5m");
    ck_assert_str_eq(np_burn_window_name(NP_BURN_30M), "30m");
    ck_assert_str_eq(np_burn_window_name(NP_BURN_1H), "1h");
    ck_assert_str_eq(np_burn_window_name(NP_BURN_6H), "6h");
    ck_assert_str_eq(np_burn_window_name(NP_BURN_3D), "3d");
}
END_TEST

/* Now on the clock of a machine that has just begun, and of a wall. */
#define BOOT MIN(2)
#define WALL_MS INT64_C(1790000000000)

static size_t carry(struct np_guard *from, uint64_t now, int64_t wall_ms, struct np_guard *to,
                    uint64_t to_now, int64_t to_wall_ms)
{
    static struct np_slo_minute minutes[NP_SLO_MINUTES];
    size_t n = np_slo_export(from, endpoint.slot, now, wall_ms, minutes, NP_SLO_MINUTES);
    np_slo_import(to, endpoint.slot, to_now, to_wall_ms, minutes, n);
    return n;
}

START_TEST(burn_rates_survive_a_restart_and_a_new_clock)
{
    struct np_guard *next = np_guard_new(2);
    for (uint64_t i = 300; i-- > 0;) {
        good(T0 - MIN(i), 9);
        bad(T0 - MIN(i), 1);
    }
    ck_assert_uint_eq(carry(g, T0, WALL_MS, next, BOOT, WALL_MS + 90000), 300);
    for (unsigned w = NP_BURN_30M; w < NP_BURN_COUNT; w++) {
        double before = np_slo_burn(g, &endpoint, NP_OBJ_ERRORS, (enum np_burn_window)w, T0);
        double after = np_slo_burn(next, &endpoint, NP_OBJ_ERRORS, (enum np_burn_window)w, BOOT);
        ck_assert_double_eq_tol(before, 10, 1e-9);
        ck_assert_double_eq_tol(after, before, 1e-9);
    }
    np_guard_free(next);
}
END_TEST

START_TEST(a_restart_after_a_day_remembers_two)
{
    struct np_guard *next = np_guard_new(2);
    bad(T0 - MIN(2 * 1440 + 10), 7);
    bad(T0, 5);
    carry(g, T0, WALL_MS, next, BOOT, WALL_MS + 86400000);
    ck_assert_double_eq(np_slo_burn(next, &endpoint, NP_OBJ_ERRORS, NP_BURN_6H, BOOT), 0);
    struct np_slo_minute minutes[10];
    size_t n = np_slo_export(next, endpoint.slot, BOOT, WALL_MS + 86400000, minutes, 10);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(minutes[0].bad, 5);
    ck_assert_int_eq(minutes[0].wall_minute, WALL_MS / 60000);
    np_guard_free(next);
}
END_TEST

START_TEST(minutes_of_the_future_and_of_long_ago_are_passed_over)
{
    const struct np_slo_minute odd[] = {
        {.wall_minute = WALL_MS / 60000 + 1, .counted = 1, .bad = 1},
        {.wall_minute = WALL_MS / 60000 - NP_SLO_MINUTES, .counted = 1, .bad = 1},
        {.wall_minute = INT64_MIN / 2, .counted = 1, .bad = 1}};
    np_slo_import(g, endpoint.slot, T0, WALL_MS, odd, 3);
    ck_assert_double_eq(burn(NP_OBJ_ERRORS, NP_BURN_3D, T0), 0);
    good(T0, 9);
    bad(T0, 1);
    ck_assert_double_eq_tol(burn(NP_OBJ_ERRORS, NP_BURN_3D, T0), 10, 1e-9);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("slo");
    TCase *t = tcase_create("slo");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_seen_burns_nothing);
    tcase_add_test(t, errors_burn_by_their_share_over_the_objective);
    tcase_add_test(t, slow_replies_burn_over_five_percent);
    tcase_add_test(t, degraded_replies_burn);
    tcase_add_test(t, cost_burns_by_its_mean);
    tcase_add_test(t, a_callers_fault_is_neither_bad_nor_slow_nor_degraded);
    tcase_add_loop_test(t, a_window_forgets_what_is_older, 0, NP_BURN_COUNT);
    tcase_add_test(t, what_was_asked_within_the_minute_is_not_stale);
    tcase_add_test(t, a_clock_that_lags_adds_to_the_newest_minute);
    tcase_add_test(t, an_objective_that_is_not_set_burns_nothing);
    tcase_add_test(t, endpoints_are_apart);
    tcase_add_test(t, objectives_and_windows_have_the_contracts_names);
    tcase_add_test(t, burn_rates_survive_a_restart_and_a_new_clock);
    tcase_add_test(t, a_restart_after_a_day_remembers_two);
    tcase_add_test(t, minutes_of_the_future_and_of_long_ago_are_passed_over);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
