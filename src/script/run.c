/* Calling Lua: within the limits or trusted, and what went wrong, with file and line. */
#include "script/state.h"

#include <stdarg.h>
#include <stdio.h>

#include "script/limits.h"
#include "script/mark.h"

#define ERROR_BYTES 200
#define BYTECODE_BYTES ((size_t)8 << 20)
/* How many levels of the stack are looked through for the line of a policy. */
#define LEVELS 32
/* A trusted call that leaves more than this is cleaned up after at once. */
#define TRUSTED_LEFT_BYTES (NP_STATE_BYTES / 4 * 3)

static void set_place(struct np_script_fault *f, const lua_Debug *ar, int line)
{
    snprintf(f->file, sizeof f->file, "%s", ar->short_src);
    f->line = (unsigned)line;
}

bool np_state_find_line(lua_State *L, struct np_script_fault *f)
{
    lua_Debug ar;
    f->file[0] = '\0';
    f->line = 0;
    for (int level = 0; level < LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            set_place(f, &ar, ar.currentline);
            return true;
        }
    }
    return false;
}

/* Where the innermost Lua function stands; when there is none, where the hook returned whose answer is
 * judged (or begins, where that is not known), or where memory was refused; else file "". */
static void find_place(lua_State *L, struct np_script_fault *f)
{
    struct np_state *st = np_state_of(L);
    if (np_state_find_line(L, f))
        return;
    if (st->judged != LUA_NOREF) {
        lua_Debug ar;
        lua_rawgeti(L, LUA_REGISTRYINDEX, st->judged);
        unsigned line = st->judged_mark->file ? np_mark_line(L, -1, st->judged_mark) : 0;
        lua_getinfo(L, ">S", &ar);
        if (ar.linedefined > 0) /* else it is one of ours, in C */
            set_place(f, &ar, line ? (int)line : ar.linedefined);
    } else if (st->refused_at.file[0]) {
        memcpy(f->file, st->refused_at.file, sizeof f->file);
        f->line = st->refused_at.line;
    }
}

/* Appends printable text: control bytes and bytes that are not ASCII text of UTF-8 are escaped. */
static void put_safe(struct np_script_fault *f, size_t at, struct np_span text)
{
    size_t n = at;
    for (size_t i = 0; i < text.n && i < ERROR_BYTES && n + 5 < sizeof f->text; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(f->text + n, sizeof f->text - n, "\\x%02x", c);
        else
            f->text[n++] = (char)c;
    }
    /* Not in the middle of a character. */
    if (text.n > ERROR_BYTES)
        while (n > at && ((unsigned char)f->text[n - 1] & 0x80))
            n--;
    f->text[n] = '\0';
}

/* "route.lua:14: text" says itself where it comes from. */
static bool names_place(struct np_span text, struct np_script_fault *f)
{
    char file[sizeof f->file];
    unsigned line;
    int end = 0;
    char head[sizeof f->file + 16];
    size_t n = text.n < sizeof head - 1 ? text.n : sizeof head - 1;
    memcpy(head, text.p, n);
    head[n] = '\0';
    if (sscanf(head, "%63[A-Za-z0-9_./-]:%u:%n", file, &line, &end) != 2 || end == 0)
        return false;
    memcpy(f->file, file, sizeof file);
    f->line = line;
    return true;
}

static void set_fault(struct np_state *st, enum np_fault_kind kind, struct np_span text)
{
    struct np_script_fault *f = &st->fault;
    f->kind = kind;
    size_t at = 0;
    if (!names_place(text, f) && f->file[0])
        at = (size_t)snprintf(f->text, sizeof f->text, "%s:%u: ", f->file, f->line);
    put_safe(f, at, text);
    st->fault_set = true;
}

/* ------------------------------------------------------------------------------ raised errors */

static void set_stop_fault(struct np_state *st)
{
    bool interrupted = st->interrupt && *st->interrupt;
    set_fault(st, NP_FAULT_KIND_TIME,
              interrupted ? NP_SPAN("stopped by Ctrl-C")
              : st->timed ? NP_SPAN("stopped: it took more CPU time than a hook may")
                          : NP_SPAN("stopped: it took more steps than a hook may"));
}

_Noreturn void np_state_stop_memory(lua_State *L)
{
    struct np_state *st = np_state_of(L);
    if (!st->no_memory)
        (void)np_state_find_line(L, &st->refused_at);
    st->no_memory = true;
    lua_pushlightuserdata(L, st);
    lua_error(L);
    __builtin_unreachable();
}

