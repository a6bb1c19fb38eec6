/* Making the catalogue of what lua/neap/schema.lua made of the data files. Everything here was checked
 * there: another kind than the expected one is neap's own fault and raises. Texts are copied into the
 * catalogue's arena; secrets are read here, and nowhere else. */
#include "script/load.h"

#include <lauxlib.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/state.h"

static _Noreturn void no_memory(lua_State *L)
{
    np_state_of(L)->no_memory = true;
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
    __builtin_unreachable();
}

static void *take_array(lua_State *L, struct np_build *b, size_t n, size_t size)
{
    if (n == 0)
        return NULL;
    void *p = np_arena_array(b->catalog->arena, n, size);
    if (!p)
        no_memory(L);
    return p;
}

/* ------------------------------------------------------------- fields of the table on the top */

static const char *text(lua_State *L, struct np_build *b, const char *name)
{
    size_t n;
    lua_getfield(L, -1, name);
    const char *p = luaL_checklstring(L, -1, &n);
    const char *copy = np_arena_dup(b->catalog->arena, np_span_make(p, n)).p;
    if (!copy)
        no_memory(L);
    lua_pop(L, 1);
    return copy;
}

static int64_t whole(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    int64_t v = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return v;
}

static uint32_t whole32(lua_State *L, const char *name)
{
    int64_t v = whole(L, name);
    np_require(v >= 0 && v <= UINT32_MAX);
    return (uint32_t)v;
}

static double real(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    double v = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool truth(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool is_text(lua_State *L, const char *name, const char *want)
{
    lua_getfield(L, -1, name);
    bool is = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), want) == 0;
    lua_pop(L, 1);
    return is;
}

/* Pushes the table of a field; its length. */
static size_t open_list(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    return lua_rawlen(L, -1);
}

/* Pushes the i-th item (from 0) of the table on the top. */
static void open_item(lua_State *L, size_t i)
{
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
}

static void done(lua_State *L)
{
    lua_pop(L, 1);
}

/* ---------------------------------------------------------------------------------- providers */

/* In the place of a key that is not set. */
#define STAND_IN "simulated"

/* The value of the secret {secret=} on the top, copied; NULL where it is not set, which only the
 * simulated ground lets pass. */
static const char *secret_value(lua_State *L, struct np_build *b, const char **label)
{
    char value[NP_SECRET_BYTES];
    const char *why = NULL;
    lua_getfield(L, -1, "secret");
    const char *name = np_secret_label(L, -1);
    np_require(name);
    bool set = np_secret_read(name, b->set->dir, value, &why);
    const char *copy = set ? np_arena_strdup(b->catalog->arena, value) : NULL;
    explicit_bzero(value, sizeof value);
    *label = np_arena_strdup(b->catalog->arena, name);
    if ((set && !copy) || !*label)
        no_memory(L);
    if (!set && !b->options->simulated)
        luaL_error(L, "%s %s", name, why);
    lua_pop(L, 1);
    return copy;
}

static void build_keys(lua_State *L, struct np_build *b, struct np_provider *p)
{
    size_t n = open_list(L, "keys");
    struct np_secret *keys = take_array(L, b, n, sizeof *keys);
    p->keys = keys;
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        struct np_secret key = {0};
        key.value = secret_value(L, b, &key.label);
        /* Which keys are held or tried decides, on the simulated ground too, whatever is set there. */
        if (!key.value && !(key.value = np_arena_strdup(b->catalog->arena, STAND_IN)))
            no_memory(L);
        keys[p->n_keys++] = key;
        done(L);
    }
    done(L);
}

static void build_headers(lua_State *L, struct np_build *b, struct np_provider *p)
{
    size_t n = open_list(L, "headers");
    struct np_header *headers = take_array(L, b, n, sizeof *headers);
    p->headers = headers;
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        struct np_header h = {.name = text(L, b, "name")};
        const char *label;
        lua_getfield(L, -1, "secret");
        bool secret = !lua_isnil(L, -1);
        done(L);
        h.value = secret ? secret_value(L, b, &label) : text(L, b, "value");
        if (h.value)
            headers[p->n_headers++] = h;
        done(L);
    }
    done(L);
}

