/* What usage comes to: the same by this test's own sums, over what a provider may tell in each dialect, whole
 * and streamed. */
#include "engine/simkit.h"

#include "base/rng.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 300

static struct kit kit;
static struct np_rng rng;
static char body[2048];
static char *end;

static void setup(void)
{
    np_rng_seed(&rng, 20261130);
    kit_new(&kit);
    kit_file(
        &kit, "providers.lua",
        "local url, breaker = 'http://127.0.0.1:1', { failures = 1000, min_calls = 1000 }\n"
        "return { openai = { adapter = 'openai', base_url = url, breaker = breaker },\n"
        "         anthropic = { adapter = 'anthropic', base_url = url, breaker = breaker } }\n");
    kit_file(
        &kit, "models.lua",
        "return {\n"
        "  big = { provider = 'openai', context = 100000, max_output = 4096, usd_per_million = {\n"
        "    input = 2, cached_input = 0.5, output = 8, reasoning = 12 } },\n"
        "  small = { provider = 'anthropic', context = 100000, max_output = 4096,\n"
        "    usd_per_million = { input = 3, cached_input = 0.3, cache_write = 3.75,\n"
        "      cache_write_1h = 6, output = 15, reasoning = 20 } } }\n");
}

static void start(const char *model)
{
    char text[128];
    (void)snprintf(text, sizeof text,
                   "return { ['/api/test/reply'] = { models = { '%s' }, deadline_ms = 10000 } }\n",
                   model);
    kit_file(&kit, "endpoints.lua", text);
    kit_start(&kit);
}

static void teardown(void)
{
    struct np_ledger_totals totals;
    np_ledger_totals(np_sim_ledger(kit.sim), &totals);
    ck_assert_uint_eq(totals.open_reservations, 0);
    kit_free(&kit);
}

static void put(const char *text)
{
    end += snprintf(end, (size_t)(body + sizeof body - end), "%s", text);
}

/* A member; 0 may be told as null, or not at all. */
static void put_count(const char *name, int64_t n)
{
    uint64_t how = n == 0 ? np_rng_below(&rng, 3) : 0;
    if (how == 1)
        return;
    end += snprintf(end, (size_t)(body + sizeof body - end), ",\"%s\":", name);
    end += how == 2 ? snprintf(end, 5, "null")
                    : snprintf(end, (size_t)(body + sizeof body - end), "%lld", (long long)n);
}

static int64_t some(int64_t most)
{
    return np_rng_below(&rng, 4) == 0 ? 0 : (int64_t)np_rng_below(&rng, (uint64_t)most + 1);
}

static const struct kit_outcome *answered(const char *model, bool stream, enum np_call_how how)
{
    struct kit_script *s = kit_script(&kit, model);
    s->n = s->at = kit.n_outcomes = 0;
    kit_step(&kit, model,
             (struct kit_step){.status = 200,
                               .how = how,
                               .stream = stream,
                               .body = body,
                               .first_ms = stream ? 100 : 0,
                               .takes_ms = 400});
    const struct kit_outcome *o =
        kit_ask(&kit, stream ? "{\"prompt\":\"hi\",\"stream\":true}" : "{\"prompt\":\"hi\"}");
    ck_assert_uint_eq(o->n_attempts, 1);
    return o;
}

static void assert_booked(const struct kit_outcome *o, int64_t nusd)
{
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_ok);
    ck_assert_msg(o->attempt[0].settled == NP_SETTLED_EXACT, "%s", body);
    ck_assert_msg(o->cost_nusd == nusd, "%lld, not %lld: %s", (long long)o->cost_nusd,
                  (long long)nusd, body);
}

/* ------------------------------------------------------------------------------------- anthropic */

struct told {
    int64_t input, read, for_5m, for_hour, output, thought;
};

static int64_t anthropics_input(const struct told *t)
{
    return t->input * 3000 + t->read * 300 + t->for_5m * 3750 + t->for_hour * 6000;
}

/* The counts of the input, in one of the ways in which they are told. */
static void put_input(const struct told *t)
{
    end += snprintf(end, 64, "\"input_tokens\":%lld", (long long)t->input);
    put_count("cache_read_input_tokens", t->read);
    uint64_t how = np_rng_below(&rng, 3);
    if (how != 0)
        put_count("cache_creation_input_tokens", t->for_5m + t->for_hour);
    if (how != 1 || t->for_hour > 0) {
        put(",\"cache_creation\":{\"other\":1");
        put_count("ephemeral_5m_input_tokens", t->for_5m);
        put_count("ephemeral_1h_input_tokens", t->for_hour);
        put("}");
    }
}

