/* A finished exchange as a run: JSON for tests, and lines for people. */
#include "engine/play_impl.h"

#include "base/log.h"
#include "engine/account.h"
#include "engine/run_print.h"
#include "model/record.h"

static void put_money(struct np_json_w *w, const char *key, int64_t nusd)
{
    char text[NP_MONEY_TEXT];
    size_t n = np_money_format(nusd, text);
    np_json_w_raw(w, key, np_span_make(text, n));
}

static int64_t passed_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (int64_t)((to_ns - from_ns) / NP_NS_PER_MS) : 0;
}

static struct np_span refusal_type(const struct np_refusal *r)
{
    return r->type_text.n > 0 ? r->type_text : np_span_of(np_refusal_name(r->type));
}

static void put_text(struct np_json_w *w, const char *key, struct np_span s)
{
    if (s.n > 0)
        np_json_w_str(w, key, s);
}

/* --- members of the run ------------------------------------------------------------------------------ */

static void put_outcome(struct np_json_w *w, const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    np_json_w_i64(w, "status", np_account_status(x));
    if (x->client_gone)
        np_json_w_bool(w, "cancelled", true);
    np_json_w_bool(w, "degraded", o->degraded);
    if (!o->refused && o->status) {
        np_json_w_str(w, "text", o->text);
        np_json_w_cstr(w, "finish_reason", np_finish_name(o->finish));
    }
    if (o->degraded)
        np_json_w_cstr(w, "reason", np_reason_name(o->reason));
    if (x->answered_by && !o->degraded) {
        np_json_w_cstr(w, "model", x->answered_by->name);
        np_json_w_cstr(w, "provider", x->answered_by->provider->name);
    }
    if (o->retry_after_s >= 0)
        np_json_w_i64(w, "retry_after_s", o->retry_after_s);
    if (x->hedge)
        np_json_w_cstr(w, "hedge", np_hedge_name(x->hedge));
    put_money(w, "cost_usd", x->cost_nusd);
    np_json_w_i64(w, "latency_ms", passed_ms(x->accept_ns, x->end_ns));
    if (!o->refused && !o->broken)
        return;
    np_json_w_begin_key(w, "error", '{');
    np_json_w_str(w, "type", refusal_type(&o->refusal));
    np_json_w_str(w, "message", o->refusal.message);
    put_text(w, "param", o->refusal.param);
    np_json_w_end(w, '}');
}

static void put_attempt(struct np_json_w *w, const struct np_exchange *x,
                        const struct np_attempt *a)
{
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "model", a->model->name);
    np_json_w_cstr(w, "provider", a->model->provider->name);
    np_json_w_cstr(w, "class", np_class_name(a->class));
    if (a->status)
        np_json_w_i64(w, "status", a->status);
    put_text(w, "error", a->error);
    np_json_w_i64(w, "latency_ms", passed_ms(a->start_ns, a->end_ns));
    np_json_w_i64(w, "max_tokens", x->plan[a->candidate].completion_max);
    put_money(w, "cost_usd", a->cost_nusd);
    if (a->retry_in_ms >= 0)
        np_json_w_i64(w, "retry_in_ms", a->retry_in_ms);
    if (a->hedge)
        np_json_w_bool(w, "hedge", true);
    if (a->lost)
        np_json_w_bool(w, "lost", true);
    np_json_w_end(w, '}');
}

static void put_lists(struct np_json_w *w, const struct np_exchange *x)
{
    np_json_w_begin_key(w, "plan", '[');
    for (size_t i = 0; i < x->n_plan; i++)
        np_json_w_cstr(w, NULL, x->plan[i].model->name);
    np_json_w_end(w, ']');
    np_json_w_begin_key(w, "attempts", '[');
    for (size_t i = 0; i < x->n_attempts; i++)
        put_attempt(w, x, &x->attempts[i]);
    np_json_w_end(w, ']');
    np_json_w_begin_key(w, "skipped", '[');
    for (size_t i = 0; i < x->n_skipped; i++) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "model", x->skipped[i].model->name);
        np_json_w_cstr(w, "why", np_skip_name(x->skipped[i].why));
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    np_json_w_begin_key(w, "dropped", '[');
    for (size_t i = 0; i < x->request.n_context; i++) {
        if (!x->request.context[i].kept)
            np_json_w_raw(w, NULL, x->request.context[i].id);
    }
    np_json_w_end(w, ']');
}

