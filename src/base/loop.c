/* The event loop. A turn: wait, events, timers, each-turn calls. What epoll reported for a turn lies
 * in `events` while it is handed out, and removing or changing a watch edits what is still to come
 * there; so no callback ever sees an event of a watch that is gone.
 *
 * Other threads come in through `posts` (a short lock, never held across a call) and an eventfd.
 * `woken` says that the eventfd was written and not yet read, which spares posters the system call;
 * the loop clears it before it looks at the posts, so none is overlooked. */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 128 /* a wait */
/* Waits a turn while each brings as many as it can: what has come goes before what each-turn calls begin. */
#define WAITS_MAX 16
#define HOOKS_MAX 8
#define POSTS_MAX 1024

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define HAVE_PWAIT2 1
#endif
#endif

struct hook {
    uint64_t (*fn)(void *ctx, uint64_t now_ns);
    void *ctx;
};

struct post {
    void (*fn)(void *ctx);
    void *ctx;
};

struct np_loop {
    const struct np_clock *clock;
    struct np_timers *timers;
    int epoll;
    int wake; /* eventfd */
    struct np_watch wake_watch;
    uint64_t now_ns;
    uint64_t turn_ns;
    uint64_t wish_ns; /* the earliest that an each-turn call asked for */
    bool in_turn;
    bool no_pwait2; /* the kernel does not know epoll_pwait2 */

    int event_next; /* of `events`, the first that was not handed out */
    int event_count;
    struct epoll_event events[EVENTS_MAX];

    size_t hook_count;
    struct hook hooks[HOOKS_MAX];

    atomic_bool stop;
    atomic_bool woken;
    pthread_mutex_t posts_lock; /* guards the three below */
    size_t post_first;
    size_t post_count;
    struct post posts[POSTS_MAX];
};

/* ---------------------------------------------------------------------------------- other threads */

/* Safe in a signal handler. The eventfd can't be full: each write adds 1 and each wake-up reads all. */
static void ring_bell(struct np_loop *l)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(l->wake, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    errno = saved;
}

enum np_err np_loop_post(struct np_loop *l, void (*fn)(void *ctx), void *ctx)
{
    enum np_err err = NP_E_FULL;
    pthread_mutex_lock(&l->posts_lock);
    if (l->post_count < POSTS_MAX) {
        l->posts[(l->post_first + l->post_count) % POSTS_MAX] = (struct post){fn, ctx};
        l->post_count++;
        err = NP_OK;
    }
    pthread_mutex_unlock(&l->posts_lock);
    if (err == NP_OK && !atomic_exchange(&l->woken, true)) {
        ring_bell(l);
    }
    return err;
}

void np_loop_stop(struct np_loop *l)
{
    atomic_store(&l->stop, true);
    ring_bell(l);
}

static struct post take_post(struct np_loop *l, size_t *waiting)
{
    struct post post = {NULL, NULL};
    pthread_mutex_lock(&l->posts_lock);
    *waiting = l->post_count;
    if (l->post_count > 0) {
        post = l->posts[l->post_first];
        l->post_first = (l->post_first + 1) % POSTS_MAX;
        l->post_count--;
    }
    pthread_mutex_unlock(&l->posts_lock);
    return post;
}

/* Runs the posts that wait by now; what they post waits for the next turn. */
static void wake_ready(void *ctx, uint32_t events)
{
    (void)events;
    struct np_loop *l = ctx;
    uint64_t count;
    ssize_t ignored = read(l->wake, &count, sizeof count);
    (void)ignored;
    atomic_store(&l->woken, false);

    size_t waiting, others;
    struct post post = take_post(l, &waiting);
    for (size_t done = 0; post.fn; post = take_post(l, &others)) {
        post.fn(post.ctx);
        if (++done == waiting) {
            break;
        }
    }
}

/* ---------------------------------------------------------------------------------- birth and end */

