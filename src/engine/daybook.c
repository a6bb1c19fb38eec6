/* The daybook: entering and looking up. */
#include "engine/daybook_impl.h"

#include "base/clock.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PLACES 64
#define OTHERS "(others)"

struct np_daybook *np_daybook_new(void)
{
    struct np_daybook *b = calloc(1, sizeof *b);
    if (b)
        b->last_report = -1;
    return b;
}

static void day_clear(struct np_day *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->entry[i].name);
    free(d->entry);
    free(d->place);
    *d = (struct np_day){0};
}

void np_daybook_free(struct np_daybook *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n_endpoints; i++) {
        for (size_t k = 0; k < NP_DAYBOOK_HOURS; k++)
            free(b->endpoint[i]->hour[k].bins);
        free(b->endpoint[i]->path);
        free(b->endpoint[i]);
    }
    for (size_t i = 0; i < NP_DAYBOOK_DAYS; i++)
        day_clear(&b->day[i]);
    free(b);
}

int64_t np_day_of(int64_t wall_ms)
{
    return wall_ms / NP_MS_PER_DAY;
}

/* --- hours ------------------------------------------------------------------------------------------ */

static struct np_hours *find_hours(const struct np_daybook *b, const char *path)
{
    for (size_t i = 0; i < b->n_endpoints; i++) {
        if (strcmp(b->endpoint[i]->path, path) == 0)
            return b->endpoint[i];
    }
    return NULL;
}

struct np_hours *np_daybook_hours(struct np_daybook *b, const char *path)
{
    struct np_hours *h = find_hours(b, path);
    if (h || b->n_endpoints == NP_MAX_ENDPOINTS)
        return h;
    h = calloc(1, sizeof *h);
    if (h && !(h->path = strdup(path))) {
        free(h);
        h = NULL;
    }
    if (h)
        b->endpoint[b->n_endpoints++] = h;
    return h;
}

struct np_hour *np_daybook_hour(struct np_hours *h, int64_t hour, int64_t wall_ms)
{
    int64_t now = wall_ms / NP_HOUR_MS;
    if (hour <= 0 || hour <= now - NP_DAYBOOK_HOURS || hour > now + 24)
        return NULL;
    struct np_hour *cell = &h->hour[hour % NP_DAYBOOK_HOURS];
    if (cell->hour != hour) {
        free(cell->bins);
        *cell = (struct np_hour){.hour = hour};
    }
    return cell;
}

static uint32_t count_of(const struct np_hist *h, size_t bucket)
{
    return atomic_load_explicit(&h->count[bucket], memory_order_relaxed);
}

static void inflate(const struct np_hour *h, struct np_hist *out)
{
    np_hist_clear(out);
    for (size_t i = 0; i < h->n_bins; i++)
        atomic_store_explicit(&out->count[h->bins[i].bucket], h->bins[i].n, memory_order_relaxed);
}

bool np_hour_merge(struct np_hour *h, const struct np_hist *latency)
{
    struct np_hist all;
    size_t n = 0;
    inflate(h, &all);
    np_hist_merge(&all, latency);
    for (size_t i = 0; i < NP_HIST_BUCKETS; i++)
        n += count_of(&all, i) > 0;
    if (n > h->n_bins) {
        struct np_bin *bins = realloc(h->bins, n * sizeof *bins);
        if (!bins)
            return false;
        h->bins = bins;
    }
    h->n_bins = 0;
    for (uint32_t i = 0; i < NP_HIST_BUCKETS; i++) {
        if (count_of(&all, i) > 0)
            h->bins[h->n_bins++] = (struct np_bin){i, count_of(&all, i)};
    }
    return true;
}

static void add_recent(struct np_hours *h, const struct np_hist *latency, int64_t wall_ms)
{
    int64_t five = wall_ms / NP_FIVE_MS;
    struct np_five *f = &h->recent[five % 3];
    if (f->five != five) {
        np_hist_clear(&f->hist);
        f->five = five;
    }
    np_hist_merge(&f->hist, latency);
}

static void pour_endpoint(struct np_daybook *b, const struct np_till_row *r, const char *path,
                          int64_t wall_ms)
{
    struct np_hours *h = np_daybook_hours(b, path);
    struct np_hour *cell = h ? np_daybook_hour(h, r->hour, wall_ms) : NULL;
    if (!cell)
        return;
    np_till_sum_add(&cell->sum, &r->sum);
    if (r->latency) {
        (void)np_hour_merge(cell, r->latency);
        add_recent(h, r->latency, wall_ms);
    }
}

