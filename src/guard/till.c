/* The till: rows in the order of their first entry, and an index of places by key that is at most half
 * full. */
#include "guard/till.h"

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MS_PER_HOUR 3600000
#define FIRST_PLACES 64

struct np_till {
    pthread_mutex_t lock;
    struct np_till_rows rows;
    uint32_t *place; /* a row's number and one; 0: empty */
    size_t n_places; /* a power of two; twice as many as rows have room */
};

struct np_till *np_till_new(void)
{
    struct np_till *t = calloc(1, sizeof *t);
    if (t) {
        np_require(pthread_mutex_init(&t->lock, NULL) == 0);
    }
    return t;
}

void np_till_rows_free(struct np_till_rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->row[i].latency);
    }
    free(r->row);
    *r = (struct np_till_rows){0};
}

void np_till_free(struct np_till *t)
{
    if (!t) {
        return;
    }
    np_till_rows_free(&t->rows);
    free(t->place);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void np_till_sum_add(struct np_till_sum *to, const struct np_till_sum *s)
{
    to->n += s->n;
    to->bad += s->bad;
    to->refused += s->refused;
    to->degraded += s->degraded;
    to->cost_nusd += s->cost_nusd;
    to->presumed_nusd += s->presumed_nusd;
}

static size_t hash_of(int64_t hour, enum np_till_kind kind, uint32_t slot)
{
    uint64_t h = ((uint64_t)slot << 2 | (uint64_t)kind) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (uint64_t)hour) * UINT64_C(0xd1b54a32d192ed03);
    return (size_t)(h >> 32);
}

/* The place of a row, or the empty one where it would be. */
static uint32_t *find(const struct np_till *t, int64_t hour, enum np_till_kind kind, uint32_t slot)
{
    size_t mask = t->n_places - 1, at = hash_of(hour, kind, slot) & mask;
    for (; t->place[at]; at = (at + 1) & mask) {
        const struct np_till_row *r = &t->rows.row[t->place[at] - 1];
        if (r->hour == hour && r->kind == kind && r->slot == slot) {
            break;
        }
    }
    return &t->place[at];
}

/* Room for one more row; false without memory. */
static bool grow(struct np_till *t)
{
    if (2 * (t->rows.n + 1) <= t->n_places) {
        return true;
    }
    size_t n = t->n_places ? 2 * t->n_places : FIRST_PLACES;
    uint32_t *place = calloc(n, sizeof *place);
    struct np_till_row *row = place ? realloc(t->rows.row, n / 2 * sizeof *t->rows.row) : NULL;
    if (!row) {
        free(place);
        return false;
    }
    free(t->place);
    t->place = place;
    t->n_places = n;
    t->rows.row = row;
    for (size_t i = 0; i < t->rows.n; i++) {
        *find(t, row[i].hour, row[i].kind, row[i].slot) = (uint32_t)i + 1;
    }
    return true;
}

/* The row of an entry; NULL without memory. */
static struct np_till_row *row_of(struct np_till *t, int64_t hour, enum np_till_kind kind,
                                  uint32_t slot)
{
    if (!grow(t)) {
        return NULL;
    }
    uint32_t *place = find(t, hour, kind, slot);
    if (!*place && t->rows.n >= NP_TILL_ROWS && slot != NP_TILL_OTHERS) {
        return row_of(t, hour, kind, NP_TILL_OTHERS);
    }
    if (!*place) {
        t->rows.row[t->rows.n++] = (struct np_till_row){.hour = hour, .kind = kind, .slot = slot};
        *place = (uint32_t)t->rows.n;
    }
    return &t->rows.row[*place - 1];
}

void np_till_add(struct np_till *t, int64_t wall_ms, const struct np_till_entry *e, size_t n)
{
    int64_t hour = wall_ms / MS_PER_HOUR;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < n; i++) {
        struct np_till_row *r = row_of(t, hour, e[i].kind, e[i].slot);
        if (!r) {
            t->rows.lost++;
            continue;
        }
        np_till_sum_add(&r->sum, &e[i].sum);
        if (e[i].latency_ns > 0 && !r->latency) {
            r->latency = calloc(1, sizeof *r->latency);
        }
        if (e[i].latency_ns > 0 && r->latency) {
            np_hist_add(r->latency, e[i].latency_ns);
        }
    }
    pthread_mutex_unlock(&t->lock);
}

void np_till_empty(struct np_till *t, struct np_till_rows *out)
{
    pthread_mutex_lock(&t->lock);
    uint32_t *place = t->place;
    *out = t->rows;
    t->rows = (struct np_till_rows){0};
    t->place = NULL;
    t->n_places = 0;
    pthread_mutex_unlock(&t->lock);
    free(place);
}
