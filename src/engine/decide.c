/* What follows a failed attempt: the same candidate again, the next one, or an end. The retry hook's
 * word comes first, the table of classes where it has none; neither lifts the bounds on tries,
 * attempts, time and the retry budget. */
#include "engine/drive_impl.h"

/* The seed wait before the n-th repeat: min(250 ms * 2^n, 2500 ms) and up to 120 ms of chance. */
static int64_t seed_wait_ms(struct np_drive_env *env, unsigned n)
{
    int64_t base = n < 4 ? (int64_t)250 << n : 2500;
    if (base > 2500)
        base = 2500;
    return base + (int64_t)np_rng_below(env->rng, 121);
}

/* Goes on with the candidate at this place of the plan. */
static void go_to(struct np_drive_env *env, struct np_exchange *x, size_t at, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    d->state = NP_DRIVE_NEW;
    d->obstacle = NP_REASON_exhausted;
    d->again = d->other_key = false;
    x->at = at;
    np_drive_advance(env, x, now);
}

static void go_next(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    go_to(env, x, np_drive_next(x), now);
}

/* Whether a repeat after wait_ms can still end in time. */
static bool fits_deadline(const struct np_drive_env *env, const struct np_exchange *x,
                          int64_t wait_ms, struct np_now now)
{
    int64_t left = np_drive_left_ms(x, now);
    int64_t likely = np_drive_likely_ms(env, x->plan[x->at].model, now);
    int64_t need = likely < left / 2 ? likely : left / 2;
    return need >= NP_LEAST_ATTEMPT_MS && wait_ms <= left - need;
}

/* Waits and repeats the candidate, where the bounds allow it; else the next. */
static void go_again(struct np_drive_env *env, struct np_exchange *x, int64_t wait_ms,
                     struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_candidate *c = np_drive_candidate(x);
    bool may = c->tries < NP_TRIES_A_CANDIDATE && x->counted_attempts < x->endpoint->max_attempts &&
               fits_deadline(env, x, wait_ms, now);
    if (!may) {
        go_next(env, x, now);
        return;
    }
    if (!np_breaker_would_pass(env->guard, c->model,
                               now.mono_ns + (uint64_t)wait_ms * NP_NS_PER_MS)) {
        (void)np_drive_skip(env, x, NP_SKIP_breaker, NP_REASON_breaker);
        go_next(env, x, now);
        return;
    }
    if (!np_retry_budget_take(env->guard, c->model->provider)) {
        (void)np_drive_skip(env, x, NP_SKIP_busy, NP_REASON_shed);
        go_next(env, x, now);
        return;
    }
    np_drive_of(x)->attempt->retry_in_ms = wait_ms;
    d->again = true;
    d->state = NP_DRIVE_WAITING;
    d->phase_ns = now.mono_ns;
    env->ground->wait(env->ground->ctx, x, now.mono_ns + (uint64_t)wait_ms * NP_NS_PER_MS);
}

/* Tries the candidate at once with another of its provider's keys. False: there is none. */
static bool go_other_key(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_candidate *c = np_drive_candidate(x);
    const struct np_provider *p = c->model->provider;
    uint64_t wait_ns = 0;
    if (p->n_keys < 2 || x->counted_attempts >= x->endpoint->max_attempts ||
        np_key_pick(env->guard, p, c->keys_tried, now.mono_ns, &wait_ns) == p->n_keys)
        return false;
    np_drive_of(x)->attempt->retry_in_ms = 0;
    d->state = NP_DRIVE_NEW;
    d->again = d->other_key = true;
    np_drive_advance(env, x, now);
    return true;
}

/* What prompt and answer may have together the next time, by our own count. What was refused is a bound, too:
 * the estimate may be lower than the provider's count. */
