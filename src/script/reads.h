/* Inside of script/ only: what an adapter wants to read of a JSON text, by path, taken out in one walk
 * without decoding the rest. */
#ifndef NP_SCRIPT_READS_H
#define NP_SCRIPT_READS_H

#include <lua.h>

#include "base/span.h"

struct np_reads;

/* Makes a userdata of the table at idx, {name = "choices.1.message.content"}: parts between dots are
 * names of members or, as numbers, places in an array from 1. Raises when there are too many, or when
 * one path goes through the end of another. */
struct np_reads *np_reads_push(lua_State *L, int idx);
/* Sets each name in the table at idx to the decoded value at its path, or to nil. json has passed
 * np_json_check. Raises without memory. */
void np_reads_fill(lua_State *L, int idx, const struct np_reads *reads, struct np_span json);

#endif
