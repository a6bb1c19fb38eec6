/* The breaker, step by step. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>

#define MS(n) ((uint64_t)(n)*NP_NS_PER_MS)
#define T0 (1000 * NP_NS_PER_S)

static struct np_guard *g;
static struct np_provider provider;
static struct np_model model;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    provider = (struct np_provider){
        .name = "openai",
        .slot = 3,
        .breaker = {
            .failures = 5, .rate = 0.5, .min_calls = 20, .window_ms = 10000, .open_ms = 60000}};
    model = (struct np_model){.name = "gpt", .slot = 7, .provider = &provider};
}

static void teardown(void)
{
    np_guard_free(g);
}

static void report(uint64_t now, enum np_class c)
{
    np_breaker_report(g, &model, now, c, -1, false);
}

static void fails(uint64_t now, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        report(now, NP_CLASS_server_error);
    }
}

static void expect(uint64_t now, enum np_breaker_state state)
{
    ck_assert_int_eq(np_breaker_get(g, &model, now), state);
}

START_TEST(a_new_pair_is_closed_and_passes)
{
    expect(T0, NP_BREAKER_CLOSED);
    ck_assert_int_eq(np_breaker_ask(g, &model, T0), NP_PASS_YES);
    ck_assert(np_breaker_would_pass(g, &model, T0));
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0), 0);
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0, &v);
    ck_assert_int_eq(v.last_class, NP_CLASS_COUNT);
    ck_assert_uint_eq(v.opened, 0);
}
END_TEST

START_TEST(failures_in_a_row_open_it_for_open_ms)
{
    fails(T0, 4);
    expect(T0, NP_BREAKER_CLOSED);
    fails(T0, 1);
    expect(T0, NP_BREAKER_OPEN);
    ck_assert_int_eq(np_breaker_ask(g, &model, T0 + MS(59999)), NP_PASS_NO);
    ck_assert(!np_breaker_would_pass(g, &model, T0 + MS(59999)));
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0 + MS(59999)), MS(1));
    expect(T0 + MS(60000), NP_BREAKER_HALF_OPEN);
    ck_assert(np_breaker_would_pass(g, &model, T0 + MS(60000)));
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0 + MS(60000)), 0);
}
END_TEST

START_TEST(a_good_call_ends_the_row)
{
    provider.breaker.rate = 0;
    fails(T0, 4);
    report(T0, NP_CLASS_ok);
    fails(T0, 4);
    expect(T0, NP_BREAKER_CLOSED);
    fails(T0, 1);
    expect(T0, NP_BREAKER_OPEN);
}
END_TEST

/* One class each: whether five in a row open it. */
START_TEST(only_the_classes_of_the_contract_count)
{
    static const bool counts[NP_CLASS_COUNT] = {
        [NP_CLASS_network] = true,      [NP_CLASS_timeout] = true,
        [NP_CLASS_rate_limited] = true, [NP_CLASS_overloaded] = true,
        [NP_CLASS_server_error] = true, [NP_CLASS_bad_reply] = true,
        [NP_CLASS_cut] = true};
    for (int i = 0; i < 5; i++) {
        report(T0, (enum np_class)_i);
    }
    expect(T0, counts[_i] ? NP_BREAKER_OPEN : NP_BREAKER_CLOSED);
}
END_TEST

START_TEST(a_class_that_does_not_count_neither_ends_a_row_nor_thins_the_rate)
{
    fails(T0, 4);
    report(T0, NP_CLASS_rejected);
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0, &v);
    ck_assert_uint_eq(v.calls, 4);
    ck_assert_uint_eq(v.failures_in_row, 4);
    fails(T0, 1);
    expect(T0, NP_BREAKER_OPEN);
}
END_TEST

START_TEST(the_rate_opens_it_once_enough_calls_are_in_the_window)
{
    provider.breaker.failures = 0;
    for (int i = 0; i < 9; i++) {
        report(T0 + MS(i), NP_CLASS_ok);
        report(T0 + MS(i), NP_CLASS_timeout);
    }
    report(T0 + MS(9), NP_CLASS_ok);
    expect(T0 + MS(9), NP_BREAKER_CLOSED);
    report(T0 + MS(9), NP_CLASS_timeout);
    expect(T0 + MS(9), NP_BREAKER_OPEN);
}
END_TEST

START_TEST(the_call_that_completes_min_calls_may_be_a_good_one)
{
    provider.breaker.failures = 0;
    fails(T0, 19);
    expect(T0, NP_BREAKER_CLOSED);
    report(T0, NP_CLASS_ok);
    expect(T0, NP_BREAKER_OPEN);
}
END_TEST

