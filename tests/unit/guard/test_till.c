/* The till: what a worker took in, until somebody takes it away. */
#include "guard/till.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdbool.h>

#define HOUR_MS INT64_C(3600000)
#define T0 (INT64_C(500000) * HOUR_MS)

static struct np_till *t;
static struct np_till_rows rows;

static void setup(void)
{
    t = np_till_new();
    ck_assert_ptr_nonnull(t);
    rows = (struct np_till_rows){0};
}

static void teardown(void)
{
    np_till_rows_free(&rows);
    np_till_free(t);
}

static void add(int64_t wall_ms, enum np_till_kind kind, uint32_t slot, int64_t cost,
                uint64_t latency_ns)
{
    const struct np_till_entry e = {
        .kind = kind, .slot = slot, .sum = {.n = 1, .cost_nusd = cost}, .latency_ns = latency_ns};
    np_till_add(t, wall_ms, &e, 1);
}

static const struct np_till_row *row(int64_t hour, enum np_till_kind kind, uint32_t slot)
{
    for (size_t i = 0; i < rows.n; i++) {
        const struct np_till_row *r = &rows.row[i];
        if (r->hour == hour && r->kind == kind && r->slot == slot)
            return r;
    }
    ck_abort_msg("no row of kind %d, slot %u", (int)kind, slot);
    return NULL;
}

START_TEST(equal_keys_are_summed_and_others_stand_apart)
{
    add(T0, NP_TILL_MODEL, 7, 5, 0);
    add(T0 + HOUR_MS - 1, NP_TILL_MODEL, 7, 6, 0);
    add(T0 + HOUR_MS, NP_TILL_MODEL, 7, 100, 0);
    add(T0, NP_TILL_TENANT, 7, 1000, 0);
    np_till_empty(t, &rows);
    ck_assert_uint_eq(rows.n, 3);
    ck_assert_int_eq(row(500000, NP_TILL_MODEL, 7)->sum.cost_nusd, 11);
    ck_assert_uint_eq(row(500000, NP_TILL_MODEL, 7)->sum.n, 2);
    ck_assert_int_eq(row(500001, NP_TILL_MODEL, 7)->sum.cost_nusd, 100);
    ck_assert_int_eq(row(500000, NP_TILL_TENANT, 7)->sum.cost_nusd, 1000);
}
END_TEST

START_TEST(what_was_taken_away_is_not_there_again)
{
    add(T0, NP_TILL_MODEL, 7, 5, 0);
    np_till_empty(t, &rows);
    np_till_rows_free(&rows);
    np_till_empty(t, &rows);
    ck_assert_uint_eq(rows.n, 0);
    add(T0, NP_TILL_MODEL, 7, 6, 0);
    np_till_empty(t, &rows);
    ck_assert_int_eq(row(500000, NP_TILL_MODEL, 7)->sum.cost_nusd, 6);
}
END_TEST

START_TEST(latencies_of_an_endpoint_are_a_histogram)
{
    for (int i = 0; i < 99; i++)
        add(T0, NP_TILL_ENDPOINT, 1, 0, 1000000);
    add(T0, NP_TILL_ENDPOINT, 1, 0, 9000000);
    add(T0, NP_TILL_ENDPOINT, 1, 0, 0);
    np_till_empty(t, &rows);
    const struct np_till_row *r = row(500000, NP_TILL_ENDPOINT, 1);
    ck_assert_uint_eq(r->sum.n, 101);
    ck_assert_uint_eq(np_hist_total(r->latency), 100);
    ck_assert_uint_ge(np_hist_quantile(r->latency, 1), 9000000);
    ck_assert_uint_lt(np_hist_quantile(r->latency, 0.95), 1100000);
}
END_TEST

START_TEST(what_has_no_place_of_its_own_is_summed_with_others)
{
    for (uint32_t i = 0; i < NP_TILL_ROWS + 1000; i++)
        add(T0, NP_TILL_TENANT, i, 1, 0);
    add(T0, NP_TILL_MODEL, 3, 1, 0);
    add(T0, NP_TILL_TENANT, 5, 1, 0);
    np_till_empty(t, &rows);
    ck_assert_uint_eq(rows.n, NP_TILL_ROWS + 2);
    ck_assert_int_eq(row(500000, NP_TILL_TENANT, NP_TILL_OTHERS)->sum.cost_nusd, 1000);
    ck_assert_int_eq(row(500000, NP_TILL_MODEL, NP_TILL_OTHERS)->sum.cost_nusd, 1);
    ck_assert_int_eq(row(500000, NP_TILL_TENANT, 5)->sum.cost_nusd, 2);
}
END_TEST

/* --- memory ----------------------------------------------------------------------------------------- */

START_TEST(without_memory_entries_are_lost_and_counted)
{
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        struct np_till_rows got;
        np_fail_nth(n);
        for (uint32_t i = 0; i < 100; i++)
            add(T0, NP_TILL_ENDPOINT, i, 1, 1000);
        failed = np_fail_happened();
        np_fail_never();
        np_till_empty(t, &got);
        uint64_t counted = got.lost;
        for (size_t i = 0; i < got.n; i++)
            counted += got.row[i].sum.n;
        np_till_rows_free(&got);
        ck_assert_uint_eq(counted, 100);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("till");
    TCase *c = tcase_create("till");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, equal_keys_are_summed_and_others_stand_apart);
    tcase_add_test(c, what_was_taken_away_is_not_there_again);
    tcase_add_test(c, latencies_of_an_endpoint_are_a_histogram);
    tcase_add_test(c, what_has_no_place_of_its_own_is_summed_with_others);
    tcase_add_test(c, without_memory_entries_are_lost_and_counted);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
