/* Provider adapters: pure Lua functions (lua/neap/providers/) that write a provider's request and read
 * its answer. They run in the worker's state outside the policies' sandbox and limits. Texts of the
 * request travel as raw JSON that is spliced, not re-encoded. Keys never enter Lua. */
#ifndef NP_SCRIPT_ADAPTER_H
#define NP_SCRIPT_ADAPTER_H

#include "model/exchange.h"
#include "model/stream.h"
#include "script/hooks.h"

#define NP_WIRE_FIELDS 32

struct np_wire_field {
    struct np_span name, value;
};

/* Loads the adapters into the state, once; else the first request that needs them does. NP_E_NOMEM or
 * NP_E_INVALID: the state's fault says why. */
enum np_err np_adapters_open(struct np_script *s) NP_MUST_CHECK;

/* A request as it will leave; everything in the exchange's arena. */
struct np_wire {
    struct np_span path; /* appended to the provider's base_url */
    struct np_wire_field fields[NP_WIRE_FIELDS];
    size_t n_fields;
    struct np_span body;
    bool hidden_tokens; /* the answer may cost tokens that it does not show */
};

/* NP_E_FULL: more headers than fit; NP_E_NOMEM; NP_E_INVALID: the adapter failed (its own fault;
 * *error says where). key NULL: no key is sent. */
enum np_err np_adapter_request(struct np_script *s, struct np_exchange *x,
                               const struct np_candidate *c, const struct np_secret *key,
                               struct np_wire *out, char error[256]) NP_MUST_CHECK;

/* How the adapter's streamed events are to be read; as long as the script lives. NULL without memory. */
const struct np_stream_form *np_adapter_stream(struct np_script *s, enum np_adapter adapter);

struct np_wire_reply {
    unsigned status;
    struct np_span content_type;
    struct np_span retry_after;    /* header, p NULL: none */
    struct np_span retry_after_ms; /* header */
    struct np_span request_id;     /* x-request-id or request-id */
    struct np_span body;           /* whole */
    int64_t wall_ms;               /* now, for HTTP dates */
};

/* Reads a whole reply of any status into *out; texts in x's arena. Never fails on what a provider may
 * send: what can't be understood is class bad_reply (or the class of its status). NP_E_NOMEM. */
enum np_err np_adapter_answer(struct np_script *s, struct np_exchange *x, const struct np_model *m,
                              const struct np_wire_reply *reply,
                              struct np_answer *out) NP_MUST_CHECK;

#endif
