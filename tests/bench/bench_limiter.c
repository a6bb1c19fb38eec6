/* What the limiter adds to a call that keeps within it: an empty Lua function, called as barely as Lua
 * lets it (lua_pcall with a message handler that stands on the stack), within the limit of time, and
 * within that of steps; then whole hooks, and the same with the line of their return. The ways take turns; each turn is a window of many calls, and
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
#include "script/setkit.h"

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

/* The function is at the top of the stack, a message handler at 1. */
static void bare(struct kit *k)
{
    lua_State *L = k->s->state.L;
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(L, -1);
        np_require(lua_pcall(L, 0, 0, 1) == LUA_OK);
    }
}

static void limited(struct kit *k, const struct np_limit *limit)
{
    lua_State *L = k->s->state.L;
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(L, -1);
        np_require(np_state_call_kept(&k->s->state, 1, 0, 0, limit));
    }
}

static void timed(struct kit *k)
{
    limited(k, &(struct np_limit){true, NP_HOOK_CPU_NS, NP_HOOK_STEPS});
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

/* A set of its own, whose hook does not tell its line: as it would be without that. */
static struct kit untold, told;

static void hook_untold(struct kit *k)
{
    (void)k;
    hook(&untold);
}

static void hook_told(struct kit *k)
{
    (void)k;
    hook(&told);
}

static const struct {
    const char *name;
    void (*run)(struct kit *k);
} ways[] = {{"a bare call", bare},
            {"within a time", timed},
            {"within steps", stepped},
            {"a whole hook, with its two clocks and its note", hook},
            {"… that returns nil", hook_untold},
            {"… and tells the line of its return", hook_told}};

#define WAYS ((int)(sizeof ways / sizeof ways[0]))

/* Takes the script of a set as it was loaded, with or without what tells lines. */
static void open_set(struct setkit *sets, struct kit *k, bool tells)
{
    setkit_open(sets);
    setkit_write(sets, "route.lua", "return function(req) return nil end\n");
    setkit_assert_loads(sets);
    for (size_t i = 0; i < sets->set->n_files && !tells; i++) {
        struct np_set_file *f = &sets->set->files[i];
        if (f->mark)
            f->bytecode = f->unmarked;
        f->mark = NULL;
    }
    kit_open(k, true, (const char *const[]){NULL});
    k->s = np_script_new(sets->set, &k->powers, true);
    ck_assert_ptr_nonnull(k->s);
    np_hook_route(k->s, k->x, &k->rep);
    ck_assert_uint_eq(k->x->notes[0].line, tells ? 1 : 0);
}

START_TEST(a_call_within_the_limit_costs_little_more_than_a_bare_one)
{
    struct kit k;
    struct setkit sets[2];
    double least[WAYS] = {0};
    open_set(&sets[0], &untold, false);
    open_set(&sets[1], &told, true);
    kit_open(&k, true, (const char *const[]){"route.lua", "return function(req) end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    lua_State *L = k.s->state.L;
    /* The script has kept its own message handler at 1. */
    ck_assert_int_eq(k.s->handler, 1);
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
        np_script_idle(untold.s);
        np_script_idle(told.s);
    }
    for (int i = 0; i < WAYS; i++)
        printf("%6.1f ns, %+6.1f ns, %.2f times: %s\n", least[i], least[i] - least[0],
               least[i] / least[0], ways[i].name);
    printf("%6.1f ns: what it costs to tell the line\n", least[WAYS - 1] - least[WAYS - 2]);
    lua_pop(L, 1);
    kit_close(&k);
    kit_close(&untold);
    kit_close(&told);
    setkit_close(&sets[0]);
    setkit_close(&sets[1]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("limiter");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_call_within_the_limit_costs_little_more_than_a_bare_one);
    return kit_run(tc);
}
