/* One thread's event loop: level-triggered or edge-triggered epoll, timers, and a way for other
 * threads to wake it. Everything but np_loop_post and np_loop_stop belongs to the loop's thread. */
#ifndef NP_BASE_LOOP_H
#define NP_BASE_LOOP_H

#include "base/clock.h"
#include "base/err.h"
#include "base/timer.h"

#include <stdbool.h>
#include <stdint.h>

struct np_loop;

/* What is called when a descriptor is ready; lives in its owner, one per registered descriptor.
 * It may unregister itself or any other watch inside the callback: a watch that is removed in a
 * turn is not called later in that turn. */
struct np_watch {
    void (*ready)(void *ctx, uint32_t events); /* EPOLLIN and friends */
    void *ctx;
    int fd; /* -1: not registered */
};

struct np_loop *np_loop_new(const struct np_clock *clock);
void np_loop_free(struct np_loop *l);

enum np_err np_loop_add(struct np_loop *l, struct np_watch *w, int fd,
                        uint32_t events) NP_MUST_CHECK;
enum np_err np_loop_change(struct np_loop *l, struct np_watch *w, uint32_t events) NP_MUST_CHECK;
/* Safe when it is not registered. Must be called before the descriptor is closed. */
void np_loop_remove(struct np_loop *l, struct np_watch *w);

struct np_timers *np_loop_timers(struct np_loop *l);
/* The monotonic time of this turn, read once after each wait. */
uint64_t np_loop_now_ns(const struct np_loop *l);
/* When this turn had waited and began to work. */
uint64_t np_loop_turn_ns(const struct np_loop *l);
/* Reads the clock anew. */
uint64_t np_loop_refresh_ns(struct np_loop *l);

/* Called at the end of every turn, after events and timers, in the order in which they were added
 * (at most 8). It returns the latest time at which it wants to be called again, UINT64_MAX if it
 * does not mind, or 0 for at once. */
enum np_err np_loop_each_turn(struct np_loop *l, uint64_t (*fn)(void *ctx, uint64_t now_ns),
                              void *ctx) NP_MUST_CHECK;

/* Runs fn(ctx) on the loop's thread in one of the next turns; from any thread, never blocks.
 * NP_E_FULL when 1024 calls wait already. */
enum np_err np_loop_post(struct np_loop *l, void (*fn)(void *ctx), void *ctx) NP_MUST_CHECK;

/* One turn: waits at most max_wait_ns, then events, timers, each-turn calls. */
void np_loop_turn(struct np_loop *l, uint64_t max_wait_ns);
/* Turns until np_loop_stop. */
void np_loop_run(struct np_loop *l);
/* From any thread or signal handler. */
void np_loop_stop(struct np_loop *l);

#endif
