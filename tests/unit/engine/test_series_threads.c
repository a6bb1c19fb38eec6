/* The series between workers that add, the thread that samples and one that reads. */
#include "engine/series.h"

#include "base/json.h"
#include "engine/fields.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#define WORKERS 4
#define ROUNDS 5000

static struct np_series *s;
static struct np_endpoint endpoint = {.path = "/api/a/reply", .slot = 7};
static struct np_catalog catalog = {.endpoints = &endpoint, .n_endpoints = 1};
static _Atomic unsigned working;
static _Atomic uint64_t steps;

static void *worker(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct np_series_event e = {.latency_ns = i + 1, .cost_nusd = 1, .error = i % 2 == 0};
        np_series_add(s, endpoint.slot, &e);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static void *sampler(void *arg)
{
    (void)arg;
    for (bool last = false; !last;) {
        last = atomic_load(&working) == 0;
        np_series_sample(s, (atomic_fetch_add(&steps, 1) + 1) * NP_SERIES_STEP_NS);
        if (atomic_load(&steps) == 170 && !last) /* the ring holds 180 */
            atomic_fetch_sub(&steps, 1);
    }
    /* Where the clock was held at 170, what came since then waits for the next step. */
    np_series_sample(s, (atomic_fetch_add(&steps, 1) + 1) * NP_SERIES_STEP_NS);
    return NULL;
}

/* The sum of a list of the endpoint's. */
static double sum_of(const char *key)
{
    struct np_span item, value;
    struct np_buf b;
    double sum = 0, number;
    np_buf_init(&b, 1 << 20);
    np_series_json(s, &catalog, NP_SERIES_15M, atomic_load(&steps) * NP_SERIES_STEP_NS, 0, &b);
    struct np_json_walk all = np_list_of(np_buf_view(&b), "endpoints");
    if (np_json_item(&all, &item)) {
        for (struct np_json_walk w = np_list_of(item, key); np_json_item(&w, &value);) {
            ck_assert_int_eq(np_json_double(value, &number), NP_OK);
            sum += number;
        }
    }
    np_buf_free(&b);
    return sum;
}

START_TEST(nothing_is_lost_or_doubled_while_it_is_sampled_and_read)
{
    pthread_t threads[WORKERS + 1];
    s = np_series_new(0);
    ck_assert_ptr_nonnull(s);
    atomic_store(&working, WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[WORKERS], NULL, sampler, NULL), 0);
    while (atomic_load(&working) > 0)
        ck_assert_double_le(sum_of("requests"), WORKERS * ROUNDS);
    for (size_t i = 0; i <= WORKERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_double_eq(sum_of("requests"), WORKERS * ROUNDS);
    ck_assert_double_eq(sum_of("errors"), WORKERS * ROUNDS / 2.0);
    ck_assert_double_eq_tol(sum_of("costUsd"), WORKERS * ROUNDS / 1e9, 1e-15);
    np_series_free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("series_threads");
    TCase *c = tcase_create("series_threads");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, nothing_is_lost_or_doubled_while_it_is_sampled_and_read);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
