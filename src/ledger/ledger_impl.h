/* What the files of ledger/ share.
 *
 * An account is (kind, id, window kind): kind `tenant` stands for both "tenant" and "tenant:NAME".
 * It has one record at a time for its current window; a record whose window has ended stays, out of
 * the index, until its last reservation has ended and the store knows all of it. Everything but the
 * totals is under the lock. */
#ifndef NP_LEDGER_LEDGER_IMPL_H
#define NP_LEDGER_LEDGER_IMPL_H

#include "ledger/ledger.h"
#include "ledger/rows.h"
#include "ledger/store.h"

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
/* Spent money stops growing here, far above any limit, rather than overflow. */
#define NP_SPENT_MAX (INT64_MAX / 8)
/* The kinds of claims begin here, beside enum np_account_kind. */
#define NP_KIND_CLAIMS 64

struct np_account_key {
    uint64_t id; /* slot, or the hash of a model's name; 0 for global */
    unsigned kind;
    enum np_window window;
};

/* v.granted - v.returned = settled + reserved + free, always; free is below 0 only by excess. */
struct np_record {
    struct np_account_key key;
    char account[NP_ACCOUNT_TEXT]; /* what the store calls it */
    int64_t start_ms, end_ms;      /* of its window, end not included */
    int64_t limit;                 /* of the latest call that touched it */
    int64_t declared;              /* the limit of the newest catalogue, */
    uint32_t declared_in;          /* where that is the one of this number */
    struct np_vector v;            /* this instance's */
    int64_t reserved, free;
    int64_t others_held, others_settled; /* as the store last said */
    uint64_t until_ns;                   /* when what is free may be reserved no longer */
    uint64_t answered_ns;                /* when the store last said something */
    int64_t need, largest;               /* asked for and not had yet; the largest single amount */
    int64_t rate_sum, rate_last;         /* taken in this second and in the one before */
    int64_t rate_ms, touched_ms;         /* when this second began; the latest reservation */
    uint32_t open;                       /* reservations */
    uint32_t next;                       /* in the list of free records */
    uint32_t next_listed;
    bool current;     /* in the index */
    bool opened;      /* v counts from the account's start: the store was asked once */
    bool listed;      /* in the list of those that the next round takes */
    bool asking;      /* in the round under way */
    bool dirty;       /* the store does not know all of v */
    bool written;     /* the disk does */
    bool looked;      /* somebody read it since the store was last asked */
    bool turned_away; /* a request ended for want of its money */
};

struct np_thread;

struct np_ledger {
    pthread_mutex_t lock;
    struct np_store *store;
    struct np_thread *thread; /* NULL: the store is immediate */
    const struct np_clock *clock;
    unsigned share;
    bool closing;                    /* nothing is asked for any more */
    const struct np_catalog *newest; /* looked at no more than which it is; NULL: none was told */
    uint32_t declarations;           /* how many were told */
    struct np_record *chunk[NP_LEDGER_RECORDS / NP_LEDGER_CHUNK];
    uint32_t *index; /* record numbers + 1; 0: empty; linear probing */
    uint32_t made;   /* records that were ever in use */
    uint32_t free;   /* the list of those that are not any more */
    uint32_t first_listed, last_listed;
    int64_t wall_ms;  /* the latest seen; it never goes back */
    int64_t store_ms; /* the store's clock at store_ns, where it has one and has told it; else 0 */
    uint64_t store_ns;
    int64_t swept_ms;
    int64_t window_start[NP_WINDOW_KINDS], window_end[NP_WINDOW_KINDS]; /* that hold wall_ms */
    uint64_t numbers;                                                   /* reservations made */
    _Atomic int64_t settled_nusd[4], excess_nusd;
    _Atomic uint64_t open_reservations, double_ends, epoch_changes, clock_jumps, waits;
    _Atomic bool store_up;
    _Atomic bool waited; /* somebody heard NP_E_BUSY since the listeners were called */
    char store_name[4200];
    struct np_rows rows;       /* settlements that are not on their way yet */
    _Atomic uint64_t asked_ns; /* when the round under way began; 0: none is */
    pthread_mutex_t news;      /* guards listeners; never taken under lock */
    struct np_ledger_listener *listeners;
};

/* --- accounts.c ---------------------------------------------------------------------------------- */

/* A ledger on a store, which it owns from now on (also when NULL comes back). */
struct np_ledger *np_ledger_on(struct np_store *store, const struct np_clock *clock);

