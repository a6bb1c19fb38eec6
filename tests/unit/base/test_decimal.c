/* Decimals as text: what is written reads back the same. */
#include "base/decimal.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

static void writes_nano(int64_t v, const char *expected)
{
    char text[NP_DECIMAL_BYTES + 1];
    *np_decimal_put_nano(text, v) = '\0';
    ck_assert_str_eq(text, expected);
}

START_TEST(billionths_are_written_without_zeros_at_their_end)
{
    writes_nano(0, "0");
    writes_nano(1, "0.000000001");
    writes_nano(255600, "0.0002556");
    writes_nano(500000000, "0.5");
    writes_nano(2000000000, "2");
    writes_nano(-1000000001, "-1.000000001");
    writes_nano(1234567890, "1.23456789");
    writes_nano(INT64_MAX, "9223372036.854775807");
    writes_nano(INT64_MIN, "-9223372036.854775808");
}
END_TEST

static void writes_as_printf(uint64_t v)
{
    char text[NP_DECIMAL_BYTES + 1], expected[32];
    *np_decimal_put(text, v) = '\0';
    (void)snprintf(expected, sizeof expected, "%" PRIu64, v);
    ck_assert_str_eq(text, expected);
    *np_decimal_put_i64(text, (int64_t)v) = '\0';
    (void)snprintf(expected, sizeof expected, "%" PRId64, (int64_t)v);
    ck_assert_str_eq(text, expected);
}

START_TEST(whole_numbers_are_written_as_printf_writes_them)
{
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10)
        for (uint64_t v = power - 1; v <= power + 1; v++)
            writes_as_printf(v);
    writes_as_printf(UINT64_MAX);
    struct np_rng rng;
    np_rng_seed(&rng, 7);
    for (int i = 0; i < 10000; i++)
        writes_as_printf(np_rng_u64(&rng) >> (np_rng_u64(&rng) & 63));
}
END_TEST

START_TEST(billionths_read_back_the_same)
{
    struct np_rng rng;
    np_rng_seed(&rng, 8);
    for (int i = 0; i < 10000; i++) {
        char text[NP_DECIMAL_BYTES];
        int64_t v = (int64_t)(np_rng_u64(&rng) >> (1 + (np_rng_u64(&rng) & 31))), back = -1;
        size_t n = (size_t)(np_decimal_put_nano(text, v) - text);
        ck_assert_int_eq(np_decimal_scaled(np_span_make(text, n), 9, &back), NP_OK);
        ck_assert_int_eq(back, v);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("decimal");
    TCase *t = tcase_create("decimal");
    tcase_add_test(t, billionths_are_written_without_zeros_at_their_end);
    tcase_add_test(t, whole_numbers_are_written_as_printf_writes_them);
    tcase_add_test(t, billionths_read_back_the_same);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
