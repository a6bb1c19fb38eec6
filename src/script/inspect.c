/* Looks into a set's code without running it, by lua/neap/inspect.lua in a Lua state of its own. */
#include "script/load.h"
#include "script/state.h"

#include <stdlib.h>

/* One inspection; lives in the frame of np_policyset_inspect. */
struct inspection {
    const struct np_policyset *set;
    struct np_problems *problems;
    struct np_state *st;
    int look; /* registry: what inspect.lua's new returns */
};

/* ---------------------------------------------------------------------------- problems in tables */

static const char *text_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1); /* its table keeps it */
    return text ? text : "";
}

static unsigned number_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    lua_Integer v = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v > 0 && v < 1000000000 ? (unsigned)v : 0;
}

void np_take_problems(lua_State *L, struct np_problems *problems, const char *file)
{
    size_t n = lua_rawlen(L, -1);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        lua_getfield(L, -1, "warning");
        bool warning = lua_toboolean(L, -1);
        lua_pop(L, 1);
        const char *own = text_field(L, "file");
        np_problems_add(problems, own[0] ? own : file, number_field(L, "line"),
                        number_field(L, "column"), text_field(L, "code"), warning, "%s",
                        text_field(L, "text"));
        lua_pop(L, 1);
    }
}

static void take_allowances(lua_State *L, struct np_problems *problems, const char *file)
{
    size_t n = lua_rawlen(L, -1);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        const struct np_allowance a = {.file = file,
                                       .line = number_field(L, "line"),
                                       .column = number_field(L, "column"),
                                       .covers = number_field(L, "covers"),
                                       .code = text_field(L, "code"),
                                       .reason = text_field(L, "reason")};
        np_problems_allow(problems, &a);
        lua_pop(L, 1);
    }
}

/* -------------------------------------------------------------------------------------- opening */

static void push_module(lua_State *L, const char *name)
{
    const struct np_embedded_file *file = np_embedded_find(name);
    np_require(file);
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, name, "t") != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 1);
}

static void push_modules(lua_State *L)
{
    static const char *const names[][2] = {{"lex", "neap/lex.lua"},
                                           {"parse", "neap/parse.lua"},
                                           {"typing", "neap/typing.lua"},
                                           {"habits", "neap/habits.lua"},
                                           {"templates", "neap/templates.lua"},
                                           {"words", "neap/words.lua"}};
    lua_createtable(L, 0, 6);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        push_module(L, names[i][1]);
        lua_setfield(L, -2, names[i][0]);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sets the sorted list of n names as a field of the table on the top. */
static void set_names(lua_State *L, const char *field, const char **names, size_t n)
{
    if (n > 0)
        qsort(names, n, sizeof *names, by_text);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, field);
}

static void push_catalog(lua_State *L, const struct np_catalog *c)
{
    size_t most = c->n_models + c->n_providers + c->n_endpoints + c->n_templates;
    const char **names = lua_newuserdatauv(L, (most + 1) * sizeof *names, 0);
    lua_insert(L, -2); /* below the table */
    size_t n = 0;
    for (size_t i = 0; i < c->n_models; i++)
        names[n++] = c->models[i].name;
    set_names(L, "model", names, n);
    n = 0;
    for (size_t i = 0; i < c->n_providers; i++)
        names[n++] = c->providers[i].name;
    set_names(L, "provider", names, n);
    n = 0;
    for (size_t i = 0; i < c->n_endpoints; i++)
        names[n++] = c->endpoints[i].path;
    set_names(L, "endpoint", names, n);
    n = 0;
    for (size_t i = 0; i < c->n_templates; i++)
        names[n++] = c->templates[i].name;
    set_names(L, "template", names, n);
    lua_remove(L, -2);
}

static void push_set(lua_State *L, const struct np_policyset *set)
{
    lua_createtable(L, 0, 5);
    lua_createtable(L, 0, (int)set->n_files);
    for (size_t i = 0; i < set->n_files; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, set->files[i].name);
    }
    lua_setfield(L, -2, "files");
    if (set->catalog)
        push_catalog(L, set->catalog);
}

/* Trusted: (inspection). */
static int open_inspection(lua_State *L)
{
    struct inspection *in = lua_touserdata(L, 1);
    push_module(L, "neap/inspect.lua");
    lua_getfield(L, -1, "new");
    push_modules(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, np_native_guess);
    lua_setfield(L, -2, "guess");
    push_set(L, in->set);
    lua_call(L, 3, 1);
    in->look = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* -------------------------------------------------------------------------------------- looking */

static const char *kind_name(enum np_set_kind kind)
{
    switch (kind) {
    case NP_SET_DATA:
        return "data";
    case NP_SET_HOOK:
        return "hook";
    case NP_SET_LIBRARY:
        return "library";
    case NP_SET_TEST:
        return "test";
    case NP_SET_TEMPLATE:
        return "template";
    default:
        return NULL;
    }
}

/* Trusted: (inspection, file). */
static int look(lua_State *L)
{
    const struct inspection *in = lua_touserdata(L, 1);
    const struct np_set_file *f = lua_touserdata(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, in->look);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, f->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, kind_name(np_set_file_kind(f->name)));
    lua_setfield(L, -2, "kind");
    lua_pushlstring(L, f->source.p, f->source.n);
    lua_setfield(L, -2, "source");
    lua_call(L, 1, 2);
    take_allowances(L, in->problems, f->name);
    lua_pop(L, 1);
    np_take_problems(L, in->problems, f->name);
    return 0;
}

static enum np_err fault_of(const struct inspection *in, const char *file)
{
    if (in->st->fault.kind == NP_FAULT_KIND_MEMORY)
        return NP_E_NOMEM;
    np_problems_add(in->problems, file, 0, 0, "N199", false, "%s", in->st->fault.text);
    return NP_E_INVALID;
}

static enum np_err look_into(struct inspection *in, const struct np_set_file *f)
{
    lua_State *L = in->st->L;
    lua_pushcfunction(L, look);
    lua_pushlightuserdata(L, in);
    lua_pushlightuserdata(L, (void *)(uintptr_t)f);
    enum np_err err = np_state_call_trusted(in->st, 2, 0) ? NP_OK : fault_of(in, f->name);
    np_state_collect(in->st, false);
    return err == NP_E_NOMEM ? err : NP_OK;
}

/* The templates last: what they are for stands in the code. */
static enum np_err inspect(struct inspection *in)
{
    lua_State *L = in->st->L;
    enum np_err err = NP_OK;
    bool seen = true; /* all of the code */
    lua_pushcfunction(L, open_inspection);
    lua_pushlightuserdata(L, in);
    if (!np_state_call_trusted(in->st, 1, 0))
        return fault_of(in, "");
    for (size_t i = 0; !err && i < in->set->n_files; i++) {
        const struct np_set_file *f = &in->set->files[i];
        enum np_set_kind kind = np_set_file_kind(f->name);
        seen = seen && !f->broken;
        if (!f->broken && kind != NP_SET_TEMPLATE && kind_name(kind))
            err = look_into(in, f);
    }
    for (size_t i = 0; !err && seen && i < in->set->n_files; i++)
        if (np_set_file_kind(in->set->files[i].name) == NP_SET_TEMPLATE)
            err = look_into(in, &in->set->files[i]);
    return err;
}

enum np_err np_policyset_inspect(const struct np_policyset *set, struct np_problems *problems)
{
    struct inspection in = {.set = set, .problems = problems, .look = LUA_NOREF};
    in.st = np_state_new_sandboxed(NULL);
    enum np_err err = in.st ? inspect(&in) : NP_E_NOMEM;
    np_state_free(in.st);
    return err;
}
