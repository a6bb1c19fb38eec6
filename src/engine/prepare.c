/* Everything between choosing a candidate and its first byte: breaker, key, fit, the budget hook,
 * places and money. What is taken on the way is given back where a later step says no. Steps say what
 * stands in the way; only np_drive_try acts on it, as a hedge does without. */
#include "engine/drive_impl.h"

#include "base/log.h"

enum np_tried np_drive_skip(struct np_drive_env *env, struct np_exchange *x, enum np_skip why,
                            enum np_reason obstacle)
{
    const struct np_model *m = np_drive_candidate(x)->model;
    size_t before = x->n_skipped;
    np_exchange_note_skip(x, m, why);
    if (x->n_skipped > before && why == NP_SKIP_budget && np_drive_of(x)->blocked_by_budget)
        x->skipped[before].account =
            np_arena_dup(x->arena, np_span_of(np_drive_of(x)->block->account));
    np_meter_add(env->meters, NP_FAMILY_llm_skipped, m->slot, (uint32_t)why, 0, 1);
    if (obstacle == NP_REASON_breaker)
        np_drive_of(x)->behind_breakers++;
    else
        np_drive_of(x)->obstacle = obstacle;
    return NP_TRIED_PASSED;
}

static struct np_obstacle skipped(enum np_skip why, enum np_reason reason)
{
    return (struct np_obstacle){.kind = NP_SKIPPED, .why = why, .reason = reason};
}

static struct np_obstacle failed(enum np_hook hook)
{
    return (struct np_obstacle){.kind = NP_FAILED, .hook = hook};
}

static struct np_obstacle refused(const struct np_refusal *r)
{
    return (struct np_obstacle){.kind = NP_REFUSED, .refusal = *r};
}

size_t np_drive_next(const struct np_exchange *x)
{
    size_t at = x->plan[x->at].hedged ? np_drive_of(x)->hedged_at : x->at;
    do
        at++;
    while (at < x->n_plan && x->plan[at].hedged);
    return at;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How many tokens the answer may have before the prompt is looked at. */
static int64_t wanted_completion(const struct np_exchange *x, const struct np_candidate *c)
{
    int64_t n = x->endpoint->max_tokens;
    if (x->request.max_tokens >= 0)
        n = least(n, x->request.max_tokens);
    if (c->max_tokens >= 0)
        n = least(n, c->max_tokens);
    if (c->model->max_output > 0)
        n = least(n, c->model->max_output);
    return n;
}

/* Leaves out context until the prompt fits into room tokens: as the truncate hook says, by priority
 * where it says nothing or too much. NP_E_REFUSED: the hook failed and its on_error is refuse. */
static enum np_err truncate_context(struct np_drive_env *env, struct np_exchange *x,
                                    const struct np_candidate *c, int64_t room)
{
    struct np_hook_report rep = {0};
    np_hook_truncate(np_drive_script(env, x), x, c, room, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_truncate, &rep))
        return NP_E_REFUSED;
    if (rep.result != NP_HOOK_GAVE || np_request_prompt_tokens(&x->request) > room)
        (void)np_request_keep_by_priority(&x->request, room);
    return NP_OK;
}

/* The kept prompt as the candidate's model is likely to count it; never more than its bytes allow. */
static void measure(struct np_drive_env *env, const struct np_exchange *x, struct np_candidate *c)
{
    c->prompt_raw = np_request_prompt_tokens(&x->request);
    c->prompt_bound = np_request_prompt_bound(&x->request);
    c->prompt_tokens =
        least(np_ratio_apply(env->guard, c->model->slot, c->prompt_raw), c->prompt_bound);
}

/* Makes prompt and answer fit the model's context. */
static struct np_obstacle fit(struct np_drive_env *env, struct np_exchange *x,
                              struct np_candidate *c)
{
    struct np_request *r = &x->request;
    for (size_t i = 0; i < r->n_context; i++)
        r->context[i].kept = true;
    int64_t limit = c->limit_tokens > 0 ? c->limit_tokens : c->model->context;
    int64_t completion = wanted_completion(x, c);
    int64_t floor = least(completion, NP_COMPLETION_FLOOR);
    measure(env, x, c);
    if (limit > 0 && c->prompt_tokens > limit - completion) {
        /* A context that is smaller than the answer that may be wanted leaves half to each. */
        int64_t room = limit - completion > 0 ? limit - completion : limit / 2;
        /* Items say their tokens uncorrected; so must the room that they are given. */
        if (truncate_context(env, x, c, np_ratio_invert(env->guard, c->model->slot, room)))
            return failed(NP_HOOK_truncate);
        measure(env, x, c);
    }
    if (limit > 0) {
        if (c->prompt_tokens > limit - floor)
            return (struct np_obstacle){.kind = NP_TOO_SMALL, .room = limit};
        completion = least(completion, limit - c->prompt_tokens);
    }
    c->completion_max = completion;
    return (struct np_obstacle){.kind = NP_CLEAR};
}

