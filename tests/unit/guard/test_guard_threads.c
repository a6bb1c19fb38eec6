/* All guards from several threads at once: limits are exact, nothing is lost, TSan is content. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 8
#define ROUNDS 2000
#define T0 (1000 * NP_NS_PER_S)

static struct np_guard *g;
static struct np_provider provider;
static struct np_secret secrets[2];
static struct np_model model;
static struct np_endpoint endpoint;
static atomic_int most, inside, probes, granted;

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    secrets[0] = (struct np_secret){.label = "a", .slot = 0};
    secrets[1] = (struct np_secret){.label = "b", .slot = 1};
    provider = (struct np_provider){
        .name = "p",
        .keys = secrets,
        .n_keys = 2,
        .max_inflight = 3,
        .breaker = {
            .failures = 5, .rate = 0.5, .min_calls = 20, .window_ms = 10000, .open_ms = 1000}};
    model = (struct np_model){.name = "m", .slot = 1, .provider = &provider};
    endpoint = (struct np_endpoint){.path = "/x", .slo = {.p95_ms = 100, .error_rate = 0.01}};
}

static void teardown(void)
{
    np_guard_free(g);
}

static void together(void *(*fn)(void *))
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, fn, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
}

static void *take_and_give(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < ROUNDS; i++) {
        if (np_inflight_take(g, &provider)) {
            int now = atomic_fetch_add(&inside, 1) + 1;
            int seen = atomic_load(&most);
            while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
            }
            atomic_fetch_sub(&inside, 1);
            np_inflight_give(g, &provider);
        }
    }
    return NULL;
}

START_TEST(never_more_in_flight_than_allowed)
{
    together(take_and_give);
    ck_assert_int_le(atomic_load(&most), 3);
    ck_assert_int_eq(np_inflight_get(g, &provider), 0);
}
END_TEST

static void *take_retries(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 20; i++) {
        atomic_fetch_add(&granted, np_retry_budget_take(g, &provider));
    }
    return NULL;
}

START_TEST(a_full_retry_budget_grants_five_to_all_together)
{
    together(take_retries);
    ck_assert_int_eq(atomic_load(&granted), 5);
}
END_TEST

static void *ask_for_a_probe(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < ROUNDS; i++) {
        if (np_breaker_ask(g, &model, T0 + 2 * NP_NS_PER_S) == NP_PASS_PROBE) {
            atomic_fetch_add(&probes, 1);
        }
    }
    return NULL;
}

START_TEST(one_probe_over_all_threads)
{
    for (int i = 0; i < 5; i++) {
        np_breaker_report(g, &model, T0, NP_CLASS_timeout, -1, false);
    }
    together(ask_for_a_probe);
    ck_assert_int_eq(atomic_load(&probes), 1);
}
END_TEST

static void *report_good(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < ROUNDS; i++) {
        np_breaker_report(g, &model, T0 + (uint64_t)i * NP_NS_PER_MS, NP_CLASS_ok, -1, false);
    }
    return NULL;
}

START_TEST(the_window_counts_every_good_call)
{
    together(report_good);
    struct np_breaker_view v;
    np_breaker_view(g, &model, T0 + ROUNDS * NP_NS_PER_MS, &v);
    ck_assert_uint_eq(v.calls, THREADS * ROUNDS);
}
END_TEST

static void *live(void *ctx)
{
    uint64_t seed = (uint64_t)(size_t)ctx;
    struct np_rng rng;
    np_rng_seed(&rng, seed);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t now = T0 + (uint64_t)i * 100 * NP_NS_PER_MS, wait;
        enum np_pass pass = np_breaker_ask(g, &model, now);
        enum np_class c = np_rng_below(&rng, 3) == 0 ? NP_CLASS_server_error : NP_CLASS_ok;
        size_t key = np_key_pick(g, &provider, 0, now, &wait);
        np_retry_budget_first(g, &provider);
        if (pass != NP_PASS_NO) {
            np_breaker_report(g, &model, now, c, -1, pass == NP_PASS_PROBE);
        }
        np_key_report(g, &provider, key, now, i % 100 ? NP_CLASS_ok : NP_CLASS_rate_limited, 500);
        np_stat_attempt(g, &model, now, 1000000, c == NP_CLASS_ok, 7);
        np_stat_exchange(g, &endpoint, now, 1000000, c != NP_CLASS_ok, true, false, 5);
        (void)np_stat_model_p95_ms(g, model.slot, now);
        (void)np_slo_burn(g, &endpoint, NP_OBJ_ERRORS, NP_BURN_1H, now);
        (void)np_breaker_get(g, &model, now);
    }
    return NULL;
}

START_TEST(a_mixed_life_loses_nothing)
{
    together(live);
    struct np_endpoint unit = endpoint;
    unit.slo.cost_nusd = 1;
    uint64_t end = T0 + ROUNDS * 100 * NP_NS_PER_MS;
    ck_assert_double_eq(np_slo_burn(g, &unit, NP_OBJ_COST, NP_BURN_1H, end), 5);
    double rate = np_stat_endpoint_error_rate(g, endpoint.slot, end);
    ck_assert_double_eq_tol(rate, 1.0 / 3, 0.1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("guard_threads");
    TCase *t = tcase_create("threads");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, never_more_in_flight_than_allowed);
    tcase_add_test(t, a_full_retry_budget_grants_five_to_all_together);
    tcase_add_test(t, one_probe_over_all_threads);
    tcase_add_test(t, the_window_counts_every_good_call);
    tcase_add_test(t, a_mixed_life_loses_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
