/* The watchdog and the two kinds of limit. In time: a call gives its slot an odd number and takes it
 * away again; the watchdog thread looks every millisecond, takes the CPU clock of the thread where it
 * first sees a number, and once the limit has passed since then signals that very thread with the
 * number. The handler ignores numbers that are over. In steps: Lua's count hook alone, which looks at
 * each of the first steps and then ever more rarely, so that what was counted is right to half a percent;
 * with it go the lines of the function that is marked, as there is time for that on the simulated ground.
 *
 * Slots are in a list under the watchdog's lock; a call touches only its own slot, without the lock.
 * When nothing moves the watchdog parks; membarrier(2) takes the place of a fence in each call. */
#include "script/limits.h"

#include "script/cover_impl.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define WATCH_SIGNAL (SIGRTMIN + 3)
#define TICK_NS 1000000
#define TICKS_TO_PARK 50
/* Lua looks at the steps at least this often; a step is a VM instruction. */
#define STEPS_A_LOOK 1000
/* A look is worth at most one of this many steps that were taken. */
#define STEPS_PRECISION 256

const struct np_limit np_limit_steps = {NULL, 0, NP_HOOK_STEPS, 0};

struct np_watch_slot {
    _Atomic uint64_t number; /* odd: inside a call */
    _Atomic uint64_t limit_ns;
    _Atomic int tid;
    _Atomic int clock;
    struct np_watchdog *watchdog;
    struct np_watch_slot *next;
    /* The watchdog's own. */
    uint64_t seen, base_ns;
    bool signalled;
};

struct np_watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int parked;
    bool stop;
    bool may_park;
    uint64_t next_base;
    struct np_watch_slot *slots;
};

/* What the handler needs of the thread that it interrupts. */
static _Thread_local struct np_state *volatile current;
static _Thread_local int own_tid;
static _Thread_local clockid_t own_clock;

void np_limit_stop(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    np_state_stop(L);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    int saved = errno;
    struct np_state *st = current;
    if (st && st->slot &&
        atomic_load_explicit(&st->slot->number, memory_order_relaxed) ==
            (uint64_t)(uintptr_t)info->si_value.sival_ptr) {
        st->struck = 1;
        lua_sethook(st->L, np_limit_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    }
    errno = saved;
}

/* ------------------------------------------------------------------------------- the thread */

static void strike(struct np_watch_slot *slot, uint64_t number)
{
    /* As pthread_sigqueue does it, but to a thread id: nothing breaks when the thread has gone. */
    siginfo_t info = {0};
    info.si_signo = WATCH_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)(uintptr_t)number;
    int tid = atomic_load_explicit(&slot->tid, memory_order_relaxed);
    /* EAGAIN: the queue of signals is full; the next tick tries again. */
    slot->signalled = syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, WATCH_SIGNAL, &info) == 0;
}

