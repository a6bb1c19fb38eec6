/* The results of `neap test` as JUnit XML, as build servers read it: a suite a file, a case a test. */
#ifndef NP_ENGINE_TEST_JUNIT_H
#define NP_ENGINE_TEST_JUNIT_H

#include "base/buf.h"
#include "script/testhost.h"

struct np_junit;

struct np_junit *np_junit_new(void); /* NULL without memory */
void np_junit_free(struct np_junit *j);
/* Results come file by file. */
void np_junit_add(struct np_junit *j, const struct np_test_result *r, uint64_t ns);
/* The set does not load: a suite of its own that says so. */
void np_junit_fault(struct np_junit *j, struct np_span problems);
/* Writes the file, in one piece. False: why says what went wrong. */
bool np_junit_write(struct np_junit *j, const char *path, struct np_buf *why) NP_MUST_CHECK;

#endif
