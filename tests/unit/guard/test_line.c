/* Those who wait for their turn. */
#include "guard/line.h"

#include "base/clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MS NP_NS_PER_MS
#define S NP_NS_PER_S
#define FAR (100 * S) /* a deadline */

static struct np_line line;
static struct np_line_place place[4200];

static void setup(void)
{
    memset(place, 0, sizeof place);
    line = (struct np_line){.patience_ns = 100 * MS};
}

static void join(int i, unsigned rank, uint64_t now_ns)
{
    np_line_join(&line, &place[i], rank, FAR, now_ns);
}

static long next(uint64_t now_ns)
{
    struct np_line_place *p = np_line_next(&line, now_ns);
    return p ? p - place : -1;
}

static long give_up(uint64_t now_ns)
{
    struct np_line_place *p = np_line_give_up(&line, now_ns);
    return p ? p - place : -1;
}

/* Lets place 0 wait in vain. */
static void strain(uint64_t now_ns)
{
    join(0, 0, now_ns);
    ck_assert_int_eq(give_up(now_ns + 100 * MS), 0);
}

START_TEST(while_there_is_time_the_oldest_is_next)
{
    for (int i = 0; i < 4; i++)
        join(i, 0, (uint64_t)i * MS);
    ck_assert_int_eq(next(5 * MS), 0);
    ck_assert_int_eq(next(5 * MS), 1);
    ck_assert_int_eq(next(5 * MS), 2);
    ck_assert_int_eq(next(5 * MS), 3);
    ck_assert_int_eq(next(5 * MS), -1);
}
END_TEST

START_TEST(nobody_waits_longer_than_may_be)
{
    join(0, 0, 0);
    join(1, 0, 1 * MS);
    ck_assert_int_eq(give_up(99 * MS), -1);
    ck_assert_uint_eq(np_line_due_ns(&line, 99 * MS), 100 * MS);
    ck_assert_int_eq(give_up(100 * MS), 0);
}
END_TEST

START_TEST(nobody_waits_longer_than_a_tenth_of_what_is_left)
{
    np_line_join(&line, &place[0], 0, 300 * MS, 0);
    ck_assert_int_eq(give_up(29 * MS), -1);
    ck_assert_int_eq(give_up(30 * MS), 0);
}
END_TEST

START_TEST(when_there_is_too_much_the_newest_is_next)
{
    strain(0);
    for (int i = 1; i < 4; i++)
        join(i, 0, 100 * MS + (uint64_t)i);
    ck_assert_int_eq(next(101 * MS), 3);
    ck_assert_int_eq(next(101 * MS), 2);
    ck_assert_int_eq(next(101 * MS), 1);
}
END_TEST

START_TEST(when_there_is_too_much_patience_is_2_5_ms)
{
    strain(0);
    join(1, 0, 101 * MS);
    ck_assert_int_eq(give_up(103 * MS), -1);
    ck_assert_int_eq(give_up(103 * MS + MS / 2), 1);
}
END_TEST

START_TEST(half_a_second_without_loss_is_calm_again)
{
    strain(0);
    ck_assert(np_line_over(&line, 599 * MS));
    ck_assert(!np_line_over(&line, 600 * MS));
    join(1, 0, 600 * MS);
    join(2, 0, 601 * MS);
    ck_assert_int_eq(next(602 * MS), 1);
}
END_TEST

START_TEST(when_there_is_too_much_only_who_has_a_prospect_is_let_in)
{
    strain(0);
    uint64_t now = 100 * MS;
    /* Four go on each millisecond: 5 may wait. */
    for (int i = 1; i <= 40; i++, now += MS / 4) {
        join(i, 0, now);
        ck_assert_int_ge(next(now + MS / 4), 0);
        np_line_turned(&line, 1);
    }
    int let_in = 0;
    for (int i = 50; i < 100 && np_line_admits(&line, 0, now); i++, let_in++)
        join(i, 0, now);
    ck_assert_int_ge(let_in, 4);
    ck_assert_int_le(let_in, 6);
}
END_TEST

START_TEST(however_quick_it_is_there_is_an_end_to_the_line)
{
    for (int i = 0; i < NP_LINE_MAX; i++) {
        ck_assert(np_line_admits(&line, 0, 0));
        join(i, 0, 0);
    }
    ck_assert(!np_line_admits(&line, 0, 0));
    ck_assert(!np_line_admits(&line, 9, 0));
}
END_TEST

START_TEST(who_ranks_higher_goes_first_and_is_given_up_last)
{
    join(0, 0, 0);
    join(1, 3, 1);
    join(2, 0, 2);
    join(3, 3, 3);
    ck_assert_int_eq(next(4), 1);
    ck_assert_int_eq(next(4), 3);
    ck_assert_int_eq(next(4), 0);
    join(4, 3, 2);
    ck_assert_int_eq(give_up(200 * MS), 2);
    ck_assert_int_eq(give_up(200 * MS), 4);
}
END_TEST

START_TEST(who_ranks_higher_is_let_in_where_others_wait)
{
    strain(0);
    for (int i = 1; i < 4000 && np_line_admits(&line, 1, 100 * MS); i++)
        join(i, 1, 100 * MS);
    line.pace_ns = 100 * MS;
    ck_assert(!np_line_admits(&line, 1, 100 * MS));
    ck_assert(!np_line_admits(&line, 0, 100 * MS));
    ck_assert(np_line_admits(&line, 2, 100 * MS));
}
END_TEST

START_TEST(who_has_waited_and_has_too_little_time_left_is_late)
{
    ck_assert(np_line_late(2 * MS, 90 * MS, 100));
    ck_assert(!np_line_late(2 * MS, 110 * MS, 100));
    ck_assert(!np_line_late(2 * MS, 90 * MS, -1));
    ck_assert(!np_line_late(MS / 2, 90 * MS, 100));
}
END_TEST

START_TEST(whoever_leaves_is_not_called)
{
    for (int i = 0; i < 3; i++)
        join(i, 0, 0);
    np_line_leave(&line, &place[1]);
    np_line_leave(&line, &place[1]);
    ck_assert_uint_eq(line.count, 2);
    ck_assert_int_eq(next(0), 0);
    ck_assert_int_eq(next(0), 2);
    ck_assert_uint_eq(np_line_due_ns(&line, 0), UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("line");
    TCase *t = tcase_create("line");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, while_there_is_time_the_oldest_is_next);
    tcase_add_test(t, nobody_waits_longer_than_may_be);
    tcase_add_test(t, nobody_waits_longer_than_a_tenth_of_what_is_left);
    tcase_add_test(t, when_there_is_too_much_the_newest_is_next);
    tcase_add_test(t, when_there_is_too_much_patience_is_2_5_ms);
    tcase_add_test(t, half_a_second_without_loss_is_calm_again);
    tcase_add_test(t, when_there_is_too_much_only_who_has_a_prospect_is_let_in);
    tcase_add_test(t, however_quick_it_is_there_is_an_end_to_the_line);
    tcase_add_test(t, who_ranks_higher_goes_first_and_is_given_up_last);
    tcase_add_test(t, who_ranks_higher_is_let_in_where_others_wait);
    tcase_add_test(t, who_has_waited_and_has_too_little_time_left_is_late);
    tcase_add_test(t, whoever_leaves_is_not_called);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