static void build_breaker(lua_State *L, struct np_breaker_rule *rule)
{
    (void)open_list(L, "breaker");
    rule->failures = whole32(L, "failures");
    rule->rate = real(L, "rate");
    rule->min_calls = whole32(L, "min_calls");
    rule->window_ms = whole32(L, "window_ms");
    rule->open_ms = whole32(L, "open_ms");
    done(L);
}

static void build_provider(lua_State *L, struct np_build *b, struct np_provider *p)
{
    p->name = text(L, b, "name");
    p->adapter = is_text(L, "adapter", "anthropic") ? NP_ADAPTER_ANTHROPIC : NP_ADAPTER_OPENAI;
    p->base_url = text(L, b, "base_url");
    build_keys(L, b, p);
    build_headers(L, b, p);
    build_breaker(L, &p->breaker);
    p->connect_timeout_ms = whole32(L, "connect_timeout_ms");
    p->first_token_timeout_ms = whole32(L, "first_token_timeout_ms");
    p->idle_timeout_ms = whole32(L, "idle_timeout_ms");
    p->timeout_ms = whole32(L, "timeout_ms");
    p->max_inflight = whole32(L, "max_inflight");
    p->keep_warm = whole32(L, "keep_warm");
}

static void build_providers(lua_State *L, struct np_build *b)
{
    size_t n = open_list(L, "providers");
    struct np_provider *list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        build_provider(L, b, &list[i]);
        done(L);
    }
    b->catalog->providers = list;
    b->catalog->n_providers = n;
    done(L);
}

/* ------------------------------------------------------------------------------------- models */

static void build_rates(lua_State *L, struct np_rates *r)
{
    r->input = whole(L, "input");
    r->cached_input = whole(L, "cached_input");
    r->cache_write = whole(L, "cache_write");
    r->cache_write_1h = whole(L, "cache_write_1h");
    r->output = whole(L, "output");
    r->reasoning = whole(L, "reasoning");
}

static void build_price(lua_State *L, struct np_price *p)
{
    p->priced = truth(L, "priced");
    p->per_request_nusd = whole(L, "per_request");
    (void)open_list(L, "base");
    build_rates(L, &p->base);
    done(L);
    lua_getfield(L, -1, "above");
    if (lua_istable(L, -1)) {
        p->above_tokens = whole(L, "tokens");
        build_rates(L, &p->above);
    }
    done(L);
}

static void build_models(lua_State *L, struct np_build *b)
{
    size_t n = open_list(L, "models");
    struct np_model *list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        struct np_model *m = &list[i];
        open_item(L, i);
        m->name = text(L, b, "name");
        m->id = text(L, b, "id");
        m->tier = text(L, b, "tier");
        m->provider = &b->catalog->providers[whole(L, "provider_place") - 1];
        m->context = whole(L, "context");
        m->max_output = whole(L, "max_output");
        build_price(L, &m->price);
        lua_getfield(L, -1, "as_of");
        m->as_of = lua_istable(L, -1) ? text(L, b, "text") : "";
        done(L);
        done(L);
    }
    b->catalog->models = list;
    b->catalog->n_models = n;
    done(L);
}

/* The catalogue's models at the places that a field lists. */
static const struct np_model *const *model_list(lua_State *L, struct np_build *b, const char *name,
                                                size_t *n_out)
{
    size_t n = open_list(L, name);
    const struct np_model **list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        list[i] = &b->catalog->models[luaL_checkinteger(L, -1) - 1];
        done(L);
    }
    done(L);
    *n_out = n;
    return list;
}

/* ---------------------------------------------------------------------- endpoints and tenants */

static void build_on_error(lua_State *L, struct np_endpoint *e)
{
    (void)open_list(L, "on_error");
    for (int h = 0; h < NP_HOOK_COUNT; h++)
        e->on_error[h] = is_text(L, np_hook_name((enum np_hook)h), "refuse") ? NP_ON_ERROR_REFUSE
                                                                             : NP_ON_ERROR_DEFAULT;
    done(L);
}

