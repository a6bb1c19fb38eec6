/* The paths of an adapter as a tree. Names are strings of Lua's that the userdata keeps alive. */
#include "script/reads.h"

#include <lauxlib.h>

#include <stdlib.h>

#include "base/json.h"
#include "script/json.h"

#define MAX_NODES 48

struct node {
    struct np_span part;  /* the member's name */
    long place;           /* in an array, from 1; 0: a member */
    const char *leaf;     /* the name that gets the value; NULL: not the end of a path */
    unsigned child, next; /* 0: none */
};

struct np_reads {
    struct node nodes[MAX_NODES]; /* the first is the root */
    unsigned n;
};

static unsigned find(const struct np_reads *r, unsigned up, struct np_span part)
{
    for (unsigned i = r->nodes[up].child; i; i = r->nodes[i].next)
        if (np_span_eq(r->nodes[i].part, part))
            return i;
    return 0;
}

static unsigned find_or_add(lua_State *L, struct np_reads *r, unsigned up, struct np_span part)
{
    unsigned i = find(r, up, part);
    if (i)
        return i;
    if (r->n == MAX_NODES || r->nodes[up].leaf)
        luaL_error(L, "too many paths, or one goes through the end of another");
    unsigned long long place = 0;
    struct node *node = &r->nodes[r->n];
    *node = (struct node){.part = part, .next = r->nodes[up].child};
    if (np_span_to_u64(part, &place))
        node->place = (long)place;
    r->nodes[up].child = r->n;
    return r->n++;
}

static void add(lua_State *L, struct np_reads *r, const char *name, const char *path)
{
    unsigned at = 0;
    while (*path) {
        size_t n = strcspn(path, ".");
        at = find_or_add(L, r, at, np_span_make(path, n));
        path += n + (path[n] == '.');
    }
    if (at == 0 || r->nodes[at].child || r->nodes[at].leaf)
        luaL_error(L, "a path is empty, twice there, or goes through the end of another");
    r->nodes[at].leaf = name;
}

struct np_reads *np_reads_push(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    luaL_checktype(L, idx, LUA_TTABLE);
    struct np_reads *r = lua_newuserdatauv(L, sizeof *r, 1);
    memset(r, 0, sizeof *r);
    r->n = 1;
    lua_pushvalue(L, idx);
    lua_setiuservalue(L, -2, 1);
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "paths are texts by name");
        add(L, r, lua_tostring(L, -2), lua_tostring(L, -1));
    }
    return r;
}

/* The table that gets the values is at idx. */
static void visit(lua_State *L, int idx, const struct np_reads *r, unsigned at,
                  struct np_span value)
{
    const struct node *node = &r->nodes[at];
    if (node->leaf) {
        np_ljson_push(L, value);
        if (lua_islightuserdata(L, -1)) { /* null */
            lua_pop(L, 1);
            lua_pushnil(L);
        }
        lua_setfield(L, idx, node->leaf);
        return;
    }
    struct np_span key, inner;
    enum np_json_kind kind = np_json_kind(value);
    if (kind == NP_JSON_OBJECT) {
        struct np_json_walk w = np_json_walk(value);
        while (np_json_member(&w, &key, &inner)) {
            unsigned i = find(r, at, key);
            if (i && !r->nodes[i].place)
                visit(L, idx, r, i, inner);
        }
    } else if (kind == NP_JSON_ARRAY) {
        struct np_json_walk w = np_json_walk(value);
        for (long place = 1; np_json_item(&w, &inner); place++)
            for (unsigned i = node->child; i; i = r->nodes[i].next)
                if (r->nodes[i].place == place)
                    visit(L, idx, r, i, inner);
    }
}

void np_reads_fill(lua_State *L, int idx, const struct np_reads *reads, struct np_span json)
{
    idx = lua_absindex(L, idx);
    for (unsigned i = 1; i < reads->n; i++)
        if (reads->nodes[i].leaf) {
            lua_pushnil(L);
            lua_setfield(L, idx, reads->nodes[i].leaf);
        }
    if (json.p)
        visit(L, idx, reads, 0, json);
}
