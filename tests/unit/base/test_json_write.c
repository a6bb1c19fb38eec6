/* Texts and keys in the writer's fast ways. */
#include "base/json.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Texts are copied eight bytes at a time: each byte must be seen at every place of every length. */
START_TEST(a_byte_that_needs_an_escape_gets_it_wherever_it_stands)
{
    struct np_buf plain, b;
    struct np_json_w w;
    char text[40];
    np_buf_init(&plain, 512);
    np_buf_init(&b, 512);
    for (size_t n = 1; n <= sizeof text; n++) {
        for (size_t at = 0; at < n; at++) {
            memset(text, 'a' + (char)(n % 26), n);
            text[at] = (char)_i;
            char *exact = malloc(n);
            memcpy(exact, text, n);
            np_buf_reset(&plain);
            np_buf_reset(&b);
            np_buf_char(&plain, '"');
            np_json_escape(&plain, np_span_make(exact, n));
            np_buf_char(&plain, '"');
            np_json_w_init(&w, &b);
            np_json_w_str(&w, NULL, np_span_make(exact, n));
            ck_assert_msg(np_span_eq(np_buf_view(&plain), np_buf_view(&b)), "%zu of %zu: %.*s", at,
                          n, (int)b.n, b.p);
            free(exact);
        }
    }
    np_buf_free(&plain);
    np_buf_free(&b);
}
END_TEST

START_TEST(a_key_that_is_not_known_when_it_is_compiled_is_escaped_too)
{
    struct np_buf b;
    struct np_json_w w;
    const char *volatile keys[] = {"plain", "a\"b", "\n"};
    np_buf_init(&b, 256);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        np_json_w_i64(&w, keys[i], (int64_t)i);
    np_json_w_end(&w, '}');
    ck_assert(np_span_is(np_buf_view(&b), "{\"plain\":0,\"a\\\"b\":1,\"\\n\":2}"));
    np_buf_free(&b);
}
END_TEST

START_TEST(a_key_of_any_length_goes_out_whole)
{
    struct np_buf b;
    struct np_json_w w;
    char want[128];
    np_buf_init(&b, 256);
    for (size_t n = 1; n <= 70; n++) {
        char *key = malloc(n + 1); /* nothing behind it may be read */
        for (size_t i = 0; i < n; i++)
            key[i] = (char)('a' + i % 26);
        key[n] = '\0';
        np_buf_reset(&b);
        np_json_w_init(&w, &b);
        np_json_w_begin(&w, '{');
        np_json_w_i64(&w, key, 7);
        np_json_w_end(&w, '}');
        (void)snprintf(want, sizeof want, "{\"%s\":7}", key);
        ck_assert(np_span_is(np_buf_view(&b), want));
        free(key);
    }
    np_buf_free(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json_write");
    TCase *t = tcase_create("json_write");
    tcase_add_loop_test(t, a_byte_that_needs_an_escape_gets_it_wherever_it_stands, 0, 256);
    tcase_add_test(t, a_key_that_is_not_known_when_it_is_compiled_is_escaped_too);
    tcase_add_test(t, a_key_of_any_length_goes_out_whole);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
