/* What the files of the daybook share. */
#ifndef NP_ENGINE_DAYBOOK_IMPL_H
#define NP_ENGINE_DAYBOOK_IMPL_H

#include "engine/daybook.h"

#define NP_FIVE_MS INT64_C(300000)
#define NP_HOUR_MS INT64_C(3600000)

/* One bucket of a histogram that has something. */
struct np_bin {
    uint32_t bucket, n;
};

struct np_hour {
    int64_t hour; /* 0: empty */
    struct np_till_sum sum;
    struct np_bin *bins; /* by bucket */
    size_t n_bins;
};

struct np_hours {
    char *path;
    struct np_hour hour[NP_DAYBOOK_HOURS]; /* by hour modulo */
    struct np_five {
        int64_t five; /* which five minutes */
        struct np_hist hist;
    } recent[3];
};

struct np_day_entry {
    enum np_day_kind kind;
    char *name;
    struct np_till_sum sum;
    int64_t limit_nusd;
};

struct np_day {
    int64_t day;
    struct np_day_entry *entry;
    size_t n, max;
    uint32_t *place; /* an entry's number and one, by a hash of kind and name; 0: empty */
    size_t n_places;
    char sent_to[NP_LABELS_BYTES];
};

struct np_daybook {
    struct np_hours *endpoint[NP_MAX_ENDPOINTS];
    size_t n_endpoints;
    struct np_day day[NP_DAYBOOK_DAYS];
    int64_t last_report; /* -1: none was owed yet */
};

/* Those of a path, made on first sight; NULL without memory or place. */
struct np_hours *np_daybook_hours(struct np_daybook *b, const char *path);
/* The cell of an hour; NULL where it is too old, or lies more than a day ahead. */
struct np_hour *np_daybook_hour(struct np_hours *h, int64_t hour, int64_t wall_ms);
/* Adds a histogram's bins; false without memory. */
bool np_hour_merge(struct np_hour *h, const struct np_hist *latency);
/* The day's entry; NULL: the day is too old, or lies ahead, or there is no memory. */
struct np_day_entry *np_daybook_entry(struct np_daybook *b, int64_t day, enum np_day_kind kind,
                                      const char *name, int64_t wall_ms);
/* The day, made where it is not there; NULL: it is too old, or lies ahead. */
struct np_day *np_daybook_open(struct np_daybook *b, int64_t day, int64_t wall_ms);

#endif
