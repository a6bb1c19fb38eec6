/* The text that Prometheus scrapes, line by line, and what promtool says of it. */
#include "metrics/meters.h"
#include "metrics/meters_impl.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS(n) ((int64_t)((n)*1e6))

static struct np_meters *m[2];
static struct np_slots slots;
static struct np_buf out;
static uint32_t openai, claude, endpoint;

static uint32_t slot(struct np_intern *t, const char *name)
{
    uint32_t n;
    ck_assert_int_eq(np_intern_add(t, np_span_of(name), &n), NP_OK);
    return n;
}

static void setup(void)
{
    ck_assert_int_eq(np_slots_init(&slots), NP_OK);
    openai = slot(slots.pairs, "openai/gpt-4.1");
    claude = slot(slots.pairs, "anthropic/claude/odd\"\\\nname");
    endpoint = slot(slots.endpoints, "/api/assistant/reply");
    np_buf_init(&out, 1 << 20);
    for (int i = 0; i < 2; i++) {
        m[i] = np_meters_new();
        ck_assert_ptr_nonnull(m[i]);
    }
}

static void teardown(void)
{
    np_buf_free(&out);
    np_slots_free(&slots);
    for (int i = 0; i < 2; i++) {
        np_meters_free(m[i]);
    }
}

static const char *text(void)
{
    np_buf_reset(&out);
    np_prometheus_write(&out, m, 2, &slots);
    ck_assert_int_eq(np_buf_char(&out, '\0'), NP_OK);
    ck_assert(!np_buf_failed(&out));
    return out.p;
}

/* Whether a whole line of the text is this. */
static bool has(const char *all, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = strstr(all, line); p; p = strstr(p + 1, line)) {
        if ((p == all || p[-1] == '\n') && p[n] == '\n') {
            return true;
        }
    }
    return false;
}

