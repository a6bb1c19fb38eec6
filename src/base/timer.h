/* A heap of timers in monotonic nanoseconds. A timer is embedded in what it belongs to; setting,
 * moving and stopping cost O(log n). No clock is read here. */
#ifndef NP_BASE_TIMER_H
#define NP_BASE_TIMER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct np_timer {
    uint64_t at_ns;
    void (*fire)(void *ctx, uint64_t now_ns);
    void *ctx;
    size_t slot; /* 0: not set; else its place in the heap + 1 */
};

struct np_timers;

struct np_timers *np_timers_new(void);
/* Timers that are still set are forgotten. */
void np_timers_free(struct np_timers *ts);
void np_timer_init(struct np_timer *t, void (*fire)(void *ctx, uint64_t now_ns), void *ctx);
/* Sets or moves it. Ends the process only if memory for the heap is out. */
void np_timer_set(struct np_timers *ts, struct np_timer *t, uint64_t at_ns);
void np_timer_stop(struct np_timers *ts, struct np_timer *t);
/* When the next is due, UINT64_MAX when none is. */
uint64_t np_timers_next(const struct np_timers *ts);
/* Fires all that are due at now_ns, each stopped before it is called; those set meanwhile for now
 * or earlier wait for the next turn. Returns how many fired. */
size_t np_timers_run(struct np_timers *ts, uint64_t now_ns);

#endif
