/* string.find, match, gmatch and gsub as Lua 5.4 has them (see match.c), on a matcher that can be
 * stopped. A search for plain text is memmem's, which is linear. */
#include <lauxlib.h>
#include <string.h>

#include "script/match.h"
#include "script/sandbox.h"
#include "script/state.h"

#define ESCAPE '%'
#define SPECIALS "^$*+?.([%-"

/* A place counted from 1, or from the end when negative, as an offset. */
static size_t start_of(lua_Integer place, size_t n)
{
    if (place > 0)
        return (size_t)place - 1;
    if (place == 0)
        return 0;
    return place < -(lua_Integer)n ? 0 : n + (size_t)place;
}

static bool is_plain(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != '\0' && strchr(SPECIALS, p[i]))
            return false;
    return true;
}

static int find_plain(lua_State *L, const char *s, size_t n, const char *p, size_t p_n, size_t from)
{
    np_state_poll(L, (int64_t)((n - from) / 64));
    const char *at = p_n == 0 ? s + from : memmem(s + from, n - from, p, p_n);
    if (!at) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, at - s + (lua_Integer)p_n);
    return 2;
}

static int search(lua_State *L, bool find)
{
    size_t n, p_n;
    const char *s = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &p_n);
    size_t from = start_of(luaL_optinteger(L, 3, 1), n);
    if (from > n) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(p, p_n)))
        return find_plain(L, s, n, p, p_n, from);
    struct np_matcher m;
    bool anchored = p_n > 0 && *p == '^';
    np_match_init(&m, L, s, n, p, p_n);
    for (const char *at = s + from; at <= m.text_end; at++) {
        const char *e = np_match_at(&m, at, p + anchored);
        if (e && find) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, e - s);
            return np_match_push_captures(&m, NULL, NULL) + 2;
        }
        if (e)
            return np_match_push_captures(&m, at, e);
        if (anchored)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int own_find(lua_State *L)
{
    return search(L, true);
}

static int own_match(lua_State *L)
{
    return search(L, false);
}

/* ------------------------------------------------------------------------------------- gmatch */

/* Upvalues: text, pattern, where to go on, where the last match ended (an empty match there is the
 * same one again). */
static int gmatch_next(lua_State *L)
{
    size_t n, p_n;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &n);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &p_n);
    const char *last = s + lua_tointeger(L, lua_upvalueindex(4));
    struct np_matcher m;
    np_match_init(&m, L, s, n, p, p_n);
    for (const char *at = s + lua_tointeger(L, lua_upvalueindex(3)); at <= m.text_end; at++) {
        const char *e = np_match_at(&m, at, p);
        if (!e || e == last)
            continue;
        lua_pushinteger(L, e - s);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return np_match_push_captures(&m, at, e);
    }
    return 0;
}

static int own_gmatch(lua_State *L)
{
    size_t n;
    luaL_checklstring(L, 1, &n);
    luaL_checkstring(L, 2);
    size_t from = start_of(luaL_optinteger(L, 3, 1), n);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)(from > n ? n + 1 : from));
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* --------------------------------------------------------------------------------------- gsub */

/* Adds the replacement text at 3 with its %0 to %9 filled. */
static void add_text(struct np_matcher *m, luaL_Buffer *b, const char *s, const char *e)
{
    lua_State *L = m->L;
    size_t n;
    const char *text = lua_tolstring(L, 3, &n), *end = text + n, *p;
    while ((p = memchr(text, ESCAPE, (size_t)(end - text)))) {
        luaL_addlstring(b, text, (size_t)(p - text));
        p++;
        char c = p < end ? *p : '\0';
        if (c == ESCAPE && p < end) {
            luaL_addchar(b, c);
        } else if (c == '0') {
            luaL_addlstring(b, s, (size_t)(e - s));
        } else if (c >= '1' && c <= '9') {
            np_match_push_capture(m, c - '1', s, e);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
        text = p + 1;
    }
    luaL_addlstring(b, text, (size_t)(end - text));
}

/* Adds what stands for the match from s to e; true when that is not the match itself. */
static bool add_value(struct np_matcher *m, luaL_Buffer *b, const char *s, const char *e, int type)
{
    lua_State *L = m->L;
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, np_match_push_captures(m, s, e), 1);
    } else if (type == LUA_TTABLE) {
        np_match_push_capture(m, 0, s, e);
        lua_gettable(L, 3);
    } else {
        add_text(m, b, s, e);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int own_gsub(lua_State *L)
{
    size_t n, p_n;
    const char *s = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &p_n), *last = NULL;
    int type = lua_type(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)n + 1), count = 0;
    bool anchored = p_n > 0 && *p == '^', changed = false;
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    struct np_matcher m;
    luaL_Buffer b;
    np_match_init(&m, L, s, n, p, p_n);
    luaL_buffinit(L, &b);
    while (count < max) {
        const char *e = np_match_at(&m, s, p + anchored);
        if (e && e != last) {
            count++;
            changed = add_value(&m, &b, s, e, type) || changed;
            s = last = e;
        } else if (s < m.text_end) {
            luaL_addchar(&b, *s++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&b, s, (size_t)(m.text_end - s));
        luaL_pushresult(&b);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

void np_pattern_set(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", own_find},
                                         {"match", own_match},
                                         {"gmatch", own_gmatch},
                                         {"gsub", own_gsub},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
