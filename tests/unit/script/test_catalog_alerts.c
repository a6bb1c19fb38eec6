/* alerts.lua in the catalogue. */
#include "script/setkit.h"

static struct setkit k;

static void set_up(void)
{
    setkit_open(&k);
}

static void tear_down(void)
{
    setkit_close(&k);
}

START_TEST(alerts_are_taken_and_a_written_address_is_shown_by_its_place)
{
    ck_assert_int_eq(setenv("NEAP_TEST_HOOK", "https://hooks.example/secret", 1), 0);
    setkit_write(&k, "alerts.lua",
                 "return { sinks = { { webhook = env 'NEAP_TEST_HOOK', format = 'slack' },\n"
                 " { webhook = 'https://b.example/x' } }, budget = { 0.8, 1.0 }, p95_jump = 2,\n"
                 " burn = true, reload = true, daily_report = '08:30' }");
    setkit_assert_loads(&k);
    const struct np_alert_rules *r = &np_policyset_catalog(k.set)->alerts;
    ck_assert_uint_eq(r->n_sinks, 2);
    ck_assert_str_eq(r->sinks[0].label, "env:NEAP_TEST_HOOK");
    ck_assert_str_eq(r->sinks[0].url, "https://hooks.example/secret");
    ck_assert(r->sinks[0].slack && !r->sinks[1].slack);
    ck_assert_str_eq(r->sinks[1].label, "sinks[2]");
    ck_assert_str_eq(r->sinks[1].url, "https://b.example/x");
    ck_assert_uint_eq(r->n_budget, 2);
    ck_assert_double_eq(r->budget[0], 0.8);
    ck_assert_double_eq(r->p95_jump, 2);
    ck_assert(r->burn && !r->breaker && r->reload);
    ck_assert_int_eq(r->report_minute, 8 * 60 + 30);
}
END_TEST

START_TEST(without_alerts_lua_there_are_no_sinks_and_no_report)
{
    setkit_assert_loads(&k);
    const struct np_alert_rules *r = &np_policyset_catalog(k.set)->alerts;
    ck_assert_uint_eq(r->n_sinks + r->n_budget, 0);
    ck_assert(!r->burn && !r->breaker && !r->reload);
    ck_assert_int_eq(r->report_minute, -1);
}
END_TEST

START_TEST(what_is_hardly_meant_is_refused_with_what_is)
{
    static const char *const rows[][3] = {
        {"alerts.lua", "return { daily_report = '24:00' }", "to \"23:59\", got \"24:00\""},
        {"alerts.lua", "return { daily_report = '25:00' }", "to \"23:59\", got \"25:00\""},
        {"budgets.lua", "return {{ account = 'endpoint', window = 'day', limit_usd = 1 }}",
         "must say which one: \"endpoint:PATH\""},
        {"budgets.lua", "return {{ account = 'model', window = 'day', limit_usd = 1 }}",
         "must say which one: \"model:NAME\""},
        {"budgets.lua", "return {{ account = 'global', window = 'daily', limit_usd = 1 }}",
         "(did you mean \"day\"?)"},
        {"budgets.lua", "return {{ account = 'global', window = 'day', limit = 1 }}",
         "limit is no field here (did you mean \"limit_usd\"?)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setkit_write(&k, "alerts.lua", "return {}");
        setkit_write(&k, "budgets.lua", "return {}");
        setkit_write(&k, rows[i][0], rows[i][1]);
        setkit_assert_refused(&k, rows[i][2]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("script/catalog_alerts");
    TCase *c = tcase_create("alerts");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, alerts_are_taken_and_a_written_address_is_shown_by_its_place);
    tcase_add_test(c, without_alerts_lua_there_are_no_sinks_and_no_report);
    tcase_add_test(c, what_is_hardly_meant_is_refused_with_what_is);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
