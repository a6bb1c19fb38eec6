/* The daybook: days as reports tell them, and what is left of them after a restart. */
#include "engine/daybook.h"
#include "engine/report.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOON_MS INT64_C(1790078400000) /* 2026-09-22T12:00:00Z */
#define DAY (NOON_MS / NP_MS_PER_DAY)
#define USD NP_NUSD_PER_USD
#define EIGHT (8 * 60)

static struct np_slots slots;
static struct np_daybook *b, *next;
static struct np_till *till;

static uint32_t named(struct np_intern *t, const char *name)
{
    uint32_t slot;
    ck_assert_int_eq(np_intern_add(t, np_span_of(name), &slot), NP_OK);
    return slot;
}

static void setup(void)
{
    ck_assert_int_eq(np_slots_init(&slots), NP_OK);
    ck_assert_ptr_nonnull(b = np_daybook_new());
    ck_assert_ptr_nonnull(next = np_daybook_new());
    ck_assert_ptr_nonnull(till = np_till_new());
}

static void teardown(void)
{
    np_till_free(till);
    np_daybook_free(next);
    np_daybook_free(b);
    np_slots_free(&slots);
}

/* A request of a tenant to /api/a/reply, answered by east/small in 100 ms. */
static void request(int64_t wall_ms, const char *tenant, int64_t cost, bool bad, bool degraded)
{
    struct np_till_rows rows;
    const struct np_till_sum sum = {.n = 1,
                                    .bad = bad,
                                    .degraded = degraded,
                                    .cost_nusd = cost,
                                    .presumed_nusd = bad ? cost : 0};
    const struct np_till_entry e[] = {
        {NP_TILL_ENDPOINT, named(slots.endpoints, "/api/a/reply"), sum, 100 * NP_NS_PER_MS},
        {NP_TILL_TENANT, named(slots.tenants, tenant), sum, 0},
        {NP_TILL_MODEL, named(slots.pairs, "east/small"), sum, 0}};
    np_till_add(till, wall_ms, e, 3);
    np_till_empty(till, &rows);
    np_daybook_pour(b, &rows, &slots, wall_ms);
    np_till_rows_free(&rows);
}

static void assert_row(struct np_daybook *of, enum np_day_kind kind, const char *name, uint64_t n,
                       int64_t cost)
{
    struct np_day_row rows[32];
    size_t found = np_daybook_day(of, DAY, kind, rows, 32);
    for (size_t i = 0; i < found; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            ck_assert_uint_eq(rows[i].sum.n, n);
            ck_assert_int_eq(rows[i].sum.cost_nusd, cost);
            return;
        }
    }
    ck_abort_msg("no row %s", name);
}

static void restart(int64_t wall_ms)
{
    struct np_buf text;
    np_buf_init(&text, 1 << 20);
    np_daybook_write(b, &text);
    ck_assert(!np_buf_failed(&text));
    (void)np_buf_char(&text, '\0');
    for (char *line = text.p, *nl; (nl = strchr(line, '\n')) != NULL; line = nl + 1) {
        *nl = '\0';
        ck_assert_msg(np_daybook_read(next, line, wall_ms), "%s", line);
    }
    np_buf_free(&text);
    struct np_daybook *old = b;
    b = next;
    next = old;
}

static int64_t due(int64_t wall_ms)
{
    int64_t day;
    return np_daybook_due(b, EIGHT, wall_ms, &day) ? day : -1;
}

START_TEST(a_day_is_told_by_endpoint_model_and_tenant_and_all_agree)
{
    request(NOON_MS, "acme", 3 * USD, false, false);
    request(NOON_MS + 3600000, "acme", USD, true, false);
    request(NOON_MS, "zeta", 5 * USD, false, true);
    request(NOON_MS + 12 * 3600000, "acme", 7 * USD, false, false); /* tomorrow's */
    assert_row(b, NP_DAY_ENDPOINT, "/api/a/reply", 3, 9 * USD);
    assert_row(b, NP_DAY_MODEL, "east/small", 3, 9 * USD);
    assert_row(b, NP_DAY_TENANT, "acme", 2, 4 * USD);
    assert_row(b, NP_DAY_TENANT, "zeta", 1, 5 * USD);
    struct np_till_sum all = np_daybook_total(b, DAY);
    ck_assert_uint_eq(all.n, 3);
    ck_assert_uint_eq(all.bad, 1);
    ck_assert_uint_eq(all.degraded, 1);
    ck_assert_int_eq(all.cost_nusd, 9 * USD);
    ck_assert_int_eq(all.presumed_nusd, USD);
}
END_TEST

