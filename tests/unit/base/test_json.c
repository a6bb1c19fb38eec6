/* The JSON reader and writer: what is accepted, where faults are seen, what values mean. */
#include "base/json.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "support/fail_alloc.h"

static const char *const good[] = {
    "{}",
    "[]",
    "0",
    "-0",
    "\"\"",
    "true",
    "false",
    "null",
    " \t\r\n[1 , 2]\n",
    "1.5e+3",
    "-12.0E-10",
    "123456789012345678901234567890",
    "[[[[]]],{\"a\":{\"b\":[{}]}}]",
    "{\"a\":1,\"a\":2}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
    "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"", /* the neighbours of surrogates, the last one */
    "\"\xe2\x80\xa8\"",
    "{\"\":0}",
    "[\"plain text that is longer than two words of eight bytes\",1]",
};

START_TEST(what_rfc_8259_allows_is_accepted)
{
    struct np_json_fault fault;
    enum np_err err = np_json_check(np_span_of(good[_i]), NP_JSON_DEPTH, &fault);
    ck_assert_msg(!err, "%s: %s", good[_i], err ? fault.what : "");
}
END_TEST

#define TEXT(s) s, sizeof(s) - 1

static const struct {
    const char *text;
    size_t n;
    size_t offset;
    const char *what; /* a part of it */
} bad[] = {
    {TEXT(""), 0, "empty"},
    {TEXT("  \n "), 4, "no value"},
    {TEXT("{"), 1, "closed"},
    {TEXT("[1"), 2, "closed"},
    {TEXT("[1,]"), 3, "no comma may stand before ]"},
    {TEXT("[,1]"), 1, "before the comma"},
    {TEXT("[1 2]"), 3, "a comma or ]"},
    {TEXT("{\"a\":1,}"), 7, "no comma may stand before }"},
    {TEXT("{\"a\" 1}"), 5, "a colon"},
    {TEXT("{\"a\":}"), 5, "a value expected"},
    {TEXT("{\"a\":1 \"b\":2}"), 7, "a comma or }"},
    {TEXT("{a:1}"), 1, "a key in double quotes"},
    {TEXT("{1:1}"), 1, "a key in double quotes"},
    {TEXT("{\"a\":1]"), 6, "a comma or }"},
    {TEXT("[1}"), 2, "a comma or ]"},
    {TEXT("]"), 0, "before the bracket"},
    {TEXT("1 2"), 2, "nothing may follow"},
    {TEXT("{}{}"), 2, "nothing may follow"},
    {TEXT("null\0"), 4, "nothing may follow"},
    {TEXT("'a'"), 0, "double quotes"},
    {TEXT("nul"), 0, "true, false and null"},
    {TEXT("True"), 0, "a value expected"},
    {TEXT("trux"), 0, "true, false and null"},
    {TEXT("NaN"), 0, "a value expected"},
    {TEXT("// x\n1"), 0, "a value expected"},
    {TEXT("\xef\xbb\xbf{}"), 0, "byte order mark"},
    {TEXT("01"), 0, "begin with a 0"},
    {TEXT("-01"), 1, "begin with a 0"},
    {TEXT("+1"), 0, "a value expected"},
    {TEXT("-"), 1, "after -"},
    {TEXT("-x"), 1, "after -"},
    {TEXT(".5"), 0, "a value expected"},
    {TEXT("1."), 2, "decimal point"},
    {TEXT("1.e3"), 2, "decimal point"},
    {TEXT("1e"), 2, "exponent"},
    {TEXT("1e+"), 3, "exponent"},
    {TEXT("0x10"), 1, "nothing may follow"},
    {TEXT("\"a"), 2, "closing quote"},
    {TEXT("\"a\\"), 3, "closing quote"},
    {TEXT("\"a\\\""), 4, "closing quote"},
    {TEXT("\"a\nb\""), 2, "control byte"},
    {TEXT("\"a\0b\""), 2, "control byte"},
    {TEXT("\"123456789\x1f\""), 10, "control byte"},
    {TEXT("\"\\x41\""), 1, "an escape must be"},
    {TEXT("\"\\\0\""), 1, "an escape must be"},
    {TEXT("\"\\u12\""), 1, "four hex digits"},
    {TEXT("\"\\u12g4\""), 1, "four hex digits"},
    {TEXT("\"\\ud83d\""), 1, "surrogate"},
    {TEXT("\"\\ud83d\\n\""), 1, "surrogate"},
    {TEXT("\"\\ud83dx\\ude00\""), 1, "surrogate"},
    {TEXT("\"\\ud83d\\ud83d\""), 1, "surrogate"},
    {TEXT("\"\\ude00\""), 1, "surrogate"},
    {TEXT("\"\xff\""), 1, "UTF-8"},
    {TEXT("\"\x80\""), 1, "UTF-8"},
    {TEXT("\"\xc0\x80\""), 1, "UTF-8"},         /* overlong */
    {TEXT("\"\xc1\xbf\""), 1, "UTF-8"},         /* overlong */
    {TEXT("\"\xe0\x9f\xbf\""), 1, "UTF-8"},     /* overlong */
    {TEXT("\"\xf0\x8f\xbf\xbf\""), 1, "UTF-8"}, /* overlong */
    {TEXT("\"\xed\xa0\x80\""), 1, "UTF-8"},     /* a surrogate */
    {TEXT("\"\xf4\x90\x80\x80\""), 1, "UTF-8"}, /* above U+10FFFF */
    {TEXT("\"\xf5\x80\x80\x80\""), 1, "UTF-8"},
    {TEXT("\"\xe2\x82\""), 1, "UTF-8"},
    {TEXT("\"\xe2\x82"), 1, "UTF-8"},
    {TEXT("\"\xc3"), 1, "UTF-8"},
};

