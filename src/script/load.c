/* Loading a policy set: every file is compiled, data files and hooks are run once in a throwaway
 * state within the limits, lua/neap/schema.lua checks what the data files gave, and the catalogue is
 * built. All problems are told, not only the first. */
#include "script/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/trace.h"
#include "script/mark.h"
#include "script/sandbox.h"
#include "script/state.h"

#define CATALOG_BYTES ((size_t)64 << 20)

struct loader {
    struct np_policyset *set;
    const struct np_load_options *options;
    struct np_problems *problems;
    struct np_state *st;
    struct np_mark_want hooks[NP_HOOK_COUNT]; /* the functions that are hooks */
    size_t n_hooks;
    bool no_memory;
};

/* ----------------------------------------------------------------------------------- problems */

/* Tells st->fault, at its own place where that is a file of the set. The same fault of a library
 * comes from each file that requires it: once is enough. */
static void tell_fault(struct loader *l, const char *name, const char *code)
{
    const struct np_script_fault *f = &l->st->fault;
    const char *file = np_set_file_find(l->set, f->file) ? f->file : name;
    unsigned line = file == name && strcmp(f->file, name) != 0 ? 0 : f->line;
    const char *text = f->text;
    char place[NP_FAULT_BYTES];
    int n = snprintf(place, sizeof place, "%s:%u: ", file, f->line);
    if (line > 0 && strncmp(text, place, (size_t)n) == 0)
        text += n;
    for (size_t i = 0; i < l->problems->n; i++) {
        const struct np_problem *p = &l->problems->list[i];
        if (p->line == line && strcmp(p->file, file) == 0 && strcmp(p->text, text) == 0)
            return;
    }
    if (strcmp(code, "N105") == 0 && strstr(text, NP_CIRCLE_WORDS))
        code = "N111";
    if (strcmp(code, "N105") == 0 && strstr(text, NP_LOADING_WORDS))
        code = "N112";
    np_problems_add(l->problems, file, line, 0, code, false, "%s", text);
}

static void tell(struct loader *l, const char *name, const char *code, const char *text)
{
    np_problems_add(l->problems, name, 0, 0, code, false, "%s", text);
}

/* ---------------------------------------------------------------------------------- compiling */

/* Keeps the bytecode of the chunk on the top of the stack. */
static void keep_bytecode(struct loader *l, struct np_set_file *file)
{
    if (!np_state_dump(l->st, l->set->arena, &file->bytecode))
        tell_fault(l, file->name, "N104");
    else if (!file->bytecode.p)
        l->no_memory = true;
}

static void compile_all(struct loader *l)
{
    for (size_t i = 0; i < l->set->n_files; i++) {
        struct np_set_file *f = &l->set->files[i];
        enum np_set_kind kind = np_set_file_kind(f->name);
        if (kind == NP_SET_TEMPLATE || kind == NP_SET_OTHER)
            continue;
        if (!np_state_load_file(l->st, f, 0)) {
            tell_fault(l, f->name, "N104");
            f->broken = true;
            continue;
        }
        if (kind == NP_SET_HOOK || kind == NP_SET_LIBRARY)
            keep_bytecode(l, f);
        lua_pop(l->st->L, 1);
        np_state_collect(l->st, false);
    }
}

/* ------------------------------------------------------------------------------------ running */

static bool run_file(struct loader *l, const struct np_set_file *f, int env, int n_results)
{
    if (!np_state_load_file(l->st, f, env) ||
        !np_state_call(l->st, 0, n_results, &np_limit_steps)) {
        tell_fault(l, f->name, "N105");
        np_state_collect(l->st, true);
        return false;
    }
    return true;
}

/* The line of the last return that stands at the beginning of one: where a file's own is, as people write
 * it. 0: there is none. */
static unsigned return_line(struct np_span source)
{
    unsigned line = 1, found = 0;
    const char *p = source.p;
    for (size_t left = source.n; left > 0; line++) {
        const char *end = memchr(p, '\n', left);
        size_t n = end ? (size_t)(end - p) + 1 : left;
        if (np_span_starts(np_span_make(p, n), "return"))
            found = line;
        p += n;
        left -= n;
    }
    return found;
}

