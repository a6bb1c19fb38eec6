/* Plays single requests on the simulated ground, for tests and for people who try a policy: what is
 * given and what comes of it are JSON.
 *
 * Given (all but request may be left out):
 *   request    the body of a reply request, with `tenant` and `endpoint` beside it (the first of each
 *              where not given)
 *   budgets    account -> USD that are spent already: {"tenant:acme/day": 4.99}
 *   breakers   model -> "open", "half_open" or "closed"
 *   providers  provider or model -> its answer, or a list of answers, one a call, the last of which
 *              repeats. An answer is a text, a status, or an object: text, after_ms, status,
 *              retry_after (seconds or the header's text), error (a class: "timeout", "network",
 *              "too_long", …), usage {prompt, completion, cached}, finish. Where nothing is said, a good
 *              answer comes after 300 ms.
 *   after_ms   time that passes before the request
 *   leaves_after_ms  when the client goes away, counted from its request; 0: it stays
 *   seed       of chance, from this request on
 *
 * The run: status, cancelled, text, model, provider, degraded, reason, finish_reason, retry_after_s,
 * cost_usd, latency_ms, plan, attempts, skipped, dropped, error, hooks (by name, a list of {returned, why}) and
 * calls (of hooks, in their order: hook, returned, why, error, at, steps). It is the same whenever the same is
 * played; np_play_shown has it in lines, with real microseconds. */
#ifndef NP_ENGINE_PLAY_H
#define NP_ENGINE_PLAY_H

#include "base/buf.h"
#include "engine/simground.h"
#include "script/policyset.h"

/* One ground: its time, breakers, accounts and shared values carry on from play to play. */
struct np_play;

/* set is loaded, and held. NULL without memory. */
struct np_play *np_play_new(struct np_policyset *set, uint64_t seed);
/* timed as in np_sim_source: to measure, not to decide. */
struct np_play *np_play_new_timed(struct np_policyset *set, uint64_t seed, bool timed);
void np_play_free(struct np_play *p);
/* given has passed np_json_check. Appends the run. NP_E_INVALID: what was given is wrong, nothing was
 * played, and out says why instead. NP_E_NOMEM. Lines that are logged meanwhile by this thread go into
 * what is shown; a ring that the thread had for them is lost. */
enum np_err np_play_run(struct np_play *p, struct np_span given, struct np_buf *out) NP_MUST_CHECK;
/* The same without a request: budgets, breakers and after_ms hold from now on, providers are looked at
 * only. */
enum np_err np_play_world(struct np_play *p, struct np_span given,
                          struct np_buf *out) NP_MUST_CHECK;
/* As the monitor does every 10 s: asks the alert hook, after after_ms. Given as to np_play_world, without
 * providers. Appends {alarms: [{alert, subject, severity, text, silence}], returned, why, error, at, steps};
 * errors as np_play_run has them. */
enum np_err np_play_alerts(struct np_play *p, struct np_span given,
                           struct np_buf *out) NP_MUST_CHECK;
/* The exchange that a request would make, parsed, with this id; nothing happens to it, and it is the
 * caller's to free (np_exchange_free) before the set is. */
enum np_err np_play_exchange(struct np_play *p, struct np_span given, const char *id,
                             struct np_exchange **x, struct np_buf *out) NP_MUST_CHECK;
/* The decision record of the last run, with bodies; empty before the first. Lives until the next. */
struct np_span np_play_record(const struct np_play *p);
/* Another set takes over, as a reload does (np_sim_turn). */
enum np_err np_play_turn(struct np_play *p, struct np_policyset *set) NP_MUST_CHECK;

/* The last run as run_print.h tells it, each line with its end; until the next play. */
struct np_span np_play_shown(const struct np_play *p);
/* Each exchange that was played is shown to `seen`, once it has its outcome. */
void np_play_watch(struct np_play *p, void (*seen)(void *ctx, const struct np_exchange *x),
                   void *ctx);
/* Its ground, for whoever wants to look at breakers and accounts. */
struct np_sim *np_play_sim(struct np_play *p);

#endif
