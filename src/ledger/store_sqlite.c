/* The embedded store: the journal's file is the truth, and this instance its only member. One
 * transaction a round: settlements, vectors, grants; the commit is what makes grants durable. Blocks on
 * the disk, so it lives on the ledger's thread. */
#include "ledger/store_kinds.h"

#include <stdlib.h>

struct sqlite_store {
    struct np_store store;
    struct np_journal *journal;
};

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

enum np_err np_journal_own(struct np_journal *j, struct np_lease *lease)
{
    const char *self = np_journal_id(j)->instance;
    struct np_vector there;
    enum np_err err = np_journal_get(j, lease->account, lease->start_ms, self, &there);
    if (err) {
        return err;
    }
    if (!lease->opened) {
        lease->base = there;
        np_vector_add(&lease->own, &there);
    }
    /* A commit that seemed to fail may have granted. */
    lease->granted = larger(there.granted, lease->own.granted);
    return NP_OK;
}

static enum np_err grant(struct np_journal *j, struct np_lease *lease)
{
    enum np_err err = np_journal_own(j, lease);
    if (!err) {
        err = np_journal_others(j, lease->account, lease->start_ms, &lease->others_held,
                                &lease->others_settled);
    }
    if (err) {
        return err;
    }
    struct np_vector v = lease->own;
    int64_t more = lease->granted - v.granted; /* granted already, and not known */
    v.granted = lease->granted;
    if (lease->need > more || (lease->need == 0 && lease->want > 0 && more == 0)) {
        int64_t left = lease->limit - lease->others_held - np_vector_held(&v);
        v.granted += np_store_grant(left, lease->need, lease->want, 1);
    }
    lease->granted = v.granted;
    if (v.granted == 0 && np_vector_settled(&v) == 0) {
        return NP_OK; /* nobody but a view asked for it */
    }
    return np_journal_put(j, lease, np_journal_id(j)->instance, &v);
}

static void ask_round(struct np_store *s, struct np_round *round)
{
    struct np_journal *j = ((struct sqlite_store *)s)->journal;
    bool good = np_journal_begin(j) == NP_OK;
    if (good) {
        enum np_err err = np_journal_rows(j, round->rows);
        for (size_t i = 0; i < round->n && !err; i++) {
            err = grant(j, &round->leases[i]);
        }
        good = np_journal_commit(j) == NP_OK;
    }
    for (size_t i = 0; i < round->n; i++) {
        round->leases[i].answered = round->leases[i].durable = good;
    }
    round->rows_durable = round->store_ok = good;
    round->done(round->ctx, round);
}

static bool prune(struct np_store *s, int64_t before_ms)
{
    return np_journal_prune(((struct sqlite_store *)s)->journal, before_ms);
}

static void release(struct np_store *s)
{
    struct sqlite_store *mine = (struct sqlite_store *)s;
    np_journal_free(mine->journal);
    free(mine);
}

static const struct np_store_ops ops = {
    .name = "sqlite:", .round = ask_round, .prune = prune, .free = release};

struct np_store *np_store_sqlite_new(struct np_journal *journal)
{
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s) {
        np_journal_free(journal);
        return NULL;
    }
    s->store.ops = &ops;
    s->journal = journal;
    return &s->store;
}
