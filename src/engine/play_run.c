/* A finished exchange as a run: JSON for tests, and a trace in lines for people. */
#include "engine/play_impl.h"

#include "base/log.h"
#include "model/record.h"

#include <stdio.h>

#define LINE_BYTES 1024

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
    np_json_w_i64(w, "status", o->status);
    np_json_w_bool(w, "degraded", o->degraded);
    if (!o->refused) {
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
    put_money(w, "cost_usd", x->cost_nusd);
    np_json_w_i64(w, "latency_ms", passed_ms(x->accept_ns, x->end_ns));
    if (!o->refused)
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

/* --- the trace --------------------------------------------------------------------------------------- */

/* One line of the trace, cut where it is too long. */
static void put_line(struct np_json_w *w, const char *fmt, ...) NP_PRINTF(2, 3);

static void put_line(struct np_json_w *w, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0)
        np_json_w_str(w, NULL,
                      np_span_make(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1));
}

static void trace_attempt(struct np_json_w *w, const struct np_exchange *x, size_t i)
{
    const struct np_attempt *a = &x->attempts[i];
    char cost[NP_MONEY_TEXT], status[16] = "", wait[40] = "";
    (void)np_money_format(a->cost_nusd, cost);
    if (a->status)
        (void)snprintf(status, sizeof status, " %u", a->status);
    if (a->retry_in_ms >= 0)
        (void)snprintf(wait, sizeof wait, ", again in %lld ms", (long long)a->retry_in_ms);
    put_line(w, "attempt %zu  %s of %s: %s%s, %lld ms, $%s%s%s%.*s", i + 1, a->model->name,
             a->model->provider->name, np_class_name(a->class), status,
             (long long)passed_ms(a->start_ns, a->end_ns), cost, wait, a->error.n ? ": " : "",
             (int)a->error.n, a->error.n ? a->error.p : "");
}

/* Hooks in the order in which they were called, each attempt behind those before it. */
static void trace_steps(const struct np_play *p, struct np_json_w *w, const struct np_exchange *x)
{
    size_t attempt = 0;
    for (size_t i = 0; i <= x->n_notes; i++) {
        while (attempt < x->n_attempts && (p->notes_before[attempt] <= i || i == x->n_notes))
            trace_attempt(w, x, attempt++);
        if (i == x->n_notes)
            break;
        const struct np_hook_note *h = &x->notes[i];
        put_line(w, "%-9s  %.*s%s%.*s", np_hook_name(h->hook), (int)h->returned.n, h->returned.p,
                 h->why.n ? ", because " : "", (int)h->why.n, h->why.n ? h->why.p : "");
    }
    for (size_t i = 0; i < x->n_skipped; i++)
        put_line(w, "skipped    %s: %s", x->skipped[i].model->name,
                 np_skip_name(x->skipped[i].why));
}

/* What was logged meanwhile, without the time of day and the core's own line for each request. */
static void trace_log(struct np_play *p, struct np_json_w *w)
{
    static const char own[] = "info request request=";
    uint32_t tag;
    struct np_span line;
    while (np_ring_peek(p->log, &tag, &line)) {
        const char *blank = memchr(line.p, ' ', line.n);
        if (blank)
            line = np_span_make(blank + 1, line.n - (size_t)(blank + 1 - line.p));
        while (line.n > 0 && line.p[line.n - 1] == '\n')
            line.n--;
        if (!np_span_starts(line, own))
            put_line(w, "log        %.*s", (int)line.n, line.p);
        np_ring_pop(p->log);
    }
}

static void trace_end(struct np_json_w *w, const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    char cost[NP_MONEY_TEXT];
    (void)np_money_format(x->cost_nusd, cost);
    if (o->refused) {
        struct np_span type = refusal_type(&o->refusal);
        put_line(w, "refused    %u %.*s: %.*s", o->status, (int)type.n, type.p,
                 (int)o->refusal.message.n, o->refusal.message.p);
    } else if (o->degraded) {
        put_line(w, "degraded   %u, reason %s, $%s, %lld ms", o->status, np_reason_name(o->reason),
                 cost, (long long)passed_ms(x->accept_ns, x->end_ns));
    } else {
        put_line(w, "answered   %s, %zu attempt%s, $%s, %lld ms", x->answered_by->name,
                 x->n_attempts, x->n_attempts == 1 ? "" : "s", cost,
                 (long long)passed_ms(x->accept_ns, x->end_ns));
    }
}

void np_play_on_closed(void *ctx, const struct np_exchange *x)
{
    struct np_play *p = ctx;
    struct np_json_w w;
    np_json_w_init(&w, p->out);
    np_json_w_begin(&w, '{');
    put_outcome(&w, x);
    put_lists(&w, x);
    put_hooks(&w, x);
    np_json_w_begin_key(&w, "trace", '[');
    trace_steps(p, &w, x);
    trace_log(p, &w);
    trace_end(&w, x);
    np_json_w_end(&w, ']');
    np_json_w_end(&w, '}');
}
