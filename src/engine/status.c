/* What the admin socket shows: metrics, status, breakers, budgets, generations. */
#include "engine/engine_impl.h"
#include "engine/quota.h"

#include "base/json.h"
#include "base/log.h"
#include "engine/monitor.h"
#include "engine/objectives.h"
#include "engine/otel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of accounts, and of limits, that stand for each tenant. */
#define TENANTS_SHOWN 100

static uint64_t now_ns(void)
{
    return np_clock_mono_ns(&np_clock_live);
}

static int64_t wall_ms(void)
{
    return np_clock_wall_ms(&np_clock_live);
}

/* --- metrics ------------------------------------------------------------------------------------- */

static void provider_model(struct np_buf *labels, const struct np_model *m)
{
    np_buf_reset(labels);
    np_prom_label(labels, "provider", m->provider->name);
    np_prom_label(labels, "model", m->name);
    (void)np_buf_char(labels, '\0');
}

static void one_label(struct np_buf *labels, const char *name, const char *value)
{
    np_buf_reset(labels);
    np_prom_label(labels, name, value);
    (void)np_buf_char(labels, '\0');
}

static void guard_metrics(struct neap_engine *e, const struct np_catalog *c, struct np_buf *out,
                          struct np_buf *labels)
{
    np_prom_head(out, "llm_breaker_state", "gauge", "0 closed, 1 half open, 2 open");
    for (size_t i = 0; i < c->n_models; i++) {
        provider_model(labels, &c->models[i]);
        np_prom_i64(out, "llm_breaker_state", labels->p,
                    (int64_t)np_breaker_get(e->guard, &c->models[i], now_ns()));
    }
    np_prom_head(out, "llm_retry_budget_tokens", "gauge",
                 "What is left of a provider's retry budget, of 10");
    for (size_t i = 0; i < c->n_providers; i++) {
        one_label(labels, "provider", c->providers[i].name);
        np_prom_f64(out, "llm_retry_budget_tokens", labels->p,
                    np_retry_budget_tokens(e->guard, &c->providers[i]));
    }
}

/* All declared accounts and the fullest of each tenant's; malloc'ed, NULL without memory. */
static struct np_account_view *list_accounts(struct neap_engine *e, const struct np_catalog *c,
                                             size_t *n)
{
    size_t max = c->n_budgets + TENANTS_SHOWN;
    struct np_account_view *views = calloc(max, sizeof *views);
    *n = views ? np_ledger_list(e->ledger, c, wall_ms(), views, max) : 0;
    return views;
}

static void budget_metrics(struct neap_engine *e, const struct np_catalog *c, struct np_buf *out,
                           struct np_buf *labels)
{
    static const char *const names[] = {"neap_budget_limit_usd", "neap_budget_spent_usd",
                                        "neap_budget_reserved_usd"};
    static const char *const helps[] = {"What an account may spend in its window",
                                        "What an account has spent in its window",
                                        "What is held for calls under way"};
    size_t n;
    struct np_account_view *views = list_accounts(e, c, &n);
    for (size_t k = 0; k < 3; k++) {
        np_prom_head(out, names[k], "gauge", helps[k]);
        for (size_t i = 0; i < n; i++) {
            one_label(labels, "account", views[i].name);
            np_prom_nusd(out, names[k], labels->p,
                         k == 0   ? views[i].limit_nusd
                         : k == 1 ? views[i].spent_nusd
                                  : views[i].reserved_nusd);
        }
    }
    free(views);
    struct np_ledger_totals totals;
    np_ledger_totals(e->ledger, &totals);
    np_prom_head(out, "neap_budget_settled_usd_total", "counter",
                 "Booked money, by how well its amount is known");
    for (int s = NP_SETTLED_EXACT; s <= NP_SETTLED_PRESUMED; s++) {
        one_label(labels, "class", np_settled_name((enum np_settled)s));
        np_prom_nusd(out, "neap_budget_settled_usd_total", labels->p, totals.settled_nusd[s]);
    }
    np_prom_head(out, "neap_budget_excess_usd_total", "counter",
                 "Billed above what was reserved for it");
    np_prom_nusd(out, "neap_budget_excess_usd_total", NULL, totals.excess_nusd);
}

