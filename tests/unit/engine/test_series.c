/* The series that the dashboard draws: differences of totals by step, for each endpoint and for all. */
#include "engine/series.h"

#include "base/json.h"
#include "engine/fields.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/fail_alloc.h"

#define S(n) ((uint64_t)(n)*NP_NS_PER_S)
#define MS(n) ((uint64_t)(n)*NP_NS_PER_MS)
#define T0 S(600000)
#define WALL 1790000000000

static struct np_series *s;
static struct np_buf b;
static struct np_endpoint endpoints[2] = {{.path = "/api/a/reply", .slot = 3},
                                          {.path = "/api/b/reply", .slot = 5}};
static struct np_catalog catalog = {.endpoints = endpoints, .n_endpoints = 2};

static void setup(void)
{
    s = np_series_new(T0);
    ck_assert_ptr_nonnull(s);
    np_buf_init(&b, 1 << 22);
}

static void teardown(void)
{
    np_buf_free(&b);
    np_series_free(s);
}

static void add(uint32_t slot, unsigned n, uint64_t latency_ns)
{
    const struct np_series_event e = {.latency_ns = latency_ns, .cost_nusd = 1000000};
    for (unsigned i = 0; i < n; i++)
        np_series_add(s, slot, &e);
}

static struct np_span json(enum np_series_span span, uint64_t now_ns)
{
    struct np_json_fault fault;
    np_buf_reset(&b);
    np_series_json(s, &catalog, span, now_ns, WALL, &b);
    ck_assert_int_eq(np_json_check(np_buf_view(&b), NP_JSON_DEPTH, &fault), NP_OK);
    return np_buf_view(&b);
}

/* The list of a name in "all", or in the endpoint of a path, as it is written. */
static const char *list(struct np_span whole, const char *path, const char *key)
{
    static char text[65536];
    struct np_span of, item, value;
    ck_assert(np_json_get(whole, "all", &of));
    for (struct np_json_walk w = np_list_of(whole, "endpoints"); path && np_json_item(&w, &item);)
        of = np_span_is(np_text_of(item, "path"), path) ? item : of;
    ck_assert(np_json_get(of, key, &value));
    ck_assert_uint_lt(value.n, sizeof text);
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    return text;
}

static size_t length(struct np_span whole, const char *key)
{
    struct np_span all, item;
    size_t n = 0;
    ck_assert(np_json_get(whole, "all", &all));
    for (struct np_json_walk w = np_list_of(all, key); np_json_item(&w, &item);)
        n++;
    return n;
}

START_TEST(what_came_in_a_step_stands_at_that_step)
{
    add(3, 4, MS(100));
    np_series_sample(s, T0 + S(5));
    add(3, 1, MS(100));
    add(5, 2, MS(900));
    np_series_sample(s, T0 + S(10));
    struct np_span got = json(NP_SERIES_15M, T0 + S(11));
    ck_assert_str_eq(list(got, NULL, "requests"), "[4,3]");
    ck_assert_str_eq(list(got, "/api/a/reply", "requests"), "[4,1]");
    ck_assert_str_eq(list(got, "/api/b/reply", "requests"), "[0,2]");
    ck_assert_str_eq(list(got, NULL, "costUsd"), "[0.004,0.003]");
}
END_TEST

START_TEST(a_step_that_is_not_over_is_not_shown)
{
    add(3, 4, MS(100));
    np_series_sample(s, T0 + S(4));
    ck_assert_str_eq(list(json(NP_SERIES_15M, T0 + S(4)), NULL, "requests"), "[]");
}
END_TEST

START_TEST(kinds_of_ends_are_told_apart)
{
    const struct np_series_event ends[] = {
        {.error = true}, {.degraded = true}, {.client = true}, {0}};
    for (size_t i = 0; i < 4; i++)
        np_series_add(s, 3, &ends[i]);
    np_series_sample(s, T0 + S(5));
    struct np_span got = json(NP_SERIES_15M, T0 + S(5));
    ck_assert_str_eq(list(got, NULL, "requests"), "[4]");
    ck_assert_str_eq(list(got, NULL, "errors"), "[1]");
    ck_assert_str_eq(list(got, NULL, "degraded"), "[1]");
    ck_assert_str_eq(list(got, NULL, "clientErrors"), "[1]");
}
END_TEST

START_TEST(the_p95_is_that_of_the_step_alone_and_null_where_nothing_came)
{
    add(3, 100, MS(2000));
    np_series_sample(s, T0 + S(5));
    np_series_sample(s, T0 + S(10));
    add(3, 99, MS(10));
    np_series_sample(s, T0 + S(15));
    double slow, fast;
    struct np_span got = json(NP_SERIES_15M, T0 + S(15));
    ck_assert_int_eq(sscanf(list(got, "/api/a/reply", "p95Ms"), "[%lf,null,%lf]", &slow, &fast), 2);
    ck_assert_double_ge(slow, 2000);
    ck_assert_double_le(slow, 2000 * 17.0 / 16);
    ck_assert_double_ge(fast, 10);
    ck_assert_double_le(fast, 10 * 17.0 / 16);
}
END_TEST

