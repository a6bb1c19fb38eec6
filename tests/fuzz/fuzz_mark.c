/* Hooks that tell their line: whatever file compiles, compiles with that too, does the same, and tells the
 * line of the return that ended it, as Lua's own hooks see it. The input is a file's text, or is made one of
 * statements that can be in the way. */
#include "fuzz/fuzz.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "script/state.h"

FUZZ_SEEDS(
    SEED("\0local x = 1\nreturn function(a)\n  if a then return a, 'return' end\n  return x\nend"),
    SEED("\0-- return\nlocal function f(x) return x end\nreturn function(a, ...)\n  goto done\n"
         "  ::done::\n  return f(a)\nend"),
    SEED(
        "\0local M = {}\nfunction M.a(x)\n  local s = [[\nreturn]] --[==[\n end ]==]\n  for i = 1, 3 do\n"
        "    repeat local y = function() return i end; if y() > 1 then return y() end until true\n"
        "  end\nend\nreturn M.a"),
    SEED("\0return function(a)\r\n  while a do do return(a) end end\r\nend\r\n"),
    SEED("\x01\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11"),
    SEED("\x01\x05\x0d\x11\x02\x07\x01\x00\x03\x06\x0c\x04\x0b\x02\x09\x01\x00\x08\x10\x05"));

#define STEPS 20000
#define MOST_BYTES ((size_t)8 << 20)
#define RESULT_BYTES 200

/* --- a state ------------------------------------------------------------------------------------------ */

struct run {
    lua_State *L;
    size_t bytes;
    int steps;
    int hook;     /* registry: the function that is the hook */
    int calls;    /* of it */
    bool handed;  /* it ended by a tail call */
    bool spent;   /* too many steps, or too much memory: what came of it says nothing */
    int returned; /* the line of the instruction that ended it */
};

static void *allocate(void *ctx, void *p, size_t old, size_t n)
{
    struct run *r = ctx;
    old = p ? old : 0;
    if (n == 0) {
        r->bytes -= old;
        free(p);
        return NULL;
    }
    if (n > old && r->bytes + n - old > MOST_BYTES) {
        r->spent = true;
        return NULL;
    }
    void *moved = realloc(p, n);
    if (moved)
        r->bytes += n - old;
    return moved;
}

static struct run *run_of(lua_State *L)
{
    return *(struct run **)lua_getextraspace(L);
}

static void on_event(lua_State *L, lua_Debug *ar)
{
    struct run *r = run_of(L);
    if (ar->event == LUA_HOOKCOUNT) {
        r->steps += 100;
        if (r->steps < STEPS)
            return;
        r->spent = true;
        luaL_error(L, "spent");
    }
    lua_Debug below;
    bool outermost = lua_getstack(L, 1, &below) == 0;
    lua_getinfo(L, "lf", ar);
    if (ar->event == LUA_HOOKTAILCALL)
        r->handed = r->handed || outermost;
    else if (ar->event == LUA_HOOKRET && outermost)
        r->returned = ar->currentline;
    if (ar->event != LUA_HOOKRET) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, r->hook);
        r->calls += lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void run_open(struct run *r)
{
    static const char *const names[] = {"tostring", "pairs", "error", "pcall", "select", "type"};
    *r = (struct run){.hook = LUA_NOREF};
    r->L = lua_newstate(allocate, r);
    np_require(r->L != NULL);
    *(struct run **)lua_getextraspace(r->L) = r;
    luaL_requiref(r->L, "_G", luaopen_base, 0);
    lua_newtable(r->L);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getfield(r->L, -2, names[i]);
        lua_setfield(r->L, -2, names[i]);
    }
    lua_replace(r->L, 1);
}

/* --- a file ------------------------------------------------------------------------------------------- */

