/* The functions that policies may call. What the ground does not lend reads as nil. */
#include "script/api.h"

#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "model/template.h"
#include "model/tokens.h"
#include "script/lock.h"
#include "script/raw.h"
#include "script/sandbox.h"
#include "script/shared.h"
#include "script/views.h"

#define PLACES 32
#define SHARED_STRING_BYTES 4096
#define SHARED_KEY_BYTES 256

/* The script whose hook runs. Loading a file must have no effects and depend on nothing. */
struct np_script *np_api_script(lua_State *L)
{
    const struct np_state *st = np_state_of(L);
    if (!st->script || !st->script->x)
        luaL_error(L, st->testing ? NP_TESTING_WORDS : NP_LOADING_WORDS);
    return st->script;
}

/* Numbers are no texts here, and texts below no numbers, though Lua would turn them into such. */
static struct np_span span_arg(lua_State *L, int arg)
{
    struct np_span s;
    luaL_checktype(L, arg, LUA_TSTRING);
    s.p = lua_tolstring(L, arg, &s.n);
    return s;
}

/* ------------------------------------------------------------------------------ stats, budgets */

typedef double statistic(void *ctx, struct np_span name);

static int push_statistic(lua_State *L, statistic *f)
{
    struct np_span name = span_arg(L, 1);
    double v = f ? f(np_api_script(L)->powers.ctx, name) : -1;
    if (v >= 0)
        lua_pushnumber(L, v);
    else
        lua_pushnil(L);
    return 1;
}

static int stats_p95(lua_State *L)
{
    return push_statistic(L, np_api_script(L)->powers.p95_ms);
}

static int stats_error_rate(lua_State *L)
{
    return push_statistic(L, np_api_script(L)->powers.error_rate);
}

/* An argument that is one of these names, or `otherwise` where it is not given. */
static struct np_span choice_arg(lua_State *L, int arg, const char *what, const char *const *names,
                                 size_t n, const char *otherwise)
{
    if (lua_isnoneornil(L, arg))
        return np_span_of(otherwise);
    struct np_span name = span_arg(L, arg);
    for (size_t i = 0; i < n; i++)
        if (np_span_is(name, names[i]))
            return name;
    char text[NP_RAW_NAME];
    np_state_type_error(L, "stats.burn: there is no %s %s", what,
                        np_raw_name(name, names, n, text));
    return name;
}

static int stats_burn(lua_State *L)
{
    static const char *const objectives[] = {"p95_ms", "error_rate", "degraded_rate", "cost_usd"};
    static const char *const windows[] = {"5m", "30m", "1h", "6h", "3d"};
    const struct np_powers *p = &np_api_script(L)->powers;
    struct np_span endpoint = span_arg(L, 1);
    struct np_span objective = choice_arg(L, 2, "objective", objectives, 4, "");
    struct np_span window = choice_arg(L, 3, "window", windows, 5, "1h");
    double v = p->burn ? p->burn(p->ctx, endpoint, objective, window) : -1;
    if (v >= 0)
        lua_pushnumber(L, v);
    else
        lua_pushnil(L);
    return 1;
}

/* Refuses a window that is none. */
static void check_window(lua_State *L, const char *call, struct np_span window)
{
    const char *names[NP_WINDOW_NONE + 1];
    for (int w = 0; w <= NP_WINDOW_NONE; w++) {
        names[w] = np_window_name((enum np_window)w);
        if (np_span_is(window, names[w]))
            return;
    }
    char text[NP_RAW_NAME];
    np_state_type_error(L, "%s: a window is minute, hour, day, week, month or none, not %s", call,
                        np_raw_name(window, names, NP_WINDOW_NONE + 1, text));
}

