/* Policy sets: which files belong to one, its version, and what loading runs and refuses. */
#include "script/setkit.h"

#include "script/policyset_impl.h"
#include "support/fail_alloc.h"

static struct setkit k;

static void set_up(void)
{
    setkit_open(&k);
}

static void tear_down(void)
{
    setkit_close(&k);
}

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", k.dir, name);
}

/* Reads alone; the version, or "" when it can't be read. */
static const char *version(void)
{
    static char text[16];
    setkit_drop(&k);
    text[0] = '\0';
    if (np_policyset_read(k.dir, &k.set, &k.problems) == NP_OK)
        snprintf(text, sizeof text, "%s", np_policyset_version(k.set));
    return text;
}

/* ------------------------------------------------------------------------------------ version */

START_TEST(the_version_is_twelve_hex_digits_of_names_and_contents)
{
    /* hashlib.sha256 over name, NUL, size, NUL, content of each, sorted by name */
    static const char want[] = "0dfae632ee53";
    setkit_write(&k, "endpoints.lua", "return {}");
    setkit_write(&k, "models.lua", "");
    setkit_write(&k, "providers.lua", "\xc3\xa9\n");
    setkit_write(&k, "lib/a.lua", "x");
    ck_assert_str_eq(version(), want);
    setkit_write(&k, "models.lua", " ");
    ck_assert_str_ne(version(), want);
    setkit_write(&k, "models.lua", "");
    ck_assert_str_eq(version(), want);
    setkit_write(&k, "README.md", "");
    ck_assert_str_ne(version(), want);
}
END_TEST

START_TEST(text_that_moves_from_one_file_to_the_next_changes_the_version)
{
    char first[16];
    setkit_write(&k, "lib/a.lua", "return 1 --x");
    setkit_write(&k, "lib/b.lua", "return 2");
    snprintf(first, sizeof first, "%s", version());
    setkit_write(&k, "lib/a.lua", "return 1 --");
    setkit_write(&k, "lib/b.lua", "xreturn 2");
    ck_assert_str_ne(first, version());
}
END_TEST

START_TEST(what_editors_leave_is_no_part_of_a_set)
{
    char first[16];
    static const char *const names[] = {".route.lua.swp", "route.lua~",    "#route.lua#",
                                        "4913",           "route.lua.tmp", ".hidden",
                                        ".neap/x.lua",    "lib/.x.lua"};
    setkit_write(&k, "lib/a.lua", "return 1");
    snprintf(first, sizeof first, "%s", version());
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        setkit_write(&k, names[i], "not (Lua");
    ck_assert_str_eq(first, version());
    setkit_assert_loads(&k);
    ck_assert_uint_eq(k.problems.n, 0);
}
END_TEST

/* ------------------------------------------------------------------------------------ reading */

START_TEST(a_folder_that_is_not_there_says_so)
{
    struct np_policyset *set = NULL;
    ck_assert_int_eq(np_policyset_read("/nonexistent/policies", &set, &k.problems), NP_E_IO);
    ck_assert_ptr_null(set);
    ck_assert_str_eq(setkit_text(&k), "N101 /nonexistent/policies: No such file or directory\n");
}
END_TEST

START_TEST(an_unknown_lua_file_at_the_top_is_an_error_with_a_guess)
{
    setkit_write(&k, "rote.lua", "return 1");
    setkit_assert_refused(&k, "rote.lua: N103 no file of a policy set has this name, nothing would "
                              "run it; did you mean route.lua?\n");
}
END_TEST

START_TEST(other_unknown_files_and_folders_are_warnings)
{
    setkit_write(&k, "notes.txt", "hm");
    setkit_write(&k, "template/budget.txt", "hm");
    setkit_assert_loads(&k);
    ck_assert_uint_eq(k.problems.n, 2);
    ck_assert_uint_eq(k.problems.errors, 0);
    ck_assert_ptr_nonnull(strstr(setkit_text(&k), "notes.txt: N110 warning: is no part"));
    ck_assert_ptr_nonnull(strstr(setkit_text(&k), "template: N110 warning: is no folder"));
}
END_TEST

START_TEST(a_library_that_no_require_can_name_is_an_error)
{
    setkit_write(&k, "lib/a b.lua", "return 1");
    setkit_assert_refused(&k, "lib/a b.lua: N103 no `require` can name this file");
}
END_TEST

