/* Transactions of the journal. Statements are made once a connection; every value is bound. */
#include "ledger/journal_impl.h"

#include "base/log.h"

#define PRUNED_AT_ONCE 1000

static const char *const texts[NP_SQL_COUNT] = {
    [NP_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [NP_SQL_BOOT] = "SELECT boot FROM self",
    [NP_SQL_COMMIT] = "COMMIT",
    [NP_SQL_ROLLBACK] = "ROLLBACK",
    [NP_SQL_GET] = "SELECT granted, returned, exact, estimated, presumed FROM vectors"
                   " WHERE account = ?1 AND start_ms = ?2 AND instance = ?3",
    [NP_SQL_OTHERS] =
        "SELECT coalesce(sum(max(granted - returned, exact + estimated + presumed)), 0),"
        " coalesce(sum(exact + estimated + presumed), 0) FROM vectors"
        " WHERE account = ?1 AND start_ms = ?2 AND instance <> ?3",
    [NP_SQL_PUT] =
        "INSERT INTO vectors VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0)"
        " ON CONFLICT DO UPDATE SET limit_nusd = ?5, granted = max(granted, ?6),"
        " returned = max(returned, ?7), exact = max(exact, ?8), estimated = max(estimated, ?9),"
        " presumed = max(presumed, ?10)",
    [NP_SQL_ROW] = "INSERT INTO settlements VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                   " ON CONFLICT DO NOTHING",
    [NP_SQL_TOTAL] = "INSERT INTO totals VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE"
                     " SET calls = calls + ?3, cost_nusd = cost_nusd + ?4",
    [NP_SQL_PEERS] = "SELECT instance, granted, returned, exact + estimated + presumed FROM vectors"
                     " WHERE account = ?1 AND start_ms = ?2 ORDER BY instance <> ?4 LIMIT ?3",
    [NP_SQL_KNOWN] = "SELECT epoch, seq FROM known WHERE account = ?1 AND start_ms = ?2",
    [NP_SQL_KNOW] = "INSERT INTO known VALUES (?1, ?2, ?3, ?4, ?5)"
                    " ON CONFLICT DO UPDATE SET epoch = ?3, seq = ?4",
    [NP_SQL_PRUNE_KNOWN] = "DELETE FROM known WHERE (account, start_ms) IN"
                           " (SELECT account, start_ms FROM known WHERE end_ms < ?1 LIMIT 1000)",
    [NP_SQL_PRUNE_ROWS] =
        "DELETE FROM settlements WHERE at_ms < ?1 AND (boot, number) IN"
        " (SELECT boot, number FROM settlements ORDER BY boot, number LIMIT 1000)",
    [NP_SQL_PRUNE_VECTORS] =
        "DELETE FROM vectors WHERE (account, start_ms, instance) IN"
        " (SELECT account, start_ms, instance FROM vectors WHERE end_ms < ?1 LIMIT 1000)",
};

int np_journal_prepare(struct np_journal *j)
{
    for (size_t i = 0; i < NP_SQL_COUNT; i++) {
        int rc =
            sqlite3_prepare_v3(j->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &j->sql[i], NULL);
        if (rc) {
            return rc;
        }
    }
    return SQLITE_OK;
}

const char *np_journal_version(void)
{
    return sqlite3_libversion();
}

const struct np_journal_id *np_journal_id(const struct np_journal *j)
{
    return &j->id;
}

/* Closes the connection: what it held in memory is not to be trusted after a failure. */
static void give_up(struct np_journal *j)
{
    if (!j->told && j->db) {
        np_log(NP_LOG_ERROR, "the ledger's file can't be used; it is opened anew",
               NP_KVS("file", j->path), NP_KVS("error", sqlite3_errmsg(j->db)),
               NP_KVI("code", sqlite3_extended_errcode(j->db)));
    }
    j->told = true;
    np_journal_disconnect(j);
}

/* Runs a statement that gives no row. */
static void step(struct np_journal *j, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    if (rc != SQLITE_DONE && !j->failed) {
        j->failed = rc;
    }
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    (void)sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* Whether this life is still the one that goes on: a lock may be got round. A question without an answer
 * is a failure of the transaction and says nothing of others. */
static bool is_ours(struct np_journal *j)
{
    sqlite3_stmt *s = j->sql[NP_SQL_BOOT];
    int rc = sqlite3_step(s);
    bool ours = rc == SQLITE_ROW && sqlite3_column_int64(s, 0) == j->id.boot;
    (void)sqlite3_reset(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        j->failed = rc;
    }
    return ours;
}

enum np_err np_journal_begin(struct np_journal *j)
{
    char why[512] = "";
    j->failed = SQLITE_OK;
    if (!j->db && np_journal_reconnect(j, why, sizeof why) != NP_OK) {
        if (!j->told) {
            np_log(NP_LOG_ERROR, "the ledger's file can't be opened", NP_KVS("error", why));
        }
        j->told = true;
        return NP_E_IO;
    }
    step(j, j->sql[NP_SQL_BEGIN]);
    bool ours = !j->failed && is_ours(j);
    if (j->failed) {
        give_up(j);
        return NP_E_IO;
    }
    if (!ours) {
        if (!j->told) {
            np_log(NP_LOG_ERROR,
                   "another neap goes on with the ledger's file: what is leased is spent",
                   NP_KVS("file", j->path));
        }
        j->told = true;
        np_journal_disconnect(j);
        return NP_E_IO;
    }
    return NP_OK;
}

enum np_err np_journal_commit(struct np_journal *j)
{
    if (!j->failed) {
        step(j, j->sql[NP_SQL_COMMIT]);
    }
    if (j->failed) {
        give_up(j);
        return NP_E_IO;
    }
    if (j->told) {
        np_log(NP_LOG_INFO, "the ledger's file can be used again", NP_KVS("file", j->path));
    }
    j->told = false;
    return NP_OK;
}

static void copy_text(char *out, size_t size, sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    size_t n = text ? strnlen(text, size - 1) : 0;
    memcpy(out, text ? text : "", n);
    out[n] = '\0';
}

static enum np_err result(const struct np_journal *j)
{
    return j->failed ? NP_E_IO : NP_OK;
}

enum np_err np_journal_get(struct np_journal *j, const char *account, int64_t start_ms,
                           const char *instance, struct np_vector *out)
{
    sqlite3_stmt *s = j->sql[NP_SQL_GET];
    *out = (struct np_vector){0};
    bind_text(s, 1, account);
    (void)sqlite3_bind_int64(s, 2, start_ms);
    bind_text(s, 3, instance);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        out->granted = sqlite3_column_int64(s, 0);
        out->returned = sqlite3_column_int64(s, 1);
        out->settled[NP_SETTLED_EXACT] = sqlite3_column_int64(s, 2);
        out->settled[NP_SETTLED_ESTIMATED] = sqlite3_column_int64(s, 3);
        out->settled[NP_SETTLED_PRESUMED] = sqlite3_column_int64(s, 4);
    } else if (rc != SQLITE_DONE && !j->failed) {
        j->failed = rc;
    }
    (void)sqlite3_reset(s);
    return result(j);
}

enum np_err np_journal_others(struct np_journal *j, const char *account, int64_t start_ms,
                              int64_t *held, int64_t *settled)
{
    sqlite3_stmt *s = j->sql[NP_SQL_OTHERS];
    *held = *settled = 0;
    bind_text(s, 1, account);
    (void)sqlite3_bind_int64(s, 2, start_ms);
    bind_text(s, 3, j->id.instance);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *held = sqlite3_column_int64(s, 0);
        *settled = sqlite3_column_int64(s, 1);
    } else if (!j->failed) {
        j->failed = rc;
    }
    (void)sqlite3_reset(s);
    return result(j);
}

