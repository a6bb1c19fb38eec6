/* Metrics for OpenTelemetry, from the text that Prometheus scrapes. */
#include "metrics/otlp.h"

#include "metrics/meters.h"
#include "support/fail_alloc.h"

#include <check.h>
#include <stdlib.h>

static struct np_buf out;

static void setup(void)
{
    np_buf_init(&out, 1 << 20);
}

static void teardown(void)
{
    np_buf_free(&out);
}

static void put_model(void *ctx, struct np_otlp *o, unsigned field, struct np_span provider,
                      struct np_span model)
{
    (void)ctx;
    np_otlp_attr(o, field, "p", provider);
    np_otlp_attr(o, field, "m", model);
}

static void translate(struct np_span text, bool json)
{
    const struct np_otlp_scrape scrape = {.start_ns = 5, .now_ns = 9, .model = put_model};
    struct np_otlp o;
    np_buf_reset(&out);
    np_otlp_init(&o, &out, json);
    np_otlp_metrics(&o, text, &scrape);
}

static void gives(const char *text, const char *want)
{
    translate(np_span_of(text), true);
    ck_assert_msg(np_span_is(np_buf_view(&out), want), "%.*s", (int)out.n, out.p);
}

START_TEST(a_counter_is_a_cumulative_sum_of_whole_numbers)
{
    gives("# HELP a_total All of it.\n# TYPE a_total counter\na_total{x=\"1\"} 12\n",
          "{\"name\":\"a_total\",\"description\":\"All of it.\",\"sum\":{\"dataPoints\":["
          "{\"attributes\":[{\"key\":\"x\",\"value\":{\"stringValue\":\"1\"}}],"
          "\"startTimeUnixNano\":\"5\",\"timeUnixNano\":\"9\",\"asInt\":\"12\"}],"
          "\"aggregationTemporality\":2,\"isMonotonic\":true}}");
}
END_TEST

START_TEST(money_and_seconds_are_no_whole_numbers)
{
    gives("# HELP a_usd_total h\n# TYPE a_usd_total counter\na_usd_total 3\n",
          "{\"name\":\"a_usd_total\",\"description\":\"h\",\"sum\":{\"dataPoints\":["
          "{\"attributes\":[],\"startTimeUnixNano\":\"5\",\"timeUnixNano\":\"9\",\"asDouble\":3}],"
          "\"aggregationTemporality\":2,\"isMonotonic\":true}}");
}
END_TEST

START_TEST(a_gauge_has_no_beginning)
{
    gives("# HELP a_bytes h\n# TYPE a_bytes gauge\na_bytes 1.5\n",
          "{\"name\":\"a_bytes\",\"description\":\"h\",\"unit\":\"By\",\"gauge\":{\"dataPoints\":["
          "{\"attributes\":[],\"timeUnixNano\":\"9\",\"asDouble\":1.5}]}}");
}
END_TEST

START_TEST(what_is_no_number_and_what_has_no_values_is_left_out)
{
    gives("# HELP a h\n# TYPE a gauge\n# HELP b h\n# TYPE b gauge\nb{x=\"1\"} NaN\nb{x=\"2\"} 2\n",
          "{\"name\":\"b\",\"description\":\"h\",\"gauge\":{\"dataPoints\":["
          "{\"attributes\":[{\"key\":\"x\",\"value\":{\"stringValue\":\"2\"}}],"
          "\"timeUnixNano\":\"9\",\"asDouble\":2}]}}");
}
END_TEST

START_TEST(a_label_may_hold_anything)
{
    gives("# HELP a h\n# TYPE a gauge\na{x=\"a \\\"} {\\\\ \\n,y=\",y=\"\"} 1\n",
          "{\"name\":\"a\",\"description\":\"h\",\"gauge\":{\"dataPoints\":[{\"attributes\":["
          "{\"key\":\"x\",\"value\":{\"stringValue\":\"a \\\"} {\\\\ \\n,y=\"}},"
          "{\"key\":\"y\",\"value\":{\"stringValue\":\"\"}}],"
          "\"timeUnixNano\":\"9\",\"asDouble\":1}]}}");
}
END_TEST

static const char hist[] = "# HELP h_ms h\n# TYPE h_ms histogram\n"
                           "h_ms_bucket{x=\"le=\\\"1\",le=\"0.5\"} 2\n"
                           "h_ms_bucket{x=\"le=\\\"1\",le=\"10\"} 5\n"
                           "h_ms_bucket{x=\"le=\\\"1\",le=\"+Inf\"} 6\n"
                           "h_ms_sum{x=\"le=\\\"1\"} 31.25\nh_ms_count{x=\"le=\\\"1\"} 6\n";

