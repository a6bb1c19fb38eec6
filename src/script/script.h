/* Inside of script/ only: what belongs to one worker and one policy set. */
#ifndef NP_SCRIPT_SCRIPT_H
#define NP_SCRIPT_SCRIPT_H

#include "script/fields.h"
#include "script/hooks.h"
#include "script/state.h"

/* What admit writes, kept beside the exchange until the hook has come to a good end. */
struct np_draft {
    struct np_request request;
    struct np_span tags;
    bool open;  /* admit runs */
    bool lists; /* messages, context or tags were handed out or set: look at them at the end */
};

struct np_script {
    struct np_state state;
    struct np_policyset *set;
    struct np_powers powers;
    bool timed;              /* else by steps */
    int handler;             /* where the message handler of hooks stays on the stack */
    int hook[NP_HOOK_COUNT]; /* registry; LUA_NOREF: absent */
    struct np_mark mark[NP_HOOK_COUNT];
    struct np_field_map fields;
    /* The call that runs; NULL outside. */
    struct np_exchange *x;
    enum np_reason reason; /* degrade's, for template() */
    struct np_draft draft;
    /* The handle of the exchange that had the last hook; over once another has one. */
    struct np_req_handle *req;
    char req_id[NP_ID_CLIENT_MAX + 1];
    int req_ref, req_meta;
    struct np_view *candidate, *attempt, *reply;
    int candidate_ref, attempt_ref, reply_ref;
    bool reply_changed; /* reply.text was written */
    /* The adapters' own (adapter.c); LUA_NOREF until they are loaded. */
    int adapters;
    struct np_stream_form
        *streams[NP_ADAPTER_COUNT]; /* set with them; streams under way read by it */
};

/* Loads hooks and libraries of another set into the same state. False: they do not load, the old ones
 * stay. For sessions: what is kept of the old ones is not freed. */
bool np_script_turn(struct np_script *s, struct np_policyset *set) NP_MUST_CHECK;

#endif
