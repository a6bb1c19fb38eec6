/* The embedded store through power cuts: what it said is durable is there afterwards, whatever the disk
 * made of the writes that it was not told to keep. */
#include "ledger/powerloss.h"

#include "base/log.h"
#include "ledger/journal.h"
#include "ledger/store_kinds.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

#ifndef CUTS
#define CUTS 40 /* test_powerloss_long.c has more */
#endif
#define LIMIT INT64_C(1000000)
#define NOW INT64_C(1728000000000)
/* Far enough that the log is sometimes moved into the file, which it is each 1,000 pages. */
#define OPS_MOST 6000

static char folder[64], path[96], why[1024];
static struct np_store *store;

/* What the store has acknowledged. */
struct said {
    int64_t granted, told;
    uint64_t rows;
};

static void make_folder(void)
{
    (void)strcpy(folder, "/tmp/neap-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/neap.db", folder);
}

static void remove_folder(void)
{
    char lock[128];
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    (void)unlink(path);
    (void)unlink(lock);
    (void)rmdir(folder);
}

static bool begin_life(struct np_vector *v)
{
    struct np_journal *journal;
    int64_t recovered;
    *v = (struct np_vector){0};
    store = NULL;
    if (np_journal_open(path, NOW, &journal, &recovered, why, sizeof why) == NP_OK) {
        store = np_store_sqlite_new(journal);
    }
    return store != NULL;
}

static void end_life(void)
{
    if (store) {
        store->ops->free(store);
    }
    store = NULL;
}

static void nothing(void *ctx, struct np_round *round)
{
    (void)ctx;
    (void)round;
}

/* A round that is granted 10 more and tells that 3 were spent; true: it was acknowledged. */
static bool live(struct np_vector *v, bool opened, uint64_t number, struct said *said)
{
    struct np_vector own = *v;
    struct np_rows rows = {0};
    struct np_settle_row row = {.number = number,
                                .attempt = 1,
                                .count = 1,
                                .class = NP_SETTLED_EXACT,
                                .cost_nusd = 3,
                                .request = "req",
                                .model = "m"};
    if (opened) {
        own.settled[NP_SETTLED_EXACT] += 3;
        np_rows_add(&rows, &row);
    }
    struct np_lease lease = {.account = "global/day",
                             .start_ms = NOW,
                             .end_ms = NOW + 1,
                             .limit = LIMIT,
                             .need = 10,
                             .want = 10,
                             .opened = opened,
                             .own = own};
    struct np_round round = {.leases = &lease, .n = 1, .rows = &rows, .done = nothing};
    store->ops->round(store, &round);
    np_rows_free(&rows);
    if (!lease.answered) {
        return false;
    }
    *v = own;
    if (!opened) {
        np_vector_add(v, &lease.base);
    }
    v->granted = lease.granted;
    said->granted = lease.granted;
    said->told += opened ? 3 : 0;
    said->rows += opened;
    return true;
}

/* A life until the power fails, or some rounds that end well. Returns how many rounds it had. */
static unsigned a_life(struct said *said)
{
    struct np_vector v;
    unsigned rounds = 0;
    bool well = np_rng_below(&power_rng, 8) == 0;
    power_left = well ? -1 : (long)np_rng_below(&power_rng, OPS_MOST);
    power_left = np_rng_below(&power_rng, 2) ? power_left : power_left / 50;
    unsigned most = well ? (unsigned)np_rng_below(&power_rng, 400) : UINT32_MAX;
    if (begin_life(&v)) {
        while (rounds < most && live(&v, rounds > 0, rounds, said)) {
            rounds++;
        }
    }
    end_life();
    power_cycle();
    return rounds;
}

static int64_t one_number(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    int64_t n = -1;
    if (sqlite3_open(path, &db) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        n = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return n;
}

/* Whether all that was acknowledged is there, the file is sound, and nothing passed the limit. */
static bool kept(const struct said *said)
{
    if (said->rows + (uint64_t)said->granted == 0) {
        return true; /* the power failed before there was a file */
    }
    return one_number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") ==
               1 &&
           one_number("SELECT granted FROM vectors") >= said->granted &&
           one_number("SELECT granted <= limit_nusd FROM vectors") == 1 &&
           one_number("SELECT exact FROM vectors") >= said->told &&
           one_number("SELECT sum(cost_nusd) FROM settlements") >= said->told &&
           one_number("SELECT count(*) FROM settlements") >= (int64_t)said->rows &&
           one_number("SELECT sum(cost_nusd) FROM totals") ==
               one_number("SELECT sum(cost_nusd) FROM settlements");
}

/* How many of so many cuts lost something. Three lives a disk. */
static unsigned losses(unsigned cuts, uint64_t *rounds)
{
    unsigned lost = 0;
    *rounds = 0;
    for (unsigned i = 0; i < cuts;) {
        struct said said = {0};
        bool good = true;
        make_folder();
        power_begin(i + 1);
        for (unsigned life = 0; life < 3 && i < cuts && good; life++, i++) {
            *rounds += a_life(&said);
            good = kept(&said);
            lost += !good;
        }
        remove_folder();
    }
    power_begin(0);
    return lost;
}

START_TEST(nothing_that_was_acknowledged_is_lost_with_the_power)
{
    uint64_t rounds;
    unsigned lost = losses(CUTS, &rounds);
    printf("power: %u cuts, %llu acknowledged rounds, lost acknowledged grants %u\n", CUTS,
           (unsigned long long)rounds, lost);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(on_a_disk_that_lies_about_syncs_it_is_lost_so_that_this_can_fail)
{
    uint64_t rounds;
    power_lies = true;
    unsigned lost = losses(20, &rounds);
    power_lies = false;
    printf("power: 20 cuts on a disk that lies about syncs: %u lost something\n", lost);
    ck_assert_uint_gt(lost, 4);
}
END_TEST

int main(void)
{
    np_log_level(NP_LOG_ERROR + 1); /* every cut would tell of itself */
    power_install();
    Suite *s = suite_create("powerloss");
    TCase *t = tcase_create("cuts");
    tcase_set_timeout(t, 60 + CUTS * 2);
    tcase_add_test(t, nothing_that_was_acknowledged_is_lost_with_the_power);
    tcase_add_test(t, on_a_disk_that_lies_about_syncs_it_is_lost_so_that_this_can_fail);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
