/* Which share of an endpoint's requests may have a second call. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>

static struct np_guard *g;
static const struct np_endpoint endpoint = {.path = "/api/a/reply", .slot = 3};
static const struct np_endpoint other = {.path = "/api/b/reply", .slot = 4};

#define AT(s) ((uint64_t)(s)*NP_NS_PER_S)

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    np_guard_free(g);
}

static void count(int n, uint64_t at_ns)
{
    for (int i = 0; i < n; i++)
        np_hedge_share_count(g, &endpoint, at_ns);
}

static int take_all(uint64_t at_ns)
{
    int n = 0;
    while (np_hedge_share_take(g, &endpoint, at_ns))
        n++;
    return n;
}

START_TEST(nothing_is_granted_before_the_twentieth_request)
{
    count(19, AT(100));
    ck_assert(!np_hedge_share_left(g, &endpoint, AT(100)));
    ck_assert(!np_hedge_share_take(g, &endpoint, AT(100)));
    count(1, AT(100));
    ck_assert(np_hedge_share_left(g, &endpoint, AT(100)));
    ck_assert_int_eq(take_all(AT(100)), 1);
}
END_TEST

START_TEST(of_a_thousand_fifty_are_granted)
{
    count(1000, AT(100));
    ck_assert_int_eq(take_all(AT(100)), 50);
}
END_TEST

START_TEST(requests_of_more_than_a_minute_ago_count_no_more)
{
    count(1000, AT(100));
    ck_assert(np_hedge_share_left(g, &endpoint, AT(159)));
    ck_assert(!np_hedge_share_left(g, &endpoint, AT(161)));
}
END_TEST

START_TEST(what_was_granted_outlasts_the_requests_that_it_was_granted_for)
{
    count(1000, AT(100));
    ck_assert_int_eq(take_all(AT(155)), 50);
    count(100, AT(165));
    ck_assert_int_eq(take_all(AT(165)), 0);
    ck_assert_int_eq(take_all(AT(215)), 5);
}
END_TEST

START_TEST(what_was_not_used_can_be_granted_again)
{
    count(20, AT(100));
    ck_assert(np_hedge_share_take(g, &endpoint, AT(100)));
    np_hedge_share_give(g, &endpoint, AT(100));
    ck_assert(np_hedge_share_take(g, &endpoint, AT(100)));
}
END_TEST

START_TEST(endpoints_have_shares_of_their_own)
{
    count(20, AT(100));
    ck_assert(!np_hedge_share_left(g, &other, AT(100)));
}
END_TEST

START_TEST(a_steady_load_is_granted_a_twentieth_and_no_more)
{
    int granted = 0;
    for (uint64_t ms = 0; ms < 600000; ms += 10) {
        np_hedge_share_count(g, &endpoint, AT(100) + ms * NP_NS_PER_MS);
        granted += np_hedge_share_take(g, &endpoint, AT(100) + ms * NP_NS_PER_MS);
    }
    ck_assert_int_le(granted, 3000);
    ck_assert_int_ge(granted, 2700);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("guard/hedges");
    TCase *t = tcase_create("hedges");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_is_granted_before_the_twentieth_request);
    tcase_add_test(t, of_a_thousand_fifty_are_granted);
    tcase_add_test(t, requests_of_more_than_a_minute_ago_count_no_more);
    tcase_add_test(t, what_was_granted_outlasts_the_requests_that_it_was_granted_for);
    tcase_add_test(t, what_was_not_used_can_be_granted_again);
    tcase_add_test(t, endpoints_have_shares_of_their_own);
    tcase_add_test(t, a_steady_load_is_granted_a_twentieth_and_no_more);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
