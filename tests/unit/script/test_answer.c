/* What a provider's answer means. */
#include "script/adapterkit.h"

START_TEST(a_good_answer_of_openais_is_understood)
{
    struct np_wire_reply reply = reply_of(200, OPENAI_GOOD);
    reply.content_type = NP_SPAN("Application/JSON; charset=utf-8");
    reply.request_id = NP_SPAN("req-77");
    ck_assert_int_eq(np_adapter_answer(s, x, gpt, &reply, &answer), NP_OK);
    ck_assert_int_eq(answer.class, NP_CLASS_ok);
    ck_assert(np_span_eq(answer.text, NP_SPAN("S\xc3\xbc\0re \xf0\x9f\x98\x80")));
    ck_assert_int_eq(answer.finish, NP_FINISH_length);
    ck_assert(np_span_is(answer.provider_request_id, "req-77"));
    ck_assert_uint_eq(answer.error.n, 0);
    ck_assert_int_eq(answer.retry_after_ms, -1);
    ck_assert(answer.usage_reported);
    ck_assert(!answer.usage_flagged);
    ck_assert_int_eq(answer.usage.prompt, 19);
    ck_assert_int_eq(answer.usage.completion, 10);
    ck_assert_int_eq(answer.usage.cached, 5);
    ck_assert_int_eq(answer.usage.reasoning, 4);
}
END_TEST

START_TEST(a_good_answer_of_anthropics_is_understood)
{
    read_reply(
        claude, 200,
        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
        "\"thinking\",\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":\"Su\"},{\"type\":\"text\","
        "\"text\":\"re\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{"
        "\"input_tokens\":10,\"cache_creation_input_tokens\":20,\"cache_read_input_tokens\":30,"
        "\"cache_creation\":{\"ephemeral_5m_input_tokens\":15,\"ephemeral_1h_input_tokens\":5},"
        "\"output_tokens\":7,\"service_tier\":null}}");
    ck_assert_int_eq(answer.class, NP_CLASS_ok);
    ck_assert(np_span_is(answer.text, "Sure"));
    ck_assert_int_eq(answer.finish, NP_FINISH_stop);
    ck_assert(answer.usage_reported && !answer.usage_flagged);
    ck_assert_int_eq(answer.usage.prompt, 60);
    ck_assert_int_eq(answer.usage.cached, 30);
    ck_assert_int_eq(answer.usage.cache_write, 15);
    ck_assert_int_eq(answer.usage.cache_write_1h, 5);
    ck_assert_int_eq(answer.usage.completion, 7);
}
END_TEST

START_TEST(finish_reasons_are_those_of_the_contract)
{
    static const struct {
        bool anthropic;
        const char *said;
        enum np_finish finish;
    } rows[] = {
        {false, "\"stop\"", NP_FINISH_stop},
        {false, "\"tool_calls\"", NP_FINISH_tool_calls},
        {false, "\"function_call\"", NP_FINISH_tool_calls},
        {false, "\"content_filter\"", NP_FINISH_content_filter},
        {false, "\"a_new_one\"", NP_FINISH_stop},
        {false, "null", NP_FINISH_stop},
        {true, "\"stop_sequence\"", NP_FINISH_stop},
        {true, "\"max_tokens\"", NP_FINISH_length},
        {true, "\"model_context_window_exceeded\"", NP_FINISH_length},
        {true, "\"tool_use\"", NP_FINISH_tool_calls},
        {true, "\"refusal\"", NP_FINISH_content_filter},
        {true, "\"pause_turn\"", NP_FINISH_stop},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 rows[i].anthropic
                     ? "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"stop_reason\":%s}"
                     : "{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":%s}]}",
                 rows[i].said);
        read_reply(rows[i].anthropic ? claude : gpt, 200, body);
        ck_assert_int_eq(answer.class, NP_CLASS_ok);
        ck_assert_msg(answer.finish == rows[i].finish, "%s", rows[i].said);
        ck_assert(!answer.usage_reported);
    }
}
END_TEST

