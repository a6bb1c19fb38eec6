/* Making breakers and accounts what a play wants them to be, through the same doors as requests. */
#include "engine/play_impl.h"

#include <stdio.h>

#define MAX_GUESSES 128

static enum np_err unknown_model(struct np_play *p, struct np_span name)
{
    const char *names[MAX_GUESSES];
    size_t n = 0;
    for (; n < p->catalog->n_models && n < MAX_GUESSES; n++)
        names[n] = p->catalog->models[n].name;
    return np_play_unknown(p, "model", name, names, n);
}

/* --- breakers ---------------------------------------------------------------------------------------- */

/* Lets calls of the model fail at this time until its breaker is open. */
static enum np_err open_breaker(struct np_play *p, const struct np_model *m, uint64_t at_ns)
{
    const struct np_breaker_rule *rule = &m->provider->breaker;
    struct np_guard *guard = np_sim_guard(p->sim);
    uint32_t most = rule->failures > rule->min_calls ? rule->failures : rule->min_calls;
    for (uint32_t i = 0; i <= most; i++) {
        if (np_breaker_get(guard, m, at_ns) == NP_BREAKER_OPEN)
            return NP_OK;
        np_breaker_report(guard, m, at_ns, NP_CLASS_network, -1, false);
    }
    return np_play_fault(p, "the breaker of %s never opens, by the rule in providers.lua", m->name);
}

/* Which state a member of `breakers` wants. */
static enum np_err read_breaker(struct np_play *p, struct np_span key, struct np_span value,
                                const struct np_model **m, enum np_breaker_state *state)
{
    static const char *const names[] = {"closed", "half_open", "open"};
    struct np_span name, word;
    enum np_err err = np_play_name(p, key, &name);
    if (!err)
        err = np_play_text(p, "a breaker's state", value, &word);
    if (err)
        return err;
    *m = np_catalog_model(p->catalog, name);
    if (!*m)
        return unknown_model(p, name);
    size_t i = 0;
    while (i < 3 && !np_span_is(word, names[i]))
        i++;
    *state = (enum np_breaker_state)i;
    return i < 3 ? NP_OK : np_play_unknown(p, "state of breakers", word, names, 3);
}

static uint64_t open_ns(const struct np_model *m)
{
    return (uint64_t)m->provider->breaker.open_ms * NP_NS_PER_MS;
}

/* One that shall be half open opened long enough ago: the request comes later by that. */
static enum np_err set_breaker(struct np_play *p, const struct np_model *m,
                               enum np_breaker_state wanted)
{
    struct np_guard *guard = np_sim_guard(p->sim);
    if (np_breaker_get(guard, m, p->at_ns) == wanted)
        return NP_OK;
    switch (wanted) {
    case NP_BREAKER_OPEN:
        return open_breaker(p, m, p->at_ns);
    case NP_BREAKER_HALF_OPEN:
        return open_breaker(p, m, p->at_ns - open_ns(m));
    default:
        return np_play_fault(p, "the breaker of %s was opened earlier in this test", m->name);
    }
}

enum np_err np_play_breakers(struct np_play *p, const struct np_play_given *g)
{
    const struct np_model *m;
    enum np_breaker_state state;
    struct np_span key, value;
    uint64_t earliest_ns = 0;
    p->at_ns = np_sim_now_ns(p->sim) + (uint64_t)g->after_ms * NP_NS_PER_MS;
    if (!g->breakers.p)
        return NP_OK;
    for (struct np_json_walk w = np_json_walk(g->breakers); np_json_member(&w, &key, &value);) {
        enum np_err err = read_breaker(p, key, value, &m, &state);
        if (err)
            return err;
        if (state == NP_BREAKER_HALF_OPEN && open_ns(m) > earliest_ns)
            earliest_ns = open_ns(m);
    }
    p->at_ns += earliest_ns;
    for (struct np_json_walk w = np_json_walk(g->breakers); np_json_member(&w, &key, &value);) {
        enum np_err err = read_breaker(p, key, value, &m, &state);
        if (!err)
            err = set_breaker(p, m, state);
        if (err)
            return err;
    }
    return NP_OK;
}

/* --- accounts ---------------------------------------------------------------------------------------- */

/* A call that touches just one account: what a budget alone would make of it. */
struct booking {
    struct np_budget budget;
    const struct np_tenant *tenant;
    const struct np_endpoint *endpoint;
    const struct np_model *model;
};

/* Whether the account of budget b and this name is the one that is looked for. */
static bool is_account(const struct np_budget *b, const char *kind, const char *name,
                       const char *wanted)
{
    char text[sizeof(((struct np_account_view *)NULL)->name)];
    (void)snprintf(text, sizeof text, "%s%s%s/%s", kind, name[0] ? ":" : "", name,
                   np_window_name(b->window));
    return strcmp(text, wanted) == 0;
}

static bool find_tenant(const struct np_catalog *c, const struct np_budget *b, const char *wanted,
                        struct booking *out)
{
    bool each = b->kind == NP_ACCOUNT_EACH_TENANT;
    size_t n = c->n_tenants ? c->n_tenants : 1;
    const struct np_tenant *tenants = c->n_tenants ? c->tenants : c->anonymous;
    for (size_t i = 0; i < n; i++) {
        const char *name = tenants[i].name;
        if ((each || strcmp(b->name, name) == 0) && is_account(b, "tenant", name, wanted)) {
            out->tenant = &tenants[i];
            return true;
        }
    }
    return false;
}

