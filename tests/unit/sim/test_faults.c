/* Misbehaving on purpose, byte for byte and at its time. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

#define CHAT "/v1/chat/completions"
#define CALL "{\"model\":\"m\",\"messages\":[]}"
#define STREAM "{\"model\":\"m\",\"messages\":[],\"stream\":true}"
#define RAW "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"

/* One of the same bytes as each reply's, but for the id. */
static size_t whole_bytes(const char *body)
{
    struct np_imitation_answer kept = rig.answer;
    rig.answer.stall_at = rig.answer.reset_at = rig.answer.fin_at = -1;
    rig.answer.byte_by_byte = false;
    rig.answer.first_ms = rig.answer.total_ms = 0;
    rig_ask(rig_post(CHAT, body));
    rig.answer = kept;
    ck_assert_uint_gt(got.n, 300);
    return got.n;
}

static int begin(const char *body)
{
    int fd = rig_connect();
    rig_say(fd, rig_post(CHAT, body));
    rig_settle(fd);
    return fd;
}

START_TEST(a_reply_that_stalls_sends_so_many_bytes_and_waits_for_ever)
{
    static const int64_t at[] = {0, 1, 40, 333};
    const char *body = _i % 2 ? STREAM : CALL;
    rig.answer.stall_at = at[_i];
    ck_assert_uint_gt(whole_bytes(body), 333);
    int fd = begin(body);
    rig_after(fd, 3600 * 1000 * RIG_MS);
    ck_assert_uint_eq(got.n, (size_t)at[_i]);
    ck_assert_int_eq(got.end, RIG_OPEN);
    close(fd);
}
END_TEST

START_TEST(a_reset_comes_after_so_many_bytes_and_when_they_are_due)
{
    size_t all = whole_bytes(CALL);
    const size_t at[] = {0, 1, 117, all};
    rig.answer.reset_at = (int64_t)at[_i];
    rig.answer.total_ms = 20;
    int fd = begin(CALL);
    rig_after(fd, 19 * RIG_MS);
    ck_assert_uint_eq(got.n, 0);
    ck_assert_int_eq(got.end, RIG_OPEN);
    rig_after(fd, RIG_MS);
    ck_assert_uint_eq(got.n, at[_i]);
    ck_assert_int_eq(got.end, RIG_RESET);
    close(fd);
    ck_assert_int_eq(rig_count("aborted"), 0); /* the imitation's doing, not the client's */
    ck_assert_int_eq(rig_count("open"), 0);
}
END_TEST

START_TEST(an_orderly_close_comes_after_so_many_bytes)
{
    size_t all = whole_bytes(STREAM);
    const size_t at[] = {0, 1, 117, all};
    rig.answer.fin_at = (int64_t)at[_i];
    int fd = begin(STREAM);
    rig_settle(fd);
    ck_assert_uint_eq(got.n, at[_i]);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
}
END_TEST

START_TEST(a_fault_behind_the_last_byte_never_comes)
{
    int64_t behind = (int64_t)whole_bytes(CALL) + 1;
    rig.answer.reset_at = rig.answer.fin_at = rig.answer.stall_at = behind;
    int fd = begin(CALL);
    rig_after(fd, 1000 * RIG_MS);
    ck_assert_uint_eq(got.n, (size_t)behind - 1);
    ck_assert_int_eq(got.end, RIG_OPEN);
    got.n = 0;
    rig_say(fd, rig_post(CHAT, CALL)); /* and the connection is good for the next */
    rig_settle(fd);
    ck_assert_uint_eq(got.n, (size_t)behind - 1);
    close(fd);
}
END_TEST

START_TEST(of_two_faults_the_earlier_byte_counts)
{
    rig.answer.stall_at = _i ? 50 : 20;
    rig.answer.fin_at = 30;
    int fd = begin(CALL);
    rig_after(fd, 1000 * RIG_MS);
    ck_assert_uint_eq(got.n, _i ? 30 : 20);
    ck_assert_int_eq(got.end, _i ? RIG_CLOSED : RIG_OPEN);
    close(fd);
}
END_TEST

START_TEST(a_fault_is_over_with_its_reply)
{
    rig.answer.stall_at = 10;
    int fd = begin(CALL);
    close(fd);
    rig.answer.stall_at = -1;
    rig_ask(rig_post(CHAT, CALL));
    ck_assert_uint_gt(got.n, 300);
}
END_TEST