START_TEST(calls_that_left_the_window_do_not_count)
{
    provider.breaker.failures = 0;
    fails(T0, 15);
    fails(T0 + MS(11000), 15);
    expect(T0 + MS(11000), NP_BREAKER_CLOSED);
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0 + MS(11000), &v);
    ck_assert_uint_eq(v.calls, 15);
    fails(T0 + MS(12000), 5);
    expect(T0 + MS(12000), NP_BREAKER_OPEN);
}
END_TEST

START_TEST(a_clock_that_lags_a_window_behind_is_not_counted)
{
    for (int i = 0; i < 3; i++) {
        report(T0 + MS(10000), NP_CLASS_ok);
    }
    for (int i = 0; i < 5; i++) {
        report(T0, NP_CLASS_ok);
    }
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0 + MS(10000), &v);
    ck_assert_uint_eq(v.calls, 3);
}
END_TEST

START_TEST(a_rule_without_counts_never_opens)
{
    provider.breaker.failures = 0;
    provider.breaker.rate = 0;
    fails(T0, 1000);
    expect(T0, NP_BREAKER_CLOSED);
}
END_TEST

START_TEST(a_longer_retry_after_keeps_it_open_longer)
{
    fails(T0, 4);
    np_breaker_report(g, &model, T0, NP_CLASS_rate_limited, 90000, false);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0), MS(90000));
}
END_TEST

START_TEST(a_shorter_retry_after_changes_nothing)
{
    fails(T0, 4);
    np_breaker_report(g, &model, T0, NP_CLASS_rate_limited, 5000, false);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0), MS(60000));
}
END_TEST

START_TEST(the_longest_retry_after_of_the_row_counts)
{
    np_breaker_report(g, &model, T0, NP_CLASS_overloaded, 90000, false);
    fails(T0 + MS(1000), 4);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0 + MS(1000)), MS(89000));
}
END_TEST

START_TEST(a_retry_after_before_a_good_call_is_forgotten)
{
    np_breaker_report(g, &model, T0, NP_CLASS_overloaded, 90000, false);
    report(T0, NP_CLASS_ok);
    provider.breaker.rate = 0;
    fails(T0, 5);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0), MS(60000));
}
END_TEST

START_TEST(a_call_that_ends_late_may_lengthen_it_by_its_retry_after_only)
{
    fails(T0, 5);
    report(T0 + MS(100), NP_CLASS_timeout);
    report(T0 + MS(100), NP_CLASS_ok);
    report(T0 + MS(100), NP_CLASS_ok);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0 + MS(100)), MS(59900));
    np_breaker_report(g, &model, T0 + MS(100), NP_CLASS_rate_limited, 120000, false);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0 + MS(100)), MS(120000));
}
END_TEST

START_TEST(a_retry_after_counts_for_an_hour_at_most)
{
    fails(T0, 4);
    np_breaker_report(g, &model, T0, NP_CLASS_rate_limited, INT64_MAX, false);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, T0), MS(3600000));
}
END_TEST

START_TEST(one_probe_at_a_time_and_two_good_ones_close_it)
{
    fails(T0, 5);
    uint64_t t = T0 + MS(60000);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_NO);
    ck_assert(!np_breaker_would_pass(g, &model, t));
    ck_assert_uint_gt(np_breaker_wait_ns(g, &model, t), 0);
    np_breaker_report(g, &model, t, NP_CLASS_ok, -1, true);
    expect(t, NP_BREAKER_HALF_OPEN);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_ok, -1, true);
    expect(t, NP_BREAKER_CLOSED);
    struct np_breaker_view v;
    np_breaker_view(g, &model, t, &v);
    ck_assert_uint_eq(v.failures_in_row, 0);
    ck_assert_uint_eq(v.calls, 0);
    ck_assert_uint_eq(v.opened, 1);
    ck_assert_int_eq(v.last_class, NP_CLASS_server_error);
}
END_TEST

START_TEST(a_failing_probe_opens_it_anew)
{
    fails(T0, 5);
    uint64_t t = T0 + MS(61000);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_ok, -1, true);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_network, -1, true);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, t), MS(60000));
    t += MS(60000);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_ok, -1, true);
    expect(t, NP_BREAKER_HALF_OPEN);
}
END_TEST

START_TEST(a_failing_probes_longer_retry_after_wins)
{
    fails(T0, 5);
    uint64_t t = T0 + MS(60000);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_overloaded, 300000, true);
    ck_assert_uint_eq(np_breaker_wait_ns(g, &model, t), MS(300000));
}
END_TEST

