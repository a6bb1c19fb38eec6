/* The loop in one thread: events, turns, timers, posts, stops. */
#include "base/loop.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define MS NP_NS_PER_MS

static struct np_loop *loop;

/* One end of a socket pair with a watch that counts, and may do more. */
struct end {
    struct np_watch watch;
    int fds[2];
    int calls;
    uint32_t events;
    void (*then)(struct end *e);
    struct end *target;
};

static void ready(void *ctx, uint32_t events)
{
    struct end *e = ctx;
    e->calls++;
    e->events = events;
    if (e->then) {
        e->then(e);
    }
}

static void end_open(struct end *e, uint32_t events)
{
    *e = (struct end){.watch = {.ready = ready, .fd = -1}};
    e->watch.ctx = e;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e->fds), 0);
    ck_assert_int_eq(np_loop_add(loop, &e->watch, e->fds[0], events), NP_OK);
}

static void end_close(struct end *e)
{
    np_loop_remove(loop, &e->watch);
    close(e->fds[0]);
    close(e->fds[1]);
}

static void poke(struct end *e)
{
    ck_assert_int_eq(write(e->fds[1], "x", 1), 1);
}

static void setup(void)
{
    loop = np_loop_new(&np_clock_live);
    ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
    np_loop_free(loop);
}

START_TEST(a_ready_descriptor_is_called_with_its_events)
{
    struct end e;
    end_open(&e, EPOLLIN);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(e.calls, 0);
    poke(&e);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_int_eq(e.calls, 1);
    ck_assert_uint_eq(e.events, EPOLLIN);
    np_loop_turn(loop, 0); /* level-triggered: nobody read */
    ck_assert_int_eq(e.calls, 2);
    end_close(&e);
}
END_TEST

START_TEST(an_edge_is_reported_once)
{
    struct end e;
    end_open(&e, EPOLLIN | EPOLLET);
    poke(&e);
    np_loop_turn(loop, 0);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(e.calls, 1);
    end_close(&e);
}
END_TEST

START_TEST(a_changed_watch_reports_what_it_was_changed_to)
{
    struct end e;
    end_open(&e, EPOLLIN);
    ck_assert_int_eq(np_loop_change(loop, &e.watch, EPOLLOUT), NP_OK);
    poke(&e);
    np_loop_turn(loop, 0);
    ck_assert_uint_eq(e.events, EPOLLOUT);
    end_close(&e);
}
END_TEST

START_TEST(a_removed_watch_is_silent_and_may_be_removed_again)
{
    struct end e;
    end_open(&e, EPOLLIN);
    poke(&e);
    np_loop_remove(loop, &e.watch);
    ck_assert_int_eq(e.watch.fd, -1);
    np_loop_remove(loop, &e.watch);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(e.calls, 0);
    ck_assert_int_eq(np_loop_change(loop, &e.watch, EPOLLIN), NP_E_NOTFOUND);
    ck_assert_int_eq(np_loop_add(loop, &e.watch, e.fds[0], EPOLLIN), NP_OK);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(e.calls, 1);
    end_close(&e);
}
END_TEST

static void remove_target(struct end *e)
{
    np_loop_remove(loop, &e->target->watch);
}

START_TEST(of_two_ready_watches_that_remove_each_other_one_is_called)
{
    struct end a, b;
    end_open(&a, EPOLLIN);
    end_open(&b, EPOLLIN);
    a.then = b.then = remove_target;
    a.target = &b;
    b.target = &a;
    poke(&a);
    poke(&b);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(a.calls + b.calls, 1);
    end_close(&a);
    end_close(&b);
}
END_TEST

/* Removes the target and registers it anew, as if its memory were used again. */
static void replace_target(struct end *e)
{
    struct end *t = e->target;
    int fd = t->watch.fd;
    np_loop_remove(loop, &t->watch);
    ck_assert_int_eq(np_loop_add(loop, &t->watch, fd, EPOLLOUT), NP_OK);
}

START_TEST(a_watch_that_takes_the_place_of_another_does_not_get_its_events)
{
    struct end a, b;
    end_open(&a, EPOLLIN);
    end_open(&b, EPOLLIN);
    a.then = b.then = replace_target;
    a.target = &b;
    b.target = &a;
    poke(&a);
    poke(&b);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(a.calls + b.calls, 1);
    const struct end *replaced = a.calls ? &b : &a;
    a.then = b.then = NULL;
    np_loop_turn(loop, 0);
    ck_assert_int_eq(replaced->calls, 1);
    ck_assert_uint_eq(replaced->events, EPOLLOUT);
    end_close(&a);
    end_close(&b);
}
END_TEST

