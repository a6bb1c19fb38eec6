/* Each way in which a provider or the network can fail, and how the call says so. */
#include "provider/upstream.h"

#include "client.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

/* Stands before the C library's, for libcurl's resolver too. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    resolve *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "nowhere.test") == 0) {
        return EAI_NONAME;
    }
    if (node && strcmp(node, "slow.test") == 0) {
        usleep(1500 * 1000);
        return EAI_AGAIN;
    }
    if (node && strcmp(node, "two.test") == 0) { /* nobody listens on the first of them */
        struct addrinfo **rest = out;
        for (int i = 2; i > 0; i--) {
            int rc = real(i == 2 ? "127.0.0.2" : "127.0.0.1", service, hints, rest);
            if (rc != 0) {
                return rc;
            }
            while (*rest) {
                rest = &(*rest)->ai_next;
            }
        }
        return 0;
    }
    if (node && strcmp(node, "metadata.test") == 0) {
        node = "169.254.169.254";
    }
    return real(node, service, hints, out);
}

static uint64_t ms_since(const struct client *c, uint64_t start_ns)
{
    return (np_loop_refresh_ns(c->loop) - start_ns) / NP_NS_PER_MS;
}

/* ------------------------------------------------------------------------------ before the request */

static void call_url(const char *url, struct got *g)
{
    struct client c;
    client_open(&c);
    c.spec.base_url = np_span_of(url);
    client_call(&c, g);
    client_close(&c);
    ck_assert(!g->end.request_sent);
    ck_assert_uint_eq(g->end.status, 0);
    ck_assert_uint_eq(g->end.first_byte_ns, 0);
    ck_assert_uint_eq(g->heads + g->datas, 0);
    ck_assert_str_ne(g->end.detail, "");
}

START_TEST(a_name_that_does_not_exist_is_no_name)
{
    struct got g;
    call_url("http://nowhere.test/v1", &g);
    assert_how(&g, NP_CALL_NO_NAME);
}
END_TEST

START_TEST(a_port_that_refuses_is_no_connection)
{
    struct np_raw_server *s = np_raw_start(NULL, NULL);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", np_raw_port(s));
    np_raw_stop(s);
    struct got g;
    call_url(url, &g);
    assert_how(&g, NP_CALL_NO_CONNECTION);
}
END_TEST

START_TEST(a_name_that_resolves_to_a_metadata_service_is_not_called)
{
    struct got g;
    call_url("http://metadata.test/latest", &g);
    assert_how(&g, NP_CALL_NO_CONNECTION);
    ck_assert_str_eq(g.end.detail, "the address is link-local or a metadata service");
}
END_TEST

static void serve_ten(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    }
}

START_TEST(the_second_address_of_a_name_is_tried_when_the_first_refuses)
{
    struct np_raw_server *s = np_raw_start(serve_ten, NULL);
    struct client c;
    client_open(&c);
    snprintf(c.base, sizeof c.base, "http://two.test:%u", np_raw_port(s));
    c.spec.base_url = np_span_of(c.base);
    for (int i = 0; i < 3; i++) {
        struct got g;
        client_call(&c, &g);
        assert_how(&g, NP_CALL_COMPLETE);
        ck_assert_int_eq(g.end.connect_ns == 0, i > 0);
        got_free(&g);
    }
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_resolver_that_hangs_ends_in_a_connect_timeout_without_holding_the_loop)
{
    struct client c;
    client_open(&c);
    c.spec.base_url = NP_SPAN("http://slow.test");
    c.spec.connect_timeout_ms = 60;
    uint64_t start = np_loop_refresh_ns(c.loop);
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_CONNECT_TIMEOUT);
    ck_assert(!g.end.request_sent);
    client_close(&c);
    uint64_t took = (np_clock_mono_ns(&np_clock_live) - start) / NP_NS_PER_MS;
    ck_assert_uint_ge(took, 60);
    ck_assert_msg(took < 1300, "it took %u ms", (unsigned)took);
    usleep(1600 * 1000); /* the resolver's thread ends before the process does */
}
END_TEST

START_TEST(a_host_that_does_not_answer_ends_in_a_connect_timeout)
{
    struct deaf_port deaf;
    deaf_open(&deaf);
    struct client c;
    client_open(&c);
    snprintf(c.base, sizeof c.base, "http://127.0.0.1:%u", deaf.port);
    c.spec.base_url = np_span_of(c.base);
    c.spec.connect_timeout_ms = 60;
    uint64_t start = np_loop_refresh_ns(c.loop);
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_CONNECT_TIMEOUT);
    ck_assert(!g.end.request_sent);
    ck_assert_uint_ge(ms_since(&c, start), 60);
    ck_assert_uint_lt(ms_since(&c, start), 1000);
    client_close(&c);
    deaf_close(&deaf);
}
END_TEST

