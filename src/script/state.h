/* Inside of script/ only: a Lua state with its caps, its sandbox and its limits. A state belongs to
 * one thread at a time. No Lua runs in it but through np_state_call (code of policies, within the
 * limits) or np_state_call_trusted (neap's own Lua: adapters, the schema).
 *
 * The collector is stopped from birth and is stepped by np_state_collect alone, so that no hook pays
 * for the garbage of others. */
#ifndef NP_SCRIPT_STATE_H
#define NP_SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "base/buf.h"
#include "model/exchange.h"
#include "script/embedded.h"
#include "script/limiter.h"
#include "script/policyset_impl.h"
#include "script/powers.h"

#include <signal.h>

#define NP_STATE_BYTES ((size_t)16 << 20)
#define NP_STATE_BLOCK_BYTES ((size_t)4 << 20)
#define NP_STATE_CALL_BYTES ((size_t)8 << 20) /* new memory within one call; for fairness */
#define NP_STATE_OVER_BYTES \
    ((size_t)8 << 20) /* what a call may take beyond all that, while it is ended */
#define NP_TRUSTED_BYTES ((size_t)64 << 20) /* while neap's own Lua runs */
#define NP_TRUSTED_BLOCK_BYTES ((size_t)32 << 20)
#define NP_HOOK_CPU_NS UINT64_C(5000000)
#define NP_REQUEST_HOOKS_NS UINT64_C(25000000)
#define NP_HOOK_STEPS 1000000
#define NP_FAULT_BYTES 256

/* Why a call failed; the values of np_hook_failure in metrics/meters.h. */
enum np_fault_kind {
    NP_FAULT_KIND_ERROR,
    NP_FAULT_KIND_TIME,
    NP_FAULT_KIND_MEMORY,
    NP_FAULT_KIND_TYPE
};

struct np_script_fault {
    enum np_fault_kind kind;
    char text
        [NP_FAULT_BYTES]; /* "route.lua:14: …"; control bytes escaped, at most 200 of the error */
    char file[64];        /* "" unknown */
    unsigned line;        /* 0 unknown */
};

/* What one call may take: CPU time when it is timed, else steps. Where the
 * system gives no timer, a timed call is bounded by its steps. */
struct np_limit {
    bool timed;
    uint64_t cpu_ns;
    int64_t steps;
};

extern const struct np_limit np_limit_steps; /* NP_HOOK_STEPS, not timed */

/* Whoever wants to see each line before it runs, of calls that are bounded by steps. */
struct np_line_watch {
    void (*on)(void *ctx, lua_State *L, lua_Debug *ar);
    void *ctx;
};

/* Where a function tells the line of its return (mark.h). */
struct np_mark {
    const char *file; /* that it stands in; NULL: it does not tell */
    int upvalue;
};

struct np_state {
    lua_State *L;
    /* Allocator. */
    size_t used_bytes, total_max, block_max;
    size_t call_bytes, call_max; /* since the call began */
    size_t idle_bytes;           /* since the last step of the collector */
    size_t full_bytes;           /* since room was made last, and what was kept then */
    size_t kept_bytes;
    bool spoiled; /* a call ran out of memory: replace the state */
    /* The limits of the call that runs. */
    volatile sig_atomic_t struck; /* set by the handler of ticks, or when steps ran out */
    bool limited, timed;          /* a limited call runs; by time, not steps */
    bool stopped;                 /* the stop was raised; fault tells where it struck first */
    bool no_memory;               /* a protected call within it ran out of memory */
    bool overdrawn;               /* it has taken more memory than it may: it ends at once */
    size_t over_bytes;            /* how much more */
    bool fault_set;
    uint64_t limit_ns;
    uint64_t cpu_ns; /* what the last timed call took, a tick more than less; 0: less than a tick */
    /* Of a call that is bounded by steps. */
    int64_t steps_given, steps_left;
    int stride;                             /* steps until Lua looks again */
    const struct np_line_watch *lines;      /* NULL: nobody */
    const volatile sig_atomic_t *interrupt; /* a call by steps ends once it is set; may be NULL */
    const char
        *cover_source; /* the chunk whose lines ran last, and which file of the cover it is */
    size_t cover_file;
    struct np_script_fault fault;      /* of the last call that failed */
    struct np_script_fault refused_at; /* file and line where memory was refused last */
    const void *type_error;            /* text of the last error of kind type, by address */
    int judged; /* registry: the hook whose answer is judged; LUA_NOREF: none */
    const struct np_mark *judged_mark; /* where that hook tells its line */
    /* Kept for reuse between calls. */
    struct np_buf scratch;
    int env_maker;                      /* registry: function(extra) that makes one */
    int env;                            /* registry: the environment of hooks and libraries */
    int modules;                        /* registry: name -> what the library returned */
    const void *lock_meta, *array_meta; /* metatables by address: views, arrays of JSON */
    const struct np_policyset *set;     /* where require looks; may be NULL */
    struct np_script *script;           /* NULL: a bare state */
    bool testing;                       /* a test runs in it, no file is loaded */
};

