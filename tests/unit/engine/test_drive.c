/* Whole requests through the driver, on virtual time, without sockets. */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";

START_TEST(a_good_answer_goes_out_as_it_is)
{
    struct kit k;
    kit_new(&k);
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 200);
    ck_assert_str_eq(o->text, "Sure.");
    ck_assert_str_eq(o->model, "big");
    ck_assert(!o->degraded);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_EXACT);
    /* 100 tokens at 2 USD and 50 at 8 USD a million. */
    ck_assert_int_eq(o->cost_nusd, 100 * 2000 + 50 * 8000);
    kit_free(&k);
}
END_TEST

/* What one failed first attempt leads to, by class. */
static const struct failure {
    struct kit_step step;
    enum np_class class;
    size_t attempts; /* in all; big first */
    bool repeats;    /* the second is big's again */
    enum np_settled settled;
} failures[] = {
    {{.how = NP_CALL_NO_CONNECTION}, NP_CLASS_network, 2, true, NP_SETTLED_VOID},
    {{.how = NP_CALL_NO_NAME}, NP_CLASS_network, 2, true, NP_SETTLED_VOID},
    {{.how = NP_CALL_NO_TLS}, NP_CLASS_network, 2, true, NP_SETTLED_VOID},
    {{.how = NP_CALL_RESET}, NP_CLASS_network, 2, true, NP_SETTLED_PRESUMED},
    {{.how = NP_CALL_FIRST_BYTE_TIMEOUT}, NP_CLASS_timeout, 2, true, NP_SETTLED_PRESUMED},
    {{.how = NP_CALL_TOO_LARGE}, NP_CLASS_bad_reply, 2, false, NP_SETTLED_PRESUMED},
    {{.how = NP_CALL_BAD_FRAMING}, NP_CLASS_bad_reply, 2, false, NP_SETTLED_PRESUMED},
    {{.status = 429}, NP_CLASS_rate_limited, 2, true, NP_SETTLED_VOID},
    {{.status = 402}, NP_CLASS_quota, 2, false, NP_SETTLED_VOID},
    {{.status = 503}, NP_CLASS_overloaded, 2, true, NP_SETTLED_VOID},
    {{.status = 529}, NP_CLASS_overloaded, 2, true, NP_SETTLED_VOID},
    {{.status = 500}, NP_CLASS_server_error, 2, true, NP_SETTLED_VOID},
    {{.status = 408}, NP_CLASS_server_error, 2, true, NP_SETTLED_VOID},
    {{.status = 302}, NP_CLASS_bad_reply, 2, false, NP_SETTLED_VOID},
    {{.status = 405}, NP_CLASS_bad_reply, 2, false, NP_SETTLED_VOID},
    {{.status = 200, .body = "<html>"}, NP_CLASS_bad_reply, 2, false, NP_SETTLED_PRESUMED},
    {{.status = 200, .body = "{\"error\":{\"message\":\"x\"}}"},
     NP_CLASS_bad_reply,
     2,
     false,
     NP_SETTLED_PRESUMED},
    {{.status = 401}, NP_CLASS_credential, 2, false, NP_SETTLED_VOID},
    {{.status = 403}, NP_CLASS_credential, 2, false, NP_SETTLED_VOID},
    {{.status = 404}, NP_CLASS_model_gone, 2, false, NP_SETTLED_VOID},
    {{.status = 410}, NP_CLASS_model_gone, 2, false, NP_SETTLED_VOID},
};

START_TEST(a_failed_attempt_is_repeated_or_falls_over_by_its_class)
{
    const struct failure *f = &failures[_i];
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", f->step);
    kit_step(&k, "big", (struct kit_step){.status = 200});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 200);
    ck_assert(!o->degraded);
    ck_assert_uint_eq(o->n_attempts, f->attempts);
    ck_assert_str_eq(np_class_name(o->attempt[0].class), np_class_name(f->class));
    ck_assert_str_eq(o->attempt[1].model, f->repeats ? "big" : "small");
    ck_assert_int_eq(o->attempt[0].settled, f->settled);
    if (f->repeats) {
        /* The first repeat waits 500 ms and up to 120 ms of chance. */
        ck_assert_int_ge(o->attempt[0].retry_in_ms, 500);
        ck_assert_int_le(o->attempt[0].retry_in_ms, 620);
    }
    kit_free(&k);
}
END_TEST

START_TEST(a_candidate_is_tried_twice_at_most_then_the_next)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 3);
    ck_assert_str_eq(o->attempt[1].model, "big");
    ck_assert_str_eq(o->attempt[2].model, "small");
    ck_assert_str_eq(o->model, "small");
    kit_free(&k);
}
END_TEST

