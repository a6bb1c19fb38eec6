/* A second candidate beside a slow first one. It is asked after hedge_after_ms without a first token, of
 * another provider, once an exchange; whichever first brings content is what the client gets, the other is
 * ended and paid for. While one of the two is under way nothing is decided about the other's failure.
 *
 * A hedge is extra load and extra money, so it must find everything in order and waits for nothing: a
 * closed breaker, a free place and key, at least a fifth of each budget, room under max_cost_usd, its
 * endpoint's share of requests and the retry budget of the slow provider (whose first attempts fill it:
 * that of a provider which only ever comes second would never fill). What stands in the way is noted, and
 * the first goes on alone. */
#include "engine/drive_impl.h"

/* ------------------------------------------------------------------------------------ the time */

void np_hedge_arm(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a,
                  uint64_t until_ns)
{
    struct np_drive *d = np_drive_of(x);
    uint32_t after_ms = x->plan[a->candidate].hedge_after_ms;
    if (after_ms == 0)
        after_ms = x->endpoint->hedge_after_ms;
    if (after_ms == 0 || d->hedged)
        return;
    if (!d->hedge_counted)
        np_hedge_share_count(env->guard, x->endpoint, a->start_ns);
    d->hedge_counted = true;
    uint64_t at_ns = a->start_ns + after_ms * NP_NS_PER_MS;
    if (at_ns >= until_ns)
        return;
    d->hedge_at_ns = at_ns;
    env->ground->wait(env->ground->ctx, x, at_ns);
}

void np_hedge_disarm(struct np_drive_env *env, struct np_exchange *x)
{
    struct np_drive *d = np_drive_of(x);
    if (d->hedge_at_ns == 0)
        return;
    d->hedge_at_ns = 0;
    env->ground->unwait(env->ground->ctx, x);
}

/* ---------------------------------------------------------------------------------- the second */

static void note(struct np_drive_env *env, struct np_exchange *x, enum np_hedge came)
{
    x->hedge = came;
    np_meter_add(env->meters, NP_FAMILY_hedges, x->endpoint->slot, (uint32_t)came, 0, 1);
}

void np_hedge_note(struct np_drive_env *env, struct np_exchange *x, enum np_hedge came)
{
    if (np_drive_of(x)->hedged && x->hedge == NP_HEDGE_none)
        note(env, x, came);
}

/* The next candidate of another provider whose breaker is closed; n_plan: none. */
static size_t choose(const struct np_drive_env *env, const struct np_exchange *x,
                     const struct np_attempt *first, struct np_now now, enum np_hedge *why)
{
    *why = NP_HEDGE_provider;
    for (size_t i = first->candidate + 1; i < x->n_plan; i++) {
        const struct np_model *m = x->plan[i].model;
        if (m->provider->slot == first->model->provider->slot)
            continue;
        if (np_breaker_get(env->guard, m, now.mono_ns) == NP_BREAKER_CLOSED)
            return i;
        *why = NP_HEDGE_breaker;
    }
    return x->n_plan;
}

bool np_hedge_take(struct np_drive_env *env, const struct np_exchange *x, struct np_now now,
                   struct np_obstacle *no)
{
    const struct np_attempt *first = np_drive_of(x)->leg[0].attempt;
    *no = (struct np_obstacle){.kind = NP_SKIPPED, .hedge = NP_HEDGE_share};
    if (np_hedge_share_take(env->guard, x->endpoint, now.mono_ns)) {
        no->hedge = NP_HEDGE_retries;
        if (np_retry_budget_take(env->guard, first->model->provider))
            *no = (struct np_obstacle){.kind = NP_CLEAR};
        else
            np_hedge_share_give(env->guard, x->endpoint, now.mono_ns);
    }
    return no->kind == NP_CLEAR;
}

void np_hedge_give(struct np_drive_env *env, const struct np_exchange *x, struct np_now now)
{
    np_hedge_share_give(env->guard, x->endpoint, now.mono_ns);
    np_retry_budget_give(env->guard, np_drive_of(x)->leg[0].attempt->model->provider);
}

