/* A second provider beside a slow first one: who answers, who pays, what stays. */
#include "engine/hedgekit.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";
static const char *const streaming = "{\"prompt\":\"hello there\",\"stream\":true}";

#define SAY(text) "data: {\"choices\":[{\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define THINK(text) "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"" text "\"}}]}\n\n"
#define STOP "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50}}\n\n"
#define DONE "data: [DONE]\n\n"
#define TELL(text)                                                                     \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," \
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}\n\n"
#define END                                                               \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{" \
    "\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n"  \
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

/* ----------------------------------------------------------------------------- who answers */

START_TEST(a_slow_first_is_overtaken_by_the_next_provider)
{
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_eq(o->took_ns, 600 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert(o->attempt[0].lost && !o->attempt[0].hedge);
    ck_assert(o->attempt[1].hedge && !o->attempt[1].lost);
    ck_assert_int_eq(o->hedge, NP_HEDGE_won);
    ck_assert_int_eq(hedge_counted(NP_HEDGE_won), 1);
}
END_TEST

START_TEST(both_are_paid_for)
{
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cancelled);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_ESTIMATED);
    ck_assert_int_gt(o->attempt[0].cost_nusd, 0);
    ck_assert_int_eq(o->attempt[1].settled, NP_SETTLED_EXACT);
    ck_assert_int_eq(o->cost_nusd, o->attempt[0].cost_nusd + o->attempt[1].cost_nusd);
}
END_TEST

START_TEST(both_are_held_before_the_second_begins)
{
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_int_eq(o->reserved_max_nusd,
                     o->attempt[0].reserved_nusd + o->attempt[1].reserved_nusd);
}
END_TEST

START_TEST(a_first_that_answers_in_time_stays_alone)
{
    kit_step(&hedge_kit, "big", hedge_takes(499));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->hedge, NP_HEDGE_none);
}
END_TEST

START_TEST(a_first_that_answers_before_the_second_is_the_answer)
{
    kit_step(&hedge_kit, "big", hedge_takes(700));
    kit_step(&hedge_kit, "small", hedge_takes(900));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "big");
    ck_assert_uint_eq(o->took_ns, 700 * NP_NS_PER_MS);
    ck_assert(o->attempt[1].lost);
    ck_assert_uint_eq(o->attempt[1].took_ms, 200);
    ck_assert_int_gt(o->attempt[1].cost_nusd, 0);
    ck_assert_int_eq(o->hedge, NP_HEDGE_lost);
    ck_assert_uint_eq(o->upstream_ns, 700 * NP_NS_PER_MS);
}
END_TEST

START_TEST(of_two_streams_the_first_text_decides)
{
    kit_step(&hedge_kit, "big", hedge_streamed(SAY("slow") STOP USAGE DONE, 900, 3000));
    kit_step(&hedge_kit, "small", hedge_streamed(TELL("quick") END, 200, 1400));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert_str_eq(o->text, "quick");
    ck_assert_uint_eq(o->first_text_ns, 700 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->took_ns, 1900 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->attempt[0].took_ms, 700);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_ESTIMATED);
    ck_assert(!o->attempt[0].emitted && o->attempt[1].emitted);
}
END_TEST

START_TEST(a_first_stream_that_speaks_first_ends_the_second)
{
    kit_step(&hedge_kit, "big",
             hedge_streamed(SAY("slow ") SAY("but first") STOP USAGE DONE, 600, 3000));
    kit_step(&hedge_kit, "small", hedge_streamed(TELL("quick") END, 200, 1400));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert_str_eq(o->text, "slow but first");
    ck_assert_uint_eq(o->attempt[1].took_ms, 100);
    ck_assert_int_eq(o->hedge, NP_HEDGE_lost);
}
END_TEST

START_TEST(a_first_that_thinks_aloud_stays_alone)
{
    kit_step(&hedge_kit, "big", hedge_streamed(THINK("hm") SAY("well") STOP USAGE DONE, 400, 2000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->hedge, NP_HEDGE_none);
}
END_TEST

START_TEST(the_whole_answer_of_a_second_overtakes_a_stream)
{
    kit_step(&hedge_kit, "big", hedge_streamed(SAY("slow") STOP USAGE DONE, 3000, 3500));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert_str_eq(o->text, "Sure.");
    ck_assert_uint_eq(o->took_ns, 600 * NP_NS_PER_MS);
}
END_TEST

/* ------------------------------------------------------------------------------- failures */

START_TEST(a_second_that_fails_leaves_the_first_alone)
{
    kit_step(&hedge_kit, "big", hedge_takes(2000));
    kit_step(&hedge_kit, "small", (struct kit_step){.status = 503});
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "big");
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_uint_eq(o->took_ns, 2000 * NP_NS_PER_MS);
    ck_assert_int_eq(o->hedge, NP_HEDGE_failed);
}
END_TEST

