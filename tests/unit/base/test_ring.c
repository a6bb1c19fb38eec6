/* The ring in one thread: order, wrapping, refusal. */
#include "base/ring.h"

#include "base/rng.h"
#include "support/fail_alloc.h"

#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static struct np_ring *ring;

static void setup(void)
{
    ring = np_ring_new(1024);
    ck_assert_ptr_nonnull(ring);
}

static void teardown(void)
{
    np_ring_free(ring);
}

START_TEST(records_come_out_in_order_with_their_tags)
{
    uint32_t tag;
    struct np_span s;
    ck_assert(!np_ring_peek(ring, &tag, &s));
    ck_assert(np_ring_put(ring, 7, NP_SPAN("one")));
    ck_assert(np_ring_put(ring, 8, NP_SPAN_NONE));
    ck_assert(np_ring_put(ring, 9, NP_SPAN("three and more")));
    ck_assert(np_ring_peek(ring, &tag, &s));
    ck_assert(np_ring_peek(ring, &tag, &s)); /* peeking takes nothing */
    ck_assert_uint_eq(tag, 7);
    ck_assert(np_span_is(s, "one"));
    np_ring_pop(ring);
    ck_assert(np_ring_peek(ring, &tag, &s));
    ck_assert_uint_eq(tag, 8);
    ck_assert_uint_eq(s.n, 0);
    np_ring_pop(ring);
    ck_assert(np_ring_peek(ring, &tag, &s));
    ck_assert_uint_eq(tag, 9);
    ck_assert(np_span_is(s, "three and more"));
    np_ring_pop(ring);
    ck_assert(!np_ring_peek(ring, &tag, &s));
}
END_TEST

START_TEST(a_full_ring_drops_and_counts_and_takes_again_after_a_pop)
{
    char block[120] = {0};
    uint32_t tag;
    struct np_span s;
    for (int i = 0; i < 8; i++) { /* 8 bytes of head each */
        ck_assert(np_ring_put(ring, 0, np_span_make(block, sizeof block)));
    }
    ck_assert(!np_ring_put(ring, 0, NP_SPAN_NONE));
    ck_assert(!np_ring_put(ring, 0, np_span_make(block, sizeof block)));
    ck_assert_uint_eq(np_ring_dropped(ring), 2);
    ck_assert(np_ring_peek(ring, &tag, &s));
    np_ring_pop(ring);
    ck_assert(np_ring_put(ring, 0, np_span_make(block, sizeof block)));
    ck_assert_uint_eq(np_ring_dropped(ring), 2);
}
END_TEST

START_TEST(half_the_ring_always_fits_when_it_is_empty)
{
    static char block[504];
    uint32_t tag;
    struct np_span s;
    for (size_t n = 0; n < 1000; n++) { /* from every position */
        ck_assert(np_ring_put(ring, 1, np_span_make(block, n % 40)));
        ck_assert(np_ring_peek(ring, &tag, &s));
        np_ring_pop(ring);
        ck_assert(np_ring_put(ring, 2, np_span_make(block, sizeof block)));
        ck_assert(np_ring_peek(ring, &tag, &s));
        ck_assert_uint_eq(tag, 2);
        ck_assert_uint_eq(s.n, sizeof block);
        np_ring_pop(ring);
    }
}
END_TEST

START_TEST(a_record_larger_than_the_ring_is_dropped)
{
    static char block[2048];
    ck_assert(np_ring_put(ring, 0, np_span_make(block, 1016)));
    ck_assert(!np_ring_put(ring, 0, np_span_make(block, 1017)));
    ck_assert(!np_ring_put(ring, 0, np_span_make(block, 2048)));
    ck_assert(!np_ring_put(ring, 0, np_span_make(block, SIZE_MAX)));
    ck_assert(!np_ring_put(ring, 0, np_span_make(block, (size_t)UINT32_MAX + 9)));
    ck_assert_uint_eq(np_ring_dropped(ring), 4);
}
END_TEST

/* Record k holds bytes of value k; the consumer lags by a random amount. */
START_TEST(random_records_come_out_as_they_went_in)
{
    struct np_rng r;
    size_t sizes[4096];
    size_t in = 0, out = 0;
    char block[300];
    np_rng_seed(&r, 3);
    while (in < 4096) {
        sizes[in] = (size_t)np_rng_below(&r, sizeof block);
        memset(block, (int)in, sizeof block);
        bool put = np_ring_put(ring, (uint32_t)in, np_span_make(block, sizes[in]));
        in += put;
        uint32_t tag;
        struct np_span s;
        while ((!put || np_rng_below(&r, 2)) && np_ring_peek(ring, &tag, &s)) {
            put = true;
            ck_assert_uint_eq(tag, out);
            ck_assert_uint_eq(s.n, sizes[out]);
            for (size_t i = 0; i < s.n; i++) {
                ck_assert_int_eq(s.p[i], (char)out);
            }
            np_ring_pop(ring);
            out++;
        }
    }
    ck_assert_uint_gt(out, 4000);
}
END_TEST