static void put_output(const struct told *t)
{
    end += snprintf(end, 64, "\"output_tokens\":%lld,\"output_tokens_details\":{\"other\":1",
                    (long long)t->output);
    put_count("reasoning_tokens", t->thought);
    put("}");
}

static void put_anthropics_stream(const struct told *t)
{
    put("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{");
    put_input(t);
    put(",\"output_tokens\":1}}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        "\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
        "\"end_turn\"},\"usage\":{");
    if (np_rng_below(&rng, 2)) {
        put_input(t);
        put(",");
    }
    put_output(t);
    put("}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void put_anthropics_whole(const struct told *t)
{
    put("{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}],"
        "\"stop_reason\":\"end_turn\",\"usage\":{");
    put_input(t);
    put(",");
    put_output(t);
    put("}}");
}

static struct told anything(void)
{
    struct told t = {.input = some(2000),
                     .read = some(2000),
                     .for_5m = some(2000),
                     .for_hour = some(2000),
                     .output = some(400)};
    t.thought = some(t.output);
    return t;
}

START_TEST(anthropics_usage_costs_what_its_counts_say_whole_and_streamed)
{
    start("small");
    for (int i = 0; i < ROUNDS; i++) {
        struct told t = anything();
        bool stream = i % 2;
        end = body;
        if (stream)
            put_anthropics_stream(&t);
        else
            put_anthropics_whole(&t);
        const struct kit_outcome *o = answered("small", stream, NP_CALL_COMPLETE);
        assert_booked(o, anthropics_input(&t) + (t.output - t.thought) * 15000 + t.thought * 20000);
        const struct np_usage *u = &o->attempt[0].usage;
        ck_assert_int_eq(u->prompt, t.input + t.read + t.for_5m + t.for_hour);
        ck_assert_int_eq(u->cached + u->cache_write + u->cache_write_1h,
                         t.read + t.for_5m + t.for_hour);
    }
}
END_TEST

START_TEST(a_stream_that_breaks_off_is_booked_with_the_parts_that_were_told_of_its_prompt)
{
    start("small");
    for (int i = 0; i < 18; i++) {
        struct told t = anything();
        end = body;
        put("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{");
        put_input(&t);
        put("}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\","
            "\"delta\":{\"text\":\"a\"}}\n\n"
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
            "\"delta\":{\"text\":\"b\"}}\n\n");
        const struct kit_outcome *o = answered("small", true, NP_CALL_RESET);
        ck_assert(o->broken);
        ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_ESTIMATED);
        ck_assert_int_eq(o->cost_nusd,
                         anthropics_input(&t) + o->attempt[0].usage.completion * 15000);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------- openai */

static void put_openais(int64_t prompt, int64_t cached, int64_t completion, int64_t thought)
{
    end += snprintf(end, 128, "\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld",
                    (long long)prompt, (long long)completion);
    put(",\"prompt_tokens_details\":{\"audio_tokens\":0");
    put_count("cached_tokens", cached);
    put("},\"completion_tokens_details\":{\"audio_tokens\":0");
    put_count("reasoning_tokens", thought);
    put("}}");
}

START_TEST(openais_usage_costs_what_its_counts_say_whole_and_streamed)
{
    start("big");
    for (int i = 0; i < ROUNDS; i++) {
        int64_t prompt = some(5000), cached = some(prompt);
        int64_t completion = some(400), thought = some(completion);
        bool stream = i % 2;
        end = body;
        put(stream ? "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":"
                     "\"stop\"}],\"usage\":null}\n\ndata: {\"choices\":[],"
                   : "{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":"
                     "\"stop\"}],");
        put_openais(prompt, cached, completion, thought);
        put(stream ? "}\n\ndata: [DONE]\n\n" : "}");
        assert_booked(answered("big", stream, NP_CALL_COMPLETE),
                      (prompt - cached) * 2000 + cached * 500 + (completion - thought) * 8000 +
                          thought * 12000);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/usage_cost");
    TCase *t = tcase_create("usage_cost");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, anthropics_usage_costs_what_its_counts_say_whole_and_streamed);
    tcase_add_test(t,
                   a_stream_that_breaks_off_is_booked_with_the_parts_that_were_told_of_its_prompt);
    tcase_add_test(t, openais_usage_costs_what_its_counts_say_whole_and_streamed);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
