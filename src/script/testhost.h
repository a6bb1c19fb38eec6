/* Runs the *_test.lua files of a policy set, each in a Lua state of its own, within limits of steps.
 * Files see what policies see, and test, test.each, play, alerts, expect and recorded (lua/neap/testing.lua). What play
 * does is lent by the engine, as JSON both ways, so that this room needs to know no ground. */
#ifndef NP_SCRIPT_TESTHOST_H
#define NP_SCRIPT_TESTHOST_H

#include "base/buf.h"
#include "script/policyset.h"

/* Where tests play. */
struct np_test_ground {
    /* A test begins: what the one before has left behind is forgotten. */
    void (*fresh)(void *ctx);
    /* Plays what the test gave and appends the run, and to shown how it is told to people, in lines.
     * NP_E_INVALID: what was given is wrong, and out says how. NP_E_NOMEM. */
    enum np_err (*play)(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown);
    /* The same for what a test gives to the alert hook. */
    enum np_err (*alerts)(void *ctx, struct np_span given, struct np_buf *out,
                          struct np_buf *shown);
    /* Writes a recorded case of the set anew; NULL: cases are compared and never written. False, with
     * the reason in why, when it can't. */
    bool (*rewrite)(void *ctx, const char *name, struct np_span text, struct np_buf *why);
    void *ctx;
};

/* How one test ended; texts live until the call returns. */
struct np_test_result {
    const char *file;
    unsigned line;    /* of its test(…) */
    const char *name; /* "": the file itself, which does not run or has no test */
    bool passed;
    int64_t steps; /* about how many instructions it took, those of hooks not counted */
    /* Where it failed: */
    const char *at_file;    /* "": unknown */
    unsigned at_line;       /* 0: unknown */
    struct np_span source;  /* the text of that line, blanks around it cut */
    struct np_span message; /* lines without the last line's end; passed: what was recorded anew */
    struct np_span run;     /* the last play, in lines, each with its end; may be empty */
};

struct np_test_order {
    const struct np_test_ground *ground;
    /* Only tests whose name or file has this pattern of fnmatch(3) in it; NULL: all. */
    const char *filter;
    void (*done)(void *ctx, const struct np_test_result *result);
    /* Asked before each test: true leaves out what is left. NULL: never. */
    bool (*is_over)(void *ctx);
    void *ctx;
};

struct np_test_counts {
    size_t files; /* of tests in the set */
    size_t passed, failed;
    size_t left_out; /* by the filter */
};

/* The set is loaded. NP_E_NOMEM, with what was counted until then. */
enum np_err np_tests_run(struct np_policyset *set, const struct np_test_order *order,
                         struct np_test_counts *out) NP_MUST_CHECK;

#endif
