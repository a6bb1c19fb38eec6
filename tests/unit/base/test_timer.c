/* The timers' heap, by hand for its promises and against a plain list for the rest. */
#include "base/timer.h"

#include "base/rng.h"
#include "support/fail_alloc.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

/* A timer that writes its number into the common list when it fires. */
struct probe {
    struct np_timer timer;
    int number;
};

static struct np_timers *ts;
static int fired[4096];
static size_t fired_n;
static uint64_t fired_now;

static void note(void *ctx, uint64_t now_ns)
{
    const struct probe *p = ctx;
    ck_assert_uint_eq(p->timer.slot, 0);
    fired[fired_n++] = p->number;
    fired_now = now_ns;
}

static void probe_init(struct probe *p, int number)
{
    np_timer_init(&p->timer, note, p);
    p->number = number;
}

static void setup(void)
{
    ts = np_timers_new();
    ck_assert_ptr_nonnull(ts);
    fired_n = 0;
}

static void teardown(void)
{
    np_timers_free(ts);
}

START_TEST(timers_fire_when_due_in_the_order_of_their_times)
{
    struct probe p[3];
    for (int i = 0; i < 3; i++) {
        probe_init(&p[i], i);
    }
    ck_assert_uint_eq(np_timers_next(ts), UINT64_MAX);
    np_timer_set(ts, &p[0].timer, 30);
    np_timer_set(ts, &p[1].timer, 10);
    np_timer_set(ts, &p[2].timer, 20);
    ck_assert_uint_eq(np_timers_next(ts), 10);
    ck_assert_uint_eq(np_timers_run(ts, 9), 0);
    ck_assert_uint_eq(np_timers_run(ts, 20), 2);
    ck_assert_int_eq(fired[0], 1);
    ck_assert_int_eq(fired[1], 2);
    ck_assert_uint_eq(fired_now, 20);
    ck_assert_uint_eq(np_timers_next(ts), 30);
    ck_assert_uint_eq(np_timers_run(ts, UINT64_MAX), 1);
    ck_assert_uint_eq(np_timers_run(ts, UINT64_MAX), 0);
}
END_TEST

START_TEST(equal_times_fire_in_the_order_in_which_they_were_set)
{
    struct probe p[50];
    for (int i = 0; i < 50; i++) {
        probe_init(&p[i], i);
        np_timer_set(ts, &p[i].timer, 5);
    }
    np_timer_set(ts, &p[7].timer, 5); /* set anew: last */
    ck_assert_uint_eq(np_timers_run(ts, 5), 50);
    for (int i = 0; i < 49; i++) {
        ck_assert_int_eq(fired[i], i < 7 ? i : i + 1);
    }
    ck_assert_int_eq(fired[49], 7);
}
END_TEST

START_TEST(a_timer_can_be_moved_both_ways_and_stopped_twice)
{
    struct probe a, b;
    probe_init(&a, 1);
    probe_init(&b, 2);
    np_timer_stop(ts, &a.timer);
    np_timer_set(ts, &a.timer, 10);
    np_timer_set(ts, &b.timer, 20);
    np_timer_set(ts, &a.timer, 30);
    ck_assert_uint_eq(np_timers_next(ts), 20);
    np_timer_set(ts, &a.timer, 5);
    ck_assert_uint_eq(np_timers_next(ts), 5);
    np_timer_stop(ts, &a.timer);
    np_timer_stop(ts, &a.timer);
    ck_assert_uint_eq(np_timers_run(ts, 100), 1);
    ck_assert_int_eq(fired[0], 2);
}
END_TEST

/* Sets itself again for the time it fires at. */
static void again(void *ctx, uint64_t now_ns)
{
    struct probe *p = ctx;
    fired_n++;
    np_timer_set(ts, &p->timer, now_ns);
}

START_TEST(a_timer_that_sets_itself_for_now_waits_for_the_next_run)
{
    struct probe p;
    np_timer_init(&p.timer, again, &p);
    np_timer_set(ts, &p.timer, 1);
    ck_assert_uint_eq(np_timers_run(ts, 7), 1);
    ck_assert_uint_eq(np_timers_next(ts), 7);
    ck_assert_uint_eq(np_timers_run(ts, 7), 1);
    ck_assert_uint_eq(fired_n, 2);
    np_timer_stop(ts, &p.timer);
    ck_assert_uint_eq(np_timers_next(ts), UINT64_MAX);
}
END_TEST

static struct probe other[4];

