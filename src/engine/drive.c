/* Events of an exchange, and the walk along its plan. */
#include "engine/drive.h"

#include "base/log.h"
#include "engine/drive_impl.h"
#include "model/quote.h"

int64_t np_drive_left_ms(const struct np_exchange *x, struct np_now now)
{
    if (now.mono_ns >= x->deadline_ns)
        return 0;
    return (int64_t)((x->deadline_ns - now.mono_ns) / NP_NS_PER_MS);
}

int64_t np_drive_likely_ms(const struct np_drive_env *env, const struct np_model *m,
                           struct np_now now)
{
    double p95 = np_stat_model_p95_ms(env->guard, m->slot, now.mono_ns);
    if (p95 < 0)
        return NP_UNKNOWN_P95_MS;
    return p95 < NP_QUICKEST_P95_MS ? NP_QUICKEST_P95_MS : (int64_t)p95 + 1;
}

struct np_script *np_drive_script(const struct np_drive_env *env, struct np_exchange *x)
{
    return env->script(env->script_ctx, x);
}

bool np_drive_hook_done(struct np_drive_env *env, struct np_exchange *x, enum np_hook hook,
                        const struct np_hook_report *rep)
{
    if (rep->result == NP_HOOK_ABSENT)
        return false;
    np_meter_observe(env->meters, NP_FAMILY_hook_duration, (uint32_t)hook, 0, (int64_t)rep->ns);
    if (env->hooked)
        env->hooked(x, hook, rep->result == NP_HOOK_FAILED);
    if (rep->stalled)
        np_meter_add(env->meters, NP_FAMILY_hook_stall, (uint32_t)hook, 0, 0, 1);
    if (rep->result != NP_HOOK_FAILED)
        return false;
    np_meter_add(env->meters, NP_FAMILY_hook_errors, (uint32_t)hook, (uint32_t)rep->failure, 0, 1);
    np_log(NP_LOG_WARN, "hook failed", NP_KVS("request", x->id), NP_KVS("hook", np_hook_name(hook)),
           NP_KVS("policy", x->policy), NP_KVS("error", rep->error));
    return x->endpoint->on_error[hook] == NP_ON_ERROR_REFUSE;
}

void np_drive_refuse_failed_hook(struct np_drive_env *env, struct np_exchange *x, enum np_hook hook,
                                 struct np_now now)
{
    char *text = np_arena_printf(x->arena, "the policy's %s hook failed", np_hook_name(hook));
    struct np_refusal r = {.type = NP_REFUSAL_policy_failed,
                           .status = np_refusal_status(NP_REFUSAL_policy_failed),
                           .message = np_span_of(text),
                           .retry_after_s = -1};
    np_drive_refuse(env, x, &r, now);
}

/* The endpoint's models in their order; false without memory. */
static bool default_plan(struct np_exchange *x)
{
    size_t n = x->endpoint->n_models < NP_MAX_PLAN ? x->endpoint->n_models : NP_MAX_PLAN;
    if (!np_exchange_plan(x, n))
        return false;
    for (; x->n_plan < n; x->n_plan++)
        x->plan[x->n_plan] =
            (struct np_candidate){.model = x->endpoint->models[x->n_plan], .max_tokens = -1};
    return true;
}

static void refuse_without_memory(struct np_drive_env *env, struct np_exchange *x,
                                  struct np_now now)
{
    const struct np_refusal r = {.type = NP_REFUSAL_overloaded,
                                 .status = np_refusal_status(NP_REFUSAL_overloaded),
                                 .message = NP_SPAN("no memory for this request now"),
                                 .retry_after_s = 1};
    np_meter_add(env->meters, NP_FAMILY_shed, NP_SHED_MEMORY, 0, 0, 1);
    np_drive_refuse(env, x, &r, now);
}

/* Drops what the tenant may not use; false when nothing is left although something was there. */
static bool keep_allowed(struct np_exchange *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->n_plan; i++) {
        if (np_tenant_may_use_model(x->tenant, x->plan[i].model))
            x->plan[kept++] = x->plan[i];
    }
    bool lost_all = x->n_plan > 0 && kept == 0;
    x->n_plan = kept;
    return !lost_all;
}