/* An account that is not written as accounts are is a slip of the pen; one that no budget has is not. */
static struct np_span account_arg(lua_State *L, const char *call)
{
    static const char *const kinds[] = {"tenant:", "endpoint:", "model:", "provider:"};
    struct np_span account = span_arg(L, 1);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (np_span_starts(account, kinds[i]) && account.n > strlen(kinds[i]))
            return account;
    if (np_span_starts(account, "global/"))
        check_window(L, call, np_span_make(account.p + 7, account.n - 7));
    else if (!np_span_is(account, "global"))
        np_state_type_error(L,
                            "%s: an account is global, tenant:NAME, endpoint:PATH, model:NAME or "
                            "provider:NAME, with or without /WINDOW",
                            call);
    return account;
}

static int stats_cost_usd(lua_State *L)
{
    const struct np_powers *p = &np_api_script(L)->powers;
    struct np_span account = account_arg(L, "stats.cost_usd");
    struct np_span window = lua_isnoneornil(L, 2) ? NP_SPAN("") : span_arg(L, 2);
    if (window.n > 0)
        check_window(L, "stats.cost_usd", window);
    int64_t nusd;
    if (p->spent && p->spent(p->ctx, account, window, &nusd))
        lua_pushnumber(L, np_script_usd(nusd));
    else
        lua_pushnil(L);
    return 1;
}

static int budget_remaining(lua_State *L)
{
    const struct np_powers *p = &np_api_script(L)->powers;
    struct np_span account = account_arg(L, "budget.remaining");
    int64_t nusd;
    if (p->remaining && p->remaining(p->ctx, account, &nusd))
        lua_pushnumber(L, np_script_usd(nusd));
    else
        lua_pushnil(L);
    return 1;
}

static int breaker_state(lua_State *L)
{
    const struct np_powers *p = &np_api_script(L)->powers;
    struct np_span model = span_arg(L, 1);
    lua_pushstring(L, p->breaker ? p->breaker(p->ctx, model) : NULL);
    return 1;
}

/* ---------------------------------------------------------------------------- small arithmetic */

/* With a model: as that model has counted of late. */
static int tokens(lua_State *L)
{
    const struct np_powers *p = &np_api_script(L)->powers;
    struct np_span text = span_arg(L, 1);
    np_state_poll(L, (int64_t)(text.n / 64));
    int64_t n = np_tokens_estimate(text, false);
    if (!lua_isnoneornil(L, 2)) {
        struct np_span model = span_arg(L, 2);
        int64_t corrected = p->tokens ? p->tokens(p->ctx, model, n) : n;
        if (corrected < 0)
            return luaL_argerror(L, 2, "no model of models.lua has this name");
        n = corrected;
    }
    lua_pushinteger(L, n);
    return 1;
}

/* min(base_ms · 2^attempt, cap_ms) and up to jitter_ms more. */
static int backoff(lua_State *L)
{
    static const char *const names[] = {"base_ms", "cap_ms", "jitter_ms", "attempt"};
    luaL_checktype(L, 1, LUA_TTABLE);
    np_raw_check_keys(L, 1, "backoff", names, 4);
    double base = np_raw_number(L, 1, "backoff", "base_ms", 0, 250);
    double cap = np_raw_number(L, 1, "backoff", "cap_ms", 0, 2500);
    double jitter = np_raw_number(L, 1, "backoff", "jitter_ms", 0, 120);
    int64_t attempt = np_raw_integer(L, 1, "backoff", "attempt", 0, 1000, 1);
    struct np_rng *rng = np_api_script(L)->powers.rng;
    double wait = fmin(ldexp(base, (int)attempt), cap) + jitter * (rng ? np_rng_unit(rng) : 0);
    lua_pushinteger(L, wait < 86400000.0 ? (lua_Integer)wait : 86400000);
    return 1;
}

static int random_unit(lua_State *L)
{
    struct np_rng *rng = np_api_script(L)->powers.rng;
    lua_pushnumber(L, rng ? np_rng_unit(rng) : 0);
    return 1;
}

static int now_ms(lua_State *L)
{
    lua_pushinteger(L, np_clock_wall_ms(np_api_script(L)->powers.clock));
    return 1;
}

/* ----------------------------------------------------------------------------------- templates */

