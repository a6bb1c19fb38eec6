/* A hook that is held, looked into. All Lua that runs here runs in a thread of its own, as the held one
 * has its hooks switched off and could not be stopped. What it takes is not the hook's. */
#include "script/frame.h"

#include <lauxlib.h>
#include <stdio.h>

#include "script/request.h"
#include "script/show.h"

#define PRINT_STEPS 1000000
#define STEPS_A_LOOK 1000
#define MAX_LOCALS 200
#define MAX_LEVELS 64
#define VALUE_LINES 8
#define TRACE_BYTES 40
#define TRACE_COLUMN 56

/* --- world ----------------------------------------------------------------------------------------------- */

static int open_module(lua_State *L)
{
    np_show_open(L);
    return 1;
}

bool np_frame_open(struct np_frame_world *w, struct np_script *s)
{
    lua_State *L = s->state.L;
    if (!np_state_run_embedded(&s->state, "neap/console.lua"))
        return false;
    lua_pushcfunction(L, open_module);
    lua_insert(L, -2);
    if (!np_state_call_trusted(&s->state, 1, 1))
        return false;
    w->module = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    w->traced = luaL_ref(L, LUA_REGISTRYINDEX);
    return true;
}

void np_frame_close(struct np_frame_world *w, struct np_script *s)
{
    luaL_unref(s->state.L, LUA_REGISTRYINDEX, w->module);
    luaL_unref(s->state.L, LUA_REGISTRYINDEX, w->traced);
}

/* --- places ---------------------------------------------------------------------------------------------- */

bool np_frame_of(struct np_frame *f, lua_State *L, const lua_Debug *ar, const struct np_script *s)
{
    f->L = L;
    f->ar = *ar;
    lua_getinfo(L, "Sl", &f->ar);
    if (f->ar.source[0] != '@')
        return false;
    const struct np_set_file *file = np_set_file_find(s->set, f->ar.source + 1);
    if (!file)
        return false;
    f->file = file->name;
    f->line = (unsigned)f->ar.currentline;
    lua_Debug level;
    f->depth = 0;
    while (lua_getstack(L, f->depth, &level))
        f->depth++;
    return true;
}

static struct np_span line_of(const struct np_script *s, const char *name, unsigned line)
{
    const struct np_set_file *f = np_set_file_find(s->set, name);
    if (!f)
        return NP_SPAN_NONE;
    const char *p = f->source.p, *end = p + f->source.n;
    for (; line > 1 && p < end; line--) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        p = next ? next + 1 : end;
    }
    const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return np_span_make(p, (size_t)((stop ? stop : end) - p));
}

struct np_span np_frame_source(const struct np_frame *f, const struct np_script *s)
{
    return line_of(s, f->file, f->line);
}

void np_frame_where(struct np_frame *f, const struct np_script *s, struct np_buf *out)
{
    lua_Debug ar;
    for (int level = 0; level < MAX_LEVELS && lua_getstack(f->L, level, &ar); level++) {
        lua_getinfo(f->L, "Sln", &ar);
        if (ar.currentline <= 0)
            continue;
        struct np_span source = line_of(s, ar.source + 1, (unsigned)ar.currentline);
        np_buf_printf(out, "%s:%d  %s  %.*s\n", ar.short_src, ar.currentline,
                      ar.name ? ar.name : "(the hook)", (int)source.n, source.p ? source.p : "");
    }
}

/* --- variables -------------------------------------------------------------------------------------------- */

/* Whether a variable is the policy's: Lua has some of its own, and one is the file's mark (mark.h). */
static bool is_named(const struct np_frame *f, const char *name)
{
    const struct np_set_file *file = np_set_file_find(np_state_of(f->L)->set, f->file);
    return name[0] != '(' && (!file || !file->mark || strcmp(name, file->mark) != 0);
}

/* Pushes a table of what the frame's code can name, upvalues, then locals, which hide them, and req,
 * whatever the hook calls it. */
