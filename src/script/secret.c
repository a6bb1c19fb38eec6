/* Secrets in data files: Lua holds a name, C reads the value when the catalogue is built, and no
 * Lua state ever sees it. */
#include "script/load.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "script/state.h"

#define NAME_MAX_BYTES 1024

static const char handle_key = 0; /* its address marks the metatable */

static int to_text(lua_State *L)
{
    lua_pushstring(L, np_secret_label(L, 1));
    return 1;
}

static int make_handle(lua_State *L, const char *kind)
{
    size_t n;
    luaL_checktype(L, 1, LUA_TSTRING);
    const char *name = lua_tolstring(L, 1, &n);
    bool printable = n > 0 && n <= NAME_MAX_BYTES;
    for (size_t i = 0; printable && i < n; i++)
        printable = (unsigned char)name[i] >= 0x20 && (unsigned char)name[i] != 0x7f;
    if (!printable)
        return np_state_type_error(L, "%s takes a name of 1 to %d printable bytes", kind,
                                   NAME_MAX_BYTES);
    size_t bytes = strlen(kind) + 1 + n + 1;
    char *label = lua_newuserdatauv(L, bytes, 0);
    snprintf(label, bytes, "%s:%s", kind, name);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 4);
        lua_pushcfunction(L, to_text);
        lua_setfield(L, -2, "__tostring");
        lua_pushliteral(L, "secret");
        lua_setfield(L, -2, "__name");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &handle_key);
    }
    lua_setmetatable(L, -2);
    return 1;
}

static int from_env(lua_State *L)
{
    return make_handle(L, "env");
}

static int from_file(lua_State *L)
{
    return make_handle(L, "file");
}

const luaL_Reg np_secret_functions[] = {{"env", from_env}, {"file", from_file}, {NULL, NULL}};

const char *np_secret_label(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? lua_touserdata(L, idx) : NULL;
}

/* Blanks at the end go; what is left must be able to stand in a header. */
static bool take(char *value, size_t n, const char **why)
{
    while (n > 0 && strchr(" \t\r\n", value[n - 1]))
        n--;
    value[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x21 || (unsigned char)value[i] > 0x7e) {
            *why = "holds a byte that can't stand in a header";
            return false;
        }
    *why = "is empty";
    return n > 0;
}

static bool read_env(const char *name, char value[NP_SECRET_BYTES], const char **why)
{
    const char *v = getenv(name);
    *why = "is not set";
    if (!v)
        return false;
    size_t n = strlen(v);
    *why = "is too long";
    if (n >= NP_SECRET_BYTES)
        return false;
    memcpy(value, v, n);
    return take(value, n, why);
}

static bool read_file(const char *name, const char *dir, char value[NP_SECRET_BYTES],
                      const char **why)
{
    char path[PATH_MAX];
    int len = name[0] == '/' ? snprintf(path, sizeof path, "%s", name)
                             : snprintf(path, sizeof path, "%s/%s", dir, name);
    *why = "is too long a path";
    if (len < 0 || (size_t)len >= sizeof path)
        return false;
    *why = "can't be read";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT)
            *why = "does not exist";
        return false;
    }
    size_t n = 0;
    ssize_t got = 0;
    while (n < NP_SECRET_BYTES) {
        got = read(fd, value + n, NP_SECRET_BYTES - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (got < 0)
        return false;
    *why = "is too long";
    return n < NP_SECRET_BYTES && take(value, n, why);
}

bool np_secret_read(const char *label, const char *dir, char value[NP_SECRET_BYTES],
                    const char **why)
{
    value[0] = '\0';
    if (strncmp(label, "env:", 4) == 0)
        return read_env(label + 4, value, why);
    np_require(strncmp(label, "file:", 5) == 0);
    return read_file(label + 5, dir, value, why);
}
