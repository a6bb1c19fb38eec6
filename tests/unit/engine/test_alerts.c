/* What is told to operators, and when, on virtual time. */
#include "engine/alerts.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOON_MS INT64_C(1790078400000) /* 2026-09-22T12:00:00Z */
#define USD NP_NUSD_PER_USD
#define LOOK_NS (10 * NP_NS_PER_S)

static struct np_guard *g;
static struct np_provider provider;
static struct np_secret key;
static struct np_model model;
static struct np_endpoint endpoint;
static struct np_catalog catalog;
static struct np_account_view account;
static struct np_ledger_totals totals;
static struct np_alert_scene scene;
static struct np_alert_memory memory;
static struct np_alert_facts facts;
static struct np_alerts table;
static const double parts[] = {0.8, 1.0};
static unsigned fired, resolved;
static char last[512];

static void setup(void)
{
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    key = (struct np_secret){.label = "env:K", .value = "x", .slot = 5};
    provider = (struct np_provider){
        .name = "east",
        .slot = 2,
        .keys = &key,
        .n_keys = 1,
        .breaker = {.failures = 3, .window_ms = 30000, .min_calls = 20, .open_ms = 20000}};
    model = (struct np_model){.name = "small", .slot = 7, .provider = &provider};
    endpoint = (struct np_endpoint){.path = "/api/a/reply", .slot = 3, .slo = {.error_rate = 0.01}};
    account = (struct np_account_view){
        .name = "global/day", .limit_nusd = 10 * USD, .window = NP_WINDOW_DAY};
    totals = (struct np_ledger_totals){.store_up = true};
    catalog = (struct np_catalog){.providers = &provider,
                                  .n_providers = 1,
                                  .models = &model,
                                  .n_models = 1,
                                  .endpoints = &endpoint,
                                  .n_endpoints = 1,
                                  .alerts = {.budget = parts,
                                             .n_budget = 2,
                                             .burn = true,
                                             .breaker = true,
                                             .reload = true,
                                             .report_minute = -1}};
    scene = (struct np_alert_scene){.catalog = &catalog,
                                    .guard = g,
                                    .now_ns = UINT64_C(600000) * NP_NS_PER_S,
                                    .wall_ms = NOON_MS,
                                    .accounts = &account,
                                    .n_accounts = 1,
                                    .totals = &totals};
    memory = (struct np_alert_memory){0};
    table.n = 0;
    table.lost = 0;
    fired = resolved = 0;
    last[0] = '\0';
}

static void teardown(void)
{
    np_guard_free(g);
}

static void tell(void *ctx, const struct np_alert *a)
{
    (void)ctx;
    if (a->resolved_wall_ms)
        resolved++;
    else
        fired++;
    (void)snprintf(last, sizeof last, "%s %s %s %g: %s", a->fact.severity, a->fact.alert,
                   a->fact.subject, a->fact.threshold, a->fact.text);
}

static void pass(uint64_t ns)
{
    scene.now_ns += ns;
    scene.wall_ms += (int64_t)(ns / NP_NS_PER_MS);
}

/* One look of the monitor, ten seconds after the one before. */
static void look(void)
{
    facts.n = facts.lost = 0;
    pass(LOOK_NS);
    np_alert_rules_run(&scene, &memory, &facts);
    np_alerts_update(&table, &facts, scene.now_ns, scene.wall_ms, tell, NULL);
}

static void look_times(unsigned n)
{
    while (n-- > 0)
        look();
}

static void assert_told(unsigned want_fired, unsigned want_resolved)
{
    ck_assert_msg(fired == want_fired && resolved == want_resolved,
                  "told %u and %u, not %u and %u; last: %s", fired, resolved, want_fired,
                  want_resolved, last);
}

static void requests(unsigned n, unsigned bad)
{
    for (unsigned i = 0; i < n; i++)
        np_stat_exchange(g, &endpoint, scene.now_ns, NP_NS_PER_MS, i < bad, true, false, 0);
}

START_TEST(nothing_is_told_where_nothing_is_wrong)
{
    requests(1000, 0);
    account.spent_nusd = USD;
    look_times(20);
    assert_told(0, 0);
}
END_TEST

