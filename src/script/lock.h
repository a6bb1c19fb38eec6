/* Inside of script/ only: read-only views of tables. A view reads like its table (indexing, #, pairs,
 * ipairs, next, table.concat, table.unpack, json.encode) and so do the tables in it; writes are
 * refused. A lazy view holds raw JSON (an object) and is decoded member by member. */
#ifndef NP_SCRIPT_LOCK_H
#define NP_SCRIPT_LOCK_H

#include <lua.h>

#include "base/span.h"

/* Makes the metatables; once a state. */
void np_lock_open(lua_State *L);
/* Replaces the table on the top by a view of it. */
void np_lock_push(lua_State *L);
/* How the block of a userdata begins that owns raw JSON. */
struct np_lock_owner {
    const void *alive; /* NULL: it is over, and every view of its JSON */
    const struct np_span *json;
};

/* Pushes a view of the JSON object of the owner at that index; it must live as long as the owner. */
void np_lock_push_json(lua_State *L, int owner);
/* Whether the value at idx is a view. */
bool np_lock_is(lua_State *L, int idx);
/* Replaces the view at idx (a stack index, not a pseudo one) by its table, decoding what is left;
 * other values stay. The table must not be given to policies. */
void np_lock_reveal(lua_State *L, int idx);
/* The policies' `next`. */
int np_lock_next(lua_State *L);

#endif
