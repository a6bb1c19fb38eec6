/* The embedded store: what it grants is durable, whatever fails; and what it keeps of other lives. */
#include "ledger/faults.h"

#include "base/log.h"
#include "ledger/audit.h"
#include "ledger/journal.h"
#include "ledger/release.h"
#include "ledger/store_kinds.h"
#include "support/fail_alloc.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT 1000
#define DAY INT64_C(86400000)
#define NOW (20000 * DAY)

static char folder[64], path[96], why[1024];
static struct np_journal *journal;
static struct np_store *store;
static int64_t recovered;

static void make_folder(void)
{
    (void)strcpy(folder, "/tmp/neap-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/neap.db", folder);
}

static void remove_folder(void)
{
    static const char *const names[] = {"neap.db",      "neap.db-wal", "neap.db-shm",
                                        "neap.db.lock", "log",         "link.db"};
    char file[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", folder, names[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
}

static enum np_err open_store(void)
{
    store = NULL;
    recovered = -1;
    enum np_err err = np_journal_open(path, NOW, &journal, &recovered, why, sizeof why);
    if (!err) {
        store = np_store_sqlite_new(journal);
    }
    return store ? NP_OK : err ? err : NP_E_NOMEM;
}

static void close_store(void)
{
    if (store) {
        store->ops->free(store);
    }
    store = NULL;
}

/* A life of one account, as the ledger leads it. */
struct life {
    bool opened;
    struct np_vector v;
    uint64_t numbers;
};

static void nothing(void *ctx, struct np_round *round)
{
    (void)ctx;
    (void)round;
}

/* One round: asks for `need`, and tells what is settled with a row of its own. True: it was answered. No
 * libcheck in here: it allocates, and that may be what fails. */
static bool ask(struct life *a, const char *account, int64_t need, int64_t cost)
{
    struct np_lease lease = {.start_ms = NOW,
                             .end_ms = NOW + DAY,
                             .limit = LIMIT,
                             .need = need,
                             .want = need,
                             .opened = a->opened};
    struct np_rows rows = {0};
    struct np_settle_row row = {.number = a->numbers + 1,
                                .attempt = 1,
                                .count = 1,
                                .class = NP_SETTLED_EXACT,
                                .cost_nusd = cost,
                                .request = "req",
                                .model = "m"};
    if (cost > 0) {
        a->v.settled[NP_SETTLED_EXACT] += cost;
        a->numbers++;
        np_rows_add(&rows, &row);
    }
    (void)strcpy(lease.account, account);
    lease.own = a->v;
    struct np_round round = {.leases = &lease, .n = 1, .rows = &rows, .done = nothing};
    store->ops->round(store, &round);
    np_require(lease.answered == round.store_ok);
    np_require(!lease.answered || lease.durable);
    if (lease.answered) {
        if (!a->opened) {
            np_vector_add(&a->v, &lease.base);
        }
        a->opened = true;
        np_require(lease.granted >= a->v.granted);
        a->v.granted = lease.granted;
    } else if (cost > 0) {
        a->v.settled[NP_SETTLED_EXACT] -= cost; /* told again by the caller */
        a->numbers--;
    }
    np_rows_free(&rows);
    return lease.answered;
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

/* As whoever gets round the lock does. */
static void meddle(const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void setup(void)
{
    make_folder();
    ck_assert_msg(open_store() == NP_OK, "%s", why);
}

static void teardown(void)
{
    close_store();
    remove_folder();
}

/* --- granting ------------------------------------------------------------------------------------- */

START_TEST(grants_never_pass_the_limit_and_the_last_unit_is_granted)
{
    struct life a = {0};
    for (int i = 0; i < 30; i++) {
        ck_assert(ask(&a, "global/day", 70, 0));
        ck_assert_int_le(a.v.granted, LIMIT);
    }
    ck_assert_int_eq(a.v.granted, LIMIT);
}
END_TEST

START_TEST(what_a_life_gave_back_and_spent_is_there_for_the_next)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 300, 0));
    a.v.returned = 100;
    ck_assert(ask(&a, "global/day", 0, 200));
    close_store();
    ck_assert_int_eq(open_store(), NP_OK);
    ck_assert_int_eq(recovered, 0);
    struct life b = {0};
    ck_assert(ask(&b, "global/day", 10, 0));
    ck_assert_int_eq(b.v.granted, 310);
    ck_assert_int_eq(b.v.returned, 100);
    ck_assert_int_eq(np_vector_settled(&b.v), 200);
    ck_assert_int_eq(np_journal_id(journal)->boot, 2);
}
END_TEST

