/* Making and ending a state: the allocator with its caps, the libraries, the collector. */
#include "script/state.h"

#include <lualib.h>
#include <stdlib.h>

#include "script/api.h"
#include "script/json.h"
#include "script/lock.h"
#include "script/sandbox.h"

/* What a call that is over, for time or memory, may still have: blocks grow by little, so that it does not
 * go on; but new ones may be larger. As its levels end, Lua 5.4.4 copies its stack into a smaller block at
 * each; were that refused, it would collect all garbage each time, and the end of a deep call would take
 * a second. */
#define OVER_GROWN_BYTES ((size_t)4 << 10)
#define OVER_NEW_BYTES ((size_t)1 << 20)
/* When the collector is stepped between requests. */
#define COLLECT_BYTES ((size_t)64 << 10)
/* What must have been allocated before all garbage is collected for a call's sake. */
#define ROOM_BYTES ((size_t)4 << 20)
#define SCRATCH_KEEP_BYTES ((size_t)256 << 10)

static bool may_grow(const struct np_state *st, bool made, size_t block, size_t grow)
{
    if (st->struck || st->no_memory)
        return block <= (made ? OVER_NEW_BYTES : OVER_GROWN_BYTES) &&
               st->used_bytes + grow <= st->total_max + OVER_NEW_BYTES;
    return block <= st->block_max && st->used_bytes + grow <= st->total_max &&
           st->call_bytes + grow <= st->call_max;
}

static void on_overdrawn(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    np_state_stop_memory(L);
}

/* Where a block is refused, Lua collects all garbage first, which takes as long as there is to look at. So a
 * call that takes too much gets the block, and ends before its next instruction. Not a table that grows past
 * the greatest block: to fill the new one takes as long. */
static bool overdraw(struct np_state *st, bool made, size_t block, size_t grow)
{
    if (!st->limited || st->over_bytes + grow > NP_STATE_OVER_BYTES ||
        (!made && block > st->block_max))
        return false;
    st->over_bytes += grow;
    if (!st->overdrawn && !st->struck && !st->no_memory) {
        st->overdrawn = true;
        lua_sethook(st->L, on_overdrawn, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    }
    return true;
}

/* The lua_Alloc of every state. Shrinking never fails, as Lua wants it. */
static void *allocate(void *ud, void *p, size_t old_bytes, size_t bytes)
{
    struct np_state *st = ud;
    size_t old = p ? old_bytes : 0;
    if (bytes == 0) {
        free(p);
        st->used_bytes -= old;
        return NULL;
    }
    if (bytes > old && !may_grow(st, !p, bytes, bytes - old) &&
        !overdraw(st, !p, bytes, bytes - old)) {
        /* A block that grows may be Lua's own stack, whose pointers Lua 5.4.7 takes apart before it
         * asks: then nobody may look at it. */
        if (st->limited && !p)
            (void)np_state_find_line(st->L, &st->refused_at);
        return NULL;
    }
    void *q = realloc(p, bytes);
    if (!q)
        return bytes <= old ? p : NULL;
    st->used_bytes += bytes - old;
    if (bytes > old) {
        st->call_bytes += bytes - old;
        st->idle_bytes += bytes - old;
        st->full_bytes += bytes - old;
    }
    return q;
}

/* Only code outside of every protected call can come here, and there is none that may raise. */
static int on_panic(lua_State *L)
{
    (void)L;
    np_panic(__FILE__, __LINE__, "an error of Lua was met outside of a protected call");
}

static void open_libraries(lua_State *L)
{
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},  {NULL, NULL}};
    for (const luaL_Reg *l = libraries; l->name; l++) {
        luaL_requiref(L, l->name, l->func, 1);
        lua_pop(L, 1);
    }
    np_ljson_open(L);
    np_lock_open(L);
    np_ljson_push_lib(L, true);
    lua_setglobal(L, "json");
}

