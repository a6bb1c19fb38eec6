/* Those who wait for their turn: requests that are whole and not begun yet, because as many as may be are
 * under way or because their worker has its hands full. One thread's, and pure: time is an argument.
 *
 * While little waits, the oldest is next, and may have waited for so long (100 ms, say), or a tenth of the time
 * that it has left. When somebody's time runs out there is more work than can be done, and then it is wrong to be
 * fair: everybody would wait as long as may be, and the work would go to those who waited longest. So
 * from then on the newest is next, who waits longer than 2.5 ms is given up, and newcomers are refused
 * at once while there is no prospect; until nobody was given up for half a second. (Adaptive LIFO with a
 * controlled delay, as in "Fail at Scale", ACM Queue 13(8), 2015.)
 *
 * Of several ranks the highest goes first, and the lowest is given up first. */
#ifndef NP_GUARD_LINE_H
#define NP_GUARD_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_LINE_RANKS 10
/* However quickly it moves. */
#define NP_LINE_MAX 4096

struct np_line_place {
    struct np_line_place *newer, *older;
    uint64_t since_ns;
    uint64_t patience_ns;
    unsigned rank;
    bool waits;
};

struct np_line {
    struct {
        struct np_line_place *newest, *oldest;
    } of[NP_LINE_RANKS];
    size_t count;
    uint64_t patience_ns;   /* set once */
    uint64_t over_until_ns; /* more work than can be done, at least until then */
    uint64_t next_ns;       /* when the last one went on */
    uint64_t pace_ns;       /* between two that go on, while some wait; 0: not known */
    size_t turn;            /* how many went on together last */
};

/* Whether a newcomer of this rank should be let in at all. */
bool np_line_admits(const struct np_line *l, unsigned rank, uint64_t now_ns);
/* left_ns: until its deadline. */
void np_line_join(struct np_line *l, struct np_line_place *p, unsigned rank, uint64_t left_ns,
                  uint64_t now_ns);
/* Without effect when it does not wait. */
void np_line_leave(struct np_line *l, struct np_line_place *p);
/* Takes out who is next; NULL: nobody waits. */
struct np_line_place *np_line_next(struct np_line *l, uint64_t now_ns);
/* Takes out one that has waited too long; NULL: there is none. */
struct np_line_place *np_line_give_up(struct np_line *l, uint64_t now_ns);
/* So many went on, one right after the other. */
void np_line_turned(struct np_line *l, size_t n);
/* When somebody's patience ends next; UINT64_MAX: nobody waits. */
uint64_t np_line_due_ns(const struct np_line *l, uint64_t now_ns);
/* Somebody was refused for want of time. */
void np_line_strain(struct np_line *l, uint64_t now_ns);
/* Whether who has waited has less time left than its answer is likely to take (-1: not known). Who hardly
 * waited is never late, however slow the answers are: else an endpoint whose deadline is shorter than they
 * take would serve nobody. */
bool np_line_late(uint64_t waited_ns, uint64_t left_ns, double likely_ms);
bool np_line_over(const struct np_line *l, uint64_t now_ns);

#endif
