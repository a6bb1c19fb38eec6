/* The lines of bytecode, and which of them ran. */
#include "script/cover_impl.h"

#include "script/hooks.h"
#include "script/load.h"
#include "script/setkit.h"

#include <lauxlib.h>

struct seen {
    bool line[256];
};

static void on_line(void *ctx, unsigned line)
{
    struct seen *s = ctx;
    if (line < 256)
        s->line[line] = true;
}

static int append(lua_State *L, const void *p, size_t n, void *ctx)
{
    (void)L;
    np_buf_put(ctx, p, n);
    return 0;
}

static void compile(const char *source, struct np_buf *out)
{
    lua_State *L = luaL_newstate();
    np_buf_init(out, 1u << 20);
    ck_assert_int_eq(luaL_loadstring(L, source), LUA_OK);
    ck_assert_int_eq(lua_dump(L, append, out, 0), 0);
    lua_close(L);
}

/* Lines that are far apart, long ones, nested functions, constants of every kind. */
static const char source[] = "local a, b = 1, 2.5\n" /* 1 */
                             "local t = { nil, true, false, 'x', [1 << 40] = 0x1p300 }\n"
                             "\n"
                             "local function f(x, ...)\n" /* 4 */
                             "  if x then\n"
                             "    return a\n"
                             "  end\n"
                             "end\n" /* 8 */
                             "return function()\n"
                             "  local s = [[\n\n\n]] .. f(b)\n" /* 10 to 13 */
                             "  return function() return s, t end\n"
                             "end\n";

START_TEST(every_line_with_code_is_found)
{
    static const unsigned with[] = {1, 2, 5, 6, 8, 14, 15}, without[] = {3, 7, 9, 11};
    struct np_buf code;
    struct seen s = {0};
    compile(source, &code);
    ck_assert(np_bytecode_lines(np_buf_view(&code), on_line, &s));
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        ck_assert_msg(s.line[with[i]], "line %u", with[i]);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        ck_assert_msg(!s.line[without[i]], "line %u", without[i]);
    np_buf_free(&code);
}
END_TEST

/* More than 127 lines between two instructions, more than 128 instructions in one function. */
START_TEST(lines_far_apart_are_found)
{
    struct np_buf text, code;
    struct seen s = {0};
    np_buf_init(&text, 1u << 16);
    for (int i = 0; i < 200; i++)
        np_buf_puts(&text, i % 100 == 50 ? "local x = 1; x = x + x + x * x\n" : "\n");
    for (int i = 0; i < 300; i++)
        np_buf_puts(&text, "x = y ");
    np_buf_char(&text, '\0');
    compile(text.p, &code);
    ck_assert(np_bytecode_lines(np_buf_view(&code), on_line, &s));
    for (unsigned line = 1; line < 256; line++)
        ck_assert_msg(s.line[line] == (line == 51 || line == 151 || line == 201), "line %u", line);
    np_buf_free(&code);
    np_buf_free(&text);
}
END_TEST

START_TEST(bytecode_that_is_cut_or_damaged_is_refused_or_read_in_bounds)
{
    struct np_buf code;
    struct seen s = {0};
    compile(source, &code);
    for (size_t n = 0; n < code.n; n++) {
        char *cut = malloc(n ? n : 1); /* of its own, so that a read behind it is seen */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, code.p, n);
        ck_assert(!np_bytecode_lines(np_span_make(cut, n), on_line, &s));
        free(cut);
    }
    unsigned refused = 0;
    for (size_t i = 0; i < code.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            code.p[i] = (char)(code.p[i] ^ 1 << bit);
            refused += !np_bytecode_lines(np_buf_view(&code), on_line, &s);
            code.p[i] = (char)(code.p[i] ^ 1 << bit);
        }
    }
    printf("cover: %u of %zu flipped bits refused\n", refused, 8 * code.n);
    ck_assert_uint_gt(refused, 0);
    np_buf_free(&code);
}
END_TEST

struct told {
    struct np_cover_file route, library;
    char missed[64];
    size_t n;
};

static void tell(void *ctx, const struct np_cover_file *f)
{
    struct told *t = ctx;
    t->n++;
    if (strcmp(f->name, "route.lua") == 0) {
        t->route = *f;
        (void)snprintf(t->missed, sizeof t->missed, "%.*s", (int)f->missed.n,
                       f->missed.n ? f->missed.p : "");
    } else {
        t->library = *f;
    }
}

static const char route[] = "local twice = require('lib.twice')\n"
                            "return function(req)\n"
                            "  if req.tenant == 'x' then\n"
                            "    return nil\n"
                            "  end\n"
                            "  twice(2)\n"
                            "end\n";

START_TEST(what_ran_is_told_file_by_file)
{
    struct setkit k;
    struct told t = {0};
    setkit_open(&k);
    setkit_write(&k, "route.lua", route);
    setkit_write(&k, "lib/twice.lua", "return function(n)\n  return 2 * n\nend\n");
    setkit_assert_loads(&k);
    np_cover_tell(k.set, tell, &t);
    ck_assert_uint_eq(t.n, 0);
    ck_assert_int_eq(np_cover_begin(k.set), NP_OK);
    struct np_powers powers = {.clock = &np_clock_live};
    struct np_script *s = np_script_new(k.set, &powers, NULL);
    ck_assert_ptr_nonnull(s);
    np_cover_tell(k.set, tell, &t);
    ck_assert_uint_eq(t.n, 2);
    ck_assert_uint_eq(t.route.lines, 5);
    ck_assert_uint_eq(t.route.hit, 2);
    ck_assert_str_eq(t.missed, "3-6");
    ck_assert_uint_eq(t.library.lines, 2);
    ck_assert_uint_eq(t.library.hit, 1);
    np_script_free(s);
    setkit_close(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cover");
    TCase *tc = tcase_create("cover");
    tcase_add_test(tc, every_line_with_code_is_found);
    tcase_add_test(tc, lines_far_apart_are_found);
    tcase_add_test(tc, bytecode_that_is_cut_or_damaged_is_refused_or_read_in_bounds);
    tcase_add_test(tc, what_ran_is_told_file_by_file);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