START_TEST(what_a_dead_life_held_counts_as_spent)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 300, 0));
    ck_assert(ask(&a, "global/day", 0, 120));
    struct life other = {0};
    ck_assert(ask(&other, "tenant:acme/day", 50, 0));
    close_store();
    ck_assert_int_eq(open_store(), NP_OK);
    ck_assert_int_eq(recovered, 180);
    struct life b = {0};
    ck_assert(ask(&b, "global/day", 10, 0));
    ck_assert_int_eq(b.v.settled[NP_SETTLED_EXACT], 120);
    ck_assert_int_eq(b.v.settled[NP_SETTLED_PRESUMED], 180);
    ck_assert_int_eq(one_number("SELECT sum(recovered) FROM vectors"), 180 + 50);
}
END_TEST

START_TEST(a_view_of_an_account_leaves_no_row)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 0, 0));
    ck_assert_int_eq(one_number("SELECT count(*) FROM vectors"), 0);
}
END_TEST

START_TEST(a_row_that_is_told_twice_counts_once)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    ck_assert(ask(&a, "global/day", 0, 7));
    a.numbers--;
    ck_assert(ask(&a, "global/day", 0, 7));
    ck_assert_int_eq(one_number("SELECT sum(cost_nusd) FROM settlements"), 7);
    ck_assert_int_eq(one_number("SELECT sum(cost_nusd) FROM totals"), 7);
    ck_assert_int_eq(one_number("SELECT sum(calls) FROM totals"), 1);
}
END_TEST

START_TEST(old_windows_and_rows_are_forgotten_and_sums_stay)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    for (int i = 0; i < 20; i++) {
        ck_assert(ask(&a, "global/day", 0, 5));
    }
    ck_assert(!store->ops->prune(store, 1)); /* rows were made at 0 */
    ck_assert_int_eq(one_number("SELECT count(*) FROM settlements"), 0);
    ck_assert_int_eq(one_number("SELECT count(*) FROM vectors"), 1);
    ck_assert(!store->ops->prune(store, NOW + 2 * DAY));
    ck_assert_int_eq(one_number("SELECT count(*) FROM vectors"), 0);
    ck_assert_int_eq(one_number("SELECT sum(cost_nusd) FROM totals"), 100);
}
END_TEST

START_TEST(whoever_has_been_taken_over_gets_nothing_more)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    meddle("UPDATE self SET boot = boot + 1");
    ck_assert(!ask(&a, "global/day", 10, 0));
    ck_assert(!ask(&a, "global/day", 10, 0));
    ck_assert_int_eq(one_number("SELECT granted FROM vectors"), 100);
}
END_TEST

static void log_to_folder(void)
{
    char file[128];
    (void)snprintf(file, sizeof file, "%s/log", folder);
    ck_assert_int_eq(np_log_open(file), NP_OK);
}

/* How often the log has these words. */
static unsigned logged(const char *words)
{
    static char text[1 << 16];
    char file[128];
    unsigned n = 0;
    (void)snprintf(file, sizeof file, "%s/log", folder);
    FILE *f = fopen(file, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    for (const char *at = text; (at = strstr(at, words)); at += strlen(words)) {
        n++;
    }
    return n;
}

START_TEST(a_takeover_is_logged_once)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    log_to_folder();
    meddle("UPDATE self SET boot = boot + 1");
    for (int i = 0; i < 20; i++) {
        ck_assert(!ask(&a, "global/day", 10, 0));
    }
    np_log_close();
    ck_assert_uint_eq(logged("another neap goes on"), 1);
    ck_assert_uint_eq(logged("Z error "), 1);
}
END_TEST

START_TEST(a_question_that_fails_is_not_taken_for_a_takeover)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    log_to_folder();
    meddle("DROP TABLE self");
    for (int i = 0; i < 20; i++) {
        ck_assert(!ask(&a, "global/day", 10, 0));
    }
    np_log_close();
    ck_assert_uint_eq(logged("another neap goes on"), 0);
    ck_assert_uint_eq(logged("no such table: self"), 1);
}
END_TEST

START_TEST(of_more_instances_than_can_be_told_this_one_is)
{
    static struct np_peer peers[512];
    const struct np_lease lease = {.account = "global/day", .start_ms = NOW, .end_ms = NOW + DAY};
    struct np_vector v = {.granted = 7};
    size_t n = 0;
    ck_assert_int_eq(np_journal_begin(journal), NP_OK);
    for (int i = 0; i < 600; i++) {
        char name[17];
        (void)snprintf(name, sizeof name, "%016d", i); /* before any that is made by chance */
        ck_assert_int_eq(np_journal_put(journal, &lease, name, &v), NP_OK);
    }
    v.granted = 9;
    ck_assert_int_eq(np_journal_put(journal, &lease, np_journal_id(journal)->instance, &v), NP_OK);
    ck_assert_int_eq(np_journal_peers(journal, "global/day", NOW, peers, 512, &n), NP_OK);
    ck_assert_int_eq(np_journal_commit(journal), NP_OK);
    ck_assert_uint_eq(n, 512);
    ck_assert_str_eq(peers[0].instance, np_journal_id(journal)->instance);
    ck_assert_int_eq(peers[0].granted, 9);
}
END_TEST

