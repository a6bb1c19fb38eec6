/* Replies that are given piece by piece: when pieces leave, readers that stall or leave, comments. */
#include "http/rig.h"

#define POST_LATER "POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"

static struct np_http_call *begin(struct client **out)
{
    static const struct np_http_field field = {"X-Rig", "stream"};
    struct client *c = client_new();
    client_say(c, POST_LATER);
    rig_until(&rig.n_waiting, 1);
    struct np_http_call *call = rig.waiting[0];
    np_http_stream_begin(call, &(struct np_http_reply){.status = 200,
                                                       .content_type = "text/event-stream",
                                                       .fields = &field,
                                                       .n_fields = 1});
    *out = c;
    return call;
}

/* Turns until the client has got this, or two seconds are over. */
static bool gets(struct client *c, const char *text)
{
    uint64_t end = rig_now() + 2000 * MS;
    for (client_pull(c); !strstr(c->in, text) && rig_now() < end; client_pull(c))
        np_loop_turn(rig.loop, 2 * MS);
    return strstr(c->in, text) != NULL;
}

static bool ends(struct client *c)
{
    return gets(c, "\r\n0\r\n\r\n");
}

START_TEST(each_piece_leaves_at_once)
{
    struct client *c;
    struct np_http_call *call = begin(&c);
    ck_assert(np_http_stream_put(call, NP_SPAN("first;")));
    ck_assert(gets(c, "6\r\nfirst;\r\n"));
    ck_assert(strstr(c->in, "HTTP/1.1 200 "));
    ck_assert(strstr(c->in, "X-Rig: stream\r\n"));
    ck_assert(!strstr(c->in, "Content-Length"));
    rig_turn_for(20);
    ck_assert(np_http_stream_put(call, NP_SPAN("second;")));
    ck_assert(gets(c, "7\r\nsecond;\r\n"));
    np_http_stream_end(call);
    ck_assert(ends(c));
    rig_until(&rig.sent, 1);
    client_free(c);
}
END_TEST

START_TEST(pieces_that_wait_leave_together_and_in_order)
{
    struct client *c;
    struct np_http_call *call = begin(&c);
    for (char x = 'a'; x <= 'e'; x++)
        ck_assert(np_http_stream_put(call, np_span_make(&x, 1)));
    np_http_stream_end(call);
    ck_assert(ends(c));
    ck_assert(strstr(c->in, "5\r\nabcde\r\n0\r\n\r\n"));
    client_free(c);
}
END_TEST

START_TEST(a_connection_is_used_again_after_a_stream)
{
    struct client *c;
    for (int i = 0; i < 3; i++) {
        struct np_http_call *call = begin(&c);
        np_http_stream_put(call, NP_SPAN("x"));
        np_http_stream_end(call);
        ck_assert(ends(c));
        rig_until(&rig.sent, (unsigned)i * 2 + 1);
        c->n = 0;
        c->in[0] = '\0';
        ck_assert(alive(c));
        rig_until(&rig.sent, (unsigned)i * 2 + 2);
        client_free(c);
    }
}
END_TEST

START_TEST(a_connection_ends_after_a_stream_that_a_drain_has_met)
{
    struct client *c;
    struct np_http_call *call = begin(&c);
    np_http_stream_put(call, NP_SPAN("x"));
    ck_assert(gets(c, "x"));
    np_front_drain(rig.front);
    ck_assert(!client_closed_within(c, 50));
    np_http_stream_put(call, NP_SPAN("y"));
    np_http_stream_end(call);
    ck_assert(ends(c));
    ck_assert(client_closed_within(c, 2000));
    ck_assert(c->eof);
    client_free(c);
}
END_TEST

START_TEST(the_owner_is_told_to_stop_and_to_go_on)
{
    static char piece[1000];
    struct client *c;
    struct np_http_call *call = begin(&c);
    size_t put = 0;
    memset(piece, 'x', sizeof piece);
    /* Nothing is taken while the loop does not turn. */
    while (np_http_stream_put(call, np_span_make(piece, sizeof piece)))
        put += sizeof piece;
    ck_assert_uint_le(put, NP_HTTP_STREAM_HIGH);
    ck_assert_uint_gt(put + sizeof piece, NP_HTTP_STREAM_HIGH);
    ck_assert_uint_eq(rig.drained, 0);
    uint64_t end = rig_now() + 2000 * MS;
    while (rig.drained == 0 && rig_now() < end) {
        np_loop_turn(rig.loop, MS);
        client_pull(c);
    }
    ck_assert_uint_eq(rig.drained, 1);
    ck_assert(np_http_stream_put(call, NP_SPAN("end")));
    np_http_stream_end(call);
    ck_assert(ends(c));
    ck_assert_uint_eq(rig.drained, 1);
    client_free(c);
}
END_TEST