/* What the candidate is likely to cost, and at most, before the budget hook sees it. */
static enum np_err estimate(struct np_drive_env *env, struct np_candidate *c, struct np_now now)
{
    int64_t likely = np_stat_completion_p95(env->guard, c->model->slot, now.mono_ns);
    struct np_usage u = {.prompt = c->prompt_tokens,
                         .completion =
                             likely < 0 ? c->completion_max : least(likely, c->completion_max)};
    enum np_err err = np_price_cost(&c->model->price, &u, &c->estimated_nusd);
    if (!err)
        err = np_price_worst(&c->model->price, c->prompt_bound, c->completion_max, &c->worst_nusd);
    return err;
}

/* Asks the budget hook. */
static struct np_obstacle ask_budget(struct np_drive_env *env, struct np_exchange *x,
                                     struct np_candidate *c)
{
    struct np_hook_report rep = {0};
    struct np_verdict v = {.kind = NP_VERDICT_NONE};
    np_hook_budget(np_drive_script(env, x), x, c, &v, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_budget, &rep))
        return failed(NP_HOOK_budget);
    switch (rep.result == NP_HOOK_GAVE ? v.kind : NP_VERDICT_NONE) {
    case NP_VERDICT_NEXT:
        np_drive_of(x)->blocked_by_budget = false;
        return skipped(NP_SKIP_budget, NP_REASON_budget);
    case NP_VERDICT_DEGRADE:
        np_drive_of(x)->blocked_by_budget = false;
        return (struct np_obstacle){.kind = NP_DEGRADED, .reason = NP_REASON_budget};
    case NP_VERDICT_REFUSE:
        return refused(&v.refusal);
    case NP_VERDICT_LOWER:
        c->completion_max = least(c->completion_max, v.max_tokens);
        break;
    default:
        break;
    }
    return (struct np_obstacle){.kind = NP_CLEAR};
}

uint64_t np_drive_limit_ns(const struct np_exchange *x, const struct np_candidate *c,
                           uint64_t start_ns)
{
    uint32_t ms = c->model->provider->timeout_ms;
    if (c->timeout_ms > 0 && c->timeout_ms < ms)
        ms = c->timeout_ms;
    uint64_t due = start_ns + ms * NP_NS_PER_MS;
    return due < x->deadline_ns ? due : x->deadline_ns;
}

uint64_t np_drive_room_from_ns(const struct np_drive_env *env, const struct np_exchange *x,
                               unsigned begun, struct np_now now)
{
    size_t next = np_drive_next(x);
    if (next == x->n_plan || begun >= x->endpoint->max_attempts)
        return x->deadline_ns;
    int64_t likely = np_drive_likely_ms(env, x->plan[next].model, now);
    int64_t room = least(likely, np_drive_left_ms(x, now) / 2);
    return x->deadline_ns - (uint64_t)room * NP_NS_PER_MS;
}

/* When a call that starts now is cut: its own limits, and room for the next candidate's answer. */
static uint64_t cut_at(const struct np_drive_env *env, const struct np_exchange *x,
                       const struct np_candidate *c, struct np_now now)
{
    uint64_t own = np_drive_limit_ns(x, c, now.mono_ns);
    uint64_t room = np_drive_room_from_ns(env, x, x->counted_attempts + 1, now);
    return own < room ? own : room;
}

/* The row of the next attempt; NULL without memory. The others may have moved. */
static struct np_attempt *next_row(struct np_exchange *x)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_attempt *before = x->attempts;
    struct np_attempt *a = np_exchange_attempt(x);
    if (a && before && before != x->attempts) {
        for (unsigned leg = 0; leg < NP_LEGS; leg++) {
            if (d->leg[leg].attempt)
                d->leg[leg].attempt = x->attempts + (d->leg[leg].attempt - before);
        }
        if (d->attempt)
            d->attempt = x->attempts + (d->attempt - before);
    }
    return a;
}

