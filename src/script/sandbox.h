/* Inside of script/ only: the functions that the sandbox has instead of Lua's own. */
#ifndef NP_SCRIPT_SANDBOX_H
#define NP_SCRIPT_SANDBOX_H

#include <lua.h>

#include "script/policyset_impl.h"

/* What a library in a circle of requires raises behind its path, and what a function that needs a request
 * raises without one: load.c knows them by these words. */
#define NP_CIRCLE_WORDS "requires itself, in a circle"
#define NP_LOADING_WORDS "this can be called in hooks, not while a file is loaded"
#define NP_TESTING_WORDS "this can be called in hooks, not by a test: play{…} runs them"

/* Runs lua/neap/sandbox.lua with them; returns the registry's number of its function that makes
 * environments. Raises. */
int np_sandbox_open(lua_State *L);

/* Pushes the chunk of a file of the set in the policies' environment; raises what the compiler says. */
void np_sandbox_load(lua_State *L, const struct np_set_file *file);

/* find, match, gmatch and gsub, as Lua's own but stoppable: sets them in the table on the top. */
void np_pattern_set(lua_State *L);

/* bounded.c: format, pack and their kin, which refuse what would take long: sets them in the table on the
 * top, those of utf8 in a table of its own. */
void np_bounded_set(lua_State *L);
/* bounded.c: table.concat, whose bounds were looked at, of a list of this length. */
int np_bounded_concat(lua_State *L, lua_Integer length);

#endif
