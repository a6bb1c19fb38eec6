/* Asks lua/neap/wordbook.lua and types.lua, in a Lua state of its own, about the table of
 * lua/neap/words.lua. */
#include "script/words.h"

#include <stdlib.h>

#include "script/state.h"

#define NAMES 1024

struct np_words {
    struct np_state *st;
    int book, types; /* registry: what wordbook.lua and types.lua return */
};

/* One question; lives in the frame of who asks. */
struct question {
    int module;           /* registry */
    const char *function; /* of the module */
    struct np_span argument;
    const char *field; /* of each entry of a list: what is said beside its name */
    np_words_each *each;
    void *ctx;
    struct np_buf *out;
    bool found;
};

/* Calls a chunk of the runtime's Lua with the value on the top, which goes. */
static void call_chunk(lua_State *L, const char *name)
{
    const struct np_embedded_file *file = np_embedded_find(name);
    np_require(file);
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, name, "t") != LUA_OK)
        lua_error(L);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
}

/* Trusted: (words). */
static int open_book(lua_State *L)
{
    struct np_words *w = lua_touserdata(L, 1);
    lua_pushnil(L);
    call_chunk(L, "neap/words.lua");
    lua_pushvalue(L, -1);
    call_chunk(L, "neap/types.lua");
    w->types = luaL_ref(L, LUA_REGISTRYINDEX);
    call_chunk(L, "neap/wordbook.lua");
    w->book = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* The list of { name=, text= } or fields on the top, told one by one. */
static void tell_list(lua_State *L, const struct question *q)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_getfield(L, -1, "name");
        lua_getfield(L, -2, q->field);
        q->each(q->ctx, lua_tostring(L, -2), lua_tostring(L, -1));
        lua_pop(L, 3);
    }
}

/* Trusted: (question). */
static int ask(lua_State *L)
{
    struct question *q = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, q->module);
    lua_getfield(L, -1, q->function);
    lua_pushlstring(L, q->argument.n ? q->argument.p : "", q->argument.n);
    lua_call(L, 1, 1);
    q->found = !lua_isnil(L, -1);
    if (q->found && q->each) {
        tell_list(L, q);
    } else if (q->found) {
        size_t n;
        const char *text = lua_tolstring(L, -1, &n);
        np_buf_put(q->out, text, n);
    }
    return 0;
}

static enum np_err put(struct np_words *w, struct question *q)
{
    lua_pushcfunction(w->st->L, ask);
    lua_pushlightuserdata(w->st->L, q);
    bool done = np_state_call_trusted(w->st, 1, 0);
    np_state_collect(w->st, false);
    if (!done)
        return NP_E_NOMEM;
    return q->found ? NP_OK : NP_E_NOTFOUND;
}

struct np_words *np_words_new(void)
{
    struct np_words *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->st = np_state_new_sandboxed(NULL);
    if (!w->st)
        goto fail;
    lua_pushcfunction(w->st->L, open_book);
    lua_pushlightuserdata(w->st->L, w);
    if (np_state_call_trusted(w->st, 1, 0))
        return w;
    np_require(w->st->fault.kind == NP_FAULT_KIND_MEMORY);
fail:
    np_words_free(w);
    return NULL;
}

void np_words_free(struct np_words *w)
{
    if (!w)
        return;
    np_state_free(w->st);
    free(w);
}

/* All names, for a guess; the book keeps them alive. */
struct names {
    const char *name[NAMES];
    size_t n;
};

static void add_name(void *ctx, const char *name, const char *text)
{
    struct names *all = ctx;
    (void)text;
    if (all->n < NAMES)
        all->name[all->n++] = name;
}

static enum np_err tell_unknown(struct np_words *w, struct np_span name, struct np_buf *out)
{
    struct names all = {.n = 0};
    enum np_err err = np_words_list(w, NP_SPAN(""), add_name, &all);
    if (err)
        return err;
    const char *guess = np_span_guess(name, all.name, all.n);
    err =
        np_buf_printf(out, "nothing is called \"%.*s\"%s%s%s\n", (int)name.n, name.n ? name.p : "",
                      guess ? "; did you mean \"" : "", guess ? guess : "", guess ? "\"?" : "");
    return err ? err : NP_E_NOTFOUND;
}

enum np_err np_words_tell(struct np_words *w, struct np_span name, struct np_buf *out)
{
    struct question q = {.module = w->book, .function = "tell", .argument = name, .out = out};
    enum np_err err = put(w, &q);
    if (err == NP_E_NOTFOUND)
        return tell_unknown(w, name, out);
    return err ? err : np_buf_failed(out) ? NP_E_NOMEM : NP_OK;
}

enum np_err np_words_list(struct np_words *w, struct np_span prefix, np_words_each *each, void *ctx)
{
    struct question q = {.module = w->book,
                         .function = "list",
                         .argument = prefix,
                         .field = "text",
                         .each = each,
                         .ctx = ctx};
    return put(w, &q);
}

enum np_err np_words_fields(struct np_words *w, struct np_span class, np_words_each *each,
                            void *ctx)
{
    struct question q = {.module = w->book,
                         .function = "fields",
                         .argument = class,
                         .field = "type",
                         .each = each,
                         .ctx = ctx};
    return put(w, &q);
}

enum np_err np_words_write(struct np_words *w, enum np_words_file file, struct np_buf *out)
{
    static const char *const functions[] = {
        [NP_WORDS_TYPES] = "types", [NP_WORDS_SETTINGS] = "settings"};
    struct question q = {.module = w->types, .function = functions[file], .out = out};
    enum np_err err = put(w, &q);
    return err ? err : np_buf_failed(out) ? NP_E_NOMEM : NP_OK;
}