static void push_variables(struct np_frame *f)
{
    lua_State *L = f->L;
    const char *name;
    lua_newtable(L);
    np_req_push(L, np_state_of(L)->script);
    lua_setfield(L, -2, "req");
    lua_getinfo(L, "f", &f->ar);
    for (int i = 1; i <= MAX_LOCALS && (name = lua_getupvalue(L, -1, i)); i++) {
        if (is_named(f, name))
            lua_setfield(L, -3, name);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
    for (int i = 1; i <= MAX_LOCALS && (name = lua_getlocal(L, &f->ar, i)); i++) {
        if (is_named(f, name))
            lua_setfield(L, -2, name);
        else
            lua_pop(L, 1);
    }
    lua_getfield(L, -1, "_ENV");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_rawgeti(L, LUA_REGISTRYINDEX, np_state_of(L)->env);
    }
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* --- running beside the hook ---------------------------------------------------------------------------- */

/* Saved of the hook that is held. */
struct beside {
    struct np_state *st;
    lua_State *thread;
    int64_t steps_left;
    size_t call_bytes, call_max, total_max;
    struct np_script_fault fault;
    bool fault_set, stopped, no_memory;
    sig_atomic_t struck;
};

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct np_state *st = np_state_of(L);
    (void)ar;
    st->steps_left -= STEPS_A_LOOK;
    if (st->steps_left <= 0)
        luaL_error(L, "stopped: it took more than %d steps", PRINT_STEPS);
}

/* Leaves the new thread on the held one's stack. */
static void begin_beside(struct np_frame *f, struct beside *b)
{
    struct np_state *st = np_state_of(f->L);
    *b = (struct beside){.st = st,
                         .steps_left = st->steps_left,
                         .call_bytes = st->call_bytes,
                         .call_max = st->call_max,
                         .total_max = st->total_max,
                         .struck = st->struck,
                         .stopped = st->stopped,
                         .no_memory = st->no_memory,
                         .fault = st->fault,
                         .fault_set = st->fault_set};
    st->steps_left = PRINT_STEPS;
    st->call_max = NP_TRUSTED_BYTES;
    st->total_max = NP_TRUSTED_BYTES;
    b->thread = lua_newthread(f->L);
    lua_sethook(b->thread, on_count, LUA_MASKCOUNT, STEPS_A_LOOK);
}

static void end_beside(struct np_frame *f, const struct beside *b)
{
    struct np_state *st = b->st;
    st->steps_left = b->steps_left;
    st->call_bytes = b->call_bytes;
    st->call_max = b->call_max;
    st->total_max = b->total_max;
    st->struck = b->struck;
    st->stopped = b->stopped;
    st->no_memory = b->no_memory;
    st->fault = b->fault;
    st->fault_set = b->fault_set;
    lua_pop(f->L, 1);
}

/* What is wrong, from the top of the thread. */
static void put_error(const struct beside *b, struct np_buf *out)
{
    const char *text = lua_tostring(b->thread, -1);
    if (text && strncmp(text, "p:1: ", 5) == 0)
        text += 5;
    np_buf_printf(out, "%s\n", text ? text : "the error is not a text");
}

/* Compiles and calls an expression on the thread; its values are left there. */
static bool evaluate(struct np_frame *f, const struct beside *b, struct np_span text, int n_results,
                     struct np_buf *out)
{
    char code[1024];
    int n = snprintf(code, sizeof code, "return %.*s", (int)text.n, text.p);
    if (n < 0 || (size_t)n >= sizeof code) {
        np_buf_puts(out, "the expression is too long\n");
        return false;
    }
    push_variables(f);
    lua_xmove(f->L, b->thread, 1);
    if (luaL_loadbufferx(b->thread, code, (size_t)n, "=p", "t") != LUA_OK) {
        put_error(b, out);
        return false;
    }
    lua_insert(b->thread, -2);
    if (!lua_setupvalue(b->thread, -2, 1))
        lua_pop(b->thread, 1);
    if (lua_pcall(b->thread, 0, n_results, 0) == LUA_OK)
        return true;
    put_error(b, out);
    return false;
}

/* Protected: 1 name of a function of the module, 2 its number in the registry, 3 the value. */
static int show(lua_State *L)
{
    const char *name = lua_tostring(L, 1);
    np_show_call(L, (int)lua_tointeger(L, 2), name, 1);
    return 1;
}

/* Replaces the value on the thread's top by its text. */
static const char *to_text(const struct beside *b, const struct np_frame_world *w,
                           const char *helper)
{
    lua_State *L = b->thread;
    b->st->steps_left = PRINT_STEPS;
    lua_pushcfunction(L, show);
    lua_insert(L, -2);
    lua_pushstring(L, helper);
    lua_insert(L, -2);
    lua_pushinteger(L, w->module);
    lua_insert(L, -2);
    (void)lua_pcall(L, 3, 1, 0);
    const char *text = lua_tostring(L, -1);
    return text ? text : "?";
}

