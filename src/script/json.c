/* Writing Lua values as JSON. */
#include "script/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "script/lock.h"
#include "script/state.h"

/* Objects of at most this many members are sorted without memory of their own. */
#define SMALL 32
/* Text that costs as much as one step. */
#define BYTES_A_STEP 64
/* A third of a millisecond where every byte needs an escape. */
#define PIECE_BYTES 16384

static const char array_key = 0;

struct writer {
    lua_State *L;
    struct np_buf *out;
    unsigned depth_left;
    char why[128];
};

static bool put_value(struct writer *w, int idx);

static bool fail(struct writer *w, const char *why)
{
    snprintf(w->why, sizeof w->why, "%s", why);
    return false;
}

bool np_ljson_is_array(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx))
        return false;
    bool is = lua_topointer(L, -1) == np_state_of(L)->array_meta;
    lua_pop(L, 1);
    return is;
}

static bool put_number(struct writer *w, int idx)
{
    if (lua_isinteger(w->L, idx)) {
        np_buf_i64(w->out, lua_tointeger(w->L, idx));
        return true;
    }
    double v = lua_tonumber(w->L, idx);
    if (!isfinite(v))
        return fail(w, "a number that is not finite");
    char text[32];
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) < v || strtod(text, NULL) > v)
        snprintf(text, sizeof text, "%.17g", v);
    np_buf_puts(w->out, text);
    return true;
}

