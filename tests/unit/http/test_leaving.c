/* Clients that leave, clients that are slow, and the end of a front. */
#include "http/rig.h"

#define GET_LATER "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST_LATER "POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"

static struct client *ask_later(const char *request)
{
    unsigned before = rig.n_waiting;
    struct client *c = client_new();
    client_say(c, request);
    rig_until(&rig.n_waiting, before + 1);
    return c;
}

static void reset(struct client *c)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    client_close(c);
}

START_TEST(a_client_that_closes_while_it_waits_is_noticed)
{
    struct client *c = ask_later(POST_LATER);
    client_close(c);
    rig_until(&rig.left, 1);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.left, 1);
    ck_assert_uint_eq(rig.sent, 0);
    ck_assert_uint_eq(np_front_open(rig.front), 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_resets_while_it_waits_is_noticed)
{
    struct client *c = ask_later(GET_LATER);
    reset(c);
    rig_until(&rig.left, 1);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_half_closes_while_it_waits_is_gone)
{
    struct client *c = ask_later(GET_LATER);
    shutdown(c->fd, SHUT_WR);
    rig_until(&rig.left, 1);
    rig_until(&rig.gones, 1);
    ck_assert(client_closed_within(c, 1000));
    client_free(c);
}
END_TEST

START_TEST(a_client_that_half_closes_with_its_request_is_gone)
{
    struct client *c = client_new();
    send(c->fd, GET_LATER, strlen(GET_LATER), 0);
    shutdown(c->fd, SHUT_WR);
    rig_until(&rig.gones, 1);
    ck_assert_uint_le(rig.left, 1);
    ck_assert_uint_eq(rig.sent, 0);
    client_free(c);
}
END_TEST

/* The library is told of both at once, and reads the data only. */
START_TEST(an_end_that_arrives_with_data_is_noticed)
{
    static const char *const texts[] = {
        "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe",
        "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe",
        "GET /whole HTTP/1.1\r\nHost: lo",
        "GET /who",
        "",
    };
    struct client *c = client_new();
    rig_turn_for(10);
    send(c->fd, texts[_i], strlen(texts[_i]), 0);
    shutdown(c->fd, SHUT_WR);
    ck_assert(client_closed_within(c, 500));
    ck_assert_int_eq(strstr(c->in, "200 OK") != NULL, _i == 0);
    ck_assert_uint_eq(np_front_open(rig.front), 0);
    client_free(c);
}
END_TEST

START_TEST(pipelined_bytes_do_not_hide_that_the_client_left)
{
    struct client *c = ask_later(GET_LATER GET_LATER);
    client_close(c);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.left, 1);
    rig_turn_for(50);
    ck_assert_uint_eq(rig.heads, 1);
    client_free(c);
}
END_TEST

