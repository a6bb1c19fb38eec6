/* OTLP's two encodings. */
#include "base/otlp.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "support/fail_alloc.h"

static struct np_buf b;
static struct np_otlp o;

static void setup(void)
{
    np_buf_init(&b, 1 << 16);
}

static void teardown(void)
{
    np_buf_free(&b);
}

static void begin(bool json)
{
    np_buf_reset(&b);
    np_otlp_init(&o, &b, json);
    if (json)
        np_json_w_begin(&o.w, '{');
}

static void is_json(const char *text)
{
    np_json_w_end(&o.w, '}');
    ck_assert_msg(np_span_is(np_buf_view(&b), text), "%.*s", (int)b.n, b.p);
}

static void is_bytes(const char *bytes, size_t n)
{
    ck_assert_uint_eq(b.n, n);
    ck_assert_mem_eq(b.p, bytes, n);
}

/* An attribute of each kind, a message in a list, and all kinds of fields. */
static void write_much(void)
{
    static const uint8_t id[] = {0x0a, 0xff};
    const uint64_t counts[] = {1, UINT64_MAX};
    const double bounds[] = {0.5, -2};
    np_otlp_begin(&o, 1, "a");
    np_otlp_id(&o, 1, "id", id, sizeof id);
    np_otlp_fixed(&o, 2, "big", UINT64_MAX);
    np_otlp_fixed32(&o, 3, "small", 7);
    np_otlp_enum(&o, 4, "kind", 300);
    np_otlp_double(&o, 5, "part", 0.25);
    np_otlp_bool(&o, 6, "yes", true);
    np_otlp_fixeds(&o, 7, "counts", counts, 2);
    np_otlp_doubles(&o, 8, "bounds", bounds, 2);
    np_otlp_list(&o, "attributes");
    np_otlp_attr(&o, 9, "text", NP_SPAN("x"));
    np_otlp_attr_i64(&o, 9, "int", -1);
    np_otlp_attr_f64(&o, 9, "double", 1.5);
    np_otlp_attr_bool(&o, 9, "bool", false);
    np_otlp_attr_list(&o, 9, "list", NP_SPAN("y"));
    np_otlp_list_end(&o);
    np_otlp_end(&o);
}

START_TEST(numbers_of_64_bits_are_texts_in_json)
{
    begin(true);
    write_much();
    is_json(
        "{\"a\":{\"id\":\"0aff\",\"big\":\"18446744073709551615\",\"small\":7,\"kind\":300,"
        "\"part\":0.25,\"yes\":true,\"counts\":[\"1\",\"18446744073709551615\"],"
        "\"bounds\":[0.5,-2],\"attributes\":["
        "{\"key\":\"text\",\"value\":{\"stringValue\":\"x\"}},"
        "{\"key\":\"int\",\"value\":{\"intValue\":\"-1\"}},"
        "{\"key\":\"double\",\"value\":{\"doubleValue\":1.5}},"
        "{\"key\":\"bool\",\"value\":{\"boolValue\":false}},"
        "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{\"stringValue\":\"y\"}]}}}]}}");
}
END_TEST

START_TEST(what_is_no_number_is_a_text_in_json)
{
    begin(true);
    np_otlp_double(&o, 1, "a", NAN);
    np_otlp_double(&o, 1, "b", INFINITY);
    np_otlp_double(&o, 1, "c", -INFINITY);
    is_json("{\"a\":\"NaN\",\"b\":\"Infinity\",\"c\":\"-Infinity\"}");
}
END_TEST

