/* neap test: the tests of a set on the simulated ground, told in lines. */
#include <neap/neap.h>

#include "engine/play.h"
#include "script/testhost.h"

#include <stdio.h>

#define SEED 1
#define LINE_BYTES 4096

/* A run of `neap test`. */
struct testing {
    const struct neap_test_options *options;
    struct np_policyset *set;
    struct np_play *play; /* of the test that runs; NULL until it plays */
};

static void say(const struct testing *t, const char *fmt, ...) NP_PRINTF(2, 3);

static void say(const struct testing *t, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    t->options->say(t->options->ctx, line);
}

/* --- the ground that is lent to tests ---------------------------------------------------------------- */

static void fresh(void *ctx)
{
    struct testing *t = ctx;
    np_play_free(t->play);
    t->play = NULL;
}

static enum np_err play(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct testing *t = ctx;
    if (!t->play)
        t->play = np_play_new(t->set, SEED);
    enum np_err err = t->play ? np_play_run(t->play, given, out) : NP_E_NOMEM;
    if (!err) {
        struct np_span lines = np_play_shown(t->play);
        np_buf_put(shown, lines.p, lines.n);
    }
    return err;
}

/* --- telling ----------------------------------------------------------------------------------------- */

/* Says lines, each behind an indent. */
static void say_lines(const struct testing *t, const char *indent, struct np_span text)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        say(t, "%s%.*s", indent, (int)n, text.p);
        n += end != NULL;
        text = np_span_make(text.p + n, text.n - n);
    }
}

static void done(void *ctx, const struct np_test_result *r)
{
    const struct testing *t = ctx;
    if (r->passed) {
        if (t->options->verbose)
            say(t, "pass  %s:%u: %s  (%lld steps)", r->file, r->line, r->name, (long long)r->steps);
        return;
    }
    if (r->line)
        say(t, "FAIL  %s:%u: %s", r->file, r->line, r->name);
    else
        say(t, "FAIL  %s", r->file);
    if (r->source.n)
        say(t, "  %s:%u:  %.*s", r->at_file, r->at_line, (int)r->source.n, r->source.p);
    say_lines(t, "    ", r->message);
    if (r->run.n) {
        say(t, "  the last run:");
        say_lines(t, "    ", r->run);
    }
    say(t, "%s", "");
}

static enum neap_status run(struct testing *t, const char *dir)
{
    const struct neap_test_options *o = t->options;
    const struct np_test_ground ground = {fresh, play, t};
    const struct np_test_order order = {
        .ground = &ground, .filter = o->filter, .done = done, .ctx = t};
    struct np_test_counts counts;
    enum np_err err = np_tests_run(t->set, &order, &counts);
    fresh(t);
    if (err) {
        say(t, "the tests could not go on: %s", np_err_text(err));
        return NEAP_FAILED;
    }
    bool none = counts.passed + counts.failed == 0;
    if (counts.files == 0)
        say(t, "%s has no tests: they are files called NAME_test.lua", dir);
    else if (none)
        say(t, "no test has \"%s\" in its name or its file's", o->filter ? o->filter : "");
    say(t, "%zu passed, %zu failed", counts.passed, counts.failed);
    return counts.failed > 0 || (none && counts.files > 0) ? NEAP_NO : NEAP_GOOD;
}

enum neap_status neap_test(const char *dir, const struct neap_test_options *options)
{
    struct testing t = {.options = options};
    struct np_slots slots;
    struct np_problems problems;
    struct np_buf text;
    if (np_slots_init(&slots) != NP_OK)
        return NEAP_FAILED;
    np_problems_init(&problems);
    np_buf_init(&text, 1u << 20);
    struct np_load_options load = {.slots = &slots, .simulated = true};
    enum neap_status status = NEAP_NO;
    enum np_err err = np_policyset_read(dir, &t.set, &problems);
    if (!err)
        err = np_policyset_load(t.set, &load, &problems);
    if (!err) {
        status = run(&t, dir);
    } else {
        np_problems_print(&problems, &text);
        say_lines(&t, "", np_buf_view(&text));
        say(&t, "nothing was tested: %s does not load", dir);
    }
    np_policyset_drop(t.set);
    np_buf_free(&text);
    np_problems_free(&problems);
    np_slots_free(&slots);
    return status;
}
