/* Accounts: spent and reserved money per budget and window, shared by all workers. This is the
 * ledger in memory; its grants come from nowhere else yet. Short lock, never held across I/O.
 *
 * Invariants (np_require): per account and window spent + reserved never exceeds the limit by a
 * reservation; each reservation ends exactly once; amounts are never negative. */
#ifndef NP_LEDGER_LEDGER_H
#define NP_LEDGER_LEDGER_H

#include "base/buf.h"
#include "model/exchange.h"

#include <stdint.h>

struct np_ledger;

/* NULL without memory. */
struct np_ledger *np_ledger_new(void);
void np_ledger_free(struct np_ledger *l);

/* What stood in the way of a reservation, for the refusal's words. */
struct np_budget_block {
    const struct np_budget *budget; /* NULL: the table of accounts is full */
    char account[96];               /* "tenant:acme/day" */
    int64_t limit_nusd, spent_nusd, reserved_nusd;
    int64_t free_nusd;      /* the least that any of the accounts has left */
    int64_t resets_wall_ms; /* when the window ends; INT64_MAX: never */
    bool own;               /* the account is the tenant's own: figures may be told */
};

/* Holds amount_nusd in every account of the catalogue's budgets that a call of this tenant,
 * endpoint, model and provider touches: in all or in none. NP_E_REFUSED fills *block. NP_E_FULL when
 * a new account can't be made (at most 65,536 account windows are kept; ended windows make room). */
enum np_err np_ledger_reserve(struct np_ledger *l, const struct np_exchange *x,
                              const struct np_model *m, int64_t amount_nusd, int64_t wall_ms,
                              struct np_reservation *out,
                              struct np_budget_block *block) NP_MUST_CHECK;
/* The most that could be reserved now for such a call; INT64_MAX without budgets. */
int64_t np_ledger_room(struct np_ledger *l, const struct np_exchange *x, const struct np_model *m,
                       int64_t wall_ms, struct np_budget_block *block);
/* Ends a reservation: cost_nusd is booked (0 with NP_SETTLED_VOID), the rest is free again. More
 * than was reserved is booked at once and counted as excess. */
void np_ledger_settle(struct np_ledger *l, struct np_reservation *r, enum np_settled class,
                      int64_t cost_nusd);

/* By account name ("global/day", "tenant:acme/day"; without the window: the first of that account).
 * wall_ms chooses the window. NP_E_NOTFOUND. remaining is -1 nowhere: without such a budget it is
 * NP_E_NOTFOUND. */
struct np_account_view {
    char name[96];
    int64_t limit_nusd, spent_nusd, reserved_nusd;
    int64_t resets_wall_ms;
};
enum np_err np_ledger_account(struct np_ledger *l, const struct np_catalog *c, struct np_span name,
                              int64_t wall_ms, struct np_account_view *out) NP_MUST_CHECK;
/* Money settled since a time for an account, by stats.cost_usd: same as spent of that window. */

/* The accounts of a catalogue's budgets with their state, fullest first, at most max. */
size_t np_ledger_list(struct np_ledger *l, const struct np_catalog *c, int64_t wall_ms,
                      struct np_account_view *out, size_t max);

struct np_ledger_totals {
    int64_t settled_nusd[4]; /* by enum np_settled */
    int64_t excess_nusd;
    uint64_t open_reservations;
    uint64_t double_ends; /* second ends that were ignored */
};
void np_ledger_totals(struct np_ledger *l, struct np_ledger_totals *out);

#endif