/* A copy without a byte behind it, so that ASan sees a reader that goes on. */
static char *exact_copy(const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, p, n);
    return copy;
}

START_TEST(what_it_forbids_is_refused_at_its_byte)
{
    char *copy = exact_copy(bad[_i].text, bad[_i].n);
    struct np_json_fault fault = {0};
    enum np_err err = np_json_check(np_span_make(copy, bad[_i].n), NP_JSON_DEPTH, &fault);
    ck_assert_msg(err == NP_E_SYNTAX, "%s was accepted", bad[_i].text);
    ck_assert_msg(strstr(fault.what, bad[_i].what) != NULL, "%s: got \"%s\"", bad[_i].text,
                  fault.what);
    ck_assert_msg(fault.offset == bad[_i].offset, "%s: at %zu", bad[_i].text, fault.offset);
    free(copy);
}
END_TEST

START_TEST(every_beginning_of_a_good_text_is_refused_within_its_bytes)
{
    const char *text = "{\"a\":[1.5e3,\"\\ud83d\\ude00 \xe2\x82\xac\",true,null],\"b\":{\"c\":-0}}";
    for (size_t n = 0; n < strlen(text); n++) {
        char *copy = exact_copy(text, n);
        struct np_json_fault fault;
        ck_assert(np_json_check(np_span_make(copy, n), NP_JSON_DEPTH, &fault) == NP_E_SYNTAX);
        ck_assert_uint_le(fault.offset, n);
        free(copy);
    }
}
END_TEST

START_TEST(line_and_column_are_counted_from_one_in_bytes)
{
    struct np_json_fault fault;
    ck_assert(np_json_check(NP_SPAN("{\n  \"\xc3\xa9\": 1,\n  \"b\" 2}"), 8, &fault));
    ck_assert_uint_eq(fault.line, 3);
    ck_assert_uint_eq(fault.column, 7);
    ck_assert(np_json_check(NP_SPAN("x"), 8, &fault));
    ck_assert_uint_eq(fault.line, 1);
    ck_assert_uint_eq(fault.column, 1);
    ck_assert(np_json_check(NP_SPAN("[\n"), 8, &fault));
    ck_assert_uint_eq(fault.line, 2);
    ck_assert_uint_eq(fault.column, 1);
}
END_TEST

