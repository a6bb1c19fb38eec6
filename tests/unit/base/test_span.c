/* Spans: comparison, numbers, guesses. */
#include "base/span.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>

START_TEST(spans_compare_by_bytes_and_length)
{
    ck_assert(np_span_eq(NP_SPAN("abc"), np_span_make("abcd", 3)));
    ck_assert(!np_span_eq(NP_SPAN("abc"), NP_SPAN("abd")));
    ck_assert(!np_span_eq(NP_SPAN("abc"), NP_SPAN("abcd")));
    ck_assert(np_span_eq(NP_SPAN_NONE, NP_SPAN("")));
    ck_assert(np_span_is(NP_SPAN("x"), "x"));
    ck_assert(np_span_starts(NP_SPAN("Bearer k"), "Bearer "));
    ck_assert(!np_span_starts(NP_SPAN("Bear"), "Bearer "));
    ck_assert_uint_eq(np_span_of(NULL).n, 0);
}
END_TEST

START_TEST(only_ascii_letters_lose_their_case)
{
    ck_assert(np_span_eq_nocase(NP_SPAN("Content-TYPE"), NP_SPAN("content-type")));
    ck_assert(!np_span_eq_nocase(NP_SPAN("a"), NP_SPAN("ab")));
    ck_assert(!np_span_eq_nocase(NP_SPAN("@"), NP_SPAN("`")));
    ck_assert(!np_span_eq_nocase(NP_SPAN("["), NP_SPAN("{")));
    ck_assert(!np_span_eq_nocase(NP_SPAN("\xc3\x84"), NP_SPAN("\xc3\xa4")));
}
END_TEST

static const struct {
    const char *text;
    bool good;
    unsigned long long value;
} numbers[] = {
    {"0", true, 0},
    {"42", true, 42},
    {"007", true, 7},
    {"18446744073709551615", true, ULLONG_MAX},
    {"18446744073709551616", false, 0},
    {"99999999999999999999", false, 0},
    {"184467440737095516150", false, 0},
    {"", false, 0},
    {"-1", false, 0},
    {"+1", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"0x10", false, 0},
    {"1.0", false, 0},
};

START_TEST(a_number_is_digits_alone_and_fits)
{
    unsigned long long v = 99;
    bool good = np_span_to_u64(np_span_of(numbers[_i].text), &v);
    ck_assert_msg(good == numbers[_i].good, "\"%s\"", numbers[_i].text);
    ck_assert_uint_eq(v, numbers[_i].good ? numbers[_i].value : 99);
}
END_TEST

static const char *const fields[] = {"question", "messages", "maxTokens", "temperature", "context",
                                     "id",       "stream",   "limit_usd", "p95_ms"};

static const struct {
    const char *word;
    const char *guess;
} guesses[] = {
    {"qestion", "question"},       /* one is missing */
    {"questoin", "question"},      /* two are swapped */
    {"max_tokens", "maxTokens"},   /* another custom of writing */
    {"MAXTOKENS", "maxTokens"},    /* another case */
    {"max-token", "maxTokens"},    /* both, and one is missing */
    {"temprature", "temperature"}, /* one is missing */
    {"stream", "stream"},          /* the same */
    {"mesages", "messages"},
    {"limit", "limit_usd"}, /* a unit is missing */
    {"p95", "p95_ms"},
    {"li", NULL},         /* too little of one */
    {"msgs", "messages"}, /* short for it */
    {"temp", "temperature"},
    {"ctx", "context"},
    {"max_completion_tokens", "maxTokens"}, /* longer than it */
    {"emperor", NULL},                      /* its letters stand in temperature, not its first */
    {"ie", NULL},                           /* half of a short word */
    {"xyz", NULL},
    {"", NULL},
    {"__", NULL},
    {"a_word_of_more_than_sixty_four_letters_that_nobody_can_have_meant_to_write_there", NULL},
};

START_TEST(a_guess_is_the_nearest_name_or_none)
{
    const char *got = np_span_guess(np_span_of(guesses[_i].word), fields, 9);
    if (guesses[_i].guess) {
        ck_assert_pstr_eq(got, guesses[_i].guess);
    } else {
        ck_assert_ptr_null(got);
    }
}
END_TEST

START_TEST(of_two_near_names_the_nearer_is_guessed_and_of_equals_the_first)
{
    const char *const names[] = {"timeouts", "timeout", "timeoux"};
    ck_assert_str_eq(np_span_guess(NP_SPAN("timeout"), names, 3), "timeout");
    ck_assert_str_eq(np_span_guess(NP_SPAN("timeouty"), names, 3), "timeouts");
    ck_assert_ptr_null(np_span_guess(NP_SPAN("timeout"), names, 0));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/span");
    TCase *c = tcase_create("span");
    tcase_add_test(c, spans_compare_by_bytes_and_length);
    tcase_add_test(c, only_ascii_letters_lose_their_case);
    tcase_add_loop_test(c, a_number_is_digits_alone_and_fits, 0, sizeof numbers / sizeof *numbers);
    tcase_add_loop_test(c, a_guess_is_the_nearest_name_or_none, 0,
                        sizeof guesses / sizeof *guesses);
    tcase_add_test(c, of_two_near_names_the_nearer_is_guessed_and_of_equals_the_first);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
