/* Outcomes are told by what the note says was returned. */
#include "engine/test_tally.h"

#define ERROR (NP_TALLY_OUTCOMES - 1)

/* The first whose text the note begins with counts; "" is any text. */
struct outcome {
    const char *name, *begins;
};

#define NOTHING              \
    {                        \
        "nothing", "nothing" \
    }

static const struct outcome outcomes[NP_HOOK_COUNT][ERROR] = {
    [NP_HOOK_admit] = {NOTHING, {"refusal", ""}},
    [NP_HOOK_route] = {NOTHING, {"list", ""}},
    [NP_HOOK_truncate] = {NOTHING, {"list", ""}},
    [NP_HOOK_budget] = {NOTHING,
                        {"{max_tokens=}", "max_tokens"},
                        {"\"next\"", "next"},
                        {"\"degrade\"", "degrade"},
                        {"refusal", ""}},
    [NP_HOOK_retry] = {NOTHING,
                       {"{retry_in_ms=}", "retry_in_ms"},
                       {"\"next\"", "next"},
                       {"\"degrade\"", "degrade"},
                       {"\"fail\"", ""}},
    [NP_HOOK_respond] = {NOTHING, {"\"degrade\"", "degrade"}, {"text", ""}},
    [NP_HOOK_degrade] = {NOTHING, {"text", ""}},
    [NP_HOOK_alert] = {NOTHING, {"list", ""}},
};

const char *np_tally_outcome(enum np_hook hook, size_t i)
{
    return i == ERROR ? "error" : outcomes[hook][i].name;
}

static size_t classify(const struct np_hook_note *n)
{
    size_t i = 0;
    if (np_span_starts(n->returned, "failed: "))
        return ERROR;
    while (i < ERROR && outcomes[n->hook][i].name &&
           !np_span_starts(n->returned, outcomes[n->hook][i].begins))
        i++;
    return i < ERROR && outcomes[n->hook][i].name ? i : ERROR;
}

void np_tally_add(struct np_tally *t, const struct np_exchange *x)
{
    for (size_t i = 0; i < x->n_notes; i++) {
        const struct np_hook_note *n = &x->notes[i];
        t->hook[n->hook].calls++;
        t->hook[n->hook].ns += n->ns;
        t->hook[n->hook].steps += n->steps;
        t->hook[n->hook].outcomes[classify(n)]++;
    }
}
