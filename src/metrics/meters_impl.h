/* What the files of metrics/ share: the table of families and a thread's two tables of series.
 *
 * A series' key packs family, a, b and c into one word that is never 0. Both tables are open
 * addressing of fixed size with linear probing; only the owner inserts, keys never leave, a key is
 * published (release) after its value. Readers load keys with acquire and stop at the first 0. */
#ifndef NP_METRICS_METERS_IMPL_H
#define NP_METRICS_METERS_IMPL_H

#include "metrics/meters.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define NP_METER_COUNTERS 4096 /* places; a power of two, at most three quarters are taken */
#define NP_METER_HISTS 1024
#define NP_METER_BUCKETS 24 /* bounds of a histogram at most */

enum np_meter_type { NP_METER_COUNTER, NP_METER_GAUGE, NP_METER_HIST };

struct np_meter_label {
    enum np_label_kind kind;
    const char *name;         /* unused with NP_LABEL_PAIR */
    const char *const *texts; /* NP_LABEL_TEXT */
    uint32_t n_texts;
};

struct np_meter_family {
    const char *name, *help;
    enum np_meter_type type;
    enum np_unit unit;
    const struct np_meter_label *labels; /* three */
};

/* Upper bounds of a histogram's buckets, ascending, as stored. */
struct np_meter_buckets {
    const int64_t *bounds;
    size_t n;
};

extern const struct np_meter_family np_meter_families[NP_FAMILY_COUNT];
extern const struct np_meter_buckets np_meter_buckets[NP_FAMILY_COUNT]; /* n 0: no histogram */

/* How many values a label of a closed set has; 0: the set is open, or the label is NONE. */
uint32_t np_meter_label_count(const struct np_meter_label *l);

struct np_meter_hist {
    _Atomic uint64_t count[NP_METER_BUCKETS + 1]; /* each bucket by itself; the last is +Inf's */
    _Atomic int64_t sum;
};

struct np_meter_cell {
    _Atomic uint64_t key;
    _Atomic int64_t value;
};

struct np_meter_hist_cell {
    _Atomic uint64_t key;
    struct np_meter_hist *_Atomic hist;
};

struct np_meters {
    struct np_meter_cell counter[NP_METER_COUNTERS];
    struct np_meter_hist_cell hist[NP_METER_HISTS];
    uint32_t n_counters, n_hists; /* the owner's */
    _Atomic uint64_t lost;
};

static inline uint64_t np_meter_key(enum np_family f, uint32_t a, uint32_t b, uint32_t c)
{
    return ((uint64_t)f + 1) << 48 | (uint64_t)a << 32 | (uint64_t)b << 16 | c;
}

static inline enum np_family np_meter_key_family(uint64_t key)
{
    return (enum np_family)((key >> 48) - 1);
}

/* The i-th label number of a key, i below 3. */
static inline uint32_t np_meter_key_label(uint64_t key, unsigned i)
{
    return (uint32_t)(key >> (32 - 16 * i)) & 0xffff;
}

/* Appends value · 10^-decimals in full, without zeros at its end. */
void np_prom_decimal(struct np_buf *out, int64_t value, unsigned decimals);

#endif
