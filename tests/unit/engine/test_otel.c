/* The exporter's settings, and one message to a collector, whichever allocation fails. */
#include "engine/otel_impl.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/fail_alloc.h"
#include "support/raw_server.h"

/* --- settings */

#define VARIABLES 16

static struct {
    const char *name, *value;
} variables[VARIABLES];
static size_t n_variables;
static char warned[1024];
static struct np_otel_config c;

static const char *get(void *ctx, const char *name)
{
    (void)ctx;
    for (size_t i = 0; i < n_variables; i++) {
        if (strcmp(variables[i].name, name) == 0)
            return variables[i].value;
    }
    return NULL;
}

static void warn(void *ctx, const char *name, const char *what)
{
    (void)ctx;
    (void)what;
    size_t n = strlen(warned);
    (void)snprintf(warned + n, sizeof warned - n, "%s ", name);
}

static const struct np_otel_env env = {.get = get, .warn = warn};

static void set(const char *name, const char *value)
{
    variables[n_variables].name = name;
    variables[n_variables++].value = value;
}

static void read_all(void)
{
    ck_assert_int_eq(np_otel_config_read(&c, &env), NP_OK);
}

static void teardown(void)
{
    np_otel_config_free(&c);
}

START_TEST(without_an_address_nothing_is_on)
{
    set("OTEL_SERVICE_NAME", "x");
    set("OTEL_EXPORTER_OTLP_ENDPOINT", "");
    read_all();
    ck_assert(!c.traces.on && !c.metrics.on);
}
END_TEST

START_TEST(the_defaults_are_the_standards)
{
    set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    read_all();
    ck_assert(c.traces.on && c.metrics.on && !c.traces.json && !c.metrics.json);
    ck_assert_str_eq(c.traces.url, "http://127.0.0.1:4318/v1/traces");
    ck_assert_str_eq(c.metrics.url, "http://127.0.0.1:4318/v1/metrics");
    ck_assert_uint_eq(c.traces.timeout_ms, 10000);
    ck_assert_uint_eq(c.delay_ms, 5000);
    ck_assert_uint_eq(c.interval_ms, 60000);
    ck_assert_uint_eq(c.queue, 2048);
    ck_assert_uint_eq(c.batch, 512);
    ck_assert(c.rule.root == NP_SAMPLE_ALL && c.rule.follow);
    ck_assert_str_eq(c.attrs[0].key, "service.name");
    ck_assert_str_eq(c.attrs[0].value, "neap");
    ck_assert_str_eq(warned, "");
}
END_TEST

START_TEST(what_is_set_counts)
{
    set("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.internal/base/");
    set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/x");
    set("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json");
    set("OTEL_EXPORTER_OTLP_TIMEOUT", "2000");
    set("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3000");
    set("OTEL_EXPORTER_OTLP_HEADERS", " a = 1 ,b=%32%3 %zz,");
    set("OTEL_TRACES_SAMPLER", "traceidratio");
    set("OTEL_TRACES_SAMPLER_ARG", "0.25");
    set("OTEL_BSP_MAX_QUEUE_SIZE", "100");
    set("OTEL_RESOURCE_ATTRIBUTES", "a=1,service.name=desk,a=2");
    read_all();
    ck_assert_str_eq(c.traces.url, "http://127.0.0.1:1/x");
    ck_assert_str_eq(c.metrics.url, "https://collector.internal/base/v1/metrics");
    ck_assert(!c.traces.json && c.metrics.json);
    ck_assert_uint_eq(c.traces.timeout_ms, 2000);
    ck_assert_uint_eq(c.metrics.timeout_ms, 3000);
    ck_assert_uint_eq(c.traces.n_fields, 4);
    ck_assert(np_span_is(c.traces.fields[1].name, "user-agent"));
    ck_assert(np_span_starts(c.traces.fields[1].value, "neap/"));
    ck_assert(np_span_is(c.traces.fields[2].name, "a") &&
              np_span_is(c.traces.fields[2].value, "1"));
    ck_assert(np_span_is(c.traces.fields[3].name, "b"));
    ck_assert(np_span_is(c.traces.fields[3].value, "2%3 %zz"));
    ck_assert(c.rule.root == NP_SAMPLE_RATIO && !c.rule.follow && c.rule.ratio == 0.25);
    ck_assert_uint_eq(c.queue, 100);
    ck_assert_uint_eq(c.batch, 100);
    ck_assert_str_eq(c.attrs[0].value, "1");
    ck_assert_str_eq(c.attrs[1].value, "desk");
    ck_assert_str_eq(c.attrs[2].key, "service.version");
    ck_assert_str_eq(warned, "");
}
END_TEST

