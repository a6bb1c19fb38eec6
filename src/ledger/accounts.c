/* Reservations: money is held in every account that a call touches, or in none, and ends once. What
 * may be held is what leases.c finds free. */
#include "ledger/ledger_impl.h"

#include "base/hash.h"

#include <stdio.h>

/* --- which accounts a call touches --------------------------------------------------------------- */

/* An account of a call; its budget is the one with the lowest limit of those that name it. */
struct touched {
    const struct np_budget *budget;
    struct np_account_key key;
    const struct np_record *record; /* NULL: nothing is booked in this window */
    int64_t end_ms;                 /* of the window */
};

static bool touches(const struct np_budget *b, const struct np_exchange *x,
                    const struct np_model *m, struct np_account_key *key)
{
    *key = (struct np_account_key){.kind = np_account_kind_of(b), .window = b->window};
    switch (b->kind) {
    case NP_ACCOUNT_GLOBAL:
        return true;
    case NP_ACCOUNT_TENANT:
    case NP_ACCOUNT_EACH_TENANT:
        key->id = x->tenant->slot;
        return b->kind == NP_ACCOUNT_EACH_TENANT || strcmp(b->name, x->tenant->name) == 0;
    case NP_ACCOUNT_ENDPOINT:
        key->id = x->endpoint->slot;
        return strcmp(b->name, x->endpoint->path) == 0;
    case NP_ACCOUNT_MODEL:
        key->id = np_fnv1a(m->name, strlen(m->name));
        return strcmp(b->name, m->name) == 0;
    case NP_ACCOUNT_PROVIDER:
        key->id = m->provider->slot;
        return strcmp(b->name, m->provider->name) == 0;
    }
    return false;
}

/* Fills t, each account once; false when there are more than NP_MAX_ACCOUNTS. */
static bool touched_by(const struct np_exchange *x, const struct np_model *m,
                       struct touched t[NP_MAX_ACCOUNTS], size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < x->catalog->n_budgets; i++) {
        const struct np_budget *b = &x->catalog->budgets[i];
        struct np_account_key key;
        if (!touches(b, x, m, &key)) {
            continue;
        }
        size_t at = 0;
        while (at < *n && !np_account_same(&t[at].key, &key)) {
            at++;
        }
        if (at == NP_MAX_ACCOUNTS) {
            return false;
        }
        if (at == *n) {
            t[(*n)++] = (struct touched){.budget = b, .key = key};
        } else if (b->limit_nusd < t[at].budget->limit_nusd) {
            t[at].budget = b;
        }
    }
    return true;
}

static int64_t free_of(const struct touched *t)
{
    return t->record ? np_lease_left(t->record, t->budget->limit_nusd) : t->budget->limit_nusd;
}

/* The least free money that is here, at most most_nusd. */
static int64_t least_leased(const struct touched *t, size_t n, int64_t most_nusd)
{
    for (size_t i = 0; i < n; i++) {
        int64_t leased = t[i].record && t[i].record->free > 0 ? t[i].record->free : 0;
        most_nusd = leased < most_nusd ? leased : most_nusd;
    }
    return most_nusd;
}

/* The account that has the least left. */
static const struct touched *tightest(const struct touched *t, size_t n)
{
    const struct touched *least = NULL;
    for (size_t i = 0; i < n; i++) {
        least = !least || free_of(&t[i]) < free_of(least) ? &t[i] : least;
    }
    return least;
}

/* When waiting helps, for somebody who needs this much; never where the limit itself is too low. */
static int64_t frees_ms(const struct touched *t, int64_t need)
{
    return t->budget->limit_nusd < need ? INT64_MAX : t->end_ms;
}

/* Of the accounts that have less than is needed the one that frees its money last: until then waiting does
 * not help. Of equal ones the one that has the least. NULL: all have enough. */
