/* Opening the file: lock, schema, boot number, recovery. */
#include "ledger/journal_impl.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define BUSY_MS 200
#define APPLICATION_ID 0x6e656170 /* "neap" */

/* From version i to i + 1; the last statement of each says so. Columns of money are whole nano-dollars, times are in ms since 1970. */
static const char *const migrations[] = {
    "CREATE TABLE self (id INTEGER PRIMARY KEY CHECK (id = 1), instance TEXT NOT NULL,"
    " boot INTEGER NOT NULL);"
    "CREATE TABLE boots (boot INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, ended_ms INTEGER);"
    "CREATE TABLE vectors (account TEXT NOT NULL, start_ms INTEGER NOT NULL, instance TEXT NOT NULL,"
    " end_ms INTEGER NOT NULL, limit_nusd INTEGER NOT NULL, granted INTEGER NOT NULL,"
    " returned INTEGER NOT NULL, exact INTEGER NOT NULL, estimated INTEGER NOT NULL,"
    " presumed INTEGER NOT NULL, recovered INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (account, start_ms, instance)) WITHOUT ROWID;"
    "CREATE TABLE settlements (boot INTEGER NOT NULL, number INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, calls INTEGER NOT NULL, class TEXT NOT NULL, at_ms INTEGER NOT NULL,"
    " request TEXT NOT NULL, tenant TEXT NOT NULL, model TEXT NOT NULL,"
    " reserved_nusd INTEGER NOT NULL, cost_nusd INTEGER NOT NULL,"
    " PRIMARY KEY (boot, number)) WITHOUT ROWID;"
    "CREATE TABLE totals (boot INTEGER NOT NULL, class TEXT NOT NULL, calls INTEGER NOT NULL,"
    " cost_nusd INTEGER NOT NULL, PRIMARY KEY (boot, class)) WITHOUT ROWID;"
    "PRAGMA application_id = 1852137840; PRAGMA user_version = 1;",
    /* What a shared store said last: below it, it has lost something. */
    "CREATE TABLE known (account TEXT NOT NULL, start_ms INTEGER NOT NULL, epoch TEXT NOT NULL,"
    " seq INTEGER NOT NULL, end_ms INTEGER NOT NULL, PRIMARY KEY (account, start_ms)) WITHOUT ROWID;"
    "PRAGMA user_version = 2;",
};

#define SCHEMA ((int64_t)(sizeof migrations / sizeof migrations[0]))

static enum np_err error_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
        return NP_OK;
    case SQLITE_NOMEM:
        return NP_E_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return NP_E_BUSY;
    default:
        return NP_E_IO;
    }
}

/* The folder of path exists and may be written; says what would be right where not. */
static bool folder_ok(const char *path, char *why, size_t size)
{
    char copy[4096];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    if (access(folder, W_OK | X_OK) == 0) {
        return true;
    }
    (void)snprintf(
        why, size,
        "the ledger %s can't be kept there: the folder %s: %s. Name one that may be written "
        "with --state DIR, or a file with --store sqlite:PATH; --store memory: keeps "
        "nothing, budgets then start anew with each start",
        path, folder, strerror(errno));
    return false;
}

void np_journal_lock_name(const char *path, char out[NP_JOURNAL_LOCK])
{
    char real[PATH_MAX];
    (void)snprintf(out, NP_JOURNAL_LOCK, "%s.lock", realpath(path, real) ? real : path);
}

enum np_err np_journal_lock(struct np_journal *j, char *why, size_t size)
{
    char lock[NP_JOURNAL_LOCK], pid[32] = "";
    np_journal_lock_name(j->path, lock);
    j->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0) {
        (void)snprintf(why, size, "the ledger's lock %s: %s", lock, strerror(errno));
        return NP_E_IO;
    }
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(j->lock_fd, pid, sizeof pid - 1);
        (void)snprintf(
            why, size,
            "the ledger %s is in use by another neap (process %.*s). Give each its own with "
            "--state DIR; to share budgets use --store redis://HOST:PORT/DB",
            j->path, n > 0 ? (int)strcspn(pid, "\n") : 1, n > 0 ? pid : "?");
        return NP_E_BUSY;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(j->lock_fd, 0) != 0 || pwrite(j->lock_fd, pid, (size_t)n, 0) != n) {
        np_log(NP_LOG_WARN, "the ledger's lock does not say who holds it", NP_KVS("file", lock));
    }
    return NP_OK;
}

