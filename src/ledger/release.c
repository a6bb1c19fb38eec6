/* At a shared store the server does it, account by account. In a file it is one transaction, under the
 * lock that a living neap would hold. */
#include "ledger/release.h"

#include "ledger/journal_impl.h"
#include "ledger/ledger_impl.h"
#include "ledger/redis_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE_MS 32000
#define NAMES_SHOWN 8

static void tell(struct np_release *r, const struct np_release_line *line)
{
    if (np_account_is_money(line->account)) {
        r->given++;
        r->tell(r->ctx, line);
    } else {
        r->others++;
    }
}

/* --- a shared store ------------------------------------------------------------------------------- */

struct shared {
    struct np_release *r;
    struct np_redis_ask *ask;
    enum np_err err;
    bool known;
    size_t n_names;
    char names[NAMES_SHOWN][17]; /* of others that hold something */
};

static void note_other(struct shared *s, const struct np_redis_vector *v)
{
    bool there = v->granted - v->returned <= v->settled;
    for (size_t i = 0; i < s->n_names; i++) {
        there = there || strcmp(s->names[i], v->instance) == 0;
    }
    if (!there && s->n_names < NAMES_SHOWN) {
        (void)snprintf(s->names[s->n_names++], sizeof s->names[0], "%s", v->instance);
    }
}

/* Whether it is known at all, and when it spoke last. */
static void look(void *ctx, const struct np_redis_account *account)
{
    struct shared *s = ctx;
    for (size_t i = 0; i < account->n; i++) {
        const struct np_redis_vector *v = &account->vectors[i];
        if (strcmp(v->instance, s->r->instance) != 0) {
            note_other(s, v);
            continue;
        }
        s->known = true;
        s->r->heard_ms = v->heard_ms > s->r->heard_ms ? v->heard_ms : s->r->heard_ms;
    }
}

static void give_back(void *ctx, const struct np_redis_account *account)
{
    struct shared *s = ctx;
    for (size_t i = 0; i < account->n && !s->err; i++) {
        const struct np_redis_vector *v = &account->vectors[i];
        struct np_release_line line = {.account = account->account,
                                       .start_ms = account->start_ms,
                                       .leased = v->granted - v->returned,
                                       .settled = v->settled};
        if (strcmp(v->instance, s->r->instance) != 0 || line.leased <= line.settled) {
            continue;
        }
        s->err = np_redis_ask_release(s->ask, account->account, account->start_ms, v->instance,
                                      &line.nusd);
        if (!s->err && line.nusd > 0) {
            tell(s->r, &line);
        }
    }
}

static void say_unknown(const struct shared *s, char *why, size_t size)
{
    size_t n = (size_t)snprintf(why, size, "%s knows no instance %s", s->r->name, s->r->instance);
    for (size_t i = 0; i < s->n_names && n < size; i++) {
        n += (size_t)snprintf(why + n, size - n, "%s %s",
                              i ? "," : "; these hold something:", s->names[i]);
    }
}

static void say_alive(const struct shared *s, char *why, size_t size)
{
    (void)snprintf(
        why, size,
        "instance %s may live: a lease lasts 32 s, and it spoke, or the store lost what it "
        "knew, less than that ago. Stop it, or ask again then",
        s->r->instance);
}

static enum np_err release_shared(struct np_release *r, char *why, size_t size)
{
    struct shared s = {.r = r};
    enum np_err err = np_redis_ask_open(r->store, &s.ask, why, size);
    if (err) {
        return err;
    }
    (void)snprintf(r->name, sizeof r->name, "%s", np_redis_ask_name(s.ask));
    err = np_redis_ask_all(s.ask, look, &s);
    if (!err && !s.known) {
        err = NP_E_NOTFOUND;
    } else if (!err && np_redis_ask_now_ms(s.ask) - r->heard_ms < LEASE_MS) {
        err = NP_E_BUSY;
    } else if (!err) {
        err = np_redis_ask_all(s.ask, give_back, &s);
        err = s.err ? s.err : err;
    }
    if (err == NP_E_NOTFOUND) {
        say_unknown(&s, why, size);
    } else if (err == NP_E_BUSY) {
        say_alive(&s, why, size);
    } else if (err) {
        (void)snprintf(why, size, "%s", np_redis_ask_why(s.ask));
    }
    np_redis_ask_free(s.ask);
    return err;
}

