/* The ways in which an exchange ends. Each writes the outcome and asks the ground for the one reply. */
#include "engine/drive_impl.h"

#include "model/template.h"

static void give(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    np_require(!x->done && np_drive_of(x)->state != NP_DRIVE_DONE);
    np_drive_over(env, x);
    x->done = true;
    x->end_ns = now.mono_ns; /* what the reply says; set anew when it has left */
    env->ground->reply(env->ground->ctx, x);
}

void np_drive_refuse(struct np_drive_env *env, struct np_exchange *x, const struct np_refusal *r,
                     struct np_now now)
{
    x->outcome = (struct np_outcome){
        .status = r->status, .refused = true, .refusal = *r, .retry_after_s = r->retry_after_s};
    give(env, x, now);
}

static int64_t up_to_s(int64_t ms)
{
    return (ms + 999) / 1000;
}

/* After how many seconds asking again may help; -1 when nothing is known. */
static int64_t retry_after_s(struct np_drive_env *env, const struct np_exchange *x,
                             enum np_reason reason, struct np_now now)
{
    const struct np_drive *d = np_drive_of(x);
    uint64_t wait_ns = UINT64_MAX;
    switch (reason) {
    case NP_REASON_budget:
        if (d->blocked_by_budget && d->block->store_lost)
            return 1;
        if (!d->blocked_by_budget || d->block->resets_wall_ms == INT64_MAX)
            return -1;
        return d->block->resets_wall_ms > now.wall_ms
                   ? up_to_s(d->block->resets_wall_ms - now.wall_ms)
                   : 1;
    case NP_REASON_breaker:
        for (size_t i = 0; i < x->n_plan; i++) {
            uint64_t w = np_breaker_wait_ns(env->guard, x->plan[i].model, now.mono_ns);
            wait_ns = w < wait_ns ? w : wait_ns;
        }
        if (wait_ns == UINT64_MAX)
            return -1;
        return wait_ns < NP_NS_PER_S ? 1 : (int64_t)((wait_ns - 1) / NP_NS_PER_S) + 1;
    case NP_REASON_shed:
        return 1;
    case NP_REASON_exhausted:
        return d->last_retry_after_ms < 0 ? -1 : up_to_s(d->last_retry_after_ms);
    default:
        return -1;
    }
}

/* The text that the set's template for the reason gives, or the built-in one. */
static struct np_span template_text(struct np_exchange *x, enum np_reason reason,
                                    int64_t retry_after)
{
    const struct np_template *t =
        np_catalog_template(x->catalog, np_span_of(np_reason_name(reason)));
    struct np_span source = t ? t->text : np_span_of(np_template_builtin(reason));
    struct np_buf b;
    np_buf_init(&b, 65536);
    np_template_fill(&b, source, x, reason, retry_after, NULL, 0);
    struct np_span text = np_arena_dup(x->arena, np_buf_view(&b));
    np_buf_free(&b);
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    return text.p ? text : np_span_of(np_template_builtin(reason));
}

void np_drive_degrade(struct np_drive_env *env, struct np_exchange *x, enum np_reason reason,
                      struct np_now now)
{
    int64_t wait_s = retry_after_s(env, x, reason, now);
    x->answered_by = NULL;
    x->outcome = (struct np_outcome){
        .status = 200,
        .degraded = true,
        .reason = reason,
        .finish = reason == NP_REASON_filtered ? NP_FINISH_content_filter : NP_FINISH_degraded,
        .retry_after_s = wait_s};
    struct np_hook_report rep = {0};
    np_hook_degrade(np_drive_script(env, x), x, reason, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_degrade, &rep)) {
        np_drive_refuse_failed_hook(env, x, NP_HOOK_degrade, now);
        return;
    }
    if (x->outcome.text.p == NULL)
        x->outcome.text = template_text(x, reason, x->outcome.retry_after_s);
    give(env, x, now);
}

/* What a hook wants of a stream that has reached the client comes too late. */
static void note_too_late(struct np_exchange *x, const struct np_hook_report *rep)
{
    if (rep->result != NP_HOOK_GAVE || x->n_notes == 0)
        return;
    struct np_hook_note *note = &x->notes[x->n_notes - 1];
    char *text =
        np_arena_printf(x->arena, "%.*s (too late: the stream has reached the client)",
                        (int)(note->returned.n < 256 ? note->returned.n : 256), note->returned.p);
    if (text)
        note->returned = np_span_of(text);
}

/* respond hears what was said, and can't change it any more. */
static void answer_emitted(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_hook_report rep = {0};
    struct np_verdict v = {.kind = NP_VERDICT_NONE};
    struct np_span said = x->answer.text;
    np_hook_respond(np_drive_script(env, x), x, &v, &rep);
    (void)np_drive_hook_done(env, x, NP_HOOK_respond, &rep);
    note_too_late(x, &rep);
    x->answer.text = said;
    x->outcome = (struct np_outcome){
        .status = 200, .text = said, .finish = x->answer.finish, .retry_after_s = -1};
    give(env, x, now);
}

void np_drive_break_off(struct np_drive_env *env, struct np_exchange *x,
                        const struct np_answer *answer, struct np_now now)
{
    const struct np_attempt *a = np_drive_of(x)->attempt;
    struct np_hook_report rep = {0};
    struct np_verdict v = {.kind = NP_VERDICT_NONE};
    np_hook_retry(np_drive_script(env, x), x, a, &v, &rep);
    (void)np_drive_hook_done(env, x, NP_HOOK_retry, &rep);
    note_too_late(x, &rep);
    enum np_refusal_type type = answer->class == NP_CLASS_deadline ? NP_REFUSAL_deadline_exceeded
                                                                   : NP_REFUSAL_upstream_failed;
    char *text = np_arena_printf(x->arena, "the stream of %s broke off: %s", a->model->name,
                                 np_class_name(answer->class));
    x->answered_by = a->model;
    x->outcome = (struct np_outcome){.status = 200,
                                     .text = answer->text,
                                     .finish = NP_FINISH_error,
                                     .refusal = {.type = type,
                                                 .status = np_refusal_status(type),
                                                 .message = np_span_of(text),
                                                 .retry_after_s = -1},
                                     .retry_after_s = -1,
                                     .broken = true};
    give(env, x, now);
}