/* --- days ------------------------------------------------------------------------------------------- */

static struct np_day *find_day(const struct np_daybook *b, int64_t day)
{
    const struct np_day *d = &b->day[day % NP_DAYBOOK_DAYS];
    return day > 0 && d->day == day ? (struct np_day *)d : NULL;
}

struct np_day *np_daybook_open(struct np_daybook *b, int64_t day, int64_t wall_ms)
{
    int64_t today = np_day_of(wall_ms);
    if (day <= 0 || day <= today - NP_DAYBOOK_DAYS || day > today + 1)
        return NULL;
    struct np_day *d = &b->day[day % NP_DAYBOOK_DAYS];
    if (d->day != day) {
        day_clear(d);
        d->day = day;
    }
    return d;
}

static size_t hash_of(enum np_day_kind kind, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) + (uint64_t)kind;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static uint32_t *find(const struct np_day *d, enum np_day_kind kind, const char *name)
{
    size_t mask = d->n_places - 1, at = hash_of(kind, name) & mask;
    for (; d->place[at]; at = (at + 1) & mask) {
        const struct np_day_entry *e = &d->entry[d->place[at] - 1];
        if (e->kind == kind && strcmp(e->name, name) == 0)
            break;
    }
    return &d->place[at];
}

static bool grow(struct np_day *d)
{
    if (2 * (d->n + 1) <= d->n_places)
        return true;
    size_t n = d->n_places ? 2 * d->n_places : FIRST_PLACES;
    uint32_t *place = calloc(n, sizeof *place);
    struct np_day_entry *entry = place ? realloc(d->entry, n / 2 * sizeof *entry) : NULL;
    if (!entry) {
        free(place);
        return false;
    }
    free(d->place);
    d->place = place;
    d->n_places = n;
    d->entry = entry;
    for (size_t i = 0; i < d->n; i++)
        *find(d, entry[i].kind, entry[i].name) = (uint32_t)i + 1;
    return true;
}

struct np_day_entry *np_daybook_entry(struct np_daybook *b, int64_t day, enum np_day_kind kind,
                                      const char *name, int64_t wall_ms)
{
    struct np_day *d = np_daybook_open(b, day, wall_ms);
    if (!d || !grow(d))
        return NULL;
    uint32_t *place = find(d, kind, name);
    if (!*place && d->n >= NP_DAYBOOK_ROWS && strcmp(name, OTHERS) != 0)
        return np_daybook_entry(b, day, kind, OTHERS, wall_ms);
    if (!*place) {
        char *own = strdup(name);
        if (!own)
            return NULL;
        d->entry[d->n++] = (struct np_day_entry){.kind = kind, .name = own};
        *place = (uint32_t)d->n;
    }
    return &d->entry[*place - 1];
}

static const char *name_of(const struct np_till_row *r, const struct np_slots *slots)
{
    if (r->slot == NP_TILL_OTHERS)
        return OTHERS;
    return np_intern_name(r->kind == NP_TILL_ENDPOINT ? slots->endpoints
                          : r->kind == NP_TILL_MODEL  ? slots->pairs
                                                      : slots->tenants,
                          r->slot);
}

void np_daybook_pour(struct np_daybook *b, const struct np_till_rows *rows,
                     const struct np_slots *slots, int64_t wall_ms)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct np_till_row *r = &rows->row[i];
        const char *name = name_of(r, slots);
        if (r->kind == NP_TILL_ENDPOINT) {
            pour_endpoint(b, r, name, wall_ms);
            continue;
        }
        enum np_day_kind kind = r->kind == NP_TILL_MODEL ? NP_DAY_MODEL : NP_DAY_TENANT;
        struct np_day_entry *e = np_daybook_entry(b, r->hour / 24, kind, name, wall_ms);
        if (e)
            np_till_sum_add(&e->sum, &r->sum);
    }
}

void np_daybook_accounts(struct np_daybook *b, const struct np_account_view *views, size_t n,
                         int64_t wall_ms)
{
    for (size_t i = 0; i < n; i++) {
        const struct np_account_view *v = &views[i];
        if (v->window == NP_WINDOW_MINUTE || v->window == NP_WINDOW_HOUR || v->spent_nusd == 0)
            continue;
        struct np_day_entry *e =
            np_daybook_entry(b, np_day_of(wall_ms), NP_DAY_BUDGET, v->name, wall_ms);
        if (!e)
            continue;
        e->sum.cost_nusd = v->spent_nusd;
        e->limit_nusd = v->limit_nusd;
    }
}

