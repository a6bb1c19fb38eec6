/* Why a request ended as it did: the reason of a degraded reply, what stands in the record as skipped, and
 * what policies may turn into a refusal. */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";
static const char *const too_long =
    "{\"error\":{\"message\":\"This model's maximum context length is 600 tokens.\","
    "\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}";

static int64_t sum(struct kit *k, enum np_family f, uint32_t a, uint32_t b)
{
    struct np_meters *meters = np_sim_meters(k->sim);
    return np_meters_sum(&meters, 1, f, a, b, 0);
}

static void endpoint(struct kit *k, const char *models, const char *more)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "return { ['/api/test/reply'] = { models = { %s }, max_tokens = 500, %s } }\n",
                   models, more);
    kit_file(k, "endpoints.lua", text);
}

START_TEST(a_breaker_is_the_reason_only_where_every_pair_is_open)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'small', 'big'", "deadline_ms = 10000");
    kit_file(&k, "budgets.lua",
             "return { { account = 'model:small', window = 'day', limit_usd = 0.000001 } }\n");
    kit_step(&k, "big", (struct kit_step){.status = 500});
    kit_start(&k);
    const struct kit_outcome *o = NULL;
    for (int i = 0; i < 5; i++)
        o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 0);
    ck_assert_uint_eq(o->n_skipped, 2);
    ck_assert_int_eq(o->skipped[0], NP_SKIP_budget);
    ck_assert_int_eq(o->skipped[1], NP_SKIP_breaker);
    ck_assert_str_eq(np_reason_name(o->reason), "budget");
    kit_free(&k);
}
END_TEST

START_TEST(candidates_that_there_is_no_time_for_are_noted_and_counted)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big', 'small'", "deadline_ms = 30");
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 1000});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_str_eq(np_reason_name(o->reason), "deadline");
    ck_assert_uint_eq(o->n_skipped, 1);
    ck_assert_int_eq(o->skipped[0], NP_SKIP_deadline);
    const struct np_model *small = np_catalog_model(np_policyset_catalog(k.set), NP_SPAN("small"));
    ck_assert_int_eq(sum(&k, NP_FAMILY_llm_skipped, small->slot, NP_SKIP_deadline), 1);
    kit_free(&k);
}
END_TEST

START_TEST(a_retry_hook_may_fail_what_the_deadline_cut)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 1000");
    kit_file(&k, "retry.lua",
             "return function(req, attempt) if attempt.class == 'deadline' then return 'fail' end "
             "end\n");
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 5000});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 504);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_deadline_exceeded);
    kit_free(&k);
}
END_TEST

START_TEST(no_word_of_a_retry_hook_prolongs_the_deadline)
{
    static const char *const words[] = {"'next'", "{ retry_in_ms = 1 }", "nil"};
    for (int i = 0; i < 3; i++) {
        struct kit k;
        char text[128];
        kit_new(&k);
        endpoint(&k, "'big'", "deadline_ms = 1000");
        (void)snprintf(text, sizeof text, "return function() return %s end\n", words[i]);
        kit_file(&k, "retry.lua", text);
        kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 5000});
        kit_start(&k);
        const struct kit_outcome *o = kit_ask(&k, hello);
        ck_assert(o->degraded);
        ck_assert_str_eq(np_reason_name(o->reason), "deadline");
        ck_assert_uint_eq(o->n_attempts, 1);
        ck_assert_uint_le(o->took_ns, 1000 * NP_NS_PER_MS);
        kit_free(&k);
    }
}
END_TEST

START_TEST(a_failed_degrade_hook_is_503_where_its_on_error_is_refuse)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000, on_error = { degrade = 'refuse' }");
    kit_file(&k, "degrade.lua", "return function() error 'broken' end\n");
    kit_step(&k, "big", (struct kit_step){.status = 451});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 503);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_policy_failed);
    ck_assert(!o->degraded);
    kit_free(&k);
}
END_TEST

START_TEST(a_reply_that_respond_degraded_names_no_model)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "respond.lua", "return function() return 'degrade' end\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert(o->degraded);
    ck_assert_str_eq(np_reason_name(o->reason), "policy");
    ck_assert_str_eq(o->model, "");
    ck_assert_int_gt(o->cost_nusd, 0);
    kit_free(&k);
}
END_TEST

/* --- too long ------------------------------------------------------------------------------------ */

