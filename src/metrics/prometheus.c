/* Prometheus text 0.0.4. Series of all threads are gathered, sorted by key (so by family, then by
 * slots) and merged; numbers are printed in full from whole nano-units. */
#include "metrics/meters_impl.h"

#include "base/intern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LABELS_MAX_BYTES 8192

/* --- samples ------------------------------------------------------------------------------------ */

static void put_decimal(struct np_buf *out, uint64_t value, unsigned decimals)
{
    char digits[32];
    size_t at = sizeof digits;
    bool trim = true; /* zeros at the end of the fraction */
    for (unsigned i = 0; i < decimals; i++, value /= 10) {
        char digit = (char)('0' + value % 10);
        if (!trim || digit != '0') {
            digits[--at] = digit;
            trim = false;
        }
    }
    if (!trim) {
        digits[--at] = '.';
    }
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    np_buf_put(out, digits + at, sizeof digits - at);
}

void np_prom_decimal(struct np_buf *out, int64_t value, unsigned decimals)
{
    if (value < 0) {
        np_buf_char(out, '-');
    }
    put_decimal(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, decimals);
}

static void put_escaped(struct np_buf *out, const char *s, bool quotes)
{
    for (; *s; s++) {
        if (*s == '\n') {
            np_buf_puts(out, "\\n");
            continue;
        }
        if (*s == '\\' || (quotes && *s == '"')) {
            np_buf_char(out, '\\');
        }
        np_buf_char(out, *s);
    }
}

void np_prom_head(struct np_buf *out, const char *name, const char *type, const char *help)
{
    np_buf_puts(out, "# HELP ");
    np_buf_puts(out, name);
    np_buf_char(out, ' ');
    put_escaped(out, help, false);
    np_buf_puts(out, "\n# TYPE ");
    np_buf_puts(out, name);
    np_buf_char(out, ' ');
    np_buf_puts(out, type);
    np_buf_char(out, '\n');
}

static void put_name(struct np_buf *out, const char *name, const char *labels)
{
    np_buf_puts(out, name);
    if (labels && *labels) {
        np_buf_char(out, '{');
        np_buf_puts(out, labels);
        np_buf_char(out, '}');
    }
    np_buf_char(out, ' ');
}

/* The shortest of 15 or 17 digits that reads back the same. */
void np_prom_f64(struct np_buf *out, const char *name, const char *labels, double v)
{
    put_name(out, name, labels);
    if (isnan(v)) {
        np_buf_puts(out, "NaN\n");
        return;
    }
    if (isinf(v)) {
        np_buf_puts(out, v > 0 ? "+Inf\n" : "-Inf\n");
        return;
    }
    char text[32];
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v) {
        snprintf(text, sizeof text, "%.17g", v);
    }
    np_buf_puts(out, text);
    np_buf_char(out, '\n');
}

static void put_sample(struct np_buf *out, const char *name, const char *labels, int64_t v,
                       unsigned decimals)
{
    put_name(out, name, labels);
    np_prom_decimal(out, v, decimals);
    np_buf_char(out, '\n');
}

void np_prom_i64(struct np_buf *out, const char *name, const char *labels, int64_t v)
{
    put_sample(out, name, labels, v, 0);
}

void np_prom_nusd(struct np_buf *out, const char *name, const char *labels, int64_t nusd)
{
    put_sample(out, name, labels, nusd, 9);
}

static void put_label_head(struct np_buf *out, const char *name)
{
    if (out->n > 0) {
        np_buf_char(out, ',');
    }
    np_buf_puts(out, name);
    np_buf_puts(out, "=\"");
}

void np_prom_label(struct np_buf *out, const char *name, const char *value)
{
    put_label_head(out, name);
    put_escaped(out, value, true);
    np_buf_char(out, '"');
}

/* --- labels of series --------------------------------------------------------------------------- */