/* The attempt's row, and the order to the ground. */
static enum np_err start_call(struct np_drive_env *env, struct np_exchange *x,
                              struct np_candidate *c, const struct np_secret *key, bool probe,
                              const struct np_reservation *held, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_attempt *a = next_row(x);
    if (!a)
        return NP_E_NOMEM;
    *a = (struct np_attempt){.number = (unsigned)x->n_attempts + 1,
                             .hedge = d->hedging,
                             .model = c->model,
                             .candidate = x->at,
                             .key = key,
                             .retry_after_ms = -1,
                             .retry_in_ms = -1,
                             .again = d->again,
                             .probe = probe,
                             .after_notes = x->n_notes,
                             .reservation = *held};
    char error[256] = "";
    struct np_wire wire = {0};
    enum np_err err = np_adapter_request(np_drive_script(env, x), x, c, key, &wire, error);
    if (err) {
        np_log(NP_LOG_ERROR, "adapter failed", NP_KVS("request", x->id),
               NP_KVS("provider", c->model->provider->name), NP_KVS("error", error));
        return err;
    }
    if (x->request.stream) {
        err = np_drive_flow(x, a) ? NP_OK : np_flow_make(x, a->hedge);
        if (!err)
            err = np_flow_begin(env, x, a, wire.hidden_tokens);
        if (err)
            return err;
    }
    struct np_call_order order = {.leg = a->hedge,
                                  .model = c->model,
                                  .wire = &wire,
                                  .deadline_ns = cut_at(env, x, c, now),
                                  .stream = x->request.stream};
    err = env->ground->call(env->ground->ctx, x, &order);
    if (err)
        return err;
    a->start_ns = order.started_ns;
    d->leg[a->hedge].attempt = a;
    d->leg[a->hedge].until_ns = order.deadline_ns;
    if (!a->hedge) {
        d->phase_ns = a->start_ns;
        np_hedge_arm(env, x, a, order.deadline_ns);
    }
    return NP_OK;
}

/* Counts an attempt whose call has begun. */
static void count_start(struct np_drive_env *env, struct np_exchange *x, struct np_candidate *c)
{
    struct np_drive *d = np_drive_of(x);
    x->n_attempts++;
    x->counted_attempts++;
    if (!d->other_key)
        c->tries++;
    if (!d->again && !d->hedging)
        np_retry_budget_first(env->guard, c->model->provider);
    np_meter_add(env->meters, NP_FAMILY_llm_inflight, c->model->slot, 0, 0, 1);
    if (d->attempt && !d->hedging)
        np_meter_add(env->meters, NP_FAMILY_llm_retry, d->attempt->model->slot, d->attempt->status,
                     (uint32_t)x->n_attempts, 1);
    d->again = d->other_key = false;
}

/* The tokens of the tenant's minute. */
static struct np_obstacle take_tokens(struct np_drive_env *env, struct np_exchange *x,
                                      struct np_candidate *c, struct np_now now)
{
    struct np_obstacle no = {.kind = NP_CLEAR, .hedge = NP_HEDGE_quota};
    struct np_drive *d = np_drive_of(x);
    switch (np_quota_tokens(env->ledger, &d->quota, x, d->hedging, c,
                            least(c->completion_max, NP_COMPLETION_FLOOR), now.wall_ms,
                            &no.refusal)) {
    case NP_QUOTA_WAIT:
        no.kind = NP_AWAITED;
        break;
    case NP_QUOTA_REFUSED:
        no.kind = NP_REFUSED;
        break;
    default:
        break;
    }
    return no;
}

/* The most that the attempt can cost. */
static struct np_obstacle take_money(struct np_drive_env *env, struct np_exchange *x,
                                     struct np_candidate *c, struct np_now now,
                                     struct np_reservation *held)
{
    enum np_err err = np_drive_reserve(env, x, c, now, held);
    if (err == NP_E_BUSY)
        return (struct np_obstacle){.kind = NP_AWAITED, .hedge = NP_HEDGE_budget};
    return err ? skipped(NP_SKIP_budget, NP_REASON_budget) : (struct np_obstacle){.kind = NP_CLEAR};
}