START_TEST(a_record_made_in_place_comes_out_as_one_that_was_put)
{
    uint32_t tag;
    struct np_span s;
    struct np_buf b;
    size_t made = 0;
    for (size_t n = 0; n < 1000; n++) { /* from every position */
        ck_assert(
            np_ring_put(ring, 1, np_span_make("0123456789012345678901234567890123456789", n % 40)));
        if (np_ring_open(ring, 100, &b)) {
            size_t grown = 100 + n % (b.max - 99);
            for (size_t i = 0; i < grown; i++)
                ck_assert_int_eq(np_buf_char(&b, (char)n), NP_OK);
            ck_assert(np_ring_close(ring, 2, &b));
            made++;
        } else {
            ck_assert(np_ring_put(ring, 2, NP_SPAN("x")));
        }
        ck_assert(np_ring_peek(ring, &tag, &s) && tag == 1);
        np_ring_pop(ring);
        ck_assert(np_ring_peek(ring, &tag, &s) && tag == 2);
        for (size_t i = 0; i < s.n && s.n > 1; i++)
            ck_assert_int_eq(s.p[i], (char)n);
        np_ring_pop(ring);
        ck_assert(!np_ring_peek(ring, &tag, &s));
    }
    ck_assert_uint_gt(made, 800);
    ck_assert_uint_eq(np_ring_dropped(ring), 0);
}
END_TEST

START_TEST(a_record_that_outgrows_its_place_is_not_put)
{
    static char block[2048];
    uint32_t tag;
    struct np_span s;
    struct np_buf b;
    ck_assert(np_ring_open(ring, 100, &b));
    (void)np_buf_put(&b, block, 100);
    (void)np_buf_put(&b, block, sizeof block);
    ck_assert(!np_ring_close(ring, 1, &b));
    ck_assert(!np_ring_peek(ring, &tag, &s));
    ck_assert(np_ring_put(ring, 2, NP_SPAN("next")));
    ck_assert(np_ring_peek(ring, &tag, &s) && tag == 2);
    ck_assert(np_span_is(s, "next"));
    ck_assert(np_ring_put(ring, 3, np_span_make(block, 900)));
    ck_assert(!np_ring_open(ring, 100, &b));
    ck_assert_uint_eq(np_ring_dropped(ring), 0);
}
END_TEST

/* The memory over which records lie that go through a ring of 1 MB; `lag` of them are left in it each time. */
static size_t touched(size_t lag)
{
    enum { RECORDS = 40000, AT_ONCE = 4, BYTES = 250 };
    struct np_ring *large = np_ring_new((size_t)1 << 20);
    uintptr_t low = UINTPTR_MAX, high = 0;
    char block[BYTES];
    size_t out = 0;
    for (size_t in = 0; in < RECORDS; in++) {
        memset(block, (int)in, sizeof block);
        ck_assert(np_ring_put(large, (uint32_t)in, np_span_make(block, sizeof block)));
        uint32_t tag;
        struct np_span s;
        while (in % AT_ONCE == 0 && out + lag <= in && np_ring_peek(large, &tag, &s)) {
            ck_assert_uint_eq(tag, out);
            ck_assert_uint_eq(s.n, sizeof block);
            ck_assert_int_eq(s.p[0], (char)out);
            ck_assert_int_eq(s.p[s.n - 1], (char)out);
            low = (uintptr_t)s.p < low ? (uintptr_t)s.p : low;
            high = (uintptr_t)s.p > high ? (uintptr_t)s.p : high;
            np_ring_pop(large);
            out++;
        }
    }
    np_ring_free(large);
    return high - low;
}

START_TEST(a_large_ring_that_is_emptied_each_time_touches_little_of_its_memory)
{
    size_t emptied = touched(0), never_empty = touched(1);
    printf(
        "10 MB through a ring of 1 MB lie over %zu KB of it, over %zu KB where one is left each time\n",
        emptied / 1024, never_empty / 1024);
    ck_assert_uint_lt(emptied, 80 * 1024);
    ck_assert_uint_gt(never_empty, 900 * 1024);
}
END_TEST

START_TEST(a_pop_of_nothing_ends_the_process)
{
    np_ring_pop(ring);
}
END_TEST

START_TEST(sizes_are_rounded_up_and_bounded)
{
    struct np_ring *small = np_ring_new(0);
    ck_assert(np_ring_put(small, 0, NP_SPAN("some bytes")));
    np_ring_free(small);
    ck_assert_ptr_null(np_ring_new(SIZE_MAX));
    ck_assert_ptr_null(np_ring_new(((size_t)1 << 30) + 1));
    np_fail_nth(0);
    ck_assert_ptr_null(np_ring_new(64));
    np_fail_never();
    np_ring_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/ring");
    TCase *c = tcase_create("ring");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, records_come_out_in_order_with_their_tags);
    tcase_add_test(c, a_full_ring_drops_and_counts_and_takes_again_after_a_pop);
    tcase_add_test(c, half_the_ring_always_fits_when_it_is_empty);
    tcase_add_test(c, a_record_larger_than_the_ring_is_dropped);
    tcase_add_test(c, random_records_come_out_as_they_went_in);
    tcase_add_test(c, a_record_made_in_place_comes_out_as_one_that_was_put);
    tcase_add_test(c, a_record_that_outgrows_its_place_is_not_put);
    tcase_add_test(c, a_large_ring_that_is_emptied_each_time_touches_little_of_its_memory);
    tcase_add_test_raise_signal(c, a_pop_of_nothing_ends_the_process, SIGABRT);
    tcase_add_test(c, sizes_are_rounded_up_and_bounded);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
