/* What the tests of hedges share: simkit's set with a second provider after 500 ms, and a ground on which
 * enough requests have come for one to be asked. */
#ifndef NP_TEST_HEDGEKIT_H
#define NP_TEST_HEDGEKIT_H

#include "engine/simkit.h"

extern struct kit hedge_kit;

/* Fixture: the kit, not started; at the end nothing may be held or under way. */
void hedge_setup(void);
void hedge_teardown(void);
/* Further fields of the endpoint; before the start. */
void hedge_endpoint(const char *more);
/* Starts the ground as if so many requests had come lately. */
void hedge_start_after(int requests);
const struct np_model *hedge_model(const char *name);
const struct np_endpoint *hedge_reply(void);
struct kit_step hedge_takes(uint64_t ms);
struct kit_step hedge_streamed(const char *body, uint64_t first_ms, uint64_t last_ms);
/* How often a request's hedge came to this, by the meters. */
int64_t hedge_counted(enum np_hedge came);

#endif
