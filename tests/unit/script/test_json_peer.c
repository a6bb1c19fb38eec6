/* json.decode beside lua-cjson: on 20,000 random texts both must understand the same, but for what is
 * ours on purpose (whole numbers stay integers, a member that is null is left out). lua-cjson is the
 * peer here and nowhere else: it takes memory beside a state's cap, loses integers and can end the
 * process. */
#include "script/json.h"
#include "base/json.h"
#include "base/rng.h"
#include "script/kit.h"
#include "script/script.h"
#include "script/state.h"

#include <lua-cjson.h>

#define TEXTS 20000

static void put_string(struct np_buf *b, struct np_rng *rng)
{
    static const char *const bits[] = {
        "a", "B c", "\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d\\ude00", "é", "€",
        "😀", "\\/", "0",   "\\t",  "{",    "]"};
    (void)np_buf_char(b, '"');
    for (uint64_t n = np_rng_below(rng, 6); n > 0; n--)
        (void)np_buf_puts(b, bits[np_rng_below(rng, sizeof bits / sizeof *bits)]);
    (void)np_buf_char(b, '"');
}

static void put_value(struct np_buf *b, struct np_rng *rng, int depth)
{
    static const char *const atoms[] = {
        "null", "true",         "false", "0",      "-0",
        "17",   "-3.5",         "1e3",   "2.5E-7", "9007199254740992",
        "0.1",  "123456789.125"};
    static const char *const gaps[] = {"", " ", "\n", "\t "};
    uint64_t kind = np_rng_below(rng, depth > 0 ? 10 : 6);
    const char *gap = gaps[np_rng_below(rng, 4)];
    uint64_t n = np_rng_below(rng, 5);
    (void)np_buf_puts(b, gap);
    if (kind < 4) {
        (void)np_buf_puts(b, atoms[np_rng_below(rng, sizeof atoms / sizeof *atoms)]);
    } else if (kind < 6) {
        put_string(b, rng);
    } else {
        bool object = kind < 8;
        (void)np_buf_char(b, object ? '{' : '[');
        for (uint64_t i = 0; i < n; i++) {
            (void)np_buf_puts(b, i ? "," : gap);
            if (object)
                (void)np_buf_printf(b, "\"k%llu\"%s:", (unsigned long long)i, gap);
            put_value(b, rng, depth - 1);
        }
        (void)np_buf_char(b, object ? '}' : ']');
    }
    (void)np_buf_puts(b, gap);
}

static bool is_null(lua_State *L, int at)
{
    return lua_type(L, at) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, at);
}

static bool same(lua_State *L, int a, int b);

/* Whether every member of b is in a; members of b that are null may be missing there. */
static bool covers(lua_State *L, int a, int b)
{
    bool good = true;
    luaL_checkstack(L, 8, NULL);
    for (lua_pushnil(L); good && lua_next(L, b) != 0; lua_pop(L, 1)) {
        int value = lua_gettop(L);
        lua_pushvalue(L, value - 1);
        lua_rawget(L, a);
        good = (lua_isnil(L, -1) && is_null(L, value)) || same(L, lua_gettop(L), value);
        lua_pop(L, 1);
        if (!good)
            lua_pop(L, 1); /* the value; the key is popped below */
        if (!good)
            break;
    }
    return good;
}

static bool same(lua_State *L, int a, int b)
{
    if (lua_type(L, a) != lua_type(L, b))
        return false;
    switch (lua_type(L, a)) {
    case LUA_TNUMBER:
        return lua_tonumber(L, a) == lua_tonumber(L, b);
    case LUA_TTABLE:
        return covers(L, a, b) && lua_rawlen(L, a) == lua_rawlen(L, b);
    default:
        return lua_rawequal(L, a, b);
    }
}

START_TEST(decode_understands_what_lua_cjson_understands)
{
    struct kit k;
    struct np_rng rng;
    struct np_buf b;
    kit_hook(&k, "respond.lua", "return function() end");
    lua_State *L = k.s->state.L;
    np_rng_seed(&rng, 11);
    np_buf_init(&b, 1 << 20);
    luaL_requiref(L, "cjson", luaopen_cjson, 0);
    lua_getfield(L, -1, "decode");
    int decode = lua_gettop(L);
    for (int i = 0; i < TEXTS; i++) {
        struct np_json_fault fault;
        np_buf_reset(&b);
        put_value(&b, &rng, 5);
        struct np_span text = np_buf_view(&b);
        ck_assert_int_eq(np_json_check(text, NP_JSON_DEPTH, &fault), NP_OK);
        np_ljson_push(L, text);
        lua_pushvalue(L, decode);
        lua_pushlstring(L, text.p, text.n);
        ck_assert_int_eq(lua_pcall(L, 1, 1, 0), LUA_OK);
        ck_assert_msg(same(L, decode + 1, decode + 2), "text %d: %.*s", i, (int)text.n, text.p);
        lua_settop(L, decode);
        if (i % 256 == 0)
            lua_gc(L, LUA_GCCOLLECT);
    }
    lua_settop(L, decode - 2);
    np_buf_free(&b);
    kit_close(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("script/json_peer");
    TCase *t = tcase_create("peer");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, decode_understands_what_lua_cjson_understands);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
