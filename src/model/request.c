/* How long a request's prompt is, what of its context fits, and its system text. */
#include "model/request.h"

#include <stdlib.h>

#include "model/tokens.h"

/* Everything but context. */
static int64_t fixed_tokens(const struct np_request *r)
{
    int64_t n = r->system.p ? r->system_tokens : 0;
    for (size_t i = 0; i < r->n_messages; i++)
        n += r->messages[i].tokens;
    return n;
}

int64_t np_request_prompt_tokens(const struct np_request *r)
{
    int64_t n = fixed_tokens(r);
    for (size_t i = 0; i < r->n_context; i++)
        if (r->context[i].kept)
            n += r->context[i].tokens;
    return n;
}

int64_t np_request_prompt_bound(const struct np_request *r)
{
    size_t n = r->system.p ? r->system.n + NP_TOKENS_PER_MESSAGE : 0;
    for (size_t i = 0; i < r->n_messages; i++)
        n += r->messages[i].bytes + NP_TOKENS_PER_MESSAGE;
    /* The quotes around id and text make up for brackets and line ends that frame an item. */
    for (size_t i = 0; i < r->n_context; i++)
        if (r->context[i].kept)
            n += r->context[i].id.n + r->context[i].text.n + NP_TOKENS_PER_MESSAGE;
    return (int64_t)n;
}

bool np_request_asks(const struct np_request *r)
{
    for (size_t i = 0; i < r->n_messages; i++)
        if (r->messages[i].role != NP_ROLE_SYSTEM && r->messages[i].bytes > 0)
            return true;
    return false;
}

/* Highest priority first, then the order of the request. */
static int by_priority(const void *left, const void *right)
{
    const struct np_context_item *a = *(struct np_context_item *const *)left;
    const struct np_context_item *b = *(struct np_context_item *const *)right;
    if (a->priority > b->priority || a->priority < b->priority)
        return a->priority > b->priority ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

int64_t np_request_keep_by_priority(struct np_request *r, int64_t room_tokens)
{
    np_require(r->n_context <= NP_MAX_CONTEXT);
    struct np_context_item *loose[NP_MAX_CONTEXT];
    size_t n_loose = 0;
    int64_t tokens = fixed_tokens(r), all = 0;
    for (size_t i = 0; i < r->n_context; i++) {
        struct np_context_item *c = &r->context[i];
        c->kept = true;
        if (c->pinned)
            tokens += c->tokens;
        else
            loose[n_loose++] = c;
    }
    for (size_t i = 0; i < n_loose; i++)
        all += loose[i]->tokens;
    if (tokens + all <= room_tokens)
        return tokens + all;
    qsort(loose, n_loose, sizeof loose[0], by_priority);
    for (size_t i = 0; i < n_loose; i++) {
        loose[i]->kept = loose[i]->tokens <= room_tokens - tokens;
        if (loose[i]->kept)
            tokens += loose[i]->tokens;
    }
    return tokens;
}

static char *append(char *q, struct np_span s)
{
    if (s.n > 0)
        memcpy(q, s.p, s.n);
    return q + s.n;
}

enum np_err np_request_system_json(struct np_arena *a, const struct np_request *r,
                                   struct np_span *out)
{
    size_t max = r->system.p ? r->system.n : 2, n_kept = 0;
    for (size_t i = 0; i < r->n_context; i++) {
        if (r->context[i].kept) {
            max += r->context[i].id.n + r->context[i].text.n + sizeof "\\n\\n[]\\n";
            n_kept++;
        }
    }
    *out = r->system;
    if (n_kept == 0)
        return NP_OK;
    char *text = np_arena_bytes(a, max);
    if (!text)
        return NP_E_NOMEM;
    char *q = append(text, NP_SPAN("\""));
    if (r->system.p)
        q = append(q, np_json_inner(r->system));
    for (size_t i = 0; i < r->n_context; i++) {
        const struct np_context_item *c = &r->context[i];
        if (!c->kept)
            continue;
        if (q > text + 1)
            q = append(q, NP_SPAN("\\n\\n"));
        q = append(append(q, NP_SPAN("[")), np_json_inner(c->id));
        q = append(append(q, NP_SPAN("]\\n")), np_json_inner(c->text));
    }
    q = append(q, NP_SPAN("\""));
    *out = np_span_make(text, (size_t)(q - text));
    return NP_OK;
}
