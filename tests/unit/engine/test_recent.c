/* The newest records: bounded, listed from the newest on, found by the beginning of an id. */
#include "engine/recent.h"

#include <check.h>
#include <sched.h>
#include <stdio.h>

#include "support/fail_alloc.h"

static struct np_recent *r;
static struct np_buf b;

static void setup(void)
{
    r = np_recent_new(4, 1000);
    ck_assert_ptr_nonnull(r);
    np_buf_init(&b, 1 << 16);
}

static void teardown(void)
{
    np_buf_free(&b);
    np_recent_free(r);
}

static void add(const char *id, const char *tenant)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"requestId\":\"%s\",\"tenant\":\"%s\",\"attempts\":[{\"model\":\"m\"}],"
                   "\"outcome\":\"ok\"}\n",
                   id, tenant);
    np_recent_add(r, np_span_of(text));
}

static void expect_ids(struct np_recent_query q, const char *want)
{
    char got[256] = "";
    np_buf_reset(&b);
    ck_assert_int_eq(np_recent_list(r, &q, &b), NP_OK);
    np_buf_char(&b, '\0');
    for (const char *p = b.p; (p = strstr(p, "\"requestId\":\"")) != NULL;) {
        p += strlen("\"requestId\":\"");
        strncat(got, p, strcspn(p, "\""));
        strcat(got, " ");
    }
    const char *next = strstr(b.p, "\"next\":\"");
    if (next) {
        strcat(got, "then ");
        strncat(got, next + 8, strcspn(next + 8, "\""));
    }
    ck_assert_str_eq(got, want);
}

static unsigned get(const char *id)
{
    np_buf_reset(&b);
    return np_recent_get(r, np_span_of(id), &b);
}

START_TEST(the_newest_stand_first_and_the_oldest_goes)
{
    expect_ids((struct np_recent_query){.limit = 9}, "");
    for (const char *id = "abcdef"; *id; id++)
        add((char[]){*id, '\0'}, "acme");
    expect_ids((struct np_recent_query){.limit = 9}, "f e d c ");
    expect_ids((struct np_recent_query){.limit = 2}, "f e then e");
    expect_ids((struct np_recent_query){.limit = 2, .before = NP_SPAN("e")}, "d c ");
    expect_ids((struct np_recent_query){.limit = 2, .before = NP_SPAN("c")}, "");
    struct np_recent_query gone = {.limit = 2, .before = NP_SPAN("b")};
    ck_assert_int_eq(np_recent_list(r, &gone, &b), NP_E_INVALID);
}
END_TEST

START_TEST(records_that_take_too_much_room_push_others_out)
{
    char large[900];
    memset(large, 'x', sizeof large);
    large[400] = '\0';
    add("a", "acme");
    add("b", large);
    add("c", large);
    expect_ids((struct np_recent_query){.limit = 9}, "c b ");
    char text[1200] = "{\"requestId\":\"d\",\"tenant\":\"";
    memset(text + strlen(text), 'y', 1100);
    strcpy(text + 1100, "\"}");
    np_recent_add(r, np_span_of(text));
    expect_ids((struct np_recent_query){.limit = 9}, "c b ");
}
END_TEST

START_TEST(lists_are_chosen_by_tenant_and_outcome)
{
    add("a", "acme");
    add("b", "beta");
    add("c", "acme");
    expect_ids((struct np_recent_query){.limit = 9, .tenant = NP_SPAN("acme")}, "c a ");
    expect_ids((struct np_recent_query){.limit = 9, .outcome = NP_SPAN("degraded")}, "");
    expect_ids((struct np_recent_query){.limit = 1, .tenant = NP_SPAN("acme")}, "c then c");
    expect_ids((struct np_recent_query){.limit = 1, .tenant = NP_SPAN("beta")}, "b ");
}
END_TEST

START_TEST(a_record_is_found_by_its_id_or_by_a_beginning_that_one_id_has)
{
    add("req-1", "old");
    add("req-12", "acme");
    add("req-1", "new");
    add("other", "acme");
    ck_assert_uint_eq(get("req-1"), 1);
    np_buf_char(&b, '\0');
    ck_assert_ptr_nonnull(strstr(b.p, "\"new\""));
    ck_assert_uint_eq(get("oth"), 1);
    ck_assert_uint_eq(get("req-"), 2);
    ck_assert_uint_eq(b.n, 0);
    ck_assert_uint_eq(get("req-3"), 0);
    ck_assert_uint_eq(get(""), 0);
}
END_TEST

/* Others get their turn in the midst of a long list. */
static int others;
static void (*on_yield)(void);

int sched_yield(void)
{
    others++;
    if (on_yield)
        on_yield();
    return 0;
}