/* Takes the breaker's leave, the money and starts. The place in flight is taken already. */
static struct np_obstacle take_and_start(struct np_drive_env *env, struct np_exchange *x,
                                         struct np_candidate *c, size_t key, struct np_now now)
{
    const struct np_provider *p = c->model->provider;
    struct np_drive *d = np_drive_of(x);
    struct np_obstacle no;
    struct np_reservation held = {0};
    enum np_pass pass = np_breaker_ask(env->guard, c->model, now.mono_ns);
    /* A hedge may be ended before it has shown anything: it is no probe. */
    if (pass == NP_PASS_NO || (pass == NP_PASS_PROBE && d->hedging)) {
        no = skipped(NP_SKIP_breaker, NP_REASON_breaker);
        goto give_probe;
    }
    no = take_tokens(env, x, c, now);
    if (no.kind)
        goto give_tokens;
    no = take_money(env, x, c, now, &held);
    if (no.kind)
        goto give_tokens;
    if (d->hedging && !np_hedge_take(env, x, now, &no))
        goto give_money;
    if (start_call(env, x, c, p->n_keys ? &p->keys[key] : NULL, pass == NP_PASS_PROBE, &held,
                   now)) {
        no = skipped(NP_SKIP_busy, NP_REASON_shed);
        if (d->hedging)
            np_hedge_give(env, x, now);
        goto give_money;
    }
    c->keys_tried |= UINT32_C(1) << key;
    count_start(env, x, c);
    return no;

give_money:
    x->reserved_nusd -= held.amount_nusd;
    np_ledger_settle(env->ledger, &held, NP_SETTLED_VOID, 0);
give_tokens:
    np_quota_used(env->ledger, &d->quota, d->hedging, 0);
give_probe:
    if (pass == NP_PASS_PROBE)
        np_breaker_release(env->guard, c->model, now.mono_ns);
    np_inflight_give(env->guard, p);
    return no;
}

/* What is worked out once for a candidate: the prompt that fits, its price, and the policy's word. */
static struct np_obstacle work_out(struct np_drive_env *env, struct np_exchange *x,
                                   struct np_candidate *c, struct np_now now)
{
    struct np_obstacle no = fit(env, x, c);
    if (no.kind)
        return no;
    if (estimate(env, c, now))
        return skipped(NP_SKIP_budget, NP_REASON_budget);
    return ask_budget(env, x, c);
}

struct np_obstacle np_drive_prepare(struct np_drive_env *env, struct np_exchange *x,
                                    struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_candidate *c = np_drive_candidate(x);
    const struct np_provider *p = c->model->provider;
    if (!np_breaker_would_pass(env->guard, c->model, now.mono_ns))
        return skipped(NP_SKIP_breaker, NP_REASON_breaker);
    uint64_t wait_ns = 0;
    size_t key =
        np_key_pick(env->guard, p, d->other_key ? c->keys_tried : 0, now.mono_ns, &wait_ns);
    if (p->n_keys > 0 && key == p->n_keys) {
        if (wait_ns > 0)
            d->last_retry_after_ms = (int64_t)((wait_ns + NP_NS_PER_MS - 1) / NP_NS_PER_MS);
        return skipped(NP_SKIP_quota, NP_REASON_exhausted);
    }
    if (!d->for_money) {
        struct np_obstacle no = work_out(env, x, c, now);
        if (no.kind)
            return no;
    }
    if (!np_inflight_take(env->guard, p))
        return skipped(NP_SKIP_busy, NP_REASON_shed);
    return take_and_start(env, x, c, key, now);
}

enum np_tried np_drive_try(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_obstacle no = np_drive_prepare(env, x, now);
    switch (no.kind) {
    case NP_CLEAR:
        return NP_TRIED_CALLING;
    case NP_SKIPPED:
        return np_drive_skip(env, x, no.why, no.reason);
    case NP_TOO_SMALL:
        d->too_small++;
        d->too_small_room = no.room > d->too_small_room ? no.room : d->too_small_room;
        d->obstacle = NP_REASON_exhausted;
        return NP_TRIED_PASSED;
    case NP_AWAITED:
        np_drive_await_money(env, x, now);
        return NP_TRIED_WAITING;
    case NP_FAILED:
        np_drive_refuse_failed_hook(env, x, no.hook, now);
        break;
    case NP_DEGRADED:
        np_drive_degrade(env, x, no.reason, now);
        break;
    case NP_REFUSED:
        np_drive_refuse(env, x, &no.refusal, now);
        break;
    }
    return NP_TRIED_ENDED;
}