void np_drive_end_midway(struct np_drive_env *env, struct np_exchange *x,
                         const struct np_refusal *r, struct np_now now)
{
    x->answered_by = np_drive_of(x)->attempt->model;
    x->outcome = (struct np_outcome){.status = 200,
                                     .finish = NP_FINISH_error,
                                     .refusal = *r,
                                     .retry_after_s = -1,
                                     .broken = true};
    give(env, x, now);
}

void np_drive_answer(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    struct np_hook_report rep = {0};
    struct np_verdict v = {.kind = NP_VERDICT_NONE};
    if (x->emitted) {
        answer_emitted(env, x, now);
        return;
    }
    np_hook_respond(np_drive_script(env, x), x, &v, &rep);
    if (np_drive_hook_done(env, x, NP_HOOK_respond, &rep)) {
        np_drive_refuse_failed_hook(env, x, NP_HOOK_respond, now);
        return;
    }
    if (rep.result == NP_HOOK_GAVE && v.kind == NP_VERDICT_DEGRADE) {
        np_drive_degrade(env, x, NP_REASON_policy, now);
        return;
    }
    x->outcome = (struct np_outcome){
        .status = 200, .text = x->answer.text, .finish = x->answer.finish, .retry_after_s = -1};
    give(env, x, now);
}

/* The refusal for a budget whose on_exceeded is "reject". Figures only where the account is the
 * tenant's own. */
static void refuse_budget(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    const struct np_budget_block *b = np_drive_of(x)->block;
    struct np_buf text;
    np_buf_init(&text, 512);
    if (b->over_limit) {
        (void)np_buf_printf(&text,
                            "this request alone may cost more than the budget of account %s allows",
                            b->account);
        if (b->own) {
            (void)np_buf_puts(&text, ": limit ");
            np_money_put(&text, b->limit_nusd);
            (void)np_buf_puts(&text, " USD, the least that must be held for it ");
            np_money_put(&text, np_drive_of(x)->need_nusd);
            (void)np_buf_puts(&text, " USD");
        }
        (void)np_buf_puts(&text, "; a shorter prompt or a smaller maxTokens costs less");
    } else if (b->own) {
        (void)np_buf_printf(&text, "the budget of account %s is used up: limit ", b->account);
        np_money_put(&text, b->limit_nusd);
        (void)np_buf_puts(&text, " USD, spent ");
        np_money_put(&text, b->spent_nusd);
        (void)np_buf_puts(&text, " USD, reserved ");
        np_money_put(&text, b->reserved_nusd);
        (void)np_buf_puts(&text, " USD");
    } else {
        (void)np_buf_printf(&text, "a shared budget (%s) is used up", b->account);
    }
    if (b->resets_wall_ms < INT64_MAX) {
        char at[32];
        np_clock_format_utc(b->resets_wall_ms, at, sizeof at);
        (void)np_buf_printf(&text, "; it resets at %s", at);
    }
    struct np_refusal r = {.type = NP_REFUSAL_budget_exceeded,
                           .status = np_refusal_status(NP_REFUSAL_budget_exceeded),
                           .message = np_arena_dup(x->arena, np_buf_view(&text)),
                           .retry_after_s = retry_after_s(env, x, NP_REASON_budget, now)};
    np_buf_free(&text);
    np_drive_refuse(env, x, &r, now);
}

/* No model of the plan has room for the prompt. */
static void refuse_too_long(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    long long tokens = (long long)np_request_prompt_tokens(&x->request);
    char *text =
        np_drive_of(x)->unsaid_limit
            ? np_arena_printf(
                  x->arena,
                  "the prompt is too long for the provider, which did not say what it takes: "
                  "it has about %lld tokens without the context that may be dropped",
                  tokens)
            : np_arena_printf(
                  x->arena,
                  "the prompt is too long: it has about %lld tokens without the context that may be "
                  "dropped, and the largest model that may be used takes %lld together with the answer",
                  tokens, (long long)np_drive_of(x)->too_small_room);
    struct np_refusal r = {.type = NP_REFUSAL_invalid_request,
                           .status = np_refusal_status(NP_REFUSAL_invalid_request),
                           .message = np_span_of(text),
                           .retry_after_s = -1};
    np_drive_refuse(env, x, &r, now);
}

void np_drive_exhausted(struct np_drive_env *env, struct np_exchange *x, struct np_now now)
{
    const struct np_drive *d = np_drive_of(x);
    enum np_reason reason = d->obstacle;
    if (x->n_plan > 0 && d->too_small == x->n_plan) {
        refuse_too_long(env, x, now);
        return;
    }
    if (x->n_plan > 0 && d->behind_breakers == x->n_plan && x->n_attempts == 0)
        reason = NP_REASON_breaker;
    bool budget = reason == NP_REASON_budget && d->blocked_by_budget && !d->block->store_lost;
    if (budget && !d->block->over_limit)
        np_ledger_turned_away(env->ledger, x->catalog, np_span_of(d->block->account), now.wall_ms);
    if (budget && d->block->reject) {
        refuse_budget(env, x, now);
        return;
    }
    np_drive_degrade(env, x, reason, now);
}