START_TEST(a_reply_after_the_client_left_is_ignored)
{
    struct client *c = ask_later(GET_LATER);
    client_close(c);
    rig_until(&rig.left, 1);
    if (rig.n_waiting == 1) {
        rig_text(rig.waiting[0], 200, NP_SPAN("too late"), false);
    }
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_leaves_when_its_reply_is_known_ends_once)
{
    struct client *c = ask_later(GET_LATER);
    rig_text(rig.waiting[0], 200, NP_SPAN("just now"), false);
    reset(c);
    rig_until(&rig.gones, 1);
    rig_turn_for(30);
    ck_assert_uint_eq(rig.gones, 1);
    ck_assert_uint_eq(rig.left, 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_leaves_within_its_body_is_gone_without_whole)
{
    struct client *c = client_new();
    client_say(c, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    rig_until(&rig.heads, 1);
    client_close(c);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.wholes, 0);
    ck_assert_uint_eq(rig.left, 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_leaves_within_its_head_is_nobody)
{
    struct client *c = client_new();
    client_say(c, "POST /whole HTTP/1.1\r\nHost: local");
    rig_turn_for(20);
    client_close(c);
    rig_turn_for(50);
    ck_assert_uint_eq(rig.heads, 0);
    client_free(c);
}
END_TEST

START_TEST(hundreds_that_leave_at_once_are_all_noticed)
{
    enum { N = 400 };
    static struct client *clients[N];
    for (int i = 0; i < N; i++) {
        clients[i] = ask_later(GET_LATER);
    }
    for (int i = 0; i < N; i++) {
        client_free(clients[i]);
    }
    rig_until(&rig.gones, N);
    ck_assert_uint_eq(rig.left, N);
}
END_TEST

/* ---------------------------------------------------------------------------------------- deadlines */

static void setup_impatient(void)
{
    rig_listen();
    rig.config.patience_ms = 200;
    rig_start();
}

START_TEST(a_connection_without_a_request_ends)
{
    struct client *c = client_new();
    ck_assert(!client_closed_within(c, 100));
    ck_assert(client_closed_within(c, 600));
    rig_until(&rig.refused[NP_HTTP_REFUSAL_timeout], 1);
    client_free(c);
}
END_TEST

/* A byte each 20 ms. */
static bool trickle_closes(struct client *c, const char *bytes, uint64_t within_ms)
{
    uint64_t end = rig_now() + within_ms * MS;
    for (const char *p = bytes; rig_now() < end; p = p[1] ? p + 1 : p) {
        client_send(c, p, 1);
        rig_turn_for(20);
        client_pull(c);
        if (client_ended(c)) {
            return true;
        }
    }
    return false;
}

START_TEST(a_request_line_that_trickles_in_ends)
{
    struct client *c = client_new();
    ck_assert(trickle_closes(c, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1000));
    client_free(c);
}
END_TEST

START_TEST(headers_that_trickle_in_end)
{
    struct client *c = client_new();
    client_say(c, "GET /whole HTTP/1.1\r\n");
    ck_assert(trickle_closes(c, "X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1000));
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_timeout], 1);
    client_free(c);
}
END_TEST

START_TEST(a_second_request_line_that_trickles_in_ends)
{
    struct client *c = client_new();
    ck_assert(alive(c));
    ck_assert(trickle_closes(c, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1500));
    client_free(c);
}
END_TEST

static bool is_old_parser(void)
{
    return np_front_version()[0] == '0';
}

/* A line that stands in one packet with the request before, and one behind its reply. With libmicrohttpd 1.0
 * the library's timeout ends them: what it has read is not known then. */
START_TEST(bytes_that_make_no_request_line_end_a_pause)
{
    for (int later = 0; later < 2; later++) {
        struct client *c = client_new();
        if (later) {
            ck_assert(alive(c));
            client_say(c, "GET /aaaa");
        } else {
            client_say(c, "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\nGET /aaaa");
            ck_assert_int_eq(client_read(c).status, 200);
        }
        ck_assert(client_closed_within(c, 1500));
        client_free(c);
    }
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_timeout], 2);
}
END_TEST

START_TEST(all_kinds_of_requests_leave_a_pause_without_bytes)
{
    static const char *const rows[] = {
        "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /whole HTTP/1.1\nHost: localhost\n\n",
        "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "POST /whole HTTP/1.1\r\nHost: localhost\r\nX-A:   b  \r\nX-B:\r\nContent-Length: 0\r\n\r\n",
        "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\nGET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    struct client *clients[sizeof rows / sizeof rows[0]];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clients[i] = client_new();
        ck_assert(alive(clients[i]));
        bool refused = strstr(rows[i], "\n\n") && !is_old_parser(); /* for lines without CR */
        client_say(clients[i], refused ? rows[0] : rows[i]);
    }
    rig_turn_for(1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        client_pull(clients[i]);
        ck_assert_msg(!client_ended(clients[i]), "%s", rows[i]);
        client_free(clients[i]);
    }
}
END_TEST

START_TEST(a_silent_pause_between_requests_is_longer_than_the_patience)
{
    struct client *c = client_new();
    ck_assert(alive(c));
    ck_assert(!client_closed_within(c, 700));
    ck_assert(alive(c));
    client_free(c);
}
END_TEST