/* Compiles and runs the file; true when it returned a function of its own, which is in the registry. */
static bool load(struct run *r, struct np_span text)
{
    lua_State *L = r->L;
    if (luaL_loadbufferx(L, text.p, text.n, "@f", "t") != LUA_OK)
        return false;
    lua_pushvalue(L, 1);
    if (!lua_setupvalue(L, -2, 1))
        lua_pop(L, 1);
    lua_sethook(L, on_event, LUA_MASKCOUNT, 100);
    bool good = lua_pcall(L, 0, 1, 0) == LUA_OK && lua_isfunction(L, -1) && !lua_iscfunction(L, -1);
    lua_sethook(L, NULL, 0, 0);
    if (good)
        r->hook = luaL_ref(L, LUA_REGISTRYINDEX);
    return good && !r->spent;
}

/* Calls the function; what came of it as text. False when it ended by an error. */
static bool call(struct run *r, char out[RESULT_BYTES])
{
    lua_State *L = r->L;
    size_t n = 0;
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->hook);
    lua_pushliteral(L, "x");
    r->steps = 0;
    lua_sethook(L, on_event, LUA_MASKCOUNT | LUA_MASKCALL | LUA_MASKRET, 100);
    int status = lua_pcall(L, 1, 2, 0);
    lua_sethook(L, NULL, 0, 0);
    out[0] = '\0';
    for (int i = 2; i <= lua_gettop(L) && n < RESULT_BYTES; i++) {
        const char *text = lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) : luaL_typename(L, i);
        n += (size_t)snprintf(out + n, RESULT_BYTES - n, "%d %.80s;", status, text);
    }
    return status == LUA_OK;
}

/* --- marking it --------------------------------------------------------------------------------------- */

static void push_module(lua_State *L, const char *name)
{
    const struct np_embedded_file *f = np_embedded_find(name);
    np_require(f && luaL_loadbufferx(L, (const char *)f->bytes, f->size, name, "t") == LUA_OK);
    lua_call(L, 0, 1);
}

/* Leaves the marked text and the local's name on the stack, or two nils. */
static void mark(lua_State *L, struct np_span text, const lua_Debug *hook)
{
    push_module(L, "neap/mark.lua");
    lua_getfield(L, -1, "mark");
    lua_pushlstring(L, text.p, text.n);
    push_module(L, "neap/lex.lua");
    lua_newtable(L);
    lua_newtable(L);
    lua_pushinteger(L, hook->linedefined);
    lua_setfield(L, -2, "first");
    lua_pushinteger(L, hook->lastlinedefined);
    lua_setfield(L, -2, "last");
    lua_rawseti(L, -2, 1);
    np_require(lua_pcall(L, 3, 2, 0) == LUA_OK);
}