START_TEST(each_part_of_a_budget_is_told_once_and_ends_with_its_window)
{
    scene.wall_ms = NOON_MS + 11 * 3600000; /* so late that the pace says nothing more */
    account.spent_nusd = 8 * USD - 1;
    look_times(3);
    assert_told(0, 0);
    account.spent_nusd = 8 * USD;
    look_times(3);
    assert_told(1, 0);
    ck_assert_str_eq(last, "ticket budget global/day 0.8: global/day has spent $8.00 of $10.00 "
                           "(80 %)");
    account.spent_nusd = 10 * USD;
    look_times(3);
    assert_told(2, 0);
    ck_assert_ptr_nonnull(strstr(last, "page budget global/day 1:"));
    account.spent_nusd = 0;
    look_times(20);
    assert_told(2, 2);
    account.spent_nusd = 9 * USD;
    look();
    assert_told(3, 2);
}
END_TEST

/* Budgets are walls: what no call fits into is never spent. */
START_TEST(an_account_that_turns_requests_away_is_used_up_before_its_last_cent_is_spent)
{
    scene.wall_ms = NOON_MS + 12 * 3600000 - 60000; /* the pace says nothing more */
    account.limit_nusd = USD / 50;
    account.turned_away = true; /* by a large request, while there is half of it */
    account.spent_nusd = account.limit_nusd / 3;
    look();
    assert_told(0, 0);
    account.turned_away = false;
    account.spent_nusd = account.limit_nusd - 66800;
    look();
    assert_told(1, 0);
    account.turned_away = true;
    look();
    assert_told(2, 0);
    ck_assert_str_eq(last, "page budget global/day 1: global/day has spent $0.019933 of $0.02 "
                           "(99 %); requests are turned away");
}
END_TEST

START_TEST(a_budget_that_is_spent_at_once_is_told_in_each_of_its_windows)
{
    scene.wall_ms = NOON_MS + 12 * 3600000 - 25000; /* two looks before midnight */
    account.spent_nusd = 9 * USD;
    look_times(2);
    assert_told(1, 0);
    look();
    assert_told(2, 0);
    look_times(7);
    assert_told(2, 1);
}
END_TEST

START_TEST(an_account_whose_pace_crosses_its_limit_is_told_before_it_does)
{
    account.spent_nusd = 4 * USD; /* at noon: 8 by midnight */
    look();
    assert_told(0, 0);
    account.spent_nusd = 6 * USD;
    look();
    assert_told(1, 0);
    ck_assert_ptr_nonnull(strstr(last, "ticket projected global/day 1: global/day will cross its "
                                       "limit of $10.00: $11.9"));
}
END_TEST

START_TEST(a_pace_near_the_limit_is_one_alert)
{
    for (int i = 0; i < 4; i++) { /* above and just below what crosses it */
        account.spent_nusd = i % 2 ? 4900000000 : 5100000000;
        look_times(8);
    }
    assert_told(1, 0);
    account.spent_nusd = 4 * USD;
    look_times(8);
    assert_told(1, 1);
}
END_TEST

START_TEST(the_first_tenth_of_a_window_projects_nothing)
{
    scene.wall_ms = NOON_MS - 11 * 3600000;
    account.spent_nusd = 5 * USD;
    look();
    assert_told(0, 0);
}
END_TEST

START_TEST(a_fast_burn_is_told_in_three_speeds_and_ends_with_its_short_window)
{
    requests(100, 15); /* 15 times what is allowed */
    look();
    assert_told(3, 0);
    look_times(10);
    assert_told(3, 0);
    pass(6 * 60 * NP_NS_PER_S); /* out of the five minutes, not out of thirty */
    look_times(7);
    assert_told(3, 1);
    pass(30 * 60 * NP_NS_PER_S);
    look_times(7);
    assert_told(3, 2);
    pass(UINT64_C(360) * 60 * NP_NS_PER_S);
    look_times(7);
    assert_told(3, 3);
}
END_TEST

START_TEST(a_burn_of_few_bad_events_is_not_told)
{
    requests(20, 9);
    look();
    assert_told(0, 0);
    requests(1, 1);
    look();
    assert_told(3, 0);
}
END_TEST

START_TEST(a_burn_needs_both_windows)
{
    requests(100, 50);
    pass(10 * 60 * NP_NS_PER_S);
    requests(10000, 0); /* the hour still burns below 1 */
    look();
    assert_told(0, 0);
}
END_TEST