START_TEST(a_body_that_trickles_in_is_408)
{
    struct client *c = client_new();
    client_say(c, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n");
    ck_assert(trickle_closes(c, "a", 2500));
    struct reply r;
    ck_assert(client_take(c, false, &r));
    ck_assert_int_eq(r.status, 408);
    ck_assert_ptr_nonnull(strstr(r.body, "\"error\""));
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_timeout], 1);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.wholes, 0);
    client_free(c);
}
END_TEST

START_TEST(a_body_that_is_dropped_may_not_trickle_either)
{
    struct client *c = client_new();
    client_say(c, "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n");
    ck_assert(trickle_closes(c, "a", 2500));
    client_free(c);
}
END_TEST

START_TEST(a_chunk_extension_without_end_is_not_left_hanging)
{
    static char extension[9000];
    memset(extension, 'a', sizeof extension);
    struct client *c = client_new();
    client_say(c,
               "POST /whole HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;");
    client_send(c, extension, sizeof extension);
    ck_assert(client_closed_within(c, 2500));
    ck_assert_uint_eq(rig.wholes, 0);
    client_free(c);
}
END_TEST

START_TEST(a_waiting_call_has_no_deadline_here)
{
    struct client *c = ask_later(POST_LATER);
    ck_assert(!client_closed_within(c, 700));
    rig_text(rig.waiting[0], 200, NP_SPAN("slow"), false);
    ck_assert_str_eq(client_read(c).body, "slow");
    client_free(c);
}
END_TEST

static void setup_idle(void)
{
    rig_listen();
    rig.config.idle_timeout_s = 1;
    rig_start();
}

START_TEST(a_silent_pause_ends_with_the_idle_timeout)
{
    struct client *c = client_new();
    ck_assert(alive(c));
    uint64_t start = rig_now();
    while (!client_ended(c) && rig_now() < start + 4000 * MS) {
        np_loop_turn(rig.loop, UINT64_MAX);
        client_pull(c);
    }
    ck_assert(c->eof);
    ck_assert_uint_ge(rig_now() - start, 900 * MS);
    client_free(c);
}
END_TEST

/* -------------------------------------------------------------------------------------------- rest */

