/* The prompt's length, what of its context is kept, and the system text. */
#include "model/request.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "model/tokens.h"

static struct np_arena *arena;
static struct np_request r;

static void setup(void)
{
    arena = np_arena_new(1 << 22);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    np_arena_free(arena);
}

static void parse(const char *body)
{
    struct np_refusal refusal;
    ck_assert_msg(!np_request_parse(arena, np_span_of(body), &r, &refusal), "%s", body);
}

/* Which items are kept, as letters. */
static const char *kept(void)
{
    static char letters[16];
    size_t n = 0;
    for (size_t i = 0; i < r.n_context; i++)
        if (r.context[i].kept)
            letters[n++] = r.context[i].id.p[1];
    letters[n] = '\0';
    return letters;
}

/* Four items of 100 tokens each beside 50 of the rest, whatever their texts. */
static void four_items(void)
{
    parse("{\"prompt\":\"x\",\"context\":["
          "{\"id\":\"a\",\"text\":\"\",\"priority\":1},{\"id\":\"b\",\"text\":\"\",\"priority\":7},"
          "{\"id\":\"c\",\"text\":\"\",\"priority\":7},{\"id\":\"d\",\"text\":\"\",\"priority\":-2,"
          "\"pinned\":true}]}");
    r.messages[0].tokens = 50;
    for (size_t i = 0; i < 4; i++)
        r.context[i].tokens = 100;
}

static const struct {
    int64_t room;
    const char *kept;
    int64_t tokens;
} rooms[] = {
    {INT64_MAX, "abcd", 450}, {450, "abcd", 450}, {449, "bcd", 350}, {350, "bcd", 350},
    {349, "bd", 250},         {250, "bd", 250},   {249, "d", 150},   {150, "d", 150},
    {149, "d", 150},          {0, "d", 150},      {-1000, "d", 150},
};

START_TEST(the_highest_priority_is_kept_first_and_pinned_items_always)
{
    four_items();
    ck_assert_int_eq(np_request_keep_by_priority(&r, rooms[_i].room), rooms[_i].tokens);
    ck_assert_str_eq(kept(), rooms[_i].kept);
    ck_assert_int_eq(np_request_prompt_tokens(&r), rooms[_i].tokens);
}
END_TEST

START_TEST(keeping_anew_forgets_what_was_dropped_before)
{
    four_items();
    np_request_keep_by_priority(&r, 0);
    ck_assert_str_eq(kept(), "d");
    ck_assert_int_eq(np_request_keep_by_priority(&r, 1000), 450);
    ck_assert_str_eq(kept(), "abcd");
}
END_TEST

START_TEST(an_item_that_does_not_fit_leaves_its_room_to_lesser_ones)
{
    four_items();
    r.context[1].tokens = 1000;
    ck_assert_int_eq(np_request_keep_by_priority(&r, 350), 350);
    ck_assert_str_eq(kept(), "acd");
}
END_TEST

START_TEST(a_thousand_items_are_kept_in_their_order)
{
    struct np_buf b;
    np_buf_init(&b, 1 << 20);
    np_buf_puts(&b, "{\"prompt\":\"x\",\"context\":[");
    for (int i = 0; i < NP_MAX_CONTEXT; i++)
        np_buf_printf(&b, "%s{\"id\":\"%d\",\"text\":\"\",\"priority\":%d}", i ? "," : "", i,
                      i % 2);
    np_buf_puts(&b, "]}");
    np_buf_char(&b, '\0');
    parse(b.p);
    for (size_t i = 0; i < r.n_context; i++)
        r.context[i].tokens = 1;
    int64_t prompt = r.messages[0].tokens;
    ck_assert_int_eq(np_request_keep_by_priority(&r, prompt + NP_MAX_CONTEXT / 2 + 3),
                     prompt + NP_MAX_CONTEXT / 2 + 3);
    for (size_t i = 0; i < r.n_context; i++)
        ck_assert(r.context[i].kept == (i % 2 == 1 || i < 6));
    np_buf_free(&b);
}
END_TEST

