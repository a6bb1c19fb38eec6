/* Keeps the table of alerts over restarts, so that what fires still is not told again, and what a sink
 * has not got yet can be sent after all. */
#ifndef NP_ENGINE_ALERTKEEP_H
#define NP_ENGINE_ALERTKEEP_H

#include "engine/alerts.h"

/* Fills the empty table; what fires counts as seen just now. */
void np_alertkeep_load(const char *path, struct np_alerts *t, uint64_t now_ns);
/* A failure is logged. */
enum np_err np_alertkeep_save(const char *path, const struct np_alerts *t);

#endif