/* other[0] was due too, other[1] is set for now and stopped again, other[2] is set for now and then
 * moved away, other[3] is set for the past. */
static void meddle(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    np_timer_stop(ts, &other[0].timer);
    np_timer_set(ts, &other[1].timer, now_ns);
    np_timer_set(ts, &other[2].timer, now_ns);
    np_timer_set(ts, &other[3].timer, now_ns - 1);
    ck_assert_uint_eq(np_timers_next(ts), now_ns - 1);
    np_timer_stop(ts, &other[1].timer);
    np_timer_set(ts, &other[2].timer, now_ns + 5);
}

START_TEST(a_callback_may_stop_and_move_any_timer)
{
    struct np_timer first;
    for (int i = 0; i < 4; i++) {
        probe_init(&other[i], i);
    }
    np_timer_init(&first, meddle, NULL);
    np_timer_set(ts, &first, 10);
    np_timer_set(ts, &other[0].timer, 11);
    ck_assert_uint_eq(np_timers_run(ts, 20), 1);
    ck_assert_uint_eq(np_timers_next(ts), 19);
    ck_assert_uint_eq(np_timers_run(ts, 20), 1);
    ck_assert_int_eq(fired[0], 3);
    ck_assert_uint_eq(np_timers_run(ts, 25), 1);
    ck_assert_int_eq(fired[1], 2);
}
END_TEST

START_TEST(thousands_of_random_moves_agree_with_a_plain_list)
{
    enum { N = 300, ROUNDS = 20000 };
    static struct probe p[N];
    static uint64_t due[N]; /* 0: not set */
    struct np_rng r;
    uint64_t now = 1;
    np_rng_seed(&r, 7);
    for (int i = 0; i < N; i++) {
        probe_init(&p[i], i);
        due[i] = 0;
    }
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = (size_t)np_rng_below(&r, N);
        if (np_rng_below(&r, 3) == 0) {
            np_timer_stop(ts, &p[i].timer);
            due[i] = 0;
        } else {
            due[i] = now + 1 + np_rng_below(&r, 1000);
            np_timer_set(ts, &p[i].timer, due[i]);
        }
        uint64_t next = UINT64_MAX;
        for (int k = 0; k < N; k++) {
            next = due[k] && due[k] < next ? due[k] : next;
        }
        ck_assert_uint_eq(np_timers_next(ts), next);
        if (round % 16 == 0) {
            now += np_rng_below(&r, 50);
            fired_n = 0;
            np_timers_run(ts, now);
            for (size_t k = 0; k < fired_n; k++) {
                ck_assert(due[fired[k]] && due[fired[k]] <= now);
                ck_assert(k == 0 || due[fired[k - 1]] <= due[fired[k]]);
            }
            for (size_t k = 0; k < fired_n; k++) {
                due[fired[k]] = 0;
            }
            for (int k = 0; k < N; k++) {
                ck_assert(due[k] == 0 || due[k] > now);
            }
        }
    }
}
END_TEST

START_TEST(timers_of_a_heap_that_ended_are_not_set)
{
    struct np_timers *short_lived = np_timers_new();
    struct probe p;
    probe_init(&p, 1);
    np_timer_set(short_lived, &p.timer, 5);
    np_timers_free(short_lived);
    ck_assert_uint_eq(p.timer.slot, 0);
    np_timers_free(NULL);
}
END_TEST

START_TEST(without_memory_there_is_no_heap)
{
    np_fail_nth(0);
    ck_assert_ptr_null(np_timers_new());
    np_fail_never();
}
END_TEST

START_TEST(without_memory_for_a_timer_the_process_ends)
{
    struct probe p;
    probe_init(&p, 1);
    np_fail_nth(0);
    np_timer_set(ts, &p.timer, 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/timer");
    TCase *c = tcase_create("timer");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, timers_fire_when_due_in_the_order_of_their_times);
    tcase_add_test(c, equal_times_fire_in_the_order_in_which_they_were_set);
    tcase_add_test(c, a_timer_can_be_moved_both_ways_and_stopped_twice);
    tcase_add_test(c, a_timer_that_sets_itself_for_now_waits_for_the_next_run);
    tcase_add_test(c, a_callback_may_stop_and_move_any_timer);
    tcase_add_test(c, thousands_of_random_moves_agree_with_a_plain_list);
    tcase_add_test(c, timers_of_a_heap_that_ended_are_not_set);
    tcase_add_test(c, without_memory_there_is_no_heap);
    tcase_add_test_raise_signal(c, without_memory_for_a_timer_the_process_ends, SIGABRT);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
