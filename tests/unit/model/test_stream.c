/* Forms of streams, and events read by them. */
#include "model/stream.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct np_stream_form form;
static struct np_stream_event event;

static void path(enum np_stream_slot slot, const char *text)
{
    ck_assert_int_eq(np_stream_form_path(&form, slot, np_span_of(text)), NP_OK);
}

static void setup(void)
{
    np_stream_form_init(&form);
    path(NP_STREAM_text, "choices.1.delta.content");
    path(NP_STREAM_text, "choices.1.delta.refusal");
    path(NP_STREAM_finish, "choices.1.finish_reason");
    path(NP_STREAM_kind, "type");
    path(NP_STREAM_error, "error");
    path(NP_STREAM_prompt, "usage.input");
    path(NP_STREAM_completion, "usage.output");
    path(NP_STREAM_cached, "usage.details.cached");
    ck_assert_int_eq(np_stream_form_finish(&form, NP_SPAN("max"), NP_FINISH_length), NP_OK);
    ck_assert_int_eq(np_stream_form_text(&form, NP_SPAN("[DONE]"), &form.end_data), NP_OK);
    ck_assert_int_eq(np_stream_form_text(&form, NP_SPAN("stop"), &form.end_kind), NP_OK);
    ck_assert_int_eq(np_stream_form_text(&form, NP_SPAN("broken"), &form.error_kind), NP_OK);
}

static void read_named(const char *name, const char *data)
{
    ck_assert_int_eq(np_stream_read(&form, np_span_of(name), np_span_of(data), &event), NP_OK);
}

static void says(enum np_stream_slot slot, const char *json)
{
    struct np_span got = event.at[slot];
    if (json)
        ck_assert_msg(np_span_is(got, json), "%s is %.*s", np_stream_slot_name(slot), (int)got.n,
                      got.p ? got.p : "");
    else
        ck_assert_ptr_null(got.p);
}

START_TEST(what_an_event_brings_is_found_by_its_paths)
{
    read_named("",
               "{\"id\":1,\"choices\":[{\"x\":[{\"delta\":0}],\"delta\":{\"content\":\"a\\\"b\"},"
               "\"finish_reason\":\"max\"},{\"delta\":{\"content\":\"second\"}}],"
               "\"usage\":{\"input\":3,\"details\":{\"cached\":1}}}");
    says(NP_STREAM_text, "\"a\\\"b\"");
    says(NP_STREAM_finish, "\"max\"");
    says(NP_STREAM_prompt, "3");
    says(NP_STREAM_cached, "1");
    says(NP_STREAM_completion, NULL);
    ck_assert(!event.ends && !event.failed);
    ck_assert_int_eq(np_stream_finish(&form, event.at[NP_STREAM_finish]), NP_FINISH_length);
    ck_assert_int_eq(np_stream_finish(&form, NP_SPAN("\"else\"")), NP_FINISH_stop);
    ck_assert_int_eq(np_stream_finish(&form, NP_SPAN("7")), NP_FINISH_stop);
}
END_TEST

START_TEST(what_is_null_or_no_text_is_not_there)
{
    read_named("", "{\"choices\":[{\"delta\":{\"content\":null},\"finish_reason\":null}],"
                   "\"usage\":null}");
    says(NP_STREAM_text, NULL);
    says(NP_STREAM_finish, NULL);
    read_named("", "{\"choices\":[{\"delta\":{\"content\":[1],\"refusal\":\"no\"}}]}");
    says(NP_STREAM_text, "\"no\"");
    read_named("", "{\"choices\":[{\"delta\":{\"content\":\"\",\"refusal\":\"no\"}}]}");
    says(NP_STREAM_text, "\"no\"");
    read_named("", "{\"choices\":{\"1\":{\"delta\":{\"content\":\"a\"}}}}");
    says(NP_STREAM_text, NULL);
    read_named("", "{\"choices\":[]}");
    says(NP_STREAM_text, NULL);
}
END_TEST

START_TEST(the_end_is_told_by_data_or_by_kind)
{
    read_named("", "[DONE]");
    ck_assert(event.ends && !event.failed);
    read_named("", " [DONE] \t");
    ck_assert(event.ends && !event.failed);
    read_named("", "{\"type\":\"stop\"}");
    ck_assert(event.ends && !event.failed);
    read_named("stop", "{\"type\":\"other\"}");
    ck_assert(!event.ends && !event.failed);
}
END_TEST