/* Protected: everything that a state needs before the first line of a policy. */
static int set_up(lua_State *L)
{
    struct np_state *st = np_state_of(L);
    luaL_checkstack(L, 64, NULL);
    open_libraries(L);
    lua_newtable(L);
    st->modules = luaL_ref(L, LUA_REGISTRYINDEX);
    st->env_maker = np_sandbox_open(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->env_maker);
    np_api_push(L);
    lua_call(L, 1, 1);
    st->env = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum np_err np_state_open(struct np_state *st, const struct np_policyset *set)
{
    memset(st, 0, sizeof *st);
    st->set = set;
    st->env = st->env_maker = st->modules = LUA_NOREF;
    st->total_max = NP_STATE_BYTES;
    st->block_max = st->call_max = NP_STATE_BLOCK_BYTES;
    np_buf_init(&st->scratch, NP_JSON_OUT_BYTES);
    st->L = lua_newstate(allocate, st);
    if (!st->L)
        return NP_E_NOMEM;
    *(struct np_state **)lua_getextraspace(st->L) = st;
    lua_atpanic(st->L, on_panic);
    lua_gc(st->L, LUA_GCSTOP);
    lua_pushcfunction(st->L, set_up);
    if (!np_state_call_trusted(st, 0, 0))
        return st->fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
    return NP_OK;
}

void np_state_close(struct np_state *st)
{
    if (st->L)
        lua_close(st->L);
    np_buf_free(&st->scratch);
    st->L = NULL;
}

struct np_state *np_state_new_sandboxed(const struct np_policyset *set)
{
    struct np_state *st = malloc(sizeof *st);
    if (!st)
        return NULL;
    if (np_state_open(st, set)) {
        np_state_free(st);
        return NULL;
    }
    return st;
}

void np_state_free(struct np_state *st)
{
    if (!st)
        return;
    np_state_close(st);
    free(st);
}

void np_state_collect(struct np_state *st, bool force)
{
    if (st->scratch.cap > SCRATCH_KEEP_BYTES)
        np_buf_free(&st->scratch);
    if (!force && st->idle_bytes < COLLECT_BYTES)
        return;
    /* A step pays what it is told and the debt that Lua has counted. From 5.4.5 on Lua forgets the
     * debt while the collector stands still, as it does within a call: so it is told all of it. */
    int kb = 1;
    if (LUA_VERSION_RELEASE_NUM >= 50405)
        kb += (int)(st->idle_bytes >> 10);
    st->idle_bytes = 0;
    lua_gc(st->L, LUA_GCSTEP, kb);
}

/* Garbage of those before must not take what a call may have; but where it is no garbage that stands in the
 * way, looking for some again and again is of no use. */
void np_state_make_room(struct np_state *st)
{
    if (st->used_bytes + NP_STATE_CALL_BYTES <= NP_STATE_BYTES || st->full_bytes < ROOM_BYTES ||
        st->full_bytes < st->kept_bytes)
        return;
    st->idle_bytes = st->full_bytes = 0;
    lua_gc(st->L, LUA_GCCOLLECT);
    st->kept_bytes = st->used_bytes;
}

static int run_embedded(lua_State *L)
{
    const struct np_embedded_file *file = lua_touserdata(L, 1);
    char name[96];
    snprintf(name, sizeof name, "@%s", file->name);
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, name, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    return 1;
}

const struct np_embedded_file *np_embedded_find(const char *name)
{
    for (size_t i = 0; i < np_embedded_count; i++)
        if (strcmp(np_embedded_files[i].name, name) == 0)
            return &np_embedded_files[i];
    return NULL;
}

bool np_state_run_embedded(struct np_state *st, const char *name)
{
    const struct np_embedded_file *file = np_embedded_find(name);
    np_require(file);
    lua_pushcfunction(st->L, run_embedded);
    lua_pushlightuserdata(st->L, (void *)(uintptr_t)file);
    return np_state_call_trusted(st, 1, 1);
}
