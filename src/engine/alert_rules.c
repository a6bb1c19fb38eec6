/* When something is worth telling: budgets, burn rates, breakers, reloads, the store, money whose
 * amount is not known. */
#include "engine/alerts.h"

#include "base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BAD_EVENTS_MIN 10
#define PRESUMED_SHARE 0.02
#define PRESUMED_MIN_NUSD \
    (NP_NUSD_PER_USD / 100) /* booked in an hour: below, a share says nothing */
/* Of a limit, from where on an account that turns requests away is used up: below it is a large request
 * that found no room. */
#define USED_UP_PART 0.5
#define PROJECTED_MIN_PART 0.1 /* of a window, before its run says anything */

/* What was told of a jump or a projection stays until it is below this part of what it was told at:
 * near the edge it would come and go. */
#define ENDS_PART 0.9
#define JUMP_LEAST_MS 20 /* more than usual: what is less is nobody's matter */

struct sight {
    const struct np_alert_scene *s;
    struct np_alert_memory *m;
    struct np_alert_facts *out;
    int64_t window_ms; /* of what is said of an account */
};

__attribute__((format(printf, 7, 8))) static void say(const struct sight *v, const char *alert,
                                                      const char *subject, const char *severity,
                                                      double value, double threshold,
                                                      const char *format, ...)
{
    struct np_alert_fact f = {.value = value, .threshold = threshold, .window_ms = v->window_ms};
    va_list args;
    (void)snprintf(f.alert, sizeof f.alert, "%s", alert);
    (void)snprintf(f.subject, sizeof f.subject, "%s", subject);
    (void)snprintf(f.severity, sizeof f.severity, "%s", severity);
    va_start(args, format);
    (void)vsnprintf(f.text, sizeof f.text, format, args);
    va_end(args);
    np_alert_say(v->out, &f);
}

/* "12.40", or "0.014934" where cents would say too little. */
struct dollars {
    char text[32];
};

static struct dollars usd(double nusd)
{
    struct dollars d;
    double value = nusd / (double)NP_NUSD_PER_USD; /* shown, never reckoned with */
    int n = snprintf(d.text, sizeof d.text, "%.*f", value > 0 && value < 1 ? 6 : 2, value);
    while (value > 0 && value < 1 && n > 4 && d.text[n - 1] == '0') /* cents stay */
        d.text[--n] = '\0';
    return d;
}

/* --- budgets ---------------------------------------------------------------------------------------- */

/* Where an account stands among those that were told of, or a free place; NULL: all are taken. */
static uint64_t *projected_place(struct np_alert_memory *m, uint64_t hash)
{
    uint64_t *empty = NULL;
    for (size_t i = 0; i < NP_ALERT_PROJECTED; i++) {
        if (m->projected[i] == hash)
            return &m->projected[i];
        empty = m->projected[i] == 0 && !empty ? &m->projected[i] : empty;
    }
    return empty;
}

static uint64_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash | 1;
}

/* What the account will have spent at the end of its window, at the pace so far; 0: not known yet, or the
 * limit is crossed already. */
static double at_end_of(const struct sight *v, const struct np_account_view *a)
{
    enum np_window w = a->window;
    if (w == NP_WINDOW_NONE || w == NP_WINDOW_MINUTE || a->spent_nusd >= a->limit_nusd)
        return 0;
    int64_t start = np_window_start(w, v->s->wall_ms), end = np_window_end(w, v->s->wall_ms);
    double part = (double)(v->s->wall_ms - start) / (double)(end - start);
    return part < PROJECTED_MIN_PART ? 0 : (double)a->spent_nusd / part;
}

/* At the pace of the window so far the limit will be crossed before its end. */
static void projected(const struct sight *v, const struct np_account_view *a)
{
    double at_end = at_end_of(v, a);
    uint64_t hash = hash_of(a->name), *place = projected_place(v->m, hash);
    bool was = place && *place == hash;
    bool is = at_end > (double)a->limit_nusd * (was ? ENDS_PART : 1);
    if (place)
        *place = is ? hash : 0;
    if (is)
        say(v, "projected", a->name, "ticket", at_end / (double)a->limit_nusd, 1.0,
            "%s will cross its limit of $%s: $%s at the pace so far", a->name,
            usd((double)a->limit_nusd).text, usd(at_end).text);
}

/* Budgets are walls: the last of the money is never spent where no call fits into it. */
static bool used_up(const struct np_account_view *a)
{
    int64_t taken = a->spent_nusd + a->reserved_nusd;
    return a->spent_nusd >= a->limit_nusd ||
           (a->turned_away && (double)taken >= USED_UP_PART * (double)a->limit_nusd);
}

