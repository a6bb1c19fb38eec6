/* Events that are like the one before: each that is taken for one says what reading it says. */
#include "model/stream.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct np_stream_form form;
static struct np_stream_frame frame;
static uint64_t others;

static void path(enum np_stream_slot slot, const char *text)
{
    ck_assert_int_eq(np_stream_form_path(&form, slot, np_span_of(text)), NP_OK);
}

static void setup(void)
{
    np_stream_form_init(&form);
    path(NP_STREAM_text, "choices.1.delta.content");
    path(NP_STREAM_text, "choices.1.delta.refusal");
    path(NP_STREAM_thought, "choices.1.delta.thought");
    path(NP_STREAM_finish, "choices.1.finish");
    path(NP_STREAM_choice, "choices.1.index");
    path(NP_STREAM_kind, "type");
    path(NP_STREAM_block, "block");
    path(NP_STREAM_opens, "part.type");
    path(NP_STREAM_error, "error");
    path(NP_STREAM_prompt, "usage.input");
    ck_assert_int_eq(np_stream_form_text(&form, NP_SPAN("[DONE]"), &form.end_data), NP_OK);
    ck_assert_int_eq(np_stream_form_text(&form, NP_SPAN("stop"), &form.end_kind), NP_OK);
    ck_assert_int_eq(np_stream_form_word(&form, &form.text_parts, NP_SPAN("words")), NP_OK);
    frame = (struct np_stream_frame){NULL, 0, 0, 0};
    others = 0;
}

static void teardown(void)
{
    np_stream_frame_drop(&frame);
}

/* Reads and keeps as an exchange does; whether it was not read in full. */
static bool feed(const char *data, struct np_stream_event *e)
{
    bool like = np_stream_frame_read(&frame, NP_SPAN(""), np_span_of(data), e);
    if (!like)
        ck_assert_int_eq(np_stream_read(&form, NP_SPAN(""), np_span_of(data), e), NP_OK);
    np_stream_sort(&form, &others, e);
    np_stream_frame_keep(&frame, np_span_of(data), e);
    return like;
}

static bool is_passive(int slot)
{
    return slot == NP_STREAM_kind || slot == NP_STREAM_choice || slot == NP_STREAM_block;
}

/* Of an event that has the frame: reading it in full must say the same of all that is looked at later. */
static void agrees(struct np_span data, const struct np_stream_event *like)
{
    struct np_stream_event full;
    uint64_t before = others;
    ck_assert_msg(np_stream_read(&form, NP_SPAN(""), data, &full) == NP_OK, "%.*s is no JSON",
                  (int)data.n, data.p);
    np_stream_sort(&form, &others, &full);
    ck_assert_uint_eq(others, before);
    ck_assert(full.read && !full.ends && !full.failed);
    for (int i = 0; i < NP_STREAM_SLOT_COUNT; i++)
        ck_assert_msg(
            is_passive(i) || (full.at[i].p == like->at[i].p && full.at[i].n == like->at[i].n),
            "%s differs in %.*s", np_stream_slot_name((enum np_stream_slot)i), (int)data.n, data.p);
}

#define CHUNK(text, finish, pad)                                             \
    "{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text \
    "\"},\"finish\":" finish "}],\"usage\":null,\"pad\":\"" pad "\"}"

START_TEST(an_event_around_another_text_is_not_read_again)
{
    static const char *const texts[] = {CHUNK("one", "null", "x"), CHUNK("", "null", "x"),
                                        CHUNK("\\\"\\u00e9\\\\", "null", "x"),
                                        CHUNK("\xc3\xa9", "null", "x"), CHUNK("}", "null", "x")};
    struct np_stream_event e;
    ck_assert(!feed(texts[0], &e));
    for (size_t i = 1; i < sizeof texts / sizeof *texts; i++) {
        bool like = np_stream_frame_read(&frame, NP_SPAN(""), np_span_of(texts[i]), &e);
        ck_assert_msg(like == (i != 1), "%s", texts[i]);
        if (like)
            agrees(np_span_of(texts[i]), &e);
    }
    ck_assert(!np_stream_frame_read(&frame, NP_SPAN("error"), np_span_of(texts[2]), &e));
}
END_TEST

START_TEST(padding_of_any_length_is_learned_from_two_events)
{
    static const char *const pads[] = {CHUNK("c", "null", "1"), CHUNK("d", "null", ""),
                                       CHUNK("e", "null", "long \\\" text"),
                                       CHUNK("f", "null", "12")};
    struct np_stream_event e;
    ck_assert(!feed(CHUNK("a", "null", "123"), &e));
    ck_assert(!feed(CHUNK("b", "null", "12"), &e));
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++) {
        ck_assert_msg(feed(pads[i], &e), "%s", pads[i]);
        agrees(np_span_of(pads[i]), &e);
    }
    ck_assert(!feed(CHUNK("g", "\"end\"", "12"), &e));
    ck_assert_ptr_nonnull(e.at[NP_STREAM_finish].p);
}
END_TEST

