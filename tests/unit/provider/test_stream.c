/* Replies that come piece by piece: the time for their first text, turns, pauses. */
#include "client.h"

#define HEAD                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
    "Transfer-Encoding: chunked\r\n\r\n"

static void rest(unsigned ms)
{
    usleep(ms * 1000);
}

/* A piece every 30 ms. */
static void serve_pieces(struct np_raw_conn *c)
{
    if (!np_raw_read(c))
        return;
    np_raw_say(c, HEAD);
    while (np_raw_send(c, "2\r\nab\r\n", 7))
        rest(30);
}

/* A megabyte at once. */
static void serve_much(struct np_raw_conn *c)
{
    static char piece[65536];
    if (!np_raw_read(c))
        return;
    np_raw_say(c, HEAD);
    for (int i = 0; i < 16; i++) {
        np_raw_say(c, "10000\r\n");
        np_raw_send(c, piece, sizeof piece);
        np_raw_say(c, "\r\n");
    }
    np_raw_say(c, "0\r\n\r\n");
    np_raw_wait_closed(c);
}

/* A short stream for each request. */
static void serve_short(struct np_raw_conn *c)
{
    while (np_raw_read(c))
        np_raw_say(c, HEAD "2\r\nab\r\n0\r\n\r\n");
}

static void open_stream(struct client *c, const struct np_raw_server *s)
{
    client_open(c);
    client_aim(c, s);
    c->spec.stream = true;
}

START_TEST(the_first_time_out_runs_until_the_stream_flows)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    c.spec.first_byte_timeout_ms = 200;
    struct got g;
    uint64_t before = np_loop_refresh_ns(c.loop);
    client_call(&c, &g);
    assert_how(&g, NP_CALL_FIRST_BYTE_TIMEOUT);
    ck_assert_uint_gt(g.datas, 0);
    ck_assert_uint_ge(np_loop_refresh_ns(c.loop) - before, 200 * NP_NS_PER_MS);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void flow(struct got *g)
{
    if (g->datas == 1)
        np_call_flows(g->call, np_loop_now_ns(g->client->loop) + 400 * NP_NS_PER_MS);
}

START_TEST(a_stream_that_flows_has_the_time_that_it_was_given)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    c.spec.first_byte_timeout_ms = 200;
    struct got g = {.on_data = flow};
    uint64_t before = np_loop_refresh_ns(c.loop);
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_TOTAL_TIMEOUT);
    ck_assert_uint_ge(np_loop_refresh_ns(c.loop) - before, 400 * NP_NS_PER_MS);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void put_off(struct got *g)
{
    if (g->datas == 1)
        np_call_put_off(g->call, np_loop_now_ns(g->client->loop) + 400 * NP_NS_PER_MS);
}

START_TEST(a_call_that_is_put_off_has_more_time)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = put_off};
    uint64_t before = np_loop_refresh_ns(c.loop);
    c.spec.deadline_ns = before + 200 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_TOTAL_TIMEOUT);
    ck_assert_uint_ge(np_loop_refresh_ns(c.loop) - before, 400 * NP_NS_PER_MS);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(putting_a_call_off_gives_its_first_text_no_more_time)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = put_off};
    c.spec.first_byte_timeout_ms = 200;
    c.spec.deadline_ns = np_loop_refresh_ns(c.loop) + 300 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_FIRST_BYTE_TIMEOUT);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* A piece before the request was read, and then nothing. */
static void serve_early(struct np_raw_conn *c)
{
    np_raw_say(c, HEAD "2\r\nab\r\n");
    rest(500);
}

static bool uploaded;

/* Frees the request's body as soon as it may. */
static void let_go(struct got *g)
{
    if (g->datas > 1)
        return;
    uploaded = np_call_uploaded(g->call);
    if (uploaded)
        free(g->other);
}

