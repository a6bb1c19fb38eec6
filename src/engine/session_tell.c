/* The last run in sentences, and what it cost. Both are written down when the exchange closes. */
#include "engine/session_impl.h"

/* --- sentences ------------------------------------------------------------------------------------- */

/* "it was refused: …" and the like, with the hook's own why. */
static void put_hook(struct np_buf *b, const struct np_hook_note *h)
{
    const char *name = np_hook_name(h->hook);
    char text[NP_HOOK_PLACE];
    struct np_span r = h->returned, place = np_hook_note_place(h, text);
    if (h->error.n > 0)
        np_buf_printf(b, "%s failed (%.*s), so that its default decided", name, (int)h->error.n,
                      h->error.p);
    else if (np_span_is(r, "nothing"))
        np_buf_printf(b, "%s had no opinion", name);
    else if (h->hook == NP_HOOK_route)
        np_buf_printf(b, "route planned %.*s", (int)r.n, r.p);
    else
        np_buf_printf(b, "%s said %.*s", name, (int)r.n, r.p);
    if (h->why.n > 0)
        np_buf_printf(b, ", because %.*s", (int)h->why.n, h->why.p);
    if (place.n > 0)
        np_buf_printf(b, " (%.*s)", (int)place.n, place.p);
    np_buf_puts(b, ".\n");
}

static void put_skipped(struct np_buf *b, const struct np_skipped *k)
{
    static const char *const words[] = {
        [NP_SKIP_budget] = "there was not enough money for it, or budget passed it over",
        [NP_SKIP_breaker] = "its breaker was open",
        [NP_SKIP_busy] = "too much was under way, or the retry budget was used up",
        [NP_SKIP_quota] = "no key of its provider was free",
        [NP_SKIP_deadline] = "there was no time left for it"};
    np_buf_printf(b, "%s was passed over: %s.\n", k->model->name, words[k->why]);
}

static void put_attempt(struct np_buf *b, const struct np_attempt *a)
{
    char cost[NP_MONEY_TEXT];
    unsigned long long ms = a->end_ns > a->start_ns ? (a->end_ns - a->start_ns) / NP_NS_PER_MS : 0;
    (void)np_money_format(a->cost_nusd, cost);
    np_buf_printf(b, "Attempt %u: %s of %s%s ", a->number, a->model->name, a->model->provider->name,
                  a->hedge ? ", asked beside the one before," : "");
    if (a->lost)
        np_buf_puts(b, "was ended when another answered");
    else if (a->class == NP_CLASS_ok)
        np_buf_puts(b, "answered");
    else if (a->status)
        np_buf_printf(b, "answered %u (%s)", a->status, np_class_name(a->class));
    else
        np_buf_printf(b, "failed (%s)", np_class_name(a->class));
    np_buf_printf(b, " after %llu ms, for $%s", ms, cost);
    if (a->retry_in_ms >= 0)
        np_buf_printf(b, "; it was asked again %lld ms later", (long long)a->retry_in_ms);
    np_buf_puts(b, ".\n");
}

/* What happened before the n-th note, since *a and *k. */
static void put_before(struct np_buf *b, const struct np_exchange *x, size_t n, size_t *a,
                       size_t *k)
{
    for (;;) {
        bool attempt = *a < x->n_attempts && x->attempts[*a].after_notes <= n;
        bool skipped = *k < x->n_skipped && x->skipped[*k].after_notes <= n;
        if (skipped && x->skipped[*k].after_attempts <= *a)
            put_skipped(b, &x->skipped[(*k)++]);
        else if (attempt)
            put_attempt(b, &x->attempts[(*a)++]);
        else
            return;
    }
}

static void put_end(struct np_buf *b, const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    char cost[NP_MONEY_TEXT];
    (void)np_money_format(x->cost_nusd, cost);
    unsigned long long ms = (x->end_ns - x->accept_ns) / NP_NS_PER_MS;
    if (o->refused)
        np_buf_printf(b, "So the client was refused with %u: %.*s.\n", o->status,
                      (int)o->refusal.message.n, o->refusal.message.p);
    else if (o->degraded)
        np_buf_printf(b, "So the client got the degraded reply (%s) after %llu ms; it cost $%s.\n",
                      np_reason_name(o->reason), ms, cost);
    else
        np_buf_printf(b, "So the client got the answer of %s after %llu ms; it cost $%s.\n",
                      x->answered_by->name, ms, cost);
}

