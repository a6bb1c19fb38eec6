/* What the caller may do with calls: abort, pause, start in callbacks, many at once; and the shards
 * beneath. */
#include "provider/pool.h"

#include "client.h"

#include <unistd.h>

static void serve_hello(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    }
}

static void serve_half(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        np_raw_wait_closed(c);
    }
}

static void serve_silence(struct np_raw_conn *c)
{
    if (np_raw_read(c)) {
        np_raw_wait_closed(c);
    }
}

/* ------------------------------------------------------------------------------------------- abort */

static void meddle(struct got *g)
{
    np_call_pause(g->call);
    np_call_resume(g->call);
    np_call_abort(g->call);
}

static void abort_this(struct got *g)
{
    np_call_abort(g->call);
}

static void abort_other(struct got *g)
{
    struct got *other = g->other;
    np_call_abort(other->call);
}

START_TEST(an_aborted_call_has_no_events_and_its_connection_is_closed)
{
    struct np_raw_server *s = np_raw_start(serve_silence, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {0};
    client_start(&c, &g);
    client_until_server(&c, s, np_raw_requests, 1);
    np_call_abort(g.call);
    client_until_server(&c, s, np_raw_closed, 1);
    ck_assert_uint_eq(g.heads + g.datas + g.dones, 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_call_that_is_aborted_at_once_sends_nothing)
{
    struct np_raw_server *s = np_raw_start(serve_silence, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {0};
    client_start(&c, &g);
    np_call_abort(g.call);
    client_turn_for(&c, 20);
    ck_assert_uint_eq(np_raw_connections(s), 0);
    ck_assert_uint_eq(g.heads + g.datas + g.dones, 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_call_may_be_aborted_in_its_head)
{
    struct np_raw_server *s = np_raw_start(serve_half, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_head = abort_this};
    client_start(&c, &g);
    client_until_server(&c, s, np_raw_closed, 1);
    ck_assert_uint_eq(g.heads, 1);
    ck_assert_uint_eq(g.datas + g.dones, 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_call_may_be_aborted_in_its_data)
{
    struct np_raw_server *s = np_raw_start(serve_half, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_data = abort_this};
    client_start(&c, &g);
    client_until_server(&c, s, np_raw_closed, 1);
    ck_assert_uint_eq(g.datas, 1);
    ck_assert_uint_eq(g.dones, 0);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(aborting_pausing_and_resuming_a_call_in_its_done_does_nothing)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_done = meddle};
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    got_free(&g);
    client_call(&c, &g);
    ck_assert_uint_eq(g.end.connect_ns, 0);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* Both are answered in the same moment; the first to be told ends the other. */
static void abort_in(bool head, bool done)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    for (int round = 0; round < 20; round++) {
        struct got a = {0}, b = {0};
        a.other = &b;
        b.other = &a;
        a.on_head = b.on_head = head ? abort_other : NULL;
        a.on_data = b.on_data = !head && !done ? abort_other : NULL;
        a.on_done = b.on_done = done ? abort_other : NULL;
        client_start(&c, &a);
        client_start(&c, &b);
        np_loop_turn(c.loop, 0);
        usleep(2000); /* so that both replies are there */
        unsigned dones = 0;
        while (dones == 0) {
            np_loop_turn(c.loop, NP_NS_PER_MS);
            dones = a.dones + b.dones;
        }
        client_turn_for(&c, 2);
        ck_assert_uint_eq(a.dones + b.dones, 1);
        got_free(&a);
        got_free(&b);
    }
    client_close(&c);
    np_raw_stop(s);
}

START_TEST(a_call_may_abort_another_in_any_callback)
{
    abort_in(_i == 0, _i == 2);
}
END_TEST

START_TEST(the_body_may_be_freed_as_soon_as_a_call_is_aborted)
{
    enum { BODY = 8 << 20 };
    struct np_raw_server *s = np_raw_start(serve_silence, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {0};
    for (int turns = 0; turns < 6; turns++) {
        char *body = malloc(BODY);
        memset(body, 'b', BODY);
        c.spec.body = np_span_make(body, BODY);
        client_start(&c, &g);
        for (int i = 0; i < turns; i++) {
            np_loop_turn(c.loop, NP_NS_PER_MS);
        }
        np_call_abort(g.call);
        free(body);
        client_turn_for(&c, 5);
    }
    ck_assert_uint_eq(g.dones, 0);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(freeing_the_upstream_ends_calls_without_events)
{
    struct np_raw_server *s = np_raw_start(serve_half, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g[3] = {0};
    client_start(&c, &g[0]);
    client_until(&c, &g[0].datas, 1);
    client_start(&c, &g[1]);
    client_until_server(&c, s, np_raw_requests, 2);
    client_start(&c, &g[2]);
    client_close(&c);
    ck_assert_uint_eq(g[0].dones + g[1].dones + g[2].dones, 0);
    got_free(&g[0]);
    got_free(&g[1]);
    np_raw_stop(s);
}
END_TEST

static void start_again(struct got *g)
{
    struct got *next = g->other;
    if (next) {
        client_start(g->client, next);
    }
}

START_TEST(a_call_may_be_started_in_the_done_of_another)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g[10] = {0};
    for (size_t i = 0; i < 10; i++) {
        g[i].on_done = start_again;
        g[i].other = i < 9 ? &g[i + 1] : NULL;
    }
    client_start(&c, &g[0]);
    client_until(&c, &g[9].dones, 1);
    for (size_t i = 0; i < 10; i++) {
        assert_how(&g[i], NP_CALL_COMPLETE);
        assert_body(&g[i], "hello");
        got_free(&g[i]);
    }
    ck_assert_uint_eq(np_raw_connections(s), 1);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* ------------------------------------------------------------------------------------------- pause */

#define LARGE ((size_t)8 << 20)

static void serve_large(struct np_raw_conn *c)
{
    static char bytes[1 << 16];
    memset(bytes, 'x', sizeof bytes);
    while (np_raw_read(c)) {
        char head[96];
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", LARGE);
        np_raw_say(c, head);
        for (size_t at = 0; at < LARGE && np_raw_send(c, bytes, sizeof bytes); at += sizeof bytes) {
        }
    }
}

static void pause_this(struct got *g)
{
    if (g->datas <= 1) {
        np_call_pause(g->call);
    }
}

/* on_head or on_data pauses; the reply stands still until it is resumed. */
static void pause_and_resume(struct got *g)
{
    struct np_raw_server *s = np_raw_start(serve_large, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.idle_timeout_ms = 500;
    client_start(&c, g);
    client_until(&c, &g->heads, 1);
    client_turn_for(&c, 700); /* longer than the idle timeout, which a pause suspends */
    size_t before = g->body.n;
    ck_assert_uint_le(before, (size_t)2 * NP_SCRATCH_BYTES);
    client_turn_for(&c, 20);
    ck_assert_uint_eq(g->body.n, before);
    ck_assert_uint_eq(g->dones, 0);
    g->on_head = g->on_data = NULL;
    np_call_pause(g->call);
    np_call_resume(g->call);
    np_call_resume(g->call);
    client_until(&c, &g->dones, 1);
    assert_how(g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g->body.n, LARGE);
    got_free(g);
    client_close(&c);
    np_raw_stop(s);
}

START_TEST(a_paused_call_stands_still_until_it_is_resumed)
{
    struct got in_head = {.on_head = pause_this}, in_data = {.on_data = pause_this};
    pause_and_resume(_i ? &in_head : &in_data);
}
END_TEST

START_TEST(a_call_that_is_paused_before_its_reply_keeps_still_after_the_head)
{
    struct np_raw_server *s = np_raw_start(serve_large, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {0};
    client_start(&c, &g);
    np_call_pause(g.call);
    client_until(&c, &g.heads, 1);
    client_turn_for(&c, 20);
    ck_assert_uint_eq(g.body.n, 0);
    np_call_resume(g.call);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.body.n, LARGE);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static void pause_briefly(struct got *g)
{
    np_call_pause(g->call);
    np_call_resume(g->call);
}

START_TEST(pausing_and_resuming_in_each_callback_loses_nothing)
{
    struct np_raw_server *s = np_raw_start(serve_large, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_head = pause_briefly, .on_data = pause_briefly};
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_COMPLETE);
    ck_assert_uint_eq(g.body.n, LARGE);
    got_free(&g);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_paused_call_ends_at_its_deadline_and_may_be_aborted)
{
    struct np_raw_server *s = np_raw_start(serve_large, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g = {.on_head = pause_this}, other = {.on_head = pause_this};
    client_start(&c, &other);
    c.spec.deadline_ns = np_loop_refresh_ns(c.loop) + 60 * NP_NS_PER_MS;
    client_start(&c, &g);
    client_until(&c, &g.dones, 1);
    assert_how(&g, NP_CALL_TOTAL_TIMEOUT);
    np_call_abort(other.call);
    client_until_server(&c, s, np_raw_connections, 2);
    ck_assert_uint_eq(other.dones, 0);
    got_free(&g);
    got_free(&other);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

/* ------------------------------------------------------------------------------------------ shards */

static unsigned live_shards(const struct np_upstream *u)
{
    unsigned n = 0;
    for (unsigned i = 0; i < u->n_shards; i++) {
        n += u->shards[i] != NULL;
    }
    return n;
}

START_TEST(many_calls_at_once_fill_the_lowest_shards_first)
{
    enum { CALLS = 90 };
    static struct got g[CALLS];
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open_with(&c, (struct np_upstream_config){.per_multi = 8, .reuse_idle_s = 20});
    client_aim(&c, s);
    for (int round = 0; round < 2; round++) {
        memset(g, 0, sizeof g);
        for (unsigned i = 0; i < CALLS; i++) {
            client_start(&c, &g[i]);
            ck_assert_uint_eq(g[i].call->shard->index, i / 8);
        }
        for (unsigned i = 0; i < CALLS; i++) {
            client_until(&c, &g[i].dones, 1);
            assert_how(&g[i], NP_CALL_COMPLETE);
            assert_body(&g[i], "hello");
            ck_assert_int_eq(g[i].end.connect_ns == 0, round == 1);
            got_free(&g[i]);
        }
    }
    ck_assert_uint_eq(live_shards(c.up), 12);
    ck_assert_uint_eq(np_raw_connections(s), CALLS);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(a_shard_that_stood_idle_for_too_long_ends_with_its_connections)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open_with(&c, (struct np_upstream_config){.per_multi = 1, .reuse_idle_s = 1});
    client_aim(&c, s);
    struct got g[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        client_start(&c, &g[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        client_until(&c, &g[i].dones, 1);
        got_free(&g[i]);
    }
    ck_assert_uint_eq(live_shards(c.up), 3);
    client_turn_for(&c, 1100);
    ck_assert_uint_eq(live_shards(c.up), 0);
    ck_assert_uint_eq(c.up->n_free_calls, c.up->one_call_a_handle ? 0 : 1);
    client_until_server(&c, s, np_raw_closed, 3);
    client_call(&c, &g[0]);
    assert_how(&g[0], NP_CALL_COMPLETE);
    got_free(&g[0]);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

static unsigned known_sockets(const struct np_upstream *u)
{
    unsigned n = 0;
    for (size_t i = 0; i < u->n_socks; i++) {
        n += u->socks[i] != NULL;
    }
    return n;
}

START_TEST(a_socket_is_forgotten_when_libcurl_lets_it_go_before_it_is_connected)
{
    struct deaf_port deaf;
    deaf_open(&deaf);
    struct client c;
    client_open(&c);
    snprintf(c.base, sizeof c.base, "%s://127.0.0.1:%u", _i ? "https" : "http", deaf.port);
    c.spec.base_url = np_span_of(c.base);
    struct got g = {0};
    client_start(&c, &g);
    client_turn_for(&c, 5);
    ck_assert_uint_eq(known_sockets(c.up), 1);
    np_call_abort(g.call);
    ck_assert_uint_eq(known_sockets(c.up), 0);
    client_close(&c);
    deaf_close(&deaf);
}
END_TEST

START_TEST(a_connection_that_carried_a_request_stays_registered_until_it_is_closed)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    struct got g;
    for (int i = 0; i < 2; i++) {
        client_call(&c, &g);
        got_free(&g);
        ck_assert_uint_eq(known_sockets(c.up), 1);
    }
    np_raw_stop(s);
    client_turn_for(&c, 5);
    ck_assert_uint_eq(known_sockets(c.up), 1); /* without events, or the loop would spin */
    client_close(&c);
}
END_TEST

START_TEST(warmed_connections_serve_the_first_calls)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    np_upstream_warm(c.up, c.spec.base_url, 2);
    client_until_server(&c, s, np_raw_requests, 2);
    char *sent = np_raw_last(s);
    ck_assert_int_eq(strncmp(sent, "HEAD /v1 HTTP/1.1\r\n", 19), 0);
    free(sent);
    client_turn_for(&c, 20);
    struct got g[2] = {0};
    client_start(&c, &g[0]);
    client_start(&c, &g[1]);
    for (size_t i = 0; i < 2; i++) {
        client_until(&c, &g[i].dones, 1);
        assert_how(&g[i], NP_CALL_COMPLETE);
        got_free(&g[i]);
    }
    sent = np_raw_last(s);
    ck_assert_int_eq(strncmp(sent, "POST /v1/chat HTTP/1.1\r\n", 24), 0);
    free(sent);
    client_close(&c);
    np_raw_stop(s);
}
END_TEST

START_TEST(warming_what_can_not_be_called_does_nothing)
{
    struct client c;
    client_open(&c);
    np_upstream_warm(c.up, NP_SPAN("http://169.254.169.254"), 3);
    np_upstream_warm(c.up, NP_SPAN("http://127.0.0.1:1"), 3);
    client_turn_for(&c, 20);
    client_close(&c);
}
END_TEST

static void add_shards(TCase *t)
{
    tcase_add_test(t, many_calls_at_once_fill_the_lowest_shards_first);
    tcase_add_test(t, a_shard_that_stood_idle_for_too_long_ends_with_its_connections);
    tcase_add_loop_test(t, a_socket_is_forgotten_when_libcurl_lets_it_go_before_it_is_connected, 0,
                        2);
    tcase_add_test(t, a_connection_that_carried_a_request_stays_registered_until_it_is_closed);
    tcase_add_test(t, warmed_connections_serve_the_first_calls);
    tcase_add_test(t, warming_what_can_not_be_called_does_nothing);
}

int main(void)
{
    Suite *s = suite_create("provider/control");
    TCase *t = tcase_create("control");
    tcase_add_test(t, an_aborted_call_has_no_events_and_its_connection_is_closed);
    tcase_add_test(t, a_call_that_is_aborted_at_once_sends_nothing);
    tcase_add_test(t, a_call_may_be_aborted_in_its_head);
    tcase_add_test(t, a_call_may_be_aborted_in_its_data);
    tcase_add_test(t, aborting_pausing_and_resuming_a_call_in_its_done_does_nothing);
    tcase_add_loop_test(t, a_call_may_abort_another_in_any_callback, 0, 3);
    tcase_add_test(t, the_body_may_be_freed_as_soon_as_a_call_is_aborted);
    tcase_add_test(t, freeing_the_upstream_ends_calls_without_events);
    tcase_add_test(t, a_call_may_be_started_in_the_done_of_another);
    tcase_add_loop_test(t, a_paused_call_stands_still_until_it_is_resumed, 0, 2);
    tcase_add_test(t, a_call_that_is_paused_before_its_reply_keeps_still_after_the_head);
    tcase_add_test(t, pausing_and_resuming_in_each_callback_loses_nothing);
    tcase_add_test(t, a_paused_call_ends_at_its_deadline_and_may_be_aborted);
    add_shards(t);
    suite_add_tcase(s, t);
    return run_suite(s);
}
