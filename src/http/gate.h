/* The gate: what a request's head must be like before anybody looks at what it means. Private to
 * this room. */
#ifndef NP_HTTP_GATE_H
#define NP_HTTP_GATE_H

#include "base/span.h"
#include "http/front.h"
#include "model/class.h"

struct np_gate_fault {
    enum np_http_refusal cause;
    enum np_refusal_type type;
    char message[160];
};

/* Checks the head of a call whose headers are all in, and notes path, query, length, chunked and
 * expects in it. False fills *fault. */
bool np_gate_pass(struct np_http_call *c, struct np_gate_fault *fault);

/* "example.org:8080", "[::1]", "localhost:"; name keeps its brackets. False when it is malformed. */
bool np_gate_split_host(struct np_span host, struct np_span *name, struct np_span *port);
/* localhost, an address of 127/8, [::1]. */
bool np_gate_is_loopback(struct np_span name);
/* Whether an Origin is the server that the Host header names. */
bool np_gate_same_origin(struct np_span origin, struct np_span host);

#endif