static void write_why(struct np_buf *b, const struct np_exchange *x)
{
    size_t attempts = 0, skipped = 0;
    np_buf_printf(b, "%s asked %s, with about %lld tokens.\n", x->tenant->name, x->endpoint->path,
                  (long long)np_request_prompt_tokens(&x->request));
    for (size_t i = 0; i < x->n_notes; i++) {
        put_before(b, x, i, &attempts, &skipped);
        put_hook(b, &x->notes[i]);
    }
    put_before(b, x, SIZE_MAX, &attempts, &skipped);
    put_end(b, x);
}

/* --- money ----------------------------------------------------------------------------------------- */

/* "  812 prompt × $2" where there were any; a rate is nano-dollars a thousand tokens. */
static void put_factor(struct np_buf *b, const char *kind, int64_t tokens, int64_t rate)
{
    char text[NP_MONEY_TEXT];
    if (tokens <= 0)
        return;
    (void)np_money_format(rate * 1000, text);
    np_buf_printf(b, "  %lld %s × $%s/M", (long long)tokens, kind, text);
}

static void put_cost(struct np_buf *b, const struct np_attempt *a)
{
    const struct np_price *p = &a->model->price;
    const struct np_usage *u = &a->usage;
    bool above = p->above_tokens > 0 && u->prompt > p->above_tokens;
    const struct np_rates *r = above ? &p->above : &p->base;
    char cost[NP_MONEY_TEXT];
    (void)np_money_format(a->cost_nusd, cost);
    np_buf_printf(b, "attempt %u %-18s $%-12s %-10s", a->number, a->model->name, cost,
                  np_settled_name(a->settled));
    put_factor(b, "prompt", u->prompt - u->cached - u->cache_write - u->cache_write_1h, r->input);
    put_factor(b, "cached", u->cached, r->cached_input);
    put_factor(b, "cache write", u->cache_write, r->cache_write);
    put_factor(b, "cache write 1h", u->cache_write_1h, r->cache_write_1h);
    put_factor(b, "completion", u->completion - u->reasoning, r->output);
    put_factor(b, "reasoning", u->reasoning, r->reasoning);
    while (b->n > 0 && b->p[b->n - 1] == ' ')
        b->n--;
    np_buf_char(b, '\n');
}

static void write_costs(struct np_buf *b, const struct np_exchange *x)
{
    char sum[NP_MONEY_TEXT], held[NP_MONEY_TEXT];
    for (size_t i = 0; i < x->n_attempts; i++)
        put_cost(b, &x->attempts[i]);
    (void)np_money_format(x->cost_nusd, sum);
    (void)np_money_format(x->reserved_max_nusd, held);
    np_buf_printf(b, "the request $%s; at most $%s was held for it\n", sum, held);
}

/* --- both ------------------------------------------------------------------------------------------- */

static void on_seen(void *ctx, const struct np_exchange *x)
{
    struct neap_session *s = ctx;
    np_buf_reset(&s->why);
    np_buf_reset(&s->costs);
    write_why(&s->why, x);
    write_costs(&s->costs, x);
    s->runs_nusd += x->cost_nusd;
}

void np_session_watch(struct neap_session *s, struct np_play *play)
{
    s->runs_nusd = 0;
    np_buf_reset(&s->why);
    np_buf_reset(&s->costs);
    np_play_watch(play, on_seen, s);
}

bool np_session_why(struct neap_session *s, struct np_span args)
{
    (void)args;
    if (s->why.n == 0)
        return np_session_fail(s, "nothing was run yet: .run");
    np_session_say_prose(s, np_buf_view(&s->why));
    return true;
}

bool np_session_cost(struct neap_session *s, struct np_span args)
{
    char all[NP_MONEY_TEXT];
    (void)args;
    if (s->costs.n == 0)
        return np_session_fail(s, "nothing was run yet: .run");
    (void)np_money_format(s->runs_nusd, all);
    np_session_say_prose(s, np_buf_view(&s->costs));
    np_session_say(s, "all runs on this ground $%s; .set budget shows the accounts\n", all);
    return true;
}
