/* Inside of script/ only: the functions that policies may call besides Lua's own. */
#ifndef NP_SCRIPT_API_H
#define NP_SCRIPT_API_H

#include <lua.h>

/* The state's hooks and the request of the one that runs; raises where there is none. */
struct np_script *np_api_script(lua_State *L);
/* Pushes a table of them by name: functions, and tables of functions. */
void np_api_push(lua_State *L);
/* pick{models, weights=, by=, sticky=} (pick.c). */
int np_api_pick(lua_State *L);
/* log.debug, info, warn and error; the upvalue is the level (say.c). */
int np_api_log(lua_State *L);

#endif
