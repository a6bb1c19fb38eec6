/* Claims on accounts of the caller's own: the leases of budgets, for whatever else is limited over
 * all instances. */
#include "ledger/ledger_impl.h"

#include "base/hash.h"

#include <stdio.h>

static struct np_account_key key_of(const struct np_claim *claim)
{
    return (struct np_account_key){.id = claim->id ^ np_fnv1a(claim->kind, strlen(claim->kind)),
                                   .kind = NP_KIND_CLAIMS,
                                   .window = claim->window};
}

static enum np_err hold_locked(struct np_ledger *l, const struct np_claim *claim,
                               const struct np_account_key *key, struct np_hold *out,
                               int64_t *resets_wall_ms)
{
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "%.30s:", claim->kind);
    out->account = np_record_get(l, key, prefix, claim->name);
    if (out->account == NP_LEDGER_NONE) {
        return NP_E_FULL;
    }
    const struct np_record *r = np_record_at(l, out->account);
    *resets_wall_ms = r->end_ms;
    np_lease_limit(l, out->account, claim->limit);
    enum np_err err = np_lease_cover(l, out->account, claim->amount);
    if (err) {
        return err;
    }
    np_lease_take(l, out->account, claim->amount);
    out->window_start = r->start_ms;
    return NP_OK;
}

enum np_err np_ledger_hold(struct np_ledger *l, const struct np_claim *claim, int64_t wall_ms,
                           struct np_hold *out, int64_t *resets_wall_ms)
{
    np_require(claim->amount >= 0 && claim->limit >= 0);
    struct np_account_key key = key_of(claim);
    *out = (struct np_hold){.amount = claim->amount};
    *resets_wall_ms = INT64_MAX;
    pthread_mutex_lock(&l->lock);
    np_records_time(l, wall_ms);
    enum np_err err = hold_locked(l, claim, &key, out, resets_wall_ms);
    pthread_mutex_unlock(&l->lock);
    out->open = err == NP_OK;
    return err;
}

void np_ledger_let_go(struct np_ledger *l, struct np_hold *h, int64_t used)
{
    np_require(used >= 0);
    if (!h->open) {
        return;
    }
    h->open = false;
    pthread_mutex_lock(&l->lock);
    np_require(np_record_at(l, h->account)->start_ms == h->window_start);
    np_lease_settle(l, h->account, h->amount, NP_SETTLED_EXACT, used);
    pthread_mutex_unlock(&l->lock);
}

void np_ledger_claimed(struct np_ledger *l, const struct np_claim *claim, int64_t wall_ms,
                       struct np_claim_view *out)
{
    struct np_account_key key = key_of(claim);
    struct np_account_view v;
    np_account_look(l, &key, wall_ms, &v);
    *out = (struct np_claim_view){
        .used = v.spent_nusd, .held = v.reserved_nusd, .resets_wall_ms = v.resets_wall_ms};
}