static const char *slot_name(const struct np_intern *t, uint32_t slot)
{
    return slot < np_intern_count(t) ? np_intern_name(t, slot) : "unknown";
}

/* The pair's name is "provider/model"; only models have slashes in their names. */
static void label_pair(struct np_buf *labels, const char *pair)
{
    const char *slash = strchr(pair, '/');
    if (!slash) {
        np_prom_label(labels, "provider", pair);
        np_prom_label(labels, "model", "");
        return;
    }
    put_label_head(labels, "provider");
    for (const char *p = pair; p < slash; p++) {
        put_escaped(labels, (const char[]){*p, '\0'}, true);
    }
    np_buf_char(labels, '"');
    np_prom_label(labels, "model", slash + 1);
}

/* The text of a label's number; NULL where the number itself is shown. */
static const char *label_text(const struct np_meter_label *l, uint32_t v,
                              const struct np_slots *slots)
{
    switch (l->kind) {
    case NP_LABEL_PROVIDER:
        return slot_name(slots->providers, v);
    case NP_LABEL_ENDPOINT:
        return slot_name(slots->endpoints, v);
    case NP_LABEL_HOOK:
        return v < NP_HOOK_COUNT ? np_hook_name((enum np_hook)v) : "unknown";
    case NP_LABEL_CLASS:
        return v < NP_CLASS_COUNT ? np_class_name((enum np_class)v) : "unknown";
    case NP_LABEL_SKIP:
        return v < NP_SKIP_COUNT ? np_skip_name((enum np_skip)v) : "unknown";
    case NP_LABEL_REASON:
        return v < NP_REASON_COUNT ? np_reason_name((enum np_reason)v) : "unknown";
    case NP_LABEL_TRUTH:
        return v ? "true" : "false";
    case NP_LABEL_TEXT:
        return v < l->n_texts ? l->texts[v] : "unknown";
    default:
        return NULL;
    }
}

static void put_labels(struct np_buf *labels, uint64_t key, const struct np_slots *slots)
{
    const struct np_meter_family *family = &np_meter_families[np_meter_key_family(key)];
    np_buf_reset(labels);
    for (unsigned i = 0; i < 3; i++) {
        const struct np_meter_label *l = &family->labels[i];
        uint32_t v = np_meter_key_label(key, i);
        if (l->kind == NP_LABEL_PAIR) {
            label_pair(labels, slot_name(slots->pairs, v));
        } else if (l->kind != NP_LABEL_NONE) {
            const char *text = label_text(l, v, slots);
            char number[16];
            if (!text) {
                snprintf(number, sizeof number, "%u", v);
            }
            np_prom_label(labels, l->name, text ? text : number);
        }
    }
    np_buf_char(labels, '\0');
}

/* --- series ------------------------------------------------------------------------------------- */

struct series {
    uint64_t key;
    int64_t value;
    const struct np_meter_hist *hist; /* NULL: value */
};

static unsigned decimals_of(enum np_unit unit)
{
    return unit == NP_UNIT_COUNT ? 0 : unit == NP_UNIT_MS ? 6 : 9;
}

/* Writes what `run`, all of one key, adds up to. */
static void put_hist(struct np_buf *out, const struct np_meter_family *family,
                     const struct np_meter_buckets *buckets, const struct series *run, size_t n,
                     const char *labels)
{
    uint64_t count[NP_METER_BUCKETS + 1] = {0};
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= buckets->n; k++) {
            count[k] += atomic_load_explicit(&run[i].hist->count[k], memory_order_relaxed);
        }
        sum += atomic_load_explicit(&run[i].hist->sum, memory_order_relaxed);
    }
    unsigned decimals = decimals_of(family->unit);
    uint64_t total = 0;
    for (size_t k = 0; k <= buckets->n; k++) {
        total += count[k];
        np_buf_puts(out, family->name);
        np_buf_puts(out, "_bucket{");
        np_buf_puts(out, labels);
        np_buf_puts(out, ",le=\"");
        if (k < buckets->n) {
            np_prom_decimal(out, buckets->bounds[k], decimals);
        } else {
            np_buf_puts(out, "+Inf");
        }
        np_buf_puts(out, "\"} ");
        np_prom_decimal(out, (int64_t)total, 0);
        np_buf_char(out, '\n');
    }
    np_buf_puts(out, family->name);
    put_sample(out, "_sum", labels, sum, decimals);
    np_buf_puts(out, family->name);
    put_sample(out, "_count", labels, (int64_t)total, 0);
}

