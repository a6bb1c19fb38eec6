/* Workers add while a scrape reads: no count goes back, and none is lost. */
#include "metrics/meters.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4
#define ROUNDS 20000

static struct np_meters *m[THREADS];
static struct np_slots slots;
static atomic_int running;

static void *work(void *ctx)
{
    size_t me = (size_t)ctx;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        np_meter_add(m[me], NP_FAMILY_requests, 0, 200, 0, 1);
        np_meter_add(m[me], NP_FAMILY_llm_retry, i % 500, 429, (uint32_t)me, 1);
        np_meter_observe(m[me], NP_FAMILY_llm_latency, i % 50, 0, i);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

START_TEST(a_scrape_beside_writers_sees_counts_that_only_grow)
{
    pthread_t t[THREADS];
    ck_assert_int_eq(np_slots_init(&slots), NP_OK);
    atomic_store(&running, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        m[i] = np_meters_new();
        ck_assert_ptr_nonnull(m[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, work, (void *)i), 0);
    }
    int64_t last = 0;
    unsigned backwards = 0, failed = 0;
    do {
        struct np_buf out;
        np_buf_init(&out, 4 << 20);
        np_prometheus_write(&out, m, THREADS, &slots);
        failed += np_buf_failed(&out);
        np_buf_free(&out);
        int64_t now = np_meters_sum(m, THREADS, NP_FAMILY_requests, 0, 200, 0);
        backwards += now < last;
        last = now;
    } while (atomic_load(&running) > 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    int64_t observed = 0;
    for (uint32_t i = 0; i < 50; i++) {
        observed += np_meters_sum(m, THREADS, NP_FAMILY_llm_latency, i, 0, 0);
    }
    ck_assert_uint_eq(backwards + failed, 0);
    ck_assert_int_eq(np_meters_sum(m, THREADS, NP_FAMILY_requests, 0, 200, 0), THREADS * ROUNDS);
    ck_assert_int_eq(observed, THREADS * ROUNDS);
    for (size_t i = 0; i < THREADS; i++) {
        np_meters_free(m[i]);
    }
    np_slots_free(&slots);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("meters_threads");
    TCase *t = tcase_create("threads");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_scrape_beside_writers_sees_counts_that_only_grow);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
