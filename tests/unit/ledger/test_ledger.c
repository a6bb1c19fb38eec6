/* Reserving and settling: walls, windows, and that money ends once. */
#include "ledger/books.h"

#include "support/fail_alloc.h"

static struct np_budget_block block;
static struct np_reservation r, r2;

static enum np_err reserve(int64_t amount, int64_t wall_ms, struct np_reservation *out)
{
    return np_ledger_reserve(l, &x, &models[0], amount, wall_ms, out, &block);
}

static struct np_account_view look(const char *name, int64_t wall_ms)
{
    struct np_account_view v;
    ck_assert_int_eq(np_ledger_account(l, &catalog, np_span_of(name), wall_ms, &v), NP_OK);
    return v;
}

static struct np_ledger_totals totals(void)
{
    struct np_ledger_totals t;
    np_ledger_totals(l, &t);
    return t;
}

START_TEST(what_is_reserved_is_held_and_settled_to_its_cost)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, USD(1));
    ck_assert_int_eq(reserve(USD(0.4), NOON, &r), NP_OK);
    ck_assert(r.open);
    ck_assert_int_eq(r.amount_nusd, USD(0.4));
    ck_assert_uint_eq(r.n, 1);
    ck_assert_int_eq(look("global/day", NOON).reserved_nusd, USD(0.4));
    ck_assert_uint_eq(totals().open_reservations, 1);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, USD(0.1));
    ck_assert(!r.open);
    struct np_account_view v = look("global/day", NOON);
    ck_assert_int_eq(v.reserved_nusd, 0);
    ck_assert_int_eq(v.spent_nusd, USD(0.1));
    ck_assert_int_eq(v.limit_nusd, USD(1));
    ck_assert_int_eq(v.resets_wall_ms, NOON + 12 * HOUR);
    ck_assert_int_eq(totals().settled_nusd[NP_SETTLED_EXACT], USD(0.1));
    ck_assert_uint_eq(totals().open_reservations, 0);
}
END_TEST

START_TEST(the_last_nano_dollar_fits_and_the_next_does_not)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(60, NOON, &r), NP_OK);
    ck_assert_int_eq(reserve(40, NOON, &r2), NP_OK);
    ck_assert_int_eq(reserve(1, NOON, &r2), NP_E_REFUSED);
    ck_assert(!r2.open);
    np_ledger_settle(l, &r, NP_SETTLED_VOID, 0);
    ck_assert_int_eq(reserve(60, NOON, &r), NP_OK);
}
END_TEST

START_TEST(a_call_that_costs_nothing_passes_a_spent_budget)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(100, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 150);
    ck_assert_int_eq(reserve(0, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 0);
    ck_assert_int_eq(reserve(1, NOON, &r), NP_E_REFUSED);
}
END_TEST

START_TEST(a_refusal_says_what_stood_in_the_way)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MONTH, USD(10));
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, USD(1));
    ck_assert_int_eq(reserve(USD(0.25), NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, USD(0.25));
    ck_assert_int_eq(reserve(USD(0.5), NOON, &r), NP_OK);
    ck_assert_int_eq(reserve(USD(0.5), NOON, &r2), NP_E_REFUSED);
    ck_assert_ptr_eq(block.budget, &budgets[1]);
    ck_assert_str_eq(block.account, "tenant:acme/day");
    ck_assert_int_eq(block.limit_nusd, USD(1));
    ck_assert_int_eq(block.spent_nusd, USD(0.25));
    ck_assert_int_eq(block.reserved_nusd, USD(0.5));
    ck_assert_int_eq(block.free_nusd, USD(0.25));
    ck_assert_int_eq(block.resets_wall_ms, NOON + 12 * HOUR);
    ck_assert(block.own);
}
END_TEST

static void block_of(int64_t need, int64_t wall_ms)
{
    np_ledger_block(l, &x, &models[0], need, wall_ms, &block);
}

