/* Rotation: the file begins anew, five old ones are kept. */
#include "base/log.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];
static char path[96];

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/np_rotate_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
}

static void teardown(void)
{
    char command[128];
    np_log_close();
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static bool holds(const char *suffix, const char *wanted)
{
    char name[128], text[4096] = "";
    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    return strstr(text, wanted) != NULL;
}

START_TEST(rotating_keeps_five_old_files_and_goes_on_in_a_new_one)
{
    ck_assert_int_eq(np_log_open(path), NP_OK);
    int fd = np_log_fd();
    for (int i = 0; i < 8; i++) {
        np_log(NP_LOG_INFO, "round", NP_KVI("n", i));
        ck_assert_int_eq(np_log_rotate(), NP_OK);
    }
    np_log(NP_LOG_INFO, "round", NP_KVI("n", 8));
    ck_assert(holds("", "n=8"));
    ck_assert(!holds("", "n=7"));
    ck_assert(holds(".1", "n=7"));
    ck_assert(holds(".5", "n=3"));
    ck_assert(!holds(".6", ""));
    /* Threads that write meanwhile know the descriptor's number. */
    ck_assert_int_eq(np_log_fd(), fd);
}
END_TEST

START_TEST(standard_error_is_never_rotated)
{
    ck_assert_int_eq(np_log_open("-"), NP_OK);
    ck_assert_int_eq(np_log_rotate(), NP_OK);
    ck_assert_int_eq(np_log_fd(), STDERR_FILENO);
}
END_TEST

START_TEST(only_regular_files_become_full)
{
    ck_assert_int_eq(np_log_open(path), NP_OK);
    ck_assert(!np_log_is_full(np_log_fd(), 1));
    np_log(NP_LOG_INFO, "a line", NP_KVI("n", 1));
    ck_assert(np_log_is_full(np_log_fd(), 1));
    ck_assert(!np_log_is_full(np_log_fd(), 1 << 20));
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ck_assert(!np_log_is_full(fd, 0));
    (void)close(fd);
}
END_TEST

START_TEST(a_file_that_cannot_be_renamed_goes_on_as_it_was)
{
    char command[256];
    ck_assert_int_eq(np_log_open(path), NP_OK);
    np_log(NP_LOG_INFO, "before", NP_KVI("n", 1));
    /* A folder that is not empty stands where the oldest file would go. */
    (void)snprintf(command, sizeof command, "mkdir -p %s/log.4/x %s/log.5/x", folder, folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(np_log_rotate(), NP_E_IO);
    np_log(NP_LOG_INFO, "after", NP_KVI("n", 2));
    ck_assert(holds("", "before"));
    ck_assert(holds("", "after"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("log_rotate");
    TCase *t = tcase_create("log_rotate");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, rotating_keeps_five_old_files_and_goes_on_in_a_new_one);
    tcase_add_test(t, standard_error_is_never_rotated);
    tcase_add_test(t, only_regular_files_become_full);
    tcase_add_test(t, a_file_that_cannot_be_renamed_goes_on_as_it_was);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