struct row {
    unsigned status;
    const char *body;
    enum np_class class;
};

static void assert_rows(const struct np_model *m, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        read_reply(m, rows[i].status, rows[i].body);
        ck_assert_msg(answer.class == rows[i].class, "%u %s: %s", rows[i].status, rows[i].body,
                      np_class_name(answer.class));
        ck_assert(rows[i].class == NP_CLASS_ok || answer.text.n == 0);
    }
}

START_TEST(a_status_alone_has_the_contracts_class)
{
    static const struct row rows[] = {
        {301, "", NP_CLASS_bad_reply},
        {302, "{}", NP_CLASS_bad_reply},
        {204, "", NP_CLASS_bad_reply},
        {201, OPENAI_GOOD, NP_CLASS_bad_reply},
        {400, "{}", NP_CLASS_rejected},
        {401, "", NP_CLASS_credential},
        {402, "{}", NP_CLASS_quota},
        {403, "<html>", NP_CLASS_credential},
        {404, "", NP_CLASS_model_gone},
        {405, "{}", NP_CLASS_bad_reply},
        {406, "", NP_CLASS_bad_reply},
        {407, "{}", NP_CLASS_bad_reply},
        {421, "", NP_CLASS_bad_reply},
        {425, "{}", NP_CLASS_bad_reply},
        {408, "{}", NP_CLASS_server_error},
        {409, "", NP_CLASS_server_error},
        {410, "{}", NP_CLASS_model_gone},
        {413, "{}", NP_CLASS_rejected},
        {415, "{}", NP_CLASS_bad_reply},
        {418, "", NP_CLASS_rejected},
        {422, "{}", NP_CLASS_rejected},
        {429, "x", NP_CLASS_rate_limited},
        {451, "{}", NP_CLASS_filtered},
        {500, "", NP_CLASS_server_error},
        {502, "<html>", NP_CLASS_server_error},
        {503, "{}", NP_CLASS_overloaded},
        {504, "", NP_CLASS_server_error},
        {529, "", NP_CLASS_overloaded},
        {599, "{}", NP_CLASS_server_error},
        {999, "{}", NP_CLASS_bad_reply},
        {101, "", NP_CLASS_bad_reply},
    };
    assert_rows(gpt, rows, sizeof rows / sizeof rows[0]);
    assert_rows(claude, rows, sizeof rows / sizeof rows[0]);
}
END_TEST

START_TEST(a_good_answer_under_another_status_says_which)
{
    read_reply(gpt, 201, OPENAI_GOOD);
    ck_assert_int_eq(answer.class, NP_CLASS_bad_reply);
    ck_assert(np_span_is(answer.error, "status 201"));
}
END_TEST

START_TEST(errors_of_openais_have_their_classes)
{
    static const struct row rows[] = {
        {429, "{\"error\":{\"code\":\"insufficient_quota\",\"type\":\"insufficient_quota\"}}",
         NP_CLASS_quota},
        {429, "{\"error\":{\"type\":\"insufficient_quota\",\"message\":\"a\",\"code\":null}}",
         NP_CLASS_quota},
        {429, "{\"error\":{\"message\":\"Check your plan and billing details.\"}}", NP_CLASS_quota},
        {429, "{\"error\":{\"code\":\"rate_limit_exceeded\"}}", NP_CLASS_rate_limited},
        {400, "{\"error\":{\"code\":\"context_length_exceeded\"}}", NP_CLASS_too_long},
        {400, "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens.\"}}",
         NP_CLASS_too_long},
        {413, "{\"error\":{\"code\":\"context_length_exceeded\"}}", NP_CLASS_too_long},
        {422, "{\"error\":{\"code\":\"context_length_exceeded\"}}", NP_CLASS_rejected},
        {400, "{\"error\":{\"code\":\"content_filter\"}}", NP_CLASS_filtered},
        {400, "{\"error\":{\"code\":\"content_policy_violation\"}}", NP_CLASS_filtered},
        {400, "{\"error\":{\"code\":\"invalid_type\",\"message\":\"bad\"}}", NP_CLASS_rejected},
        {400, "{\"error\":\"just a text\"}", NP_CLASS_rejected},
        {400, "{\"error\":[1,2]}", NP_CLASS_rejected},
        {400, "[]", NP_CLASS_rejected},
        {400, "\"x\"", NP_CLASS_rejected},
        {404, "{\"error\":{\"code\":\"model_not_found\"}}", NP_CLASS_model_gone},
        {503, "{\"error\":{\"message\":\"overloaded\"}}", NP_CLASS_overloaded},
    };
    assert_rows(gpt, rows, sizeof rows / sizeof rows[0]);
}
END_TEST

