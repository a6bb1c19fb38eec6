/* The functions that policies have instead of Lua's own, because Lua's can reach what they must not
 * (metatables, other files), don't come back, or swallow the stop.
 *
 * A metatable that a policy sets is copied, so that nothing can be put into it later, and remembers
 * the policy's table in __metatable, so that getmetatable gives that one back. */
#include "script/sandbox.h"

#include <stdint.h>

#include "base/rng.h"
#include "script/json.h"
#include "script/lock.h"
#include "script/script.h"
#include "script/state.h"

/* Elements that one call of table.* may move. */
#define MOVE_MAX 65536

/* In metatables that setmetatable made and may replace. */
static const char open_mark = 0;

/* ---------------------------------------------------------------------- errors and metatables */

static int own_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    if (status == LUA_OK)
        return lua_gettop(L);
    np_state_rethrow(L, status);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* The handler is called after the stack has unwound: one that runs inside the error can't be
 * stopped, as Lua calls it with hooks switched off. */
static int own_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f, handler, true, f, arguments */
    int status = lua_pcall(L, lua_gettop(L) - 4, LUA_MULTRET, 0);
    if (status == LUA_OK)
        return lua_gettop(L) - 2; /* true and the results */
    np_state_rethrow(L, status);
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static const char *const metamethods[] = {
    "__index",    "__newindex", "__call",  "__eq",    "__lt",  "__le",   "__len",
    "__tostring", "__name",     "__add",   "__sub",   "__mul", "__div",  "__mod",
    "__pow",      "__unm",      "__idiv",  "__band",  "__bor", "__bxor", "__bnot",
    "__shl",      "__shr",      "__pairs", "__close", "__mode"};

static void refuse_metamethod(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    if (lua_rawget(L, 2) != LUA_TNIL)
        np_state_type_error(L, "setmetatable: %s is not offered to policies", name);
    lua_pop(L, 1);
}

/* Lua's collector looks at a table with weak keys again and again while values lead to further keys of it,
 * in one step that nothing stops: a chain of 45,000 took it 200 ms. */
static void refuse_weak_keys(lua_State *L)
{
    lua_pushliteral(L, "__mode");
    if (lua_rawget(L, 2) == LUA_TSTRING && strchr(lua_tostring(L, -1), 'k'))
        np_state_type_error(L, "setmetatable: weak keys are not offered to policies");
    lua_pop(L, 1);
}

/* Pushes the copy of the metatable at 2. */
static void copy_metatable(lua_State *L)
{
    refuse_metamethod(L, "__gc");
    refuse_metamethod(L, "__concat");
    refuse_weak_keys(L);
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof metamethods / sizeof metamethods[0]; i++) {
        lua_pushstring(L, metamethods[i]);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 2) == LUA_TNIL)
            lua_pop(L, 2);
        else
            lua_rawset(L, -3);
    }
    lua_pushliteral(L, "__metatable");
    if (lua_rawget(L, 2) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, 2);
        lua_pushboolean(L, 1);
        lua_rawsetp(L, -3, &open_mark);
    }
    lua_setfield(L, -2, "__metatable");
}

static int own_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (lua_getmetatable(L, 1)) {
        if (lua_rawgetp(L, -1, &open_mark) == LUA_TNIL)
            return luaL_error(L, "cannot change a protected metatable");
        lua_pop(L, 2);
    }
    lua_settop(L, 2);
    if (type == LUA_TTABLE)
        copy_metatable(L);
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* ------------------------------------------------------------------------------------- tables */

static int own_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (np_lock_is(L, 1))
        lua_gettable(L, 1);
    else
        lua_rawget(L, 1);
    return 1;
}