START_TEST(a_prompt_too_long_for_one_and_too_large_for_the_rest_is_400)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "models.lua",
             "return { big = { provider = 'openai', max_output = 100,\n"
             "                 usd_per_million = { input = 2, output = 8 } },\n"
             "         small = { provider = 'anthropic', context = 700, max_output = 100,\n"
             "                 usd_per_million = { input = 2, output = 8 } } }\n");
    kit_step(&k, "big", (struct kit_step){.status = 400, .body = too_long});
    kit_start(&k);
    char body[8192] = "{\"prompt\":\"";
    for (int i = 0; i < 1500; i++)
        strcat(body, "abc ");
    strcat(body, "\"}");
    const struct kit_outcome *o = kit_ask(&k, body);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_too_long);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_ptr_nonnull(strstr(o->text, "700"));
    kit_free(&k);
}
END_TEST

static const char *const with_context =
    "{\"prompt\":\"q\",\"maxTokens\":100,\"context\":["
    "{\"id\":\"a\",\"text\":\"abc abc abc abc abc abc abc abc abc abc abc abc abc abc abc\"},"
    "{\"id\":\"b\",\"text\":\"abc abc abc abc abc abc abc abc abc abc abc abc abc abc abc\"}]}";

START_TEST(shortening_is_an_attempt_of_the_two_that_a_candidate_has)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_step(&k, "big", (struct kit_step){.status = 400, .body = too_long});
    kit_step(&k, "big", (struct kit_step){.status = 200});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, with_context);
    ck_assert_uint_eq(o->n_attempts, 3);
    ck_assert_str_eq(o->attempt[1].model, "big");
    ck_assert_str_eq(o->attempt[2].model, "small");
    kit_free(&k);
}
END_TEST

START_TEST(a_prompt_that_was_refused_is_shortened_even_where_the_estimate_fits_the_limit)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000");
    kit_step(&k, "big", (struct kit_step){.status = 400, .body = too_long});
    kit_step(&k, "big", (struct kit_step){.status = 200});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, with_context);
    ck_assert_uint_eq(o->status, 200);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_uint_lt(o->n_context_kept, 2);
    kit_free(&k);
}
END_TEST

static const char *const too_long_with_its_answer =
    "{\"error\":{\"message\":\"This model's maximum context length is 300 tokens. However, you "
    "requested 530 tokens (30 in the messages, 500 in the completion).\","
    "\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}";

START_TEST(where_only_the_answer_is_too_long_it_is_asked_again_for_a_shorter_one)
{
    static const char *const bodies[] = {
        "{\"prompt\":\"hi\"}",
        "{\"prompt\":\"hi\",\"context\":[{\"id\":\"a\",\"text\":\"abc abc abc\"}]}"};
    for (size_t i = 0; i < 2; i++) {
        struct kit k;
        kit_new(&k);
        endpoint(&k, "'big'", "deadline_ms = 10000");
        kit_step(&k, "big", (struct kit_step){.status = 400, .body = too_long_with_its_answer});
        kit_step(&k, "big", (struct kit_step){.status = 200});
        kit_start(&k);
        const struct kit_outcome *o = kit_ask(&k, bodies[i]);
        ck_assert_uint_eq(o->status, 200);
        ck_assert_uint_eq(o->n_attempts, 2);
        ck_assert_int_eq(o->attempt[0].class, NP_CLASS_too_long);
        if (i == 0)
            /* 500 and 270 tokens of 8,000 nano-dollars each. */
            ck_assert_int_eq(o->attempt[0].reserved_nusd - o->attempt[1].reserved_nusd,
                             (500 - 270) * 8000);
        kit_free(&k);
    }
}
END_TEST

START_TEST(a_shorter_answer_is_asked_for_once)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000");
    kit_step(&k, "big", (struct kit_step){.status = 400, .body = too_long_with_its_answer});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_ptr_nonnull(strstr(o->text, "about 30 tokens"));
    ck_assert_ptr_nonnull(strstr(o->text, "takes 300 together with the answer"));
    kit_free(&k);
}
END_TEST

START_TEST(what_a_provider_found_too_long_without_figures_is_said_without_figures)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000");
    kit_step(&k, "big",
             (struct kit_step){.status = 400,
                               .body = "{\"error\":{\"message\":\"too long\","
                                       "\"code\":\"context_length_exceeded\"}}"});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_ptr_nonnull(strstr(o->text, "did not say what it takes"));
    ck_assert_ptr_null(strstr(o->text, "8000"));
    kit_free(&k);
}
END_TEST

START_TEST(a_refusal_without_words_says_its_status)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 422, .body = "{}"});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_str_eq(o->text, "the provider refused the request (422) and did not say why");
    kit_free(&k);
}
END_TEST

/* --- budgets -------------------------------------------------------------------------------------- */

