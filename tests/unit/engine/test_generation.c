/* Generations: what is counted on them, and when hooks err so much that they are taken back. */
#include "engine/generation.h"

#include "engine/simkit.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <string.h>

/* Calls and errors, spread over two hooks. */
static struct np_tally_sum sum_of(uint64_t calls, uint64_t errors)
{
    struct np_tally_sum s = {0};
    s.calls[NP_HOOK_route] = calls / 2;
    s.calls[NP_HOOK_respond] = calls - calls / 2;
    s.errors[NP_HOOK_route] = errors / 2;
    s.errors[NP_HOOK_respond] = errors - errors / 2;
    return s;
}

static const struct {
    uint64_t calls, errors, calls_before, errors_before;
    bool errs;
} cases[] = {
    {199, 199, 1000, 0, false},     /* too few calls */
    {200, 2, 1000, 0, false},       /* 1 % is not over 1 % */
    {200, 3, 1000, 0, true},        /* over 1 %, and none before */
    {200, 3, 0, 0, true},           /* nothing is known of before */
    {1000, 40, 1000, 8, true},      /* 5 times as often */
    {1000, 39, 1000, 8, false},     /* not quite */
    {1000, 1000, 1000, 201, false}, /* bad, but so was the one before */
    {1000, 1000, 1000, 200, true},
    {100000, 1100, 1000, 1, true}, /* rates, not counts */
    {100000, 1100, 1000, 3, false},
    {UINT64_C(1) << 40, UINT64_C(1) << 39, UINT64_C(1) << 40, 1, true}, /* no overflow */
    {0, 0, 0, 0, false},
};

START_TEST(hooks_err_over_1_percent_of_200_calls_and_5_times_as_often)
{
    struct np_tally_sum now = sum_of(cases[_i].calls, cases[_i].errors);
    struct np_tally_sum before = sum_of(cases[_i].calls_before, cases[_i].errors_before);
    ck_assert_int_eq(np_tally_errs(&now, &before), cases[_i].errs);
}
END_TEST

START_TEST(tallies_of_all_workers_add_up_and_outlive_a_change_of_keys)
{
    struct kit k;
    struct np_tally_sum sum;
    kit_new(&k);
    kit_start(&k);
    struct np_generation *g = np_generation_new(k.set, 3, NP_TRIGGER_FOLDER, 2);
    ck_assert_ptr_nonnull(g);
    for (size_t i = 0; i < 2; i++) {
        np_tally_add(&g->tallies->each[i].requests);
        np_tally_add(&g->tallies->each[i].calls[NP_HOOK_admit]);
    }
    np_tally_add(&g->tallies->each[1].errors[NP_HOOK_admit]);
    struct np_generation *next = np_generation_renew(g, k.set, NP_TRIGGER_SIGNAL);
    ck_assert_ptr_nonnull(next);
    np_generation_drop(g);
    np_tally_add(&next->tallies->each[0].requests);
    np_generation_sum(next, &sum);
    ck_assert_uint_eq(sum.requests, 3);
    ck_assert_uint_eq(sum.calls[NP_HOOK_admit], 2);
    ck_assert_uint_eq(sum.errors[NP_HOOK_admit], 1);
    ck_assert_uint_eq(next->number, 3);
    ck_assert_str_eq(np_trigger_name(next->trigger), "signal");
    np_generation_drop(next);
    kit_free(&k);
}
END_TEST

START_TEST(without_memory_there_is_no_generation_and_nothing_is_left_over)
{
    struct kit k;
    size_t n = 0;
    kit_new(&k);
    kit_start(&k);
    for (struct np_generation *g = NULL; !g; n++) {
        np_fail_nth(n);
        g = np_generation_new(k.set, 1, NP_TRIGGER_START, 4);
        np_fail_never();
        np_generation_drop(g);
        if (g)
            break;
    }
    ck_assert_uint_ge(n, 2);
    kit_free(&k);
}
END_TEST

START_TEST(a_set_can_be_loaded_again_from_what_was_read)
{
    struct kit k;
    struct np_problems problems;
    struct np_policyset *again = NULL;
    kit_new(&k);
    kit_file(&k, "route.lua", "return function() return { 'small' } end\n");
    kit_start(&k);
    struct np_load_options options = {.slots = &k.slots, .simulated = true};
    kit_file(&k, "route.lua", "return 7\n");
    size_t n = 0;
    for (; !again; n++) {
        np_fail_nth(n);
        again = np_policyset_again(k.set);
        np_fail_never();
    }
    ck_assert_uint_ge(n, 3);
    np_problems_init(&problems);
    ck_assert_int_eq(np_policyset_load(again, &options, &problems), NP_OK);
    ck_assert_str_eq(np_policyset_version(again), np_policyset_version(k.set));
    ck_assert(np_policyset_has_hook(again, NP_HOOK_route));
    np_problems_free(&problems);
    np_policyset_drop(again);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("generation");
    TCase *tc = tcase_create("generation");
    tcase_add_loop_test(tc, hooks_err_over_1_percent_of_200_calls_and_5_times_as_often, 0,
                        sizeof cases / sizeof *cases);
    tcase_add_test(tc, tallies_of_all_workers_add_up_and_outlive_a_change_of_keys);
    tcase_add_test(tc, without_memory_there_is_no_generation_and_nothing_is_left_over);
    tcase_add_test(tc, a_set_can_be_loaded_again_from_what_was_read);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
