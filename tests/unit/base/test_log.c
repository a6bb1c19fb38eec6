/* The log: how lines look, where they go, and that nothing breaks one. */
#include "base/log.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/np_log_XXXXXX";
static char path[64];
static char text[65536];

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    ck_assert_int_eq(np_log_open(path), NP_OK);
}

static void teardown(void)
{
    np_log_close();
    unlink(path);
    rmdir(folder);
}

/* All that a file holds, as a string. */
static const char *slurp(const char *file)
{
    FILE *f = fopen(file, "re");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

/* The log without the time at its beginning. */
static const char *untimed(void)
{
    const char *line = slurp(path);
    ck_assert_uint_gt(strlen(line), 25);
    return line + 25;
}

START_TEST(a_line_is_time_level_message_and_pairs)
{
    int64_t before = np_clock_wall_ms(&np_clock_live);
    np_log(NP_LOG_INFO, "reply sent", NP_KVS("id", "req_1"), NP_KVV("model", NP_SPAN("gpt-4.1")),
           NP_KVI("tokens", -12), NP_KVM("cost", 3180000), NP_KVB("degraded", true),
           NP_KVB("streamed", false));
    ck_assert_str_eq(untimed(), "info reply sent id=req_1 model=gpt-4.1 tokens=-12 cost=0.00318 "
                                "degraded=true streamed=false\n");
    ck_assert_int_eq(text[24], ' ');
    text[24] = '\0';
    int64_t at = np_clock_parse_utc(text);
    ck_assert(at >= before && at <= np_clock_wall_ms(&np_clock_live));
}
END_TEST

START_TEST(a_line_may_have_no_pairs)
{
    np_log_line(NP_LOG_ERROR, "store lost", NULL, 0);
    ck_assert_str_eq(untimed(), "error store lost\n");
}
END_TEST

START_TEST(lines_below_the_level_are_not_written)
{
    np_log_line(NP_LOG_DEBUG, "no", NULL, 0);
    np_log_level(NP_LOG_WARN);
    np_log_line(NP_LOG_INFO, "no", NULL, 0);
    np_log_line(NP_LOG_WARN, "yes", NULL, 0);
    ck_assert_str_eq(untimed(), "warn yes\n");
    np_log_level(NP_LOG_DEBUG);
    np_log_line(NP_LOG_DEBUG, "fine", NULL, 0);
    ck_assert_ptr_nonnull(strstr(slurp(path), "debug fine\n"));
}
END_TEST

static const struct {
    const char *value;
    const char *written;
} values[] = {
    {"plain-text_1.0/x:y", "plain-text_1.0/x:y"},
    {"", "\"\""},
    {"two words", "\"two words\""},
    {"a=b", "\"a=b\""},
    {"say \"hi\"", "\"say \\\"hi\\\"\""},
    {"back\\slash", "\"back\\\\slash\""},
    {"line\nbreak\r\ttab", "\"line\\nbreak\\r\\ttab\""},
    {"esc\033[31m", "\"esc\\u001b[31m\""},
    {"del\177", "\"del\\u007f\""},
    {"\xc2\x85next line", "\"\\u0085next line\""},
    {"\xe2\x80\xa8sep", "\"\\u2028sep\""},
    {"\xe2\x80\xa9sep", "\"\\u2029sep\""},
    {"\xe2\x80\xaeturned", "\"\\u202eturned\""},
    {"\xe2\x81\xa6turned", "\"\\u2066turned\""},
    {"gr\xc3\xbc\xc3\x9f\x65", "gr\xc3\xbc\xc3\x9f\x65"},
    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    {"bad\xff", "\"bad\\ufffd\""},
    {"cut\xe2\x82", "\"cut\\ufffd\\ufffd\""},
    {"overlong\xc0\xaf", "\"overlong\\ufffd\\ufffd\""},
};

START_TEST(values_cannot_break_a_line_or_a_terminal)
{
    char expected[200];
    np_log(NP_LOG_INFO, "m", NP_KVS("k", values[_i].value), NP_KVI("after", 1));
    snprintf(expected, sizeof expected, "info m k=%s after=1\n", values[_i].written);
    ck_assert_str_eq(untimed(), expected);
}
END_TEST

/* Values are looked at eight bytes at a time: each byte must be seen at every place. */
START_TEST(a_byte_that_needs_quotes_gets_them_wherever_it_stands)
{
    static const char odd[] = "\x01\x1f =\"\\\x7f\x80\xff";
    for (size_t n = 1; n <= 20; n++) {
        for (size_t at = 0; at < n; at++) {
            char value[20];
            memset(value, 'z', n);
            value[at] = odd[_i];
            ck_assert_int_eq(truncate(path, 0), 0);
            np_log(NP_LOG_INFO, "m", NP_KVV("k", np_span_make(value, n)));
            ck_assert_msg(strncmp(untimed(), "info m k=\"", 10) == 0, "%zu of %zu: %s", at, n,
                          text);
        }
    }
}
END_TEST

START_TEST(a_nul_in_a_value_is_escaped)
{
    np_log(NP_LOG_INFO, "m", NP_KVV("k", NP_SPAN("a\0b")));
    ck_assert_str_eq(untimed(), "info m k=\"a\\u0000b\"\n");
}
END_TEST

START_TEST(a_message_cannot_break_a_line_either)
{
    np_log_line(NP_LOG_INFO, "a \"b\"\nc", NULL, 0);
    ck_assert_str_eq(untimed(), "info a \"b\"\\nc\n");
}
END_TEST

static const struct {
    int64_t nusd;
    const char *written;
} dollars[] = {
    {0, "0"},
    {1, "0.000000001"},
    {8000000, "0.008"},
    {1000000000, "1"},
    {1000000001, "1.000000001"},
    {120000000000, "120"},
    {-2500000000, "-2.5"},
    {-1, "-0.000000001"},
    {INT64_MAX, "9223372036.854775807"},
    {INT64_MIN, "-9223372036.854775808"},
};

START_TEST(money_is_written_in_dollars_without_idle_zeros)
{
    char expected[64];
    np_log(NP_LOG_INFO, "m", NP_KVM("cost", dollars[_i].nusd));
    snprintf(expected, sizeof expected, "info m cost=%s\n", dollars[_i].written);
    ck_assert_str_eq(untimed(), expected);
}
END_TEST

/* Values of every length around the end of the line, plain and quoted. */
START_TEST(a_line_never_passes_four_kilobytes_and_says_when_it_was_cut)
{
    static char value[5000];
    for (size_t n = 3980; n < 4110; n++) {
        memset(value, 'x', n);
        value[n / 2] = n % 2 ? ' ' : 'x';
        value[n] = '\0';
        ck_assert_int_eq(truncate(path, 0), 0);
        np_log(NP_LOG_INFO, "m", NP_KVS("k", value), NP_KVI("number", 123456789),
               NP_KVS("quoted", "a b"));
        const char *line = slurp(path);
        size_t bytes = strlen(line);
        ck_assert_uint_le(bytes, 4096);
        ck_assert_ptr_eq(strchr(line, '\n'), line + bytes - 1);
        bool cut = strcmp(line + bytes - 10, " cut=true\n") == 0;
        bool whole = strcmp(line + bytes - 13, "quoted=\"a b\"\n") == 0;
        ck_assert_msg(cut != whole, "%zu: %s", n, line + bytes - 40);
        ck_assert(bytes > 4000);
        size_t quotes = 0;
        for (const char *p = line; *p; p++) {
            quotes += *p == '"';
        }
        ck_assert_uint_eq(quotes % 2, 0);
        const char *number = strstr(line, "number");
        ck_assert(!number || strncmp(number, "number=123456789 ", 17) == 0);
    }
}
END_TEST

START_TEST(a_cut_does_not_split_a_character)
{
    static char value[6000];
    for (size_t i = 0; i + 2 < sizeof value; i += 2) {
        memcpy(value + i, "\xc3\xa4", 2);
    }
    for (size_t skip = 0; skip < 2; skip++) {
        value[0] = 'x';
        value[1] = 'x';
        ck_assert_int_eq(truncate(path, 0), 0);
        np_log(NP_LOG_INFO, "m", NP_KVS("k", value + skip));
        const char *mark = strstr(slurp(path), " cut=true\n");
        ck_assert_ptr_nonnull(mark);
        ck_assert_int_eq(mark[-1], '\xa4');
    }
}
END_TEST

START_TEST(opening_appends_to_what_is_there)
{
    np_log_line(NP_LOG_INFO, "one", NULL, 0);
    np_log_close();
    ck_assert_int_eq(np_log_open(path), NP_OK);
    np_log_line(NP_LOG_INFO, "two", NULL, 0);
    ck_assert_ptr_nonnull(strstr(slurp(path), "info one\n"));
    ck_assert_ptr_nonnull(strstr(text, "info two\n"));
}
END_TEST

START_TEST(reopening_follows_a_moved_file)
{
    char moved[80];
    snprintf(moved, sizeof moved, "%s.1", path);
    np_log_line(NP_LOG_INFO, "one", NULL, 0);
    ck_assert_int_eq(rename(path, moved), 0);
    np_log_line(NP_LOG_INFO, "two", NULL, 0);
    ck_assert_int_eq(np_log_reopen(), NP_OK);
    np_log_line(NP_LOG_INFO, "three", NULL, 0);
    ck_assert_str_eq(untimed(), "info three\n");
    ck_assert_ptr_nonnull(strstr(slurp(moved), "info two\n"));
    ck_assert_int_eq(unlink(moved), 0);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_leaves_the_log_as_it_was)
{
    static char long_path[8192];
    memset(long_path, 'x', sizeof long_path - 1);
    ck_assert_int_eq(np_log_open("/nowhere/at/all"), NP_E_IO);
    ck_assert_int_eq(np_log_open(""), NP_E_INVALID);
    ck_assert_int_eq(np_log_open(NULL), NP_E_INVALID);
    ck_assert_int_eq(np_log_open(long_path), NP_E_INVALID);
    np_log_line(NP_LOG_INFO, "still here", NULL, 0);
    ck_assert_str_eq(untimed(), "info still here\n");
    ck_assert_int_eq(np_log_reopen(), NP_OK);
}
END_TEST

START_TEST(a_dash_is_standard_error_and_reopening_it_is_nothing)
{
    int out[2];
    char line[200] = "";
    ck_assert_int_eq(pipe(out), 0);
    int saved = dup(STDERR_FILENO);
    dup2(out[1], STDERR_FILENO);
    enum np_err opened = np_log_open("-");
    np_log_line(NP_LOG_INFO, "seen", NULL, 0);
    enum np_err again = np_log_reopen();
    np_log_line(NP_LOG_INFO, "seen again", NULL, 0);
    dup2(saved, STDERR_FILENO);
    ck_assert_int_eq(opened, NP_OK);
    ck_assert_int_eq(again, NP_OK);
    ck_assert_int_gt(read(out[0], line, sizeof line - 1), 0);
    ck_assert_ptr_nonnull(strstr(line, "info seen\n"));
    ck_assert_ptr_nonnull(strstr(line, "info seen again\n"));
    ck_assert_str_eq(slurp(path), "");
}
END_TEST

START_TEST(a_thread_with_a_ring_leaves_the_file_alone)
{
    struct np_ring *ring = np_ring_new(8192);
    uint32_t tag;
    struct np_span line;
    np_log_use_ring(ring);
    np_log(NP_LOG_INFO, "ringed", NP_KVI("n", 1));
    ck_assert_str_eq(slurp(path), "");
    ck_assert(np_ring_peek(ring, &tag, &line));
    ck_assert_uint_eq(tag, NP_RING_TAG_LOG);
    np_log_write(line);
    ck_assert_str_eq(untimed(), "info ringed n=1\n");
    np_ring_pop(ring);
    np_log_use_ring(NULL);
    np_log_line(NP_LOG_INFO, "direct", NULL, 0);
    ck_assert_ptr_nonnull(strstr(slurp(path), "info direct\n"));
    ck_assert(!np_ring_peek(ring, &tag, &line));
    np_ring_free(ring);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/log");
    TCase *c = tcase_create("log");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_line_is_time_level_message_and_pairs);
    tcase_add_test(c, a_line_may_have_no_pairs);
    tcase_add_test(c, lines_below_the_level_are_not_written);
    tcase_add_loop_test(c, values_cannot_break_a_line_or_a_terminal, 0,
                        sizeof values / sizeof *values);
    tcase_add_test(c, a_nul_in_a_value_is_escaped);
    tcase_add_loop_test(c, a_byte_that_needs_quotes_gets_them_wherever_it_stands, 0, 9);
    tcase_add_test(c, a_message_cannot_break_a_line_either);
    tcase_add_loop_test(c, money_is_written_in_dollars_without_idle_zeros, 0,
                        sizeof dollars / sizeof *dollars);
    tcase_add_test(c, a_line_never_passes_four_kilobytes_and_says_when_it_was_cut);
    tcase_add_test(c, a_cut_does_not_split_a_character);
    tcase_add_test(c, opening_appends_to_what_is_there);
    tcase_add_test(c, reopening_follows_a_moved_file);
    tcase_add_test(c, a_file_that_cannot_be_opened_leaves_the_log_as_it_was);
    tcase_add_test(c, a_dash_is_standard_error_and_reopening_it_is_nothing);
    tcase_add_test(c, a_thread_with_a_ring_leaves_the_file_alone);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