/* --- latency ---------------------------------------------------------------------------------------- */

static struct np_slots slots;
static struct np_daybook *days;

static void days_setup(void)
{
    uint32_t slot;
    setup();
    ck_assert_int_eq(np_slots_init(&slots), NP_OK);
    for (uint32_t i = 0; i <= endpoint.slot; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "/api/%u/reply", i);
        ck_assert_int_eq(np_intern_add(slots.endpoints, np_span_of(name), &slot), NP_OK);
    }
    endpoint.path = np_intern_name(slots.endpoints, endpoint.slot);
    ck_assert_ptr_nonnull(days = np_daybook_new());
    scene.days = days;
    catalog.alerts.p95_jump = 2;
}

static void days_teardown(void)
{
    np_daybook_free(days);
    np_slots_free(&slots);
    teardown();
}

/* n replies of so many ms that have ended at wall_ms. */
static void replies(unsigned n, uint64_t ms, int64_t wall_ms)
{
    struct np_till *till = np_till_new();
    struct np_till_rows rows;
    const struct np_till_entry e = {.kind = NP_TILL_ENDPOINT,
                                    .slot = endpoint.slot,
                                    .sum = {.n = 1},
                                    .latency_ns = ms * NP_NS_PER_MS};
    ck_assert_ptr_nonnull(till);
    for (unsigned i = 0; i < n; i++)
        np_till_add(till, wall_ms, &e, 1);
    np_till_empty(till, &rows);
    np_daybook_pour(days, &rows, &slots, wall_ms);
    np_till_rows_free(&rows);
    np_till_free(till);
}

/* So many days before this one in which the noon had 200 replies of so many ms. */
static void noons(int first, int n, uint64_t ms)
{
    for (int i = first; i < first + n; i++)
        replies(200, ms, NOON_MS - i * NP_MS_PER_DAY);
}

START_TEST(a_latency_of_twice_what_is_usual_in_this_hour_is_told_and_ends)
{
    noons(1, 5, 400);
    for (int i = 1; i < 6; i++) /* slow in another hour */
        replies(500, 5000, NOON_MS - i * NP_MS_PER_DAY - 3 * 3600000);
    replies(100, 700, scene.wall_ms);
    look();
    assert_told(0, 0);
    replies(100, 1000, scene.wall_ms);
    look_times(3);
    assert_told(1, 0);
    ck_assert_msg(strstr(last, "ticket p95_jump /api/3/reply 2: p95 of /api/3/reply is 10") &&
                      strstr(last, " that are usual in this hour (5 days)"),
                  "%s", last);
    pass(UINT64_C(15) * 60 * NP_NS_PER_S);
    replies(100, 400, scene.wall_ms);
    look_times(7);
    assert_told(1, 1);
}
END_TEST

START_TEST(a_latency_near_the_edge_is_one_alert)
{
    noons(1, 3, 400);
    for (unsigned i = 0; i < 4; i++) {
        replies(2000u << (2 * i), i % 2 ? 780 : 900, scene.wall_ms);
        look_times(8);
    }
    assert_told(1, 0);
}
END_TEST

START_TEST(few_requests_make_no_jump)
{
    noons(1, 5, 400);
    replies(99, 2000, scene.wall_ms);
    look();
    assert_told(0, 0);
    replies(1, 2000, scene.wall_ms);
    look();
    assert_told(1, 0);
}
END_TEST

START_TEST(two_days_are_too_few_to_know_what_is_usual)
{
    noons(1, 2, 400);
    replies(500, 2000, scene.wall_ms);
    look();
    assert_told(0, 0);
    noons(3, 1, 400);
    replies(500, 2000, scene.wall_ms);
    look();
    assert_told(1, 0);
}
END_TEST

START_TEST(one_bad_day_does_not_become_usual)
{
    noons(1, 1, 9000);
    noons(2, 4, 400);
    replies(500, 2000, scene.wall_ms);
    look();
    assert_told(1, 0);
}
END_TEST

START_TEST(a_jump_of_some_milliseconds_is_nobodys_matter)
{
    noons(1, 5, 4);
    replies(500, 20, scene.wall_ms);
    look();
    assert_told(0, 0);
    replies(50000, 30, scene.wall_ms);
    look();
    assert_told(1, 0);
}
END_TEST

