/* Which line ended a hook: on the live ground as on the simulated one, whatever the file looks like. Sets are
 * loaded as a server loads them. */
#include "script/mark.h"

#include "script/kit.h"
#include "script/script.h"
#include "script/setkit.h"

/* A set with one hook, run by steps or in time, and the note of the last call. */
struct stage {
    struct setkit sets;
    struct kit kit;
};

static void stage_open(struct stage *g)
{
    setkit_open(&g->sets);
    kit_open(&g->kit, false, (const char *const[]){NULL});
}

static void stage_close(struct stage *g)
{
    kit_close(&g->kit);
    setkit_close(&g->sets);
}

/* Loads the set as it is now, for this ground. */
static void stage_load(struct stage *g, bool timed)
{
    struct kit *k = &g->kit;
    np_script_free(k->s);
    k->s = NULL;
    setkit_assert_loads(&g->sets);
    k->powers.clock = timed ? &np_clock_live : &k->clock;
    k->s = np_script_new(g->sets.set, &k->powers, timed);
    ck_assert_ptr_nonnull(k->s);
    k->x->hooks_ns = 0;
}

/* Asks route; the place of its note, static. "" where that is not known. */
static const char *asked(struct stage *g)
{
    static char text[NP_HOOK_PLACE + 1];
    struct kit *k = &g->kit;
    k->x->n_notes = 0;
    np_hook_route(k->s, k->x, &k->rep);
    ck_assert_uint_eq(k->x->n_notes, 1);
    struct np_span place = np_hook_note_place(&k->x->notes[0], text);
    ck_assert(place.n == 0 || place.p == text);
    text[place.n] = '\0';
    return text;
}

/* Writes route.lua and wants this place of its answer on both grounds. */
static void wants(struct stage *g, const char *source, const char *place)
{
    setkit_write(&g->sets, "route.lua", source);
    for (int timed = 0; timed < 2; timed++) {
        stage_load(g, timed);
        const char *got = asked(g);
        ck_assert_msg(strcmp(got, place) == 0, "%s, not %s, timed %d, of\n%s\n%s", got, place,
                      timed, source, g->kit.rep.error);
    }
}