static void build_endpoint(lua_State *L, struct np_build *b, struct np_endpoint *e)
{
    e->path = text(L, b, "name");
    (void)open_list(L, "slo");
    e->slo.p95_ms = whole32(L, "p95_ms");
    e->slo.error_rate = real(L, "error_rate");
    e->slo.degraded_rate = real(L, "degraded_rate");
    e->slo.cost_nusd = whole(L, "cost_usd");
    done(L);
    e->models = model_list(L, b, "model_places", &e->n_models);
    e->deadline_ms = whole32(L, "deadline_ms");
    e->max_attempts = whole32(L, "max_attempts");
    e->hedge_after_ms = whole32(L, "hedge_after_ms");
    e->max_cost_nusd = whole(L, "max_cost_usd");
    e->max_tokens = whole(L, "max_tokens");
    e->body_bytes = (size_t)whole(L, "body_bytes");
    e->drain_on_disconnect = is_text(L, "on_disconnect", "drain");
    build_on_error(L, e);
}

static void build_endpoints(lua_State *L, struct np_build *b)
{
    size_t n = open_list(L, "endpoints");
    struct np_endpoint *list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        build_endpoint(L, b, &list[i]);
        done(L);
    }
    b->catalog->endpoints = list;
    b->catalog->n_endpoints = n;
    done(L);
}

static void build_hashes(lua_State *L, struct np_build *b, struct np_tenant *t)
{
    t->n_keys = open_list(L, "keys");
    uint8_t(*hashes)[NP_SHA256_BYTES] = take_array(L, b, t->n_keys, sizeof *hashes);
    for (size_t i = 0; i < t->n_keys; i++) {
        open_item(L, i);
        np_require(np_unhex(luaL_checkstring(L, -1), NP_SHA256_BYTES, hashes[i]));
        done(L);
    }
    t->key_hashes = (const uint8_t(*)[NP_SHA256_BYTES])hashes;
    done(L);
}

static void build_tenant(lua_State *L, struct np_build *b, struct np_tenant *t)
{
    t->name = text(L, b, "name");
    build_hashes(L, b, t);
    t->n_endpoints = open_list(L, "endpoint_places");
    const struct np_endpoint **endpoints =
        take_array(L, b, t->n_endpoints, sizeof(const struct np_endpoint *));
    for (size_t i = 0; i < t->n_endpoints; i++) {
        open_item(L, i);
        endpoints[i] = &b->catalog->endpoints[luaL_checkinteger(L, -1) - 1];
        done(L);
    }
    t->endpoints = endpoints;
    done(L);
    t->models = model_list(L, b, "model_places", &t->n_models);
    t->requests_per_minute = whole(L, "requests_per_minute");
    t->tokens_per_minute = whole(L, "tokens_per_minute");
    t->concurrency = whole(L, "concurrency");
    t->priority = (unsigned)whole(L, "priority");
    t->disabled = truth(L, "disabled");
    lua_getfield(L, -1, "expires");
    t->expires_ms = lua_istable(L, -1) ? whole(L, "ms") : 0;
    done(L);
}

static void build_tenants(lua_State *L, struct np_build *b)
{
    size_t n = open_list(L, "tenants");
    struct np_tenant *list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        open_item(L, i);
        build_tenant(L, b, &list[i]);
        done(L);
    }
    b->catalog->tenants = list;
    b->catalog->n_tenants = n;
    done(L);
}

/* ---------------------------------------------------------------------- budgets and templates */

static enum np_window window_of(lua_State *L)
{
    for (int w = 0; w < NP_WINDOW_NONE; w++)
        if (is_text(L, "window", np_window_name((enum np_window)w)))
            return (enum np_window)w;
    return NP_WINDOW_NONE;
}