struct np_loop *np_loop_new(const struct np_clock *clock)
{
    struct np_loop *l = calloc(1, sizeof *l);
    if (!l) {
        return NULL;
    }
    l->clock = clock;
    l->wish_ns = UINT64_MAX;
    l->wake_watch = (struct np_watch){.ready = wake_ready, .ctx = l, .fd = -1};
    l->timers = np_timers_new();
    if (!l->timers) {
        goto free_loop;
    }
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0) {
        goto free_timers;
    }
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake < 0) {
        goto close_epoll;
    }
    if (pthread_mutex_init(&l->posts_lock, NULL) != 0) {
        goto close_wake;
    }
    if (np_loop_add(l, &l->wake_watch, l->wake, EPOLLIN) != NP_OK) {
        goto destroy_lock;
    }
    np_loop_refresh_ns(l);
    return l;

destroy_lock:
    pthread_mutex_destroy(&l->posts_lock);
close_wake:
    close(l->wake);
close_epoll:
    close(l->epoll);
free_timers:
    np_timers_free(l->timers);
free_loop:
    free(l);
    return NULL;
}

/* Watches must be removed before, or be forgotten with it; posts that still wait are not run. */
void np_loop_free(struct np_loop *l)
{
    if (!l) {
        return;
    }
    np_require(!l->in_turn);
    pthread_mutex_destroy(&l->posts_lock);
    close(l->wake);
    close(l->epoll);
    np_timers_free(l->timers);
    free(l);
}

/* ---------------------------------------------------------------------------------------- watches */

static enum np_err control(struct np_loop *l, int op, struct np_watch *w, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->epoll, op, fd, &e) == 0) {
        return NP_OK;
    }
    switch (errno) {
    case EEXIST:
        return NP_E_EXISTS;
    case ENOENT:
        return NP_E_NOTFOUND;
    case ENOMEM:
    case ENOSPC:
        return NP_E_NOMEM;
    case EPERM: /* a file of a kind that is always ready */
        return NP_E_UNSUPPORTED;
    default:
        return NP_E_IO;
    }
}

/* Of what is still to be handed out in this turn, leaves w only the events in `mask`. */
static void mask_pending(struct np_loop *l, const struct np_watch *w, uint32_t mask)
{
    for (int i = l->event_next; i < l->event_count; i++) {
        if (l->events[i].data.ptr == w) {
            l->events[i].events &= mask;
            if (l->events[i].events == 0) {
                l->events[i].data.ptr = NULL;
            }
        }
    }
}

enum np_err np_loop_add(struct np_loop *l, struct np_watch *w, int fd, uint32_t events)
{
    if (w->fd != -1) {
        return NP_E_EXISTS;
    }
    enum np_err err = control(l, EPOLL_CTL_ADD, w, fd, events);
    if (err == NP_OK) {
        w->fd = fd;
    }
    return err;
}

enum np_err np_loop_change(struct np_loop *l, struct np_watch *w, uint32_t events)
{
    if (w->fd == -1) {
        return NP_E_NOTFOUND;
    }
    enum np_err err = control(l, EPOLL_CTL_MOD, w, w->fd, events);
    if (err == NP_OK) {
        mask_pending(l, w, events | EPOLLERR | EPOLLHUP);
    }
    return err;
}