/* Each window of an account is told of anew. */
static void budget(const struct sight *of, const struct np_account_view *a)
{
    const struct np_alert_rules *r = &of->s->catalog->alerts;
    struct sight v = *of;
    v.window_ms = np_window_start(a->window, v.s->wall_ms);
    double part = (double)a->spent_nusd / (double)a->limit_nusd;
    for (size_t p = 0; p < r->n_budget; p++) {
        bool whole = r->budget[p] == 1 && used_up(a);
        if (part >= r->budget[p] || whole)
            say(&v, "budget", a->name, r->budget[p] >= 1 ? "page" : "ticket", part, r->budget[p],
                "%s has spent $%s of $%s (%.0f %%)%s", a->name, usd((double)a->spent_nusd).text,
                usd((double)a->limit_nusd).text, part < 1 ? floor(part * 100 + 1e-9) : part * 100,
                a->turned_away && used_up(a) ? "; requests are turned away" : "");
    }
    projected(&v, a);
}

static void budgets(const struct sight *v)
{
    for (size_t i = 0; i < v->s->n_accounts && v->s->catalog->alerts.n_budget > 0; i++) {
        if (v->s->accounts[i].limit_nusd > 0)
            budget(v, &v->s->accounts[i]);
    }
}

/* --- burn rates ------------------------------------------------------------------------------------- */

/* Google's SRE workbook: a long window so that it matters, a short one so that it is still so. */
static const struct burn_rule {
    double rate;
    enum np_burn_window longer, shorter;
    const char *severity;
} burn_rules[] = {{14.4, NP_BURN_1H, NP_BURN_5M, "page"},
                  {6, NP_BURN_6H, NP_BURN_30M, "page"},
                  {1, NP_BURN_3D, NP_BURN_6H, "ticket"}};

static void burn_one(const struct sight *v, const struct np_endpoint *e, enum np_objective o,
                     const struct burn_rule *r)
{
    struct np_guard *g = v->s->guard;
    char subject[96];
    double burn = np_slo_burn(g, e, o, r->longer, v->s->now_ns);
    if (burn < r->rate || np_slo_burn(g, e, o, r->shorter, v->s->now_ns) < r->rate ||
        np_slo_bad(g, e, o, r->longer, v->s->now_ns) < BAD_EVENTS_MIN)
        return;
    (void)snprintf(subject, sizeof subject, "%s %s", e->path, np_objective_name(o));
    say(v, "burn", subject, r->severity, burn, r->rate,
        "%s burns its objective %s at %.1f times what is allowed, over %s and %s", e->path,
        np_objective_name(o), burn, np_burn_window_name(r->longer),
        np_burn_window_name(r->shorter));
}

static void burns(const struct sight *v)
{
    const struct np_catalog *c = v->s->catalog;
    for (size_t i = 0; c->alerts.burn && i < c->n_endpoints; i++) {
        for (int o = 0; o < NP_OBJ_COUNT; o++) {
            for (size_t r = 0; r < sizeof burn_rules / sizeof *burn_rules; r++)
                burn_one(v, &c->endpoints[i], (enum np_objective)o, &burn_rules[r]);
        }
    }
}

/* --- latency ---------------------------------------------------------------------------------------- */

static void jumps(const struct sight *v)
{
    const struct np_catalog *c = v->s->catalog;
    for (size_t i = 0; v->s->days && c->alerts.p95_jump > 0 && i < c->n_endpoints; i++) {
        const struct np_endpoint *e = &c->endpoints[i];
        bool *jumped = &v->m->jumped[e->slot];
        struct np_daybook_p95 p;
        np_daybook_p95(v->s->days, e->path, v->s->wall_ms, &p);
        double rate = p.now_ms >= 0 && p.usual_ms > 0 ? p.now_ms / p.usual_ms : 0;
        double least = c->alerts.p95_jump * (*jumped ? ENDS_PART : 1);
        *jumped = rate >= least && p.now_ms - p.usual_ms >= JUMP_LEAST_MS;
        if (*jumped)
            say(v, "p95_jump", e->path, "ticket", rate, c->alerts.p95_jump,
                "p95 of %s is %.0f ms, %.1f times the %.0f ms that are usual in this hour (%u days)",
                e->path, p.now_ms, rate, p.usual_ms, p.days);
    }
}

/* --- breakers --------------------------------------------------------------------------------------- */