/* A capped state with the sandbox in place; NULL without memory. set may be NULL (no require). */
struct np_state *np_state_new_sandboxed(const struct np_policyset *set);
void np_state_free(struct np_state *st);
enum np_err np_state_open(struct np_state *st, const struct np_policyset *set) NP_MUST_CHECK;
void np_state_close(struct np_state *st);

static inline struct np_state *np_state_of(lua_State *L)
{
    return *(struct np_state **)lua_getextraspace(L);
}

/* Pushes an environment for policy code: all that the sandbox offers and the functions of `extra`
 * (ended by a NULL name; may be NULL). It is read-only for the code. False without memory. */
bool np_state_push_env(struct np_state *st, const luaL_Reg *extra) NP_MUST_CHECK;

/* Loads a chunk of text (or of bytecode that we made ourselves) and pushes its function with the
 * environment at env_index (0: the policies' own). chunk_name: "@route.lua". On failure false,
 * nothing is pushed and st->fault says why, with file and line. */
bool np_state_load(struct np_state *st, struct np_span code, bool bytecode, const char *chunk_name,
                   int env_index) NP_MUST_CHECK;
/* Loads a file of the set, by its bytecode where it has some. */
bool np_state_load_file(struct np_state *st, const struct np_set_file *file,
                        int env_index) NP_MUST_CHECK;

/* Puts the bytecode of the chunk on the stack's top, which stays there, into the arena. False: st->fault says
 * why. True with *out none: the arena is full. */
bool np_state_dump(struct np_state *st, struct np_arena *arena, struct np_span *out) NP_MUST_CHECK;

/* Calls the function below its n_args arguments within the limit. On success its n_results are on
 * the stack. On failure false, the stack is as it was below the function, and st->fault is filled. */
bool np_state_call(struct np_state *st, int n_args, int n_results,
                   const struct np_limit *limit) NP_MUST_CHECK;
/* The same with a message handler that stays on the stack, below the function (np_state_push_handler
 * gives its index): what a call costs is mostly moving things on the stack. */
bool np_state_call_kept(struct np_state *st, int handler, int n_args, int n_results,
                        const struct np_limit *limit) NP_MUST_CHECK;
int np_state_push_handler(struct np_state *st);
/* The same as np_state_call for neap's own Lua: no time limit, wider caps. */
bool np_state_call_trusted(struct np_state *st, int n_args, int n_results) NP_MUST_CHECK;

/* Pushes what a file of the runtime's Lua returns ("neap/sandbox.lua"), run as trusted code with the
 * plain libraries in its environment. False: st->fault says why. */
bool np_state_run_embedded(struct np_state *st, const char *name) NP_MUST_CHECK;

/* A file of the runtime's Lua; NULL when the build has none of this name. */
const struct np_embedded_file *np_embedded_find(const char *name);

/* Before a call: whatever calls before it left behind, it can have its 8 MiB, where no more than 4 MiB are
 * kept. Never inside a call. */
void np_state_make_room(struct np_state *st);
/* Steps the collector when enough has gathered, or always with force. Never inside a call. */
void np_state_collect(struct np_state *st, bool force);

/* Writes file and line of the innermost Lua function into *f; false when there is none. Safe within
 * the allocator. */
bool np_state_find_line(lua_State *L, struct np_script_fault *f);
/* Ends the running call: notes the place of the first strike and raises. */
_Noreturn void np_state_stop(lua_State *L);
/* Ends the running call for want of memory: notes the place once and raises. */
_Noreturn void np_state_stop_memory(lua_State *L);
/* For long C functions that policies can reach: counts `work` (about a VM instruction each) and
 * raises the stop when the call is past its limit. */
void np_state_poll(lua_State *L, int64_t work);
/* Raises an error of kind type with file and line of the Lua code that called. */
int np_state_type_error(lua_State *L, const char *fmt, ...) NP_PRINTF(2, 3);
/* Raises when memory was refused or the stop has come: for whoever catches errors (our pcall). */
void np_state_rethrow(lua_State *L, int status);

#endif