START_TEST(a_reader_that_stalls_is_ended_and_counted_and_one_that_waits_is_not)
{
    static char piece[65536];
    struct client *c, *waits;
    struct np_http_call *silent = begin(&waits);
    np_http_stream_put(silent, NP_SPAN("x"));
    rig.waiting[0] = rig.waiting[--rig.n_waiting];
    struct np_http_call *call = begin(&c);
    int few = 4096;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
    uint64_t end = rig_now() + 5000 * MS;
    while (rig.gones == 0 && rig_now() < end) {
        if (rig.n_waiting > 0)
            np_http_stream_put(call, np_span_make(piece, 1000));
        np_loop_turn(rig.loop, MS);
    }
    ck_assert_uint_eq(rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 0);
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_slow_reader], 1);
    np_http_stream_end(silent);
    ck_assert(ends(waits));
    client_free(c);
    client_free(waits);
}
END_TEST

START_TEST(a_silent_stream_gets_comments)
{
    struct client *c;
    struct np_http_call *call = begin(&c);
    np_http_stream_put(call, NP_SPAN("data: 1\n\n"));
    ck_assert(gets(c, "data: 1\n\n"));
    uint64_t before = rig_now();
    ck_assert(gets(c, "\r\n: keep-alive\n\n\r\n"));
    ck_assert_uint_ge(rig_now() - before, 60 * MS);
    c->n = 0;
    ck_assert(gets(c, ": keep-alive\n\n"));
    np_http_stream_end(call);
    ck_assert(ends(c));
    client_free(c);
}
END_TEST

static void leave(struct client *c, int how)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (how == 2) {
        shutdown(c->fd, SHUT_WR);
        return;
    }
    if (how == 1)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_close(c);
}

/* Closed, reset, half-closed; before the first piece, after it, and with pieces that wait. */
START_TEST(a_client_that_leaves_is_noticed_in_the_midst)
{
    static char piece[60000];
    int how = _i % 3, when = _i / 3;
    struct client *c;
    struct np_http_call *call = begin(&c);
    if (when > 0) {
        np_http_stream_put(call, NP_SPAN("x"));
        ck_assert(gets(c, "x\r\n"));
    }
    if (when > 1) {
        for (int i = 0; i < 60; i++) {
            np_http_stream_put(call, np_span_make(piece, sizeof piece));
            rig_turn_for(1);
        }
    }
    leave(c, how);
    uint64_t before = rig_now();
    rig_until(&rig.gones, 1);
    ck_assert_uint_lt(rig_now() - before, 1000 * MS);
    ck_assert_uint_le(rig.left, 1);
    ck_assert_uint_eq(rig.sent, 0);
    ck_assert_uint_eq(np_front_open(rig.front), 0);
    client_free(c);
}
END_TEST

START_TEST(a_client_that_leaves_a_stream_that_waits_is_told_once)
{
    struct client *c;
    struct np_http_call *call = begin(&c);
    np_http_stream_put(call, NP_SPAN("x"));
    ck_assert(gets(c, "x\r\n"));
    rig_turn_for(10);
    client_close(c);
    rig_until(&rig.left, 1);
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.left, 1);
    client_free(c);
}
END_TEST

START_TEST(more_than_may_wait_ends_the_connection)
{
    static char piece[65536];
    struct client *c;
    struct np_http_call *call = begin(&c);
    for (size_t n = 0; n <= NP_HTTP_STREAM_MAX; n += sizeof piece)
        np_http_stream_put(call, np_span_make(piece, sizeof piece));
    rig_until(&rig.gones, 1);
    ck_assert_uint_eq(rig.sent, 0);
    client_free(c);
}
END_TEST

START_TEST(a_front_that_is_freed_ends_its_streams)
{
    struct client *c, *d;
    struct np_http_call *call = begin(&c);
    np_http_stream_put(call, NP_SPAN("x"));
    ck_assert(gets(c, "x\r\n"));
    rig.waiting[0] = rig.waiting[--rig.n_waiting];
    call = begin(&d);
    np_http_stream_put(call, NP_SPAN("not yet taken"));
    np_front_free(rig.front);
    ck_assert_uint_eq(rig.gones, 2);
    rig_start();
    client_free(c);
    client_free(d);
}
END_TEST

static void setup_impatient(void)
{
    rig_listen();
    rig.config.patience_ms = 100;
    rig.config.stall_ms = 300;
    rig.config.comment_ms = 100;
    rig_start();
}

int main(void)
{
    Suite *s = suite_create("http/stream");
    TCase *t = tcase_create("streams");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_test(t, each_piece_leaves_at_once);
    tcase_add_test(t, pieces_that_wait_leave_together_and_in_order);
    tcase_add_test(t, a_connection_is_used_again_after_a_stream);
    tcase_add_test(t, a_connection_ends_after_a_stream_that_a_drain_has_met);
    tcase_add_test(t, the_owner_is_told_to_stop_and_to_go_on);
    tcase_add_loop_test(t, a_client_that_leaves_is_noticed_in_the_midst, 0, 9);
    tcase_add_test(t, a_client_that_leaves_a_stream_that_waits_is_told_once);
    tcase_add_test(t, more_than_may_wait_ends_the_connection);
    tcase_add_test(t, a_front_that_is_freed_ends_its_streams);
    suite_add_tcase(s, t);
    t = tcase_create("impatient");
    tcase_add_checked_fixture(t, setup_impatient, rig_teardown);
    tcase_add_test(t, a_reader_that_stalls_is_ended_and_counted_and_one_that_waits_is_not);
    tcase_add_test(t, a_silent_stream_gets_comments);
    suite_add_tcase(s, t);
    return rig_run(s);
}
