/* The tests of a policy set, on a ground that plays nothing. */
#include "script/testhost.h"

#include "script/setkit.h"
#include "support/fail_alloc.h"

#define MAX_RESULTS 16

/* What was told, copied. */
struct told {
    bool passed;
    unsigned line, at_line;
    char name[128], file[64], at_file[64], source[256], message[4096], run[256];
};

struct host {
    struct setkit set;
    struct np_test_counts counts;
    struct told told[MAX_RESULTS];
    size_t n;
    unsigned fresh;
    char given[1024];   /* the last thing that was played */
    const char *run;    /* what play gives back */
    enum np_err played; /* how it ends */
};

static void fresh(void *ctx)
{
    struct host *h = ctx;
    h->fresh++;
}

static enum np_err play(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct host *h = ctx;
    (void)snprintf(h->given, sizeof h->given, "%.*s", (int)given.n, given.p);
    (void)np_buf_puts(out, h->run);
    (void)np_buf_puts(shown, "one\ntwo\n");
    return h->played;
}

static void copy(char *to, size_t size, struct np_span s)
{
    (void)snprintf(to, size, "%.*s", (int)s.n, s.n ? s.p : "");
}

static void done(void *ctx, const struct np_test_result *r)
{
    struct host *h = ctx;
    /* No assertion here: check allocates, too. */
    struct told *t = &h->told[h->n < MAX_RESULTS ? h->n++ : h->n - 1];
    t->passed = r->passed;
    t->line = r->line;
    t->at_line = r->at_line;
    copy(t->name, sizeof t->name, np_span_of(r->name));
    copy(t->file, sizeof t->file, np_span_of(r->file));
    copy(t->at_file, sizeof t->at_file, np_span_of(r->at_file));
    copy(t->source, sizeof t->source, r->source);
    copy(t->message, sizeof t->message, r->message);
    copy(t->run, sizeof t->run, r->run);
}

static enum np_err run_all(struct host *h, const char *filter)
{
    const struct np_test_ground ground = {.fresh = fresh, .play = play, .ctx = h};
    const struct np_test_order order = {
        .ground = &ground, .filter = filter, .done = done, .ctx = h};
    h->n = 0;
    return np_tests_run(h->set.set, &order, &h->counts);
}

/* Runs one file of tests; what was told of the last one. */
static const struct told *run(struct host *h, const char *source)
{
    memset(h, 0, sizeof *h);
    h->run = "{\"status\":200}";
    setkit_open(&h->set);
    setkit_write(&h->set, "a_test.lua", source);
    setkit_assert_loads(&h->set);
    ck_assert_int_eq(run_all(h, NULL), NP_OK);
    ck_assert_uint_gt(h->n, 0);
    return &h->told[h->n - 1];
}

static void close_host(struct host *h)
{
    setkit_close(&h->set);
}

START_TEST(tests_are_run_in_the_order_in_which_they_stand)
{
    struct host h;
    (void)run(
        &h,
        "test('one', function() end)\n"
        "test.each('two', {1, 'x', {'y', 2}, {z = {}}}, function(v) expect(v ~= nil, true) end)\n");
    static const char *const names[] = {"one", "two (1)", "two (\"x\")", "two (\"y\")",
                                        "two ({ z = {} })"};
    ck_assert_uint_eq(h.n, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(h.told[i].name, names[i]);
        ck_assert_uint_eq(h.told[i].line, i ? 2 : 1);
        ck_assert_msg(h.told[i].passed, "%s", h.told[i].message);
    }
    ck_assert_uint_eq(h.counts.passed, 5);
    ck_assert_uint_eq(h.fresh, 5);
    close_host(&h);
}
END_TEST