enum np_err np_journal_put(struct np_journal *j, const struct np_lease *lease, const char *instance,
                           const struct np_vector *v)
{
    sqlite3_stmt *s = j->sql[NP_SQL_PUT];
    const int64_t numbers[] = {lease->end_ms,
                               lease->limit,
                               v->granted,
                               v->returned,
                               v->settled[NP_SETTLED_EXACT],
                               v->settled[NP_SETTLED_ESTIMATED],
                               v->settled[NP_SETTLED_PRESUMED]};
    bind_text(s, 1, lease->account);
    (void)sqlite3_bind_int64(s, 2, lease->start_ms);
    bind_text(s, 3, instance);
    for (int i = 0; i < (int)(sizeof numbers / sizeof numbers[0]); i++) {
        (void)sqlite3_bind_int64(s, i + 4, numbers[i]);
    }
    step(j, s);
    return result(j);
}

enum np_err np_journal_peers(struct np_journal *j, const char *account, int64_t start_ms,
                             struct np_peer *out, size_t max, size_t *n)
{
    sqlite3_stmt *s = j->sql[NP_SQL_PEERS];
    int rc;
    *n = 0;
    bind_text(s, 1, account);
    (void)sqlite3_bind_int64(s, 2, start_ms);
    (void)sqlite3_bind_int64(s, 3, (int64_t)max);
    bind_text(s, 4, j->id.instance);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && *n < max) {
        struct np_peer *p = &out[(*n)++];
        *p = (struct np_peer){.granted = sqlite3_column_int64(s, 1),
                              .returned = sqlite3_column_int64(s, 2),
                              .settled = sqlite3_column_int64(s, 3)};
        copy_text(p->instance, sizeof p->instance, s, 0);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW && !j->failed) {
        j->failed = rc;
    }
    (void)sqlite3_reset(s);
    return result(j);
}

