/* Inside of script/ only: what run.c and the watchdog know of each other. */
#ifndef NP_SCRIPT_LIMITS_H
#define NP_SCRIPT_LIMITS_H

#include "script/state.h"

/* Begins and ends the limited part of a call. Calls nest only with a state each. */
struct np_limit_frame {
    struct np_state *outer;
};

void np_limit_enter(struct np_state *st, const struct np_limit *limit, struct np_limit_frame *f);
/* Whether the limit struck. */
bool np_limit_leave(struct np_state *st, const struct np_limit_frame *f);

/* The Lua hook that ends a call: writes the place down once and raises. */
void np_limit_stop(lua_State *L, lua_Debug *ar);

/* Lets go of the state's place in the watchdog; before the state is closed. */
void np_limit_detach(struct np_state *st);

#endif
