/* Counters, gauges and histograms, each thread with its own, merged when scraped. The owning thread
 * writes without locks (relaxed atomics that nobody else writes); any thread may read.
 *
 * A series is a family of the table below and up to three label values, given as small numbers: the
 * slots of the process's intern tables, enum values or plain numbers such as an HTTP status. */
#ifndef NP_METRICS_METERS_H
#define NP_METRICS_METERS_H

#include "base/buf.h"
#include "base/err.h"
#include "model/catalog.h"
#include "model/class.h"

#include <stdint.h>

/* How a label's number becomes text. */
enum np_label_kind {
    NP_LABEL_NONE, /* no label */
    NP_LABEL_PAIR, /* two labels: provider and model, from the pair's slot */
    NP_LABEL_PROVIDER,
    NP_LABEL_ENDPOINT,
    NP_LABEL_HOOK,
    NP_LABEL_CLASS,
    NP_LABEL_SKIP,
    NP_LABEL_REASON,
    NP_LABEL_NUMBER,
    NP_LABEL_TRUTH, /* "true" or "false" */
    NP_LABEL_TEXT   /* index into the family's own list of texts */
};

/* What is stored and as what it is shown. */
enum np_unit {
    NP_UNIT_COUNT,
    NP_UNIT_MS,      /* nanoseconds, shown as milliseconds */
    NP_UNIT_SECONDS, /* nanoseconds, shown as seconds */
    NP_UNIT_USD      /* nano-dollars, shown as dollars */
};

/*    family, type, name, unit, labels (the sets are in families.c, in the order of a, b, c), help.
 * The buckets of a histogram go by its family: families.c. */
#define NP_FAMILIES(X)                                                                            \
    X(llm_latency, HIST, "llm_latency_ms", MS, pair,                                              \
      "Time of a provider call, from its start to its end, however it ended.")                    \
    X(llm_ttft, HIST, "llm_ttft_ms", MS, pair,                                                    \
      "Time from the start of a streamed provider call to its first token.")                      \
    X(llm_connect, HIST, "llm_connect_ms", MS, pair,                                              \
      "Time to connect to a provider, TLS included; reused connections are left out.")            \
    X(llm_cost, HIST, "llm_cost_usd", USD, pair, "Cost of one provider call.")                    \
    X(llm_cost_total, COUNTER, "llm_cost_usd_total", USD, pair,                                   \
      "Cost of all provider calls, exact to the nano-dollar.")                                    \
    X(llm_tokens, COUNTER, "llm_tokens_total", COUNT, tokens,                                     \
      "Tokens by kind; cached and cache_write are parts of prompt, reasoning of completion.")     \
    X(llm_retry, COUNTER, "llm_retry_total", COUNT, retry,                                        \
      "Provider calls that were repeated, by the HTTP status that led to it (0: none).")          \
    X(llm_attempts, COUNTER, "llm_attempts_total", COUNT, attempts,                               \
      "Provider calls by the class in which they ended.")                                         \
    X(llm_skipped, COUNTER, "llm_skipped_total", COUNT, skipped,                                  \
      "Candidates that were passed over without a call.")                                         \
    X(llm_unpriced, COUNTER, "llm_unpriced_total", COUNT, pair,                                   \
      "Provider calls of models that have no price.")                                             \
    X(llm_inflight, GAUGE, "llm_inflight", COUNT, pair, "Provider calls under way.")              \
    X(requests, COUNTER, "neap_requests_total", COUNT, requests,                                  \
      "Requests answered, by HTTP status and whether the reply was degraded.")                    \
    X(request_duration, HIST, "neap_request_duration_seconds", SECONDS, endpoint,                 \
      "Time from accepting a request to the last byte of its reply.")                             \
    X(overhead, HIST, "neap_overhead_seconds", SECONDS, endpoint,                                 \
      "Time that a request spent in neap itself.")                                                \
    X(degraded, COUNTER, "neap_degraded_total", COUNT, degraded,                                  \
      "Degraded replies by what stood in the way last.")                                          \
    X(hedges, COUNTER, "neap_hedges_total", COUNT, hedges,                                        \
      "Slow requests for which a second provider was to be asked, by what became of it.")         \
    X(hook_duration, HIST, "neap_hook_duration_seconds", SECONDS, hook, "Time of one hook call.") \
    X(hook_errors, COUNTER, "neap_hook_errors_total", COUNT, hook_errors,                         \
      "Hook calls that failed and were replaced by the default.")                                 \
    X(hook_stall, COUNTER, "neap_hook_stall_total", COUNT, hook,                                  \
      "Hook calls stopped more than 20 ms late: not the policy's fault but neap's.")              \
    X(shed, COUNTER, "neap_shed_total", COUNT, shed, "Requests refused to shed load.")            \
    X(http_refused, COUNTER, "neap_http_refused_total", COUNT, http_refused,                      \
      "Requests refused before they reached an endpoint.")                                        \
    X(genai_duration, HIST, "gen_ai_client_operation_duration_seconds", SECONDS, attempts,        \
      "Time of a provider call; with OpenTelemetry's metrics on.")                                \
    X(genai_first_chunk, HIST, "gen_ai_client_operation_time_to_first_chunk_seconds", SECONDS,    \
      pair, "Time to a stream's first text; with OpenTelemetry's metrics on.")                    \
    X(genai_tokens, HIST, "gen_ai_client_token_usage", COUNT, token_type,                         \
      "Tokens of one provider call; with OpenTelemetry's metrics on.")

