/* Clocks and the writing of times, checked against the C library's calendar. */
#include "base/clock.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

START_TEST(the_live_clock_is_the_machines)
{
    uint64_t a = np_clock_mono_ns(&np_clock_live);
    uint64_t b = np_clock_mono_ns(&np_clock_live);
    ck_assert_uint_ge(b, a);
    int64_t wall_s = np_clock_wall_ms(&np_clock_live) / 1000;
    int64_t really = (int64_t)time(NULL);
    ck_assert(wall_s >= really - 2 && wall_s <= really + 2);
}
END_TEST

START_TEST(every_day_of_four_centuries_is_written_as_gmtime_has_it)
{
    char ours[25], theirs[64];
    for (int64_t day = -25000; day < 146097; day++) {
        time_t t = (time_t)(day * 86400 + (day & 0xffff));
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
        strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%S.007Z", &tm);
        np_clock_format_utc((int64_t)t * 1000 + 7, ours, sizeof ours);
        ck_assert_str_eq(ours, theirs);
        ck_assert_int_eq(np_clock_parse_utc(ours), t < 0 ? -1 : (int64_t)t * 1000 + 7);
    }
}
END_TEST

static const struct {
    int64_t wall_ms;
    const char *text;
} written[] = {
    {INT64_C(1795540844123), "2026-11-24T17:20:44.123Z"},
    {0, "1970-01-01T00:00:00.000Z"},
    {-1, "1969-12-31T23:59:59.999Z"},
    {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    {INT64_MAX, "9999-12-31T23:59:59.999Z"},
};

START_TEST(times_are_written_in_utc_to_the_millisecond)
{
    char out[25];
    np_clock_format_utc(written[_i].wall_ms, out, sizeof out);
    ck_assert_str_eq(out, written[_i].text);
}
END_TEST

START_TEST(times_of_one_second_and_of_its_neighbours_are_told_apart)
{
    char out[25];
    for (int64_t ms = 1999; ms <= 3001; ms += 501) {
        for (int64_t back = 0; back < 2; back++) {
            char expected[32];
            snprintf(expected, sizeof expected, "1970-01-01T00:00:0%d.%03dZ",
                     (int)((ms - back) / 1000), (int)((ms - back) % 1000));
            np_clock_format_utc(ms - back, out, sizeof out);
            ck_assert_str_eq(out, expected);
        }
    }
}
END_TEST

START_TEST(too_small_a_place_for_a_time_ends_the_process)
{
    char out[25];
    np_clock_format_utc(0, out, 24);
}
END_TEST

static const struct {
    const char *text;
    int64_t wall_ms;
} utc[] = {
    {"2027-06-30", INT64_C(1814313600000)},
    {"2026-11-24T17:20:44Z", INT64_C(1795540844000)},
    {"2026-11-24T17:20:44.5Z", INT64_C(1795540844500)},
    {"2026-11-24t17:20:44.123999z", INT64_C(1795540844123)},
    {"2024-02-29", INT64_C(1709164800000)},
    {"1970-01-01", 0},
    {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    {"2023-02-29", -1},
    {"2100-02-29", -1},
    {"2027-13-01", -1},
    {"2027-00-01", -1},
    {"2027-04-31", -1},
    {"2027-04-00", -1},
    {"1969-12-31", -1},
    {"2027-6-30", -1},
    {"2027-06-30 ", -1},
    {" 2027-06-30", -1},
    {"2027/06/30", -1},
    {"2027-06-30T10:00", -1},
    {"2027-06-30T10:00:00", -1},
    {"2027-06-30T24:00:00Z", -1},
    {"2027-06-30T10:60:00Z", -1},
    {"2027-06-30T10:00:61Z", -1},
    {"2027-06-30T10:00:00.Z", -1},
    {"2027-06-30T10:00:00+02:00", -1},
    {"2027-06-30T10:00:00Zx", -1},
    {"20270630", -1},
    {"", -1},
};

START_TEST(utc_texts_are_read_whole_or_refused)
{
    ck_assert_msg(np_clock_parse_utc(utc[_i].text) == utc[_i].wall_ms, "%s", utc[_i].text);
}
END_TEST

static const struct {
    const char *text;
    int64_t wall_ms;
} http[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", INT64_C(784111777000)},
    {"Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(784111777000)},
    {"Sun Nov  6 08:49:37 1994", INT64_C(784111777000)},
    {"Tue Nov 24 17:20:44 2026", INT64_C(1795540844000)},
    {"Tuesday, 24-Nov-26 17:20:44 GMT", INT64_C(1795540844000)},
    {"tue, 24 nov 2026 17:20:44 gmt", INT64_C(1795540844000)},
    {"Sun, 06 Nov 1994 08:49:37", -1},
    {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
    {"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
    {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 31 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 Nox 1994 08:49:37 GMT", -1},
    {"Sun, 06-Nov 1994 08:49:37 GMT", -1},
    {"06 Nov 1994 08:49:37 GMT", -1},
    {"Sun Nov 32 08:49:37 1994", -1},
    {"Sun Nov  6 08:49:37 1994 GMT", -1},
    {"Sun", -1},
    {"120", -1},
    {"", -1},
};

START_TEST(http_dates_are_read_in_their_three_forms_or_refused)
{
    ck_assert_msg(np_clock_parse_http_date(http[_i].text) == http[_i].wall_ms, "%s", http[_i].text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/clock");
    TCase *c = tcase_create("clock");
    tcase_add_test(c, the_live_clock_is_the_machines);
    tcase_add_test(c, every_day_of_four_centuries_is_written_as_gmtime_has_it);
    tcase_add_test(c, times_of_one_second_and_of_its_neighbours_are_told_apart);
    tcase_add_loop_test(c, times_are_written_in_utc_to_the_millisecond, 0,
                        sizeof written / sizeof *written);
    tcase_add_test_raise_signal(c, too_small_a_place_for_a_time_ends_the_process, SIGABRT);
    tcase_add_loop_test(c, utc_texts_are_read_whole_or_refused, 0, sizeof utc / sizeof *utc);
    tcase_add_loop_test(c, http_dates_are_read_in_their_three_forms_or_refused, 0,
                        sizeof http / sizeof *http);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
