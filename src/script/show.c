/* What console.lua needs of C to look into values. */
#include "script/show.h"

#include <lauxlib.h>

#include "script/lock.h"
#include "script/request.h"
#include "script/views.h"

/* The table that the metatable of a library or an environment looks into. */
static int names(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE || np_lock_is(L, 1) || !lua_getmetatable(L, 1))
        return 0;
    lua_pushliteral(L, "__index");
    if (lua_rawget(L, -2) != LUA_TTABLE)
        return 0;
    return 1;
}

static int reveal(lua_State *L)
{
    lua_settop(L, 1);
    np_lock_reveal(L, 1);
    np_req_reveal(L, 1);
    np_views_reveal(L, 1);
    return 1;
}

static int describe(lua_State *L)
{
    lua_Debug ar;
    if (lua_type(L, 1) != LUA_TFUNCTION) {
        lua_pushfstring(L, "a %s", luaL_typename(L, 1));
        return 1;
    }
    lua_settop(L, 1);
    lua_getinfo(L, ">S", &ar);
    if (ar.linedefined > 0)
        lua_pushfstring(L, "function (%s:%d)", ar.short_src, ar.linedefined);
    else
        lua_pushliteral(L, "function");
    return 1;
}

void np_show_open(lua_State *L)
{
    static const luaL_Reg natives[] = {
        {"names", names}, {"reveal", reveal}, {"describe", describe}, {NULL, NULL}};
    luaL_newlib(L, natives);
    lua_setfield(L, -2, "native");
}

void np_show_call(lua_State *L, int ref, const char *name, int n_args)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -n_args - 1);
    lua_call(L, n_args, 1);
}
