/* JSON from and to Lua values. */

#include "script/json.h"
#include "script/kit.h"
#include "script/state.h"

static const struct {
    const char *expression, *json;
} texts[] = {
    {"nil", "null"},
    {"true", "true"},
    {"7", "7"},
    {"2^53 + 1", "9007199254740992"},
    {"9007199254740993", "9007199254740993"},
    {"math.mininteger", "-9223372036854775808"},
    {"0.1", "0.1"},
    {"1/3", "0.33333333333333331"},
    {"4.0", "4"},
    {"-0.5e-300", "-5e-301"},
    {"'a\"\\\\\\n\\0é'", "\"a\\\"\\\\\\n\\u0000é\""},
    {"{}", "{}"},
    {"{1, 'x', {}}", "[1,\"x\",{}]"},
    {"{b = 1, a = {c = false}, [\"\"] = 0}", "{\"\":0,\"a\":{\"c\":false},\"b\":1}"},
    {"json.decode('[]')", "[]"},
    {"json.decode('[[], {}, [null]]')", "[[],{},[null]]"},
    {"json.decode('{\"a\": null, \"b\": [1, 2.5, -3e2, 12345678901234567890]}')",
     "{\"b\":[1,2.5,-300,1.2345678901234567e+19]}"},
    {"json.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\\\\/\\\\b\"')", "\"é😀/\\b\""},
    {"json.decode('{\"a\\\\tb\": 1}')", "{\"a\\tb\":1}"},
    {"json.decode('  [1 , 2 ]\\n')", "[1,2]"},
    {"math.type(json.decode('4')) .. math.type(json.decode('4.0'))", "\"integerfloat\""},
    {"(function() local t = json.decode('[1]') t[1] = nil return t end)()", "[]"},
    {"(function() local t = {} for i = 1, 40 do t['k' .. i] = i end return #json.encode(t) end)()",
     "343"},
    {"json.null", "null"},
    {"json.encode(json.decode('{\"z\":1,\"a\":2}'))", "\"{\\\"a\\\":2,\\\"z\\\":1}\""},
};

START_TEST(values_and_texts_stand_for_each_other)
{
    struct kit k;
    char source[1024];
    snprintf(source, sizeof source, "return function() return {text = json.encode(%s)} end",
             texts[_i].expression);
    kit_hook(&k, "respond.lua", source);
    np_hook_respond(k.s, k.x, &k.verdict, &k.rep);
    kit_assert_gave(&k);
    ck_assert_msg(np_span_is(k.x->answer.text, texts[_i].json), "%s: got %.*s, wanted %s",
                  texts[_i].expression, (int)k.x->answer.text.n, k.x->answer.text.p,
                  texts[_i].json);
    kit_close(&k);
}
END_TEST

static const struct {
    const char *body, *needle;
    int failure;
} wrong[] = {
    {"json.encode(0/0)", "a number that is not finite", KIT_TYPE},
    {"json.encode(math.huge)", "a number that is not finite", KIT_TYPE},
    {"json.encode({1, 2, nil, 4})", "a list that also has names or holes", KIT_TYPE},
    {"json.encode({1, a = 2})", "a list that also has names or holes", KIT_TYPE},
    {"json.encode({[2] = 1})", "keys that are neither", KIT_TYPE},
    {"json.encode({[true] = 1})", "keys that are neither", KIT_TYPE},
    {"json.encode(print or type)", "a function", KIT_TYPE},
    {"json.encode(req)", "a userdata", KIT_TYPE},
    {"local t = {} t.t = t json.encode(t)", "too deep (or in a circle)", KIT_TYPE},
    {"json.encode()", "bad argument #1", KIT_TYPE},
    {"local t = {('x'):rep(1000000)} json.encode({t, t, t, t, t})", "more bytes than may be",
     KIT_TYPE},
    {"json.decode('{')", "json.decode: line 1, column 2:", KIT_ERROR},
    {"json.decode('[1]x')", "json.decode: line 1", KIT_ERROR},
    {"json.decode('')", "json.decode: line 1", KIT_ERROR},
    {"json.decode('NaN')", "json.decode: line 1", KIT_ERROR},
    {"json.decode(('['):rep(65) .. (']'):rep(65))", "json.decode: line 1", KIT_ERROR},
    {"json.decode('\"' .. ('x'):rep(300000) .. '\"')", "takes at most 262144 bytes", KIT_ERROR},
    {"json.decode('1e999')", "out of range", KIT_ERROR},
    {"json.decode({})", "bad argument #1", KIT_TYPE},
};

START_TEST(what_json_cant_hold_is_an_error)
{
    struct kit k;
    kit_route(&k, wrong[_i].body);
    kit_assert_failed(&k, wrong[_i].failure, wrong[_i].needle);
    ck_assert(!np_script_spoiled(k.s));
    kit_close(&k);
}
END_TEST

/* 13 tables that share parts: 10^12 bytes when written out. */
START_TEST(shared_parts_are_bounded_by_what_they_write)
{
    struct kit k;
    kit_route(&k, "local t = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}\n"
                  "for _ = 1, 12 do t = {t, t, t, t, t, t, t, t, t, t} end\n"
                  "json.encode(t)");
    ck_assert_int_eq(k.rep.result, NP_HOOK_FAILED);
    ck_assert_uint_lt(np_script_bytes(k.s), (size_t)16 << 20);
    kit_close(&k);
}
END_TEST

static int splice(lua_State *L)
{
    static const struct np_span raw = {"{\"kept\":  1.0}", 14};
    struct np_buf *out = lua_touserdata(L, 1);
    lua_newtable(L);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&raw);
    lua_setfield(L, -2, "a");
    ck_assert(np_ljson_encode(L, -1, out, 4));
    return 0;
}

START_TEST(adapters_splice_raw_json)
{
    struct np_state *st = np_state_new_sandboxed(NULL);
    struct np_buf out;
    np_buf_init(&out, 100);
    lua_pushcfunction(st->L, splice);
    lua_pushlightuserdata(st->L, &out);
    ck_assert_msg(np_state_call_trusted(st, 1, 0), "%s", st->fault.text);
    ck_assert(np_span_is(np_buf_view(&out), "{\"a\":{\"kept\":  1.0}}"));
    np_buf_free(&out);
    np_state_free(st);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("json");
    tcase_add_loop_test(tc, values_and_texts_stand_for_each_other, 0,
                        sizeof texts / sizeof texts[0]);
    tcase_add_loop_test(tc, what_json_cant_hold_is_an_error, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(tc, shared_parts_are_bounded_by_what_they_write);
    tcase_add_test(tc, adapters_splice_raw_json);
    return kit_run(tc);
}
