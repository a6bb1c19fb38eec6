/* The table of words: what it says, and that it is what the sandbox really has. */
#include <lauxlib.h>
#include <lualib.h>

#include "script/fields.h"
#include "script/kit.h"
#include "script/state.h"
#include "script/words.h"
#include "support/fail_alloc.h"

/* ------------------------------------------------------------------ a plain Lua with the table */

static const char helpers[] =
    "local words, book = ...\n"
    "local M = {}\n"
    "function M.functions(files)\n"
    "  local set = {}\n"
    "  for _, f in ipairs(words.functions) do if f.files == files then set[f.name] = true end end\n"
    "  return set\n"
    "end\n"
    "function M.fields(class)\n"
    "  local set = {}\n"
    "  for _, f in ipairs(book.fields(class)) do set[f.name] = true end\n"
    "  return set\n"
    "end\n"
    "function M.written(class, hook)\n"
    "  local list = {}\n"
    "  for _, f in ipairs(book.fields(class)) do\n"
    "    if f.write == hook then list[#list + 1] = f.name end\n"
    "  end\n"
    "  return table.concat(list, ' ')\n"
    "end\n"
    /* A Lua table as text: which kinds each field can be of. */
    "function M.kinds(class)\n"
    "  local list = {}\n"
    "  for _, f in ipairs(book.fields(class)) do\n"
    "    local kinds, all = book.kinds(f.type), {}\n"
    "    for kind in pairs(kinds) do all[#all + 1] = kind end\n"
    "    list[#list + 1] = f.name .. \" = '\" .. table.concat(all, ' ') .. \"'\"\n"
    "  end\n"
    "  return '{ ' .. table.concat(list, ', ') .. ' }'\n"
    "end\n"
    "function M.texts(alias)\n"
    "  local _, texts = book.kinds(alias)\n"
    "  return texts\n"
    "end\n"
    "function M.left_out()\n"
    "  local set = {}\n"
    "  for _, out in ipairs(words.left_out) do set[out.name] = true end\n"
    "  return set\n"
    "end\n"
    /* What one set has and the other has not. */
    "function M.differ(real, told)\n"
    "  local list = {}\n"
    "  for name in pairs(real) do if not told[name] then list[#list + 1] = '+' .. name end end\n"
    "  for name in pairs(told) do if not real[name] then list[#list + 1] = '-' .. name end end\n"
    "  table.sort(list)\n"
    "  return table.concat(list, ' ')\n"
    "end\n"
    "return M\n";

static lua_State *T;

static void push_chunk(const char *name, int n_args)
{
    const struct np_embedded_file *file = np_embedded_find(name);
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(luaL_loadbuffer(T, (const char *)file->bytes, file->size, name), LUA_OK);
    if (n_args > 0)
        lua_insert(T, -n_args - 1);
    lua_call(T, n_args, 1);
}

static void open_table(void)
{
    T = luaL_newstate();
    luaL_openlibs(T);
    ck_assert_int_eq(luaL_loadstring(T, helpers), LUA_OK);
    push_chunk("neap/words.lua", 0);
    lua_pushvalue(T, -1);
    push_chunk("neap/wordbook.lua", 1);
    lua_call(T, 2, 1);
    ck_assert(lua_istable(T, 1));
}

static void close_table(void)
{
    lua_close(T);
}

/* Calls a helper with texts; its result is on the top. */
static const char *help(const char *function, const char *a, const char *b)
{
    lua_getfield(T, 1, function);
    lua_pushstring(T, a);
    lua_pushstring(T, b);
    lua_call(T, 2, 1);
    return lua_type(T, -1) == LUA_TSTRING ? lua_tostring(T, -1) : NULL;
}

/* The two sets on the top, the real one first, are the same. */
static void assert_same(const char *what)
{
    lua_getfield(T, 1, "differ");
    lua_insert(T, -3);
    lua_call(T, 2, 1);
    ck_assert_msg(lua_rawlen(T, -1) == 0, "%s: there (+) or told (-) alone: %s", what,
                  lua_tostring(T, -1));
    lua_pop(T, 1);
}