/* One failing test, `t`, in line 2, and what is told of it. */
static const struct {
    const char *body, *message;
} failures[] = {
    {"expect(1, 2)", "got       1\nexpected  2"},
    {"expect(nil, false)", "got       nil\nexpected  false"},
    {"expect('a\\nb\"', 'a')", "got       \"a\\nb\\\"\"\nexpected  \"a\""},
    {"expect({1, {x = {2}}}, {1, {x = {3}}})",
     "got       { 1, { x = { 2 } } }\nexpected  { 1, { x = { 3 } } }\n"
     "differs   at [2].x[1]: got 2, expected 3"},
    {"expect({}, {a = 1})",
     "got       {}\nexpected  { a = 1 }\ndiffers   at .a: got nil, expected 1"},
    {"expect({a = 1}, {})",
     "got       { a = 1 }\nexpected  {}\ndiffers   at .a: got 1, expected nil"},
    {"local c, d = {}, {} c.x, d.x, c.y, d.y = c, d, 1, 2 expect(c, d)",
     "got       { x = { itself }, y = 1 }\nexpected  { x = { itself }, y = 2 }\n"
     "differs   at .y: got 1, expected 2"},
    {"local c = {} c[1] = c expect(c, 1)", "got       { { itself } }\nexpected  1"},
    {"expect(setmetatable({}, {__eq = function() return true end}), {1})",
     "got       {}\nexpected  { 1 }\ndiffers   at [1]: got nil, expected 1"},
    {"expect(1)", "expect(got, wanted) takes two values, got 1"},
    {"local x = nil x.y = 1", "attempt to index a nil value (local 'x')"},
    {"error('my words')", "my words"},
    {"error({})", "the error is a table, not a text"},
    {"while true do end", "stopped: it took more steps than a hook may"},
    {"x = 1", "there are no globals in tests: write `local x = …`"},
    {"test.each = 1", "test is read-only: each can't be set"},
    {"test('inner', function() end)", "test: a test can't announce others"},
    {"play(1)", "play{request = {…}}: a table is wanted, got a number"},
    {"play{request = function() end}", "play: JSON can't hold a function"},
    {"play{request = {1, a = 2}}", "play: JSON can't hold a list that also has names or holes"},
    {"now_ms()", "this can be called in hooks, not by a test: play{…} runs them"},
    {"log.info('hi')", "this can be called in hooks, not by a test: play{…} runs them"},
    {"pick{'a'}", "this can be called in hooks, not by a test: play{…} runs them"},
};

START_TEST(a_difference_is_found_at_any_depth)
{
    struct host h;
    const struct told *t =
        run(&h, "test('t', function() local a, b = {1}, {2}\n"
                "for _ = 1, 300 do a, b = {x = a}, {x = b} end expect(a, b) end)");
    ck_assert_ptr_nonnull(strstr(t->message, "differs   at …"));
    ck_assert_ptr_nonnull(strstr(t->message, ".x.x.x[1]: got 1, expected 2"));
    close_host(&h);
}
END_TEST

START_TEST(a_failure_says_where_and_what)
{
    struct host h;
    char source[512], line[256];
    (void)snprintf(line, sizeof line, "%s", failures[_i].body);
    (void)snprintf(source, sizeof source, "test('t', function()\n\t%s  \nend)\n", line);
    const struct told *t = run(&h, source);
    ck_assert(!t->passed);
    ck_assert_str_eq(t->message, failures[_i].message);
    ck_assert_str_eq(t->at_file, "a_test.lua");
    ck_assert_uint_eq(t->at_line, 2);
    ck_assert_str_eq(t->source, line);
    ck_assert_uint_eq(h.counts.failed, 1);
    close_host(&h);
}
END_TEST

START_TEST(equal_is_equal_by_content)
{
    struct host h;
    const struct told *t =
        run(&h, "test('t', function()\n"
                "expect(1, 1.0) expect(0/0, 0/0) expect('a', 'a') expect(nil, nil)\n"
                "expect({a = {1, 2, {}}, [2] = 'x'}, {[2] = 'x', a = {1, 2, {}}})\n"
                "expect(json.null, json.null)\n"
                "local f = function() end expect({f}, {f})\n"
                "local a, b = {}, {} for _ = 1, 300 do a, b = {a, 1}, {b, 1} end expect(a, b)\n"
                "local c, d = {}, {x = {}} c.x = c d.x.x = d expect(c, d)\n"
                "end)");
    ck_assert_msg(t->passed, "%u: %s", t->at_line, t->message);
    close_host(&h);
}
END_TEST

