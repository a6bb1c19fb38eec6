/* pick{models, weights=, by=, sticky=}: the name of one of the models.
 *
 * by "random" (the default): by chance, in proportion to weights (1 each unless given, a list beside
 * the models or a table by name). With sticky, a text such as the tenant's name, the choice is always
 * the same for the same text, and when a model goes only those move that had it (rendezvous hashing
 * with weights, Schindelhauer and Schomaker). by "latency": the lowest p95 known, by "cost": where
 * the request costs least at its longest answer; the first of equals, models about which nothing is known
 * or into which the request does not fit last. */
#include <math.h>

#include "base/hash.h"
#include "script/api.h"
#include "script/lock.h"
#include "script/raw.h"
#include "script/request.h"

#define MODELS 64

struct choice {
    const struct np_model *model;
    double weight;
};

static const struct np_model *model_at_top(lua_State *L, const struct np_catalog *c)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        np_state_type_error(L, "pick: models are given by name, not by a %s", luaL_typename(L, -1));
    struct np_span name;
    name.p = lua_tolstring(L, -1, &name.n);
    const struct np_model *m = c ? np_catalog_model(c, name) : NULL;
    if (m)
        return m;
    const char *names[MODELS];
    size_t n = 0;
    for (; c && n < c->n_models && n < MODELS; n++)
        names[n] = c->models[n].name;
    char text[NP_RAW_NAME];
    np_state_type_error(L, "pick: there is no model %s", np_raw_name(name, names, n, text));
    return NULL;
}

/* pick{{"a", "b"}, …}, pick{models = {"a", "b"}, …} and pick{"a", "b", …} are the same; pushes the
 * list. */
static void push_list(lua_State *L)
{
    lua_pushliteral(L, "models");
    if (lua_rawget(L, 1) == LUA_TNIL) {
        lua_pop(L, 1);
        if (lua_rawgeti(L, 1, 1) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_pushvalue(L, 1);
        }
    }
    if (lua_type(L, -1) != LUA_TTABLE)
        np_state_type_error(L, "pick.models must be a list of names");
    np_lock_reveal(L, -1);
}

static size_t read_models(lua_State *L, const struct np_catalog *c, struct choice *choices)
{
    push_list(L);
    size_t n = lua_rawlen(L, -1);
    if (n == 0 || n > MODELS)
        np_state_type_error(L, "pick takes a list of 1 to %d models", MODELS);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        choices[i] = (struct choice){model_at_top(L, c), 1};
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return n;
}

static void read_weights(lua_State *L, struct choice *choices, size_t n)
{
    double sum = 0;
    lua_pushliteral(L, "weights");
    if (lua_rawget(L, 1) == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE)
        np_state_type_error(L, "pick.weights must be a table");
    bool listed = lua_rawlen(L, -1) > 0;
    for (size_t i = 0; i < n; i++) {
        if (listed) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        } else {
            lua_pushstring(L, choices[i].model->name);
            lua_rawget(L, -2);
        }
        double w = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(w >= 0) || isinf(w))
            np_state_type_error(L, "pick.weights needs a number of at least 0 for \"%s\"",
                                choices[i].model->name);
        choices[i].weight = w;
        sum += w;
        lua_pop(L, 1);
    }
    if (!(sum > 0))
        np_state_type_error(L, "pick.weights are all 0");
    lua_pop(L, 1);
}

static size_t by_chance(struct np_rng *rng, const struct choice *choices, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += choices[i].weight;
    double at = (rng ? np_rng_unit(rng) : 0) * sum;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (choices[i].weight <= 0)
            continue;
        last = i;
        if (at < choices[i].weight)
            return i;
        at -= choices[i].weight;
    }
    return last;
}

/* A number over 0 and under 1 that only text and name decide about (the finaliser is splitmix64's). */
static double lot(struct np_span text, const char *name)
{
    uint64_t z = np_fnv1a(text.p, text.n) ^ (np_fnv1a(name, strlen(name)) * 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return ((double)(z >> 11) + 0.5) * 0x1p-53;
}

static size_t by_lot(struct np_span text, const struct choice *choices, size_t n)
{
    size_t best = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        double score = -choices[i].weight / log(lot(text, choices[i].model->name));
        if (score > most) {
            most = score;
            best = i;
        }
    }
    return best;
}

/* What the request costs there with as long an answer as it may have; INFINITY where nobody knows, or
 * where it does not fit. */
static double cost_of(const struct np_script *s, const struct np_model *m)
{
    struct np_usage u = {.prompt = np_request_prompt_tokens(np_req_shown(s)),
                         .completion = np_req_max_tokens(s)};
    int64_t nusd;
    if (m->max_output > 0 && u.completion > m->max_output)
        u.completion = m->max_output;
    bool fits = m->context == 0 || u.prompt + u.completion <= m->context;
    if (!fits || !m->price.priced || np_price_cost(&m->price, &u, &nusd))
        return (double)INFINITY;
    return (double)nusd;
}

/* What counts against a model; INFINITY: unknown. */
static double burden(const struct np_script *s, const struct np_model *m, bool cost)
{
    const struct np_powers *p = &s->powers;
    if (cost)
        return cost_of(s, m);
    double ms = p->p95_ms ? p->p95_ms(p->ctx, np_span_of(m->name)) : -1;
    return ms >= 0 ? ms : (double)INFINITY;
}

static size_t by_burden(const struct np_script *s, const struct choice *choices, size_t n,
                        bool cost)
{
    size_t best = 0;
    double least = burden(s, choices[0].model, cost);
    for (size_t i = 1; i < n; i++) {
        double other = burden(s, choices[i].model, cost);
        if (other < least) {
            least = other;
            best = i;
        }
    }
    return best;
}

int np_api_pick(lua_State *L)
{
    static const char *const names[] = {"models", "weights", "by", "sticky"};
    struct np_script *s = np_api_script(L);
    struct choice choices[MODELS];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    np_raw_check_options(L, 1, "pick", names, 4);
    size_t n = read_models(L, s->x->catalog, choices);
    read_weights(L, choices, n);
    struct np_span by = np_raw_string(L, 1, "pick", "by", 16);
    struct np_span sticky = np_raw_string(L, 1, "pick", "sticky", 1024);
    size_t at;
    if (np_span_is(by, "latency") || np_span_is(by, "cost"))
        at = by_burden(s, choices, n, np_span_is(by, "cost"));
    else if (by.p && !np_span_is(by, "random"))
        return np_state_type_error(L, "pick.by must be \"latency\", \"cost\" or \"random\"");
    else
        at = sticky.p ? by_lot(sticky, choices, n) : by_chance(s->powers.rng, choices, n);
    lua_pushstring(L, choices[at].model->name);
    return 1;
}