static void add_real(const char *library, const char *name)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s%s", library, library[0] ? "." : "", name);
    lua_pushboolean(T, 1);
    lua_setfield(T, -2, whole);
}

/* The names behind the locked table on the top of L, which goes. */
static void add_names(lua_State *L, const char *library)
{
    ck_assert(lua_getmetatable(L, -1));
    ck_assert_int_eq(lua_getfield(L, -1, "__index"), LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -1) == LUA_TTABLE) {
            ck_assert_str_eq(library, "");
            char name[64];
            snprintf(name, sizeof name, "%s", lua_tostring(L, -2));
            add_names(L, name);
            continue;
        }
        add_real(library, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    lua_pop(L, 3);
}

START_TEST(each_name_of_the_sandbox_is_told_and_no_other)
{
    struct np_state *st = np_state_new_sandboxed(NULL);
    ck_assert_ptr_nonnull(st);
    lua_newtable(T);
    lua_rawgeti(st->L, LUA_REGISTRYINDEX, st->env);
    add_names(st->L, "");
    (void)help("functions", "policy", NULL);
    assert_same("policies");
    np_state_free(st);
}
END_TEST

START_TEST(what_is_left_out_is_not_there)
{
    struct np_state *st = np_state_new_sandboxed(NULL);
    lua_newtable(T);
    lua_rawgeti(st->L, LUA_REGISTRYINDEX, st->env);
    add_names(st->L, "");
    (void)help("left_out", NULL, NULL);
    lua_pushnil(T);
    size_t n = 0;
    for (; lua_next(T, -2); n++) {
        lua_pop(T, 1);
        ck_assert_msg(lua_getfield(T, -3, lua_tostring(T, -1)) == LUA_TNIL, "%s is there",
                      lua_tostring(T, -2));
        lua_pop(T, 1);
    }
    ck_assert_uint_gt(n, 15);
    np_state_free(st);
}
END_TEST

/* -------------------------------------------------------------------------------------- fields */

static void run_hook(struct kit *k, enum np_hook hook)
{
    struct np_candidate c = {.model = &k->models[0], .completion_max = 400, .worst_nusd = 5};
    struct np_attempt a = {.number = 1,
                           .model = &k->models[1],
                           .class = NP_CLASS_rate_limited,
                           .error = NP_SPAN("slow"),
                           .retry_after_ms = 5,
                           .ended = true};
    k->x->attempts = &a;
    k->x->n_attempts = 1;
    k->x->answered_by = &k->models[0];
    k->x->answer.text = NP_SPAN("Sure.");
    if (hook == NP_HOOK_admit)
        np_hook_admit(k->s, k->x, &k->refusal, &k->rep);
    else if (hook == NP_HOOK_budget)
        np_hook_budget(k->s, k->x, &c, &k->verdict, &k->rep);
    else if (hook == NP_HOOK_retry)
        np_hook_retry(k->s, k->x, &a, &k->verdict, &k->rep);
    else if (hook == NP_HOOK_respond)
        np_hook_respond(k->s, k->x, &k->verdict, &k->rep);
    else
        np_hook_route(k->s, k->x, &k->rep);
}

/* Runs a hook with these lines; `arg` is its second parameter. It must return nothing. */
static void runs(enum np_hook hook, const char *lines)
{
    static char source[16384], name[32];
    struct kit k;
    snprintf(name, sizeof name, "%s.lua", np_hook_name(hook));
    snprintf(source, sizeof source, "return function(req, arg)\n%s\nend", lines);
    kit_hook(&k, name, source);
    run_hook(&k, hook);
    ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "%s\n%s", k.rep.error, lines);
    kit_close(&k);
}