static unsigned times(const char *all, const char *what)
{
    unsigned n = 0;
    for (const char *p = strstr(all, what); p; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

START_TEST(counters_of_all_threads_are_one_sample_with_head_and_labels)
{
    np_meter_add(m[0], NP_FAMILY_requests, endpoint, 200, 1, 3);
    np_meter_add(m[1], NP_FAMILY_requests, endpoint, 200, 1, 4);
    np_meter_add(m[1], NP_FAMILY_requests, endpoint, 429, 0, 1);
    const char *t = text();
    ck_assert(has(t, "# TYPE neap_requests_total counter"));
    ck_assert_uint_eq(times(t, "# HELP neap_requests_total "), 1);
    ck_assert(has(t, "neap_requests_total{endpoint=\"/api/assistant/reply\",status=\"200\","
                     "degraded=\"true\"} 7"));
    ck_assert(has(t, "neap_requests_total{endpoint=\"/api/assistant/reply\",status=\"429\","
                     "degraded=\"false\"} 1"));
}
END_TEST

START_TEST(every_kind_of_label_has_its_text)
{
    np_meter_add(m[0], NP_FAMILY_llm_tokens, openai, NP_TOK_CACHE_WRITE, 0, 5);
    np_meter_add(m[0], NP_FAMILY_llm_retry, openai, 0, 2, 5);
    np_meter_add(m[0], NP_FAMILY_llm_attempts, openai, NP_CLASS_ok, 0, 5);
    np_meter_add(m[0], NP_FAMILY_llm_skipped, openai, NP_SKIP_busy, 0, 5);
    np_meter_add(m[0], NP_FAMILY_llm_inflight, openai, 0, 0, -5);
    np_meter_add(m[0], NP_FAMILY_degraded, endpoint, NP_REASON_exhausted, 0, 5);
    np_meter_add(m[0], NP_FAMILY_hook_errors, NP_HOOK_route, NP_HOOK_FAIL_TIME, 0, 5);
    np_meter_add(m[0], NP_FAMILY_shed, NP_SHED_DRAINING, 0, 0, 5);
    np_meter_add(m[0], NP_FAMILY_http_refused, 1, 0, 0, 5);
    const char *t = text();
#define PAIR "{provider=\"openai\",model=\"gpt-4.1\""
    ck_assert(has(t, "llm_tokens_total" PAIR ",kind=\"cache_write\"} 5"));
    ck_assert(has(t, "llm_retry_total" PAIR ",status=\"0\",attempt=\"2\"} 5"));
    ck_assert(has(t, "llm_attempts_total" PAIR ",class=\"ok\"} 5"));
    ck_assert(has(t, "llm_skipped_total" PAIR ",reason=\"busy\"} 5"));
    ck_assert(has(t, "llm_inflight" PAIR "} -5"));
    ck_assert(has(t, "# TYPE llm_inflight gauge"));
    ck_assert(
        has(t, "neap_degraded_total{endpoint=\"/api/assistant/reply\",reason=\"exhausted\"} 5"));
    ck_assert(has(t, "neap_hook_errors_total{hook=\"route\",kind=\"time\"} 5"));
    ck_assert(has(t, "neap_shed_total{cause=\"draining\"} 5"));
    ck_assert(has(t, "neap_http_refused_total{cause=\"length_required\"} 5"));
}
END_TEST

START_TEST(numbers_without_a_name_do_not_break_the_text)
{
    np_meter_add(m[0], NP_FAMILY_llm_attempts, 400, 999, 0, 5);
    np_meter_add(m[0], NP_FAMILY_hook_errors, 99, 99, 0, 5);
    const char *t = text();
    ck_assert(has(t, "llm_attempts_total{provider=\"unknown\",model=\"\",class=\"unknown\"} 5"));
    ck_assert(has(t, "neap_hook_errors_total{hook=\"unknown\",kind=\"unknown\"} 5"));
}
END_TEST

START_TEST(closed_sets_of_labels_are_there_from_the_start)
{
    const char *t = text();
    ck_assert(has(t, "neap_hook_errors_total{hook=\"admit\",kind=\"error\"} 0"));
    ck_assert(has(t, "neap_hook_errors_total{hook=\"alert\",kind=\"type\"} 0"));
    ck_assert(has(t, "neap_http_refused_total{cause=\"framing\"} 0"));
    ck_assert(has(t, "neap_http_refused_total{cause=\"memory\"} 0"));
    ck_assert(has(t, "neap_shed_total{cause=\"busy\"} 0"));
    ck_assert_uint_eq(times(t, "\nneap_http_refused_total{"), 12);
    ck_assert_ptr_null(strstr(t, "neap_requests_total"));
    ck_assert(has(t, "neap_meter_lost_total 0"));
}
END_TEST

START_TEST(label_values_are_escaped)
{
    np_meter_add(m[0], NP_FAMILY_llm_unpriced, claude, 0, 0, 1);
    ck_assert(has(text(), "llm_unpriced_total{provider=\"anthropic\","
                          "model=\"claude/odd\\\"\\\\\\nname\"} 1"));
}
END_TEST

START_TEST(money_is_printed_to_the_last_nano_dollar)
{
    np_meter_add(m[0], NP_FAMILY_llm_cost_total, openai, 0, 0, 478000);
    np_meter_add(m[1], NP_FAMILY_llm_cost_total, openai, 0, 0, INT64_C(9007199254740993));
    ck_assert(has(text(), "llm_cost_usd_total" PAIR "} 9007199.255218993"));
}
END_TEST

START_TEST(a_histogram_is_cumulative_in_its_own_unit)
{
    np_meter_observe(m[0], NP_FAMILY_llm_latency, openai, 0, MS(1));
    np_meter_observe(m[1], NP_FAMILY_llm_latency, openai, 0, MS(1) + 1);
    np_meter_observe(m[1], NP_FAMILY_llm_latency, openai, 0, MS(61000));
    const char *t = text();
    ck_assert(has(t, "# TYPE llm_latency_ms histogram"));
    ck_assert(has(t, "llm_latency_ms_bucket" PAIR ",le=\"1\"} 1"));
    ck_assert(has(t, "llm_latency_ms_bucket" PAIR ",le=\"2.5\"} 2"));
    ck_assert(has(t, "llm_latency_ms_bucket" PAIR ",le=\"60000\"} 2"));
    ck_assert(has(t, "llm_latency_ms_bucket" PAIR ",le=\"+Inf\"} 3"));
    ck_assert(has(t, "llm_latency_ms_sum" PAIR "} 61002.000001"));
    ck_assert(has(t, "llm_latency_ms_count" PAIR "} 3"));
}
END_TEST

START_TEST(seconds_and_dollars_have_buckets_that_suit_them)
{
    np_meter_observe(m[0], NP_FAMILY_request_duration, endpoint, 0, MS(900));
    np_meter_observe(m[0], NP_FAMILY_overhead, endpoint, 0, 40000);
    np_meter_observe(m[0], NP_FAMILY_hook_duration, NP_HOOK_route, 0, 4000);
    np_meter_observe(m[0], NP_FAMILY_llm_cost, openai, 0, 478000);
    const char *t = text();
#define ENDPOINT "{endpoint=\"/api/assistant/reply\""
    ck_assert(has(t, "neap_request_duration_seconds_bucket" ENDPOINT ",le=\"0.001\"} 0"));
    ck_assert(has(t, "neap_request_duration_seconds_bucket" ENDPOINT ",le=\"1\"} 1"));
    ck_assert(has(t, "neap_request_duration_seconds_bucket" ENDPOINT ",le=\"60\"} 1"));
    ck_assert(has(t, "neap_request_duration_seconds_sum" ENDPOINT "} 0.9"));
    ck_assert(has(t, "neap_overhead_seconds_bucket" ENDPOINT ",le=\"0.000005\"} 0"));
    ck_assert(has(t, "neap_overhead_seconds_bucket" ENDPOINT ",le=\"0.00005\"} 1"));
    ck_assert(has(t, "neap_overhead_seconds_bucket" ENDPOINT ",le=\"0.1\"} 1"));
    ck_assert(has(t, "neap_hook_duration_seconds_bucket{hook=\"route\",le=\"0.000005\"} 1"));
    ck_assert(has(t, "llm_cost_usd_bucket" PAIR ",le=\"0.00001\"} 0"));
    ck_assert(has(t, "llm_cost_usd_bucket" PAIR ",le=\"0.0005\"} 1"));
    ck_assert(has(t, "llm_cost_usd_bucket" PAIR ",le=\"1\"} 1"));
    ck_assert(has(t, "llm_cost_usd_sum" PAIR "} 0.000478"));
}
END_TEST

START_TEST(lost_additions_are_shown)
{
    for (uint32_t i = 0; i < 4000; i++) {
        np_meter_add(m[0], NP_FAMILY_llm_retry, i, 429, 2, 1);
    }
    const char *at = strstr(text(), "\nneap_meter_lost_total ");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_gt(atoi(at + 23), 900);
}
END_TEST

START_TEST(samples_from_elsewhere_are_printed_exactly)
{
    struct np_buf labels;
    np_buf_init(&labels, 100);
    np_prom_label(&labels, "account", "tenant:a\"b/day");
    np_prom_label(&labels, "x", "y\\z");
    np_buf_char(&labels, '\0');
    np_prom_head(&out, "a", "gauge", "line\none\\two \"three\"");
    np_prom_nusd(&out, "a", labels.p, -5500000000);
    np_prom_i64(&out, "b", NULL, INT64_MIN);
    np_prom_i64(&out, "b", "", INT64_MAX);
    np_prom_f64(&out, "c", NULL, 0.1);
    np_prom_f64(&out, "c", NULL, 1.0 / 3);
    np_prom_f64(&out, "c", NULL, (double)NAN);
    np_prom_f64(&out, "c", NULL, (double)INFINITY);
    np_prom_f64(&out, "c", NULL, (double)-INFINITY);
    np_prom_f64(&out, "c", NULL, 14.4);
    np_buf_char(&out, '\0');
    ck_assert_str_eq(out.p, "# HELP a line\\none\\\\two \"three\"\n# TYPE a gauge\n"
                            "a{account=\"tenant:a\\\"b/day\",x=\"y\\\\z\"} -5.5\n"
                            "b -9223372036854775808\nb 9223372036854775807\n"
                            "c 0.1\nc 0.33333333333333331\nc NaN\nc +Inf\nc -Inf\nc 14.4\n");
    np_buf_free(&labels);
}
END_TEST

/* What is not marked as failed is whole: sorting may do without memory of its own. */
START_TEST(every_allocation_of_a_scrape_may_fail)
{
    np_meter_add(m[0], NP_FAMILY_requests, endpoint, 200, 1, 3);
    np_meter_observe(m[0], NP_FAMILY_llm_latency, openai, 0, MS(1));
    const char *whole = text();
    bool again = true;
    size_t marked = 0;
    for (size_t n = 0; again; n++) {
        struct np_buf b;
        np_buf_init(&b, 1 << 20);
        np_fail_nth(n);
        np_prometheus_write(&b, m, 2, &slots);
        again = np_fail_happened();
        np_fail_never();
        marked += np_buf_failed(&b);
        ck_assert(again || !np_buf_failed(&b));
        ck_assert(np_buf_failed(&b) || np_span_is(np_buf_view(&b), whole));
        np_buf_free(&b);
    }
    ck_assert_uint_gt(marked, 3);
}
END_TEST

START_TEST(a_buffer_that_is_too_small_is_marked_failed)
{
    struct np_buf b;
    np_buf_init(&b, 200);
    np_prometheus_write(&b, m, 2, &slots);
    ck_assert(np_buf_failed(&b));
    np_buf_free(&b);
}
END_TEST

static double value_of(const char *all, const char *name)
{
    char line[80];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(all, line);
    ck_assert_msg(at != NULL, "%s is not there", name);
    return strtod(at + strlen(line), NULL);
}

START_TEST(the_process_says_how_it_is)
{
    np_prom_process(&out);
    np_buf_char(&out, '\0');
    ck_assert_double_ge(value_of(out.p, "process_cpu_seconds_total"), 0);
    ck_assert_double_gt(value_of(out.p, "process_resident_memory_bytes"), 100000);
    ck_assert_double_gt(value_of(out.p, "process_virtual_memory_bytes"),
                        value_of(out.p, "process_resident_memory_bytes"));
    ck_assert_double_ge(value_of(out.p, "process_open_fds"), 3);
    ck_assert_double_ge(value_of(out.p, "process_max_fds"), value_of(out.p, "process_open_fds"));
    double start = value_of(out.p, "process_start_time_seconds");
    ck_assert_double_gt(start, 1.6e9);
    ck_assert_double_le(start, (double)time(NULL) + 1);
    ck_assert_double_ge(start, (double)time(NULL) - 600);
}
END_TEST

/* One series of each family. */
static void one_of_each(void)
{
    for (unsigned f = 0; f < NP_FAMILY_COUNT; f++) {
        for (uint32_t a = 0; a < 2; a++) {
            if (np_meter_families[f].type == NP_METER_HIST) {
                np_meter_observe(m[a], (enum np_family)f, a, 0, MS(7));
            } else {
                /* A number of a label that the family has not would be a second series of one name. */
                uint32_t l[3];
                for (unsigned i = 0; i < 3; i++)
                    l[i] = np_meter_families[f].labels[i].kind == NP_LABEL_NONE ? 0 : a;
                np_meter_add(m[a], (enum np_family)f, l[0], l[1], l[2], 1);
            }
        }
    }
}

/* promtool: exit 0 nothing, 3 it has something to say on standard error, a line each. */
START_TEST(promtool_finds_nothing_but_names_in_milliseconds)
{
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        printf("promtool is not installed; its check was left out\n");
        return;
    }
    char path[] = "/tmp/np_prometheus_XXXXXX", command[200], line[400];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    one_of_each();
    np_prometheus_write(&out, m, 2, &slots);
    np_prom_process(&out);
    ck_assert(!np_buf_failed(&out));
    ck_assert_int_eq(write(fd, out.p, out.n), (ssize_t)out.n);
    close(fd);
    snprintf(command, sizeof command, "promtool check metrics < %s 2>&1", path);
    FILE *said = popen(command, "r");
    ck_assert_ptr_nonnull(said);
    unsigned of_ms = 0;
    while (fgets(line, sizeof line, said)) {
        ck_assert_msg(strstr(line, "_ms ") && strstr(line, " unit"), "promtool: %s", line);
        of_ms += strstr(line, "abbreviated units") != NULL;
    }
    pclose(said);
    unlink(path);
    ck_assert_uint_eq(of_ms, 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prometheus");
    TCase *t = tcase_create("text");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, counters_of_all_threads_are_one_sample_with_head_and_labels);
    tcase_add_test(t, every_kind_of_label_has_its_text);
    tcase_add_test(t, numbers_without_a_name_do_not_break_the_text);
    tcase_add_test(t, closed_sets_of_labels_are_there_from_the_start);
    tcase_add_test(t, label_values_are_escaped);
    tcase_add_test(t, money_is_printed_to_the_last_nano_dollar);
    tcase_add_test(t, a_histogram_is_cumulative_in_its_own_unit);
    tcase_add_test(t, seconds_and_dollars_have_buckets_that_suit_them);
    tcase_add_test(t, lost_additions_are_shown);
    tcase_add_test(t, samples_from_elsewhere_are_printed_exactly);
    tcase_add_test(t, every_allocation_of_a_scrape_may_fail);
    tcase_add_test(t, a_buffer_that_is_too_small_is_marked_failed);
    tcase_add_test(t, the_process_says_how_it_is);
    tcase_add_test(t, promtool_finds_nothing_but_names_in_milliseconds);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
