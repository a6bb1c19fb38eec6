/* Reservations: money is held in every account that a call touches, or in none, and ends once. */
#include "ledger/ledger_impl.h"

#include "base/hash.h"

#include <stdlib.h>

/* Spent money stops growing here, far above any limit, rather than overflow. */
#define SPENT_MAX_NUSD (INT64_MAX / 4)

struct np_ledger *np_ledger_new(void)
{
    struct np_ledger *l = calloc(1, sizeof *l);
    if (!l) {
        return NULL;
    }
    l->index = calloc(NP_LEDGER_INDEX, sizeof l->index[0]);
    if (!l->index) {
        free(l);
        return NULL;
    }
    np_require(pthread_mutex_init(&l->lock, NULL) == 0);
    l->free = NP_LEDGER_NONE;
    l->wall_ms = INT64_MIN;
    l->swept_ms = INT64_MIN / 2;
    for (unsigned w = 0; w < NP_WINDOW_KINDS; w++) {
        l->window_end[w] = INT64_MIN;
    }
    return l;
}

void np_ledger_free(struct np_ledger *l)
{
    if (!l) {
        return;
    }
    for (size_t i = 0; i < NP_LEDGER_RECORDS / NP_LEDGER_CHUNK; i++) {
        free(l->chunk[i]);
    }
    pthread_mutex_destroy(&l->lock);
    free(l->index);
    free(l);
}

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
    int64_t held = t->record ? t->record->spent_nusd + t->record->reserved_nusd : 0;
    return t->budget->limit_nusd > held ? t->budget->limit_nusd - held : 0;
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

static const char *entity_name(const struct np_budget *b, const struct np_exchange *x)
{
    return b->kind == NP_ACCOUNT_EACH_TENANT ? x->tenant->name : b->name;
}

static void fill_block(struct np_budget_block *block, const struct touched *t,
                       const struct np_exchange *x)
{
    const struct np_record *r = t->record;
    *block = (struct np_budget_block){.budget = t->budget,
                                      .limit_nusd = t->budget->limit_nusd,
                                      .spent_nusd = r ? r->spent_nusd : 0,
                                      .reserved_nusd = r ? r->reserved_nusd : 0,
                                      .free_nusd = free_of(t),
                                      .resets_wall_ms = t->end_ms,
                                      .own = t->key.kind == NP_ACCOUNT_TENANT};
    np_account_name(block->account, t->key.kind, entity_name(t->budget, x), t->key.window);
}

/* --- reserving ------------------------------------------------------------------------------------ */

static enum np_err reserve_locked(struct np_ledger *l, const struct np_exchange *x,
                                  struct touched *t, size_t n, struct np_reservation *out,
                                  struct np_budget_block *block)
{
    for (size_t i = 0; i < n; i++) {
        out->account[i] = np_record_get(l, &t[i].key);
        if (out->account[i] == NP_LEDGER_NONE) {
            return NP_E_FULL;
        }
        t[i].record = np_record_at(l, out->account[i]);
        t[i].end_ms = t[i].record->end_ms;
    }
    const struct touched *least = tightest(t, n);
    if (least && free_of(least) < out->amount_nusd) {
        fill_block(block, least, x);
        return NP_E_REFUSED;
    }
    for (size_t i = 0; i < n; i++) {
        struct np_record *r = np_record_at(l, out->account[i]);
        r->reserved_nusd += out->amount_nusd;
        r->open++;
        out->window_start[i] = r->start_ms;
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
    *out = (struct np_reservation){.amount_nusd = amount_nusd};
    *block = (struct np_budget_block){.free_nusd = INT64_MAX, .resets_wall_ms = INT64_MAX};
    if (!touched_by(x, m, t, &n)) {
        return NP_E_FULL;
    }
    enum np_err err = NP_OK;
    if (n > 0) {
        pthread_mutex_lock(&l->lock);
        np_records_time(l, wall_ms);
        err = reserve_locked(l, x, t, n, out, block);
        pthread_mutex_unlock(&l->lock);
    }
    if (err == NP_OK) {
        out->open = true;
        atomic_fetch_add_explicit(&l->open_reservations, 1, memory_order_relaxed);
    }
    return err;
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
    wall_ms = wall_ms > l->wall_ms ? wall_ms : l->wall_ms;
    for (size_t i = 0; i < n; i++) {
        int64_t start_ms;
        np_records_window(l, t[i].key.window, wall_ms, &start_ms, &t[i].end_ms);
        t[i].record = np_record_find(l, &t[i].key, start_ms);
    }
    fill_block(block, tightest(t, n), x);
    pthread_mutex_unlock(&l->lock);
    return block->free_nusd;
}

/* --- settling ------------------------------------------------------------------------------------- */

static int64_t spend(int64_t spent_nusd, int64_t cost_nusd)
{
    return cost_nusd > SPENT_MAX_NUSD - spent_nusd ? SPENT_MAX_NUSD : spent_nusd + cost_nusd;
}

static void settle_locked(struct np_ledger *l, const struct np_reservation *r, int64_t cost_nusd)
{
    for (size_t i = 0; i < r->n; i++) {
        struct np_record *record = np_record_at(l, r->account[i]);
        np_require(record->start_ms == r->window_start[i] && record->open > 0 &&
                   record->reserved_nusd >= r->amount_nusd);
        record->reserved_nusd -= r->amount_nusd;
        record->open--;
        record->spent_nusd = spend(record->spent_nusd, cost_nusd);
        np_record_drop(l, r->account[i]);
    }
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
    if (r->n > 0) {
        pthread_mutex_lock(&l->lock);
        settle_locked(l, r, cost_nusd);
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

void np_ledger_totals(struct np_ledger *l, struct np_ledger_totals *out)
{
    for (size_t i = 0; i < 4; i++) {
        out->settled_nusd[i] = atomic_load_explicit(&l->settled_nusd[i], memory_order_relaxed);
    }
    out->excess_nusd = atomic_load_explicit(&l->excess_nusd, memory_order_relaxed);
    out->open_reservations = atomic_load_explicit(&l->open_reservations, memory_order_relaxed);
    out->double_ends = atomic_load_explicit(&l->double_ends, memory_order_relaxed);
}
