/* Tries each hook of a set on built-in requests, on the simulated ground. */
#ifndef NP_ENGINE_PROBE_H
#define NP_ENGINE_PROBE_H

#include "script/policyset.h"

/* The set is loaded. A wrong kind that comes back is told as an error, a hook that fails as a warning, each
 * with the request that brought it about; the same fault once. Bounded by the steps that hooks take, so
 * that what is told is the same on every machine. NP_E_NOMEM. */
enum np_err np_probe(struct np_policyset *set, struct np_problems *problems) NP_MUST_CHECK;

#endif
