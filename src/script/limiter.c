/* The two kinds of limit. In time: each thread that calls hooks has a timer that signals that very
 * thread every millisecond. The handler takes the thread's CPU clock where it first sees a call, and
 * once the limit has passed since then it sets the flag and a Lua hook on the state that runs. No other
 * thread has a part in it, so that a busy machine cannot make the stop late. In steps: Lua's count hook
 * alone, which looks at each of the first steps and then ever more rarely, so that what was counted is
 * right to half a percent.
 *
 * A call gives the thread's ticker a number and takes it away again; nothing is locked, as calls and
 * handler are of one thread. After some ticks without a call the timer is stopped, and the next call
 * starts it again. Signals interrupt what the thread waits for (EINTR); its waits all bear that. */
#include "script/limits.h"

#include "script/cover_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define TICK_SIGNAL (SIGRTMIN + 3)
#define TICKS_TO_PARK 8
/* Lua looks at the steps at least this often; a step is a VM instruction. */
#define STEPS_A_LOOK 1000
/* A look is worth at most one of this many steps that were taken. */
#define STEPS_PRECISION 256

const struct np_limit np_limit_steps = {false, 0, NP_HOOK_STEPS};

_Thread_local struct np_ticker np_ticker = {.parked = 1};
_Thread_local struct np_state *np_limit_running;
static _Thread_local timer_t own_timer;
static _Thread_local bool has_timer;

void np_limit_stop(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    np_state_stop(L);
}

/* Lua compares texts by this function, once for each stretch between two zero bytes, in a loop of its own
 * that runs no instruction: of two texts of zeros that is millions of calls which no hook sees. So the
 * whole process has this one in the place of libc's. It orders by bytes, as libc's does where no locale
 * was chosen for sorting; neap chooses none. */
__attribute__((visibility("default"))) int strcoll(const char *a, const char *b)
{
    if (np_limit_running)
        np_state_poll(np_limit_running->L, 1);
    return strcmp(a, b);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------------------------ the timer */

static bool set_timer(long tick_ns)
{
    const struct itimerspec every = {{0, tick_ns}, {0, tick_ns}};
    return timer_settime(own_timer, 0, &every, NULL) == 0;
}

static void on_tick(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    int saved = errno;
    struct np_ticker *t = &np_ticker;
    if (t->call == 0) {
        t->quiet = t->quiet + 1;
        if (t->quiet >= TICKS_TO_PARK && !t->parked && set_timer(0))
            t->parked = 1;
    } else if (t->seen != t->call) {
        t->seen = t->call;
        t->base_ns = own_cpu_ns();
        t->quiet = 0;
    } else if (!t->state->struck && own_cpu_ns() - t->base_ns >= t->state->limit_ns) {
        t->state->struck = 1;
        lua_sethook(t->state->L, np_limit_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    }
    errno = saved;
}

static pthread_key_t ends_with_thread;

static void end_timer(void *unused)
{
    (void)unused;
    if (has_timer)
        timer_delete(own_timer);
    has_timer = false;
    np_ticker.parked = 1;
}

static enum np_err started;

static void start(void)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    bool good = pthread_key_create(&ends_with_thread, end_timer) == 0 &&
                sigaction(TICK_SIGNAL, &action, NULL) == 0;
    started = good ? NP_OK : NP_E_NOMEM;
}

enum np_err np_limiter_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    return started;
}

/* Once a thread. The timer stands still at first. */
static bool make_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL};
    event._sigev_un._tid = (int)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &own_timer))
        return false;
    has_timer = pthread_setspecific(ends_with_thread, &np_ticker) == 0;
    if (!has_timer) {
        timer_delete(own_timer);
        return false;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, TICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return true;
}

bool np_limit_unpark(struct np_ticker *t)
{
    if (np_limiter_start() != NP_OK || (!has_timer && !make_timer()))
        return false;
    t->quiet = 0;
    t->parked = 0;
    if (set_timer(NP_LIMIT_TICK_NS))
        return true;
    t->parked = 1;
    return false;
}

/* ------------------------------------------------------------------------------------ the calls */

uint64_t np_limit_cpu_ns(const struct np_ticker *t)
{
    return own_cpu_ns() - t->base_ns + NP_LIMIT_TICK_NS;
}

static void on_line(struct np_state *st, lua_Debug *ar)
{
    if (!st->set || !st->set->cover)
        return;
    lua_getinfo(st->L, "Sl", ar);
    np_cover_hit(st->set->cover, st, ar->source, ar->currentline);
}

static void on_steps(lua_State *L, lua_Debug *ar);

/* How many steps until the next look, by how many were taken. */
static void set_stride(struct np_state *st)
{
    int64_t stride = (st->steps_given - st->steps_left) / STEPS_PRECISION;
    stride = stride < 1 ? 1 : stride > STEPS_A_LOOK ? STEPS_A_LOOK : stride;
    if ((int)stride == st->stride)
        return;
    st->stride = (int)stride;
    bool lines = st->lines || (st->set && st->set->cover);
    lua_sethook(st->L, on_steps, LUA_MASKCOUNT | (lines ? LUA_MASKLINE : 0), st->stride);
}

static void on_steps(lua_State *L, lua_Debug *ar)
{
    struct np_state *st = np_state_of(L);
    if (ar->event == LUA_HOOKLINE) {
        on_line(st, ar);
        if (st->lines)
            st->lines->on(st->lines->ctx, L, ar);
        return;
    }
    st->steps_left -= st->stride;
    if (st->steps_left > 0 && !(st->interrupt && *st->interrupt)) {
        set_stride(st);
        return;
    }
    st->struck = 1;
    lua_sethook(L, np_limit_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    np_limit_stop(L, ar);
}

void np_limit_enter_steps(struct np_state *st)
{
    st->stride = 0;
    set_stride(st);
}

void np_limit_unhook(struct np_state *st)
{
    lua_sethook(st->L, NULL, 0, 0);
    st->struck = 0;
}

#ifdef __SANITIZE_THREAD__
static void on_breath(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    (void)L;
    usleep(0);
}

void np_limit_breathe(void)
{
    static _Thread_local unsigned polls;
    if (++polls % 16 == 0)
        usleep(0);
}

void np_limit_let_signals_in(lua_State *L)
{
    lua_sethook(L, on_breath, LUA_MASKCOUNT, STEPS_A_LOOK);
}
#endif