START_TEST(errors_are_told_by_kind_name_or_member)
{
    read_named("error", "{}");
    ck_assert(event.failed);
    read_named("", "{\"type\":\"broken\"}");
    ck_assert(event.failed);
    read_named("", "{\"error\":{\"message\":\"x\"}}");
    ck_assert(event.failed);
    read_named("", "{\"error\":\"x\"}");
    ck_assert(event.failed);
    read_named("", "{\"error\":null}");
    ck_assert(!event.failed);
    read_named("", "{\"error\":false}");
    ck_assert(!event.failed);
}
END_TEST

START_TEST(what_is_no_object_is_refused_and_blank_data_is_not)
{
    static const char *const bad[] = {"{",        "x",    "7",          "[]",
                                      "\"text\"", "null", "{\"a\":1}}", "[done]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(np_stream_read(&form, NP_SPAN(""), np_span_of(bad[i]), &event),
                         NP_E_SYNTAX);
    read_named("", "");
    read_named("", " \n");
    ck_assert(!event.ends && !event.failed);
}
END_TEST

START_TEST(a_finish_is_a_text_that_says_something)
{
    static const char *const none[] = {"\"\"", "null", "false", "0", "{}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char text[96];
        (void)snprintf(text, sizeof text, "{\"choices\":[{\"finish_reason\":%s}]}", none[i]);
        read_named("", text);
        says(NP_STREAM_finish, NULL);
    }
}
END_TEST

