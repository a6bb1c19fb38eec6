/* The timers' heap: binary, ordered by time and, for equal times, by who was set first, so that a
 * simulated run fires in the same order every time. Each entry keeps its time beside the pointer, so
 * that sifting touches no timer but to write its slot.
 *
 * Timers that are set during np_timers_run for now or earlier wait in `late` until the run is over.
 * A timer's slot is its place in the heap + 1, or the complement of its place in `late`. */
#include "base/timer.h"

#include <stdbool.h>
#include <stdlib.h>

#define LEAST_CAP 64

struct entry {
    uint64_t at_ns;
    uint64_t order;
    struct np_timer *timer;
};

struct np_timers {
    struct entry *heap;
    size_t n;
    size_t cap;
    struct np_timer **late; /* NULL where one was stopped again */
    size_t late_n;
    size_t late_cap;
    uint64_t order;
    uint64_t run_now_ns;
    bool running;
};

static bool is_late(const struct np_timer *t)
{
    return t->slot > SIZE_MAX / 2;
}

static bool earlier(const struct entry *a, const struct entry *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void place(struct np_timers *ts, size_t i, struct entry e)
{
    ts->heap[i] = e;
    e.timer->slot = i + 1;
}

static void sift_up(struct np_timers *ts, size_t i, struct entry e)
{
    while (i > 0 && earlier(&e, &ts->heap[(i - 1) / 2])) {
        place(ts, i, ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ts, i, e);
}

static void sift_down(struct np_timers *ts, size_t i, struct entry e)
{
    size_t child;
    while ((child = 2 * i + 1) < ts->n) {
        if (child + 1 < ts->n && earlier(&ts->heap[child + 1], &ts->heap[child])) {
            child++;
        }
        if (!earlier(&ts->heap[child], &e)) {
            break;
        }
        place(ts, i, ts->heap[child]);
        i = child;
    }
    place(ts, i, e);
}

/* Puts e where the entry at i was, up or down. */
static void settle(struct np_timers *ts, size_t i, struct entry e)
{
    if (i > 0 && earlier(&e, &ts->heap[(i - 1) / 2])) {
        sift_up(ts, i, e);
    } else {
        sift_down(ts, i, e);
    }
}

static void *grown(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return array;
    }
    size_t more = *cap ? *cap * 2 : LEAST_CAP;
    void *p = reallocarray(array, more, size);
    np_require(p);
    *cap = more;
    return p;
}

static void heap_insert(struct np_timers *ts, struct np_timer *t)
{
    ts->heap = grown(ts->heap, ts->n, &ts->cap, sizeof *ts->heap);
    ts->n++;
    sift_up(ts, ts->n - 1, (struct entry){t->at_ns, ts->order++, t});
}

static void late_insert(struct np_timers *ts, struct np_timer *t)
{
    ts->late = grown(ts->late, ts->late_n, &ts->late_cap, sizeof(struct np_timer *));
    ts->late[ts->late_n] = t;
    t->slot = ~ts->late_n;
    ts->late_n++;
}

struct np_timers *np_timers_new(void)
{
    return calloc(1, sizeof(struct np_timers));
}

void np_timers_free(struct np_timers *ts)
{
    if (!ts) {
        return;
    }
    np_require(!ts->running);
    for (size_t i = 0; i < ts->n; i++) {
        ts->heap[i].timer->slot = 0;
    }
    free(ts->late);
    free(ts->heap);
    free(ts);
}

void np_timer_init(struct np_timer *t, void (*fire)(void *ctx, uint64_t now_ns), void *ctx)
{
    *t = (struct np_timer){.fire = fire, .ctx = ctx};
}

void np_timer_set(struct np_timers *ts, struct np_timer *t, uint64_t at_ns)
{
    bool late = ts->running && at_ns <= ts->run_now_ns;
    if (t->slot != 0 && !late && !is_late(t)) {
        t->at_ns = at_ns;
        settle(ts, t->slot - 1, (struct entry){at_ns, ts->order++, t});
        return;
    }
    np_timer_stop(ts, t);
    t->at_ns = at_ns;
    if (late) {
        late_insert(ts, t);
    } else {
        heap_insert(ts, t);
    }
}

void np_timer_stop(struct np_timers *ts, struct np_timer *t)
{
    if (t->slot == 0) {
        return;
    }
    if (is_late(t)) {
        size_t i = ~t->slot;
        np_require(i < ts->late_n && ts->late[i] == t);
        ts->late[i] = NULL;
        while (ts->late_n > 0 && !ts->late[ts->late_n - 1]) {
            ts->late_n--;
        }
    } else {
        size_t i = t->slot - 1;
        np_require(i < ts->n && ts->heap[i].timer == t);
        struct entry last = ts->heap[--ts->n];
        if (i < ts->n) {
            settle(ts, i, last);
        }
    }
    t->slot = 0;
}

uint64_t np_timers_next(const struct np_timers *ts)
{
    uint64_t next = ts->n > 0 ? ts->heap[0].at_ns : UINT64_MAX;
    for (size_t i = 0; i < ts->late_n; i++) {
        if (ts->late[i] && ts->late[i]->at_ns < next) {
            next = ts->late[i]->at_ns;
        }
    }
    return next;
}

size_t np_timers_run(struct np_timers *ts, uint64_t now_ns)
{
    size_t fired = 0;
    np_require(!ts->running);
    ts->running = true;
    ts->run_now_ns = now_ns;
    while (ts->n > 0 && ts->heap[0].at_ns <= now_ns) {
        struct np_timer *t = ts->heap[0].timer;
        np_timer_stop(ts, t);
        fired++;
        t->fire(t->ctx, now_ns);
    }
    ts->running = false;
    for (size_t i = 0; i < ts->late_n; i++) {
        if (ts->late[i]) {
            heap_insert(ts, ts->late[i]);
        }
    }
    ts->late_n = 0;
    return fired;
}