START_TEST(long_values_are_shown_in_lines_sorted_and_cut)
{
    struct host h;
    const struct told *t = run(&h, "test('t', function()\n"
                                   "local t = {name = ('x'):rep(80), list = {1, 2}}\n"
                                   "expect(t, 1) end)");
    char wanted[256];
    (void)snprintf(wanted, sizeof wanted,
                   "got       {\n            list = {\n              1,\n"
                   "              2,\n            },\n            name = \"%080d",
                   0);
    for (char *p = strchr(wanted, '0'); p && *p; p++)
        *p = 'x';
    ck_assert_msg(strncmp(t->message, wanted, strlen(wanted)) == 0, "%s", t->message);
    close_host(&h);
    t = run(&h,
            "test('t', function() local t = {} for i = 1, 1000 do t[i] = i end expect(t, 1) end)");
    ck_assert_ptr_nonnull(strstr(t->message, "19,\n          …\nexpected  1"));
    close_host(&h);
}
END_TEST

START_TEST(play_travels_as_json_both_ways)
{
    struct host h;
    const struct told *t =
        run(&h, "test('t', function()\n"
                "local given = { request = { prompt = 'hi', context = {}, metadata = {} },\n"
                "  providers = { openai = { 429, 'Sure.' } } }\n"
                "local run = play(given)\n"
                "expect(run, { status = 200 })\n"
                "expect(next(given.request.context), nil)\nend)");
    ck_assert_msg(t->passed, "%s", t->message);
    ck_assert_str_eq(h.given, "{\"providers\":{\"openai\":[429,\"Sure.\"]},"
                              "\"request\":{\"context\":[],\"metadata\":{},\"prompt\":\"hi\"}}");
    close_host(&h);
}
END_TEST

START_TEST(a_failure_brings_the_last_run_of_its_own_test)
{
    struct host h;
    (void)run(&h, "test('one', function() play{request = {}} expect(1, 2) end)\n"
                  "test('two', function() expect(1, 2) end)");
    ck_assert_str_eq(h.told[0].run, "one\ntwo\n");
    ck_assert_str_eq(h.told[1].run, "");
    close_host(&h);
}
END_TEST

START_TEST(what_the_ground_refuses_is_the_test_s_fault)
{
    struct host h;
    memset(&h, 0, sizeof h);
    (void)run(&h, "test('t', function()\nplay{request = {}}\nend)");
    h.run = "there is no field \"x\"";
    h.played = NP_E_INVALID;
    ck_assert_int_eq(run_all(&h, NULL), NP_OK);
    ck_assert(!h.told[0].passed);
    ck_assert_str_eq(h.told[0].message, "play: there is no field \"x\"");
    ck_assert_uint_eq(h.told[0].at_line, 2);
    close_host(&h);
}
END_TEST

START_TEST(libraries_of_the_set_can_be_tested)
{
    struct host h;
    memset(&h, 0, sizeof h);
    setkit_open(&h.set);
    setkit_write(&h.set, "lib/twice.lua", "return function(n) return 2 * n end");
    setkit_write(&h.set, "lib/twice_test.lua",
                 "local twice = require 'lib.twice'\n"
                 "test('twice', function() expect(twice(4), 8) end)");
    setkit_assert_loads(&h.set);
    ck_assert_int_eq(run_all(&h, NULL), NP_OK);
    ck_assert_uint_eq(h.counts.passed, 1);
    ck_assert_str_eq(h.told[0].file, "lib/twice_test.lua");
    close_host(&h);
}
END_TEST

/* Files that are wrong as a whole. */
static const struct {
    const char *source, *message;
} broken[] = {
    {"-- nothing", "the file has no test: test(name, function) makes one"},
    {"error('at once')", "at once"},
    {"play{request = {}}", "play: only tests can play, not their file"},
    {"test('a', function() end) test('a', function() end)",
     "there is a test \"a\" already, in line 1"},
    {"test(1, function() end)", "test(name, function): a string is wanted, got a number"},
    {"test('a')", "test(name, function): a function is wanted, got a no value"},
    {"test.each('a', 1, function() end)",
     "test.each(name, list, function): a table is wanted, got a number"},
    {"test.each('a', {}, function() end)",
     "test.each has an empty list, so that nothing would be tested"},
    {"while true do end", "stopped: it took more steps than a hook may"},
};