/* --- a file --------------------------------------------------------------------------------------- */

static const char HOLDS[] =
    "SELECT account, start_ms, granted - returned, exact + estimated + presumed"
    " FROM vectors WHERE instance = ?1 ORDER BY account, start_ms";
static const char RELEASE[] =
    "UPDATE vectors SET returned = granted - exact - estimated - presumed WHERE instance = ?1"
    " AND granted - returned > exact + estimated + presumed";
static const char KNOWN[] = "SELECT 1 FROM self WHERE instance = ?1"
                            " UNION SELECT 1 FROM vectors WHERE instance = ?1";

/* Runs a statement with the instance as ?1; `row` for each row, where there is one. A code of SQLite's. */
static int each(struct np_journal *j, struct np_release *r, const char *sql,
                void (*row)(struct np_release *r, sqlite3_stmt *s), size_t *n)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_text(s, 1, r->instance, -1, SQLITE_STATIC);
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
            ++*n;
            if (row) {
                row(r, s);
            }
        }
    }
    (void)sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void tell_row(struct np_release *r, sqlite3_stmt *s)
{
    struct np_release_line line = {.account = (const char *)sqlite3_column_text(s, 0),
                                   .start_ms = sqlite3_column_int64(s, 1),
                                   .leased = sqlite3_column_int64(s, 2),
                                   .settled = sqlite3_column_int64(s, 3)};
    line.nusd = line.leased - line.settled;
    if (line.nusd > 0) {
        tell(r, &line);
    }
}

static enum np_err release_rows(struct np_journal *j, struct np_release *r, char *why, size_t size)
{
    size_t known = 0, n = 0;
    int rc = each(j, r, KNOWN, NULL, &known);
    if (rc == SQLITE_OK && known == 0) {
        (void)snprintf(why, size, "%s knows no instance %s", r->name, r->instance);
        return NP_E_NOTFOUND;
    }
    rc = rc ? rc : sqlite3_exec(j->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    rc = rc ? rc : each(j, r, HOLDS, tell_row, &n);
    rc = rc ? rc : each(j, r, RELEASE, NULL, &n);
    rc = rc ? rc : sqlite3_exec(j->db, "COMMIT", NULL, NULL, NULL);
    if (rc) {
        r->given = r->others = 0;
        (void)snprintf(why, size, "%s: %s", r->name, sqlite3_errmsg(j->db));
        return NP_E_IO;
    }
    return NP_OK;
}

static enum np_err release_file(struct np_release *r, char *why, size_t size)
{
    const char *file = r->store + strlen("sqlite:");
    bool below = file[0] != '/' && r->state;
    struct np_journal j = {.lock_fd = -1};
    (void)snprintf(r->name, sizeof r->name, "%s%s%s", below ? r->state : "", below ? "/" : "",
                   file);
    if (access(r->name, R_OK | W_OK) != 0) {
        (void)snprintf(why, size,
                       "the ledger %s: %s. --store and --state are to be those of neap serve",
                       r->name, strerror(errno));
        return NP_E_IO;
    }
    j.path = r->name;
    enum np_err err = np_journal_lock(&j, why, size);
    char *hint = err == NP_E_BUSY ? strstr(why, ". Give") : NULL;
    if (hint) {
        (void)snprintf(hint, size - (size_t)(hint - why), ": stop it first");
    }
    err = err ? err : np_journal_connect(&j, why, size);
    err = err ? err : release_rows(&j, r, why, size);
    np_journal_disconnect(&j);
    if (j.lock_fd >= 0) {
        (void)close(j.lock_fd);
    }
    return err;
}

enum np_err np_release(struct np_release *r, char *why, size_t size)
{
    r->heard_ms = 0;
    r->given = r->others = 0;
    r->name[0] = '\0';
    if (strncmp(r->store, "sqlite:", 7) == 0 && r->store[7]) {
        return release_file(r, why, size);
    }
    if (strncmp(r->store, "redis", 5) == 0) {
        return release_shared(r, why, size);
    }
    (void)snprintf(why, size, "--store: sqlite:PATH or redis://HOST:PORT/DB is wanted");
    return NP_E_INVALID;
}
