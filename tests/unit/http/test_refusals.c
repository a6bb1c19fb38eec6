/* Refusals while a body is on its way: readable, at once, and bounded. */
#include "http/rig.h"

#define BIG (10 * 1024 * 1024)

static char *big;

static void setup(void)
{
    rig_setup();
    big = malloc(BIG);
    memset(big, 'x', BIG);
}

static void teardown(void)
{
    rig_teardown();
    free(big);
}

/* Sends the head and as much of 10 MB as goes out, then reads. */
static struct reply send_big(const char *head)
{
    struct client *c = client_new();
    client_say(c, head);
    client_send(c, big, BIG);
    struct reply r = client_read(c);
    ck_assert(client_closed_within(c, 3000));
    client_free(c);
    return r;
}

START_TEST(a_refusal_in_head_is_readable_while_10_mb_are_sent)
{
    struct reply r =
        send_big("POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n");
    ck_assert_int_eq(r.status, 404);
    ck_assert_str_eq(r.body, "from head");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 1);
    ck_assert_uint_eq(rig.wholes, 0);
}
END_TEST

START_TEST(a_body_over_the_limit_is_413_while_it_is_sent)
{
    struct reply r =
        send_big("POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n");
    ck_assert_int_eq(r.status, 413);
    ck_assert_ptr_nonnull(strstr(r.body, "\"type\":\"too_large\""));
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_too_large], 1);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.wholes, 0);
}
END_TEST

START_TEST(a_malformed_head_is_400_while_10_mb_are_sent)
{
    struct reply r = send_big("POST /whole HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n"
                              "Content-Length: 10485760\r\n\r\n");
    ck_assert_int_eq(r.status, 400);
}
END_TEST

START_TEST(a_chunked_body_over_the_limit_is_413_while_it_is_sent)
{
    struct client *c = client_new();
    client_say(c, "POST /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    client_say(c, "A00000\r\n");
    client_send(c, big, BIG);
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 413);
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "small-1");
    ck_assert_ptr_nonnull(strstr(r.body, "\"requestId\":\"small-1\""));
    ck_assert(client_closed_within(c, 3000));
    client_free(c);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 1);
    ck_assert_uint_eq(rig.wholes, 0);
}
END_TEST

START_TEST(the_owner_s_limit_holds_to_the_byte)
{
    char request[400];
    for (int n = 100; n <= 101; n++) {
        snprintf(request, sizeof request,
                 "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%0*d", n, n,
                 1);
        ck_assert_int_eq(ask(request).status, n == 100 ? 200 : 413);
        snprintf(request, sizeof request,
                 "POST /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "%x\r\n%0*d\r\n0\r\n\r\n",
                 (unsigned)n, n, 1);
        ck_assert_int_eq(ask(request).status, n == 100 ? 200 : 413);
    }
}
END_TEST

START_TEST(a_short_body_is_dropped_and_the_connection_carries_on)
{
    struct client *c = client_new();
    for (int i = 0; i < 3; i++) {
        client_say(c, "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
        ck_assert_int_eq(client_read_for(c, false, 20).status, 0);
        client_say(c, "llo");
        ck_assert_int_eq(client_read(c).status, 404);
    }
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(a_refusal_with_413_closes_whatever_the_length)
{
    struct client *c = client_new();
    struct reply r = client_ask(
        c, "POST /head413 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    ck_assert_int_eq(r.status, 413);
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "the-owner's");
    ck_assert_str_eq(r.body, "{\"error\":{\"type\":\"too_large\",\"message\":\"no \\\"room\\\"\","
                             "\"param\":null,\"requestId\":\"the-owner's\"}}");
    ck_assert(client_closed_within(c, 2000));
    client_free(c);
}
END_TEST

START_TEST(expect_100_continue_is_answered_when_the_body_is_wanted)
{
    struct client *c = client_new();
    struct reply r =
        client_ask(c, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                      "Expect: 100-continue\r\n\r\n");
    ck_assert_int_eq(r.status, 100);
    r = client_ask(c, "hello");
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "hello");
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(expect_100_continue_is_refused_before_the_body_is_sent)
{
    static const char *const paths[] = {"/head", "/small", "/head413"};
    static const int statuses[] = {404, 413, 413};
    char request[200];
    snprintf(
        request, sizeof request,
        "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n",
        paths[_i]);
    struct client *c = client_new();
    struct reply r = client_ask(c, request);
    ck_assert_int_eq(r.status, statuses[_i]);
    ck_assert(client_closed_within(c, 2000));
    client_free(c);
}
END_TEST

START_TEST(lingering_ends_after_a_second)
{
    struct client *c = client_new();
    uint64_t start = rig_now();
    struct reply r =
        client_ask(c, "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    ck_assert_int_eq(r.status, 404);
    ck_assert(client_closed_within(c, 100));
    ck_assert(c->eof);
    /* While it lingers our bytes are taken; afterwards they are met with a reset. */
    ssize_t n = 1;
    while (n > 0 && rig_now() < start + 4000 * MS) {
        rig_turn_for(20);
        n = send(c->fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    ck_assert_int_eq((int)n, -1);
    ck_assert_uint_ge(rig_now() - start, 900 * MS);
    ck_assert_uint_le(rig_now() - start, 2500 * MS);
    client_free(c);
}
END_TEST

static void make_id(void *ctx, char out[NP_HTTP_ID_BYTES], struct np_span client_id)
{
    ck_assert_ptr_eq(ctx, &rig);
    snprintf(out, NP_HTTP_ID_BYTES, "%s", client_id.n > 0 ? "from-client" : "made");
}

static void setup_ids(void)
{
    rig_listen();
    rig.config.make_id = make_id;
    rig_start();
}

START_TEST(the_owner_makes_the_ids_of_refusals)
{
    struct reply r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "made");
    r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a b\r\n\r\n");
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "from-client");
}
END_TEST

START_TEST(an_id_of_the_client_s_that_may_not_be_taken_is_left_out)
{
    struct reply r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a b\r\n\r\n");
    ck_assert_int_eq(r.status, 411);
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "");
    ck_assert_ptr_nonnull(strstr(r.body, "\"requestId\":null"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("refusals");
    TCase *t = tcase_create("refusals");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_refusal_in_head_is_readable_while_10_mb_are_sent);
    tcase_add_test(t, a_body_over_the_limit_is_413_while_it_is_sent);
    tcase_add_test(t, a_malformed_head_is_400_while_10_mb_are_sent);
    tcase_add_test(t, a_chunked_body_over_the_limit_is_413_while_it_is_sent);
    tcase_add_test(t, the_owner_s_limit_holds_to_the_byte);
    tcase_add_test(t, a_short_body_is_dropped_and_the_connection_carries_on);
    tcase_add_test(t, a_refusal_with_413_closes_whatever_the_length);
    tcase_add_test(t, expect_100_continue_is_answered_when_the_body_is_wanted);
    tcase_add_loop_test(t, expect_100_continue_is_refused_before_the_body_is_sent, 0, 3);
    tcase_add_test(t, lingering_ends_after_a_second);
    tcase_add_test(t, an_id_of_the_client_s_that_may_not_be_taken_is_left_out);
    suite_add_tcase(s, t);
    t = tcase_create("ids");
    tcase_add_checked_fixture(t, setup_ids, rig_teardown);
    tcase_add_test(t, the_owner_makes_the_ids_of_refusals);
    suite_add_tcase(s, t);
    return rig_run(s);
}
