/* Reading requests: what is taken, and how what is wrong is told. */
#include "model/request.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "model/tokens.h"

static struct np_arena *arena;
static struct np_request r;
static struct np_refusal refusal;

static void setup(void)
{
    arena = np_arena_new(1 << 22);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    np_arena_free(arena);
}

static enum np_err parse(const char *body)
{
    return np_request_parse(arena, np_span_of(body), &r, &refusal);
}

START_TEST(every_field_of_the_contract_is_read)
{
    ck_assert(!parse("{\"prompt\": \"How do I reset my VPN token?\",\n"
                     "\"system\": \"You are the internal helpdesk.\",\n"
                     "\"context\": [{\"id\": \"kb-12\", \"text\": \"\\u2026\", \"priority\": 10, "
                     "\"pinned\": true}, {\"text\":\"\",\"id\":\"kb-40\"}],\n"
                     "\"maxTokens\": 400, \"temperature\": 0.20, \"stop\": [\"a\",\"b\"], "
                     "\"stream\": true,\n"
                     "\"model\": \"gpt\\u002d4.1\", \"metadata\": {\"tier\": \"gold\"}}"));
    ck_assert_uint_eq(r.n_messages, 1);
    ck_assert_int_eq(r.messages[0].role, NP_ROLE_USER);
    ck_assert(np_span_is(r.messages[0].content, "\"How do I reset my VPN token?\""));
    ck_assert_uint_eq(r.messages[0].bytes, 28);
    ck_assert_int_gt(r.messages[0].tokens, NP_TOKENS_PER_MESSAGE);
    ck_assert(np_span_is(r.system, "\"You are the internal helpdesk.\""));
    ck_assert_int_gt(r.system_tokens, NP_TOKENS_PER_MESSAGE);
    ck_assert_uint_eq(r.n_context, 2);
    ck_assert(np_span_is(r.context[0].id, "\"kb-12\"") &&
              np_span_is(r.context[0].text, "\"\\u2026\""));
    ck_assert(r.context[0].pinned && r.context[0].kept && r.context[0].priority > 9.5);
    ck_assert(!r.context[1].pinned && r.context[1].kept && r.context[1].priority < 0.5);
    ck_assert_uint_eq(r.context[1].index, 1);
    ck_assert_int_eq(r.max_tokens, 400);
    ck_assert(r.temperature > 0.19 && r.temperature < 0.21);
    ck_assert(np_span_is(r.temperature_raw, "0.20"));
    ck_assert(np_span_is(r.stop, "[\"a\",\"b\"]"));
    ck_assert(r.stream);
    ck_assert(np_span_is(r.model, "gpt-4.1"));
    ck_assert(np_span_is(r.metadata, "{\"tier\": \"gold\"}"));
}
END_TEST

START_TEST(what_is_not_given_or_null_is_absent)
{
    static const char *const bodies[] = {
        "{\"prompt\":\"x\"}",
        "{\"prompt\":\"x\",\"messages\":null,\"system\":null,\"context\":null,\"maxTokens\":null,"
        "\"temperature\":null,\"stop\":null,\"stream\":null,\"model\":null,\"metadata\":null}",
        "{\"prompt\":\"x\",\"context\":[],\"model\":\"\",\"stream\":false}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ck_assert_msg(!parse(bodies[i]), "%s: %.*s", bodies[i], (int)refusal.message.n,
                      refusal.message.p);
        ck_assert_ptr_null(r.system.p);
        ck_assert_uint_eq(r.n_context, 0);
        ck_assert_int_eq(r.max_tokens, -1);
        ck_assert(isnan(r.temperature));
        ck_assert_ptr_null(r.temperature_raw.p);
        ck_assert_ptr_null(r.stop.p);
        ck_assert(!r.stream);
        ck_assert_uint_eq(r.model.n, 0);
        ck_assert_ptr_null(r.metadata.p);
    }
}
END_TEST