#define ANTHROPIC_ERROR(type, message) \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}}"

START_TEST(errors_of_anthropics_have_their_classes)
{
    static const struct row rows[] = {
        {529, ANTHROPIC_ERROR("overloaded_error", "Overloaded"), NP_CLASS_overloaded},
        {500, ANTHROPIC_ERROR("overloaded_error", "Overloaded"), NP_CLASS_overloaded},
        {200, ANTHROPIC_ERROR("overloaded_error", "Overloaded"), NP_CLASS_bad_reply},
        {200, ANTHROPIC_ERROR("api_error", "Oh"), NP_CLASS_bad_reply},
        {429, ANTHROPIC_ERROR("rate_limit_error", "slow down"), NP_CLASS_rate_limited},
        {402, ANTHROPIC_ERROR("billing_error", "pay"), NP_CLASS_quota},
        {403, ANTHROPIC_ERROR("billing_error", "pay"), NP_CLASS_quota},
        {400, ANTHROPIC_ERROR("invalid_request_error", "Your credit balance is too low"),
         NP_CLASS_quota},
        {400,
         ANTHROPIC_ERROR("invalid_request_error",
                         "prompt is too long: 210000 tokens > 200000 maximum"),
         NP_CLASS_too_long},
        {400,
         ANTHROPIC_ERROR("invalid_request_error", "Output blocked by content filtering policy"),
         NP_CLASS_filtered},
        {400, ANTHROPIC_ERROR("invalid_request_error", "messages: required"), NP_CLASS_rejected},
        {413, ANTHROPIC_ERROR("request_too_large", "too many bytes"), NP_CLASS_rejected},
        {404, ANTHROPIC_ERROR("not_found_error", "model: x"), NP_CLASS_model_gone},
    };
    assert_rows(claude, rows, sizeof rows / sizeof rows[0]);
}
END_TEST