START_TEST(a_link_out_of_the_folder_is_refused)
{
    char path[256];
    path_of("route.lua", path);
    ck_assert_int_eq(symlink("/etc/hostname", path), 0);
    ck_assert_int_eq(setkit_load(&k), NP_E_IO);
    ck_assert_str_eq(setkit_text(&k), "route.lua: N102 is a link that leads out of the folder of "
                                      "the policy set\n");
}
END_TEST

START_TEST(links_within_the_folder_are_followed_as_a_config_map_has_them)
{
    char path[256], target[256];
    setkit_write(&k, "..2026_11_24/route.lua", "return function() return { 'claude' } end");
    path_of("..data", path);
    ck_assert_int_eq(symlink("..2026_11_24", path), 0);
    path_of("route.lua", target);
    ck_assert_int_eq(symlink("..data/route.lua", target), 0);
    setkit_assert_loads(&k);
    ck_assert(np_policyset_has_hook(k.set, NP_HOOK_route));
    ck_assert_uint_eq(k.set->n_files, 4);
}
END_TEST

START_TEST(a_file_over_four_mebibytes_is_refused)
{
    char *big = malloc(((size_t)4 << 20) + 2);
    memset(big, '-', ((size_t)4 << 20) + 1);
    big[((size_t)4 << 20) + 1] = '\0';
    setkit_write(&k, "README.md", big);
    ck_assert_int_eq(setkit_load(&k), NP_E_IO);
    ck_assert_str_eq(setkit_text(&k), "README.md: N102 is larger than 4 MiB\n");
    big[(size_t)4 << 20] = '\0';
    setkit_write(&k, "README.md", big);
    free(big);
    setkit_assert_loads(&k);
}
END_TEST

START_TEST(a_pipe_is_no_file)
{
    char path[256];
    path_of("route.lua", path);
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    ck_assert_int_eq(setkit_load(&k), NP_E_IO);
    ck_assert_str_eq(setkit_text(&k), "route.lua: N102 is not a file\n");
}
END_TEST

START_TEST(a_file_that_others_may_write_is_refused_unless_the_folder_is_trusted)
{
    char path[256];
    path_of("models.lua", path);
    ck_assert_int_eq(chmod(path, 0666), 0);
    setkit_assert_refused(&k, "models.lua: N108 others may write this file");
    setkit_drop(&k);
    struct np_load_options options = {.slots = &k.slots, .trust_folder = true};
    ck_assert_int_eq(np_policyset_read(k.dir, &k.set, &k.problems), NP_OK);
    ck_assert_int_eq(np_policyset_load(k.set, &options, &k.problems), NP_OK);
}
END_TEST

/* ---------------------------------------------------------------------------------- code */

START_TEST(a_syntax_error_has_its_line)
{
    setkit_write(&k, "route.lua", "return function(req)\n  return {\nend\n");
    setkit_assert_refused(&k, "route.lua:3: N104 ");
    setkit_write(&k, "route.lua", "return function() end");
    setkit_write(&k, "route_test.lua", "test(\n");
    setkit_assert_refused(&k, "route_test.lua:2: N104 ");
}
END_TEST

START_TEST(syntax_errors_of_all_files_are_told_at_once)
{
    setkit_write(&k, "route.lua", "return function( end");
    setkit_write(&k, "admit.lua", "x x");
    setkit_write(&k, "models.lua", "return {");
    setkit_write(&k, "lib/a.lua", "return }");
    ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
    ck_assert_uint_eq(k.problems.errors, 4);
}
END_TEST

START_TEST(bytecode_is_no_policy)
{
    setkit_write(&k, "route.lua", "\x1bLuaT");
    setkit_assert_refused(&k, "route.lua: N104 attempt to load a binary chunk");
}
END_TEST