/* Every hook has its list, so that a test can count calls that were not made. */
static void put_hooks(struct np_json_w *w, const struct np_exchange *x)
{
    np_json_w_begin_key(w, "hooks", '{');
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        np_json_w_begin_key(w, np_hook_name((enum np_hook)h), '[');
        for (size_t i = 0; i < x->n_notes; i++) {
            if ((int)x->notes[i].hook != h)
                continue;
            np_json_w_begin(w, '{');
            np_json_w_str(w, "returned", x->notes[i].returned);
            put_text(w, "why", x->notes[i].why);
            np_json_w_end(w, '}');
        }
        np_json_w_end(w, ']');
    }
    np_json_w_end(w, '}');
}

/* Every call in the order of calling, with what it cost. */
static void put_calls(struct np_json_w *w, const struct np_exchange *x)
{
    np_json_w_begin_key(w, "calls", '[');
    for (size_t i = 0; i < x->n_notes; i++) {
        const struct np_hook_note *h = &x->notes[i];
        char place[NP_HOOK_PLACE];
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "hook", np_hook_name(h->hook));
        np_json_w_str(w, "returned", h->returned);
        put_text(w, "why", h->why);
        put_text(w, "error", h->error);
        put_text(w, "at", np_hook_note_place(h, place));
        np_json_w_i64(w, "steps", h->steps);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

/* What was logged meanwhile, without the time of day and what the run tells anyway. */
static void print_log(struct np_play *p)
{
    static const char own[] = "info request request=", told[] = "warn hook failed request=";
    uint32_t tag;
    struct np_span line;
    while (np_ring_peek(p->log, &tag, &line)) {
        const char *blank = memchr(line.p, ' ', line.n);
        if (blank)
            line = np_span_make(blank + 1, line.n - (size_t)(blank + 1 - line.p));
        while (line.n > 0 && line.p[line.n - 1] == '\n')
            line.n--;
        if (!np_span_starts(line, own) && !np_span_starts(line, told))
            (void)np_buf_printf(&p->shown, "log       %.*s\n", (int)line.n, line.p);
        np_ring_pop(p->log);
    }
}

static void put_alarm(struct np_json_w *w, const struct np_alarm *a)
{
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "alert", a->alert);
    put_text(w, "subject", np_span_of(a->subject));
    put_text(w, "severity", np_span_of(a->severity));
    put_text(w, "text", np_span_of(a->text));
    if (a->silence)
        np_json_w_bool(w, "silence", true);
    np_json_w_end(w, '}');
}

/* "alarm     ticket  slow  gpt-4.1: gpt-4.1 is slow", "silenced  breaker  every subject" */
static void print_alarm(struct np_buf *b, const struct np_alarm *a)
{
    if (a->silence)
        (void)np_buf_printf(b, "silenced  %s  %s\n", a->alert,
                            a->subject[0] ? a->subject : "every subject");
    else
        (void)np_buf_printf(b, "alarm     %s  %s%s%s: %s\n", a->severity, a->alert,
                            a->subject[0] ? "  " : "", a->subject, a->text);
}

void np_play_on_alerts(struct np_play *p, const struct np_exchange *x,
                       const struct np_alarms *alarms)
{
    const struct np_hook_note *h = &x->notes[0];
    char place[NP_HOOK_PLACE];
    struct np_json_w w;
    np_require(x->n_notes == 1);
    np_run_print_steps(&p->shown, x);
    print_log(p);
    np_json_w_init(&w, p->out);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "alarms", '[');
    for (size_t i = 0; i < alarms->n; i++) {
        put_alarm(&w, &alarms->list[i]);
        print_alarm(&p->shown, &alarms->list[i]);
    }
    np_json_w_end(&w, ']');
    np_json_w_str(&w, "returned", h->returned);
    put_text(&w, "why", h->why);
    put_text(&w, "error", h->error);
    put_text(&w, "at", np_hook_note_place(h, place));
    np_json_w_i64(&w, "steps", h->steps);
    np_json_w_end(&w, '}');
    if (p->seen)
        p->seen(p->seen_ctx, x);
}

void np_play_on_closed(void *ctx, const struct np_exchange *x)
{
    struct np_play *p = ctx;
    struct np_json_w w;
    np_buf_reset(&p->record);
    np_record_decision(&p->record, x, true);
    np_json_w_init(&w, p->out);
    np_json_w_begin(&w, '{');
    put_outcome(&w, x);
    put_lists(&w, x);
    put_hooks(&w, x);
    put_calls(&w, x);
    np_json_w_end(&w, '}');
    np_run_print_steps(&p->shown, x);
    print_log(p);
    np_run_print_end(&p->shown, x);
    if (p->seen)
        p->seen(p->seen_ctx, x);
}
