/* Workers and the ledger's thread on a file: walls hold, nobody is refused before them, windows keep
 * what was reserved in them whatever the clock does. */
#include "ledger/books.h"

#include "base/rng.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define MINUTE INT64_C(60000)

static char folder[64], path[96], url[112], why[1024];
static _Atomic int64_t wall_ms;
static atomic_uint admitted, refused;

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

static void open_file(void)
{
    struct np_ledger_config config = {.store = url, .clock = &test_clock};
    np_ledger_free(l);
    l = NULL;
    ck_assert_msg(np_ledger_open(&config, &l, why, sizeof why) == NP_OK, "%s", why);
}

static void setup(void)
{
    books_open();
    atomic_store(&wall_ms, NOON);
    (void)strcpy(folder, "/tmp/neap-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/neap.db", folder);
    (void)snprintf(url, sizeof url, "sqlite:%s", path);
    atomic_store(&admitted, 0);
    atomic_store(&refused, 0);
    open_file();
}

static void teardown(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char file[128];
    books_close();
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(file, sizeof file, "%s%s", path, ends[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
}

static int64_t one_number(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return n;
}

/* Asks until the answer is not "wait", at most 20 s. */
static enum np_err reserve(const struct np_exchange *mine, int64_t amount, struct np_reservation *r)
{
    struct np_budget_block block;
    enum np_err err = NP_E_BUSY;
    for (int i = 0; i < 20000 && err == NP_E_BUSY; i++) {
        err = np_ledger_reserve(l, mine, &models[0], amount, atomic_load(&wall_ms), r, &block);
        if (err == NP_E_BUSY) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        if (err == NP_E_REFUSED && block.store_lost) {
            err = NP_E_BUSY; /* a disk that is slow for a while */
        }
    }
    return err;
}

static void *burst(void *ctx)
{
    struct np_exchange mine = x;
    (void)ctx;
    for (int i = 0; i < 50; i++) {
        struct np_reservation r;
        enum np_err err = reserve(&mine, 10, &r);
        atomic_fetch_add(err == NP_OK ? &admitted : &refused, 1);
    }
    return NULL;
}

static void together(void *(*what)(void *))
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, what, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(t[i], NULL);
    }
}

START_TEST(of_two_hundred_at_once_exactly_four_have_money)
{
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 40);
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 1000);
    together(burst);
    ck_assert_uint_eq(atomic_load(&admitted), 4);
    ck_assert_uint_eq(atomic_load(&refused), THREADS * 50 - 4);
}
END_TEST

static void *trade(void *ctx)
{
    size_t me = (size_t)ctx;
    struct np_exchange mine = x;
    mine.tenant = &tenants[me % 2];
    for (int i = 0; i < 500; i++) {
        struct np_reservation r;
        struct np_budget_block block;
        (void)np_ledger_room(l, &mine, &models[0], atomic_load(&wall_ms), &block);
        if (reserve(&mine, 100, &r) == NP_OK) {
            atomic_fetch_add(&admitted, 1);
            np_ledger_settle(l, &r, i % 5 ? NP_SETTLED_EXACT : NP_SETTLED_VOID, i % 5 ? 30 : 0);
        }
        atomic_fetch_add(&wall_ms, 1 + (int64_t)(i % 7));
    }
    return NULL;
}

START_TEST(nobody_is_refused_before_the_limit_and_the_file_has_all_that_was_settled)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_NONE, USD(1));
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, USD(1));
    together(trade);
    struct np_ledger_totals t;
    np_ledger_totals(l, &t);
    ck_assert_uint_eq(atomic_load(&admitted), THREADS * 500);
    ck_assert_uint_eq(t.open_reservations, 0);
    int64_t settled = t.settled_nusd[NP_SETTLED_EXACT];
    open_file();
    printf("sqlite: %u reservations by %d threads, %llu had to wait, %lld settled\n",
           atomic_load(&admitted), THREADS, (unsigned long long)t.waits, (long long)settled);
    ck_assert_int_eq(one_number("SELECT sum(cost_nusd) FROM settlements"), settled);
    ck_assert_int_eq(one_number("SELECT sum(cost_nusd) FROM totals"), settled);
    ck_assert_int_eq(one_number("SELECT exact FROM vectors WHERE account = 'global/none'"),
                     settled);
    ck_assert_int_eq(
        one_number("SELECT sum(granted - returned - exact - estimated - presumed) FROM vectors"),
        0);
}
END_TEST