/* The first strike alone is written down: what is raised while the stack unwinds says nothing. */
_Noreturn void np_state_stop(lua_State *L)
{
    struct np_state *st = np_state_of(L);
    if (st->overdrawn && !st->stopped)
        np_state_stop_memory(L); /* that came first */
    if (!st->stopped) {
        st->stopped = true;
        find_place(L, &st->fault);
        set_stop_fault(st);
    }
    lua_pushlightuserdata(L, st);
    lua_error(L);
    __builtin_unreachable();
}

void np_state_poll(lua_State *L, int64_t work)
{
    struct np_state *st = np_state_of(L);
    if (!st->limited)
        return;
    np_limit_breathe();
    if (!st->timed) {
        st->steps_left -= work;
        if (st->steps_left <= 0)
            st->struck = 1;
    }
    if (st->struck)
        np_state_stop(L);
    if (st->overdrawn)
        np_state_stop_memory(L);
}

int np_state_type_error(lua_State *L, const char *fmt, ...)
{
    char text[NP_FAULT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct np_script_fault place;
    find_place(L, &place);
    if (place.file[0])
        lua_pushfstring(L, "%s:%d: %s", place.file, (int)place.line, text);
    else
        lua_pushstring(L, text);
    np_state_of(L)->type_error = lua_tostring(L, -1);
    return lua_error(L);
}

void np_state_rethrow(lua_State *L, int status)
{
    struct np_state *st = np_state_of(L);
    if (st->struck)
        np_state_stop(L);
    if (status == LUA_ERRMEM || st->no_memory) {
        st->no_memory = true;
        lua_error(L);
    }
}

/* The message handler: runs where the error was raised, so that it knows the line. Calls nothing
 * that a policy could have replaced. */
static int on_error(lua_State *L)
{
    struct np_state *st = np_state_of(L);
    if (st->stopped || st->no_memory)
        return 1;
    find_place(L, &st->fault);
    size_t n;
    switch (lua_type(L, 1)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: {
        const char *p = lua_tolstring(L, 1, &n);
        bool type = p == st->type_error || strstr(p, "bad argument #");
        set_fault(st, type ? NP_FAULT_KIND_TYPE : NP_FAULT_KIND_ERROR, np_span_make(p, n));
        break;
    }
    default: {
        char text[64];
        snprintf(text, sizeof text, "the error is a %s, not a text", luaL_typename(L, 1));
        set_fault(st, NP_FAULT_KIND_ERROR, np_span_of(text));
    }
    }
    return 1;
}

/* ------------------------------------------------------------------------------------- calls */

/* st->fault is filled, or what the status says goes into it. */
static void take_fault(struct np_state *st, int status, bool struck)
{
    lua_State *L = st->L;
    if (st->stopped)
        return;
    if (status == LUA_ERRMEM || st->no_memory) {
        st->fault.line = st->refused_at.file[0] ? st->refused_at.line : 0;
        memcpy(st->fault.file, st->refused_at.file, sizeof st->fault.file);
        /* After the strike blocks are refused that would else have been given. */
        if (struck && !st->overdrawn) {
            set_stop_fault(st);
            return;
        }
        st->spoiled = true;
        set_fault(st, NP_FAULT_KIND_MEMORY, NP_SPAN("stopped: it took more memory than it may"));
    } else if (!st->fault_set) {
        size_t n;
        st->fault.file[0] = '\0';
        st->fault.line = 0;
        const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
        set_fault(st, NP_FAULT_KIND_ERROR, p ? np_span_make(p, n) : NP_SPAN("an error"));
    }
}

static void begin(struct np_state *st)
{
    st->fault_set = st->stopped = st->no_memory = st->overdrawn = false;
    st->over_bytes = 0;
    st->judged = LUA_NOREF;
    st->refused_at.file[0] = '\0';
    st->type_error = NULL;
    st->call_bytes = 0;
}

int np_state_push_handler(struct np_state *st)
{
    lua_pushcfunction(st->L, on_error);
    return lua_gettop(st->L);
}

bool np_state_call_kept(struct np_state *st, int handler, int n_args, int n_results,
                        const struct np_limit *limit)
{
    struct np_limit_frame frame;
    begin(st);
    st->call_max = NP_STATE_CALL_BYTES;
    np_limit_enter(st, limit, &frame);
    int status = lua_pcall(st->L, n_args, n_results, handler);
    bool struck = np_limit_leave(st, &frame);
    if (status == LUA_OK)
        return true;
    take_fault(st, status, struck);
    lua_pop(st->L, 1);
    return false;
}

/* The function and its arguments are on the stack; the handler goes below them. */
static int insert_handler(struct np_state *st, int n_args)
{
    int handler = np_state_push_handler(st) - n_args - 1;
    lua_insert(st->L, handler);
    return handler;
}

bool np_state_call(struct np_state *st, int n_args, int n_results, const struct np_limit *limit)
{
    int handler = insert_handler(st, n_args);
    bool ok = np_state_call_kept(st, handler, n_args, n_results, limit);
    lua_remove(st->L, handler);
    return ok;
}

bool np_state_call_trusted(struct np_state *st, int n_args, int n_results)
{
    int handler = insert_handler(st, n_args);
    struct np_state *outer = np_limit_running;
    begin(st);
    st->total_max = st->call_max = NP_TRUSTED_BYTES;
    st->block_max = NP_TRUSTED_BLOCK_BYTES;
    if (outer != st)
        np_limit_running = NULL; /* a stop may only unwind the state that is stopped */
    int status = lua_pcall(st->L, n_args, n_results, handler);
    np_limit_running = outer;
    st->total_max = NP_STATE_BYTES;
    st->block_max = NP_STATE_BLOCK_BYTES;
    if (status != LUA_OK) {
        take_fault(st, status, false);
        lua_pop(st->L, 1);
    }
    lua_remove(st->L, handler);
    if (st->used_bytes > TRUSTED_LEFT_BYTES)
        lua_gc(st->L, LUA_GCCOLLECT);
    return status == LUA_OK;
}

/* ----------------------------------------------------------------------------------- loading */

bool np_state_load(struct np_state *st, struct np_span code, bool bytecode, const char *chunk_name,
                   int env_index)
{
    lua_State *L = st->L;
    env_index = env_index ? lua_absindex(L, env_index) : 0;
    begin(st);
    st->call_max = NP_STATE_BYTES;
    int status = luaL_loadbufferx(L, code.p, code.n, chunk_name, bytecode ? "b" : "t");
    if (status != LUA_OK) {
        take_fault(st, status, false);
        lua_pop(L, 1);
        return false;
    }
    if (env_index)
        lua_pushvalue(L, env_index);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, st->env);
    if (!lua_setupvalue(L, -2, 1))
        lua_pop(L, 1);
    return true;
}

