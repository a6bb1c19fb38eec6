/* The audit's questions to the file. Nothing of it is changed: the connection only reads, what is gathered
 * stands in the temporary database. */
#include "ledger/audit_impl.h"
#include "ledger/journal_impl.h"

#define NP_WINDOW_KINDS (NP_WINDOW_NONE + 1)

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define BUSY_MS 2000
#define OLDEST_SCHEMA 1
#define NEWEST_SCHEMA 9
#define APPLICATION_ID 0x6e656170

static const char TABLES[] =
    "CREATE TEMP TABLE records (request TEXT NOT NULL, at_ms INTEGER NOT NULL,"
    " cost_nusd INTEGER NOT NULL);"
    "CREATE TEMP TABLE paid (account TEXT NOT NULL, start_ms INTEGER NOT NULL, cost INTEGER NOT NULL,"
    " maybe INTEGER NOT NULL, PRIMARY KEY (account, start_ms)) WITHOUT ROWID;"
    "CREATE TEMP TABLE both (request TEXT PRIMARY KEY, row_nusd INTEGER, record_nusd INTEGER,"
    " at_ms INTEGER) WITHOUT ROWID;"
    "BEGIN;";

/* --- opening -------------------------------------------------------------------------------------- */

static bool path_of(const char *store, const char *state, char *out, size_t size)
{
    const char *file = strncmp(store, "sqlite:", 7) == 0 ? store + 7
                       : strncmp(store, "redis", 5) == 0 ? "neap-journal.db"
                                                         : NULL;
    int n = !file                      ? -1
            : file[0] == '/' || !state ? snprintf(out, size, "%s", file)
                                       : snprintf(out, size, "%s/%s", state, file);
    return n > 0 && (size_t)n < size;
}

static int64_t number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        n = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_finalize(s);
    return n;
}

static enum np_err look_at(struct np_audit *a, char *why, size_t size)
{
    int64_t schema = number_of(a->db, "PRAGMA user_version");
    if (number_of(a->db, "PRAGMA application_id") != APPLICATION_ID || schema < OLDEST_SCHEMA ||
        schema > NEWEST_SCHEMA) {
        (void)snprintf(why, size, "%s is no ledger that this neap can read: %s", a->path,
                       sqlite3_errmsg(a->db));
        return NP_E_INVALID;
    }
    int rc = sqlite3_exec(a->db, TABLES, NULL, NULL, NULL);
    rc = rc ? rc
            : sqlite3_prepare_v2(a->db, "INSERT INTO records VALUES (?1, ?2, ?3)", -1, &a->record,
                                 NULL);
    rc = rc ? rc
            : sqlite3_prepare_v2(a->db,
                                 "INSERT INTO paid VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE"
                                 " SET cost = cost + ?3, maybe = maybe + ?4",
                                 -1, &a->paid, NULL);
    if (rc) {
        (void)snprintf(why, size, "the ledger %s: %s", a->path, sqlite3_errmsg(a->db));
    }
    return rc ? NP_E_IO : NP_OK;
}