static void process_metrics(struct neap_engine *e, const char *version, struct np_buf *out,
                            struct np_buf *labels)
{
    static const char *const results[] = {"ok", "unchanged", "rejected", "rolled_back"};
    uint64_t counts[4];
    struct np_ledger_totals totals;
    np_ledger_totals(e->ledger, &totals);
    np_keeper_counts(e->keeper, counts);
    np_prom_head(out, "neap_policy_reloads_total", "counter", "Reloads by what came of them");
    for (size_t i = 0; i < 4; i++) {
        one_label(labels, "result", results[i]);
        np_prom_i64(out, "neap_policy_reloads_total", labels->p, (int64_t)counts[i]);
    }
    np_prom_head(out, "neap_policy_info", "gauge", "The running policy set");
    one_label(labels, "version", version);
    np_prom_i64(out, "neap_policy_info", labels->p, 1);
    np_prom_head(out, "neap_build_info", "gauge", "The running program");
    one_label(labels, "version", neap_version());
    np_prom_i64(out, "neap_build_info", labels->p, 1);
    np_prom_head(out, "neap_store_up", "gauge", "Whether the ledger's store can be reached");
    np_prom_i64(out, "neap_store_up", NULL, totals.store_up);
    uint64_t dropped = 0;
    for (size_t i = 0; i < e->n_workers; i++)
        dropped += np_ring_dropped(np_worker_ring(e->workers[i]));
    dropped += atomic_load(&e->records_lost) + np_log_lost();
    np_prom_head(out, "neap_log_dropped_total", "counter",
                 "Log lines and decision records lost: the disk was too slow, or full");
    np_prom_i64(out, "neap_log_dropped_total", NULL, (int64_t)dropped);
    np_prom_head(out, "neap_store_epoch_changes_total", "counter",
                 "How often the store began anew under a running instance");
    np_prom_i64(out, "neap_store_epoch_changes_total", NULL, (int64_t)totals.epoch_changes);
    np_prom_process(out);
}

void np_status_metrics(struct neap_engine *e, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    const struct np_catalog *c = np_policyset_catalog(set);
    struct np_buf labels;
    np_buf_init(&labels, 4096);
    np_prometheus_write(out, e->meters, e->n_workers + 2, &e->slots);
    guard_metrics(e, c, out, &labels);
    np_objectives_metrics(e, c, out);
    budget_metrics(e, c, out, &labels);
    process_metrics(e, np_policyset_version(set), out, &labels);
    np_monitor_metrics(e->monitor, out);
    np_otel_metrics(e->otel, out);
    np_buf_free(&labels);
    np_policyset_drop(set);
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static void money(struct np_json_w *w, const char *key, int64_t nusd)
{
    char text[NP_MONEY_TEXT];
    size_t n = np_money_format(nusd, text);
    np_json_w_raw(w, key, np_span_make(text, n));
}

static void finish(struct np_json_w *w, struct np_buf *out)
{
    np_json_w_end(w, '}');
    (void)np_buf_char(out, '\n');
}

static void time_field(struct np_json_w *w, const char *key, int64_t at_ms)
{
    char text[32];
    np_clock_format_utc(at_ms, text, sizeof text);
    np_json_w_cstr(w, key, text);
}

static void breakers_json(struct neap_engine *e, const struct np_catalog *c, struct np_json_w *w)
{
    np_json_w_begin_key(w, "breakers", '[');
    for (size_t i = 0; i < c->n_models; i++) {
        const struct np_model *m = &c->models[i];
        struct np_breaker_view v;
        double p95 = np_stat_model_p95_ms(e->guard, m->slot, now_ns());
        np_breaker_view(e->guard, m, now_ns(), &v);
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "provider", m->provider->name);
        np_json_w_cstr(w, "model", m->name);
        np_json_w_cstr(w, "state", np_breaker_state_name(v.state));
        np_json_w_i64(w, "failuresInRow", v.failures_in_row);
        np_json_w_i64(w, "calls", v.calls);
        np_json_w_i64(w, "failed", v.failed);
        np_json_w_i64(w, "opened", (int64_t)v.opened);
        np_json_w_i64(w, "waitMs", (int64_t)(v.wait_ns / NP_NS_PER_MS));
        np_json_w_cstr(w, "lastClass",
                       v.last_class == NP_CLASS_COUNT ? NULL : np_class_name(v.last_class));
        np_json_w_i64(w, "inflight", np_inflight_get(e->guard, m->provider));
        np_json_w_f64(w, "p95Ms", p95 < 0 ? NAN : p95);
        np_json_w_f64(w, "errorRate", np_stat_model_error_rate(e->guard, m->slot, now_ns()));
        money(w, "spentTodayUsd", np_monitor_spent_today(e->monitor, m));
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

static void budgets_json(struct neap_engine *e, const struct np_catalog *c, struct np_json_w *w)
{
    size_t n;
    struct np_account_view *views = list_accounts(e, c, &n);
    np_json_w_begin_key(w, "budgets", '[');
    for (size_t i = 0; i < n; i++) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "account", views[i].name);
        np_json_w_cstr(w, "window", np_window_name(views[i].window));
        money(w, "limitUsd", views[i].limit_nusd);
        money(w, "spentUsd", views[i].spent_nusd);
        money(w, "reservedUsd", views[i].reserved_nusd);
        money(w, "leasedUsd", views[i].leased_nusd);
        np_json_w_cstr(w, "onExceeded", views[i].reject ? "reject" : "degrade");
        if (views[i].resets_wall_ms == INT64_MAX)
            np_json_w_null(w, "resetsAt");
        else
            time_field(w, "resetsAt", views[i].resets_wall_ms);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    free(views);
}

static void figure_json(struct np_json_w *w, const char *key, const struct np_quota_figure *f)
{
    if (f->limit <= 0)
        return;
    np_json_w_begin_key(w, key, '{');
    np_json_w_i64(w, "limit", f->limit);
    np_json_w_i64(w, "used", f->used);
    np_json_w_end(w, '}');
}

struct limited {
    const struct np_tenant *tenant;
    struct np_quota_view view;
};

static int fuller_first(const void *a, const void *b)
{
    const struct limited *x = a, *y = b;
    int order = (x->view.fullest < y->view.fullest) - (x->view.fullest > y->view.fullest);
    return order ? order : strcmp(x->tenant->name, y->tenant->name);
}

/* Tenants with limits, what they have used of them in this minute; the fullest. */
static void tenants_json(struct neap_engine *e, const struct np_catalog *c, struct np_json_w *w)
{
    struct limited *all = calloc(c->n_tenants + 1, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; all && i < c->n_tenants; i++) {
        const struct np_tenant *t = &c->tenants[i];
        if (t->requests_per_minute + t->tokens_per_minute + t->concurrency > 0) {
            all[n].tenant = t;
            np_quota_look(e->ledger, t, wall_ms(), &all[n++].view);
        }
    }
    if (all)
        qsort(all, n, sizeof *all, fuller_first);
    np_json_w_begin_key(w, "tenants", '[');
    for (size_t i = 0; i < n && i < TENANTS_SHOWN; i++) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "tenant", all[i].tenant->name);
        figure_json(w, "requestsPerMinute", &all[i].view.requests);
        figure_json(w, "tokensPerMinute", &all[i].view.tokens);
        figure_json(w, "concurrency", &all[i].view.calls);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    free(all);
}