/* The limit that holds for a call of a catalogue: its own, or the lower one of the newest. Under the lock. */
int64_t np_account_limit(struct np_ledger *l, const struct np_catalog *c, uint32_t number,
                         int64_t limit);

/* --- leases.c; under the lock -------------------------------------------------------------------- */

/* What an account has left before its limit, as far as this instance knows; never below 0. */
int64_t np_lease_left(const struct np_record *r, int64_t limit);
/* Notes a limit; free money that it no longer covers goes back. */
void np_lease_limit(struct np_ledger *l, uint32_t number, int64_t limit);
/* Sees to it that amount is free: NP_OK it is; NP_E_BUSY the store is being asked; NP_E_REFUSED the
 * limit has no room; NP_E_CLOSED it might have, but the store can't be asked. */
enum np_err np_lease_cover(struct np_ledger *l, uint32_t number, int64_t amount);
/* Free money becomes reserved; more is asked for early where it runs low. */
void np_lease_take(struct np_ledger *l, uint32_t number, int64_t amount);
/* Reserved money is settled, the rest of it free again. */
void np_lease_settle(struct np_ledger *l, uint32_t number, int64_t amount, enum np_settled class,
                     int64_t cost);
/* The question that a record has for the store, and what the answer does. */
void np_lease_ask(struct np_ledger *l, uint32_t number, struct np_lease *out);
void np_lease_answer(struct np_ledger *l, const struct np_lease *lease);
/* Gives back what is idle or of a window that ended (`all`: everything), and lists what the store must
 * hear of. */
void np_lease_tend(struct np_ledger *l, uint32_t number, uint64_t beat_ns, bool all);
/* The store knows all of it: it may be forgotten once its window has ended. */
bool np_lease_clean(const struct np_ledger *l, const struct np_record *r);

/* --- thread.c ------------------------------------------------------------------------------------- */

/* Makes the thread that talks to the store, l->thread. NP_E_NOMEM. */
enum np_err np_thread_start(struct np_ledger *l) NP_MUST_CHECK;
/* From any thread: there is something for the store, to be asked at once or soon. NULL is fine. */
void np_thread_kick(struct np_thread *t, bool at_once);
/* Ends it; gives everything back and writes it, as far as the store can be reached. NULL is fine. */
void np_thread_free(struct np_thread *t);

/* --- records.c; all under the lock ---------------------------------------------------------------- */

struct np_record *np_record_at(const struct np_ledger *l, uint32_t number);
/* What time it is: by the store's clock where that is known, else wall_ms; never before what was. */
int64_t np_records_now(const struct np_ledger *l, int64_t wall_ms);
/* Moves the ledger's time forward to that. */
void np_records_time(struct np_ledger *l, int64_t wall_ms);
/* The store has told its time for the first time: it holds from now on, even where this machine's clock
 * went before it. Nothing can have been granted by that. */
void np_records_begin(struct np_ledger *l, int64_t store_ms);
/* The edges of the window that holds wall_ms. */
void np_records_window(const struct np_ledger *l, enum np_window w, int64_t wall_ms,
                       int64_t *start_ms, int64_t *end_ms);
/* The number of the account's record in the window of the ledger's time, made or turned over.
 * `account` is what the store is to call it. NP_LEDGER_NONE when there is no place or no memory. */
uint32_t np_record_get(struct np_ledger *l, const struct np_account_key *key, const char *prefix,
                       const char *name);
/* The account's record if it is in the window that starts at start_ms, else NULL. */
struct np_record *np_record_find(const struct np_ledger *l, const struct np_account_key *key,
                                 int64_t start_ms);
/* Takes back a record whose last reservation has ended if its window has passed. */
void np_record_drop(struct np_ledger *l, uint32_t number);
/* Puts a record into the list of those that the next round takes. */
void np_record_list(struct np_ledger *l, uint32_t number);

/* --- names.c ------------------------------------------------------------------------------------- */

/* "tenant:", "global"; for records that are not budgets' the caller's own. */
const char *np_account_prefix(enum np_account_kind kind);
/* Whether a name is that of a budget; claims' are of other things. */
bool np_account_is_money(const char *account);
/* "tenant:acme/day"; a name that does not fit is cut and told apart by a hash. */
void np_account_name(char out[NP_ACCOUNT_TEXT], const char *prefix, const char *name,
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
