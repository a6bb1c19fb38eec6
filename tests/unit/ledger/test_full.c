/* The table of accounts when it is full, and random money against a plain reference. */
#include "ledger/books.h"

#include "base/rng.h"

#include <stdio.h>

#define MINUTE_MS INT64_C(60000)
#define PLACES 65536

static struct np_budget_block block;

static enum np_err reserve_as(uint32_t tenant_slot, int64_t amount, int64_t wall_ms,
                              struct np_reservation *out)
{
    struct np_tenant one = {.name = "somebody", .slot = tenant_slot};
    x.tenant = &one;
    return np_ledger_reserve(l, &x, &models[0], amount, wall_ms, out, &block);
}

static unsigned fill(int64_t wall_ms)
{
    unsigned made = 0;
    struct np_reservation r;
    for (uint32_t i = 0; i < PLACES + 10; i++) {
        if (reserve_as(i, 1, wall_ms, &r) == NP_OK) {
            np_ledger_settle(l, &r, NP_SETTLED_EXACT, 1);
            made++;
        }
    }
    return made;
}

START_TEST(the_table_holds_65536_accounts_and_refuses_more)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_HOUR, 10);
    ck_assert_uint_eq(fill(NOON), PLACES);
    struct np_reservation r;
    ck_assert_int_eq(reserve_as(PLACES + 1, 1, NOON, &r), NP_E_FULL);
    ck_assert(!r.open);
    ck_assert_ptr_null(block.budget);
    ck_assert_int_eq(reserve_as(5, 9, NOON, &r), NP_OK);
    ck_assert_int_eq(reserve_as(6, 10, NOON, &r), NP_E_REFUSED);
}
END_TEST

START_TEST(windows_that_ended_make_room_but_for_open_reservations)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_HOUR, 10);
    struct np_reservation held, r;
    ck_assert_int_eq(reserve_as(7, 3, NOON, &held), NP_OK);
    ck_assert_uint_eq(fill(NOON), PLACES);
    ck_assert_int_eq(reserve_as(PLACES + 100, 1, NOON + HOUR, &r), NP_OK);
    ck_assert_int_eq(reserve_as(7, 10, NOON + HOUR, &r), NP_OK);
    np_ledger_settle(l, &held, NP_SETTLED_EXACT, 2);
    ck_assert_int_eq(reserve_as(7, 1, NOON + HOUR, &r), NP_E_REFUSED);
    ck_assert_int_eq(block.spent_nusd, 0);
    /* Every place is given once: all but those of tenant 7 and the one beyond. */
    ck_assert_uint_eq(fill(NOON + HOUR), PLACES - 2);
}
END_TEST

START_TEST(the_current_window_is_found_again_beside_an_older_one_that_is_still_open)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_HOUR, 10);
    struct np_reservation first, second, third, r;
    ck_assert_int_eq(reserve_as(7, 10, NOON, &first), NP_OK);
    ck_assert_int_eq(reserve_as(7, 10, NOON + HOUR, &second), NP_OK);
    np_ledger_settle(l, &first, NP_SETTLED_VOID, 0);
    /* Its record now comes before that of the window that is still open. */
    ck_assert_int_eq(reserve_as(7, 10, NOON + 2 * HOUR, &third), NP_OK);
    ck_assert_uint_lt(third.account[0], second.account[0]);
    ck_assert_uint_eq(fill(NOON + 2 * HOUR), PLACES - 2);
    ck_assert_int_eq(reserve_as(7, 1, NOON + 2 * HOUR, &r), NP_E_REFUSED);
    np_ledger_settle(l, &second, NP_SETTLED_EXACT, 5);
    np_ledger_settle(l, &third, NP_SETTLED_EXACT, 5);
    ck_assert_int_eq(reserve_as(7, 6, NOON + 2 * HOUR, &r), NP_E_REFUSED);
    ck_assert_int_eq(reserve_as(7, 5, NOON + 2 * HOUR, &r), NP_OK);
}
END_TEST

START_TEST(a_record_that_outlives_its_window_is_given_back)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MINUTE, 10);
    struct np_reservation r[2];
    ck_assert_int_eq(reserve_as(1, 1, NOON, &r[0]), NP_OK);
    for (int i = 1; i < PLACES + 100; i++) {
        enum np_err err = reserve_as(1, 1, NOON + i * MINUTE_MS, &r[i % 2]);
        np_ledger_settle(l, &r[(i + 1) % 2], NP_SETTLED_EXACT, 1);
        ck_assert_msg(err == NP_OK && r[i % 2].account[0] < 2, "at minute %d", i);
    }
}
END_TEST

START_TEST(a_window_that_made_room_is_not_opened_again_by_a_clock_that_goes_back)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_HOUR, 10);
    struct np_reservation r;
    ck_assert_int_eq(reserve_as(7, 10, NOON, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 10);
    ck_assert_uint_ge(fill(NOON), PLACES - 1);
    ck_assert_int_eq(reserve_as(PLACES + 100, 1, NOON + HOUR, &r), NP_OK);
    ck_assert_int_eq(reserve_as(7, 10, NOON, &r), NP_OK);
    ck_assert_int_eq(r.window_start[0], NOON + HOUR);
}
END_TEST

