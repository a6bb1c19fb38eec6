/* The file that keeps burn rates over restarts. */
#include "engine/slokeep.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW (UINT64_C(600000) * NP_NS_PER_S)
#define WALL_MS INT64_C(1790000000000)

static char folder[] = "/tmp/neap-slokeep-XXXXXX", path[128];
static struct np_guard *g;
static struct np_endpoint endpoints[2];
static struct np_catalog catalog;

static void setup(void)
{
    strcpy(folder, "/tmp/neap-slokeep-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/neap.slo", folder);
    g = np_guard_new(1);
    ck_assert_ptr_nonnull(g);
    for (uint32_t i = 0; i < 2; i++)
        endpoints[i] = (struct np_endpoint){.path = i ? "/api/b/reply" : "/api/a/reply",
                                            .slot = i + 3,
                                            .slo = {.error_rate = 0.01}};
    catalog = (struct np_catalog){.endpoints = endpoints, .n_endpoints = 2};
}

static void teardown(void)
{
    np_guard_free(g);
    (void)unlink(path);
    (void)rmdir(folder); /* fails where the file beside was left */
    ck_assert_int_ne(access(folder, F_OK), 0);
}

static void add(struct np_guard *to, size_t endpoint, unsigned good, unsigned bad)
{
    for (unsigned i = 0; i < good + bad; i++)
        np_stat_exchange(to, &endpoints[endpoint], NOW, NP_NS_PER_MS, i < bad, true, false, 1000);
}

static double burn(struct np_guard *of, size_t endpoint)
{
    return np_slo_burn(of, &endpoints[endpoint], NP_OBJ_ERRORS, NP_BURN_1H, NOW);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(what_was_saved_is_loaded)
{
    add(g, 0, 9, 1);
    add(g, 1, 3, 1);
    ck_assert_int_eq(np_slokeep_save(path, g, &catalog, NOW, WALL_MS), NP_OK);
    struct np_guard *next = np_guard_new(2);
    np_slokeep_load(path, next, &catalog, NOW, WALL_MS + 60000);
    ck_assert_double_eq_tol(burn(next, 0), 10, 1e-9);
    ck_assert_double_eq_tol(burn(next, 1), 25, 1e-9);
    np_guard_free(next);
}
END_TEST

START_TEST(no_file_is_the_first_start)
{
    np_slokeep_load(path, g, &catalog, NOW, WALL_MS);
    ck_assert_double_eq(burn(g, 0), 0);
}
END_TEST

START_TEST(what_is_no_line_is_passed_over_and_the_rest_counts)
{
    write_file("neap-slo 1\n"
               "/api/a/reply 29833333 10 10 0 1 0 5\n"
               "/api/a/reply 29833333 10 10 0 99 0 5\n" /* more bad than all */
               "/api/a/reply 29833333 10\n"
               "/api/a/reply x y z\n"
               "\n"
               "/api/gone/reply 29833333 10 10 0 10 0 5\n"
               "/api/a/reply 29833333 -1 10 0 1 0 5\n"
               "/api/a/reply 29833333 10 10 0 1 0 5 6\n"
               "/api/a/reply 29833332 10 10 0 1 0 5");
    np_slokeep_load(path, g, &catalog, NOW, WALL_MS);
    ck_assert_double_eq_tol(burn(g, 0), 10, 1e-9);
}
END_TEST

START_TEST(a_file_of_another_kind_is_left_alone)
{
    write_file("neap-slo 2\n/api/a/reply 29833333 10 10 0 1 0 5\n");
    np_slokeep_load(path, g, &catalog, NOW, WALL_MS);
    ck_assert_double_eq(burn(g, 0), 0);
}
END_TEST

START_TEST(a_save_that_fails_leaves_the_old_file_whole)
{
    add(g, 0, 9, 1);
    ck_assert_int_eq(np_slokeep_save(path, g, &catalog, NOW, WALL_MS), NP_OK);
    char beside[160];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    ck_assert_int_eq(mkdir(beside, 0700), 0); /* in the way of the file beside */
    ck_assert_int_eq(np_slokeep_save(path, g, &catalog, NOW, WALL_MS), NP_E_IO);
    ck_assert_int_eq(rmdir(beside), 0);
    struct np_guard *next = np_guard_new(2);
    np_slokeep_load(path, next, &catalog, NOW, WALL_MS);
    ck_assert_double_eq_tol(burn(next, 0), 10, 1e-9);
    np_guard_free(next);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("slokeep");
    TCase *t = tcase_create("slokeep");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_was_saved_is_loaded);
    tcase_add_test(t, no_file_is_the_first_start);
    tcase_add_test(t, what_is_no_line_is_passed_over_and_the_rest_counts);
    tcase_add_test(t, a_file_of_another_kind_is_left_alone);
    tcase_add_test(t, a_save_that_fails_leaves_the_old_file_whole);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
