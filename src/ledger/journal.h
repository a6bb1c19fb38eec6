/* The SQLite file of an instance: its identity and boot number, the vectors of every account and
 * window that it knows, and the settlements. It is the store where nobody else shares one, and the
 * journal beside a shared store. One process at a time: a lock file beside it says so.
 *
 * Written in transactions with WAL and synchronous=FULL. After any failure the connection is closed and
 * opened anew before the next transaction: a failed fsync is never tried again. */
#ifndef NP_LEDGER_JOURNAL_H
#define NP_LEDGER_JOURNAL_H

#include "ledger/rows.h"
#include "ledger/store.h"

struct np_journal;

/* SQLite's, as loaded. */
const char *np_journal_version(void);

struct np_journal_id {
    char instance[17]; /* 16 hex digits, made with the file */
    char nonce[17];    /* of this boot */
    int64_t boot;      /* from 1, one more with each start */
};

/* Opens or makes the file and takes its lock. What an earlier life was granted and did not settle or
 * give back is booked as presumed, before anything else; *recovered is the largest sum of it of one
 * kind of window. *why says what failed, with the path. */
enum np_err np_journal_open(const char *path, int64_t wall_ms, struct np_journal **out,
                            int64_t *recovered, char *why, size_t size) NP_MUST_CHECK;
/* The end of this life is written where that can be done. */
void np_journal_free(struct np_journal *j);
const struct np_journal_id *np_journal_id(const struct np_journal *j);

/* A transaction; where one of its steps failed, commit says so and nothing of it is there. */
enum np_err np_journal_begin(struct np_journal *j) NP_MUST_CHECK;
enum np_err np_journal_commit(struct np_journal *j) NP_MUST_CHECK;

/* The vector of an instance in an account and window; all 0 where there is none. */
enum np_err np_journal_get(struct np_journal *j, const char *account, int64_t start_ms,
                           const char *instance, struct np_vector *out) NP_MUST_CHECK;
/* What all but this instance hold and settled. */
enum np_err np_journal_others(struct np_journal *j, const char *account, int64_t start_ms,
                              int64_t *held, int64_t *settled) NP_MUST_CHECK;
/* Writes a vector; no count of it may be less than what is there. */
enum np_err np_journal_put(struct np_journal *j, const struct np_lease *lease, const char *instance,
                           const struct np_vector *v) NP_MUST_CHECK;

/* What is known of an instance at a shared store, and of the store itself. */
struct np_peer {
    char instance[17];
    int64_t granted, returned, settled;
};
struct np_known {
    char epoch[17]; /* "": nothing was heard of it yet */
    int64_t seq;
};
/* Everybody's vectors in an account and window, at most max, this instance's first. */
enum np_err np_journal_peers(struct np_journal *j, const char *account, int64_t start_ms,
                             struct np_peer *out, size_t max, size_t *n) NP_MUST_CHECK;
enum np_err np_journal_known(struct np_journal *j, const char *account, int64_t start_ms,
                             struct np_known *out) NP_MUST_CHECK;
enum np_err np_journal_know(struct np_journal *j, const struct np_lease *lease,
                            const struct np_known *known) NP_MUST_CHECK;
/* Settlements; one that is there already stays as it is. */
enum np_err np_journal_rows(struct np_journal *j, const struct np_rows *rows) NP_MUST_CHECK;
/* Forgets windows that ended and settlements that were made before then: some of them, so that no
 * transaction is long. True when there may be more. */
bool np_journal_prune(struct np_journal *j, int64_t before_ms);

#endif
