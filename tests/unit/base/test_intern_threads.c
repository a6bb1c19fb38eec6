/* Names given by several threads at once, and read meanwhile. */
#include "base/intern.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, NAMES = 2000 };

static struct np_intern *table;

/* Adds all names, starting elsewhere in each thread, and reads back each number that it gets. */
static void *add_all(void *ctx)
{
    const unsigned *start = ctx;
    size_t wrong = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        char name[16];
        uint32_t number;
        snprintf(name, sizeof name, "n%u", (i + *start) % NAMES);
        wrong += np_intern_add(table, np_span_of(name), &number) != NP_OK;
        uint32_t count = np_intern_count(table);
        wrong += number >= count || strcmp(np_intern_name(table, number), name) != 0;
        wrong += strlen(np_intern_name(table, count - 1)) < 2;
    }
    return wrong ? table : NULL;
}

START_TEST(several_threads_agree_on_every_number)
{
    pthread_t threads[THREADS];
    unsigned starts[THREADS];
    table = np_intern_new(NAMES);
    for (unsigned i = 0; i < THREADS; i++) {
        starts[i] = i * NAMES / THREADS / 2;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_all, &starts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        ck_assert_ptr_null(wrong);
    }
    ck_assert_uint_eq(np_intern_count(table), NAMES);
    np_intern_free(table);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/intern between threads");
    TCase *c = tcase_create("intern_threads");
    tcase_add_test(c, several_threads_agree_on_every_number);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
