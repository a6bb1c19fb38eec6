/* When no second provider is asked beside a slow first one. */
#include "engine/hedgekit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";

/* One slow request, of which the second is not asked; why. */
static enum np_hedge alone(void)
{
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_str_eq(o->model, "big");
    ck_assert_int_eq(hedge_counted(o->hedge), 1);
    return o->hedge;
}

START_TEST(one_request_in_twenty_at_most_has_a_second)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(0);
    size_t hedged = 0;
    for (int i = 0; i < 100; i++) {
        hedge_kit.n_outcomes = 0;
        hedged += kit_ask(&hedge_kit, hello)->n_attempts == 2;
        np_sim_pass(hedge_kit.sim, np_sim_now_ns(hedge_kit.sim));
    }
    /* Requests of 2 s: the minute before has 30, of which one may be hedged. */
    printf("hedged %zu of 100, the share held back %lld\n", hedged,
           (long long)hedge_counted(NP_HEDGE_share));
    ck_assert_uint_ge(hedged, 2);
    ck_assert_uint_le(hedged, 5);
    ck_assert_int_eq(hedge_counted(NP_HEDGE_share) + hedge_counted(NP_HEDGE_won), 100);
}
END_TEST

START_TEST(none_of_the_first_nineteen_has_a_second)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(18);
    ck_assert_int_eq(alone(), NP_HEDGE_share);
}
END_TEST

START_TEST(the_slow_providers_retry_budget_must_allow_it)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(400);
    while (np_retry_budget_take(np_sim_guard(hedge_kit.sim), hedge_model("big")->provider)) {
    }
    /* The first attempt brings a tenth, with which one more is granted. */
    ck_assert_int_eq(kit_ask(&hedge_kit, hello)->hedge, NP_HEDGE_won);
    ck_assert_int_eq(alone(), NP_HEDGE_retries);
    /* What the share gave for the second is given back: of 402 requests 20 may have one. */
    for (int i = 0; i < 19; i++)
        ck_assert(np_hedge_share_take(np_sim_guard(hedge_kit.sim), hedge_reply(),
                                      np_sim_now_ns(hedge_kit.sim)));
}
END_TEST

START_TEST(a_second_costs_the_slow_provider_a_retry)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    (void)kit_ask(&hedge_kit, hello);
    double left = np_retry_budget_tokens(np_sim_guard(hedge_kit.sim), hedge_model("big")->provider);
    ck_assert_msg(left > 8.99 && left < 9.01, "%.2f", left);
}
END_TEST

START_TEST(a_second_that_could_not_begin_costs_no_retry)
{
    /* A request may take 64 MB: the body with its context, which no model has room for, and the texts of
     * one attempt. */
    kit_file(&hedge_kit, "models.lua",
             "return { big = { provider = 'openai', context = 4000000 },\n"
             "  small = { provider = 'anthropic', context = 4000000 } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    size_t prompt = (size_t)3 << 20, context = (size_t)56 << 20;
    char *filler = malloc(context + 1), *body = malloc(prompt + context + 64);
    ck_assert(filler && body);
    memset(filler, 'x', context);
    filler[context] = '\0';
    (void)sprintf(body, "{\"prompt\":\"%.*s\",\"context\":[{\"id\":\"a\",\"text\":\"%s\"}]}",
                  (int)prompt, filler, filler);
    const struct kit_outcome *o = kit_ask(&hedge_kit, body);
    free(filler);
    free(body);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->hedge, NP_HEDGE_busy);
    double left = np_retry_budget_tokens(np_sim_guard(hedge_kit.sim), hedge_model("big")->provider);
    ck_assert_msg(left > 9.99, "%.2f", left);
    /* Of 41 requests two may have a second. */
    for (int i = 0; i < 2; i++)
        ck_assert(np_hedge_share_take(np_sim_guard(hedge_kit.sim), hedge_reply(),
                                      np_sim_now_ns(hedge_kit.sim)));
}
END_TEST

START_TEST(an_open_breaker_stands_in_its_way)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    for (int i = 0; i < 5; i++)
        np_breaker_report(np_sim_guard(hedge_kit.sim), hedge_model("small"),
                          np_sim_now_ns(hedge_kit.sim), NP_CLASS_server_error, -1, false);
    ck_assert_int_eq(alone(), NP_HEDGE_breaker);
}
END_TEST