START_TEST(a_breaker_that_flaps_is_one_alert_until_it_was_closed_for_a_minute)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            np_breaker_report(g, &model, scene.now_ns, NP_CLASS_server_error, -1, false);
        look_times(3); /* half open by now */
        ck_assert_int_eq(np_breaker_get(g, &model, scene.now_ns), NP_BREAKER_HALF_OPEN);
        assert_told(1, 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(np_breaker_ask(g, &model, scene.now_ns), NP_PASS_PROBE);
            np_breaker_report(g, &model, scene.now_ns, NP_CLASS_ok, -1, true);
        }
        look_times(2);
        assert_told(1, 0);
    }
    look_times(6);
    assert_told(1, 1);
    ck_assert_ptr_nonnull(strstr(last, "ticket breaker east/small"));
}
END_TEST

START_TEST(a_key_that_a_provider_does_not_take_is_told_by_its_label)
{
    np_key_report(g, &provider, 0, scene.now_ns, NP_CLASS_credential, -1);
    look();
    assert_told(1, 0);
    ck_assert_str_eq(last, "page key_refused east env:K 1: east does not take the key env:K");
}
END_TEST

START_TEST(a_rejected_reload_is_told_until_the_folder_is_good_again)
{
    scene.rejected = "route.lua:3: unexpected symbol";
    look_times(3);
    assert_told(1, 0);
    ck_assert_str_eq(last, "ticket reload_rejected  1: policies were rejected: route.lua:3: "
                           "unexpected symbol");
    scene.rejected = NULL;
    scene.rolled_back = "hooks failed";
    look_times(7);
    assert_told(2, 1);
    scene.rolled_back = NULL;
    look_times(7);
    assert_told(2, 2);
}
END_TEST

START_TEST(a_lost_store_is_told_whatever_alerts_lua_says)
{
    catalog.alerts = (struct np_alert_rules){.report_minute = -1};
    totals.store_up = false;
    look_times(2);
    assert_told(1, 0);
    totals.store_up = true;
    look_times(7);
    assert_told(1, 1);
}
END_TEST

START_TEST(presumed_money_over_two_percent_of_an_hour_is_told)
{
    look();
    totals.settled_nusd[NP_SETTLED_EXACT] = 98 * USD;
    totals.settled_nusd[NP_SETTLED_PRESUMED] = 2 * USD;
    look();
    assert_told(0, 0);
    totals.settled_nusd[NP_SETTLED_PRESUMED] += 1;
    look();
    assert_told(1, 0);
    for (int i = 0; i < 61; i++) { /* an hour without any */
        pass(50 * NP_NS_PER_S);
        look();
    }
    look_times(7);
    assert_told(1, 1);
}
END_TEST

START_TEST(a_few_presumed_calls_of_next_to_nothing_are_not_told)
{
    look();
    totals.settled_nusd[NP_SETTLED_PRESUMED] = USD / 100 - 1;
    look();
    assert_told(0, 0);
}
END_TEST

START_TEST(excess_and_jumps_of_the_clock_are_told)
{
    look();
    totals.excess_nusd = 1000;
    totals.clock_jumps = 1;
    look();
    assert_told(2, 0);
}
END_TEST

START_TEST(what_alerts_lua_does_not_ask_for_is_not_told)
{
    catalog.alerts = (struct np_alert_rules){.report_minute = -1};
    scene.rejected = scene.rolled_back = "x";
    account.spent_nusd = 10 * USD;
    requests(100, 50);
    for (int i = 0; i < 3; i++)
        np_breaker_report(g, &model, scene.now_ns, NP_CLASS_server_error, -1, false);
    look();
    assert_told(0, 0);
}
END_TEST

START_TEST(a_silenced_fact_is_gone_and_others_stay)
{
    struct np_alert_fact f = {.alert = "breaker", .subject = "east/small"};
    facts.n = facts.lost = 0;
    np_alert_say(&facts, &f);
    (void)strcpy(f.subject, "west/small");
    np_alert_say(&facts, &f);
    (void)strcpy(f.alert, "burn");
    np_alert_say(&facts, &f);
    np_alert_silence(&facts, "breaker", "east/small");
    ck_assert_uint_eq(facts.n, 2);
    np_alert_silence(&facts, "breaker", "");
    ck_assert_uint_eq(facts.n, 1);
    ck_assert_str_eq(facts.list[0].alert, "burn");
}
END_TEST