START_TEST(of_two_full_budgets_the_later_one_is_told_and_one_that_rejects_wins)
{
    static const char *const says[][2] = {
        {"reject", "reject"}, {"degrade", "reject"}, {"reject", "degrade"}, {"degrade", "degrade"}};
    for (size_t i = 0; i < 4; i++) {
        struct kit k;
        char text[256];
        kit_new(&k);
        endpoint(&k, "'big'", "deadline_ms = 10000");
        (void)snprintf(text, sizeof text,
                       "return { { account = 'global', window = 'minute', limit_usd = 0.001,\n"
                       "  on_exceeded = '%s' }, { account = 'global', window = 'month',\n"
                       "  limit_usd = 0.001, on_exceeded = '%s' } }\n",
                       says[i][0], says[i][1]);
        kit_file(&k, "budgets.lua", text);
        kit_start(&k);
        ck_assert(!kit_ask(&k, hello)->degraded);
        const struct kit_outcome *o = kit_ask(&k, hello);
        ck_assert_uint_eq(o->n_attempts, 0);
        ck_assert_uint_eq(o->status, i < 3 ? 429 : 200);
        ck_assert_int_gt(o->retry_after_s, 60);
        if (i < 3)
            ck_assert_ptr_nonnull(strstr(o->text, "(global/month) is used up"));
        kit_free(&k);
    }
}
END_TEST

START_TEST(a_request_that_no_empty_budget_could_pay_is_told_so_and_not_to_wait)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000");
    kit_file(&k, "budgets.lua",
             "return { { account = 'tenant', window = 'hour', limit_usd = 0.0001,\n"
             "           on_exceeded = 'reject' } }\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 429);
    ck_assert_int_eq(o->retry_after_s, -1);
    ck_assert_ptr_nonnull(strstr(o->text, "may cost more than the budget of account "
                                          "tenant:anonymous/hour allows: limit 0.0001 USD"));
    ck_assert_ptr_null(strstr(o->text, "used up"));
    ck_assert_ptr_null(strstr(o->text, "resets"));
    kit_free(&k);
}
END_TEST

/* --- shedding ------------------------------------------------------------------------------------ */

START_TEST(a_request_that_found_no_place_is_counted_as_shed)
{
    struct kit k;
    kit_new(&k);
    endpoint(&k, "'big'", "deadline_ms = 10000");
    kit_file(&k, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
             "           max_inflight = 1 }, anthropic = { adapter = 'anthropic',\n"
             "           base_url = 'http://127.0.0.1:1' } }\n");
    kit_start(&k);
    struct np_sim_client client = {.body = np_span_of(hello), .endpoint = "/api/test/reply"};
    ck_assert_int_eq(np_sim_add(k.sim, &client), NP_OK);
    ck_assert_int_eq(np_sim_add(k.sim, &client), NP_OK);
    np_sim_run(k.sim);
    ck_assert_uint_eq(k.n_outcomes, 2);
    ck_assert(k.outcome[0].degraded);
    ck_assert_str_eq(np_reason_name(k.outcome[0].reason), "shed");
    ck_assert_int_eq(k.outcome[0].retry_after_s, 1);
    ck_assert(!k.outcome[1].degraded);
    ck_assert_int_eq(sum(&k, NP_FAMILY_shed, NP_SHED_BUSY, 0), 1);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reasons");
    TCase *t = tcase_create("reasons");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, a_breaker_is_the_reason_only_where_every_pair_is_open);
    tcase_add_test(t, candidates_that_there_is_no_time_for_are_noted_and_counted);
    tcase_add_test(t, a_retry_hook_may_fail_what_the_deadline_cut);
    tcase_add_test(t, no_word_of_a_retry_hook_prolongs_the_deadline);
    tcase_add_test(t, a_failed_degrade_hook_is_503_where_its_on_error_is_refuse);
    tcase_add_test(t, a_reply_that_respond_degraded_names_no_model);
    tcase_add_test(t, a_prompt_too_long_for_one_and_too_large_for_the_rest_is_400);
    tcase_add_test(t, shortening_is_an_attempt_of_the_two_that_a_candidate_has);
    tcase_add_test(t,
                   a_prompt_that_was_refused_is_shortened_even_where_the_estimate_fits_the_limit);
    tcase_add_test(t, where_only_the_answer_is_too_long_it_is_asked_again_for_a_shorter_one);
    tcase_add_test(t, a_shorter_answer_is_asked_for_once);
    tcase_add_test(t, what_a_provider_found_too_long_without_figures_is_said_without_figures);
    tcase_add_test(t, a_refusal_without_words_says_its_status);
    tcase_add_test(t, of_two_full_budgets_the_later_one_is_told_and_one_that_rejects_wins);
    tcase_add_test(t, a_request_that_no_empty_budget_could_pay_is_told_so_and_not_to_wait);
    tcase_add_test(t, a_request_that_found_no_place_is_counted_as_shed);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
