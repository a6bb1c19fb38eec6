/* Keeps the burn rates' minutes over restarts, in a file of the state folder: a line an endpoint and
 * minute. */
#ifndef NP_ENGINE_SLOKEEP_H
#define NP_ENGINE_SLOKEEP_H

#include "guard/guard.h"

/* Adds what the file holds of the catalogue's endpoints. No file is fine; lines that are none are passed
 * over, and told in the log once. */
void np_slokeep_load(const char *path, struct np_guard *g, const struct np_catalog *c,
                     uint64_t now_ns, int64_t wall_ms);
/* Writes the minutes of the catalogue's endpoints; a failure is logged. For a thread that may wait for a
 * disk. */
enum np_err np_slokeep_save(const char *path, struct np_guard *g, const struct np_catalog *c,
                            uint64_t now_ns, int64_t wall_ms);

#endif