void np_loop_remove(struct np_loop *l, struct np_watch *w)
{
    if (w->fd == -1) {
        return;
    }
    (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    mask_pending(l, w, 0);
}

/* ------------------------------------------------------------------------------------------ turns */

struct np_timers *np_loop_timers(struct np_loop *l)
{
    return l->timers;
}

uint64_t np_loop_now_ns(const struct np_loop *l)
{
    return l->now_ns;
}

uint64_t np_loop_turn_ns(const struct np_loop *l)
{
    return l->turn_ns;
}

uint64_t np_loop_refresh_ns(struct np_loop *l)
{
    l->now_ns = np_clock_mono_ns(l->clock);
    return l->now_ns;
}

/* The next turn does not wait, so that a new call can say what it wants. */
enum np_err np_loop_each_turn(struct np_loop *l, uint64_t (*fn)(void *ctx, uint64_t now_ns),
                              void *ctx)
{
    if (l->hook_count == HOOKS_MAX) {
        return NP_E_FULL;
    }
    l->hooks[l->hook_count++] = (struct hook){fn, ctx};
    l->wish_ns = 0;
    return NP_OK;
}

/* UINT64_MAX waits for ever. */
static int wait_rounded(struct np_loop *l, uint64_t wait_ns)
{
    int ms = -1;
    if (wait_ns != UINT64_MAX) {
        uint64_t up = wait_ns / NP_NS_PER_MS + (wait_ns % NP_NS_PER_MS ? 1 : 0);
        ms = up > INT_MAX ? INT_MAX : (int)up;
    }
    return epoll_wait(l->epoll, l->events, EVENTS_MAX, ms);
}

#ifdef HAVE_PWAIT2
/* A kernel before 5.11 says ENOSYS, and some sandboxes say EPERM to calls that they don't know. */
static int wait_exact(struct np_loop *l, uint64_t wait_ns)
{
    if (l->no_pwait2 || wait_ns == 0 || wait_ns == UINT64_MAX) {
        return wait_rounded(l, wait_ns);
    }
    struct timespec t = {.tv_sec = (time_t)(wait_ns / NP_NS_PER_S),
                         .tv_nsec = (long)(wait_ns % NP_NS_PER_S)};
    int n = epoll_pwait2(l->epoll, l->events, EVENTS_MAX, &t, NULL);
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
        l->no_pwait2 = true;
        return wait_rounded(l, wait_ns);
    }
    return n;
}
#else
#define wait_exact wait_rounded
#endif

/* How long this turn may sleep. The clock is read anew: the last turn's calls took their time. */
static uint64_t wait_wanted(struct np_loop *l, uint64_t max_wait_ns)
{
    uint64_t due = np_timers_next(l->timers);
    due = l->wish_ns < due ? l->wish_ns : due;
    if (due == UINT64_MAX || max_wait_ns == 0) {
        return max_wait_ns;
    }
    uint64_t now = np_loop_refresh_ns(l);
    uint64_t wait = due > now ? due - now : 0;
    return wait < max_wait_ns ? wait : max_wait_ns;
}

/* Waits once and hands out; true: more may be there. */
static bool take_events(struct np_loop *l, uint64_t wait_ns, bool first)
{
    int n = wait_exact(l, wait_ns);
    /* A process that was stopped goes on without events: what came meanwhile goes before timers that are due. */
    if (n < 0 && errno == EINTR) {
        n = wait_exact(l, 0);
    }
    np_require(n >= 0 || errno == EINTR);
    np_loop_refresh_ns(l);
    if (first) {
        l->turn_ns = l->now_ns;
    }

    l->event_next = 0;
    l->event_count = n > 0 ? n : 0;
    while (l->event_next < l->event_count) {
        struct epoll_event e = l->events[l->event_next++];
        const struct np_watch *w = e.data.ptr;
        if (l->event_next < l->event_count) {
            __builtin_prefetch(l->events[l->event_next].data.ptr);
        }
        if (w) {
            w->ready(w->ctx, e.events);
        }
    }
    return n == EVENTS_MAX;
}

void np_loop_turn(struct np_loop *l, uint64_t max_wait_ns)
{
    np_require(!l->in_turn);
    l->in_turn = true;
    bool more = take_events(l, wait_wanted(l, max_wait_ns), true);
    for (int i = 1; more && i < WAITS_MAX; i++) {
        more = take_events(l, 0, false);
    }
    np_timers_run(l->timers, l->now_ns);

    l->wish_ns = UINT64_MAX;
    for (size_t i = 0; i < l->hook_count; i++) {
        uint64_t wish = l->hooks[i].fn(l->hooks[i].ctx, l->now_ns);
        l->wish_ns = wish < l->wish_ns ? wish : l->wish_ns;
    }
    l->in_turn = false;
}

/* A stop that came before ends it at once. The stop is used up, so that the loop may run again. */
void np_loop_run(struct np_loop *l)
{
    while (!atomic_exchange(&l->stop, false)) {
        np_loop_turn(l, UINT64_MAX);
    }
}