START_TEST(windows_keep_what_was_reserved_in_them_whatever_the_clock_does)
{
    enum { CALLS = 1000, WINDOWS = 64, OPEN = 16 };
    static int64_t spent[WINDOWS];
    struct np_reservation open[OPEN] = {0};
    struct np_rng rng;
    int64_t misplaced = 0, latest = 0, midnight = NOON + 12 * HOUR, total = 0;
    np_rng_seed(&rng, 11);
    memset(spent, 0, sizeof spent);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_MINUTE, 4000);
    atomic_store(&wall_ms, midnight - 10 * MINUTE);
    for (int i = 0; i < CALLS; i++) {
        struct np_reservation *r = &open[np_rng_below(&rng, OPEN)];
        if (r->open) {
            int64_t at = (r->window_start[0] - midnight) / MINUTE + WINDOWS / 2;
            np_ledger_settle(l, r, NP_SETTLED_EXACT, 7);
            spent[at] += 7;
            total += 7;
        }
        /* Mostly on, now and then five minutes to and fro. */
        int64_t jump = i % 97 == 50 ? 300000 : i % 97 == 60 ? -300000 : 0;
        atomic_fetch_add(&wall_ms, (int64_t)np_rng_below(&rng, 2000) + jump);
        ck_assert_int_eq(reserve(&x, 20, r), NP_OK);
        misplaced += r->window_start[0] < latest;
        latest = r->window_start[0] > latest ? r->window_start[0] : latest;
    }
    for (int i = 0; i < OPEN; i++) {
        if (open[i].open) {
            spent[(open[i].window_start[0] - midnight) / MINUTE + WINDOWS / 2] += 7;
            total += 7;
            np_ledger_settle(l, &open[i], NP_SETTLED_EXACT, 7);
        }
    }
    open_file();
    for (int64_t w = 0; w < WINDOWS; w++) {
        char sql[160];
        (void)snprintf(sql, sizeof sql,
                       "SELECT coalesce(sum(exact), 0) FROM vectors WHERE start_ms = %lld",
                       (long long)(midnight + (w - WINDOWS / 2) * MINUTE));
        misplaced += one_number(sql) != spent[w];
    }
    int64_t lost = total - one_number("SELECT sum(exact) FROM vectors");
    printf("window edges: %d calls over midnight, %lld misplaced, %lld lost\n", CALLS,
           (long long)misplaced, (long long)lost);
    ck_assert_int_eq(misplaced, 0);
    ck_assert_int_eq(lost, 0);
    ck_assert_int_eq(one_number("SELECT sum(recovered) FROM vectors"), 0);
}
END_TEST

START_TEST(a_chunk_is_at_most_a_twentieth_of_the_limit_and_idle_money_goes_back)
{
    struct np_reservation r;
    struct np_account_view v;
    int64_t most = 0;
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 100000);
    for (int i = 0; i < 400; i++) {
        ck_assert_int_eq(reserve(&x, 100, &r), NP_OK);
        np_ledger_settle(l, &r, NP_SETTLED_EXACT, 1);
        ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
        most = v.leased_nusd > most ? v.leased_nusd : most;
    }
    printf("chunks: at most %lld of a limit of 100000 was leased\n", (long long)most);
    ck_assert_int_le(most, 5000 + 200); /* and what is reserved and asked for twice meanwhile */
    ck_assert_int_gt(most, 100);
    atomic_fetch_add(&wall_ms, 6000);
    for (int i = 0; i < 5000 && v.leased_nusd > 0; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
    }
    ck_assert_int_eq(v.leased_nusd, 0);
}
END_TEST

START_TEST(a_limit_that_is_lowered_gives_free_money_back_at_once)
{
    struct np_reservation r;
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 100000);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(reserve(&x, 50, &r), NP_OK);
        np_ledger_settle(l, &r, NP_SETTLED_EXACT, 10);
    }
    budgets[0].limit_nusd = 1020;
    np_ledger_warm(l, &catalog, atomic_load(&wall_ms));
    struct np_account_view v;
    ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
    ck_assert_int_le(v.leased_nusd, 20);
    ck_assert_int_eq(reserve(&x, 21, &r), NP_E_REFUSED);
    ck_assert_int_eq(reserve(&x, 20, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 20);
}
END_TEST

