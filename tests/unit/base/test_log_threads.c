/* The log written by several threads while its file is moved away. */
#include "base/log.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 500, MOVES = 20 };

static void *write_lines(void *ctx)
{
    char value[300];
    const char *letter = ctx;
    memset(value, *letter, sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < LINES; i++) {
        np_log(NP_LOG_INFO, "line", NP_KVS("value", value));
    }
    return NULL;
}

/* Whole lines in the file, none of which mixes two threads' letters. */
static int count_lines(const char *path)
{
    char line[1024];
    int n = 0;
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        const char *value = strstr(line, " info line value=");
        ck_assert_ptr_nonnull(value);
        value += strlen(" info line value=");
        char letters[2] = {value[0], '\0'};
        ck_assert_uint_eq(strspn(value, letters), 299);
        ck_assert_str_eq(value + 299, "\n");
        n++;
    }
    fclose(f);
    return n;
}

START_TEST(no_line_is_lost_or_mixed_while_the_file_is_reopened)
{
    static char letters[] = "abcd";
    char folder[] = "/tmp/np_log_XXXXXX";
    char path[64], moved[80];
    pthread_t threads[THREADS];
    int lines = 0;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    ck_assert_int_eq(np_log_open(path), NP_OK);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, &letters[i]), 0);
    }
    for (int i = 0; i < MOVES; i++) {
        snprintf(moved, sizeof moved, "%s.%d", path, i);
        ck_assert_int_eq(rename(path, moved), 0);
        ck_assert_int_eq(np_log_reopen(), NP_OK);
        usleep(1000);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    np_log_close();
    for (int i = 0; i < MOVES; i++) {
        snprintf(moved, sizeof moved, "%s.%d", path, i);
        lines += count_lines(moved);
        unlink(moved);
    }
    lines += count_lines(path);
    unlink(path);
    rmdir(folder);
    ck_assert_int_eq(lines, THREADS * LINES);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/log between threads");
    TCase *c = tcase_create("log_threads");
    tcase_add_test(c, no_line_is_lost_or_mixed_while_the_file_is_reopened);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