static size_t read_places(lua_State *L, struct np_place *places)
{
    size_t n = 0;
    if (lua_isnoneornil(L, 2))
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    np_lock_reveal(L, 2);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        if (n == PLACES)
            np_state_type_error(L, "template: at most %d values", PLACES);
        if (lua_type(L, -2) != LUA_TSTRING)
            np_state_type_error(L, "template: names of values must be strings");
        int type = lua_type(L, -1);
        if (type == LUA_TBOOLEAN)
            lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        else if (type == LUA_TSTRING || type == LUA_TNUMBER)
            lua_pushvalue(L, -1);
        else
            np_state_type_error(L, "template: a value is a %s, not a text, number or boolean",
                                luaL_typename(L, -1));
        places[n].name.p = lua_tolstring(L, -3, &places[n].name.n);
        places[n].value.p = lua_tolstring(L, -1, &places[n].value.n);
        /* The value stays on the stack below the key, so that the text lives. */
        n++;
        luaL_checkstack(L, 4, NULL);
        lua_insert(L, -3);
        lua_pop(L, 1);
    }
    return n;
}

static const struct np_template *find_template(lua_State *L, const struct np_exchange *x)
{
    struct np_span name = span_arg(L, 1);
    const struct np_template *t = np_catalog_template(x->catalog, name);
    if (t)
        return t;
    const char *names[64];
    size_t n = 0;
    for (; n < x->catalog->n_templates && n < 64; n++)
        names[n] = x->catalog->templates[n].name;
    char text[NP_RAW_NAME];
    np_state_type_error(L, "there is no template %s", np_raw_name(name, names, n, text));
    return NULL;
}

static int fill_template(lua_State *L)
{
    struct np_script *s = np_api_script(L);
    struct np_place places[PLACES];
    const struct np_template *t = find_template(L, s->x);
    size_t n = read_places(L, places);
    struct np_buf *out = &s->state.scratch;
    np_buf_reset(out);
    np_template_fill(out, t->text, s->x, s->reason, s->x->outcome.retry_after_s, places, n);
    if (np_buf_failed(out))
        return luaL_error(L, "template: the text is too long");
    lua_pushlstring(L, out->p ? out->p : "", out->n);
    return 1;
}

/* -------------------------------------------------------------------------------------- shared */

static struct np_span key_arg(lua_State *L)
{
    struct np_span key = span_arg(L, 1);
    luaL_argcheck(L, key.n > 0 && key.n <= SHARED_KEY_BYTES, 1, "a key has 1 to 256 bytes");
    return key;
}

static double number_arg(lua_State *L, int arg, double otherwise)
{
    if (lua_isnoneornil(L, arg))
        return otherwise;
    luaL_checktype(L, arg, LUA_TNUMBER);
    return lua_tonumber(L, arg);
}

static int64_t ttl_arg(lua_State *L, int arg)
{
    double s = number_arg(L, arg, 0);
    luaL_argcheck(L, s >= 0 && s < 1e9, arg, "a time to live in seconds is wanted");
    return s > 0 && s < 0.001 ? 1 : (int64_t)(s * 1000);
}

static int64_t shared_now(const struct np_script *s)
{
    return (int64_t)(np_clock_mono_ns(s->powers.clock) / NP_NS_PER_MS);
}

/* Whole numbers as integers, as they were given. */
static void push_tidy(lua_State *L, double v)
{
    lua_Integer whole;
    if (floor(v) == v && lua_numbertointeger(v, &whole))
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, v);
}

static int shared_get(lua_State *L)
{
    struct np_script *s = np_api_script(L);
    struct np_span key = key_arg(L);
    struct np_shared_value v = {.kind = NP_SHARED_NIL};
    struct np_buf *copy = &s->state.scratch;
    if (s->powers.shared)
        np_shared_get(s->powers.shared, key, shared_now(s), &v);
    switch (v.kind) {
    case NP_SHARED_NIL:
        lua_pushnil(L);
        break;
    case NP_SHARED_NUMBER:
        push_tidy(L, v.number);
        break;
    case NP_SHARED_BOOL:
        lua_pushboolean(L, v.number > 0);
        break;
    case NP_SHARED_STRING:
        /* Lua may raise, and its copy is ours to free. */
        np_buf_reset(copy);
        np_buf_put(copy, v.string, v.length);
        free(v.string);
        lua_pushlstring(L, copy->p ? copy->p : "", copy->n);
        break;
    }
    return 1;
}

