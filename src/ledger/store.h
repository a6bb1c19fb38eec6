/* What the ledger asks of a store, whichever it is.
 *
 * A store keeps, per account and window, a *vector*: for each instance what it was granted, what it
 * gave back and what it settled. All three only grow. The sum of granted - returned over all
 * instances never passes the limit by a grant. Money is asked for in rounds, one at a time, on the
 * ledger's thread. */
#ifndef NP_LEDGER_STORE_H
#define NP_LEDGER_STORE_H

#include "base/err.h"
#include "model/catalog.h"
#include "model/exchange.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_ACCOUNT_TEXT 96

/* Of one instance. settled is by enum np_settled, [NP_SETTLED_VOID] stays 0. */
struct np_vector {
    int64_t granted, returned;
    int64_t settled[4];
};

static inline int64_t np_vector_settled(const struct np_vector *v)
{
    return v->settled[NP_SETTLED_EXACT] + v->settled[NP_SETTLED_ESTIMATED] +
           v->settled[NP_SETTLED_PRESUMED];
}

/* What it takes up of the limit: what is granted to it, or what it spent where that is more. */
static inline int64_t np_vector_held(const struct np_vector *v)
{
    int64_t granted = v->granted - v->returned;
    int64_t settled = np_vector_settled(v);
    return granted > settled ? granted : settled;
}

static inline void np_vector_add(struct np_vector *to, const struct np_vector *v)
{
    to->granted += v->granted;
    to->returned += v->returned;
    for (size_t i = 0; i < 4; i++) {
        to->settled[i] += v->settled[i];
    }
}

/* The question of one account and window, and its answer. */
struct np_lease {
    uint32_t record; /* the ledger's own number */
    char account[NP_ACCOUNT_TEXT];
    int64_t start_ms, end_ms; /* of the window; end INT64_MAX: never */
    int64_t limit;
    int64_t need, want; /* at least, else what is left; at most. 0: nothing is asked for */
    bool opened;        /* own counts from the account's start, not from this process's */
    struct np_vector own;

    bool durable;          /* own is on disk */
    bool answered;         /* what follows is the store's word */
    struct np_vector base; /* what earlier lives of this instance left; only where not opened */
    int64_t granted;       /* to this instance in all, base included */
    int64_t returned;      /* above own.returned: given back in its name, and granted once more */
    int64_t others_held, others_settled;
    uint64_t until_ns; /* monotonic: when the lease ends; UINT64_MAX: never */
};

/* One attempt that was settled; or `count` of them, when the queue was full. */
struct np_settle_row {
    uint64_t number; /* of the reservation, in this life */
    unsigned attempt, count;
    enum np_settled class;
    int64_t reserved_nusd, cost_nusd;
    int64_t at_ms;
    char request[129], tenant[64], model[64];
};

struct np_store;
struct np_rows;
struct np_loop;

/* A round: leases to ask for and rows to write. Empty, it only tries whether the store is there. */
struct np_round {
    struct np_lease *leases;
    size_t n;
    const struct np_rows *rows;
    bool rows_durable; /* answer */
    bool store_ok;     /* answer: the store was reached */
    int64_t store_ms;  /* answer: the store's clock at mono_ns; 0: it has none of its own */
    uint64_t mono_ns;
    unsigned epochs; /* answer: accounts of which the store has lost something */
    void (*done)(void *ctx, struct np_round *round);
    void *ctx;
};

struct np_store_ops {
    const char *name;
    /* Asks; round->done follows, before it returns or later on the same thread. At most one round
     * is under way. */
    void (*round)(struct np_store *s, struct np_round *round);
    /* Where it works asynchronously: the loop of its rounds. NULL: it needs none. */
    enum np_err (*attach)(struct np_store *s, struct np_loop *loop);
    /* The end of it: no round is under way afterwards, its last one was told so. */
    void (*detach)(struct np_store *s);
    /* Forgets what is older, some of it; true: there may be more. NULL: nothing is kept. */
    bool (*prune)(struct np_store *s, int64_t before_ms);
    /* Ends what is under way without an answer, and frees. */
    void (*free)(struct np_store *s);
    /* How often a lease must be renewed; 0: it has no end. */
    uint64_t beat_ns;
    bool immediate; /* done is always called before round returns, and nothing blocks */
};

struct np_store {
    const struct np_store_ops *ops;
};

/* What a round may grant: at least need, at most want and half of what is left for each live
 * instance; 0 where nothing is left. */
int64_t np_store_grant(int64_t left, int64_t need, int64_t want, int64_t instances);

/* Nobody else shares it, nothing is kept. NULL without memory. */
struct np_store *np_store_memory_new(void);

#endif
