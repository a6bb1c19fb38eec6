/* Scenarios of the imitation providers: a Lua file that says how each model answers; see
 * model/imitation.h for what one answer is; this reads the file and asks it. Belongs to one thread. */
#ifndef NP_SCRIPT_SCENARIO_H
#define NP_SCRIPT_SCENARIO_H

#include "base/buf.h"
#include "model/imitation.h"

struct np_scenario;

/* Reads a scenario file (NULL: the built-in one, lua/neap/scenario.lua). On failure NULL, and the
 * reason with file and line in *why. */
struct np_scenario *np_scenario_new(const char *path, uint64_t seed, struct np_buf *why);
void np_scenario_free(struct np_scenario *s);
/* How the n-th call (from 1) of a model is answered. */
enum np_err np_scenario_ask(struct np_scenario *s, const struct np_imitation_call *call,
                            struct np_imitation_answer *out) NP_MUST_CHECK;
/* Overrides from the control endpoint: {"models": {"gpt-4.1": {"status": 503}, "*": …}}; replaces all
 * earlier ones. NP_E_INVALID fills *why. */
enum np_err np_scenario_override(struct np_scenario *s, struct np_span json,
                                 struct np_buf *why) NP_MUST_CHECK;

#endif
