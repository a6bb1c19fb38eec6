/* The daily report. */
#include "engine/report.h"

#include "base/clock.h"
#include "base/log.h"
#include "model/money.h"

#include <math.h>
#include <stdio.h>

#define TEXT_BYTES ((size_t)16 << 10)
#define TEXT_ROWS 5 /* of each kind, in lines for people */

void np_report_day(int64_t day, char out[16])
{
    char text[32];
    np_clock_format_utc(day * NP_MS_PER_DAY, text, sizeof text);
    (void)snprintf(out, 16, "%.10s", text);
}

/* Shown, never reckoned with. */
static double usd(int64_t nusd)
{
    return (double)nusd / (double)NP_NUSD_PER_USD;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* What a reply cost on average, rounded down. */
static int64_t mean_nusd(const struct np_till_sum *s)
{
    return s->n > 0 ? s->cost_nusd / (int64_t)s->n : 0;
}

/* --- for programs ----------------------------------------------------------------------------------- */

static void money(struct np_json_w *w, const char *key, int64_t nusd)
{
    char text[NP_MONEY_TEXT];
    size_t n = np_money_format(nusd, text);
    np_json_w_raw(w, key, np_span_make(text, n));
}

static void counts(struct np_json_w *w, const struct np_till_sum *s, const char *of,
                   const char *bad)
{
    np_json_w_i64(w, of, (int64_t)s->n);
    np_json_w_i64(w, bad, (int64_t)s->bad);
}

static void replies(struct np_json_w *w, const struct np_till_sum *s)
{
    counts(w, s, "requests", "errors");
    np_json_w_i64(w, "degraded", (int64_t)s->degraded);
    np_json_w_i64(w, "refused", (int64_t)s->refused);
}

static void row_json(struct np_json_w *w, const struct np_day_row *r)
{
    const char *slash = strchr(r->name, '/');
    switch (r->kind) {
    case NP_DAY_ENDPOINT:
        np_json_w_cstr(w, "path", r->name);
        replies(w, &r->sum);
        np_json_w_f64(w, "p95Ms", r->p95_ms < 0 ? NAN : r->p95_ms);
        money(w, "meanCostUsd", mean_nusd(&r->sum));
        break;
    case NP_DAY_TENANT:
        np_json_w_cstr(w, "tenant", r->name);
        replies(w, &r->sum);
        break;
    case NP_DAY_MODEL:
        if (slash)
            np_json_w_str(w, "provider", np_span_make(r->name, (size_t)(slash - r->name)));
        np_json_w_cstr(w, "model", slash ? slash + 1 : r->name);
        counts(w, &r->sum, "attempts", "failed");
        break;
    default:
        np_json_w_cstr(w, "account", r->name);
        money(w, "limitUsd", r->limit_nusd);
        break;
    }
    money(w, "spentUsd", r->sum.cost_nusd);
    if (r->kind != NP_DAY_BUDGET)
        money(w, "presumedUsd", r->sum.presumed_nusd);
}

static void list_json(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                      const char *key, struct np_json_w *w)
{
    struct np_day_row rows[NP_REPORT_ROWS];
    size_t n = np_daybook_day(b, day, kind, rows, NP_REPORT_ROWS);
    np_json_w_begin_key(w, key, '[');
    for (size_t i = 0; i < n && i < NP_REPORT_ROWS; i++) {
        np_json_w_begin(w, '{');
        row_json(w, &rows[i]);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

static void text_json(const struct np_daybook *b, int64_t day, struct np_json_w *w)
{
    struct np_buf text;
    np_buf_init(&text, TEXT_BYTES);
    np_report_text(b, day, &text);
    np_json_w_str(w, "text", np_buf_view(&text));
    np_buf_free(&text);
}

void np_report_json(const struct np_daybook *b, int64_t day, struct np_json_w *w)
{
    char date[16];
    struct np_till_sum all = np_daybook_total(b, day);
    np_report_day(day, date);
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "report", "daily");
    np_json_w_cstr(w, "day", date);
    text_json(b, day, w);
    replies(w, &all);
    money(w, "spentUsd", all.cost_nusd);
    money(w, "meanCostUsd", mean_nusd(&all));
    money(w, "presumedUsd", all.presumed_nusd);
    np_json_w_f64(w, "presumedShare", share((double)all.presumed_nusd, (double)all.cost_nusd));
    list_json(b, day, NP_DAY_ENDPOINT, "endpoints", w);
    list_json(b, day, NP_DAY_MODEL, "models", w);
    list_json(b, day, NP_DAY_TENANT, "tenants", w);
    list_json(b, day, NP_DAY_BUDGET, "budgets", w);
    np_json_w_end(w, '}');
}

/* --- for people ------------------------------------------------------------------------------------- */

/* "$12.40", or "$0.000071" where that would be nothing. */
static void put_usd(struct np_buf *out, int64_t nusd)
{
    (void)np_buf_printf(out, "$%.*f", nusd < NP_NUSD_PER_USD / 10 && nusd > 0 ? 6 : 2, usd(nusd));
}

static void list_text(const struct np_daybook *b, int64_t day, enum np_day_kind kind,
                      const char *heading, struct np_buf *out)
{
    struct np_day_row rows[TEXT_ROWS];
    size_t n = np_daybook_day(b, day, kind, rows, TEXT_ROWS);
    if (n == 0)
        return;
    (void)np_buf_printf(out, "%s:", heading);
    for (size_t i = 0; i < n && i < TEXT_ROWS; i++) {
        (void)np_buf_printf(out, "%s %s ", i ? "," : "", rows[i].name);
        put_usd(out, rows[i].sum.cost_nusd);
        if (kind == NP_DAY_BUDGET) {
            (void)np_buf_puts(out, " of ");
            put_usd(out, rows[i].limit_nusd);
        }
    }
    if (n > TEXT_ROWS)
        (void)np_buf_printf(out, ", and %zu more", n - TEXT_ROWS);
    (void)np_buf_char(out, '\n');
}

void np_report_text(const struct np_daybook *b, int64_t day, struct np_buf *out)
{
    char date[16];
    struct np_till_sum all = np_daybook_total(b, day);
    double n = (double)all.n;
    np_report_day(day, date);
    (void)np_buf_printf(out,
                        "%s (UTC): %.0f requests, %.0f failed (%.2f %%), %.0f degraded (%.2f %%)",
                        date, n, (double)all.bad, 100 * share((double)all.bad, n),
                        (double)all.degraded, 100 * share((double)all.degraded, n));
    if (all.refused > 0)
        (void)np_buf_printf(out, ", %.0f refused or cancelled", (double)all.refused);
    (void)np_buf_puts(out, "\nSpent ");
    put_usd(out, all.cost_nusd);
    (void)np_buf_puts(out, ", ");
    put_usd(out, mean_nusd(&all));
    (void)np_buf_printf(out, " a reply, %.2f %% of it presumed\n",
                        100 * share((double)all.presumed_nusd, (double)all.cost_nusd));
    list_text(b, day, NP_DAY_MODEL, "Models", out);
    list_text(b, day, NP_DAY_TENANT, "Tenants", out);
    list_text(b, day, NP_DAY_ENDPOINT, "Endpoints", out);
    list_text(b, day, NP_DAY_BUDGET, "Budgets", out);
}

void np_report_log(const struct np_daybook *b, int64_t day)
{
    char date[16];
    struct np_till_sum all = np_daybook_total(b, day);
    np_report_day(day, date);
    np_log(NP_LOG_INFO, "daily report", NP_KVS("day", date), NP_KVI("requests", all.n),
           NP_KVI("errors", all.bad), NP_KVI("degraded", all.degraded),
           NP_KVI("refused", all.refused), NP_KVM("cost_usd", all.cost_nusd),
           NP_KVM("presumed_usd", all.presumed_nusd), NP_KVM("mean_cost_usd", mean_nusd(&all)));
}
