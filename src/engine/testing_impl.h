/* Inside of testing.c and its report files: one run of `neap test`. */
#ifndef NP_ENGINE_TESTING_IMPL_H
#define NP_ENGINE_TESTING_IMPL_H

#include <neap/neap.h>

#include "engine/play.h"
#include "engine/test_junit.h"
#include "engine/test_tally.h"

struct np_testing {
    const struct neap_test_options *options;
    const char *dir;
    struct np_policyset *set;
    struct np_play *play;  /* of the test that runs; NULL until it plays */
    bool timed;            /* passes that measure; false: the tests count */
    struct np_tally tally; /* of the pass, and as it was when the test began */
    struct np_tally before;
    struct np_junit *junit; /* NULL: nobody wants it */
    uint64_t start_ns;      /* of the test, on the real clock */
};

void np_testing_say(const struct np_testing *t, const char *fmt, ...) NP_PRINTF(2, 3);
/* Says lines, each behind an indent. */
void np_testing_say_lines(const struct np_testing *t, const char *indent, struct np_span text);
/* Runs all tests once more with hooks measured as in production; what they decide is passed over. */
enum np_err np_testing_measure(struct np_testing *t, struct np_tally *out) NP_MUST_CHECK;

/* test_cover.c: tells lines and outcomes. False: fewer lines than coverage_min. */
bool np_testing_tell_coverage(const struct np_testing *t);
/* test_bench.c: measures, tells, and keeps it in DIR/.neap/bench for the next time. */
void np_testing_bench(struct np_testing *t);

#endif
