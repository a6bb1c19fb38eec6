/* The running correction of token estimates. */
#include "guard/guard.h"

#include <check.h>
#include <stdlib.h>

static struct np_guard *g;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    np_guard_free(g);
}

START_TEST(nothing_learnt_changes_nothing)
{
    ck_assert_int_eq(np_ratio_apply(g, 3, 1000), 1000);
    ck_assert_int_eq(np_ratio_invert(g, 3, 1000), 1000);
    ck_assert_int_eq(np_ratio_apply(g, 3, 0), 0);
    ck_assert_int_eq(np_ratio_apply(g, 3, -5), 0);
    ck_assert_int_eq(np_ratio_apply(g, 3, INT64_MAX), INT64_MAX);
}
END_TEST

START_TEST(one_report_is_believed_and_others_of_its_kind_confirm_it)
{
    np_ratio_learn(g, 3, 1000, 1400);
    ck_assert_int_eq(np_ratio_apply(g, 3, 1000), 1399); /* 65,536ths, rounded down */
    for (int i = 0; i < 50; i++)
        np_ratio_learn(g, 3, 700, 980);
    int64_t n = np_ratio_apply(g, 3, 10000);
    ck_assert(n >= 13990 && n <= 14010);
    ck_assert_int_eq(np_ratio_apply(g, 4, 1000), 1000);
}
END_TEST

START_TEST(the_inverse_leads_back)
{
    for (int i = 0; i < 20; i++)
        np_ratio_learn(g, 3, 1000, 1337);
    for (int64_t n = 1; n < 100000; n = n * 3 + 1) {
        int64_t back = np_ratio_invert(g, 3, np_ratio_apply(g, 3, n));
        ck_assert(back <= n && back >= n - 1);
    }
}
END_TEST

START_TEST(a_new_tokenizer_is_followed)
{
    for (int i = 0; i < 100; i++)
        np_ratio_learn(g, 3, 1000, 1500);
    for (int i = 0; i < 64; i++)
        np_ratio_learn(g, 3, 1000, 900);
    int64_t n = np_ratio_apply(g, 3, 1000);
    ck_assert_msg(n >= 890 && n <= 925, "%lld", (long long)n);
}
END_TEST

START_TEST(one_odd_report_moves_it_by_a_sixteenth)
{
    for (int i = 0; i < 100; i++)
        np_ratio_learn(g, 3, 1000, 1000);
    np_ratio_learn(g, 3, 1000, 4000);
    int64_t n = np_ratio_apply(g, 3, 1600);
    ck_assert_msg(n >= 1890 && n <= 1910, "%lld", (long long)n);
}
END_TEST

START_TEST(what_is_no_count_of_the_prompt_teaches_nothing)
{
    np_ratio_learn(g, 3, 1000, 1000000000);
    np_ratio_learn(g, 3, 1000, 4001);
    np_ratio_learn(g, 3, 1000, 249);
    np_ratio_learn(g, 3, 1000, 1);
    ck_assert_int_eq(np_ratio_apply(g, 3, 1000), 1000);
}
END_TEST

START_TEST(short_prompts_and_no_reports_teach_nothing)
{
    np_ratio_learn(g, 3, 63, 126);
    np_ratio_learn(g, 3, 1000, 0);
    np_ratio_learn(g, 3, 1000, -7);
    ck_assert_int_eq(np_ratio_apply(g, 3, 1000), 1000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ratio");
    TCase *t = tcase_create("ratio");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_learnt_changes_nothing);
    tcase_add_test(t, one_report_is_believed_and_others_of_its_kind_confirm_it);
    tcase_add_test(t, the_inverse_leads_back);
    tcase_add_test(t, a_new_tokenizer_is_followed);
    tcase_add_test(t, one_odd_report_moves_it_by_a_sixteenth);
    tcase_add_test(t, what_is_no_count_of_the_prompt_teaches_nothing);
    tcase_add_test(t, short_prompts_and_no_reports_teach_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
