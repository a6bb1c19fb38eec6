/* The handle `req`: reading. One object stands for an exchange as long as hooks of no other exchange
 * come between; then it is over, and a new one is made. */
#include "script/request.h"

#include <math.h>

#include "script/json.h"
#include "script/lock.h"
#include "script/raw.h"
#include "script/views.h"

#define REQ_FIELDS                                                                               \
    (NP_FIELD_BIT(id) | NP_FIELD_BIT(endpoint) | NP_FIELD_BIT(tenant) | NP_FIELD_BIT(messages) | \
     NP_FIELD_BIT(system) | NP_FIELD_BIT(context) | NP_FIELD_BIT(prompt_tokens) |                \
     NP_FIELD_BIT(max_tokens) | NP_FIELD_BIT(temperature) | NP_FIELD_BIT(stream) |               \
     NP_FIELD_BIT(model) | NP_FIELD_BIT(metadata) | NP_FIELD_BIT(tags) |                         \
     NP_FIELD_BIT(elapsed_ms) | NP_FIELD_BIT(remaining_ms) | NP_FIELD_BIT(spent_usd) |           \
     NP_FIELD_BIT(attempts))

typedef int getter(lua_State *L, struct np_script *s);

int np_unknown_field(lua_State *L, const char *what, uint64_t fields)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return np_state_type_error(L, "%s has named fields only, not a %s", what,
                                   luaL_typename(L, 2));
    const char *names[NP_FIELD_COUNT];
    size_t n = 0;
    for (int f = 1; f < NP_FIELD_COUNT; f++)
        if (fields >> f & 1)
            names[n++] = np_field_name((enum np_field)f);
    struct np_span word;
    word.p = lua_tolstring(L, 2, &word.n);
    char text[NP_RAW_NAME];
    return np_state_type_error(L, "%s has no field %s", what, np_raw_name(word, names, n, text));
}

void np_req_push_cache(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    if (lua_getiuservalue(L, idx, NP_REQ_CACHE) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, idx, NP_REQ_CACHE);
}

/* ------------------------------------------------------------------------------------ getters */

static int get_id(lua_State *L, struct np_script *s)
{
    lua_pushstring(L, s->x->id);
    return 1;
}

static int get_endpoint(lua_State *L, struct np_script *s)
{
    lua_pushstring(L, s->x->endpoint->path);
    return 1;
}

static int get_tenant(lua_State *L, struct np_script *s)
{
    lua_pushstring(L, s->x->tenant->name);
    return 1;
}

static int get_system(lua_State *L, struct np_script *s)
{
    const struct np_request *r = np_req_shown(s);
    if (r->system.p)
        np_ljson_push_string(L, r->system);
    else
        lua_pushnil(L);
    return 1;
}

static int get_prompt_tokens(lua_State *L, struct np_script *s)
{
    if (s->draft.open)
        np_draft_settle(L, s);
    lua_pushinteger(L, np_request_prompt_tokens(np_req_shown(s)));
    return 1;
}

int64_t np_req_max_tokens(const struct np_script *s)
{
    int64_t n = np_req_shown(s)->max_tokens, most = s->x->endpoint->max_tokens;
    return n < 0 || (most > 0 && most < n) ? most : n;
}

static int get_max_tokens(lua_State *L, struct np_script *s)
{
    lua_pushinteger(L, np_req_max_tokens(s));
    return 1;
}

static int get_temperature(lua_State *L, struct np_script *s)
{
    double t = np_req_shown(s)->temperature;
    if (isnan(t))
        lua_pushnil(L);
    else
        lua_pushnumber(L, t);
    return 1;
}

static int get_stream(lua_State *L, struct np_script *s)
{
    lua_pushboolean(L, s->x->request.stream);
    return 1;
}

static int get_model(lua_State *L, struct np_script *s)
{
    struct np_span model = s->x->request.model;
    if (model.n > 0)
        lua_pushlstring(L, model.p, model.n);
    else
        lua_pushnil(L);
    return 1;
}

static int get_metadata(lua_State *L, struct np_script *s)
{
    (void)s;
    if (lua_getiuservalue(L, 1, NP_REQ_METADATA) == LUA_TTABLE)
        return 1;
    np_lock_push_json(L, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, NP_REQ_METADATA);
    return 1;
}

static int get_elapsed_ms(lua_State *L, struct np_script *s)
{
    lua_pushinteger(L, np_script_elapsed_ms(s));
    return 1;
}

static int get_remaining_ms(lua_State *L, struct np_script *s)
{
    lua_pushinteger(L, np_script_remaining_ms(s));
    return 1;
}