START_TEST(a_first_that_fails_is_not_repeated_while_the_second_lives)
{
    kit_step(&hedge_kit, "big", (struct kit_step){.status = 503, .takes_ms = 600});
    kit_step(&hedge_kit, "small", hedge_takes(3000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_uint_eq(o->took_ns, 3500 * NP_NS_PER_MS);
    ck_assert_int_eq(o->hedge, NP_HEDGE_won);
}
END_TEST

START_TEST(when_both_have_failed_the_last_is_decided_about)
{
    kit_step(&hedge_kit, "big", (struct kit_step){.status = 404, .takes_ms = 600});
    kit_step(&hedge_kit, "small", (struct kit_step){.status = 503, .takes_ms = 300});
    kit_step(&hedge_kit, "small", hedge_takes(100));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_eq(o->n_attempts, 3);
    ck_assert_int_ge(o->attempt[1].retry_in_ms, 500);
    ck_assert(!o->attempt[2].hedge);
    ck_assert_int_eq(o->hedge, NP_HEDGE_failed);
}
END_TEST

START_TEST(a_candidate_between_the_two_is_tried_when_both_have_failed)
{
    kit_file(&hedge_kit, "models.lua",
             "return { big = { provider = 'openai' }, middle = { provider = 'openai' },\n"
             "  small = { provider = 'anthropic' }, last = { provider = 'anthropic' } }\n");
    kit_file(&hedge_kit, "route.lua",
             "return function() return {{ model = 'big', hedge_after_ms = 500 }, 'middle',\n"
             "  'small', 'last'} end\n");
    kit_step(&hedge_kit, "big", (struct kit_step){.status = 404, .takes_ms = 600});
    kit_step(&hedge_kit, "small", (struct kit_step){.status = 404, .takes_ms = 300});
    kit_step(&hedge_kit, "middle", (struct kit_step){.status = 404});
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_uint_eq(o->n_attempts, 4);
    ck_assert_str_eq(o->attempt[1].model, "small");
    ck_assert_str_eq(o->attempt[2].model, "middle");
    ck_assert_str_eq(o->attempt[3].model, "last");
    ck_assert_str_eq(o->model, "last");
}
END_TEST

START_TEST(a_second_that_breaks_off_after_its_text_is_a_broken_stream)
{
    kit_step(&hedge_kit, "big", hedge_streamed(SAY("slow") STOP USAGE DONE, 5000, 6000));
    kit_step(&hedge_kit, "small",
             (struct kit_step){.status = 200,
                               .stream = true,
                               .how = NP_CALL_RESET,
                               .body = TELL("quick"),
                               .first_ms = 100,
                               .takes_ms = 200});
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert(o->broken);
    ck_assert_str_eq(o->model, "small");
    ck_assert_int_eq(o->attempt[1].class, NP_CLASS_cut);
    ck_assert_uint_eq(o->n_attempts, 2);
}
END_TEST

START_TEST(at_the_deadline_both_are_cut_and_the_reply_is_degraded)
{
    hedge_endpoint("max_attempts = 2, deadline_ms = 2000");
    kit_step(&hedge_kit, "big", hedge_takes(60000));
    kit_step(&hedge_kit, "small", hedge_takes(60000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert(o->degraded);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_uint_le(o->took_ns, 2000 * NP_NS_PER_MS);
}
END_TEST

START_TEST(a_first_is_not_cut_for_a_candidate_that_runs_beside_it)
{
    /* Alone it leaves the second half of the time to whom it falls over to. */
    hedge_endpoint("max_attempts = 4, deadline_ms = 2000");
    kit_step(&hedge_kit, "big", hedge_takes(1400));
    kit_step(&hedge_kit, "small", hedge_takes(60000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "big");
    ck_assert_uint_eq(o->took_ns, 1400 * NP_NS_PER_MS);
}
END_TEST

START_TEST(a_first_stream_is_not_cut_for_a_candidate_that_runs_beside_it)
{
    hedge_endpoint("max_attempts = 4, deadline_ms = 2000");
    kit_step(&hedge_kit, "big", hedge_streamed(SAY("slow") STOP USAGE DONE, 1400, 1600));
    kit_step(&hedge_kit, "small", hedge_takes(60000));
    hedge_start_after(40);
    ck_assert_str_eq(kit_ask(&hedge_kit, streaming)->text, "slow");
}
END_TEST

START_TEST(both_leave_time_for_a_third)
{
    hedge_endpoint("max_attempts = 4, deadline_ms = 2000");
    kit_file(&hedge_kit, "models.lua",
             "return { big = { provider = 'openai' }, small = { provider = 'anthropic' },\n"
             "  last = { provider = 'openai' } }\n");
    kit_file(&hedge_kit, "route.lua", "return function() return {'big', 'small', 'last'} end\n");
    kit_step(&hedge_kit, "big", hedge_takes(60000));
    kit_step(&hedge_kit, "small", hedge_takes(60000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "last");
    /* Half of the 1,500 ms that were left when the second began. */
    ck_assert_uint_eq(o->attempt[0].took_ms, 1250);
    ck_assert_uint_eq(o->attempt[1].took_ms, 750);
}
END_TEST

START_TEST(a_first_keeps_to_its_own_limit_beside_a_second)
{
    hedge_endpoint("max_attempts = 4, deadline_ms = 4000");
    kit_file(&hedge_kit, "route.lua",
             "return function() return {{ model = 'big', timeout_ms = 1000 }, 'small'} end\n");
    kit_step(&hedge_kit, "big", hedge_takes(60000));
    kit_step(&hedge_kit, "small", hedge_takes(3000));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, hello);
    ck_assert_str_eq(o->model, "small");
    ck_assert_uint_eq(o->attempt[0].took_ms, 1000);
}
END_TEST

START_TEST(a_stream_that_has_ended_without_a_word_gets_no_second)
{
    kit_step(&hedge_kit, "big",
             hedge_streamed(STOP DONE THINK("a") THINK("b") THINK("c"), 450, 530));
    hedge_start_after(40);
    const struct kit_outcome *o = kit_ask(&hedge_kit, streaming);
    ck_assert_int_eq(o->hedge, NP_HEDGE_none);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert(!o->attempt[1].hedge);
}
END_TEST

/* ---------------------------------------------------------------------- who left, what stays */

static const struct kit_outcome *ask_and_leave(uint64_t after_ms)
{
    struct np_sim_client client = {.body = np_span_of(hello),
                                   .endpoint = "/api/test/reply",
                                   .leaves_after_ns = after_ms * NP_NS_PER_MS};
    ck_assert_int_eq(np_sim_add(hedge_kit.sim, &client), NP_OK);
    np_sim_run(hedge_kit.sim);
    return &hedge_kit.outcome[hedge_kit.n_outcomes - 1];
}

START_TEST(a_client_that_leaves_ends_both)
{
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    kit_step(&hedge_kit, "small", hedge_takes(5000));
    hedge_start_after(40);
    const struct kit_outcome *o = ask_and_leave(800);
    ck_assert(o->client_gone);
    ck_assert_uint_eq(o->took_ns, 800 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->attempt[0].took_ms, 800);
    ck_assert_uint_eq(o->attempt[1].took_ms, 300);
    ck_assert_int_eq(o->cost_nusd, o->attempt[0].cost_nusd + o->attempt[1].cost_nusd);
    ck_assert_int_eq(o->hedge, NP_HEDGE_left);
}
END_TEST

START_TEST(a_client_that_leaves_before_the_time_asks_nobody)
{
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(40);
    const struct kit_outcome *o = ask_and_leave(300);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_uint_eq(o->upstream_ns, 300 * NP_NS_PER_MS);
}
END_TEST

START_TEST(what_is_read_on_for_its_usage_still_ends_the_other)
{
    hedge_endpoint("on_disconnect = 'drain'");
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    kit_step(&hedge_kit, "small", hedge_takes(1000));
    hedge_start_after(40);
    const struct kit_outcome *o = ask_and_leave(800);
    ck_assert_int_eq(o->attempt[1].settled, NP_SETTLED_EXACT);
    ck_assert_uint_eq(o->attempt[0].took_ms, 1500);
    ck_assert(o->attempt[0].lost);
}
END_TEST

START_TEST(a_loser_is_no_failure_of_its_provider)
{
    kit_file(&hedge_kit, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
             "           breaker = { failures = 1 } },\n"
             "         anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1' } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(400);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(kit_ask(&hedge_kit, hello)->hedge, NP_HEDGE_won);
    struct np_guard *g = np_sim_guard(hedge_kit.sim);
    uint64_t now = np_sim_now_ns(hedge_kit.sim);
    ck_assert_int_eq(np_breaker_get(g, hedge_model("big"), now), NP_BREAKER_CLOSED);
    ck_assert(np_stat_model_error_rate(g, hedge_model("big")->slot, now) < 0.001);
}
END_TEST

START_TEST(a_first_that_lost_still_counts_as_slow)
{
    kit_step(&hedge_kit, "big", hedge_takes(10));
    for (int i = 1; i < 15; i++)
        kit_step(&hedge_kit, "big", hedge_takes(10));
    kit_step(&hedge_kit, "big", hedge_takes(5000));
    hedge_start_after(400);
    struct np_guard *g = np_sim_guard(hedge_kit.sim);
    for (int i = 0; i < 20; i++) {
        hedge_kit.n_outcomes = 0;
        (void)kit_ask(&hedge_kit, hello);
    }
    double p95 = np_stat_model_p95_ms(g, hedge_model("big")->slot, np_sim_now_ns(hedge_kit.sim));
    ck_assert_msg(p95 > 500, "p95 of the slow model %.0f ms", p95);
}
END_TEST

START_TEST(what_the_loser_left_out_is_not_told)
{
    kit_file(&hedge_kit, "models.lua",
             "return { big = { provider = 'openai', context = 8000 },\n"
             "  small = { provider = 'anthropic', context = 540 } }\n");
    kit_step(&hedge_kit, "big", hedge_takes(700));
    kit_step(&hedge_kit, "small", hedge_takes(5000));
    hedge_start_after(40);
    char body[1400], filler[801];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    (void)snprintf(body, sizeof body,
                   "{\"prompt\":\"hello\",\"context\":[{\"id\":\"a\",\"text\":\"%s\"}]}", filler);
    const struct kit_outcome *o = kit_ask(&hedge_kit, body);
    ck_assert_str_eq(o->model, "big");
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_uint_eq(o->n_context_kept, 1);
}
END_TEST

#define ADD(tests) tcase_add_test(t, tests)

static void add_answers(TCase *t)
{
    ADD(a_slow_first_is_overtaken_by_the_next_provider);
    ADD(both_are_paid_for);
    ADD(both_are_held_before_the_second_begins);
    ADD(a_first_that_answers_in_time_stays_alone);
    ADD(a_first_that_answers_before_the_second_is_the_answer);
    ADD(of_two_streams_the_first_text_decides);
    ADD(a_first_stream_that_speaks_first_ends_the_second);
    ADD(a_first_that_thinks_aloud_stays_alone);
    ADD(the_whole_answer_of_a_second_overtakes_a_stream);
    ADD(a_second_that_fails_leaves_the_first_alone);
    ADD(a_first_that_fails_is_not_repeated_while_the_second_lives);
    ADD(when_both_have_failed_the_last_is_decided_about);
    ADD(a_candidate_between_the_two_is_tried_when_both_have_failed);
    ADD(a_second_that_breaks_off_after_its_text_is_a_broken_stream);
    ADD(at_the_deadline_both_are_cut_and_the_reply_is_degraded);
    ADD(a_first_is_not_cut_for_a_candidate_that_runs_beside_it);
    ADD(a_first_stream_is_not_cut_for_a_candidate_that_runs_beside_it);
    ADD(both_leave_time_for_a_third);
    ADD(a_first_keeps_to_its_own_limit_beside_a_second);
    ADD(a_stream_that_has_ended_without_a_word_gets_no_second);
    ADD(a_client_that_leaves_ends_both);
    ADD(a_client_that_leaves_before_the_time_asks_nobody);
    ADD(what_is_read_on_for_its_usage_still_ends_the_other);
    ADD(a_loser_is_no_failure_of_its_provider);
    ADD(a_first_that_lost_still_counts_as_slow);
    ADD(what_the_loser_left_out_is_not_told);
}

int main(void)
{
    Suite *s = suite_create("hedge");
    TCase *t = tcase_create("hedge");
    tcase_add_checked_fixture(t, hedge_setup, hedge_teardown);
    add_answers(t);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
