/* Buffers: growing, the maximum, and what a failed write leaves. */
#include "base/buf.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(what_is_put_is_what_is_viewed)
{
    struct np_buf b;
    np_buf_init(&b, 10000);
    ck_assert_ptr_null(b.p);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(np_buf_puts(&b, "abc"), NP_OK);
        ck_assert_int_eq(np_buf_char(&b, 'd'), NP_OK);
    }
    ck_assert_uint_eq(np_buf_view(&b).n, 4000);
    ck_assert(np_span_eq(np_span_make(b.p + 3996, 4), NP_SPAN("abcd")));
    ck_assert(!np_buf_failed(&b));
    np_buf_free(&b);
}
END_TEST

START_TEST(the_maximum_is_reached_exactly_and_never_passed)
{
    struct np_buf b;
    np_buf_init(&b, 5);
    ck_assert_int_eq(np_buf_puts(&b, "abcde"), NP_OK);
    ck_assert_int_eq(np_buf_char(&b, 'f'), NP_E_FULL);
    ck_assert(np_buf_failed(&b));
    ck_assert(np_span_is(np_buf_view(&b), "abcde"));
    ck_assert_uint_le(b.cap, 5);
    np_buf_free(&b);
}
END_TEST

START_TEST(printed_text_may_fill_the_buffer_to_its_last_byte)
{
    struct np_buf b;
    np_buf_init(&b, 5);
    ck_assert_int_eq(np_buf_printf(&b, "%d", 12345), NP_OK);
    ck_assert(np_span_is(np_buf_view(&b), "12345"));
    np_buf_reset(&b);
    ck_assert_int_eq(np_buf_printf(&b, "%d", 123456), NP_E_FULL);
    ck_assert_uint_eq(b.n, 0);
    ck_assert(np_buf_failed(&b));
    np_buf_reset(&b);
    ck_assert(!np_buf_failed(&b));
    ck_assert_int_eq(np_buf_printf(&b, "%s", ""), NP_OK);
    np_buf_free(&b);
}
END_TEST

START_TEST(printing_grows_the_buffer_as_it_must)
{
    struct np_buf b;
    np_buf_init(&b, 100000);
    ck_assert_int_eq(np_buf_printf(&b, "%s", ""), NP_OK);
    for (int width = 1; width < 400; width++) {
        ck_assert_int_eq(np_buf_printf(&b, "%0*d|", width, 7), NP_OK);
        ck_assert_int_eq(b.p[b.n - 1], '|');
        ck_assert_int_eq(b.p[b.n - 2], '7');
    }
    ck_assert_uint_eq(b.n, 399 * 400 / 2 + 399);
    np_buf_free(&b);
}
END_TEST

static const int64_t integers[] = {0, 1, -1, 9, 10, 1234567890123, INT64_MAX, INT64_MIN};

START_TEST(integers_are_written_as_printf_writes_them)
{
    char text[32];
    struct np_buf b;
    snprintf(text, sizeof text, "%" PRId64, integers[_i]);
    np_buf_init(&b, 100);
    ck_assert_int_eq(np_buf_i64(&b, integers[_i]), NP_OK);
    ck_assert(np_span_is(np_buf_view(&b), text));
    np_buf_free(&b);
}
END_TEST

START_TEST(dropping_takes_from_the_front)
{
    struct np_buf b;
    np_buf_init(&b, 100);
    np_buf_drop(&b, 0);
    np_buf_puts(&b, "0123456789");
    np_buf_drop(&b, 4);
    ck_assert(np_span_is(np_buf_view(&b), "456789"));
    np_buf_drop(&b, 6);
    ck_assert_uint_eq(b.n, 0);
    np_buf_puts(&b, "x");
    ck_assert(np_span_is(np_buf_view(&b), "x"));
    np_buf_free(&b);
}
END_TEST

START_TEST(dropping_more_than_there_is_ends_the_process)
{
    struct np_buf b;
    np_buf_init(&b, 100);
    np_buf_drop(&b, 1);
}
END_TEST