static const struct {
    const char *source, *place;
} places[] = {
    {"return function(req)\n  return 'a'\nend", "route.lua:2"},
    {"return function(req) return nil end", "route.lua:1"},
    /* Each branch has its own. */
    {"return function(req)\n  if req.id == 'x' then\n    return { 'claude' }\n  end\n"
     "  return { 'gpt-4.1' }\nend",
     "route.lua:5"},
    {"return function(req)\n  if req.id ~= 'x' then\n    return { 'claude' }\n  end\n"
     "  return { 'gpt-4.1' }\nend",
     "route.lua:3"},
    {"return function(req)\n  for i = 1, 3 do\n    while true do\n      repeat\n        return\n"
     "      until true\n    end\n  end\nend",
     "route.lua:5"},
    {"return function(req)\n  if not req then return\n  elseif not req.id then return\n  else return end\nend",
     "route.lua:4"},
    /* It came to its end. */
    {"return function(req)\n  local x = 1\nend", "route.lua:3"},
    {"return function(req)\n\nend\n\n", "route.lua:3"},
    {"return function(req)\n  if req.id == 'x' then return 'a' end\n  local y = req.id\nend",
     "route.lua:4"},
    /* What it calls has returns of its own. */
    {"local function f() return 1 end\nreturn function(req)\n  f()\nend", "route.lua:4"},
    {"local function f(x)\n  return x\nend\nreturn function(req)\n  return f(nil), f('why')\nend",
     "route.lua:5"},
    {"return function(req)\n  local f = function()\n    return nil\n  end\n  local x = f()\n"
     "  return x,\n    'y'\nend",
     "route.lua:6"},
    {"return function(req)\n  local f <const> = function() return 1 end\n  f()\nend",
     "route.lua:4"},
    /* A tail call: where the hook handed over. */
    {"local function f(x)\n  return x\nend\nreturn function(req)\n  return f(nil)\nend",
     "route.lua:5"},
    {"local function f(req)\n  if req.id then return nil end\nend\nreturn function(req)\n\n\n"
     "  return f(req)\nend",
     "route.lua:7"},
    {"return function(req)\n  return pick { models = { 'gpt-4.1' }, by = 'cost' }\nend",
     "route.lua:2"},
    /* It asks itself. */
    {"local function route(req, n)\n  if n == 2 then\n    return nil\n  end\n"
     "  return route(req, (n or 0) + 1)\nend\nreturn route",
     "route.lua:3"},
    /* Ways to write a function. */
    {"local M = {}\nfunction M.route(req)\n  return nil\nend\nreturn M.route", "route.lua:3"},
    {"local M = { a = {} }\nfunction M.a:route()\n  return nil\nend\nreturn M.a.route",
     "route.lua:3"},
    {"local function route\n(req,\n ...)\n  return nil\nend\nreturn route", "route.lua:4"},
    {"return function\n(req)\n  return nil\nend", "route.lua:3"},
    {"local t = { f = function(...) return ... end, route = function(req)\n  return nil\nend }\n"
     "return t.route",
     "route.lua:2"},
    {"return (function(n)\n  return function(req)\n    return nil\n  end\nend)(3)", "route.lua:3"},
    /* The word in other places. */
    {"-- return function(req) return end\nreturn function(req) -- return\n"
     "  local a = 'return' .. \"return \\\" return\" .. [[\nreturn 1\n]] --[==[ return\n]] return\n"
     "]==]\n  return nil\nend",
     "route.lua:8"},
    {"#!/usr/bin/lua\nreturn function(req) return nil end", NULL},
    {"--[[\n first line\n]] return function(req)\n  return nil\nend", "route.lua:4"},
    {"\xef\xbb\xbfreturn function(req)\n  return nil\nend", "route.lua:2"},
    {"return function(req)\r\n  if req.id then\r\n    return nil\r\n  end\r\nend\r\n",
     "route.lua:3"},
    {"return function(req)\r\n  local a = [[\r\nx\r\n]] .. 'y\\\r\nz'\r\n  return nil\r\nend\r\n",
     "route.lua:6"},
    /* Statements beside it. */
    {"return function(req)\n  do goto done end\n  local x = 1\n  ::done::\nend", "route.lua:5"},
    {"return function(req)\n  for i = 1, 2 do\n    if i == 1 then goto continue end\n"
     "    do return nil end\n    ::continue::\n  end\nend",
     "route.lua:4"},
    {"return function(req)\n  ::again::\n  if req.id then return nil end\n  goto again\nend",
     "route.lua:3"},
    {"return function(req)\n  (log.debug or 1)('x');\n  return(nil)\nend", "route.lua:3"},
    {"return function(req)\n  local x = {}x[1]='a'return x[2]\nend", "route.lua:2"},
    {"return function(req) ; ; ;\n  return nil;\nend;", "route.lua:2"},
    /* Names that could be in the way. */
    {"local np_at = 7\nreturn function(req)\n  np_at = np_at + 1\n  return nil\nend",
     "route.lua:4"},
    {"local np_at, np_at_ = 7\nreturn function(req)\n  np_at, np_at_ = 1, 2\n  return nil\nend",
     "route.lua:4"},
};

START_TEST(the_line_of_the_return_that_ended_it_is_known_on_both_grounds)
{
    struct stage g;
    stage_open(&g);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (places[i].place) {
            wants(&g, places[i].source, places[i].place);
            continue;
        }
        setkit_write(&g.sets, "route.lua", places[i].source);
        setkit_assert_refused(&g.sets, "route.lua:1: N104");
    }
    stage_close(&g);
}
END_TEST

START_TEST(a_hook_that_stands_in_a_library_is_told_there)
{
    struct stage g;
    stage_open(&g);
    setkit_write(&g.sets, "lib/router.lua",
                 "local M = {}\nfunction M.route(req)\n  return nil\nend\nreturn M\n");
    wants(&g, "return require('lib.router').route\n", "lib/router.lua:3");
    wants(&g, "local m = require 'lib.router'\nreturn function(req)\n  return m.route(req)\nend\n",
          "route.lua:3");
    wants(&g, "local m = require 'lib.router'\nreturn function(req)\n  m.route(req)\nend\n",
          "route.lua:4");
    stage_close(&g);
}
END_TEST

