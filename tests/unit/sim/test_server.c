/* The imitation over its socket: what it serves, keeps and counts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"
#include "sim/imitation_impl.h"
#include "support/fail_alloc.h"

#define CHAT "/v1/chat/completions"
#define CALL "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"
#define STREAM "{\"model\":\"m\",\"messages\":[],\"stream\":true}"

static void expect_status(unsigned status)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %u ", status);
    ck_assert_msg(strncmp(got.p, line, strlen(line)) == 0, "%s", got.p);
}

static int replies(void)
{
    int n = 0;
    for (const char *p = got.p; (p = strstr(p, "HTTP/1.1 ")); p++)
        n++;
    return n;
}

START_TEST(calls_are_known_by_the_end_of_their_path)
{
    static const struct {
        const char *path, *provider, *id;
    } rows[] = {
        {CHAT, "openai", "\r\nx-request-id: req_"},
        {"/groq/openai" CHAT "?a=b", "groq", "\r\nx-request-id: req_"},
        {"/v1/messages", "anthropic", "\r\nrequest-id: req_"},
        {"/v1/messages?beta=true", "anthropic", "\r\nrequest-id: req_"},
    };
    rig_ask(rig_post(rows[_i].path, CALL));
    expect_status(200);
    ck_assert_ptr_nonnull(strstr(got.p, rows[_i].id));
    ck_assert_str_eq(rig.provider, rows[_i].provider);
    ck_assert_str_eq(rig.model, "m");
    ck_assert_uint_eq(rig.call.number, 1);
}
END_TEST

START_TEST(every_other_path_is_404_and_no_call)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "GET " CHAT " HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/embeddings HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        "POST /calls HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "GET /control HTTP/1.1\r\n\r\n",
    };
    rig_ask(requests[_i]);
    expect_status(404);
    ck_assert_str_eq(rig_body(), "{\"error\":{\"message\":\"no such path\"}}");
    ck_assert_int_eq(rig_count("calls"), 0);
}
END_TEST

START_TEST(what_is_no_call_is_400_in_the_callers_dialect)
{
    rig_ask(rig_post(CHAT, "{\"model\":\"m\"}"));
    expect_status(400);
    ck_assert_str_eq(rig_body(), "{\"error\":{\"message\":\"This is no such call.\",\"type\":"
                                 "\"invalid_request_error\",\"param\":null,\"code\":null}}");
    rig_ask(rig_post("/v1/messages", "nonsense"));
    expect_status(400);
    ck_assert_int_eq(strncmp(rig_body(), "{\"type\":\"error\",", 16), 0);
    ck_assert_int_eq(rig_count("calls"), 0);
    ck_assert_int_eq(rig_count("bodies"), 2);
}
END_TEST

START_TEST(what_is_no_http_is_told_and_the_connection_ends)
{
    static char big[NP_SIM_HEAD_MAX + 1];
    int fd = rig_connect();
    rig_say(fd, "hello\r\n\r\nGET /calls HTTP/1.1\r\n\r\n");
    rig_settle(fd);
    expect_status(400);
    ck_assert_int_eq(replies(), 1);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
    fd = rig_connect();
    rig_say(fd, "POST " CHAT " HTTP/1.1\r\nContent-Length: 16777217\r\n\r\n");
    rig_settle(fd);
    expect_status(413);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
    fd = rig_connect();
    memset(big, 'a', NP_SIM_HEAD_MAX);
    rig_say_bytes(fd, big, NP_SIM_HEAD_MAX);
    rig_settle(fd);
    expect_status(413);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
    ck_assert_int_eq(rig_count("aborted"), 0);
}
END_TEST

START_TEST(a_source_without_an_answer_is_500)
{
    rig.answer_err = NP_E_NOMEM;
    rig_ask(rig_post(CHAT, CALL));
    expect_status(500);
    ck_assert_ptr_nonnull(strstr(got.p, "\"type\":\"api_error\""));
}
END_TEST

START_TEST(a_request_may_come_byte_by_byte_and_in_chunks)
{
    static const char text[] = "POST " CHAT " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "13\r\n{\"model\":\"m\",\"messa\r\n8\r\nges\":[]}\r\n0\r\n\r\n";
    int fd = rig_connect();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        ck_assert_msg(got.n == 0, "after %zu bytes: %s", i, got.p);
        rig_say_bytes(fd, text + i, 1);
        rig_settle(fd);
    }
    expect_status(200);
    ck_assert_str_eq(rig.model, "m");
    close(fd);
}
END_TEST

/* ----------------------------------------------------------------------------------- connections */