static void add_numbered(int from, int to)
{
    char id[16];
    for (int i = from; i < to; i++) {
        (void)snprintf(id, sizeof id, "r%d", i);
        add(id, "acme");
    }
}

static void add_three_hundred(void)
{
    static int from = 600;
    add_numbered(from, from + 300);
    from += 300;
}

/* Rows of 600 records, while at each yield of a list 300 come; the list must be those from `from` down to `to`. */
static void expect_list_among_others(size_t max_records, int from, int to)
{
    np_recent_free(r);
    r = np_recent_new(max_records, 1 << 20);
    ck_assert_ptr_nonnull(r);
    add_numbered(0, 600);
    others = 0;
    on_yield = add_three_hundred;
    struct np_buf rows;
    np_buf_init(&rows, 1 << 20);
    ck_assert_int_eq(np_recent_list(r, &(struct np_recent_query){.limit = 5000}, &rows), NP_OK);
    on_yield = NULL;
    ck_assert_int_gt(others, 0);
    np_buf_char(&rows, '\0');
    const char *p = rows.p;
    for (int i = from; i >= to; i--) {
        char want[40];
        (void)snprintf(want, sizeof want, "\"requestId\":\"r%d\"", i);
        p = strstr(p, "\"requestId\":");
        ck_assert_msg(p && strncmp(p, want, strlen(want)) == 0, "no r%d in its place", i);
        p++;
    }
    ck_assert_ptr_null(strstr(p, "\"requestId\":"));
    np_buf_free(&rows);
}

START_TEST(who_comes_while_a_list_is_made_is_not_in_it_and_waits_for_nobody)
{
    expect_list_among_others(5000, 599, 0);
    ck_assert_int_eq(others, 2);
}
END_TEST

START_TEST(who_goes_while_a_list_is_made_is_left_out)
{
    expect_list_among_others(600, 599, 300);
    ck_assert_int_eq(others, 1);
}
END_TEST

START_TEST(without_memory_a_record_is_passed_over)
{
    np_fail_from(0);
    add("a", "acme");
    np_fail_never();
    expect_ids((struct np_recent_query){.limit = 9}, "");
    static char of_its_own[40000]; /* bytes, so that it lies in no chunk */
    (void)snprintf(of_its_own, sizeof of_its_own, "{\"requestId\":\"c\",\"text\":\"%030000d\"}", 0);
    np_recent_free(r);
    r = np_recent_new(4, 1 << 20);
    add("b", "acme");
    np_fail_from(0);
    np_recent_add(r, np_span_of(of_its_own));
    np_fail_never();
    expect_ids((struct np_recent_query){.limit = 9}, "b ");
}
END_TEST

START_TEST(records_that_come_lie_where_those_lay_that_went)
{
    np_recent_free(r);
    r = np_recent_new(600, 1 << 20);
    ck_assert_ptr_nonnull(r);
    add_numbered(0, 3000);
    np_fail_from(0);
    add_numbered(3000, 9000);
    np_fail_never();
    expect_ids((struct np_recent_query){.limit = 2}, "r8999 r8998 then r8998");
    expect_ids((struct np_recent_query){.limit = 2, .before = NP_SPAN("r8401")}, "r8400 ");
}
END_TEST

START_TEST(long_records_and_short_ones_go_in_the_order_of_their_coming)
{
    static char text[40000];
    np_recent_free(r);
    r = np_recent_new(6, 1 << 20);
    ck_assert_ptr_nonnull(r);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(text, sizeof text, "{\"requestId\":\"r%d\",\"text\":\"%0*d\"}", i,
                       i % 3 == 0 ? 30000 : 7000, 0);
        np_recent_add(r, np_span_of(text));
    }
    expect_ids((struct np_recent_query){.limit = 9}, "r39 r38 r37 r36 r35 r34 ");
    ck_assert_uint_eq(get("r35"), 1);
    ck_assert_uint_gt(b.n, 7000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("recent");
    TCase *t = tcase_create("recent");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_newest_stand_first_and_the_oldest_goes);
    tcase_add_test(t, records_that_take_too_much_room_push_others_out);
    tcase_add_test(t, lists_are_chosen_by_tenant_and_outcome);
    tcase_add_test(t, a_record_is_found_by_its_id_or_by_a_beginning_that_one_id_has);
    tcase_add_test(t, who_comes_while_a_list_is_made_is_not_in_it_and_waits_for_nobody);
    tcase_add_test(t, who_goes_while_a_list_is_made_is_left_out);
    tcase_add_test(t, without_memory_a_record_is_passed_over);
    tcase_add_test(t, records_that_come_lie_where_those_lay_that_went);
    tcase_add_test(t, long_records_and_short_ones_go_in_the_order_of_their_coming);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