START_TEST(a_body_that_has_left_is_not_looked_at_any_more)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = let_go, .other = strdup("{\"prompt\":\"hello\"}")};
    c.spec.body = np_span_of(g.other);
    c.spec.deadline_ns = np_loop_refresh_ns(c.loop) + 300 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    ck_assert(uploaded);
    ck_assert_uint_gt(g.datas, 1);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_body_that_is_still_being_sent_is_not_let_go)
{
    enum { BYTES = 32 << 20 }; /* more than sockets hold */
    struct np_raw_server *s = np_raw_start(serve_early, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = let_go, .other = calloc(1, BYTES)};
    c.spec.body = np_span_make(g.other, BYTES);
    c.spec.deadline_ns = np_loop_refresh_ns(c.loop) + 2000 * NP_NS_PER_MS;
    uploaded = true;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    ck_assert_uint_gt(g.datas, 0);
    ck_assert(!uploaded);
    free(g.other);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* A stream lets its header lines go once it flows. */
START_TEST(each_stream_sends_its_own_header_lines)
{
    struct np_raw_server *s = np_raw_start(serve_short, NULL);
    struct client c;
    open_stream(&c, s);
    for (int i = 0; i < 3; i++) {
        char value[32];
        snprintf(value, sizeof value, "number-%d", i);
        struct np_call_field field = {NP_SPAN("X-Which"), np_span_of(value)};
        c.spec.fields = &field;
        c.spec.n_fields = 1;
        struct got g = {.on_data = flow};
        client_start(&c, &g);
        client_until(&c, &g.dones, 1);
        assert_how(&g, NP_CALL_COMPLETE);
        char *request = np_raw_last(s);
        ck_assert_ptr_nonnull(strstr(request, value));
        ck_assert_ptr_eq(strstr(strstr(request, "X-Which") + 1, "X-Which"), NULL);
        free(request);
        got_free(&g);
    }
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* What a turn gave at most, and in how many. */
static size_t turn_max, in_turn;

static void count_turn(struct got *g)
{
    if (g->datas == 1)
        np_call_flows(g->call, UINT64_MAX);
    in_turn = g->body.n - in_turn;
    turn_max = in_turn > turn_max ? in_turn : turn_max;
    in_turn = g->body.n;
}

START_TEST(a_stream_gives_others_their_turn)
{
    struct np_raw_server *s = np_raw_start(serve_much, NULL);
    struct client c;
    open_stream(&c, s);
    turn_max = in_turn = 0;
    struct got g = {.on_data = count_turn};
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.body.n, 16 * 65536);
    ck_assert_uint_le(turn_max, NP_CALL_TURN_BYTES);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void pause_once(struct got *g)
{
    if (g->datas == 1) {
        np_call_flows(g->call, UINT64_MAX);
        np_call_pause(g->call);
    }
}

START_TEST(a_paused_stream_keeps_little_and_loses_nothing)
{
    struct np_raw_server *s = np_raw_start(serve_much, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = pause_once};
    client_start(&c, &g);
    client_until(&c, &g.datas, 1);
    client_turn_for(&c, 50);
    ck_assert_uint_le(g.body.n, NP_CALL_TURN_BYTES);
    np_call_resume(g.call);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.body.n, 16 * 65536);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static uint64_t began_ns;

static void pause_for_limit(struct got *g)
{
    if (g->datas == 1) {
        np_call_flows(g->call, began_ns + 300 * NP_NS_PER_MS);
        np_call_pause(g->call);
    }
}

START_TEST(a_pause_puts_the_deadline_off)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = pause_for_limit};
    began_ns = np_loop_refresh_ns(c.loop);
    c.spec.limit_ns = began_ns + 5000 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_turn_for(&c, 500);
    ck_assert_uint_eq(g.dones, 0);
    np_call_resume(g.call);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_TOTAL_TIMEOUT);
    ck_assert_uint_ge(np_loop_refresh_ns(c.loop) - began_ns, 700 * NP_NS_PER_MS);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_pause_does_not_put_the_deadline_off_beyond_the_limit)
{
    struct np_raw_server *s = np_raw_start(serve_pieces, NULL);
    struct client c;
    open_stream(&c, s);
    struct got g = {.on_data = pause_for_limit};
    began_ns = np_loop_refresh_ns(c.loop);
    c.spec.limit_ns = began_ns + 400 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_TOTAL_TIMEOUT);
    ck_assert_uint_ge(np_loop_refresh_ns(c.loop) - began_ns, 400 * NP_NS_PER_MS);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("provider/stream");
    TCase *t = tcase_create("streams");
    tcase_add_test(t, a_body_that_has_left_is_not_looked_at_any_more);
    tcase_add_test(t, a_body_that_is_still_being_sent_is_not_let_go);
    tcase_add_test(t, the_first_time_out_runs_until_the_stream_flows);
    tcase_add_test(t, a_stream_that_flows_has_the_time_that_it_was_given);
    tcase_add_test(t, a_call_that_is_put_off_has_more_time);
    tcase_add_test(t, putting_a_call_off_gives_its_first_text_no_more_time);
    tcase_add_test(t, each_stream_sends_its_own_header_lines);
    tcase_add_test(t, a_stream_gives_others_their_turn);
    tcase_add_test(t, a_paused_stream_keeps_little_and_loses_nothing);
    tcase_add_test(t, a_pause_puts_the_deadline_off);
    tcase_add_test(t, a_pause_does_not_put_the_deadline_off_beyond_the_limit);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
