/* The loop and other threads: posts and stops. */
#include "base/loop.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { POSTERS = 4, POSTS_EACH = 20000 };

static struct np_loop *loop;
static int ran; /* by the loop's thread alone */
static atomic_int refused;

static void count(void *ctx)
{
    (void)ctx;
    if (++ran == POSTERS * POSTS_EACH) {
        np_loop_stop(loop);
    }
}

static void *post_many(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < POSTS_EACH;) {
        if (np_loop_post(loop, count, NULL) == NP_OK) {
            i++;
        } else {
            atomic_fetch_add(&refused, 1);
            sched_yield();
        }
    }
    return NULL;
}

START_TEST(posts_of_many_threads_all_run_and_none_sleeps_through)
{
    pthread_t posters[POSTERS];
    loop = np_loop_new(&np_clock_live);
    for (int i = 0; i < POSTERS; i++) {
        ck_assert_int_eq(pthread_create(&posters[i], NULL, post_many, NULL), 0);
    }
    np_loop_run(loop);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i], NULL);
    }
    ck_assert_int_eq(ran, POSTERS * POSTS_EACH);
    np_loop_free(loop);
}
END_TEST

static void *run(void *ctx)
{
    np_loop_run(ctx);
    return NULL;
}

START_TEST(another_thread_can_stop_a_loop_that_sleeps_for_ever)
{
    for (int i = 0; i < 200; i++) {
        pthread_t t;
        struct np_loop *l = np_loop_new(&np_clock_live);
        ck_assert_int_eq(pthread_create(&t, NULL, run, l), 0);
        np_loop_stop(l);
        pthread_join(t, NULL);
        np_loop_free(l);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/loop between threads");
    TCase *c = tcase_create("loop_threads");
    tcase_add_test(c, posts_of_many_threads_all_run_and_none_sleeps_through);
    tcase_add_test(c, another_thread_can_stop_a_loop_that_sleeps_for_ever);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