START_TEST(a_file_that_cannot_be_run_is_one_failure)
{
    struct host h;
    const struct told *t = run(&h, broken[_i].source);
    ck_assert_uint_eq(h.n, 1);
    ck_assert(!t->passed);
    ck_assert_str_eq(t->name, "");
    ck_assert_str_eq(t->message, broken[_i].message);
    close_host(&h);
}
END_TEST

START_TEST(a_filter_leaves_tests_out_by_name_or_file)
{
    struct host h;
    (void)run(&h, "test('a_short_one', function() end) test('a_long_one', function() end)");
    ck_assert_int_eq(run_all(&h, "short"), NP_OK);
    ck_assert_uint_eq(h.n, 1);
    ck_assert_uint_eq(h.counts.left_out, 1);
    ck_assert_int_eq(run_all(&h, "a_test"), NP_OK);
    ck_assert_uint_eq(h.n, 2);
    ck_assert_int_eq(run_all(&h, "l?ng*e"), NP_OK);
    ck_assert_uint_eq(h.n, 1);
    ck_assert_int_eq(run_all(&h, "nowhere"), NP_OK);
    ck_assert_uint_eq(h.n, 0);
    close_host(&h);
}
END_TEST

START_TEST(files_share_nothing)
{
    struct host h;
    (void)run(&h, "local n = 0\n"
                  "test('one', function() n = n + 1 expect(n, 1) end)\n"
                  "test('two', function() n = n + 1 expect(n, 2) end)");
    setkit_write(&h.set, "b_test.lua",
                 "local n = 0\n"
                 "test('one', function() n = n + 1 expect(n, 1) end)");
    setkit_assert_loads(&h.set);
    ck_assert_int_eq(run_all(&h, NULL), NP_OK);
    ck_assert_uint_eq(h.counts.passed, 3);
    ck_assert_uint_eq(h.counts.files, 2);
    close_host(&h);
}
END_TEST

START_TEST(without_memory_a_test_fails_or_the_run_ends)
{
    struct host h;
    (void)run(&h, "test('t', function() expect(play{request = {prompt = 'x'}}.status, 200) end)");
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        enum np_err err = run_all(&h, NULL);
        bool failed = np_fail_happened();
        np_fail_never();
        ck_assert(err == NP_OK || err == NP_E_NOMEM);
        ck_assert_uint_le(h.n, 1);
        if (!failed)
            break;
    }
    ck_assert_uint_gt(n, 200);
    ck_assert(h.told[0].passed);
    close_host(&h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("testhost");
    TCase *tc = tcase_create("testhost");
    tcase_add_test(tc, tests_are_run_in_the_order_in_which_they_stand);
    tcase_add_test(tc, a_difference_is_found_at_any_depth);
    tcase_add_loop_test(tc, a_failure_says_where_and_what, 0, sizeof failures / sizeof *failures);
    tcase_add_test(tc, equal_is_equal_by_content);
    tcase_add_test(tc, long_values_are_shown_in_lines_sorted_and_cut);
    tcase_add_test(tc, play_travels_as_json_both_ways);
    tcase_add_test(tc, a_failure_brings_the_last_run_of_its_own_test);
    tcase_add_test(tc, what_the_ground_refuses_is_the_test_s_fault);
    tcase_add_test(tc, libraries_of_the_set_can_be_tested);
    tcase_add_loop_test(tc, a_file_that_cannot_be_run_is_one_failure, 0,
                        sizeof broken / sizeof *broken);
    tcase_add_test(tc, a_filter_leaves_tests_out_by_name_or_file);
    tcase_add_test(tc, files_share_nothing);
    tcase_add_test(tc, without_memory_a_test_fails_or_the_run_ends);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