static void silence_target(struct end *e)
{
    ck_assert_int_eq(np_loop_change(loop, &e->target->watch, 0), NP_OK);
}

START_TEST(a_watch_that_is_changed_in_a_turn_does_not_get_what_it_no_longer_wants)
{
    struct end a, b;
    end_open(&a, EPOLLIN);
    end_open(&b, EPOLLIN);
    a.then = b.then = silence_target;
    a.target = &b;
    b.target = &a;
    poke(&a);
    poke(&b);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(a.calls + b.calls, 1);
    end_close(&a);
    end_close(&b);
}
END_TEST

static void remove_self(struct end *e)
{
    np_loop_remove(loop, &e->watch);
}

START_TEST(a_watch_may_remove_itself)
{
    struct end e;
    end_open(&e, EPOLLIN);
    e.then = remove_self;
    poke(&e);
    np_loop_turn(loop, 0);
    np_loop_turn(loop, 0);
    ck_assert_int_eq(e.calls, 1);
    end_close(&e);
}
END_TEST

START_TEST(more_events_than_one_wait_brings_come_in_the_same_turn)
{
    enum { N = 200 };
    static struct end e[N];
    for (int i = 0; i < N; i++) {
        end_open(&e[i], EPOLLIN);
        e[i].then = remove_self;
        poke(&e[i]);
    }
    np_loop_turn(loop, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(e[i].calls, 1);
        end_close(&e[i]);
    }
}
END_TEST

START_TEST(registering_refuses_what_it_must)
{
    struct end e;
    end_open(&e, EPOLLIN);
    ck_assert_int_eq(np_loop_add(loop, &e.watch, e.fds[1], EPOLLIN), NP_E_EXISTS);
    struct np_watch other = {.ready = ready, .ctx = &e, .fd = -1};
    ck_assert_int_eq(np_loop_add(loop, &other, e.fds[0], EPOLLIN), NP_E_EXISTS);
    ck_assert_int_eq(other.fd, -1);
    ck_assert_int_eq(np_loop_add(loop, &other, 9999, EPOLLIN), NP_E_IO);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(np_loop_add(loop, &other, file, EPOLLIN), NP_E_UNSUPPORTED);
    close(file);
    end_close(&e);
}
END_TEST

static int timer_calls;

static void tick(void *ctx, uint64_t now_ns)
{
    ck_assert_uint_eq(now_ns, np_loop_now_ns(loop));
    timer_calls++;
    if (ctx) {
        np_loop_stop(loop);
    }
}

START_TEST(the_loop_sleeps_until_the_next_timer_and_hardly_longer)
{
    struct np_timer t;
    uint64_t start = np_loop_refresh_ns(loop);
    np_timer_init(&t, tick, loop);
    np_timer_set(np_loop_timers(loop), &t, start + 20 * MS);
    np_loop_run(loop);
    uint64_t took = np_loop_now_ns(loop) - start;
    ck_assert_int_eq(timer_calls, 1);
    ck_assert_uint_ge(took, 20 * MS);
    ck_assert_uint_lt(took, 2000 * MS);
}
END_TEST

START_TEST(a_timer_is_never_early_however_short)
{
    struct np_timer t;
    np_timer_init(&t, tick, NULL);
    for (uint64_t ns = 1; ns < 3 * MS; ns = ns * 3 + 1) {
        uint64_t due = np_loop_refresh_ns(loop) + ns;
        int before = timer_calls;
        np_timer_set(np_loop_timers(loop), &t, due);
        while (timer_calls == before) {
            np_loop_turn(loop, UINT64_MAX);
        }
        ck_assert_uint_ge(np_loop_now_ns(loop), due);
    }
}
END_TEST

START_TEST(a_turn_waits_no_longer_than_it_is_told)
{
    uint64_t start = np_loop_refresh_ns(loop);
    np_loop_turn(loop, 5 * MS);
    ck_assert_uint_ge(np_loop_now_ns(loop) - start, 4 * MS);
    ck_assert_uint_lt(np_loop_now_ns(loop) - start, 2000 * MS);
}
END_TEST

static char order[16];
static size_t order_n;
static uint64_t wish;

static uint64_t hook_a(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    order[order_n++ % sizeof order] = 'a';
    return UINT64_MAX;
}

static uint64_t hook_b(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    order[order_n++ % sizeof order] = 'b';
    return wish == 0 || wish == UINT64_MAX ? wish : now_ns + wish;
}

