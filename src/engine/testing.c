/* neap test: the tests of a set on the simulated ground, told in lines. */
#include "engine/testing_impl.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "engine/put_file.h"
#include "script/cover.h"
#include "script/testhost.h"

#include <stdio.h>

#define SEED 1
#define LINE_BYTES 4096
#define PATH_BYTES 4096

/* What tests and policies say reaches a terminal: what is no text of UTF-8 is escaped. */
static void escape(char *out, size_t size, const char *line)
{
    const char *end = line + strlen(line);
    uint32_t c;
    size_t n = 0, length;
    for (const char *p = line; p < end && n + 5 < size; p += length) {
        length = np_utf8_next(p, end, &c);
        if (length == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            length = length ? length : 1;
            for (size_t i = 0; i < length && n + 5 < size; i++)
                n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned char)p[i]);
        } else {
            memcpy(out + n, p, length);
            n += length;
        }
    }
    out[n] = '\0';
}

static void say_to(void (*say)(void *ctx, const char *line), void *ctx, const char *fmt, va_list ap)
{
    char line[LINE_BYTES], escaped[LINE_BYTES];
    (void)vsnprintf(line, sizeof line, fmt, ap);
    escape(escaped, sizeof escaped, line);
    say(ctx, escaped);
}

void np_testing_say(const struct np_testing *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_to(t->options->say, t->options->ctx, fmt, ap);
    va_end(ap);
}

/* What is no result of a test. */
static void say_fault(const struct np_testing *t, const char *fmt, ...) NP_PRINTF(2, 3);

static void say_fault(const struct np_testing *t, const char *fmt, ...)
{
    const struct neap_test_options *o = t->options;
    va_list ap;
    va_start(ap, fmt);
    say_to(o->fault ? o->fault : o->say, o->ctx, fmt, ap);
    va_end(ap);
}

void np_testing_say_lines(const struct np_testing *t, const char *indent, struct np_span text)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        np_testing_say(t, "%s%.*s", indent, (int)n, text.p);
        n += end != NULL;
        text = np_span_make(text.p + n, text.n - n);
    }
}

/* --- the ground that is lent to tests ---------------------------------------------------------------- */

static void fresh(void *ctx)
{
    struct np_testing *t = ctx;
    np_play_free(t->play);
    t->play = NULL;
    t->before = t->tally;
    t->start_ns = np_clock_mono_ns(&np_clock_live);
}

static void seen(void *ctx, const struct np_exchange *x)
{
    struct np_testing *t = ctx;
    np_tally_add(&t->tally, x);
}

static bool has_play(struct np_testing *t)
{
    if (t->play)
        return true;
    t->play = np_play_new_timed(t->set, SEED, t->timed);
    if (t->play)
        np_play_watch(t->play, seen, t);
    return t->play != NULL;
}

static enum np_err play(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct np_testing *t = ctx;
    enum np_err err = has_play(t) ? np_play_run(t->play, given, out) : NP_E_NOMEM;
    if (!err)
        np_buf_span(shown, np_play_shown(t->play));
    return err;
}

static enum np_err alerts(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct np_testing *t = ctx;
    enum np_err err = has_play(t) ? np_play_alerts(t->play, given, out) : NP_E_NOMEM;
    if (!err)
        np_buf_span(shown, np_play_shown(t->play));
    return err;
}

static bool rewrite(void *ctx, const char *name, struct np_span text, struct np_buf *why)
{
    struct np_testing *t = ctx;
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", t->dir, name) >= sizeof path) {
        np_buf_puts(why, "its path is too long");
        return false;
    }
    return np_put_file(path, text, why);
}

/* --- telling ----------------------------------------------------------------------------------------- */

/* "test 120, admit 9, route 103" for a test that has passed. */
static void put_steps(const struct np_testing *t, int64_t own, char *out, size_t size)
{
    int n = snprintf(out, size, "test %lld", (long long)own);
    for (int h = 0; h < NP_HOOK_COUNT && n > 0 && (size_t)n < size; h++) {
        int64_t steps = t->tally.hook[h].steps - t->before.hook[h].steps;
        if (t->tally.hook[h].calls > t->before.hook[h].calls)
            n += snprintf(out + n, size - (size_t)n, ", %s %lld", np_hook_name((enum np_hook)h),
                          (long long)steps);
    }
}

static void tell_passed(const struct np_testing *t, const struct np_test_result *r)
{
    char steps[256];
    put_steps(t, r->steps, steps, sizeof steps);
    if (r->message.n) {
        np_testing_say(t, "wrote %s", r->name);
        np_testing_say_lines(t, "    ", r->message);
    }
    if (t->options->verbose)
        np_testing_say(t, "pass  %s:%u: %s  (steps: %s)", r->file, r->line, r->name, steps);
}