/* Asks admit and route. False when the exchange has ended. */
static bool make_plan(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_hook_report rep = {0};
    struct np_refusal refusal = {.retry_after_s = -1};
    np_hook_admit(np_drive_script(env, x), x, &refusal, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_admit, &rep)) {
        np_drive_refuse_failed_hook(env, x, NP_HOOK_admit, now);
        return false;
    }
    if (rep.result == NP_HOOK_GAVE) {
        np_drive_refuse(env, x, &refusal, now);
        return false;
    }
    np_hook_route(np_drive_script(env, x), x, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_route, &rep)) {
        np_drive_refuse_failed_hook(env, x, NP_HOOK_route, now);
        return false;
    }
    if (rep.result != NP_HOOK_GAVE && !default_plan(x)) {
        refuse_without_memory(env, x, now);
        return false;
    }
    if (!keep_allowed(x)) {
        struct np_refusal r = {.type = NP_REFUSAL_forbidden,
                               .status = np_refusal_status(NP_REFUSAL_forbidden),
                               .message =
                                   NP_SPAN("this key may not use any of the models that were "
                                           "chosen for the request"),
                               .retry_after_s = -1};
        np_drive_refuse(env, x, &r, now);
        return false;
    }
    return true;
}

/* Its tenant has room for it: the body is looked at. */
static void begin(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_refusal refusal = {.retry_after_s = -1};
    enum np_err err = np_request_parse(x->arena, x->body, &x->request, &refusal);
    if (!err && x->request.stream)
        err = np_flow_make(x, 0);
    if (err) {
        if (err == NP_E_NOMEM)
            refuse_without_memory(env, x, now);
        else
            np_drive_refuse(env, x, &refusal, now);
        return;
    }
    if (make_plan(env, x, now))
        np_drive_advance(env, x, now);
}

/* Asks for its tenant's leave, before anything costs time. */
static void enter(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    struct np_refusal refusal;
    enum np_quota_answer a = np_quota_enter(env->ledger, &d->quota, x, now.wall_ms, &refusal);
    if (a == NP_QUOTA_WAIT && np_drive_left_ms(x, now) > 0) {
        d->outside = true;
        np_drive_await_money(env, x, now);
        return;
    }
    d->outside = d->for_money = false;
    if (a == NP_QUOTA_REFUSED)
        np_drive_refuse(env, x, &refusal, now);
    else
        begin(env, x, now);
}

void np_drive_request(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_arena_alloc(x->arena, sizeof *d);
    np_require(d); /* the arena is fresh and larger than this */
    d->last_retry_after_ms = -1;
    d->obstacle = NP_REASON_exhausted;
    x->drive = d;
    enter(env, x, now);
}

void np_drive_over(struct np_drive_env *env, struct np_exchange *x)
{
    struct np_drive *d = np_drive_of(x);
    d->state = NP_DRIVE_DONE;
    np_quota_leave(env->ledger, &d->quota);
}

/* Passes over all that is left of the plan. */
static void skip_rest(struct np_drive_env *env, struct np_exchange *x)
{
    for (; x->at < x->n_plan; x->at = np_drive_next(x))
        (void)np_drive_skip(env, x, NP_SKIP_deadline, NP_REASON_deadline);
}

void np_drive_advance(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    while (x->at < x->n_plan) {
        if (x->plan[x->at].hedged && !d->again) {
            x->at++;
            continue;
        }
        if (x->counted_attempts >= x->endpoint->max_attempts || x->n_attempts == NP_MAX_ATTEMPTS)
            break;
        if (np_drive_left_ms(x, now) < NP_LEAST_ATTEMPT_MS) {
            skip_rest(env, x);
            break;
        }
        switch (np_drive_try(env, x, now)) {
        case NP_TRIED_CALLING:
            d->state = NP_DRIVE_CALLING;
            d->for_money = false;
            return;
        case NP_TRIED_ENDED:
        case NP_TRIED_WAITING:
            return;
        case NP_TRIED_PASSED:
            x->at = np_drive_next(x);
            d->again = d->other_key = d->for_money = false;
            break;
        }
    }
    np_drive_exhausted(env, x, now);
}