START_TEST(depth_is_bounded_exactly)
{
    struct np_json_fault fault;
    char text[2 * (NP_JSON_DEPTH + 1)];
    for (unsigned depth = NP_JSON_DEPTH - 1; depth <= NP_JSON_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        enum np_err err =
            np_json_check(np_span_make(text, 2 * (size_t)depth), NP_JSON_DEPTH, &fault);
        ck_assert_int_eq(err, depth <= NP_JSON_DEPTH ? NP_OK : NP_E_SYNTAX);
    }
    ck_assert_uint_eq(fault.offset, NP_JSON_DEPTH);
    ck_assert(!np_json_check(NP_SPAN("{\"a\":[]}"), 2, &fault));
    ck_assert(np_json_check(NP_SPAN("{\"a\":[]}"), 1, &fault));
    ck_assert(!np_json_check(NP_SPAN("1"), 0, &fault));
}
END_TEST

START_TEST(a_hundred_thousand_brackets_end_without_a_crash)
{
    size_t n = 100000;
    char *text = malloc(n);
    ck_assert_ptr_nonnull(text);
    memset(text, '[', n);
    struct np_json_fault fault;
    ck_assert(np_json_check(np_span_make(text, n), NP_JSON_DEPTH, &fault) == NP_E_SYNTAX);
    free(text);
}
END_TEST

START_TEST(a_walk_gives_members_and_items_without_blanks)
{
    struct np_span text =
        NP_SPAN(" { \"a\" : [ 1 , \"]\\\"}\" ,{ } ] ,\"b\\n\":{\"c\":\"d\"}, \"e\":-1 } ");
    struct np_json_fault fault;
    ck_assert(!np_json_check(text, 8, &fault));
    struct np_json_walk w = np_json_walk(text);
    struct np_span k, v, item;
    ck_assert(np_json_member(&w, &k, &v));
    ck_assert(np_span_is(k, "a"));
    ck_assert(np_span_is(v, "[ 1 , \"]\\\"}\" ,{ } ]"));
    struct np_json_walk list = np_json_walk(v);
    ck_assert(np_json_item(&list, &item) && np_span_is(item, "1"));
    ck_assert(np_json_item(&list, &item) && np_span_is(item, "\"]\\\"}\""));
    ck_assert(np_json_item(&list, &item) && np_span_is(item, "{ }"));
    ck_assert(!np_json_item(&list, &item));
    ck_assert(!np_json_item(&list, &item));
    struct np_json_walk none = np_json_walk(NP_SPAN("{ }"));
    ck_assert(!np_json_member(&none, &k, &item));
    ck_assert(np_json_member(&w, &k, &v));
    ck_assert(np_span_is(k, "b\\n") && np_span_is(v, "{\"c\":\"d\"}"));
    ck_assert(np_json_member(&w, &k, &v));
    ck_assert(np_span_is(k, "e") && np_span_is(v, "-1"));
    ck_assert(!np_json_member(&w, &k, &v));
}
END_TEST

START_TEST(get_finds_the_last_member_of_a_name)
{
    struct np_span v;
    ck_assert(np_json_get(NP_SPAN("{\"a\":1,\"b\":2,\"a\":3}"), "a", &v));
    ck_assert(np_span_is(v, "3"));
    ck_assert(!np_json_get(NP_SPAN("{\"a\":{\"b\":2}}"), "b", &v));
    ck_assert(!np_json_get(NP_SPAN("{}"), "a", &v));
    ck_assert(!np_json_get(NP_SPAN(" null"), "a", &v));
    ck_assert(!np_json_get(NP_SPAN("[[\"a\",1]]"), "a", &v));
}
END_TEST