static const struct {
    const char *class, *expression;
    enum np_hook hook;
} objects[] = {
    {"neap.req", "req", NP_HOOK_route},
    {"neap.candidate", "arg", NP_HOOK_budget},
    {"neap.attempt", "arg", NP_HOOK_retry},
    {"neap.reply", "arg", NP_HOOK_respond},
    {"neap.message", "req.messages[1]", NP_HOOK_route},
    {"neap.context_item", "req.context[1]", NP_HOOK_route},
    {"neap.past_attempt", "req.attempts[1]", NP_HOOK_route},
    {"neap.usage", "arg.usage", NP_HOOK_respond},
};

#define NAME_TEXT(name) #name " "
static const char all_fields[] = NP_FIELDS(NAME_TEXT) "role content priority pinned tokens ";

/* Each name that any object has is tried: what answers is told, with the kind that it is of. */
START_TEST(each_field_that_an_object_answers_is_told_and_no_other)
{
    static char lines[12288];
    const char *kinds = help("kinds", objects[_i].class, NULL);
    snprintf(
        lines, sizeof lines,
        "local o, told, seen, n = %s, %s, {}, 0\n"
        "for name in ('%s completion_tokens cached_tokens cache_write_tokens reasoning_tokens'):gmatch('%%S+') do\n"
        "  local there, value = pcall(function() return o[name] end)\n"
        "  there = there and (type(o) == 'userdata' or value ~= nil)\n"
        "  if there ~= (told[name] ~= nil) then error(name .. ' is there: ' .. tostring(there)) end\n"
        "  if there and not told[name]:find(type(value), 1, true) then error(name .. ' is a ' .. type(value)) end\n"
        "  if there then seen[name] = true end\n"
        "end\n"
        "for name in pairs(told) do n = n + 1 if not seen[name] then error(name .. ' was not tried') end end\n"
        "if n == 0 then error('nothing is told') end",
        objects[_i].expression, kinds, all_fields);
    runs(objects[_i].hook, lines);
}
END_TEST

START_TEST(what_may_be_written_is_told_and_no_other)
{
    static char lines[8192];
    static const struct {
        const char *class, *expression, *hook;
        enum np_hook number;
    } cases[] = {{"neap.req", "req", "admit", NP_HOOK_admit},
                 {"neap.req", "req", "never", NP_HOOK_route},
                 {"neap.reply", "arg", "respond", NP_HOOK_respond},
                 {"neap.attempt", "arg", "retry", NP_HOOK_retry},
                 {"neap.candidate", "arg", "budget", NP_HOOK_budget}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(lines, sizeof lines,
                 "local o, told = %s, ' %s '\n"
                 "for name in ('%s'):gmatch('%%S+') do\n"
                 "  local wrote = pcall(function() o[name] = o[name] end)\n"
                 "  if wrote ~= (told:find(' ' .. name .. ' ', 1, true) ~= nil) then\n"
                 "    error(name .. ' can be written: ' .. tostring(wrote)) end\n"
                 "end",
                 cases[i].expression, help("written", cases[i].class, cases[i].hook), all_fields);
        /* A reply that was written is returned, so that it is no error; nothing is returned here. */
        runs(cases[i].number, lines);
    }
}
END_TEST

/* ---------------------------------------------------------------------------- texts of a few */

static void add_texts(const char *(*name)(int), int from, int n)
{
    lua_newtable(T);
    for (int i = from; i < n; i++)
        add_real("", name(i));
}

static const char *class_name(int i)
{
    return np_class_name((enum np_class)i);
}
static const char *reason_name(int i)
{
    return np_reason_name((enum np_reason)i);
}
static const char *finish_name(int i)
{
    return np_finish_name((enum np_finish)i);
}
static const char *role_name(int i)
{
    return np_role_name((enum np_role)i);
}
static const char *window_name(int i)
{
    return np_window_name((enum np_window)i);
}