START_TEST(each_turn_calls_come_last_in_their_order)
{
    struct end e;
    end_open(&e, EPOLLIN);
    poke(&e);
    ck_assert_int_eq(np_loop_each_turn(loop, hook_a, NULL), NP_OK);
    ck_assert_int_eq(np_loop_each_turn(loop, hook_b, NULL), NP_OK);
    wish = UINT64_MAX;
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_int_eq(e.calls, 1);
    ck_assert_uint_eq(order_n, 2);
    ck_assert_mem_eq(order, "ab", 2);
    end_close(&e);
}
END_TEST

START_TEST(a_new_each_turn_call_does_not_wait_for_an_event)
{
    wish = UINT64_MAX;
    ck_assert_int_eq(np_loop_each_turn(loop, hook_b, NULL), NP_OK);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_uint_eq(order_n, 1);
}
END_TEST

START_TEST(an_each_turn_call_is_called_again_when_it_wishes)
{
    ck_assert_int_eq(np_loop_each_turn(loop, hook_b, NULL), NP_OK);
    wish = 0;
    np_loop_turn(loop, UINT64_MAX);
    wish = 3 * MS;
    np_loop_turn(loop, UINT64_MAX); /* at once, by the wish before */
    uint64_t start = np_loop_now_ns(loop);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_uint_ge(np_loop_now_ns(loop) - start, 3 * MS);
    ck_assert_uint_eq(order_n, 3);
}
END_TEST

START_TEST(eight_each_turn_calls_are_the_most)
{
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(np_loop_each_turn(loop, hook_a, NULL), NP_OK);
    }
    ck_assert_int_eq(np_loop_each_turn(loop, hook_a, NULL), NP_E_FULL);
}
END_TEST

static int posted;

static void count_post(void *ctx)
{
    posted += *(int *)ctx;
}

static void post_again(void *ctx)
{
    posted++;
    ck_assert_int_eq(np_loop_post(loop, post_again, ctx), NP_OK);
}

START_TEST(posts_run_in_a_later_turn_and_wake_it)
{
    int one = 1;
    ck_assert_int_eq(np_loop_post(loop, count_post, &one), NP_OK);
    ck_assert_int_eq(np_loop_post(loop, count_post, &one), NP_OK);
    ck_assert_int_eq(posted, 0);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_int_eq(posted, 2);
}
END_TEST

START_TEST(a_post_that_posts_itself_runs_once_a_turn)
{
    ck_assert_int_eq(np_loop_post(loop, post_again, NULL), NP_OK);
    for (int i = 1; i <= 5; i++) {
        np_loop_turn(loop, UINT64_MAX);
        ck_assert_int_eq(posted, i);
    }
}
END_TEST

START_TEST(a_thousand_and_24_posts_are_the_most_that_wait)
{
    int one = 1;
    for (int round = 0; round < 3; round++) {
        posted = 0;
        for (int i = 0; i < 1024; i++) {
            ck_assert_int_eq(np_loop_post(loop, count_post, &one), NP_OK);
        }
        ck_assert_int_eq(np_loop_post(loop, count_post, &one), NP_E_FULL);
        np_loop_turn(loop, UINT64_MAX);
        ck_assert_int_eq(posted, 1024);
    }
}
END_TEST

START_TEST(a_stop_before_the_run_ends_it_and_is_used_up)
{
    struct np_timer t;
    np_loop_stop(loop);
    np_loop_run(loop);
    np_timer_init(&t, tick, loop);
    np_timer_set(np_loop_timers(loop), &t, np_loop_refresh_ns(loop) + MS);
    np_loop_run(loop);
    ck_assert_int_eq(timer_calls, 1);
}
END_TEST

static void stop_on_signal(int number)
{
    (void)number;
    np_loop_stop(loop);
}

static void ignore_signal(int number)
{
    (void)number;
}