static int own_rawlen(lua_State *L)
{
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    if (np_lock_is(L, 1))
        np_lock_reveal(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* What Lua's own functions then do takes a time that is known: no metamethod of a policy runs in it. */
static lua_Integer plain_length(lua_State *L, int arg)
{
    luaL_checktype(L, arg, LUA_TTABLE);
    if (lua_getmetatable(L, arg)) {
        lua_pop(L, 1);
        if (!np_ljson_is_array(L, arg) && !np_lock_is(L, arg))
            np_state_type_error(L, "bad argument #%d: a table without metatable is wanted", arg);
    }
    return luaL_len(L, arg);
}

static void bound(lua_State *L, lua_Integer from, lua_Integer to)
{
    if (to > from && (lua_Unsigned)to - (lua_Unsigned)from >= MOVE_MAX)
        luaL_error(L, "more than %d elements at once", MOVE_MAX);
    np_state_poll(L, to > from ? to - from : 1);
}

/* Lua's own function, which is the upvalue, in this very call. */
static int stock(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int own_insert(lua_State *L)
{
    lua_Integer n = plain_length(L, 1);
    if (lua_gettop(L) > 2)
        bound(L, luaL_checkinteger(L, 2), n);
    return stock(L);
}

static int own_remove(lua_State *L)
{
    lua_Integer n = plain_length(L, 1);
    bound(L, luaL_optinteger(L, 2, n), n);
    return stock(L);
}

static int is_less(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        np_state_poll(L, (int64_t)(lua_rawlen(L, 1) / 64));
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

/* Without a function that compares, Lua's own would go through without a place to stop; a call of
 * ours is one. */
static int own_sort(lua_State *L)
{
    bound(L, 1, plain_length(L, 1));
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushcfunction(L, is_less);
    }
    return stock(L);
}

static int own_concat(lua_State *L)
{
    lua_Integer n = plain_length(L, 1);
    bound(L, luaL_optinteger(L, 3, 1), luaL_optinteger(L, 4, n));
    return np_bounded_concat(L, n);
}

static int own_unpack(lua_State *L)
{
    lua_Integer n = plain_length(L, 1);
    bound(L, luaL_optinteger(L, 2, 1), luaL_optinteger(L, 3, n));
    return stock(L);
}

static int own_move(lua_State *L)
{
    (void)plain_length(L, 1);
    if (!lua_isnoneornil(L, 5))
        (void)plain_length(L, 5);
    bound(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return stock(L);
}

/* ------------------------------------------------------------------------------ text and chance */

/* Doubling copies; Lua's own makes one copy a piece, and spins for an empty one. */
static int own_rep(lua_State *L)
{
    size_t n, gap_n;
    const char *piece = luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    const char *gap = luaL_optlstring(L, 3, "", &gap_n);
    size_t unit = n + gap_n;
    if (times <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((lua_Unsigned)times > NP_STATE_BLOCK_BYTES / unit)
        return luaL_error(L, "resulting string too large");
    size_t total = unit * (size_t)times - gap_n;
    luaL_Buffer b;
    char *q = luaL_buffinitsize(L, &b, total);
    memcpy(q, piece, n);
    size_t done = n;
    if (times > 1) {
        memcpy(q + n, gap, gap_n);
        done = unit;
    }
    while (done < total) {
        size_t more = done < total - done ? done : total - done;
        memcpy(q + done, q, more);
        done += more;
    }
    luaL_pushresultsize(&b, total);
    return 1;
}

/* math.random on the ground's own chance, so that a simulation repeats. */
static int own_random(lua_State *L)
{
    struct np_script *s = np_state_of(L)->script;
    if (!s || !s->x || !s->powers.rng)
        return luaL_error(L, "there is no chance while a file is loaded");
    lua_Integer low = 1, high;
    switch (lua_gettop(L)) {
    case 0:
        lua_pushnumber(L, np_rng_unit(s->powers.rng));
        return 1;
    case 1:
        high = luaL_checkinteger(L, 1);
        break;
    default:
        low = luaL_checkinteger(L, 1);
        high = luaL_checkinteger(L, 2);
    }
    luaL_argcheck(L, low <= high, lua_gettop(L) > 1 ? 2 : 1, "interval is empty");
    uint64_t span = (uint64_t)high - (uint64_t)low + 1;
    uint64_t value = span ? np_rng_below(s->powers.rng, span) : np_rng_u64(s->powers.rng);
    lua_pushinteger(L, (lua_Integer)((uint64_t)low + value));
    return 1;
}

/* ---------------------------------------------------------------------------------- libraries */

static struct np_span library_name(lua_State *L, int arg)
{
    struct np_span s;
    s.p = luaL_checklstring(L, arg, &s.n);
    bool good = np_span_starts(s, "lib.") && s.n > 4 && s.n < 64;
    for (size_t i = 4; i < s.n; i++)
        good = good && s.p[i] != '\0' &&
               strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", s.p[i]);
    if (!good)
        np_state_type_error(L, "require takes \"lib.NAME\", the file lib/NAME.lua of the set");
    return s;
}

/* A library is run once a state, in the policies' environment. */
static int own_require(lua_State *L)
{
    struct np_state *st = np_state_of(L);
    struct np_span name = library_name(L, 1);
    char path[80];
    snprintf(path, sizeof path, "lib/%.*s.lua", (int)name.n - 4, name.p + 4);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->modules);
    lua_pushvalue(L, 1);
    int type = lua_rawget(L, -2);
    if (type == LUA_TLIGHTUSERDATA)
        return luaL_error(L, "%s " NP_CIRCLE_WORDS, path);
    if (type != LUA_TNIL)
        return 1;
    const struct np_set_file *file = st->set ? np_set_file_find(st->set, path) : NULL;
    if (!file)
        return luaL_error(L, "there is no %s in the policy set", path);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, st);
    lua_rawset(L, 2);
    np_sandbox_load(L, file);
    int status = lua_pcall(L, 0, 1, 0);
    bool empty = status == LUA_OK && lua_isnil(L, -1);
    lua_pushvalue(L, 1);
    if (status == LUA_OK && !empty)
        lua_pushvalue(L, -2);
    else
        lua_pushnil(L);
    lua_rawset(L, 2);
    if (status != LUA_OK) {
        np_state_rethrow(L, status);
        return lua_error(L);
    }
    return empty ? luaL_error(L, "%s returns nothing", path) : 1;
}

/* Pushes the file's chunk; raises what the compiler says. */
void np_sandbox_load(lua_State *L, const struct np_set_file *file)
{
    struct np_state *st = np_state_of(L);
    char name[96];
    snprintf(name, sizeof name, "@%s", file->name);
    struct np_span code = file->bytecode.n > 0 ? file->bytecode : file->source;
    const char *mode = file->bytecode.n > 0 ? "b" : "t";
    if (luaL_loadbufferx(L, code.p, code.n, name, mode) != LUA_OK)
        lua_error(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->env);
    if (!lua_setupvalue(L, -2, 1))
        lua_pop(L, 1);
}

/* ------------------------------------------------------------------------------------ opening */

static const luaL_Reg wrapped[] = {{"insert", own_insert}, {"remove", own_remove},
                                   {"sort", own_sort},     {"concat", own_concat},
                                   {"unpack", own_unpack}, {"move", own_move}};

/* Pushes the functions of table.* that stand in for Lua's own, which each keeps as its upvalue. */
static void push_wrapped(lua_State *L)
{
    lua_newtable(L);
    lua_getglobal(L, "table");
    for (size_t i = 0; i < sizeof wrapped / sizeof wrapped[0]; i++) {
        lua_getfield(L, -1, wrapped[i].name);
        lua_pushcclosure(L, wrapped[i].func, 1);
        lua_setfield(L, -3, wrapped[i].name);
    }
    lua_pop(L, 1);
}

static const luaL_Reg natives[] = {{"pcall", own_pcall},
                                   {"xpcall", own_xpcall},
                                   {"setmetatable", own_setmetatable},
                                   {"next", np_lock_next},
                                   {"rawget", own_rawget},
                                   {"rawlen", own_rawlen},
                                   {"rep", own_rep},
                                   {"random", own_random},
                                   {"require", own_require},
                                   {NULL, NULL}};

int np_sandbox_open(lua_State *L)
{
    const struct np_embedded_file *file = np_embedded_find("neap/sandbox.lua");
    np_require(file);
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, "@neap/sandbox.lua", "t") !=
        LUA_OK)
        lua_error(L);
    luaL_newlib(L, natives);
    push_wrapped(L);
    lua_setfield(L, -2, "table");
    np_pattern_set(L);
    np_bounded_set(L);
    np_ljson_push_lib(L, false);
    lua_setfield(L, -2, "json");
    lua_call(L, 1, 1);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}
