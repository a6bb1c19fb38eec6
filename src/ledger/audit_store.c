/* The server's word beside the journal's. The journal is written before the server hears of anything, so
 * that of a neap that lives and is idle both know the same; of one that ended, the server may know less. */
#include "ledger/audit_impl.h"
#include "ledger/redis_ask.h"

#include <stdio.h>
#include <string.h>

/* As lease.lua is told: windows that ended are forgotten by the server after this. */
#define KEPT_MS (INT64_C(7) * 24 * 3600 * 1000)

struct shared {
    struct np_audit *a;
    size_t faults;
    void (*tell)(void *ctx, const struct np_audit_shared *line);
    void *ctx;
    struct np_audit_instance *instances;
    size_t n_instances;
    char self[17];
    bool alive;
    /* The journal's row that is asked for. */
    int64_t granted, returned, settled, limit, end_ms, now_ms;
};

static const char SELF[] = "SELECT instance FROM self";
static const char OWN[] =
    "SELECT account, start_ms, granted, returned, exact + estimated + presumed, limit_nusd, end_ms"
    " FROM vectors WHERE instance = (SELECT instance FROM self) AND granted + exact + estimated + presumed > 0"
    " AND " NP_AUDIT_MONEY " ORDER BY account, start_ms";

static void note_instance(struct shared *s, const struct np_redis_vector *v)
{
    size_t i = 0;
    while (i < s->n_instances && strcmp(s->instances[i].name, v->instance) != 0) {
        i++;
    }
    if (i == NP_AUDIT_INSTANCES) {
        return;
    }
    struct np_audit_instance *at = &s->instances[i];
    if (i == s->n_instances) {
        *at = (struct np_audit_instance){.self = strcmp(v->instance, s->self) == 0};
        (void)snprintf(at->name, sizeof at->name, "%s", v->instance);
        s->n_instances++;
    }
    at->heard_ms = v->heard_ms > at->heard_ms ? v->heard_ms : at->heard_ms;
    at->holds += v->granted - v->returned > v->settled;
}

static void judge(const struct shared *s, const struct np_redis_vector *own,
                  struct np_audit_shared *line)
{
    bool less = own->granted < s->granted || own->settled < s->settled;
    if (line->leased > line->limit && line->leased > line->settled) {
        line->fault = "more is granted than the limit";
    } else if (own->settled > s->settled || own->returned > own->granted) {
        line->fault = "the store says more than the journal";
    } else if (less && s->alive) {
        line->fault = "the store says less than the journal";
    } else if (less) {
        line->note = "the store hears of the rest at the next start";
    }
}

static void compare(void *ctx, const struct np_redis_account *account)
{
    struct shared *s = ctx;
    struct np_redis_vector own = {.granted = 0};
    struct np_audit_shared line = {.account = account->account,
                                   .start_ms = account->start_ms,
                                   .instances = account->n,
                                   .limit = s->limit,
                                   .journal = s->settled};
    if (account->n == 0 && s->end_ms < INT64_MAX - KEPT_MS && s->end_ms + KEPT_MS <= s->now_ms) {
        return;
    }
    for (size_t i = 0; i < account->n; i++) {
        const struct np_redis_vector *v = &account->vectors[i];
        line.leased += v->granted - v->returned;
        line.settled += v->settled;
        note_instance(s, v);
        if (strcmp(v->instance, s->self) == 0) {
            own = *v;
        }
    }
    line.own = own.settled;
    judge(s, &own, &line);
    s->faults += line.fault != NULL;
    s->tell(s->ctx, &line);
}

static bool read_self(struct shared *s)
{
    sqlite3_stmt *q = NULL;
    bool good = sqlite3_prepare_v2(s->a->db, SELF, -1, &q, NULL) == SQLITE_OK &&
                sqlite3_step(q) == SQLITE_ROW;
    if (good) {
        (void)snprintf(s->self, sizeof s->self, "%s", (const char *)sqlite3_column_text(q, 0));
    }
    (void)sqlite3_finalize(q);
    return good;
}

static enum np_err ask_each(struct shared *s, struct np_redis_ask *ask)
{
    sqlite3_stmt *q = NULL;
    enum np_err err = NP_OK;
    int rc = sqlite3_prepare_v2(s->a->db, OWN, -1, &q, NULL);
    while (rc == SQLITE_OK && !err && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        char account[NP_ACCOUNT_TEXT];
        (void)snprintf(account, sizeof account, "%s", (const char *)sqlite3_column_text(q, 0));
        s->granted = sqlite3_column_int64(q, 2);
        s->returned = sqlite3_column_int64(q, 3);
        s->settled = sqlite3_column_int64(q, 4);
        s->limit = sqlite3_column_int64(q, 5);
        s->end_ms = sqlite3_column_int64(q, 6);
        err = np_redis_ask_one(ask, account, sqlite3_column_int64(q, 1), compare, s);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(q);
    return err ? err : rc == SQLITE_DONE ? NP_OK : NP_E_IO;
}

enum np_err np_audit_store(struct np_audit *a, const char *store, size_t *faults,
                           void (*tell)(void *ctx, const struct np_audit_shared *line), void *ctx,
                           struct np_audit_instance *instances, size_t *n_instances, char *why,
                           size_t size)
{
    struct shared s = {
        .a = a, .tell = tell, .ctx = ctx, .instances = instances, .alive = np_audit_alive(a)};
    struct np_redis_ask *ask = NULL;
    enum np_err err = np_redis_ask_open(store, &ask, why, size);
    if (err) {
        return err;
    }
    s.now_ms = np_redis_ask_now_ms(ask);
    err = read_self(&s) ? ask_each(&s, ask) : NP_E_IO;
    if (err) {
        (void)snprintf(why, size, "%s", np_redis_ask_why(ask));
    }
    np_redis_ask_free(ask);
    *faults = s.faults;
    *n_instances = s.n_instances;
    return err;
}