/* The call or wait that ends now was not neap's own time. */
static void count_phase(struct np_exchange *x, struct np_now now)
{
    uint64_t since_ns = np_drive_of(x)->phase_ns;
    x->upstream_ns += now.mono_ns > since_ns ? now.mono_ns - since_ns : 0;
}

static struct np_span words_of(struct np_exchange *x, const struct np_call_end *end)
{
    const char *words = end->detail[0] ? end->detail : np_call_how_name(end->how);
    return np_arena_dup(x->arena, np_span_of(words));
}

void np_drive_failure(struct np_exchange *x, const struct np_call_end *end, struct np_now now,
                      struct np_answer *out)
{
    *out = (struct np_answer){.retry_after_ms = -1, .limit_tokens = -1, .prompt_seen = -1};
    switch (end->how) {
    case NP_CALL_CONNECT_TIMEOUT:
    case NP_CALL_FIRST_BYTE_TIMEOUT:
    case NP_CALL_IDLE_TIMEOUT:
    case NP_CALL_TOTAL_TIMEOUT:
        out->class = np_drive_left_ms(x, now) == 0 ? NP_CLASS_deadline : NP_CLASS_timeout;
        break;
    case NP_CALL_TOO_LARGE:
    case NP_CALL_BAD_FRAMING:
        out->class = NP_CLASS_bad_reply;
        break;
    default:
        out->class = NP_CLASS_network;
        break;
    }
    out->error = words_of(x, end);
}

/* What a reply says. An error is one from its head on: where the rest does not come, or can't be read, its
 * status and its headers still hold. */
static enum np_err read_reply(struct np_drive_env *env, struct np_exchange *x,
                              const struct np_attempt *a, const struct np_call_result *result,
                              struct np_answer *out)
{
    struct np_wire_reply reply = result->reply;
    bool whole = result->end.how == NP_CALL_COMPLETE;
    if (!whole)
        reply.body = NP_SPAN("");
    enum np_err err = np_adapter_answer(np_drive_script(env, x), x, a->model, &reply, out);
    if (!err && !whole)
        out->error = words_of(x, &result->end);
    return err;
}

/* A streamed attempt counts as quick as its first text came. */
static void count_first_text(struct np_drive_env *env, const struct np_exchange *x,
                             struct np_attempt *a)
{
    const struct np_flow *f = np_drive_flow(x, a);
    if (!f || !f->open)
        return;
    a->first_byte_ns = f->first_ns;
    if (f->first_ns)
        np_meter_observe(env->meters, NP_FAMILY_llm_ttft, a->model->slot, 0,
                         (int64_t)(f->first_ns - a->start_ns));
}

static uint64_t latency_ns(const struct np_exchange *x, const struct np_attempt *a)
{
    const struct np_flow *f = np_drive_flow(x, a);
    bool streamed = f && f->open && f->first_ns;
    return (streamed ? f->first_ns : a->end_ns) - a->start_ns;
}

