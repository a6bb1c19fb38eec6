/* A policy set: a folder of Lua files, read whole once into memory; its version is the first 12 hex
 * digits of the SHA-256 over its sorted file names and contents. Loading it runs the data files within
 * the limits, checks them against one schema, compiles the hooks and gives the catalogue. Nothing of
 * the folder is read again afterwards.
 *
 * Immutable once loaded, shared by all workers, counted. */
#ifndef NP_SCRIPT_POLICYSET_H
#define NP_SCRIPT_POLICYSET_H

#include "base/buf.h"
#include "model/catalog.h"

struct np_policyset;

/* What is wrong with a set; all problems at once. Texts belong to the list. */
struct np_problem {
    const char *file;      /* relative to the folder; "" for the folder itself */
    unsigned line, column; /* 0: unknown */
    const char *code;      /* "N104" */
    bool warning;
    const char *text;
};

/* A comment "-- neap: allow CODE reason": warnings of this code in the line that it covers are meant. */
struct np_allowance {
    const char *file;
    unsigned line, column; /* of the comment */
    unsigned covers;
    const char *code, *reason;
    bool used;
};

struct np_problems {
    struct np_arena *arena;
    struct np_problem *list;
    size_t n, cap;
    size_t errors;   /* how many there were that are no warnings */
    size_t left_out; /* how many there were beyond those in the list */
    struct np_allowance *allowed;
    size_t n_allowed;
};

void np_problems_init(struct np_problems *p);
void np_problems_free(struct np_problems *p);
/* Keeps copies; at most 1,000 are kept, errors rather than warnings. */
void np_problems_add(struct np_problems *p, const char *file, unsigned line, unsigned column,
                     const char *code, bool warning, const char *fmt, ...) NP_PRINTF(7, 8);
/* Whether one of this code was told. */
bool np_problems_have(const struct np_problems *p, const char *code);
#define NP_UNREADABLE "N101" /* the folder can't be read: nothing is known of the set */
/* Keeps copies of a comment that allows something; at most 1,000 are kept. */
void np_problems_allow(struct np_problems *p, const struct np_allowance *a);
/* To be called once, when all was told: leaves out the warnings that comments allow and tells the comments
 * that allow nothing; leaves out what a more exact problem of the same line says, too; sorts by file, line
 * and column. */
void np_problems_settle(struct np_problems *p);
/* What a code means and examples, for people. NP_E_NOTFOUND: there is no such code, and out has the
 * nearest one, if any. NP_E_NOMEM. */
enum np_err np_problems_explain(const char *code, struct np_buf *out) NP_MUST_CHECK;
/* "file:line:column: CODE text" a line each. */
void np_problems_print(const struct np_problems *p, struct np_buf *out);

struct np_load_options {
    const struct np_slots *slots;
    bool simulated;     /* keys that are not set are no error */
    bool loopback_only; /* unused: the caller checks the listen address against tenants */
    bool trust_folder;  /* files that group or others may write are taken all the same */
};

/* Reads the folder. NP_E_IO (and a problem) when it can't be read whole. Dot files and editors'
 * temporary files are passed over; an unknown .lua file at the top is a problem. */
enum np_err np_policyset_read(const char *dir, struct np_policyset **out,
                              struct np_problems *problems) NP_MUST_CHECK;
/* The same set as it was read, not loaded: to load it anew, with the keys of now. NULL without memory. */
struct np_policyset *np_policyset_again(const struct np_policyset *set);
/* The version alone, without loading: to see whether a folder has changed. */
const char *np_policyset_version(const struct np_policyset *set);
/* How many files it has. */
size_t np_policyset_files(const struct np_policyset *set);
const char *np_policyset_dir(const struct np_policyset *set);
/* Checks and loads; NP_E_INVALID when there are errors. Call once, from any thread that has no time
 * to lose to nobody (it takes milliseconds). */
enum np_err np_policyset_load(struct np_policyset *set, const struct np_load_options *options,
                              struct np_problems *problems) NP_MUST_CHECK;
/* Looks into the code of a set that was read, without running it; what is wrong and what is unwise is
 * told, and the comments that allow something. Knows more of a set that is loaded. NP_E_NOMEM. */
enum np_err np_policyset_inspect(const struct np_policyset *set,
                                 struct np_problems *problems) NP_MUST_CHECK;
/* Gives problems that have a line alone their column, as near as the set's text tells it. */
void np_policyset_place(const struct np_policyset *set, struct np_problems *problems);
/* The catalogue of a loaded set; lives as long as the set. */
const struct np_catalog *np_policyset_catalog(const struct np_policyset *set);
/* Whether the set has a file for this hook. */
bool np_policyset_has_hook(const struct np_policyset *set, enum np_hook hook);

struct np_policyset *np_policyset_hold(struct np_policyset *set);
void np_policyset_drop(struct np_policyset *set);

#endif
