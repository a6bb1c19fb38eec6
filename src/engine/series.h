/* How requests went over time: per endpoint, and of all, the last 15 minutes by 5 seconds and the last
 * 24 hours by the minute. Workers add to totals that only grow (atomics, no lock); one thread takes
 * differences of them every 5 seconds, anybody reads under a short lock. Time is an argument. About
 * 100 KB for each endpoint that was used. */
#ifndef NP_ENGINE_SERIES_H
#define NP_ENGINE_SERIES_H

#include "base/buf.h"
#include "base/clock.h"
#include "model/catalog.h"

#define NP_SERIES_PATH "/api/series"
#define NP_SERIES_STEP_NS (UINT64_C(5) * NP_NS_PER_S)
#define NP_SERIES_WHY 128

enum np_series_span { NP_SERIES_15M, NP_SERIES_24H, NP_SERIES_SPANS };

struct np_series;

/* NULL without memory. The first period begins with the step that now lies in. */
struct np_series *np_series_new(uint64_t now_ns);
void np_series_free(struct np_series *s);

/* The end of a request, as the objectives count it. */
struct np_series_event {
    uint64_t latency_ns;
    int64_t cost_nusd;
    bool error, degraded; /* not the client's fault */
    bool client;          /* the client's fault, or it left */
};
/* From any thread; without memory it is not counted. */
void np_series_add(struct np_series *s, uint32_t endpoint_slot, const struct np_series_event *e);
/* Keeps what came since the last time, for each period that has ended. Always the same thread. */
void np_series_sample(struct np_series *s, uint64_t now_ns);
/* When the running step ends. */
uint64_t np_series_next_ns(uint64_t now_ns);

/* Reads the query of /api/series: span=15m (the default) or 24h. False: why says what it may be. */
bool np_series_read(struct np_span query, enum np_series_span *out, char why[NP_SERIES_WHY]);
/* Appends {"stepS", "from", "until", "all": {…}, "endpoints": [{"path", …}]}; lists of one figure a
 * step, the oldest first. Endpoints of the catalogue without a request in the span are left out. */
void np_series_json(struct np_series *s, const struct np_catalog *c, enum np_series_span span,
                    uint64_t now_ns, int64_t wall_ms, struct np_buf *out);

#endif
