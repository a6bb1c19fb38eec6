/* What the files of ledger/ share.
 *
 * An account is (kind, id, window kind): kind `tenant` stands for both "tenant" and "tenant:NAME".
 * It has one record at a time for its current window; a record whose window has ended stays, out of
 * the index, until its last reservation has ended. Everything but the totals is under the lock. */
#ifndef NP_LEDGER_LEDGER_IMPL_H
#define NP_LEDGER_LEDGER_IMPL_H

#include "ledger/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_LEDGER_RECORDS 65536
#define NP_LEDGER_CHUNK 1024
#define NP_LEDGER_INDEX (2 * NP_LEDGER_RECORDS) /* a power of two */
#define NP_LEDGER_NONE UINT32_MAX
#define NP_WINDOW_KINDS (NP_WINDOW_NONE + 1)

struct np_account_key {
    uint64_t id; /* slot, or the hash of a model's name; 0 for global */
    enum np_account_kind kind;
    enum np_window window;
};

struct np_record {
    struct np_account_key key;
    int64_t start_ms, end_ms; /* of its window, end not included */
    int64_t spent_nusd, reserved_nusd;
    uint32_t open; /* reservations */
    uint32_t next; /* in the list of free records */
    bool current;  /* in the index */
};

struct np_ledger {
    pthread_mutex_t lock;
    struct np_record *chunk[NP_LEDGER_RECORDS / NP_LEDGER_CHUNK];
    uint32_t *index; /* record numbers + 1; 0: empty; linear probing */
    uint32_t made;   /* records that were ever in use */
    uint32_t free;   /* the list of those that are not any more */
    int64_t wall_ms; /* the latest seen; it never goes back */
    int64_t swept_ms;
    int64_t window_start[NP_WINDOW_KINDS], window_end[NP_WINDOW_KINDS]; /* that hold wall_ms */
    _Atomic int64_t settled_nusd[4], excess_nusd;
    _Atomic uint64_t open_reservations, double_ends;
};

/* --- records.c; all under the lock ---------------------------------------------------------------- */

struct np_record *np_record_at(const struct np_ledger *l, uint32_t number);
/* Moves the ledger's time forward to wall_ms, never back. */
void np_records_time(struct np_ledger *l, int64_t wall_ms);
/* The edges of the window that holds wall_ms. */
void np_records_window(const struct np_ledger *l, enum np_window w, int64_t wall_ms,
                       int64_t *start_ms, int64_t *end_ms);
/* The number of the account's record in the window of the ledger's time, made or turned over.
 * NP_LEDGER_NONE when there is no place or no memory. */
uint32_t np_record_get(struct np_ledger *l, const struct np_account_key *key);
/* The account's record if it is in the window that starts at start_ms, else NULL. */
const struct np_record *np_record_find(const struct np_ledger *l, const struct np_account_key *key,
                                       int64_t start_ms);
/* Takes back a record whose last reservation has ended if its window has passed. */
void np_record_drop(struct np_ledger *l, uint32_t number);

/* --- names.c ------------------------------------------------------------------------------------- */

/* "tenant:acme/day"; cut if it does not fit. name is not read for global. */
void np_account_name(char out[96], enum np_account_kind kind, const char *name,
                     enum np_window window);
/* The state of an account in the window of wall_ms, or of the ledger's time if that is later. */
void np_account_look(struct np_ledger *l, const struct np_account_key *key, int64_t wall_ms,
                     struct np_account_view *out);

static inline bool np_account_same(const struct np_account_key *a, const struct np_account_key *b)
{
    return a->id == b->id && a->kind == b->kind && a->window == b->window;
}

/* `tenant` and `tenant:NAME` name the same accounts. */
static inline enum np_account_kind np_account_kind_of(const struct np_budget *b)
{
    return b->kind == NP_ACCOUNT_EACH_TENANT ? NP_ACCOUNT_TENANT : b->kind;
}

#endif