/* Whether this budget has the account; then *out is a call that touches it. */
static bool touches(const struct np_catalog *c, const struct np_budget *b, const char *wanted,
                    struct booking *out)
{
    struct np_span name = np_span_of(b->name);
    *out = (struct booking){.budget = *b,
                            .tenant = c->n_tenants ? &c->tenants[0] : c->anonymous,
                            .endpoint = &c->endpoints[0],
                            .model = &c->models[0]};
    switch (b->kind) {
    case NP_ACCOUNT_GLOBAL:
        return is_account(b, "global", "", wanted);
    case NP_ACCOUNT_EACH_TENANT:
    case NP_ACCOUNT_TENANT:
        return find_tenant(c, b, wanted, out);
    case NP_ACCOUNT_ENDPOINT:
        out->endpoint = np_catalog_endpoint(c, name);
        return is_account(b, "endpoint", b->name, wanted);
    case NP_ACCOUNT_MODEL:
        out->model = np_catalog_model(c, name);
        return is_account(b, "model", b->name, wanted);
    case NP_ACCOUNT_PROVIDER:
        for (size_t i = 0; i < c->n_models; i++) {
            if (strcmp(c->models[i].provider->name, b->name) == 0)
                out->model = &c->models[i];
        }
        return is_account(b, "provider", b->name, wanted);
    }
    return false;
}

/* Books the amount on the account alone: the call's catalogue has no other budget. */
static enum np_err book(struct np_play *p, const struct booking *b, int64_t nusd, int64_t wall_ms)
{
    struct np_catalog *c = np_arena_alloc(p->arena, sizeof *c);
    struct np_exchange *x = np_arena_alloc(p->arena, sizeof *x);
    struct np_reservation held;
    struct np_budget_block block;
    if (!c || !x)
        return NP_E_NOMEM;
    *c = *p->catalog;
    c->budgets = &b->budget;
    c->n_budgets = 1;
    x->id = "";
    x->catalog = c;
    x->tenant = b->tenant;
    x->endpoint = b->endpoint;
    struct np_ledger *ledger = np_sim_ledger(p->sim);
    int64_t room = np_ledger_room(ledger, x, b->model, wall_ms, &block);
    enum np_err err =
        np_ledger_reserve(ledger, x, b->model, nusd < room ? nusd : room, wall_ms, &held, &block);
    if (!err)
        np_ledger_settle(ledger, &held, NP_SETTLED_EXACT, nusd);
    return err == NP_E_REFUSED ? NP_E_NOMEM : err;
}

static enum np_err unknown_account(struct np_play *p, struct np_span name)
{
    const char *names[MAX_GUESSES];
    struct np_account_view *views = np_arena_array(p->arena, MAX_GUESSES, sizeof *views);
    if (!views)
        return NP_E_NOMEM;
    size_t n = np_ledger_list(np_sim_ledger(p->sim), p->catalog, np_sim_wall_ms(p->at_ns), views,
                              MAX_GUESSES);
    for (size_t i = 0; i < n; i++)
        names[i] = views[i].name;
    return np_play_unknown(p, "account in budgets.lua", name, names, n);
}

static enum np_err set_account(struct np_play *p, struct np_span name, struct np_span amount)
{
    struct np_account_view view;
    struct booking b;
    int64_t nusd, wall_ms = np_sim_wall_ms(p->at_ns);
    if (np_json_kind(amount) != NP_JSON_NUMBER || np_money_parse(amount, 9, &nusd))
        return np_play_fault(p, "budgets: what is spent on %.*s must be an amount of USD, got %.*s",
                             (int)name.n, name.p, (int)(amount.n < 40 ? amount.n : 40), amount.p);
    if (np_ledger_account(np_sim_ledger(p->sim), p->catalog, name, wall_ms, &view))
        return unknown_account(p, name);
    if (nusd < view.spent_nusd) {
        char text[NP_MONEY_TEXT];
        (void)np_money_format(view.spent_nusd, text);
        return np_play_fault(p, "budgets: %s USD were spent on %s earlier in this test", text,
                             view.name);
    }
    for (size_t i = 0; i < p->catalog->n_budgets; i++) {
        if (touches(p->catalog, &p->catalog->budgets[i], view.name, &b))
            return book(p, &b, nusd - view.spent_nusd, wall_ms);
    }
    return unknown_account(p, name);
}

/* "tenant/day" is that of the tenant who asks: "tenant:acme/day". p NULL: no memory. */
static struct np_span own_account(struct np_play *p, struct np_span name, const char *tenant)
{
    const struct np_catalog *c = p->catalog;
    if (!np_span_is(name, "tenant") && !np_span_starts(name, "tenant/"))
        return name;
    if (!tenant)
        tenant = c->n_tenants ? c->tenants[0].name : c->anonymous->name;
    size_t n = name.n + strlen(tenant) + 1;
    char *text = np_arena_alloc(p->arena, n + 1);
    if (!text)
        return NP_SPAN_NONE;
    (void)snprintf(text, n + 1, "tenant:%s%.*s", tenant, (int)(name.n - 6), name.p + 6);
    return np_span_make(text, n);
}

enum np_err np_play_budgets(struct np_play *p, struct np_span budgets, const char *tenant)
{
    struct np_span key, value, name;
    for (struct np_json_walk w = np_json_walk(budgets); np_json_member(&w, &key, &value);) {
        enum np_err err = np_play_name(p, key, &name);
        if (!err) {
            name = own_account(p, name, tenant);
            err = name.p ? NP_OK : NP_E_NOMEM;
        }
        if (!err)
            err = set_account(p, name, value);
        if (err)
            return err;
    }
    return NP_OK;
}