START_TEST(a_connection_serves_one_call_after_the_other)
{
    int fd = rig_connect();
    for (unsigned i = 1; i <= 3; i++) {
        got.n = 0;
        rig_say(fd, rig_post(CHAT, i == 2 ? STREAM : CALL));
        rig_settle(fd);
        expect_status(200);
        ck_assert_int_eq(got.end, RIG_OPEN);
        ck_assert_uint_eq(rig.call.number, i);
    }
    close(fd);
}
END_TEST

START_TEST(requests_that_come_at_once_are_answered_in_turn_each_at_its_time)
{
    int fd = rig_connect();
    rig.answer.total_ms = 10;
    rig_say(fd, rig_post(CHAT, CALL));
    rig_say(fd, rig_post("/v1/messages", CALL));
    rig_say(fd, "GET /calls HTTP/1.1\r\n\r\n");
    rig_settle(fd);
    ck_assert_int_eq(replies(), 0);
    rig_after(fd, 10 * RIG_MS);
    ck_assert_int_eq(replies(), 1);
    rig_after(fd, 9 * RIG_MS);
    ck_assert_int_eq(replies(), 1);
    rig_after(fd, 1 * RIG_MS);
    ck_assert_int_eq(replies(), 3);
    ck_assert(strstr(got.p, "chat.completion") < strstr(got.p, "\"msg_"));
    ck_assert_ptr_nonnull(strstr(got.p, "{\"calls\":2,"));
    close(fd);
}
END_TEST

START_TEST(very_many_requests_at_once_need_no_deeper_stack)
{
    static char all[20000 * 18];
    int fd = rig_connect();
    rig.answer.total_ms = 10;
    rig_say(fd, rig_post(CHAT, CALL));
    for (size_t i = 0; i < 20000; i++)
        memcpy(all + i * 18, "GET / HTTP/1.1\r\n\r\n", 18);
    rig_say_bytes(fd, all, sizeof all);
    rig_settle(fd);
    rig.now_ns += 10 * RIG_MS;
    size_t bytes = 0;
    for (int quiet = 0; quiet < 5; quiet++) {
        got.n = 0;
        rig_settle(fd);
        bytes += got.n;
        quiet = got.n ? 0 : quiet;
    }
    ck_assert_uint_gt(bytes, 20000 * 60);
    ck_assert_int_eq(got.end, RIG_OPEN);
    close(fd);
}
END_TEST

START_TEST(a_client_that_says_close_is_closed_after_its_reply)
{
    int fd = rig_connect();
    rig_say(fd, "GET /calls HTTP/1.1\r\nConnection: close\r\n\r\n");
    rig_settle(fd);
    expect_status(200);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
}
END_TEST

START_TEST(a_large_reply_waits_for_a_client_that_does_not_read)
{
    int fd = rig_connect(), small = 65536;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    rig.answer.text[0] = '\0';
    memset(rig.answer.text, 'a', sizeof rig.answer.text - 1);
    for (int i = 0; i < 100; i++)
        rig_say(fd, rig_post(CHAT, STREAM));
    for (int i = 0; i < 50; i++)
        np_loop_turn(rig.loop, 0);
    int done = 0;
    for (int quiet = 0; quiet < 50; quiet++) {
        got.n = 0;
        np_loop_turn(rig.loop, 10 * RIG_MS); /* the kernel opens the window when it likes */
        rig_settle(fd);
        quiet = got.n ? 0 : quiet;
        for (const char *p = got.p; (p = strstr(p, "[DONE]")); p++)
            done++;
    }
    ck_assert_int_ge(done, 95); /* a mark may be cut between two reads */
    close(fd);
    ck_assert_int_eq(rig_count("calls"), 100);
}
END_TEST

/* -------------------------------------------------------------------------------------- counting */

START_TEST(calls_are_counted_by_model_and_billed)
{
    rig_ask(rig_post(CHAT, CALL));
    rig_ask(rig_post("/v1/messages", CALL));
    rig_ask(rig_post(CHAT, "{\"model\":\"a \\\"b\\\"\",\"messages\":[]}"));
    rig.answer.status = 500;
    rig_ask(rig_post(CHAT, CALL));
    rig_ask("GET /calls HTTP/1.1\r\n\r\n");
    int64_t prompt = 0, completion = 0;
    ck_assert_int_eq(sscanf(strstr(got.p, "\"prompt\":"), "\"prompt\":%ld,\"completion\":%ld",
                            &prompt, &completion),
                     2);
    char wanted[256];
    snprintf(wanted, sizeof wanted,
             "{\"calls\":4,\"bodies\":4,\"open\":0,\"aborted\":0,\"billed\":{\"prompt\":%ld,"
             "\"completion\":%ld,\"aborted\":0},\"models\":{\"m\":3,\"a \\\"b\\\"\":1},\"bills\":{",
             prompt, completion);
    ck_assert_int_eq(strncmp(rig_body(), wanted, strlen(wanted)), 0);
    ck_assert_int_gt(prompt, 0);
    ck_assert_int_eq(completion % 3, 0); /* three good answers of one text */
    ck_assert_int_gt(completion, 0);
}
END_TEST

