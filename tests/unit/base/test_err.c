/* The error table and the stop. */
#include "base/err.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

START_TEST(every_error_has_its_text)
{
    ck_assert_str_eq(np_err_text(NP_OK), "no error");
    ck_assert_str_eq(np_err_text(NP_E_NOMEM), "out of memory");
    ck_assert_str_eq(np_err_text(NP_E_UNSUPPORTED), "not supported");
}
END_TEST

START_TEST(a_number_outside_the_table_has_a_text_too)
{
    ck_assert_str_eq(np_err_text((enum np_err)(NP_E_UNSUPPORTED + 1)), "unknown error");
    ck_assert_str_eq(np_err_text((enum np_err) - 1), "unknown error");
}
END_TEST

START_TEST(what_is_required_and_true_goes_on)
{
    np_require(1 + 1 == 2);
}
END_TEST

START_TEST(what_is_required_and_false_ends_the_process)
{
    np_require(1 + 1 == 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/err");
    TCase *c = tcase_create("err");
    tcase_add_test(c, every_error_has_its_text);
    tcase_add_test(c, a_number_outside_the_table_has_a_text_too);
    tcase_add_test(c, what_is_required_and_true_goes_on);
    tcase_add_test_raise_signal(c, what_is_required_and_false_ends_the_process, SIGABRT);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