START_TEST(when_all_fail_the_reply_is_degraded_and_says_exhausted)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_step(&k, "small", (struct kit_step){.status = 503});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 200);
    ck_assert(o->degraded);
    ck_assert_int_eq(o->reason, NP_REASON_exhausted);
    ck_assert_int_eq(o->finish, NP_FINISH_degraded);
    ck_assert_uint_eq(o->n_attempts, 4);
    ck_assert_int_eq(o->cost_nusd, 0);
    kit_free(&k);
}
END_TEST

START_TEST(a_retry_after_that_fits_is_waited_for)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 429, .retry_after = "2"});
    kit_step(&k, "big", (struct kit_step){.status = 200});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_int_eq(o->attempt[0].retry_in_ms, 2000);
    ck_assert_str_eq(o->model, "big");
    kit_free(&k);
}
END_TEST

START_TEST(a_retry_after_that_does_not_fit_means_the_next_candidate)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 429, .retry_after = "30"});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_str_eq(o->model, "small");
    kit_free(&k);
}
END_TEST

START_TEST(a_rejected_request_stops_with_400)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 400});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_invalid_request);
    ck_assert_uint_eq(o->n_attempts, 1);
    kit_free(&k);
}
END_TEST

START_TEST(a_filtered_request_degrades_with_its_reason)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 451});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert(o->degraded);
    ck_assert_int_eq(o->reason, NP_REASON_filtered);
    ck_assert_int_eq(o->finish, NP_FINISH_content_filter);
    kit_free(&k);
}
END_TEST

START_TEST(the_deadline_holds_whatever_providers_do)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 60000});
    kit_step(&k, "small", (struct kit_step){.status = 200, .takes_ms = 60000});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert(o->degraded);
    ck_assert_int_eq(o->reason, NP_REASON_deadline);
    ck_assert_uint_le(o->took_ns, 10000 * NP_NS_PER_MS);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_timeout);
    ck_assert_int_eq(o->attempt[o->n_attempts - 1].class, NP_CLASS_deadline);
    kit_free(&k);
}
END_TEST

START_TEST(a_stalled_candidate_leaves_time_for_the_next)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 60000});
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert(!o->degraded);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_le(o->took_ns, 10000 * NP_NS_PER_MS);
    kit_free(&k);
}
END_TEST

/* Makes a model known as one that answers in 3 ms. */
static void make_known(struct kit *k, const char *model)
{
    for (int i = 0; i < 25; i++)
        kit_step(k, model, (struct kit_step){.status = 200, .takes_ms = 3});
}

START_TEST(a_stalled_candidate_leaves_time_for_a_next_that_is_known_as_quick)
{
    struct kit k;
    kit_new(&k);
    make_known(&k, "small");
    kit_step(&k, "small", (struct kit_step){.status = 200, .takes_ms = 40});
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 60000});
    kit_file(
        &k, "route.lua",
        "local n = 0\n"
        "return function() n = n + 1; return n > 25 and { 'big', 'small' } or { 'small' } end\n");
    kit_start(&k);
    for (int i = 0; i < 25; i++)
        ck_assert_str_eq(kit_ask(&k, hello)->model, "small");
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_timeout);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_le(o->took_ns, 10000 * NP_NS_PER_MS);
    kit_free(&k);
}
END_TEST

START_TEST(a_candidate_that_is_known_as_quick_is_repeated_as_any_other)
{
    struct kit k;
    kit_new(&k);
    make_known(&k, "big");
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_step(&k, "big", (struct kit_step){.status = 200});
    kit_start(&k);
    for (int i = 0; i < 25; i++)
        ck_assert_uint_eq(kit_ask(&k, hello)->n_attempts, 1);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_str_eq(o->model, "big");
    kit_free(&k);
}
END_TEST

START_TEST(five_failures_in_a_row_open_the_breaker_and_it_is_passed_over)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 500});
    kit_start(&k);
    const struct kit_outcome *o = NULL;
    for (int i = 0; i < 4; i++)
        o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_eq(o->n_skipped, 1);
    ck_assert_int_eq(o->skipped[0], NP_SKIP_breaker);
    kit_free(&k);
}
END_TEST

START_TEST(with_every_breaker_open_the_reply_says_so_and_when_to_come_back)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 500});
    kit_step(&k, "small", (struct kit_step){.status = 500});
    kit_start(&k);
    const struct kit_outcome *o = NULL;
    for (int i = 0; i < 6; i++)
        o = kit_ask(&k, hello);
    ck_assert(o->degraded);
    ck_assert_int_eq(o->reason, NP_REASON_breaker);
    ck_assert_uint_eq(o->n_attempts, 0);
    ck_assert_int_ge(o->retry_after_s, 1);
    ck_assert_int_le(o->retry_after_s, 61);
    kit_free(&k);
}
END_TEST

