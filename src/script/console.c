/* Lines of Lua for a session: compiling, calling within limits, showing. */
#include "script/console.h"

#include <stdio.h>
#include <stdlib.h>

#include "script/hook_call.h"
#include "script/json.h"
#include "script/request.h"
#include "script/sandbox.h"
#include "script/show.h"

#define CHUNK "=line"
#define KEEP "__keep"
/* Ten times what a hook may take. */
#define LINE_STEPS (10 * (int64_t)NP_HOOK_STEPS)
#define TEXT_BYTES ((size_t)8 << 20)
#define KEPT_LOCALS 200

static const struct np_limit line_limit = {.steps = LINE_STEPS};

struct np_console {
    struct np_script *script; /* with the set's hooks, as on a ground */
    struct np_powers powers;
    struct np_rng rng;
    struct np_exchange *x;
    int module, globals, own, hooks; /* registry */
    struct np_buf code, printed;
};

static struct np_console *console_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* --- what console.lua and lines call ------------------------------------------------------------- */

static int push_req(lua_State *L)
{
    struct np_console *c = console_of(L);
    if (!c->script->x)
        return 0;
    np_req_push(L, c->script);
    return 1;
}

/* Calls a function of console.lua with the n_args values on the top; one value comes back. */
static void call_helper(lua_State *L, const struct np_console *c, const char *name, int n_args)
{
    np_show_call(L, c->module, name, n_args);
}

static int print(lua_State *L)
{
    struct np_console *c = console_of(L);
    size_t n;
    call_helper(L, c, "words", lua_gettop(L));
    const char *text = lua_tolstring(L, -1, &n);
    np_buf_put(&c->printed, text, n);
    np_buf_char(&c->printed, '\n');
    return 0;
}

/* Called at the end of a line: its locals become globals. */
static int keep(lua_State *L)
{
    struct np_console *c = console_of(L);
    lua_Debug ar;
    const char *name;
    if (!lua_getstack(L, 1, &ar))
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->globals);
    for (int i = 1; i <= KEPT_LOCALS && (name = lua_getlocal(L, &ar, i)); i++) {
        lua_pushstring(L, name);
        lua_insert(L, -2);
        if (name[0] == '(')
            lua_pop(L, 2);
        else
            lua_rawset(L, -3);
    }
    return 0;
}

/* --- life ---------------------------------------------------------------------------------------- */

/* Fills `hooks` anew. Trusted: 1 console. */
static int put_hooks(lua_State *L)
{
    struct np_console *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->hooks);
    for (int hook = 0; hook < NP_HOOK_COUNT; hook++) {
        if (c->script->hook[hook] == LUA_NOREF)
            lua_pushnil(L);
        else
            lua_rawgeti(L, LUA_REGISTRYINDEX, c->script->hook[hook]);
        lua_setfield(L, -2, np_hook_name((enum np_hook)hook));
    }
    return 0;
}

/* Trusted: 1 console, 2 what console.lua returned. */
static int open_world(lua_State *L)
{
    static const luaL_Reg owns[] = {{"print", print}, {KEEP, keep}, {NULL, NULL}};
    struct np_console *c = lua_touserdata(L, 1);
    np_show_open(L);
    lua_getfield(L, 2, "native");
    lua_pushlightuserdata(L, c);
    lua_pushcclosure(L, push_req, 1);
    lua_setfield(L, -2, "req");
    lua_pop(L, 1);
    c->module = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->script->state.env);
    luaL_newlibtable(L, owns);
    lua_pushlightuserdata(L, c);
    luaL_setfuncs(L, owns, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    c->hooks = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "hooks");
    lua_pushvalue(L, -1);
    c->own = luaL_ref(L, LUA_REGISTRYINDEX);
    call_helper(L, c, "open", 2);
    c->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Calls one of this file's functions that take the console alone. */
static bool call_trusted(struct np_console *c, lua_CFunction f)
{
    lua_State *L = c->script->state.L;
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, c);
    return np_state_call_trusted(&c->script->state, 1, 0);
}

static bool open_console(struct np_console *c)
{
    struct np_state *st = &c->script->state;
    if (!np_state_run_embedded(st, "neap/console.lua"))
        return false;
    lua_pushcfunction(st->L, open_world);
    lua_insert(st->L, -2);
    lua_pushlightuserdata(st->L, c);
    lua_insert(st->L, -2);
    return np_state_call_trusted(st, 2, 0) && call_trusted(c, put_hooks);
}