START_TEST(who_costs_most_comes_first_and_the_rest_is_counted)
{
    struct np_day_row rows[2];
    request(NOON_MS, "little", 1, false, false);
    request(NOON_MS, "much", 3, false, false);
    request(NOON_MS, "more", 2, false, false);
    ck_assert_uint_eq(np_daybook_day(b, DAY, NP_DAY_TENANT, rows, 2), 3);
    ck_assert_str_eq(rows[0].name, "much");
    ck_assert_str_eq(rows[1].name, "more");
}
END_TEST

START_TEST(a_restart_loses_nothing_and_adds_nothing)
{
    struct np_account_view view = {.name = "global/day",
                                   .window = NP_WINDOW_DAY,
                                   .limit_nusd = 10 * USD,
                                   .spent_nusd = 4 * USD};
    struct np_daybook_p95 p;
    for (int day = 0; day < 5; day++) {
        for (int i = 0; i < 30; i++)
            request(NOON_MS - day * NP_MS_PER_DAY, "acme", USD, i == 0, false);
    }
    np_daybook_accounts(b, &view, 1, NOON_MS);
    restart(NOON_MS + 1000);
    assert_row(b, NP_DAY_ENDPOINT, "/api/a/reply", 30, 30 * USD);
    assert_row(b, NP_DAY_MODEL, "east/small", 30, 30 * USD);
    assert_row(b, NP_DAY_TENANT, "acme", 30, 30 * USD);
    assert_row(b, NP_DAY_BUDGET, "global/day", 0, 4 * USD);
    np_daybook_p95(b, "/api/a/reply", NOON_MS + 1000, &p);
    ck_assert_uint_eq(p.days, 4);
    ck_assert_double_eq_tol(p.usual_ms, 100, 7);
    request(NOON_MS, "acme", USD, false, false);
    assert_row(b, NP_DAY_TENANT, "acme", 31, 31 * USD);
}
END_TEST

START_TEST(days_that_are_too_old_are_forgotten)
{
    request(NOON_MS, "acme", USD, false, false);
    int64_t later = NOON_MS + NP_DAYBOOK_DAYS * NP_MS_PER_DAY;
    struct np_buf text;
    np_buf_init(&text, 1 << 16);
    np_daybook_write(b, &text);
    (void)np_buf_char(&text, '\0');
    for (char *line = text.p, *nl; (nl = strchr(line, '\n')) != NULL; line = nl + 1) {
        *nl = '\0'; /* the hour is young enough still */
        ck_assert_int_eq(np_daybook_read(next, line, later), line[0] == 'E');
    }
    np_buf_free(&text);
    request(later, "zeta", USD, false, false); /* in the place of the old day */
    struct np_day_row row;
    ck_assert_uint_eq(np_daybook_day(b, DAY, NP_DAY_TENANT, &row, 1), 0);
}
END_TEST

