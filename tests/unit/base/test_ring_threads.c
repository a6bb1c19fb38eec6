/* The ring between its two threads. */
#include "base/ring.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { RECORDS = 200000 };

/* The second begins anew where it is found empty. */
static const size_t sizes[] = {4096, 256 * 1024};

static struct np_ring *ring;
static atomic_bool done;

static size_t size_of(uint32_t number)
{
    return number * 2654435761U % 200;
}

static void *produce(void *ctx)
{
    char block[200];
    size_t *put = ctx;
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct np_buf b;
        memset(block, (int)i, sizeof block);
        if (i % 3 == 0 && np_ring_open(ring, sizeof block, &b)) { /* the same, made in place */
            (void)np_buf_put(&b, block, size_of(i));
            *put += np_ring_close(ring, i, &b);
        } else if (np_ring_put(ring, i, np_span_make(block, size_of(i)))) {
            (*put)++;
        } else if (i % 2 == 0) {
            sched_yield();
        }
    }
    atomic_store(&done, true);
    return NULL;
}

START_TEST(what_is_not_dropped_arrives_whole_and_in_order)
{
    pthread_t producer;
    size_t put = 0, got = 0;
    int64_t last = -1;
    ring = np_ring_new(sizes[_i]);
    atomic_store(&done, false);
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, &put), 0);
    for (;;) {
        bool ended = atomic_load(&done);
        uint32_t tag;
        struct np_span s;
        if (!np_ring_peek(ring, &tag, &s)) {
            if (ended) {
                break;
            }
            sched_yield();
            continue;
        }
        ck_assert_int_gt((int64_t)tag, last);
        last = tag;
        ck_assert_uint_eq(s.n, size_of(tag));
        bool whole = true;
        for (size_t i = 0; i < s.n; i++) {
            whole = whole && s.p[i] == (char)tag;
        }
        ck_assert(whole);
        np_ring_pop(ring);
        got++;
    }
    pthread_join(producer, NULL);
    ck_assert_uint_eq(got, put);
    ck_assert_uint_eq(put + np_ring_dropped(ring), RECORDS);
    ck_assert_uint_gt(got, 0);
    np_ring_free(ring);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/ring between threads");
    TCase *c = tcase_create("ring_threads");
    tcase_add_loop_test(c, what_is_not_dropped_arrives_whole_and_in_order, 0,
                        sizeof sizes / sizeof sizes[0]);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
