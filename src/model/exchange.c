/* Birth and death of an exchange, and the notes that are taken on its way. It lies in its own arena. */
#include "model/exchange.h"

#include <string.h>

#define FIRST_NOTES 4 /* what an answer of the first attempt has with the shipped policies */
#define FIRST_SKIPS 2

const char *np_settled_name(enum np_settled s)
{
    static const char *const names[] = {"void", "exact", "estimated", "presumed"};
    np_require((size_t)s < sizeof names / sizeof names[0]);
    return names[s];
}

struct np_exchange *np_exchange_new(size_t arena_max_bytes)
{
    struct np_arena *arena = np_arena_new(arena_max_bytes);
    if (!arena)
        return NULL;
    struct np_exchange *x = np_arena_alloc(arena, sizeof *x);
    if (!x) {
        np_arena_free(arena);
        return NULL;
    }
    x->arena = arena;
    x->id = "";
    x->request.max_tokens = -1;
    x->answer.retry_after_ms = -1;
    x->answer.limit_tokens = x->answer.prompt_seen = -1;
    x->outcome.retry_after_s = -1;
    return x;
}

void np_exchange_free(struct np_exchange *x)
{
    if (x)
        np_arena_free(x->arena);
}

bool np_exchange_plan(struct np_exchange *x, size_t n)
{
    x->n_plan = 0;
    x->plan = np_arena_array(x->arena, n > 0 ? n : 1, sizeof *x->plan);
    return x->plan != NULL;
}

/* Room for entry n of a list that begins with `first` entries and doubles up to `max`; the list, moved
 * when it was full, or NULL. */
static void *room_for(struct np_exchange *x, void *list, size_t n, size_t first, size_t max,
                      size_t bytes)
{
    if (n >= max)
        return NULL;
    size_t cap = first;
    while (cap < n)
        cap *= 2;
    if (n > 0 && n < cap)
        return list;
    size_t more = n == 0 ? first : 2 * cap;
    void *longer = np_arena_array(x->arena, more < max ? more : max, bytes);
    if (longer && n > 0)
        memcpy(longer, list, n * bytes);
    return longer;
}

struct np_attempt *np_exchange_attempt(struct np_exchange *x)
{
    struct np_attempt *list =
        room_for(x, x->attempts, x->n_attempts, 1, NP_MAX_ATTEMPTS, sizeof *list);
    if (!list)
        return NULL;
    x->attempts = list;
    return &list[x->n_attempts];
}

struct np_hook_note *np_exchange_note_hook(struct np_exchange *x, enum np_hook hook, uint64_t ns,
                                           struct np_span returned, struct np_span why)
{
    x->hooks_ns += ns;
    struct np_hook_note *notes =
        room_for(x, x->notes, x->n_notes, FIRST_NOTES, NP_MAX_HOOK_NOTES, sizeof *notes);
    if (!notes) {
        x->notes_lost++;
        return NULL;
    }
    x->notes = notes;
    uint64_t us = ns / 1000;
    x->notes[x->n_notes] = (struct np_hook_note){
        .hook = hook,
        .us = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us,
        .ns = ns,
        .returned = returned,
        .why = why,
    };
    return &x->notes[x->n_notes++];
}

/* By hand, as each record has a few of them: printf would take as long as the rest of a hook's entry. */
struct np_span np_hook_note_place(const struct np_hook_note *h, char text[NP_HOOK_PLACE])
{
    char digits[12];
    size_t n = h->file ? strlen(h->file) : 0, k = sizeof digits;
    if (n == 0)
        return NP_SPAN_NONE;
    for (unsigned line = h->line; line > 0 || k == sizeof digits; line /= 10)
        digits[--k] = (char)('0' + line % 10);
    digits[--k] = ':';
    if (n > NP_HOOK_PLACE - sizeof digits)
        n = NP_HOOK_PLACE - sizeof digits;
    memcpy(text, h->file, n);
    memcpy(text + n, digits + k, sizeof digits - k);
    return np_span_make(text, n + sizeof digits - k);
}

void np_exchange_note_skip(struct np_exchange *x, const struct np_model *m, enum np_skip why)
{
    struct np_skipped *list =
        room_for(x, x->skipped, x->n_skipped, FIRST_SKIPS, NP_MAX_SKIPS, sizeof *list);
    if (!list)
        return;
    x->skipped = list;
    x->skipped[x->n_skipped++] = (struct np_skipped){.model = m,
                                                     .why = why,
                                                     .after_notes = (uint16_t)x->n_notes,
                                                     .after_attempts = (uint16_t)x->n_attempts};
}
