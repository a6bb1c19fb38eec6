/* Calls in flight and the retry budget. */
#include "guard/guard.h"

#include <check.h>

static struct np_guard *g;
static struct np_provider provider;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    provider = (struct np_provider){.name = "p", .slot = 1, .max_inflight = 2};
}

static void teardown(void)
{
    np_guard_free(g);
}

START_TEST(places_in_flight_are_as_many_as_the_provider_says)
{
    ck_assert(np_inflight_take(g, &provider));
    ck_assert(np_inflight_take(g, &provider));
    ck_assert(!np_inflight_take(g, &provider));
    ck_assert_int_eq(np_inflight_get(g, &provider), 2);
    np_inflight_give(g, &provider);
    ck_assert(np_inflight_take(g, &provider));
}
END_TEST

START_TEST(without_a_limit_places_are_only_counted)
{
    provider.max_inflight = 0;
    for (int i = 0; i < 1000; i++) {
        ck_assert(np_inflight_take(g, &provider));
    }
    ck_assert_int_eq(np_inflight_get(g, &provider), 1000);
}
END_TEST

START_TEST(a_lowered_limit_lets_nobody_in_until_enough_have_left)
{
    ck_assert(np_inflight_take(g, &provider));
    ck_assert(np_inflight_take(g, &provider));
    provider.max_inflight = 1;
    np_inflight_give(g, &provider);
    ck_assert(!np_inflight_take(g, &provider));
    np_inflight_give(g, &provider);
    ck_assert(np_inflight_take(g, &provider));
}
END_TEST

START_TEST(giving_a_place_that_nobody_took_stops_the_process)
{
    np_inflight_give(g, &provider);
}
END_TEST

START_TEST(a_full_retry_budget_grants_five_and_then_none)
{
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 10);
    for (int i = 0; i < 5; i++) {
        ck_assert(np_retry_budget_take(g, &provider));
    }
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 5);
    ck_assert(!np_retry_budget_take(g, &provider));
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 5);
}
END_TEST

/* Just above 5 one is granted, which may lead below; then ten first attempts buy one retry. */
START_TEST(first_attempts_bring_back_a_tenth_each)
{
    for (int i = 0; i < 5; i++) {
        ck_assert(np_retry_budget_take(g, &provider));
    }
    np_retry_budget_first(g, &provider);
    ck_assert(np_retry_budget_take(g, &provider));
    ck_assert_double_eq_tol(np_retry_budget_tokens(g, &provider), 4.1, 1e-9);
    for (int i = 0; i < 9; i++) {
        np_retry_budget_first(g, &provider);
        ck_assert(!np_retry_budget_take(g, &provider));
    }
    np_retry_budget_first(g, &provider);
    ck_assert(np_retry_budget_take(g, &provider));
}
END_TEST

START_TEST(the_retry_budget_never_grows_beyond_ten)
{
    for (int i = 0; i < 1000; i++) {
        np_retry_budget_first(g, &provider);
    }
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 10);
}
END_TEST

START_TEST(a_retry_that_was_not_used_is_given_back)
{
    ck_assert(np_retry_budget_take(g, &provider));
    np_retry_budget_give(g, &provider);
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 10);
    np_retry_budget_give(g, &provider);
    ck_assert_double_eq(np_retry_budget_tokens(g, &provider), 10);
}
END_TEST

/* At 100 % failure, one retry wanted after each first attempt: the promise of 1.11 a request. */
START_TEST(an_outage_is_not_multiplied)
{
    unsigned attempts = 0;
    for (int i = 0; i < 1200; i++) {
        np_retry_budget_first(g, &provider);
        attempts += 1 + np_retry_budget_take(g, &provider);
    }
    ck_assert_double_le((double)attempts / 1200, 1.11);
}
END_TEST

START_TEST(providers_have_budgets_of_their_own)
{
    struct np_provider other = {.name = "q", .slot = 2, .max_inflight = 1};
    while (np_retry_budget_take(g, &provider)) {
    }
    ck_assert(np_retry_budget_take(g, &other));
    ck_assert(np_inflight_take(g, &other));
    ck_assert_int_eq(np_inflight_get(g, &provider), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *t = tcase_create("limits");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, places_in_flight_are_as_many_as_the_provider_says);
    tcase_add_test(t, without_a_limit_places_are_only_counted);
    tcase_add_test(t, a_lowered_limit_lets_nobody_in_until_enough_have_left);
    tcase_add_test_raise_signal(t, giving_a_place_that_nobody_took_stops_the_process, 6);
    tcase_add_test(t, a_full_retry_budget_grants_five_and_then_none);
    tcase_add_test(t, first_attempts_bring_back_a_tenth_each);
    tcase_add_test(t, the_retry_budget_never_grows_beyond_ten);
    tcase_add_test(t, a_retry_that_was_not_used_is_given_back);
    tcase_add_test(t, an_outage_is_not_multiplied);
    tcase_add_test(t, providers_have_budgets_of_their_own);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