START_TEST(the_texts_of_which_some_are_known_are_those_of_the_core)
{
    add_texts(class_name, 0, NP_CLASS_COUNT);
    (void)help("texts", "neap.class", NULL);
    assert_same("classes");
    add_texts(reason_name, 1, NP_REASON_COUNT);
    (void)help("texts", "neap.reason", NULL);
    assert_same("reasons");
    add_texts(finish_name, 0, NP_FINISH_COUNT);
    (void)help("texts", "neap.finish", NULL);
    assert_same("finishes");
    add_texts(role_name, 0, NP_ROLE_COUNT);
    (void)help("texts", "neap.role", NULL);
    assert_same("roles");
    add_texts(window_name, 0, NP_WINDOW_NONE + 1);
    (void)help("texts", "neap.window", NULL);
    assert_same("windows");
}
END_TEST

/* ------------------------------------------------------------------------------------ asking */

static struct np_words *book;
static struct np_buf out;

static void open_book(void)
{
    book = np_words_new();
    ck_assert_ptr_nonnull(book);
    np_buf_init(&out, 65536);
}

static void close_book(void)
{
    np_words_free(book);
    np_buf_free(&out);
}

static const struct {
    const char *name, *parts[4];
} answers[] = {
    {"retry",
     {"retry(req: neap.req, attempt: neap.attempt)", "called    when an attempt has failed",
      "    -- retry.lua", "attempt.class == "}},
    {"req.prompt_tokens",
     {"req.prompt_tokens: integer\n", "About how many tokens", " In tokens.\n"}},
    {"req.system", {"req.system: string?", "written   in admit only"}},
    {"stats.p95", {"stats.p95(name: string) -> number?", "refuses   ", "    (stats.p95("}},
    {"stats", {"stats.…", "stats.cost_usd(account: string, window?: neap.window) -> number?"}},
    {"os", {"os is not offered to policies: ", "now_ms()"}},
    {"play", {"*_test.lua only"}},
    {"env", {"data files only"}},
    {"attempt.class", {"one of    \"ok\" \"network\" "}},
    /* A hook and functions have this name. */
    {"budget", {"budget(req: neap.req", "budget.remaining(account: string)"}},
    {"candidate", {"\n    worst_usd "}},
};

START_TEST(a_name_is_told_in_lines)
{
    ck_assert_int_eq(np_words_tell(book, np_span_of(answers[_i].name), &out), NP_OK);
    np_buf_char(&out, '\0');
    for (int i = 0; i < 4 && answers[_i].parts[i]; i++)
        ck_assert_msg(strstr(out.p, answers[_i].parts[i]), "%s:\n%s", answers[_i].parts[i], out.p);
}
END_TEST

START_TEST(an_unknown_name_is_answered_with_a_guess)
{
    ck_assert_int_eq(np_words_tell(book, NP_SPAN("req.promt_tokens"), &out), NP_E_NOTFOUND);
    ck_assert(np_span_is(np_buf_view(&out), "nothing is called \"req.promt_tokens\"; did you mean "
                                            "\"req.prompt_tokens\"?\n"));
    np_buf_reset(&out);
    ck_assert_int_eq(np_words_tell(book, NP_SPAN("elephant"), &out), NP_E_NOTFOUND);
    ck_assert(np_span_is(np_buf_view(&out), "nothing is called \"elephant\"\n"));
}
END_TEST

static void note(void *ctx, const char *name, const char *text)
{
    ck_assert_ptr_nonnull(text);
    np_buf_printf(ctx, "%s ", name);
}