START_TEST(a_bill_is_whole_nano_dollars_rounded_up_once_a_call)
{
    char wanted[160];
    rig.answer.nusd_prompt = 1700001;
    rig.answer.nusd_completion = 8300003;
    rig.answer.nusd_call = 5;
    for (int i = 0; i < 3; i++)
        rig_ask(rig_post(CHAT, CALL));
    rig.answer.status = 503;
    rig_ask(rig_post(CHAT, CALL));
    rig_ask("GET /calls HTTP/1.1\r\n\r\n");
    int64_t prompt, completion;
    ck_assert_int_eq(sscanf(strstr(got.p, "\"prompt\":"), "\"prompt\":%ld,\"completion\":%ld",
                            &prompt, &completion),
                     2);
    int64_t thousandths = prompt / 3 * 1700001 + completion / 3 * 8300003;
    ck_assert_int_gt(thousandths % 1000, 0);
    snprintf(wanted, sizeof wanted,
             "\"bills\":{\"m\":{\"calls\":3,\"prompt\":%ld,\"completion\":%ld,\"nusd\":%ld}}",
             prompt, completion, 3 * (thousandths / 1000 + 1 + 5));
    ck_assert_ptr_nonnull(strstr(got.p, wanted));
}
END_TEST

/* before its answer, in the middle of a stream, after a stall */
START_TEST(a_client_that_leaves_before_its_answer_is_whole_is_aborted_and_billed)
{
    int fd = rig_connect();
    rig.answer.total_ms = 100;
    rig.answer.first_ms = _i ? 0 : 100;
    if (_i == 2)
        rig.answer.stall_at = 300;
    rig_say(fd, rig_post(CHAT, STREAM));
    rig_settle(fd);
    rig_after(fd, 50 * RIG_MS);
    ck_assert_int_eq(got.n > 0, _i > 0);
    ck_assert_int_eq(rig_count("open"), 1);
    ck_assert_int_eq(rig_count("aborted"), 0);
    close(fd);
    np_loop_turn(rig.loop, 0);
    ck_assert_int_eq(rig_count("open"), 0);
    ck_assert_int_eq(rig_count("aborted"), 1);
    rig_ask("GET /calls HTTP/1.1\r\n\r\n");
    int64_t prompt, completion, aborted;
    ck_assert_int_eq(sscanf(strstr(got.p, "\"prompt\":"),
                            "\"prompt\":%ld,\"completion\":%ld,\"aborted\":%ld", &prompt,
                            &completion, &aborted),
                     3);
    ck_assert_int_eq(completion > 0, _i > 0); /* of a stream what was made */
    ck_assert_int_eq(aborted, prompt + completion);
}
END_TEST

START_TEST(a_client_that_leaves_after_its_answer_is_not_aborted)
{
    int fd = rig_connect();
    rig_say(fd, rig_post(CHAT, STREAM));
    rig_settle(fd);
    close(fd);
    np_loop_turn(rig.loop, 0);
    fd = rig_connect();
    rig_say(fd, "POST " CHAT " HTTP/1.1\r\nContent-Length: 9\r\n\r\n{");
    rig_settle(fd);
    close(fd);
    np_loop_turn(rig.loop, 0);
    ck_assert_int_eq(rig_count("aborted"), 0);
    ck_assert_int_eq(rig_count("bodies"), 1);
}
END_TEST

START_TEST(control_is_handed_on_and_its_refusal_told)
{
    rig_ask(rig_post("/control", "{\"models\":{}}"));
    expect_status(200);
    ck_assert_str_eq(rig_body(), "{\"result\":\"ok\"}");
    ck_assert_str_eq(rig.control, "{\"models\":{}}");
    rig.control_err = NP_E_INVALID;
    rig_ask(rig_post("/control", "{"));
    expect_status(400);
    ck_assert_str_eq(rig_body(), "{\"error\":\"line 1: \\\"no\\\"\"}");
}
END_TEST

