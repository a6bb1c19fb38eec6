/* The limits of a hook: nothing that a policy does goes on past them, and the state serves on. Every
 * attack runs twice, bounded by steps and by time. */
#include "script/kit.h"

#include <lauxlib.h>
#include <time.h>

#include "script/script.h"

/* CPU time that a stopped hook may have taken: 10 ms, and room for sanitizers and busy machines. */
#define STOPPED_NS (100 * NP_NS_PER_MS)

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
}

static const char *const endless[] = {
    "while true do end",
    "for i = 1, math.huge do end",
    "while true do pcall(error) end",
    "local function f() pcall(f) pcall(f) end while true do f() end",
    "while true do pcall(function() while true do end end) end",
    "xpcall(error, function() while true do end end)",
    "while true do xpcall(error, function() end) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "local function f(n) if n > 0 then pcall(f, n - 1) pcall(f, n - 1) end end f(200)",
    "repeat local t = setmetatable({}, {__index = function() end}) local _ = t.x until false",
    "while true do tostring(setmetatable({}, {__tostring = function() return 'x' end})) end",
    "while true do ('x'):gsub('.', type) end",
    "while true do string.format('%99.99f', 1e300) end",
    "while true do table.sort({3, 2, 1}, function(a, b) return a < b end) end",
    "do local x <close> = setmetatable({}, {__close = function() while true do end end}) end",
    "local function again() local x <close> = setmetatable({}, {__close = again}) while true do end end"
    " again()",
    "while true do json.encode({1, 2, 3}) end",
    "local s = json.encode(('x'):rep(100000)) while true do json.decode(s) end",
    "while true do tokens(('x'):rep(100000)) end",
    "while true do local _ = req.prompt_tokens, req.metadata.tier end",
    "while true do select('#', table.unpack({}, 1, 60000)) end",
    "local t = {} for i = 1, 60000 do t[i] = i end while true do table.move(t, 1, 60000, 2) end",
    "local t = {} for i = 1, 60000 do t[i] = i % 7 end while true do table.sort(t) end",
    "local a, b, t = ('x'):rep(1000000) .. 1, ('x'):rep(1000000) .. 2, {}"
    " for i = 1, 900 do t[i] = i % 2 == 0 and a or b end"
    " while true do table.sort(t) end",
    "while true do utf8.len(('x'):rep(100000)) end",
    "while true do local _ = ('x'):rep(100000):upper():reverse() end",
    "for k in pairs(setmetatable({}, {__pairs = function() return function() return 1 end end})) do end",
    "while true do next({}) end",
    "while true do pcall(coroutine) pcall(pcall, pcall, pcall, error) end",
    "while true do template('busy', {name = ('x'):rep(10000)}) end",
    "while true do pick{'claude', 'gpt-4.1'} end",
    "return setmetatable({}, {__len = function() while true do end end,"
    " __index = function() while true do end end}), 5 + #setmetatable({}, {__len = function() while "
    "true do end end})",
};

static void run_endless(const char *body, bool timed)
{
    struct kit k;
    char source[2048];
    snprintf(source, sizeof source,
             "local calls = 0\nreturn function(req)\n"
             "calls = calls + 1 if calls == 2 then return {'claude'} end\n%s\nend",
             body);
    kit_open(&k, timed, (const char *const[]){"route.lua", source, NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    uint64_t start = cpu_ns();
    np_hook_route(k.s, k.x, &k.rep);
    uint64_t took = cpu_ns() - start;
    ck_assert_int_eq(k.rep.result, NP_HOOK_FAILED);
    /* Some are stopped by the memory that one call may take. */
    if (k.rep.failure != KIT_MEMORY)
        kit_assert_failed(&k, KIT_TIME, "route.lua:");
    if (timed)
        ck_assert_msg(took < STOPPED_NS, "%s: %.1f ms", body, (double)took / 1e6);
    if (k.rep.failure == KIT_TIME) {
        ck_assert(!np_script_spoiled(k.s));
        np_hook_route(k.s, k.x, &k.rep);
        kit_assert_gave(&k);
    } else {
        ck_assert(np_script_spoiled(k.s));
    }
    kit_close(&k);
}

START_TEST(an_endless_hook_is_stopped_by_steps)
{
    run_endless(endless[_i], false);
}
END_TEST

START_TEST(an_endless_hook_is_stopped_in_time)
{
    run_endless(endless[_i], true);
}
END_TEST

START_TEST(the_first_strike_is_told_with_its_line)
{
    struct kit k;
    kit_route(&k, "local n = 0\nlocal function spin()\nwhile true do n = n + 1 end end\n"
                  "while true do pcall(spin) end");
    kit_assert_failed(&k, KIT_TIME, "route.lua:4: stopped: it took more steps");
    ck_assert(np_span_is(k.x->notes[0].returned, "failed: time"));
    kit_close(&k);
}
END_TEST

START_TEST(steps_give_the_same_verdict_each_time)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "return function() for i = 1, 100000 do local x = i * 2 end return {'claude'} end");
    for (int i = 0; i < 20; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        kit_assert_gave(&k);
        k.x->hooks_ns = 0;
        k.x->n_notes = 0;
    }
    kit_close(&k);
}
END_TEST