/* Servers of OpenAI's dialect tell it in other places, too: what is told, in which class, with which figures. */
START_TEST(errors_are_understood_wherever_they_stand)
{
    static const struct {
        bool anthropic;
        unsigned status;
        const char *body, *error;
        enum np_class class;
        int64_t limit, seen;
    } rows[] = {
        {false, 400,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens. "
         "However, you requested 5000 tokens (4976 in the messages, 24 in the completion).\","
         "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
         "This model's maximum context length is 4096 tokens.", NP_CLASS_too_long, 4096, 4976},
        {false, 400, "{\"message\":\"no tools here\"}", "no tools here", NP_CLASS_rejected, -1, -1},
        {false, 400, "{\"detail\":\"bad temperature\"}", "bad temperature", NP_CLASS_rejected, -1,
         -1},
        {false, 422,
         "{\"detail\":[{\"loc\":[\"body\",\"messages\",0],\"msg\":\"field required\",\"input\":"
         "\"secret\"},7,{\"msg\":\"and so on\"}]}",
         "body.messages.0: field required; and so on", NP_CLASS_rejected, -1, -1},
        {false, 422, "{\"object\":\"error\",\"message\":{\"detail\":[{\"msg\":\"not this\"}]}}",
         "not this", NP_CLASS_rejected, -1, -1},
        {false, 422, "{\"detail\":[]}", "", NP_CLASS_rejected, -1, -1},
        {false, 400,
         "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size, try "
         "increasing it\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":5000,"
         "\"n_ctx\":4096}}",
         "the request exceeds the available context size", NP_CLASS_too_long, 4096, 5000},
        {false, 400,
         "{\"error\":{\"message\":\"request (5000 tokens) exceeds the available context size (4096 "
         "tokens), try increasing it\"}}",
         "request (5000", NP_CLASS_too_long, 4096, 5000},
        {false, 400,
         "{\"error\":{\"message\":\"Requested token count exceeds the model's maximum context length "
         "of 131072 tokens.\"}}",
         "Requested", NP_CLASS_too_long, 131072, -1},
        {false, 429, "{\"code\":\"insufficient_quota\",\"message\":\"pay\"}", "pay", NP_CLASS_quota,
         -1, -1},
        {true, 400, "{\"detail\":\"prompt is too long: 210000 tokens > 200000 maximum\"}",
         "prompt is too long", NP_CLASS_too_long, 200000, 210000},
        {true, 400, "{\"message\":\"no\"}", "no", NP_CLASS_rejected, -1, -1},
        {true, 400,
         ANTHROPIC_ERROR(
             "invalid_request_error",
             "input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000"),
         "input length", NP_CLASS_too_long, 200000, 195000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_reply(rows[i].anthropic ? claude : gpt, rows[i].status, rows[i].body);
        ck_assert_msg(answer.class == rows[i].class, "%s", rows[i].body);
        size_t n = strlen(rows[i].error);
        ck_assert_msg(answer.error.n >= n && (n > 0 || answer.error.n == 0) &&
                          memcmp(answer.error.p, rows[i].error, n) == 0,
                      "%.*s", (int)answer.error.n, answer.error.p);
        ck_assert_ptr_null(memmem(answer.error.p, answer.error.n, "secret", 6));
        ck_assert_int_eq(answer.limit_tokens, rows[i].limit);
        ck_assert_int_eq(answer.prompt_seen, rows[i].seen);
    }
}
END_TEST

START_TEST(a_200_that_is_no_answer_is_a_bad_reply)
{
    static const struct row openai[] = {
        {200, "", NP_CLASS_bad_reply},
        {200, "{\"choices\":[", NP_CLASS_bad_reply},
        {200, "<html>", NP_CLASS_bad_reply},
        {200, "{}", NP_CLASS_bad_reply},
        {200, "[]", NP_CLASS_bad_reply},
        {200, "null", NP_CLASS_bad_reply},
        {200, "7", NP_CLASS_bad_reply},
        {200, "{\"error\":{\"message\":\"no\"}}", NP_CLASS_bad_reply},
        {200, "{\"choices\":7}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[]}", NP_CLASS_bad_reply},
        {200, "{\"choices\":{\"a\":1}}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":\"x\"}]}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":{}}]}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}",
         NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":{\"content\":7}}]}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":{\"content\":[7,{\"text\":[]}]}}]}", NP_CLASS_bad_reply},
        {200, "{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"length\"}]}",
         NP_CLASS_ok},
        {200, "{\"choices\":[{\"message\":{},\"finish_reason\":\"content_filter\"}]}", NP_CLASS_ok},
        {200,
         "{\"choices\":[{\"message\":{\"tool_calls\":[{}]},\"finish_reason\":\"tool_calls\"}]}",
         NP_CLASS_ok},
        {200, "{\"choices\":[{\"message\":{\"refusal\":\"I won't.\"}}]}", NP_CLASS_ok},
        {200, "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}}]}",
         NP_CLASS_ok},
    };
    static const struct row anthropic[] = {
        {200, "{}", NP_CLASS_bad_reply},
        {200, "{\"content\":\"x\"}", NP_CLASS_bad_reply},
        {200, "{\"content\":[]}", NP_CLASS_bad_reply},
        {200, "{\"content\":[null,7,{\"type\":[]}]}", NP_CLASS_bad_reply},
        {200, "{\"content\":[{\"type\":\"text\",\"text\":\"\"}],\"stop_reason\":\"end_turn\"}",
         NP_CLASS_bad_reply},
        {200, "{\"content\":[{\"type\":\"text\",\"text\":{}}]}", NP_CLASS_bad_reply},
        {200, "{\"content\":[],\"stop_reason\":\"max_tokens\"}", NP_CLASS_ok},
        {200, "{\"content\":[],\"stop_reason\":\"refusal\"}", NP_CLASS_ok},
        {200, "{\"content\":[{\"type\":\"tool_use\"}],\"stop_reason\":\"tool_use\"}", NP_CLASS_ok},
    };
    assert_rows(gpt, openai, sizeof openai / sizeof openai[0]);
    assert_rows(claude, anthropic, sizeof anthropic / sizeof anthropic[0]);
}
END_TEST

