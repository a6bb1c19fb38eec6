/* Objectives: what was promised, and how fast it is used up. */
#include "engine/objectives.h"

#include <math.h>

static uint64_t now_ns(void)
{
    return np_clock_mono_ns(&np_clock_live);
}

static double objective_value(const struct np_endpoint *e, enum np_objective o)
{
    switch (o) {
    case NP_OBJ_P95:
        return e->slo.p95_ms;
    case NP_OBJ_ERRORS:
        return e->slo.error_rate;
    case NP_OBJ_DEGRADED:
        return e->slo.degraded_rate;
    default:
        return (double)e->slo.cost_nusd / (double)NP_NUSD_PER_USD; /* shown, never reckoned with */
    }
}

/* --- metrics ------------------------------------------------------------------------------------- */

static void slo_labels(struct np_buf *labels, const struct np_endpoint *e, enum np_objective o,
                       const char *window)
{
    np_buf_reset(labels);
    np_prom_label(labels, "endpoint", e->path);
    np_prom_label(labels, "objective", np_objective_name(o));
    if (window)
        np_prom_label(labels, "window", window);
    (void)np_buf_char(labels, '\0');
}

void np_objectives_metrics(struct neap_engine *e, const struct np_catalog *c, struct np_buf *out)
{
    struct np_buf labels;
    np_buf_init(&labels, 4096);
    np_prom_head(out, "neap_slo_objective", "gauge", "An endpoint's objective");
    for (size_t i = 0; i < c->n_endpoints; i++) {
        for (int o = 0; o < NP_OBJ_COUNT; o++) {
            slo_labels(&labels, &c->endpoints[i], (enum np_objective)o, NULL);
            np_prom_f64(out, "neap_slo_objective", labels.p,
                        objective_value(&c->endpoints[i], (enum np_objective)o));
        }
    }
    np_prom_head(out, "neap_slo_burn_rate", "gauge",
                 "How many times faster than allowed an objective's budget is used up");
    for (size_t i = 0; i < c->n_endpoints; i++) {
        for (int o = 0; o < NP_OBJ_COUNT * NP_BURN_COUNT; o++) {
            enum np_objective objective = (enum np_objective)(o / NP_BURN_COUNT);
            enum np_burn_window window = (enum np_burn_window)(o % NP_BURN_COUNT);
            slo_labels(&labels, &c->endpoints[i], objective, np_burn_window_name(window));
            np_prom_f64(out, "neap_slo_burn_rate", labels.p,
                        np_slo_burn(e->guard, &c->endpoints[i], objective, window, now_ns()));
        }
    }
    np_buf_free(&labels);
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static void objectives_json(const struct np_endpoint *ep, struct np_json_w *w)
{
    np_json_w_cstr(w, "path", ep->path);
    np_json_w_begin_key(w, "objectives", '{');
    for (int o = 0; o < NP_OBJ_COUNT; o++)
        np_json_w_f64(w, np_objective_name((enum np_objective)o),
                      objective_value(ep, (enum np_objective)o));
    np_json_w_end(w, '}');
}

static void burn_json(struct neap_engine *e, const struct np_endpoint *ep,
                      enum np_burn_window window, const char *key, struct np_json_w *w)
{
    np_json_w_begin_key(w, key, '{');
    for (int o = 0; o < NP_OBJ_COUNT; o++)
        np_json_w_f64(w, np_objective_name((enum np_objective)o),
                      np_slo_burn(e->guard, ep, (enum np_objective)o, window, now_ns()));
    np_json_w_end(w, '}');
}

/* What became of second calls since the start; nothing where none was made. */
static void hedges_json(struct neap_engine *e, const struct np_endpoint *ep, struct np_json_w *w)
{
    static const enum np_hedge asked[] = {NP_HEDGE_won, NP_HEDGE_lost, NP_HEDGE_failed,
                                          NP_HEDGE_left};
    int64_t n[4], all = 0;
    for (size_t i = 0; i < 4; i++)
        all += n[i] = np_meters_sum(e->meters, e->n_workers + 2, NP_FAMILY_hedges, ep->slot,
                                    (uint32_t)asked[i], 0);
    if (all == 0)
        return;
    np_json_w_begin_key(w, "hedges", '{');
    for (size_t i = 0; i < 4; i++)
        np_json_w_i64(w, np_hedge_name(asked[i]), n[i]);
    np_json_w_end(w, '}');
}

void np_objectives_json(struct neap_engine *e, const struct np_catalog *c, struct np_json_w *w)
{
    np_json_w_begin_key(w, "endpoints", '[');
    for (size_t i = 0; i < c->n_endpoints; i++) {
        const struct np_endpoint *ep = &c->endpoints[i];
        double p95 = np_stat_endpoint_p95_ms(e->guard, ep->slot, now_ns());
        np_json_w_begin(w, '{');
        objectives_json(ep, w);
        np_json_w_f64(w, "p95Ms", p95 < 0 ? NAN : p95);
        np_json_w_f64(w, "errorRate", np_stat_endpoint_error_rate(e->guard, ep->slot, now_ns()));
        burn_json(e, ep, NP_BURN_1H, "burn1h", w);
        np_json_w_begin_key(w, "burn", '{');
        for (int b = 0; b < NP_BURN_COUNT; b++)
            burn_json(e, ep, (enum np_burn_window)b, np_burn_window_name((enum np_burn_window)b),
                      w);
        np_json_w_end(w, '}');
        hedges_json(e, ep, w);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

static void window_json(struct neap_engine *e, const struct np_endpoint *ep,
                        enum np_burn_window window, struct np_json_w *w)
{
    struct np_slo_view v;
    np_slo_look(e->guard, ep, window, now_ns(), &v);
    np_json_w_begin_key(w, np_burn_window_name(window), '{');
    np_json_w_i64(w, "replies", (int64_t)v.total);
    np_json_w_i64(w, "counted", (int64_t)v.counted);
    np_json_w_i64(w, "slow", (int64_t)v.slow);
    np_json_w_i64(w, "errors", (int64_t)v.bad);
    np_json_w_i64(w, "degraded", (int64_t)v.degraded);
    np_json_w_f64(w, "meanCostUsd",
                  v.total > 0 ? v.cost_nusd / (double)v.total / (double)NP_NUSD_PER_USD : 0);
    burn_json(e, ep, window, "burn", w);
    np_json_w_end(w, '}');
}

void np_status_slo(struct neap_engine *e, struct np_buf *out)
{
    struct np_policyset *set = np_keeper_current(e->keeper);
    const struct np_catalog *c = np_policyset_catalog(set);
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "endpoints", '[');
    for (size_t i = 0; i < c->n_endpoints; i++) {
        np_json_w_begin(&w, '{');
        objectives_json(&c->endpoints[i], &w);
        np_json_w_begin_key(&w, "windows", '{');
        for (int n = 0; n < NP_BURN_COUNT; n++)
            window_json(e, &c->endpoints[i], (enum np_burn_window)n, &w);
        np_json_w_end(&w, '}');
        np_json_w_end(&w, '}');
    }
    np_json_w_end(&w, ']');
    np_json_w_end(&w, '}');
    (void)np_buf_char(out, '\n');
    np_policyset_drop(set);
}
