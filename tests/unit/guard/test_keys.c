/* Which key is next, and how long bad ones are held. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>

#define S(n) ((uint64_t)(n)*NP_NS_PER_S)
#define T0 S(1000)

static struct np_guard *g;
static struct np_secret secrets[3];
static struct np_provider provider;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    for (uint32_t i = 0; i < 3; i++) {
        secrets[i] = (struct np_secret){.label = "env:K", .value = "v", .slot = 10 + i};
    }
    provider = (struct np_provider){.name = "p", .slot = 1, .keys = secrets, .n_keys = 3};
}

static void teardown(void)
{
    np_guard_free(g);
}

static size_t pick(uint32_t tried, uint64_t now)
{
    uint64_t wait;
    return np_key_pick(g, &provider, tried, now, &wait);
}

/* Until when key is not given, looked for second by second; only it is left untried. */
static uint64_t held_s(size_t key, uint64_t now)
{
    uint64_t s = 0;
    while (pick(7U & ~(1U << key), now + S(s)) != key) {
        s++;
    }
    return s;
}

START_TEST(free_keys_take_turns)
{
    unsigned times[3] = {0};
    size_t last = 9;
    for (int i = 0; i < 30; i++) {
        size_t k = pick(0, T0);
        ck_assert_uint_lt(k, 3);
        ck_assert_uint_ne(k, last);
        last = k;
        times[k]++;
    }
    ck_assert_uint_eq(times[0], 10);
    ck_assert_uint_eq(times[1], 10);
    ck_assert_uint_eq(times[2], 10);
}
END_TEST

START_TEST(a_key_that_was_tried_is_not_given_again)
{
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(pick(1U | 4U, T0), 1);
    }
    uint64_t wait = 77;
    ck_assert_uint_eq(np_key_pick(g, &provider, 7, T0, &wait), 3);
    ck_assert_uint_eq(wait, 0);
}
END_TEST

START_TEST(a_provider_without_keys_gives_none)
{
    provider.n_keys = 0;
    uint64_t wait = 77;
    ck_assert_uint_eq(np_key_pick(g, &provider, 0, T0, &wait), 0);
    ck_assert_uint_eq(wait, 0);
    np_key_report(g, &provider, 0, T0, NP_CLASS_credential, -1);
}
END_TEST

START_TEST(a_refused_key_is_held_a_minute_doubling_to_an_hour)
{
    static const uint64_t holds[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    uint64_t now = T0;
    for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) {
        np_key_report(g, &provider, 1, now, NP_CLASS_credential, -1);
        ck_assert_uint_eq(held_s(1, now), holds[i]);
        now += S(holds[i]);
    }
    np_key_report(g, &provider, 1, now, NP_CLASS_ok, -1);
    np_key_report(g, &provider, 1, now, NP_CLASS_credential, -1);
    ck_assert_uint_eq(held_s(1, now), 60);
}
END_TEST

START_TEST(calls_that_fail_together_are_one_strike)
{
    for (int i = 0; i < 50; i++) {
        np_key_report(g, &provider, 0, T0 + (uint64_t)i, NP_CLASS_credential, -1);
    }
    ck_assert_uint_le(held_s(0, T0), 60);
    np_key_report(g, &provider, 0, T0 + S(60), NP_CLASS_credential, -1);
    ck_assert_uint_eq(held_s(0, T0 + S(60)), 120);
}
END_TEST

START_TEST(a_good_call_does_not_free_a_held_key)
{
    np_key_report(g, &provider, 2, T0, NP_CLASS_credential, -1);
    np_key_report(g, &provider, 2, T0, NP_CLASS_ok, -1);
    ck_assert_uint_eq(held_s(2, T0), 60);
}
END_TEST

START_TEST(a_rate_limited_key_is_held_for_its_retry_after)
{
    np_key_report(g, &provider, 0, T0, NP_CLASS_rate_limited, 7000);
    ck_assert_uint_eq(held_s(0, T0), 7);
    np_key_report(g, &provider, 0, T0, NP_CLASS_rate_limited, 3000);
    ck_assert_uint_eq(held_s(0, T0), 7);
    np_key_report(g, &provider, 1, T0, NP_CLASS_rate_limited, -1);
    ck_assert_uint_eq(held_s(1, T0), 0);
}
END_TEST

