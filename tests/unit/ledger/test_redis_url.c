/* How a Redis server is named, and settlements that wait for the disk. */
#include "ledger/redis_link.h"
#include "ledger/rows.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdlib.h>

static struct np_redis_url url;
static char why[512];

static enum np_err of(const char *text)
{
    why[0] = '\0';
    return np_redis_url_read(text, &url, why, sizeof why);
}

START_TEST(urls_are_taken_apart)
{
    static const struct {
        const char *text, *host, *user, *password;
        unsigned port, db;
    } cases[] = {
        {"redis://h", "h", "", "", 6379, 0},
        {"redis://h/", "h", "", "", 6379, 0},
        {"redis://h:7000/3", "h", "", "", 7000, 3},
        {"redis://:pw@h", "h", "", "pw", 6379, 0},
        {"redis://pw@h", "h", "", "pw", 6379, 0},
        {"redis://u:p%40w@h:1/15", "h", "u", "p@w", 1, 15},
        {"redis://[::1]:7000/1", "::1", "", "", 7000, 1},
        {"redis://[fe80::1]", "fe80::1", "", "", 6379, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_msg(of(cases[i].text) == NP_OK, "%s: %s", cases[i].text, why);
        ck_assert_str_eq(url.host, cases[i].host);
        ck_assert_str_eq(url.user, cases[i].user);
        ck_assert_str_eq(url.password, cases[i].password);
        ck_assert_uint_eq(url.port, cases[i].port);
        ck_assert_uint_eq(url.db, cases[i].db);
    }
}
END_TEST

START_TEST(urls_that_are_none_are_told)
{
    static const char *const wrong[] = {
        "redis://",       "redis:///1",   "redis://h:",      "redis://h:x",    "redis://h:65536",
        "redis://h/x",    "redis://h/-1", "redis://u:%4@h",  "redis://%zz@h",  "redis://[::1",
        "redis://[::1]x", "redis://@",    "redis://[]:7000", "redis://%00:p@h"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(of(wrong[i]) == NP_E_INVALID, "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(why, "redis://"));
    }
    char longest[600];
    memset(longest, 'h', sizeof longest);
    memcpy(longest, "redis://", 8);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(of(longest), NP_E_INVALID);
}
END_TEST

START_TEST(what_the_url_does_not_say_comes_from_the_environment)
{
    (void)setenv("NEAP_STORE_USER", "eve", 1);
    (void)setenv("NEAP_STORE_PASSWORD", "secret", 1);
    ck_assert_int_eq(of("redis://h"), NP_OK);
    ck_assert_str_eq(url.user, "eve");
    ck_assert_str_eq(url.password, "secret");
    ck_assert_int_eq(of("redis://adam:apple@h"), NP_OK);
    ck_assert_str_eq(url.user, "adam");
    ck_assert_str_eq(url.password, "apple");
}
END_TEST

/* --- rows ----------------------------------------------------------------------------------------- */

static int64_t cost_of(const struct np_rows *q, uint64_t *calls)
{
    int64_t sum = 0;
    *calls = 0;
    for (const struct np_row_chunk *c = q->first; c; c = c->next) {
        for (size_t i = 0; i < c->n; i++) {
            sum += c->rows[i].cost_nusd;
            *calls += c->rows[i].count;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        sum += q->sums[i].count ? q->sums[i].cost_nusd : 0;
        *calls += q->sums[i].count;
    }
    return sum;
}

START_TEST(a_full_queue_of_settlements_keeps_their_sum)
{
    enum { ROWS = 2 * NP_ROWS_CHUNK * NP_ROWS_CHUNKS_MAX };
    struct np_rows q = {0}, to = {0};
    struct np_settle_row row = {.count = 1, .attempt = 1, .cost_nusd = 3};
    uint64_t calls;
    for (unsigned i = 0; i < ROWS; i++) {
        row.number = i;
        row.class = i % 2 ? NP_SETTLED_EXACT : NP_SETTLED_PRESUMED;
        np_rows_add(&q, &row);
    }
    ck_assert_uint_eq(q.n_chunks, NP_ROWS_CHUNKS_MAX);
    ck_assert_int_eq(cost_of(&q, &calls), INT64_C(3) * ROWS);
    ck_assert_uint_eq(calls, ROWS);
    np_rows_move(&to, &q);
    ck_assert(np_rows_empty(&q));
    ck_assert_int_eq(cost_of(&to, &calls), INT64_C(3) * ROWS);
    ck_assert_uint_eq(calls, ROWS);
    np_rows_free(&to);
    np_rows_free(&q);
}
END_TEST

START_TEST(settlements_without_memory_are_summed_up)
{
    struct np_rows q = {0};
    struct np_settle_row row = {.count = 1, .class = NP_SETTLED_EXACT, .cost_nusd = 5};
    uint64_t calls;
    np_fail_from(0);
    np_rows_add(&q, &row);
    np_rows_add(&q, &row);
    np_fail_never();
    ck_assert_int_eq(cost_of(&q, &calls), 10);
    ck_assert_uint_eq(calls, 2);
    ck_assert(!np_rows_empty(&q));
    np_rows_free(&q);
    ck_assert(np_rows_empty(&q));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("redis_url");
    TCase *t = tcase_create("urls");
    tcase_add_test(t, urls_are_taken_apart);
    tcase_add_test(t, urls_that_are_none_are_told);
    tcase_add_test(t, what_the_url_does_not_say_comes_from_the_environment);
    tcase_add_test(t, a_full_queue_of_settlements_keeps_their_sum);
    tcase_add_test(t, settlements_without_memory_are_summed_up);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
