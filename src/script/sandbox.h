/* Inside of script/ only: the functions that the sandbox has instead of Lua's own. */
#ifndef NP_SCRIPT_SANDBOX_H
#define NP_SCRIPT_SANDBOX_H

#include <lua.h>

#include "script/policyset_impl.h"

/* Runs lua/neap/sandbox.lua with them; returns the registry's number of its function that makes
 * environments. Raises. */
int np_sandbox_open(lua_State *L);

/* Pushes the chunk of a file of the set in the policies' environment; raises what the compiler says. */
void np_sandbox_load(lua_State *L, const struct np_set_file *file);

/* find, match, gmatch and gsub, as Lua's own but stoppable: sets them in the table on the top. */
void np_pattern_set(lua_State *L);

#endif
