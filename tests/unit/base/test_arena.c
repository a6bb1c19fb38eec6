/* The arena: what it gives, what it refuses, and that its memory is poisoned under ASan. */
#include "base/arena.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

START_TEST(blocks_are_zeroed_aligned_and_apart)
{
    struct np_arena *a = np_arena_new(1 << 20);
    char *last = NULL;
    for (size_t bytes = 1; bytes < 3000; bytes += 7) {
        char *p = np_arena_alloc(a, bytes);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < bytes; i++) {
            ck_assert_int_eq(p[i], 0);
        }
        memset(p, 0x5a, bytes);
        ck_assert(!last || last[0] == 0x5a);
        last = p;
    }
    np_arena_free(a);
}
END_TEST

START_TEST(the_maximum_is_exact_and_a_refusal_costs_nothing)
{
    struct np_arena *a = np_arena_new(100);
    ck_assert_ptr_nonnull(np_arena_alloc(a, 60));
    ck_assert_ptr_null(np_arena_alloc(a, 41));
    ck_assert_uint_eq(np_arena_used(a), 60);
    ck_assert_ptr_nonnull(np_arena_bytes(a, 40));
    ck_assert_uint_eq(np_arena_used(a), 100);
    ck_assert_ptr_null(np_arena_bytes(a, 1));
    ck_assert_ptr_null(np_arena_alloc(a, SIZE_MAX));
    np_arena_free(a);
}
END_TEST

START_TEST(empty_blocks_have_addresses_of_their_own_and_are_bounded)
{
    struct np_arena *a = np_arena_new(3);
    char *one = np_arena_bytes(a, 0);
    char *two = np_arena_bytes(a, 0);
    ck_assert_ptr_nonnull(one);
    ck_assert_ptr_nonnull(two);
    ck_assert_ptr_ne(one, two);
    ck_assert_ptr_nonnull(np_arena_alloc(a, 0));
    ck_assert_ptr_null(np_arena_alloc(a, 0));
    np_arena_free(a);
}
END_TEST

