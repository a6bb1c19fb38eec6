/* A store that has a clock of its own decides windows, whatever this machine's clock says. */
#include "ledger/books.h"

#include "ledger/ledger_impl.h"

#include <stdlib.h>
#include <time.h>

#define MINUTE INT64_C(60000)

static _Atomic int64_t store_ms; /* what the store's clock says */
static _Atomic int64_t wall_ms;  /* what this machine's does */

/* Grants what is asked for in the windows that are open by its own clock. */
static void ask_round(struct np_store *s, struct np_round *round)
{
    (void)s;
    int64_t now_ms = atomic_load(&store_ms);
    for (size_t i = 0; i < round->n; i++) {
        struct np_lease *lease = &round->leases[i];
        bool open = now_ms >= lease->start_ms && now_ms < lease->end_ms;
        lease->granted = lease->own.granted + (open ? lease->need : 0);
        lease->answered = lease->durable = true;
    }
    round->rows_durable = round->store_ok = true;
    round->store_ms = now_ms;
    round->mono_ns = np_clock_mono_ns(&np_clock_live);
    round->done(round->ctx, round);
}

static void release(struct np_store *s)
{
    free(s);
}

static const struct np_store_ops ops = {.name = "fake:", .round = ask_round, .free = release};

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return np_clock_mono_ns(&np_clock_live);
}

static int64_t wall(void *ctx)
{
    (void)ctx;
    return atomic_load(&wall_ms);
}

static const struct np_clock test_clock = {mono_ns, wall, NULL};

static void start(int64_t off_ms)
{
    books_open();
    np_ledger_free(l);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MINUTE, 1000);
    atomic_store(&store_ms, NOON + MINUTE / 2);
    atomic_store(&wall_ms, NOON + MINUTE / 2 + off_ms);
    struct np_store *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    s->ops = &ops;
    l = np_ledger_on(s, &test_clock);
    ck_assert_ptr_nonnull(l);
    ck_assert_int_eq(np_thread_start(l), NP_OK);
}

/* The window in which money was had, within 5 s. */
static int64_t window_of_a_call(void)
{
    struct np_reservation r;
    struct np_budget_block block;
    for (int i = 0; i < 5000; i++) {
        if (np_ledger_reserve(l, &x, &models[0], 10, atomic_load(&wall_ms), &r, &block) == NP_OK) {
            np_ledger_settle(l, &r, NP_SETTLED_EXACT, 10);
            return r.window_start[0];
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return -1;
}

START_TEST(a_machine_whose_clock_is_wrong_spends_in_the_stores_window)
{
    static const int64_t offs[] = {-300000, 300000};
    start(offs[_i]);
    ck_assert_int_eq(window_of_a_call(), NOON);
    struct np_account_view v;
    ck_assert_int_eq(
        np_ledger_account(l, &catalog, NP_SPAN("global/minute"), atomic_load(&wall_ms), &v), NP_OK);
    ck_assert_int_eq(v.spent_nusd, 10);
    ck_assert_int_eq(v.resets_wall_ms, NOON + MINUTE);
    /* Its own clock may jump on as it likes. */
    atomic_fetch_sub(&wall_ms, 2 * offs[_i]);
    ck_assert_int_eq(window_of_a_call(), NOON);
    books_close();
}
END_TEST

START_TEST(the_stores_clock_moves_windows_on_and_never_back)
{
    start(0);
    ck_assert_int_eq(window_of_a_call(), NOON);
    atomic_store(&store_ms, NOON + 10 * MINUTE + MINUTE / 2);
    struct np_ledger_totals t = {0};
    for (int i = 0; i < 5000 && t.clock_jumps == 0; i++) {
        (void)window_of_a_call(); /* settling tells the store, and brings its time */
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        np_ledger_totals(l, &t);
    }
    ck_assert_uint_ge(t.clock_jumps, 1);
    ck_assert_int_eq(window_of_a_call(), NOON + 10 * MINUTE);
    books_close();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_clock");
    TCase *t = tcase_create("clock");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, a_machine_whose_clock_is_wrong_spends_in_the_stores_window, 0, 2);
    tcase_add_test(t, the_stores_clock_moves_windows_on_and_never_back);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
