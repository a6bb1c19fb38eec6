/* Columns of a run's lines. Each line is written at the end of the buffer and padded from where it
 * began. */
#include "engine/run_print.h"

#include "base/clock.h"

#define RETURNED_COLUMN 28
#define AT_COLUMN 61
#define WHY_COLUMN 75
#define TIME_COLUMN 61

/* --- pieces ------------------------------------------------------------------------------------------ */

static void put_text(struct np_buf *b, struct np_span s)
{
    np_buf_harmless(b, s, "");
}

/* Letters of a line so far: bytes that begin a character of UTF-8. */
static size_t width(const struct np_buf *b, size_t from)
{
    size_t n = 0;
    for (size_t i = from; i < b->n; i++)
        n += ((unsigned char)b->p[i] & 0xc0) != 0x80;
    return n;
}

/* Blanks up to a column, at least two. */
static void pad(struct np_buf *b, size_t from, size_t column)
{
    size_t n = width(b, from);
    (void)np_buf_printf(b, "%*s", (int)(n + 2 < column ? column - n : 2), "");
}

static void put_money(struct np_buf *b, int64_t nusd)
{
    char text[NP_MONEY_TEXT];
    (void)np_money_format(nusd, text);
    (void)np_buf_printf(b, "$%s", text);
}

static void put_seconds(struct np_buf *b, int64_t ms)
{
    if (ms % 1000 == 0)
        (void)np_buf_printf(b, "%lld s", (long long)(ms / 1000));
    else
        (void)np_buf_printf(b, "%lld ms", (long long)ms);
}

static int64_t passed_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (int64_t)((to_ns - from_ns) / NP_NS_PER_MS) : 0;
}

/* --- lines ------------------------------------------------------------------------------------------- */

/* A verdict that is a word stands in quotes, as it does in the hook. */
static void put_returned(struct np_buf *b, const struct np_hook_note *h)
{
    static const char *const words[] = {"next", "degrade", "fail"};
    for (size_t i = 0; h->hook != NP_HOOK_route && i < sizeof words / sizeof *words; i++) {
        if (np_span_is(h->returned, words[i])) {
            (void)np_buf_printf(b, "\"%s\"", words[i]);
            return;
        }
    }
    put_text(b, h->returned);
}

void np_run_print_hook(struct np_buf *b, const struct np_hook_note *h)
{
    size_t from = b->n;
    char text[NP_HOOK_PLACE];
    struct np_span place = np_hook_note_place(h, text);
    (void)np_buf_printf(b, "%-9s%4u us", np_hook_name(h->hook), h->us);
    if (h->steps > 0)
        (void)np_buf_printf(b, " %5lld steps", (long long)h->steps);
    pad(b, from, RETURNED_COLUMN);
    put_returned(b, h);
    if (place.n > 0) {
        pad(b, from, AT_COLUMN);
        put_text(b, place);
    }
    if (h->why.n > 0 || h->error.n > 0) {
        pad(b, from, place.n > 0 ? WHY_COLUMN : AT_COLUMN);
        if (h->why.n > 0)
            (void)np_buf_puts(b, "because ");
        put_text(b, h->why.n > 0 ? h->why : h->error);
    }
}

static void put_failure(struct np_buf *b, const struct np_attempt *a)
{
    if (a->lost) {
        (void)np_buf_puts(b, "lost");
        return;
    }
    if (a->status)
        (void)np_buf_printf(b, "%u ", a->status);
    (void)np_buf_puts(b, np_class_name(a->class));
    if (a->retry_after_ms >= 0) {
        (void)np_buf_puts(b, "  retry_after ");
        put_seconds(b, a->retry_after_ms);
    }
    if (a->retry_in_ms >= 0) {
        (void)np_buf_puts(b, "  again in ");
        put_seconds(b, a->retry_in_ms);
    }
}

static void print_attempt(struct np_buf *b, const struct np_attempt *a)
{
    size_t from = b->n;
    (void)np_buf_printf(b, "attempt %u %-12s  %s ", a->number, a->model->name,
                        a->model->provider->name);
    if (a->hedge)
        (void)np_buf_puts(b, "hedge ");
    if (a->class == NP_CLASS_ok)
        (void)np_buf_puts(b, "ok");
    else
        put_failure(b, a);
    if (a->usage.prompt + a->usage.completion > 0)
        (void)np_buf_printf(b, "  %lld tokens", (long long)(a->usage.prompt + a->usage.completion));
    if (a->cost_nusd > 0) {
        (void)np_buf_puts(b, "  ");
        put_money(b, a->cost_nusd);
    }
    pad(b, from, TIME_COLUMN);
    (void)np_buf_printf(b, "%lld ms", (long long)passed_ms(a->start_ns, a->end_ns));
    if (a->class != NP_CLASS_ok && a->error.n > 0) {
        pad(b, from, WHY_COLUMN);
        put_text(b, a->error);
    }
    np_buf_char(b, '\n');
}

/* What stands in front of the n-th note: attempts and models passed over, since *a and *s. */
static void print_before(struct np_buf *b, const struct np_exchange *x, size_t n, size_t *a,
                         size_t *s)
{
    for (;;) {
        bool attempt = *a < x->n_attempts && x->attempts[*a].after_notes <= n;
        bool skipped = *s < x->n_skipped && x->skipped[*s].after_notes <= n;
        if (skipped && x->skipped[*s].after_attempts <= *a) {
            const struct np_skipped *k = &x->skipped[(*s)++];
            (void)np_buf_printf(b, "skipped   %-12s  %s\n", k->model->name, np_skip_name(k->why));
        } else if (attempt) {
            print_attempt(b, &x->attempts[(*a)++]);
        } else {
            return;
        }
    }
}

void np_run_print_steps(struct np_buf *b, const struct np_exchange *x)
{
    size_t attempts = 0, skipped = 0;
    for (size_t i = 0; i < x->n_notes; i++) {
        print_before(b, x, i, &attempts, &skipped);
        np_run_print_hook(b, &x->notes[i]);
        np_buf_char(b, '\n');
    }
    print_before(b, x, SIZE_MAX, &attempts, &skipped);
}

void np_run_print_end(struct np_buf *b, const struct np_exchange *x)
{
    const struct np_outcome *o = &x->outcome;
    const struct np_refusal *r = &o->refusal;
    if (o->refused) {
        (void)np_buf_printf(b, "refused  %u ", o->status);
        put_text(b, r->type_text.n > 0 ? r->type_text : np_span_of(np_refusal_name(r->type)));
        (void)np_buf_puts(b, ": ");
        put_text(b, r->message);
        np_buf_char(b, '\n');
        return;
    }
    if (x->client_gone)
        (void)np_buf_puts(b, "cancelled  the client left");
    else if (o->degraded)
        (void)np_buf_printf(b, "degraded  %u  %s", o->status, np_reason_name(o->reason));
    else if (o->broken)
        (void)np_buf_printf(b, "broke off  %s  %s", x->answered_by->name, np_refusal_name(r->type));
    else
        (void)np_buf_printf(b, "ok  %s", x->answered_by->name);
    (void)np_buf_printf(b, "  %zu attempt%s  ", x->n_attempts, x->n_attempts == 1 ? "" : "s");
    put_money(b, x->cost_nusd);
    (void)np_buf_printf(b, "  %lld ms\n", (long long)passed_ms(x->accept_ns, x->end_ns));
}