static void alarm_in_ms(int ms, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval timer = {.it_value = {.tv_usec = ms * 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

START_TEST(a_signal_handler_can_stop_a_sleeping_loop)
{
    alarm_in_ms(10, stop_on_signal);
    np_loop_run(loop);
}
END_TEST

START_TEST(an_interrupted_wait_is_an_ordinary_turn)
{
    alarm_in_ms(10, ignore_signal);
    ck_assert_int_eq(np_loop_each_turn(loop, hook_a, NULL), NP_OK);
    np_loop_turn(loop, 0);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_uint_eq(order_n, 2);
}
END_TEST

static int poke_fd;
static uint64_t sleep_until_ns;

static void poke_and_sleep(int number)
{
    (void)number;
    (void)!write(poke_fd, "x", 1);
    while (np_clock_mono_ns(&np_clock_live) < sleep_until_ns) {
        usleep(1000);
    }
}

START_TEST(after_a_sleep_in_a_signal_what_came_goes_before_timers_that_are_due)
{
    struct end e;
    struct np_timer t;
    end_open(&e, EPOLLIN);
    poke_fd = e.fds[1];
    sleep_until_ns = np_loop_refresh_ns(loop) + 1000 * MS;
    np_timer_init(&t, tick, NULL);
    np_timer_set(np_loop_timers(loop), &t, sleep_until_ns);
    alarm_in_ms(10, poke_and_sleep);
    np_loop_turn(loop, UINT64_MAX);
    ck_assert_int_eq(timer_calls, 1);
    ck_assert_int_eq(e.calls, 1);
    end_close(&e);
}
END_TEST

/* Makes the kernel answer epoll_pwait2 with this error, for the rest of the process. */
static void forbid_pwait2(unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const struct {
    unsigned error;
} refusals[] = {{ENOSYS}, {EPERM}};

START_TEST(without_epoll_pwait2_waits_are_rounded_up_to_a_millisecond)
{
    struct np_timer t;
    forbid_pwait2(refusals[_i].error);
    np_timer_init(&t, tick, loop);
    for (int i = 1; i <= 3; i++) {
        uint64_t due = np_loop_refresh_ns(loop) + MS / 3;
        np_timer_set(np_loop_timers(loop), &t, due);
        np_loop_run(loop);
        ck_assert_int_eq(timer_calls, i);
        ck_assert_uint_ge(np_loop_now_ns(loop), due);
    }
}
END_TEST

START_TEST(whichever_allocation_fails_there_is_no_loop_and_no_leak)
{
    struct np_loop *l = NULL;
    size_t n = 0;
    for (; !l; n++) {
        np_fail_nth(n);
        l = np_loop_new(&np_clock_live);
        np_fail_never();
        ck_assert((l != NULL) != np_fail_happened());
    }
    ck_assert_uint_eq(n, 3);
    np_loop_free(l);
    np_loop_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/loop");
    TCase *c = tcase_create("loop");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_ready_descriptor_is_called_with_its_events);
    tcase_add_test(c, an_edge_is_reported_once);
    tcase_add_test(c, a_changed_watch_reports_what_it_was_changed_to);
    tcase_add_test(c, a_removed_watch_is_silent_and_may_be_removed_again);
    tcase_add_test(c, of_two_ready_watches_that_remove_each_other_one_is_called);
    tcase_add_test(c, a_watch_that_takes_the_place_of_another_does_not_get_its_events);
    tcase_add_test(c, a_watch_that_is_changed_in_a_turn_does_not_get_what_it_no_longer_wants);
    tcase_add_test(c, a_watch_may_remove_itself);
    tcase_add_test(c, more_events_than_one_wait_brings_come_in_the_same_turn);
    tcase_add_test(c, registering_refuses_what_it_must);
    tcase_add_test(c, the_loop_sleeps_until_the_next_timer_and_hardly_longer);
    tcase_add_test(c, a_timer_is_never_early_however_short);
    tcase_add_test(c, a_turn_waits_no_longer_than_it_is_told);
    tcase_add_test(c, each_turn_calls_come_last_in_their_order);
    tcase_add_test(c, a_new_each_turn_call_does_not_wait_for_an_event);
    tcase_add_test(c, an_each_turn_call_is_called_again_when_it_wishes);
    tcase_add_test(c, eight_each_turn_calls_are_the_most);
    tcase_add_test(c, posts_run_in_a_later_turn_and_wake_it);
    tcase_add_test(c, a_post_that_posts_itself_runs_once_a_turn);
    tcase_add_test(c, a_thousand_and_24_posts_are_the_most_that_wait);
    tcase_add_test(c, a_stop_before_the_run_ends_it_and_is_used_up);
    tcase_add_test(c, a_signal_handler_can_stop_a_sleeping_loop);
    tcase_add_test(c, an_interrupted_wait_is_an_ordinary_turn);
    tcase_add_test(c, after_a_sleep_in_a_signal_what_came_goes_before_timers_that_are_due);
    tcase_add_loop_test(c, without_epoll_pwait2_waits_are_rounded_up_to_a_millisecond, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(c, whichever_allocation_fails_there_is_no_loop_and_no_leak);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