START_TEST(a_function_of_neaps_own_has_no_line)
{
    struct stage g;
    stage_open(&g);
    wants(&g, "return tostring\n", "");
    kit_assert_failed(&g.kit, KIT_TYPE, "route must return a list of candidates");
    ck_assert_int_eq(strncmp(g.kit.rep.error, "route must", 10), 0);
    stage_close(&g);
}
END_TEST

/* A new set moves the lines; what is kept of the old one keeps its own. */
START_TEST(a_set_that_is_read_anew_has_lines_of_its_own)
{
    struct stage g;
    stage_open(&g);
    wants(&g, "return function(req) return nil end\n", "route.lua:1");
    struct np_policyset *before = np_policyset_hold(g.sets.set);
    struct np_script *old = np_script_new(before, &g.kit.powers, false);
    ck_assert_ptr_nonnull(old);
    wants(&g, "\n\n\nreturn function(req) return nil end\n", "route.lua:4");
    struct np_script *own = g.kit.s;
    g.kit.s = old;
    ck_assert_str_eq(asked(&g), "route.lua:1");
    g.kit.s = own;
    ck_assert(np_script_turn(old, g.sets.set));
    g.kit.s = old;
    ck_assert_str_eq(asked(&g), "route.lua:4");
    g.kit.s = own;
    np_script_free(old);
    np_policyset_drop(before);
    stage_close(&g);
}
END_TEST

/* A local, an upvalue or a register more is one too many here: the file runs as it is. */
START_TEST(a_file_at_a_limit_of_the_compiler_still_loads_and_has_no_line)
{
    struct stage g;
    struct np_buf b;
    stage_open(&g);
    np_buf_init(&b, 65536);
    for (int i = 0; i < 200; i++)
        (void)np_buf_printf(&b, "local v%d = %d\n", i, i);
    np_buf_puts(&b, "return function(req) return nil, 'is ' .. v199 end\n");
    (void)np_buf_char(&b, '\0');
    wants(&g, b.p, "");
    ck_assert(np_span_is(g.kit.x->notes[0].why, "is 199"));
    np_buf_reset(&b);
    for (int i = 0; i < 199; i++)
        (void)np_buf_printf(&b, "local v%d = %d\n", i, i);
    np_buf_puts(&b, "return function(req) return nil, 'is ' .. v198 end\n");
    (void)np_buf_char(&b, '\0');
    wants(&g, b.p, "route.lua:200");
    np_buf_free(&b);
    stage_close(&g);
}
END_TEST

START_TEST(lines_that_end_as_no_editor_ends_them_are_not_told_wrongly)
{
    struct stage g;
    stage_open(&g);
    wants(&g, "return function(req)\r  return nil\rend\r", "");
    wants(&g, "-- a comment\rreturn function(req)\n  return nil\nend", "");
    stage_close(&g);
}
END_TEST

START_TEST(a_wrong_answer_is_told_at_the_return_that_gave_it)
{
    static const char route[] = "return function(req)\n  if req.id then\n    return 7\n  end\n"
                                "  return nil\nend\n";
    struct stage g;
    stage_open(&g);
    setkit_write(&g.sets, "route.lua", route);
    for (int timed = 0; timed < 2; timed++) {
        stage_load(&g, timed);
        ck_assert_str_eq(asked(&g), "route.lua:3");
        kit_assert_failed(&g.kit, KIT_TYPE, "route.lua:3: route must return a list");
        ck_assert(np_span_starts(g.kit.x->notes[0].error, "route must return a list"));
    }
    setkit_write(&g.sets, "route.lua", "return function(req)\n\n  return nil, {}\nend");
    stage_load(&g, true);
    ck_assert_str_eq(asked(&g), "route.lua:3");
    kit_assert_failed(&g.kit, KIT_TYPE, "route.lua:3: the second value, why, must be a string");
    stage_close(&g);
}
END_TEST

