/* Every n-th allocation fails once: each request is answered or its connection ends, and nothing is
 * left over. The library's allocations fail too. */
#include "http/rig.h"

#include "support/fail_alloc.h"

#define ALLOCATIONS_MAX 400

/* The loop's timers grow now, not later: without memory for them the process ends. */
static void warm_up(void)
{
    struct client *clients[8];
    for (int i = 0; i < 8; i++) {
        clients[i] = client_new();
        ck_assert(alive(clients[i]));
        client_say(clients[i],
                   "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n");
    }
    rig_turn_for(20);
    for (int i = 0; i < 8; i++) {
        client_free(clients[i]);
    }
    rig_turn_for(20);
}

static const char *const requests[] = {
    "GET /head HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n",
    "POST /whole?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "POST /whole HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    "96\r\nhellohellohellohellohellohellohellohellohellohellohellohellohellohellohello"
    "hellohellohellohellohellohellohellohellohellohellohellohellohellohellohello\r\n0\r\n\r\n",
    "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\nhello",
    "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /whole HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
};

/* Whether an allocation failed meanwhile. */
static bool ask_with_failure(const char *request, size_t n)
{
    struct client *c = client_new();
    send(c->fd, request, strlen(request), 0);
    uint64_t end = rig_now() + 1500 * MS;
    np_fail_nth(n);
    do {
        np_loop_turn(rig.loop, MS);
        if (rig.n_waiting > 0) {
            struct np_http_call *call = rig.waiting[0];
            rig.n_waiting = 0;
            rig_text(call, 200, NP_SPAN("later"), false);
        }
        client_pull(c);
    } while (!strstr(c->in, "\r\n\r\n") && !client_ended(c) && rig_now() < end);
    bool failed = np_fail_happened();
    np_fail_never();
    struct reply r = client_read_for(c, false, 100);
    ck_assert_msg(r.status != 0 || client_ended(c), "%s: hangs when allocation %zu fails", request,
                  n);
    ck_assert_msg(failed || r.status != 0, "%s: no reply although memory was there", request);
    client_free(c);
    rig_turn_for(2);
    return failed;
}

START_TEST(a_request_survives_any_failing_allocation)
{
    size_t n = 0;
    warm_up();
    while (ask_with_failure(requests[_i], n)) {
        ck_assert_uint_lt(++n, ALLOCATIONS_MAX);
    }
    ck_assert_uint_gt(n, 3);
    ck_assert_int_eq(ask("GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 404);
}
END_TEST

/* A stream of two pieces; whether an allocation failed meanwhile. */
static bool stream_with_failure(size_t n)
{
    struct client *c = client_new();
    const char *request = "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send(c->fd, request, strlen(request), 0);
    rig_until(&rig.n_waiting, 1);
    struct np_http_call *call = rig.waiting[0];
    unsigned gones = rig.gones;
    uint64_t end = rig_now() + 1500 * MS;
    np_fail_nth(n);
    np_http_stream_begin(call,
                         &(struct np_http_reply){.status = 200, .content_type = "text/plain"});
    (void)np_http_stream_put(call, NP_SPAN("one;"));
    for (int i = 0; i < 3 && rig.gones == gones; i++)
        np_loop_turn(rig.loop, MS);
    if (rig.gones == gones) {
        (void)np_http_stream_put(call, NP_SPAN("two;"));
        np_http_stream_end(call);
    }
    while (rig.gones == gones && rig_now() < end)
        np_loop_turn(rig.loop, MS);
    bool failed = np_fail_happened();
    np_fail_never();
    client_pull(c);
    ck_assert_uint_eq(rig.gones, gones + 1);
    ck_assert(failed || (strstr(c->in, "one;") && strstr(c->in, "two;")));
    client_free(c);
    rig_turn_for(2);
    return failed;
}

START_TEST(a_stream_survives_any_failing_allocation)
{
    size_t n = 0;
    warm_up();
    while (stream_with_failure(n)) {
        ck_assert_uint_lt(++n, ALLOCATIONS_MAX);
    }
    ck_assert_uint_gt(n, 3);
    ck_assert_int_eq(ask("GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 404);
}
END_TEST

static void count_open(void)
{
    rig_listen();
}

static void close_all(void)
{
    np_loop_free(rig.loop);
    close(rig.listen_fd);
}

START_TEST(a_front_is_born_whole_or_not_at_all)
{
    struct np_front *f = NULL;
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        f = np_front_new(rig.loop, &rig.config, rig_ops());
        np_fail_never();
        if (f) {
            break;
        }
        ck_assert_uint_lt(n, ALLOCATIONS_MAX);
    }
    ck_assert_uint_gt(n, 1);
    rig.front = f;
    ck_assert_int_eq(ask("GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 404);
    np_front_free(f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("memory");
    TCase *t = tcase_create("requests");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_loop_test(t, a_request_survives_any_failing_allocation, 0,
                        sizeof requests / sizeof requests[0]);
    tcase_add_test(t, a_stream_survives_any_failing_allocation);
    suite_add_tcase(s, t);
    t = tcase_create("birth");
    tcase_add_checked_fixture(t, count_open, close_all);
    tcase_add_test(t, a_front_is_born_whole_or_not_at_all);
    suite_add_tcase(s, t);
    return rig_run(s);
}