START_TEST(a_full_table_gives_up_what_has_resolved_and_counts_what_it_can_not_take)
{
    for (unsigned n = 0; n < 2 * NP_ALERTS + 100; n++) {
        struct np_alert_fact f = {.alert = "x"};
        (void)snprintf(f.subject, sizeof f.subject, "%u", n);
        facts = (struct np_alert_facts){.n = 0};
        np_alert_say(&facts, &f);
        if (n == NP_ALERTS)
            ck_assert_uint_eq(table.n, NP_ALERTS);
        if (n == NP_ALERTS + 1) /* the table was full and all fired */
            ck_assert_uint_eq(table.lost, 1);
        if (n == NP_ALERTS + 1)
            pass(NP_ALERT_QUIET_NS);
        np_alerts_update(&table, &facts, scene.now_ns, scene.wall_ms, tell, NULL);
    }
    ck_assert_uint_eq(table.n, NP_ALERTS);
}
END_TEST

START_TEST(what_resolved_a_day_ago_is_forgotten)
{
    totals.store_up = false;
    look();
    totals.store_up = true;
    look_times(7);
    ck_assert_uint_eq(table.n, 1);
    pass(UINT64_C(86400) * NP_NS_PER_S);
    look();
    ck_assert_uint_eq(table.n, 0);
    assert_told(1, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("alerts");
    TCase *c = tcase_create("alerts");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, nothing_is_told_where_nothing_is_wrong);
    tcase_add_test(c, each_part_of_a_budget_is_told_once_and_ends_with_its_window);
    tcase_add_test(c, an_account_that_turns_requests_away_is_used_up_before_its_last_cent_is_spent);
    tcase_add_test(c, a_budget_that_is_spent_at_once_is_told_in_each_of_its_windows);
    tcase_add_test(c, an_account_whose_pace_crosses_its_limit_is_told_before_it_does);
    tcase_add_test(c, a_pace_near_the_limit_is_one_alert);
    tcase_add_test(c, the_first_tenth_of_a_window_projects_nothing);
    tcase_add_test(c, a_fast_burn_is_told_in_three_speeds_and_ends_with_its_short_window);
    tcase_add_test(c, a_burn_of_few_bad_events_is_not_told);
    tcase_add_test(c, a_burn_needs_both_windows);
    tcase_add_test(c, a_breaker_that_flaps_is_one_alert_until_it_was_closed_for_a_minute);
    tcase_add_test(c, a_key_that_a_provider_does_not_take_is_told_by_its_label);
    tcase_add_test(c, a_rejected_reload_is_told_until_the_folder_is_good_again);
    tcase_add_test(c, a_lost_store_is_told_whatever_alerts_lua_says);
    tcase_add_test(c, presumed_money_over_two_percent_of_an_hour_is_told);
    tcase_add_test(c, a_few_presumed_calls_of_next_to_nothing_are_not_told);
    tcase_add_test(c, excess_and_jumps_of_the_clock_are_told);
    tcase_add_test(c, what_alerts_lua_does_not_ask_for_is_not_told);
    tcase_add_test(c, a_silenced_fact_is_gone_and_others_stay);
    tcase_add_test(c, a_full_table_gives_up_what_has_resolved_and_counts_what_it_can_not_take);
    tcase_add_test(c, what_resolved_a_day_ago_is_forgotten);
    suite_add_tcase(s, c);
    c = tcase_create("latency");
    tcase_add_checked_fixture(c, days_setup, days_teardown);
    tcase_add_test(c, a_latency_of_twice_what_is_usual_in_this_hour_is_told_and_ends);
    tcase_add_test(c, a_latency_near_the_edge_is_one_alert);
    tcase_add_test(c, few_requests_make_no_jump);
    tcase_add_test(c, two_days_are_too_few_to_know_what_is_usual);
    tcase_add_test(c, one_bad_day_does_not_become_usual);
    tcase_add_test(c, a_jump_of_some_milliseconds_is_nobodys_matter);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
