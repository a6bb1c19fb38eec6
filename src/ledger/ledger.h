/* Accounts: spent and reserved money per budget and window, shared by all workers of this instance
 * and, through its store, by all instances.
 *
 * An instance may spend only what the store has granted it: a *lease*, moved out of the account in
 * chunks before it is needed. Workers touch memory alone, under a short lock that is never held
 * across I/O; a thread of the ledger talks to the store. Where money of a limit is left, but not
 * here yet, a reservation says NP_E_BUSY and the listeners hear when it has come.
 *
 * Invariants (np_require, in release builds too): per account and window granted - returned =
 * settled + reserved + free; a reservation never takes more than is free; each ends exactly once. */
#ifndef NP_LEDGER_LEDGER_H
#define NP_LEDGER_LEDGER_H

#include "base/buf.h"
#include "base/clock.h"
#include "model/exchange.h"

#include <stdint.h>

struct np_ledger;

struct np_ledger_config {
    const char *store; /* "memory:", "sqlite:PATH" or "redis://[USER:PASSWORD@]HOST[:PORT][/DB]" */
    const char *state; /* folder of the file or journal; NULL: the working directory */
    unsigned share;    /* without the store, each of so many instances may use its share of what is
                        * left; 0: nothing that is not held already */
    const struct np_clock *clock;
};

/* NP_OK, or what is wrong with a store's name, as np_ledger_open would say it; nothing is opened. */
enum np_err np_ledger_check(const char *store, char *why, size_t size) NP_MUST_CHECK;
/* Opens the store, makes good what an earlier life left open, and starts the thread. *why says what
 * failed and what would be right: NP_E_INVALID: the store's name is wrong; NP_E_BUSY: another neap
 * uses it; NP_E_UNSUPPORTED: these libraries can't do it; NP_E_IO, NP_E_NOMEM. */
enum np_err np_ledger_open(const struct np_ledger_config *config, struct np_ledger **out, char *why,
                           size_t size) NP_MUST_CHECK;
/* A ledger in memory, that grants at once and starts no thread; NULL without memory. */
struct np_ledger *np_ledger_new(void);
/* A catalogue is in force from now on: where it lowers a limit, calls that began with another one are held to
 * that too. Asks the store early for what it knows of its accounts in the windows of wall_ms (of at most
 * 4,096 tenants), so that views are right and first calls need not wait; what a lowered limit no longer
 * covers goes back. */
void np_ledger_warm(struct np_ledger *l, const struct np_catalog *c, int64_t wall_ms);
/* Gives free money back to the store, writes what is not written, ends the thread. Every
 * reservation must have ended and every listener gone. NULL is fine. */
void np_ledger_free(struct np_ledger *l);

/* What stood in the way of a reservation, for the refusal's words. */
struct np_budget_block {
    const struct np_budget *budget; /* NULL: the table of accounts is full */
    char account[96];               /* "tenant:acme/day" */
    int64_t limit_nusd, spent_nusd, reserved_nusd;
    int64_t free_nusd;      /* the least that any of the accounts has left */
    int64_t resets_wall_ms; /* when the window ends; INT64_MAX: never */
    bool own;               /* the account is the tenant's own: figures may be told */
    bool reject;            /* one of those that have too little says so */
    bool over_limit;        /* not even the whole limit is enough */
    bool store_lost;        /* there may be money, but the store can't be asked for it */
};

/* Holds amount_nusd in every account of the catalogue's budgets that a call of this tenant,
 * endpoint, model and provider touches: in all or in none. NP_E_REFUSED fills *block. NP_E_BUSY: the
 * limits have room, but the store must be asked first; the listeners hear of its answer. NP_E_FULL
 * when a new account can't be made (at most 65,536 account windows are kept; ended windows make
 * room). */
enum np_err np_ledger_reserve(struct np_ledger *l, const struct np_exchange *x,
                              const struct np_model *m, int64_t amount_nusd, int64_t wall_ms,
                              struct np_reservation *out,
                              struct np_budget_block *block) NP_MUST_CHECK;
/* The most that the limits would let such a call reserve now; INT64_MAX without budgets. */
int64_t np_ledger_room(struct np_ledger *l, const struct np_exchange *x, const struct np_model *m,
                       int64_t wall_ms, struct np_budget_block *block);
/* What stands in the way of need_nusd: of the accounts that have less, the one that frees its money last. */
void np_ledger_block(struct np_ledger *l, const struct np_exchange *x, const struct np_model *m,
                     int64_t need_nusd, int64_t wall_ms, struct np_budget_block *block);
/* Notes that a request ended because the account (a name as in struct np_budget_block) had too little left
 * for it, as np_account_view tells. */
void np_ledger_turned_away(struct np_ledger *l, const struct np_catalog *c, struct np_span account,
                           int64_t wall_ms);
/* Whether less than a fifth of a limit that such a call touches is left. */
bool np_ledger_nearly_spent(struct np_ledger *l, const struct np_exchange *x,
                            const struct np_model *m, int64_t wall_ms);