static void serve_nothing(struct np_raw_conn *c)
{
    np_raw_wait_closed(c);
}

START_TEST(a_handshake_that_stalls_ends_in_a_connect_timeout)
{
    struct np_raw_server *s = np_raw_start(serve_nothing, NULL);
    struct client c;
    client_open(&c);
    snprintf(c.base, sizeof c.base, "https://127.0.0.1:%u", np_raw_port(s));
    c.spec.base_url = np_span_of(c.base);
    c.spec.connect_timeout_ms = 60;
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_CONNECT_TIMEOUT);
    ck_assert(!g.end.request_sent);
    client_until_server(&c, s, np_raw_closed, 1);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_plain(struct np_raw_conn *c)
{
    np_raw_say(c, "HTTP/1.1 400 no TLS here\r\n\r\n");
}

START_TEST(a_server_without_tls_is_no_tls)
{
    struct np_raw_server *s = np_raw_start(serve_plain, NULL);
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u", np_raw_port(s));
    struct got g;
    call_url(url, &g);
    assert_how(&g, NP_CALL_NO_TLS);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_deadline_that_has_passed_starts_nothing)
{
    struct np_raw_server *s = np_raw_start(serve_nothing, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.deadline_ns = np_loop_now_ns(c.loop);
    struct got g = {0};
    ck_assert_int_eq(client_try(&c, &g), NP_E_TIMEOUT);
    client_turn_for(&c, 5);
    ck_assert_uint_eq(np_raw_connections(s), 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* ------------------------------------------------------------------------------- bytes of the reply */

/* What a server says to a request before it ends the connection. */
static const struct {
    const char *name;
    const char *reply;
    bool reset;
    unsigned heads;
    enum np_call_how how;
} cuts[] = {
    {"nothing", "", false, 0, NP_CALL_RESET},
    {"nothing, then RST", "", true, 0, NP_CALL_RESET},
    {"half a status line", "HTTP/1.", false, 0, NP_CALL_RESET},
    {"half a head", "HTTP/1.1 200 OK\r\nContent-", true, 0, NP_CALL_RESET},
    {"half a head, then FIN", "HTTP/1.1 200 OK\r\nContent-", false, 0, NP_CALL_RESET},
    {"a status line", "HTTP/1.1 200 OK\r\n", false, 0, NP_CALL_RESET},
    {"100 and no more", "HTTP/1.1 100 Continue\r\n\r\n", false, 0, NP_CALL_RESET},
    {"a head", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, 1, NP_CALL_RESET},
    {"a part", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345", false, 1, NP_CALL_RESET},
    {"a part, then RST", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345", true, 1,
     NP_CALL_RESET},
    {"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n12345", false, 1,
     NP_CALL_RESET},
    {"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", false,
     1, NP_CALL_RESET},
    {"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", false, 0, NP_CALL_BAD_FRAMING},
    {"HTTP/0.9", "<html>hello</html>", false, 0, NP_CALL_BAD_FRAMING},
    {"a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, 0,
     NP_CALL_BAD_FRAMING},
    {"a chunk size that is no number",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n12345\r\n", false, 1,
     NP_CALL_BAD_FRAMING},
    {"a NUL in a header", NULL, false, 0, NP_CALL_BAD_FRAMING},
    {"gzip", "HTTP/1.1 200 OK\r\ncontent-ENCODING:  gzip\r\nContent-Length: 1\r\n\r\n!", false, 0,
     NP_CALL_BAD_FRAMING},
    {"br", "HTTP/1.1 500 No\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n!", false, 0,
     NP_CALL_BAD_FRAMING},
    {"gzip on the way",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n", false, 0,
     NP_CALL_BAD_FRAMING},
    {"identity", "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\n!",
     false, 1, NP_CALL_COMPLETE},
    {"another protocol", "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\nhello", false, 0,
     NP_CALL_BAD_FRAMING},
};

static void serve_cut(struct np_raw_conn *c)
{
    static const char nul[] = "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n";
    int row = *(const int *)c->ctx;
    if (np_raw_read(c)) {
        if (cuts[row].reply) {
            np_raw_say(c, cuts[row].reply);
        } else {
            np_raw_send(c, nul, sizeof nul - 1);
        }
        if (cuts[row].reset) {
            usleep(10 * 1000); /* RST would overtake what was said */
            np_raw_reset(c);
        }
    }
}

START_TEST(a_reply_that_is_cut_or_malformed_ends_the_call_and_says_which)
{
    int row = _i;
    struct np_raw_server *s = np_raw_start(serve_cut, &row);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g;
    client_call(&c, &g);
    ck_assert_msg(g.end.how == cuts[row].how, "%s: %s (%s)", cuts[row].name,
                  np_call_how_name(g.end.how), g.end.detail);
    ck_assert_msg(g.heads == cuts[row].heads, "%s: %u heads", cuts[row].name, g.heads);
    ck_assert(g.end.request_sent);
    client_turn_for(&c, 5);
    ck_assert_msg(np_raw_requests(s) == 1, "%s: %u requests", cuts[row].name, np_raw_requests(s));
    for (const char *p = g.end.detail; *p; p++) {
        ck_assert_int_ge(*p, 0x20);
        ck_assert_int_lt(*p, 0x7f);
    }
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_then_die(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    }
    (void)np_raw_read(c); /* takes the second request and goes without a word */
}

START_TEST(a_reused_connection_that_dies_gets_the_body_once)
{
    struct np_raw_server *s = np_raw_start(serve_then_die, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    got_free(&g);
    client_call(&c, &g);
    assert_how(&g, NP_CALL_RESET);
    ck_assert(g.end.request_sent);
    ck_assert_uint_eq(g.heads, 0);
    client_turn_for(&c, 20);
    ck_assert_uint_eq(np_raw_requests(s), 2);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void serve_one_then_close(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    }
}

START_TEST(an_idle_connection_that_the_provider_closed_is_replaced)
{
    struct np_raw_server *s = np_raw_start(serve_one_then_close, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (unsigned i = 0; i < 3; i++) {
        struct got g;
        client_call(&c, &g);
        assert_how(&g, NP_CALL_COMPLETE);
        ck_assert_uint_gt(g.end.connect_ns, 0);
        got_free(&g);
        client_turn_for(&c, 20);
    }
    ck_assert_uint_eq(np_raw_requests(s), 3);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* --------------------------------------------------------------------------------------- too large */

static void serve_many_headers(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\n");
        while (np_raw_send(c, "X-Another: header\r\n", 19)) {
        }
    }
}

static void serve_long_header(struct np_raw_conn *c)
{
    static char a[1 << 16];
    memset(a, 'a', sizeof a);
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nX-Long: ");
        while (np_raw_send(c, a, sizeof a)) {
        }
    }
}

static void serve_many_interim(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        while (np_raw_send(c, "HTTP/1.1 103 Hint\r\nX: y\r\n\r\n", 27)) {
        }
    }
}

START_TEST(headers_over_64_kb_are_too_large)
{
    static void (*const serve[])(struct np_raw_conn * c) = {serve_many_headers, serve_long_header,
                                                            serve_many_interim};
    struct got g;
    one_call(serve[_i], &g);
    assert_how(&g, NP_CALL_TOO_LARGE);
    ck_assert_uint_eq(g.heads, 0);
}
END_TEST

START_TEST(a_header_that_is_too_long_is_told_so)
{
    struct got g;
    one_call(serve_long_header, &g);
    ck_assert_str_eq(g.end.detail, "a header of the reply is longer than 100 KB");
}
END_TEST

static void serve_endless(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\n\r\n");
        while (np_raw_send(c, "0123456789", 10)) {
        }
    }
}

START_TEST(a_body_over_the_bound_is_too_large_and_never_told_in_full)
{
    static void (*const serve[])(struct np_raw_conn * c) = {serve_endless, serve_ten};
    struct np_raw_server *s = np_raw_start(serve[_i], NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.max_reply_bytes = 9;
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_TOO_LARGE);
    ck_assert_uint_eq(g.status, 200);
    ck_assert_uint_le(g.body.n, 9);
    client_until_server(&c, s, np_raw_closed, 1);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_body_of_exactly_the_bound_is_complete)
{
    struct np_raw_server *s = np_raw_start(serve_ten, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.max_reply_bytes = 10;
    struct got g;
    client_call(&c, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    assert_body(&g, "0123456789");
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* ---------------------------------------------------------------------------------------- timeouts */

static void serve_silence(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_wait_closed(c);
    }
}

static void serve_half(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        np_raw_wait_closed(c);
    }
}

/* One byte each 10 ms. */
static void serve_drops(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
        while (np_raw_send(c, "x", 1)) {
            usleep(10 * 1000);
        }
        np_raw_wait_closed(c);
    }
}

static void serve_half_an_error(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 10\r\n\r\n01");
        np_raw_wait_closed(c);
    }
}

static const struct {
    void (*serve)(struct np_raw_conn *c);
    uint32_t first_byte_ms, idle_ms, total_ms;
    enum np_call_how how;
    unsigned least_ms;
} timeouts[] = {
    {serve_silence, 60, 5000, 5000, NP_CALL_FIRST_BYTE_TIMEOUT, 60},
    {serve_silence, 60, 20, 5000, NP_CALL_FIRST_BYTE_TIMEOUT, 60},
    {serve_silence, 5000, 20, 60, NP_CALL_TOTAL_TIMEOUT, 60},
    {serve_silence, 0, 0, 60, NP_CALL_TOTAL_TIMEOUT, 60},
    {serve_half, 5000, 60, 5000, NP_CALL_IDLE_TIMEOUT, 60},
    {serve_half, 200, 260, 5000, NP_CALL_IDLE_TIMEOUT, 260},
    {serve_half, 5000, 5000, 60, NP_CALL_TOTAL_TIMEOUT, 60},
    {serve_drops, 200, 260, 500, NP_CALL_TOTAL_TIMEOUT, 500},
    {serve_half_an_error, 60000, 60000, 60000, NP_CALL_TOTAL_TIMEOUT, 2000},
};

START_TEST(each_timeout_ends_the_call_in_time_and_closes_its_connection)
{
    struct np_raw_server *s = np_raw_start(timeouts[_i].serve, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.first_byte_timeout_ms = timeouts[_i].first_byte_ms;
    c.spec.idle_timeout_ms = timeouts[_i].idle_ms;
    uint64_t start = np_loop_refresh_ns(c.loop);
    c.spec.deadline_ns = start + timeouts[_i].total_ms * NP_NS_PER_MS;
    struct got g;
    client_call(&c, &g);
    uint64_t took = ms_since(&c, start);
    assert_how(&g, timeouts[_i].how);
    ck_assert(g.end.request_sent);
    ck_assert_uint_ge(took, timeouts[_i].least_ms);
    ck_assert_msg(took < timeouts[_i].least_ms + 1000, "it took %u ms", (unsigned)took);
    ck_assert_str_ne(g.end.detail, "");
    client_until_server(&c, s, np_raw_closed, 1);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("provider/faults");
    TCase *t = tcase_create("faults");
    tcase_add_test(t, a_name_that_does_not_exist_is_no_name);
    tcase_add_test(t, a_port_that_refuses_is_no_connection);
    tcase_add_test(t, a_name_that_resolves_to_a_metadata_service_is_not_called);
    tcase_add_test(t, the_second_address_of_a_name_is_tried_when_the_first_refuses);
    tcase_add_test(t, a_resolver_that_hangs_ends_in_a_connect_timeout_without_holding_the_loop);
    tcase_add_test(t, a_host_that_does_not_answer_ends_in_a_connect_timeout);
    tcase_add_test(t, a_handshake_that_stalls_ends_in_a_connect_timeout);
    tcase_add_test(t, a_server_without_tls_is_no_tls);
    tcase_add_test(t, a_deadline_that_has_passed_starts_nothing);
    tcase_add_loop_test(t, a_reply_that_is_cut_or_malformed_ends_the_call_and_says_which, 0,
                        (int)(sizeof cuts / sizeof cuts[0]));
    tcase_add_test(t, a_reused_connection_that_dies_gets_the_body_once);
    tcase_add_test(t, an_idle_connection_that_the_provider_closed_is_replaced);
    tcase_add_loop_test(t, headers_over_64_kb_are_too_large, 0, 3);
    tcase_add_test(t, a_header_that_is_too_long_is_told_so);
    tcase_add_loop_test(t, a_body_over_the_bound_is_too_large_and_never_told_in_full, 0, 2);
    tcase_add_test(t, a_body_of_exactly_the_bound_is_complete);
    tcase_add_loop_test(t, each_timeout_ends_the_call_in_time_and_closes_its_connection, 0,
                        (int)(sizeof timeouts / sizeof timeouts[0]));
    suite_add_tcase(s, t);
    return run_suite(s);
}
