/* What policies can see and do, and what they can't. */
#include "script/kit.h"

#include <lauxlib.h>

/* Everything that is within reach by name; `?` marks what must not be there. */
static const char *const names[] = {
    "assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen require select "
    "setmetatable tonumber tostring type xpcall _VERSION",
    "string.byte string.char string.find string.format string.gmatch string.gsub string.len "
    "string.lower string.match string.pack string.packsize string.rep string.reverse string.sub "
    "string.unpack string.upper",
    "table.concat table.insert table.move table.pack table.remove table.sort table.unpack",
    "math.abs math.floor math.huge math.max math.maxinteger math.pi math.random math.sqrt "
    "math.tointeger math.type math.ult",
    "utf8.char utf8.charpattern utf8.codepoint utf8.codes utf8.len utf8.offset",
    "stats.p95 stats.error_rate stats.cost_usd stats.burn breaker.state budget.remaining tokens "
    "backoff pick template shared.get shared.set shared.incr random now_ms log.debug log.info "
    "log.warn log.error json.encode json.decode",
    "? coroutine load loadstring loadfile dofile rawset collectgarbage debug os io print package "
    "string.dump math.randomseed _G warn env file json.array",
};

START_TEST(the_list_of_names_is_what_the_contract_says)
{
    struct kit k;
    char source[2048];
    bool absent = names[_i][0] == '?';
    snprintf(source, sizeof source,
             "for name in ('%s'):gmatch('[%%w_.]+') do\n"
             "  local v = nil\n"
             "  local lib, field = name:match('^(%%w+)%%.([%%w_]+)$')\n"
             "  if lib then v = ALL[lib][field] else v = ALL[name] end\n"
             "  if (v == nil) ~= %s then error(name) end\n"
             "end",
             names[_i] + (absent ? 2 : 0), absent ? "true" : "false");
    char whole[4096];
    snprintf(whole, sizeof whole, "local ALL = _ENV\nreturn function() %s end", source);
    kit_hook(&k, "route.lua", whole);
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "%s", k.rep.error);
    kit_close(&k);
}
END_TEST

