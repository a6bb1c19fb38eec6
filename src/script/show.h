/* Inside of script/ only: values of a state as text for people, by lua/neap/console.lua. */
#ifndef NP_SCRIPT_SHOW_H
#define NP_SCRIPT_SHOW_H

#include <lua.h>

/* Pushes the module with what it needs of C. For trusted code; raises. The module was run by
 * np_state_run_embedded and is on the top. */
void np_show_open(lua_State *L);
/* Replaces the n_args values on the top by what a function of the module makes of them; the module is
 * in the registry under ref. Raises. */
void np_show_call(lua_State *L, int ref, const char *name, int n_args);

#endif
