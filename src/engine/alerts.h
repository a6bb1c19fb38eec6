/* Alerts: what is true now (facts), and what operators were told of it (a table). Pure: time, accounts
 * and verdicts are arguments; whoever calls owns everything, and one thread calls.
 *
 * An alert is known by its name, its subject with its window, and its threshold. It fires with the first fact of it and
 * is told once; it resolves when no fact of it was said for NP_ALERT_QUIET_NS, so that what flaps stays
 * one alert; and is told once more then. */
#ifndef NP_ENGINE_ALERTS_H
#define NP_ENGINE_ALERTS_H

#include "engine/daybook.h"
#include "guard/guard.h"
#include "ledger/ledger.h"

#define NP_ALERT_FACTS 256
#define NP_ALERTS 512
#define NP_ALERT_QUIET_NS (UINT64_C(60) * NP_NS_PER_S)
/* How long /api/alerts shows those that have resolved. */
#define NP_ALERT_SHOWN_MS INT64_C(86400000)
#define NP_ALERT_ACCOUNTS 1024

/* Something that is so now. */
struct np_alert_fact {
    char alert[40];   /* "budget" */
    char subject[96]; /* "tenant:acme/day"; "" where there is only one */
    char severity[8]; /* page ticket info */
    char text[256];   /* one line for people */
    double value, threshold;
    int64_t window_ms; /* the start of the account's window; 0: it has none */
};

struct np_alert_facts {
    struct np_alert_fact list[NP_ALERT_FACTS];
    size_t n, lost;
};

/* Adds a fact; the rest of *f is filled in by the caller, texts are cut to fit. */
void np_alert_say(struct np_alert_facts *f, const struct np_alert_fact *fact);
/* Takes out the facts of this name (and subject, unless it is ""). */
void np_alert_silence(struct np_alert_facts *f, const char *alert, const char *subject);

/* --- the rules -------------------------------------------------------------------------------------- */

/* What the rules look at. */
struct np_alert_scene {
    const struct np_catalog *catalog;
    struct np_guard *guard;
    uint64_t now_ns;
    int64_t wall_ms;
    const struct np_account_view *accounts;
    size_t n_accounts;
    const struct np_ledger_totals *totals;
    const char *rejected, *rolled_back; /* why; NULL: the last reload was none */
    const struct np_daybook *days;      /* NULL: no jump of a latency is looked for */
};

#define NP_ALERT_MINUTES 60
#define NP_ALERT_PROJECTED 128

/* What the rules remember from one look to the next; begins as zeroes. */
struct np_alert_memory {
    bool opened[NP_MAX_PAIRS];              /* the breaker opened and has not closed since */
    bool jumped[NP_MAX_ENDPOINTS];          /* p95_jump was told and has not ended since */
    uint64_t projected[NP_ALERT_PROJECTED]; /* hashes of accounts of which that is so; 0: free */
    struct np_alert_minute {
        uint64_t minute; /* of the monotonic clock, and one; 0: none */
        int64_t booked_nusd, presumed_nusd, excess_nusd;
        uint64_t clock_jumps;
    } minutes[NP_ALERT_MINUTES]; /* totals as the minute began */
};

void np_alert_rules_run(const struct np_alert_scene *s, struct np_alert_memory *m,
                        struct np_alert_facts *out);

/* --- the table -------------------------------------------------------------------------------------- */

struct np_alert {
    struct np_alert_fact fact;
    int64_t since_wall_ms;
    int64_t resolved_wall_ms; /* 0: it fires */
    uint64_t seen_ns;         /* when it was last so */
    /* Labels of sinks that have it, and of those that know that it is over, each with a newline
     * behind it. */
    char sent_to[NP_LABELS_BYTES], over_to[NP_LABELS_BYTES];
};

struct np_alerts {
    struct np_alert list[NP_ALERTS];
    size_t n;
    uint64_t lost; /* facts for which there was no room */
};

/* Holds the facts of now against the table; tell is called once for each alert that began or ended. */
void np_alerts_update(struct np_alerts *t, const struct np_alert_facts *facts, uint64_t now_ns,
                      int64_t wall_ms, void (*tell)(void *ctx, const struct np_alert *a),
                      void *ctx);

/* A sink has it, as it was in *a: noted where the same alert stands in the table still. */
void np_alerts_sent(struct np_alerts *t, const struct np_alert *a, const char *label);

#endif
