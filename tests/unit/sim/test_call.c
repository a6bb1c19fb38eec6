/* What a call asks for, read from its path and body. */
#include <check.h>
#include <stdlib.h>

#include "model/tokens.h"
#include "sim/imitation_impl.h"
#include "support/fail_alloc.h"

static struct np_sim_call c;

static enum np_err read_at(enum np_dialect dialect, const char *path, const char *body)
{
    return np_sim_call_read(dialect, np_span_of(path), np_span_of(body), &c);
}

static void read_good(const char *body)
{
    ck_assert_msg(read_at(NP_DIALECT_OPENAI, "/v1/chat/completions", body) == NP_OK, "%s", body);
}

static void expect(struct np_span is, const char *wanted)
{
    ck_assert_msg(np_span_is(is, wanted), "\"%.*s\" instead of \"%s\"", (int)is.n, is.p, wanted);
}

START_TEST(a_call_gives_its_model_limit_stream_and_last_text)
{
    read_good("{\"model\":\"gpt-4.1\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
              "\"max_tokens\":7,\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
              "{\"role\":\"user\",\"content\":\"What \\\"now\\\"?\"}]}");
    expect(c.call.model, "gpt-4.1");
    expect(c.call.provider, "openai");
    expect(c.call.prompt, "\"What \\\"now\\\"?\"");
    ck_assert(c.call.stream);
    ck_assert(c.include_usage);
    ck_assert_int_eq(c.call.max_tokens, 7);
    int64_t prompt = np_tokens_estimate(NP_SPAN("Be brief."), false) +
                     np_tokens_estimate(NP_SPAN("What \"now\"?"), false) +
                     2 * NP_TOKENS_PER_MESSAGE;
    ck_assert_int_eq(c.call.prompt_tokens, prompt);
}
END_TEST

START_TEST(what_a_call_does_not_say_is_not_assumed)
{
    read_good("{\"model\":\"m\",\"messages\":[]}");
    ck_assert(!c.call.stream);
    ck_assert(!c.include_usage);
    ck_assert_int_eq(c.call.max_tokens, -1);
    ck_assert_int_eq(c.call.prompt_tokens, 0);
    ck_assert_uint_eq(c.call.prompt.n, 0);
}
END_TEST

START_TEST(parts_and_a_system_text_count_and_the_last_message_is_the_prompt)
{
    ck_assert_int_eq(
        read_at(NP_DIALECT_ANTHROPIC, "/v1/messages",
                "{\"model\":\"claude\",\"max_tokens\":9,\"system\":[{\"type\":\"text\","
                "\"text\":\"one two\"}],\"messages\":[{\"role\":\"user\",\"content\":["
                "{\"type\":\"image\",\"source\":{}},7,{\"type\":\"text\",\"text\":"
                "\"three\"},{\"type\":\"text\",\"text\":\"four\"}]}]}"),
        NP_OK);
    expect(c.call.provider, "anthropic");
    expect(c.call.prompt, "\"four\"");
    int64_t prompt = np_tokens_estimate(NP_SPAN("one two"), false) +
                     np_tokens_estimate(NP_SPAN("three"), false) +
                     np_tokens_estimate(NP_SPAN("four"), false) + NP_TOKENS_PER_MESSAGE;
    ck_assert_int_eq(c.call.prompt_tokens, prompt);
}
END_TEST

START_TEST(the_newer_name_of_the_limit_counts_before_the_old_one_and_null_is_none)
{
    static const struct {
        const char *body;
        int64_t limit;
    } rows[] = {
        {"{\"model\":\"m\",\"messages\":[],\"max_completion_tokens\":3}", 3},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":null,\"max_completion_tokens\":3}", 3},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":5,\"max_completion_tokens\":3}", 3},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":5,\"max_completion_tokens\":null}", 5},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":null}", -1},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":\"5\"}", -1},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":1e30}", -1},
    };
    read_good(rows[_i].body);
    ck_assert_int_eq(c.call.max_tokens, rows[_i].limit);
}
END_TEST