START_TEST(a_hook_file_returns_one_function)
{
    static const char *const rows[][2] = {
        {"local x = 1",
         "route.lua: N106 a hook's file returns one function, this one returns nothing"},
        {"-- x\nreturn {}",
         "route.lua:2:1: N106 a hook's file returns one function, this one returns table"},
        {"return function() end, 1", "returns several values"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setkit_write(&k, "route.lua", rows[i][0]);
        setkit_assert_refused(&k, rows[i][1]);
    }
}
END_TEST

START_TEST(an_error_while_a_hook_is_loaded_has_its_line)
{
    setkit_write(&k, "route.lua", "local t = nil\nreturn t.x");
    setkit_assert_refused(&k, "route.lua:2: N105 attempt to index a nil value (local 't')");
}
END_TEST

START_TEST(a_file_that_does_not_end_is_stopped)
{
    setkit_write(&k, "route.lua", "while true do end");
    setkit_assert_refused(&k, "route.lua:1: N105 stopped: it took more steps than a hook may");
    setkit_write(&k, "route.lua", "return function() end");
    setkit_write(&k, "models.lua", "local s = 'x' while true do s = s .. s end");
    setkit_assert_refused(&k, "N105 stopped: it took more");
}
END_TEST

START_TEST(globals_and_what_can_harm_are_not_there)
{
    setkit_write(&k, "route.lua", "x = 1\nreturn function() end");
    setkit_assert_refused(&k, "route.lua:1: N105 there are no globals");
    setkit_write(&k, "route.lua", "local f = io.open('/etc/passwd') return function() end");
    setkit_assert_refused(&k, "route.lua:1: N105 attempt to index a nil value (global 'io')");
}
END_TEST

START_TEST(libraries_come_from_the_set_alone)
{
    setkit_write(&k, "lib/tiers.lua", "local M = {} function M.gold() return true end return M");
    setkit_write(&k, "route.lua", "local t = require 'lib.tiers' return function() t.gold() end");
    setkit_assert_loads(&k);
    ck_assert_uint_gt(np_set_file_find(k.set, "route.lua")->bytecode.n, 0);
    ck_assert_uint_gt(np_set_file_find(k.set, "lib/tiers.lua")->bytecode.n, 0);
    ck_assert_uint_eq(np_set_file_find(k.set, "models.lua")->bytecode.n, 0);
    setkit_write(&k, "route.lua", "local t = require 'lib.other' return function() end");
    setkit_assert_refused(&k, "route.lua:1: N105 there is no lib/other.lua in the policy set");
}
END_TEST

START_TEST(a_fault_of_a_library_is_told_once_at_its_own_place)
{
    setkit_write(&k, "lib/bad.lua", "\nerror 'boom'");
    setkit_write(&k, "route.lua", "require 'lib.bad' return function() end");
    setkit_write(&k, "admit.lua", "require 'lib.bad' return function() end");
    ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
    ck_assert_str_eq(setkit_text(&k), "lib/bad.lua:2: N105 boom\n");
}
END_TEST

START_TEST(libraries_that_require_each_other_are_told)
{
    setkit_write(&k, "lib/a.lua", "return require 'lib.b'");
    setkit_write(&k, "lib/b.lua", "return require 'lib.a'");
    setkit_assert_refused(&k, "requires itself, in a circle");
}
END_TEST

START_TEST(only_the_hooks_that_are_there_are_there)
{
    setkit_write(&k, "admit.lua", "return function() end");
    setkit_assert_loads(&k);
    ck_assert(np_policyset_has_hook(k.set, NP_HOOK_admit));
    ck_assert(!np_policyset_has_hook(k.set, NP_HOOK_route));
}
END_TEST

/* ------------------------------------------------------------------------------ life and death */

START_TEST(a_missing_data_file_is_told_and_the_rest_is_checked)
{
    char path[256];
    path_of("models.lua", path);
    ck_assert_int_eq(unlink(path), 0);
    setkit_write(&k, "providers.lua", "return { openai = { adaptor = 'openai' } }");
    ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
    const char *text = setkit_text(&k);
    ck_assert_ptr_nonnull(strstr(text, "models.lua: N107 is missing"));
    ck_assert_ptr_nonnull(
        strstr(text, "N201 openai.adaptor is no field here (did you mean \"adapter\"?)"));
    ck_assert_ptr_nonnull(strstr(text, "N204 openai needs the field base_url"));
    ck_assert_ptr_null(strstr(text, "endpoints.lua"));
}
END_TEST

START_TEST(slots_stay_the_same_over_reloads)
{
    setkit_assert_loads(&k);
    uint32_t openai = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider->slot;
    uint32_t gpt = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->slot;
    setkit_write(&k, "providers.lua",
                 "return { a = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1' }, "
                 "openai = { adapter = 'openai', base_url = 'https://api.openai.com/v1' } }");
    setkit_write(&k, "models.lua",
                 "return { a = { provider = 'a', usd_per_request = 0 }, "
                 "['gpt-4.1'] = { provider = 'openai', usd_per_request = 0 } }");
    setkit_write(&k, "endpoints.lua", "return { ['/api/x/reply'] = { models = { 'a' } } }");
    setkit_assert_loads(&k);
    ck_assert_uint_eq(np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->slot, gpt);
    ck_assert_uint_eq(np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider->slot, openai);
}
END_TEST

START_TEST(a_set_lives_until_its_last_hold_is_dropped)
{
    setkit_assert_loads(&k);
    struct np_policyset *held = np_policyset_hold(k.set);
    np_policyset_drop(k.set);
    ck_assert_uint_eq(np_policyset_catalog(held)->n_models, 2);
}
END_TEST

START_TEST(the_thousandth_problem_is_the_last_that_is_kept_but_all_are_counted)
{
    for (int i = 0; i < 1500; i++)
        np_problems_add(&k.problems, "x.lua", 1, 1, "N999", false, "problem %d", i);
    ck_assert_uint_eq(k.problems.n, 1000);
    ck_assert_uint_eq(k.problems.errors, 1500);
}
END_TEST

START_TEST(whichever_allocation_fails_the_set_is_refused_and_nothing_is_left)
{
    setkit_write(&k, "route.lua", "local t = require 'lib.a' return function() end");
    setkit_write(&k, "lib/a.lua", "return { 1 }");
    setkit_write(&k, "templates/budget.txt", "Sorry.\n");
    bool good = false;
    ck_assert_str_ne(version(), ""); /* libcrypto starts badly without memory */
    /* Every one at the beginning, then fewer and fewer: there are thousands in Lua. */
    for (size_t n = 0; !good; n += 1 + n / 40) {
        setkit_drop(&k);
        struct np_load_options options = {.slots = &k.slots};
        np_fail_from(n);
        enum np_err err = np_policyset_read(k.dir, &k.set, &k.problems);
        if (!err)
            err = np_policyset_load(k.set, &options, &k.problems);
        np_fail_never();
        good = !np_fail_happened();
        ck_assert_int_eq(err == NP_OK, good);
        if (!good)
            ck_assert_msg(err == NP_E_NOMEM || err == NP_E_IO || err == NP_E_INVALID, "%d",
                          (int)err);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("script/policyset");
    TCase *c = tcase_create("policyset");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, the_version_is_twelve_hex_digits_of_names_and_contents);
    tcase_add_test(c, text_that_moves_from_one_file_to_the_next_changes_the_version);
    tcase_add_test(c, what_editors_leave_is_no_part_of_a_set);
    tcase_add_test(c, a_folder_that_is_not_there_says_so);
    tcase_add_test(c, an_unknown_lua_file_at_the_top_is_an_error_with_a_guess);
    tcase_add_test(c, other_unknown_files_and_folders_are_warnings);
    tcase_add_test(c, a_library_that_no_require_can_name_is_an_error);
    tcase_add_test(c, a_link_out_of_the_folder_is_refused);
    tcase_add_test(c, links_within_the_folder_are_followed_as_a_config_map_has_them);
    tcase_add_test(c, a_file_over_four_mebibytes_is_refused);
    tcase_add_test(c, a_pipe_is_no_file);
    tcase_add_test(c, a_file_that_others_may_write_is_refused_unless_the_folder_is_trusted);
    tcase_add_test(c, a_syntax_error_has_its_line);
    tcase_add_test(c, syntax_errors_of_all_files_are_told_at_once);
    tcase_add_test(c, bytecode_is_no_policy);
    tcase_add_test(c, a_hook_file_returns_one_function);
    tcase_add_test(c, an_error_while_a_hook_is_loaded_has_its_line);
    tcase_add_test(c, a_file_that_does_not_end_is_stopped);
    tcase_add_test(c, globals_and_what_can_harm_are_not_there);
    tcase_add_test(c, libraries_come_from_the_set_alone);
    tcase_add_test(c, a_fault_of_a_library_is_told_once_at_its_own_place);
    tcase_add_test(c, libraries_that_require_each_other_are_told);
    tcase_add_test(c, only_the_hooks_that_are_there_are_there);
    tcase_add_test(c, a_missing_data_file_is_told_and_the_rest_is_checked);
    tcase_add_test(c, slots_stay_the_same_over_reloads);
    tcase_add_test(c, a_set_lives_until_its_last_hold_is_dropped);
    tcase_add_test(c, the_thousandth_problem_is_the_last_that_is_kept_but_all_are_counted);
    tcase_add_test(c, whichever_allocation_fails_the_set_is_refused_and_nothing_is_left);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