START_TEST(a_content_type_that_is_not_json_makes_a_bad_reply)
{
    static const struct {
        const char *type;
        enum np_class class;
    } rows[] = {{"application/json", NP_CLASS_ok},
                {"application/vnd.x+json", NP_CLASS_ok},
                {"", NP_CLASS_ok},
                {" APPLICATION/JSON ;x", NP_CLASS_ok},
                {"text/html", NP_CLASS_bad_reply},
                {"application/jsonl", NP_CLASS_bad_reply},
                {"text/event-stream", NP_CLASS_bad_reply},
                {"+json", NP_CLASS_bad_reply}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct np_wire_reply reply = reply_of(200, OPENAI_GOOD);
        reply.content_type = np_span_of(rows[i].type);
        ck_assert_int_eq(np_adapter_answer(s, x, gpt, &reply, &answer), NP_OK);
        ck_assert_msg(answer.class == rows[i].class, "%s", rows[i].type);
    }
    read_reply(gpt, 502, "<html>");
    ck_assert(np_span_starts(answer.error, "the reply is not JSON (application/json)"));
}
END_TEST

START_TEST(the_real_limit_is_read_from_the_message)
{
    read_reply(
        gpt, 400,
        "{\"error\":{\"message\":\"This model's maximum context length is 128000 tokens. However, "
        "your messages resulted in 130000 tokens.\",\"code\":\"context_length_exceeded\"}}");
    ck_assert_int_eq(answer.class, NP_CLASS_too_long);
    ck_assert_int_eq(answer.limit_tokens, 128000);
    ck_assert(np_span_starts(answer.error, "This model's maximum"));
    read_reply(gpt, 400, "{\"error\":{\"code\":\"context_length_exceeded\"}}");
    ck_assert_int_eq(answer.limit_tokens, -1);
    ck_assert(np_span_is(answer.error, "context_length_exceeded"));
    read_reply(claude, 400,
               ANTHROPIC_ERROR("invalid_request_error",
                               "prompt is too long: 210000 tokens > 200000 maximum"));
    ck_assert_int_eq(answer.limit_tokens, 200000);
    read_reply(
        claude, 400,
        ANTHROPIC_ERROR("invalid_request_error",
                        "input length and `max_tokens` exceed context limit: 190000 + 20000 > "
                        "200000, decrease input length"));
    ck_assert_int_eq(answer.limit_tokens, 200000);
    read_reply(claude, 400,
               ANTHROPIC_ERROR("invalid_request_error", "prompt is too long: 99 tokens > "
                                                        "99999999999999999999999 maximum"));
    ck_assert_int_eq(answer.class, NP_CLASS_too_long);
    ck_assert_int_eq(answer.limit_tokens, -1);
}
END_TEST

