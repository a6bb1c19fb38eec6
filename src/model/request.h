/* A client's request to a reply endpoint, read from its JSON body. Texts stay as views of the body in
 * their JSON form (escapes kept) until somebody needs them decoded. */
#ifndef NP_MODEL_REQUEST_H
#define NP_MODEL_REQUEST_H

#include "base/arena.h"
#include "base/json.h"
#include "base/span.h"
#include "model/class.h"

#include <stdint.h>

#define NP_MAX_MESSAGES 1024
#define NP_MAX_CONTEXT 1024
#define NP_MAX_STOP 4
#define NP_MAX_TOKENS 1048576

enum np_role { NP_ROLE_SYSTEM, NP_ROLE_USER, NP_ROLE_ASSISTANT, NP_ROLE_COUNT };

const char *np_role_name(enum np_role r);

/* content is raw JSON: a string, or a list of {"type":"text","text":…} parts. */
struct np_message {
    enum np_role role;
    struct np_span content;
    int64_t tokens; /* estimate, framing included */
    size_t bytes;   /* of its texts, unescaped at most */
};

struct np_context_item {
    struct np_span id;   /* raw JSON string */
    struct np_span text; /* raw JSON string */
    double priority;     /* 0 when not given */
    int64_t tokens;
    uint32_t index; /* its place in the request */
    bool pinned;
    bool kept; /* changed while an attempt is prepared */
};

struct np_request {
    struct np_message *messages; /* a prompt becomes one user message */
    size_t n_messages;
    struct np_span system; /* raw JSON string; p NULL: none */
    int64_t system_tokens;
    struct np_context_item *context;
    size_t n_context;
    int64_t max_tokens; /* -1: not given */
    double temperature; /* NaN: not given */
    struct np_span temperature_raw;
    struct np_span stop; /* raw JSON array of strings; p NULL: none */
    bool stream;
    struct np_span model;    /* decoded; empty: no wish */
    struct np_span metadata; /* raw JSON object; p NULL: none */
};

/* A fault of the caller's: what is answered. */
struct np_refusal {
    enum np_refusal_type type;
    unsigned status; /* normally the type's own */
    struct np_span message;
    struct np_span param; /* empty: null */
    struct np_span
        place; /* what records say for param, where that has a word of the client's; else no p */
    int64_t retry_after_s;    /* -1: not said */
    const char *tenant;       /* who asked; NULL: an exchange knows, or nobody does */
    struct np_span type_text; /* a policy's own type; empty: the type's name */
};

/* Reads a body. On NP_E_INVALID *refusal says what, where and what would be right: JSON faults with
 * line and column, unknown fields with a guess, wrong kinds and ranges with what was there (at most
 * 40 bytes of it, never of prompt, system, messages or context texts), twice-given and escaped names
 * of fields. NP_E_NOMEM else. */
enum np_err np_request_parse(struct np_arena *a, struct np_span body, struct np_request *out,
                             struct np_refusal *refusal) NP_MUST_CHECK;

/* Estimated prompt tokens with all context items that are kept. */
int64_t np_request_prompt_tokens(const struct np_request *r);
/* The most tokens that the prompt can have, by bytes, with kept items. */
int64_t np_request_prompt_bound(const struct np_request *r);
/* Whether any message but those of role system says something: not every provider takes less. */
bool np_request_asks(const struct np_request *r);
/* Keeps as many context items as fit into room tokens beside the rest of the prompt: pinned ones
 * always, then by priority, highest first, equal ones in their order. Returns the prompt's estimated
 * tokens after it (which may be over room when nothing is left to drop). */
int64_t np_request_keep_by_priority(struct np_request *r, int64_t room_tokens);
/* The system text as one raw JSON string: system, then each kept context item as
 * "\n\n[ID]\nTEXT"; p NULL when there is neither. In the arena. */
enum np_err np_request_system_json(struct np_arena *a, const struct np_request *r,
                                   struct np_span *out) NP_MUST_CHECK;

#endif