struct np_console *np_console_new(struct np_policyset *set, const volatile sig_atomic_t *interrupt)
{
    struct np_console *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    np_buf_init(&c->code, TEXT_BYTES);
    np_buf_init(&c->printed, TEXT_BYTES);
    np_rng_seed(&c->rng, 1);
    c->script = np_script_new(set, &c->powers, NULL);
    if (!c->script || !open_console(c)) {
        np_console_free(c);
        return NULL;
    }
    c->script->state.interrupt = interrupt;
    return c;
}

void np_console_free(struct np_console *c)
{
    if (!c)
        return;
    if (c->script)
        np_script_free(c->script);
    np_buf_free(&c->code);
    np_buf_free(&c->printed);
    free(c);
}

bool np_console_turn(struct np_console *c, struct np_policyset *set)
{
    return np_script_turn(c->script, set) && call_trusted(c, put_hooks);
}

void np_console_look_at(struct np_console *c, const struct np_powers *powers, struct np_exchange *x)
{
    c->script->powers = *powers;
    c->script->powers.rng = &c->rng;
    c->x = x;
}

/* --- lines --------------------------------------------------------------------------------------- */

/* Pushes the chunk of some text with the session's globals. */
static bool compile(struct np_console *c, const char *before, struct np_span text,
                    const char *after)
{
    struct np_state *st = &c->script->state;
    np_buf_reset(&c->code);
    np_buf_puts(&c->code, before);
    np_buf_span(&c->code, text);
    np_buf_puts(&c->code, after);
    lua_rawgeti(st->L, LUA_REGISTRYINDEX, c->globals);
    bool ok = np_state_load(st, np_buf_view(&c->code), false, CHUNK, -1);
    lua_remove(st->L, ok ? -2 : -1);
    return ok;
}

/* Whether the compiler missed what might still come. */
static bool is_unfinished(const struct np_console *c)
{
    static const char mark[] = "<eof>";
    const char *text = c->script->state.fault.text;
    size_t n = strlen(text);
    return n >= sizeof mark - 1 && strcmp(text + n - (sizeof mark - 1), mark) == 0;
}

static enum np_line compile_line(struct np_console *c, struct np_span text, bool expression)
{
    if (compile(c, "return ", text, "\n"))
        return NP_LINE_GOOD;
    bool more = is_unfinished(c);
    if (expression)
        return more ? NP_LINE_MORE : NP_LINE_FAILED;
    if (!compile(c, "", text, "\n"))
        return more || is_unfinished(c) ? NP_LINE_MORE : NP_LINE_FAILED;
    /* Behind a return nothing may stand. */
    int top = lua_gettop(c->script->state.L);
    if (compile(c, "", text, "\n" KEEP "()"))
        lua_remove(c->script->state.L, top);
    return NP_LINE_GOOD;
}

/* The fault's words; a line's own place is of use only when it has several lines. */
static void put_fault(struct np_console *c, struct np_span text, struct np_buf *out)
{
    static const char place[] = "line:1: ";
    const char *words = c->script->state.fault.text;
    if (strncmp(words, place, sizeof place - 1) == 0 && !memchr(text.p, '\n', text.n))
        words += sizeof place - 1;
    np_buf_harmless(out, np_span_of(words), "\n\t");
    np_buf_char(out, '\n');
}

static bool call_line(struct np_console *c, int n_results)
{
    struct np_script *s = c->script;
    s->x = c->x;
    bool ok = np_state_call(&s->state, 0, n_results, &line_limit);
    s->x = NULL;
    return ok;
}

/* Trusted: 1 console, 2 the value. */
static int show_value(lua_State *L)
{
    struct np_console *c = lua_touserdata(L, 1);
    size_t n;
    c->script->x = c->x;
    call_helper(L, c, "show", 1);
    c->script->x = NULL;
    const char *text = lua_tolstring(L, -1, &n);
    np_buf_put(&c->printed, text, n);
    np_buf_char(&c->printed, '\n');
    return 0;
}

/* Calls f with the console and the value at idx. */
static bool call_on(struct np_console *c, lua_CFunction f, int idx)
{
    lua_State *L = c->script->state.L;
    idx = lua_absindex(L, idx);
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, c);
    lua_pushvalue(L, idx);
    bool ok = np_state_call_trusted(&c->script->state, 2, 0);
    c->script->x = NULL;
    return ok;
}

