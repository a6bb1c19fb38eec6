/* A thread's meters: adding and observing, and the sum of one series over threads. */
#include "metrics/meters_impl.h"

#include <stdlib.h>

#define COUNTERS_MOST (NP_METER_COUNTERS / 4 * 3)
#define HISTS_MOST (NP_METER_HISTS / 4 * 3)

/* Fibonacci hashing: the high bits of the product. */
static uint32_t place_of(uint64_t key, uint32_t places)
{
    uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 40) & (places - 1);
}

static void lose(struct np_meters *m)
{
    uint64_t lost = atomic_load_explicit(&m->lost, memory_order_relaxed);
    atomic_store_explicit(&m->lost, lost + 1, memory_order_relaxed);
}

/* The place of a key, made if it is new; NULL when the table is full. */
static struct np_meter_cell *counter_of(struct np_meters *m, uint64_t key)
{
    uint32_t i = place_of(key, NP_METER_COUNTERS);
    for (;; i = (i + 1) & (NP_METER_COUNTERS - 1)) {
        struct np_meter_cell *c = &m->counter[i];
        uint64_t has = atomic_load_explicit(&c->key, memory_order_relaxed);
        if (has == key) {
            return c;
        }
        if (has == 0) {
            if (m->n_counters == COUNTERS_MOST) {
                return NULL;
            }
            m->n_counters++;
            atomic_store_explicit(&c->key, key, memory_order_release);
            return c;
        }
    }
}

static struct np_meter_hist *hist_of(struct np_meters *m, uint64_t key)
{
    uint32_t i = place_of(key, NP_METER_HISTS);
    for (;; i = (i + 1) & (NP_METER_HISTS - 1)) {
        struct np_meter_hist_cell *c = &m->hist[i];
        uint64_t has = atomic_load_explicit(&c->key, memory_order_relaxed);
        if (has == key) {
            return atomic_load_explicit(&c->hist, memory_order_relaxed);
        }
        if (has == 0) {
            struct np_meter_hist *h =
                m->n_hists == HISTS_MOST ? NULL : calloc(1, sizeof(struct np_meter_hist));
            if (h) {
                m->n_hists++;
                atomic_store_explicit(&c->hist, h, memory_order_relaxed);
                atomic_store_explicit(&c->key, key, memory_order_release);
            }
            return h;
        }
    }
}

/* Makes the series of families whose labels are closed sets, at 0: what never happened is shown as
 * never, and the first time is a rise. */
static void fill_closed(struct np_meters *m, enum np_family f)
{
    const struct np_meter_family *family = &np_meter_families[f];
    uint32_t n_a = np_meter_label_count(&family->labels[0]);
    uint32_t n_b = np_meter_label_count(&family->labels[1]);
    if (family->type != NP_METER_COUNTER || n_a == 0 ||
        (n_b == 0 && family->labels[1].kind != NP_LABEL_NONE)) {
        return;
    }
    for (uint32_t a = 0; a < n_a; a++) {
        for (uint32_t b = 0; b < (n_b ? n_b : 1); b++) {
            np_meter_add(m, f, a, b, 0, 0);
        }
    }
}

struct np_meters *np_meters_new(void)
{
    struct np_meters *m = calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    for (unsigned f = 0; f < NP_FAMILY_COUNT; f++) {
        fill_closed(m, (enum np_family)f);
    }
    return m;
}

void np_meters_free(struct np_meters *m)
{
    if (!m) {
        return;
    }
    for (size_t i = 0; i < NP_METER_HISTS; i++) {
        free(atomic_load_explicit(&m->hist[i].hist, memory_order_relaxed));
    }
    free(m);
}

void np_meter_add(struct np_meters *m, enum np_family f, uint32_t a, uint32_t b, uint32_t c,
                  int64_t amount)
{
    np_require((unsigned)f < NP_FAMILY_COUNT && (a | b | c) < 65536 &&
               np_meter_families[f].type != NP_METER_HIST);
    struct np_meter_cell *cell = counter_of(m, np_meter_key(f, a, b, c));
    if (!cell) {
        lose(m);
        return;
    }
    int64_t was = atomic_load_explicit(&cell->value, memory_order_relaxed);
    atomic_store_explicit(&cell->value, was + amount, memory_order_relaxed);
}

/* The first bucket whose bound is not below the value; n when all are. */
static size_t bucket_of(const struct np_meter_buckets *b, int64_t value)
{
    size_t low = 0, high = b->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (b->bounds[middle] < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A negative value counts as 0. */
void np_meter_observe(struct np_meters *m, enum np_family f, uint32_t a, uint32_t b, int64_t value)
{
    np_require((unsigned)f < NP_FAMILY_COUNT && (a | b) < 65536 &&
               np_meter_families[f].type == NP_METER_HIST);
    struct np_meter_hist *h = hist_of(m, np_meter_key(f, a, b, 0));
    if (!h) {
        lose(m);
        return;
    }
    value = value < 0 ? 0 : value;
    _Atomic uint64_t *count = &h->count[bucket_of(&np_meter_buckets[f], value)];
    uint64_t was = atomic_load_explicit(count, memory_order_relaxed);
    int64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    atomic_store_explicit(&h->sum, sum + value, memory_order_relaxed);
    atomic_store_explicit(count, was + 1, memory_order_relaxed);
}

/* --- reading, from any thread ------------------------------------------------------------------- */

static int64_t hist_total(const struct np_meter_hist *h)
{
    int64_t total = 0;
    for (size_t i = 0; i <= NP_METER_BUCKETS; i++) {
        total += (int64_t)atomic_load_explicit(&h->count[i], memory_order_relaxed);
    }
    return total;
}

static int64_t counter_read(const struct np_meters *m, uint64_t key)
{
    uint32_t i = place_of(key, NP_METER_COUNTERS);
    for (;; i = (i + 1) & (NP_METER_COUNTERS - 1)) {
        uint64_t has = atomic_load_explicit(&m->counter[i].key, memory_order_acquire);
        if (has == key) {
            return atomic_load_explicit(&m->counter[i].value, memory_order_relaxed);
        }
        if (has == 0) {
            return 0;
        }
    }
}

static int64_t hist_read(const struct np_meters *m, uint64_t key)
{
    uint32_t i = place_of(key, NP_METER_HISTS);
    for (;; i = (i + 1) & (NP_METER_HISTS - 1)) {
        uint64_t has = atomic_load_explicit(&m->hist[i].key, memory_order_acquire);
        if (has == key) {
            return hist_total(atomic_load_explicit(&m->hist[i].hist, memory_order_relaxed));
        }
        if (has == 0) {
            return 0;
        }
    }
}

int64_t np_meters_sum(struct np_meters *const *all, size_t n, enum np_family f, uint32_t a,
                      uint32_t b, uint32_t c)
{
    np_require((unsigned)f < NP_FAMILY_COUNT && (a | b | c) < 65536);
    uint64_t key = np_meter_key(f, a, b, c);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += np_meter_families[f].type == NP_METER_HIST ? hist_read(all[i], key)
                                                          : counter_read(all[i], key);
    }
    return sum;
}
