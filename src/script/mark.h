/* Inside of script/ only: which line ended a hook. The files in which hooks' functions stand are compiled from
 * a text where each return of theirs leaves its line in a local of the file (lua/neap/mark.lua). That local
 * is an upvalue of the hook, and is read there. Both grounds run the same code. */
#ifndef NP_SCRIPT_MARK_H
#define NP_SCRIPT_MARK_H

#include "script/policyset_impl.h"
#include "script/state.h"

/* A function of a file of the set, by the lines that the compiler gives it. */
struct np_mark_want {
    struct np_set_file *file;
    int first, last;
};

/* Which function of the set stands at idx; file NULL: none. */
void np_mark_look(lua_State *L, int idx, const struct np_policyset *set, struct np_mark_want *out);

/* Compiles the files anew in which the functions stand, so that these tell their lines. A file where that
 * can't be done, for its size or for want of memory, stays as it was. */
void np_mark_files(struct np_state *st, struct np_policyset *set, const struct np_mark_want *wants,
                   size_t n);

/* Finds where the function at idx tells its line; file NULL: it does not. */
void np_mark_find(lua_State *L, int idx, const struct np_policyset *set, struct np_mark *out);
/* The line that it told last. */
static inline unsigned np_mark_line(lua_State *L, int idx, const struct np_mark *m)
{
    lua_getupvalue(L, idx, m->upvalue);
    unsigned line = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return line;
}

#endif
