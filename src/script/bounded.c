/* Functions of Lua's libraries whose work grows with a text or a list that a policy chooses, and that have
 * no place to stop: each here looks at its arguments first, and refuses what would take longer than some
 * milliseconds. The rest is Lua's own. */
#include <ctype.h>
#include <lualib.h>
#include <stdint.h>

#include "script/sandbox.h"
#include "script/state.h"

/* A conversion of a long format takes up to 3 us, a plain byte of it 2 ns. */
#define FORMAT_BYTES 65536
#define FORMAT_VALUES 250
/* Each byte that is quoted may cost as much as a number that is printed. */
#define QUOTED_BYTES ((size_t)32 << 10)
/* As much as a request can bring; a ns a byte. */
#define OFFSET_BYTES ((size_t)1 << 20)
/* A character's start takes up to 4 ns to be looked at. */
#define LENGTH_A_LOOK 65536
#define BYTES_A_LOOK 65536
/* Elements between two looks of concat; a number takes up to 0.3 us to be written. */
#define CONCAT_A_LOOK 256

/* Lua's own function, which is the upvalue, in this very call. */
static int stock(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static struct np_span text_at(lua_State *L, int arg)
{
    struct np_span s;
    s.p = luaL_checklstring(L, arg, &s.n);
    return s;
}

/* Refuses long texts where the format quotes them. */
static void look_for_quotes(lua_State *L, struct np_span format)
{
    int arg = 1;
    for (size_t i = 0; i < format.n; i++) {
        if (format.p[i] != '%')
            continue;
        for (i++; i < format.n && strchr("-+ #.0123456789", format.p[i]) && format.p[i]; i++) {
        }
        if (i >= format.n || format.p[i] == '%')
            continue;
        arg++;
        if (format.p[i] == 'q' && lua_type(L, arg) == LUA_TSTRING &&
            lua_rawlen(L, arg) > QUOTED_BYTES)
            luaL_error(L, "a text of more than %d bytes can't be quoted", (int)QUOTED_BYTES);
    }
}

static struct np_span bounded_format(lua_State *L)
{
    struct np_span format = text_at(L, 1);
    if (format.n > FORMAT_BYTES)
        luaL_error(L, "a format of more than %d bytes", FORMAT_BYTES);
    np_state_poll(L, (int64_t)(format.n / 64));
    return format;
}

static int own_format(lua_State *L)
{
    struct np_span format = bounded_format(L);
    if (lua_gettop(L) > FORMAT_VALUES + 1)
        return luaL_error(L, "more than %d values to format", FORMAT_VALUES);
    look_for_quotes(L, format);
    return stock(L);
}

static int own_pack(lua_State *L)
{
    (void)bounded_format(L);
    return stock(L);
}

static int own_offset(lua_State *L)
{
    struct np_span text = text_at(L, 1);
    if (text.n > OFFSET_BYTES)
        return luaL_error(L, "utf8.offset: a text of more than %d bytes", (int)OFFSET_BYTES);
    np_state_poll(L, (int64_t)(text.n / 64));
    return stock(L);
}

/* The end of a piece that begins at `first`: the next byte begins a character, unless so many in a row
 * continue one that they are wrong anyway, which is told where they begin. */
static lua_Integer end_of_piece(struct np_span text, lua_Integer first, lua_Integer last)
{
    lua_Integer end = first + LENGTH_A_LOOK;
    if (end >= last)
        return last;
    for (int i = 0; i < 8 && ((unsigned char)text.p[end] & 0xc0) == 0x80; i++)
        end--;
    return end;
}

/* Lua's own, piece by piece. */
static int own_len(lua_State *L)
{
    struct np_span text = text_at(L, 1);
    lua_Integer n = (lua_Integer)text.n, count = 0;
    lua_Integer i = luaL_optinteger(L, 2, 1), last = luaL_optinteger(L, 3, -1);
    bool lax = lua_toboolean(L, 4);
    i = i >= 0 ? i : i < -n ? 0 : n + i + 1;
    last = last >= 0 ? last : last < -n ? 0 : n + last + 1;
    if (i < 1 || last > n || last - i <= LENGTH_A_LOOK)
        return stock(L);
    while (i <= last) {
        lua_Integer end = end_of_piece(text, i, last);
        np_state_poll(L, (end - i) / 64);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_pushinteger(L, i);
        lua_pushinteger(L, end);
        lua_pushboolean(L, lax);
        lua_call(L, 4, 2);
        if (lua_isnil(L, -2))
            return 2;
        count += lua_tointeger(L, -2);
        lua_pop(L, 2);
        i = end + 1;
    }
    lua_pushinteger(L, count);
    return 1;
}

/* What is as long is no number, whatever its digits say. */
static int own_tonumber(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > FORMAT_BYTES) {
        lua_pushnil(L);
        return 1;
    }
    return stock(L);
}

