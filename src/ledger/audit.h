/* Proving that the books agree: what the ledger's file holds, beside what decision records say that was
 * paid. The file is only read, a live instance may be writing it. Records are gathered in a temporary
 * database of SQLite's, so that a million of them need no memory. */
#ifndef NP_LEDGER_AUDIT_H
#define NP_LEDGER_AUDIT_H

#include "ledger/store.h"

struct np_audit;

/* Opens the file of a store ("sqlite:PATH", or the journal in `state` for a Redis). *why says what failed.
 * NP_E_NOTFOUND: there is no such file; NP_E_INVALID: it is no ledger, or of another schema. */
enum np_err np_audit_open(const char *store, const char *state, struct np_audit **out, char *why,
                          size_t size) NP_MUST_CHECK;
/* NULL is fine. */
void np_audit_free(struct np_audit *a);
/* The file's path; lives as long as the audit. */
const char *np_audit_path(const struct np_audit *a);
/* Whether a neap holds the file's lock. */
bool np_audit_alive(const struct np_audit *a);

/* Adds what a decision record says was paid for a request, which came at at_ms and took took_ms. */
enum np_err np_audit_record(struct np_audit *a, const char *request, int64_t at_ms,
                            int64_t cost_nusd) NP_MUST_CHECK;
/* ... and what of it one account ("tenant:acme/day") paid. Where the call went over the edge of a window
 * either window may have it. */
enum np_err np_audit_paid(struct np_audit *a, const char *account, int64_t at_ms, int64_t took_ms,
                          int64_t cost_nusd) NP_MUST_CHECK;

struct np_audit_sums {
    int64_t records, record_nusd; /* as taken */
    int64_t rows, row_nusd;       /* settlements in the file that records can know of */
    int64_t early, early_nusd;    /* those before the first record: not compared */
    int64_t all_nusd, total_nusd; /* all settlements, and the totals kept beside them */
    int64_t boot_nusd;            /* the totals of the last life */
    int64_t pruned;               /* settlements that were forgotten by their age */
    int64_t crashes;              /* lives that had no end */
};
enum np_err np_audit_sums(struct np_audit *a, struct np_audit_sums *out) NP_MUST_CHECK;

/* One account and window of this instance's file. */
struct np_audit_line {
    const char *account;
    int64_t start_ms;
    int64_t limit;
    int64_t leased;         /* granted - returned, of all instances */
    int64_t settled;        /* of all instances */
    int64_t own, recovered; /* settled by this instance; what of it stands for a death */
    int64_t paid, maybe;    /* by records; maybe: by those near an edge of the window */
    bool compared;          /* records go back to the window's beginning */
    const char *fault;      /* NULL: none */
};
struct np_audit_request {
    const char *request;
    int64_t row_nusd, record_nusd;
    bool crashed; /* in a life that had no end: one of the two may be lost */
};

/* Tells every account and window whose records are to be compared (`records`), the faulty and the
 * fullest first; *faults counts. */
enum np_err np_audit_accounts(struct np_audit *a, bool records, size_t *faults,
                              void (*tell)(void *ctx, const struct np_audit_line *line),
                              void *ctx) NP_MUST_CHECK;
/* Tells requests whose rows and records differ, the first of them by time, at most max; *faults counts
 * all that no crash explains, *lost those that one does. */
enum np_err np_audit_requests(struct np_audit *a, size_t max, size_t *faults, size_t *lost,
                              void (*tell)(void *ctx, const struct np_audit_request *r),
                              void *ctx) NP_MUST_CHECK;

/* --- a shared store, beside the journal ----------------------------------------------------------- */

struct np_audit_shared {
    const char *account;
    int64_t start_ms;
    size_t instances;
    int64_t limit;           /* by the journal */
    int64_t leased, settled; /* of all instances */
    int64_t own, journal; /* settled by this instance, as the store knows and as its journal does */
    const char *fault;    /* NULL: none */
    const char *note;     /* what differs and is no fault; NULL: nothing does */
};
struct np_audit_instance {
    char name[17];
    int64_t heard_ms; /* by the store's clock; 0: not since the store began */
    size_t holds;     /* accounts in which it has money that it has not spent */
    bool self;
};
#define NP_AUDIT_INSTANCES 64

/* Asks the store for every account and window in which this instance's journal has something, and tells
 * what it says; *faults counts. The instances are those that it named, at most NP_AUDIT_INSTANCES. */
enum np_err np_audit_store(struct np_audit *a, const char *store, size_t *faults,
                           void (*tell)(void *ctx, const struct np_audit_shared *line), void *ctx,
                           struct np_audit_instance *instances, size_t *n_instances, char *why,
                           size_t size) NP_MUST_CHECK;

#endif
