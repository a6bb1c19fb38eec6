/* Streamed answers on the simulated ground: what they come to, to the millisecond. */
#include "engine/simkit.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const hello = "{\"prompt\":\"hello there\",\"stream\":true}";

#define ROLE "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define SAY(text) "data: {\"choices\":[{\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define THINK(text) "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"" text "\"}}]}\n\n"
#define STOP "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50}}\n\n"
#define DONE "data: [DONE]\n\n"

#define START(n)                                                                       \
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{" \
    "\"input_tokens\":" #n ",\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\n\n"
#define TELL(text)                                                                     \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," \
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}\n\n"
#define END                                                                \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"  \
    "\"stop_reason\":\"max_tokens\"},\"usage\":{\"output_tokens\":9}}\n\n" \
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

static struct kit_step streamed(const char *body, uint64_t first_ms, uint64_t last_ms)
{
    return (struct kit_step){.status = 200,
                             .how = NP_CALL_COMPLETE,
                             .stream = true,
                             .body = body,
                             .first_ms = first_ms,
                             .takes_ms = last_ms};
}

static struct kit kit;

static void setup(void)
{
    kit_new(&kit);
}

static void teardown(void)
{
    struct np_ledger_totals totals;
    np_ledger_totals(np_sim_ledger(kit.sim), &totals);
    ck_assert_uint_eq(totals.open_reservations, 0);
    ck_assert_uint_eq(np_sim_open(kit.sim), 0);
    kit_free(&kit);
}

START_TEST(a_whole_stream_is_an_answer_with_its_usage)
{
    kit_step(&kit, "big", streamed(ROLE SAY("Hel") SAY("lo \\u00e9") STOP USAGE DONE, 200, 700));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_uint_eq(o->status, 200);
    ck_assert(o->emitted && !o->broken && !o->degraded);
    ck_assert_str_eq(o->text, "Hello \xc3\xa9");
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_EXACT);
    ck_assert_int_eq(o->attempt[0].usage.prompt, 100);
    ck_assert_int_eq(o->attempt[0].usage.completion, 50);
    /* Five spaces between six events. */
    ck_assert_uint_eq(o->attempt[0].first_ms, 300);
    ck_assert_uint_eq(o->first_text_ns, 300 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->took_ns, 700 * NP_NS_PER_MS);
}
END_TEST

/* There may be thousands. The arena's first chunk holds 3,500 bytes; the rest is of the end. */
START_TEST(a_stream_needs_little_memory)
{
    kit_step(&kit, "big", streamed(ROLE SAY("Hel") SAY("lo") STOP USAGE DONE, 200, 700));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_uint_eq(o->status, 200);
    printf("a streamed exchange: %zu bytes in its arena\n", o->arena_bytes);
    ck_assert_uint_le(o->arena_bytes, 3500);
}
END_TEST

START_TEST(anthropics_counts_are_added_up_over_the_stream)
{
    kit_step(&kit, "big", (struct kit_step){.status = 404});
    kit_step(&kit, "small", streamed(START(90) TELL("Hi") END, 100, 400));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_str_eq(o->text, "Hi");
    ck_assert_int_eq(o->finish, NP_FINISH_length);
    ck_assert_int_eq(o->attempt[1].usage.prompt, 97);
    ck_assert_int_eq(o->attempt[1].usage.cached, 7);
    ck_assert_int_eq(o->attempt[1].usage.completion, 9);
    ck_assert_int_eq(o->attempt[1].settled, NP_SETTLED_EXACT);
}
END_TEST

START_TEST(without_a_first_text_in_time_the_next_answers)
{
    kit_step(&kit, "big", streamed(ROLE SAY("late") STOP DONE, 100, 60000));
    kit_step(&kit, "small", streamed(START(9) TELL("Hi") END, 100, 400));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_timeout);
    ck_assert(!o->attempt[0].emitted);
    ck_assert_uint_eq(o->attempt[0].first_ms, 0);
    ck_assert_int_eq(o->attempt[o->n_attempts - 1].class, NP_CLASS_ok);
    ck_assert_str_eq(o->text, "Hi");
}
END_TEST

START_TEST(a_stream_that_flows_has_time_to_the_deadline)
{
    kit_step(&kit, "big", streamed(SAY("a") SAY("b") SAY("c") STOP USAGE DONE, 1000, 9500));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_str_eq(o->text, "abc");
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_uint_eq(o->took_ns, 9500 * NP_NS_PER_MS);
}
END_TEST

