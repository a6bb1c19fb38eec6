/* The limit of CPU time that a hook may take: a timer of each thread that calls hooks signals that
 * thread, and past the limit the handler sets the flag and a Lua hook on the state that runs. */
#ifndef NP_SCRIPT_LIMITER_H
#define NP_SCRIPT_LIMITER_H

#include "base/err.h"

/* Installs the handler of the ticks' signal (SIGRTMIN+3) for the process; again does nothing. The
 * first timed call does it too. NP_E_NOMEM: the system gives none. */
enum np_err np_limiter_start(void) NP_MUST_CHECK;

#endif
