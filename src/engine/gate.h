/* The gate: whether a policy set may go live. What `neap check` says of a set, what the start and each
 * reload ask of it, and the run of its tests are the functions here, so that they can't differ. */
#ifndef NP_ENGINE_GATE_H
#define NP_ENGINE_GATE_H

#include "script/policyset.h"

#include <stdatomic.h>

/* Checks and loads a set that was read. NP_E_INVALID when there are errors; warnings are told too. */
enum np_err np_gate_check(struct np_policyset *set, const struct np_load_options *options,
                          struct np_problems *problems) NP_MUST_CHECK;

/* Without tenants anybody may spend: then only loopback may be listened on. False: told. */
bool np_gate_may_listen(const struct np_policyset *set, const char *listen,
                        struct np_problems *problems) NP_MUST_CHECK;

/* Runs the set's tests on the simulated ground, on this thread, bounded: each by its steps, all of
 * them by NP_GATE_TESTS_NS of this thread's CPU. A test that fails is an error among the problems. Gives
 * up when *stop turns true. The set is loaded. NP_E_INVALID: not all have passed. */
#define NP_GATE_TESTS_NS UINT64_C(10000000000)
enum np_err np_gate_test(struct np_policyset *set, const atomic_bool *stop,
                         struct np_problems *problems) NP_MUST_CHECK;

#endif