START_TEST(of_several_that_have_too_little_the_one_that_frees_last_is_told)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_HOUR, 100);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 120);
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_MONTH, 1000);
    ck_assert_int_eq(reserve(90, NOON, &r), NP_OK);
    ck_assert_int_eq(reserve(20, NOON, &r2), NP_E_REFUSED);
    ck_assert_str_eq(block.account, "global/hour");
    ck_assert_int_eq(reserve(40, NOON, &r2), NP_E_REFUSED);
    ck_assert_str_eq(block.account, "tenant:acme/day");
    ck_assert_int_eq(block.resets_wall_ms, NOON + 12 * HOUR);
    block_of(20, NOON);
    ck_assert_str_eq(block.account, "global/hour");
    block_of(40, NOON);
    ck_assert_str_eq(block.account, "tenant:acme/day");
    ck_assert(block.own && !block.reject && !block.over_limit);
}
END_TEST

START_TEST(one_that_rejects_wins_over_those_that_degrade_wherever_it_stands)
{
    for (size_t rejects = 0; rejects < 3; rejects++) {
        books_close();
        books_open();
        budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_HOUR, 100);
        budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
        budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_MONTH, 1000);
        budgets[rejects].reject = true;
        ck_assert_int_eq(reserve(90, NOON, &r), NP_OK);
        ck_assert_int_eq(reserve(50, NOON, &r2), NP_E_REFUSED);
        ck_assert_str_eq(block.account, "tenant:acme/day");
        /* The third has enough, and so no say. */
        ck_assert(block.reject == (rejects < 2));
        block_of(50, NOON);
        ck_assert(block.reject == (rejects < 2));
        np_ledger_settle(l, &r, NP_SETTLED_VOID, 0);
    }
}
END_TEST

START_TEST(what_is_more_than_the_whole_limit_never_frees)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MINUTE, 10);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(95, NOON, &r), NP_E_REFUSED);
    ck_assert_str_eq(block.account, "global/minute");
    ck_assert(block.over_limit);
    ck_assert_int_eq(block.resets_wall_ms, INT64_MAX);
    block_of(11, NOON);
    ck_assert(block.over_limit);
    block_of(10, NOON);
    ck_assert(!block.over_limit);
}
END_TEST

START_TEST(an_account_of_all_is_not_the_tenants_own)
{
    budget(NP_ACCOUNT_PROVIDER, "openai", NP_WINDOW_NONE, 5);
    ck_assert_int_eq(reserve(6, NOON, &r), NP_E_REFUSED);
    ck_assert_str_eq(block.account, "provider:openai/none");
    ck_assert(!block.own);
    ck_assert_int_eq(block.resets_wall_ms, INT64_MAX);
}
END_TEST

START_TEST(all_accounts_or_none)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_ENDPOINT, "/api/assistant/reply", NP_WINDOW_HOUR, 100);
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_HOUR, 10);
    ck_assert_int_eq(reserve(20, NOON, &r), NP_E_REFUSED);
    ck_assert_int_eq(look("global/day", NOON).reserved_nusd, 0);
    ck_assert_int_eq(look("endpoint:/api/assistant/reply/hour", NOON).reserved_nusd, 0);
    ck_assert_uint_eq(totals().open_reservations, 0);
    ck_assert_int_eq(reserve(10, NOON, &r), NP_OK);
    ck_assert_int_eq(look("global/day", NOON).reserved_nusd, 10);
    ck_assert_int_eq(look("model:gpt/hour", NOON).reserved_nusd, 10);
}
END_TEST

START_TEST(only_what_a_call_touches_is_charged)
{
    budget(NP_ACCOUNT_TENANT, "bolt", NP_WINDOW_DAY, 1);
    budget(NP_ACCOUNT_ENDPOINT, "/api/day", NP_WINDOW_DAY, 1);
    budget(NP_ACCOUNT_MODEL, "claude", NP_WINDOW_DAY, 1);
    budget(NP_ACCOUNT_PROVIDER, "anthropic", NP_WINDOW_DAY, 1);
    ck_assert_int_eq(reserve(1000, NOON, &r), NP_OK);
    ck_assert_uint_eq(r.n, 0);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), INT64_MAX);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[1], NOON, &block), 1);
    np_ledger_settle(l, &r, NP_SETTLED_PRESUMED, 900);
    ck_assert_int_eq(totals().settled_nusd[NP_SETTLED_PRESUMED], 900);
}
END_TEST