/* One that probes is not well yet. */
static void breakers(const struct sight *v)
{
    const struct np_catalog *c = v->s->catalog;
    for (size_t i = 0; i < c->n_models; i++) {
        const struct np_model *m = &c->models[i];
        enum np_breaker_state state = np_breaker_get(v->s->guard, m, v->s->now_ns);
        bool *opened = &v->m->opened[m->slot];
        char subject[96];
        *opened = state == NP_BREAKER_OPEN || (*opened && state == NP_BREAKER_HALF_OPEN);
        if (!*opened || !c->alerts.breaker)
            continue;
        (void)snprintf(subject, sizeof subject, "%s/%s", m->provider->name, m->name);
        say(v, "breaker", subject, "ticket", (double)state, NP_BREAKER_OPEN,
            "the breaker of %s at %s is %s", m->name, m->provider->name,
            np_breaker_state_name(state));
    }
}

static void keys(const struct sight *v)
{
    const struct np_catalog *c = v->s->catalog;
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct np_provider *p = &c->providers[i];
        for (size_t k = 0; k < p->n_keys; k++) {
            char subject[96];
            if (!np_key_refused(v->s->guard, &p->keys[k], v->s->now_ns))
                continue;
            (void)snprintf(subject, sizeof subject, "%s %s", p->name, p->keys[k].label);
            say(v, "key_refused", subject, "page", 1, 1, "%s does not take the key %s", p->name,
                p->keys[k].label);
        }
    }
}

/* --- reloads, the store, money ------------------------------------------------------------------------ */

static void reloads(const struct sight *v)
{
    if (!v->s->catalog->alerts.reload)
        return;
    if (v->s->rejected)
        say(v, "reload_rejected", "", "ticket", 1, 1, "policies were rejected: %s", v->s->rejected);
    if (v->s->rolled_back)
        say(v, "reload_rolled_back", "", "ticket", 1, 1, "policies were rolled back: %s",
            v->s->rolled_back);
}

/* The oldest totals of the last hour; those of now are noted where a minute begins. */
static const struct np_alert_minute *an_hour_ago(const struct sight *v)
{
    const struct np_ledger_totals *t = v->s->totals;
    uint64_t minute = v->s->now_ns / (60 * NP_NS_PER_S) + 1;
    struct np_alert_minute *at = &v->m->minutes[minute % NP_ALERT_MINUTES];
    const struct np_alert_minute *oldest = at;
    if (at->minute != minute)
        *at = (struct np_alert_minute){.minute = minute,
                                       .booked_nusd = t->settled_nusd[NP_SETTLED_EXACT] +
                                                      t->settled_nusd[NP_SETTLED_ESTIMATED] +
                                                      t->settled_nusd[NP_SETTLED_PRESUMED],
                                       .presumed_nusd = t->settled_nusd[NP_SETTLED_PRESUMED],
                                       .excess_nusd = t->excess_nusd,
                                       .clock_jumps = t->clock_jumps};
    for (size_t i = 0; i < NP_ALERT_MINUTES; i++) {
        const struct np_alert_minute *m = &v->m->minutes[i];
        if (m->minute > 0 && m->minute + NP_ALERT_MINUTES > minute && m->minute < oldest->minute)
            oldest = m;
    }
    return oldest;
}

static void money(const struct sight *v)
{
    const struct np_ledger_totals *t = v->s->totals;
    const struct np_alert_minute *before = an_hour_ago(v);
    int64_t presumed = t->settled_nusd[NP_SETTLED_PRESUMED] - before->presumed_nusd;
    int64_t booked = t->settled_nusd[NP_SETTLED_EXACT] + t->settled_nusd[NP_SETTLED_ESTIMATED] +
                     t->settled_nusd[NP_SETTLED_PRESUMED] - before->booked_nusd;
    if (booked >= PRESUMED_MIN_NUSD && (double)presumed > PRESUMED_SHARE * (double)booked)
        say(v, "presumed", "", "ticket", (double)presumed / (double)booked, PRESUMED_SHARE,
            "%.1f %% of the money of the last hour is presumed: providers did not say what was used",
            100 * (double)presumed / (double)booked);
    int64_t excess = t->excess_nusd - before->excess_nusd;
    if (excess > 0)
        say(v, "excess", "", "ticket", (double)excess / (double)NP_NUSD_PER_USD, 0,
            "providers billed $%s more than was reserved, in the last hour",
            usd((double)excess).text);
    if (t->clock_jumps > before->clock_jumps)
        say(v, "clock_jump", "", "ticket", (double)(t->clock_jumps - before->clock_jumps), 0,
            "the machine's clock has jumped by more than 5 s");
    if (!t->store_up)
        say(v, "store_lost", "", "page", 0, 1, "the ledger's store can't be reached");
}

void np_alert_rules_run(const struct np_alert_scene *s, struct np_alert_memory *m,
                        struct np_alert_facts *out)
{
    const struct sight v = {s, m, out, 0};
    budgets(&v);
    burns(&v);
    jumps(&v);
    breakers(&v);
    keys(&v);
    reloads(&v);
    money(&v);
}
