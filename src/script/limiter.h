/* The limit of CPU time that a hook may take. One watchdog thread for all workers looks every
 * millisecond at those that are inside a hook; past the limit it signals the worker, whose handler
 * sets the flag and a Lua hook on the state that runs on that very thread. See README.md. */
#ifndef NP_SCRIPT_LIMITER_H
#define NP_SCRIPT_LIMITER_H

#include "base/err.h"

#include <stdint.h>

struct np_watchdog;
struct np_script;

/* Starts the watchdog thread; installs the handler of its signal (SIGRTMIN+3). */
struct np_watchdog *np_watchdog_new(void);
/* After every state that uses it is freed. */
void np_watchdog_free(struct np_watchdog *w);

#endif