START_TEST(a_file_has_one_lock_by_whichever_name)
{
    char link[128];
    struct np_journal *other = NULL;
    (void)snprintf(link, sizeof link, "%s/other.db", folder);
    ck_assert_int_eq(symlink(path, link), 0);
    enum np_err err = np_journal_open(link, NOW, &other, &recovered, why, sizeof why);
    (void)unlink(link);
    ck_assert_int_eq(err, NP_E_BUSY);
}
END_TEST

static const char *link_to_it(void)
{
    static char file[128];
    (void)snprintf(file, sizeof file, "%s/link.db", folder);
    ck_assert_int_eq(symlink(path, file), 0);
    return file;
}

static void no_line(void *ctx, const struct np_release_line *line)
{
    (void)ctx;
    (void)line;
}

START_TEST(nothing_is_released_of_a_living_one_by_another_name_of_its_file)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 0));
    char name[140];
    (void)snprintf(name, sizeof name, "sqlite:%s", link_to_it());
    struct np_release r = {
        .store = name, .instance = np_journal_id(journal)->instance, .tell = no_line};
    ck_assert_int_eq(np_release(&r, why, sizeof why), NP_E_BUSY);
    ck_assert_int_eq(one_number("SELECT returned FROM vectors"), 0);
}
END_TEST

START_TEST(the_audit_sees_that_it_lives_by_another_name_of_its_file)
{
    struct np_audit *audit = NULL;
    char name[140];
    (void)snprintf(name, sizeof name, "sqlite:%s", link_to_it());
    ck_assert_msg(np_audit_open(name, NULL, &audit, why, sizeof why) == NP_OK, "%s", why);
    bool alive = np_audit_alive(audit);
    np_audit_free(audit);
    ck_assert(alive);
}
END_TEST

START_TEST(a_file_that_is_made_through_a_link_has_the_lock_of_its_own_name)
{
    struct np_journal *other = NULL;
    close_store();
    ck_assert_int_eq(unlink(path), 0);
    const char *file = link_to_it();
    ck_assert_int_eq(np_journal_open(file, NOW, &journal, &recovered, why, sizeof why), NP_OK);
    enum np_err err = np_journal_open(path, NOW, &other, &recovered, why, sizeof why);
    np_journal_free(other);
    np_journal_free(journal);
    ck_assert_int_eq(err, NP_E_BUSY);
}
END_TEST

START_TEST(a_ledger_of_the_first_schema_is_taken_over)
{
    struct life a = {0};
    ck_assert(ask(&a, "global/day", 100, 60));
    close_store();
    meddle("DROP TABLE known; PRAGMA user_version = 1");
    ck_assert_msg(open_store() == NP_OK, "%s", why);
    ck_assert_int_eq(one_number("SELECT count(*) FROM known"), 0);
    struct life b = {0};
    ck_assert(ask(&b, "global/day", 1, 0));
    ck_assert_int_eq(np_vector_settled(&b.v), 100);
}
END_TEST

/* --- faults --------------------------------------------------------------------------------------- */

/* A short life in which one thing fails; whatever was answered must be there afterwards. */
static void life_with_fault(int64_t *answered, int64_t *told, unsigned *failures)
{
    *answered = *told = 0;
    if (open_store() != NP_OK) {
        (*failures)++;
        return;
    }
    struct life a = {0};
    for (int i = 0; i < 6; i++) {
        int64_t cost = i > 0 ? 3 : 0;
        int tries = 0;
        while (!ask(&a, "global/day", 10, cost)) {
            (*failures)++;
            np_require(++tries < 4);
        }
        *answered = a.v.granted;
        *told += cost;
    }
    close_store();
}

static void check_books(int64_t answered, int64_t told)
{
    fault_never();
    np_fail_never();
    ck_assert_msg(open_store() == NP_OK, "%s", why);
    struct life b = {0};
    ck_assert(ask(&b, "global/day", 0, 0));
    ck_assert_int_ge(b.v.granted, answered);
    ck_assert_int_le(b.v.granted, LIMIT);
    ck_assert_int_eq(np_vector_settled(&b.v), b.v.granted); /* what was not settled is presumed */
    close_store();
    ck_assert_int_eq(one_number("SELECT coalesce(sum(exact), 0) FROM vectors"), told);
    ck_assert_int_eq(one_number("SELECT coalesce(sum(cost_nusd), 0) FROM settlements"), told);
    ck_assert_int_eq(one_number("SELECT coalesce(sum(cost_nusd), 0) FROM totals"), told);
}

