/* Reading requests from a connection's input: whole, split anywhere, chunked, pipelined, too large. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/imitation_impl.h"

static char *in; /* the input, of exactly its bytes, so that reading past it is seen */

static void set_up(void)
{
    in = NULL;
}

static void tear_down(void)
{
    free(in);
}

static enum np_err read_bytes(const char *p, size_t n, struct np_sim_request *r)
{
    free(in);
    in = malloc(n);
    ck_assert_ptr_nonnull(in);
    memcpy(in, p, n);
    *r = (struct np_sim_request){0};
    return np_sim_request_read(in, n, r);
}

static enum np_err read_text(const char *text, struct np_sim_request *r)
{
    return read_bytes(text, strlen(text), r);
}

static void expect(struct np_span is, const char *wanted)
{
    ck_assert_msg(np_span_is(is, wanted), "\"%.*s\" instead of \"%s\"", (int)is.n, is.p, wanted);
}

static const char plain[] = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\n"
                            "content-LENGTH:  5 \t\r\nX-Content-Length: 7\r\n\r\nhello";
static const char chunked[] = "POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                              "\r\n3\r\nhel\r\n1;note=\"a\"\r\nl\r\n0A\r\no and more\r\n0\r\n"
                              "X-Trailer: a\r\n\r\n";

START_TEST(a_request_gives_its_parts_and_the_query_is_no_part_of_the_path)
{
    struct np_sim_request r;
    ck_assert_int_eq(read_text(plain, &r), NP_OK);
    expect(r.method, "POST");
    expect(r.path, "/v1/messages");
    expect(r.body, "hello");
    ck_assert(r.keep_alive);
    ck_assert_uint_eq(r.bytes, strlen(plain));
}
END_TEST

START_TEST(chunks_are_joined_without_their_extensions_and_trailers)
{
    struct np_sim_request r;
    ck_assert_int_eq(read_text(chunked, &r), NP_OK);
    expect(r.body, "hello and more");
    ck_assert_uint_eq(r.bytes, strlen(chunked));
}
END_TEST

/* The connection reads the same input anew with each byte that comes: what is not whole must stay. */
START_TEST(a_request_that_comes_byte_by_byte_is_whole_with_its_last_byte_only)
{
    static const char *const texts[] = {plain, chunked, "GET /calls HTTP/1.1\r\n\r\n"};
    static const char *const bodies[] = {"hello", "hello and more", ""};
    const char *text = texts[_i];
    size_t n = strlen(text);
    struct np_sim_request r;
    char *grown = malloc(n);
    ck_assert_ptr_nonnull(grown);
    for (size_t k = 1; k < n; k++) {
        memcpy(grown + k - 1, text + k - 1, 1);
        ck_assert_msg(np_sim_request_read(grown, k, &r) == NP_E_BUSY, "after %zu bytes", k);
    }
    grown[n - 1] = text[n - 1];
    ck_assert_int_eq(np_sim_request_read(grown, n, &r), NP_OK);
    expect(r.body, bodies[_i]);
    ck_assert_uint_eq(r.bytes, n);
    free(grown);
}
END_TEST

START_TEST(what_follows_a_request_stays_for_the_next)
{
    char two[512];
    struct np_sim_request r;
    snprintf(two, sizeof two, "%s%s", _i ? chunked : plain, plain);
    size_t first = strlen(_i ? chunked : plain);
    ck_assert_int_eq(read_text(two, &r), NP_OK);
    ck_assert_uint_eq(r.bytes, first);
    ck_assert_int_eq(np_sim_request_read(in + first, strlen(two) - first, &r), NP_OK);
    expect(r.body, "hello");
    expect(r.path, "/v1/messages");
}
END_TEST

START_TEST(a_connection_is_kept_unless_its_client_says_close_or_is_old)
{
    static const struct {
        const char *text;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
    };
    struct np_sim_request r;
    ck_assert_int_eq(read_text(rows[_i].text, &r), NP_OK);
    ck_assert_int_eq(r.keep_alive, rows[_i].keep);
}
END_TEST

START_TEST(what_is_no_request_is_refused)
{
    static const char *const texts[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / FTPS/1.1\r\n\r\n",
        "GET / HTTP/1.1 more\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: five\r\n\r\nhello",
        "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nContent-Length: \r\n\r\nhello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
    };
    struct np_sim_request r;
    ck_assert_msg(read_text(texts[_i], &r) == NP_E_SYNTAX, "%s", texts[_i]);
}
END_TEST

START_TEST(a_body_over_the_limit_is_refused_by_its_length_alone)
{
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nContent-Length: %u\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n%x\r\n",
    };
    char text[256];
    struct np_sim_request r;
    unsigned at_most = NP_SIM_BODY_MAX - (_i ? 1 : 0);
    snprintf(text, sizeof text, heads[_i], at_most);
    ck_assert_int_eq(read_text(text, &r), NP_E_BUSY);
    snprintf(text, sizeof text, heads[_i], at_most + 1);
    ck_assert_int_eq(read_text(text, &r), NP_E_FULL);
    ck_assert_int_eq(read_text("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "fffffffffffffffffffff\r\n",
                               &r),
                     NP_E_FULL);
}
END_TEST

START_TEST(a_head_over_the_limit_is_refused)
{
    static char text[NP_SIM_HEAD_MAX + 1];
    struct np_sim_request r;
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nX: ");
    memset(text + n, 'a', NP_SIM_HEAD_MAX - (size_t)n);
    ck_assert_int_eq(read_bytes(text, NP_SIM_HEAD_MAX - 1, &r), NP_E_BUSY);
    ck_assert_int_eq(read_bytes(text, NP_SIM_HEAD_MAX, &r), NP_E_FULL);
    memcpy(text + NP_SIM_HEAD_MAX - 4, "\r\n\r\n", 4);
    ck_assert_int_eq(read_bytes(text, NP_SIM_HEAD_MAX, &r), NP_OK);
}
END_TEST

START_TEST(a_line_between_chunks_is_bounded)
{
    char text[2048];
    struct np_sim_request r;
    int n = snprintf(text, sizeof text, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    memset(text + n, 'a', 1100);
    ck_assert_int_eq(read_bytes(text, (size_t)n + 1000, &r), NP_E_BUSY);
    ck_assert_int_eq(read_bytes(text, (size_t)n + 1100, &r), NP_E_SYNTAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim.http1");
    TCase *t = tcase_create("http1");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_request_gives_its_parts_and_the_query_is_no_part_of_the_path);
    tcase_add_test(t, chunks_are_joined_without_their_extensions_and_trailers);
    tcase_add_loop_test(t, a_request_that_comes_byte_by_byte_is_whole_with_its_last_byte_only, 0,
                        3);
    tcase_add_loop_test(t, what_follows_a_request_stays_for_the_next, 0, 2);
    tcase_add_loop_test(t, a_connection_is_kept_unless_its_client_says_close_or_is_old, 0, 4);
    tcase_add_loop_test(t, what_is_no_request_is_refused, 0, 14);
    tcase_add_loop_test(t, a_body_over_the_limit_is_refused_by_its_length_alone, 0, 2);
    tcase_add_test(t, a_head_over_the_limit_is_refused);
    tcase_add_test(t, a_line_between_chunks_is_bounded);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
