/* log.debug/info/warn/error(message, fields): one line with the request's id and the place in the
 * policy. The message is the policy's fixed text; fields are sorted by name. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "script/api.h"
#include "script/lock.h"
#include "script/script.h"

#define FIELDS 16
#define NAME_BYTES 32
#define VALUE_BYTES 200
#define MESSAGE_BYTES 200

static int by_key(const void *left, const void *right)
{
    /* The keys are whole C strings. */
    return strcmp(((const struct np_kv *)left)->key.p, ((const struct np_kv *)right)->key.p);
}

static bool is_name(const char *s, size_t n)
{
    if (n == 0 || n > NAME_BYTES || strlen(s) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!good && c != '_')
            return false;
    }
    return true;
}

/* The value at -1 as text that the stack keeps alive; leaves one value in its place. */
static struct np_span value_text(lua_State *L, const char *key)
{
    struct np_span s;
    int type = lua_type(L, -1);
    if (type == LUA_TBOOLEAN) {
        lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        lua_replace(L, -2);
    } else if (type != LUA_TSTRING && type != LUA_TNUMBER) {
        np_state_type_error(L, "log: field \"%s\" is a %s, not a text, number or boolean", key,
                            luaL_typename(L, -1));
    }
    s.p = lua_tolstring(L, -1, &s.n);
    if (s.n > VALUE_BYTES)
        s.n = VALUE_BYTES;
    return s;
}

/* Reads the table at 2; values stay on the stack. */
static size_t read_fields(lua_State *L, struct np_kv *kv)
{
    size_t n = 0;
    if (lua_isnoneornil(L, 2))
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    np_lock_reveal(L, 2);
    luaL_checkstack(L, FIELDS + 8, NULL);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        size_t length;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &length) : NULL;
        if (!key || !is_name(key, length))
            np_state_type_error(L, "log: names of fields have 1 to 32 letters, digits and _");
        if (n == FIELDS)
            np_state_type_error(L, "log: at most %d fields", FIELDS);
        kv[n++] = NP_KVV(key, value_text(L, key));
        lua_insert(L, -2);
    }
    qsort(kv, n, sizeof kv[0], by_key);
    return n;
}

int np_api_log(lua_State *L)
{
    const struct np_script *s = np_api_script(L);
    enum np_log_level level = (enum np_log_level)lua_tointeger(L, lua_upvalueindex(1));
    struct np_kv kv[FIELDS + 3];
    char message[MESSAGE_BYTES];
    luaL_checktype(L, 1, LUA_TSTRING);
    snprintf(message, sizeof message, "%s", lua_tostring(L, 1));
    lua_settop(L, 2);
    size_t n = read_fields(L, kv);
    lua_Debug ar;
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
        kv[n++] = NP_KVS("file", ar.short_src);
        kv[n++] = NP_KVI("line", ar.currentline);
    }
    kv[n++] = NP_KVS("request_id", s->x->id);
    np_log_line(level, message, kv, n);
    return 0;
}