START_TEST(the_loop_sleeps_while_nothing_happens)
{
    struct client *c[6];
    for (int i = 0; i < 6; i++) {
        c[i] = client_new();
    }
    ck_assert(alive(c[0]));
    client_say(c[1], "GET /whole HTT");
    client_say(c[2], "GET /whole HTTP/1.1\r\nHost: lo");
    client_say(c[3], "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    client_say(c[4], GET_LATER);
    client_say(c[5], "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\nhe");
    ck_assert_int_eq(client_read(c[5]).status, 404);
    rig_turn_for(30);
    int turns = 0;
    for (uint64_t end = rig_now() + 300 * MS; rig_now() < end; turns++) {
        np_loop_turn(rig.loop, 100 * MS);
    }
    ck_assert_int_le(turns, 8);
    for (int i = 0; i < 6; i++) {
        client_free(c[i]);
    }
}
END_TEST

/* --------------------------------------------------------------------------------------------- end */

START_TEST(draining_ends_idle_connections_and_lets_calls_finish)
{
    struct client *idle = client_new(), *waiting, *body = client_new();
    ck_assert(alive(idle));
    waiting = ask_later(POST_LATER);
    client_say(body, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    rig_until(&rig.heads, 3);
    np_front_drain(rig.front);
    ck_assert(client_closed_within(idle, 500));
    client_say(body, "llo");
    struct reply r = client_read(body);
    ck_assert_str_eq(r.body, "hello");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert_uint_eq(np_front_open(rig.front), 1);
    rig_text(rig.waiting[0], 200, NP_SPAN("last"), false);
    ck_assert_str_eq(client_read(waiting).body, "last");
    ck_assert(client_closed_within(waiting, 500));
    rig_until(&rig.gones, 3);
    ck_assert_uint_eq(np_front_open(rig.front), 0);
    struct client *late = calloc(1, sizeof *late);
    ck_assert(!client_connect(late));
    client_free(late);
    client_free(idle);
    client_free(waiting);
    client_free(body);
}
END_TEST

START_TEST(a_request_in_the_backlog_is_served_by_a_draining_front)
{
    struct client *c = client_new();
    send(c->fd, GET_LATER, strlen(GET_LATER), 0);
    np_front_drain(rig.front);
    rig_until(&rig.n_waiting, 1);
    rig_text(rig.waiting[0], 200, NP_SPAN("in time"), false);
    ck_assert_str_eq(client_read(c).body, "in time");
    client_free(c);
}
END_TEST

/* The fixture's end frees the front. */
START_TEST(freeing_ends_calls_in_every_stage)
{
    struct client *head = client_new(), *body = client_new(), *waiting, *replied;
    client_say(head, "GET /whole HTTP/1.1\r\nHost: lo");
    client_say(body, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    waiting = ask_later(POST_LATER);
    replied = ask_later(GET_LATER);
    rig_until(&rig.heads, 3);
    rig_text(rig.waiting[1], 200, NP_SPAN("never sent"), false);
    np_front_free(rig.front);
    ck_assert_uint_eq(rig.gones, 3);
    ck_assert_uint_eq(rig.left, 0);
    rig.front = NULL;
    client_pull(waiting);
    ck_assert(client_ended(waiting));
    client_free(head);
    client_free(body);
    client_free(waiting);
    client_free(replied);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("leaving");
    TCase *t = tcase_create("leaving");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_test(t, a_client_that_closes_while_it_waits_is_noticed);
    tcase_add_test(t, a_client_that_resets_while_it_waits_is_noticed);
    tcase_add_test(t, a_client_that_half_closes_while_it_waits_is_gone);
    tcase_add_test(t, a_client_that_half_closes_with_its_request_is_gone);
    tcase_add_loop_test(t, an_end_that_arrives_with_data_is_noticed, 0, 6);
    tcase_add_test(t, pipelined_bytes_do_not_hide_that_the_client_left);
    tcase_add_test(t, a_reply_after_the_client_left_is_ignored);
    tcase_add_test(t, a_client_that_leaves_when_its_reply_is_known_ends_once);
    tcase_add_test(t, a_client_that_leaves_within_its_body_is_gone_without_whole);
    tcase_add_test(t, a_client_that_leaves_within_its_head_is_nobody);
    tcase_add_test(t, hundreds_that_leave_at_once_are_all_noticed);
    tcase_add_test(t, the_loop_sleeps_while_nothing_happens);
    tcase_add_test(t, draining_ends_idle_connections_and_lets_calls_finish);
    tcase_add_test(t, a_request_in_the_backlog_is_served_by_a_draining_front);
    tcase_add_test(t, freeing_ends_calls_in_every_stage);
    suite_add_tcase(s, t);
    t = tcase_create("deadlines");
    tcase_add_checked_fixture(t, setup_impatient, rig_teardown);
    tcase_add_test(t, a_connection_without_a_request_ends);
    tcase_add_test(t, a_request_line_that_trickles_in_ends);
    tcase_add_test(t, headers_that_trickle_in_end);
    tcase_add_test(t, a_second_request_line_that_trickles_in_ends);
    if (is_old_parser())
        tcase_add_test(t, bytes_that_make_no_request_line_end_a_pause);
    tcase_add_test(t, all_kinds_of_requests_leave_a_pause_without_bytes);
    tcase_add_test(t, a_silent_pause_between_requests_is_longer_than_the_patience);
    tcase_add_test(t, a_body_that_trickles_in_is_408);
    tcase_add_test(t, a_body_that_is_dropped_may_not_trickle_either);
    tcase_add_test(t, a_chunk_extension_without_end_is_not_left_hanging);
    tcase_add_test(t, a_waiting_call_has_no_deadline_here);
    suite_add_tcase(s, t);
    t = tcase_create("idle");
    tcase_add_checked_fixture(t, setup_idle, rig_teardown);
    tcase_add_test(t, a_silent_pause_ends_with_the_idle_timeout);
    suite_add_tcase(s, t);
    return rig_run(s);
}
