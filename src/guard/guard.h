/* The guards of all workers: breakers, limits in flight, retry budgets, holds on keys, sliding
 * statistics. Pure logic; time is an argument (monotonic nanoseconds unless said). Every function
 * may be called from any thread: state is atomics or a short lock, never held across I/O. */
#ifndef NP_GUARD_GUARD_H
#define NP_GUARD_GUARD_H

#include "base/rng.h"
#include "model/catalog.h"
#include "model/class.h"

#include <stdint.h>

struct np_guard;

struct np_guard *np_guard_new(uint64_t seed);
void np_guard_free(struct np_guard *g);

/* --- breakers: one a pair of provider and model ------------------------------------------------ */

enum np_breaker_state { NP_BREAKER_CLOSED, NP_BREAKER_HALF_OPEN, NP_BREAKER_OPEN };

const char *np_breaker_state_name(enum np_breaker_state s);

enum np_pass { NP_PASS_YES, NP_PASS_PROBE, NP_PASS_NO };

/* Whether the pair may be called. NP_PASS_PROBE takes the one probe: it must be given back by
 * np_breaker_report or np_breaker_release. */
enum np_pass np_breaker_ask(struct np_guard *g, const struct np_model *m, uint64_t now_ns);
/* Whether it would let a call pass, without taking the probe. */
bool np_breaker_would_pass(struct np_guard *g, const struct np_model *m, uint64_t now_ns);
/* How an attempt ended. retry_after_ms: -1 when not said. A class that does not count (caller's
 * faults, deadline, credential, …) only gives the probe back. */
void np_breaker_report(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                       enum np_class c, int64_t retry_after_ms, bool probe);
/* Gives a probe back unused. */
void np_breaker_release(struct np_guard *g, const struct np_model *m, uint64_t now_ns);
enum np_breaker_state np_breaker_get(struct np_guard *g, const struct np_model *m, uint64_t now_ns);
/* Nanoseconds until it lets a probe pass; 0 when it does now. */
uint64_t np_breaker_wait_ns(struct np_guard *g, const struct np_model *m, uint64_t now_ns);

struct np_breaker_view {
    enum np_breaker_state state;
    unsigned failures_in_row;
    unsigned calls, failed;   /* in the window */
    uint64_t opened, wait_ns; /* how often it opened; how long it stays so */
    enum np_class last_class; /* NP_CLASS_COUNT: none */
};
void np_breaker_view(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                     struct np_breaker_view *out);

/* --- calls in flight a provider ---------------------------------------------------------------- */

/* Takes a place; false when max_inflight are taken. */
bool np_inflight_take(struct np_guard *g, const struct np_provider *p);
void np_inflight_give(struct np_guard *g, const struct np_provider *p);
int64_t np_inflight_get(struct np_guard *g, const struct np_provider *p);

/* --- retry budget a provider: full at 10; 0.1 back a first attempt, 1 off a repeat or hedge; none is
 * granted at 5 or below ------------------------------------------------------------------------- */

void np_retry_budget_first(struct np_guard *g, const struct np_provider *p);
bool np_retry_budget_take(struct np_guard *g, const struct np_provider *p);
/* What was just taken was not used. */
void np_retry_budget_give(struct np_guard *g, const struct np_provider *p);
double np_retry_budget_tokens(struct np_guard *g, const struct np_provider *p);

/* --- hedges: of the requests of an endpoint in the last minute that might have had one, at most one in
 * twenty has -------------------------------------------------------------------------------------- */

/* A request that might have a second call beside its first. */
void np_hedge_share_count(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns);
/* Whether one may be made now. */
bool np_hedge_share_left(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns);
bool np_hedge_share_take(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns);
/* What was just taken was not used. */
void np_hedge_share_give(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns);

/* --- keys: holds after 401, 403 (60 s, doubling to an hour), 429 (its Retry-After), quota -------- */

/* The key to use next: those without a hold take turns. `tried` is a bit per index of p->keys that
 * this exchange used already. Returns p->n_keys when every key is held or tried, and then the time
 * until the first hold ends in *wait_ns. With n_keys 0: 0. */
size_t np_key_pick(struct np_guard *g, const struct np_provider *p, uint32_t tried, uint64_t now_ns,
                   uint64_t *wait_ns);
/* class credential: doubling hold; rate_limited or quota: hold for retry_after_ms (quota: at least
 * 5 minutes); ok: its doubling starts anew. With a single key rate_limited holds nothing: the
 * breaker and Retry-After do. */
void np_key_report(struct np_guard *g, const struct np_provider *p, size_t key, uint64_t now_ns,
                   enum np_class c, int64_t retry_after_ms);