START_TEST(messages_keep_their_order_roles_and_parts)
{
    ck_assert(!parse("{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
                     "{\"content\":[{\"type\":\"text\",\"text\":\"ab\"},{\"text\":\"c\\n\","
                     "\"type\":\"text\"}],\"role\":\"user\"},"
                     "{\"role\":\"assistant\",\"content\":\"\"}]}"));
    ck_assert_uint_eq(r.n_messages, 3);
    ck_assert_int_eq(r.messages[0].role, NP_ROLE_SYSTEM);
    ck_assert_int_eq(r.messages[1].role, NP_ROLE_USER);
    ck_assert_int_eq(r.messages[2].role, NP_ROLE_ASSISTANT);
    ck_assert_uint_eq(r.messages[1].bytes, 5);
    ck_assert_int_eq(*r.messages[1].content.p, '[');
    ck_assert_int_eq(r.messages[2].tokens, NP_TOKENS_PER_MESSAGE);
    ck_assert_str_eq(np_role_name(NP_ROLE_ASSISTANT), "assistant");
}
END_TEST

START_TEST(numbers_may_be_written_as_json_allows)
{
    ck_assert(!parse("{\"prompt\":\"x\",\"maxTokens\":1048576.0,\"temperature\":2e0}"));
    ck_assert_int_eq(r.max_tokens, 1048576);
    ck_assert(!parse("{\"prompt\":\"x\",\"maxTokens\":1,\"temperature\":0}"));
    ck_assert(!parse(
        "{\"prompt\":\"x\",\"context\":[{\"id\":\"a\",\"text\":\"\",\"priority\":-1.5e3}]}"));
    ck_assert(r.context[0].priority < -1499);
}
END_TEST

START_TEST(a_single_stop_becomes_a_list)
{
    ck_assert(!parse("{\"prompt\":\"x\",\"stop\":\"a\\n\"}"));
    ck_assert(np_span_is(r.stop, "[\"a\\n\"]"));
}
END_TEST

#define P "{\"prompt\":\"x\","
#define M(rest) "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}," rest "]}"
#define C(item) P "\"context\":[{\"id\":\"a\",\"text\":\"secret\"}," item "]}"