START_TEST(what_is_said_of_a_key_is_not_passed_on)
{
    read_reply(
        gpt, 401,
        "{\"error\":{\"message\":\"Incorrect API key provided: sk-canary\",\"code\":\"invalid_api_key\"}}");
    ck_assert(np_span_is(answer.error, "invalid_api_key"));
    read_reply(claude, 401, ANTHROPIC_ERROR("authentication_error", "invalid x-api-key sk-canary"));
    ck_assert(np_span_is(answer.error, "authentication_error"));
}
END_TEST

START_TEST(a_long_error_is_cut_between_characters)
{
    char body[2048], text[1200];
    memset(text, 'x', 511);
    for (size_t i = 511; i + 2 < 1100; i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\"}}", text);
    read_reply(gpt, 500, body);
    ck_assert_uint_eq(answer.error.n, 511);
}
END_TEST

START_TEST(impossible_usage_is_flagged_and_not_taken)
{
    static const char *const bad[] = {
        "{\"prompt_tokens\":-1,\"completion_tokens\":1}",
        "{\"prompt_tokens\":1.5,\"completion_tokens\":1}",
        "{\"prompt_tokens\":1,\"completion_tokens\":1000000001}",
        "{\"prompt_tokens\":1e300,\"completion_tokens\":1}",
        "{\"prompt_tokens\":\"12\",\"completion_tokens\":1}",
        "{\"prompt_tokens\":{},\"completion_tokens\":1}",
        "{\"prompt_tokens\":1,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":2}}",
        "{\"prompt_tokens\":1,\"completion_tokens\":1,\"completion_tokens_details\":{\"reasoning_tokens\":2}}",
        "{\"prompt_tokens\":1,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":-1}}",
    };
    char body[512];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(body, sizeof body,
                 "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":%s}", bad[i]);
        read_reply(gpt, 200, body);
        ck_assert_int_eq(answer.class, NP_CLASS_ok);
        ck_assert_msg(answer.usage_reported && answer.usage_flagged, "%s", bad[i]);
        ck_assert_int_eq(answer.usage.prompt, 0);
    }
    read_reply(claude, 200,
               "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"usage\":{\"input_tokens\":1,"
               "\"output_tokens\":2,\"cache_read_input_tokens\":\"9\"}}");
    ck_assert(answer.usage_flagged);
    read_reply(
        claude, 200,
        "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"usage\":{\"input_tokens\":1000000000,"
        "\"output_tokens\":2,\"cache_read_input_tokens\":1000000000}}");
    ck_assert(answer.usage_flagged);
}
END_TEST

START_TEST(usage_may_be_absent_null_or_nothing)
{
    static const char *const rows[] = {"null", "{}", "7", "{\"prompt_tokens\":1}", "[]"};
    char body[512];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(body, sizeof body,
                 "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":%s}", rows[i]);
        read_reply(gpt, 200, body);
        ck_assert_int_eq(answer.class, NP_CLASS_ok);
        ck_assert_msg(!answer.usage_reported && !answer.usage_flagged, "%s", rows[i]);
    }
    read_reply(gpt, 200,
               "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":0,"
               "\"completion_tokens\":0,\"prompt_tokens_details\":null}}");
    ck_assert(answer.usage_reported && !answer.usage_flagged);
    ck_assert_int_eq(answer.usage.prompt, 0);
}
END_TEST

START_TEST(a_bad_reply_that_was_billed_says_so)
{
    read_reply(gpt, 200,
               "{\"choices\":[{\"message\":{\"content\":\"\"}}],\"usage\":{\"prompt_tokens\":3,"
               "\"completion_tokens\":1}}");
    ck_assert_int_eq(answer.class, NP_CLASS_bad_reply);
    ck_assert(answer.usage_reported);
    ck_assert_int_eq(answer.usage.prompt, 3);
}
END_TEST

