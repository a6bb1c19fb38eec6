/* The life of calls and connections, on real sockets. */
#include "http/rig.h"

#define GET_HEAD "GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define GET_WHOLE "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define GET_LATER "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST_WHOLE "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"

START_TEST(a_get_is_answered_in_whole)
{
    struct reply r = ask("GET /whole?a=%41&b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(rig.method, "GET");
    ck_assert_str_eq(rig.path, "/whole");
    ck_assert_str_eq(rig.query, "a=%41&b");
    ck_assert_str_eq(reply_header(&r, "X-Rig"), "yes");
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "text/plain");
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 1);
}
END_TEST

START_TEST(a_body_comes_whole)
{
    struct reply r = ask(POST_WHOLE);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "hello");
}
END_TEST

START_TEST(a_body_that_comes_byte_by_byte_comes_whole)
{
    struct client *c = client_new();
    for (const char *p = POST_WHOLE; *p; p++) {
        client_send(c, p, 1);
    }
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "hello");
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(a_body_without_bytes_is_whole_at_once)
{
    struct reply r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "");
}
END_TEST

START_TEST(a_connection_is_used_again)
{
    struct client *c = client_new();
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(client_ask(c, GET_WHOLE).status, 200);
        ck_assert_int_eq(client_ask(c, GET_HEAD).status, 404);
        ck_assert_str_eq(client_ask(c, POST_WHOLE).body, "hello");
    }
    ck_assert(!client_ended(c));
    client_free(c);
    rig_until(&rig.gones, 15);
    ck_assert_uint_eq(rig.sent, 15);
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_their_order)
{
    struct client *c = client_new();
    client_say(c, POST_WHOLE GET_HEAD GET_LATER POST_WHOLE);
    ck_assert_str_eq(client_read(c).body, "hello");
    ck_assert_str_eq(client_read(c).body, "from head");
    rig_until(&rig.n_waiting, 1);
    ck_assert_int_eq(client_read_for(c, false, 50).status, 0);
    rig_text(rig.waiting[0], 200, NP_SPAN("now"), false);
    ck_assert_str_eq(client_read(c).body, "now");
    ck_assert_str_eq(client_read(c).body, "hello");
    client_free(c);
}
END_TEST

