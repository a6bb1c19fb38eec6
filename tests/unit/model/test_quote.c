/* What a provider quotes of a request does not stand in records. */
#include "model/quote.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct np_arena *arena;

static void setup(void)
{
    ck_assert_ptr_nonnull(arena = np_arena_new(1 << 20));
}

static void teardown(void)
{
    np_arena_free(arena);
}

static const char *hidden(const char *text, const char *body)
{
    struct np_span got = np_quote_hide(arena, np_span_of(text), np_span_of(body));
    ck_assert_ptr_nonnull(got.p);
    return np_arena_strdup(arena, np_arena_printf(arena, "%.*s", (int)got.n, got.p));
}

#define BODY "{\"prompt\":\"my password is hunter2, says Ann\",\"maxTokens\":5}"

static const struct {
    const char *text, *want;
} table[] = {
    {"Rate limit reached.", "Rate limit reached."},
    {"", ""},
    {"short", "short"},
    {"bad: my password is hunter2, says Ann!", "bad: ********************************!"},
    {"my password is hunter2", "**********************"},
    {"password is hunter2, says", "*************************"},
    {"my password is o, is hunter2, says Ann.",
     "my password is o,*********************."}, /* 15 are none */
    {"my password is hunter2 and my password is hunter2",
     "********************** and **********************"},
};

START_TEST(quotations_of_sixteen_bytes_and_more_are_hidden)
{
    ck_assert_str_eq(hidden(table[_i].text, BODY), table[_i].want);
}
END_TEST

START_TEST(a_quotation_is_found_wherever_it_stands)
{
    for (size_t before = 0; before < 40; before++) {
        char body[128], text[128], want[128];
        (void)snprintf(body, sizeof body, "%.*sABCDEFGHIJKLMNOP", (int)before,
                       "0123456789012345678901234567890123456789");
        for (size_t in = 0; in < 20; in++) {
            (void)snprintf(text, sizeof text, "%.*sABCDEFGHIJKLMNOP-", (int)in,
                           "....................");
            (void)snprintf(want, sizeof want, "%.*s****************-", (int)in,
                           "....................");
            ck_assert_str_eq(hidden(text, body), want);
        }
    }
}
END_TEST

START_TEST(a_long_text_is_cut_and_a_body_of_equal_bytes_takes_no_time)
{
    static char text[4096], body[1 << 20];
    memset(text, 'a', sizeof text);
    memset(body, 'a', sizeof body);
    uint64_t began = np_clock_mono_ns(&np_clock_live);
    struct np_span got =
        np_quote_hide(arena, np_span_make(text, sizeof text), np_span_make(body, sizeof body));
    ck_assert_uint_eq(got.n, NP_QUOTE_TEXT_BYTES);
    ck_assert_ptr_null(memchr(got.p, 'a', got.n));
    memset(text, 'b', sizeof text);
    (void)np_quote_hide(arena, np_span_make(text, sizeof text), np_span_make(body, sizeof body));
    uint64_t took = np_clock_mono_ns(&np_clock_live) - began;
    printf("  two bodies of 1 MiB: %.1f ms\n", (double)took / 1e6);
    ck_assert_uint_lt(took, UINT64_C(5) * NP_NS_PER_S); /* with sanitizers, on a busy machine */
}
END_TEST

START_TEST(without_memory_nothing_is_told)
{
    struct np_span text = np_span_of("my password is hunter2");
    char filler[1 << 12];
    while (np_arena_dup(arena, np_span_make(filler, sizeof filler)).p)
        continue;
    while (np_arena_bytes(arena, 1))
        continue;
    ck_assert_ptr_null(np_quote_hide(arena, text, np_span_of(BODY)).p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quote");
    TCase *c = tcase_create("quote");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, quotations_of_sixteen_bytes_and_more_are_hidden, 0,
                        (int)(sizeof table / sizeof *table));
    tcase_add_test(c, a_quotation_is_found_wherever_it_stands);
    tcase_add_test(c, a_long_text_is_cut_and_a_body_of_equal_bytes_takes_no_time);
    tcase_add_test(c, without_memory_nothing_is_told);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