START_TEST(the_deadline_breaks_a_stream_off)
{
    kit_step(&kit, "big", streamed(SAY("a") SAY("b") SAY("c") STOP USAGE DONE, 1000, 20000));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert(o->broken);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_deadline);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_deadline_exceeded);
    ck_assert_int_eq(o->finish, NP_FINISH_error);
    ck_assert_uint_eq(o->took_ns, 10000 * NP_NS_PER_MS);
    ck_assert_uint_eq(o->n_attempts, 1);
}
END_TEST

START_TEST(a_pause_in_the_midst_breaks_a_stream_off)
{
    kit_file(&kit, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 60000 } }\n");
    kit_step(&kit, "big", streamed(SAY("a") SAY("b"), 500, 25000));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert(o->broken);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cut);
    ck_assert_int_eq(o->refusal, NP_REFUSAL_upstream_failed);
    ck_assert_uint_eq(o->took_ns, 10500 * NP_NS_PER_MS); /* idle_timeout_ms is 10 s */
    ck_assert_str_eq(o->text, "a");
}
END_TEST

START_TEST(a_stream_lost_before_its_first_text_falls_over_and_after_it_breaks_off)
{
    struct kit_step step = streamed(_i ? ROLE SAY("a") : ROLE, 100, 300);
    step.how = NP_CALL_RESET;
    kit_step(&kit, "big", step);
    kit_step(&kit, "small", streamed(START(9) TELL("Hi") END, 100, 400));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_int_eq(o->attempt[0].class, _i ? NP_CLASS_cut : NP_CLASS_bad_reply);
    ck_assert_int_eq(o->broken, _i);
    ck_assert_uint_eq(o->n_attempts, _i ? 1 : 2);
    ck_assert_str_eq(o->text, _i ? "a" : "Hi");
}
END_TEST

START_TEST(thinking_aloud_holds_the_call_but_not_the_next_candidate_back)
{
    kit_step(&kit, "big", streamed(THINK("hm") THINK("ah") DONE, 100, 500));
    kit_step(&kit, "small", streamed(START(9) TELL("Hi") END, 100, 400));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_bad_reply);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_ESTIMATED);
    ck_assert_str_eq(o->text, "Hi");
}
END_TEST

static const struct kit_outcome *ask_and_leave(uint64_t after_ms)
{
    struct np_sim_client client = {.body = np_span_of(hello),
                                   .endpoint = "/api/test/reply",
                                   .leaves_after_ns = after_ms * NP_NS_PER_MS};
    ck_assert_int_eq(np_sim_add(kit.sim, &client), NP_OK);
    np_sim_run(kit.sim);
    ck_assert_uint_eq(kit.n_outcomes, 1);
    return &kit.outcome[0];
}

/* Ten tokens a second from 1 s on: left at 3.05 s, three were said. */
START_TEST(a_client_that_leaves_pays_for_what_came_and_a_second)
{
    kit_step(
        &kit, "small",
        streamed(START(1000) TELL("one ") TELL("two ") TELL("three ") TELL("four ") END, 0, 6000));
    kit_file(&kit, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'small' }, deadline_ms = 10000 } }\n");
    kit_start(&kit);
    const struct kit_outcome *o = ask_and_leave(3050);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cancelled);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_ESTIMATED);
    ck_assert_int_eq(o->attempt[0].usage.prompt, 1007);
    ck_assert_int_ge(o->attempt[0].usage.completion, 4);
    ck_assert_int_le(o->attempt[0].usage.completion, 8);
    ck_assert_uint_eq(o->took_ns, 3050 * NP_NS_PER_MS);
}
END_TEST

START_TEST(a_drained_stream_is_read_to_its_usage)
{
    kit_file(&kit, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, deadline_ms = 10000,\n"
             "  on_disconnect = 'drain' } }\n");
    kit_step(&kit, "big", streamed(SAY("a") SAY("b") SAY("c") STOP USAGE DONE, 100, 5000));
    kit_start(&kit);
    const struct kit_outcome *o = ask_and_leave(2000);
    ck_assert(o->client_gone);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cancelled);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_EXACT);
    ck_assert_int_eq(o->attempt[0].usage.completion, 50);
}
END_TEST

START_TEST(hidden_tokens_are_booked_in_full_where_a_stream_is_cut)
{
    kit_file(&kit, "models.lua",
             "return { big = { provider = 'openai', id = 'o3', context = 100000,\n"
             "  max_output = 700, usd_per_million = { input = 2, output = 8 } } }\n");
    kit_file(&kit, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big' }, max_tokens = 600 } }\n");
    kit_step(&kit, "big", streamed(SAY("a") SAY("b"), 100, 300));
    kit_start(&kit);
    const struct kit_outcome *o = kit_ask(&kit, hello);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cut);
    ck_assert_int_eq(o->attempt[0].usage.completion, 600);
}
END_TEST