/* By hand from https://protobuf.dev/programming-guides/encoding/. */
START_TEST(protobuf_is_as_its_description_says)
{
    static const char want[] = "\x0a\x97\x01"                             /* 1: 151 bytes */
                               "\x0a\x02\x0a\xff"                         /* id */
                               "\x11\xff\xff\xff\xff\xff\xff\xff\xff"     /* big */
                               "\x1d\x07\x00\x00\x00"                     /* small */
                               "\x20\xac\x02"                             /* kind */
                               "\x29\x00\x00\x00\x00\x00\x00\xd0\x3f"     /* part */
                               "\x30\x01"                                 /* yes */
                               "\x3a\x10\x01\x00\x00\x00\x00\x00\x00\x00" /* counts */
                               "\xff\xff\xff\xff\xff\xff\xff\xff"         /* … */
                               "\x42\x10\x00\x00\x00\x00\x00\x00\xe0\x3f" /* bounds */
                               "\x00\x00\x00\x00\x00\x00\x00\xc0"         /* … */
                               "\x4a\x0b\x0a\x04text\x12\x03\x0a\x01x"    /* text */
                               "\x4a\x12\x0a\x03int\x12\x0b\x18"          /* int */
                               "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" /* … */
                               "\x4a\x13\x0a\x06"
                               "double\x12\x09\x21"               /* double */
                               "\x00\x00\x00\x00\x00\x00\xf8\x3f" /* … */
                               "\x4a\x0a\x0a\x04"
                               "bool\x12\x02\x10\x00" /* bool */
                               "\x4a\x0f\x0a\x04list\x12\x07\x2a\x05\x0a\x03\x0a\x01y";
    begin(false);
    write_much();
    is_bytes(want, sizeof want - 1);
}
END_TEST

START_TEST(a_length_takes_as_many_bytes_as_it_needs)
{
    static char text[70000];
    static const size_t lengths[] = {0, 1, 125, 126, 127, 128, 16380, 16381, 16384, 65000};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned field;
        uint64_t number;
        struct np_span outer, inner, bytes;
        begin(false);
        np_otlp_begin(&o, 5, "a");
        np_otlp_begin(&o, 6, "b");
        np_otlp_text(&o, 7, "c", np_span_make(text, lengths[i]));
        np_otlp_end(&o);
        np_otlp_end(&o);
        ck_assert(!np_buf_failed(&b));
        outer = np_buf_view(&b);
        ck_assert(np_otlp_next(&outer, &field, &number, &inner) && field == 5);
        ck_assert_uint_eq(outer.n, 0);
        ck_assert(np_otlp_next(&inner, &field, &number, &bytes) && field == 6);
        ck_assert_uint_eq(inner.n, 0);
        ck_assert(np_otlp_next(&bytes, &field, &number, &inner) && field == 7);
        ck_assert_uint_eq(inner.n, lengths[i]);
        ck_assert_uint_eq(bytes.n, 0);
    }
}
END_TEST

START_TEST(a_long_message_is_the_same_as_one_that_is_not_known_to_be)
{
    static char text[20000], other[20100];
    static const size_t lengths[] = {0, 125, 126, 127, 128, 16380, 16384, 19000};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n;
        begin(false);
        np_otlp_begin(&o, 5, "a");
        np_otlp_text(&o, 7, "c", np_span_make(text, lengths[i]));
        np_otlp_end(&o);
        n = b.n;
        memcpy(other, b.p, n);
        begin(false);
        np_otlp_begin_long(&o, 5, "a");
        np_otlp_text(&o, 7, "c", np_span_make(text, lengths[i]));
        np_otlp_end(&o);
        is_bytes(other, n);
    }
}
END_TEST

START_TEST(a_message_of_any_length_is_read_as_any_other)
{
    static char text[70000];
    static const size_t lengths[] = {0, 1, 127, 128, 16384, 65000};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned field;
        uint64_t number;
        struct np_span rest, inner, bytes;
        begin(false);
        np_otlp_begin_huge(&o, 5, "a");
        np_otlp_text(&o, 7, "c", np_span_make(text, lengths[i]));
        np_otlp_end(&o);
        np_otlp_enum(&o, 8, "d", 1);
        rest = np_buf_view(&b);
        ck_assert(np_otlp_next(&rest, &field, &number, &inner) && field == 5);
        ck_assert(np_otlp_next(&inner, &field, &number, &bytes) && field == 7);
        ck_assert_uint_eq(bytes.n, lengths[i]);
        ck_assert_uint_eq(inner.n, 0);
        ck_assert(np_otlp_next(&rest, &field, &number, &bytes) && field == 8);
        ck_assert_uint_eq(rest.n, 0);
    }
}
END_TEST