static int64_t shorter_limit(const struct np_candidate *c, const struct np_answer *answer)
{
    int64_t sum = c->prompt_tokens + c->completion_max, limit = sum * 9 / 10;
    int64_t said = answer->limit_tokens, seen = answer->prompt_seen;
    if (said <= 0)
        return limit;
    /* Where the provider says how long it finds the prompt, and the answer alone was too much, all that is
     * left goes to the answer. */
    if (seen > 0 && seen + NP_COMPLETION_FLOOR <= said && seen + c->completion_max > said) {
        limit = sum - 1;
        if (seen > c->prompt_tokens)
            said -= seen - c->prompt_tokens;
    }
    return said < limit ? said : limit;
}

/* Prompt and answer were too long for the model: makes them fit the real limit, once, by leaving out context
 * or, where the limit was said, with a shorter answer. False: neither helps. */
static bool go_shorter(struct np_drive_env *env, struct np_exchange *x,
                       const struct np_answer *answer, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_candidate *c = np_drive_candidate(x);
    if (c->shortened || c->tries >= NP_TRIES_A_CANDIDATE ||
        x->counted_attempts >= x->endpoint->max_attempts)
        return false;
    c->shortened = true;
    int64_t limit = shorter_limit(c, answer);
    int64_t before = c->prompt_tokens;
    int64_t after = np_request_keep_by_priority(&x->request, limit - c->completion_max);
    bool said = answer->limit_tokens > 0;
    if (after >= before && !(said && limit - NP_COMPLETION_FLOOR >= before))
        return false;
    d->unsaid_limit = d->unsaid_limit || !said;
    c->limit_tokens = limit;
    d->state = NP_DRIVE_NEW;
    d->again = true;
    np_drive_advance(env, x, now);
    return true;
}

/* The next candidate of the plan that has more room than the model that refused; when there is none,
 * the caller hears the figures. */
static void go_roomier(struct np_drive_env *env, struct np_exchange *x,
                       const struct np_answer *answer, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    const struct np_candidate *c = np_drive_candidate(x);
    int64_t limit = answer->limit_tokens > 0 ? answer->limit_tokens : c->model->context;
    bool said = answer->limit_tokens > 0;
    d->too_small++;
    d->unsaid_limit = d->unsaid_limit || !said;
    if (said && limit > d->too_small_room)
        d->too_small_room = limit;
    for (size_t i = np_drive_next(x); i < x->n_plan; i++) {
        int64_t room = x->plan[i].model->context;
        if (x->plan[i].hedged)
            continue;
        if (room == 0 || room > limit) {
            go_to(env, x, i, now);
            return;
        }
        d->too_small++;
    }
    int64_t tokens =
        answer->prompt_seen > c->prompt_tokens ? answer->prompt_seen : c->prompt_tokens;
    char *text =
        said
            ? np_arena_printf(
                  x->arena,
                  "the prompt is too long: it has about %lld tokens, and the largest model that may "
                  "be used takes %lld together with the answer; nothing is left that may be dropped",
                  (long long)tokens, (long long)d->too_small_room)
            : np_arena_printf(
                  x->arena,
                  "the prompt is too long for the provider of %s, which did not say what it takes: it "
                  "has about %lld tokens, and the answer may have %lld; nothing is left that may be "
                  "dropped",
                  c->model->name, (long long)tokens, (long long)c->completion_max);
    struct np_refusal r = {.type = NP_REFUSAL_invalid_request,
                           .status = np_refusal_status(NP_REFUSAL_invalid_request),
                           .message = np_span_of(text),
                           .retry_after_s = -1};
    np_drive_refuse(env, x, &r, now);
}

/* The caller's own request was refused by the provider as malformed. */
static void stop_rejected(struct np_drive_env *env, struct np_exchange *x,
                          const struct np_answer *answer, struct np_now now)
{
    char *text =
        answer->error.n > 0
            ? np_arena_printf(x->arena, "the provider refused the request: %.*s",
                              (int)(answer->error.n < 512 ? answer->error.n : 512), answer->error.p)
            : np_arena_printf(x->arena, "the provider refused the request (%u) and did not say why",
                              np_drive_of(x)->attempt->status);
    struct np_refusal r = {.type = NP_REFUSAL_invalid_request,
                           .status = np_refusal_status(NP_REFUSAL_invalid_request),
                           .message = np_span_of(text),
                           .retry_after_s = -1};
    np_drive_refuse(env, x, &r, now);
}

