/* Reading tables that policies made. */
#include "script/raw.h"

#include <math.h>

#include "script/state.h"

static bool one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool looks_like_name(struct np_span s)
{
    static const char others[] = "_.:/-";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!good && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return s.n > 0 && s.n <= 40;
}

const char *np_raw_name(struct np_span name, const char *const *known, size_t n,
                        char out[NP_RAW_NAME])
{
    if (!looks_like_name(name)) {
        snprintf(out, NP_RAW_NAME, "of %zu bytes", name.n);
        return out;
    }
    const char *guess = np_span_guess(name, known, n);
    if (guess)
        snprintf(out, NP_RAW_NAME, "\"%.*s\"; did you mean \"%.60s\"?", (int)name.n, name.p, guess);
    else
        snprintf(out, NP_RAW_NAME, "\"%.*s\"", (int)name.n, name.p);
    return out;
}

static void check_keys(lua_State *L, int idx, const char *where, const char *const *names, size_t n,
                       bool listed)
{
    idx = lua_absindex(L, idx);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        if (listed && lua_isinteger(L, -1))
            continue;
        if (lua_type(L, -1) != LUA_TSTRING)
            np_state_type_error(L, "%s has a key that is a %s", where, luaL_typename(L, -1));
        const char *name = lua_tostring(L, -1);
        if (one_of(name, names, n))
            continue;
        char text[NP_RAW_NAME];
        np_state_type_error(L, "%s has an unknown key %s", where,
                            np_raw_name(np_span_of(name), names, n, text));
    }
}

void np_raw_check_keys(lua_State *L, int idx, const char *where, const char *const *names, size_t n)
{
    check_keys(L, idx, where, names, n, false);
}

void np_raw_check_options(lua_State *L, int idx, const char *where, const char *const *names,
                          size_t n)
{
    check_keys(L, idx, where, names, n, true);
}

/* Pushes the raw field and returns its type. */
static int field(lua_State *L, int idx, const char *name)
{
    idx = lua_absindex(L, idx);
    lua_pushstring(L, name);
    return lua_rawget(L, idx);
}

static void wrong(lua_State *L, const char *where, const char *name, const char *wanted)
{
    int type = lua_type(L, -1);
    const char *got = type == LUA_TNIL      ? "nothing"
                      : type == LUA_TNUMBER ? lua_tostring(L, -1)
                                            : luaL_typename(L, -1);
    np_state_type_error(L, "%s.%s must be %s, got %s", where, name, wanted, got);
}

void np_raw_push(lua_State *L, int idx, const char *where, const char *name, int type,
                 bool optional)
{
    int got = field(L, idx, name);
    if (got != type && !(optional && got == LUA_TNIL)) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "a %s", lua_typename(L, type));
        wrong(L, where, name, wanted);
    }
}

int64_t np_raw_integer(lua_State *L, int idx, const char *where, const char *name, int64_t least,
                       int64_t most, int64_t otherwise)
{
    int64_t n = otherwise;
    int type = field(L, idx, name), whole = 0;
    if (type != LUA_TNIL) {
        n = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
        if (!whole || n < least || n > most) {
            char wanted[80];
            snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld", (long long)least,
                     (long long)most);
            wrong(L, where, name, wanted);
        }
    }
    lua_pop(L, 1);
    return n;
}

double np_raw_number(lua_State *L, int idx, const char *where, const char *name, double least,
                     double otherwise)
{
    double v = otherwise;
    int type = field(L, idx, name);
    if (type != LUA_TNIL) {
        v = lua_tonumber(L, -1);
        if (type != LUA_TNUMBER || !isfinite(v) || v < least) {
            char wanted[48];
            snprintf(wanted, sizeof wanted, "a number of at least %g", least);
            wrong(L, where, name, wanted);
        }
    }
    lua_pop(L, 1);
    return v;
}

struct np_span np_raw_string(lua_State *L, int idx, const char *where, const char *name, size_t max)
{
    struct np_span s = NP_SPAN_NONE;
    int type = field(L, idx, name);
    if (type != LUA_TNIL) {
        if (type != LUA_TSTRING)
            wrong(L, where, name, "a string");
        s.p = lua_tolstring(L, -1, &s.n);
        if (s.n > max)
            np_state_type_error(L, "%s.%s has more than %d bytes", where, name, (int)max);
    }
    lua_pop(L, 1);
    return s;
}