static const struct touched *last_to_free(const struct touched *t, size_t n, int64_t need)
{
    const struct touched *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (free_of(&t[i]) >= need) {
            continue;
        }
        int64_t at = frees_ms(&t[i], need), before = last ? frees_ms(last, need) : -1;
        if (at > before || (at == before && free_of(&t[i]) < free_of(last))) {
            last = &t[i];
        }
    }
    return last;
}

static const char *entity_name(const struct np_budget *b, const struct np_exchange *x)
{
    return b->kind == NP_ACCOUNT_EACH_TENANT ? x->tenant->name : b->name;
}

static void fill_block(struct np_budget_block *block, const struct touched *t,
                       const struct np_exchange *x)
{
    const struct np_record *r = t->record;
    *block =
        (struct np_budget_block){.budget = t->budget,
                                 .limit_nusd = t->budget->limit_nusd,
                                 .spent_nusd = r ? r->others_settled + np_vector_settled(&r->v) : 0,
                                 .reserved_nusd = r ? r->reserved : 0,
                                 .free_nusd = free_of(t),
                                 .resets_wall_ms = t->end_ms,
                                 .own = t->key.kind == NP_ACCOUNT_TENANT};
    np_account_name(block->account, np_account_prefix(t->budget->kind), entity_name(t->budget, x),
                    t->key.window);
}

/* Tells of the account that frees its money last, and what all of those in the way call for. */
static void fill_refusal(struct np_budget_block *block, const struct touched *t, size_t n,
                         int64_t need, const struct np_exchange *x)
{
    const struct touched *at = last_to_free(t, n, need);
    fill_block(block, at ? at : tightest(t, n), x);
    block->reject = block->budget->reject;
    for (size_t i = 0; at && i < n; i++) {
        block->reject = block->reject || (free_of(&t[i]) < need && t[i].budget->reject);
    }
    if (at && at->budget->limit_nusd < need) {
        block->over_limit = true;
        block->resets_wall_ms = INT64_MAX;
    }
}

int64_t np_account_limit(struct np_ledger *l, const struct np_catalog *c, uint32_t number,
                         int64_t limit)
{
    struct np_record *r = np_record_at(l, number);
    bool told = l->declarations > 0 && r->declared_in == l->declarations;
    if (c != l->newest) {
        return told && r->declared < limit ? r->declared : limit;
    }
    r->declared = limit;
    r->declared_in = l->declarations;
    return limit;
}

/* --- reserving ------------------------------------------------------------------------------------ */

/* The records of all that is touched; NP_E_FULL when one can't be made. */
static enum np_err find_records(struct np_ledger *l, const struct np_exchange *x, struct touched *t,
                                size_t n, struct np_reservation *out)
{
    for (size_t i = 0; i < n; i++) {
        out->account[i] = np_record_get(l, &t[i].key, np_account_prefix(t[i].budget->kind),
                                        entity_name(t[i].budget, x));
        if (out->account[i] == NP_LEDGER_NONE) {
            return NP_E_FULL;
        }
        np_lease_limit(l, out->account[i],
                       np_account_limit(l, x->catalog, out->account[i], t[i].budget->limit_nusd));
        t[i].record = np_record_at(l, out->account[i]);
        t[i].end_ms = t[i].record->end_ms;
    }
    return NP_OK;
}

/* Whether amount is free in all of them; else *block says what stood in the way. A refusal by a limit goes
 * before one that may be only a matter of time. */
static enum np_err cover_all(struct np_ledger *l, const struct touched *t, size_t n,
                             const struct np_reservation *r, const struct np_exchange *x,
                             struct np_budget_block *block)
{
    const struct touched *at = NULL;
    enum np_err worst = NP_OK;
    for (size_t i = 0; i < n; i++) {
        enum np_err err = np_lease_cover(l, r->account[i], r->amount_nusd);
        if (err == NP_E_REFUSED) {
            fill_refusal(block, t, n, r->amount_nusd, x);
            return err;
        }
        if (err == NP_E_CLOSED || (err && !worst)) {
            worst = err;
            at = &t[i];
        }
    }
    if (at) {
        fill_block(block, at, x);
        block->reject = at->budget->reject;
        block->store_lost = worst == NP_E_CLOSED;
    }
    return worst;
}