static void done(void *ctx, const struct np_test_result *r)
{
    const struct np_testing *t = ctx;
    if (t->junit)
        np_junit_add(t->junit, r, r->name[0] ? np_clock_mono_ns(&np_clock_live) - t->start_ns : 0);
    if (r->passed) {
        tell_passed(t, r);
        return;
    }
    if (r->line)
        np_testing_say(t, "FAIL  %s:%u: %s", r->file, r->line, r->name);
    else
        np_testing_say(t, "FAIL  %s", r->file);
    if (r->source.n)
        np_testing_say(t, "  %s:%u:  %.*s", r->at_file, r->at_line, (int)r->source.n, r->source.p);
    np_testing_say_lines(t, "    ", r->message);
    if (r->run.n) {
        np_testing_say(t, "  the last run:");
        np_testing_say_lines(t, "    ", r->run);
    }
    np_testing_say(t, "%s", "");
}

/* --- running ----------------------------------------------------------------------------------------- */

static enum np_err run_all(struct np_testing *t, struct np_test_counts *counts)
{
    bool measured = t->timed;
    const struct np_test_ground ground = {.fresh = fresh,
                                          .play = play,
                                          .alerts = alerts,
                                          .rewrite =
                                              t->options->update && !measured ? rewrite : NULL,
                                          .ctx = t};
    const struct np_test_order order = {
        .ground = &ground, .filter = t->options->filter, .done = measured ? NULL : done, .ctx = t};
    t->tally = (struct np_tally){0};
    enum np_err err = np_tests_run(t->set, &order, counts);
    fresh(t);
    return err;
}

enum np_err np_testing_measure(struct np_testing *t, struct np_tally *out)
{
    struct np_tally kept = t->tally;
    struct np_test_counts counts;
    t->timed = true;
    enum np_err err = run_all(t, &counts);
    t->timed = false;
    *out = t->tally;
    t->tally = kept;
    return err;
}

static enum neap_status run(struct np_testing *t)
{
    const struct neap_test_options *o = t->options;
    struct np_test_counts counts;
    enum np_err err = NP_OK;
    bool coverage = o->coverage || o->coverage_min > 0;
    if (coverage)
        err = np_cover_begin(t->set);
    if (!err)
        err = run_all(t, &counts);
    if (err) {
        say_fault(t, "the tests could not go on: %s", np_err_text(err));
        return NEAP_FAILED;
    }
    bool none = counts.passed + counts.failed == 0;
    if (counts.files == 0)
        np_testing_say(t, "%s has no tests: they are files called NAME_test.lua", t->dir);
    else if (none)
        np_testing_say(t, "no test has \"%s\" in its name or its file's",
                       o->filter ? o->filter : "");
    bool enough = !coverage || np_testing_tell_coverage(t);
    if (o->bench)
        np_testing_bench(t);
    np_testing_say(t, "%zu passed, %zu failed", counts.passed, counts.failed);
    bool good = counts.failed == 0 && enough && !(none && counts.files > 0);
    return good ? NEAP_GOOD : NEAP_NO;
}

static void tell_problems(struct np_testing *t, struct np_problems *problems)
{
    struct np_buf text;
    np_buf_init(&text, 1u << 20);
    np_problems_print(problems, &text);
    np_testing_say_lines(t, "", np_buf_view(&text));
    np_testing_say(t, "nothing was tested: %s does not load", t->dir);
    if (t->junit)
        np_junit_fault(t->junit, np_buf_view(&text));
    np_buf_free(&text);
}

static enum neap_status load_and_run(struct np_testing *t)
{
    struct np_slots slots;
    struct np_problems problems;
    if (np_slots_init(&slots) != NP_OK)
        return NEAP_FAILED;
    np_problems_init(&problems);
    struct np_load_options load = {.slots = &slots, .simulated = true};
    enum neap_status status = NEAP_NO;
    enum np_err err = np_policyset_read(t->dir, &t->set, &problems);
    if (!err)
        err = np_policyset_load(t->set, &load, &problems);
    if (!err)
        status = run(t);
    else
        tell_problems(t, &problems);
    if (np_problems_have(&problems, NP_UNREADABLE))
        status = NEAP_FAILED;
    np_policyset_drop(t->set);
    np_problems_free(&problems);
    np_slots_free(&slots);
    return status;
}

enum neap_status neap_test(const char *dir, const struct neap_test_options *options)
{
    struct np_testing t = {.options = options, .dir = dir};
    struct np_buf why;
    if (options->junit && !(t.junit = np_junit_new()))
        return NEAP_FAILED;
    enum neap_status status = load_and_run(&t);
    np_buf_init(&why, PATH_BYTES);
    if (t.junit && !np_junit_write(t.junit, options->junit, &why)) {
        say_fault(&t, "the JUnit file can't be written: %.*s", (int)why.n, why.p);
        status = NEAP_FAILED;
    }
    np_buf_free(&why);
    np_junit_free(t.junit);
    return status;
}