enum np_err np_journal_known(struct np_journal *j, const char *account, int64_t start_ms,
                             struct np_known *out)
{
    sqlite3_stmt *s = j->sql[NP_SQL_KNOWN];
    *out = (struct np_known){0};
    bind_text(s, 1, account);
    (void)sqlite3_bind_int64(s, 2, start_ms);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        copy_text(out->epoch, sizeof out->epoch, s, 0);
        out->seq = sqlite3_column_int64(s, 1);
    } else if (rc != SQLITE_DONE && !j->failed) {
        j->failed = rc;
    }
    (void)sqlite3_reset(s);
    return result(j);
}

enum np_err np_journal_know(struct np_journal *j, const struct np_lease *lease,
                            const struct np_known *known)
{
    sqlite3_stmt *s = j->sql[NP_SQL_KNOW];
    bind_text(s, 1, lease->account);
    (void)sqlite3_bind_int64(s, 2, lease->start_ms);
    bind_text(s, 3, known->epoch);
    (void)sqlite3_bind_int64(s, 4, known->seq);
    (void)sqlite3_bind_int64(s, 5, lease->end_ms);
    step(j, s);
    return result(j);
}

static void put_row(struct np_journal *j, const struct np_settle_row *row)
{
    sqlite3_stmt *s = j->sql[NP_SQL_ROW];
    const char *class = np_settled_name(row->class);
    (void)sqlite3_bind_int64(s, 1, j->id.boot);
    (void)sqlite3_bind_int64(s, 2, (int64_t)row->number);
    (void)sqlite3_bind_int64(s, 3, row->attempt);
    (void)sqlite3_bind_int64(s, 4, row->count);
    bind_text(s, 5, class);
    (void)sqlite3_bind_int64(s, 6, row->at_ms);
    bind_text(s, 7, row->request);
    bind_text(s, 8, row->tenant);
    bind_text(s, 9, row->model);
    (void)sqlite3_bind_int64(s, 10, row->reserved_nusd);
    (void)sqlite3_bind_int64(s, 11, row->cost_nusd);
    step(j, s);
    /* Where the row was there already, a commit that seemed to fail had succeeded. */
    if (j->failed || sqlite3_changes(j->db) == 0) {
        return;
    }
    s = j->sql[NP_SQL_TOTAL];
    (void)sqlite3_bind_int64(s, 1, j->id.boot);
    bind_text(s, 2, class);
    (void)sqlite3_bind_int64(s, 3, row->count);
    (void)sqlite3_bind_int64(s, 4, row->cost_nusd);
    step(j, s);
}

enum np_err np_journal_rows(struct np_journal *j, const struct np_rows *rows)
{
    for (const struct np_row_chunk *c = rows->first; c && !j->failed; c = c->next) {
        for (size_t i = 0; i < c->n && !j->failed; i++) {
            put_row(j, &c->rows[i]);
        }
    }
    for (size_t class = 0; class < 4 && !j->failed; class ++) {
        if (rows->sums[class].count > 0) {
            put_row(j, &rows->sums[class]);
        }
    }
    return result(j);
}

static int prune_one(struct np_journal *j, enum np_sql which, int64_t before_ms)
{
    (void)sqlite3_bind_int64(j->sql[which], 1, before_ms);
    step(j, j->sql[which]);
    return j->failed ? 0 : sqlite3_changes(j->db);
}

bool np_journal_prune(struct np_journal *j, int64_t before_ms)
{
    if (!j->db || np_journal_begin(j)) {
        return false;
    }
    int n = prune_one(j, NP_SQL_PRUNE_ROWS, before_ms);
    n += prune_one(j, NP_SQL_PRUNE_VECTORS, before_ms);
    n += prune_one(j, NP_SQL_PRUNE_KNOWN, before_ms);
    return np_journal_commit(j) == NP_OK && n >= PRUNED_AT_ONCE;
}
