/* Names and their numbers. */
#include "base/intern.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(numbers_are_given_in_order_and_kept)
{
    struct np_intern *t = np_intern_new(10);
    uint32_t a = 9, b = 9, c = 9;
    ck_assert_uint_eq(np_intern_count(t), 0);
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("openai"), &a), NP_OK);
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("anthropic"), &b), NP_OK);
    ck_assert_int_eq(np_intern_add(t, np_span_make("openai and more", 6), &c), NP_OK);
    ck_assert_uint_eq(a, 0);
    ck_assert_uint_eq(b, 1);
    ck_assert_uint_eq(c, 0);
    ck_assert_uint_eq(np_intern_count(t), 2);
    ck_assert_str_eq(np_intern_name(t, 0), "openai");
    ck_assert_str_eq(np_intern_name(t, 1), "anthropic");
    np_intern_free(t);
}
END_TEST

START_TEST(a_full_table_still_finds_what_it_has)
{
    enum { N = 1000 };
    char name[16];
    uint32_t number;
    struct np_intern *t = np_intern_new(N);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "name%u", i);
        ck_assert_int_eq(np_intern_add(t, np_span_of(name), &number), NP_OK);
        ck_assert_uint_eq(number, i);
        memset(name, 'x', sizeof name - 1); /* it was copied */
    }
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("another"), &number), NP_E_FULL);
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("name77"), &number), NP_OK);
    ck_assert_uint_eq(number, 77);
    ck_assert_str_eq(np_intern_name(t, 999), "name999");
    np_intern_free(t);
}
END_TEST

START_TEST(the_empty_name_is_a_name_and_a_nul_is_none)
{
    uint32_t number;
    struct np_intern *t = np_intern_new(2);
    ck_assert_int_eq(np_intern_add(t, NP_SPAN_NONE, &number), NP_OK);
    ck_assert_str_eq(np_intern_name(t, number), "");
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("a\0b"), &number), NP_E_INVALID);
    np_intern_free(t);
}
END_TEST

START_TEST(a_table_of_no_names_is_full)
{
    uint32_t number;
    struct np_intern *t = np_intern_new(0);
    ck_assert_int_eq(np_intern_add(t, NP_SPAN("a"), &number), NP_E_FULL);
    np_intern_free(t);
    np_intern_free(NULL);
}
END_TEST

START_TEST(asking_for_a_number_that_was_not_given_ends_the_process)
{
    struct np_intern *t = np_intern_new(2);
    np_intern_name(t, 0);
}
END_TEST

START_TEST(whichever_allocation_fails_nothing_is_half_done)
{
    bool good = false;
    for (size_t n = 0; !good; n++) {
        uint32_t number = 0;
        np_fail_nth(n);
        struct np_intern *t = np_intern_new(4);
        good = t && np_intern_add(t, NP_SPAN("a"), &number) == NP_OK;
        np_fail_never();
        ck_assert(good != np_fail_happened());
        if (t && !good) {
            ck_assert_uint_eq(np_intern_count(t), 0);
            ck_assert_int_eq(np_intern_add(t, NP_SPAN("a"), &number), NP_OK);
        }
        ck_assert_uint_eq(number, 0);
        np_intern_free(t);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/intern");
    TCase *c = tcase_create("intern");
    tcase_add_test(c, numbers_are_given_in_order_and_kept);
    tcase_add_test(c, a_full_table_still_finds_what_it_has);
    tcase_add_test(c, the_empty_name_is_a_name_and_a_nul_is_none);
    tcase_add_test(c, a_table_of_no_names_is_full);
    tcase_add_test_raise_signal(c, asking_for_a_number_that_was_not_given_ends_the_process,
                                SIGABRT);
    tcase_add_test(c, whichever_allocation_fails_nothing_is_half_done);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
