/* What one tenant may use, over all workers and instances: calls at once, requests a minute, tokens a
 * minute. Minutes are the clock's (UTC), as those of budgets; the limits are leased from the ledger's
 * store as money is. */
#ifndef NP_ENGINE_QUOTA_H
#define NP_ENGINE_QUOTA_H

#include "ledger/ledger.h"
#include "model/exchange.h"

/* What an exchange holds of its tenant's limits. */
struct np_quota {
    struct np_hold place;     /* among the calls at once, until the exchange is over */
    struct np_hold requests;  /* one of the minute's, and it is used */
    struct np_hold tokens[2]; /* of the attempts that are under way, by leg */
};

enum np_quota_answer {
    NP_QUOTA_HELD,
    NP_QUOTA_WAIT,    /* the ledger asks its store; ask again when it has news */
    NP_QUOTA_REFUSED, /* *refusal says which limit, how large it is and when to come again */
};

/* Takes the exchange's place and its request of the minute, or neither. */
enum np_quota_answer np_quota_enter(struct np_ledger *l, struct np_quota *q, struct np_exchange *x,
                                    int64_t wall_ms, struct np_refusal *refusal);
/* Holds the most tokens that an attempt of the leg can take, as estimated. A completion that no minute has room for
 * beside the prompt is lowered to what the limit is, not below `floor`. */
enum np_quota_answer np_quota_tokens(struct np_ledger *l, struct np_quota *q, struct np_exchange *x,
                                     unsigned leg, struct np_candidate *c, int64_t floor,
                                     int64_t wall_ms, struct np_refusal *refusal);
/* The leg's attempt is over and took so many. */
void np_quota_used(struct np_ledger *l, struct np_quota *q, unsigned leg, int64_t tokens);
/* What a tenant has of its limits now: used and held of each that it has; others have limit 0. */
struct np_quota_view {
    struct np_quota_figure {
        int64_t limit, used;
    } calls, requests, tokens;
    double fullest; /* of the three, as a part of its limit */
};
void np_quota_look(struct np_ledger *l, const struct np_tenant *t, int64_t wall_ms,
                   struct np_quota_view *out);
/* The exchange is over. */
void np_quota_leave(struct np_ledger *l, struct np_quota *q);

#endif