START_TEST(an_error_is_told_where_it_was_raised)
{
    struct stage g;
    stage_open(&g);
    wants(&g, "return function(req)\n  if req.id then\n    error('oh')\n  end\n  return nil\nend",
          "route.lua:3");
    wants(&g, "local function f(x) return x.y.z end\nreturn function(req)\n  return f({})\nend",
          "route.lua:1");
    stage_close(&g);
}
END_TEST

START_TEST(policies_cannot_name_what_holds_the_line)
{
    struct stage g;
    stage_open(&g);
    wants(&g,
          "local seen = _ENV['np' .. '_at'] == nil\nreturn function(req)\n  local all = ''\n"
          "  for k in pairs(_ENV) do all = all .. tostring(k) end\n"
          "  return nil, tostring(seen and not all:find('np' .. '_at', 1, true))\nend",
          "route.lua:5");
    ck_assert(np_span_is(g.kit.x->notes[0].why, "true"));
    stage_close(&g);
}
END_TEST

/* The lines that coverage counts are those of the file as it is written. */
START_TEST(no_line_gets_code_that_has_none)
{
    struct stage g;
    stage_open(&g);
    setkit_write(&g.sets, "route.lua",
                 "-- what it is for\nlocal function route(req)\n  repeat\n    local x = 1\n"
                 "  until x\n  return\n    nil\nend\nreturn route\n");
    setkit_assert_loads(&g.sets);
    const struct np_set_file *f = np_set_file_find(g.sets.set, "route.lua");
    ck_assert_ptr_nonnull(f->mark);
    ck_assert(f->unmarked.n > 0 && f->unmarked.n < f->bytecode.n);
    stage_close(&g);
}
END_TEST

START_TEST(a_large_file_is_marked_in_little_time)
{
    struct stage g;
    struct np_buf b;
    stage_open(&g);
    np_buf_init(&b, (size_t)1 << 20);
    np_buf_puts(&b, "local t = {}\n");
    for (int i = 0; i < 2000; i++)
        (void)np_buf_printf(&b, "t.f%d = function(a, b) if a > b then return a end return b end\n",
                            i);
    np_buf_puts(&b, "return function(req)\n  return nil\nend\n");
    (void)np_buf_char(&b, '\0');
    uint64_t from = np_clock_mono_ns(&np_clock_live);
    wants(&g, b.p, "route.lua:2003");
    printf("mark: two loads of a hook of %zu bytes in %.1f ms\n", b.n,
           (double)(np_clock_mono_ns(&np_clock_live) - from) / 1e6);
    np_buf_reset(&b);
    np_buf_puts(&b, "local t = {}\n");
    for (int i = 0; i < 20000; i++)
        np_buf_puts(&b, "t[1] = { 'a', 'b', 'c' }\n");
    np_buf_puts(&b, "return function(req)\n  return nil\nend\n");
    (void)np_buf_char(&b, '\0');
    wants(&g, b.p, "");
    np_buf_free(&b);
    stage_close(&g);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("mark");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, the_line_of_the_return_that_ended_it_is_known_on_both_grounds);
    tcase_add_test(tc, a_hook_that_stands_in_a_library_is_told_there);
    tcase_add_test(tc, a_function_of_neaps_own_has_no_line);
    tcase_add_test(tc, a_set_that_is_read_anew_has_lines_of_its_own);
    tcase_add_test(tc, a_file_at_a_limit_of_the_compiler_still_loads_and_has_no_line);
    tcase_add_test(tc, lines_that_end_as_no_editor_ends_them_are_not_told_wrongly);
    tcase_add_test(tc, a_wrong_answer_is_told_at_the_return_that_gave_it);
    tcase_add_test(tc, an_error_is_told_where_it_was_raised);
    tcase_add_test(tc, policies_cannot_name_what_holds_the_line);
    tcase_add_test(tc, no_line_gets_code_that_has_none);
    tcase_add_test(tc, a_large_file_is_marked_in_little_time);
    return kit_run(tc);
}