/* --- random money -------------------------------------------------------------------------------- */

#define STEPS 100000
#define OPEN 64
#define TENANTS 5
#define LIMIT 1000

/* The reference keeps every window of every account for ever: [tenants + global][minute]. */
struct money {
    int64_t spent[TENANTS + 1][256], reserved[TENANTS + 1][256];
    struct {
        struct np_reservation r;
        unsigned tenant, minute;
        int64_t amount;
    } open[OPEN];
    int64_t wall_ms, latest_ms, settled;
    unsigned mismatches, refused, granted;
};

static unsigned minute_of(int64_t wall_ms)
{
    return (unsigned)((wall_ms - NOON) / MINUTE_MS);
}

static bool fits(const struct money *m, unsigned account, unsigned minute, int64_t amount)
{
    return m->spent[account][minute] + m->reserved[account][minute] + amount <= LIMIT ||
           amount == 0;
}

static void step_reserve(struct money *m, struct np_rng *rng, size_t at)
{
    unsigned tenant = (unsigned)np_rng_below(rng, TENANTS);
    int64_t amount = (int64_t)np_rng_below(rng, 60);
    m->latest_ms = m->wall_ms > m->latest_ms ? m->wall_ms : m->latest_ms;
    unsigned minute = minute_of(m->latest_ms);
    bool good = fits(m, tenant, minute, amount) && fits(m, TENANTS, minute, amount);
    enum np_err err = reserve_as(100 + tenant, amount, m->wall_ms, &m->open[at].r);
    m->mismatches += err != (good ? NP_OK : NP_E_REFUSED);
    m->refused += !good;
    m->granted += good;
    if (good) {
        m->open[at].tenant = tenant;
        m->open[at].minute = minute;
        m->open[at].amount = amount;
        m->reserved[tenant][minute] += amount;
        m->reserved[TENANTS][minute] += amount;
    }
}

static void step_settle(struct money *m, struct np_rng *rng, size_t at)
{
    int64_t amount = m->open[at].amount;
    int64_t cost = (int64_t)np_rng_below(rng, (uint64_t)amount + 1);
    cost += np_rng_below(rng, 50) == 0 ? 40 : 0;
    np_ledger_settle(l, &m->open[at].r, NP_SETTLED_EXACT, cost);
    for (unsigned i = 0; i < 2; i++) {
        unsigned account = i ? TENANTS : m->open[at].tenant;
        m->reserved[account][m->open[at].minute] -= amount;
        m->spent[account][m->open[at].minute] += cost;
    }
    m->settled += cost;
}

static void compare_global(struct money *m)
{
    struct np_account_view v;
    enum np_err err = np_ledger_account(l, &catalog, NP_SPAN("global/minute"), m->latest_ms, &v);
    unsigned minute = minute_of(m->latest_ms);
    m->mismatches += err != NP_OK || v.spent_nusd != m->spent[TENANTS][minute] ||
                     v.reserved_nusd != m->reserved[TENANTS][minute];
}

START_TEST(random_money_agrees_with_books_that_forget_nothing)
{
    static struct money m;
    struct np_rng rng;
    np_rng_seed(&rng, 17);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_MINUTE, LIMIT);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MINUTE, LIMIT);
    m.wall_ms = m.latest_ms = NOON;
    for (int i = 0; i < STEPS; i++) {
        size_t at = np_rng_below(&rng, OPEN);
        if (m.open[at].r.open) {
            step_settle(&m, &rng, at);
        } else {
            step_reserve(&m, &rng, at);
        }
        if (np_rng_below(&rng, 4) == 0 && m.latest_ms < NOON + 250 * MINUTE_MS) {
            int64_t jump = (int64_t)np_rng_below(&rng, 12000);
            m.wall_ms += np_rng_below(&rng, 10) < 4 ? -jump : jump;
        }
        compare_global(&m);
    }
    struct np_ledger_totals t;
    np_ledger_totals(l, &t);
    printf("ledger: %d steps, %u granted, %u refused, %u minutes, %u mismatches\n", STEPS,
           m.granted, m.refused, minute_of(m.latest_ms), m.mismatches);
    ck_assert_uint_eq(m.mismatches, 0);
    ck_assert_int_eq(t.settled_nusd[NP_SETTLED_EXACT], m.settled);
    ck_assert_uint_gt(m.refused, 1000);
    ck_assert_uint_gt(minute_of(m.latest_ms), 50);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ledger_full");
    TCase *t = tcase_create("full");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, books_open, books_close);
    tcase_add_test(t, the_table_holds_65536_accounts_and_refuses_more);
    tcase_add_test(t, windows_that_ended_make_room_but_for_open_reservations);
    tcase_add_test(t, the_current_window_is_found_again_beside_an_older_one_that_is_still_open);
    tcase_add_test(t, a_record_that_outlives_its_window_is_given_back);
    tcase_add_test(t, a_window_that_made_room_is_not_opened_again_by_a_clock_that_goes_back);
    tcase_add_test(t, random_money_agrees_with_books_that_forget_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
