/* What the limiter adds to a call that keeps within it: an empty Lua function, called as barely as Lua
 * lets it (lua_pcall with a message handler that stands on the stack), within the limit of time, and
 * within that of steps; then whole hooks. The ways take turns; each turn is a window of many calls, and
 * a way's figure is its least window, as everything else on the machine only adds.
 *
 * Prints; fails only when a call fails. The figure that counts is that of an optimised build:
 *   cmake --preset release -DNEAP_TESTS=ON && ctest --test-dir build/release -R bench.limiter -V
 *
 * ctest: rooms script
 * ctest: serial */
#include "script/kit.h"

#include <lauxlib.h>
#include <time.h>

#include "script/script.h"

#define CALLS 20000
#ifdef __SANITIZE_ADDRESS__
#define ROUNDS 20
#else
#define ROUNDS 300
#endif

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The function is at index 2 of the stack, a message handler at 1. */
static void bare(struct kit *k)
{
    lua_State *L = k->s->state.L;
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(L, 2);
        np_require(lua_pcall(L, 0, 0, 1) == LUA_OK);
    }
}

static void limited(struct kit *k, const struct np_limit *limit)
{
    lua_State *L = k->s->state.L;
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(L, 2);
        np_require(np_state_call_kept(&k->s->state, 1, 0, 0, limit));
    }
}

static void timed(struct kit *k)
{
    limited(k, &(struct np_limit){true, NP_HOOK_CPU_NS, NP_HOOK_STEPS, 0});
}

static void stepped(struct kit *k)
{
    limited(k, &np_limit_steps);
}

static void hook(struct kit *k)
{
    for (int i = 0; i < CALLS; i++) {
        np_hook_route(k->s, k->x, &k->rep);
        np_require(k->rep.result == NP_HOOK_NOTHING);
        k->x->n_notes = 0;
        k->x->hooks_ns = 0;
    }
}

static const struct {
    const char *name;
    void (*run)(struct kit *k);
} ways[] = {{"a bare call", bare},
            {"within a time", timed},
            {"within steps", stepped},
            {"a whole hook, with its two clocks and its note", hook}};

#define WAYS ((int)(sizeof ways / sizeof ways[0]))

START_TEST(a_call_within_the_limit_costs_little_more_than_a_bare_one)
{
    struct kit k;
    double least[WAYS] = {0};
    kit_open(&k, true, (const char *const[]){"route.lua", "return function(req) end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    lua_State *L = k.s->state.L;
    /* The script has kept its own message handler at 1. */
    ck_assert_int_eq(lua_gettop(L), 1);
    ck_assert_int_eq(luaL_loadstring(L, "return"), LUA_OK);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < WAYS; i++) {
            int way = (round + i) % WAYS;
            uint64_t start = cpu_ns();
            ways[way].run(&k);
            double ns = (double)(cpu_ns() - start) / CALLS;
            least[way] = least[way] == 0 || ns < least[way] ? ns : least[way];
        }
        np_script_idle(k.s);
    }
    for (int i = 0; i < WAYS; i++)
        printf("%6.1f ns, %+6.1f ns, %.2f times: %s\n", least[i], least[i] - least[0],
               least[i] / least[0], ways[i].name);
    lua_pop(L, 1);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("limiter");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_call_within_the_limit_costs_little_more_than_a_bare_one);
    return kit_run(tc);
}