static const struct {
    const char *body, *param, *message;
} wrong[] = {
    {"", "", "the body is not valid JSON: line 1, column 1: the text is empty"},
    {"{\n \"prompt\" \"x\"}", "",
     "the body is not valid JSON: line 2, column 11: a colon expected after the key"},
    {"[1]", "", "the body must be an object, got a list"},
    {"\"secret\"", "", "the body must be an object, got a string"},
    {"{}", "prompt", "prompt or messages is required"},
    {"{\"prompt\":null}", "prompt", "prompt or messages is required"},
    {P "\"messages\":[]}", "messages", "messages and prompt must not both be given"},
    {"{\"prompt\":\"\"}", "prompt", "prompt must not be empty"},
    {"{\"prompt\":[\"secret\"]}", "prompt", "prompt must be a string, got a list"},
    {"{\"prompt\":7.123}", "prompt", "prompt must be a string, got a number"},
    {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "prompt", "prompt is given twice"},
    {"{\"prompt\":null,\"prompt\":\"b\"}", "prompt", "prompt is given twice"},
    {"{\"promp\\u0074\":\"a\"}", "prompt",
     "prompt is written with escapes; its name must stand plain"},
    {P "\"max_tokens\":4}", "max_tokens",
     "max_tokens is an unknown field; did you mean maxTokens?"},
    {P "\"MaxTokens\":4}", "MaxTokens", "MaxTokens is an unknown field; did you mean maxTokens?"},
    {P "\"tools\":[]}", "tools",
     "tools is an unknown field; known are prompt, messages, system, context, maxTokens, "
     "temperature, stop, stream, model, metadata"},
    {P "\"\":1}", "\"\"",
     "\"\" is an unknown field; known are prompt, messages, system, context, maxTokens, temperature, "
     "stop, stream, model, metadata"},
    {P "\"a\\nb\":1}", "a\\nb",
     "a\\nb is an unknown field; known are prompt, messages, system, context, maxTokens, "
     "temperature, stop, stream, model, metadata"},
    {P "\"0123456789012345678901234567890123456789X\":1}",
     "0123456789012345678901234567890123456789…",
     "0123456789012345678901234567890123456789… is an unknown field; known are prompt, messages, "
     "system, context, maxTokens, temperature, stop, stream, model, metadata"},
    {P "\"system\":{\"secret\":1}}", "system", "system must be a string, got an object"},
    {P "\"maxTokens\":\"many\"}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got \"many\""},
    {P "\"maxTokens\":0}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got 0"},
    {P "\"maxTokens\":1048577}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got 1048577"},
    {P "\"maxTokens\":1.5}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got 1.5"},
    {P "\"maxTokens\":[400]}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got a list"},
    {P "\"maxTokens\":\"0123456789012345678901234567890123456\xe2\x82\xac_\"}", "maxTokens",
     "maxTokens must be a whole number from 1 to 1048576, got "
     "\"0123456789012345678901234567890123456…"},
    {P "\"temperature\":2.01}", "temperature",
     "temperature must be a number from 0 to 2, got 2.01"},
    {P "\"temperature\":-1}", "temperature", "temperature must be a number from 0 to 2, got -1"},
    {P "\"temperature\":1e999}", "temperature",
     "temperature must be a number from 0 to 2, got 1e999"},
    {P "\"temperature\":true}", "temperature",
     "temperature must be a number from 0 to 2, got true"},
    {P "\"stop\":1}", "stop", "stop must be a string or a list of strings, got 1"},
    {P "\"stop\":[]}", "stop", "stop must have 1 to 4 strings, got an empty list"},
    {P "\"stop\":\"\"}", "stop", "stop must not be empty"},
    {P "\"stop\":[\"a\",\"\"]}", "stop[1]", "stop[1] must not be empty"},
    {P "\"stop\":[\"a\",null]}", "stop[1]", "stop[1] must be a string, got null"},
    {P "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "stop",
     "stop must have at most 4 items, got 5"},
    {P "\"stream\":\"yes\"}", "stream", "stream must be true or false, got \"yes\""},
    {P "\"model\":4}", "model", "model must be a string, got 4"},
    {P "\"model\":\"a\\u0000b\"}", "model", "model must not hold the character U+0000"},
    {P "\"metadata\":[1]}", "metadata", "metadata must be an object, got a list"},
    {P "\"metadata\":{\"a\":1,\"b\":2,\"\\u0061\":3}}", "metadata",
     "metadata has a field twice, its number 1 and 3"},
    {"{\"messages\":[]}", "messages", "messages must not be empty"},
    {"{\"messages\":\"secret\"}", "messages", "messages must be a list, got a string"},
    {M("\"secret\""), "messages[1]", "messages[1] must be an object, got a string"},
    {M("{\"content\":\"secret\"}"), "messages[1].role", "messages[1].role is required"},
    {M("{\"role\":\"tool\",\"content\":\"secret\"}"), "messages[1].role",
     "messages[1].role must be \"system\", \"user\" or \"assistant\", got \"tool\""},
    {M("{\"role\":1,\"content\":\"secret\"}"), "messages[1].role",
     "messages[1].role must be \"system\", \"user\" or \"assistant\", got 1"},
    {M("{\"role\":\"user\"}"), "messages[1].content", "messages[1].content is required"},
    {M("{\"role\":\"user\",\"content\":{\"text\":\"secret\"}}"), "messages[1].content",
     "messages[1].content must be a string or a list of text parts, got an object"},
    {M("{\"role\":\"user\",\"content\":\"\"}"), "messages[1].content",
     "messages[1].content must not be empty"},
    {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}"),
     "messages[1].content", "messages[1].content must not be empty"},
    {"{\"messages\":[{\"role\":\"system\",\"content\":\"secret\"}]}", "messages",
     "messages must have one of role \"user\" or \"assistant\" that is not empty"},
    {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"\"}]}", "messages",
     "messages must have one of role \"user\" or \"assistant\" that is not empty"},
    {M("{\"role\":\"user\",\"content\":[]}"), "messages[1].content",
     "messages[1].content must not be an empty list"},
    {M("{\"role\":\"user\",\"content\":\"x\",\"name\":\"Ada\"}"), "messages[1].name",
     "messages[1].name is an unknown field; known are role, content"},
    {M("{\"role\":\"user\",\"contents\":\"x\"}"), "messages[1].contents",
     "messages[1].contents is an unknown field; did you mean content?"},
    {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"text\":\"x\"}]}"),
     "messages[1].content[1].type", "messages[1].content[1].type is required and must be \"text\""},
    {M("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"text\":\"x\"}]}"),
     "messages[1].content[0].type",
     "messages[1].content[0].type must be \"text\", got \"image_url\""},
    {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), "messages[1].content[0].text",
     "messages[1].content[0].text is required"},
    {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":[\"secret\"]}]}"),
     "messages[1].content[0].text", "messages[1].content[0].text must be a string, got a list"},
    {M("{\"role\":\"user\",\"content\":[\"secret\"]}"), "messages[1].content[0]",
     "messages[1].content[0] must be an object, got a string"},
    {P "\"context\":{\"id\":\"a\"}}", "context", "context must be a list, got an object"},
    {C("\"secret\""), "context[1]", "context[1] must be an object, got a string"},
    {C("{\"text\":\"secret\"}"), "context[1].id", "context[1].id is required"},
    {C("{\"id\":\"\",\"text\":\"secret\"}"), "context[1].id", "context[1].id must not be empty"},
    {C("{\"id\":7,\"text\":\"secret\"}"), "context[1].id", "context[1].id must be a string, got 7"},
    {C("{\"id\":\"a\\u0000\",\"text\":\"secret\"}"), "context[1].id",
     "context[1].id must not hold the character U+0000"},
    {C("{\"id\":\"\\u0061\",\"text\":\"secret\"}"), "context[1].id",
     "context[1].id is the id of an item before it; each id may stand once"},
    {C("{\"id\":\"b\"}"), "context[1].text", "context[1].text is required"},
    {C("{\"id\":\"b\",\"text\":[\"secret\"]}"), "context[1].text",
     "context[1].text must be a string, got a list"},
    {C("{\"id\":\"b\",\"text\":\"secret\",\"priority\":\"high\"}"), "context[1].priority",
     "context[1].priority must be a number, got \"high\""},
    {C("{\"id\":\"b\",\"text\":\"secret\",\"priority\":1e999}"), "context[1].priority",
     "context[1].priority must be a number, got 1e999"},
    {C("{\"id\":\"b\",\"text\":\"secret\",\"pinned\":1}"), "context[1].pinned",
     "context[1].pinned must be true or false, got 1"},
    {C("{\"id\":\"b\",\"text\":\"secret\",\"pined\":true}"), "context[1].pined",
     "context[1].pined is an unknown field; did you mean pinned?"},
    {C("{\"id\":\"b\",\"text\":\"secret\",\"text\":\"secret\"}"), "context[1].text",
     "context[1].text is given twice"},
};