START_TEST(kinds_are_known_by_their_first_byte)
{
    static const struct {
        const char *text;
        enum np_json_kind kind;
        const char *name;
    } kinds[] = {{" null", NP_JSON_NULL, "null"},         {"false", NP_JSON_FALSE, "false"},
                 {"true", NP_JSON_TRUE, "true"},          {"-1", NP_JSON_NUMBER, "a number"},
                 {"\n\"x\"", NP_JSON_STRING, "a string"}, {"[]", NP_JSON_ARRAY, "a list"},
                 {"{}", NP_JSON_OBJECT, "an object"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        ck_assert_int_eq(np_json_kind(np_span_of(kinds[i].text)), kinds[i].kind);
        ck_assert_str_eq(np_json_kind_name(kinds[i].kind), kinds[i].name);
    }
}
END_TEST

static const struct {
    const char *json, *text;
    size_t n;
} strings[] = {
    {"\"\"", TEXT("")},
    {"\"plain\"", TEXT("plain")},
    {" \"a\" ", TEXT("a")},
    {"\"a\\nb\\t\\\"\\\\\\/\\b\\f\\r\"", TEXT("a\nb\t\"\\/\b\f\r")},
    {"\"\\u0041\\u00e9\\u20ac\\uD83D\\uDE00!\"", TEXT("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!")},
    {"\"\\u0000x\"", TEXT("\0x")},
    {"\"\\\\u0041\"", TEXT("\\u0041")},
};

START_TEST(a_string_is_read_as_what_it_stands_for)
{
    struct np_arena *a = np_arena_new(1 << 16);
    struct np_span out;
    ck_assert(!np_json_text(a, np_span_of(strings[_i].json), true, &out));
    ck_assert(np_span_eq(out, np_span_make(strings[_i].text, strings[_i].n)));
    np_arena_free(a);
}
END_TEST

START_TEST(a_string_without_escapes_is_not_copied)
{
    struct np_span in = NP_SPAN("\"kb-12\""), out;
    ck_assert(!np_json_text(NULL, in, false, &out));
    ck_assert_ptr_eq(out.p, in.p + 1);
    ck_assert(np_span_is(np_json_inner(NP_SPAN(" \"a\\\"b\" ")), "a\\\"b"));
}
END_TEST

START_TEST(the_character_0_is_refused_where_it_is_not_allowed)
{
    struct np_arena *a = np_arena_new(1 << 16);
    struct np_span out;
    ck_assert_int_eq(np_json_text(a, NP_SPAN("\"a\\u0000\""), false, &out), NP_E_INVALID);
    ck_assert_int_eq(np_json_text(a, NP_SPAN("\"a\\u0001\""), false, &out), NP_OK);
    np_arena_free(a);
}
END_TEST

START_TEST(without_room_in_the_arena_a_text_is_no_memory)
{
    struct np_arena *a = np_arena_new(16);
    struct np_span out;
    ck_assert_int_eq(
        np_json_text(a, NP_SPAN("\"0123456789abcdef0123456789abcdef\\n\""), true, &out),
        NP_E_NOMEM);
    np_arena_free(a);
}
END_TEST

static const struct {
    const char *text;
    bool whole;
    int64_t value;
} integers[] = {
    {"4", true, 4},
    {" 4\n", true, 4},
    {"-4", true, -4},
    {"4.0", true, 4},
    {"4.000000000000000000000000000000", true, 4},
    {"4e2", true, 400},
    {"400e-2", true, 4},
    {"0.04E+2", true, 4},
    {"-0", true, 0},
    {"0e999999999999999999999", true, 0},
    {"9223372036854775807", true, INT64_MAX},
    {"9223372036854775808", false, 0},
    {"18446744073709551616", false, 0},
    {"18446744073709551610", false, 0},
    {"100000000000000000000000000000", false, 0},
    {"1e30", false, 0},
    {"1e999999999999999999999", false, 0},
    {"1e-999999999999999999999", false, 0},
    {"4.5", false, 0},
    {"4.00000000000000000000000000001", false, 0},
    {"4e-1", false, 0},
};

START_TEST(whole_numbers_are_read_exactly_and_no_others)
{
    int64_t v = 77;
    enum np_err err = np_json_i64(np_span_of(integers[_i].text), &v);
    ck_assert_msg((err == NP_OK) == integers[_i].whole, "%s", integers[_i].text);
    ck_assert_msg(v == (integers[_i].whole ? integers[_i].value : 77), "%s: %lld",
                  integers[_i].text, (long long)v);
}
END_TEST

static const struct {
    const char *text;
    bool good;
    double value;
} doubles[] = {
    {"0", true, 0},
    {"12", true, 12},
    {"-1.5", true, -1.5},
    {"0.1", true, 0.1},
    {"123456789012345678", true, 123456789012345678.0},
    {"1e308", true, 1e308},
    {"5e-324", true, 5e-324},
    {"1e-400", true, 0},
    {"1e309", false, 0},
    {"0.1000000000000000000000000000000000000000000000000000000000000000000000000000", true, 0.1},
    {"-1000000000000000000000000000000000000000000000000000000000000000000000000", true, -1e72},
    {"10000000000000000000000000000000000000000000000000000000000000000000000000e-72", true, 10},
    {"0.00000000000000000000000000000000000000000000000000000000000000000000000012e2", true,
     1.2e-71},
    {"0.0000000000000000000000000000000000000000000000000000000000000000000000000000", true, 0},
};

START_TEST(other_numbers_are_read_as_strtod_reads_them)
{
    double v;
    enum np_err err = np_json_double(np_span_of(doubles[_i].text), &v);
    ck_assert_msg((err == NP_OK) == doubles[_i].good, "%s", doubles[_i].text);
    if (!err)
        ck_assert_msg(!(v < doubles[_i].value) && !(v > doubles[_i].value), "%s: %.17g",
                      doubles[_i].text, v);
}
END_TEST

START_TEST(the_writer_puts_commas_where_they_belong)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 4096);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "a", "x");
    np_json_w_cstr(&w, "b", NULL);
    np_json_w_begin_key(&w, "c", '[');
    np_json_w_end(&w, ']');
    np_json_w_begin_key(&w, "d", '[');
    np_json_w_i64(&w, NULL, -1);
    np_json_w_begin(&w, '{');
    np_json_w_end(&w, '}');
    np_json_w_bool(&w, NULL, true);
    np_json_w_begin(&w, '[');
    np_json_w_null(&w, NULL);
    np_json_w_end(&w, ']');
    np_json_w_end(&w, ']');
    np_json_w_key(&w, NP_SPAN("e\n"));
    np_json_w_str(&w, NULL, NP_SPAN("y"));
    np_json_w_key(&w, NP_SPAN("f"));
    np_json_w_begin(&w, '{');
    np_json_w_raw(&w, "g", NP_SPAN("[1]"));
    np_json_w_end(&w, '}');
    np_json_w_bool(&w, "h", false);
    np_json_w_end(&w, '}');
    ck_assert(np_span_is(np_buf_view(&b),
                         "{\"a\":\"x\",\"b\":null,\"c\":[],\"d\":[-1,{},true,[null]],"
                         "\"e\\n\":\"y\",\"f\":{\"g\":[1]},\"h\":false}"));
    np_buf_free(&b);
}
END_TEST