START_TEST(bytes_that_are_not_utf8_are_replaced)
{
    begin(false);
    np_otlp_text(&o, 1, "a",
                 NP_SPAN("\xff"
                         "a\xc3\xa9\xc3"));
    is_bytes("\x0a\x09\xef\xbf\xbd"
             "a\xc3\xa9\xef\xbf\xbd",
             11);
}
END_TEST

START_TEST(a_full_buffer_marks_itself)
{
    for (int json = 0; json < 2; json++) {
        np_buf_reset(&b);
        np_otlp_init(&o, &b, json);
        write_much();
        size_t whole = b.n;
        for (size_t max = 0; max < whole; max++) {
            struct np_buf small;
            np_buf_init(&small, max);
            np_otlp_init(&o, &small, json);
            write_much();
            ck_assert_msg(np_buf_failed(&small), "%zu of %zu bytes were enough", max, whole);
            np_buf_free(&small);
        }
    }
}
END_TEST

START_TEST(whichever_allocation_fails_the_buffer_says_so)
{
    for (int json = 0; json < 2; json++) {
        size_t n = 0;
        for (bool happened = true; happened; n++) {
            struct np_buf one;
            np_buf_init(&one, 1 << 16);
            np_otlp_init(&o, &one, json);
            np_fail_nth(n);
            write_much();
            happened = np_fail_happened();
            np_fail_never();
            ck_assert(np_buf_failed(&one) == happened);
            np_buf_free(&one);
        }
        ck_assert_uint_gt(n, 1);
    }
}
END_TEST

START_TEST(what_is_cut_short_is_not_read)
{
    unsigned field;
    uint64_t number;
    struct np_span bytes;
    begin(false);
    write_much();
    for (size_t n = 1; n < b.n; n++) {
        char *copy = malloc(n);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, b.p, n);
        struct np_span rest = np_span_make(copy, n);
        ck_assert(!np_otlp_next(&rest, &field, &number, &bytes));
        free(copy);
    }
}
END_TEST

START_TEST(what_is_no_message_is_not_read)
{
    const struct np_span bad[] = {
        NP_SPAN("\x03"),
        NP_SPAN("\x0b\x00"),
        NP_SPAN("\x00\x00"),
        NP_SPAN("\x0a\x02x"),
        NP_SPAN("\x09xxxxxxx"),
        NP_SPAN("\x0dxxx"),
        NP_SPAN("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        NP_SPAN("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned field;
        uint64_t number;
        struct np_span rest = bad[i], bytes;
        ck_assert_msg(!np_otlp_next(&rest, &field, &number, &bytes), "number %zu", i);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("otlp");
    TCase *tc = tcase_create("otlp");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, numbers_of_64_bits_are_texts_in_json);
    tcase_add_test(tc, what_is_no_number_is_a_text_in_json);
    tcase_add_test(tc, protobuf_is_as_its_description_says);
    tcase_add_test(tc, a_length_takes_as_many_bytes_as_it_needs);
    tcase_add_test(tc, a_long_message_is_the_same_as_one_that_is_not_known_to_be);
    tcase_add_test(tc, a_message_of_any_length_is_read_as_any_other);
    tcase_add_test(tc, bytes_that_are_not_utf8_are_replaced);
    tcase_add_test(tc, a_full_buffer_marks_itself);
    tcase_add_test(tc, whichever_allocation_fails_the_buffer_says_so);
    tcase_add_test(tc, what_is_cut_short_is_not_read);
    tcase_add_test(tc, what_is_no_message_is_not_read);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
