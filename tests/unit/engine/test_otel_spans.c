/* Spans on their way to a collector: where they wait, and what is sent when memory is short. */
#include "engine/otel_impl.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/fail_alloc.h"
#include "support/raw_server.h"

#define LARGE 900000 /* bytes of a span, of which a batch has room for 9 */
#define TURN_NS (NP_NS_PER_S / 10)

static struct neap_engine engine;
static struct np_otel *otel;
static struct np_raw_server *collector;
static char bytes[LARGE];

static void serve(struct np_raw_conn *conn)
{
    while (np_raw_read(conn))
        np_raw_say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
}

static void set(const char *name, const char *value)
{
    ck_assert_int_eq(setenv(name, value, 1), 0);
}

/* The exporter's thread is not started: its loop is turned here. */
static void make(const char *batch)
{
    char url[64];
    collector = np_raw_start(serve, NULL);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", np_raw_port(collector));
    set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    set("OTEL_METRICS_EXPORTER", "none");
    set("OTEL_BSP_MAX_QUEUE_SIZE", "65536");
    set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch);
    ck_assert_int_eq(np_otel_new(&engine, &otel), NP_OK);
    ck_assert_ptr_nonnull(otel);
    memset(bytes, 'x', sizeof bytes);
}

static void teardown(void)
{
    np_otel_free(otel);
    np_raw_stop(collector);
}

static void take(size_t n)
{
    np_otel_take(otel, np_span_make(bytes, n), 1);
}

static void turn_until(const _Atomic uint64_t *counter, uint64_t value)
{
    uint64_t end_ns = np_clock_mono_ns(&np_clock_live) + 60 * NP_NS_PER_S;
    while (atomic_load(counter) < value && np_clock_mono_ns(&np_clock_live) < end_ns)
        np_loop_turn(otel->loop, TURN_NS);
}

START_TEST(a_batch_that_is_full_of_bytes_is_followed_by_the_next)
{
    make("65536");
    for (size_t i = 0; i < 20; i++)
        take(LARGE);
    ck_assert_uint_eq(otel->dropped, 0);
    ck_assert_uint_eq(otel->queued, 20);
    ck_assert_uint_eq(otel->n_batches, 3);
}
END_TEST

START_TEST(batches_full_of_bytes_are_sent_before_the_delay)
{
    make("65536");
    for (size_t i = 0; i < 20; i++)
        take(LARGE);
    turn_until(&otel->sent, 18);
    ck_assert_uint_eq(otel->sent, 18);
    ck_assert_uint_eq(otel->queued, 2);
}
END_TEST

START_TEST(what_no_batch_has_bytes_for_is_dropped_and_counted)
{
    make("65536");
    for (size_t i = 0; i < 30; i++)
        take(LARGE);
    ck_assert_uint_eq(otel->dropped, 3);
    ck_assert_uint_eq(otel->queued, 27);
}
END_TEST

/* ExportTraceServiceRequest { ResourceSpans { ScopeSpans } } up to the spans. */
static struct np_span scope_of(struct np_span message)
{
    unsigned field;
    uint64_t n;
    struct np_span resource, scope;
    ck_assert(np_otlp_next(&message, &field, &n, &resource) && field == 1);
    ck_assert_uint_eq(message.n, 0);
    while (np_otlp_next(&resource, &field, &n, &scope)) {
        if (field == 2)
            return scope;
    }
    ck_abort_msg("no spans in it");
}

START_TEST(a_message_holds_its_spans_and_nothing_behind_them)
{
    struct np_span scope;
    make("2");
    take(1000);
    take(2000);
    np_loop_turn(otel->loop, TURN_NS);
    scope = scope_of(np_buf_view(&otel->traces.body));
    ck_assert_uint_gt(scope.n, 3000);
    ck_assert_mem_eq(scope.p + scope.n - 3000, bytes, 3000);
}
END_TEST

START_TEST(batches_that_are_sent_one_by_one_use_the_memory_of_few)
{
    size_t used = 0;
    make("1");
    for (unsigned i = 0; i < 40; i++) {
        take(10000);
        turn_until(&otel->sent, i + 1);
        ck_assert_uint_eq(otel->sent, i + 1);
    }
    for (size_t i = 0; i < otel->max_batches; i++)
        used += otel->batches[i].spans.cap > 0;
    ck_assert_uint_ge(used, 1);
    ck_assert_uint_le(used, 2);
}
END_TEST

/* The memory that one let go was the next one's, which waits. */
START_TEST(batches_that_waited_together_are_all_sent)
{
    make("1");
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 5; i++)
            take(1000 * (i + 1));
        turn_until(&otel->sent, 5 * round);
        ck_assert_uint_eq(otel->sent, 5 * round);
        ck_assert_uint_eq(otel->queued, 0);
        ck_assert_uint_eq(np_raw_requests(collector), 5 * round);
    }
}
END_TEST

/* _i: the allocation that fails. */
START_TEST(spans_without_memory_are_dropped_and_the_next_message_is_whole)
{
    make("1");
    np_fail_nth((size_t)_i);
    take(10000);
    ck_assert(np_fail_happened());
    np_fail_never();
    ck_assert_uint_eq(otel->dropped, 1);
    take(20000);
    ck_assert_uint_eq(otel->queued, 1);
    np_loop_turn(otel->loop, TURN_NS);
    struct np_span scope = scope_of(np_buf_view(&otel->traces.body));
    ck_assert_mem_eq(scope.p + scope.n - 20000, bytes, 20000);
    turn_until(&otel->sent, 1);
    ck_assert_uint_eq(otel->sent, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("otel_spans");
    TCase *t = tcase_create("waiting");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, a_batch_that_is_full_of_bytes_is_followed_by_the_next);
    tcase_add_test(t, batches_full_of_bytes_are_sent_before_the_delay);
    tcase_add_test(t, what_no_batch_has_bytes_for_is_dropped_and_counted);
    tcase_add_test(t, a_message_holds_its_spans_and_nothing_behind_them);
    tcase_add_test(t, batches_that_are_sent_one_by_one_use_the_memory_of_few);
    tcase_add_test(t, batches_that_waited_together_are_all_sent);
    tcase_add_loop_test(t, spans_without_memory_are_dropped_and_the_next_message_is_whole, 0, 2);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