/* The list, its length is known to be bounded, and no metamethod of a policy runs: sandbox.c. */
int np_bounded_concat(lua_State *L, lua_Integer length)
{
    struct np_span gap;
    lua_Integer i = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, length);
    gap.p = luaL_optlstring(L, 2, "", &gap.n);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int looks = 0; i <= last; i++) {
        if (++looks % CONCAT_A_LOOK == 0)
            np_state_poll(L, 0);
        if (lua_geti(L, 1, i) != LUA_TSTRING && !lua_isnumber(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'", (long long)i);
        luaL_addvalue(&b);
        if (i == last)
            break; /* it may be the greatest integer */
        luaL_addlstring(&b, gap.p, gap.n);
    }
    luaL_pushresult(&b);
    return 1;
}

/* Strings in arithmetic: Lua reads them as numbers first. */
static int own_arithmetic(lua_State *L)
{
    for (int i = 1; i <= 2; i++) {
        if (lua_type(L, i) == LUA_TSTRING && lua_rawlen(L, i) > FORMAT_BYTES)
            return luaL_error(L, "a text of more than %d bytes is no number", FORMAT_BYTES);
    }
    return stock(L);
}

/* What `change` makes of each byte, in their order or backwards. */
static int by_bytes(lua_State *L, int (*change)(int c), bool backwards)
{
    struct np_span text = text_at(L, 1);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, text.n);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[backwards ? text.n - 1 - i : i];
        out[i] = (char)(change ? change(c) : c);
        if (i % BYTES_A_LOOK == BYTES_A_LOOK - 1)
            np_state_poll(L, BYTES_A_LOOK / 64);
    }
    luaL_pushresultsize(&b, text.n);
    return 1;
}

static int own_upper(lua_State *L)
{
    return by_bytes(L, toupper, false);
}

static int own_lower(lua_State *L)
{
    return by_bytes(L, tolower, false);
}

static int own_reverse(lua_State *L)
{
    return by_bytes(L, NULL, true);
}

static void wrap(lua_State *L, const char *library, const char *name, lua_CFunction own)
{
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, own, 1);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

static void wrap_arithmetic(lua_State *L)
{
    static const char *const names[] = {"__add", "__sub", "__mul",  "__mod",
                                        "__pow", "__div", "__idiv", "__unm"};
    lua_pushliteral(L, "");
    if (!lua_getmetatable(L, -1))
        luaL_error(L, "texts have no metatable");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_getfield(L, -1, names[i]);
        lua_pushcclosure(L, own_arithmetic, 1);
        lua_setfield(L, -2, names[i]);
    }
    lua_pop(L, 2);
}

void np_bounded_set(lua_State *L)
{
    static const luaL_Reg plain[] = {
        {"upper", own_upper}, {"lower", own_lower}, {"reverse", own_reverse}, {NULL, NULL}};
    luaL_setfuncs(L, plain, 0);
    wrap_arithmetic(L);
    wrap(L, LUA_STRLIBNAME, "format", own_format);
    wrap(L, LUA_STRLIBNAME, "pack", own_pack);
    wrap(L, LUA_STRLIBNAME, "packsize", own_pack);
    wrap(L, LUA_STRLIBNAME, "unpack", own_pack);
    wrap(L, LUA_GNAME, "tonumber", own_tonumber);
    lua_newtable(L);
    wrap(L, LUA_UTF8LIBNAME, "len", own_len);
    wrap(L, LUA_UTF8LIBNAME, "offset", own_offset);
    lua_setfield(L, -2, "utf8");
}