START_TEST(the_only_key_is_not_held_by_a_rate_limit)
{
    provider.n_keys = 1;
    np_key_report(g, &provider, 0, T0, NP_CLASS_rate_limited, 7000);
    ck_assert_uint_eq(pick(0, T0), 0);
    np_key_report(g, &provider, 0, T0, NP_CLASS_credential, -1);
    ck_assert_uint_eq(pick(0, T0), 1);
}
END_TEST

START_TEST(a_spent_quota_holds_five_minutes_or_longer_where_said)
{
    np_key_report(g, &provider, 0, T0, NP_CLASS_quota, -1);
    np_key_report(g, &provider, 1, T0, NP_CLASS_quota, 1000);
    np_key_report(g, &provider, 2, T0, NP_CLASS_quota, 900000);
    ck_assert_uint_eq(held_s(0, T0), 300);
    ck_assert_uint_eq(held_s(1, T0), 300);
    ck_assert_uint_eq(held_s(2, T0), 900);
}
END_TEST

START_TEST(with_all_keys_held_the_first_end_is_told)
{
    uint64_t wait;
    np_key_report(g, &provider, 0, T0, NP_CLASS_rate_limited, 9000);
    np_key_report(g, &provider, 1, T0, NP_CLASS_rate_limited, 4000);
    np_key_report(g, &provider, 2, T0, NP_CLASS_credential, -1);
    ck_assert_uint_eq(np_key_pick(g, &provider, 0, T0 + S(1), &wait), 3);
    ck_assert_uint_eq(wait, S(3));
    ck_assert_uint_eq(np_key_pick(g, &provider, 0, T0 + S(4), &wait), 1);
    ck_assert_uint_eq(wait, 0);
}
END_TEST

START_TEST(other_classes_hold_nothing)
{
    np_key_report(g, &provider, 0, T0, NP_CLASS_server_error, 9000);
    np_key_report(g, &provider, 0, T0, NP_CLASS_overloaded, 9000);
    ck_assert_uint_eq(held_s(0, T0), 0);
}
END_TEST

START_TEST(a_hold_follows_the_secret_over_a_reload)
{
    np_key_report(g, &provider, 2, T0, NP_CLASS_credential, -1);
    struct np_secret after[2] = {secrets[2], secrets[0]};
    provider.keys = after;
    provider.n_keys = 2;
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(pick(0, T0), 1);
    }
}
END_TEST

START_TEST(a_secret_beyond_the_table_is_given_and_never_held)
{
    secrets[0].slot = UINT32_MAX;
    provider.n_keys = 1;
    np_key_report(g, &provider, 0, T0, NP_CLASS_credential, -1);
    ck_assert_uint_eq(pick(0, T0), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("keys");
    TCase *t = tcase_create("keys");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, free_keys_take_turns);
    tcase_add_test(t, a_key_that_was_tried_is_not_given_again);
    tcase_add_test(t, a_provider_without_keys_gives_none);
    tcase_add_test(t, a_refused_key_is_held_a_minute_doubling_to_an_hour);
    tcase_add_test(t, calls_that_fail_together_are_one_strike);
    tcase_add_test(t, a_good_call_does_not_free_a_held_key);
    tcase_add_test(t, a_rate_limited_key_is_held_for_its_retry_after);
    tcase_add_test(t, the_only_key_is_not_held_by_a_rate_limit);
    tcase_add_test(t, a_spent_quota_holds_five_minutes_or_longer_where_said);
    tcase_add_test(t, with_all_keys_held_the_first_end_is_told);
    tcase_add_test(t, other_classes_hold_nothing);
    tcase_add_test(t, a_hold_follows_the_secret_over_a_reload);
    tcase_add_test(t, a_secret_beyond_the_table_is_given_and_never_held);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
