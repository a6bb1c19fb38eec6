/* Which lines of a set's hooks and libraries ran on the simulated ground. What counts as a line is what
 * the compiler made instructions for; the return that it adds at the end of every function is none. */
#ifndef NP_SCRIPT_COVER_H
#define NP_SCRIPT_COVER_H

#include "script/policyset.h"

/* From here on the lines that states of the set run by steps are noted, by one thread at a time. The set
 * is loaded and not shared yet. NP_E_NOMEM. */
enum np_err np_cover_begin(struct np_policyset *set) NP_MUST_CHECK;

struct np_cover_file {
    const char *name;
    size_t lines, hit;
    struct np_span missed; /* "9, 12-13" */
};

/* Tells each file that has lines, in the order of their names; texts live until the call returns. Nothing
 * without np_cover_begin. */
void np_cover_tell(struct np_policyset *set,
                   void (*tell)(void *ctx, const struct np_cover_file *file), void *ctx);

#endif