START_TEST(what_is_no_line_of_a_daybook_is_not_taken)
{
    static const char *const lines[] = {"",
                                        "E",
                                        "E 1",
                                        "X 497244 1 1 1 1 1 1 a",
                                        "T 20718 1 0 0 0 5 0",
                                        "T 20718 1 0 0 0 5 0 ",
                                        "T 20718 1 0 0 0 -5 0 a",
                                        "T 20718 1 0 0 0 5 0 a b",
                                        "T x 1 0 0 0 5 0 a",
                                        "E 497244 1 0 0 0 5 0 9999:1 /a",
                                        "E 497244 1 0 0 0 5 0 3:x /a",
                                        "E 497244 1 0 0 0 5 0 3 /a",
                                        "E 497244 1 0 0 0 5 0 3:1, /a",
                                        "E 497244 1 0 0 0 5 0 /a",
                                        "B 20718 1 a",
                                        "S 20718 ",
                                        "R 99999999",
                                        "R -1"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(!np_daybook_read(b, lines[i], NOON_MS), "taken: %s", lines[i]);
    struct np_buf text;
    np_buf_init(&text, 1 << 16);
    np_daybook_write(b, &text);
    ck_assert_uint_eq(text.n, 0);
    np_buf_free(&text);
}
END_TEST

/* --- reports ---------------------------------------------------------------------------------------- */

#define AT(day, hour) ((DAY + (day)) * NP_MS_PER_DAY + (hour)*INT64_C(3600000))

START_TEST(yesterday_is_owed_from_its_minute_on_and_once)
{
    ck_assert_int_eq(due(AT(0, 12)), -1); /* the first start */
    request(AT(0, 13), "acme", USD, false, false);
    ck_assert_int_eq(due(AT(0, 23)), -1);
    ck_assert_int_eq(due(AT(1, 8) - 1), -1);
    ck_assert_int_eq(due(AT(1, 8)), DAY);
    np_daybook_reported(b, DAY);
    ck_assert_int_eq(due(AT(1, 9)), -1);
    ck_assert_int_eq(due(AT(2, 7)), -1);
    ck_assert_int_eq(due(AT(2, 8)), DAY + 1); /* of a day without requests too */
}
END_TEST

START_TEST(a_report_is_not_owed_again_after_a_restart)
{
    ck_assert_int_eq(due(AT(0, 12)), -1);
    request(AT(0, 13), "acme", USD, false, false);
    ck_assert_int_eq(due(AT(1, 8)), DAY);
    np_daybook_reported(b, DAY);
    ck_assert(np_daybook_sent(b, DAY, "log", AT(1, 8)));
    restart(AT(1, 8));
    ck_assert_int_eq(due(AT(1, 9)), -1);
    ck_assert_str_eq(np_daybook_sent_to(b, DAY), "log\n");
}
END_TEST

START_TEST(days_that_were_missed_are_owed_each_once_and_empty_ones_not)
{
    ck_assert_int_eq(due(AT(0, 12)), -1);
    request(AT(0, 13), "acme", USD, false, false);
    request(AT(1, 13), "acme", USD, false, false);
    restart(AT(5, 9)); /* down for three days and a half */
    ck_assert_int_eq(due(AT(5, 9)), DAY);
    np_daybook_reported(b, DAY);
    ck_assert_int_eq(due(AT(5, 9)), DAY + 1);
    np_daybook_reported(b, DAY + 1);
    ck_assert_int_eq(due(AT(5, 9)), DAY + 4);
    np_daybook_reported(b, DAY + 4);
    ck_assert_int_eq(due(AT(5, 9)), -1);
}
END_TEST

START_TEST(without_a_time_none_is_owed_and_none_afterwards_for_the_days_before)
{
    int64_t day;
    request(AT(0, 13), "acme", USD, false, false);
    ck_assert(!np_daybook_due(b, -1, AT(2, 9), &day));
    ck_assert_int_eq(due(AT(2, 10)), -1);
    ck_assert_int_eq(due(AT(3, 8)), DAY + 2);
}
END_TEST

START_TEST(a_report_says_what_was_served_and_spent)
{
    struct np_buf out;
    struct np_json_w w;
    struct np_account_view view = {.name = "global/day",
                                   .window = NP_WINDOW_DAY,
                                   .limit_nusd = 50 * USD,
                                   .spent_nusd = 4 * USD};
    request(NOON_MS, "acme", 3 * USD, false, false);
    request(NOON_MS, "zeta", USD, true, false);
    np_daybook_accounts(b, &view, 1, NOON_MS);
    np_buf_init(&out, 1 << 16);
    np_report_text(b, DAY, &out);
    (void)np_buf_char(&out, '\0');
    ck_assert_str_eq(out.p,
                     "2026-09-22 (UTC): 2 requests, 1 failed (50.00 %), 0 degraded (0.00 %)\n"
                     "Spent $4.00, $2.00 a reply, 25.00 % of it presumed\n"
                     "Models: east/small $4.00\n"
                     "Tenants: acme $3.00, zeta $1.00\n"
                     "Endpoints: /api/a/reply $4.00\n"
                     "Budgets: global/day $4.00 of $50.00\n");
    np_buf_reset(&out);
    np_json_w_init(&w, &out);
    np_report_json(b, DAY, &w);
    (void)np_buf_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(
        out.p, " of $50.00\\n\",\"requests\":2,\"errors\":1,"
               "\"degraded\":0,\"refused\":0,\"spentUsd\":4,\"meanCostUsd\":2,\"presumedUsd\":1,"
               "\"presumedShare\":0.25,\"endpoints\":[{\"path\":\"/api/a/reply\",\"requests\":2,"));
    ck_assert_ptr_nonnull(strstr(out.p, "\"models\":[{\"provider\":\"east\",\"model\":\"small\","
                                        "\"attempts\":2,\"failed\":1,\"spentUsd\":4,"));
    ck_assert_ptr_nonnull(strstr(
        out.p, "\"budgets\":[{\"account\":\"global/day\",\"limitUsd\":50,\"spentUsd\":4}]}"));
    np_buf_free(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("daybook");
    TCase *c = tcase_create("daybook");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_day_is_told_by_endpoint_model_and_tenant_and_all_agree);
    tcase_add_test(c, who_costs_most_comes_first_and_the_rest_is_counted);
    tcase_add_test(c, a_restart_loses_nothing_and_adds_nothing);
    tcase_add_test(c, days_that_are_too_old_are_forgotten);
    tcase_add_test(c, what_is_no_line_of_a_daybook_is_not_taken);
    tcase_add_test(c, yesterday_is_owed_from_its_minute_on_and_once);
    tcase_add_test(c, a_report_is_not_owed_again_after_a_restart);
    tcase_add_test(c, days_that_were_missed_are_owed_each_once_and_empty_ones_not);
    tcase_add_test(c, without_a_time_none_is_owed_and_none_afterwards_for_the_days_before);
    tcase_add_test(c, a_report_says_what_was_served_and_spent);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