/* How much of a text is escaped between two looks at the limits: not in the midst of a character. */
static size_t piece_of(struct np_span s)
{
    if (s.n <= PIECE_BYTES)
        return s.n;
    size_t n = PIECE_BYTES;
    while (n > PIECE_BYTES - 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void put_string(struct writer *w, struct np_span s)
{
    np_buf_char(w->out, '"');
    do {
        size_t n = piece_of(s);
        np_state_poll(w->L, (int64_t)(n / BYTES_A_STEP));
        np_json_escape(w->out, np_span_make(s.p, n));
        s = np_span_make(s.p + n, s.n - n);
    } while (s.n > 0 && !np_buf_failed(w->out));
    np_buf_char(w->out, '"');
}

static bool put_array(struct writer *w, int idx, lua_Integer n)
{
    np_buf_char(w->out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            np_buf_char(w->out, ',');
        if (lua_rawgeti(w->L, idx, i) == LUA_TNIL)
            return fail(w, "a list with a hole");
        if (!put_value(w, lua_gettop(w->L)))
            return false;
        lua_pop(w->L, 1);
    }
    np_buf_char(w->out, ']');
    return true;
}

static int by_bytes(const void *left, const void *right)
{
    const struct np_span *a = left, *b = right;
    int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static void sort(struct np_span *keys, size_t n)
{
    if (n > SMALL) {
        qsort(keys, n, sizeof keys[0], by_bytes);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct np_span key = keys[i];
        size_t j = i;
        for (; j > 0 && by_bytes(&key, &keys[j - 1]) < 0; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

/* The names of the table at idx, which keeps them alive. Counts all, writes the first max. */
static bool keys_of(struct writer *w, int idx, struct np_span *keys, size_t max, size_t *n)
{
    *n = 0;
    lua_pushnil(w->L);
    while (lua_next(w->L, idx)) {
        lua_pop(w->L, 1);
        if (lua_type(w->L, -1) != LUA_TSTRING)
            return fail(w, "a table with names and numbers, or with keys that are neither");
        if (*n < max)
            keys[*n].p = lua_tolstring(w->L, -1, &keys[*n].n);
        ++*n;
    }
    return true;
}

static bool put_object(struct writer *w, int idx)
{
    lua_State *L = w->L;
    struct np_span small[SMALL], *keys = small;
    size_t n;
    if (!keys_of(w, idx, small, SMALL, &n))
        return false;
    if (n > SMALL) {
        keys = lua_newuserdatauv(L, n * sizeof *keys, 0);
        if (!keys_of(w, idx, keys, n, &n))
            return false;
    }
    np_state_poll(L, (int64_t)n);
    sort(keys, n);
    np_buf_char(w->out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            np_buf_char(w->out, ',');
        put_string(w, keys[i]);
        np_buf_char(w->out, ':');
        lua_pushlstring(L, keys[i].p, keys[i].n);
        lua_rawget(L, idx);
        if (!put_value(w, lua_gettop(L)))
            return false;
        lua_pop(L, 1);
    }
    np_buf_char(w->out, '}');
    if (keys != small)
        lua_pop(L, 1);
    return true;
}

/* Whether a table with a first element has nothing else but elements. */
static bool only_elements(struct writer *w, int idx, size_t n)
{
    size_t seen = 0;
    lua_pushnil(w->L);
    while (lua_next(w->L, idx)) {
        lua_pop(w->L, 1);
        seen++;
    }
    np_state_poll(w->L, (int64_t)seen);
    return seen == n;
}

static bool put_table(struct writer *w, int idx)
{
    if (w->depth_left == 0)
        return fail(w, "tables within tables too deep (or in a circle)");
    luaL_checkstack(w->L, 8, NULL);
    w->depth_left--;
    np_lock_reveal(w->L, idx);
    size_t n = lua_rawlen(w->L, idx);
    bool ok;
    if (n == 0 && !np_ljson_is_array(w->L, idx))
        ok = put_object(w, idx);
    else if (!only_elements(w, idx, n))
        ok = fail(w, "a list that also has names or holes");
    else
        ok = put_array(w, idx, (lua_Integer)n);
    w->depth_left++;
    return ok;
}

static bool put_value(struct writer *w, int idx)
{
    lua_State *L = w->L;
    struct np_span s;
    if (np_buf_failed(w->out))
        return fail(w, "a text of more bytes than may be written");
    np_state_poll(L, 1);
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
        np_buf_puts(w->out, "null");
        return true;
    case LUA_TBOOLEAN:
        np_buf_puts(w->out, lua_toboolean(L, idx) ? "true" : "false");
        return true;
    case LUA_TNUMBER:
        return put_number(w, idx);
    case LUA_TSTRING:
        s.p = lua_tolstring(L, idx, &s.n);
        put_string(w, s);
        return true;
    case LUA_TTABLE:
        return put_table(w, idx);
    case LUA_TLIGHTUSERDATA: {
        const struct np_span *raw = lua_touserdata(L, idx);
        np_buf_span(w->out, raw ? *raw : NP_SPAN("null"));
        return true;
    }
    default:
        snprintf(w->why, sizeof w->why, "a %s", luaL_typename(L, idx));
        return false;
    }
}

bool np_ljson_encode(lua_State *L, int idx, struct np_buf *out, unsigned max_depth)
{
    struct writer w = {.L = L, .out = out, .depth_left = max_depth};
    int top = lua_gettop(L);
    /* A copy, as views on the way are replaced by what they show. */
    lua_pushvalue(L, idx);
    bool ok = put_value(&w, top + 1);
    if (ok && np_buf_failed(out))
        ok = fail(&w, "a text of more bytes than may be written");
    lua_settop(L, top);
    if (!ok)
        lua_pushfstring(L, "JSON can't hold %s", w.why);
    return ok;
}

/* ---------------------------------------------------------------------------------- the library */

static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct np_buf *out = &np_state_of(L)->scratch;
    np_buf_reset(out);
    if (!np_ljson_encode(L, 1, out, NP_JSON_DEPTH))
        return np_state_type_error(L, "json.encode: %s", lua_tostring(L, -1));
    lua_pushlstring(L, out->p, out->n);
    return 1;
}

/* The upvalue is the most bytes that are taken. */
static int decode(lua_State *L)
{
    struct np_span text;
    luaL_checktype(L, 1, LUA_TSTRING);
    text.p = lua_tolstring(L, 1, &text.n);
    size_t max = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    if (text.n > max)
        return luaL_error(L, "json.decode takes at most %d bytes", (int)max);
    np_state_poll(L, (int64_t)(text.n / BYTES_A_STEP));
    struct np_json_fault fault;
    if (np_json_check(text, NP_JSON_DEPTH, &fault))
        return luaL_error(L, "json.decode: line %d, column %d: %s", (int)fault.line,
                          (int)fault.column, fault.what);
    np_ljson_push(L, text);
    return 1;
}

void np_ljson_mark_array(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
}

static int array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    np_ljson_mark_array(L);
    return 1;
}

void np_ljson_push_lib(lua_State *L, bool trusted)
{
    lua_newtable(L);
    lua_pushcfunction(L, encode);
    lua_setfield(L, -2, "encode");
    lua_pushinteger(L, trusted ? NP_JSON_TRUSTED_IN_BYTES : NP_JSON_POLICY_IN_BYTES);
    lua_pushcclosure(L, decode, 1);
    lua_setfield(L, -2, "decode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    if (trusted) {
        lua_pushcfunction(L, array);
        lua_setfield(L, -2, "array");
    }
}

void np_ljson_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    np_state_of(L)->array_meta = lua_topointer(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}