START_TEST(a_call_that_was_open_when_the_limit_was_lowered_leaves_no_free_money_above_it)
{
    struct np_reservation r;
    struct np_account_view v;
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 100000);
    ck_assert_int_eq(reserve(&x, 50, &r), NP_OK);
    budgets[0].limit_nusd = 20;
    np_ledger_warm(l, &catalog, atomic_load(&wall_ms));
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 10);
    ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
    ck_assert_int_le(v.leased_nusd, 10);
    ck_assert_int_eq(reserve(&x, 11, &r), NP_E_REFUSED);
}
END_TEST

#define GRANTED "SELECT sum(granted) FROM vectors WHERE account = 'global/none'"
#define HELD "SELECT sum(granted - returned - exact) FROM vectors WHERE account = 'global/none'"

/* Asks for a large grant while another connection holds the file, and lowers the limit before that lets go.
 * False when the answer was not under way just then: a busy machine. */
static bool lower_under_a_grant(void)
{
    struct np_reservation r;
    struct np_budget_block block;
    sqlite3 *db;
    budgets[0].limit_nusd = 100000;
    np_ledger_warm(l, &catalog, atomic_load(&wall_ms));
    ck_assert_int_eq(reserve(&x, 10, &r), NP_OK);
    np_ledger_settle(l, &r, NP_SETTLED_EXACT, 10);
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    int64_t before = one_number(GRANTED);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 10000);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    enum np_err err = np_ledger_reserve(l, &x, &models[0], 40000, NOON, &r, &block);
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    budgets[0].limit_nusd = 500;
    np_ledger_warm(l, &catalog, atomic_load(&wall_ms));
    ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    for (int i = 0; i < 50 && one_number(GRANTED) < before + 10000; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    ck_assert_int_ne(err, NP_OK);
    return one_number(GRANTED) >= before + 10000;
}

START_TEST(a_grant_that_was_on_its_way_when_the_limit_was_lowered_goes_back)
{
    struct np_account_view v;
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, 100000);
    int tries = 1;
    while (tries < 20 && !lower_under_a_grant()) {
        tries++;
    }
    ck_assert_int_lt(tries, 20);
    int64_t most = 0;
    for (int i = 0; i < 5000 && (i < 100 || one_number(HELD) > 500); i++) {
        ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
        most = v.leased_nusd > most ? v.leased_nusd : most;
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    printf("grant under way: at most %lld were free, %d tries\n", (long long)most, tries);
    ck_assert_int_le(most, 500);
    ck_assert_int_le(one_number(HELD), 500);
}
END_TEST

START_TEST(claims_are_leased_like_money_and_leave_no_settlements)
{
    struct np_claim claim = {.kind = "requests",
                             .name = "acme",
                             .id = 11,
                             .window = NP_WINDOW_MINUTE,
                             .limit = 5,
                             .amount = 1};
    struct np_hold h;
    int64_t resets;
    unsigned held = 0;
    for (int i = 0; i < 5000 && held < 5; i++) {
        enum np_err err = np_ledger_hold(l, &claim, NOON, &h, &resets);
        if (err == NP_OK) {
            np_ledger_let_go(l, &h, 1);
            held++;
        } else {
            ck_assert_int_eq(err, NP_E_BUSY);
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    ck_assert_uint_eq(held, 5);
    ck_assert_int_eq(np_ledger_hold(l, &claim, NOON, &h, &resets), NP_E_REFUSED);
    ck_assert_int_eq(resets, NOON + MINUTE);
    open_file();
    ck_assert_int_eq(one_number("SELECT exact FROM vectors WHERE account = 'requests:acme/minute'"),
                     5);
    ck_assert_int_eq(one_number("SELECT count(*) FROM settlements"), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sqlite_threads");
    TCase *t = tcase_create("threads");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, of_two_hundred_at_once_exactly_four_have_money);
    tcase_add_test(t, nobody_is_refused_before_the_limit_and_the_file_has_all_that_was_settled);
    tcase_add_test(t, windows_keep_what_was_reserved_in_them_whatever_the_clock_does);
    tcase_add_test(t, a_chunk_is_at_most_a_twentieth_of_the_limit_and_idle_money_goes_back);
    tcase_add_test(t, a_limit_that_is_lowered_gives_free_money_back_at_once);
    tcase_add_test(t,
                   a_call_that_was_open_when_the_limit_was_lowered_leaves_no_free_money_above_it);
    tcase_add_test(t, a_grant_that_was_on_its_way_when_the_limit_was_lowered_goes_back);
    tcase_add_test(t, claims_are_leased_like_money_and_leave_no_settlements);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
