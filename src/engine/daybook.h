/* What was served and spent, for those who look back: endpoints by the hour over two weeks, with their
 * latencies as mergeable histograms, and by the day tenants, models and budgets. One thread's; time is
 * an argument, days and hours are UTC's.
 *
 * Bounded: NP_DAYBOOK_HOURS an endpoint; NP_DAYBOOK_DAYS days with at most NP_DAYBOOK_ROWS rows each, what
 * comes behind those goes to one row a kind, "(others)". What is older is forgotten. */
#ifndef NP_ENGINE_DAYBOOK_H
#define NP_ENGINE_DAYBOOK_H

#include "base/buf.h"
#include "guard/till.h"
#include "ledger/ledger.h"

#define NP_DAYBOOK_TRAIL 14 /* days that a latency is held against */
#define NP_DAYBOOK_HOURS ((NP_DAYBOOK_TRAIL + 1) * 24)
#define NP_DAYBOOK_DAYS 9 /* today and those that a report may still be owed for */
#define NP_DAYBOOK_ROWS 16384
#define NP_MS_PER_DAY INT64_C(86400000)

struct np_daybook;

/* NULL without memory. */
struct np_daybook *np_daybook_new(void);
void np_daybook_free(struct np_daybook *b);

/* Enters what tills took in; names by their slots. */
void np_daybook_pour(struct np_daybook *b, const struct np_till_rows *rows,
                     const struct np_slots *slots, int64_t wall_ms);
/* Notes where accounts of a day and longer stand; the last note of a day is how it ended. */
void np_daybook_accounts(struct np_daybook *b, const struct np_account_view *views, size_t n,
                         int64_t wall_ms);

/* --- latency ---------------------------------------------------------------------------------------- */

struct np_daybook_p95 {
    double now_ms;   /* of the last ten to fifteen minutes; -1: fewer than NP_DAYBOOK_LEAST */
    double usual_ms; /* the median day's, in this hour; -1: too little is known */
    uint64_t n;      /* requests of now */
    unsigned days;   /* of the trail that had NP_DAYBOOK_LEAST_A_DAY in this hour */
};
#define NP_DAYBOOK_LEAST 100
#define NP_DAYBOOK_LEAST_A_DAY 20
#define NP_DAYBOOK_LEAST_DAYS 3

void np_daybook_p95(const struct np_daybook *b, const char *path, int64_t wall_ms,
                    struct np_daybook_p95 *out);

/* --- a day ------------------------------------------------------------------------------------------ */

enum np_day_kind { NP_DAY_TENANT, NP_DAY_MODEL, NP_DAY_BUDGET, NP_DAY_ENDPOINT, NP_DAY_KINDS };

struct np_day_row {
    enum np_day_kind kind;
    const char *name;       /* the tenant, "provider/model", the account, the path; of the book */
    struct np_till_sum sum; /* of a budget cost_nusd is what it has spent in its window */
    int64_t limit_nusd;     /* of a budget */
    double p95_ms;          /* of an endpoint; -1: not known */
};

/* Counted from 1970. */
int64_t np_day_of(int64_t wall_ms);
/* The rows of a kind, those that cost most first; how many of them there are, of which the first `max`
 * were put to out. Without memory 0. */
size_t np_daybook_day(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                      struct np_day_row *out, size_t max);
/* The sum of one of them; of an endpoint none. */
struct np_till_sum np_daybook_sum(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                                  const char *name);
/* The sum over all endpoints. */
struct np_till_sum np_daybook_total(const struct np_daybook *b, int64_t day);

/* --- reports ---------------------------------------------------------------------------------------- */

/* The day whose report is owed at wall_ms, the oldest first; false: none. minute: of the day, UTC, at
 * which a report is made; -1: none is wanted, nor will be for the days before today. Days without a
 * request are passed over, but for the last. */
bool np_daybook_due(struct np_daybook *b, int32_t minute, int64_t wall_ms, int64_t *day);
/* The report of the day was made; the next is owed. */
void np_daybook_reported(struct np_daybook *b, int64_t day);
/* To whom a day's report went: labels, each with a newline behind it. */
const char *np_daybook_sent_to(const struct np_daybook *b, int64_t day);
/* False: it was noted before, or there is no room for the day. */
bool np_daybook_sent(struct np_daybook *b, int64_t day, const char *label, int64_t wall_ms);
/* Of the last report; -1: there was none. */
int64_t np_daybook_last(const struct np_daybook *b);

/* Lists of labels, each with a newline behind it; of a long one its beginning and a hash of all of it. So
 * a list has room for every sink that a policy set may name; of a full one the oldest goes. */
#define NP_LABEL_BYTES 40                         /* with the newline */
#define NP_LABELS_BYTES (17 * NP_LABEL_BYTES + 1) /* 16 sinks and the log */
void np_label_brief(const char *label, char out[NP_LABEL_BYTES]);
bool np_label_in(const char *list, const char *label);
/* False: it was in before. */
bool np_label_add(char *list, size_t size, const char *label);

/* --- over restarts ---------------------------------------------------------------------------------- */

/* The book as lines of text. */
void np_daybook_write(const struct np_daybook *b, struct np_buf *out);
/* Enters one such line; false: it is none, or too old. Where two lines tell of the same, the one that
 * counts more holds. */
bool np_daybook_read(struct np_daybook *b, const char *line, int64_t wall_ms);

#endif
