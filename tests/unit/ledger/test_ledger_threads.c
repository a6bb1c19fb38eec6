/* Money from many threads at once. */
#include "ledger/books.h"

#include <pthread.h>
#include <stdatomic.h>

#define CROWD 200
#define THREADS 8
#define ROUNDS 3000

static atomic_int admitted, refused;
static pthread_barrier_t gate;

static void together(size_t n, void *(*fn)(void *))
{
    pthread_t t[CROWD];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_barrier_init(&gate, NULL, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(pthread_create(&t[i], &small, fn, (void *)i), 0);
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
    pthread_barrier_destroy(&gate);
    pthread_attr_destroy(&small);
}

static void *reserve_one(void *ctx)
{
    (void)ctx;
    struct np_reservation r;
    struct np_budget_block block;
    pthread_barrier_wait(&gate);
    enum np_err err = np_ledger_reserve(l, &x, &models[0], USD(0.25), NOON, &r, &block);
    atomic_fetch_add(err == NP_OK ? &admitted : &refused, 1);
    return NULL;
}

START_TEST(of_two_hundred_at_once_exactly_four_have_money)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_HOUR, USD(1.2));
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, USD(1));
    budget(NP_ACCOUNT_MODEL, "gpt", NP_WINDOW_NONE, USD(50));
    together(CROWD, reserve_one);
    ck_assert_int_eq(atomic_load(&admitted), 4);
    ck_assert_int_eq(atomic_load(&refused), CROWD - 4);
    struct np_account_view v;
    ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/day"), NOON, &v), NP_OK);
    ck_assert_int_eq(v.reserved_nusd, USD(1));
    ck_assert_int_eq(v.spent_nusd, 0);
}
END_TEST

/* Each thread is a tenant of its own for half of its calls, and moves through minutes. */
static void *trade(void *ctx)
{
    size_t me = (size_t)ctx;
    struct np_exchange mine = x;
    struct np_tenant own = {.name = "own", .slot = (uint32_t)(50 + me)};
    pthread_barrier_wait(&gate);
    for (int i = 0; i < ROUNDS; i++) {
        struct np_reservation r;
        struct np_budget_block block;
        int64_t wall = NOON + i * INT64_C(100);
        mine.tenant = i % 2 ? &own : &tenants[0];
        (void)np_ledger_room(l, &mine, &models[i % 3 == 0], wall, &block);
        if (np_ledger_reserve(l, &mine, &models[i % 3 == 0], 10, wall, &r, &block) == NP_OK) {
            atomic_fetch_add(&admitted, 1);
            np_ledger_settle(l, &r, i % 5 ? NP_SETTLED_EXACT : NP_SETTLED_VOID, i % 5 ? 3 : 0);
        }
        if (i % 50 == 0) {
            struct np_account_view out[8];
            (void)np_ledger_list(l, &catalog, wall, out, 8);
        }
    }
    return NULL;
}

START_TEST(a_mixed_life_leaves_nothing_reserved_and_loses_nothing)
{
    budget(NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_MINUTE, 5000);
    budget(NP_ACCOUNT_GLOBAL, "", NP_WINDOW_NONE, USD(1));
    together(THREADS, trade);
    struct np_account_view v;
    struct np_ledger_totals t;
    ck_assert_int_eq(np_ledger_account(l, &catalog, NP_SPAN("global/none"), NOON, &v), NP_OK);
    np_ledger_totals(l, &t);
    ck_assert_int_gt(atomic_load(&admitted), 1000);
    ck_assert_int_eq(v.reserved_nusd, 0);
    ck_assert_int_eq(v.spent_nusd, t.settled_nusd[NP_SETTLED_EXACT]);
    ck_assert_uint_eq(t.open_reservations, 0);
    ck_assert_uint_eq(t.double_ends, 0);
    ck_assert_int_eq(t.excess_nusd, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ledger_threads");
    TCase *t = tcase_create("threads");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, books_open, books_close);
    tcase_add_test(t, of_two_hundred_at_once_exactly_four_have_money);
    tcase_add_test(t, a_mixed_life_leaves_nothing_reserved_and_loses_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