START_TEST(what_is_wrong_is_named_with_what_would_be_right)
{
    ck_assert_msg(parse(wrong[_i].body) == NP_E_INVALID, "%s was taken", wrong[_i].body);
    ck_assert_msg(np_span_is(refusal.message, wrong[_i].message), "%s:\n got %.*s\nwant %s",
                  wrong[_i].body, (int)refusal.message.n, refusal.message.p, wrong[_i].message);
    ck_assert_msg(np_span_is(refusal.param, wrong[_i].param), "%s: param %.*s", wrong[_i].body,
                  (int)refusal.param.n, refusal.param.p);
    ck_assert_uint_eq(refusal.status, 400);
    ck_assert_int_eq(refusal.type, NP_REFUSAL_invalid_request);
    ck_assert_int_eq(refusal.retry_after_s, -1);
    ck_assert_ptr_null(strstr(refusal.message.p, "secret"));
}
END_TEST

START_TEST(a_name_that_is_like_no_field_is_for_the_client_alone)
{
    static const struct {
        const char *body, *param, *place;
    } rows[] = {
        {P "\"tell me a secret\":1}", "tell me a secret", "(unknown)"},
        {P "\"\":1}", "\"\"", "(unknown)"},
        {M("{\"role\":\"user\",\"content\":\"x\",\"Ada\":1}"), "messages[1].Ada",
         "messages[1].(unknown)"},
        {P "\"max_tokens\":1}", "max_tokens", NULL},
        {P "\"tools\":[]}", "tools", NULL},
        {M("{\"role\":\"user\",\"content\":\"x\",\"name\":\"Ada\"}"), "messages[1].name", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(parse(rows[i].body), NP_E_INVALID);
        ck_assert(np_span_is(refusal.param, rows[i].param));
        if (rows[i].place)
            ck_assert(np_span_is(refusal.place, rows[i].place));
        else
            ck_assert_ptr_null(refusal.place.p);
    }
}
END_TEST

/* A body with n of the same item in a list. */
static struct np_span many(struct np_buf *b, const char *head, const char *fmt, int n)
{
    np_buf_init(b, 1 << 20);
    np_buf_puts(b, head);
    for (int i = 0; i < n; i++) {
        np_buf_puts(b, i ? "," : "");
        np_buf_printf(b, "%s%d\"}", fmt, i);
    }
    np_buf_puts(b, "]}");
    return np_buf_view(b);
}

START_TEST(lists_are_bounded)
{
    static const struct {
        const char *head, *item, *param;
        int max;
    } rows[] = {
        {"{\"messages\":[", "{\"role\":\"user\",\"content\":\"", "messages", NP_MAX_MESSAGES},
        {P "\"context\":[", "{\"text\":\"\",\"id\":\"", "context", NP_MAX_CONTEXT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct np_buf b;
        ck_assert(!np_request_parse(arena, many(&b, rows[i].head, rows[i].item, rows[i].max), &r,
                                    &refusal));
        np_buf_free(&b);
        ck_assert_int_eq(np_request_parse(arena,
                                          many(&b, rows[i].head, rows[i].item, rows[i].max + 1), &r,
                                          &refusal),
                         NP_E_INVALID);
        ck_assert(np_span_is(refusal.param, rows[i].param));
        ck_assert_ptr_nonnull(strstr(refusal.message.p, "at most 1024 items, got 1025"));
        np_buf_free(&b);
    }
}
END_TEST

START_TEST(names_and_metadata_are_bounded)
{
    struct np_buf b;
    np_buf_init(&b, 1 << 20);
    np_buf_puts(&b, P "\"model\":\"");
    for (int i = 0; i < 257; i++)
        np_buf_char(&b, 'm');
    np_buf_puts(&b, "\"}");
    ck_assert_int_eq(np_request_parse(arena, np_buf_view(&b), &r, &refusal), NP_E_INVALID);
    ck_assert(np_span_is(refusal.message, "model must have at most 256 bytes, got 257"));
    np_buf_reset(&b);
    np_buf_puts(&b, P "\"metadata\":{\"a\":0");
    for (int i = 0; i < 256; i++)
        np_buf_printf(&b, ",\"k%d\":[%d]", i, i);
    np_buf_puts(&b, "}}");
    ck_assert_int_eq(np_request_parse(arena, np_buf_view(&b), &r, &refusal), NP_E_INVALID);
    ck_assert(np_span_is(refusal.message, "metadata must have at most 256 fields"));
    np_buf_free(&b);
}
END_TEST

static const char whole[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}],"
    "\"system\":\"s\",\"context\":[{\"id\":\"\\u0061\",\"text\":\"t\"},{\"id\":\"b\",\"text\":\"u\"}],"
    "\"stop\":\"END\",\"model\":\"m\\u0031\",\"metadata\":{\"\\u006b\":1}}";

START_TEST(without_room_in_the_arena_there_is_no_memory_and_no_half_request)
{
    bool done = false;
    for (size_t max = 0; !done; max += 8) {
        struct np_arena *a = np_arena_new(max);
        ck_assert_ptr_nonnull(a);
        enum np_err err = np_request_parse(a, np_span_of(whole), &r, &refusal);
        done = err == NP_OK;
        ck_assert_msg(done || err == NP_E_NOMEM, "%zu: %s", max, np_err_text(err));
        np_arena_free(a);
        ck_assert_uint_lt(max, 1 << 16);
    }
    for (size_t max = 0; max < 64; max += 8) {
        struct np_arena *a = np_arena_new(max);
        enum np_err err = np_request_parse(a, NP_SPAN("{\"promt\":\"x\"}"), &r, &refusal);
        ck_assert(err == NP_E_NOMEM || err == NP_E_INVALID);
        np_arena_free(a);
    }
}
END_TEST

START_TEST(a_body_that_is_cut_anywhere_is_refused)
{
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        char *copy = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, whole, n);
        ck_assert_int_eq(np_request_parse(arena, np_span_make(copy, n), &r, &refusal),
                         NP_E_INVALID);
        free(copy);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("request");
    TCase *t = tcase_create("request");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_field_of_the_contract_is_read);
    tcase_add_test(t, what_is_not_given_or_null_is_absent);
    tcase_add_test(t, messages_keep_their_order_roles_and_parts);
    tcase_add_test(t, numbers_may_be_written_as_json_allows);
    tcase_add_test(t, a_single_stop_becomes_a_list);
    tcase_add_loop_test(t, what_is_wrong_is_named_with_what_would_be_right, 0,
                        (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(t, a_name_that_is_like_no_field_is_for_the_client_alone);
    tcase_add_test(t, lists_are_bounded);
    tcase_add_test(t, names_and_metadata_are_bounded);
    tcase_add_test(t, without_room_in_the_arena_there_is_no_memory_and_no_half_request);
    tcase_add_test(t, a_body_that_is_cut_anywhere_is_refused);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
