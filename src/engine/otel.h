/* OpenTelemetry: spans and metrics to a collector, by OTLP over HTTP, asked for by the standard OTEL_*
 * variables of the environment. Workers write spans into their rings, the writer thread hands them on,
 * and a thread of its own sends them, and the metrics. Nothing waits for a collector: what finds no
 * place is dropped and counted. */
#ifndef NP_ENGINE_OTEL_H
#define NP_ENGINE_OTEL_H

#include "base/buf.h"
#include "base/ring.h"
#include "metrics/meters.h"
#include "model/trace.h"

struct neap_engine;
struct np_exchange;
struct np_http_call;
struct np_otel;

/* *out NULL where nothing is asked for. What is wrong in the environment is logged and left out, as the
 * standard wants it: it stops no start. NP_E_NOMEM. */
enum np_err np_otel_new(struct neap_engine *e, struct np_otel **out) NP_MUST_CHECK;
enum np_err np_otel_start(struct np_otel *o) NP_MUST_CHECK;
/* Sends what waits and the metrics once more, for at most 3 s, and ends the thread. After the writer has
 * drained the rings a last time, before the workers are freed. NULL and not started are fine. */
void np_otel_stop(struct np_otel *o);
/* After the workers are freed. */
void np_otel_free(struct np_otel *o);

/* For np_trace_begin; NULL: no spans are written. */
const struct np_trace_rule *np_otel_rule(const struct np_otel *o);
/* n spans, for the next message. */
void np_otel_take(struct np_otel *o, struct np_span spans, unsigned n);
/* The writer's: takes all that a worker's ring of spans holds; spans NULL: nothing. */
void np_otel_drain(struct np_otel *o, struct np_ring *spans);
/* neap_otel_*, for /metrics. */
void np_otel_metrics(struct np_otel *o, struct np_buf *out);

/* What a worker needs to write spans. */
struct np_otel_side {
    struct np_otel *otel; /* NULL: all below does nothing */
    struct np_ring
        *spans; /* to the writer, apart from records, so that neither pushes the other out;
                              a record's tag is its number of spans. NULL: no spans are written */
    struct np_meters *meters;
    struct np_buf scratch;
};

/* otel NULL: nothing is asked for. NP_E_NOMEM; *s may be freed then too. */
enum np_err np_otel_side_init(struct np_otel_side *s, struct np_otel *otel,
                              struct np_meters *meters) NP_MUST_CHECK;
void np_otel_side_free(struct np_otel_side *s);
/* A finished exchange. */
void np_otel_exchange(struct np_otel_side *s, const struct np_exchange *x);
/* A call that was refused before it became one; t has its trace. */
void np_otel_refused(struct np_otel_side *s, const struct np_trace *t, const struct np_refusal *r,
                     const char *request_id, const char *endpoint, struct np_span method,
                     uint64_t start_ns, uint64_t end_ns);

#endif
