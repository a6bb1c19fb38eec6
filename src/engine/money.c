/* The money of attempts: worst cost held before, what was billed booked after. See the table of who
 * pays in README.md. */
#include "engine/drive_impl.h"

#include "model/tokens.h"

/* The least that the answer may be lowered to. */
static int64_t floor_of(const struct np_candidate *c)
{
    return c->completion_max < NP_COMPLETION_FLOOR ? c->completion_max : NP_COMPLETION_FLOOR;
}

/* The greatest completion that keeps the attempt under `room_nusd`, at most completion_max; -1 when
 * that is under the floor. */
static int64_t lowered(const struct np_candidate *c, int64_t room_nusd)
{
    int64_t fits = np_price_fit(&c->model->price, c->prompt_bound, room_nusd);
    if (fits < floor_of(c))
        return -1;
    return fits < c->completion_max ? fits : c->completion_max;
}

/* Keeps what a refusal would say. Few exchanges need the room for it. */
static void keep_block(struct np_exchange *x, const struct np_budget_block *block,
                       int64_t need_nusd)
{
    struct np_drive *d = np_drive_of(x);
    if (!d->block)
        d->block = np_arena_alloc(x->arena, sizeof *d->block);
    d->need_nusd = need_nusd;
    d->blocked_by_budget = d->block != NULL;
    if (d->block)
        *d->block = *block;
}

/* Not even the lowered answer can be paid for: what stands in the way of it. */
static void note_block(struct np_drive_env *env, struct np_exchange *x,
                       const struct np_candidate *c, struct np_now now)
{
    struct np_budget_block block = {0};
    int64_t need;
    if (np_price_worst(&c->model->price, c->prompt_bound, floor_of(c), &need))
        need = NP_NUSD_MAX;
    np_ledger_block(env->ledger, x, c->model, need, now.wall_ms, &block);
    keep_block(x, &block, need);
}

/* What the exchange may still spend under its endpoint's cap. */
static int64_t cap_left(const struct np_exchange *x)
{
    if (x->endpoint->max_cost_nusd < 0)
        return INT64_MAX;
    return x->endpoint->max_cost_nusd - x->cost_nusd - x->reserved_nusd;
}

enum np_err np_drive_reserve(struct np_drive_env *env, struct np_exchange *x,
                             struct np_candidate *c, struct np_now now, struct np_reservation *out)
{
    int64_t cap = cap_left(x);
    np_drive_of(x)->blocked_by_budget = false;
    /* Room shrinks between asking and holding when others are quicker: then it is asked again. */
    for (int round = 0; round < 3; round++) {
        struct np_budget_block block = {0};
        int64_t room = np_ledger_room(env->ledger, x, c->model, now.wall_ms, &block);
        int64_t completion = lowered(c, room < cap ? room : cap);
        if (completion < 0) {
            if (room < cap)
                note_block(env, x, c, now);
            return NP_E_REFUSED;
        }
        c->completion_max = completion;
        enum np_err err =
            np_price_worst(&c->model->price, c->prompt_bound, completion, &c->worst_nusd);
        if (err)
            return err;
        err = np_ledger_reserve(env->ledger, x, c->model, c->worst_nusd, now.wall_ms, out, &block);
        if (!err) {
            x->reserved_nusd += c->worst_nusd;
            if (x->cost_nusd + x->reserved_nusd > x->reserved_max_nusd)
                x->reserved_max_nusd = x->cost_nusd + x->reserved_nusd;
            return NP_OK;
        }
        keep_block(x, &block, c->worst_nusd);
        if (err != NP_E_REFUSED)
            return err;
    }
    return NP_E_REFUSED;
}

void np_drive_await_money(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    uint64_t until_ns = now.mono_ns + NP_MONEY_WAIT_MS * NP_NS_PER_MS;
    d->state = NP_DRIVE_WAITING;
    d->for_money = true;
    env->ground->await(env->ground->ctx, x, until_ns < x->deadline_ns ? until_ns : x->deadline_ns);
}