START_TEST(each_tenant_has_its_own_account)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 10);
    ck_assert_int_eq(reserve(10, NOON, &r), NP_OK);
    ck_assert_int_eq(reserve(1, NOON, &r2), NP_E_REFUSED);
    x.tenant = &tenants[1];
    ck_assert_int_eq(reserve(10, NOON, &r2), NP_OK);
}
END_TEST

START_TEST(budgets_of_one_account_share_it_and_the_lowest_limit_holds)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_TENANT, "acme", NP_WINDOW_DAY, 30);
    budget(NP_ACCOUNT_TENANT, "bolt", NP_WINDOW_DAY, 300);
    ck_assert_int_eq(reserve(20, NOON, &r), NP_OK);
    ck_assert_uint_eq(r.n, 1);
    ck_assert_int_eq(reserve(20, NOON, &r2), NP_E_REFUSED);
    ck_assert_ptr_eq(block.budget, &budgets[1]);
    ck_assert_int_eq(look("tenant:acme/day", NOON).reserved_nusd, 20);
    ck_assert_int_eq(look("tenant:acme/day", NOON).limit_nusd, 30);
    ck_assert_int_eq(look("tenant:bolt/day", NOON).limit_nusd, 100);
}
END_TEST

START_TEST(room_is_the_least_of_all_and_names_it)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 50);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 50);
    ck_assert_str_eq(block.account, "tenant:acme/day");
    ck_assert_int_eq(reserve(45, NOON, &r), NP_OK);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 5);
    ck_assert_int_eq(reserve(5, NOON, &r2), NP_OK);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 0);
    catalog.n_budgets = 0;
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), INT64_MAX);
    ck_assert_ptr_null(block.budget);
}
END_TEST

START_TEST(more_than_was_reserved_is_booked_whole_and_counted_as_excess)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(100, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 130);
    ck_assert_int_eq(look("global/day", NOON).spent_nusd, 130);
    ck_assert_int_eq(totals().excess_nusd, 30);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 0);
}
END_TEST

START_TEST(spent_money_does_not_overflow)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 10);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(reserve(0, NOON, &r), NP_OK);
        np_ledger_settle(l, &r, NP_SETTLED_EXACT, INT64_MAX / 4);
    }
    ck_assert_int_gt(look("global/none", NOON).spent_nusd, NP_NUSD_MAX);
    ck_assert_int_eq(reserve(1, NOON, &r), NP_E_REFUSED);
}
END_TEST

START_TEST(a_second_end_is_counted_and_changes_nothing)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(50, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 20);
    np_ledger_settle(l, &r, NP_SETTLED_PRESUMED, 50);
    ck_assert_int_eq(look("global/day", NOON).spent_nusd, 20);
    ck_assert_uint_eq(totals().double_ends, 1);
    ck_assert_int_eq(totals().settled_nusd[NP_SETTLED_PRESUMED], 0);
}
END_TEST

START_TEST(a_void_end_that_costs_stops_the_process)
{
    ck_assert_int_eq(reserve(50, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_VOID, 1);
}
END_TEST

START_TEST(a_copy_of_a_reservation_that_ended_stops_the_process)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(50, NOON, &r), NP_OK);
    struct np_reservation copy = r;
    np_ledger_settle(l, &r, NP_SETTLED_VOID, 0);
    np_ledger_settle(l, &copy, NP_SETTLED_VOID, 0);
}
END_TEST

/* --- windows ------------------------------------------------------------------------------------- */

START_TEST(a_new_window_starts_with_nothing_spent)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(100, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 100);
    ck_assert_int_eq(reserve(1, NOON + 12 * HOUR - 1, &r), NP_E_REFUSED);
    ck_assert_int_eq(look("global/day", NOON + 12 * HOUR).spent_nusd, 0);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON + 12 * HOUR, &block), 100);
    ck_assert_int_eq(reserve(100, NOON + 12 * HOUR, &r), NP_OK);
}
END_TEST

