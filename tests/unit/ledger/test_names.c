/* Accounts by name and as a list. */
#include "ledger/books.h"

#include <stdio.h>

static struct np_account_view view;

static enum np_err find(const char *name)
{
    return np_ledger_account(l, &catalog, np_span_of(name), NOON, &view);
}

static void spend(size_t tenant, size_t model, int64_t amount)
{
    struct np_reservation r;
    struct np_budget_block block;
    x.tenant = &tenants[tenant];
    ck_assert_int_eq(np_ledger_reserve(l, &x, &models[model], amount, NOON, &r, &block), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, amount);
}

START_TEST(each_kind_is_found_by_its_name)
{
    static const char *const names[] = {
        "global/day",     "tenant:bolt/day",      "tenant:acme/week",
        "model:gpt/hour", "provider:openai/none", "endpoint:/api/assistant/reply/minute"};
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_TENANT, "acme", NP_WINDOW_WEEK, 100);
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_HOUR, 100);
    budget(NP_ACCOUNT_PROVIDER, "openai", NP_WINDOW_NONE, 100);
    budget(NP_ACCOUNT_ENDPOINT, "/api/assistant/reply", NP_WINDOW_MINUTE, 100);
    spend(0, 0, 7);
    spend(1, 0, 1);
    static const int64_t spent[] = {8, 1, 7, 8, 8, 8};
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(find(names[i]), NP_OK);
        ck_assert_str_eq(view.name, names[i]);
        ck_assert_int_eq(view.spent_nusd, spent[i]);
        ck_assert_int_eq(view.limit_nusd, 100);
    }
}
END_TEST

START_TEST(without_a_window_it_is_the_first_of_that_account)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_WEEK, 70);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_HOUR, 50);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 60);
    ck_assert_int_eq(find("global"), NP_OK);
    ck_assert_str_eq(view.name, "global/hour");
    ck_assert_int_eq(find("tenant:acme"), NP_OK);
    ck_assert_str_eq(view.name, "tenant:acme/week");
    ck_assert_int_eq(view.limit_nusd, 70);
}
END_TEST

START_TEST(a_path_may_end_like_a_window)
{
    budget(NP_ACCOUNT_ENDPOINT, "/api/day", NP_WINDOW_HOUR, 5);
    ck_assert_int_eq(find("endpoint:/api/day"), NP_OK);
    ck_assert_str_eq(view.name, "endpoint:/api/day/hour");
    ck_assert_int_eq(find("endpoint:/api/day/hour"), NP_OK);
    ck_assert_str_eq(view.name, "endpoint:/api/day/hour");
}
END_TEST

START_TEST(what_has_no_budget_is_not_found)
{
    static const char *const names[] = {"",
                                        "/",
                                        "/day",
                                        "global/hour",
                                        "globals",
                                        "global:x",
                                        "tenant",
                                        "tenant:",
                                        "tenant:nobody",
                                        "tenant:acme/",
                                        "tenant:acme/year",
                                        "model:gpt",
                                        "provider:nobody",
                                        "endpoint:/nowhere",
                                        "user:acme"};
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(find(names[_i]), NP_E_NOTFOUND);
}
END_TEST

START_TEST(the_anonymous_tenant_is_found)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    catalog.n_tenants = 0;
    spend(2, 0, 3);
    ck_assert_int_eq(find("tenant:anonymous/day"), NP_OK);
    ck_assert_int_eq(view.spent_nusd, 3);
}
END_TEST

START_TEST(the_list_has_every_account_once_fullest_first)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 1000);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_TENANT, "acme", NP_WINDOW_DAY, 80);
    budget(NP_ACCOUNT_MODEL, "claude", NP_WINDOW_DAY, 10);
    spend(0, 0, 20);
    spend(1, 0, 60);
    struct np_account_view out[8];
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 8), 4);
    ck_assert_str_eq(out[0].name, "tenant:bolt/day");
    ck_assert_int_eq(out[0].spent_nusd, 60);
    ck_assert_str_eq(out[1].name, "tenant:acme/day");
    ck_assert_int_eq(out[1].limit_nusd, 80);
    ck_assert_str_eq(out[2].name, "global/day");
    ck_assert_str_eq(out[3].name, "model:claude/day");
}
END_TEST

START_TEST(a_short_list_lets_go_of_the_emptiest_tenants_and_then_of_the_emptiest)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 1000);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    spend(0, 0, 10);
    spend(1, 0, 50);
    struct np_account_view out[2];
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 1), 1);
    ck_assert_str_eq(out[0].name, "global/day");
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 2), 2);
    ck_assert_str_eq(out[0].name, "tenant:bolt/day");
    ck_assert_str_eq(out[1].name, "global/day");
    budget(NP_ACCOUNT_MODEL, "claude", NP_WINDOW_DAY, 10);
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 2), 2);
    ck_assert_str_eq(out[0].name, "global/day");
    ck_assert_str_eq(out[1].name, "model:claude/day");
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 0), 0);
}
END_TEST

START_TEST(an_account_without_a_limit_left_is_the_fullest)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_MODEL, "claude", NP_WINDOW_DAY, 0);
    spend(0, 0, 100);
    struct np_account_view out[3];
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 3), 3);
    ck_assert_int_eq(out[0].spent_nusd, 100);
    ck_assert_str_eq(out[1].name, "model:claude/day");
}
END_TEST

START_TEST(without_tenants_the_list_has_the_anonymous_one)
{
    catalog.n_tenants = 0;
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    struct np_account_view out[3];
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 3), 1);
    ck_assert_str_eq(out[0].name, "tenant:anonymous/day");
}
END_TEST

START_TEST(names_that_are_too_long_are_cut_and_told_apart)
{
    static char path[2][300];
    struct np_account_view out[2];
    for (int i = 0; i < 2; i++) {
        memset(path[i], 'p', sizeof path[i] - 1);
        path[i][0] = '/';
        path[i][200] = (char)('a' + i);
        endpoints[i].path = path[i];
        budget(NP_ACCOUNT_ENDPOINT, path[i], NP_WINDOW_DAY, 100);
    }
    ck_assert_uint_eq(np_ledger_list(l, &catalog, NOON, out, 2), 2);
    ck_assert_uint_lt(strlen(out[0].name), sizeof out[0].name);
    ck_assert(memcmp(out[0].name, "endpoint:/pppp", 14) == 0);
    ck_assert_str_ne(out[0].name, out[1].name);
    char name[320];
    snprintf(name, sizeof name, "endpoint:%s", path[1]);
    ck_assert_int_eq(find(name), NP_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ledger_names");
    TCase *t = tcase_create("names");
    tcase_add_checked_fixture(t, books_open, books_close);
    tcase_add_test(t, each_kind_is_found_by_its_name);
    tcase_add_test(t, without_a_window_it_is_the_first_of_that_account);
    tcase_add_test(t, a_path_may_end_like_a_window);
    tcase_add_loop_test(t, what_has_no_budget_is_not_found, 0, 15);
    tcase_add_test(t, the_anonymous_tenant_is_found);
    tcase_add_test(t, the_list_has_every_account_once_fullest_first);
    tcase_add_test(t, a_short_list_lets_go_of_the_emptiest_tenants_and_then_of_the_emptiest);
    tcase_add_test(t, an_account_without_a_limit_left_is_the_fullest);
    tcase_add_test(t, without_tenants_the_list_has_the_anonymous_one);
    tcase_add_test(t, names_that_are_too_long_are_cut_and_told_apart);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
