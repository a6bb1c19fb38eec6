/* Where an exchange stands in a distributed trace (W3C Trace Context), and the spans that it leaves
 * behind for OpenTelemetry: one for the request, one for each attempt. A span holds names of the
 * operator's, figures and classes, never a text of client, policy or provider. */
#ifndef NP_MODEL_TRACE_H
#define NP_MODEL_TRACE_H

#include "base/otlp.h"
#include "base/rng.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define NP_TRACE_ID_BYTES 16
#define NP_SPAN_ID_BYTES 8
#define NP_TRACEPARENT_BYTES 56 /* with its NUL */
#define NP_TRACESTATE_MAX 512   /* longer ones are not passed on */

struct np_exchange;
struct np_arena;
struct np_endpoint;
struct np_model;
struct np_refusal;

struct np_trace {
    uint8_t id[NP_TRACE_ID_BYTES];
    uint8_t parent[NP_SPAN_ID_BYTES]; /* the client's span; with has_parent */
    uint8_t span[NP_SPAN_ID_BYTES];   /* the request's own; with own */
    uint8_t flags;                    /* the client's */
    bool known;                       /* there is a trace */
    bool has_parent;                  /* it came from the client */
    bool own;                         /* calls are children of a span of ours, not the client's */
    bool sampled;                     /* spans are written */
    struct np_span state;             /* tracestate, as it came; n 0: none */
};

/* OTEL_TRACES_SAMPLER. */
enum np_sample { NP_SAMPLE_NONE, NP_SAMPLE_ALL, NP_SAMPLE_RATIO };

struct np_trace_rule {
    enum np_sample root; /* for traces that begin here, and with !follow for all */
    bool follow;         /* the client's decision counts where there is one */
    double ratio;        /* of NP_SAMPLE_RATIO: 0 to 1 */
};

/* The trace of a request, from its headers (p NULL: there is none). rule NULL: no spans are written
 * here, what the client sent is only passed on. What is no valid traceparent counts as none. state is
 * not copied. */
void np_trace_begin(struct np_trace *t, const struct np_trace_rule *rule, struct np_rng *rng,
                    struct np_span traceparent, struct np_span tracestate);

/* The traceparent for the provider of the n-th attempt, from 1; the trace is known. */
void np_trace_header(const struct np_trace *t, unsigned attempt, char out[NP_TRACEPARENT_BYTES]);
/* The id of the n-th attempt's span: the request's own, spread by the number. */
void np_trace_attempt_id(const struct np_trace *t, unsigned attempt, uint8_t out[NP_SPAN_ID_BYTES]);
/* The trace's id as 32 hex digits. */
void np_trace_hex(const struct np_trace *t, char out[2 * NP_TRACE_ID_BYTES + 1]);

/* What spans say beside the exchange. */
struct np_span_facts {
    bool https;             /* clients speak TLS */
    int64_t unix_offset_ns; /* what is added to a monotonic time to have it since 1970 */
};

/* Writes down, in protobuf, what every span says of an endpoint or of a model; either may be NULL. NP_E_NOMEM. */
enum np_err np_trace_parts(struct np_arena *a, struct np_endpoint *e,
                           struct np_model *m) NP_MUST_CHECK;
/* Appends the spans of a finished exchange as items of ScopeSpans.spans; how many. */
unsigned np_trace_spans(struct np_otlp *o, const struct np_exchange *x,
                        const struct np_span_facts *facts);
/* Attributes of calls of a model, for spans and metrics: gen_ai.* and server.*, as items of `field`. */
void np_trace_model(struct np_otlp *o, unsigned field, const struct np_model *m, bool with_port);
/* The one span of a call that was refused before it became an exchange. endpoint NULL: not known. */
void np_trace_refused(struct np_otlp *o, const struct np_trace *t, const struct np_refusal *r,
                      const char *request_id, const char *endpoint, struct np_span method,
                      uint64_t start_ns, uint64_t end_ns, const struct np_span_facts *facts);

#endif