START_TEST(the_retry_budget_ends_repeats_in_an_outage)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
             "           breaker = { failures = 1000000, rate = 1.0, min_calls = 1000000 } } }\n");
    kit_file(&k, "models.lua",
             "return { big = { provider = 'openai', context = 8000, max_output = 4096,\n"
             "                 usd_per_million = { input = 2, output = 8 } } }\n");
    kit_file(&k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 10000 } }\n");
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_start(&k);
    size_t attempts = 0;
    for (int i = 0; i < 16; i++)
        attempts += kit_ask(&k, hello)->n_attempts;
    /* 16 firsts; repeats only until the budget of 10 is down to 5, with 0.1 back each. */
    ck_assert_uint_ge(attempts, 16 + 5);
    ck_assert_uint_le(attempts, 16 + 7);
    kit_free(&k);
}
END_TEST

START_TEST(an_attempt_that_could_pass_the_cap_asks_for_fewer_tokens)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 10000,\n"
             "         max_tokens = 4000, max_cost_usd = 0.002 } }\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_le(o->cost_nusd, 2000000);
    kit_free(&k);
}
END_TEST

START_TEST(a_cap_that_nothing_fits_degrades_with_reason_budget)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big', 'small' }, deadline_ms = 10000,\n"
             "         max_cost_usd = 0.000001 } }\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert(o->degraded);
    ck_assert_int_eq(o->reason, NP_REASON_budget);
    ck_assert_uint_eq(o->n_attempts, 0);
    kit_free(&k);
}
END_TEST

START_TEST(a_budget_that_rejects_answers_429_with_the_account)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "budgets.lua",
             "return { { account = 'tenant', window = 'day', limit_usd = 0.001,\n"
             "           on_exceeded = 'reject' } }\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 200);
    o = kit_ask(&k, "{\"prompt\":\"again\",\"maxTokens\":400}");
    o = kit_ask(&k, "{\"prompt\":\"again\",\"maxTokens\":400}");
    for (int i = 0; i < 4 && o->status == 200; i++)
        o = kit_ask(&k, "{\"prompt\":\"again\",\"maxTokens\":400}");
    ck_assert_uint_eq(o->status, 429);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_budget_exceeded);
    ck_assert_ptr_nonnull(strstr(o->text, "tenant:anonymous/day"));
    ck_assert_int_ge(o->retry_after_s, 1);
    kit_free(&k);
}
END_TEST

START_TEST(context_is_left_out_lowest_priority_first_and_pinned_never)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 10000 } }\n");
    kit_file(&k, "models.lua",
             "return { big = { provider = 'openai', context = 600, max_output = 100,\n"
             "                 usd_per_million = { input = 2, output = 8 } } }\n");
    kit_start(&k);
    char *body = malloc(8192);
    char word[1201];
    for (size_t i = 0; i < 1200; i += 4)
        memcpy(word + i, "abc ", 4);
    word[1200] = '\0';
    (void)snprintf(body, 8192,
                   "{\"prompt\":\"q\",\"context\":[{\"id\":\"a\",\"text\":\"%s\",\"priority\":1},"
                   "{\"id\":\"b\",\"text\":\"%.400s\",\"priority\":9},"
                   "{\"id\":\"c\",\"text\":\"%.400s\",\"pinned\":true}]}",
                   word, word, word);
    const struct kit_outcome *o = kit_ask(&k, body);
    free(body);
    ck_assert_uint_eq(o->status, 200);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_uint_eq(o->n_context_kept, 2);
    kit_free(&k);
}
END_TEST

START_TEST(a_prompt_that_fits_no_model_is_400_with_the_figures)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 10000 } }\n");
    kit_file(&k, "models.lua",
             "return { big = { provider = 'openai', context = 200, max_output = 100,\n"
             "                 usd_per_million = { input = 2, output = 8 } } }\n");
    kit_start(&k);
    char body[2048] = "{\"prompt\":\"";
    for (int i = 0; i < 400; i++)
        strcat(body, "abc ");
    strcat(body, "\"}");
    const struct kit_outcome *o = kit_ask(&k, body);
    ck_assert_uint_eq(o->status, 400);
    ck_assert_ptr_nonnull(strstr(o->text, "200"));
    kit_free(&k);
}
END_TEST

START_TEST(a_client_that_leaves_stops_the_call_and_is_booked)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 5000});
    kit_start(&k);
    struct np_sim_client client = {.body = np_span_of(hello),
                                   .endpoint = "/api/test/reply",
                                   .leaves_after_ns = 1000 * NP_NS_PER_MS};
    ck_assert_int_eq(np_sim_add(k.sim, &client), NP_OK);
    np_sim_run(k.sim);
    ck_assert_uint_eq(k.n_outcomes, 1);
    ck_assert(k.outcome[0].client_gone);
    ck_assert_int_eq(k.outcome[0].attempt[0].class, NP_CLASS_cancelled);
    ck_assert_int_eq(k.outcome[0].attempt[0].settled, NP_SETTLED_PRESUMED);
    ck_assert_int_gt(k.outcome[0].cost_nusd, 0);
    ck_assert_uint_le(k.outcome[0].took_ns, 1000 * NP_NS_PER_MS);
    kit_free(&k);
}
END_TEST