/* Whether one of the budgets that this attempt touches books unknown usage at the worst cost. */
static bool unknown_is_worst(const struct np_exchange *x, const struct np_attempt *a)
{
    for (size_t i = 0; i < x->catalog->n_budgets; i++) {
        const struct np_budget *b = &x->catalog->budgets[i];
        const char *who = "";
        switch (b->kind) {
        case NP_ACCOUNT_TENANT:
            who = x->tenant->name;
            break;
        case NP_ACCOUNT_ENDPOINT:
            who = x->endpoint->path;
            break;
        case NP_ACCOUNT_MODEL:
            who = a->model->name;
            break;
        case NP_ACCOUNT_PROVIDER:
            who = a->model->provider->name;
            break;
        default:
            break;
        }
        if (b->unknown_worst && strcmp(b->name, who) == 0)
            return true;
    }
    return false;
}

/* Usage of a call of which nothing came back: the prompt, and the p95 of completions (all that was
 * allowed where that is unknown or policy wants the worst). */
static void presume(const struct np_drive_env *env, const struct np_exchange *x,
                    struct np_attempt *a)
{
    const struct np_candidate *c = &x->plan[a->candidate];
    int64_t p95 = np_stat_completion_p95(env->guard, a->model->slot, a->start_ns);
    bool worst = unknown_is_worst(x, a);
    a->usage = (struct np_usage){.prompt = worst ? c->prompt_bound : c->prompt_tokens,
                                 .completion = c->completion_max};
    if (!worst && p95 >= 0 && p95 < c->completion_max)
        a->usage.completion = p95;
    /* How one ended that lost to another is known: it was ended. */
    a->settled = a->lost ? NP_SETTLED_ESTIMATED : NP_SETTLED_PRESUMED;
}

/* Usage counted from what came, where the provider told none or an impossible one. */
static void count_text(const struct np_drive_env *env, const struct np_exchange *x,
                       struct np_attempt *a, const struct np_answer *answer)
{
    const struct np_candidate *c = &x->plan[a->candidate];
    int64_t completion =
        np_ratio_apply(env->guard, a->model->slot, np_tokens_estimate(answer->text, false));
    a->usage = (struct np_usage){.prompt = c->prompt_tokens,
                                 .completion = completion < c->completion_max ? completion
                                                                              : c->completion_max};
    a->settled = NP_SETTLED_ESTIMATED;
}

/* Whether the attempt was a stream that brought something, or was to be one that nobody waits for: its
 * provider stops when the call ends, so not all that was allowed will be charged. */
static bool came_in_part(const struct np_exchange *x, const struct np_attempt *a)
{
    const struct np_flow *f = np_drive_flow(x, a);
    if (!f)
        return false;
    return a->class == NP_CLASS_cancelled || (f->open && (f->alive || f->usage.prompt >= 0));
}

void np_drive_settle(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                     const struct np_call_end *end, const struct np_answer *answer,
                     struct np_now now)
{
    a->usage_reported = answer && answer->usage_reported;
    a->usage_flagged = answer && answer->usage_flagged;
    if (!end->request_sent) {
        a->settled = NP_SETTLED_VOID;
    } else if (a->usage_reported && !a->usage_flagged) {
        a->usage = answer->usage;
        a->settled = NP_SETTLED_EXACT;
        np_ratio_learn(env->guard, a->model->slot, x->plan[a->candidate].prompt_raw,
                       a->usage.prompt);
    } else if (end->how == NP_CALL_COMPLETE && end->status >= 300) {
        a->settled = NP_SETTLED_VOID;
    } else if (came_in_part(x, a)) {
        a->usage = np_flow_estimate(x, a, now);
        a->settled = NP_SETTLED_ESTIMATED;
    } else if (answer && (a->usage_flagged || answer->text.n > 0)) {
        count_text(env, x, a, answer);
    } else {
        presume(env, x, a);
    }
    a->cost_nusd = 0;
    if (a->settled != NP_SETTLED_VOID &&
        np_price_cost(&a->model->price, &a->usage, &a->cost_nusd) != NP_OK)
        a->cost_nusd = a->reservation.amount_nusd;
    x->reserved_nusd -= a->reservation.amount_nusd;
    x->cost_nusd += a->cost_nusd;
    np_quota_used(env->ledger, &np_drive_of(x)->quota, a->hedge,
                  a->settled == NP_SETTLED_VOID ? 0 : a->usage.prompt + a->usage.completion);
    np_ledger_settle(env->ledger, &a->reservation, a->settled, a->cost_nusd);
}
