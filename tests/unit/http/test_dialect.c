/* Content types, the error object, listening sockets. */
#include "http/rig.h"

struct type_case {
    const char *type;
    bool json;
};

static const struct type_case types[] = {
    {"application/json", true},
    {"Application/JSON", true},
    {"application/json; charset=utf-8", true},
    {"application/json;charset=\"UTF-8\"", true},
    {"application/json ; x=y ; charset=utf-8", true},
    {"application/json;", true},
    {"application/problem+json", true},
    {"application/vnd.a.b+json; v=1", true},
    {"application/json; charset=latin1", false},
    {"application/json; charset=utf-16", false},
    {"text/plain", false},
    {"text/plain; application/json", false},
    {"application/jsonp", false},
    {"application/x-www-form-urlencoded", false},
    {"json", false},
    {"+json", false},
    {"application/+json", false},
    {"", false},
};

START_TEST(json_is_told_by_its_content_type)
{
    ck_assert_msg(np_http_is_json(np_span_of(types[_i].type)) == types[_i].json, "%s",
                  types[_i].type);
}
END_TEST

START_TEST(no_content_type_is_no_json)
{
    ck_assert(!np_http_is_json(NP_SPAN_NONE));
}
END_TEST

static const char *const bodies[] = {
    "{\"error\":{\"type\":\"rate_limited\",\"message\":\"slow \\\"down\\\"\\n\",\"param\":null,"
    "\"requestId\":\"req_1\"}}",
    "{\"error\":{\"type\":\"method_not_allowed\",\"message\":\"POST only\",\"param\":null,"
    "\"requestId\":null}}",
    "{\"error\":{\"type\":\"teapot\",\"message\":\"short\",\"param\":\"maxTokens\","
    "\"requestId\":\"req_1\"}}",
};

START_TEST(a_refusal_becomes_the_error_object)
{
    const struct np_refusal refusals[] = {
        {.type = NP_REFUSAL_rate_limited,
         .message = NP_SPAN("slow \"down\"\n"),
         .retry_after_s = 7},
        {.type = NP_REFUSAL_method_not_allowed,
         .message = NP_SPAN("POST only"),
         .retry_after_s = -1},
        {.type = NP_REFUSAL_invalid_request,
         .status = 418,
         .type_text = NP_SPAN("teapot"),
         .message = NP_SPAN("short"),
         .param = NP_SPAN("maxTokens"),
         .retry_after_s = -1},
    };
    static const char *const ids[] = {"req_1", NULL, "req_1"};
    static const char *const allows[] = {NULL, "POST", NULL};
    static const int statuses[] = {429, 405, 418};
    struct client *c = client_new();
    client_say(c, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    rig_until(&rig.n_waiting, 1);
    np_http_refuse(rig.waiting[0], &refusals[_i], ids[_i], allows[_i]);
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, statuses[_i]);
    ck_assert_str_eq(r.body, bodies[_i]);
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "application/json");
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), ids[_i] ? ids[_i] : "");
    ck_assert_str_eq(reply_header(&r, "Allow"), allows[_i] ? allows[_i] : "");
    ck_assert_str_eq(reply_header(&r, "Retry-After"), _i == 0 ? "7" : "");
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(a_field_with_a_line_break_is_left_out)
{
    static const struct np_http_field fields[] = {{"X-Bad", "a\r\nX-Evil: b"}, {"X-Good", "c"}};
    struct client *c = client_new();
    client_say(c, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    rig_until(&rig.n_waiting, 1);
    np_http_reply(rig.waiting[0],
                  &(struct np_http_reply){.status = 200, .fields = fields, .n_fields = 2});
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(reply_header(&r, "X-Evil"), "");
    ck_assert_str_eq(reply_header(&r, "X-Bad"), "");
    ck_assert_str_eq(reply_header(&r, "X-Good"), "c");
    client_free(c);
}
END_TEST

START_TEST(each_refusal_has_a_name)
{
    ck_assert_str_eq(np_http_refusal_name(NP_HTTP_REFUSAL_framing), "framing");
    ck_assert_str_eq(np_http_refusal_name(NP_HTTP_REFUSAL_memory), "memory");
}
END_TEST

/* --------------------------------------------------------------------------------------- listening */

START_TEST(addresses_are_read)
{
    static const char *const good[] = {"127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::1]:0"};
    const char *why = NULL;
    int fd = np_http_listen(good[_i], false, &why);
    if (fd < 0 && _i == 3) {
        return; /* a machine without IPv6 */
    }
    ck_assert_msg(fd >= 0, "%s", why);
    ck_assert_uint_gt(np_http_port(fd), 0);
    ck_assert_int_eq(np_http_is_loopback(good[_i]), _i != 2);
    close(fd);
}
END_TEST

START_TEST(what_is_no_address_is_said_to_be_none)
{
    static const char *const bad[] = {
        "",     "127.0.0.1", ":80",        "127.0.0.1:", "1.2.3.4:x", "1.2.3.4:65536",
        "[::1", "[::1]80",   "example:80", "::1:80",     "[]:1",      "127.0.0.1:80:80"};
    const char *why = NULL;
    ck_assert_int_eq(np_http_listen(bad[_i], false, &why), -1);
    ck_assert_msg(strstr(why, "is not ADDRESS:PORT") != NULL, "%s", why);
    ck_assert(!np_http_is_loopback(bad[_i]));
}
END_TEST

START_TEST(a_port_in_use_is_said_in_a_sentence)
{
    char address[40], expected[100];
    const char *why = NULL;
    snprintf(address, sizeof address, "127.0.0.1:%u", rig.port);
    snprintf(expected, sizeof expected, "%s is in use by another program", address);
    ck_assert_int_eq(np_http_listen(address, false, &why), -1);
    ck_assert_str_eq(why, expected);
    ck_assert_int_eq(np_http_listen("203.0.113.1:0", false, &why), -1);
    ck_assert_str_eq(why, "203.0.113.1:0 is not an address of this machine");
}
END_TEST

START_TEST(siblings_share_a_port)
{
    char address[40];
    const char *why = NULL;
    snprintf(address, sizeof address, "127.0.0.1:%u", rig.port);
    int fd = np_http_listen(address, true, &why);
    ck_assert_msg(fd >= 0, "%s", why);
    ck_assert_uint_eq(np_http_port(fd), rig.port);
    ck_assert_int_eq(np_http_listen(address, false, &why), -1);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dialect");
    TCase *t = tcase_create("dialect");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_loop_test(t, json_is_told_by_its_content_type, 0, sizeof types / sizeof types[0]);
    tcase_add_test(t, no_content_type_is_no_json);
    tcase_add_loop_test(t, a_refusal_becomes_the_error_object, 0, 3);
    tcase_add_test(t, a_field_with_a_line_break_is_left_out);
    tcase_add_test(t, each_refusal_has_a_name);
    tcase_add_loop_test(t, addresses_are_read, 0, 4);
    tcase_add_loop_test(t, what_is_no_address_is_said_to_be_none, 0, 12);
    tcase_add_test(t, a_port_in_use_is_said_in_a_sentence);
    tcase_add_test(t, siblings_share_a_port);
    suite_add_tcase(s, t);
    return rig_run(s);
}
