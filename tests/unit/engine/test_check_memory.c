/* What check tells, while the n-th allocation fails: all of it, or that there was no memory. */
#include "engine/probe.h"

#include "engine/simkit.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <string.h>

/* One error that is seen in the code, one that a built-in request brings about. */
static const char route[] = "return function(req)\n"
                            "  if req.tenant == 'vip' then return { req.promt } end\n"
                            "  return 7\n"
                            "end\n";

static enum np_err look(struct np_policyset *set, struct np_problems *problems)
{
    return np_policyset_inspect(set, problems);
}

static enum np_err try_hooks(struct np_policyset *set, struct np_problems *problems)
{
    return np_probe(set, problems);
}

/* How often the step gave up. Of those it may not pass as good what has an error. */
static size_t starve(enum np_err (*step)(struct np_policyset *, struct np_problems *),
                     size_t stride)
{
    struct kit kit;
    kit_new(&kit);
    kit_file(&kit, "route.lua", route);
    kit_start(&kit);
    size_t refused = 0;
    bool failed = true;
    for (size_t n = 0; failed; n += 1 + n / stride) {
        struct np_problems problems;
        np_problems_init(&problems);
        np_fail_nth(n);
        enum np_err err = step(kit.set, &problems);
        failed = np_fail_happened();
        np_fail_never();
        refused += err == NP_E_NOMEM;
        ck_assert_msg(err || problems.errors > 0, "allocation %zu: no error is told", n);
        ck_assert_msg(failed || err != NP_E_NOMEM, "allocation %zu: memory was not short", n);
        if (!failed)
            ck_assert_uint_gt(problems.n, 0);
        np_problems_free(&problems);
    }
    kit_free(&kit);
    return refused;
}

START_TEST(without_memory_no_error_in_the_code_stays_unseen)
{
    ck_assert_uint_gt(starve(look, 16), 20);
}
END_TEST

START_TEST(without_memory_no_hook_passes_that_gives_a_wrong_kind)
{
    ck_assert_uint_gt(starve(try_hooks, 8), 10);
}
END_TEST

START_TEST(a_code_is_explained_whole_or_not_at_all)
{
    struct np_buf whole;
    np_buf_init(&whole, 65536);
    ck_assert_int_eq(np_problems_explain("N304", &whole), NP_OK);
    size_t refused = 0;
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        struct np_buf out;
        np_buf_init(&out, 65536);
        np_fail_nth(n);
        enum np_err err = np_problems_explain("N304", &out);
        failed = np_fail_happened();
        np_fail_never();
        bool same = !err && !np_buf_failed(&out) && out.n == whole.n &&
                    memcmp(out.p, whole.p, whole.n) == 0;
        ck_assert_msg(same || (failed && (err == NP_E_NOMEM || np_buf_failed(&out))),
                      "allocation %zu: %s, %zu of %zu bytes", n, np_err_text(err), out.n, whole.n);
        refused += err != NP_OK;
        np_buf_free(&out);
    }
    ck_assert_uint_gt(refused, 50);
    np_buf_free(&whole);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check_memory");
    TCase *tc = tcase_create("check_memory");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, without_memory_no_error_in_the_code_stays_unseen);
    tcase_add_test(tc, without_memory_no_hook_passes_that_gives_a_wrong_kind);
    tcase_add_test(tc, a_code_is_explained_whole_or_not_at_all);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