static void every_nth(enum fault_kind kind, int code, const char *name)
{
    unsigned failures = 0;
    long n = 0;
    faults_install();
    for (bool more = true; more; n++) {
        int64_t answered, told;
        make_folder();
        fault_nth(kind, n, code);
        life_with_fault(&answered, &told, &failures);
        more = fault.happened;
        check_books(answered, told);
        remove_folder();
    }
    printf("sqlite: each of %ld %s failed once, %u rounds or starts failed, nothing lost\n", n - 1,
           name, failures);
    ck_assert_int_gt(n, 5);
}

START_TEST(every_write_may_fail)
{
    every_nth(FAULT_WRITE, SQLITE_IOERR_WRITE, "writes (EIO)");
}
END_TEST

START_TEST(no_read_that_fails_is_taken_for_a_takeover)
{
    unsigned failures = 0;
    long n = 0;
    faults_install();
    for (bool more = true; more; n++) {
        make_folder();
        ck_assert_msg(open_store() == NP_OK, "%s", why);
        struct life a = {0};
        ck_assert(ask(&a, "global/day", 10, 0));
        log_to_folder();
        meddle(
            "UPDATE self SET boot = boot + 1; UPDATE self SET boot = boot - 1"); /* to be read anew */
        fault_nth(FAULT_READ, n, SQLITE_IOERR_READ);
        failures += !ask(&a, "global/day", 10, 0);
        more = fault.happened;
        fault_never();
        np_log_close();
        ck_assert_msg(logged("another neap goes on") == 0, "read %ld", n);
        ck_assert_msg(ask(&a, "global/day", 10, 0), "read %ld", n);
        close_store();
        remove_folder();
    }
    printf("sqlite: each of %ld reads failed once, %u rounds failed\n", n - 1, failures);
    ck_assert_int_gt(n, 2);
}
END_TEST

START_TEST(the_disk_may_be_full_at_every_write)
{
    every_nth(FAULT_WRITE, SQLITE_FULL, "writes (full)");
}
END_TEST

START_TEST(every_sync_may_fail)
{
    every_nth(FAULT_SYNC, SQLITE_IOERR_FSYNC, "syncs");
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    unsigned failures = 0;
    size_t n = 0, step = 1;
    for (bool more = true; more; n += step) {
        int64_t answered, told;
        make_folder();
        np_fail_nth(n);
        life_with_fault(&answered, &told, &failures);
        more = np_fail_happened();
        check_books(answered, told);
        remove_folder();
        step = n < 200 ? 1 : 13; /* what comes later repeats itself */
    }
    printf("sqlite: up to %zu allocations, %u rounds or starts failed, nothing lost\n", n,
           failures);
    ck_assert_uint_gt(n, 50);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_sqlite");
    TCase *t = tcase_create("granting");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, grants_never_pass_the_limit_and_the_last_unit_is_granted);
    tcase_add_test(t, what_a_life_gave_back_and_spent_is_there_for_the_next);
    tcase_add_test(t, what_a_dead_life_held_counts_as_spent);
    tcase_add_test(t, a_view_of_an_account_leaves_no_row);
    tcase_add_test(t, a_row_that_is_told_twice_counts_once);
    tcase_add_test(t, old_windows_and_rows_are_forgotten_and_sums_stay);
    tcase_add_test(t, whoever_has_been_taken_over_gets_nothing_more);
    tcase_add_test(t, a_takeover_is_logged_once);
    tcase_add_test(t, a_question_that_fails_is_not_taken_for_a_takeover);
    tcase_add_test(t, of_more_instances_than_can_be_told_this_one_is);
    tcase_add_test(t, a_file_has_one_lock_by_whichever_name);
    tcase_add_test(t, nothing_is_released_of_a_living_one_by_another_name_of_its_file);
    tcase_add_test(t, the_audit_sees_that_it_lives_by_another_name_of_its_file);
    tcase_add_test(t, a_file_that_is_made_through_a_link_has_the_lock_of_its_own_name);
    tcase_add_test(t, a_ledger_of_the_first_schema_is_taken_over);
    suite_add_tcase(s, t);
    t = tcase_create("faults");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_write_may_fail);
    tcase_add_test(t, no_read_that_fails_is_taken_for_a_takeover);
    tcase_add_test(t, the_disk_may_be_full_at_every_write);
    tcase_add_test(t, every_sync_may_fail);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
