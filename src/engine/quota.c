/* The limits of tenants: claims on the ledger, and the words of their refusals. */
#include "engine/quota.h"

#include <inttypes.h>

static struct np_claim claim_of(const char *kind, const struct np_tenant *t, enum np_window window,
                                int64_t limit, int64_t amount)
{
    return (struct np_claim){.kind = kind,
                             .name = t->name,
                             .id = t->slot,
                             .window = window,
                             .limit = limit,
                             .amount = amount};
}

static struct np_refusal refusal(const char *text, int64_t resets_wall_ms, int64_t wall_ms)
{
    int64_t wait_ms = resets_wall_ms == INT64_MAX ? 0 : resets_wall_ms - wall_ms;
    return (struct np_refusal){.type = NP_REFUSAL_rate_limited,
                               .status = np_refusal_status(NP_REFUSAL_rate_limited),
                               .message = np_span_of(text ? text : "a limit is reached"),
                               .retry_after_s = wait_ms > 1000 ? (wait_ms + 999) / 1000 : 1};
}

/* The answer for what the ledger said. While the store is away what is held here is used up first, and
 * then let pass: a limit of calls is no wall of money, and must not turn a lost store into an outage.
 * At a full table nothing is let through. */
static enum np_quota_answer answer_of(enum np_err err)
{
    switch (err) {
    case NP_OK:
    case NP_E_CLOSED:
        return NP_QUOTA_HELD;
    case NP_E_BUSY:
        return NP_QUOTA_WAIT;
    default:
        return NP_QUOTA_REFUSED;
    }
}

/* One of a limit's, where there is one; words end the refusal. */
static enum np_quota_answer take_one(struct np_ledger *l, struct np_hold *hold,
                                     struct np_exchange *x, const struct np_claim *c,
                                     const char *words, int64_t wall_ms, struct np_refusal *out)
{
    int64_t resets_ms;
    if (c->limit <= 0)
        return NP_QUOTA_HELD;
    enum np_quota_answer a = answer_of(np_ledger_hold(l, c, wall_ms, hold, &resets_ms));
    if (a == NP_QUOTA_REFUSED)
        *out = refusal(
            np_arena_printf(x->arena, "%s of tenant %s: all %" PRId64 " %s",
                            c->window == NP_WINDOW_NONE ? "concurrency" : "requests_per_minute",
                            x->tenant->name, c->limit, words),
            resets_ms, wall_ms);
    return a;
}

enum np_quota_answer np_quota_enter(struct np_ledger *l, struct np_quota *q, struct np_exchange *x,
                                    int64_t wall_ms, struct np_refusal *refusal)
{
    const struct np_tenant *t = x->tenant;
    struct np_claim call = claim_of("calls", x->tenant, NP_WINDOW_NONE, t->concurrency, 1);
    struct np_claim request =
        claim_of("requests", x->tenant, NP_WINDOW_MINUTE, t->requests_per_minute, 1);
    enum np_quota_answer a =
        take_one(l, &q->place, x, &call, "calls at once are under way", wall_ms, refusal);
    if (a != NP_QUOTA_HELD)
        return a;
    a = take_one(l, &q->requests, x, &request, "of this minute are used up", wall_ms, refusal);
    if (a != NP_QUOTA_HELD)
        np_ledger_let_go(l, &q->place, 0);
    return a;
}

enum np_quota_answer np_quota_tokens(struct np_ledger *l, struct np_quota *q, struct np_exchange *x,
                                     unsigned leg, struct np_candidate *c, int64_t floor,
                                     int64_t wall_ms, struct np_refusal *out)
{
    int64_t resets_ms, limit = x->tenant->tokens_per_minute;
    if (limit <= 0)
        return NP_QUOTA_HELD;
    int64_t room = limit - c->prompt_tokens;
    if (c->completion_max > room && room >= floor)
        c->completion_max = room;
    int64_t amount = c->prompt_tokens + c->completion_max;
    struct np_claim want = claim_of("tokens", x->tenant, NP_WINDOW_MINUTE, limit, amount);
    enum np_quota_answer a =
        answer_of(np_ledger_hold(l, &want, wall_ms, &q->tokens[leg], &resets_ms));
    if (a != NP_QUOTA_REFUSED)
        return a;
    if (amount > limit)
        *out =
            refusal(np_arena_printf(x->arena,
                                    "tokens_per_minute of tenant %s: this request may take %" PRId64
                                    " tokens, more than the %" PRId64 " of a whole minute",
                                    x->tenant->name, amount, limit),
                    resets_ms, wall_ms);
    else
        *out = refusal(
            np_arena_printf(x->arena,
                            "tokens_per_minute of tenant %s: this request may take %" PRId64
                            " tokens, and of the %" PRId64 " of this minute too few are left",
                            x->tenant->name, amount, limit),
            resets_ms, wall_ms);
    return a;
}

void np_quota_used(struct np_ledger *l, struct np_quota *q, unsigned leg, int64_t tokens)
{
    np_ledger_let_go(l, &q->tokens[leg], tokens > 0 ? tokens : 0);
}

void np_quota_leave(struct np_ledger *l, struct np_quota *q)
{
    for (size_t i = 0; i < sizeof q->tokens / sizeof *q->tokens; i++)
        np_ledger_let_go(l, &q->tokens[i], 0);
    np_ledger_let_go(l, &q->requests, 1);
    np_ledger_let_go(l, &q->place, 0);
}

static struct np_quota_figure figure(struct np_ledger *l, const struct np_claim *c, int64_t wall_ms,
                                     double *fullest)
{
    struct np_claim_view v = {0};
    if (c->limit <= 0)
        return (struct np_quota_figure){0};
    np_ledger_claimed(l, c, wall_ms, &v);
    struct np_quota_figure f = {.limit = c->limit, .used = v.used + v.held};
    double part = (double)f.used / (double)f.limit;
    *fullest = part > *fullest ? part : *fullest;
    return f;
}

void np_quota_look(struct np_ledger *l, const struct np_tenant *t, int64_t wall_ms,
                   struct np_quota_view *out)
{
    struct np_claim calls = claim_of("calls", t, NP_WINDOW_NONE, t->concurrency, 0),
                    requests = claim_of("requests", t, NP_WINDOW_MINUTE, t->requests_per_minute, 0),
                    tokens = claim_of("tokens", t, NP_WINDOW_MINUTE, t->tokens_per_minute, 0);
    *out = (struct np_quota_view){0};
    out->calls = figure(l, &calls, wall_ms, &out->fullest);
    out->requests = figure(l, &requests, wall_ms, &out->fullest);
    out->tokens = figure(l, &tokens, wall_ms, &out->fullest);
}