START_TEST(buckets_of_a_histogram_stand_for_themselves)
{
    gives(hist, "{\"name\":\"h_ms\",\"description\":\"h\",\"histogram\":{\"dataPoints\":["
                "{\"attributes\":[{\"key\":\"x\",\"value\":{\"stringValue\":\"le=\\\"1\"}}],"
                "\"startTimeUnixNano\":\"5\",\"timeUnixNano\":\"9\",\"count\":\"6\",\"sum\":31.25,"
                "\"bucketCounts\":[\"2\",\"3\",\"1\"],\"explicitBounds\":[0.5,10]}],"
                "\"aggregationTemporality\":2}}");
}
END_TEST

START_TEST(families_of_the_conventions_get_their_names)
{
    gives(
        "# HELP gen_ai_client_token_usage h\n# TYPE gen_ai_client_token_usage histogram\n"
        "gen_ai_client_token_usage_bucket{provider=\"a\",model=\"b/c\",type=\"input\",le=\"+Inf\"} 1\n"
        "gen_ai_client_token_usage_sum{provider=\"a\",model=\"b/c\",type=\"input\"} 7\n"
        "gen_ai_client_token_usage_count{provider=\"a\",model=\"b/c\",type=\"input\"} 1\n",
        "{\"name\":\"gen_ai.client.token.usage\",\"description\":\"h\",\"unit\":\"{token}\","
        "\"histogram\":{\"dataPoints\":[{\"attributes\":["
        "{\"key\":\"gen_ai.token.type\",\"value\":{\"stringValue\":\"input\"}},"
        "{\"key\":\"p\",\"value\":{\"stringValue\":\"a\"}},"
        "{\"key\":\"m\",\"value\":{\"stringValue\":\"b/c\"}}],"
        "\"startTimeUnixNano\":\"5\",\"timeUnixNano\":\"9\",\"count\":\"1\",\"sum\":7,"
        "\"bucketCounts\":[\"1\"],\"explicitBounds\":[]}],\"aggregationTemporality\":2}}");
}
END_TEST

START_TEST(what_the_meters_write_is_understood_to_the_last_family)
{
    struct np_slots slots;
    struct np_buf text;
    struct np_meters *m = np_meters_new();
    uint32_t pair, endpoint;
    ck_assert(m && np_slots_init(&slots) == NP_OK);
    ck_assert(!np_intern_add(slots.pairs, NP_SPAN("openai/gpt"), &pair));
    ck_assert(!np_intern_add(slots.endpoints, NP_SPAN("/api/a/reply"), &endpoint));
    for (int f = 0; f < NP_FAMILY_COUNT; f++) {
        if (f == NP_FAMILY_llm_latency || f == NP_FAMILY_request_duration)
            np_meter_observe(m, (enum np_family)f, 0, 0, 2000000);
    }
    np_buf_init(&text, 1 << 20);
    np_prometheus_write(&text, &m, 1, &slots);
    np_prom_process(&text);
    unsigned families = 0, metrics = 0;
    for (size_t i = 0; i + 7 < text.n; i++)
        families += memcmp(text.p + i, "# TYPE ", 7) == 0;
    translate(np_buf_view(&text), false);
    struct np_span rest = np_buf_view(&out), bytes;
    unsigned field;
    uint64_t number;
    while (np_otlp_next(&rest, &field, &number, &bytes))
        metrics += field == 2;
    ck_assert_uint_eq(rest.n, 0);
    ck_assert_uint_gt(families, 8);
    ck_assert_uint_eq(metrics, families);
    np_buf_free(&text);
    np_meters_free(m);
    np_slots_free(&slots);
}
END_TEST

START_TEST(a_text_that_is_cut_anywhere_harms_nothing)
{
    for (size_t n = 0; n < sizeof hist; n++) {
        char *copy = malloc(n + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, hist, n);
        translate(np_span_make(copy, n), n % 2);
        free(copy);
    }
}
END_TEST

START_TEST(whichever_allocation_fails_the_buffer_says_so)
{
    for (int json = 0; json < 2; json++) {
        size_t n = 0;
        for (bool happened = true; happened; n++) {
            teardown();
            setup();
            np_fail_nth(n);
            translate(NP_SPAN(""), json);
            translate(np_span_make(hist, sizeof hist - 1), json);
            happened = np_fail_happened();
            np_fail_never();
            ck_assert(np_buf_failed(&out) == happened);
        }
        ck_assert_uint_gt(n, 1);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("otlp");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_counter_is_a_cumulative_sum_of_whole_numbers);
    tcase_add_test(t, money_and_seconds_are_no_whole_numbers);
    tcase_add_test(t, a_gauge_has_no_beginning);
    tcase_add_test(t, what_is_no_number_and_what_has_no_values_is_left_out);
    tcase_add_test(t, a_label_may_hold_anything);
    tcase_add_test(t, buckets_of_a_histogram_stand_for_themselves);
    tcase_add_test(t, families_of_the_conventions_get_their_names);
    tcase_add_test(t, what_the_meters_write_is_understood_to_the_last_family);
    tcase_add_test(t, a_text_that_is_cut_anywhere_harms_nothing);
    tcase_add_test(t, whichever_allocation_fails_the_buffer_says_so);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