/* Whether the key is held because a provider did not take it (401, 403). */
bool np_key_refused(struct np_guard *g, const struct np_secret *key, uint64_t now_ns);

/* --- sliding statistics: the last 5 minutes ---------------------------------------------------- */

/* An attempt's latency, good ones only. */
void np_stat_attempt(struct np_guard *g, const struct np_model *m, uint64_t now_ns,
                     uint64_t latency_ns, bool ok, int64_t completion_tokens);
/* An exchange's end, replies of all kinds. */
void np_stat_exchange(struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns,
                      uint64_t latency_ns, bool bad, bool counted, bool degraded,
                      int64_t cost_nusd);
/* Milliseconds; -1 when fewer than 20 were seen. */
double np_stat_model_p95_ms(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns);
double np_stat_model_p50_ms(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns);
double np_stat_endpoint_p95_ms(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns);
/* 0..1; 0 when nothing was seen. */
double np_stat_model_error_rate(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns);
double np_stat_endpoint_error_rate(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns);
/* The p95 of completion tokens of a pair; where those 5 minutes had fewer than 20, of its last 64; -1 when there
 * never were 20. For presumed costs. */
int64_t np_stat_completion_p95(struct np_guard *g, uint32_t pair_slot, uint64_t now_ns);

/* --- token estimates: a running ratio of reported to estimated prompt tokens a pair ------------- */

/* A provider reported the prompt tokens of a call whose prompt was estimated (uncorrected). Short
 * prompts teach nothing (of them framing is too large a part), nor what is no count of the prompt:
 * below a quarter of the estimate, or above four times as many. */
void np_ratio_learn(struct np_guard *g, uint32_t pair_slot, int64_t estimated, int64_t reported);
/* An estimate as the pair's tokenizer is likely to count it; the estimate itself while nothing was
 * learnt. Never negative. */
int64_t np_ratio_apply(struct np_guard *g, uint32_t pair_slot, int64_t estimated);
/* How many estimated tokens the pair counts as so many: the inverse, rounded down. */
int64_t np_ratio_invert(struct np_guard *g, uint32_t pair_slot, int64_t counted);

/* --- SLO burn: bad share over the window divided by the objective ------------------------------ */

enum np_objective { NP_OBJ_P95, NP_OBJ_ERRORS, NP_OBJ_DEGRADED, NP_OBJ_COST, NP_OBJ_COUNT };
enum np_burn_window { NP_BURN_5M, NP_BURN_30M, NP_BURN_1H, NP_BURN_6H, NP_BURN_3D, NP_BURN_COUNT };

const char *np_objective_name(enum np_objective o); /* p95_ms error_rate degraded_rate cost_usd */
const char *np_burn_window_name(enum np_burn_window w); /* 5m … */
/* 0 when nothing was seen. P95: share of slow replies over 5 %; cost: mean cost over the objective. */
double np_slo_burn(struct np_guard *g, const struct np_endpoint *e, enum np_objective o,
                   enum np_burn_window w, uint64_t now_ns);

/* What the burn rates of a window stand on. */
struct np_slo_view {
    uint64_t total;               /* replies of all kinds */
    uint64_t counted;             /* those that are not the caller's fault */
    uint64_t slow, bad, degraded; /* of these: above the objective, failed, degraded */
    double cost_nusd;             /* of all; shown, never reckoned with */
};
void np_slo_look(struct np_guard *g, const struct np_endpoint *e, enum np_burn_window w,
                 uint64_t now_ns, struct np_slo_view *out);
/* How many replies of the window were bad by the objective; by cost: how many there were. */
uint64_t np_slo_bad(struct np_guard *g, const struct np_endpoint *e, enum np_objective o,
                    enum np_burn_window w, uint64_t now_ns);

/* One minute of an endpoint, for keeping over a restart; wall_minute counts from 1970. */
struct np_slo_minute {
    int64_t wall_minute;
    uint32_t total, counted, slow, bad, degraded;
    int64_t cost_nusd;
};
#define NP_SLO_MINUTES (3 * 24 * 60)
/* The minutes of the last three days in which something was, the newest first; how many. */
size_t np_slo_export(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns, int64_t wall_ms,
                     struct np_slo_minute *out, size_t max);
/* Adds minutes of an earlier life; what is older than three days, or lies in the future, is passed
 * over. Without memory nothing is kept. */
void np_slo_import(struct np_guard *g, uint32_t endpoint_slot, uint64_t now_ns, int64_t wall_ms,
                   const struct np_slo_minute *minutes, size_t n);

#endif
