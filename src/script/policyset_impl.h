/* Inside of script/ only: what a policy set is made of. policyset.c fills it; states load from it.
 * Everything but the count of holds is written before the set is shared and never after. */
#ifndef NP_SCRIPT_POLICYSET_IMPL_H
#define NP_SCRIPT_POLICYSET_IMPL_H

#include "base/arena.h"
#include "model/catalog.h"
#include "script/policyset.h"

#include <stdatomic.h>

struct np_cover;

struct np_set_file {
    const char *name; /* below the folder: "route.lua", "lib/tiers.lua", "templates/budget.txt" */
    struct np_span source;   /* the very bytes that were hashed */
    struct np_span bytecode; /* with debug information; n 0: not compiled (no hook, no library) */
    /* Where hooks in it tell the line of their return (mark.h): the local that has it, and the bytecode of
     * the source as it is. */
    const char *mark; /* NULL: they don't */
    struct np_span unmarked;
    bool loose;  /* others may write it */
    bool broken; /* it does not compile */
};

struct np_policyset {
    struct np_arena *arena; /* holds everything here but the catalogue's own */
    const char *dir;
    struct np_set_file *files; /* sorted by name */
    size_t n_files;
    const struct np_catalog *catalog; /* NULL until loaded */
    char version[13];
    struct np_cover *cover; /* which lines ran; NULL: nobody asks */
    bool flawed;            /* reading it has told errors: it will not load */
    atomic_uint holds;
};

/* NULL when the set has no such file. */
const struct np_set_file *np_set_file_find(const struct np_policyset *set, const char *name);

#endif
