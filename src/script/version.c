/* The version of the library of this room, as loaded. */
#include "script/hooks.h"

#include <lua.h>

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
    struct np_span lua = lua_release();
    (void)snprintf(out, size, "%.*s", (int)lua.n, lua.p);
}