/* Each must come to its end without an error. */
static const char *const fine[] = {
    "local C = {} C.__index = C function C.get(self) return self.v end\n"
    "local o = setmetatable({v = 5}, C) assert(o:get() == 5 and getmetatable(o) == C)",
    "local t = setmetatable({}, {__index = function(_, k) return k .. '!' end}) assert(t.a == 'a!')",
    "local t = setmetatable({}, {__call = function(_, x) return x + 1 end}) assert(t(1) == 2)",
    "local t = setmetatable({}, {__metatable = 'mine'}) assert(getmetatable(t) == 'mine')\n"
    "assert(not pcall(setmetatable, t, {}))",
    "local t = setmetatable({}, {}) setmetatable(t, nil) assert(getmetatable(t) == nil)",
    "local m = {} local t = setmetatable({}, m) m.__index = {x = 1} assert(t.x == nil)",
    "assert(not pcall(setmetatable, {}, {__gc = function() end}))",
    "assert(not pcall(setmetatable, {}, {__gc = true}))",
    "for at = 65530, 65542, 3 do\n"
    "  local s = ('x'):rep(at) .. 'é\\u{10ffff}' .. ('y'):rep(70000)\n"
    "  assert(utf8.len(s) == at + 70002 and utf8.len(s, 2, -2) == at + 70000)\n"
    "  local n, where = utf8.len(('x'):rep(at) .. '\\x80' .. ('y'):rep(70000))\n"
    "  assert(n == nil and where == at + 1)\n"
    "end",
    "local n, where = utf8.len(('é'):rep(40000) .. ('\\x80'):rep(70000))\n"
    "assert(n == nil and where == 80001)",
    "assert(utf8.len('aé') == 2 and utf8.len('') == 0 and not pcall(utf8.len, 'x', 9))"
    "for _, i in ipairs({math.mininteger, math.mininteger + 1, math.maxinteger}) do\n"
    "  for _, s in ipairs({'', 'aé', ('x'):rep(70000)}) do\n"
    "    local ok = pcall(utf8.len, s, 1, i)\n"
    "    assert(ok == (i < 0), 'an end at ' .. i)\n"
    "    assert(not pcall(utf8.len, s, i), 'a beginning at ' .. i)\n"
    "  end\n"
    "end",
    "assert(table.concat({1, 2.5, 'x'}, '-') == '1-2.5-x' and table.concat({}) == '')\n"
    "assert(table.concat({'a', 'b'}, ',', 2, 2) == 'b' and table.concat({'a'}, ',', 2) == '')\n"
    "local good, e = pcall(table.concat, {1, {}, 3})\n"
    "assert(not good and e:find('invalid value (at index 2)', 1, true))",
    "assert('a\\0a' < 'a\\0b' and 'a' < 'a\\0' and not ('a\\0b' < 'a\\0a') and 'Z' < 'a')\n"
    "assert('' < '\\0' and '\\0' <= '\\0' and 'a\\0\\0' < 'a\\0\\1' and 'z' < 'ä')",
    "assert(('aZ\\0é'):upper() == 'AZ\\0é' and ('aZ'):lower() == 'az' and ('ab\\0'):reverse() == '\\0ba')\n"
    "assert(('x'):rep(70000):upper() == ('X'):rep(70000) and (''):reverse() == '')",
    "assert('10' + 1 == 11 and '0x10' * 1 == 16 and -'2' == -2 and 10 // '3' == 3 and '7' % 4 == 3)\n"
    "assert(not pcall(function() return ((' '):rep(70000) .. 1) + 1 end) and not pcall(function() return 'x' + 1 end))",
    "assert(('%5.1f|%-4s|%q|%%'):format(1.25, 'a', 'b') == '  1.2|a   |\"b\"|%')",
    "assert(tonumber('ff', 16) == 255 and tonumber('x') == nil and tonumber(('1'):rep(70000)) == nil)",
    "assert(not pcall(setmetatable, {}, {__concat = function() end}))",
    "local m = {} local t = setmetatable({}, m) getmetatable(t).__concat = function() end\n"
    "assert(not pcall(function() return t .. 'x' end))",
    "assert(getmetatable('') == false and getmetatable(string) == false)",
    "assert(getmetatable(req) == false and getmetatable(req.metadata) == false)",
    "assert(not pcall(function() string.upper = nil end))",
    "assert(not pcall(function() _ENV.x = 1 end) and not pcall(function() y = 1 end))",
    "assert(not pcall(setmetatable, _ENV, {}) and not pcall(setmetatable, string, {}))",
    "assert(not pcall(setmetatable, req.metadata, {}) and not pcall(setmetatable, 'x', {}))",
    "assert(not pcall(table.insert, string, 'x') and rawget(string, 'upper') == nil)",
    "assert(not pcall(table.insert, setmetatable({}, {__len = function() return 5 end}), 'x'))",
    "assert(not pcall(table.unpack, setmetatable({}, {__index = type, __len = type}), 1, 5))",
    "assert(not pcall(table.move, {}, 1, 1e12, 2) and not pcall(table.unpack, {}, 1, 1e7))",
    "assert(not pcall(table.concat, {}, '', 1, 1e9))",
    "assert(not pcall(require, 'os') and not pcall(require, 'lib.none'))",
    "assert(not pcall(require, 'lib.../x') and not pcall(require, 'lib.a/b'))",
    "assert(('ab'):rep(3, '-') == 'ab-ab-ab' and (''):rep(1e15) == '' and ('x'):rep(-1) == '')",
    "assert(('x'):rep(0, 'y') == '' and ('x'):rep(1, 'y') == 'x' and (''):rep(3, ',') == ',,')",
    "assert(#('abc'):rep(100000) == 300000 and not pcall(string.rep, 'x', 5000000))",
    "local ok, e = pcall(error, {1}) assert(not ok and e[1] == 1)",
    "local ok, a, b = pcall(function(...) return ... end, 1, nil) assert(ok and a == 1 and b == nil)",
    "assert(select('#', pcall(function() end)) == 1)",
    "local ok, e = xpcall(function(x) error(x, 0) end, function(m) return m .. '!' end, 'bad')\n"
    "assert(not ok and e == 'bad!')",
    "local ok, a, b = xpcall(function(x, y) return y, x end, type, 1, 2)\n"
    "assert(ok and a == 2 and b == 1 and select('#', xpcall(function() end, type)) == 1)",
    "for i = 1, 100 do local r = math.random(6) assert(r >= 1 and r <= 6) end",
    "local r = math.random() assert(r >= 0 and r < 1 and math.random(3, 3) == 3)",
    "assert(not pcall(math.random, 2, 1) and math.type(math.random(0, -1 >> 1)) == 'integer')",
    "local t = {3, 1, 2} table.sort(t) assert(table.concat(t, ',') == '1,2,3')",
    "assert(table.remove({1, 2, 3}) == 3 and table.unpack({1, 2}) == 1)",
    "local t = json.decode('[1]') table.insert(t, 2) assert(json.encode(t) == '[1,2]')",
    "local n = 0 for k, v in next, {a = 1, b = 2} do n = n + v end assert(n == 3)",
    "assert(next({}) == nil and next({5}) == 1 and next(req.metadata.deep.x) == 1)",
    "local n, at = string.unpack('<I2', 'ab') assert(n == 0x6261 and at == 3)",
    "assert(#table.pack(1, 2, 3) == 3 and string.format('%5.1f|%s', 2.25, true) == '  2.2|true')",
};

