/* Inside of script/ only: which table of a list in admit shows which entry of the request. */
#ifndef NP_SCRIPT_LISTS_H
#define NP_SCRIPT_LISTS_H

#include "script/request.h"

/* Notes in the cache (a table at that index) that the first n tables of the list show the entries of
 * the draft, with the texts that they have now. which: messages or context. */
void np_lists_remember(lua_State *L, int cache, int list, enum np_field which, size_t n);

#endif