enum np_family {
#define NP_FAMILY_ENUM(family, type, name, unit, labels, help) NP_FAMILY_##family,
    NP_FAMILIES(NP_FAMILY_ENUM)
#undef NP_FAMILY_ENUM
        NP_FAMILY_COUNT
};

/* Hook failures by kind, the label of hook_errors. */
enum np_hook_failure {
    NP_HOOK_FAIL_ERROR,
    NP_HOOK_FAIL_TIME,
    NP_HOOK_FAIL_MEMORY,
    NP_HOOK_FAIL_TYPE
};
/* Token kinds, the label of llm_tokens. */
enum np_token_kind {
    NP_TOK_PROMPT,
    NP_TOK_COMPLETION,
    NP_TOK_CACHED,
    NP_TOK_CACHE_WRITE,
    NP_TOK_REASONING
};
/* The label of genai_tokens. */
enum np_token_type { NP_TOK_INPUT, NP_TOK_OUTPUT };
/* Causes of shedding, the label of shed. */
enum np_shed_cause {
    NP_SHED_BUSY, /* the providers' max_inflight: a degraded reply */
    NP_SHED_MEMORY,
    NP_SHED_DRAINING,
    NP_SHED_INFLIGHT, /* --max-inflight */
    NP_SHED_CPU,
    NP_SHED_LATE /* too little time was left */
};

struct np_meters; /* one thread's */

/* NULL without memory. */
struct np_meters *np_meters_new(void);
void np_meters_free(struct np_meters *m);

/* Adds to a counter (or gauge; then amount may be negative). a, b, c: label numbers below 65,536, 0
 * where the family has no such label. Money counters take nano-dollars. A table that is full drops
 * the addition and counts the loss (neap_meter_lost_total). */
void np_meter_add(struct np_meters *m, enum np_family f, uint32_t a, uint32_t b, uint32_t c,
                  int64_t amount);
/* Adds one observation: nanoseconds for time histograms, nano-dollars for money. */
void np_meter_observe(struct np_meters *m, enum np_family f, uint32_t a, uint32_t b, int64_t value);

/* The sum over threads of one series, of a histogram the number of observations; for tests, status
 * and the admin API. */
int64_t np_meters_sum(struct np_meters *const *all, size_t n, enum np_family f, uint32_t a,
                      uint32_t b, uint32_t c);

/* Everything in Prometheus text 0.0.4, families with HELP and TYPE, in the order of the table; names
 * from slots. A family without a series is left out. The caller appends what is read elsewhere
 * (gauges of guards, ledger, process) by np_prom_*. Without memory out is marked failed. */
void np_prometheus_write(struct np_buf *out, struct np_meters *const *all, size_t n,
                         const struct np_slots *slots);

/* For gauges and counters that are read elsewhere when scraped. A family's head must come before its
 * samples; labels is the finished inside of the braces or NULL, values made by np_prom_label. */
void np_prom_head(struct np_buf *out, const char *name, const char *type, const char *help);
void np_prom_f64(struct np_buf *out, const char *name, const char *labels, double v);
void np_prom_i64(struct np_buf *out, const char *name, const char *labels, int64_t v);
void np_prom_nusd(struct np_buf *out, const char *name, const char *labels, int64_t nusd);
/* Appends name="value" escaped, with a comma before it when out is not empty. */
void np_prom_label(struct np_buf *out, const char *name, const char *value);
/* process_* of this process (cpu seconds, resident and virtual memory, open and max fds, start). */
void np_prom_process(struct np_buf *out);

#endif
