/* The end of an exchange: from what happened to metrics, statistics, decision record and log line, and
 * then its memory is freed. This is the only place that does any of it. */
#ifndef NP_ENGINE_ACCOUNT_H
#define NP_ENGINE_ACCOUNT_H

#include "base/buf.h"
#include "base/ring.h"
#include "engine/otel.h"
#include "engine/series.h"
#include "guard/guard.h"
#include "guard/till.h"
#include "metrics/meters.h"
#include "model/exchange.h"

#define NP_ACCOUNT_RECORD_MAX_BYTES (4u << 20)

struct np_account_env {
    struct np_guard *guard;
    struct np_meters *meters;
    struct np_till *till;      /* NULL: nobody keeps books */
    struct np_ring *decisions; /* NULL: none are written */
    struct np_buf *text;       /* a record is made in it; its owner's */
    bool bodies;               /* prompts and replies go into the records */
    struct np_otel_side *otel; /* NULL: no spans */
    struct np_series *series;  /* NULL: what the dashboard draws is not kept */
};

/* x->end_ns is set, its driver is idle. Frees x. told: with log line and record. */
void np_account_close(const struct np_account_env *env, struct np_exchange *x, bool told);
/* The status that the client got; 499 where it left before it could be told. */
unsigned np_account_status(const struct np_exchange *x);
/* The record of a call that was refused before it became an exchange. endpoint NULL: not known. */
void np_account_refusal(const struct np_account_env *env, const struct np_refusal *r,
                        const char *request_id, const struct np_endpoint *endpoint,
                        uint64_t took_ns);

#endif