static enum np_err reserve_locked(struct np_ledger *l, const struct np_exchange *x,
                                  struct touched *t, size_t n, struct np_reservation *out,
                                  struct np_budget_block *block)
{
    enum np_err err = find_records(l, x, t, n, out);
    if (err) {
        return err;
    }
    if (out->amount_nusd > 0) {
        err = cover_all(l, t, n, out, x, block);
    }
    if (err) {
        return err == NP_E_CLOSED ? NP_E_REFUSED : err;
    }
    for (size_t i = 0; i < n; i++) {
        np_lease_take(l, out->account[i], out->amount_nusd);
        out->window_start[i] = t[i].record->start_ms;
    }
    out->n = n;
    return NP_OK;
}

enum np_err np_ledger_reserve(struct np_ledger *l, const struct np_exchange *x,
                              const struct np_model *m, int64_t amount_nusd, int64_t wall_ms,
                              struct np_reservation *out, struct np_budget_block *block)
{
    np_require(amount_nusd >= 0);
    struct touched t[NP_MAX_ACCOUNTS];
    size_t n;
    *out = (struct np_reservation){.amount_nusd = amount_nusd,
                                   .request = x->id,
                                   .tenant = x->tenant->name,
                                   .model = m->name,
                                   .attempt = (unsigned)x->n_attempts + 1};
    *block = (struct np_budget_block){.free_nusd = INT64_MAX, .resets_wall_ms = INT64_MAX};
    if (!touched_by(x, m, t, &n)) {
        return NP_E_FULL;
    }
    enum np_err err = NP_OK;
    if (n > 0 || l->thread) {
        pthread_mutex_lock(&l->lock);
        np_records_time(l, wall_ms);
        err = reserve_locked(l, x, t, n, out, block);
        out->number = err ? 0 : ++l->numbers;
        pthread_mutex_unlock(&l->lock);
    }
    if (err == NP_E_BUSY) {
        atomic_fetch_add_explicit(&l->waits, 1, memory_order_relaxed);
    }
    if (err == NP_OK) {
        out->open = true;
        atomic_fetch_add_explicit(&l->open_reservations, 1, memory_order_relaxed);
    }
    return err;
}

/* Finds the records of all that is touched, where there are any. */
static void look_up(struct np_ledger *l, struct touched *t, size_t n, int64_t wall_ms)
{
    wall_ms = np_records_now(l, wall_ms);
    for (size_t i = 0; i < n; i++) {
        int64_t start_ms;
        np_records_window(l, t[i].key.window, wall_ms, &start_ms, &t[i].end_ms);
        t[i].record = np_record_find(l, &t[i].key, start_ms);
    }
}

bool np_ledger_nearly_spent(struct np_ledger *l, const struct np_exchange *x,
                            const struct np_model *m, int64_t wall_ms)
{
    struct touched t[NP_MAX_ACCOUNTS];
    size_t n;
    bool nearly = !touched_by(x, m, t, &n);
    if (nearly || n == 0) {
        return nearly;
    }
    pthread_mutex_lock(&l->lock);
    look_up(l, t, n, wall_ms);
    for (size_t i = 0; i < n; i++) {
        nearly = nearly || free_of(&t[i]) < t[i].budget->limit_nusd / 5;
    }
    pthread_mutex_unlock(&l->lock);
    return nearly;
}

