/* A worker's side of OpenTelemetry: spans into its ring, figures into its meters. */
#include "engine/otel.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/otel_impl.h"

#define SPANS_MAX_BYTES ((size_t)256 << 10) /* of one request: at most 17 spans */
#define USUAL_BYTES 4096                    /* more than those of a plain one */
#define RING_BYTES (1u << 20)               /* what 20 ms of full load write, several times over */

enum np_err np_otel_side_init(struct np_otel_side *s, struct np_otel *otel,
                              struct np_meters *meters)
{
    *s = (struct np_otel_side){.otel = otel, .meters = meters};
    np_buf_init(&s->scratch, SPANS_MAX_BYTES);
    if (!np_otel_rule(otel))
        return NP_OK;
    s->spans = np_ring_new(RING_BYTES);
    return s->spans ? NP_OK : NP_E_NOMEM;
}

void np_otel_side_free(struct np_otel_side *s)
{
    np_buf_free(&s->scratch);
    np_ring_free(s->spans);
    s->spans = NULL;
}

static struct np_span_facts facts_of(const struct np_otel_side *s)
{
    return (struct np_span_facts){.https = s->otel->engine->tls != NULL,
                                  .unix_offset_ns = np_clock_unix_offset_ns()};
}

static void begin(struct np_otel_side *s, struct np_otlp *w, struct np_buf *b)
{
    np_otlp_init(w, b, s->otel->config.traces.json);
}

static void put(struct np_otel_side *s, unsigned n)
{
    if (np_buf_failed(&s->scratch) || !np_ring_put(s->spans, n, np_buf_view(&s->scratch)))
        np_otel_lost(s->otel, n);
}

/* gen_ai.client.*: what was called, by how it ended. */
static void count(struct np_otel_side *s, const struct np_exchange *x)
{
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct np_attempt *a = &x->attempts[i];
        uint32_t slot = a->model->slot;
        uint64_t end_ns = a->end_ns ? a->end_ns : x->end_ns;
        if (end_ns > a->start_ns)
            np_meter_observe(s->meters, NP_FAMILY_genai_duration, slot, (uint32_t)a->class,
                             (int64_t)(end_ns - a->start_ns));
        if (x->request.stream && a->first_byte_ns > a->start_ns)
            np_meter_observe(s->meters, NP_FAMILY_genai_first_chunk, slot, 0,
                             (int64_t)(a->first_byte_ns - a->start_ns));
        if (a->usage.prompt > 0)
            np_meter_observe(s->meters, NP_FAMILY_genai_tokens, slot, NP_TOK_INPUT,
                             a->usage.prompt);
        if (a->usage.completion > 0)
            np_meter_observe(s->meters, NP_FAMILY_genai_tokens, slot, NP_TOK_OUTPUT,
                             a->usage.completion);
    }
}

/* In the ring itself, where there is room; else by way of the scratch. */
static void put_spans(struct np_otel_side *s, const struct np_exchange *x)
{
    struct np_otlp w;
    struct np_buf b;
    struct np_span_facts facts = facts_of(s);
    if (np_ring_open(s->spans, USUAL_BYTES, &b)) {
        begin(s, &w, &b);
        unsigned n = np_trace_spans(&w, x, &facts);
        if (np_ring_close(s->spans, n, &b))
            return;
    }
    np_buf_reset(&s->scratch);
    begin(s, &w, &s->scratch);
    put(s, np_trace_spans(&w, x, &facts));
}

void np_otel_exchange(struct np_otel_side *s, const struct np_exchange *x)
{
    if (!s->otel)
        return;
    if (s->otel->config.metrics.on)
        count(s, x);
    if (!s->spans || !x->trace.sampled)
        return;
    put_spans(s, x);
}

void np_otel_refused(struct np_otel_side *s, const struct np_trace *t, const struct np_refusal *r,
                     const char *request_id, const char *endpoint, struct np_span method,
                     uint64_t start_ns, uint64_t end_ns)
{
    struct np_otlp w;
    if (!s->spans || !t->sampled)
        return;
    struct np_span_facts facts = facts_of(s);
    np_buf_reset(&s->scratch);
    begin(s, &w, &s->scratch);
    np_trace_refused(&w, t, r, request_id, endpoint, method, start_ns, end_ns, &facts);
    put(s, 1);
}