START_TEST(a_head_request_gets_no_body)
{
    struct client *c = client_new();
    client_say(c, "HEAD /head HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct reply r = client_read_for(c, true, 2000);
    ck_assert_int_eq(r.status, 404);
    ck_assert_str_eq(reply_header(&r, "Content-Length"), "9");
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(http_1_0_ends_after_the_reply)
{
    struct client *c = client_new();
    ck_assert_int_eq(client_ask(c, "GET /whole HTTP/1.0\r\n\r\n").status, 200);
    ck_assert(client_closed_within(c, 1000));
    ck_assert(c->eof);
    client_free(c);
}
END_TEST

START_TEST(http_1_0_carries_on_when_asked_to)
{
    struct client *c = client_new();
    struct reply r = client_ask(c, "GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    ck_assert_int_eq(r.status, 200);
    ck_assert_int_eq(strcasecmp(reply_header(&r, "Connection"), "keep-alive"), 0);
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(connection_close_is_obeyed)
{
    struct client *c = client_new();
    struct reply r =
        client_ask(c, "GET /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    ck_assert_int_eq(r.status, 200);
    ck_assert(client_closed_within(c, 1000));
    client_free(c);
}
END_TEST

START_TEST(the_owner_can_close)
{
    struct client *c = client_new();
    struct reply r = client_ask(c, "GET /close HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert(client_closed_within(c, 1000));
    client_free(c);
}
END_TEST

START_TEST(a_chunked_body_comes_whole_and_the_connection_ends)
{
    struct client *c = client_new();
    client_say(c, "POST /whole HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n");
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "hello!");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert(client_closed_within(c, 1000));
    client_free(c);
}
END_TEST

START_TEST(a_reply_may_come_later)
{
    struct client *c = client_new();
    client_say(c, GET_LATER);
    rig_until(&rig.n_waiting, 1);
    ck_assert_uint_eq(np_front_open(rig.front), 1);
    rig_text(rig.waiting[0], 201, NP_SPAN("late"), false);
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 201);
    ck_assert_str_eq(r.body, "late");
    ck_assert(alive(c));
    ck_assert_uint_eq(np_front_open(rig.front), 0);
    client_free(c);
}
END_TEST

START_TEST(a_borrowed_body_is_sent_as_it_is)
{
    static char text[] = "borrowed";
    struct client *c = client_new();
    client_say(c, GET_LATER);
    rig_until(&rig.n_waiting, 1);
    np_http_reply(rig.waiting[0], &(struct np_http_reply){
                                      .status = 200, .body = np_span_of(text), .borrowed = true});
    text[0] = 'B';
    ck_assert_str_eq(client_read(c).body, "Borrowed");
    client_free(c);
}
END_TEST

START_TEST(a_large_reply_arrives_whole)
{
    size_t n = 3 * 1024 * 1024, got = 0;
    char *big = malloc(n);
    memset(big, 'x', n);
    struct client *c = client_new();
    client_say(c, GET_LATER);
    rig_until(&rig.n_waiting, 1);
    rig_text(rig.waiting[0], 200, np_span_make(big, n), false);
    uint64_t end = rig_now() + 5000 * MS;
    while (got < n && rig_now() < end) {
        np_loop_turn(rig.loop, MS);
        client_pull(c);
        got += c->n;
        c->n = 0;
    }
    ck_assert_uint_ge(got, n);
    rig_until(&rig.sent, 1);
    client_free(c);
    free(big);
}
END_TEST

/* As another each-turn call of the loop would, after the front's part of the turn. */
static uint64_t reply_at_the_turn_s_end(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    if (rig.n_waiting > 0) {
        struct np_http_call *c = rig.waiting[0];
        rig.waiting[0] = rig.waiting[--rig.n_waiting];
        rig_text(c, 200, NP_SPAN("at the end"), false);
    }
    return UINT64_MAX;
}

START_TEST(a_reply_at_the_end_of_a_turn_does_not_wait_for_the_next_event)
{
    ck_assert_int_eq(np_loop_each_turn(rig.loop, reply_at_the_turn_s_end, NULL), NP_OK);
    struct client *c = client_new();
    send(c->fd, GET_LATER, strlen(GET_LATER), 0);
    uint64_t start = rig_now();
    for (client_pull(c); c->n == 0 && rig_now() < start + 3000 * MS; client_pull(c)) {
        np_loop_turn(rig.loop, 1000 * MS);
    }
    ck_assert_str_eq(client_read(c).body, "at the end");
    ck_assert_uint_lt(rig_now() - start, 500 * MS);
    client_free(c);
}
END_TEST

/* Answers the call that has waited longest. */
static void answer_one(void)
{
    struct np_http_call *c = rig.waiting[0];
    rig.waiting[0] = rig.waiting[--rig.n_waiting];
    rig_text(c, 200, NP_SPAN("x"), false);
}

START_TEST(hundreds_of_calls_wait_and_all_are_answered)
{
    enum { N = 450 };
    static struct client *clients[N];
    for (int i = 0; i < N; i++) {
        clients[i] = client_new();
        client_say(clients[i], GET_LATER);
    }
    rig_until(&rig.n_waiting, N);
    for (int i = 0; i < N; i++) {
        answer_one();
        np_loop_turn(rig.loop, 0);
    }
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(client_read(clients[i]).status, 200);
        client_free(clients[i]);
    }
    rig_until(&rig.gones, N);
    ck_assert_uint_eq(rig.sent, N);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("front");
    TCase *t = tcase_create("calls");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_test(t, a_get_is_answered_in_whole);
    tcase_add_test(t, a_body_comes_whole);
    tcase_add_test(t, a_body_that_comes_byte_by_byte_comes_whole);
    tcase_add_test(t, a_body_without_bytes_is_whole_at_once);
    tcase_add_test(t, a_connection_is_used_again);
    tcase_add_test(t, pipelined_requests_are_answered_in_their_order);
    tcase_add_test(t, a_head_request_gets_no_body);
    tcase_add_test(t, http_1_0_ends_after_the_reply);
    tcase_add_test(t, http_1_0_carries_on_when_asked_to);
    tcase_add_test(t, connection_close_is_obeyed);
    tcase_add_test(t, the_owner_can_close);
    tcase_add_test(t, a_chunked_body_comes_whole_and_the_connection_ends);
    tcase_add_test(t, a_reply_may_come_later);
    tcase_add_test(t, a_borrowed_body_is_sent_as_it_is);
    tcase_add_test(t, a_large_reply_arrives_whole);
    tcase_add_test(t, a_reply_at_the_end_of_a_turn_does_not_wait_for_the_next_event);
    tcase_add_test(t, hundreds_of_calls_wait_and_all_are_answered);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return rig_run(suite());
}