/* {kind=, of=} on the top. */
static enum np_account_kind account_kind(lua_State *L)
{
    static const struct {
        const char *name;
        enum np_account_kind kind;
    } kinds[] = {{"global", NP_ACCOUNT_GLOBAL},
                 {"endpoint", NP_ACCOUNT_ENDPOINT},
                 {"model", NP_ACCOUNT_MODEL},
                 {"provider", NP_ACCOUNT_PROVIDER}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (is_text(L, "kind", kinds[i].name))
            return kinds[i].kind;
    return is_text(L, "of", "") ? NP_ACCOUNT_EACH_TENANT : NP_ACCOUNT_TENANT;
}

static void build_budgets(lua_State *L, struct np_build *b)
{
    size_t n = open_list(L, "budgets");
    struct np_budget *list = take_array(L, b, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        struct np_budget *g = &list[i];
        open_item(L, i);
        (void)open_list(L, "account");
        g->kind = account_kind(L);
        g->name = text(L, b, "of");
        done(L);
        g->window = window_of(L);
        g->limit_nusd = whole(L, "limit_usd");
        g->reject = is_text(L, "on_exceeded", "reject");
        g->unknown_worst = is_text(L, "unknown", "worst");
        done(L);
    }
    b->catalog->budgets = list;
    b->catalog->n_budgets = n;
    done(L);
}

static void build_sinks(lua_State *L, struct np_build *b, struct np_alert_rules *r)
{
    r->n_sinks = open_list(L, "sinks");
    struct np_sink *list = take_array(L, b, r->n_sinks, sizeof *list);
    r->sinks = list;
    for (size_t i = 0; i < r->n_sinks; i++) {
        open_item(L, i);
        list[i].slack = is_text(L, "format", "slack");
        lua_getfield(L, -1, "webhook");
        bool secret = lua_istable(L, -1);
        if (secret)
            list[i].url = secret_value(L, b, &list[i].label);
        done(L);
        if (!secret) {
            list[i].url = text(L, b, "webhook");
            list[i].label = np_arena_printf(b->catalog->arena, "sinks[%zu]", i + 1);
            if (!list[i].label)
                no_memory(L);
        }
        done(L);
    }
    done(L);
}

static void build_alerts(lua_State *L, struct np_build *b)
{
    struct np_alert_rules *r = &b->catalog->alerts;
    r->report_minute = -1;
    lua_getfield(L, -1, "alerts");
    if (lua_istable(L, -1)) {
        build_sinks(L, b, r);
        r->n_budget = open_list(L, "budget");
        double *parts = take_array(L, b, r->n_budget, sizeof *parts);
        r->budget = parts;
        for (size_t i = 0; i < r->n_budget; i++) {
            open_item(L, i);
            parts[i] = luaL_checknumber(L, -1);
            done(L);
        }
        done(L);
        r->burn = truth(L, "burn");
        r->breaker = truth(L, "breaker");
        r->reload = truth(L, "reload");
        lua_getfield(L, -1, "p95_jump");
        r->p95_jump = lua_tonumber(L, -1);
        done(L);
        lua_getfield(L, -1, "daily_report");
        const char *at = lua_tostring(L, -1);
        if (at)
            r->report_minute =
                ((at[0] - '0') * 10 + at[1] - '0') * 60 + (at[3] - '0') * 10 + at[4] - '0';
        done(L);
    }
    done(L);
}

/* The catalogue lives as long as the set, so the texts stay where they are. One newline at the end
 * belongs to the file, not to the reply. */
static void build_templates(lua_State *L, struct np_build *b)
{
    const struct np_policyset *set = b->set;
    struct np_template *list = take_array(L, b, set->n_files, sizeof *list);
    for (size_t i = 0; i < set->n_files; i++) {
        const struct np_set_file *f = &set->files[i];
        if (np_set_file_kind(f->name) != NP_SET_TEMPLATE)
            continue;
        const char *name = f->name + strlen("templates/");
        struct np_template *t = &list[b->catalog->n_templates++];
        t->name = np_arena_dup(b->catalog->arena, np_span_make(name, strlen(name) - 4)).p;
        if (!t->name)
            no_memory(L);
        t->text = f->source;
        if (t->text.n > 0 && t->text.p[t->text.n - 1] == '\n')
            t->text.n--;
    }
    b->catalog->templates = list;
}

int np_catalog_build(lua_State *L)
{
    struct np_build *b = lua_touserdata(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    build_providers(L, b);
    build_models(L, b);
    build_endpoints(L, b);
    build_tenants(L, b);
    build_budgets(L, b);
    build_alerts(L, b);
    build_templates(L, b);
    return 0;
}
