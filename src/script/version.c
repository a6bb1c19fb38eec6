/* The versions of the libraries of this room, as loaded. */
#include "script/hooks.h"

#include <lauxlib.h>
#include <lua.h>
#include <lua-cjson.h>

#include <stdio.h>

/* "Lua 5.4.4" out of the library's own "$LuaVersion: Lua 5.4.4  Copyright …$". */
static struct np_span lua_release(void)
{
    const char *colon = strchr(lua_ident, ':');
    struct np_span s = np_span_of(colon ? colon + 2 : lua_ident);
    const char *gap = memmem(s.p, s.n, "  ", 2);
    return np_span_make(s.p, gap ? (size_t)(gap - s.p) : s.n);
}

void np_script_version(char *out, size_t size)
{
    lua_State *L = luaL_newstate();
    const char *cjson = "?";
    if (L) {
        luaL_requiref(L, "cjson", luaopen_cjson, 0);
        if (lua_getfield(L, -1, "_VERSION") == LUA_TSTRING)
            cjson = lua_tostring(L, -1);
    }
    struct np_span lua = lua_release();
    (void)snprintf(out, size, "%.*s\nlua-cjson %s", (int)lua.n, lua.p, cjson);
    if (L)
        lua_close(L);
}