START_TEST(a_request_has_a_limit_for_all_of_its_hooks)
{
    struct kit k;
    kit_open(&k, true,
             (const char *const[]){"route.lua", "return function() while true do end end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    uint64_t start = cpu_ns();
    for (int i = 0; i < 24; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        kit_assert_failed(&k, KIT_TIME, "");
    }
    ck_assert_msg(cpu_ns() - start < 250 * NP_NS_PER_MS, "%.1f ms",
                  (double)(cpu_ns() - start) / 1e6);
    ck_assert_msg(strstr(k.rep.error, "used up their time"), "%s", k.rep.error);
    kit_close(&k);
}
END_TEST

/* A function without a bound, which no list of ours has. */
static int burn(lua_State *L)
{
    uint64_t end = cpu_ns() + (uint64_t)lua_tointeger(L, lua_upvalueindex(1)) * NP_NS_PER_MS;
    while (cpu_ns() < end)
        continue;
    return 0;
}

static int doze(lua_State *L)
{
    (void)L;
    struct timespec left = {.tv_nsec = 30000000};
    while (nanosleep(&left, &left))
        continue;
    return 0;
}

static void burn_in_route(struct kit *k, int ms)
{
    lua_State *L = k->s->state.L;
    lua_pushinteger(L, ms);
    lua_pushcclosure(L, burn, 1);
    k->s->hook[NP_HOOK_route] = luaL_ref(L, LUA_REGISTRYINDEX);
    k->x->hooks_ns = 0;
    np_hook_route(k->s, k->x, &k->rep);
}

START_TEST(a_hook_that_overruns_by_more_than_20_ms_says_so)
{
    struct kit k;
    kit_open(&k, true, (const char *const[]){"route.lua", "return function(req) end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    burn_in_route(&k, 40);
    ck_assert(k.rep.stalled);
    ck_assert_uint_ge(k.x->hooks_ns, 40 * NP_NS_PER_MS);
    ck_assert_int_eq(k.rep.result, NP_HOOK_FAILED);
    burn_in_route(&k, 0);
    ck_assert(!k.rep.stalled);
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    kit_close(&k);
}
END_TEST

START_TEST(time_in_which_the_thread_did_not_run_is_not_charged)
{
    struct kit k;
    kit_open(&k, true, (const char *const[]){"route.lua", "return function(req) end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    lua_pushcfunction(k.s->state.L, doze);
    k.s->hook[NP_HOOK_route] = luaL_ref(k.s->state.L, LUA_REGISTRYINDEX);
    for (int i = 0; i < 5; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
        ck_assert_uint_ge(k.rep.ns, 30 * NP_NS_PER_MS);
    }
    ck_assert_uint_lt(k.x->hooks_ns, 15 * NP_NS_PER_MS);
    kit_close(&k);
}
END_TEST

static const char *const greedy[] = {
    "local t = {} for i = 1, 1e7 do t[i] = i end",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e7 do t[i] = {} end",
    "pcall(function() local s = 'x' while true do s = s .. s end end) return {'claude'}",
    "xpcall(function() local s = 'x' while true do s = s .. s end end, type) return {'claude'}",
    "local t = {} for i = 1, 9 do t[i] = ('x'):rep(1000000 + i) end",
};

START_TEST(memory_without_end_fails_and_spoils_the_state)
{
    struct kit k;
    kit_route(&k, greedy[_i]);
    kit_assert_failed(&k, KIT_MEMORY, "memory");
    ck_assert(np_script_spoiled(k.s));
    ck_assert_uint_le(np_script_bytes(k.s), (size_t)16 << 20);
    kit_close(&k);
}
END_TEST

START_TEST(a_cache_that_grows_with_each_request_ends_in_a_new_state)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "local cache = {}\n"
             "return function(req) cache[#cache + 1] = ('x'):rep(100000 + #cache) end");
    int calls = 0;
    while (!np_script_spoiled(k.s)) {
        ck_assert_int_lt(++calls, 1000);
        np_hook_route(k.s, k.x, &k.rep);
        np_script_idle(k.s);
        k.x->n_notes = 0;
    }
    ck_assert_int_eq(k.rep.failure, KIT_MEMORY);
    ck_assert_int_gt(calls, 100);
    np_script_free(k.s);
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    kit_close(&k);
}
END_TEST

START_TEST(garbage_is_gathered_between_requests)
{
    struct kit k;
    size_t most = 0;
    kit_hook(&k, "route.lua",
             "return function(req) local t = {} for i = 1, 100 do t[i] = {i} end end");
    for (int i = 0; i < 8000; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
        most = np_script_bytes(k.s) > most ? np_script_bytes(k.s) : most;
        np_script_idle(k.s);
        k.x->n_notes = 0;
        k.x->hooks_ns = 0;
    }
    /* 64 MB went through it, and at no time was the state near its 16 MB. */
    printf("garbage: at most %zu KB\n", most >> 10);
    ck_assert_uint_lt(most, (size_t)4 << 20);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("limits");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, an_endless_hook_is_stopped_by_steps, 0,
                        sizeof endless / sizeof endless[0]);
    tcase_add_loop_test(tc, an_endless_hook_is_stopped_in_time, 0,
                        sizeof endless / sizeof endless[0]);
    tcase_add_test(tc, the_first_strike_is_told_with_its_line);
    tcase_add_test(tc, steps_give_the_same_verdict_each_time);
    tcase_add_test(tc, a_hook_that_overruns_by_more_than_20_ms_says_so);
    tcase_add_test(tc, time_in_which_the_thread_did_not_run_is_not_charged);
    tcase_add_test(tc, a_request_has_a_limit_for_all_of_its_hooks);
    tcase_add_loop_test(tc, memory_without_end_fails_and_spoils_the_state, 0,
                        sizeof greedy / sizeof greedy[0]);
    tcase_add_test(tc, a_cache_that_grows_with_each_request_ends_in_a_new_state);
    tcase_add_test(tc, garbage_is_gathered_between_requests);
    return kit_run(tc);
}