static enum np_hedge meant(const struct np_obstacle *no)
{
    static const enum np_hedge skips[NP_SKIP_COUNT] = {[NP_SKIP_budget] = NP_HEDGE_budget,
                                                       [NP_SKIP_breaker] = NP_HEDGE_breaker,
                                                       [NP_SKIP_busy] = NP_HEDGE_busy,
                                                       [NP_SKIP_quota] = NP_HEDGE_quota,
                                                       [NP_SKIP_deadline] = NP_HEDGE_deadline};
    if (no->hedge)
        return no->hedge;
    if (no->kind == NP_SKIPPED)
        return skips[no->why];
    return no->kind == NP_TOO_SMALL ? NP_HEDGE_provider : NP_HEDGE_policy;
}

/* Which of the context is kept, that the first's may be known again. */
static bool keep_context(struct np_exchange *x)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_request *r = &x->request;
    d->kept = np_arena_alloc(x->arena, r->n_context + 1);
    for (size_t i = 0; d->kept && i < r->n_context; i++)
        d->kept[i] = r->context[i].kept;
    return d->kept != NULL;
}

/* The request is the first's again. */
static void give_context_back(struct np_exchange *x)
{
    for (size_t i = 0; i < x->request.n_context; i++)
        x->request.context[i].kept = np_drive_of(x)->kept[i];
}

/* The first need not leave time for the candidate that runs beside it now, only for what follows both. */
static void put_first_off(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_leg *leg = &np_drive_of(x)->leg[0];
    const struct np_attempt *a = leg->attempt;
    uint64_t own = np_drive_limit_ns(x, &x->plan[a->candidate], a->start_ns);
    uint64_t room = np_drive_room_from_ns(env, x, x->counted_attempts, now);
    uint64_t until = own < room ? own : room;
    if (until <= leg->until_ns)
        return;
    leg->until_ns = until;
    env->ground->put_off(env->ground->ctx, x, 0, until);
}

/* Prepares the candidate as any other; what the driver knows of the first stays. */
static enum np_hedge ask(struct np_drive_env *env, struct np_exchange *x, size_t at,
                         struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_drive before = *d;
    size_t first = x->at;
    if (!keep_context(x))
        return NP_HEDGE_busy;
    x->at = at;
    x->plan[at].hedged = d->hedging = true;
    d->hedged_at = first;
    d->block = NULL;
    struct np_obstacle no = np_drive_prepare(env, x, now);
    x->at = first;
    d->hedging = false;
    if (no.kind) {
        x->plan[at].hedged = false;
        give_context_back(x);
        d->block = before.block;
        d->blocked_by_budget = before.blocked_by_budget;
        d->last_retry_after_ms = before.last_retry_after_ms;
        return meant(&no);
    }
    d->hedged = true;
    x->hedge = NP_HEDGE_none;
    put_first_off(env, x, now);
    return NP_HEDGE_none;
}

void np_hedge_due(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_attempt *first = d->leg[0].attempt;
    np_require(d->hedge_at_ns && first && !d->leg[1].attempt);
    d->hedge_at_ns = 0;
    enum np_hedge why;
    size_t at = choose(env, x, first, now, &why);
    if (at < x->n_plan) {
        if (x->counted_attempts >= x->endpoint->max_attempts || x->n_attempts == NP_MAX_ATTEMPTS)
            why = NP_HEDGE_attempts;
        else if (np_drive_left_ms(x, now) < NP_LEAST_ATTEMPT_MS)
            why = NP_HEDGE_deadline;
        else if (!np_hedge_share_left(env->guard, x->endpoint, now.mono_ns))
            why = NP_HEDGE_share;
        else if (np_ledger_nearly_spent(env->ledger, x, x->plan[at].model, now.wall_ms))
            why = NP_HEDGE_budget;
        else
            why = ask(env, x, at, now);
    }
    if (why)
        note(env, x, why);
}

/* --------------------------------------------------------------------------------- the outcome */

void np_hedge_won(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a,
                  struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    if (d->won)
        return;
    d->won = true;
    np_hedge_disarm(env, x);
    struct np_attempt *other = np_drive_other(x, a);
    if (other) {
        other->lost = true;
        other->error = NP_SPAN("another answered first");
        np_drive_cut(env, x, other, now);
        if (!a->hedge)
            give_context_back(x);
    }
    np_hedge_note(env, x, a->hedge ? NP_HEDGE_won : NP_HEDGE_lost);
}

void np_hedge_failed(struct np_drive_env *env, struct np_exchange *x, const struct np_attempt *a)
{
    if (!a->hedge)
        return;
    np_hedge_note(env, x, NP_HEDGE_failed);
    give_context_back(x);
}
