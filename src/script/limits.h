/* Inside of script/ only: what run.c and the limiter know of each other. What each call passes is here,
 * so that it is compiled into the call. */
#ifndef NP_SCRIPT_LIMITS_H
#define NP_SCRIPT_LIMITS_H

#include "script/state.h"

#include <stdatomic.h>

/* How often a timed call is looked at. */
#define NP_LIMIT_TICK_NS 1000000

/* The limiter of one thread. Written by its thread alone: by calls and by the handler of its ticks. */
struct np_ticker {
    struct np_state *volatile state; /* whose timed call runs; NULL: none */
    volatile uint64_t call;          /* number of the call that runs; 0: none */
    volatile sig_atomic_t parked;    /* nothing ticks; so at first */
    uint64_t last;                   /* number of the call that began last */
    /* The handler's. */
    volatile uint64_t seen, base_ns; /* the call of the last tick, and the CPU clock at its first */
    volatile uint64_t quiet;         /* ticks without a call, in a row */
};

extern _Thread_local struct np_ticker np_ticker;
/* Whose limited call runs on this thread, the innermost, by time or by steps; NULL: none. */
extern _Thread_local struct np_state *np_limit_running;

/* What a call puts back. Calls nest only with a state each. */
struct np_limit_frame {
    struct np_state *outer, *outer_running;
    uint64_t outer_call;
};

/* Lets the thread's timer tick again, or makes it. False where the system gives none. */
bool np_limit_unpark(struct np_ticker *t);
void np_limit_enter_steps(struct np_state *st);
void np_limit_unhook(struct np_state *st);
/* CPU time since the first tick of the call that runs, and a tick. */
uint64_t np_limit_cpu_ns(const struct np_ticker *t);

/* The Lua hook that ends a call: writes the place down once and raises. */
void np_limit_stop(lua_State *L, lua_Debug *ar);

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer holds signals back until the thread calls something that it knows; a loop in Lua
 * never would. */
void np_limit_let_signals_in(lua_State *L);
/* The same within long C functions, which poll. */
void np_limit_breathe(void);
#define NP_LIMIT_ALWAYS_UNHOOK 1
#else
static inline void np_limit_let_signals_in(lua_State *L)
{
    (void)L;
}
static inline void np_limit_breathe(void) {}
#define NP_LIMIT_ALWAYS_UNHOOK 0
#endif

/* Begins the limited part of a call. */
static inline void np_limit_enter(struct np_state *st, const struct np_limit *limit,
                                  struct np_limit_frame *f)
{
    struct np_ticker *t = &np_ticker;
    np_require(!st->limited);
    f->outer = t->state;
    f->outer_call = t->call;
    f->outer_running = np_limit_running;
    np_limit_running = st;
    st->limited = true;
    st->timed = limit->timed;
    st->cpu_ns = 0;
    st->limit_ns = limit->cpu_ns;
    st->steps_given = st->steps_left = limit->steps;
    if (__builtin_expect(!st->timed, 0)) {
        np_limit_enter_steps(st);
        return;
    }
    np_limit_let_signals_in(st->L);
    t->state = st;
    atomic_signal_fence(memory_order_release);
    t->call = ++t->last;
    if (__builtin_expect(t->parked, 0) && !np_limit_unpark(t)) {
        t->call = f->outer_call;
        t->state = f->outer;
        st->timed = false;
        np_limit_enter_steps(st);
    }
}

/* Ends it, and says whether the limit struck. */
static inline bool np_limit_leave(struct np_state *st, const struct np_limit_frame *f)
{
    struct np_ticker *t = &np_ticker;
    if (__builtin_expect(st->timed && t->seen == t->call, 0))
        st->cpu_ns = np_limit_cpu_ns(t);
    /* From here on the handler leaves this state alone. */
    t->call = f->outer_call;
    t->state = f->outer;
    np_limit_running = f->outer_running;
    atomic_signal_fence(memory_order_seq_cst);
    bool struck = st->struck;
    if (__builtin_expect(struck || st->overdrawn || !st->timed || NP_LIMIT_ALWAYS_UNHOOK, 0))
        np_limit_unhook(st);
    st->limited = false;
    return struck;
}

#endif