static void tell_returned(struct loader *l, const struct np_set_file *f, const char *wanted,
                          const char *got)
{
    unsigned line = return_line(f->source);
    np_problems_add(l->problems, f->name, line, line ? 1 : 0, "N106", false,
                    "%s, this one returns %s", wanted, got);
}

static void run_hook(struct loader *l, const struct np_set_file *f)
{
    lua_State *L = l->st->L;
    int top = lua_gettop(L);
    if (!run_file(l, f, 0, LUA_MULTRET))
        return;
    int n = lua_gettop(L) - top;
    if (n == 1 && lua_isfunction(L, -1)) {
        struct np_mark_want *hook = &l->hooks[l->n_hooks];
        np_require(l->n_hooks < NP_HOOK_COUNT);
        np_mark_look(L, -1, l->set, hook);
        l->n_hooks += hook->file != NULL;
    } else {
        tell_returned(l, f, "a hook's file returns one function",
                      n == 0   ? "nothing"
                      : n == 1 ? luaL_typename(L, -1)
                               : "several values");
    }
    lua_settop(L, top);
}

/* A library is run the way a hook would run it. */
static void run_library(struct loader *l, const struct np_set_file *f)
{
    char code[128];
    int n = snprintf(code, sizeof code, "return require 'lib.%.*s'", (int)strlen(f->name) - 8,
                     f->name + 4);
    np_require(n > 0 && (size_t)n < sizeof code);
    char name[NP_FAULT_BYTES];
    snprintf(name, sizeof name, "@%s", f->name);
    if (!np_state_load(l->st, np_span_make(code, (size_t)n), false, name, 0) ||
        !np_state_call(l->st, 0, 0, &np_limit_steps)) {
        tell_fault(l, f->name, "N105");
        np_state_collect(l->st, true);
    }
}

static void run_code(struct loader *l)
{
    for (size_t i = 0; i < l->set->n_files; i++) {
        const struct np_set_file *f = &l->set->files[i];
        enum np_set_kind kind = np_set_file_kind(f->name);
        if (f->broken)
            continue;
        if (kind == NP_SET_HOOK)
            run_hook(l, f);
        else if (kind == NP_SET_LIBRARY)
            run_library(l, f);
        np_state_collect(l->st, false);
    }
}

/* Pushes what a data file returned: false where that is nothing that could be looked at, nil where
 * the set has none. */
static void push_data(struct loader *l, const char *name, bool required, int env)
{
    lua_State *L = l->st->L;
    const struct np_set_file *f = np_set_file_find(l->set, name);
    if (!f && required)
        tell(l, name, "N107", "is missing: a policy set has one");
    if (!f && !required) {
        lua_pushnil(L);
    } else if (!f || f->broken || !run_file(l, f, env, 1)) {
        lua_pushboolean(L, 0);
    } else if (!lua_istable(L, -1)) {
        tell_returned(l, f, "a data file returns a table", luaL_typename(L, -1));
        lua_pop(L, 1);
        lua_pushboolean(L, 0);
    }
}

/* Leaves what the data files gave on the stack, one after the other. */
static bool run_data(struct loader *l)
{
    lua_State *L = l->st->L;
    if (!np_state_push_env(l->st, np_secret_functions))
        return false;
    int env = lua_gettop(L);
    for (int i = 0; i < NP_DATA_COUNT; i++)
        push_data(l, np_data_files[i], i < NP_DATA_REQUIRED, env);
    lua_remove(L, env);
    return true;
}

/* ------------------------------------------------------------- what schema.lua asks of C */

static struct loader *loader_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* money(number, scale): whole units of 10^-scale, or nil and why not. */
static int native_money(lua_State *L)
{
    int64_t v;
    enum np_err err =
        np_money_from_double(luaL_checknumber(L, 1), (unsigned)luaL_checkinteger(L, 2), &v);
    if (!err) {
        lua_pushinteger(L, v);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err == NP_E_INVALID ? "has more decimals than money is counted in"
                      : err == NP_E_RANGE ? "is negative or too much"
                                          : "is no amount");
    return 2;
}

/* money_text(nusd): dollars as text. */
static int native_money_text(lua_State *L)
{
    char text[NP_MONEY_TEXT];
    size_t n = np_money_format(luaL_checkinteger(L, 1), text);
    lua_pushlstring(L, text, n);
    return 1;
}

