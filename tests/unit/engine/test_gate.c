/* What lets a policy set go live: its check and its tests. */
#include "engine/gate.h"

#include "engine/simkit.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <string.h>

struct trial {
    struct kit kit;
    struct np_problems problems;
    atomic_bool stop;
};

static void open_trial(struct trial *t, const char *tests)
{
    kit_new(&t->kit);
    kit_file(&t->kit, "one_test.lua", tests);
    kit_start(&t->kit);
    np_problems_init(&t->problems);
    atomic_init(&t->stop, false);
}

static void close_trial(struct trial *t)
{
    np_problems_free(&t->problems);
    kit_free(&t->kit);
}

static enum np_err run(struct trial *t)
{
    return np_gate_test(t->kit.set, &t->stop, &t->problems);
}

static const char passing[] = "test('a_plain_request_is_answered', function()\n"
                              "  expect(play { request = { prompt = 'hi' } }.model, 'big')\n"
                              "end)\n";

START_TEST(a_set_whose_tests_pass_goes_through)
{
    struct trial t;
    open_trial(&t, passing);
    ck_assert_int_eq(run(&t), NP_OK);
    ck_assert_uint_eq(t.problems.n, 0);
    close_trial(&t);
}
END_TEST

START_TEST(a_set_without_tests_goes_through)
{
    struct trial t = {0};
    kit_new(&t.kit);
    kit_start(&t.kit);
    np_problems_init(&t.problems);
    ck_assert_int_eq(run(&t), NP_OK);
    close_trial(&t);
}
END_TEST

START_TEST(each_test_that_fails_is_an_error_at_its_place)
{
    struct trial t;
    open_trial(&t, "test('wrong', function()\n"
                   "  expect(play { request = { prompt = 'hi' } }.model, 'small')\n"
                   "end)\n"
                   "test('right', function() expect(1, 1) end)\n"
                   "test('broken', function()\n"
                   "  error('oh')\n"
                   "end)\n");
    ck_assert_int_eq(run(&t), NP_E_INVALID);
    ck_assert_uint_eq(t.problems.n, 2);
    ck_assert_uint_eq(t.problems.errors, 2);
    const struct np_problem *p = t.problems.list;
    ck_assert_str_eq(p[0].file, "one_test.lua");
    ck_assert_uint_eq(p[0].line, 2);
    ck_assert_str_eq(p[0].code, "N155");
    ck_assert_ptr_nonnull(strstr(p[0].text, "the test \"wrong\" fails: "));
    ck_assert_ptr_nonnull(strstr(p[0].text, "big"));
    ck_assert_ptr_null(strchr(p[0].text, '\n'));
    ck_assert_uint_eq(p[1].line, 6);
    ck_assert_ptr_nonnull(strstr(p[1].text, "oh"));
    close_trial(&t);
}
END_TEST

START_TEST(a_test_without_end_is_stopped_by_its_steps)
{
    struct trial t;
    open_trial(&t, "test('endless', function() while true do end end)\n");
    ck_assert_int_eq(run(&t), NP_E_INVALID);
    ck_assert_uint_eq(t.problems.n, 1);
    ck_assert_ptr_nonnull(strstr(t.problems.list[0].text, "the test \"endless\" fails: "));
    close_trial(&t);
}
END_TEST

START_TEST(an_instance_that_ends_does_not_wait_for_tests)
{
    struct trial t;
    open_trial(&t, "test('on_and_on', function()\n"
                   "  while true do pcall(play, { request = { prompt = 'hi' } }) end\n"
                   "end)\n");
    atomic_store(&t.stop, true);
    ck_assert_int_eq(run(&t), NP_E_INVALID);
    ck_assert_uint_eq(t.problems.n, 1);
    ck_assert_str_eq(t.problems.list[0].code, "N154");
    close_trial(&t);
}
END_TEST

START_TEST(a_set_without_tenants_may_only_be_served_on_loopback)
{
    struct trial t;
    open_trial(&t, passing);
    ck_assert(np_gate_may_listen(t.kit.set, "127.0.0.1:8080", &t.problems));
    ck_assert_uint_eq(t.problems.n, 0);
    ck_assert(!np_gate_may_listen(t.kit.set, "0.0.0.0:8080", &t.problems));
    ck_assert_uint_eq(t.problems.errors, 1);
    ck_assert_str_eq(t.problems.list[0].file, "tenants.lua");
    close_trial(&t);
}
END_TEST

START_TEST(without_memory_a_set_never_passes_unseen)
{
    struct trial t;
    open_trial(&t, passing);
    size_t refused = 0;
    /* Each step, then in strides: a play has tens of thousands of allocations. */
    for (size_t n = 0;; n += 1 + n / 64) {
        np_problems_free(&t.problems);
        np_problems_init(&t.problems);
        np_fail_nth(n);
        enum np_err err = run(&t);
        bool failed = np_fail_happened();
        np_fail_never();
        if (err)
            refused++;
        ck_assert(failed || err == NP_OK);
        if (!failed)
            break;
    }
    ck_assert_uint_gt(refused, 50);
    close_trial(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tc = tcase_create("gate");
    tcase_add_test(tc, a_set_whose_tests_pass_goes_through);
    tcase_add_test(tc, a_set_without_tests_goes_through);
    tcase_add_test(tc, each_test_that_fails_is_an_error_at_its_place);
    tcase_add_test(tc, a_test_without_end_is_stopped_by_its_steps);
    tcase_add_test(tc, an_instance_that_ends_does_not_wait_for_tests);
    tcase_add_test(tc, a_set_without_tenants_may_only_be_served_on_loopback);
    tcase_add_test(tc, without_memory_a_set_never_passes_unseen);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