/* --- latency ---------------------------------------------------------------------------------------- */

static double p95_ms_of(const struct np_hist *h)
{
    return (double)np_hist_quantile(h, 0.95) / (double)NP_NS_PER_MS;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The median of the days' p95 in the hour of wall_ms: one bad day moves it little. */
static void usual(const struct np_hours *h, int64_t wall_ms, struct np_daybook_p95 *out)
{
    double days[NP_DAYBOOK_TRAIL];
    for (int64_t back = 1; back <= NP_DAYBOOK_TRAIL; back++) {
        int64_t hour = wall_ms / NP_HOUR_MS - back * 24;
        const struct np_hour *cell = &h->hour[hour % NP_DAYBOOK_HOURS];
        struct np_hist all;
        if (hour <= 0 || cell->hour != hour)
            continue;
        inflate(cell, &all);
        if (np_hist_total(&all) >= NP_DAYBOOK_LEAST_A_DAY)
            days[out->days++] = p95_ms_of(&all);
    }
    if (out->days < NP_DAYBOOK_LEAST_DAYS)
        return;
    qsort(days, out->days, sizeof *days, by_size);
    out->usual_ms =
        out->days % 2 ? days[out->days / 2] : (days[out->days / 2 - 1] + days[out->days / 2]) / 2;
}

void np_daybook_p95(const struct np_daybook *b, const char *path, int64_t wall_ms,
                    struct np_daybook_p95 *out)
{
    const struct np_hours *h = find_hours(b, path);
    int64_t five = wall_ms / NP_FIVE_MS;
    struct np_hist all;
    *out = (struct np_daybook_p95){.now_ms = -1, .usual_ms = -1};
    if (!h)
        return;
    np_hist_clear(&all);
    for (size_t i = 0; i < 3; i++) {
        if (h->recent[i].five > five - 3 && h->recent[i].five <= five)
            np_hist_merge(&all, &h->recent[i].hist);
    }
    out->n = np_hist_total(&all);
    if (out->n >= NP_DAYBOOK_LEAST)
        out->now_ms = p95_ms_of(&all);
    usual(h, wall_ms, out);
}

/* --- a day ------------------------------------------------------------------------------------------ */

static int dearer_first(const void *a, const void *b)
{
    const struct np_day_row *x = a, *y = b;
    int order = (x->sum.cost_nusd < y->sum.cost_nusd) - (x->sum.cost_nusd > y->sum.cost_nusd);
    if (!order)
        order = (x->sum.n < y->sum.n) - (x->sum.n > y->sum.n);
    return order ? order : strcmp(x->name, y->name);
}

/* An endpoint's day from its hours. */
static struct np_day_row endpoint_day(const struct np_hours *h, int64_t day)
{
    struct np_day_row row = {.kind = NP_DAY_ENDPOINT, .name = h->path, .p95_ms = -1};
    struct np_hist all, one;
    np_hist_clear(&all);
    for (int64_t hour = day * 24; hour < day * 24 + 24; hour++) {
        const struct np_hour *cell = &h->hour[hour % NP_DAYBOOK_HOURS];
        if (cell->hour != hour)
            continue;
        np_till_sum_add(&row.sum, &cell->sum);
        inflate(cell, &one);
        np_hist_merge(&all, &one);
    }
    if (np_hist_total(&all) > 0)
        row.p95_ms = p95_ms_of(&all);
    return row;
}

static size_t collect(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                      struct np_day_row *rows)
{
    const struct np_day *d = find_day(b, day);
    size_t n = 0;
    for (size_t i = 0; kind == NP_DAY_ENDPOINT && i < b->n_endpoints; i++) {
        rows[n] = endpoint_day(b->endpoint[i], day);
        n += rows[n].sum.n > 0;
    }
    for (size_t i = 0; d && i < d->n; i++) {
        const struct np_day_entry *e = &d->entry[i];
        if (e->kind == kind)
            rows[n++] = (struct np_day_row){.kind = kind,
                                            .name = e->name,
                                            .sum = e->sum,
                                            .limit_nusd = e->limit_nusd,
                                            .p95_ms = -1};
    }
    return n;
}

size_t np_daybook_day(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                      struct np_day_row *out, size_t max)
{
    const struct np_day *d = find_day(b, day);
    struct np_day_row *rows = calloc(b->n_endpoints + (d ? d->n : 0) + 1, sizeof *rows);
    if (!rows)
        return 0;
    size_t n = collect(b, day, kind, rows);
    qsort(rows, n, sizeof *rows, dearer_first);
    memcpy(out, rows, (n < max ? n : max) * sizeof *rows);
    free(rows);
    return n;
}

struct np_till_sum np_daybook_sum(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                                  const char *name)
{
    const struct np_day *d = find_day(b, day);
    uint32_t place = d && d->n_places > 0 ? *find(d, kind, name) : 0;
    return place ? d->entry[place - 1].sum : (struct np_till_sum){0};
}

struct np_till_sum np_daybook_total(const struct np_daybook *b, int64_t day)
{
    struct np_till_sum sum = {0};
    for (size_t i = 0; i < b->n_endpoints; i++) {
        struct np_day_row row = endpoint_day(b->endpoint[i], day);
        np_till_sum_add(&sum, &row.sum);
    }
    return sum;
}

/* --- reports ---------------------------------------------------------------------------------------- */

bool np_daybook_due(struct np_daybook *b, int32_t minute, int64_t wall_ms, int64_t *day)
{
    int64_t today = np_day_of(wall_ms), last = today - 1;
    if (minute < 0) {
        b->last_report = last;
        return false;
    }
    if (wall_ms % NP_MS_PER_DAY / 60000 < minute)
        last--;
    if (b->last_report < 0) /* the first start: what was before is not known */
        b->last_report = np_daybook_total(b, last).n > 0 ? last - 1 : last;
    int64_t first = b->last_report + 1;
    if (first < today - NP_DAYBOOK_DAYS + 1)
        first = today - NP_DAYBOOK_DAYS + 1;
    while (first < last && np_daybook_total(b, first).n == 0)
        first++;
    *day = first;
    return first <= last;
}

void np_daybook_reported(struct np_daybook *b, int64_t day)
{
    b->last_report = day > b->last_report ? day : b->last_report;
}

int64_t np_daybook_last(const struct np_daybook *b)
{
    return b->last_report;
}

void np_label_brief(const char *label, char out[NP_LABEL_BYTES])
{
    size_t n = strlen(label), kept = NP_LABEL_BYTES - sizeof "...0123456789abcdef";
    if (n < NP_LABEL_BYTES)
        memcpy(out, label, n + 1);
    else
        (void)snprintf(out, NP_LABEL_BYTES, "%.*s...%016" PRIx64, (int)kept, label,
                       np_fnv1a(label, n));
}

/* A label as it stands in lists, with its newline; its length. */
static size_t as_listed(const char *label, char out[NP_LABEL_BYTES + 1])
{
    np_label_brief(label, out);
    size_t n = strlen(out);
    memcpy(out + n, "\n", 2);
    return n + 1;
}

static bool in_list(const char *list, const char *listed, size_t n)
{
    for (const char *p = list, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1) {
        if ((size_t)(nl + 1 - p) == n && memcmp(p, listed, n) == 0)
            return true;
    }
    return false;
}

bool np_label_in(const char *list, const char *label)
{
    char listed[NP_LABEL_BYTES + 1];
    return in_list(list, listed, as_listed(label, listed));
}

bool np_label_add(char *list, size_t size, const char *label)
{
    char listed[NP_LABEL_BYTES + 1];
    size_t more = as_listed(label, listed), n = strlen(list);
    np_require(size > NP_LABEL_BYTES);
    if (in_list(list, listed, more))
        return false;
    while (n + more + 1 > size) {
        const char *nl = strchr(list, '\n');
        size_t first = nl ? (size_t)(nl + 1 - list) : n;
        memmove(list, list + first, n - first + 1);
        n -= first;
    }
    memcpy(list + n, listed, more + 1);
    return true;
}

const char *np_daybook_sent_to(const struct np_daybook *b, int64_t day)
{
    const struct np_day *d = find_day(b, day);
    return d ? d->sent_to : "";
}

bool np_daybook_sent(struct np_daybook *b, int64_t day, const char *label, int64_t wall_ms)
{
    struct np_day *d = np_daybook_open(b, day, wall_ms);
    return d && np_label_add(d->sent_to, sizeof d->sent_to, label);
}