START_TEST(hooks_decide_and_their_failures_fall_back)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "route.lua", "return function(req) return { 'small' }, 'cheap' end\n");
    kit_file(&k, "respond.lua", "return function() error 'broken' end\n");
    kit_file(&k, "admit.lua", "return function() while true do end end\n");
    kit_start(&k);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->status, 200);
    ck_assert_str_eq(o->model, "small");
    ck_assert_str_eq(o->text, "Sure.");
    struct np_meters *meters = np_sim_meters(k.sim);
    ck_assert_int_eq(
        np_meters_sum(&meters, 1, NP_FAMILY_hook_errors, NP_HOOK_respond, NP_HOOK_FAIL_ERROR, 0),
        1);
    ck_assert_int_eq(
        np_meters_sum(&meters, 1, NP_FAMILY_hook_errors, NP_HOOK_admit, NP_HOOK_FAIL_TIME, 0), 1);
    kit_free(&k);
}
END_TEST

START_TEST(a_retry_hook_may_fail_degrade_or_go_on)
{
    static const char *const words[] = {"'fail'", "'degrade'", "'next'", "{ retry_in_ms = 50 }"};
    for (int i = 0; i < 4; i++) {
        struct kit k;
        char text[128];
        kit_new(&k);
        (void)snprintf(text, sizeof text, "return function() return %s end\n", words[i]);
        kit_file(&k, "retry.lua", text);
        kit_step(&k, "big", (struct kit_step){.status = 500});
        kit_step(&k, "big", (struct kit_step){.status = 200});
        kit_start(&k);
        const struct kit_outcome *o = kit_ask(&k, hello);
        ck_assert_uint_eq(o->status, i == 0 ? 502 : 200);
        ck_assert_int_eq(o->degraded, i == 1);
        if (i == 1)
            ck_assert_int_eq(o->reason, NP_REASON_policy);
        if (i >= 2)
            ck_assert_str_eq(o->model, i == 2 ? "small" : "big");
        if (i == 3)
            ck_assert_int_eq(o->attempt[0].retry_in_ms, 50);
        kit_free(&k);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("drive");
    TCase *t = tcase_create("drive");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, a_good_answer_goes_out_as_it_is);
    tcase_add_loop_test(t, a_failed_attempt_is_repeated_or_falls_over_by_its_class, 0,
                        (int)(sizeof failures / sizeof *failures));
    tcase_add_test(t, a_candidate_is_tried_twice_at_most_then_the_next);
    tcase_add_test(t, when_all_fail_the_reply_is_degraded_and_says_exhausted);
    tcase_add_test(t, a_retry_after_that_fits_is_waited_for);
    tcase_add_test(t, a_retry_after_that_does_not_fit_means_the_next_candidate);
    tcase_add_test(t, a_rejected_request_stops_with_400);
    tcase_add_test(t, a_filtered_request_degrades_with_its_reason);
    tcase_add_test(t, the_deadline_holds_whatever_providers_do);
    tcase_add_test(t, a_stalled_candidate_leaves_time_for_the_next);
    tcase_add_test(t, a_stalled_candidate_leaves_time_for_a_next_that_is_known_as_quick);
    tcase_add_test(t, a_candidate_that_is_known_as_quick_is_repeated_as_any_other);
    tcase_add_test(t, five_failures_in_a_row_open_the_breaker_and_it_is_passed_over);
    tcase_add_test(t, with_every_breaker_open_the_reply_says_so_and_when_to_come_back);
    tcase_add_test(t, the_retry_budget_ends_repeats_in_an_outage);
    tcase_add_test(t, an_attempt_that_could_pass_the_cap_asks_for_fewer_tokens);
    tcase_add_test(t, a_cap_that_nothing_fits_degrades_with_reason_budget);
    tcase_add_test(t, a_budget_that_rejects_answers_429_with_the_account);
    tcase_add_test(t, context_is_left_out_lowest_priority_first_and_pinned_never);
    tcase_add_test(t, a_prompt_that_fits_no_model_is_400_with_the_figures);
    tcase_add_test(t, a_client_that_leaves_stops_the_call_and_is_booked);
    tcase_add_test(t, hooks_decide_and_their_failures_fall_back);
    tcase_add_test(t, a_retry_hook_may_fail_degrade_or_go_on);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