START_TEST(byte_by_byte_means_one_byte_a_turn_and_all_of_them)
{
    size_t all = whole_bytes(STREAM), turns = 0;
    rig.answer.byte_by_byte = true;
    int fd = begin(STREAM);
    ck_assert_uint_eq(got.n, 1);
    for (; got.n < all && turns < 2 * all; turns++) {
        size_t before = got.n;
        rig_after(fd, 50000);
        ck_assert_uint_le(got.n, before + 1);
    }
    ck_assert_uint_eq(got.n, all);
    ck_assert_uint_le(turns, all);
    ck_assert_ptr_nonnull(strstr(got.p, "data: [DONE]"));
    close(fd);
}
END_TEST

START_TEST(byte_by_byte_waits_for_each_pieces_time)
{
    rig.answer.byte_by_byte = true;
    rig.answer.first_ms = 10;
    rig.answer.total_ms = 10000;
    int fd = begin(STREAM);
    rig_after(fd, 9 * RIG_MS);
    ck_assert_uint_eq(got.n, 0);
    for (int i = 0; i < 2000; i++)
        rig_after(fd, 50000);
    ck_assert_ptr_null(strstr(got.p, "Hell")); /* the role's chunk only */
    ck_assert_ptr_nonnull(strstr(got.p, "\"role\""));
    close(fd);
}
END_TEST

START_TEST(raw_bytes_are_sent_at_their_time_and_the_connection_ends)
{
    static char raw[] = RAW;
    rig.answer.raw_given = true;
    rig.answer.raw = raw;
    rig.answer.raw_bytes = _i ? 0 : strlen(raw);
    rig.answer.first_ms = 30;
    int fd = begin(CALL);
    rig_after(fd, 29 * RIG_MS);
    ck_assert_uint_eq(got.n, 0);
    ck_assert_int_eq(got.end, RIG_OPEN);
    rig_after(fd, RIG_MS);
    ck_assert_str_eq(got.n ? got.p : "", _i ? "" : RAW);
    ck_assert_int_eq(got.end, RIG_CLOSED);
    close(fd);
}
END_TEST

START_TEST(a_stream_comes_piece_by_piece_when_each_is_due)
{
    rig.answer.first_ms = 100;
    rig.answer.total_ms = 700;
    strcpy(rig.answer.text, "Hey you");
    static const char *const marks[] = {
        "\"role\"", "\"Hey\"", "\" you\"", "\"finish_reason\":\"stop\"", "[DONE]", "0\r\n\r\n"};
    int fd = begin(STREAM);
    rig_after(fd, 99 * RIG_MS);
    ck_assert_uint_eq(got.n, 0);
    rig_after(fd, RIG_MS);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_msg(strstr(got.p, marks[i]), "no %s after %zu pieces", marks[i], i);
        if (i < 5) {
            rig_after(fd, 119 * RIG_MS);
            ck_assert_msg(i == 4 || !strstr(got.p, marks[i + 1]), "%s too early", marks[i + 1]);
            rig_after(fd, RIG_MS);
        }
    }
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim.faults");
    TCase *t = tcase_create("faults");
    tcase_add_checked_fixture(t, rig_set_up, rig_tear_down);
    tcase_add_loop_test(t, a_reply_that_stalls_sends_so_many_bytes_and_waits_for_ever, 0, 4);
    tcase_add_loop_test(t, a_reset_comes_after_so_many_bytes_and_when_they_are_due, 0, 4);
    tcase_add_loop_test(t, an_orderly_close_comes_after_so_many_bytes, 0, 4);
    tcase_add_test(t, a_fault_behind_the_last_byte_never_comes);
    tcase_add_loop_test(t, of_two_faults_the_earlier_byte_counts, 0, 2);
    tcase_add_test(t, a_fault_is_over_with_its_reply);
    tcase_add_test(t, byte_by_byte_means_one_byte_a_turn_and_all_of_them);
    tcase_add_test(t, byte_by_byte_waits_for_each_pieces_time);
    tcase_add_loop_test(t, raw_bytes_are_sent_at_their_time_and_the_connection_ends, 0, 2);
    tcase_add_test(t, a_stream_comes_piece_by_piece_when_each_is_due);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
