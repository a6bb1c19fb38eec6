/* Limits of tenants on the simulated ground: they refuse there what they refuse in production. */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>

static struct kit k;

static void start(const char *limits)
{
    char tenants[256];
    (void)snprintf(tenants, sizeof tenants, "return { acme = { keys = { 'sha256:%064d' }, %s } }\n",
                   0, limits);
    kit_new(&k);
    kit_file(&k, "tenants.lua", tenants);
    kit_start(&k);
}

static const struct kit_outcome *ask(void)
{
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 10});
    return kit_ask(&k, "{\"prompt\":\"hello\"}");
}

START_TEST(requests_beyond_those_of_a_minute_are_refused_until_the_next)
{
    start("requests_per_minute = 3");
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(ask()->status, 200);
    const struct kit_outcome *o = ask();
    ck_assert_uint_eq(o->status, 429);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_rate_limited);
    ck_assert_uint_eq(o->n_attempts, 0);
    ck_assert_int_ge(o->retry_after_s, 1);
    ck_assert_int_le(o->retry_after_s, 60);
    np_sim_pass(k.sim, np_sim_now_ns(k.sim) + (uint64_t)o->retry_after_s * NP_NS_PER_S);
    ck_assert_uint_eq(ask()->status, 200);
    kit_free(&k);
}
END_TEST

START_TEST(tokens_beyond_those_of_a_minute_are_refused)
{
    size_t good = 0;
    start("tokens_per_minute = 1100");
    for (int i = 0; i < 12; i++)
        good += ask()->status == 200;
    ck_assert_uint_gt(good, 0);
    ck_assert_uint_lt(good, 12);
    ck_assert_int_eq(k.outcome[11].refusal, NP_REFUSAL_rate_limited);
    kit_free(&k);
}
END_TEST

START_TEST(calls_at_once_are_bounded_and_a_place_is_free_again_at_its_end)
{
    size_t good = 0;
    start("concurrency = 2");
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 500});
    for (int i = 0; i < 5; i++) {
        struct np_sim_client client = {.body = NP_SPAN("{\"prompt\":\"hello\"}"),
                                       .endpoint = "/api/test/reply"};
        ck_assert_int_eq(np_sim_add(k.sim, &client), NP_OK);
    }
    np_sim_run(k.sim);
    for (size_t i = 0; i < 5; i++)
        good += k.outcome[i].status == 200;
    ck_assert_uint_eq(good, 2);
    ck_assert_uint_eq(ask()->status, 200);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quota");
    TCase *t = tcase_create("quota");
    tcase_add_test(t, requests_beyond_those_of_a_minute_are_refused_until_the_next);
    tcase_add_test(t, tokens_beyond_those_of_a_minute_are_refused);
    tcase_add_test(t, calls_at_once_are_bounded_and_a_place_is_free_again_at_its_end);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
