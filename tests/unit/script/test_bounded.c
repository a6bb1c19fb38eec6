/* What policies have in place of functions of Lua's libraries, against those: the same results whatever they
 * are given, the least and the greatest integers too, unless they refuse it as too much. */
#include "script/kit.h"

#include <lauxlib.h>

#include "script/state.h"

#define CALLS 20
#define ROUNDS 250

/* own: what policies see; prints the call at which the two part. */
static const char arguments[] =
    "local own, seed, rounds = ...\n"
    "math.randomseed(seed)\n"
    "local least, most = math.mininteger, math.maxinteger\n"
    "local kinds = {\n"
    "  i = { least, least + 1, -(1 << 53), -(1 << 32), -65537, -65536, -6, -5, -2, -1, 0, 1, 2, 3, 5, 6,\n"
    "    65535, 65536, 65537, (1 << 31) - 1, 1 << 31, 1 << 32, most - 65536, most - 1, most, 2.0, -0.0,\n"
    "    1.5, 2^53, 2^63, -2^63, 1 / 0, 0 / 0, '3', '-1', 'x', {}, true },\n"
    "  s = { '', 'a', 'hello', 'é', 'aé\\x80z', '\\0', 'a\\0b', ('x'):rep(30), ('é'):rep(40000), '10',\n"
    "    ' 0x7f ', '1e3', '-9223372036854775808', '9223372036854775808', 7, 2^63, {} },\n"
    "  f = { '%d', '%5.2f', '%s', '%q', '%x', '%c', '%i', '%g', '%a', '%%', '%-20s|', '%099d', '%.99f', '%',\n"
    "    '%y', '%#x', '% d', 'x' },\n"
    "  p = { 'b', 'B', 'h', 'i', 'i1', 'i16', 'i17', 'j', 'J', 'n', 's', 's1', 'z', 'x', 'X', 'Xi8', '!', '!4',\n"
    "    '!16', '!17', '<', '>', '=', ' ', 'c0', 'c5', 'c70000', 'c99999999999999999999', 'd', 'I3', '%' },\n"
    "  b = { true, false, 'x' },\n"
    "}\n"
    "local calls = {\n"
    "  { 'string', 'rep', 's', 'i', 's' }, { 'string', 'sub', 's', 'i', 'i' }, { 'string', 'byte', 's', 'i' },\n"
    "  { 'string', 'format', 'f', 'i', 's' }, { 'string', 'format', 'f', 's' }, { 'string', 'pack', 'p', 'i', 's' },\n"
    "  { 'string', 'pack', 'p', 's', 'i' }, { 'string', 'packsize', 'p' }, { 'string', 'unpack', 'p', 's', 'i' },\n"
    "  { 'string', 'upper', 's' }, { 'string', 'lower', 's' }, { 'string', 'reverse', 's' },\n"
    "  \n"
    "  { 'string', 'char', 'i', 'i' },\n"
    "  { 'utf8', 'len', 's', 'i', 'i', 'b' }, { 'utf8', 'offset', 's', 'i', 'i' }, { 'utf8', 'char', 'i', 'i' },\n"
    "  { 'utf8', 'codepoint', 's', 'i', 'i', 'b' }, { 'table', 'concat', 't', 's', 'i', 'i' },\n"
    "  { 'table', 'insert', 't', 'i', 's' }, { 'table', 'insert', 't', 's' }, { 'table', 'remove', 't', 'i' },\n"
    "  { 'table', 'move', 't', 'i', 'i', 'i', 't' }, { 'table', 'unpack', 't', 'i', 'i' },\n"
    "  { 'table', 'sort', 't' }, { '_G', 'tonumber', 's', 'i' }, { '_G', 'select', 'i', 's', 's' },\n"
    "  { '_G', 'rawlen', 's' }, { '_G', 'rawget', 't', 'i' }, { '_G', 'next', 't', 'i' },\n"
    "}\n";
