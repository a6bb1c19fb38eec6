/* Adding, observing and summing over threads' tables. */
#include "metrics/meters.h"

#include "base/clock.h"
#include "support/fail_alloc.h"

#include <check.h>
#include <stdio.h>

#define MS(n) ((int64_t)((n)*1e6))

static struct np_meters *m[2];

static void setup(void)
{
    for (int i = 0; i < 2; i++) {
        m[i] = np_meters_new();
        ck_assert_ptr_nonnull(m[i]);
    }
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++) {
        np_meters_free(m[i]);
    }
}

static int64_t sum(enum np_family f, uint32_t a, uint32_t b, uint32_t c)
{
    return np_meters_sum(m, 2, f, a, b, c);
}

START_TEST(what_was_never_added_is_zero)
{
    ck_assert_int_eq(sum(NP_FAMILY_requests, 1, 200, 0), 0);
    ck_assert_int_eq(sum(NP_FAMILY_llm_latency, 1, 0, 0), 0);
    ck_assert_int_eq(np_meters_sum(NULL, 0, NP_FAMILY_requests, 1, 200, 0), 0);
}
END_TEST

START_TEST(threads_are_added_up)
{
    np_meter_add(m[0], NP_FAMILY_requests, 1, 200, 0, 3);
    np_meter_add(m[1], NP_FAMILY_requests, 1, 200, 0, 4);
    np_meter_add(m[1], NP_FAMILY_requests, 1, 200, 1, 50);
    ck_assert_int_eq(sum(NP_FAMILY_requests, 1, 200, 0), 7);
    ck_assert_int_eq(sum(NP_FAMILY_requests, 1, 200, 1), 50);
}
END_TEST

START_TEST(every_label_and_family_is_told_apart)
{
    np_meter_add(m[0], NP_FAMILY_llm_retry, 1, 2, 3, 1);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 1, 2, 3), 1);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 1, 3, 2), 0);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 3, 2, 1), 0);
    ck_assert_int_eq(sum(NP_FAMILY_llm_tokens, 1, 2, 3), 0);
    np_meter_add(m[0], NP_FAMILY_llm_retry, 65535, 65535, 65535, 9);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 65535, 65535, 65535), 9);
}
END_TEST

START_TEST(a_gauge_goes_down_too)
{
    np_meter_add(m[0], NP_FAMILY_llm_inflight, 4, 0, 0, 1);
    np_meter_add(m[1], NP_FAMILY_llm_inflight, 4, 0, 0, -1);
    np_meter_add(m[0], NP_FAMILY_llm_inflight, 4, 0, 0, 5);
    ck_assert_int_eq(sum(NP_FAMILY_llm_inflight, 4, 0, 0), 5);
}
END_TEST

START_TEST(observations_are_counted)
{
    np_meter_observe(m[0], NP_FAMILY_llm_latency, 7, 0, MS(3));
    np_meter_observe(m[1], NP_FAMILY_llm_latency, 7, 0, MS(100000));
    np_meter_observe(m[1], NP_FAMILY_llm_latency, 7, 0, -5);
    ck_assert_int_eq(sum(NP_FAMILY_llm_latency, 7, 0, 0), 3);
}
END_TEST

START_TEST(a_full_table_of_counters_loses_and_keeps_what_it_has)
{
    for (uint32_t i = 0; i < 5000; i++) {
        np_meter_add(m[0], NP_FAMILY_llm_retry, i, 429, 2, 1);
    }
    int64_t kept = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        kept += sum(NP_FAMILY_llm_retry, i, 429, 2);
    }
    ck_assert_int_gt(kept, 3000);
    ck_assert_int_le(kept, 3072);
    np_meter_add(m[0], NP_FAMILY_llm_retry, 0, 429, 2, 1);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 0, 429, 2), 2);
    ck_assert_int_eq(sum(NP_FAMILY_llm_retry, 4999, 429, 2), 0);
}
END_TEST

START_TEST(a_full_table_of_histograms_loses_and_keeps_what_it_has)
{
    for (uint32_t i = 0; i < 1100; i++) {
        np_meter_observe(m[0], NP_FAMILY_llm_latency, i, 0, MS(1));
    }
    int64_t kept = 0;
    for (uint32_t i = 0; i < 1100; i++) {
        kept += sum(NP_FAMILY_llm_latency, i, 0, 0);
    }
    ck_assert_int_eq(kept, 768);
}
END_TEST

START_TEST(a_histogram_without_memory_is_lost_and_tried_again)
{
    np_fail_nth(0);
    np_meter_observe(m[0], NP_FAMILY_llm_latency, 7, 0, MS(3));
    np_fail_never();
    ck_assert_int_eq(sum(NP_FAMILY_llm_latency, 7, 0, 0), 0);
    np_meter_observe(m[0], NP_FAMILY_llm_latency, 7, 0, MS(3));
    ck_assert_int_eq(sum(NP_FAMILY_llm_latency, 7, 0, 0), 1);
}
END_TEST

START_TEST(without_memory_there_are_no_meters)
{
    np_fail_nth(0);
    struct np_meters *none = np_meters_new();
    np_fail_never();
    ck_assert_ptr_null(none);
    np_meters_free(NULL);
}
END_TEST

START_TEST(a_label_number_too_large_stops_the_process)
{
    np_meter_add(m[0], NP_FAMILY_requests, 65536, 0, 0, 1);
}
END_TEST

START_TEST(adding_to_a_histogram_stops_the_process)
{
    np_meter_add(m[0], NP_FAMILY_overhead, 0, 0, 0, 1);
}
END_TEST

START_TEST(observing_a_counter_stops_the_process)
{
    np_meter_observe(m[0], NP_FAMILY_requests, 0, 0, 1);
}
END_TEST

/* Prints what adding costs, among as many series as a busy worker has. */
START_TEST(adding_is_cheap)
{
    enum { ROUNDS = 1000000 };
    uint64_t start = np_clock_mono_ns(&np_clock_live);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        np_meter_add(m[0], NP_FAMILY_llm_attempts, i & 63, i & 7, 0, 1);
    }
    uint64_t middle = np_clock_mono_ns(&np_clock_live);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        np_meter_observe(m[0], NP_FAMILY_llm_latency, i & 63, 0, (int64_t)i * 1000);
    }
    uint64_t end = np_clock_mono_ns(&np_clock_live);
    printf("meters: add %.1f ns, observe %.1f ns\n", (double)(middle - start) / ROUNDS,
           (double)(end - middle) / ROUNDS);
    ck_assert_uint_lt((end - start) / ROUNDS, 2000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("meters");
    TCase *t = tcase_create("meters");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_was_never_added_is_zero);
    tcase_add_test(t, threads_are_added_up);
    tcase_add_test(t, every_label_and_family_is_told_apart);
    tcase_add_test(t, a_gauge_goes_down_too);
    tcase_add_test(t, observations_are_counted);
    tcase_add_test(t, a_full_table_of_counters_loses_and_keeps_what_it_has);
    tcase_add_test(t, a_full_table_of_histograms_loses_and_keeps_what_it_has);
    tcase_add_test(t, a_histogram_without_memory_is_lost_and_tried_again);
    tcase_add_test(t, without_memory_there_are_no_meters);
    tcase_add_test_raise_signal(t, a_label_number_too_large_stops_the_process, 6);
    tcase_add_test_raise_signal(t, adding_to_a_histogram_stops_the_process, 6);
    tcase_add_test_raise_signal(t, observing_a_counter_stops_the_process, 6);
    tcase_add_test(t, adding_is_cheap);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
