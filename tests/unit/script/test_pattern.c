/* The matcher against Lua's own: the same results on everything, but it can be stopped. */
#include <check.h>
#include <lauxlib.h>
#include <lualib.h>

#include "script/kit.h"
#include "script/sandbox.h"
#include "script/state.h"

#define ROUNDS 20000

/* own and stock are the two sets of functions; prints the call at which they part. */
static const char differ[] =
    "local own, stock, seed, rounds = ...\n"
    "math.randomseed(seed)\n"
    "local bits = {'a', 'b', 'c', '%a', '%d', '%s', '.', '[ab]', '[^a]', '[%w_]', '[a-c]', '%%',\n"
    "  '(', ')', '()', '*', '+', '-', '?', '^', '$', '%1', '%2', '%b()', '%bab', '%f[a]', '%f[%W]',\n"
    "  '[', ']', '%', '[]]', '[^]]', '[a-]', '%.', ' ', '1', '\\0', '[\\0-a]', '%f', '%b', 'é'}\n"
    "local chars = {'a', 'b', 'c', ' ', '1', '(', ')', '%', '.', '\\0', 'A', '_', ']', 'é'}\n"
    "local function join(from, most)\n"
    "  local t = {}\n"
    "  for i = 1, math.random(0, most) do t[i] = from[math.random(#from)] end\n"
    "  return table.concat(t)\n"
    "end\n"
    "local function collect(lib, s, p, init)\n"
    "  local t = {}\n"
    "  for a, b in lib.gmatch(s, p, init) do t[#t + 1] = tostring(a) .. ':' .. tostring(b) end\n"
    "  return table.concat(t, ',')\n"
    "end\n"
    "local subs = {'x', '%0%0', '<%1>', '%2', '%%', '%', '%x', 7, {a = 'A', b = false, ab = 1}, {a = {}},\n"
    "  function(a, b) return b or a end, function() end, function() return {} end}\n"
    "local kinds = {\n"
    "  function(lib, s, p, i) return lib.find(s, p, i) end,\n"
    "  function(lib, s, p, i) return lib.match(s, p, i) end,\n"
    "  function(lib, s, p, i) return lib.find(s, p, i, true) end,\n"
    "  function(lib, s, p, i) return collect(lib, s, p, i) end,\n"
    "  function(lib, s, p, i, r) return lib.gsub(s, p, r) end,\n"
    "  function(lib, s, p, i, r) return lib.gsub(s, p, r, i) end,\n"
    "}\n"
    "local function show(...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = tostring(t[i]):gsub('^[^:]*:%d+: ', ''):gsub(\"to '%a+'\", '') end\n"
    "  return table.concat(t, ' | ')\n"
    "end\n"
    "for _ = 1, rounds do\n"
    "  local s, p = join(chars, 12), join(bits, 6)\n"
    "  local init = math.random(5) == 1 and math.random(-15, 15) or nil\n"
    "  local kind, r = kinds[math.random(#kinds)], subs[math.random(#subs)]\n"
    "  local got, want = show(pcall(kind, own, s, p, init, r)), show(pcall(kind, stock, s, p, init, r))\n"
    "  if got ~= want then\n"
    "    error(('%q %q %s %s: got %s, wanted %s'):format(s, p, init, tostring(r), got, want), 0)\n"
    "  end\n"
    "end\n";

START_TEST(random_patterns_give_what_stock_lua_gives)
{
    struct np_state *st = np_state_new_sandboxed(NULL);
    ck_assert_ptr_nonnull(st);
    lua_State *L = st->L;
    ck_assert_int_eq(luaL_loadstring(L, differ), LUA_OK);
    lua_newtable(L);
    np_pattern_set(L);
    lua_State *other = luaL_newstate();
    luaL_openlibs(other);
    /* The stock functions have no upvalues: the pointers serve in any state. */
    lua_newtable(L);
    static const char *const names[] = {"find", "match", "gmatch", "gsub"};
    lua_getglobal(other, "string");
    for (int i = 0; i < 4; i++) {
        lua_getfield(other, -1, names[i]);
        lua_pushcfunction(L, lua_tocfunction(other, -1));
        lua_setfield(L, -2, names[i]);
        lua_pop(other, 1);
    }
    lua_pushinteger(L, _i + 1);
    lua_pushinteger(L, ROUNDS);
    ck_assert_msg(np_state_call_trusted(st, 4, 0), "%s", st->fault.text);
    lua_close(other);
    np_state_free(st);
}
END_TEST

/* Every one takes hours, or for ever, with stock Lua. */
static const char *const slow[] = {
    "local s = ('a '):rep(10) .. (' '):rep(200000) .. 'x' return s:match('^%s*(.-)%s*$')",
    "local s = (' '):rep(200000) .. 'x' for _ = 1, 9 do s:find('%s+$') end",
    "local s = ('a.'):rep(100000) s:find('[%w._]+@[%w.]+')",
    "local s = ('a'):rep(30) s:match(('a?'):rep(30) .. ('a'):rep(31))",
    "local s = ('a'):rep(100000) s:match('.-.-.-.-b')",
    "local s = ('('):rep(400000) for m in s:gmatch('%b()') do end",
    "local s = ('ab'):rep(100000) s:match('(.-)(.-)%2%1$x')",
    "local s = ('ab'):rep(100000) s:gsub('.*c', '')",
    "local s = ('a'):rep(400000) for _ = 1, 1000 do s:find('%f[b]b') end",
};

START_TEST(a_match_without_an_end_is_stopped)
{
    struct kit k;
    char source[1024];
    snprintf(source, sizeof source, "return function()\n%s\nend", slow[_i / 2]);
    kit_open(&k, _i % 2, (const char *const[]){"route.lua", source, NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_failed(&k, KIT_TIME, "route.lua:2: stopped");
    kit_close(&k);
}
END_TEST

START_TEST(plain_text_is_found_in_linear_time)
{
    struct kit k;
    kit_route(&k,
              "local s = ('a'):rep(1000000) assert(not s:find(('a'):rep(500000) .. 'b', 1, true))"
              " return {'claude'}");
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pattern");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, random_patterns_give_what_stock_lua_gives, 0, 5);
    tcase_add_loop_test(tc, a_match_without_an_end_is_stopped, 0,
                        2 * (int)(sizeof slow / sizeof slow[0]));
    tcase_add_test(tc, plain_text_is_found_in_linear_time);
    return kit_run(tc);
}
