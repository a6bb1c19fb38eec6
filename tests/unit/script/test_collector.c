/* No collection runs inside a hook, whatever it does with memory: an object that nobody holds, whose finalizer
 * tells, outlives every hook. */
#include "script/kit.h"

#include <lauxlib.h>

#include "script/script.h"

static int told;

static int tell(lua_State *L)
{
    (void)L;
    told++;
    return 0;
}

static void leave_a_witness(lua_State *L)
{
    lua_newuserdatauv(L, 16, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, tell);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    told = 0;
}

static const struct {
    const char *body;
    int failure; /* -1: none */
} hooks[] = {
    {"for i = 1, 20000 do local _ = { i } end", -1},
    {"for i = 1, 20 do local _ = ('x'):rep(100000) .. i end", -1},
    {"local t = {} for i = 1, 1e9 do t[i] = { i } end", KIT_MEMORY},
    {"while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = { i } end end) end",
     KIT_MEMORY},
    {"local s = ('x'):rep(2500000) return s .. s", KIT_MEMORY},
    {"local s = ('x'):rep(2500000) while true do pcall(function() return s .. s end) end",
     KIT_MEMORY},
    {"local s = 'x' while true do s = s .. s end", KIT_MEMORY},
    {"return (('x'):rep(100000):gsub('x', ('y'):rep(60)))", KIT_MEMORY},
    {"local t = {} for i = 1, 60 do t[i] = ('x'):rep(100000) end return table.concat(t)",
     KIT_MEMORY},
    {"xpcall(function() local t = {} while true do t = { t } end end, function() while true do end end)",
     KIT_MEMORY},
};

START_TEST(no_collection_runs_inside_a_hook)
{
    struct kit k;
    char source[1024];
    snprintf(source, sizeof source, "return function()\n%s\nend", hooks[_i].body);
    kit_open(&k, false, (const char *const[]){"route.lua", source, NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    leave_a_witness(k.s->state.L);
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_msg(told == 0, "a collection ran");
    bool failed = k.rep.result == NP_HOOK_FAILED;
    ck_assert_msg(failed == (hooks[_i].failure >= 0), "%s", k.rep.error);
    if (failed)
        ck_assert_int_eq(k.rep.failure, hooks[_i].failure);
    lua_gc(k.s->state.L, LUA_GCCOLLECT);
    ck_assert_int_eq(told, 1);
    kit_close(&k);
}
END_TEST

START_TEST(between_requests_garbage_is_collected)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"route.lua",
                                   "return function() for i = 1, 2000 do local _ = { i } end end",
                                   NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    leave_a_witness(k.s->state.L);
    for (int i = 0; i < 1000 && told == 0; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        k.x->hooks_ns = 0;
        ck_assert_int_eq(told, 0);
        np_script_idle(k.s);
    }
    ck_assert_int_eq(told, 1);
    kit_close(&k);
}
END_TEST

/* As when many requests come in one turn: nothing steps the collector between their hooks. */
START_TEST(a_hook_has_its_memory_whatever_those_before_it_left)
{
    struct kit k;
    kit_hook(&k, "route.lua", "return function() local _ = ('x'):rep(3900000) end");
    for (int i = 0; i < 20; i++) {
        np_hook_route(k.s, k.x, &k.rep);
        ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "call %d: %s", i, k.rep.error);
    }
    kit_close(&k);
}
END_TEST

/* Where the set itself keeps too much, each call would look at all of it for nothing. */
START_TEST(what_a_set_keeps_is_not_collected_again_and_again)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "local kept = {}\n"
             "return function() if #kept < 25 then kept[#kept + 1] = ('x'):rep(400000) end\n"
             "local _ = ('x'):rep(500000) end");
    int collections = 0;
    for (int i = 0; i < 200; i++) {
        size_t before = k.s->state.full_bytes;
        np_hook_route(k.s, k.x, &k.rep);
        collections += k.s->state.full_bytes < before;
        np_script_idle(k.s);
    }
    ck_assert_uint_gt(np_script_bytes(k.s), 8u << 20);
    ck_assert_int_gt(collections, 5);
    ck_assert_int_lt(collections, 30);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("collector");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, no_collection_runs_inside_a_hook, 0, sizeof hooks / sizeof hooks[0]);
    tcase_add_test(tc, a_hook_has_its_memory_whatever_those_before_it_left);
    tcase_add_test(tc, what_a_set_keeps_is_not_collected_again_and_again);
    tcase_add_test(tc, between_requests_garbage_is_collected);
    return kit_run(tc);
}