bool np_state_load_file(struct np_state *st, const struct np_set_file *file, int env_index)
{
    char name[NP_FAULT_BYTES];
    snprintf(name, sizeof name, "@%s", file->name);
    bool compiled = file->bytecode.n > 0;
    return np_state_load(st, compiled ? file->bytecode : file->source, compiled, name, env_index);
}

static int put_bytes(lua_State *L, const void *p, size_t n, void *ud)
{
    (void)L;
    return np_buf_put(ud, p, n) ? 1 : 0;
}

static int dump(lua_State *L)
{
    struct np_buf *out = lua_touserdata(L, 2);
    lua_pushvalue(L, 1);
    if (lua_dump(L, put_bytes, out, 0) != 0)
        return luaL_error(L, "the compiled code is too large");
    return 0;
}

bool np_state_dump(struct np_state *st, struct np_arena *arena, struct np_span *out)
{
    struct np_buf code;
    lua_State *L = st->L;
    np_buf_init(&code, BYTECODE_BYTES);
    lua_pushcfunction(L, dump);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, &code);
    bool good = np_state_call_trusted(st, 2, 0);
    *out = good ? np_arena_dup(arena, np_buf_view(&code)) : NP_SPAN_NONE;
    np_buf_free(&code);
    return good;
}

static int env_of_functions(lua_State *L)
{
    const luaL_Reg *extra = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, np_state_of(L)->env_maker);
    lua_newtable(L);
    if (extra)
        luaL_setfuncs(L, extra, 0);
    lua_call(L, 1, 1);
    return 1;
}

bool np_state_push_env(struct np_state *st, const luaL_Reg *extra)
{
    lua_pushcfunction(st->L, env_of_functions);
    lua_pushlightuserdata(st->L, (void *)(uintptr_t)extra);
    return np_state_call_trusted(st, 1, 1);
}