static void put_run(struct np_buf *out, const struct series *run, size_t n, const char *labels)
{
    enum np_family f = np_meter_key_family(run->key);
    const struct np_meter_family *family = &np_meter_families[f];
    if (family->type == NP_METER_HIST) {
        put_hist(out, family, &np_meter_buckets[f], run, n, labels);
        return;
    }
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += run[i].value;
    }
    put_sample(out, family->name, labels, sum, decimals_of(family->unit));
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct series *)a)->key, y = ((const struct series *)b)->key;
    return (x > y) - (x < y);
}

/* Gathers at most max series of one thread; with into NULL it only counts. */
static size_t gather(const struct np_meters *m, struct series *into, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < NP_METER_COUNTERS && n < max; i++) {
        uint64_t key = atomic_load_explicit(&m->counter[i].key, memory_order_acquire);
        if (key && into) {
            int64_t v = atomic_load_explicit(&m->counter[i].value, memory_order_relaxed);
            into[n] = (struct series){.key = key, .value = v};
        }
        n += key != 0;
    }
    for (size_t i = 0; i < NP_METER_HISTS && n < max; i++) {
        uint64_t key = atomic_load_explicit(&m->hist[i].key, memory_order_acquire);
        if (key && into) {
            const struct np_meter_hist *h =
                atomic_load_explicit(&m->hist[i].hist, memory_order_relaxed);
            into[n] = (struct series){.key = key, .hist = h};
        }
        n += key != 0;
    }
    return n;
}

static void put_all(struct np_buf *out, const struct series *all, size_t n,
                    const struct np_slots *slots)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct np_buf labels;
    np_buf_init(&labels, LABELS_MAX_BYTES);
    unsigned before = NP_FAMILY_COUNT;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && all[end].key == all[i].key; end++) {
        }
        enum np_family f = np_meter_key_family(all[i].key);
        if (f != before) {
            const struct np_meter_family *family = &np_meter_families[f];
            np_prom_head(out, family->name, types[family->type], family->help);
            before = f;
        }
        put_labels(&labels, all[i].key, slots);
        if (np_buf_failed(&labels)) {
            out->failed = true;
            break;
        }
        put_run(out, all + i, end - i, labels.p);
    }
    np_buf_free(&labels);
}

void np_prometheus_write(struct np_buf *out, struct np_meters *const *all, size_t n,
                         const struct np_slots *slots)
{
    size_t most = 0, got = 0;
    for (size_t i = 0; i < n; i++) {
        most += gather(all[i], NULL, SIZE_MAX);
    }
    struct series *series = most > 0 ? malloc(most * sizeof *series) : NULL;
    if (most > 0 && !series) {
        out->failed = true;
        return;
    }
    uint64_t lost = 0;
    for (size_t i = 0; i < n; i++) {
        /* What came since it was counted waits for the next time. */
        got += gather(all[i], series + got, most - got);
        lost += atomic_load_explicit(&all[i]->lost, memory_order_relaxed);
    }
    if (got > 0) {
        qsort(series, got, sizeof *series, by_key);
        put_all(out, series, got, slots);
    }
    free(series);
    np_prom_head(out, "neap_meter_lost_total", "counter",
                 "Additions to series for which a thread's table had no place.");
    np_prom_i64(out, "neap_meter_lost_total", NULL, (int64_t)lost);
}
