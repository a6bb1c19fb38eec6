/* Replies as bytes with a timetable: exactly what the SDKs know, whole, failed and streamed. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/tokens.h"
#include "sim/imitation_impl.h"
#include "support/fail_alloc.h"

#define DONE "data: [DONE]\n\n"
#define TEXT "Hello there.\n"

static struct np_sim_call call;
static struct np_imitation_answer answer;
static struct np_sim_reply reply;
static char body[400000]; /* without head and chunks */

static void set_up(void)
{
    call = (struct np_sim_call){.dialect = NP_DIALECT_OPENAI, .model = "m"};
    call.call.max_tokens = -1;
    call.call.prompt_tokens = 10;
    answer = (struct np_imitation_answer){.status = 200,
                                          .text = TEXT,
                                          .retry_after_s = -1,
                                          .stall_at = -1,
                                          .reset_at = -1,
                                          .fin_at = -1};
    reply = (struct np_sim_reply){0};
    np_buf_init(&reply.bytes, NP_SIM_REPLY_MAX);
}

static void tear_down(void)
{
    np_buf_free(&reply.bytes);
}

/* The body without its chunks; they must be whole. */
static void unchunk(const char *at)
{
    size_t n = 0, size;
    do {
        char *end;
        size = strtoul(at, &end, 16);
        ck_assert_msg(memcmp(end, "\r\n", 2) == 0, "no chunk: %.40s", at);
        memcpy(body + n, end + 2, size);
        n += size;
        at = end + 2 + size;
        ck_assert(memcmp(at, "\r\n", 2) == 0);
        at += 2;
    } while (size > 0);
    ck_assert_str_eq(at, "");
    body[n] = '\0';
}

static void render(void)
{
    np_buf_reset(&reply.bytes);
    reply.n_pieces = 0;
    np_sim_render(&reply, &call, &answer, 0x2a);
    ck_assert(!np_buf_failed(&reply.bytes));
    ck_assert_int_eq(np_buf_char(&reply.bytes, '\0'), NP_OK);
    reply.bytes.n--;
    if (answer.raw_given)
        return;
    const char *at = strstr(reply.bytes.p, "\r\n\r\n");
    ck_assert_ptr_nonnull(at);
    if (strstr(reply.bytes.p, "Transfer-Encoding: chunked\r\n"))
        unchunk(at + 4);
    else
        snprintf(body, sizeof body, "%s", at + 4);
}

static void expect_in(const char *all, const char *part)
{
    ck_assert_msg(strstr(all, part), "no %s in %s", part, all);
}

static void expect_not_in(const char *all, const char *part)
{
    ck_assert_msg(!strstr(all, part), "%s in %s", part, all);
}

static void expect_head(const char *part)
{
    const char *at = strstr(reply.bytes.p, part);
    ck_assert_msg(at && at < strstr(reply.bytes.p, "\r\n\r\n") + 2, "no %s in %s", part,
                  reply.bytes.p);
}