/* One whole number that a statement gives; -1 when it gives none. */
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

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* Runs one statement with ?1 a text and ?2 a number. */
static int run_bound(sqlite3 *db, const char *sql, const char *text, int64_t number)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_text(s, 1, text, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(s, 2, number);
        rc = sqlite3_step(s);
    }
    (void)sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int migrate(struct np_journal *j, char *why, size_t size)
{
    int64_t version = number_of(j->db, "PRAGMA user_version");
    int64_t mark = number_of(j->db, "PRAGMA application_id");
    int64_t tables = number_of(j->db, "SELECT count(*) FROM sqlite_schema");
    int rc = sqlite3_errcode(j->db);
    if (version < 0 || mark < 0 || tables < 0) {
        (void)snprintf(why, size, "the ledger %s can't be read: %s", j->path,
                       sqlite3_errmsg(j->db));
        return rc ? rc : SQLITE_IOERR;
    }
    if (tables > 0 && mark != APPLICATION_ID) {
        (void)snprintf(why, size, "%s is a SQLite file, but no ledger of neap: name another",
                       j->path);
        return SQLITE_NOTADB;
    }
    if (version > SCHEMA) {
        (void)snprintf(
            why, size,
            "the ledger %s was written by a newer neap (its schema is %d, this one knows "
            "%d): start that version, or name another file",
            j->path, (int)version, (int)SCHEMA);
        return SQLITE_MISMATCH;
    }
    rc = run(j->db, "BEGIN IMMEDIATE");
    for (int64_t v = version; v < SCHEMA && rc == SQLITE_OK; v++) {
        rc = run(j->db, migrations[v]);
    }
    rc = rc == SQLITE_OK ? run(j->db, "COMMIT") : rc;
    if (rc) {
        (void)snprintf(why, size, "the ledger %s: %s", j->path, sqlite3_errmsg(j->db));
        (void)run(j->db, "ROLLBACK");
    }
    return rc;
}

/* WAL, or else a text that says why not. */
static int set_modes(struct np_journal *j, char *why, size_t size)
{
    sqlite3_stmt *s = NULL;
    const char *mode = NULL;
    int rc = sqlite3_prepare_v2(j->db, "PRAGMA journal_mode=WAL", -1, &s, NULL);
    if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        mode = (const char *)sqlite3_column_text(s, 0);
    }
    bool wal = mode && strcmp(mode, "wal") == 0;
    (void)sqlite3_finalize(s);
    rc = sqlite3_errcode(j->db);
    if (!wal) {
        (void)snprintf(why, size, "the ledger %s can't use a write-ahead log: %s", j->path,
                       rc ? sqlite3_errmsg(j->db) : "a file system on this machine is wanted");
        return rc ? rc : SQLITE_IOERR;
    }
    return run(j->db, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF; PRAGMA cache_size=-4096;"
                      "PRAGMA journal_size_limit=4194304; PRAGMA wal_autocheckpoint=1000;");
}

enum np_err np_journal_connect(struct np_journal *j, char *why, size_t size)
{
    int rc = sqlite3_open_v2(j->path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc) {
        (void)snprintf(why, size, "the ledger %s: %s", j->path,
                       j->db ? sqlite3_errmsg(j->db) : "out of memory");
    }
    if (rc == SQLITE_OK) {
        (void)sqlite3_extended_result_codes(j->db, 1);
        (void)sqlite3_busy_timeout(j->db, BUSY_MS);
        rc = set_modes(j, why, size);
    }
    if (rc == SQLITE_OK) {
        rc = migrate(j, why, size);
    }
    if (rc == SQLITE_OK) {
        rc = np_journal_prepare(j);
        if (rc) {
            (void)snprintf(why, size, "the ledger %s: %s", j->path, sqlite3_errmsg(j->db));
        }
    }
    if (rc) {
        np_journal_disconnect(j);
    }
    return error_of(rc);
}

/* After a failure: the file is still the one of this life, or a new one, which then becomes so. */
static enum np_err be_the_same(struct np_journal *j, char *why, size_t size)
{
    int rc = run_bound(j->db, "INSERT INTO self VALUES (1, ?1, ?2) ON CONFLICT DO NOTHING",
                       j->id.instance, j->id.boot);
    if (rc == SQLITE_OK && number_of(j->db, "SELECT boot FROM self") == j->id.boot) {
        return NP_OK;
    }
    (void)snprintf(why, size, "the ledger %s: %s", j->path,
                   rc ? sqlite3_errmsg(j->db) : "another life of it has begun meanwhile");
    np_journal_disconnect(j);
    return NP_E_IO;
}

enum np_err np_journal_reconnect(struct np_journal *j, char *why, size_t size)
{
    enum np_err err = np_journal_connect(j, why, size);
    return err ? err : be_the_same(j, why, size);
}

void np_journal_disconnect(struct np_journal *j)
{
    for (size_t i = 0; i < NP_SQL_COUNT; i++) {
        (void)sqlite3_finalize(j->sql[i]);
        j->sql[i] = NULL;
    }
    (void)sqlite3_close(j->db);
    j->db = NULL;
}

/* --- a new life ----------------------------------------------------------------------------------- */