START_TEST(the_p95_of_all_is_that_of_all_requests_together)
{
    add(3, 96, MS(10));
    add(5, 4, MS(3000));
    np_series_sample(s, T0 + S(5));
    double all;
    ck_assert_int_eq(sscanf(list(json(NP_SERIES_15M, T0 + S(5)), NULL, "p95Ms"), "[%lf]", &all), 1);
    ck_assert_double_le(all, 11);
}
END_TEST

START_TEST(minutes_are_kept_for_a_day_and_steps_for_a_quarter_of_an_hour)
{
    uint64_t now = T0;
    for (unsigned i = 0; i < 12 * 60 * 25; i++) {
        add(3, 1, MS(10));
        now += S(5);
        np_series_sample(s, now);
    }
    ck_assert_uint_eq(length(json(NP_SERIES_15M, now), "requests"), 180);
    struct np_span day = json(NP_SERIES_24H, now);
    ck_assert_uint_eq(length(day, "requests"), 1440);
    ck_assert_int_eq(strncmp(list(day, NULL, "requests"), "[12,12,12,", 10), 0);
}
END_TEST

START_TEST(steps_in_which_nobody_looked_are_empty)
{
    add(3, 1, MS(10));
    np_series_sample(s, T0 + S(5));
    add(3, 7, MS(10));
    np_series_sample(s, T0 + S(25));
    ck_assert_str_eq(list(json(NP_SERIES_15M, T0 + S(25)), NULL, "requests"), "[1,0,0,0,7]");
}
END_TEST

START_TEST(a_pause_longer_than_the_ring_leaves_nothing_old_behind)
{
    for (unsigned i = 1; i <= 200; i++) {
        add(3, 9, MS(10));
        np_series_sample(s, T0 + S(5) * i);
    }
    uint64_t late = T0 + S(86400) * 3;
    np_series_sample(s, late);
    struct np_span got = json(NP_SERIES_15M, late);
    ck_assert_ptr_null(strchr(list(got, NULL, "requests"), '9'));
    ck_assert_uint_eq(length(got, "requests"), 180);
    ck_assert_uint_eq(length(json(NP_SERIES_24H, late), "requests"), 1440);
}
END_TEST

START_TEST(times_are_those_of_the_wall_at_the_ends_of_the_list)
{
    np_series_sample(s, T0 + S(5));
    np_series_sample(s, T0 + S(10));
    struct np_span got = json(NP_SERIES_15M, T0 + S(12));
    char until[32], from[32];
    np_clock_format_utc(WALL - 2000, until, sizeof until);
    np_clock_format_utc(WALL - 12000, from, sizeof from);
    ck_assert(np_span_is(np_text_of(got, "until"), until));
    ck_assert(np_span_is(np_text_of(got, "from"), from));
}
END_TEST

START_TEST(the_query_is_read_strictly)
{
    enum np_series_span span;
    char why[NP_SERIES_WHY];
    ck_assert(np_series_read(NP_SPAN(""), &span, why) && span == NP_SERIES_15M);
    ck_assert(np_series_read(NP_SPAN("span=15m"), &span, why) && span == NP_SERIES_15M);
    ck_assert(np_series_read(NP_SPAN("span=24h"), &span, why) && span == NP_SERIES_24H);
    ck_assert(!np_series_read(NP_SPAN("span=25h"), &span, why));
    ck_assert(!np_series_read(NP_SPAN("limit=1"), &span, why));
}
END_TEST

START_TEST(without_memory_nothing_is_counted_and_nothing_breaks)
{
    np_fail_nth(0);
    ck_assert_ptr_null(np_series_new(T0));
    np_fail_from(0);
    add(3, 1, MS(10));
    np_fail_never();
    add(3, 1, MS(10));
    np_series_sample(s, T0 + S(5));
    ck_assert_str_eq(list(json(NP_SERIES_15M, T0 + S(5)), NULL, "requests"), "[1]");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("series");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_came_in_a_step_stands_at_that_step);
    tcase_add_test(tc, a_step_that_is_not_over_is_not_shown);
    tcase_add_test(tc, kinds_of_ends_are_told_apart);
    tcase_add_test(tc, the_p95_is_that_of_the_step_alone_and_null_where_nothing_came);
    tcase_add_test(tc, the_p95_of_all_is_that_of_all_requests_together);
    tcase_add_test(tc, minutes_are_kept_for_a_day_and_steps_for_a_quarter_of_an_hour);
    tcase_add_test(tc, steps_in_which_nobody_looked_are_empty);
    tcase_add_test(tc, a_pause_longer_than_the_ring_leaves_nothing_old_behind);
    tcase_add_test(tc, times_are_those_of_the_wall_at_the_ends_of_the_list);
    tcase_add_test(tc, the_query_is_read_strictly);
    tcase_add_test(tc, without_memory_nothing_is_counted_and_nothing_breaks);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