START_TEST(a_reservation_stays_in_the_window_in_which_it_was_made)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    int64_t late = NOON + 12 * HOUR - 1, next = late + 1;
    ck_assert_int_eq(reserve(100, late, &r), NP_OK);
    ck_assert_int_eq(reserve(70, next, &r2), NP_OK);
    ck_assert_int_ne(r.window_start[0], r2.window_start[0]);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 90);
    struct np_account_view v = look("global/day", next);
    ck_assert_int_eq(v.spent_nusd, 0);
    ck_assert_int_eq(v.reserved_nusd, 70);
    np_ledger_settle(l, &r2, NP_SETTLED_EXACT, 60);
    ck_assert_int_eq(look("global/day", next).spent_nusd, 60);
    ck_assert_int_eq(totals().settled_nusd[NP_SETTLED_EXACT], 150);
}
END_TEST

START_TEST(a_clock_that_goes_back_does_not_open_an_old_window)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(100, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 100);
    ck_assert_int_eq(reserve(100, NOON + DAY, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 100);
    ck_assert_int_eq(reserve(1, NOON, &r), NP_E_REFUSED);
    ck_assert_int_eq(reserve(1, NOON - 30 * DAY, &r), NP_E_REFUSED);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 0);
    ck_assert_int_eq(look("global/day", NOON).spent_nusd, 100);
    ck_assert_int_eq(look("global/day", NOON).resets_wall_ms, NOON + DAY + 12 * HOUR);
}
END_TEST

START_TEST(looking_ahead_does_not_move_time)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(100, NOON, &r), NP_OK);
    ck_assert_int_eq(look("global/day", NOON + DAY).reserved_nusd, 0);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON + DAY, &block), 100);
    ck_assert_int_eq(reserve(1, NOON, &r2), NP_E_REFUSED);
}
END_TEST

START_TEST(a_limit_that_a_reload_lowers_holds_at_once_and_keeps_what_was_spent)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(50, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 50);
    budgets[0].limit_nusd = 40;
    ck_assert_int_eq(reserve(1, NOON, &r), NP_E_REFUSED);
    ck_assert_int_eq(block.free_nusd, 0);
    budgets[0].limit_nusd = 60;
    ck_assert_int_eq(reserve(10, NOON, &r), NP_OK);
}
END_TEST

/* By the newest catalogue's own calls, or by being told alone. */
START_TEST(a_lowered_limit_holds_for_calls_that_began_before_it)
{
    struct np_budget were[1];
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, USD(1));
    were[0] = budgets[0];
    struct np_catalog old = catalog;
    old.budgets = were;
    np_ledger_warm(l, &old, NOON);
    x.catalog = &old;
    ck_assert_int_eq(reserve(USD(0.3), NOON, &r), NP_OK);
    budgets[0].limit_nusd = USD(0.5);
    np_ledger_warm(l, &catalog, NOON);
    x.catalog = &catalog;
    if (_i == 0) {
        ck_assert_int_eq(reserve(USD(0.1), NOON, &r2), NP_OK);
        np_ledger_settle(l, &r2, NP_SETTLED_VOID, 0);
    }
    x.catalog = &old;
    ck_assert_int_eq(reserve(USD(0.3), NOON, &r2), NP_E_REFUSED);
    ck_assert_int_eq(reserve(USD(0.2), NOON, &r2), NP_OK);
    np_ledger_settle(l, &r2, NP_SETTLED_VOID, 0);
    /* One that is raised, or rolled back, lets old calls have no more than their own. */
    budgets[0].limit_nusd = USD(2);
    np_ledger_warm(l, &catalog, NOON);
    ck_assert_int_eq(reserve(USD(0.8), NOON, &r2), NP_E_REFUSED);
    ck_assert_int_eq(reserve(USD(0.7), NOON, &r2), NP_OK);
}
END_TEST

START_TEST(a_model_that_moves_to_another_provider_keeps_its_account)
{
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_DAY, 100);
    ck_assert_int_eq(reserve(80, NOON, &r), NP_OK);
    models[0].provider = &providers[1];
    models[0].slot = 77;
    ck_assert_int_eq(reserve(30, NOON, &r2), NP_E_REFUSED);
}
END_TEST

