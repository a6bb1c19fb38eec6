/* Finding quotations: every eight bytes of the text stand in a small table; the body is read in steps of
 * eight bytes. Whatever both have in common over fifteen bytes holds such a step whole. */
#include "model/quote.h"

#include <stdbool.h>
#include <stdint.h>

#define STEP 8
#define PLACES (4 * NP_QUOTE_TEXT_BYTES) /* a power of two */
#define LOOKS (1u << 18) /* at places that are taken; a text that needs more is hidden whole */

struct table {
    struct np_span text;
    uint16_t at[PLACES]; /* where eight bytes of the text begin, and one; 0: none */
};

static uint64_t eight(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static size_t place_of(uint64_t v)
{
    return (size_t)((v * UINT64_C(0x9e3779b97f4a7c15)) >> 52) & (PLACES - 1);
}

static void fill(struct table *t)
{
    memset(t->at, 0, sizeof t->at);
    for (size_t i = 0; i + STEP <= t->text.n; i++) {
        size_t at = place_of(eight(t->text.p + i));
        while (t->at[at])
            at = (at + 1) & (PLACES - 1);
        t->at[at] = (uint16_t)(i + 1);
    }
}

/* Marks what text and body have in common around these places, where it is long enough. */
static bool mark(const struct table *t, size_t i, struct np_span body, size_t k, bool *hidden)
{
    size_t first = i, end = i + STEP;
    for (size_t b = k; first > 0 && b > 0 && t->text.p[first - 1] == body.p[b - 1]; b--)
        first--;
    for (size_t b = k + STEP; end < t->text.n && b < body.n && t->text.p[end] == body.p[b]; b++)
        end++;
    if (end - first < NP_QUOTE_LEAST)
        return false;
    memset(hidden + first, true, end - first);
    return true;
}

/* Marks all quotations; whether there are any. */
static bool mark_all(const struct table *t, struct np_span body, bool *hidden)
{
    bool any = false;
    unsigned looks = 0;
    for (size_t k = 0; k + STEP <= body.n; k += STEP) {
        uint64_t v = eight(body.p + k);
        for (size_t at = place_of(v); t->at[at]; at = (at + 1) & (PLACES - 1)) {
            size_t i = t->at[at] - 1U;
            if (!hidden[i] && eight(t->text.p + i) == v)
                any = mark(t, i, body, k, hidden) || any;
            if (++looks == LOOKS) {
                memset(hidden, true, t->text.n);
                return true;
            }
        }
    }
    return any;
}

struct np_span np_quote_hide(struct np_arena *a, struct np_span text, struct np_span body)
{
    bool hidden[NP_QUOTE_TEXT_BYTES] = {false};
    struct table t = {.text = text};
    if (t.text.n > NP_QUOTE_TEXT_BYTES)
        t.text.n = NP_QUOTE_TEXT_BYTES;
    if (t.text.n < NP_QUOTE_LEAST)
        return t.text;
    fill(&t);
    if (!mark_all(&t, body, hidden))
        return t.text;
    char *copy = np_arena_bytes(a, t.text.n);
    for (size_t i = 0; copy && i < t.text.n; i++)
        copy[i] = hidden[i] ? '*' : text.p[i];
    return np_span_make(copy, copy ? t.text.n : 0);
}