START_TEST(the_bound_is_never_below_bytes_or_estimate)
{
    static const char *const texts[] = {
        "",           "word", "\xe4\xbd\xa0\xe5\xa5\xbd", "\\ud83d\\ude00", "1,2,3,4,5,6,7,8,9",
        "@#$%^&*()_+"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char body[512];
        snprintf(
            body, sizeof body,
            "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
            "\"content\":\"%s\"}],\"system\":\"%s\",\"context\":[{\"id\":\"%zu\",\"text\":\"%s\"}]}",
            texts[i], texts[i], i, texts[i]);
        parse(body);
        struct np_span system;
        ck_assert(!np_request_system_json(arena, &r, &system));
        int64_t bound = np_request_prompt_bound(&r);
        ck_assert_int_ge(bound, np_request_prompt_tokens(&r));
        ck_assert_int_ge(bound, (int64_t)(strlen(texts[i]) + system.n));
        int64_t all = bound;
        r.context[0].kept = false;
        ck_assert_int_lt(np_request_prompt_bound(&r), all);
    }
}
END_TEST

static const struct {
    const char *body, *system;
} systems[] = {
    {"{\"prompt\":\"x\"}", NULL},
    {"{\"prompt\":\"x\",\"system\":\"Be\\nbrief.\"}", "\"Be\\nbrief.\""},
    {"{\"prompt\":\"x\",\"system\":\"S\",\"context\":[{\"id\":\"a\",\"text\":\"T\\\"\"},{\"id\":\"b\","
     "\"text\":\"U\"}]}",
     "\"S\\n\\n[a]\\nT\\\"\\n\\n[b]\\nU\""},
    {"{\"prompt\":\"x\",\"context\":[{\"id\":\"a\",\"text\":\"T\"},{\"id\":\"b\",\"text\":\"U\"}]}",
     "\"[a]\\nT\\n\\n[b]\\nU\""},
    {"{\"prompt\":\"x\",\"system\":\"\",\"context\":[{\"id\":\"a\",\"text\":\"T\"}]}",
     "\"[a]\\nT\""},
};

START_TEST(the_system_text_is_followed_by_the_kept_items)
{
    parse(systems[_i].body);
    struct np_span out;
    ck_assert(!np_request_system_json(arena, &r, &out));
    if (!systems[_i].system) {
        ck_assert_ptr_null(out.p);
        return;
    }
    ck_assert_msg(np_span_is(out, systems[_i].system), "%.*s", (int)out.n, out.p);
    struct np_json_fault fault;
    ck_assert(!np_json_check(out, 1, &fault));
}
END_TEST

START_TEST(dropped_items_are_not_in_the_system_text)
{
    parse(systems[2].body);
    struct np_span out;
    r.context[0].kept = false;
    ck_assert(!np_request_system_json(arena, &r, &out));
    ck_assert(np_span_is(out, "\"S\\n\\n[b]\\nU\""));
    r.context[1].kept = false;
    ck_assert(!np_request_system_json(arena, &r, &out));
    ck_assert_ptr_eq(out.p, r.system.p);
}
END_TEST

START_TEST(a_system_text_without_room_is_no_memory)
{
    parse(systems[2].body);
    struct np_arena *a = np_arena_new(8);
    struct np_span out;
    ck_assert_int_eq(np_request_system_json(a, &r, &out), NP_E_NOMEM);
    np_arena_free(a);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
    Suite *s = suite_create("prompt");
    TCase *t = tcase_create("prompt");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, the_highest_priority_is_kept_first_and_pinned_items_always, 0,
                        COUNT(rooms));
    tcase_add_test(t, keeping_anew_forgets_what_was_dropped_before);
    tcase_add_test(t, an_item_that_does_not_fit_leaves_its_room_to_lesser_ones);
    tcase_add_test(t, a_thousand_items_are_kept_in_their_order);
    tcase_add_test(t, the_bound_is_never_below_bytes_or_estimate);
    tcase_add_loop_test(t, the_system_text_is_followed_by_the_kept_items, 0, COUNT(systems));
    tcase_add_test(t, dropped_items_are_not_in_the_system_text);
    tcase_add_test(t, a_system_text_without_room_is_no_memory);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