/* Counts an attempt that has ended, in guards and meters. */
static void attempt_ended(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                          struct np_now now)
{
    const struct np_provider *p = a->model->provider;
    a->end_ns = now.mono_ns > a->start_ns ? now.mono_ns : a->start_ns;
    a->ended = true;
    np_inflight_give(env->guard, p);
    np_breaker_report(env->guard, a->model, now.mono_ns, a->class, a->retry_after_ms, a->probe);
    if (a->key)
        np_key_report(env->guard, p, (size_t)(a->key - p->keys), now.mono_ns, a->class,
                      a->retry_after_ms);
    count_first_text(env, x, a);
    if (np_class_fault(a->class) != NP_FAULT_CALLER)
        np_stat_attempt(env->guard, a->model, now.mono_ns, latency_ns(x, a),
                        a->class == NP_CLASS_ok, a->usage.completion);
    else if (a->lost && !a->hedge)
        /* It would have taken longer still: left out, slow models would seem quick. A hedge that was ended
         * had no time to show anything. */
        np_stat_attempt(env->guard, a->model, now.mono_ns, a->end_ns - a->start_ns, true, -1);

    uint32_t slot = a->model->slot;
    np_meter_add(env->meters, NP_FAMILY_llm_inflight, slot, 0, 0, -1);
    np_meter_add(env->meters, NP_FAMILY_llm_attempts, slot, (uint32_t)a->class, 0, 1);
    np_meter_observe(env->meters, NP_FAMILY_llm_latency, slot, 0,
                     (int64_t)(a->end_ns - a->start_ns));
    if (a->connect_ns)
        np_meter_observe(env->meters, NP_FAMILY_llm_connect, slot, 0, (int64_t)a->connect_ns);
    if (a->cost_nusd > 0)
        np_meter_add(env->meters, NP_FAMILY_llm_cost_total, slot, 0, 0, a->cost_nusd);
    if (a->settled != NP_SETTLED_VOID) {
        np_meter_observe(env->meters, NP_FAMILY_llm_cost, slot, 0, a->cost_nusd);
        if (!a->model->price.priced)
            np_meter_add(env->meters, NP_FAMILY_llm_unpriced, slot, 0, 0, 1);
    }
    const int64_t tokens[] = {a->usage.prompt, a->usage.completion, a->usage.cached,
                              a->usage.cache_write + a->usage.cache_write_1h, a->usage.reasoning};
    for (uint32_t kind = NP_TOK_PROMPT; kind <= NP_TOK_REASONING; kind++) {
        if (tokens[kind] > 0)
            np_meter_add(env->meters, NP_FAMILY_llm_tokens, slot, kind, 0, tokens[kind]);
    }
}

/* The calls that were read to their end after the client had left: booked, and that is all. */
static void drained(struct np_drive_env *env, struct np_exchange *x)
{
    np_hedge_note(env, x, NP_HEDGE_left);
    np_require(env->draining_calls > 0);
    env->draining_calls--;
    np_drive_over(env, x);
}

void np_drive_done(struct np_drive_env *env, struct np_exchange *x, unsigned leg,
                   const struct np_call_result *result, struct np_now now)
{
    const struct np_drive *d = np_drive_of(x);
    struct np_attempt *a = d->leg[leg].attempt;
    const struct np_flow *f = d->leg[leg].flow;
    np_require(d->state == NP_DRIVE_CALLING && a);
    struct np_answer answer;
    if (f && f->open) {
        np_flow_answer(x, a, &result->end, now, &answer);
        answer.provider_request_id = np_arena_dup(x->arena, result->reply.request_id);
    } else if (result->end.how != NP_CALL_COMPLETE && result->end.status < 400) {
        np_drive_failure(x, &result->end, now, &answer);
    } else if (read_reply(env, x, a, result, &answer)) {
        answer = (struct np_answer){.class = NP_CLASS_bad_reply,
                                    .error = NP_SPAN("no memory to read the reply"),
                                    .retry_after_ms = -1,
                                    .limit_tokens = -1,
                                    .prompt_seen = -1};
    }
    np_drive_end_attempt(env, x, a, &result->end, &answer, now);
}

/* The attempt is under way no longer. */
static void leave_leg(struct np_exchange *x, struct np_attempt *a, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    np_require(d->leg[a->hedge].attempt == a);
    d->leg[a->hedge].attempt = NULL;
    d->attempt = a;
    if (!np_drive_other(x, a))
        count_phase(x, now);
}

