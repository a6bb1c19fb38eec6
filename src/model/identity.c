/* Looking for the two members; the rest of an answer is not walked through. */
#include "model/identity.h"

#include "base/json.h"

#include <stdint.h>

#define MEMBERS_MAX 8 /* OpenAI's model is the fourth member, Anthropic's the fourth or so */

/* A bit for each byte that may stand in an id: [A-Za-z0-9._:/@-]. */
static bool is_plain(char c)
{
    static const uint64_t allowed[4] = {UINT64_C(0x07ffe00000000000), UINT64_C(0x07fffffe87ffffff),
                                        0, 0};
    unsigned char u = (unsigned char)c;
    return allowed[u >> 6] >> (u & 63) & 1;
}

static struct np_span take(struct np_span value, struct np_arena *a)
{
    if (np_json_kind(value) != NP_JSON_STRING)
        return NP_SPAN_NONE;
    struct np_span s = np_json_inner(value);
    bool plain = s.n > 0 && s.n <= NP_IDENTITY_BYTES;
    for (size_t i = 0, n = plain ? s.n : 0; i < n; i++)
        plain &= is_plain(s.p[i]);
    s = plain ? np_arena_dup(a, s) : NP_SPAN_NONE;
    return s.p ? s : NP_SPAN_NONE;
}

bool np_identity_read(struct np_span json, struct np_arena *a, struct np_identity *out)
{
    struct np_span key, value, message = NP_SPAN_NONE;
    *out = (struct np_identity){0};
    if (np_json_kind(json) != NP_JSON_OBJECT)
        return false;
    struct np_json_walk w = np_json_walk(json);
    for (int i = 0; i < MEMBERS_MAX && np_json_member(&w, &key, &value); i++) {
        if (np_span_is(key, "id"))
            out->id = take(value, a);
        else if (np_span_is(key, "model"))
            out->model = take(value, a);
        else if (np_span_is(key, "message"))
            message = value;
        if (out->id.n > 0 && out->model.n > 0)
            return true;
    }
    bool any = out->id.n > 0 || out->model.n > 0;
    /* Anthropic's first event has all of it one level deeper. */
    return any || (message.p && np_identity_read(message, a, out));
}
