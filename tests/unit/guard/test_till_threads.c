/* The till between the worker that adds and the thread that empties it. */
#include "guard/till.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define ROUNDS 20000

static struct np_till *t;
static _Atomic bool over;

static void *worker(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct np_till_entry e = {.kind = NP_TILL_ENDPOINT,
                                        .slot = i % 100,
                                        .sum = {.n = 1, .cost_nusd = 1},
                                        .latency_ns = i + 1};
        np_till_add(t, 1, &e, 1);
    }
    atomic_store(&over, true);
    return NULL;
}

START_TEST(nothing_is_lost_or_doubled_while_it_is_emptied)
{
    pthread_t thread;
    int64_t sum = 0;
    uint64_t values = 0;
    bool last = false;
    t = np_till_new();
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(pthread_create(&thread, NULL, worker, NULL), 0);
    while (!last) {
        struct np_till_rows rows;
        last = atomic_load(&over);
        np_till_empty(t, &rows);
        for (size_t i = 0; i < rows.n; i++) {
            sum += rows.row[i].sum.cost_nusd;
            values += np_hist_total(rows.row[i].latency);
        }
        np_till_rows_free(&rows);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    np_till_free(t);
    ck_assert_int_eq(sum, ROUNDS);
    ck_assert_uint_eq(values, ROUNDS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("till_threads");
    TCase *c = tcase_create("till_threads");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, nothing_is_lost_or_doubled_while_it_is_emptied);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