void np_drive_end_attempt(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                          const struct np_call_end *end, const struct np_answer *answer,
                          struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    if (answer->class == NP_CLASS_ok)
        np_hedge_won(env, x, a, now);
    leave_leg(x, a, now);
    a->class = x->client_gone ? NP_CLASS_cancelled : answer->class;
    a->status = end->status;
    a->error = np_quote_hide(x->arena, answer->error, x->body);
    a->provider_request_id = answer->provider_request_id;
    a->said = answer->said;
    a->retry_after_ms = answer->retry_after_ms;
    a->first_byte_ns = end->first_byte_ns;
    a->connect_ns = end->connect_ns;
    np_drive_settle(env, x, a, end, answer, now);
    attempt_ended(env, x, a, now);
    d->last_retry_after_ms = answer->retry_after_ms;
    d->again = d->other_key = false;
    if (np_drive_other(x, a)) {
        np_hedge_failed(env, x, a);
        return;
    }
    np_hedge_disarm(env, x);
    if (x->client_gone) {
        drained(env, x);
        return;
    }
    if (a->hedge && a->class != NP_CLASS_ok)
        np_hedge_note(env, x, NP_HEDGE_failed);
    x->at = a->candidate;
    if (a->class == NP_CLASS_ok) {
        x->answer = *answer;
        x->answered_by = a->model;
        np_drive_answer(env, x, now);
    } else if (x->emitted) {
        np_drive_break_off(env, x, answer, now);
    } else {
        np_drive_decide(env, x, answer, now);
    }
}

void np_drive_wake(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    if (d->state == NP_DRIVE_CALLING) {
        np_hedge_due(env, x, now);
        return;
    }
    np_require(d->state == NP_DRIVE_WAITING);
    /* The ledger's time is neap's own. */
    if (!d->for_money)
        count_phase(x, now);
    d->state = NP_DRIVE_NEW;
    if (d->outside)
        enter(env, x, now);
    else
        np_drive_advance(env, x, now);
}

void np_drive_cut(struct np_drive_env *env, struct np_exchange *x, struct np_attempt *a,
                  struct np_now now)
{
    struct np_call_end end = {.how = NP_CALL_RESET};
    end.request_sent = env->ground->abort(env->ground->ctx, x, a->hedge);
    struct np_answer answer = {.retry_after_ms = -1, .limit_tokens = -1, .prompt_seen = -1};
    const struct np_flow *f = np_drive_flow(x, a);
    if (f && f->open)
        np_flow_answer(x, a, &end, now, &answer);
    leave_leg(x, a, now);
    a->class = NP_CLASS_cancelled;
    np_drive_settle(env, x, a, &end, f && f->open ? &answer : NULL, now);
    attempt_ended(env, x, a, now);
}

/* Nobody waits for the calls that are under way: they end here. */
static void cut_calls(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    for (unsigned leg = 0; leg < NP_LEGS; leg++) {
        if (d->leg[leg].attempt)
            np_drive_cut(env, x, d->leg[leg].attempt, now);
    }
}

void np_drive_gone(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    x->client_gone = true;
    if (!d || d->state == NP_DRIVE_DONE)
        return;
    x->done = true;
    if (d->state == NP_DRIVE_CALLING) {
        np_hedge_disarm(env, x);
        if (x->endpoint->drain_on_disconnect && env->draining_calls < NP_MAX_DRAINING) {
            env->draining_calls++;
            return;
        }
        cut_calls(env, x, now);
        np_hedge_note(env, x, NP_HEDGE_left);
    } else if (d->state == NP_DRIVE_WAITING && !d->for_money) {
        count_phase(x, now);
    }
    np_drive_over(env, x);
}

void np_drive_abandon(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    np_require(x->client_gone && np_drive_of(x)->state == NP_DRIVE_CALLING);
    cut_calls(env, x, now);
    drained(env, x);
}

void np_drive_dismiss(struct np_drive_env *env, struct np_exchange *x, const struct np_refusal *r,
                      struct np_now now)
{
    struct np_drive *d = np_drive_of(x);
    np_require(!x->done && !x->client_gone && d->state != NP_DRIVE_DONE);
    if (d->state == NP_DRIVE_CALLING) {
        np_hedge_disarm(env, x);
        cut_calls(env, x, now);
        np_hedge_note(env, x, NP_HEDGE_failed);
    } else {
        env->ground->unwait(env->ground->ctx, x);
        if (!d->for_money)
            count_phase(x, now);
    }
    if (x->emitted)
        np_drive_end_midway(env, x, r, now);
    else
        np_drive_refuse(env, x, r, now);
}

bool np_drive_idle(const struct np_exchange *x)
{
    const struct np_drive *d = np_drive_of(x);
    return !d || d->state == NP_DRIVE_DONE;
}