START_TEST(a_budget_that_is_four_fifths_spent_stands_in_its_way)
{
    kit_file(&hedge_kit, "budgets.lua",
             "return { { account = 'model:small', window = 'none', limit_usd = 0.01 } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    struct np_exchange *x;
    struct np_sim_client client = {.body = np_span_of(hello), .endpoint = "/api/test/reply"};
    ck_assert_int_eq(np_sim_exchange(hedge_kit.sim, &client, &x), NP_OK);
    struct np_reservation held;
    struct np_budget_block block;
    ck_assert_int_eq(np_ledger_reserve(np_sim_ledger(hedge_kit.sim), x, hedge_model("small"),
                                       8000001, np_sim_wall_ms(np_sim_now_ns(hedge_kit.sim)), &held,
                                       &block),
                     NP_OK);
    ck_assert_int_eq(alone(), NP_HEDGE_budget);
    np_ledger_settle(np_sim_ledger(hedge_kit.sim), &held, NP_SETTLED_VOID, 0);
    np_exchange_free(x);
}
END_TEST

START_TEST(the_cost_cap_holds_for_both_together)
{
    /* big may take 500 tokens of 8 USD a million: 0.004. 64 tokens of small do not fit beside it. */
    hedge_endpoint("max_cost_usd = 0.0041");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert_int_eq(alone(), NP_HEDGE_budget);
}
END_TEST

START_TEST(places_in_flight_stand_in_its_way)
{
    kit_file(&hedge_kit, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1' },\n"
             "         anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1',\n"
             "           max_inflight = 1 } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert(np_inflight_take(np_sim_guard(hedge_kit.sim), hedge_model("small")->provider));
    ck_assert_int_eq(alone(), NP_HEDGE_busy);
    np_inflight_give(np_sim_guard(hedge_kit.sim), hedge_model("small")->provider);
}
END_TEST

START_TEST(attempts_are_counted_with_it)
{
    hedge_endpoint("max_attempts = 1");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert_int_eq(alone(), NP_HEDGE_attempts);
}
END_TEST

START_TEST(another_model_of_the_same_provider_is_no_second)
{
    kit_file(&hedge_kit, "models.lua",
             "return { big = { provider = 'openai' }, small = { provider = 'openai' } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert_int_eq(alone(), NP_HEDGE_provider);
}
END_TEST

START_TEST(the_budget_hook_has_its_word_and_does_not_end_the_first)
{
    kit_file(&hedge_kit, "budget.lua",
             "return function(req, candidate)\n"
             "  if candidate.model == 'small' then return 'degrade' end\nend\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert_int_eq(alone(), NP_HEDGE_policy);
}
END_TEST

START_TEST(a_candidate_that_was_no_second_is_still_the_next)
{
    kit_step(&hedge_kit, "big", (struct kit_step){.status = 404, .takes_ms = 2000});
    hedge_start_after(0);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_int_eq(o->hedge, NP_HEDGE_share);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert(!o->attempt[1].hedge);
    ck_assert_str_eq(o->model, "small");
}
END_TEST

START_TEST(route_says_the_time_for_one_request)
{
    hedge_endpoint("max_attempts = 3");
    kit_file(&hedge_kit, "route.lua",
             "return function() return {{ model = 'big', hedge_after_ms = 50 }, 'small'} end\n");
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    hedge_start_after(40);
    ck_assert_uint_eq(kit_ask(&hedge_kit, hello)->took_ns, 150 * NP_NS_PER_MS);
}
END_TEST

#define ADD(tests) tcase_add_test(t, tests)

static void add_refusals(TCase *t)
{
    ADD(one_request_in_twenty_at_most_has_a_second);
    ADD(none_of_the_first_nineteen_has_a_second);
    ADD(the_slow_providers_retry_budget_must_allow_it);
    ADD(a_second_costs_the_slow_provider_a_retry);
    ADD(a_second_that_could_not_begin_costs_no_retry);
    ADD(an_open_breaker_stands_in_its_way);
    ADD(a_budget_that_is_four_fifths_spent_stands_in_its_way);
    ADD(the_cost_cap_holds_for_both_together);
    ADD(places_in_flight_stand_in_its_way);
    ADD(attempts_are_counted_with_it);
    ADD(another_model_of_the_same_provider_is_no_second);
    ADD(the_budget_hook_has_its_word_and_does_not_end_the_first);
    ADD(a_candidate_that_was_no_second_is_still_the_next);
    ADD(route_says_the_time_for_one_request);
}

int main(void)
{
    Suite *s = suite_create("hedge limits");
    TCase *t = tcase_create("hedge");
    tcase_add_checked_fixture(t, hedge_setup, hedge_teardown);
    add_refusals(t);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