START_TEST(doubles_are_written_as_their_shortest_text)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0.1, "0.1"},      {1, "1"},      {1.0 / 3, "0.3333333333333333"},
                {1e300, "1e+300"}, {NAN, "null"}, {-INFINITY, "null"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct np_buf b;
        struct np_json_w w;
        np_buf_init(&b, 64);
        np_json_w_init(&w, &b);
        np_json_w_f64(&w, NULL, rows[i].v);
        ck_assert_msg(np_span_is(np_buf_view(&b), rows[i].text), "%.*s", (int)b.n, b.p);
        np_buf_free(&b);
    }
}
END_TEST

static const struct {
    const char *in;
    size_t n;
    const char *out;
} escapes[] = {
    {TEXT(""), ""},
    {TEXT("plain, and longer than eight bytes"), "plain, and longer than eight bytes"},
    {TEXT("a\"b\\c/"), "a\\\"b\\\\c/"},
    {TEXT("\b\f\n\r\t"), "\\b\\f\\n\\r\\t"},
    {TEXT("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\x7f"},
    {TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {TEXT("a\xe2\x80\xa8z\xe2\x80\xa9"), "a\\u2028z\\u2029"},
    {TEXT("\xff_\xc3"), "\xef\xbf\xbd_\xef\xbf\xbd"},
    {TEXT("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
};

START_TEST(escaped_text_is_valid_json_whatever_the_bytes)
{
    struct np_buf b;
    np_buf_init(&b, 256);
    np_buf_char(&b, '"');
    char *copy = exact_copy(escapes[_i].in, escapes[_i].n);
    np_json_escape(&b, np_span_make(copy, escapes[_i].n));
    np_buf_char(&b, '"');
    struct np_json_fault fault;
    ck_assert(!np_json_check(np_buf_view(&b), 1, &fault));
    struct np_span inner = np_json_inner(np_buf_view(&b));
    ck_assert_msg(np_span_is(inner, escapes[_i].out), "%.*s", (int)inner.n, inner.p);
    free(copy);
    np_buf_free(&b);
}
END_TEST

START_TEST(a_full_buffer_marks_itself_and_the_writer_goes_on)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 8);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "a", "longer than eight bytes");
    np_json_w_end(&w, '}');
    ck_assert(np_buf_failed(&b));
    ck_assert_uint_le(b.n, 8);
    np_buf_free(&b);
}
END_TEST

START_TEST(each_failing_allocation_of_the_writer_marks_the_buffer)
{
    for (size_t n = 0;; n++) {
        struct np_buf b;
        struct np_json_w w;
        np_buf_init(&b, 65536);
        np_fail_nth(n);
        np_json_w_init(&w, &b);
        np_json_w_begin(&w, '[');
        for (int i = 0; i < 1000; i++)
            np_json_w_cstr(&w, NULL, "a\nb");
        np_json_w_end(&w, ']');
        np_fail_never();
        bool failed = np_fail_happened();
        ck_assert(np_buf_failed(&b) == failed);
        np_buf_free(&b);
        if (!failed)
            break;
    }
}
END_TEST

/* A small generator of its own; the seed is fixed. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

START_TEST(bytes_at_random_are_either_refused_or_can_be_walked)
{
    static const char letters[] = "{}[]\",:\\u0d8 1e-.tfn\xc3\xa9";
    uint32_t seed = 7;
    unsigned accepted = 0;
    for (int round = 0; round < 300000; round++) {
        char text[12];
        size_t n = next_random(&seed) % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] = letters[next_random(&seed) % (sizeof letters - 1)];
        struct np_json_fault fault;
        char *copy = exact_copy(text, n);
        struct np_span s = np_span_make(copy, n), k, v;
        if (np_json_check(s, 8, &fault) == NP_OK) {
            accepted++;
            enum np_json_kind kind = np_json_kind(s);
            if (kind == NP_JSON_ARRAY)
                for (struct np_json_walk w = np_json_walk(s); np_json_item(&w, &v);)
                    ck_assert(!np_json_check(v, 8, &fault));
            if (kind == NP_JSON_OBJECT)
                for (struct np_json_walk w = np_json_walk(s); np_json_member(&w, &k, &v);)
                    ck_assert(!np_json_check(v, 8, &fault));
        }
        free(copy);
    }
    ck_assert_uint_gt(accepted, 1000);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
    Suite *s = suite_create("json");
    TCase *t = tcase_create("read");
    tcase_add_loop_test(t, what_rfc_8259_allows_is_accepted, 0, COUNT(good));
    tcase_add_loop_test(t, what_it_forbids_is_refused_at_its_byte, 0, COUNT(bad));
    tcase_add_test(t, every_beginning_of_a_good_text_is_refused_within_its_bytes);
    tcase_add_test(t, line_and_column_are_counted_from_one_in_bytes);
    tcase_add_test(t, depth_is_bounded_exactly);
    tcase_add_test(t, a_hundred_thousand_brackets_end_without_a_crash);
    tcase_add_test(t, a_walk_gives_members_and_items_without_blanks);
    tcase_add_test(t, get_finds_the_last_member_of_a_name);
    tcase_add_test(t, kinds_are_known_by_their_first_byte);
    tcase_add_loop_test(t, a_string_is_read_as_what_it_stands_for, 0, COUNT(strings));
    tcase_add_test(t, a_string_without_escapes_is_not_copied);
    tcase_add_test(t, the_character_0_is_refused_where_it_is_not_allowed);
    tcase_add_test(t, without_room_in_the_arena_a_text_is_no_memory);
    tcase_add_loop_test(t, whole_numbers_are_read_exactly_and_no_others, 0, COUNT(integers));
    tcase_add_loop_test(t, other_numbers_are_read_as_strtod_reads_them, 0, COUNT(doubles));
    tcase_add_test(t, bytes_at_random_are_either_refused_or_can_be_walked);
    suite_add_tcase(s, t);
    t = tcase_create("write");
    tcase_add_test(t, the_writer_puts_commas_where_they_belong);
    tcase_add_test(t, doubles_are_written_as_their_shortest_text);
    tcase_add_loop_test(t, escaped_text_is_valid_json_whatever_the_bytes, 0, COUNT(escapes));
    tcase_add_test(t, a_full_buffer_marks_itself_and_the_writer_goes_on);
    tcase_add_test(t, each_failing_allocation_of_the_writer_marks_the_buffer);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
