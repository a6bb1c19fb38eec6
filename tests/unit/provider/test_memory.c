/* Every allocation of a call fails once, ours and libcurl's: the call ends in some way, once, and the
 * next is whole. */
#include "provider/pool.h"

#include "client.h"
#include "support/fail_alloc.h"

static void serve_hello(struct np_raw_conn *c)
{
    while (np_raw_read(c)) {
        np_raw_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
    }
}

/* As client.h's, but without ck_assert, which allocates. */
static void quiet_head(void *ctx, struct np_call *call, unsigned status)
{
    (void)call;
    ((struct got *)ctx)->heads++;
    ((struct got *)ctx)->status = status;
}

static void quiet_data(void *ctx, struct np_call *call, struct np_span bytes)
{
    (void)call;
    ((struct got *)ctx)->datas++;
    (void)np_buf_span(&((struct got *)ctx)->body, bytes);
}

static void quiet_done(void *ctx, struct np_call *call, const struct np_call_end *end)
{
    (void)call;
    ((struct got *)ctx)->dones++;
    ((struct got *)ctx)->end = *end;
}

static const struct np_call_ops quiet_ops = {quiet_head, quiet_data, quiet_done};

START_TEST(without_memory_there_is_no_upstream)
{
    struct np_loop *loop = np_loop_new(&np_clock_live);
    struct np_upstream_config config = {.ca_file = "/a"};
    np_upstream_free(np_upstream_new(loop, &config));
    struct np_upstream *u = NULL;
    size_t n = 0;
    for (; !u; n++) {
        np_fail_nth(n);
        u = np_upstream_new(loop, &config);
        np_fail_never();
        ck_assert_uint_lt(n, 100);
    }
    ck_assert_uint_gt(n, 3);
    np_upstream_free(u);
    np_loop_free(loop);
}
END_TEST

/* One call of a new upstream, the n-th allocation from its start on failing. False when there was
 * no n-th. */
static bool call_with_failure(const struct np_raw_server *s, size_t n, unsigned *refused,
                              unsigned *failed)
{
    const struct np_call_field fields[] = {{NP_SPAN("X-A"), NP_SPAN("b")}};
    struct client c;
    client_open(&c);
    client_aim(&c, s);
    c.spec.fields = fields;
    c.spec.n_fields = 1;
    struct np_call_spec spec = c.spec;
    spec.deadline_ns = np_loop_refresh_ns(c.loop) + 2 * NP_NS_PER_S;
    struct got g = {.client = &c};
    np_buf_init(&g.body, 100);
    np_buf_reserve(&g.body, 100);
    struct np_timer room; /* the timers' heap ends the process when it can't grow */
    np_timer_init(&room, NULL, NULL);
    np_timer_set(np_loop_timers(c.loop), &room, UINT64_MAX - 1);

    np_fail_nth(n);
    enum np_err err = np_upstream_start(c.up, &spec, &quiet_ops, &g, &g.call);
    while (err == NP_OK && g.dones == 0) {
        np_loop_turn(c.loop, NP_NS_PER_S / 10);
    }
    bool happened = np_fail_happened();
    np_fail_never();

    *refused += err != NP_OK;
    if (err == NP_OK) {
        ck_assert_msg(g.end.how != NP_CALL_COMPLETE || np_span_is(np_buf_view(&g.body), "hello"),
                      "allocation %zu: complete, but without its body", n);
        *failed += g.end.how != NP_CALL_COMPLETE;
        ck_assert_uint_eq(g.dones, 1);
    } else {
        ck_assert_int_eq(err, NP_E_NOMEM);
        ck_assert_uint_eq(g.heads + g.datas + g.dones, 0);
    }
    got_free(&g);
    g = (struct got){0};
    client_call(&c, &g);
    ck_assert_msg(g.end.how == NP_CALL_COMPLETE, "the call after allocation %zu: %s (%s)", n,
                  np_call_how_name(g.end.how), g.end.detail);
    got_free(&g);
    np_timer_stop(np_loop_timers(c.loop), &room);
    client_close(&c);
    return happened;
}

START_TEST(whichever_allocation_fails_a_call_ends_once_and_the_next_is_whole)
{
    struct np_raw_server *s = np_raw_start(serve_hello, NULL);
    unsigned refused = 0, failed = 0;
    size_t n = 0;
    while (call_with_failure(s, n, &refused, &failed)) {
        n++;
    }
    printf("%zu allocations: %u calls not started, %u failed\n", n, refused, failed);
    ck_assert_uint_gt(refused, 10);
    ck_assert_uint_gt(failed, 5);
    np_raw_stop(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("provider/memory");
    TCase *t = tcase_create("memory");
    tcase_add_test(t, without_memory_there_is_no_upstream);
    tcase_add_test(t, whichever_allocation_fails_a_call_ends_once_and_the_next_is_whole);
    suite_add_tcase(s, t);
    return run_suite(s);
}