static int get_spent_usd(lua_State *L, struct np_script *s)
{
    lua_pushnumber(L, np_script_usd(s->x->cost_nusd));
    return 1;
}

static int get_attempts(lua_State *L, struct np_script *s)
{
    lua_Integer n = (lua_Integer)s->x->n_attempts;
    np_req_push_cache(L, 1);
    lua_rawgeti(L, -1, NP_CACHE_ATTEMPTS);
    bool fresh = lua_isinteger(L, -1) && lua_tointeger(L, -1) == n;
    lua_pop(L, 1);
    if (fresh) {
        lua_rawgeti(L, -1, NP_FIELD_attempts);
        return 1;
    }
    np_views_push_attempts(L, s);
    np_lock_push(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, NP_FIELD_attempts);
    lua_pushinteger(L, n);
    lua_rawseti(L, -3, NP_CACHE_ATTEMPTS);
    return 1;
}

static getter *const getters[NP_FIELD_COUNT] = {
    [NP_FIELD_id] = get_id,
    [NP_FIELD_endpoint] = get_endpoint,
    [NP_FIELD_tenant] = get_tenant,
    [NP_FIELD_messages] = np_req_get_messages,
    [NP_FIELD_system] = get_system,
    [NP_FIELD_context] = np_req_get_context,
    [NP_FIELD_prompt_tokens] = get_prompt_tokens,
    [NP_FIELD_max_tokens] = get_max_tokens,
    [NP_FIELD_temperature] = get_temperature,
    [NP_FIELD_stream] = get_stream,
    [NP_FIELD_model] = get_model,
    [NP_FIELD_metadata] = get_metadata,
    [NP_FIELD_tags] = np_req_get_tags,
    [NP_FIELD_elapsed_ms] = get_elapsed_ms,
    [NP_FIELD_remaining_ms] = get_remaining_ms,
    [NP_FIELD_spent_usd] = get_spent_usd,
    [NP_FIELD_attempts] = get_attempts,
};

static int on_index(lua_State *L)
{
    struct np_script *s = np_state_of(L)->script;
    const struct np_req_handle *h = lua_touserdata(L, 1);
    if (!h->owner.alive || h->owner.alive != s->x)
        return luaL_error(L, "the request is over");
    getter *get = getters[np_field_of(L, &s->fields, 2)];
    return get ? get(L, s) : np_unknown_field(L, "req", REQ_FIELDS);
}

static int on_newindex(lua_State *L)
{
    struct np_script *s = np_state_of(L)->script;
    const struct np_req_handle *h = lua_touserdata(L, 1);
    if (!h->owner.alive || h->owner.alive != s->x)
        return luaL_error(L, "the request is over");
    enum np_field f = np_field_of(L, &s->fields, 2);
    if (!getters[f])
        return np_unknown_field(L, "req", REQ_FIELDS);
    return np_req_newindex(L);
}

/* ------------------------------------------------------------------------------------- handle */

void np_req_open(lua_State *L, struct np_script *s)
{
    static const luaL_Reg methods[] = {
        {"__index", on_index}, {"__newindex", on_newindex}, {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "req");
    lua_setfield(L, -2, "__name");
    s->req_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, 0);
    s->req_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void np_req_push(lua_State *L, struct np_script *s)
{
    static const struct np_span none = {"{}", 2};
    const struct np_exchange *x = s->x;
    struct np_req_handle *h = s->req;
    if (h && h->owner.alive == x && h->accept_ns == x->accept_ns && strcmp(s->req_id, x->id) == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->req_ref);
        return;
    }
    if (h)
        h->owner.alive = NULL;
    s->req = NULL;
    h = lua_newuserdatauv(L, sizeof *h, NP_REQ_VALUES);
    h->owner.alive = x;
    h->owner.json = x->request.metadata.p ? &x->request.metadata : &none;
    h->accept_ns = x->accept_ns;
    (void)snprintf(s->req_id, sizeof s->req_id, "%s", x->id);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->req_meta);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, s->req_ref);
    s->req = h;
}

void np_req_reveal(lua_State *L, int idx)
{
    struct np_script *s = np_state_of(L)->script;
    idx = lua_absindex(L, idx);
    if (!s || !s->x || !s->req || lua_touserdata(L, idx) != s->req || s->req->owner.alive != s->x)
        return;
    lua_createtable(L, 0, NP_FIELD_COUNT);
    for (int f = 1; f < NP_FIELD_COUNT; f++) {
        if (!getters[f])
            continue;
        lua_pushvalue(L, idx);
        lua_getfield(L, -1, np_field_name((enum np_field)f));
        lua_setfield(L, -3, np_field_name((enum np_field)f));
        lua_pop(L, 1);
    }
    lua_replace(L, idx);
}