START_TEST(this_runs_to_its_end)
{
    struct kit k;
    kit_route(&k, fine[_i]);
    ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "%s\n%s", fine[_i], k.rep.error);
    kit_close(&k);
}
END_TEST

START_TEST(libraries_are_loaded_once_and_see_each_other)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"lib/a.lua",
                                   "local b = require 'lib.b' b.n = b.n + 1 return {b = b}",
                                   "lib/b.lua", "return {n = 0}", "route.lua",
                                   "local a = require 'lib.a'\n"
                                   "return function() assert(require 'lib.a' == a)\n"
                                   "if a.b.n == 1 then return {'claude'} end end",
                                   NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

START_TEST(a_library_that_requires_itself_is_an_error)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"lib/a.lua", "return require 'lib.b'", "lib/b.lua",
                                   "return require 'lib.a'", "route.lua",
                                   "return function() require 'lib.a' end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_failed(&k, KIT_ERROR, "lib/a.lua requires itself, in a circle");
    kit_close(&k);
}
END_TEST

START_TEST(an_error_in_a_library_names_the_librarys_line)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"lib/a.lua", "return function(x)\nreturn x.y\nend", "route.lua",
                                   "return function() require('lib.a')(nil) end", NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_failed(&k, KIT_ERROR, "lib/a.lua:2: attempt to index a nil value");
    kit_close(&k);
}
END_TEST

/* Sets that must not become a script. */
static const char *const unloadable[] = {
    "return 5",
    "return function( end",
    "x = 1 return function() end",
    "while true do end",
    "stats.p95('x') return function() end",
    "local r = math.random() return function() end",
    "\27Lua",
};

START_TEST(a_set_with_a_hook_that_does_not_load_gives_no_script)
{
    struct kit k;
    kit_open(&k, false, (const char *const[]){"route.lua", unloadable[_i], NULL});
    ck_assert_ptr_null(kit_script(&k));
    kit_close(&k);
}
END_TEST

static int put(lua_State *L, const void *p, size_t n, void *out)
{
    (void)L;
    return np_buf_put(out, p, n) ? 1 : 0;
}

START_TEST(bytecode_is_loaded_where_the_set_has_it)
{
    struct kit k;
    kit_open(&k, false, (const char *const[]){"route.lua", "not Lua at all", NULL});
    lua_State *L = luaL_newstate();
    ck_assert_int_eq(luaL_loadstring(L, "return function(req) return {req.model} end"), LUA_OK);
    struct np_buf out;
    np_buf_init(&out, 65536);
    ck_assert_int_eq(lua_dump(L, put, &out, 0), 0);
    k.files[0].bytecode = np_buf_view(&out);
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    np_buf_free(&out);
    lua_close(L);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sandbox");
    tcase_add_loop_test(tc, the_list_of_names_is_what_the_contract_says, 0,
                        sizeof names / sizeof names[0]);
    tcase_add_loop_test(tc, this_runs_to_its_end, 0, sizeof fine / sizeof fine[0]);
    tcase_add_test(tc, libraries_are_loaded_once_and_see_each_other);
    tcase_add_test(tc, a_library_that_requires_itself_is_an_error);
    tcase_add_test(tc, an_error_in_a_library_names_the_librarys_line);
    tcase_add_loop_test(tc, a_set_with_a_hook_that_does_not_load_gives_no_script, 0,
                        sizeof unloadable / sizeof unloadable[0]);
    tcase_add_test(tc, bytecode_is_loaded_where_the_set_has_it);
    return kit_run(tc);
}
