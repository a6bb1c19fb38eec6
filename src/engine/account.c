/* What a finished exchange leaves behind. */
#include "engine/account.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/drive.h"
#include "model/record.h"

#define KEPT_BYTES 16384
#define USUAL_BYTES 4096 /* more than a plain request's record has */
#define TILL_ATTEMPTS 32 /* more than max_attempts and every key together */

unsigned np_account_status(const struct np_exchange *x)
{
    return x->client_gone && !x->outcome.status ? 499 : x->outcome.status;
}

/* The exchange's entries of the book, and one an attempt. */
static void enter(const struct np_account_env *env, const struct np_exchange *x, unsigned status,
                  bool caller, uint64_t slo_ns)
{
    struct np_till_entry e[2 + TILL_ATTEMPTS];
    struct np_till_sum sum = {.n = 1,
                              .bad = !caller && (status >= 500 || x->outcome.broken),
                              .refused = caller,
                              .degraded = x->outcome.degraded};
    size_t n = 2;
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct np_attempt *a = &x->attempts[i];
        int64_t presumed = a->settled == NP_SETTLED_PRESUMED ? a->cost_nusd : 0;
        sum.cost_nusd += a->cost_nusd;
        sum.presumed_nusd += presumed;
        if (n < sizeof e / sizeof *e)
            e[n++] = (struct np_till_entry){.kind = NP_TILL_MODEL,
                                            .slot = a->model->slot,
                                            .sum = {.n = 1,
                                                    .bad = a->class != NP_CLASS_ok,
                                                    .cost_nusd = a->cost_nusd,
                                                    .presumed_nusd = presumed}};
    }
    e[0] = (struct np_till_entry){.kind = NP_TILL_ENDPOINT,
                                  .slot = x->endpoint->slot,
                                  .sum = sum,
                                  .latency_ns = caller ? 0 : slo_ns};
    e[1] = (struct np_till_entry){.kind = NP_TILL_TENANT, .slot = x->tenant->slot, .sum = sum};
    np_till_add(env->till, x->at_wall_ms + (int64_t)((x->end_ns - x->accept_ns) / NP_NS_PER_MS), e,
                n);
}

static void count(const struct np_account_env *env, const struct np_exchange *x)
{
    uint32_t endpoint = x->endpoint->slot;
    unsigned status = np_account_status(x);
    uint64_t took_ns = x->end_ns - x->accept_ns;
    uint64_t own_ns = took_ns > x->upstream_ns ? took_ns - x->upstream_ns : 0;
    bool caller = (status >= 400 && status < 500) || x->client_gone;
    /* What a client waits for of a stream is its first text. */
    uint64_t slo_ns = x->first_text_ns ? x->first_text_ns - x->accept_ns : took_ns;
    np_meter_add(env->meters, NP_FAMILY_requests, endpoint, status, x->outcome.degraded, 1);
    np_meter_observe(env->meters, NP_FAMILY_request_duration, endpoint, 0, (int64_t)took_ns);
    np_meter_observe(env->meters, NP_FAMILY_overhead, endpoint, 0, (int64_t)own_ns);
    if (x->outcome.degraded)
        np_meter_add(env->meters, NP_FAMILY_degraded, endpoint, (uint32_t)x->outcome.reason, 0, 1);
    if (x->outcome.degraded && x->outcome.reason == NP_REASON_shed)
        np_meter_add(env->meters, NP_FAMILY_shed, NP_SHED_BUSY, 0, 0, 1);
    bool bad = status >= 500 || x->outcome.broken;
    np_stat_exchange(env->guard, x->endpoint, x->end_ns, slo_ns, bad, !caller, x->outcome.degraded,
                     x->cost_nusd);
    if (env->till)
        enter(env, x, status, caller, slo_ns);
    const struct np_series_event event = {.latency_ns = slo_ns,
                                          .cost_nusd = x->cost_nusd,
                                          .error = !caller && bad,
                                          .degraded = !caller && x->outcome.degraded,
                                          .client = caller};
    if (env->series)
        np_series_add(env->series, endpoint, &event);
}

/* Records of usual length are made in the same memory, one after the other. */
static void hand_over(const struct np_account_env *env)
{
    struct np_buf *b = env->text;
    if (!np_buf_failed(b))
        (void)np_ring_put(env->decisions, NP_RING_TAG_DECISION, np_buf_view(b));
    if (b->cap > KEPT_BYTES)
        np_buf_free(b);
    np_buf_reset(b);
}

/* It is made in the ring itself, where there is room. */
static void put_record(const struct np_account_env *env, const struct np_exchange *x)
{
    struct np_buf b;
    if (np_ring_open(env->decisions, USUAL_BYTES, &b)) {
        np_record_decision(&b, x, env->bodies);
        if (np_ring_close(env->decisions, NP_RING_TAG_DECISION, &b))
            return;
    }
    np_record_decision(env->text, x, env->bodies);
    hand_over(env);
}

void np_account_refusal(const struct np_account_env *env, const struct np_refusal *r,
                        const char *request_id, const struct np_endpoint *endpoint,
                        uint64_t took_ns)
{
    if (!env->decisions)
        return;
    np_record_refusal(env->text, r, request_id, np_clock_wall_ms(&np_clock_live),
                      endpoint ? endpoint->path : NULL, took_ns);
    hand_over(env);
}

static void log_line(const struct np_exchange *x)
{
    const struct np_attempt *last = x->n_attempts ? &x->attempts[x->n_attempts - 1] : NULL;
    int64_t tokens = 0;
    for (size_t i = 0; i < x->n_attempts; i++)
        tokens += x->attempts[i].usage.prompt + x->attempts[i].usage.completion;
    const char *model = x->answered_by ? x->answered_by->name : last ? last->model->name : "-";
    struct np_span outcome = np_record_outcome(x);
    const char *reason = np_span_is(outcome, "degraded") ? np_reason_name(x->outcome.reason) : "-";
    np_log(NP_LOG_INFO, "request", NP_KVS("request", x->id), NP_KVS("endpoint", x->endpoint->path),
           NP_KVS("tenant", x->tenant->name), NP_KVI("status", np_account_status(x)),
           NP_KVV("outcome", outcome), NP_KVS("reason", reason), NP_KVS("model", model),
           NP_KVI("tokens", tokens), NP_KVM("cost_usd", x->cost_nusd),
           NP_KVI("attempts", x->n_attempts),
           NP_KVI("ms", (x->end_ns - x->accept_ns) / NP_NS_PER_MS), NP_KVS("policy", x->policy));
}

void np_account_close(const struct np_account_env *env, struct np_exchange *x, bool told)
{
    np_require(x->reserved_nusd == 0);
    count(env, x);
    if (told && env->decisions)
        put_record(env, x);
    if (told && env->otel)
        np_otel_exchange(env->otel, x);
    if (told)
        log_line(x);
    np_drive_free(x);
    np_exchange_free(x);
}
