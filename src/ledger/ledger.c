/* A ledger's making and end, who listens to it, and its totals. */
#include "ledger/ledger_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* A store that says nothing for this long counts as lost until it does: longer than a disk that is busy
 * with others takes for a sync. */
#define SILENT_NS NP_NS_PER_S

struct np_ledger *np_ledger_on(struct np_store *store, const struct np_clock *clock)
{
    struct np_ledger *l = store ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        goto free_store;
    }
    l->index = calloc(NP_LEDGER_INDEX, sizeof l->index[0]);
    if (!l->index) {
        goto free_ledger;
    }
    np_require(pthread_mutex_init(&l->lock, NULL) == 0);
    np_require(pthread_mutex_init(&l->news, NULL) == 0);
    l->store = store;
    l->clock = clock;
    l->free = l->first_listed = NP_LEDGER_NONE;
    l->wall_ms = INT64_MIN;
    l->swept_ms = INT64_MIN / 2;
    for (unsigned w = 0; w < NP_WINDOW_KINDS; w++) {
        l->window_end[w] = INT64_MIN;
    }
    atomic_init(&l->store_up, true);
    (void)snprintf(l->store_name, sizeof l->store_name, "%s", store->ops->name);
    return l;

free_ledger:
    free(l);
free_store:
    if (store) {
        store->ops->free(store);
    }
    return NULL;
}

struct np_ledger *np_ledger_new(void)
{
    return np_ledger_on(np_store_memory_new(), &np_clock_live);
}

void np_ledger_free(struct np_ledger *l)
{
    if (!l) {
        return;
    }
    np_require(!l->listeners);
    np_thread_free(l->thread);
    l->store->ops->free(l->store);
    np_rows_free(&l->rows);
    for (size_t i = 0; i < NP_LEDGER_RECORDS / NP_LEDGER_CHUNK; i++) {
        free(l->chunk[i]);
    }
    pthread_mutex_destroy(&l->news);
    pthread_mutex_destroy(&l->lock);
    free(l->index);
    free(l);
}

/* --- news ----------------------------------------------------------------------------------------- */

void np_ledger_listen(struct np_ledger *l, struct np_ledger_listener *listener)
{
    pthread_mutex_lock(&l->news);
    listener->next = l->listeners;
    l->listeners = listener;
    pthread_mutex_unlock(&l->news);
}

void np_ledger_unlisten(struct np_ledger *l, struct np_ledger_listener *listener)
{
    pthread_mutex_lock(&l->news);
    struct np_ledger_listener **at = &l->listeners;
    while (*at && *at != listener) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = listener->next;
    }
    pthread_mutex_unlock(&l->news);
}

bool np_ledger_store_up(struct np_ledger *l)
{
    uint64_t asked_ns = atomic_load_explicit(&l->asked_ns, memory_order_relaxed);
    if (!atomic_load_explicit(&l->store_up, memory_order_relaxed)) {
        return false;
    }
    return asked_ns == 0 || np_clock_mono_ns(l->clock) - asked_ns < SILENT_NS;
}

/* --- totals --------------------------------------------------------------------------------------- */

void np_ledger_totals(struct np_ledger *l, struct np_ledger_totals *out)
{
    for (size_t i = 0; i < 4; i++) {
        out->settled_nusd[i] = atomic_load_explicit(&l->settled_nusd[i], memory_order_relaxed);
    }
    out->excess_nusd = atomic_load_explicit(&l->excess_nusd, memory_order_relaxed);
    out->open_reservations = atomic_load_explicit(&l->open_reservations, memory_order_relaxed);
    out->double_ends = atomic_load_explicit(&l->double_ends, memory_order_relaxed);
    out->epoch_changes = atomic_load_explicit(&l->epoch_changes, memory_order_relaxed);
    out->clock_jumps = atomic_load_explicit(&l->clock_jumps, memory_order_relaxed);
    out->waits = atomic_load_explicit(&l->waits, memory_order_relaxed);
    out->store_up = np_ledger_store_up(l);
    out->store = l->store_name;
}