enum np_err np_audit_open(const char *store, const char *state, struct np_audit **out, char *why,
                          size_t size)
{
    struct np_audit *a = calloc(1, sizeof *a);
    if (!a) {
        (void)snprintf(why, size, "no memory");
        return NP_E_NOMEM;
    }
    enum np_err err = NP_OK;
    if (!path_of(store, state, a->path, sizeof a->path)) {
        (void)snprintf(why, size, "--store: sqlite:PATH or redis://HOST:PORT/DB is wanted");
        err = NP_E_INVALID;
    } else if (access(a->path, R_OK) != 0) {
        (void)snprintf(why, size,
                       "the ledger %s: %s. --store and --state are to be those of neap serve",
                       a->path, strerror(errno));
        err = NP_E_NOTFOUND;
    } else if (sqlite3_open_v2(a->path, &a->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
               sqlite3_busy_timeout(a->db, BUSY_MS) != SQLITE_OK) {
        (void)snprintf(why, size, "the ledger %s: %s", a->path, sqlite3_errmsg(a->db));
        err = NP_E_IO;
    }
    err = err ? err : look_at(a, why, size);
    if (err) {
        np_audit_free(a);
        return err;
    }
    *out = a;
    return NP_OK;
}

void np_audit_free(struct np_audit *a)
{
    if (!a) {
        return;
    }
    (void)sqlite3_finalize(a->record);
    (void)sqlite3_finalize(a->paid);
    (void)sqlite3_close(a->db);
    free(a);
}

const char *np_audit_path(const struct np_audit *a)
{
    return a->path;
}

bool np_audit_alive(const struct np_audit *a)
{
    char lock[NP_JOURNAL_LOCK];
    np_journal_lock_name(a->path, lock);
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return held;
}

/* --- what records say ----------------------------------------------------------------------------- */

static enum np_err insert(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    return rc == SQLITE_DONE ? NP_OK : NP_E_IO;
}

enum np_err np_audit_record(struct np_audit *a, const char *request, int64_t at_ms,
                            int64_t cost_nusd)
{
    (void)sqlite3_bind_text(a->record, 1, request, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(a->record, 2, at_ms);
    (void)sqlite3_bind_int64(a->record, 3, cost_nusd);
    return insert(a->record);
}

static enum np_err add_paid(struct np_audit *a, const char *account, int64_t start_ms, int64_t cost,
                            int64_t maybe)
{
    (void)sqlite3_bind_text(a->paid, 1, account, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(a->paid, 2, start_ms);
    (void)sqlite3_bind_int64(a->paid, 3, cost);
    (void)sqlite3_bind_int64(a->paid, 4, maybe);
    return insert(a->paid);
}

enum np_err np_audit_paid(struct np_audit *a, const char *account, int64_t at_ms, int64_t took_ms,
                          int64_t cost_nusd)
{
    const char *slash = strrchr(account, '/');
    unsigned w = 0;
    while (slash && w < NP_WINDOW_KINDS &&
           strcmp(slash + 1, np_window_name((enum np_window)w)) != 0) {
        w++;
    }
    if (!slash || w == NP_WINDOW_KINDS) {
        return NP_E_INVALID;
    }
    int64_t first = np_window_start((enum np_window)w, at_ms);
    int64_t last = np_window_start((enum np_window)w, at_ms + took_ms);
    if (first == last) {
        return add_paid(a, account, first, cost_nusd, 0);
    }
    enum np_err err = add_paid(a, account, first, 0, cost_nusd);
    return err ? err : add_paid(a, account, last, 0, cost_nusd);
}

/* --- sums ----------------------------------------------------------------------------------------- */

/* Settlements that no record can know of were made before the first one. */
#define FIRST "(SELECT coalesce(min(at_ms), 0) FROM temp.records)"

enum np_err np_audit_sums(struct np_audit *a, struct np_audit_sums *out)
{
    static const struct {
        const char *sql;
        size_t at;
    } asks[] = {
#define ASK(field, text) {"SELECT coalesce(" text, offsetof(struct np_audit_sums, field)}
        ASK(records, "count(*), 0) FROM temp.records"),
        ASK(record_nusd, "sum(cost_nusd), 0) FROM temp.records"),
        ASK(rows, "sum(calls), 0) FROM settlements WHERE at_ms >= " FIRST),
        ASK(row_nusd, "sum(cost_nusd), 0) FROM settlements WHERE at_ms >= " FIRST),
        ASK(early, "sum(calls), 0) FROM settlements WHERE at_ms < " FIRST),
        ASK(early_nusd, "sum(cost_nusd), 0) FROM settlements WHERE at_ms < " FIRST),
        ASK(all_nusd, "sum(cost_nusd), 0) FROM settlements"),
        ASK(total_nusd, "sum(cost_nusd), 0) FROM totals"),
        ASK(boot_nusd, "sum(cost_nusd), 0) FROM totals WHERE boot = (SELECT boot FROM self)"),
        ASK(pruned, "sum(calls), 0) - (SELECT coalesce(sum(calls), 0) FROM settlements)"
                    " FROM totals"),
        ASK(crashes, "count(*), 0) FROM boots WHERE ended_ms IS NULL"
                     " AND boot < (SELECT boot FROM self)"),
#undef ASK
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(a->db, asks[i].sql, -1, &s, NULL);
        rc = rc ? rc : sqlite3_step(s);
        if (rc == SQLITE_ROW) {
            int64_t n = sqlite3_column_int64(s, 0);
            memcpy((char *)out + asks[i].at, &n, sizeof n);
        }
        (void)sqlite3_finalize(s);
        if (rc != SQLITE_ROW) {
            return NP_E_IO;
        }
    }
    out->crashes +=
        !np_audit_alive(a) && number_of(a->db, "SELECT count(*) FROM boots WHERE ended_ms IS NULL"
                                               " AND boot = (SELECT boot FROM self)") > 0;
    return NP_OK;
}

/* --- accounts ------------------------------------------------------------------------------------- */

static const char ACCOUNTS[] =
    "WITH v AS (SELECT account, start_ms, max(limit_nusd) AS most, sum(granted - returned) AS leased,"
    "  sum(exact + estimated + presumed) AS settled,"
    "  sum(CASE WHEN instance = (SELECT instance FROM self) THEN exact + estimated + presumed"
    "   ELSE 0 END) AS own, sum(recovered) AS recovered,"
    "  min(presumed - recovered) AS odd FROM vectors WHERE " NP_AUDIT_MONEY
    "  GROUP BY account, start_ms)"
    " SELECT account, start_ms, coalesce(most, 0), coalesce(leased, 0), coalesce(settled, 0),"
    "  coalesce(own, 0), coalesce(recovered, 0), coalesce(odd, 0), coalesce(p.cost, 0),"
    "  coalesce(p.maybe, 0), start_ms >= " FIRST " OR NOT EXISTS (SELECT 1 FROM settlements"
    "   WHERE cost_nusd > 0 AND at_ms < " FIRST "), v.account IS NULL"
    " FROM v FULL JOIN temp.paid p USING (account, start_ms)";

/* What is wrong with an account, NULL: nothing. A crash may have taken rows (what was leased stands for
 * them, at the next start as recovered) or records. */
static const char *judge(const struct np_audit_line *l, bool records, bool crashes, bool odd,
                         bool unknown)
{
    int64_t least = l->own - l->recovered;
    if (odd) {
        return "counts that can't be";
    }
    if (l->leased > l->limit && l->leased > l->settled) {
        return "more is granted than the limit";
    }
    if (!records || !l->compared) {
        return NULL;
    }
    if (unknown) {
        return l->paid > 0 && !crashes ? "paid by records, and the ledger has no such account"
                                       : NULL;
    }
    if (least > l->paid + l->maybe && !crashes) {
        return "more is settled than records say";
    }
    int64_t most = l->own > l->leased ? l->own : l->leased;
    if (l->paid > (crashes ? most : least)) {
        return "records say more than is settled";
    }
    return NULL;
}

enum np_err np_audit_accounts(struct np_audit *a, bool records, size_t *faults,
                              void (*tell)(void *ctx, const struct np_audit_line *line), void *ctx)
{
    struct np_audit_sums sums;
    sqlite3_stmt *s = NULL;
    *faults = 0;
    if (np_audit_sums(a, &sums) || sqlite3_prepare_v2(a->db, ACCOUNTS, -1, &s, NULL)) {
        return NP_E_IO;
    }
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct np_audit_line l = {.account = (const char *)sqlite3_column_text(s, 0),
                                  .start_ms = sqlite3_column_int64(s, 1),
                                  .limit = sqlite3_column_int64(s, 2),
                                  .leased = sqlite3_column_int64(s, 3),
                                  .settled = sqlite3_column_int64(s, 4),
                                  .own = sqlite3_column_int64(s, 5),
                                  .recovered = sqlite3_column_int64(s, 6),
                                  .paid = sqlite3_column_int64(s, 8),
                                  .maybe = sqlite3_column_int64(s, 9),
                                  .compared = sqlite3_column_int(s, 10) != 0};
        l.fault = judge(&l, records, sums.crashes > 0, sqlite3_column_int64(s, 7) < 0,
                        sqlite3_column_int(s, 11) != 0);
        *faults += l.fault != NULL;
        tell(ctx, &l);
    }
    (void)sqlite3_finalize(s);
    return rc == SQLITE_DONE ? NP_OK : NP_E_IO;
}

/* --- requests ------------------------------------------------------------------------------------- */

/* Every request once, by its key: joining two lists of a million would take the product of them. */
static const char GATHER[] =
    "INSERT INTO temp.both SELECT request, sum(cost_nusd), 0, min(at_ms) FROM settlements"
    " WHERE at_ms >= " FIRST " GROUP BY request;"
    "INSERT INTO temp.both SELECT substr(request, 1, 128), 0, sum(cost_nusd), min(at_ms)"
    " FROM temp.records WHERE at_ms >= (SELECT coalesce(min(started_ms), 0) FROM boots) GROUP BY 1"
    " ON CONFLICT DO UPDATE SET record_nusd = excluded.record_nusd, at_ms = excluded.at_ms;";
static const char REQUESTS[] =
    "SELECT request, row_nusd, record_nusd, EXISTS (SELECT 1 FROM boots b"
    "  WHERE b.ended_ms IS NULL AND (b.boot < (SELECT boot FROM self) OR ?1)"
    "  AND b.started_ms <= at_ms AND NOT EXISTS (SELECT 1 FROM boots c"
    "   WHERE c.boot = b.boot + 1 AND c.started_ms < at_ms))"
    " FROM temp.both WHERE row_nusd <> record_nusd ORDER BY 4, at_ms";

enum np_err np_audit_requests(struct np_audit *a, size_t max, size_t *faults, size_t *lost,
                              void (*tell)(void *ctx, const struct np_audit_request *r), void *ctx)
{
    sqlite3_stmt *s = NULL;
    *faults = *lost = 0;
    if (sqlite3_exec(a->db, GATHER, NULL, NULL, NULL) ||
        sqlite3_prepare_v2(a->db, REQUESTS, -1, &s, NULL)) {
        return NP_E_IO;
    }
    (void)sqlite3_bind_int(s, 1, !np_audit_alive(a));
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct np_audit_request r = {.request = (const char *)sqlite3_column_text(s, 0),
                                     .row_nusd = sqlite3_column_int64(s, 1),
                                     .record_nusd = sqlite3_column_int64(s, 2),
                                     .crashed = sqlite3_column_int(s, 3) != 0};
        if (*faults + *lost < max) {
            tell(ctx, &r);
        }
        *(r.crashed ? lost : faults) += 1;
    }
    (void)sqlite3_finalize(s);
    return rc == SQLITE_DONE ? NP_OK : NP_E_IO;
}