void np_status_json(struct neap_engine *e, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    struct np_json_w w;
    size_t open = 0;
    for (size_t i = 0; i < e->n_workers; i++)
        open += np_worker_open(e->workers[i]);
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "version", neap_version());
    time_field(&w, "startedAt", e->started_wall_ms);
    np_json_w_cstr(&w, "policy", np_policyset_version(set));
    np_json_w_bool(&w, "draining", atomic_load(&e->draining));
    np_json_w_i64(&w, "workers", (int64_t)e->n_workers);
    np_json_w_i64(&w, "inflight", (int64_t)open);
    np_json_w_cstr(&w, "simulate", e->simulate_url[0] ? e->simulate_url : NULL);
    np_objectives_json(e, np_policyset_catalog(set), &w);
    breakers_json(e, np_policyset_catalog(set), &w);
    budgets_json(e, np_policyset_catalog(set), &w);
    finish(&w, out);
    np_policyset_drop(set);
}

void np_status_breakers(struct neap_engine *e, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    breakers_json(e, np_policyset_catalog(set), &w);
    finish(&w, out);
    np_policyset_drop(set);
}

void np_status_budgets(struct neap_engine *e, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    budgets_json(e, np_policyset_catalog(set), &w);
    tenants_json(e, np_policyset_catalog(set), &w);
    finish(&w, out);
    np_policyset_drop(set);
}

/* Hooks by name, those that were called. */
static void hooks_json(struct np_json_w *w, const struct np_tally_sum *s)
{
    np_json_w_begin_key(w, "hooks", '{');
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (s->calls[h] == 0)
            continue;
        np_json_w_begin_key(w, np_hook_name((enum np_hook)h), '{');
        np_json_w_i64(w, "calls", (int64_t)s->calls[h]);
        np_json_w_i64(w, "errors", (int64_t)s->errors[h]);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, '}');
}

static void generation_json(struct np_json_w *w, const struct np_generation_view *v)
{
    np_json_w_begin(w, '{');
    np_json_w_i64(w, "number", v->number);
    np_json_w_cstr(w, "version", v->version);
    time_field(w, "loadedAt", v->loaded_wall_ms);
    np_json_w_cstr(w, "state", v->state);
    np_json_w_cstr(w, "error", v->error[0] ? v->error : NULL);
    np_json_w_cstr(w, "trigger", np_trigger_name(v->trigger));
    np_json_w_i64(w, "requests", (int64_t)v->sum.requests);
    hooks_json(w, &v->sum);
    np_json_w_end(w, '}');
}

void np_status_policies(struct neap_engine *e, struct np_buf *out)
{
    struct np_generation_view views[NP_GENERATION_VIEWS];
    size_t n = np_keeper_generations(e->keeper, views, NP_GENERATION_VIEWS);
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "generations", '[');
    for (size_t i = 0; i < n; i++)
        generation_json(&w, &views[i]);
    np_json_w_end(&w, ']');
    finish(&w, out);
}

void np_status_series(struct neap_engine *e, enum np_series_span span, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    np_series_json(e->series, np_policyset_catalog(set), span, now_ns(), wall_ms(), out);
    np_policyset_drop(set);
}
