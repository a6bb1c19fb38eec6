/* What an adapter declares of its streams, from its table into plain C. */
#include "script/adapter_impl.h"

#include <lauxlib.h>

static struct np_span text_at(lua_State *L, int idx)
{
    struct np_span s;
    s.p = luaL_checklstring(L, idx, &s.n);
    return s;
}

static void check(lua_State *L, enum np_err err, const char *what)
{
    if (err)
        luaL_error(L, "a stream's %s: %s", what, np_err_text(err));
}

static enum np_stream_slot slot_of(lua_State *L, struct np_span name)
{
    int slot = 0;
    while (slot < NP_STREAM_SLOT_COUNT &&
           !np_span_is(name, np_stream_slot_name((enum np_stream_slot)slot)))
        slot++;
    if (slot == NP_STREAM_SLOT_COUNT)
        luaL_error(L, "a stream has no %s", name.p);
    return (enum np_stream_slot)slot;
}

/* reads = {name = path or list of paths}; the table is on the top. */
static void take_reads(lua_State *L, struct np_stream_form *f)
{
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        luaL_checktype(L, -2, LUA_TSTRING);
        enum np_stream_slot slot = slot_of(L, text_at(L, -2));
        if (lua_type(L, -1) == LUA_TSTRING) {
            check(L, np_stream_form_path(f, slot, text_at(L, -1)), "path");
            continue;
        }
        luaL_checktype(L, -1, LUA_TTABLE);
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
            check(L, np_stream_form_path(f, slot, text_at(L, -1)), "path");
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

/* finishes = {["end_turn"] = "stop"}; on the top. */
static void take_finishes(lua_State *L, struct np_stream_form *f)
{
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        luaL_checktype(L, -2, LUA_TSTRING);
        enum np_finish means = np_finish_find(text_at(L, -1));
        check(L, means == NP_FINISH_COUNT ? NP_E_NOTFOUND : NP_OK, "finish");
        check(L, np_stream_form_finish(f, text_at(L, -2), means), "finish");
    }
}

static void take_text(lua_State *L, int idx, const char *name, struct np_stream_form *f,
                      struct np_span *out)
{
    if (lua_getfield(L, idx, name) != LUA_TNIL)
        check(L, np_stream_form_text(f, text_at(L, -1), out), name);
    lua_pop(L, 1);
}

/* A list of words in a field. */
static void take_words(lua_State *L, int idx, const char *name, struct np_stream_form *f,
                       struct np_stream_words *out)
{
    if (lua_getfield(L, idx, name) != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
            check(L, np_stream_form_word(f, out, text_at(L, -1)), name);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void np_adapter_stream_read(lua_State *L, int idx, struct np_stream_form *f)
{
    idx = lua_absindex(L, idx);
    luaL_checktype(L, idx, LUA_TTABLE);
    np_stream_form_init(f);
    lua_getfield(L, idx, "reads");
    take_reads(L, f);
    lua_getfield(L, idx, "finishes");
    take_finishes(L, f);
    lua_pop(L, 2);
    take_text(L, idx, "end_data", f, &f->end_data);
    take_text(L, idx, "end_kind", f, &f->end_kind);
    take_text(L, idx, "error_kind", f, &f->error_kind);
    take_words(L, idx, "kinds", f, &f->kinds);
    take_words(L, idx, "text_parts", f, &f->text_parts);
    lua_getfield(L, idx, "cache_apart");
    f->cache_apart = lua_toboolean(L, -1);
    lua_pop(L, 1);
}
