/* Read-only views. A view is an empty table with a metatable that all views share and, under a key
 * that no policy can name, its table or the owner of its JSON. Tables within are given out as views
 * too, which take their places on first sight. */
#include "script/lock.h"

#include <lauxlib.h>

#include "base/json.h"
#include "script/json.h"
#include "script/state.h"

static const char data_key = 0;

bool np_lock_is(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx))
        return false;
    bool is = lua_topointer(L, -1) == np_state_of(L)->lock_meta;
    lua_pop(L, 1);
    return is;
}

static void set_meta(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &data_key);
    lua_setmetatable(L, -2);
}

void np_lock_push(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &data_key);
    set_meta(L);
}

void np_lock_push_json(lua_State *L, int owner)
{
    owner = lua_absindex(L, owner);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, owner);
    lua_rawsetp(L, -2, &data_key);
    set_meta(L);
}

/* The JSON of a lazy view, whose owner is on the top. */
static struct np_span json_of(lua_State *L)
{
    const struct np_lock_owner *owner = lua_touserdata(L, -1);
    if (!owner->alive)
        luaL_error(L, "the request is over");
    return *owner->json;
}

/* Pushes the view's table. */
static void push_data(lua_State *L, int view)
{
    if (lua_rawgetp(L, view, &data_key) == LUA_TTABLE)
        return;
    np_ljson_push(L, json_of(L));
    lua_remove(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, view, &data_key);
}

void np_lock_reveal(lua_State *L, int idx)
{
    if (!np_lock_is(L, idx))
        return;
    idx = lua_absindex(L, idx);
    push_data(L, idx);
    lua_replace(L, idx);
}

/* The value on the top is of the table at data under the key at key: a table is given as a view. */
static void lock_value(lua_State *L, int data, int key)
{
    if (lua_type(L, -1) != LUA_TTABLE || np_lock_is(L, -1))
        return;
    np_lock_push(L);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -2);
    lua_rawset(L, data);
}

/* A member that is no list or object is read from the JSON where it stands. Names with escapes are
 * left to the decoder. */
static bool push_member(lua_State *L, struct np_span json, int key)
{
    size_t n;
    const char *name = lua_tolstring(L, key, &n);
    if (strlen(name) != n || memchr(json.p, '\\', json.n))
        return false;
    struct np_span value;
    if (!np_json_get(json, name, &value)) {
        lua_pushnil(L);
        return true;
    }
    enum np_json_kind kind = np_json_kind(value);
    if (kind == NP_JSON_ARRAY || kind == NP_JSON_OBJECT)
        return false;
    if (kind == NP_JSON_NULL)
        lua_pushnil(L);
    else if (kind == NP_JSON_STRING)
        lua_pushlstring(L, value.p + 1, value.n - 2);
    else
        np_ljson_push(L, value);
    return true;
}

static int on_index(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_rawgetp(L, 1, &data_key) == LUA_TUSERDATA) {
        struct np_span json = json_of(L);
        if (lua_type(L, 2) == LUA_TSTRING && push_member(L, json, 2))
            return 1;
        lua_pop(L, 1);
        push_data(L, 1);
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    lock_value(L, 3, 2);
    return 1;
}

static int on_newindex(lua_State *L)
{
    return np_state_type_error(L,
                               "this table is read-only (of req, only messages, context and tags "
                               "can be changed, and only in admit)");
}

static int on_len(lua_State *L)
{
    push_data(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
    return 1;
}

int np_lock_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (!np_lock_is(L, 1)) {
        if (lua_next(L, 1))
            return 2;
        lua_pushnil(L);
        return 1;
    }
    push_data(L, 1);
    lua_pushvalue(L, 2);
    if (!lua_next(L, 3)) {
        lua_pushnil(L);
        return 1;
    }
    lock_value(L, 3, 4);
    return 2;
}

static int on_pairs(lua_State *L)
{
    lua_pushcfunction(L, np_lock_next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void np_lock_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__index", on_index},
                                       {"__newindex", on_newindex},
                                       {"__len", on_len},
                                       {"__pairs", on_pairs},
                                       {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    np_state_of(L)->lock_meta = lua_topointer(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &data_key);
}
