/* Reading JSON that has passed np_json_check into Lua values. */
#include "script/json.h"

#include <lauxlib.h>

#include "base/json.h"
#include "base/utf8.h"
#include "script/state.h"

/* Four hex digits, which the check has seen. */
static unsigned hex4(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)p[i];
        v = v * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* p is behind a backslash; returns what follows the escape. Never writes more than it reads. */
static const char *unescape(const char *p, char **q)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *simple = strchr(from, *p);
    if (*p != 'u') {
        *(*q)++ = simple ? to[simple - from] : *p;
        return p + 1;
    }
    unsigned c = hex4(p + 1);
    p += 5;
    if (c >= 0xd800 && c < 0xdc00) {
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
        p += 6;
    }
    *q += np_utf8_put(*q, c);
    return p;
}

void np_ljson_push_string(lua_State *L, struct np_span string_value)
{
    struct np_span s = np_json_inner(string_value);
    const char *end = s.p + s.n, *p = s.n ? memchr(s.p, '\\', s.n) : NULL;
    if (!p) {
        lua_pushlstring(L, s.p, s.n);
        return;
    }
    luaL_Buffer b;
    char *start = luaL_buffinitsize(L, &b, s.n), *q = start;
    const char *from = s.p;
    while (p) {
        memcpy(q, from, (size_t)(p - from));
        q += p - from;
        from = unescape(p + 1, &q);
        p = from < end ? memchr(from, '\\', (size_t)(end - from)) : NULL;
    }
    memcpy(q, from, (size_t)(end - from));
    q += end - from;
    luaL_pushresultsize(&b, (size_t)(q - start));
}

static void push_number(lua_State *L, struct np_span number)
{
    int64_t whole;
    double v = 0;
    bool fraction = false;
    for (size_t i = 0; i < number.n && !fraction; i++)
        fraction = number.p[i] == '.' || (number.p[i] | 0x20) == 'e';
    if (!fraction && np_json_i64(number, &whole) == NP_OK)
        lua_pushinteger(L, whole);
    else if (np_json_double(number, &v) == NP_OK)
        lua_pushnumber(L, v);
    else
        luaL_error(L, "a number of the JSON is out of range");
}

/* Keys are given between their quotes. */
static void push_key(lua_State *L, struct np_span key)
{
    if (memchr(key.p, '\\', key.n))
        np_ljson_push_string(L, np_span_make(key.p - 1, key.n + 2));
    else
        lua_pushlstring(L, key.p, key.n);
}

void np_ljson_push(lua_State *L, struct np_span value)
{
    struct np_json_walk walk;
    struct np_span key, item;
    luaL_checkstack(L, 6, NULL);
    np_state_poll(L, 1);
    switch (np_json_kind(value)) {
    case NP_JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        return;
    case NP_JSON_FALSE:
    case NP_JSON_TRUE:
        lua_pushboolean(L, np_json_kind(value) == NP_JSON_TRUE);
        return;
    case NP_JSON_NUMBER:
        push_number(L, value);
        return;
    case NP_JSON_STRING:
        np_ljson_push_string(L, value);
        return;
    case NP_JSON_ARRAY:
        lua_newtable(L);
        np_ljson_mark_array(L);
        walk = np_json_walk(value);
        for (lua_Integer i = 1; np_json_item(&walk, &item); i++) {
            np_ljson_push(L, item);
            lua_rawseti(L, -2, i);
        }
        return;
    case NP_JSON_OBJECT:
        lua_newtable(L);
        walk = np_json_walk(value);
        while (np_json_member(&walk, &key, &item)) {
            push_key(L, key);
            if (np_json_kind(item) == NP_JSON_NULL)
                lua_pushnil(L);
            else
                np_ljson_push(L, item);
            lua_rawset(L, -3);
        }
        return;
    }
}