static int count(const char *part)
{
    int n = 0;
    for (const char *p = body; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

/* ---------------------------------------------------------------------------------------- OpenAI */

#define O_HEAD(object)                                           \
    "{\"id\":\"chatcmpl-000000000000002a\",\"object\":\"" object \
    "\",\"created\":1793448000,\"model\":\"m\",\"choices\":["
#define O_USAGE(p, c, t, cached)                                                         \
    "\"usage\":{\"prompt_tokens\":" p ",\"completion_tokens\":" c ",\"total_tokens\":" t \
    ",\"prompt_tokens_details\":{\"cached_tokens\":" cached                              \
    "},\"completion_tokens_details\":{\"reasoning_tokens\":0}}"
#define O_CHUNK(delta, finish, rest)                                          \
    "data: " O_HEAD("chat.completion.chunk") "{\"index\":0,\"delta\":{" delta \
                                             "},\"finish_reason\":" finish "}]" rest "}\n\n"

START_TEST(a_whole_reply_of_openais_is_as_the_sdk_knows_it)
{
    char wanted[1024], usage[256];
    int tokens = (int)np_tokens_estimate(NP_SPAN(TEXT), false);
    render();
    snprintf(usage, sizeof usage, O_USAGE("10", "%d", "%d", "0"), tokens, 10 + tokens);
    snprintf(
        wanted, sizeof wanted,
        O_HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                  "\"Hello there.\\n\",\"refusal\":null},\"logprobs\":null,"
                                  "\"finish_reason\":\"stop\"}],%s}",
        usage);
    ck_assert_str_eq(body, wanted);
    expect_head("HTTP/1.1 200 OK\r\n");
    expect_head("\r\nContent-Type: application/json\r\n");
    expect_head("\r\nx-request-id: req_000000000000002a\r\n");
    snprintf(wanted, sizeof wanted, "\r\nContent-Length: %zu\r\n", strlen(body));
    expect_head(wanted);
    ck_assert_int_eq(reply.billed_prompt, 10);
    ck_assert_int_eq(reply.billed_completion, tokens);
    ck_assert(!reply.close);
}
END_TEST

START_TEST(an_error_of_openais_has_type_and_code_and_is_not_billed)
{
    answer.status = 429;
    answer.retry_after_s = 7;
    strcpy(answer.error_type, "rate_limit_error");
    strcpy(answer.error_message, "Slow \"down\".");
    call.call.stream = _i == 1; /* an error is never a stream */
    strcpy(answer.error_code, _i ? "rate_limit_exceeded" : "");
    render();
    ck_assert_str_eq(body,
                     _i ? "{\"error\":{\"message\":\"Slow \\\"down\\\".\",\"type\":\"rate_limit_"
                          "error\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}"
                        : "{\"error\":{\"message\":\"Slow \\\"down\\\".\",\"type\":\"rate_limit_"
                          "error\",\"param\":null,\"code\":null}}");
    expect_head("HTTP/1.1 429 ");
    expect_head("\r\nRetry-After: 7\r\n");
    expect_head("\r\nx-request-id: req_000000000000002a\r\n");
    ck_assert_int_eq(reply.billed_prompt + reply.billed_completion, 0);
}
END_TEST

START_TEST(a_stream_of_openais_has_a_role_its_text_a_reason_and_done)
{
    call.call.stream = true;
    strcpy(answer.text, "Hey you");
    render();
    ck_assert_str_eq(body, O_CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null", "")
                               O_CHUNK("\"content\":\"Hey\"", "null", "")
                                   O_CHUNK("\"content\":\" you\"", "null", "")
                                       O_CHUNK("", "\"stop\"", "") DONE);
    expect_head("\r\nContent-Type: text/event-stream; charset=utf-8\r\n");
    expect_head("\r\nTransfer-Encoding: chunked\r\n");
    expect_not_in(body, "usage");
}
END_TEST

START_TEST(usage_is_streamed_when_asked_for_in_one_last_chunk_without_choices)
{
    char last[512];
    call.call.stream = call.include_usage = true;
    strcpy(answer.text, "Hey");
    int tokens = (int)np_tokens_estimate(NP_SPAN("Hey"), false);
    render();
    snprintf(last, sizeof last,
             "\"usage\":null}\n\ndata: " O_HEAD("chat.completion.chunk") "]," O_USAGE(
                 "10", "%d", "%d", "0") "}\n\n" DONE,
             tokens, 10 + tokens);
    ck_assert_str_eq(body + strlen(body) - strlen(last), last);
    ck_assert_int_eq(count("\"usage\":null"), 3);
    ck_assert_int_eq(count("\"usage\":{"), 1);
    answer.no_usage = true;
    render();
    ck_assert_int_eq(count("\"usage\":{"), 0);
}
END_TEST

/* ------------------------------------------------------------------------------------- Anthropic */

#define A_EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define A_DELTA(text)              \
    A_EVENT("content_block_delta", \
            ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define A_MESSAGE(content, reason, usage)                                                          \
    "\"id\":\"msg_000000000000002a\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\"," \
    "\"content\":[" content "],\"stop_reason\":" reason ",\"stop_sequence\":null" usage
#define A_USAGE(in, read, out)                                               \
    ",\"usage\":{\"input_tokens\":" in ",\"cache_creation_input_tokens\":0," \
    "\"cache_read_input_tokens\":" read ",\"output_tokens\":" out "}"

START_TEST(a_whole_reply_of_anthropics_is_as_the_sdk_knows_it)
{
    char wanted[1024];
    call.dialect = NP_DIALECT_ANTHROPIC;
    render();
    snprintf(wanted, sizeof wanted,
             "{" A_MESSAGE("{\"type\":\"text\",\"text\":\"Hello there.\\n\"}", "\"end_turn\"",
                           A_USAGE("10", "0", "%d")) "}",
             (int)np_tokens_estimate(NP_SPAN(TEXT), false));
    ck_assert_str_eq(body, wanted);
    expect_head("\r\nContent-Type: application/json\r\n");
    expect_head("\r\nrequest-id: req_000000000000002a\r\n");
    expect_not_in(reply.bytes.p, "x-request-id");
}
END_TEST

START_TEST(an_error_of_anthropics_has_the_request_id_in_body_and_header)
{
    call.dialect = NP_DIALECT_ANTHROPIC;
    call.call.stream = true;
    answer.status = 529;
    strcpy(answer.error_type, "overloaded_error");
    strcpy(answer.error_message, "Overloaded.");
    render();
    ck_assert_str_eq(body,
                     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
                     "\"Overloaded.\"},\"request_id\":\"req_000000000000002a\"}");
    expect_head("HTTP/1.1 529 ");
    expect_head("\r\nrequest-id: req_000000000000002a\r\n");
    expect_not_in(reply.bytes.p, "Retry-After");
}
END_TEST

START_TEST(a_stream_of_anthropics_has_its_events_in_order)
{
    char wanted[4096];
    call.dialect = NP_DIALECT_ANTHROPIC;
    call.call.stream = call.include_usage = true; /* which Anthropic does not know */
    strcpy(answer.text, "Hey you");
    render();
    snprintf(wanted, sizeof wanted,
             A_EVENT("message_start",
                     ",\"message\":{" A_MESSAGE("", "null", A_USAGE("10", "0", "1")) "}")
                 A_EVENT("content_block_start",
                         ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                     A_EVENT("ping", "") A_DELTA("Hey") A_DELTA(" you")
                         A_EVENT("content_block_stop", ",\"index\":0") A_EVENT(
                             "message_delta",
                             ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
                             "\"usage\":{\"output_tokens\":%d}") A_EVENT("message_stop", ""),
             (int)np_tokens_estimate(NP_SPAN("Hey you"), false));
    ck_assert_str_eq(body, wanted);
}
END_TEST

/* ------------------------------------------------------------------------------- both: their ends */

START_TEST(the_reason_of_the_end_is_in_the_dialects_own_words)
{
    static const struct {
        const char *given, *openai, *anthropic;
    } rows[] = {
        {"", "\"stop\"", "\"end_turn\""},
        {"stop", "\"stop\"", "\"end_turn\""},
        {"length", "\"length\"", "\"max_tokens\""},
        {"tool_calls", "\"tool_calls\"", "\"tool_use\""},
        {"content_filter", "\"content_filter\"", "\"refusal\""},
        {"pause_turn", "\"pause_turn\"", "\"pause_turn\""},
    };
    char wanted[64];
    strcpy(answer.finish, rows[_i].given);
    for (int stream = 0; stream < 2; stream++) {
        call.call.stream = stream;
        call.dialect = NP_DIALECT_OPENAI;
        render();
        snprintf(wanted, sizeof wanted, "\"finish_reason\":%s", rows[_i].openai);
        expect_in(body, wanted);
        call.dialect = NP_DIALECT_ANTHROPIC;
        render();
        snprintf(wanted, sizeof wanted, "\"stop_reason\":%s", rows[_i].anthropic);
        expect_in(body, wanted);
    }
}
END_TEST

START_TEST(max_tokens_cuts_the_text_between_characters_and_says_so)
{
    strcpy(answer.text, "\xe4\xb8\x96\xe7\x95\x8c\xe4\xb8\x96\xe7\x95\x8c\xe4\xb8\x96\xe7\x95\x8c");
    int64_t all = np_tokens_estimate(np_span_of(answer.text), false);
    ck_assert_int_ge(all, 3);
    for (int64_t max = 0; max <= all + 1; max++) {
        struct np_json_fault fault;
        call.call.max_tokens = max;
        render();
        bool cut = max < all;
        expect_in(body, cut ? "\"finish_reason\":\"length\"" : "\"finish_reason\":\"stop\"");
        ck_assert_int_eq(reply.billed_completion, cut ? max : all);
        ck_assert_int_eq(np_json_check(np_span_of(body), 9, &fault), NP_OK);
        expect_not_in(body, "\\ufffd");
        expect_not_in(body, "\xef\xbf\xbd");
        ck_assert_int_eq(strstr(body, "\xe4\xb8\x96") != NULL, max > 0);
    }
}
END_TEST

START_TEST(a_long_text_is_streamed_in_pieces_that_are_characters_and_each_has_its_time)
{
    size_t n = 0;
    while (n + 8 < sizeof answer.text) {
        memcpy(answer.text + n, "\xf0\x9f\x98\x80 a", 6);
        n += 6;
    }
    answer.total_ms = 1000;
    call.call.stream = true;
    render();
    ck_assert_int_gt(count("\"content\""), 300);
    ck_assert_uint_lt(reply.n_pieces, NP_SIM_PIECES);
    expect_not_in(body, "\\ufffd");
    expect_not_in(body, "\xef\xbf\xbd");
    ck_assert_int_eq(count("\"content\":\"\""), 1);
    for (size_t i = 1; i < reply.n_pieces; i++) {
        ck_assert_uint_gt(reply.piece[i].end, reply.piece[i - 1].end);
        ck_assert_int_ge(reply.piece[i].at_ms, reply.piece[i - 1].at_ms);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------- misbehaving */

START_TEST(an_empty_answer_is_a_200_without_content)
{
    answer.empty = true;
    render();
    expect_in(body, "\"choices\":[],");
    expect_in(body, "\"completion_tokens\":0");
    call.dialect = NP_DIALECT_ANTHROPIC;
    render();
    expect_in(body, "\"content\":[],");
    call.call.stream = true;
    render();
    expect_not_in(body, "content_block");
    expect_in(body, "event: message_stop\n");
    call.dialect = NP_DIALECT_OPENAI;
    render();
    ck_assert_int_eq(count("\"content\""), 1);
    expect_in(body, DONE);
}
END_TEST

START_TEST(a_malformed_body_is_not_json_in_either_dialect)
{
    struct np_json_fault fault;
    answer.malformed = true;
    for (int i = 0; i < 4; i++) {
        call.dialect = i % 2 ? NP_DIALECT_ANTHROPIC : NP_DIALECT_OPENAI;
        call.call.stream = i / 2;
        render();
        const char *json = strchr(body, '{');
        ck_assert_ptr_nonnull(json);
        ck_assert_int_eq(np_json_check(np_span_of(json), 9, &fault), NP_E_SYNTAX);
        expect_head("HTTP/1.1 200 OK\r\n");
        if (i == 3)
            ck_assert_int_eq(strncmp(body, "event: ", 7), 0); /* nameless ones are skipped */
    }
}
END_TEST

START_TEST(usage_may_be_left_out_of_everything)
{
    answer.no_usage = true;
    for (int i = 0; i < 4; i++) {
        call.dialect = i % 2 ? NP_DIALECT_ANTHROPIC : NP_DIALECT_OPENAI;
        call.call.stream = i / 2;
        render();
        expect_not_in(body, "usage");
    }
    ck_assert_int_eq(reply.billed_prompt, 10);
}
END_TEST

START_TEST(a_lie_about_usage_is_told_as_it_stands_and_the_truth_is_billed)
{
    answer.usage_given = true;
    answer.usage_prompt = -3;
    answer.usage_completion = 2.5;
    answer.usage_cached = 1e300;
    render();
    expect_in(body, "\"prompt_tokens\":-3,\"completion_tokens\":2.5,\"total_tokens\":-0.5,");
    expect_in(body, "\"cached_tokens\":1e+300");
    call.dialect = NP_DIALECT_ANTHROPIC;
    call.call.stream = true;
    answer.usage_completion = (double)NAN;
    render();
    expect_in(body, "\"input_tokens\":-3,");
    expect_in(body, "\"usage\":{\"output_tokens\":null}");
    ck_assert_int_eq(reply.billed_prompt, 10);
    ck_assert_int_eq(reply.billed_completion, np_tokens_estimate(NP_SPAN(TEXT), false));
}
END_TEST

START_TEST(headers_say_what_the_answer_wants_them_to)
{
    strcpy(answer.content_type, "text/html");
    strcpy(answer.content_encoding, "gzip");
    render();
    expect_head("\r\nContent-Type: text/html\r\n");
    expect_head("\r\nContent-Encoding: gzip\r\n");
    answer.status = 302;
    render();
    expect_head("HTTP/1.1 302 ");
    expect_head("\r\nLocation: http");
}
END_TEST

START_TEST(raw_bytes_are_the_whole_reply_and_end_the_connection)
{
    static char raw[] = "HTTP/1.1 200 OK\r\n\0garbage";
    answer.raw_given = true;
    answer.raw = raw;
    answer.raw_bytes = sizeof raw - 1;
    answer.first_ms = 4;
    render();
    ck_assert_uint_eq(reply.bytes.n, sizeof raw - 1);
    ck_assert_mem_eq(reply.bytes.p, raw, sizeof raw - 1);
    ck_assert(reply.close);
    ck_assert_int_eq(reply.piece[0].at_ms, 4);
    ck_assert_int_eq(reply.billed_prompt, 0);
}
END_TEST

/* ---------------------------------------------------------------------------------------- timetable */

START_TEST(a_whole_reply_leaves_at_once_when_all_of_it_is_there)
{
    answer.first_ms = 10;
    answer.total_ms = 50;
    render();
    ck_assert_uint_eq(reply.n_pieces, 1);
    ck_assert_int_eq(reply.piece[0].at_ms, 50);
    ck_assert_uint_eq(reply.piece[0].end, reply.bytes.n);
    answer.total_ms = 0;
    render();
    ck_assert_int_eq(reply.piece[0].at_ms, 10);
}
END_TEST

START_TEST(a_stream_is_spread_evenly_between_its_first_and_its_last_byte)
{
    call.call.stream = true;
    answer.first_ms = 100;
    answer.total_ms = 700;
    strcpy(answer.text, "Hey you");
    render();
    static const int64_t at[] = {100, 220, 340, 460, 580, 700};
    ck_assert_uint_eq(reply.n_pieces, 6); /* role, two of text, reason, [DONE], the last chunk */
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(reply.piece[i].at_ms, at[i]);
    ck_assert_uint_eq(reply.piece[5].end, reply.bytes.n);
    answer.total_ms = 0;
    render();
    ck_assert_int_eq(reply.piece[5].at_ms, 100);
}
END_TEST

START_TEST(a_reply_for_which_memory_is_short_is_marked_or_the_same)
{
    struct np_buf good;
    size_t n = 0;
    call.dialect = _i % 2 ? NP_DIALECT_ANTHROPIC : NP_DIALECT_OPENAI;
    call.call.stream = _i / 2 % 2;
    answer.status = _i < 4 ? 200 : 500;
    render();
    good = reply.bytes;
    for (bool happened = true; happened; n++) {
        np_buf_init(&reply.bytes, NP_SIM_REPLY_MAX);
        reply.n_pieces = 0;
        np_fail_nth(n);
        np_sim_render(&reply, &call, &answer, 0x2a);
        np_fail_never();
        happened = np_fail_happened();
        if (!np_buf_failed(&reply.bytes))
            ck_assert(np_span_eq(np_buf_view(&reply.bytes), np_buf_view(&good)));
        ck_assert_msg(happened == np_buf_failed(&reply.bytes), "allocation %zu", n);
        np_buf_free(&reply.bytes);
    }
    ck_assert_uint_gt(n, 2);
    reply.bytes = good;
}
END_TEST

static void add_misbehaving(TCase *t)
{
    tcase_add_test(t, an_empty_answer_is_a_200_without_content);
    tcase_add_test(t, a_malformed_body_is_not_json_in_either_dialect);
    tcase_add_test(t, usage_may_be_left_out_of_everything);
    tcase_add_test(t, a_lie_about_usage_is_told_as_it_stands_and_the_truth_is_billed);
    tcase_add_test(t, headers_say_what_the_answer_wants_them_to);
    tcase_add_test(t, raw_bytes_are_the_whole_reply_and_end_the_connection);
    tcase_add_test(t, a_whole_reply_leaves_at_once_when_all_of_it_is_there);
    tcase_add_test(t, a_stream_is_spread_evenly_between_its_first_and_its_last_byte);
    tcase_add_loop_test(t, a_reply_for_which_memory_is_short_is_marked_or_the_same, 0, 6);
}

int main(void)
{
    Suite *suite = suite_create("sim.render");
    TCase *t = tcase_create("render");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_whole_reply_of_openais_is_as_the_sdk_knows_it);
    tcase_add_loop_test(t, an_error_of_openais_has_type_and_code_and_is_not_billed, 0, 2);
    tcase_add_test(t, a_stream_of_openais_has_a_role_its_text_a_reason_and_done);
    tcase_add_test(t, usage_is_streamed_when_asked_for_in_one_last_chunk_without_choices);
    tcase_add_test(t, a_whole_reply_of_anthropics_is_as_the_sdk_knows_it);
    tcase_add_test(t, an_error_of_anthropics_has_the_request_id_in_body_and_header);
    tcase_add_test(t, a_stream_of_anthropics_has_its_events_in_order);
    tcase_add_loop_test(t, the_reason_of_the_end_is_in_the_dialects_own_words, 0, 6);
    tcase_add_test(t, max_tokens_cuts_the_text_between_characters_and_says_so);
    tcase_add_test(t, a_long_text_is_streamed_in_pieces_that_are_characters_and_each_has_its_time);
    add_misbehaving(t);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