static const struct {
    const char *name, *value;
} wrong[] = {
    {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
    {"OTEL_EXPORTER_OTLP_HEADERS", "a"},     {"OTEL_EXPORTER_OTLP_HEADERS", "=1"},
    {"OTEL_TRACES_SAMPLER", "xray"},         {"OTEL_BSP_SCHEDULE_DELAY", "soon"},
    {"OTEL_BSP_MAX_QUEUE_SIZE", "0"},        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4294967297"},
    {"OTEL_METRIC_EXPORT_INTERVAL", "1.5"},  {"OTEL_RESOURCE_ATTRIBUTES", "a=1,b"},
};

START_TEST(what_is_wrong_is_told_and_left_out)
{
    set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces");
    set(wrong[_i].name, wrong[_i].value);
    read_all();
    char want[128];
    (void)snprintf(want, sizeof want, "%s ", wrong[_i].name);
    ck_assert_str_eq(warned, want);
}
END_TEST

START_TEST(an_address_that_may_not_be_called_is_told)
{
    static const char *const bad[] = {"127.0.0.1:4318", "ftp://127.0.0.1/", "http://",
                                      "http://u:p@127.0.0.1/", "http://169.254.169.254/"};
    set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        variables[0].value = bad[i];
        warned[0] = '\0';
        read_all();
        ck_assert_msg(!c.traces.on, "%s", bad[i]);
        ck_assert_str_eq(warned, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ");
        teardown();
    }
}
END_TEST

START_TEST(whichever_allocation_fails_the_settings_are_whole_or_none)
{
    size_t n = 0;
    enum np_err err = NP_E_NOMEM;
    set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    set("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2");
    set("OTEL_EXPORTER_OTLP_HEADERS", "a=1");
    for (; err; n++) {
        np_fail_nth(n);
        err = np_otel_config_read(&c, &env);
        np_fail_never();
        ck_assert(err == NP_OK || err == NP_E_NOMEM);
        np_otel_config_free(&c);
        ck_assert_uint_lt(n, 100);
    }
    ck_assert_uint_gt(n, 1);
}
END_TEST

/* --- one message */

static unsigned dones, sents;

static void done(void *ctx, bool sent, uint64_t rejected)
{
    (void)ctx;
    (void)rejected;
    dones++;
    sents += sent;
}

static void serve(struct np_raw_conn *conn)
{
    while (np_raw_read(conn))
        np_raw_say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
}

/* False when there was no n-th allocation. */
static bool send_with_failure(const struct np_raw_server *server, size_t n)
{
    struct np_otel_signal_config config = {.on = true, .json = true, .timeout_ms = 5000};
    struct np_rng rng;
    struct np_loop *loop = np_loop_new(&np_clock_live);
    const struct np_upstream_config up = {.per_multi = 16};
    struct np_otel_sender s = {.signal = "traces", .config = &config, .rng = &rng, .done = done};
    s.loop = loop;
    s.upstream = np_upstream_new(loop, &up);
    ck_assert(loop && s.upstream);
    (void)snprintf(config.url, sizeof config.url, "http://127.0.0.1:%u/v1/traces",
                   np_raw_port(server));
    np_rng_seed(&rng, n);
    np_otel_sender_init(&s);
    ck_assert(!np_buf_puts(&s.body, "{}"));
    s.last = true;        /* nothing is tried again: the test does not wait */
    struct np_timer room; /* the timers' heap ends the process when it can't grow */
    np_timer_init(&room, NULL, NULL);
    np_timer_set(np_loop_timers(loop), &room, UINT64_MAX - 1);
    dones = sents = 0;
    np_otel_send(&s);
    np_fail_nth(n);
    for (unsigned i = 0; i < 200 && dones == 0; i++)
        np_loop_turn(loop, NP_NS_PER_S / 10);
    bool happened = np_fail_happened();
    np_fail_never();
    ck_assert_msg(dones == 1, "allocation %zu: %u ends", n, dones);
    ck_assert(happened || sents == 1);
    ck_assert(!s.busy && !s.call);
    np_otel_send(&s);
    for (unsigned i = 0; i < 200 && dones == 1; i++)
        np_loop_turn(loop, NP_NS_PER_S / 10);
    ck_assert_msg(sents >= 1 && dones == 2, "the message after allocation %zu", n);
    np_timer_stop(np_loop_timers(loop), &room);
    np_upstream_free(s.upstream);
    np_otel_sender_free(&s);
    np_loop_free(loop);
    return happened;
}

START_TEST(whichever_allocation_fails_a_message_ends_once_and_the_next_arrives)
{
    struct np_raw_server *server = np_raw_start(serve, NULL);
    size_t n = 0;
    while (send_with_failure(server, n))
        n++;
    printf("%zu allocations\n", n);
    ck_assert_uint_gt(n, 10);
    np_raw_stop(server);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("otel");
    TCase *t = tcase_create("settings");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, without_an_address_nothing_is_on);
    tcase_add_test(t, the_defaults_are_the_standards);
    tcase_add_test(t, what_is_set_counts);
    tcase_add_loop_test(t, what_is_wrong_is_told_and_left_out, 0,
                        (int)(sizeof wrong / sizeof *wrong));
    tcase_add_test(t, an_address_that_may_not_be_called_is_told);
    tcase_add_test(t, whichever_allocation_fails_the_settings_are_whole_or_none);
    suite_add_tcase(s, t);
    t = tcase_create("sending");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, whichever_allocation_fails_a_message_ends_once_and_the_next_arrives);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
