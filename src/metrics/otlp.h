/* Metrics for OpenTelemetry: what /metrics says, as OTLP has it. The text is read rather than its
 * sources, so that both always say the same. */
#ifndef NP_METRICS_OTLP_H
#define NP_METRICS_OTLP_H

#include "base/otlp.h"
#include "base/span.h"

struct np_otlp_scrape {
    uint64_t start_ns,
        now_ns; /* since 1970: since when counters count, and when the text was made */
    /* Attributes of a provider and model for gen_ai.client.*, as items of `field`. */
    void (*model)(void *ctx, struct np_otlp *o, unsigned field, struct np_span provider,
                  struct np_span model);
    void *ctx;
};

/* Appends every family of a text in Prometheus' format 0.0.4, as np_prometheus_write and np_prom_* write
 * it, as items of ScopeMetrics.metrics. Names and labels stay; families gen_ai_client_* get the names and
 * attributes of the conventions. Values that are no number are left out. */
void np_otlp_metrics(struct np_otlp *o, struct np_span text, const struct np_otlp_scrape *s);

#endif
