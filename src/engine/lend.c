/* What policies may ask, answered from guards and ledger; the same on both grounds. */
#include "engine/lend.h"

#include <string.h>

static uint64_t now_ns(const struct np_lender *l)
{
    return np_clock_mono_ns(l->clock);
}

static double p95_ms(void *ctx, struct np_span name)
{
    struct np_lender *l = ctx;
    const struct np_endpoint *e = np_catalog_endpoint(l->catalog, name);
    if (e)
        return np_stat_endpoint_p95_ms(l->guard, e->slot, now_ns(l));
    const struct np_model *m = np_catalog_model(l->catalog, name);
    return m ? np_stat_model_p95_ms(l->guard, m->slot, now_ns(l)) : -1;
}

static double error_rate(void *ctx, struct np_span name)
{
    struct np_lender *l = ctx;
    const struct np_endpoint *e = np_catalog_endpoint(l->catalog, name);
    if (e)
        return np_stat_endpoint_error_rate(l->guard, e->slot, now_ns(l));
    const struct np_model *m = np_catalog_model(l->catalog, name);
    return m ? np_stat_model_error_rate(l->guard, m->slot, now_ns(l)) : -1;
}

static enum np_burn_window window_of(struct np_span name)
{
    for (int w = 0; w < NP_BURN_COUNT; w++) {
        if (np_span_is(name, np_burn_window_name((enum np_burn_window)w)))
            return (enum np_burn_window)w;
    }
    return NP_BURN_1H;
}

/* Of one objective, or the largest of all. */
static double burn(void *ctx, struct np_span endpoint, struct np_span objective,
                   struct np_span window)
{
    struct np_lender *l = ctx;
    const struct np_endpoint *e = np_catalog_endpoint(l->catalog, endpoint);
    double most = -1;
    for (int o = 0; e && o < NP_OBJ_COUNT; o++) {
        if (objective.n > 0 && !np_span_is(objective, np_objective_name((enum np_objective)o)))
            continue;
        double b = np_slo_burn(l->guard, e, (enum np_objective)o, window_of(window), now_ns(l));
        most = b > most ? b : most;
    }
    return most;
}

static bool spent(void *ctx, struct np_span account, struct np_span window, int64_t *out_nusd)
{
    struct np_lender *l = ctx;
    char name[160];
    struct np_account_view v;
    if (account.n + window.n + 2 > sizeof name)
        return false;
    memcpy(name, account.p, account.n);
    size_t n = account.n;
    if (window.n > 0) {
        name[n++] = '/';
        memcpy(name + n, window.p, window.n);
        n += window.n;
    }
    if (np_ledger_account(l->ledger, l->catalog, np_span_make(name, n), np_clock_wall_ms(l->clock),
                          &v))
        return false;
    *out_nusd = v.spent_nusd;
    return true;
}

static bool remaining(void *ctx, struct np_span account, int64_t *out_nusd)
{
    struct np_lender *l = ctx;
    struct np_account_view v;
    if (np_ledger_account(l->ledger, l->catalog, account, np_clock_wall_ms(l->clock), &v))
        return false;
    *out_nusd = v.limit_nusd - v.spent_nusd - v.reserved_nusd;
    return true;
}

static const char *breaker(void *ctx, struct np_span model)
{
    struct np_lender *l = ctx;
    const struct np_model *m = np_catalog_model(l->catalog, model);
    return m ? np_breaker_state_name(np_breaker_get(l->guard, m, now_ns(l))) : NULL;
}

static int64_t tokens(void *ctx, struct np_span model, int64_t estimated)
{
    struct np_lender *l = ctx;
    const struct np_model *m = np_catalog_model(l->catalog, model);
    return m ? np_ratio_apply(l->guard, m->slot, estimated) : -1;
}

struct np_powers np_lend(struct np_lender *l, struct np_rng *rng, struct np_shared *shared)
{
    return (struct np_powers){.ctx = l,
                              .p95_ms = p95_ms,
                              .error_rate = error_rate,
                              .burn = burn,
                              .spent = spent,
                              .remaining = remaining,
                              .breaker = breaker,
                              .tokens = tokens,
                              .clock = l->clock,
                              .rng = rng,
                              .shared = shared};
}