START_TEST(names_are_listed_by_how_they_begin)
{
    ck_assert_int_eq(np_words_list(book, NP_SPAN("req.m"), note, &out), NP_OK);
    ck_assert(np_span_is(np_buf_view(&out), "req.max_tokens req.messages req.metadata req.model "));
    np_buf_reset(&out);
    ck_assert_int_eq(np_words_list(book, NP_SPAN("stats."), note, &out), NP_OK);
    ck_assert(
        np_span_is(np_buf_view(&out), "stats.burn stats.cost_usd stats.error_rate stats.p95 "));
    np_buf_reset(&out);
    ck_assert_int_eq(np_words_list(book, NP_SPAN("zebra"), note, &out), NP_OK);
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

static void note_type(void *ctx, const char *name, const char *type)
{
    np_buf_printf(ctx, "%s: %s\n", name, type);
}

START_TEST(the_fields_of_a_class_come_with_their_types)
{
    ck_assert_int_eq(np_words_fields(book, NP_SPAN("neap.message"), note_type, &out), NP_OK);
    ck_assert(np_span_is(np_buf_view(&out), "role: neap.role\ncontent: string\n"));
    np_buf_reset(&out);
    ck_assert_int_eq(np_words_fields(book, NP_SPAN("req"), note_type, &out), NP_OK);
    ck_assert(np_span_starts(np_buf_view(&out), "id: string\n"));
    ck_assert_int_eq(np_words_fields(book, NP_SPAN("stats"), note_type, &out), NP_E_NOTFOUND);
}
END_TEST

START_TEST(types_for_editors_are_written)
{
    ck_assert_int_eq(np_words_write(book, NP_WORDS_TYPES, &out), NP_OK);
    ck_assert(np_span_starts(np_buf_view(&out), "---@meta\n"));
    np_buf_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(out.p, "\n---@field prompt_tokens integer\n"));
    ck_assert_ptr_nonnull(strstr(out.p, "\n---@alias neap.route fun(req: neap.req): "
                                        "(string|neap.plan_entry)[]?, string?\n"));
    ck_assert_ptr_nonnull(strstr(out.p, "\nfunction stats.p95(name) end\n"));
    np_buf_reset(&out);
    ck_assert_int_eq(np_words_write(book, NP_WORDS_SETTINGS, &out), NP_OK);
    ck_assert(np_span_starts(np_buf_view(&out), "{\n"));
}
END_TEST

START_TEST(without_memory_there_is_no_book)
{
    size_t n = 0;
    for (;; n += 1 + n / 8) {
        np_fail_nth(n);
        struct np_words *w = np_words_new();
        bool failed = np_fail_happened();
        np_fail_never();
        ck_assert(w || failed);
        np_words_free(w);
        if (w && !failed)
            break;
    }
    ck_assert_uint_gt(n, 500);
}
END_TEST

START_TEST(without_memory_a_question_is_not_answered)
{
    for (size_t n = 0;; n++) {
        np_fail_nth(n);
        enum np_err err = np_words_tell(book, NP_SPAN("req"), &out);
        bool failed = np_fail_happened();
        np_fail_never();
        ck_assert(err == NP_OK || (failed && err == NP_E_NOMEM));
        if (!failed)
            break;
        np_buf_free(&out);
        np_buf_init(&out, 65536);
    }
}
END_TEST

int main(void)
{
    TCase *table = tcase_create("table"), *asked = tcase_create("asked");
    Suite *suite = suite_create("words");
    tcase_add_checked_fixture(table, open_table, close_table);
    tcase_add_test(table, each_name_of_the_sandbox_is_told_and_no_other);
    tcase_add_test(table, what_is_left_out_is_not_there);
    tcase_add_loop_test(table, each_field_that_an_object_answers_is_told_and_no_other, 0,
                        sizeof objects / sizeof objects[0]);
    tcase_add_test(table, what_may_be_written_is_told_and_no_other);
    tcase_add_test(table, the_texts_of_which_some_are_known_are_those_of_the_core);
    tcase_set_timeout(asked, 60);
    tcase_add_checked_fixture(asked, open_book, close_book);
    tcase_add_loop_test(asked, a_name_is_told_in_lines, 0, sizeof answers / sizeof answers[0]);
    tcase_add_test(asked, an_unknown_name_is_answered_with_a_guess);
    tcase_add_test(asked, names_are_listed_by_how_they_begin);
    tcase_add_test(asked, the_fields_of_a_class_come_with_their_types);
    tcase_add_test(asked, types_for_editors_are_written);
    tcase_add_test(asked, without_memory_there_is_no_book);
    tcase_add_test(asked, without_memory_a_question_is_not_answered);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, asked);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