static void flush_printed(struct np_console *c, struct np_buf *out)
{
    np_buf_harmless(out, np_buf_view(&c->printed), "\n\t");
    if (np_buf_failed(&c->printed))
        np_buf_puts(out, "(too much to show)\n");
    np_buf_reset(&c->printed);
}

enum np_line np_console_run(struct np_console *c, struct np_span text, struct np_buf *out)
{
    lua_State *L = c->script->state.L;
    int top = lua_gettop(L);
    np_buf_reset(&c->printed);
    enum np_line end = compile_line(c, text, false);
    if (end == NP_LINE_GOOD && !call_line(c, LUA_MULTRET))
        end = NP_LINE_FAILED;
    else if (end == NP_LINE_GOOD)
        for (int i = top + 1, last = lua_gettop(L); i <= last && end == NP_LINE_GOOD; i++)
            end = call_on(c, show_value, i) ? NP_LINE_GOOD : NP_LINE_FAILED;
    flush_printed(c, out);
    if (end == NP_LINE_FAILED)
        put_fault(c, text, out);
    lua_settop(L, top);
    if (c->script->state.used_bytes > NP_STATE_BYTES / 4)
        lua_gc(L, LUA_GCCOLLECT);
    else
        np_state_collect(&c->script->state, true);
    return end;
}

/* Trusted: 1 console, 2 the value. */
static int encode_value(lua_State *L)
{
    struct np_console *c = lua_touserdata(L, 1);
    c->script->x = c->x;
    np_req_reveal(L, 2);
    bool ok = np_ljson_encode(L, 2, &c->printed, NP_JSON_DEPTH);
    c->script->x = NULL;
    return ok ? 0 : lua_error(L);
}

enum np_line np_console_json(struct np_console *c, struct np_span text, struct np_buf *json,
                             struct np_buf *why)
{
    lua_State *L = c->script->state.L;
    int top = lua_gettop(L);
    np_buf_reset(&c->printed);
    enum np_line end = compile_line(c, text, true);
    if (end == NP_LINE_GOOD && (!call_line(c, 1) || !call_on(c, encode_value, -1)))
        end = NP_LINE_FAILED;
    if (end == NP_LINE_GOOD)
        np_buf_span(json, np_buf_view(&c->printed));
    else if (end == NP_LINE_FAILED)
        put_fault(c, text, why);
    np_buf_reset(&c->printed);
    lua_settop(L, top);
    return end;
}

/* --- values from outside -------------------------------------------------------------------------- */

/* One that is handed into a trusted function below. */
struct handed {
    struct np_console *c;
    struct np_span text;
    const char *helper;
};

/* Trusted: 1 struct handed, whose text is JSON; leaves what the helper gave. */
static int give_json(lua_State *L)
{
    const struct handed *h = lua_touserdata(L, 1);
    np_ljson_push(L, h->text);
    call_helper(L, h->c, h->helper, 1);
    return 1;
}

/* Trusted: the same with plain text. */
static int give_text(lua_State *L)
{
    const struct handed *h = lua_touserdata(L, 1);
    lua_pushlstring(L, h->text.p ? h->text.p : "", h->text.n);
    call_helper(L, h->c, h->helper, 1);
    return 1;
}

static bool hand(struct np_console *c, lua_CFunction f, struct np_span text, const char *helper)
{
    struct handed h = {c, text, helper};
    lua_State *L = c->script->state.L;
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, &h);
    c->script->x = c->x;
    bool ok = np_state_call_trusted(&c->script->state, 1, 1);
    c->script->x = NULL;
    return ok;
}

void np_console_set_record(struct np_console *c, struct np_span record)
{
    if (hand(c, give_json, record.n > 0 ? record : NP_SPAN("false"), "record"))
        lua_pop(c->script->state.L, 1);
}

void np_console_show(struct np_console *c, struct np_span json, bool source, struct np_buf *out)
{
    lua_State *L = c->script->state.L;
    size_t n;
    if (!hand(c, give_json, json, source ? "source" : "show"))
        return;
    const char *text = lua_tolstring(L, -1, &n);
    np_buf_put(out, text, n);
    lua_pop(L, 1);
}

void np_console_complete(struct np_console *c, struct np_span path,
                         void (*tell)(void *ctx, const char *word), void *ctx)
{
    lua_State *L = c->script->state.L;
    if (!hand(c, give_text, path, "complete"))
        return;
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        tell(ctx, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