static int shared_set(lua_State *L)
{
    struct np_script *s = np_api_script(L);
    struct np_span key = key_arg(L);
    int64_t ttl_ms = ttl_arg(L, 3);
    struct np_shared_value v = {.kind = NP_SHARED_NIL};
    switch (lua_type(L, 2)) {
    case LUA_TNIL:
        break;
    case LUA_TNUMBER:
        v.kind = NP_SHARED_NUMBER;
        v.number = lua_tonumber(L, 2);
        break;
    case LUA_TBOOLEAN:
        v.kind = NP_SHARED_BOOL;
        v.number = lua_toboolean(L, 2);
        break;
    case LUA_TSTRING:
        v.kind = NP_SHARED_STRING;
        v.string = (char *)(uintptr_t)lua_tolstring(L, 2, &v.length);
        luaL_argcheck(L, v.length <= SHARED_STRING_BYTES, 2, "a string of at most 4 KB is wanted");
        break;
    default:
        return luaL_typeerror(L, 2, "string, number, boolean or nil");
    }
    if (s->powers.shared && np_shared_set(s->powers.shared, key, &v, ttl_ms, shared_now(s)))
        return luaL_error(L, "shared.set: the store is full");
    return 0;
}

static int shared_incr(lua_State *L)
{
    struct np_script *s = np_api_script(L);
    struct np_span key = key_arg(L);
    double by = number_arg(L, 2, 1), sum = by;
    int64_t ttl_ms = ttl_arg(L, 3);
    enum np_err err = NP_OK;
    luaL_argcheck(L, isfinite(by), 2, "a finite number is wanted");
    if (s->powers.shared)
        err = np_shared_incr(s->powers.shared, key, by, ttl_ms, shared_now(s), &sum);
    if (err == NP_E_INVALID)
        return np_state_type_error(L, "shared.incr: the value is not a number");
    if (err)
        return luaL_error(L, "shared.incr: the store is full");
    push_tidy(L, sum);
    return 1;
}

/* ------------------------------------------------------------------------------------- opening */

static void push_logs(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    lua_createtable(L, 0, 4);
    for (int level = NP_LOG_DEBUG; level <= NP_LOG_ERROR; level++) {
        lua_pushinteger(L, level);
        lua_pushcclosure(L, np_api_log, 1);
        lua_setfield(L, -2, names[level]);
    }
}

void np_api_push(lua_State *L)
{
    static const luaL_Reg functions[] = {{"tokens", tokens},
                                         {"backoff", backoff},
                                         {"pick", np_api_pick},
                                         {"template", fill_template},
                                         {"random", random_unit},
                                         {"now_ms", now_ms},
                                         {NULL, NULL}};
    static const luaL_Reg stats[] = {{"p95", stats_p95},
                                     {"error_rate", stats_error_rate},
                                     {"cost_usd", stats_cost_usd},
                                     {"burn", stats_burn},
                                     {NULL, NULL}};
    static const luaL_Reg breaker[] = {{"state", breaker_state}, {NULL, NULL}};
    static const luaL_Reg budget[] = {{"remaining", budget_remaining}, {NULL, NULL}};
    static const luaL_Reg shared[] = {
        {"get", shared_get}, {"set", shared_set}, {"incr", shared_incr}, {NULL, NULL}};
    luaL_newlib(L, functions);
    luaL_newlib(L, stats);
    lua_setfield(L, -2, "stats");
    luaL_newlib(L, breaker);
    lua_setfield(L, -2, "breaker");
    luaL_newlib(L, budget);
    lua_setfield(L, -2, "budget");
    luaL_newlib(L, shared);
    lua_setfield(L, -2, "shared");
    push_logs(L);
    lua_setfield(L, -2, "log");
}