START_TEST(an_array_whose_size_overflows_is_refused)
{
    struct np_arena *a = np_arena_new(SIZE_MAX);
    ck_assert_ptr_null(np_arena_array(a, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(np_arena_array(a, SIZE_MAX / 16 + 2, 16));
    int *v = np_arena_array(a, 10, sizeof *v);
    ck_assert_ptr_nonnull(v);
    ck_assert_int_eq(v[9], 0);
    np_arena_free(a);
}
END_TEST

START_TEST(a_big_block_leaves_the_small_ones_their_chunk)
{
    struct np_arena *a = np_arena_new(1 << 22);
    char *before = np_arena_bytes(a, 16);
    char *big = np_arena_alloc(a, 1 << 20);
    char *after = np_arena_bytes(a, 16);
    ck_assert_ptr_nonnull(big);
    memset(big, 1, 1 << 20);
    ck_assert_int_lt(after - before, 64);
    ck_assert_int_gt(after - before, 0);
    np_arena_free(a);
}
END_TEST

START_TEST(a_big_block_can_end_before_the_others)
{
    struct np_arena *a = np_arena_new(1 << 21);
    char *small = np_arena_bytes(a, 16);
    char *big = np_arena_alloc(a, 1 << 20);
    ck_assert_ptr_nonnull(big);
    size_t used = np_arena_used(a);
    np_arena_drop(a, big);
    ck_assert_uint_eq(np_arena_used(a), used - (1 << 20));
    small[15] = 1;
    /* Its room is there again. */
    for (int i = 0; i < 10; i++) {
        big = np_arena_alloc(a, 3 << 19);
        ck_assert_ptr_nonnull(big);
        np_arena_drop(a, big);
    }
    np_arena_free(a);
}
END_TEST

/* A provider's request is seldom larger. */
START_TEST(a_block_of_a_kilobyte_can_end_before_the_others)
{
    struct np_arena *a = np_arena_new(1 << 20);
    /* However large the chunks have become by then. */
    for (size_t filled = 0; filled < 100000; filled += 500) {
        ck_assert_ptr_nonnull(np_arena_bytes(a, 500));
        char *block = np_arena_bytes(a, 1024);
        ck_assert_ptr_nonnull(block);
        size_t used = np_arena_used(a);
        np_arena_drop(a, block);
        ck_assert_uint_eq(np_arena_used(a), used - 1024);
    }
    np_arena_free(a);
}
END_TEST

START_TEST(a_small_block_stays_until_the_end)
{
    struct np_arena *a = np_arena_new(1 << 20);
    char *small = np_arena_bytes(a, 16);
    char *first = np_arena_bytes(a, 2000);
    size_t used = np_arena_used(a);
    np_arena_drop(a, small);
    np_arena_drop(a, first + 1);
    ck_assert_uint_eq(np_arena_used(a), used);
    memset(small, 1, 16);
    np_arena_free(a);
}
END_TEST

START_TEST(copies_end_in_a_nul_that_is_not_counted)
{
    struct np_arena *a = np_arena_new(1000);
    struct np_span s = np_arena_dup(a, np_span_make("hello, world", 5));
    ck_assert(np_span_is(s, "hello"));
    ck_assert_int_eq(s.p[5], '\0');
    struct np_span none = np_arena_dup(a, NP_SPAN_NONE);
    ck_assert_ptr_nonnull(none.p);
    ck_assert_uint_eq(none.n, 0);
    ck_assert_str_eq(np_arena_strdup(a, "xyz"), "xyz");
    ck_assert_ptr_null(np_arena_dup(a, np_span_make("", SIZE_MAX)).p);
    np_arena_free(a);
}
END_TEST

START_TEST(printing_takes_short_and_long_text)
{
    struct np_arena *a = np_arena_new(2000);
    ck_assert_str_eq(np_arena_printf(a, "%s-%d", "id", 7), "id-7");
    for (int width = 254; width <= 258; width++) {
        char *p = np_arena_printf(a, "%0*d", width, 5);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq(strlen(p), (size_t)width);
        ck_assert_int_eq(p[width - 1], '5');
    }
    ck_assert_ptr_null(np_arena_printf(a, "%0*d", 1000, 5));
    np_arena_free(a);
}
END_TEST

/* Some of everything; false when something was refused. */
static bool use(struct np_arena *a)
{
    bool good = true;
    for (int i = 0; i < 200; i++) {
        good = np_arena_alloc(a, 300) && good;
        good = np_arena_bytes(a, 5000) && good;
    }
    good = np_arena_dup(a, NP_SPAN("some text")).p && good;
    good = np_arena_printf(a, "%0*d", 40000, 1) && good;
    return good;
}

START_TEST(whichever_allocation_fails_the_arena_can_still_be_freed)
{
    bool good = false;
    size_t n = 0;
    for (; !good; n++) {
        np_fail_nth(n);
        struct np_arena *a = np_arena_new(1 << 24);
        good = a && use(a);
        np_fail_never();
        ck_assert(good != np_fail_happened());
        ck_assert(!a || np_arena_alloc(a, 100));
        np_arena_free(a);
    }
    ck_assert_uint_gt(n, 20);
}
END_TEST

START_TEST(freeing_none_is_allowed)
{
    np_arena_free(NULL);
}
END_TEST

START_TEST(what_was_not_handed_out_is_poisoned)
{
#if defined(__SANITIZE_ADDRESS__)
    struct np_arena *a = np_arena_new(100000);
    char *p = np_arena_bytes(a, 13);
    ck_assert(!__asan_address_is_poisoned(p + 12));
    ck_assert(__asan_address_is_poisoned(p + 13));
    char *q = np_arena_bytes(a, 1);
    ck_assert(!__asan_address_is_poisoned(q));
    ck_assert(__asan_address_is_poisoned(q - 1));
    ck_assert(__asan_address_is_poisoned(q + 1));
    np_arena_free(a);
#endif
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/arena");
    TCase *c = tcase_create("arena");
    tcase_add_test(c, blocks_are_zeroed_aligned_and_apart);
    tcase_add_test(c, the_maximum_is_exact_and_a_refusal_costs_nothing);
    tcase_add_test(c, empty_blocks_have_addresses_of_their_own_and_are_bounded);
    tcase_add_test(c, an_array_whose_size_overflows_is_refused);
    tcase_add_test(c, a_big_block_leaves_the_small_ones_their_chunk);
    tcase_add_test(c, a_big_block_can_end_before_the_others);
    tcase_add_test(c, a_block_of_a_kilobyte_can_end_before_the_others);
    tcase_add_test(c, a_small_block_stays_until_the_end);
    tcase_add_test(c, copies_end_in_a_nul_that_is_not_counted);
    tcase_add_test(c, printing_takes_short_and_long_text);
    tcase_add_test(c, whichever_allocation_fails_the_arena_can_still_be_freed);
    tcase_add_test(c, freeing_none_is_allowed);
    tcase_add_test(c, what_was_not_handed_out_is_poisoned);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
