/* Inside of script/ only: what the files that read, check and build a policy set share. */
#ifndef NP_SCRIPT_LOAD_H
#define NP_SCRIPT_LOAD_H

#include <lauxlib.h>
#include <lua.h>

#include "script/policyset_impl.h"

#define NP_DATA_COUNT 6
#define NP_DATA_REQUIRED 3 /* of them, the first */
#define NP_SECRET_BYTES 8192

extern const char *const np_data_files[NP_DATA_COUNT];

enum np_set_kind {
    NP_SET_DATA,
    NP_SET_HOOK,
    NP_SET_LIBRARY,
    NP_SET_TEST,
    NP_SET_TEMPLATE,
    NP_SET_OTHER, /* counted in, not looked into */
    NP_SET_UNKNOWN
};

/* By its name below the folder. */
enum np_set_kind np_set_file_kind(const char *name);

/* The data files' `env` and `file`: they give handles that hold a name, never a value. For
 * np_state_push_env. */
extern const luaL_Reg np_secret_functions[];

/* The handle's label ("env:NAME", "file:PATH"); NULL when the value at idx is none. */
const char *np_secret_label(lua_State *L, int idx);
/* Reads what a label stands for; files are looked for from the folder dir. On failure false, and
 * *why says what is missing, to be put behind the label. The caller wipes value. */
bool np_secret_read(const char *label, const char *dir, char value[NP_SECRET_BYTES],
                    const char **why);

/* A lua_CFunction for kinds.lua: (word, list of candidates) gives the nearest one or nil. */
int np_native_guess(lua_State *L);

/* Takes the list of problems on the top, {{file=, line=, column=, code=, warning=, text=}, …}, which
 * stays; file: where an entry has none. */
void np_take_problems(lua_State *L, struct np_problems *problems, const char *file);

/* A catalogue in the making. */
struct np_build {
    const struct np_policyset *set;
    const struct np_load_options *options;
    struct np_catalog *catalog; /* in an arena of its own */
};

/* A lua_CFunction: (light userdata of struct np_build, what schema.lua made of the data files).
 * Fills the catalogue; raises without memory. */
int np_catalog_build(lua_State *L);

#endif
