/* The line: a list a rank, and what is known of how quickly it moves. */
#include "guard/line.h"

#include "base/clock.h"
#include "base/err.h"

#define PATIENCE_PART 10 /* of what is left */
#define PATIENCE_OVER_NS (5 * NP_NS_PER_MS / 2)
#define PROSPECT_NS (PATIENCE_OVER_NS / 2)
#define CALM_NS (500 * NP_NS_PER_MS)
#define PACE_WEIGHT 8
#define HARDLY_WAITED_NS NP_NS_PER_MS

bool np_line_over(const struct np_line *l, uint64_t now_ns)
{
    return now_ns < l->over_until_ns;
}

void np_line_strain(struct np_line *l, uint64_t now_ns)
{
    l->over_until_ns = now_ns + CALM_NS;
}

static bool below(const struct np_line *l, unsigned rank)
{
    for (unsigned r = 0; r < rank; r++) {
        if (l->of[r].oldest) {
            return true;
        }
    }
    return false;
}

/* How many may wait so that few of them are given up: the newest goes first, so who is not the next turn's
 * hardly ever is. */
static size_t room(const struct np_line *l, uint64_t now_ns)
{
    if (!np_line_over(l, now_ns) || l->pace_ns == 0) {
        return NP_LINE_MAX;
    }
    /* Or more than in the last turn, so that turns may become longer. */
    uint64_t n = PROSPECT_NS / l->pace_ns, m = l->turn + l->turn / 8 + 1;
    n = n > m ? n : m;
    return n > NP_LINE_MAX ? NP_LINE_MAX : (size_t)n;
}

bool np_line_admits(const struct np_line *l, unsigned rank, uint64_t now_ns)
{
    return l->count < NP_LINE_MAX && (l->count < room(l, now_ns) || below(l, rank));
}

void np_line_join(struct np_line *l, struct np_line_place *p, unsigned rank, uint64_t left_ns,
                  uint64_t now_ns)
{
    uint64_t part_ns = left_ns / PATIENCE_PART;
    np_require(rank < NP_LINE_RANKS && !p->waits);
    *p = (struct np_line_place){.older = l->of[rank].newest,
                                .since_ns = now_ns,
                                .patience_ns = part_ns < l->patience_ns ? part_ns : l->patience_ns,
                                .rank = rank,
                                .waits = true};
    *(p->older ? &p->older->newer : &l->of[rank].oldest) = p;
    l->of[rank].newest = p;
    /* How quickly it moves is told from when somebody waits. */
    if (l->count++ == 0) {
        l->next_ns = now_ns;
    }
}

void np_line_leave(struct np_line *l, struct np_line_place *p)
{
    if (!p->waits) {
        return;
    }
    *(p->older ? &p->older->newer : &l->of[p->rank].oldest) = p->newer;
    *(p->newer ? &p->newer->older : &l->of[p->rank].newest) = p->older;
    p->waits = false;
    l->count--;
}

static void note_pace(struct np_line *l, uint64_t now_ns)
{
    uint64_t gap = now_ns > l->next_ns ? now_ns - l->next_ns : 0;
    l->pace_ns = l->pace_ns == 0 ? gap : l->pace_ns - l->pace_ns / PACE_WEIGHT + gap / PACE_WEIGHT;
    l->next_ns = now_ns;
}

struct np_line_place *np_line_next(struct np_line *l, uint64_t now_ns)
{
    for (unsigned r = NP_LINE_RANKS; r-- > 0;) {
        struct np_line_place *p = np_line_over(l, now_ns) ? l->of[r].newest : l->of[r].oldest;
        if (p) {
            note_pace(l, now_ns);
            np_line_leave(l, p);
            return p;
        }
    }
    return NULL;
}

static uint64_t patience(const struct np_line *l, const struct np_line_place *p, uint64_t now_ns)
{
    return np_line_over(l, now_ns) && PATIENCE_OVER_NS < p->patience_ns ? PATIENCE_OVER_NS
                                                                        : p->patience_ns;
}

struct np_line_place *np_line_give_up(struct np_line *l, uint64_t now_ns)
{
    for (unsigned r = 0; r < NP_LINE_RANKS; r++) {
        struct np_line_place *p = l->of[r].oldest;
        if (p && now_ns >= p->since_ns + patience(l, p, now_ns)) {
            np_line_leave(l, p);
            np_line_strain(l, now_ns);
            return p;
        }
    }
    return NULL;
}

void np_line_turned(struct np_line *l, size_t n)
{
    l->turn = n;
}

uint64_t np_line_due_ns(const struct np_line *l, uint64_t now_ns)
{
    uint64_t due = UINT64_MAX;
    for (unsigned r = 0; r < NP_LINE_RANKS; r++) {
        const struct np_line_place *p = l->of[r].oldest;
        if (p && p->since_ns + patience(l, p, now_ns) < due) {
            due = p->since_ns + patience(l, p, now_ns);
        }
    }
    return due;
}

bool np_line_late(uint64_t waited_ns, uint64_t left_ns, double likely_ms)
{
    return waited_ns >= HARDLY_WAITED_NS && likely_ms >= 0 &&
           (double)left_ns < likely_ms * (double)NP_NS_PER_MS;
}
