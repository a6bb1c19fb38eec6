/* The lists that hang on req: messages, context, tags. In admit they are plain tables that may be
 * changed in place; beside them it is kept which table shows which entry, so that what was left alone
 * stays the very bytes that the client sent. In other hooks they are read-only views. */
#include "script/lists.h"

#include <math.h>

#include "script/json.h"
#include "script/lock.h"

/* The texts of the parts of a message, put together line by line. */
static void push_parts(lua_State *L, struct np_span list)
{
    struct np_json_walk walk = np_json_walk(list);
    struct np_span part, text;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; np_json_item(&walk, &part); i++) {
        if (!np_json_get(part, "text", &text))
            continue;
        if (i > 0)
            luaL_addchar(&b, '\n');
        np_ljson_push_string(L, text);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
}

static void push_content(lua_State *L, const struct np_message *m)
{
    if (np_json_kind(m->content) == NP_JSON_STRING)
        np_ljson_push_string(L, m->content);
    else
        push_parts(L, m->content);
}

static void push_message(lua_State *L, const struct np_message *m)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, np_role_name(m->role));
    lua_setfield(L, -2, "role");
    push_content(L, m);
    lua_setfield(L, -2, "content");
}

static void push_priority(lua_State *L, double p)
{
    lua_Integer whole;
    if (lua_numbertointeger(p, &whole) && floor(p) == p)
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, p);
}

static void push_item(lua_State *L, const struct np_context_item *c)
{
    lua_createtable(L, 0, 5);
    np_ljson_push_string(L, c->id);
    lua_setfield(L, -2, "id");
    np_ljson_push_string(L, c->text);
    lua_setfield(L, -2, "text");
    push_priority(L, c->priority);
    lua_setfield(L, -2, "priority");
    lua_pushboolean(L, c->pinned);
    lua_setfield(L, -2, "pinned");
    lua_pushinteger(L, c->tokens);
    lua_setfield(L, -2, "tokens");
}

/* The kinds of list. */
static void push_entry(lua_State *L, const struct np_request *r, enum np_field list, size_t i)
{
    if (list == NP_FIELD_messages)
        push_message(L, &r->messages[i]);
    else
        push_item(L, &r->context[i]);
}

void np_lists_remember(lua_State *L, int cache, int list, enum np_field which, size_t n)
{
    cache = lua_absindex(L, cache);
    list = lua_absindex(L, list);
    bool messages = which == NP_FIELD_messages;
    lua_createtable(L, 0, (int)n);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= (lua_Integer)n; i++) {
        lua_rawgeti(L, list, i);
        lua_pushstring(L, messages ? "content" : "text");
        lua_rawget(L, -2);
        lua_rawseti(L, -3, i);
        lua_pushinteger(L, i);
        lua_rawset(L, -4);
    }
    lua_rawseti(L, cache, messages ? NP_CACHE_MESSAGE_TEXTS : NP_CACHE_ITEM_TEXTS);
    lua_rawseti(L, cache, messages ? NP_CACHE_MESSAGES : NP_CACHE_ITEMS);
}

static int get_list(lua_State *L, struct np_script *s, enum np_field which)
{
    const struct np_request *r = np_req_shown(s);
    size_t n = which == NP_FIELD_messages ? r->n_messages : r->n_context;
    np_req_push_cache(L, 1);
    if (lua_rawgeti(L, -1, which) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_entry(L, r, which, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (s->draft.open) {
        s->draft.lists = true;
        np_lists_remember(L, -2, -1, which, n);
    } else {
        np_lock_push(L);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, which);
    return 1;
}

int np_req_get_messages(lua_State *L, struct np_script *s)
{
    return get_list(L, s, NP_FIELD_messages);
}

int np_req_get_context(lua_State *L, struct np_script *s)
{
    return get_list(L, s, NP_FIELD_context);
}

int np_req_get_tags(lua_State *L, struct np_script *s)
{
    struct np_span tags = s->draft.open ? s->draft.tags : s->x->tags;
    np_req_push_cache(L, 1);
    if (lua_rawgeti(L, -1, NP_FIELD_tags) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    if (tags.p)
        np_ljson_push(L, tags);
    else
        lua_newtable(L);
    if (s->draft.open)
        s->draft.lists = true;
    else
        np_lock_push(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, NP_FIELD_tags);
    return 1;
}
