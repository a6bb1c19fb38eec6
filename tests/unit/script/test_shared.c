/* The store behind shared.get, set and incr. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/shared.h"

#define MOST 4096

static struct np_shared *store;

static void open_store(void)
{
    store = np_shared_new();
    ck_assert_ptr_nonnull(store);
}

static void close_store(void)
{
    np_shared_free(store);
}

static struct np_span key_of(int i)
{
    static char text[32];
    return np_span_make(text, (size_t)snprintf(text, sizeof text, "key-%d", i));
}

static enum np_err set_number(struct np_span key, double n, int64_t ttl_ms, int64_t now_ms)
{
    struct np_shared_value v = {.kind = NP_SHARED_NUMBER, .number = n};
    return np_shared_set(store, key, &v, ttl_ms, now_ms);
}

/* The number under a key, -1 when there is none. */
static double number(struct np_span key, int64_t now_ms)
{
    struct np_shared_value v;
    np_shared_get(store, key, now_ms, &v);
    return v.kind == NP_SHARED_NUMBER ? v.number : -1;
}

START_TEST(a_value_is_what_was_set_last)
{
    ck_assert_int_eq(set_number(NP_SPAN("a"), 1, 0, 0), NP_OK);
    struct np_shared_value v = {.kind = NP_SHARED_STRING, .string = (char[]){"text"}, .length = 4};
    ck_assert_int_eq(np_shared_set(store, NP_SPAN("a"), &v, 0, 0), NP_OK);
    struct np_shared_value got;
    np_shared_get(store, NP_SPAN("a"), 0, &got);
    ck_assert_int_eq(got.kind, NP_SHARED_STRING);
    ck_assert_uint_eq(got.length, 4);
    ck_assert_str_eq(got.string, "text");
    free(got.string);
}
END_TEST

START_TEST(nil_removes)
{
    struct np_shared_value nil = {.kind = NP_SHARED_NIL};
    ck_assert_int_eq(set_number(NP_SPAN("a"), 1, 0, 0), NP_OK);
    ck_assert_int_eq(np_shared_set(store, NP_SPAN("a"), &nil, 0, 0), NP_OK);
    ck_assert_double_eq(number(NP_SPAN("a"), 0), -1);
    ck_assert_int_eq(np_shared_set(store, NP_SPAN("b"), &nil, 0, 0), NP_OK);
}
END_TEST

START_TEST(a_value_ends_with_its_time)
{
    ck_assert_int_eq(set_number(NP_SPAN("a"), 1, 100, 1000), NP_OK);
    ck_assert_double_eq(number(NP_SPAN("a"), 1099), 1);
    ck_assert_double_eq(number(NP_SPAN("a"), 1100), -1);
}
END_TEST

START_TEST(a_sum_keeps_the_time_of_its_first_addend)
{
    double sum;
    ck_assert_int_eq(np_shared_incr(store, NP_SPAN("n"), 2, 100, 0, &sum), NP_OK);
    ck_assert_int_eq(np_shared_incr(store, NP_SPAN("n"), 3, 100, 90, &sum), NP_OK);
    ck_assert_double_eq(sum, 5);
    ck_assert_int_eq(np_shared_incr(store, NP_SPAN("n"), 1, 100, 100, &sum), NP_OK);
    ck_assert_double_eq(sum, 1);
}
END_TEST

START_TEST(a_text_can_not_be_added_to)
{
    double sum;
    struct np_shared_value v = {.kind = NP_SHARED_STRING, .string = (char[]){"x"}, .length = 1};
    ck_assert_int_eq(np_shared_set(store, NP_SPAN("a"), &v, 0, 0), NP_OK);
    ck_assert_int_eq(np_shared_incr(store, NP_SPAN("a"), 1, 0, 0, &sum), NP_E_INVALID);
}
END_TEST

START_TEST(too_long_keys_and_texts_are_refused)
{
    static char text[5000];
    struct np_shared_value v = {.kind = NP_SHARED_STRING, .string = text, .length = 4097};
    ck_assert_int_eq(np_shared_set(store, NP_SPAN("a"), &v, 0, 0), NP_E_INVALID);
    ck_assert_int_eq(set_number(np_span_make(text, 257), 1, 0, 0), NP_E_INVALID);
    v.length = 4096;
    ck_assert_int_eq(np_shared_set(store, np_span_make(text, 256), &v, 0, 0), NP_OK);
}
END_TEST

START_TEST(a_full_store_takes_no_new_key_until_one_is_over)
{
    for (int i = 0; i < MOST; i++)
        ck_assert_int_eq(set_number(key_of(i), i, i == 7 ? 50 : 0, 0), NP_OK);
    ck_assert_int_eq(set_number(NP_SPAN("new"), 1, 0, 49), NP_E_FULL);
    ck_assert_int_eq(set_number(key_of(3), 33, 0, 49), NP_OK);
    ck_assert_int_eq(set_number(NP_SPAN("new"), 1, 0, 50), NP_OK);
    for (int i = 0; i < MOST; i++)
        ck_assert_double_eq(number(key_of(i), 50), i == 7 ? -1 : i == 3 ? 33 : i);
}
END_TEST

/* Against a plain array of values: sets, removals and ends in an order by chance. */
START_TEST(it_agrees_with_a_simple_table_over_many_changes)
{
    static double value[MOST];
    static int64_t until[MOST];
    unsigned seed = 7;
    for (int i = 0; i < MOST; i++)
        value[i] = -1;
    for (int64_t now = 0; now < 200000; now++) {
        int i = rand_r(&seed) % MOST;
        double there = value[i] >= 0 && until[i] > now ? value[i] : -1;
        ck_assert_double_eq(number(key_of(i), now), there);
        if (rand_r(&seed) % 4 == 0) {
            struct np_shared_value nil = {.kind = NP_SHARED_NIL};
            ck_assert_int_eq(np_shared_set(store, key_of(i), &nil, 0, now), NP_OK);
            value[i] = -1;
        } else {
            int64_t ttl = 1 + rand_r(&seed) % 20000;
            value[i] = (double)now;
            until[i] = now + ttl;
            ck_assert_int_eq(set_number(key_of(i), value[i], ttl, now), NP_OK);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared");
    TCase *tc = tcase_create("shared");
    tcase_add_checked_fixture(tc, open_store, close_store);
    tcase_add_test(tc, a_value_is_what_was_set_last);
    tcase_add_test(tc, nil_removes);
    tcase_add_test(tc, a_value_ends_with_its_time);
    tcase_add_test(tc, a_sum_keeps_the_time_of_its_first_addend);
    tcase_add_test(tc, a_text_can_not_be_added_to);
    tcase_add_test(tc, too_long_keys_and_texts_are_refused);
    tcase_add_test(tc, a_full_store_takes_no_new_key_until_one_is_over);
    tcase_add_test(tc, it_agrees_with_a_simple_table_over_many_changes);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