/* The first lines of a text, each behind an indent but the first. */
static void put_lines(struct np_buf *out, const char *text, const char *indent)
{
    for (unsigned n = 0; *text; n++) {
        size_t length = strcspn(text, "\n");
        if (n == VALUE_LINES) {
            np_buf_printf(out, "%s…\n", indent);
            return;
        }
        np_buf_printf(out, "%s%.*s\n", n ? indent : "", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

/* --- what is asked ---------------------------------------------------------------------------------------- */

void np_frame_locals(struct np_frame *f, struct np_frame_world *w, struct np_buf *out)
{
    const char *name;
    bool any = false;
    for (int i = 1; i <= MAX_LOCALS; i++) {
        struct beside b;
        begin_beside(f, &b);
        name = lua_getlocal(f->L, &f->ar, i);
        bool named = name && is_named(f, name);
        if (name && !named)
            lua_pop(f->L, 1);
        if (named) {
            lua_xmove(f->L, b.thread, 1);
            np_buf_printf(out, "%s = ", name);
            put_lines(out, to_text(&b, w, "show"), "  ");
            any = true;
        }
        end_beside(f, &b);
        if (!name)
            break;
    }
    if (!any)
        np_buf_puts(out, "there are no locals here\n");
}

void np_frame_print(struct np_frame *f, struct np_frame_world *w, struct np_span text,
                    struct np_buf *out)
{
    struct beside b;
    if (text.n == 0) {
        np_buf_puts(out, "p wants an expression: p req.metadata\n");
        return;
    }
    begin_beside(f, &b);
    if (evaluate(f, &b, text, 1, out))
        np_buf_printf(out, "%s\n", to_text(&b, w, "show"));
    end_beside(f, &b);
}

bool np_frame_test(struct np_frame *f, struct np_frame_world *w, struct np_span text, bool *yes,
                   struct np_buf *out)
{
    struct beside b;
    (void)w;
    begin_beside(f, &b);
    bool ok = evaluate(f, &b, text, 1, out);
    if (ok)
        *yes = lua_toboolean(b.thread, -1);
    end_beside(f, &b);
    return ok;
}

/* --- tracing ---------------------------------------------------------------------------------------------- */

/* Pushes the table of texts of this call of this function, a new one when it is another call. */
static void push_traced(struct np_frame *f, const struct np_frame_world *w)
{
    lua_State *L = f->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->traced);
    lua_getinfo(L, "f", &f->ar);
    bool known = lua_rawgeti(L, -2, f->depth) == LUA_TTABLE;
    if (known) {
        lua_rawgeti(L, -1, 0);
        known = lua_rawequal(L, -1, -3);
        lua_pop(L, 1);
    }
    if (!known) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, 0);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, f->depth);
    }
    /* What lies deeper is over. */
    lua_pushnil(L);
    lua_rawseti(L, -4, f->depth + 1);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* Says the local on the thread's top when its text is another one than before. */
static void put_change(struct np_frame *f, const struct beside *b, const struct np_frame_world *w,
                       const char *name, bool *any, struct np_buf *out)
{
    const char *text = to_text(b, w, "short");
    /* held: … traced, thread */
    lua_getfield(f->L, -2, name);
    const char *before = lua_tostring(f->L, -1);
    bool same = before && strcmp(before, text) == 0;
    lua_pop(f->L, 1);
    if (same)
        return;
    lua_pushstring(f->L, text);
    lua_setfield(f->L, -3, name);
    np_buf_printf(out, "%s%s = %s", *any ? ", " : "  -- ", name, text);
    *any = true;
}

void np_frame_trace(struct np_frame *f, struct np_frame_world *w, const struct np_script *s,
                    struct np_buf *out)
{
    struct np_span source = np_frame_source(f, s);
    const char *name;
    bool any = false;
    size_t from = out->n;
    np_buf_printf(out, "%s:%-4u %.*s", f->file, f->line, (int)source.n, source.p ? source.p : "");
    if (out->n - from < TRACE_COLUMN)
        np_buf_printf(out, "%*s", (int)(TRACE_COLUMN - (out->n - from)), "");
    push_traced(f, w);
    struct beside b;
    begin_beside(f, &b);
    for (int i = 1; i <= MAX_LOCALS && (name = lua_getlocal(f->L, &f->ar, i)); i++) {
        if (!is_named(f, name) || strcmp(name, "_") == 0) {
            lua_pop(f->L, 1);
            continue;
        }
        lua_xmove(f->L, b.thread, 1);
        put_change(f, &b, w, name, &any, out);
        lua_settop(b.thread, 0);
    }
    end_beside(f, &b);
    lua_pop(f->L, 1);
    while (out->n > from && out->p[out->n - 1] == ' ')
        out->n--;
    np_buf_char(out, '\n');
}