/* What differs may mean something the next time. */
START_TEST(a_string_that_a_path_leads_to_or_that_is_a_name_is_no_padding)
{
    static const char *const pairs[][3] = {
        {CHUNK("a", "\"\"", "x"), CHUNK("b", "null", "x"), CHUNK("c", "\"end\"", "x")},
        {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"type\":\"x\"}",
         "{\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"type\":\"y\"}",
         "{\"choices\":[{\"delta\":{\"content\":\"c\"}}],\"type\":\"stop\"}"},
        {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"x\":1}",
         "{\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"y\":1}",
         "{\"choices\":[{\"delta\":{\"content\":\"c\"}}],\"error\":1}"},
        {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"p\":\"1\",\"type\":\"x\"}",
         "{\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"p\":\"2\",\"type\":\"y\"}",
         "{\"choices\":[{\"delta\":{\"content\":\"c\"}}],\"p\":\"3\",\"type\":\"stop\"}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct np_stream_event e;
        for (size_t k = 0; k < 3; k++)
            ck_assert_msg(!feed(pairs[i][k], &e), "%s", pairs[i][k]);
        np_stream_frame_drop(&frame);
    }
}
END_TEST

START_TEST(nothing_is_kept_of_an_event_that_brings_more_than_text)
{
    static const char *const rows[] = {
        "{\"choices\":[{\"delta\":{\"content\":\"a\",\"thought\":\"b\"}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish\":\"end\"}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":1}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"input\":3}}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"part\":{\"type\":\"words\"}}",
        "{\"choices\":[{\"delta\":{\"content\":\"\"}}]}",
        "{\"type\":\"ping\"}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_stream_event e;
        feed(CHUNK("a", "null", "x"), &e);
        ck_assert_ptr_nonnull(frame.p);
        ck_assert(!feed(rows[i], &e));
        ck_assert_msg(!frame.p, "%s", rows[i]);
    }
}
END_TEST

/* A part that is no answer begins: its pieces look as those of the part before. */
START_TEST(pieces_of_a_part_that_is_no_text_are_not_taken_for_text)
{
    static const char piece[] = "{\"block\":0,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}";
    struct np_stream_event e;
    feed(piece, &e);
    ck_assert(feed(piece, &e));
    feed("{\"block\":0,\"part\":{\"type\":\"thinking\"}}", &e);
    ck_assert(!feed(piece, &e));
    ck_assert(!e.at[NP_STREAM_text].p && e.at[NP_STREAM_thought].p);
    ck_assert(!feed(piece, &e));
}
END_TEST

START_TEST(no_change_of_a_byte_makes_an_event_say_what_it_does_not)
{
    static const char bytes[] = "\"\\{}[],:x0u \n\x01\x7f\xc3\xa9\xed\xff";
    static const char base[] = CHUNK("s\\u00e9", "null", "pad");
    struct np_stream_event e;
    size_t taken = 0, tried = 0;
    feed(CHUNK("a", "null", "pa"), &e);
    feed(CHUNK("b", "null", "p"), &e);
    ck_assert_uint_gt(frame.rest, 0);
    for (size_t at = 0; at < sizeof base - 1; at++)
        for (size_t b = 0; b < sizeof bytes - 1; b++)
            for (int how = 0; how < 3; how++) { /* in its place, before it, without it */
                char text[sizeof base + 1];
                (void)snprintf(text, sizeof text, "%.*s%c%s", (int)at, base, bytes[b],
                               base + at + (how != 1));
                struct np_span data = np_span_make(text, sizeof base - 1 + (how == 1));
                if (how == 2) {
                    memmove(text + at, text + at + 1, data.n - at);
                    data.n--;
                }
                tried++;
                if (np_stream_frame_read(&frame, NP_SPAN(""), data, &e)) {
                    taken++;
                    agrees(data, &e);
                }
            }
    printf("%zu of %zu changed events had the frame\n", taken, tried);
    ck_assert(taken > 100 && taken < tried / 2);
}
END_TEST

START_TEST(frames_of_more_than_640_bytes_are_not_kept)
{
    for (int bytes = 600; bytes <= 900; bytes += 300) {
        char text[1200];
        struct np_stream_event e;
        (void)snprintf(text, sizeof text,
                       "{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"pad\":\"%0*d\"}",
                       bytes - 100, 0);
        feed(text, &e);
        ck_assert_int_eq(frame.p != NULL, bytes < 640);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("model/stream_frame");
    TCase *t = tcase_create("frame");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_event_around_another_text_is_not_read_again);
    tcase_add_test(t, padding_of_any_length_is_learned_from_two_events);
    tcase_add_test(t, a_string_that_a_path_leads_to_or_that_is_a_name_is_no_padding);
    tcase_add_test(t, nothing_is_kept_of_an_event_that_brings_more_than_text);
    tcase_add_test(t, pieces_of_a_part_that_is_no_text_are_not_taken_for_text);
    tcase_add_test(t, no_change_of_a_byte_makes_an_event_say_what_it_does_not);
    tcase_add_test(t, frames_of_more_than_640_bytes_are_not_kept);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