/* True when a call is, or was since the last look, inside. */
static bool look(struct np_watch_slot *slot)
{
    uint64_t number = atomic_load_explicit(&slot->number, memory_order_acquire);
    bool moved = number != slot->seen;
    if (!(number & 1)) {
        slot->seen = number;
        return moved;
    }
    struct timespec t;
    clockid_t clock = (clockid_t)atomic_load_explicit(&slot->clock, memory_order_relaxed);
    if ((moved || !slot->signalled) && clock_gettime(clock, &t) == 0) {
        uint64_t now = (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
        if (moved) {
            slot->base_ns = now;
            slot->signalled = false;
        } else if (now - slot->base_ns >=
                   atomic_load_explicit(&slot->limit_ns, memory_order_relaxed)) {
            strike(slot, number);
        }
        slot->seen = number;
    }
    return true;
}

static bool look_at_all(struct np_watchdog *w)
{
    bool busy = false;
    for (struct np_watch_slot *slot = w->slots; slot; slot = slot->next)
        busy |= look(slot);
    return busy;
}

/* With the lock. A call that enters from now on either sees `parked` or is seen here. */
static void park(struct np_watchdog *w)
{
    atomic_store_explicit(&w->parked, 1, memory_order_seq_cst);
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    if (look_at_all(w)) {
        atomic_store_explicit(&w->parked, 0, memory_order_relaxed);
        return;
    }
    while (!w->stop && atomic_load_explicit(&w->parked, memory_order_relaxed))
        pthread_cond_wait(&w->wake, &w->lock);
}

static void *watch(void *arg)
{
    struct np_watchdog *w = arg;
    unsigned quiet = 0;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        quiet = look_at_all(w) ? 0 : quiet + 1;
        if (quiet >= TICKS_TO_PARK && w->may_park) {
            park(w);
            quiet = 0;
        }
        pthread_mutex_unlock(&w->lock);
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void unpark(struct np_watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    atomic_store_explicit(&w->parked, 0, memory_order_relaxed);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* The thread takes no signal of the process. */
static int start(struct np_watchdog *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&w->thread, NULL, watch, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

struct np_watchdog *np_watchdog_new(void)
{
    struct np_watchdog *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->may_park = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    if (sigaction(WATCH_SIGNAL, &action, NULL) || start(w)) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
    }
    return w;
}

void np_watchdog_free(struct np_watchdog *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    np_require(!w->slots);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* --------------------------------------------------------------------------------- the calls */

/* Numbers of different slots never meet: each has its own upper bits. */
static struct np_watch_slot *attach(struct np_watchdog *w)
{
    struct np_watch_slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    slot->watchdog = w;
    pthread_mutex_lock(&w->lock);
    slot->number = ++w->next_base << 40;
    slot->seen = slot->number;
    slot->next = w->slots;
    w->slots = slot;
    pthread_mutex_unlock(&w->lock);
    return slot;
}

void np_limit_detach(struct np_state *st)
{
    struct np_watch_slot *slot = st->slot;
    if (!slot)
        return;
    struct np_watchdog *w = slot->watchdog;
    pthread_mutex_lock(&w->lock);
    struct np_watch_slot **at = &w->slots;
    while (*at != slot)
        at = &(*at)->next;
    *at = slot->next;
    pthread_mutex_unlock(&w->lock);
    free(slot);
    st->slot = NULL;
}

/* Once a thread. */
static void know_thread(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, WATCH_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pthread_getcpuclockid(pthread_self(), &own_clock);
    own_tid = (int)syscall(SYS_gettid);
}

static void enter_timed(struct np_watch_slot *slot, uint64_t limit_ns)
{
    if (!own_tid)
        know_thread();
    if (atomic_load_explicit(&slot->tid, memory_order_relaxed) != own_tid) {
        atomic_store_explicit(&slot->tid, own_tid, memory_order_relaxed);
        atomic_store_explicit(&slot->clock, (int)own_clock, memory_order_relaxed);
    }
    atomic_store_explicit(&slot->limit_ns, limit_ns, memory_order_relaxed);
    uint64_t number = atomic_load_explicit(&slot->number, memory_order_relaxed);
    atomic_store_explicit(&slot->number, number + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&slot->watchdog->parked, memory_order_relaxed))
        unpark(slot->watchdog);
}

static void on_line(struct np_state *st, lua_Debug *ar)
{
    lua_getinfo(st->L, "Sl", ar);
    if (ar->source == st->mark_source && ar->linedefined == st->mark_defined)
        st->mark_line = ar->currentline;
    if (st->set && st->set->cover)
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
    bool lines = st->mark_source || st->lines || (st->set && st->set->cover);
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

static void enter_stepped(struct np_state *st, int mark)
{
    st->mark_source = NULL;
    st->mark_line = 0;
    if (mark) {
        lua_Debug ar;
        lua_rawgeti(st->L, LUA_REGISTRYINDEX, mark);
        lua_getinfo(st->L, ">S", &ar);
        st->mark_source = ar.source;
        st->mark_defined = ar.linedefined;
    }
    st->stride = 0;
    set_stride(st);
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer holds signals back until the thread calls something that it knows; a loop in Lua
 * never would. */
static void on_breath(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    (void)L;
    usleep(0);
}

static void let_signals_in(lua_State *L)
{
    lua_sethook(L, on_breath, LUA_MASKCOUNT, STEPS_A_LOOK);
}

static const bool always_unhook = true;
#else
static void let_signals_in(lua_State *L)
{
    (void)L;
}

static const bool always_unhook = false;
#endif

void np_limit_enter(struct np_state *st, const struct np_limit *limit, struct np_limit_frame *f)
{
    np_require(!st->limited);
    f->outer = current;
    st->limited = true;
    if (limit->watchdog && !st->slot)
        st->slot = attach(limit->watchdog);
    st->timed = limit->watchdog && st->slot;
    st->steps_given = st->steps_left = limit->steps;
    current = st;
    if (st->timed) {
        let_signals_in(st->L);
        enter_timed(st->slot, limit->cpu_ns);
    } else {
        enter_stepped(st, limit->mark);
    }
}

bool np_limit_leave(struct np_state *st, const struct np_limit_frame *f)
{
    /* From here on the handler leaves this state alone. */
    current = f->outer;
    atomic_signal_fence(memory_order_seq_cst);
    if (st->timed) {
        uint64_t number = atomic_load_explicit(&st->slot->number, memory_order_relaxed);
        atomic_store_explicit(&st->slot->number, number + 1, memory_order_release);
    }
    bool struck = st->struck;
    if (struck || !st->timed || always_unhook)
        lua_sethook(st->L, NULL, 0, 0);
    st->struck = 0;
    st->limited = false;
    return struck;
}
