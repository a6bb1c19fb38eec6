/* Which of a worker's requests begin, which wait a moment, and which are refused because there is more
 * work than can be done. */
#ifndef NP_ENGINE_WAITING_H
#define NP_ENGINE_WAITING_H

#include "engine/worker_impl.h"

/* Whether a request whose head is in has any prospect; else it is to be refused, and counted. */
bool np_waiting_admits(struct np_worker *w, const struct np_tenant *tenant);
/* The request is whole: begins it, or has it wait. */
void np_waiting_request(struct np_worker *w, struct np_exchange *x);
/* It has ended, or its client has left. */
void np_waiting_over(struct np_live *live);
/* What the refusal of such a request says. */
struct np_refusal np_waiting_refusal(void);
/* Counts a refusal; true: it should be told in log and records, too (a flood of them is told in part). */
bool np_waiting_shed(struct np_worker *w);
/* For the loop, in each turn before and after the front; ctx is the worker. */
uint64_t np_waiting_before_front(void *ctx, uint64_t now_ns);
uint64_t np_waiting_turn(void *ctx, uint64_t now_ns);
void np_waiting_init(struct np_worker *w);

#endif