/* The line that the function left in the local of this name; 0: it has no such. */
static int told(struct run *r, const char *name)
{
    const char *own;
    int line = 0;
    lua_rawgeti(r->L, LUA_REGISTRYINDEX, r->hook);
    for (int i = 1; (own = lua_getupvalue(r->L, -1, i)) != NULL; i++) {
        if (strcmp(own, name) == 0)
            line = (int)lua_tointeger(r->L, -1);
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
    return line;
}

/* A file that the compiler takes only just may be too much for it with more in it. */
static bool is_limit(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    return strstr(text, "too many") || strstr(text, "too long") || strstr(text, "overflow") ||
           strstr(text, "not enough memory");
}

/* plain: the file as it is, whose hook stands in the registry. exact: each return is in one line. */
static void compare(struct run *plain, struct np_span text, const char *name, const lua_Debug *hook,
                    bool exact)
{
    struct run marked;
    char want[RESULT_BYTES], got[RESULT_BYTES];
    run_open(&marked);
    if (load(&marked, text)) {
        bool good = call(plain, want), same = call(&marked, got) == good;
        bool spent = plain->spent || marked.spent;
        np_require(spent || (same && strcmp(want, got) == 0));
        int line = told(&marked, name);
        np_require(line >= hook->linedefined && line <= hook->lastlinedefined);
        if (!spent && good && marked.calls == 1 && !marked.handed)
            np_require(exact ? line == marked.returned : line <= marked.returned);
    } else {
        np_require(marked.spent || is_limit(marked.L));
    }
    lua_close(marked.L);
}

static void check(struct np_span text, bool exact)
{
    struct run plain;
    run_open(&plain);
    if (load(&plain, text)) {
        lua_Debug hook;
        lua_rawgeti(plain.L, LUA_REGISTRYINDEX, plain.hook);
        lua_getinfo(plain.L, ">S", &hook);
        lua_State *L = luaL_newstate();
        np_require(L != NULL);
        luaL_openlibs(L);
        mark(L, text, &hook);
        np_require(!exact || lua_isstring(L, -1));
        struct np_span marked;
        marked.p = lua_tolstring(L, -2, &marked.n);
        if (marked.p)
            compare(&plain, marked, lua_tostring(L, -1), &hook, exact);
        lua_close(L);
    }
    lua_close(plain.L);
}

/* --- a file of statements ----------------------------------------------------------------------------- */

struct writer {
    struct np_buf b;
    struct np_span in;
    unsigned n;
};

static void block(struct writer *w, int depth);

static void around(struct writer *w, int depth, const char *before, const char *behind)
{
    np_buf_puts(&w->b, before);
    block(w, depth - 1);
    np_buf_puts(&w->b, behind);
}

static void statement(struct writer *w, int depth)
{
    static const char *const plain[] = {
        "local v = a\n",
        "-- return end\n",
        "local s = [[ return\n end ]] .. 'end\\\nreturn'\n",
        "(tostring)(a);\n",
        "local t = { f = function() return 1 end }\nt.f()\n",
        "if a == 'x' then return 1, 'r' end\n",
        "if a == 'y' then return a else local b = a end\n",
        "do return a, 2 end\n",
        "do return (function(...) return ... end)(a, 3) end\n",
        "do return (tostring(a)), 'function' end\n",
        "local r = (function(x) if x then return x end return 4 end)(a)\n",
        ";;\n",
        "error('oh')\n",
        "a = a and 'y'\n"};
    static const char *const pairs[][2] = {
        {"if a then\n", "end\n"},
        {"if not a then\nlocal c = 1\nelse\n", "end\n"},
        {"for i = 1, 2 do\n", "end\n"},
        {"for k, v in pairs({ 1 }) do\n", "end\n"},
        {"while a do\n", "break end\n"},
        {"repeat\n", "until true\n"},
        {"do\n", "end\n"},
        {"pcall(function()\n", "end)\n"},
        {"local function f(x)\n", "end f(a)\n"},
        {"local g = function(x, ...)\n", "end local h = g(a)\n"}};
    unsigned kind = fuzz_byte(&w->in) % 25;
    if (kind < 14) {
        np_buf_puts(&w->b, plain[kind]);
    } else if (kind < 24 && depth > 0) {
        around(w, depth, pairs[kind - 14][0], pairs[kind - 14][1]);
    } else {
        w->n++;
        (void)np_buf_printf(&w->b, "do goto l%u end\n::l%u::\n", w->n, w->n);
    }
}

static void block(struct writer *w, int depth)
{
    for (unsigned n = fuzz_byte(&w->in) % 4; n > 0; n--)
        statement(w, depth);
}

static void compose(struct writer *w)
{
    np_buf_puts(&w->b, "local function before(x) return x end\nreturn function(a)\n");
    for (unsigned i = 0; w->in.n > 0 && i < 12; i++)
        statement(w, 4);
    np_buf_puts(&w->b, w->n % 2 ? "return before(a), 1\nend\n" : "end\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct writer w = {.in = np_span_make((const char *)data, n)};
    if (fuzz_byte(&w.in) % 2 == 0) {
        check(w.in, false);
        return 0;
    }
    np_buf_init(&w.b, 65536);
    compose(&w);
    np_require(!np_buf_failed(&w.b));
    check(np_buf_view(&w.b), true);
    np_buf_free(&w.b);
    return 0;
}