/* secret(value): its label and nil when it is set, else its label and why it is not; nothing when
 * the value is no secret. */
static int native_secret(lua_State *L)
{
    const char *label = np_secret_label(L, 1);
    if (!label)
        return 0;
    char value[NP_SECRET_BYTES];
    const char *why = NULL;
    bool set = np_secret_read(label, loader_of(L)->set->dir, value, &why);
    explicit_bzero(value, sizeof value);
    lua_pushstring(L, label);
    lua_pushstring(L, set ? NULL : why);
    return 2;
}

int np_native_guess(lua_State *L)
{
    const char *candidates[256];
    size_t n = 0;
    struct np_span word;
    word.p = luaL_checklstring(L, 1, &word.n);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    size_t length = lua_rawlen(L, 2);
    for (size_t i = 1; i <= length && n < sizeof candidates / sizeof candidates[0]; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            candidates[n++] = lua_tostring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    lua_pushstring(L, np_span_guess(word, candidates, n));
    return 1;
}

/* date(text): milliseconds since 1970, or nil. */
static int native_date(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    int64_t ms = strlen(text) == n ? np_clock_parse_utc(text) : -1;
    if (ms < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, ms);
    return 1;
}

static int native_source(lua_State *L)
{
    const struct np_set_file *f = np_set_file_find(loader_of(L)->set, luaL_checkstring(L, 1));
    if (!f)
        return 0;
    lua_pushlstring(L, f->source.p, f->source.n);
    return 1;
}

static const luaL_Reg natives[] = {{"money", native_money},
                                   {"money_text", native_money_text},
                                   {"secret", native_secret},
                                   {"guess", np_native_guess},
                                   {"date", native_date},
                                   {"source", native_source},
                                   {NULL, NULL}};

static void push_natives(lua_State *L, struct loader *l)
{
    lua_createtable(L, 0, 12);
    lua_pushlightuserdata(L, l);
    luaL_setfuncs(L, natives, 1);
    lua_pushboolean(L, l->options->simulated);
    lua_setfield(L, -2, "simulated");
    lua_pushinteger(L, np_clock_wall_ms(&np_clock_live));
    lua_setfield(L, -2, "now_ms");
}

/* ----------------------------------------------------------------------------------- checking */

/* (what each data file returned …, loader, schema, locate, kinds, lex, doubts): the normalised data. */
static int check(lua_State *L)
{
    struct loader *l = lua_touserdata(L, NP_DATA_COUNT + 1);
    lua_setfield(L, NP_DATA_COUNT + 4, "doubts");
    lua_setfield(L, NP_DATA_COUNT + 3, "lex");
    lua_getfield(L, NP_DATA_COUNT + 2, "check");
    lua_createtable(L, 0, NP_DATA_COUNT);
    for (int i = 0; i < NP_DATA_COUNT; i++) {
        lua_pushvalue(L, i + 1);
        lua_setfield(L, -2, np_data_files[i]);
    }
    push_natives(L, l);
    lua_pushvalue(L, NP_DATA_COUNT + 3);
    lua_pushvalue(L, NP_DATA_COUNT + 4);
    lua_call(L, 4, 2);
    np_take_problems(L, l->problems, "");
    lua_pop(L, 1);
    return 1;
}

/* Replaces what the data files gave by the normalised data. False: neap's own Lua failed. */
static bool check_data(struct loader *l)
{
    lua_State *L = l->st->L;
    int first = lua_gettop(L) - NP_DATA_COUNT + 1;
    lua_pushcfunction(L, check);
    lua_insert(L, first);
    lua_pushlightuserdata(L, l);
    return np_state_run_embedded(l->st, "neap/schema.lua") &&
           np_state_run_embedded(l->st, "neap/locate.lua") &&
           np_state_run_embedded(l->st, "neap/kinds.lua") &&
           np_state_run_embedded(l->st, "neap/lex.lua") &&
           np_state_run_embedded(l->st, "neap/doubts.lua") &&
           np_state_call_trusted(l->st, NP_DATA_COUNT + 6, 1);
}

/* ----------------------------------------------------------------------------------- building */

/* The catalogue is the loader's own until it is whole: hence the casts. */
static enum np_err write_parts(const struct np_catalog *c)
{
    enum np_err err = NP_OK;
    for (size_t i = 0; !err && i < c->n_endpoints; i++)
        err = np_trace_parts(c->arena, (struct np_endpoint *)&c->endpoints[i], NULL);
    for (size_t i = 0; !err && i < c->n_models; i++)
        err = np_trace_parts(c->arena, NULL, (struct np_model *)&c->models[i]);
    return err;
}

static enum np_err give_slots(struct loader *l, struct np_catalog *c)
{
    struct np_slots own;
    const struct np_slots *slots = l->options->slots;
    if (!slots && np_slots_init(&own))
        return NP_E_NOMEM;
    enum np_err err = np_catalog_index(c, slots ? slots : &own);
    if (!slots)
        np_slots_free(&own);
    if (err == NP_E_FULL) {
        np_problems_add(l->problems, "", 0, 0, "N210", false,
                        "more names than neap can hold over the life of a process (%d providers, "
                        "%d models, %d endpoints): restart it, or use fewer",
                        NP_MAX_PROVIDERS, NP_MAX_PAIRS, NP_MAX_ENDPOINTS);
        return NP_E_INVALID;
    }
    return err;
}

/* The normalised data are on the top. */
static enum np_err build(struct loader *l)
{
    lua_State *L = l->st->L;
    struct np_arena *arena = np_arena_new(CATALOG_BYTES);
    struct np_catalog *c = arena ? np_arena_alloc(arena, sizeof *c) : NULL;
    enum np_err err = NP_E_NOMEM;
    if (!c)
        goto fail;
    c->arena = arena;
    struct np_build b = {.set = l->set, .options = l->options, .catalog = c};
    lua_pushcfunction(L, np_catalog_build);
    lua_pushlightuserdata(L, &b);
    lua_pushvalue(L, -3);
    if (!np_state_call_trusted(l->st, 2, 0)) {
        err = l->st->fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
        tell(l, "", "N199", l->st->fault.text);
        goto fail;
    }
    err = give_slots(l, c);
    err = err ? err : write_parts(c);
    if (err)
        goto fail;
    l->set->catalog = c;
    return NP_OK;

fail:
    if (arena)
        np_arena_free(arena);
    return err;
}

static void tell_loose(struct loader *l)
{
    if (l->options->trust_folder)
        return;
    for (size_t i = 0; i < l->set->n_files; i++)
        if (l->set->files[i].loose)
            tell(
                l, l->set->files[i].name, "N108",
                "others may write this file, and so decide where requests and keys go: chmod go-w, or "
                "serve with --trust-folder");
}

/* Some editors put a byte order mark before UTF-8. It is a part of the version, not of the code. */
static void skip_marks(struct np_policyset *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        struct np_span *s = &set->files[i].source;
        if (s->n >= 3 && memcmp(s->p, "\xef\xbb\xbf", 3) == 0)
            *s = np_span_make(s->p + 3, s->n - 3);
    }
}

static enum np_err load(struct loader *l, size_t errors_before)
{
    skip_marks(l->set);
    tell_loose(l);
    compile_all(l);
    bool good = run_data(l) && check_data(l);
    if (!good) {
        tell(l, "", "N199", l->st->fault.text);
        return l->st->fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
    }
    run_code(l);
    if (l->no_memory)
        return NP_E_NOMEM;
    if (l->set->flawed || l->problems->errors > errors_before)
        return NP_E_INVALID;
    np_mark_files(l->st, l->set, l->hooks, l->n_hooks);
    return build(l);
}

enum np_err np_policyset_load(struct np_policyset *set, const struct np_load_options *options,
                              struct np_problems *problems)
{
    np_require(!set->catalog);
    struct loader l = {.set = set, .options = options, .problems = problems};
    l.st = np_state_new_sandboxed(set);
    enum np_err err = l.st && lua_checkstack(l.st->L, 64) ? load(&l, problems->errors) : NP_E_NOMEM;
    if (err == NP_E_NOMEM)
        tell(&l, "", "N199", np_err_text(err));
    np_state_free(l.st);
    return err;
}