START_TEST(a_call_of_too_many_accounts_is_refused_not_let_through)
{
    for (int w = NP_WINDOW_MINUTE; w <= NP_WINDOW_NONE; w++) {
        budget(NP_ACCOUNT_GLOBAL, "", (enum np_window)w, 1000);
        budget(NP_ACCOUNT_EACH_TENANT, "", (enum np_window)w, 1000);
    }
    ck_assert_int_eq(reserve(1, NOON, &r), NP_OK);
    ck_assert_uint_eq(r.n, NP_MAX_ACCOUNTS);
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_DAY, 1000);
    ck_assert_int_eq(reserve(1, NOON, &r2), NP_E_FULL);
    ck_assert_int_eq(np_ledger_room(l, &x, &models[0], NOON, &block), 0);
}
END_TEST

/* --- memory -------------------------------------------------------------------------------------- */

START_TEST(every_allocation_may_fail)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 100);
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        struct np_ledger *one = np_ledger_new();
        enum np_err err = NP_E_NOMEM;
        if (one) {
            err = np_ledger_reserve(one, &x, &models[0], 1, NOON, &r, &block);
        }
        bool failed = np_fail_happened();
        np_fail_never();
        np_ledger_free(one);
        ck_assert(!one || err == NP_OK || (err == NP_E_FULL && !block.budget && !r.open));
        ck_assert_int_eq(err == NP_OK, !failed);
        if (err == NP_OK) {
            break;
        }
    }
    ck_assert_uint_eq(n, 4);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ledger");
    TCase *t = tcase_create("money");
    tcase_add_checked_fixture(t, books_open, books_close);
    tcase_add_test(t, what_is_reserved_is_held_and_settled_to_its_cost);
    tcase_add_test(t, the_last_nano_dollar_fits_and_the_next_does_not);
    tcase_add_test(t, a_call_that_costs_nothing_passes_a_spent_budget);
    tcase_add_test(t, a_refusal_says_what_stood_in_the_way);
    tcase_add_test(t, of_several_that_have_too_little_the_one_that_frees_last_is_told);
    tcase_add_test(t, one_that_rejects_wins_over_those_that_degrade_wherever_it_stands);
    tcase_add_test(t, what_is_more_than_the_whole_limit_never_frees);
    tcase_add_test(t, an_account_of_all_is_not_the_tenants_own);
    tcase_add_test(t, all_accounts_or_none);
    tcase_add_test(t, only_what_a_call_touches_is_charged);
    tcase_add_test(t, each_tenant_has_its_own_account);
    tcase_add_test(t, budgets_of_one_account_share_it_and_the_lowest_limit_holds);
    tcase_add_test(t, room_is_the_least_of_all_and_names_it);
    tcase_add_test(t, more_than_was_reserved_is_booked_whole_and_counted_as_excess);
    tcase_add_test(t, spent_money_does_not_overflow);
    tcase_add_test(t, a_second_end_is_counted_and_changes_nothing);
    tcase_add_test_raise_signal(t, a_void_end_that_costs_stops_the_process, 6);
    tcase_add_test_raise_signal(t, a_copy_of_a_reservation_that_ended_stops_the_process, 6);
    tcase_add_test(t, a_new_window_starts_with_nothing_spent);
    tcase_add_test(t, a_reservation_stays_in_the_window_in_which_it_was_made);
    tcase_add_test(t, a_clock_that_goes_back_does_not_open_an_old_window);
    tcase_add_test(t, looking_ahead_does_not_move_time);
    tcase_add_test(t, a_limit_that_a_reload_lowers_holds_at_once_and_keeps_what_was_spent);
    tcase_add_loop_test(t, a_lowered_limit_holds_for_calls_that_began_before_it, 0, 2);
    tcase_add_test(t, a_model_that_moves_to_another_provider_keeps_its_account);
    tcase_add_test(t, a_call_of_too_many_accounts_is_refused_not_let_through);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(s, t);
    SRunner *run = srunner_create(s);
    srunner_run_all(run, CK_ENV);
    int failed = srunner_ntests_failed(run);
    srunner_free(run);
    return failed > 0;
}
