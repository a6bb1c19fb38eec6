/* What goes out and what comes back when nothing fails. */
#include "provider/upstream.h"

#include "client.h"

static void serve_hello(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(
            c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: r1 \r\nSet-Cookie: a=b\r\n"
               "x-empty:\r\nRetry-After:\t7\r\n\r\nhello");
    }
}

static void assert_span(struct np_span s, const char *text)
{
    ck_assert_msg(s.p && np_span_is(s, text), "\"%.*s\"", (int)s.n, s.p ? s.p : "");
}

static void look_at_headers(struct got *g)
{
    assert_span(np_call_header(g->call, "X-REQUEST-ID"), "r1");
    assert_span(np_call_header(g->call, "retry-after"), "7");
    assert_span(np_call_header(g->call, "X-Empty"), "");
    ck_assert_ptr_null(np_call_header(g->call, "X-Request").p);
    ck_assert_ptr_null(np_call_header(g->call, "").p);
}

START_TEST(a_whole_reply_comes_as_head_data_and_done)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {
        .on_head = look_at_headers, .on_data = look_at_headers, .on_done = look_at_headers};
    uint64_t before = np_loop_refresh_ns(c.loop);
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.heads, 1);
    ck_assert_uint_eq(g.status, 200);
    ck_assert_uint_eq(g.end.status, 200);
    ck_assert(g.end.request_sent);
    ck_assert_uint_gt(g.end.connect_ns, 0);
    ck_assert_uint_ge(g.end.first_byte_ns, before);
    ck_assert_uint_le(g.end.first_byte_ns, np_loop_now_ns(c.loop));
    ck_assert_str_eq(g.end.detail, "");
    assert_body(&g, "hello");
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(the_request_is_what_was_asked_for_and_nothing_else)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    const struct np_call_field fields[] = {
        {NP_SPAN("Authorization"), NP_SPAN("Bearer k")},
        {NP_SPAN("X-Nothing"), NP_SPAN("")},
        {NP_SPAN("X-Tab"), NP_SPAN("a\tb ~ 0123456789\t~")},
    };
    c.spec.fields = fields;
    c.spec.n_fields = 3;
    struct got g;
    client_call(&c, &g);
    char want[512];
    snprintf(
        want, sizeof want,
        "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: */*\r\n"
        "Authorization: Bearer k\r\nX-Nothing:\r\nX-Tab: a\tb ~ 0123456789\t~\r\nContent-Length: 7\r\n\r\n"
        "{\"q\":1}",
        np_raw_port(s));
    char *sent = np_raw_last(s);
    ck_assert_str_eq(sent, want);
    free(sent);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_content_type_and_a_body_of_no_bytes_are_sent_as_given)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    const struct np_call_field fields[] = {{NP_SPAN("content-type"), NP_SPAN("application/json")}};
    c.spec.fields = fields;
    c.spec.n_fields = 1;
    c.spec.body = NP_SPAN_NONE;
    struct got g;
    client_call(&c, &g);
    char *sent = np_raw_last(s);
    ck_assert_ptr_nonnull(strstr(sent, "\r\ncontent-type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(sent, "\r\nContent-Length: 0\r\n"));
    ck_assert_ptr_null(strstr(sent, "urlencoded"));
    free(sent);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* A whole reply when the head of the request is in, and then nothing; the rest of it is never read. */
static void serve_at_the_head(struct np_raw_conn *c)
{
    char byte;
    ck_assert_int_eq(recv(c->fd, &byte, 1, 0), 1);
    np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    usleep(50000);
    np_raw_say(c, "llo");
    usleep(1200000);
}

START_TEST(a_reply_that_is_whole_before_its_request_has_left_ends_the_call)
{
    enum { BYTES = 32 << 20 }; /* more than sockets hold */
    struct np_raw_server *s = np_raw_start(serve_at_the_head, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    char *body = calloc(1, BYTES);
    ck_assert_ptr_nonnull(body);
    c.spec.body = np_span_make(body, BYTES);
    c.spec.idle_timeout_ms = 1000;
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    assert_body(&g, "hello");
    ck_assert_str_eq(g.end.detail, "");
    got_free(&g);
    /* Its connection is not used again. */
    c.spec.body = NP_SPAN("{}");
    client_call(&c, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(np_raw_connections(s), 2);
    got_free(&g);
    free(body);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* Echoes the length of the body, and whether all its bytes are right. */
static void serve_length(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        size_t n = c->request_n - c->body_at;
        bool good = !strcasestr(c->request, "\r\nExpect");
        for (size_t i = 0; i < n && good; i++) {
            good = c->request[c->body_at + i] == (char)('a' + i % 26);
        }
        char body[64], reply[160];
        int length = snprintf(body, sizeof body, "%zu %s", n, good ? "good" : "bad");
        snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length,
                 body);
        np_raw_say(c, reply);
    }
}

START_TEST(a_body_of_megabytes_arrives_whole_and_without_expect)
{
    enum { BODY = 3 << 20 };
    char *body = malloc(BODY);
    for (size_t i = 0; i < BODY; i++) {
        body[i] = (char)('a' + i % 26);
    }
    struct np_raw_server *s = np_raw_start(serve_length, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.body = np_span_make(body, BODY);
    struct got g;
    client_call(&c, &g);
    assert_body(&g, "3145728 good");
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
    free(body);
}
END_TEST

#define LARGE ((size_t)4 << 20)

static void serve_large(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        char head[96];
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", LARGE);
        np_raw_say(c, head);
        char line[4096];
        for (size_t at = 0; at < LARGE; at += sizeof line) {
            for (size_t i = 0; i < sizeof line; i++) {
                line[i] = (char)('a' + (at + i) % 26);
            }
            if (!np_raw_send(c, line, sizeof line)) {
                return;
            }
        }
    }
}

START_TEST(a_reply_of_megabytes_comes_whole_and_in_order)
{
    struct got g;
    one_call(serve_large, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.body.n, LARGE);
    size_t wrong = 0;
    for (size_t i = 0; i < g.body.n; i++) {
        wrong += g.body.p[i] != (char)('a' + i % 26);
    }
    ck_assert_uint_eq(wrong, 0);
    got_free(&g);
}
END_TEST

static void serve_byte_by_byte(struct np_raw_conn *c)
{
    static const char reply[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
        "5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n";
    while (np_raw_read(c)) {
        for (size_t i = 0; i + 1 < sizeof reply; i++) {
            np_raw_send(c, reply + i, 1);
        }
    }
}

START_TEST(a_chunked_reply_in_single_bytes_is_the_same_as_a_whole_one)
{
    struct np_raw_server *s = np_raw_start(serve_byte_by_byte, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (int i = 0; i < 3; i++) {
        struct got g;
        client_call(&c, &g);
        assert_how(&g, NP_CALL_COMPLETE);
        assert_body(&g, "hello world");
        got_free(&g);
    }
    ck_assert_uint_eq(np_raw_connections(s), 1);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_without_length(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
    }
}

START_TEST(a_reply_without_a_length_ends_with_its_connection)
{
    struct got g;
    one_call(serve_without_length, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    assert_body(&g, "until the end");
    got_free(&g);
}
END_TEST

static void serve_interim(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Old: o\r\n\r\n"
                      "HTTP/1.1 503 Busy\r\nContent-Length: 1\r\nX-New: n\r\n\r\n!");
    }
}

static void look_at_last_head(struct got *g)
{
    assert_span(np_call_header(g->call, "X-New"), "n");
    ck_assert_ptr_null(np_call_header(g->call, "X-Old").p);
}

START_TEST(interim_replies_are_not_told_and_only_the_last_head_counts)
{
    struct np_raw_server *s = np_raw_start(serve_interim, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_head = look_at_last_head};
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.status, 503);
    assert_body(&g, "!");
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_empty(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 204 No Content\r\n\r\n");
    }
}

START_TEST(a_reply_without_a_body_has_a_head_and_no_data)
{
    struct got g;
    one_call(serve_empty, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.status, 204);
    ck_assert_uint_eq(g.heads, 1);
    ck_assert_uint_eq(g.datas, 0);
    got_free(&g);
}
END_TEST

static void serve_redirect(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        char reply[160];
        snprintf(reply, sizeof reply,
                 "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:%u/\r\nContent-Length: 0\r\n\r\n",
                 np_raw_port(c->ctx));
        np_raw_say(c, reply);
    }
}

START_TEST(a_redirect_is_a_reply_and_is_not_followed)
{
    struct np_raw_server *canary = np_raw_start(serve_hello, NULL);
    struct np_raw_server *s = np_raw_start(serve_redirect, canary);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.status, 307);
    ck_assert_uint_eq(np_raw_requests(s), 1);
    ck_assert_uint_eq(np_raw_connections(canary), 0);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
    np_raw_stop(canary);
}
END_TEST

START_TEST(a_proxy_in_the_environment_is_ignored)
{
    struct np_raw_server *canary = np_raw_start(serve_hello, NULL);
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", np_raw_port(canary));
    setenv("http_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    setenv("ALL_PROXY", proxy, 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    struct got g;
    one_call(serve_hello, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(np_raw_connections(canary), 0);
    got_free(&g);
    np_raw_stop(canary);
}
END_TEST

START_TEST(cookies_of_a_reply_are_not_sent_back)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (int i = 0; i < 2; i++) {
        struct got g;
        client_call(&c, &g);
        got_free(&g);
    }
    char *sent = np_raw_last(s);
    ck_assert_ptr_null(strcasestr(sent, "cookie"));
    free(sent);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_second_call_takes_the_connection_of_the_first)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (int i = 0; i < 5; i++) {
        struct got g;
        client_call(&c, &g);
        assert_how(&g, NP_CALL_COMPLETE);
        ck_assert_int_eq(g.end.connect_ns == 0, i > 0);
        got_free(&g);
    }
    ck_assert_uint_eq(np_raw_connections(s), 1);
    ck_assert_uint_eq(np_raw_requests(s), 5);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_folded(struct np_raw_conn *c)
{
    for (int i = 0; np_raw_read(c); i++) {
        np_raw_say(c, i % 2 ? "HTTP/1.1 200 OK\r\n\tontent-Type: x\r\nContent-Length: 0\r\n\r\n"
                            : "HTTP/1.1 200 OK\r\nX-Last: 1\r\nContent-Length: 0\r\n\r\n");
    }
}

START_TEST(a_reply_that_begins_with_a_folded_line_touches_nothing_of_the_one_before)
{
    struct np_raw_server *s = np_raw_start(serve_folded, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (int i = 0; i < 6; i++) {
        struct got g;
        client_call(&c, &g);
        ck_assert_uint_eq(g.dones, 1);
        got_free(&g);
    }
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_handle_that_is_used_again_calls_the_new_url)
{
    struct np_raw_server *a = np_raw_start(serve_hello, NULL);
    struct np_raw_server *b = np_raw_start(serve_empty, NULL);
    struct client c;
    client_open(&c);
    for (int i = 0; i < 6; i++) {
        client_aim(&c, i % 2 ? b : a);
        c.spec.path = i % 2 ? NP_SPAN("/of-b") : NP_SPAN("/of-a");
        struct got g;
        client_call(&c, &g);
        ck_assert_uint_eq(g.status, i % 2 ? 204 : 200);
        char *sent = np_raw_last(i % 2 ? b : a);
        ck_assert_int_eq(strncmp(sent, i % 2 ? "POST /v1/of-b " : "POST /v1/of-a ", 14), 0);
        free(sent);
        got_free(&g);
    }
    ck_assert_uint_eq(np_raw_requests(a), 3);
    ck_assert_uint_eq(np_raw_requests(b), 3);
    client_close(&c);
    np_raw_stop(a);
    np_raw_stop(b);
}
END_TEST

/* NP_SPAN is no constant. */
#define TEXT(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }

static const struct np_call_field bad_fields[] = {
    {TEXT("X-A"), TEXT("a\r\nX-Evil: b")},
    {TEXT("X-A"), TEXT("a\nb")},
    {TEXT("X-A"), TEXT("a\rb")},
    {TEXT("X-A"), TEXT("a\0b")},
    {TEXT("X-A"), TEXT("a\x7f")},
    {TEXT("X-A"), TEXT("0123456789\x7f"
                       "123456789")},
    {TEXT("X-A"), TEXT("\ttab, then\x1f")},
    {TEXT("X-A"), TEXT("01234567\xff\xff\xff\xff\xff\xff\xff\xff")},
    {TEXT("X-A"), TEXT("\xc4\x8a")}, /* U+010A: its low byte is LF */
    {TEXT("X-A\r\nX-B"), TEXT("a")},
    {TEXT("X A"), TEXT("a")},
    {TEXT("X-A:"), TEXT("a")},
    {TEXT("X-\xc3\xa4"), TEXT("a")},
    {TEXT(""), TEXT("a")},
    {TEXT("Host"), TEXT("evil.test")},
    {TEXT("content-length"), TEXT("1")},
    {TEXT("Transfer-Encoding"), TEXT("chunked")},
    {TEXT("Accept-Encoding"), TEXT("gzip")},
    {TEXT("Expect"), TEXT("100-continue")},
    {TEXT("Connection"), TEXT("close")},
    {TEXT("Keep-Alive"), TEXT("1")},
    {TEXT("TE"), TEXT("trailers")},
    {TEXT("Trailer"), TEXT("X-A")},
    {TEXT("Upgrade"), TEXT("h2c")},
    {TEXT("Proxy-Connection"), TEXT("close")},
    {TEXT("Proxy-Authorization"), TEXT("Basic eA==")},
};

START_TEST(a_header_that_would_break_the_request_is_refused)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.fields = &bad_fields[_i];
    c.spec.n_fields = 1;
    struct got g = {0};
    ck_assert_int_eq(client_try(&c, &g), NP_E_INVALID);
    client_turn_for(&c, 5);
    ck_assert_uint_eq(g.heads + g.datas + g.dones, 0);
    ck_assert_uint_eq(np_raw_connections(s), 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(headers_beyond_the_bound_are_refused)
{
    static char value[70000];
    memset(value, 'v', sizeof value);
    struct np_call_field fields[200];
    for (size_t i = 0; i < 200; i++) {
        fields[i] = (struct np_call_field){NP_SPAN("X"), NP_SPAN("y")};
    }
    struct client c;
    client_open(&c);
    c.spec.base_url = NP_SPAN("http://127.0.0.1:1");
    c.spec.fields = fields;
    c.spec.n_fields = 200;
    struct got g = {0};
    ck_assert_int_eq(client_try(&c, &g), NP_E_FULL);
    fields[0].value = np_span_make(value, sizeof value);
    c.spec.n_fields = 1;
    ck_assert_int_eq(client_try(&c, &g), NP_E_FULL);
    client_close(&c);
}
END_TEST

START_TEST(a_url_that_may_not_be_called_starts_nothing)
{
    struct client c;
    client_open(&c);
    struct got g = {0};
    c.spec.base_url = NP_SPAN("http://169.254.169.254");
    ck_assert_int_eq(client_try(&c, &g), NP_E_INVALID);
    c.spec.base_url = NP_SPAN("http://127.0.0.1:1");
    c.spec.path = NP_SPAN("/a/../b");
    ck_assert_int_eq(client_try(&c, &g), NP_E_INVALID);
    client_close(&c);
}
END_TEST

START_TEST(the_library_says_its_version)
{
    ck_assert_ptr_nonnull(strstr(np_upstream_version(), "libcurl/"));
}
END_TEST

static void add_more(TCase *t)
{
    tcase_add_test(t, a_redirect_is_a_reply_and_is_not_followed);
    tcase_add_test(t, a_proxy_in_the_environment_is_ignored);
    tcase_add_test(t, cookies_of_a_reply_are_not_sent_back);
    tcase_add_test(t, a_second_call_takes_the_connection_of_the_first);
    tcase_add_test(t, a_handle_that_is_used_again_calls_the_new_url);
    tcase_add_loop_test(t, a_header_that_would_break_the_request_is_refused, 0,
                        (int)(sizeof bad_fields / sizeof bad_fields[0]));
    tcase_add_test(t, headers_beyond_the_bound_are_refused);
    tcase_add_test(t, a_url_that_may_not_be_called_starts_nothing);
    tcase_add_test(t, the_library_says_its_version);
}

int main(void)
{
    Suite *s = suite_create("provider/reply");
    TCase *t = tcase_create("reply");
    tcase_add_test(t, a_whole_reply_comes_as_head_data_and_done);
    tcase_add_test(t, the_request_is_what_was_asked_for_and_nothing_else);
    tcase_add_test(t, a_content_type_and_a_body_of_no_bytes_are_sent_as_given);
    tcase_add_test(t, a_reply_that_is_whole_before_its_request_has_left_ends_the_call);
    tcase_add_test(t, a_body_of_megabytes_arrives_whole_and_without_expect);
    tcase_add_test(t, a_reply_of_megabytes_comes_whole_and_in_order);
    tcase_add_test(t, a_chunked_reply_in_single_bytes_is_the_same_as_a_whole_one);
    tcase_add_test(t, a_reply_without_a_length_ends_with_its_connection);
    tcase_add_test(t, interim_replies_are_not_told_and_only_the_last_head_counts);
    tcase_add_test(t, a_reply_without_a_body_has_a_head_and_no_data);
    tcase_add_test(t, a_reply_that_begins_with_a_folded_line_touches_nothing_of_the_one_before);
    add_more(t);
    suite_add_tcase(s, t);
    return run_suite(s);
}