int64_t np_ledger_room(struct np_ledger *l, const struct np_exchange *x, const struct np_model *m,
                       int64_t wall_ms, struct np_budget_block *block)
{
    struct touched t[NP_MAX_ACCOUNTS];
    size_t n;
    *block = (struct np_budget_block){.free_nusd = INT64_MAX, .resets_wall_ms = INT64_MAX};
    if (!touched_by(x, m, t, &n)) {
        block->free_nusd = 0;
        return 0;
    }
    if (n == 0) {
        return INT64_MAX;
    }
    pthread_mutex_lock(&l->lock);
    look_up(l, t, n, wall_ms);
    fill_block(block, tightest(t, n), x);
    if (!np_ledger_store_up(l) && l->share == 0) {
        /* Without the store there is no more than what is leased. */
        block->store_lost = true;
        block->free_nusd = least_leased(t, n, block->free_nusd);
    }
    pthread_mutex_unlock(&l->lock);
    return block->free_nusd;
}

void np_ledger_block(struct np_ledger *l, const struct np_exchange *x, const struct np_model *m,
                     int64_t need_nusd, int64_t wall_ms, struct np_budget_block *block)
{
    struct touched t[NP_MAX_ACCOUNTS];
    size_t n;
    *block = (struct np_budget_block){.free_nusd = INT64_MAX, .resets_wall_ms = INT64_MAX};
    if (!touched_by(x, m, t, &n) || n == 0) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    look_up(l, t, n, wall_ms);
    fill_refusal(block, t, n, need_nusd, x);
    block->store_lost = !np_ledger_store_up(l) && l->share == 0;
    pthread_mutex_unlock(&l->lock);
}

/* --- settling ------------------------------------------------------------------------------------- */

static void settle_locked(struct np_ledger *l, const struct np_reservation *r,
                          enum np_settled class, int64_t cost_nusd)
{
    for (size_t i = 0; i < r->n; i++) {
        np_require(np_record_at(l, r->account[i])->start_ms == r->window_start[i]);
        np_lease_settle(l, r->account[i], r->amount_nusd, class, cost_nusd);
    }
}

static void copy_label(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);
    memcpy(out, text, n);
    out[n] = '\0';
}

static void fill_row(struct np_settle_row *row, const struct np_reservation *r,
                     enum np_settled class, int64_t cost_nusd)
{
    row->number = r->number;
    row->attempt = r->attempt;
    row->count = 1;
    row->class = class;
    row->reserved_nusd = r->amount_nusd;
    row->cost_nusd = cost_nusd;
    copy_label(row->request, sizeof row->request, r->request);
    copy_label(row->tenant, sizeof row->tenant, r->tenant);
    copy_label(row->model, sizeof row->model, r->model);
}

void np_ledger_settle(struct np_ledger *l, struct np_reservation *r, enum np_settled class,
                      int64_t cost_nusd)
{
    np_require(cost_nusd >= 0 && (unsigned)class <= NP_SETTLED_PRESUMED);
    np_require(class != NP_SETTLED_VOID || cost_nusd == 0);
    if (!r->open) {
        atomic_fetch_add_explicit(&l->double_ends, 1, memory_order_relaxed);
        return;
    }
    r->open = false;
    if (r->n > 0 || l->thread) {
        struct np_settle_row row;
        fill_row(&row, r, class, cost_nusd);
        pthread_mutex_lock(&l->lock);
        settle_locked(l, r, class, cost_nusd);
        if (l->thread) {
            row.at_ms = l->wall_ms;
            np_rows_add(&l->rows, &row);
            np_thread_kick(l->thread, false);
        }
        pthread_mutex_unlock(&l->lock);
    }
    atomic_fetch_add_explicit(&l->settled_nusd[class], cost_nusd, memory_order_relaxed);
    if (cost_nusd > r->amount_nusd) {
        atomic_fetch_add_explicit(&l->excess_nusd, cost_nusd - r->amount_nusd,
                                  memory_order_relaxed);
    }
    uint64_t were = atomic_fetch_sub_explicit(&l->open_reservations, 1, memory_order_relaxed);
    np_require(were > 0);
}