START_TEST(the_objective_counts_streams_by_their_first_text)
{
    kit_step(&kit, "big", streamed(SAY("a") SAY("b") SAY("c") STOP USAGE DONE, 200, 8000));
    kit_start(&kit);
    for (int i = 0; i < 30; i++) {
        struct np_sim_client client = {.body = np_span_of(hello), .endpoint = "/api/test/reply"};
        ck_assert_int_eq(np_sim_add(kit.sim, &client), NP_OK);
    }
    np_sim_run(kit.sim);
    const struct np_catalog *c = np_policyset_catalog(kit.set);
    double p95 = np_stat_endpoint_p95_ms(np_sim_guard(kit.sim),
                                         np_catalog_endpoint(c, NP_SPAN("/api/test/reply"))->slot,
                                         np_sim_now_ns(kit.sim));
    ck_assert_double_gt(p95, 150);
    ck_assert_double_lt(p95, 400);
}
END_TEST

/* --- without memory ---------------------------------------------------------------------------- */

static unsigned closed_status;

static void stream_of_two(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                          struct np_rng *rng, struct np_sim_reply *out)
{
    (void)ctx;
    (void)x;
    (void)rng;
    bool openai = order->model->provider->adapter == NP_ADAPTER_OPENAI;
    *out = (struct np_sim_reply){
        .how = NP_CALL_COMPLETE,
        .status = 200,
        .stream = true,
        .takes_ns = NP_NS_PER_MS,
        .body = openai ? NP_SPAN(ROLE SAY("He\\u00e9") SAY("llo") STOP USAGE DONE)
                       : NP_SPAN(START(9) TELL("Hi") END)};
}

static void note_closed(void *ctx, const struct np_exchange *x)
{
    (void)ctx;
    closed_status = x->outcome.status;
}

START_TEST(a_stream_ends_well_whichever_allocation_fails)
{
    kit_start(&kit);
    struct np_sim_source source = {.call = stream_of_two, .closed = note_closed};
    struct np_sim_client client = {.body = np_span_of(hello), .endpoint = "/api/test/reply"};
    bool failed = true;
    size_t n = 0;
    for (; failed; n++) {
        struct np_sim *sim = np_sim_new(kit.set, 1, &source);
        ck_assert_ptr_nonnull(sim);
        /* The timers grow now: without memory for them the process ends. */
        for (int i = 0; i < 8; i++)
            ck_assert_int_eq(np_sim_add(sim, &client), NP_OK);
        np_sim_run(sim);
        ck_assert_int_eq(np_sim_add(sim, &client), NP_OK);
        closed_status = 0;
        np_fail_nth(n);
        np_sim_run(sim);
        failed = np_fail_happened();
        np_fail_never();
        struct np_ledger_totals totals;
        np_ledger_totals(np_sim_ledger(sim), &totals);
        ck_assert_uint_eq(totals.open_reservations, 0);
        ck_assert_uint_eq(np_sim_open(sim), 0);
        ck_assert(closed_status == 200 || (failed && closed_status >= 400));
        np_sim_free(sim);
    }
    ck_assert_uint_gt(n, 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/stream");
    TCase *t = tcase_create("streams");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_whole_stream_is_an_answer_with_its_usage);
    tcase_add_test(t, a_stream_needs_little_memory);
    tcase_add_test(t, anthropics_counts_are_added_up_over_the_stream);
    tcase_add_test(t, without_a_first_text_in_time_the_next_answers);
    tcase_add_test(t, a_stream_that_flows_has_time_to_the_deadline);
    tcase_add_test(t, the_deadline_breaks_a_stream_off);
    tcase_add_test(t, a_pause_in_the_midst_breaks_a_stream_off);
    tcase_add_loop_test(t, a_stream_lost_before_its_first_text_falls_over_and_after_it_breaks_off,
                        0, 2);
    tcase_add_test(t, thinking_aloud_holds_the_call_but_not_the_next_candidate_back);
    tcase_add_test(t, a_client_that_leaves_pays_for_what_came_and_a_second);
    tcase_add_test(t, a_drained_stream_is_read_to_its_usage);
    tcase_add_test(t, hidden_tokens_are_booked_in_full_where_a_stream_is_cut);
    tcase_add_test(t, the_objective_counts_streams_by_their_first_text);
    tcase_add_test(t, a_stream_ends_well_whichever_allocation_fails);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
