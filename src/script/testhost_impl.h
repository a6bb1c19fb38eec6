/* Inside of testhost.c and testcase.c: one file of tests while it runs. */
#ifndef NP_SCRIPT_TESTHOST_IMPL_H
#define NP_SCRIPT_TESTHOST_IMPL_H

#include "script/state.h"
#include "script/testhost.h"

#define NP_TEST_NAME_BYTES 256

struct np_test_host {
    const struct np_test_order *order;
    struct np_policyset *set;
    struct np_test_counts *counts;
    const struct np_set_file *file;
    struct np_state *st;
    int module, env; /* registry: what testing.lua returns, the file's environment */
    size_t n_tests;
    bool running; /* a test runs, not its file */
    char name[NP_TEST_NAME_BYTES];
    unsigned line;
    const struct np_set_file *recorded; /* the case that the test plays; NULL: it is a function's */
    struct np_buf given, run;           /* play's two sides, as JSON */
    struct np_buf trace;                /* of the last play, as lines */
    struct np_buf message;              /* of the last expect that failed, or of a case's update */
    bool updated;                       /* the case was written anew */
    unsigned broken;                    /* the line at which the case ceases to be JSON; 0: it is */
};

/* Calls a function of testing.lua with the n_args values on the top; one value comes back. */
void np_testhost_helper(lua_State *L, const struct np_test_host *h, const char *name, int n_args);
/* Announces with testing.lua's function of this name; its arguments but the line are on the top. */
int np_testhost_announce(lua_State *L, struct np_test_host *h, const char *helper, int n_args);
/* Plays the table on the top, in whose place the run comes. Raises what is wrong with it. */
int np_testhost_play(lua_State *L, struct np_test_host *h);
/* Raises that a test got something else than it expected; the text is on the top. */
int np_testhost_unexpected(lua_State *L, struct np_test_host *h);

/* testcase.c: recorded(pattern), with the host as upvalue; and the test of one case, h->recorded. */
int np_testcase_recorded(lua_State *L);
void np_testcase_run(lua_State *L, struct np_test_host *h);
/* The line in which the case says what it expects; 1 when it does not. */
unsigned np_testcase_line(const struct np_set_file *f);

#endif