/* Ends a reservation: cost_nusd is booked (0 with NP_SETTLED_VOID), the rest is free again. More
 * than was reserved is booked at once and counted as excess. The exchange and the model of the
 * reservation must live still. */
void np_ledger_settle(struct np_ledger *l, struct np_reservation *r, enum np_settled class,
                      int64_t cost_nusd);

/* --- leases of other things than money ------------------------------------------------------------ */

/* An account of whatever is counted in whole numbers and limited over all instances: requests or
 * tokens of a minute, calls at once (window none; what is held is always let go at cost 0). `kind`
 * and `name` are its key, chosen by the caller and unlike those of budgets ("requests", "acme"); `id`
 * must differ for each name of a kind in this process. */
struct np_claim {
    const char *kind, *name;
    uint64_t id;
    enum np_window window;
    int64_t limit;
    int64_t amount;
};

struct np_hold {
    int64_t window_start;
    int64_t amount;
    uint32_t account;
    bool open;
};

/* As np_ledger_reserve, for one claim: NP_E_REFUSED: the limit has no room (*resets_wall_ms is when
 * its window ends); NP_E_BUSY: ask again when the listeners hear; NP_E_CLOSED: it may have room, but
 * the store can't be asked. */
enum np_err np_ledger_hold(struct np_ledger *l, const struct np_claim *claim, int64_t wall_ms,
                           struct np_hold *out, int64_t *resets_wall_ms) NP_MUST_CHECK;
/* Ends a hold: `used` counts against the window, the rest is free again. Twice: nothing. */
void np_ledger_let_go(struct np_ledger *l, struct np_hold *h, int64_t used);

/* What of a claim's account is taken in the window of wall_ms, by all instances as the store last told;
 * `amount` is not looked at. */
struct np_claim_view {
    int64_t used, held; /* held: by calls that are under way here */
    int64_t resets_wall_ms;
};
void np_ledger_claimed(struct np_ledger *l, const struct np_claim *claim, int64_t wall_ms,
                       struct np_claim_view *out);

/* --- news ----------------------------------------------------------------------------------------- */

/* Called on the ledger's thread when grants came (or were denied) since somebody heard NP_E_BUSY; it
 * must not block or call the ledger. A worker posts to its loop here. At most 65. */
struct np_ledger_listener {
    void (*heard)(void *ctx);
    void *ctx;
    struct np_ledger_listener *next;
};
void np_ledger_listen(struct np_ledger *l, struct np_ledger_listener *listener);
/* After it returns the listener is not called any more. Safe when it does not listen. */
void np_ledger_unlisten(struct np_ledger *l, struct np_ledger_listener *listener);

/* Whether the store can be reached; the one in memory always can. */
bool np_ledger_store_up(struct np_ledger *l);

/* "sqlite 3.40.1\nhiredis 0.14.1": SQLite as loaded, hiredis as built with (it does not tell). */
const char *np_ledger_version(void);

/* --- for people ----------------------------------------------------------------------------------- */

/* By account name ("global/day", "tenant:acme/day"; without the window: the first of that account).
 * wall_ms chooses the window. NP_E_NOTFOUND. remaining is -1 nowhere: without such a budget it is
 * NP_E_NOTFOUND. What other instances spent is as the store last told. */
struct np_account_view {
    char name[96];
    int64_t limit_nusd, spent_nusd, reserved_nusd;
    int64_t leased_nusd; /* free money of the limit that this instance holds */
    int64_t resets_wall_ms;
    enum np_window window;
    bool reject;      /* on_exceeded of its first budget */
    bool each_tenant; /* it stands in a budget of each tenant */
    bool turned_away; /* in this window a request ended here for want of its money */
};
enum np_err np_ledger_account(struct np_ledger *l, const struct np_catalog *c, struct np_span name,
                              int64_t wall_ms, struct np_account_view *out) NP_MUST_CHECK;

/* The accounts of a catalogue's budgets with their state, fullest first, at most max; where there are more
 * those that stand for each tenant are left out first. */
size_t np_ledger_list(struct np_ledger *l, const struct np_catalog *c, int64_t wall_ms,
                      struct np_account_view *out, size_t max);

struct np_ledger_totals {
    int64_t settled_nusd[4]; /* by enum np_settled; of this process */
    int64_t excess_nusd;
    uint64_t open_reservations;
    uint64_t double_ends;   /* second ends that were ignored */
    uint64_t epoch_changes; /* the store began anew or went back under us */
    uint64_t clock_jumps;   /* by more than 5 s */
    uint64_t waits;         /* reservations that were told NP_E_BUSY */
    bool store_up;
    /* "memory:", "sqlite:/path", "redis://host:port/db", without user and password; lives as long as
     * the ledger. */
    const char *store;
};
void np_ledger_totals(struct np_ledger *l, struct np_ledger_totals *out);

#endif
