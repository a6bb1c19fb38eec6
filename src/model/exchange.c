/* Birth and death of an exchange, and the notes that are taken on its way. It lies in its own arena. */
#include "model/exchange.h"

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
    x->request.max_tokens = -1;
    x->answer.retry_after_ms = -1;
    x->answer.limit_tokens = -1;
    x->outcome.retry_after_s = -1;
    return x;
}

void np_exchange_free(struct np_exchange *x)
{
    if (x)
        np_arena_free(x->arena);
}

struct np_hook_note *np_exchange_note_hook(struct np_exchange *x, enum np_hook hook, uint64_t ns,
                                           struct np_span returned, struct np_span why)
{
    x->hooks_ns += ns;
    if (x->n_notes == NP_MAX_HOOK_NOTES)
        return NULL;
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

void np_exchange_note_skip(struct np_exchange *x, const struct np_model *m, enum np_skip why)
{
    if (x->n_skipped == NP_MAX_SKIPS)
        return;
    x->skipped[x->n_skipped++] = (struct np_skipped){m, why, x->n_notes, x->n_attempts};
}