START_TEST(a_probe_that_says_nothing_is_only_given_back)
{
    fails(T0, 5);
    uint64_t t = T0 + MS(60000);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_report(g, &model, t, NP_CLASS_cancelled, -1, true);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    np_breaker_release(g, &model, t);
    ck_assert_int_eq(np_breaker_ask(g, &model, t), NP_PASS_PROBE);
    expect(t, NP_BREAKER_HALF_OPEN);
}
END_TEST

START_TEST(giving_back_a_probe_that_is_not_out_stops_the_process)
{
    np_breaker_release(g, &model, T0);
}
END_TEST

START_TEST(a_new_rule_holds_from_the_next_report_on)
{
    fails(T0, 3);
    provider.breaker.failures = 4;
    fails(T0, 1);
    expect(T0, NP_BREAKER_OPEN);
}
END_TEST

START_TEST(a_new_window_length_begins_an_empty_window)
{
    provider.breaker.failures = 0;
    fails(T0, 15);
    provider.breaker.window_ms = 20000;
    fails(T0, 15);
    expect(T0, NP_BREAKER_CLOSED);
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0, &v);
    ck_assert_uint_eq(v.calls, 15);
}
END_TEST

START_TEST(pairs_are_apart)
{
    struct np_model other = model;
    other.slot = 8;
    fails(T0, 5);
    ck_assert_int_eq(np_breaker_ask(g, &other, T0), NP_PASS_YES);
}
END_TEST

START_TEST(a_busy_cell_keeps_its_share_when_its_counts_are_full)
{
    provider.breaker.failures = 0;
    provider.breaker.min_calls = 1000000;
    for (int i = 0; i < 100000; i++) {
        report(T0, i % 4 == 0 ? NP_CLASS_timeout : NP_CLASS_ok);
    }
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0, &v);
    ck_assert_uint_gt(v.calls, 30000);
    ck_assert_double_eq_tol((double)v.failed / v.calls, 0.25, 0.001);
}
END_TEST

START_TEST(states_have_names)
{
    ck_assert_str_eq(np_breaker_state_name(NP_BREAKER_CLOSED), "closed");
    ck_assert_str_eq(np_breaker_state_name(NP_BREAKER_HALF_OPEN), "half_open");
    ck_assert_str_eq(np_breaker_state_name(NP_BREAKER_OPEN), "open");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("breaker");
    TCase *t = tcase_create("steps");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_new_pair_is_closed_and_passes);
    tcase_add_test(t, failures_in_a_row_open_it_for_open_ms);
    tcase_add_test(t, a_good_call_ends_the_row);
    tcase_add_loop_test(t, only_the_classes_of_the_contract_count, 0, NP_CLASS_COUNT);
    tcase_add_test(t, a_class_that_does_not_count_neither_ends_a_row_nor_thins_the_rate);
    tcase_add_test(t, the_rate_opens_it_once_enough_calls_are_in_the_window);
    tcase_add_test(t, the_call_that_completes_min_calls_may_be_a_good_one);
    tcase_add_test(t, calls_that_left_the_window_do_not_count);
    tcase_add_test(t, a_clock_that_lags_a_window_behind_is_not_counted);
    tcase_add_test(t, a_rule_without_counts_never_opens);
    tcase_add_test(t, a_longer_retry_after_keeps_it_open_longer);
    tcase_add_test(t, a_shorter_retry_after_changes_nothing);
    tcase_add_test(t, the_longest_retry_after_of_the_row_counts);
    tcase_add_test(t, a_retry_after_before_a_good_call_is_forgotten);
    tcase_add_test(t, a_call_that_ends_late_may_lengthen_it_by_its_retry_after_only);
    tcase_add_test(t, a_retry_after_counts_for_an_hour_at_most);
    tcase_add_test(t, one_probe_at_a_time_and_two_good_ones_close_it);
    tcase_add_test(t, a_failing_probe_opens_it_anew);
    tcase_add_test(t, a_failing_probes_longer_retry_after_wins);
    tcase_add_test(t, a_probe_that_says_nothing_is_only_given_back);
    tcase_add_test_raise_signal(t, giving_back_a_probe_that_is_not_out_stops_the_process, 6);
    tcase_add_test(t, a_new_rule_holds_from_the_next_report_on);
    tcase_add_test(t, a_new_window_length_begins_an_empty_window);
    tcase_add_test(t, pairs_are_apart);
    tcase_add_test(t, a_busy_cell_keeps_its_share_when_its_counts_are_full);
    tcase_add_test(t, states_have_names);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