/* A policy chose to fail rather than to degrade. */
static void fail(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    const struct np_attempt *a = np_drive_of(x)->attempt;
    enum np_refusal_type type = a->class == NP_CLASS_timeout || a->class == NP_CLASS_deadline
                                    ? NP_REFUSAL_deadline_exceeded
                                    : NP_REFUSAL_upstream_failed;
    char *text =
        np_arena_printf(x->arena, "%s failed: %s", a->model->name, np_class_name(a->class));
    struct np_refusal r = {.type = type,
                           .status = np_refusal_status(type),
                           .message = np_span_of(text),
                           .retry_after_s =
                               a->retry_after_ms < 0 ? -1 : (a->retry_after_ms + 999) / 1000};
    np_drive_refuse(env, x, &r, now);
}

/* The table of classes. */
static void decide_by_class(struct np_drive_env *env, struct np_exchange *x,
                            const struct np_answer *answer, struct np_now now)
{
    const struct np_attempt *a = np_drive_of(x)->attempt;
    int64_t wait_ms;
    switch (np_class_then(a->class)) {
    case NP_THEN_AGAIN:
        if (a->class == NP_CLASS_rate_limited && go_other_key(env, x, now))
            return;
        wait_ms = seed_wait_ms(env, np_drive_candidate(x)->tries);
        if (a->retry_after_ms > wait_ms)
            wait_ms = a->retry_after_ms;
        go_again(env, x, wait_ms, now);
        return;
    case NP_THEN_KEY:
        if (!go_other_key(env, x, now))
            go_next(env, x, now);
        return;
    case NP_THEN_SHORTEN:
        if (!go_shorter(env, x, answer, now))
            go_roomier(env, x, answer, now);
        return;
    case NP_THEN_FILTERED:
        np_drive_degrade(env, x, NP_REASON_filtered, now);
        return;
    case NP_THEN_STOP:
        stop_rejected(env, x, answer, now);
        return;
    case NP_THEN_DEGRADE:
        np_drive_degrade(env, x, NP_REASON_deadline, now);
        return;
    default:
        go_next(env, x, now);
        return;
    }
}

void np_drive_decide(struct np_drive_env *env, struct np_exchange *x,
                     const struct np_answer *answer, struct np_now now)
{
    struct np_attempt *a = np_drive_of(x)->attempt;
    struct np_hook_report rep = {0};
    struct np_verdict v = {.kind = NP_VERDICT_NONE};
    np_hook_retry(np_drive_script(env, x), x, a, &v, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_retry, &rep)) {
        np_drive_refuse_failed_hook(env, x, NP_HOOK_retry, now);
        return;
    }
    enum np_verdict_kind kind = rep.result == NP_HOOK_GAVE ? v.kind : NP_VERDICT_NONE;
    /* At the deadline only the kind of end is left to choose. */
    if (a->class == NP_CLASS_deadline && (kind == NP_VERDICT_RETRY || kind == NP_VERDICT_NEXT))
        kind = NP_VERDICT_NONE;
    switch (kind) {
    case NP_VERDICT_RETRY:
        go_again(env, x, v.retry_in_ms, now);
        break;
    case NP_VERDICT_NEXT:
        go_next(env, x, now);
        break;
    case NP_VERDICT_DEGRADE:
        np_drive_degrade(env, x, NP_REASON_policy, now);
        break;
    case NP_VERDICT_FAIL:
        fail(env, x, now);
        break;
    default:
        decide_by_class(env, x, answer, now);
        break;
    }
}
