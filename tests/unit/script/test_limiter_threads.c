/* The limit of time on several workers at once: each endless hook is stopped on its own thread, each short one is
 * left alone, and the shared store keeps its sums. */
#include <pthread.h>
#include <time.h>

#include "script/kit.h"

#define WORKERS 4
#define ROUNDS 30

static const char source[] =
    "local n = 0\n"
    "return function(req)\n"
    "  n = n + 1\n"
    "  shared.incr('calls')\n"
    "  if n % 10 == 0 then while true do pcall(function() while true do end end) end end\n"
    "  return {'claude'}\n"
    "end";

struct worker {
    struct kit *k;
    pthread_t thread;
    unsigned stopped, gave, other;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct np_script *s = np_script_new(&w->k->set, &w->k->powers, true);
    struct np_hook_report rep;
    for (int i = 0; s && i < ROUNDS; i++) {
        struct np_exchange *x = kit_exchange(w->k, KIT_BODY, "req_1");
        np_hook_route(s, x, &rep);
        if (rep.result == NP_HOOK_GAVE)
            w->gave++;
        else if (rep.result == NP_HOOK_FAILED && rep.failure == KIT_TIME)
            w->stopped++;
        else
            w->other++;
        np_exchange_free(x);
        np_script_idle(s);
        /* Now and then long enough for the ticks to stop. */
        if (i % 10 == 5)
            nanosleep(&(struct timespec){.tv_nsec = 80000000}, NULL);
    }
    np_script_free(s);
    return NULL;
}

START_TEST(each_worker_is_stopped_by_its_own_clock)
{
    struct kit k;
    struct worker workers[WORKERS] = {0};
    kit_open(&k, true, (const char *const[]){"route.lua", source, NULL});
    for (int i = 0; i < WORKERS; i++) {
        workers[i].k = &k;
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        ck_assert_uint_eq(workers[i].gave, ROUNDS - ROUNDS / 10);
        ck_assert_uint_eq(workers[i].stopped, ROUNDS / 10);
        ck_assert_uint_eq(workers[i].other, 0);
    }
    double sum;
    ck_assert_int_eq(np_shared_incr(k.powers.shared, NP_SPAN("calls"), 0, 0, 0, &sum), NP_OK);
    ck_assert_double_eq(sum, WORKERS * ROUNDS);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("limiter");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, each_worker_is_stopped_by_its_own_clock);
    return kit_run(tc);
}
