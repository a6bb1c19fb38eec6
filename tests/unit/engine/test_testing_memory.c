/* `neap test` with all that it can be asked for, while the n-th allocation fails: it tells the truth, or that it
 * could not go on; a file that it writes is whole. */
#include "support/fail_alloc.h"

#include <check.h>
#include <neap/neap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {
    "providers.lua",
    "return { p = { adapter = 'openai', base_url = 'http://127.0.0.1:9/v1' } }\n",
    "models.lua",
    "return { m = { provider = 'p', context = 8000, max_output = 1000,\n"
    "  usd_per_million = { input = 1.0, output = 2.0 } } }\n",
    "endpoints.lua",
    "return { ['/api/x/reply'] = { models = { 'm' } } }\n",
    "route.lua",
    "return function(req)\n  if req.tenant == 'x' then return {} end\n  return { 'm' }, 'why'\nend\n",
    "one_test.lua",
    "test('answers <&', function() expect(play { request = { prompt = 'hi' } }.status, 200) end)\n"
    "test('fails', function() expect(play({ request = { prompt = 'hi' } }).model, 'n') end)\n",
};

static char dir[] = "/tmp/neap-testing-XXXXXX";

static void path_of(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", dir, name);
}

static void lay(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i += 2) {
        char path[256];
        path_of(path, sizeof path, files[i]);
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(files[i + 1], f), 0);
        fclose(f);
    }
}

static void clear(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

struct said {
    bool counted, covered, benched;
    char last[300];
};

static void say(void *ctx, const char *line)
{
    struct said *s = ctx;
    s->counted = s->counted || strcmp(line, "1 passed, 1 failed") == 0;
    s->covered = s->covered || strstr(line, "route.lua");
    s->benched = s->benched || strstr(line, " ns");
    snprintf(s->last, sizeof s->last, "%s", line);
}

static enum neap_status test(struct said *s, const char *junit, bool bench)
{
    *s = (struct said){.last = ""};
    const struct neap_test_options options = {
        .verbose = true, .junit = junit, .coverage = true, .bench = bench, .say = say, .ctx = s};
    return neap_test(dir, &options);
}

static bool is_whole(const char *path)
{
    char text[16384] = "";
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return strstr(text, "answers &#60;&#38;") && strstr(text, "<failure") &&
           strstr(text, "</testsuites>");
}

/* How often it could not go on. */
static size_t starve(bool bench, size_t stride)
{
    char junit[256];
    struct said s;
    size_t refused = 0;
    path_of(junit, sizeof junit, "results.xml");
    bool failed = true;
    for (size_t n = 0; failed; n += 1 + n / stride) {
        (void)unlink(junit);
        np_fail_nth(n);
        enum neap_status status = test(&s, junit, bench);
        failed = np_fail_happened();
        np_fail_never();
        refused += status == NEAP_FAILED;
        ck_assert_msg(status == NEAP_NO || status == NEAP_FAILED, "allocation %zu: %d, %s", n,
                      (int)status, s.last);
        /* A test that found no memory has failed: the counts say so. */
        if (status == NEAP_NO && access(junit, F_OK) != 0)
            ck_abort_msg("allocation %zu: no file was written, and nothing was said", n);
        ck_assert_msg(failed || (status == NEAP_NO && s.counted && s.covered &&
                                 s.benched == bench && is_whole(junit)),
                      "allocation %zu: %d, %s", n, (int)status, s.last);
    }
    return refused;
}

START_TEST(without_memory_tests_never_pass_that_fail)
{
    lay();
    ck_assert_uint_gt(starve(false, 24), 10);
    clear();
}
END_TEST

START_TEST(without_memory_a_benchmark_ends_whole)
{
    lay();
    ck_assert_uint_gt(starve(true, 6), 5);
    clear();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("testing_memory");
    TCase *tc = tcase_create("testing_memory");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, without_memory_tests_never_pass_that_fail);
    tcase_add_test(tc, without_memory_a_benchmark_ends_whole);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