START_TEST(an_impossible_size_is_full_not_overflow)
{
    struct np_buf b;
    np_buf_init(&b, SIZE_MAX);
    np_buf_puts(&b, "x");
    ck_assert_int_eq(np_buf_reserve(&b, SIZE_MAX), NP_E_FULL);
    ck_assert_int_eq(np_buf_reserve(&b, SIZE_MAX / 2), NP_E_FULL);
    ck_assert(np_span_is(np_buf_view(&b), "x"));
    np_buf_free(&b);
}
END_TEST

START_TEST(putting_nothing_from_nowhere_is_allowed)
{
    struct np_buf b;
    np_buf_init(&b, 0);
    ck_assert_int_eq(np_buf_put(&b, NULL, 0), NP_OK);
    ck_assert_int_eq(np_buf_char(&b, 'x'), NP_E_FULL);
    np_buf_free(&b);
}
END_TEST

START_TEST(without_memory_a_write_leaves_the_buffer_as_it_was)
{
    for (size_t n = 0; n < 3; n++) {
        struct np_buf b;
        np_buf_init(&b, 1 << 20);
        np_fail_nth(n);
        size_t put = 0;
        while (np_buf_printf(&b, "%0100d", 1) == NP_OK) {
            put += 100;
        }
        np_fail_never();
        ck_assert_uint_lt(put, 1 << 20);
        ck_assert(np_fail_happened());
        ck_assert(np_buf_failed(&b));
        ck_assert_uint_eq(b.n, put);
        ck_assert_int_eq(np_buf_puts(&b, "more"), NP_OK);
        ck_assert(np_buf_failed(&b));
        np_buf_free(&b);
    }
}
END_TEST

static const char *const harmless[][2] = {
    {"a \xc3\xa9 \xf0\x9f\x99\x82", "a \xc3\xa9 \xf0\x9f\x99\x82"},
    {"a\nb\tc\rd\x1b[m\x7f", "a\nb\\x09c\\x0dd\\x1b[m\\x7f"},
    {"\xff\xc3", "\\xff\\xc3"},
    {"\xc2\x9b\xc2\xa0", "\\xc2\\x9b\xc2\xa0"},
    {"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xe2\x80\xa6",
     "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xe2\\x80\\x8f\xe2\x80\xa6"},
};

START_TEST(text_for_a_terminal_has_nothing_that_a_terminal_obeys)
{
    struct np_buf b;
    np_buf_init(&b, 200);
    np_buf_harmless(&b, np_span_of(harmless[_i][0]), "\n");
    ck_assert(np_span_is(np_buf_view(&b), harmless[_i][1]));
    np_buf_reset(&b);
    np_buf_harmless(&b, np_span_make("a\0b", 3), "\n");
    ck_assert(np_span_is(np_buf_view(&b), "a\\x00b"));
    np_buf_free(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/buf");
    TCase *c = tcase_create("buf");
    tcase_add_test(c, what_is_put_is_what_is_viewed);
    tcase_add_test(c, the_maximum_is_reached_exactly_and_never_passed);
    tcase_add_test(c, printed_text_may_fill_the_buffer_to_its_last_byte);
    tcase_add_test(c, printing_grows_the_buffer_as_it_must);
    tcase_add_loop_test(c, integers_are_written_as_printf_writes_them, 0,
                        sizeof integers / sizeof *integers);
    tcase_add_loop_test(c, text_for_a_terminal_has_nothing_that_a_terminal_obeys, 0,
                        sizeof harmless / sizeof *harmless);
    tcase_add_test(c, dropping_takes_from_the_front);
    tcase_add_test_raise_signal(c, dropping_more_than_there_is_ends_the_process, SIGABRT);
    tcase_add_test(c, an_impossible_size_is_full_not_overflow);
    tcase_add_test(c, putting_nothing_from_nowhere_is_allowed);
    tcase_add_test(c, without_memory_a_write_leaves_the_buffer_as_it_was);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