static const char differ[] =
    "local function tables()\n"
    "  return { {}, { 1 }, { 1, 2, 3, 4, 5 }, { 'b', 'a', 'c' }, { 1, nil, 3 }, { [most] = 'z', [least] = 'y' },\n"
    "    { [most - 1] = 1, [most] = 2 }, { 1, 'x' } }\n"
    "end\n"
    "local function shown(value)\n"
    "  if type(value) == 'string' then return #value > 50 and #value .. ':' .. value:sub(-9) or value end\n"
    "  if type(value) ~= 'table' then return type(value) == 'function' and 'f' or tostring(value) end\n"
    "  local t, n = {}, 0\n"
    "  for _ in next, value do n = n + 1 end\n"
    "  if n > 50 then return n .. ': ' .. tostring(value[n]) .. tostring(value[1]) end\n"
    "  for k, v in next, value do t[#t + 1] = tostring(k) .. '=' .. tostring(v):gsub('0x%x+', '') end\n"
    "  table.sort(t)\n"
    "  return '{' .. table.concat(t, ',') .. '}'\n"
    "end\n"
    "local function show(args, ...)\n"
    "  local t = table.pack(...)\n"
    "  if not t[1] then return 'an error', tostring(t[2]) end\n"
    "  for i = 1, t.n do t[i] = shown(t[i]) end\n"
    "  for i = 1, args.n do t[#t + 1] = shown(args[i]) end\n"
    "  return table.concat(t, ' | ')\n"
    "end\n"
    "local function given(call, dice)\n"
    "  local args = { n = #call - 2 }\n"
    "  for i = 1, args.n do\n"
    "    local kind = call[i + 2]\n"
    "    local list = kind == 't' and tables() or kinds[kind]\n"
    "    args[i] = list[dice[i] % #list + 1]\n"
    "  end\n"
    "  while args.n > 1 and dice[args.n] % 4 == 0 do args[args.n], args.n = nil, args.n - 1 end\n"
    "  return args\n"
    "end\n"
    "local function is_bound(why)\n"
    "  return why:find('more than', 1, true) or why:find('too large', 1, true)\n"
    "    or why == 'not enough memory'\n"
    "end\n"
    "local bounds = 0\n"
    "for _ = 1, rounds do\n"
    "  local call, dice = calls[math.random(#calls)], {}\n"
    "  for i = 1, 6 do dice[i] = math.random(1 << 20) end\n"
    "  local function run(functions)\n"
    "    local args = given(call, dice)\n"
    "    local library = call[1] == '_G' and functions or functions[call[1]]\n"
    "    return show(args, pcall(library[call[2]], table.unpack(args, 1, args.n)))\n"
    "  end\n"
    "  local got, why = run(own)\n"
    "  if why and is_bound(why) or call[2] == 'tonumber' and #tostring(given(call, dice)[1]) > 65536 then\n"
    "    bounds = bounds + 1\n"
    "  else\n"
    "    local want, said = run(_G)\n"
    "    if got ~= want and said ~= 'not enough memory' then\n"
    "      error(('%s.%s of %s: got %s (%s), wanted %s (%s)'):format(call[1], call[2],\n"
    "        show(given(call, dice), true), got, why, want, said), 0)\n"
    "    end\n"
    "  end\n"
    "end\n"
    "assert(bounds < rounds // 2, bounds)\n";

START_TEST(extreme_arguments_give_what_stock_lua_gives)
{
    struct np_state *st = np_state_new_sandboxed(NULL);
    ck_assert_ptr_nonnull(st);
    lua_pushstring(st->L, arguments);
    lua_pushstring(st->L, differ);
    lua_concat(st->L, 2);
    ck_assert_int_eq(luaL_loadstring(st->L, lua_tostring(st->L, -1)), LUA_OK);
    /* Each has its memory anew. */
    for (int i = 0; i < CALLS; i++) {
        lua_pushvalue(st->L, -1);
        lua_rawgeti(st->L, LUA_REGISTRYINDEX, st->env);
        lua_pushinteger(st->L, _i * CALLS + i);
        lua_pushinteger(st->L, ROUNDS);
        ck_assert_msg(np_state_call_trusted(st, 3, 0), "%s", st->fault.text);
    }
    np_state_free(st);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("bounded");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, extreme_arguments_give_what_stock_lua_gives, 0, 4);
    return kit_run(tc);
}