START_TEST(events_of_unknown_kinds_bring_nothing)
{
    ck_assert_int_eq(np_stream_form_word(&form, &form.kinds, NP_SPAN("told")), NP_OK);
    ck_assert_int_eq(np_stream_form_word(&form, &form.kinds, NP_SPAN("stop")), NP_OK);
    const char *rest = "\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"input\":3}}";
    static const struct {
        const char *type;
        bool taken;
    } rows[] = {{"", true},
                {"\"type\":\"told\",", true},
                {"\"type\":null,", true},
                {"\"type\":\"new\",", false},
                {"\"type\":7,", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[160];
        (void)snprintf(text, sizeof text, "{%s%s", rows[i].type, rest);
        read_named("", text);
        says(NP_STREAM_text, rows[i].taken ? "\"a\"" : NULL);
        says(NP_STREAM_prompt, rows[i].taken ? "3" : NULL);
    }
    read_named("", "{\"type\":\"new\",\"error\":{}}");
    ck_assert(event.failed);
}
END_TEST

static uint64_t others;

/* Reads and sorts; what the text and the thought are then. */
static void sorted(const char *data, const char *text, const char *thought)
{
    read_named("", data);
    np_stream_sort(&form, &others, &event);
    says(NP_STREAM_text, text);
    says(NP_STREAM_thought, thought);
}

START_TEST(what_another_answer_says_is_a_thought_and_does_not_end_this_one)
{
    path(NP_STREAM_choice, "choices.1.index");
    others = 0;
    const char *a = "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}";
    sorted(a, "\"a\"", NULL);
    sorted("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"max\"}]}",
           NULL, "\"b\"");
    says(NP_STREAM_finish, NULL);
    sorted("{\"choices\":[{\"index\":\"0\",\"delta\":{\"content\":\"c\"}}]}", NULL, "\"c\"");
    sorted("{\"choices\":[{\"index\":null,\"delta\":{\"content\":\"d\"}}]}", "\"d\"", NULL);
    sorted(a, "\"a\"", NULL);
}
END_TEST

START_TEST(what_parts_say_that_are_no_text_is_a_thought)
{
    path(NP_STREAM_text, "delta.text");
    path(NP_STREAM_text, "begun.text");
    path(NP_STREAM_block, "index");
    path(NP_STREAM_opens, "begun.type");
    path(NP_STREAM_part, "delta.type");
    ck_assert_int_eq(np_stream_form_word(&form, &form.text_parts, NP_SPAN("text")), NP_OK);
    ck_assert_int_eq(np_stream_form_word(&form, &form.text_parts, NP_SPAN("text_delta")), NP_OK);
    others = 0;
    sorted("{\"index\":0,\"begun\":{\"type\":\"text\",\"text\":\"a\"}}", "\"a\"", NULL);
    sorted("{\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}", "\"b\"", NULL);
    sorted("{\"index\":0,\"delta\":{\"type\":\"new_delta\",\"text\":\"c\"}}", NULL, "\"c\"");
    sorted("{\"index\":0,\"delta\":{\"text\":\"d\"}}", "\"d\"", NULL);
    sorted("{\"index\":1,\"begun\":{\"type\":\"new\",\"text\":\"e\"}}", NULL, "\"e\"");
    sorted("{\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"f\"}}", NULL, "\"f\"");
    sorted("{\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"g\"}}", "\"g\"", NULL);
    sorted("{\"index\":1,\"begun\":{\"type\":\"text\",\"text\":\"\"}}", "\"\"", NULL);
    sorted("{\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\"}}", "\"h\"", NULL);
    sorted("{\"index\":64,\"begun\":{\"type\":\"new\"}}", NULL, NULL);
    sorted("{\"index\":-1,\"begun\":{\"type\":\"new\"}}", NULL, NULL);
    sorted("{\"index\":1e30,\"begun\":{\"type\":\"new\"}}", NULL, NULL);
    ck_assert_uint_eq(others, 0);
}
END_TEST

/* Joins; what comes of it, or NULL where it stays what it is. */
static void joins(unsigned *half, const char *data, const char *whole, bool joined)
{
    struct np_buf out;
    bool found = false;
    np_buf_init(&out, 1000);
    enum np_err err = np_stream_join(np_span_of(data), half, &out, &found);
    ck_assert_int_eq(err, whole ? NP_OK : NP_E_SYNTAX);
    if (whole) {
        struct np_span got = np_buf_view(&out);
        ck_assert_msg(np_span_is(got, whole), "%s: %.*s", data, (int)got.n, got.p);
        ck_assert(found == joined);
    }
    np_buf_free(&out);
}

START_TEST(a_character_that_two_events_share_is_made_whole)
{
    unsigned half = 0;
    joins(&half, "{\"t\":\"a\\ud83d\"}", "{\"t\":\"a\"}", false);
    ck_assert_uint_eq(half, 0xd83d);
    joins(&half, "{\"i\":\"x\",\"t\":\"\\uDE00b\"}", "{\"i\":\"x\",\"t\":\"\\ud83d\\uDE00b\"}",
          true);
    ck_assert_uint_eq(half, 0);
    /* One of the next begins where it ends. */
    joins(&half, "{\"t\":\"\\uD83D\"}", "{\"t\":\"\"}", false);
    joins(&half, "{\"t\":\"\\ude00\\ud83e\"}", "{\"t\":\"\\ud83d\\ude00\"}", true);
    ck_assert_uint_eq(half, 0xd83e);
}
END_TEST

START_TEST(halves_that_nothing_completes_stay_what_they_are)
{
    static const char *const bad[] = {"{\"t\":\"\\ude00\"}",
                                      "{\"t\":\"\\ud83dx\"}",
                                      "{\"t\":\"\\\\ud83d\"}",
                                      "{not JSON",
                                      "{\"t\":\"\\ud83d\\ude00\"}",
                                      "{\"t\":\"\\ud83d",
                                      "{\"t\":\"\\ud8",
                                      "\"\\",
                                      "{\"t\":\"\\",
                                      "",
                                      "\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned half = 0;
        joins(&half, bad[i], NULL, false);
        ck_assert_uint_eq(half, 0);
    }
    unsigned half = 0xd83d;
    joins(&half, "{\"t\":\"x\\ude00\"}", NULL, false);
}
END_TEST

START_TEST(a_path_is_there_once_and_ends_where_no_other_goes_on)
{
    static const char *const bad[] = {"",       "type", "type.more", "choices.1", "usage..more",
                                      "usage.", ".type"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(np_stream_form_path(&form, NP_STREAM_text, np_span_of(bad[i])),
                         NP_E_INVALID);
}
END_TEST

START_TEST(a_form_has_its_bounds)
{
    char name[32];
    enum np_err err = NP_OK;
    int n = 0;
    for (; !err && n < 1000; n++) {
        (void)snprintf(name, sizeof name, "name-%d", n);
        err = np_stream_form_path(&form, NP_STREAM_text, np_span_of(name));
    }
    ck_assert_int_eq(err, NP_E_FULL);
    ck_assert_uint_eq(form.n_nodes, NP_STREAM_NODES);
    for (err = NP_OK, n = 0; !err && n < 1000; n++)
        err = np_stream_form_finish(&form, NP_SPAN("a"), NP_FINISH_stop);
    ck_assert_int_eq(err, NP_E_FULL);
    struct np_span out;
    for (err = NP_OK, n = 0; !err && n < 1000; n++)
        err = np_stream_form_text(&form, NP_SPAN("0123456789"), &out);
    ck_assert_int_eq(err, NP_E_FULL);
}
END_TEST

static bool sum(struct np_stream_usage *u, struct np_usage *out, bool *possible)
{
    return np_stream_usage_sum(&form, u, out, possible);
}

START_TEST(later_counts_replace_earlier_ones_and_caches_may_stand_apart)
{
    struct np_stream_usage u;
    struct np_usage out;
    bool possible;
    np_stream_usage_init(&u);
    ck_assert(!sum(&u, &out, &possible));
    read_named("", "{\"usage\":{\"input\":10,\"details\":{\"cached\":4}}}");
    np_stream_usage_take(&u, &event);
    ck_assert(!sum(&u, &out, &possible));
    ck_assert(np_stream_usage_prompt(&form, &u, &out));
    ck_assert_int_eq(out.prompt, 10);
    form.cache_apart = true;
    ck_assert(np_stream_usage_prompt(&form, &u, &out));
    ck_assert_int_eq(out.prompt, 14);
    read_named("", "{\"usage\":{\"output\":1}}");
    np_stream_usage_take(&u, &event);
    read_named("", "{\"usage\":{\"output\":9,\"input\":null}}");
    np_stream_usage_take(&u, &event);
    ck_assert(sum(&u, &out, &possible) && possible);
    ck_assert_int_eq(out.prompt, 14);
    ck_assert_int_eq(out.cached, 4);
    ck_assert_int_eq(out.completion, 9);
}
END_TEST

START_TEST(what_was_written_for_an_hour_is_taken_out_of_all_that_was_written)
{
    static const struct {
        int64_t all, for_5m, for_hour; /* -1: not told */
        int64_t write, write_1h;
    } rows[] = {
        {100, 100, 0, 100, 0}, {100, 0, 100, 0, 100}, {100, 50, 50, 50, 50}, {100, -1, -1, 100, 0},
        {100, -1, 40, 60, 40}, {100, 30, -1, 100, 0}, {-1, 20, 30, 20, 30},  {0, 20, 30, 20, 30},
        {-1, -1, -1, 0, 0},    {10, 20, 30, 20, 30},  {0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int apart = 0; apart < 2; apart++) {
            struct np_stream_usage u;
            struct np_usage out;
            bool possible;
            np_stream_usage_init(&u);
            u.prompt = 1000;
            u.completion = 9;
            u.cached = 7;
            u.cache_write = rows[i].all;
            u.cache_write_5m = rows[i].for_5m;
            u.cache_write_1h = rows[i].for_hour;
            form.cache_apart = apart;
            ck_assert(sum(&u, &out, &possible) && possible);
            ck_assert_int_eq(out.cache_write, rows[i].write);
            ck_assert_int_eq(out.cache_write_1h, rows[i].write_1h);
            ck_assert_int_eq(out.prompt, 1000 + (apart ? 7 + rows[i].write + rows[i].write_1h : 0));
        }
}
END_TEST

START_TEST(impossible_counts_are_flagged)
{
    static const char *const bad[] = {"-1", "1.5", "1e12", "\"7\"", "[]", "true"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct np_stream_usage u;
        struct np_usage out;
        bool possible = true;
        char text[96];
        np_stream_usage_init(&u);
        (void)snprintf(text, sizeof text, "{\"usage\":{\"input\":%s,\"output\":2}}", bad[i]);
        read_named("", text);
        np_stream_usage_take(&u, &event);
        ck_assert(sum(&u, &out, &possible));
        ck_assert(!possible);
        ck_assert(!np_stream_usage_prompt(&form, &u, &out));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("model/stream");
    TCase *t = tcase_create("stream");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, what_an_event_brings_is_found_by_its_paths);
    tcase_add_test(t, what_is_null_or_no_text_is_not_there);
    tcase_add_test(t, the_end_is_told_by_data_or_by_kind);
    tcase_add_test(t, errors_are_told_by_kind_name_or_member);
    tcase_add_test(t, what_is_no_object_is_refused_and_blank_data_is_not);
    tcase_add_test(t, a_finish_is_a_text_that_says_something);
    tcase_add_test(t, events_of_unknown_kinds_bring_nothing);
    tcase_add_test(t, what_another_answer_says_is_a_thought_and_does_not_end_this_one);
    tcase_add_test(t, what_parts_say_that_are_no_text_is_a_thought);
    tcase_add_test(t, a_character_that_two_events_share_is_made_whole);
    tcase_add_test(t, halves_that_nothing_completes_stay_what_they_are);
    tcase_add_test(t, a_path_is_there_once_and_ends_where_no_other_goes_on);
    tcase_add_test(t, a_form_has_its_bounds);
    tcase_add_test(t, later_counts_replace_earlier_ones_and_caches_may_stand_apart);
    tcase_add_test(t, what_was_written_for_an_hour_is_taken_out_of_all_that_was_written);
    tcase_add_test(t, impossible_counts_are_flagged);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
