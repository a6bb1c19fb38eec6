/* Inside of script/ only: reading tables that policies made. Raw access alone, so that no metamethod
 * runs; what is wrong is raised as an error of kind type that says where. */
#ifndef NP_SCRIPT_RAW_H
#define NP_SCRIPT_RAW_H

#include <lua.h>

#include "base/span.h"

#include <stdint.h>

#define NP_RAW_NAME 128

/* A name that a policy gave, for a message that is logged: quoted, with a guess among the n known names
 * where one is near. What does not look like a name may be a client's text, and is told by its length
 * alone. */
const char *np_raw_name(struct np_span name, const char *const *known, size_t n,
                        char out[NP_RAW_NAME]);
/* Refuses keys of the table at idx that are none of the names. where: "messages[2]". */
void np_raw_check_keys(lua_State *L, int idx, const char *where, const char *const *names,
                       size_t n);
/* The same for what has a list beside its keys. */
void np_raw_check_options(lua_State *L, int idx, const char *where, const char *const *names,
                          size_t n);
/* Pushes the field of the table at idx, which must be of this Lua type; nil only if optional. */
void np_raw_push(lua_State *L, int idx, const char *where, const char *name, int type,
                 bool optional);
/* A whole number from least to most; otherwise when there is none. */
int64_t np_raw_integer(lua_State *L, int idx, const char *where, const char *name, int64_t least,
                       int64_t most, int64_t otherwise);
/* A finite number of at least `least`; otherwise when there is none. */
double np_raw_number(lua_State *L, int idx, const char *where, const char *name, double least,
                     double otherwise);
/* A string of at most max bytes, p NULL when there is none; it lives as long as the table. */
struct np_span np_raw_string(lua_State *L, int idx, const char *where, const char *name,
                             size_t max);

#endif
