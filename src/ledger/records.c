/* The table of records: at most 65,536, in chunks made as they are needed, found by an index of
 * open addressing. A record is turned over in place when its account enters a new window; when all
 * are taken, those whose window has ended make room. */
#include "ledger/ledger_impl.h"

#include <stdlib.h>

/* A full table is searched for ended windows at most this often. */
#define SWEEP_EVERY_MS 1000

struct np_record *np_record_at(const struct np_ledger *l, uint32_t number)
{
    np_require(number < l->made);
    return &l->chunk[number / NP_LEDGER_CHUNK][number % NP_LEDGER_CHUNK];
}

int64_t np_records_now(const struct np_ledger *l, int64_t wall_ms)
{
    if (l->store_ms > 0) {
        uint64_t since_ns = np_clock_mono_ns(l->clock) - l->store_ns;
        wall_ms = l->store_ms + (int64_t)(since_ns / NP_NS_PER_MS);
    }
    return wall_ms > l->wall_ms ? wall_ms : l->wall_ms;
}

void np_records_time(struct np_ledger *l, int64_t wall_ms)
{
    l->wall_ms = np_records_now(l, wall_ms);
}

void np_records_begin(struct np_ledger *l, int64_t store_ms)
{
    l->wall_ms = store_ms;
    for (unsigned w = 0; w < NP_WINDOW_KINDS; w++) {
        l->window_start[w] = 0;
        l->window_end[w] = INT64_MIN;
    }
}

/* Brings the kept edges of a kind of window up to the ledger's time. */
static void window_refresh(struct np_ledger *l, enum np_window w)
{
    if (l->wall_ms >= l->window_end[w]) {
        l->window_start[w] = np_window_start(w, l->wall_ms);
        l->window_end[w] = np_window_end(w, l->wall_ms);
    }
}

void np_records_window(const struct np_ledger *l, enum np_window w, int64_t wall_ms,
                       int64_t *start_ms, int64_t *end_ms)
{
    if (wall_ms >= l->window_start[w] && wall_ms < l->window_end[w]) {
        *start_ms = l->window_start[w];
        *end_ms = l->window_end[w];
    } else {
        *start_ms = np_window_start(w, wall_ms);
        *end_ms = np_window_end(w, wall_ms);
    }
}

static uint32_t place_of(const struct np_account_key *key)
{
    uint64_t h = (key->id + 1) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= ((uint64_t)key->kind * NP_WINDOW_KINDS + (uint64_t)key->window + 1) *
         UINT64_C(0xd1b54a32d192ed03);
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 40) & (NP_LEDGER_INDEX - 1);
}

/* The place in the index of an account, or the empty one where it would be. */
static uint32_t *place_find(const struct np_ledger *l, const struct np_account_key *key)
{
    uint32_t i = place_of(key);
    while (l->index[i] && !np_account_same(&np_record_at(l, l->index[i] - 1)->key, key)) {
        i = (i + 1) & (NP_LEDGER_INDEX - 1);
    }
    return &l->index[i];
}

static void give_back(struct np_ledger *l, uint32_t number)
{
    struct np_record *r = np_record_at(l, number);
    np_require(r->open == 0 && r->reserved == 0 && !r->listed && !r->asking);
    r->current = false;
    r->next = l->free;
    l->free = number;
}

/* Frees what ended without open reservations and builds the index anew. */
static void sweep(struct np_ledger *l)
{
    memset(l->index, 0, NP_LEDGER_INDEX * sizeof l->index[0]);
    for (uint32_t i = 0; i < l->made; i++) {
        struct np_record *r = np_record_at(l, i);
        if (!r->current) {
            continue;
        }
        if (r->open == 0 && l->wall_ms >= r->end_ms && np_lease_clean(l, r)) {
            give_back(l, i);
        } else {
            *place_find(l, &r->key) = i + 1;
        }
    }
    l->swept_ms = l->wall_ms;
}

/* A record that nobody uses. */
static uint32_t take(struct np_ledger *l)
{
    if (l->free == NP_LEDGER_NONE && l->made < NP_LEDGER_RECORDS) {
        struct np_record **chunk = &l->chunk[l->made / NP_LEDGER_CHUNK];
        if (!*chunk) {
            *chunk = calloc(NP_LEDGER_CHUNK, sizeof **chunk);
        }
        if (*chunk) {
            l->made++;
            give_back(l, l->made - 1);
        }
    }
    if (l->free == NP_LEDGER_NONE && l->wall_ms >= l->swept_ms + SWEEP_EVERY_MS) {
        sweep(l);
    }
    uint32_t number = l->free;
    if (number != NP_LEDGER_NONE) {
        l->free = np_record_at(l, number)->next;
    }
    return number;
}

static void start(struct np_ledger *l, uint32_t number, const struct np_account_key *key,
                  const char *prefix, const char *name)
{
    struct np_record *r = np_record_at(l, number);
    *r = (struct np_record){.key = *key,
                            .start_ms = l->window_start[key->window],
                            .end_ms = l->window_end[key->window],
                            .until_ns = UINT64_MAX,
                            .rate_ms = l->wall_ms,
                            .touched_ms = l->wall_ms,
                            .next = NP_LEDGER_NONE,
                            .next_listed = NP_LEDGER_NONE,
                            .current = true};
    np_account_name(r->account, prefix, name, key->window);
}

uint32_t np_record_get(struct np_ledger *l, const struct np_account_key *key, const char *prefix,
                       const char *name)
{
    window_refresh(l, key->window);
    uint32_t *place = place_find(l, key);
    uint32_t old = NP_LEDGER_NONE;
    if (*place) {
        old = *place - 1;
        struct np_record *r = np_record_at(l, old);
        np_require(r->current);
        if (r->start_ms == l->window_start[key->window]) {
            return old;
        }
        if (r->open == 0 && np_lease_clean(l, r)) {
            start(l, old, key, prefix, name);
            return old;
        }
    }
    uint32_t number = take(l);
    if (number == NP_LEDGER_NONE) {
        return number;
    }
    if (old != NP_LEDGER_NONE) {
        /* Its last money goes to the store with the next round. */
        np_record_at(l, old)->current = false;
        np_record_list(l, old);
    }
    start(l, number, key, prefix, name);
    *place_find(l, key) = number + 1; /* taking may have moved it */
    return number;
}

struct np_record *np_record_find(const struct np_ledger *l, const struct np_account_key *key,
                                 int64_t start_ms)
{
    uint32_t place = *place_find(l, key);
    struct np_record *r = place ? np_record_at(l, place - 1) : NULL;
    return r && r->start_ms == start_ms ? r : NULL;
}

void np_record_drop(struct np_ledger *l, uint32_t number)
{
    const struct np_record *r = np_record_at(l, number);
    if (!r->current && r->open == 0 && np_lease_clean(l, r)) {
        give_back(l, number);
    }
}

void np_record_list(struct np_ledger *l, uint32_t number)
{
    struct np_record *r = np_record_at(l, number);
    if (r->listed || l->store->ops->immediate) {
        return;
    }
    r->listed = true;
    r->next_listed = NP_LEDGER_NONE;
    if (l->first_listed == NP_LEDGER_NONE) {
        l->first_listed = number;
    } else {
        np_record_at(l, l->last_listed)->next_listed = number;
    }
    l->last_listed = number;
}