START_TEST(retry_after_is_seconds_or_a_date_and_milliseconds_win)
{
    static const struct {
        const char *seconds, *ms;
        int64_t want;
    } rows[] = {
        {NULL, NULL, -1},
        {"0", NULL, 0},
        {"7", NULL, 7000},
        {" 7 ", NULL, 7000},
        {"1.5", NULL, 2000},
        {"-1", NULL, -1},
        {"soon", NULL, -1},
        {"", NULL, -1},
        {"99999999999999999999", NULL, INT64_C(604800000)},
        {"9999999999", NULL, INT64_C(604800000)},
        {"7", "250", 250},
        {"7", "250.5", 251},
        {"7", "x", 7000},
        {"Sun, 06 Nov 1994 08:50:37 GMT", NULL, 60000},
        {"Sun, 06 Nov 1994 08:00:00 GMT", NULL, 0},
        {"Sun, 06 Nov 2094 08:00:00 GMT", NULL, INT64_C(604800000)},
        {"Sun, 06 Nov", NULL, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct np_wire_reply reply = reply_of(429, "{}");
        reply.retry_after = np_span_of(rows[i].seconds);
        reply.retry_after_ms = np_span_of(rows[i].ms);
        ck_assert_int_eq(np_adapter_answer(s, x, gpt, &reply, &answer), NP_OK);
        ck_assert_msg(answer.retry_after_ms == rows[i].want, "%s: %lld", rows[i].seconds,
                      (long long)answer.retry_after_ms);
    }
}
END_TEST

START_TEST(nothing_that_a_provider_sends_makes_it_fail)
{
    /* Every beginning of a good answer, and every answer with one byte changed. */
    static char body[sizeof OPENAI_GOOD];
    for (size_t n = 0; n < sizeof body; n++) {
        memcpy(body, OPENAI_GOOD, sizeof body);
        body[n] = '\0';
        read_reply(gpt, 200, body);
        read_reply(claude, 500, body);
    }
    for (size_t i = 0; i + 1 < sizeof body; i++) {
        static const char others[] = "\"{}[]:,0n\\\x80";
        for (size_t o = 0; o + 1 < sizeof others; o++) {
            memcpy(body, OPENAI_GOOD, sizeof body);
            body[i] = others[o];
            struct np_wire_reply reply = reply_of(200, body);
            ck_assert_int_eq(np_adapter_answer(s, x, i % 2 ? gpt : claude, &reply, &answer), NP_OK);
        }
        if (i % 50 == 0) {
            np_script_idle(s);
            np_exchange_free(x);
            x = np_exchange_new((size_t)8 << 20);
            ck_assert_ptr_nonnull(x);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script/answer");
    TCase *c = tcase_create("answer");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_good_answer_of_openais_is_understood);
    tcase_add_test(c, a_good_answer_of_anthropics_is_understood);
    tcase_add_test(c, finish_reasons_are_those_of_the_contract);
    tcase_add_test(c, a_status_alone_has_the_contracts_class);
    tcase_add_test(c, a_good_answer_under_another_status_says_which);
    tcase_add_test(c, errors_of_openais_have_their_classes);
    tcase_add_test(c, errors_of_anthropics_have_their_classes);
    tcase_add_test(c, errors_are_understood_wherever_they_stand);
    tcase_add_test(c, a_200_that_is_no_answer_is_a_bad_reply);
    tcase_add_test(c, a_content_type_that_is_not_json_makes_a_bad_reply);
    tcase_add_test(c, the_real_limit_is_read_from_the_message);
    tcase_add_test(c, what_is_said_of_a_key_is_not_passed_on);
    tcase_add_test(c, a_long_error_is_cut_between_characters);
    tcase_add_test(c, impossible_usage_is_flagged_and_not_taken);
    tcase_add_test(c, usage_may_be_absent_null_or_nothing);
    tcase_add_test(c, a_bad_reply_that_was_billed_says_so);
    tcase_add_test(c, retry_after_is_seconds_or_a_date_and_milliseconds_win);
    tcase_add_test(c, nothing_that_a_provider_sends_makes_it_fail);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
