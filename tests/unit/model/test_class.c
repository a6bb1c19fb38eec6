/* The tables of classes, reasons, skips, finishes, refusals; and what usage is possible. */
#include "model/class.h"

#include <check.h>
#include <stdlib.h>

#include "model/usage.h"

START_TEST(each_class_is_found_by_its_name)
{
    for (int c = 0; c < NP_CLASS_COUNT; c++)
        ck_assert_int_eq(np_class_find(np_span_of(np_class_name((enum np_class)c))), c);
    ck_assert_int_eq(np_class_find(NP_SPAN("rate_limite")), NP_CLASS_COUNT);
    ck_assert_int_eq(np_class_find(NP_SPAN("")), NP_CLASS_COUNT);
}
END_TEST

START_TEST(classes_mean_what_the_contract_says)
{
    ck_assert_str_eq(np_class_name(NP_CLASS_rate_limited), "rate_limited");
    ck_assert_int_eq(np_class_then(NP_CLASS_rate_limited), NP_THEN_AGAIN);
    ck_assert_int_eq(np_class_then(NP_CLASS_bad_reply), NP_THEN_NEXT);
    ck_assert_int_eq(np_class_then(NP_CLASS_credential), NP_THEN_KEY);
    ck_assert_int_eq(np_class_fault(NP_CLASS_credential), NP_FAULT_OPERATOR);
    ck_assert_int_eq(np_class_fault(NP_CLASS_rejected), NP_FAULT_CALLER);
    ck_assert(np_class_trips_breaker(NP_CLASS_timeout));
    ck_assert(!np_class_trips_breaker(NP_CLASS_deadline));
    ck_assert(!np_class_trips_breaker(NP_CLASS_quota));
}
END_TEST

START_TEST(reasons_skips_and_finishes_have_their_names)
{
    for (int i = 0; i < NP_REASON_COUNT; i++)
        ck_assert_int_eq(np_reason_find(np_span_of(np_reason_name((enum np_reason)i))), i);
    for (int i = 0; i < NP_FINISH_COUNT; i++)
        ck_assert_int_eq(np_finish_find(np_span_of(np_finish_name((enum np_finish)i))), i);
    ck_assert_int_eq(np_reason_find(NP_SPAN("budge")), NP_REASON_COUNT);
    ck_assert_int_eq(np_finish_find(NP_SPAN("end_turn")), NP_FINISH_COUNT);
    ck_assert_str_eq(np_skip_name(NP_SKIP_busy), "busy");
    ck_assert_str_eq(np_finish_name(NP_FINISH_content_filter), "content_filter");
}
END_TEST

START_TEST(refusals_have_the_status_of_the_contract)
{
    ck_assert_str_eq(np_refusal_name(NP_REFUSAL_invalid_request), "invalid_request");
    ck_assert_uint_eq(np_refusal_status(NP_REFUSAL_invalid_request), 400);
    ck_assert_uint_eq(np_refusal_status(NP_REFUSAL_budget_exceeded), 429);
    ck_assert_uint_eq(np_refusal_status(NP_REFUSAL_policy_failed), 503);
}
END_TEST

START_TEST(usage_is_possible_when_no_part_is_more_than_its_whole)
{
    static const struct {
        struct np_usage u;
        bool possible;
    } rows[] = {
        {{0}, true},
        {{10, 5, 3, 3, 4, 5}, true},
        {{10, 5, 3, 3, 5, 5}, false},
        {{10, 5, 0, 0, 0, 6}, false},
        {{.prompt = NP_USAGE_MAX, .completion = NP_USAGE_MAX}, true},
        {{.prompt = NP_USAGE_MAX + 1}, false},
        {{.completion = NP_USAGE_MAX + 1}, false},
        {{.prompt = -1}, false},
        {{.completion = -1}, false},
        {{.prompt = 5, .cached = -1}, false},
        {{.prompt = 5, .cache_write = -1}, false},
        {{.prompt = 5, .cache_write_1h = -1}, false},
        {{.completion = 5, .reasoning = -1}, false},
        {{.prompt = 5, .cached = INT64_MAX, .cache_write = INT64_MAX}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(np_usage_possible(&rows[i].u) == rows[i].possible, "row %zu", i);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("class");
    TCase *t = tcase_create("class");
    tcase_add_test(t, each_class_is_found_by_its_name);
    tcase_add_test(t, classes_mean_what_the_contract_says);
    tcase_add_test(t, reasons_skips_and_finishes_have_their_names);
    tcase_add_test(t, refusals_have_the_status_of_the_contract);
    tcase_add_test(t, usage_is_possible_when_no_part_is_more_than_its_whole);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