/* A recovered chunk stands in every account that it was leased from: the largest sum of the accounts
 * of one kind is what it can have been at most. */
static const char RECOVERED[] =
    "SELECT coalesce(max(s), 0) FROM (SELECT sum(granted - returned - exact - estimated - presumed) s"
    " FROM vectors WHERE instance = (SELECT instance FROM self) AND (account GLOB 'global/*'"
    "  OR account GLOB 'tenant:*' OR account GLOB 'endpoint:*' OR account GLOB 'model:*'"
    "  OR account GLOB 'provider:*')"
    " AND granted - returned > exact + estimated + presumed"
    " GROUP BY CASE instr(account, ':') WHEN 0 THEN account ELSE"
    "  substr(account, 1, instr(account, ':')) END)";
/* Calls that were under way are over. */
static const char ENDED[] =
    "UPDATE vectors SET returned = granted - exact - estimated - presumed WHERE account GLOB 'calls:*'"
    " AND instance = (SELECT instance FROM self)"
    " AND granted - returned > exact + estimated + presumed";
static const char RECOVER[] =
    "UPDATE vectors SET presumed = presumed + granted - returned - exact - estimated - presumed,"
    " recovered = recovered + granted - returned - exact - estimated - presumed"
    " WHERE instance = (SELECT instance FROM self)"
    " AND granted - returned > exact + estimated + presumed";

static void random_hex(char out[17])
{
    uint8_t bytes[8];
    np_random_bytes(bytes, sizeof bytes);
    np_hex(bytes, sizeof bytes, out);
}

static int read_self(struct np_journal *j)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(j->db, "SELECT instance, boot FROM self", -1, &s, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        (void)snprintf(j->id.instance, sizeof j->id.instance, "%s",
                       (const char *)sqlite3_column_text(s, 0));
        j->id.boot = sqlite3_column_int64(s, 1);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(s);
    return rc;
}

static int begin_life(struct np_journal *j, int64_t wall_ms, int64_t *recovered)
{
    char fresh[17];
    random_hex(fresh);
    random_hex(j->id.nonce);
    int rc = run(j->db, "BEGIN IMMEDIATE");
    if (rc) {
        return rc;
    }
    *recovered = number_of(j->db, RECOVERED);
    rc = run(j->db, ENDED);
    rc = rc ? rc : run(j->db, RECOVER);
    rc = rc ? rc
            : run_bound(j->db,
                        "INSERT INTO self VALUES (1, ?1, ?2) ON CONFLICT (id) DO UPDATE"
                        " SET boot = boot + 1",
                        fresh, 1);
    rc = rc ? rc : read_self(j);
    rc = rc ? rc
            : run_bound(j->db, "INSERT INTO boots SELECT boot, ?2, NULL FROM self WHERE ?1 <> ''",
                        "-", wall_ms);
    rc = rc == SQLITE_OK ? run(j->db, "COMMIT") : rc;
    if (rc) {
        (void)run(j->db, "ROLLBACK");
    }
    return rc;
}

/* The file itself, for its owner alone; SQLite's further files take its mode. */
static enum np_err make_file(const char *path, char *why, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)snprintf(why, size, "the ledger %s: %s", path, strerror(errno));
        return NP_E_IO;
    }
    (void)close(fd);
    return NP_OK;
}

enum np_err np_journal_open(const char *path, int64_t wall_ms, struct np_journal **out,
                            int64_t *recovered, char *why, size_t size)
{
    struct np_journal *j = calloc(1, sizeof *j);
    char *real = realpath(path, NULL);
    if (!j || !(j->path = real ? real : strdup(path))) {
        free(real);
        free(j);
        return NP_E_NOMEM;
    }
    j->lock_fd = -1;
    path = j->path;
    enum np_err err = folder_ok(path, why, size) ? make_file(path, why, size) : NP_E_IO;
    err = err ? err : np_journal_lock(j, why, size);
    err = err ? err : np_journal_connect(j, why, size);
    int rc = err ? SQLITE_OK : begin_life(j, wall_ms, recovered);
    if (rc) {
        (void)snprintf(why, size, "the ledger %s: %s", path, sqlite3_errmsg(j->db));
        err = error_of(rc);
    }
    if (err) {
        np_journal_free(j);
        return err;
    }
    *out = j;
    return NP_OK;
}

void np_journal_free(struct np_journal *j)
{
    if (!j) {
        return;
    }
    if (j->db && j->id.boot > 0) {
        (void)run_bound(j->db,
                        "UPDATE boots SET ended_ms = ?2 WHERE ?1 <> '' AND boot ="
                        " (SELECT boot FROM self)",
                        "-", np_clock_wall_ms(&np_clock_live));
    }
    np_journal_disconnect(j);
    if (j->lock_fd >= 0) {
        (void)close(j->lock_fd);
    }
    free(j->path);
    free(j);
}