START_TEST(connections_that_are_open_end_with_the_imitation)
{
    int fd = rig_connect();
    rig.answer.total_ms = 100;
    rig_say(fd, rig_post(CHAT, CALL));
    rig_settle(fd);
    np_imitation_free(rig.imitation);
    rig.imitation = NULL;
    rig_settle(fd);
    ck_assert_int_ne(got.end, RIG_OPEN);
    close(fd);
}
END_TEST

/* ---------------------------------------------------------------------------------------- memory */

START_TEST(without_memory_there_is_no_imitation)
{
    struct np_imitation_source source = {0};
    struct np_loop *loop = np_loop_new(&rig.clock);
    struct np_imitation *m = NULL;
    size_t n = 0;
    for (; !m; n++) {
        np_fail_nth(n);
        m = np_imitation_new(loop, rig.listen_fd, &source);
        np_fail_never();
    }
    ck_assert_uint_gt(n, 1);
    np_imitation_free(m);
    np_imitation_free(NULL);
    np_loop_free(loop);
}
END_TEST

START_TEST(a_call_for_which_memory_is_short_is_answered_whole_or_its_connection_closed)
{
    static char good[8192], request[1024];
    static const char *const bodies[] = {CALL, STREAM, "nonsense", "/calls", "/control"};
    size_t refused = 0;
    const char *what = bodies[_i];
    snprintf(request, sizeof request, "%s",
             _i == 3   ? "GET /calls HTTP/1.1\r\n\r\n"
             : _i == 4 ? rig_post("/control", "{}")
                       : rig_post("/v1/messages", what));
    rig.answer.total_ms = 1;
    rig_ask(rig_post(CHAT, CALL)); /* without a heap of timers there is no going on */
    rig.control_err = NP_E_INVALID;
    for (size_t n = 0;; n++) {
        int fd = rig_connect();
        np_fail_nth(n);
        rig_say(fd, request);
        rig_after(fd, 0);
        rig_after(fd, RIG_MS);
        np_fail_never();
        bool happened = np_fail_happened();
        if (got.n > 0)
            expect_status(_i == 2 || _i == 4 ? 400 : 200);
        ck_assert_msg(got.n > 0 || got.end != RIG_OPEN, "allocation %zu", n);
        refused += got.n == 0;
        snprintf(good, sizeof good, "%.8000s", got.p);
        close(fd);
        rig_settle(fd = rig_connect());
        close(fd);
        if (!happened)
            break;
    }
    ck_assert_uint_gt(refused, 2);
    ck_assert_uint_gt(strlen(good), 60);
    ck_assert_int_eq(rig_count("open"), 0);
}
END_TEST

static void add_connections(TCase *t)
{
    tcase_add_test(t, a_connection_serves_one_call_after_the_other);
    tcase_add_test(t, requests_that_come_at_once_are_answered_in_turn_each_at_its_time);
    tcase_add_test(t, very_many_requests_at_once_need_no_deeper_stack);
    tcase_add_test(t, a_client_that_says_close_is_closed_after_its_reply);
    tcase_add_test(t, a_large_reply_waits_for_a_client_that_does_not_read);
}

int main(void)
{
    Suite *suite = suite_create("sim.server");
    TCase *t = tcase_create("server");
    tcase_add_checked_fixture(t, rig_set_up, rig_tear_down);
    tcase_add_loop_test(t, calls_are_known_by_the_end_of_their_path, 0, 4);
    tcase_add_loop_test(t, every_other_path_is_404_and_no_call, 0, 6);
    tcase_add_test(t, what_is_no_call_is_400_in_the_callers_dialect);
    tcase_add_test(t, what_is_no_http_is_told_and_the_connection_ends);
    tcase_add_test(t, a_source_without_an_answer_is_500);
    tcase_add_test(t, a_request_may_come_byte_by_byte_and_in_chunks);
    add_connections(t);
    tcase_add_test(t, calls_are_counted_by_model_and_billed);
    tcase_add_test(t, a_bill_is_whole_nano_dollars_rounded_up_once_a_call);
    tcase_add_loop_test(t, a_client_that_leaves_before_its_answer_is_whole_is_aborted_and_billed, 0,
                        3);
    tcase_add_test(t, a_client_that_leaves_after_its_answer_is_not_aborted);
    tcase_add_test(t, control_is_handed_on_and_its_refusal_told);
    tcase_add_test(t, connections_that_are_open_end_with_the_imitation);
    tcase_add_test(t, without_memory_there_is_no_imitation);
    tcase_add_loop_test(
        t, a_call_for_which_memory_is_short_is_answered_whole_or_its_connection_closed, 0, 5);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
