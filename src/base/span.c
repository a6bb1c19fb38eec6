/* What of the spans is too long to stand in their header: comparison without case, numbers, and the
 * guess behind "did you mean". Nothing here allocates or keeps what it is given. */
#include "base/span.h"

#include <limits.h>
#include <stdint.h>

#define GUESS_LETTERS 64 /* longer words are no slips of the pen */

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool np_span_eq_nocase(struct np_span a, struct np_span b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

bool np_span_to_u64(struct np_span s, unsigned long long *out)
{
    unsigned long long v = 0;
    if (s.n == 0) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (v > (ULLONG_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

#define SHORT_LETTERS 3 /* of an abbreviation that is guessed */

/* A word as guesses compare it: lower case and without separators, so that maxTokens is max_tokens. */
struct folded {
    unsigned char p[GUESS_LETTERS];
    size_t n;
};

/* False when nothing is left of the word, or too much. */
static bool fold(struct np_span word, struct folded *out)
{
    out->n = 0;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '_' || word.p[i] == '-' || word.p[i] == ' ') {
            continue;
        }
        if (out->n == GUESS_LETTERS) {
            return false;
        }
        out->p[out->n++] = lower(word.p[i]);
    }
    return out->n > 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to insert, delete, replace or swap with their neighbour to make b of a: the "optimal string
 * alignment" form of Damerau and Levenshtein's distance. Three rows of the usual table suffice. */
static unsigned distance(const struct folded *a, const struct folded *b)
{
    unsigned rows[3][GUESS_LETTERS + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= b->n; j++) {
        last[j] = (unsigned)j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= a->n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b->n; j++) {
            unsigned other = a->p[i - 1] == b->p[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + other);
            if (i > 1 && j > 1 && a->p[i - 1] == b->p[j - 2] && a->p[i - 2] == b->p[j - 1] &&
                before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b->n];
}

/* Whether the shorter is the longer with letters left out, its first letter kept: prio of priority. */
static bool is_short_for(const struct folded *a, const struct folded *b)
{
    const struct folded *shorter = a->n < b->n ? a : b, *longer = a->n < b->n ? b : a;
    size_t found = 0;
    for (size_t i = 0; i < longer->n && found < shorter->n; i++) {
        found += longer->p[i] == shorter->p[found];
    }
    return shorter->n >= SHORT_LETTERS && found == shorter->n && shorter->p[0] == longer->p[0];
}

const char *np_span_guess(struct np_span word, const char *const *candidates, size_t n)
{
    struct folded asked, offered;
    const char *best = NULL, *meant = NULL;
    unsigned best_distance = UINT_MAX;
    size_t least = SIZE_MAX;

    if (!fold(word, &asked)) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!fold(np_span_of(candidates[i]), &offered)) {
            continue;
        }
        size_t longer = asked.n > offered.n ? asked.n : offered.n;
        size_t shorter = asked.n > offered.n ? offered.n : asked.n;
        if (longer - shorter < least && is_short_for(&asked, &offered)) {
            least = longer - shorter;
            meant = candidates[i];
        }
        if ((longer - shorter) * 3 > longer) {
            continue;
        }
        unsigned d = distance(&asked, &offered);
        if (d * 3 <= longer && d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best ? best : meant;
}