START_TEST(the_first_part_of_the_path_names_the_provider_where_it_is_no_version)
{
    static const struct {
        const char *path, *provider;
    } rows[] = {
        {"/v1/chat/completions", "openai"},
        {"/chat/completions", "openai"},
        {"/groq/v1/chat/completions", "groq"},
        {"/mistral/chat/completions", "mistral"},
    };
    ck_assert_int_eq(read_at(NP_DIALECT_OPENAI, rows[_i].path, "{\"model\":\"m\",\"messages\":[]}"),
                     NP_OK);
    expect(c.call.provider, rows[_i].provider);
    ck_assert_int_eq(
        read_at(NP_DIALECT_ANTHROPIC, "/messages", "{\"model\":\"m\",\"messages\":[]}"), NP_OK);
    expect(c.call.provider, "anthropic");
}
END_TEST

START_TEST(escapes_in_a_models_name_are_what_they_stand_for)
{
    read_good("{\"model\":\"meta\\/llama \\u00e9\\\"\",\"messages\":[]}");
    expect(c.call.model, "meta/llama \xc3\xa9\"");
}
END_TEST

START_TEST(what_is_no_call_is_refused)
{
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "\"model\"",
        "{\"model\":\"m\"}",
        "{\"messages\":[]}",
        "{\"model\":7,\"messages\":[]}",
        "{\"model\":\"m\",\"messages\":{}}",
        "{\"model\":\"m\\u0000n\",\"messages\":[]}",
        "{\"model\":\"0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123\",\"messages\":[]}",
    };
    ck_assert_msg(read_at(NP_DIALECT_OPENAI, "/v1/chat/completions", bodies[_i]) == NP_E_INVALID,
                  "%s", bodies[_i]);
}
END_TEST

START_TEST(odd_messages_and_flags_are_passed_over)
{
    read_good("{\"model\":\"m\",\"messages\":[1,null,{\"role\":\"user\"},{\"content\":{}},"
              "{\"content\":[\"a\",{\"text\":3}]}],\"stream\":\"true\",\"stream_options\":true}");
    ck_assert(!c.call.stream);
    ck_assert(!c.include_usage);
    ck_assert_int_eq(c.call.prompt_tokens, 2 * NP_TOKENS_PER_MESSAGE);
}
END_TEST

START_TEST(without_memory_a_call_is_not_read)
{
    enum np_err err = NP_E_NOMEM;
    size_t n = 0;
    for (; err == NP_E_NOMEM; n++) {
        np_fail_nth(n);
        err = read_at(NP_DIALECT_OPENAI, "/", "{\"model\":\"a\\/b\",\"messages\":[]}");
        np_fail_never();
    }
    ck_assert_int_eq(err, NP_OK);
    ck_assert_uint_gt(n, 1);
    expect(c.call.model, "a/b");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim.call");
    TCase *t = tcase_create("call");
    tcase_add_test(t, a_call_gives_its_model_limit_stream_and_last_text);
    tcase_add_test(t, what_a_call_does_not_say_is_not_assumed);
    tcase_add_test(t, parts_and_a_system_text_count_and_the_last_message_is_the_prompt);
    tcase_add_loop_test(t, the_newer_name_of_the_limit_counts_before_the_old_one_and_null_is_none,
                        0, 7);
    tcase_add_loop_test(t, the_first_part_of_the_path_names_the_provider_where_it_is_no_version, 0,
                        4);
    tcase_add_test(t, escapes_in_a_models_name_are_what_they_stand_for);
    tcase_add_loop_test(t, what_is_no_call_is_refused, 0, 10);
    tcase_add_test(t, odd_messages_and_flags_are_passed_over);
    tcase_add_test(t, without_memory_a_call_is_not_read);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
