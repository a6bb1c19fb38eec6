/* The C side of tests: their states, test, play, alerts and expect, and what a failure says. */
#include "script/testhost_impl.h"

#include <fnmatch.h>
#include <stdio.h>

#include "script/json.h"
#include "script/load.h"
#include "script/state.h"

#define TEXT_BYTES ((size_t)1 << 20)
/* Ten times what a hook may take: a test may play many requests. */
#define TEST_STEPS (10 * (int64_t)NP_HOOK_STEPS)
/* What expect raises; the text that people read is kept beside it. */
#define UNEXPECTED "got something else than expected"

static const struct np_limit test_limit = {false, 0, TEST_STEPS};

static struct np_test_host *host_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

void np_testhost_helper(lua_State *L, const struct np_test_host *h, const char *name, int n_args)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->module);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -n_args - 1);
    lua_call(L, n_args, 1);
}

/* --- what tests call ------------------------------------------------------------------------------ */

static void want(lua_State *L, int arg, int type, const char *usage)
{
    if (lua_type(L, arg) != type)
        np_state_type_error(L, "%s: a %s is wanted, got a %s", usage, lua_typename(L, type),
                            luaL_typename(L, arg));
}

int np_testhost_announce(lua_State *L, struct np_test_host *h, const char *helper, int n_args)
{
    lua_Debug ar;
    int line = 0;
    if (h->running)
        return np_state_type_error(L, "test: a test can't announce others");
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "l", &ar) && ar.currentline > 0)
        line = ar.currentline;
    lua_pushinteger(L, line);
    lua_insert(L, -n_args - 1);
    np_testhost_helper(L, h, helper, n_args + 1);
    return lua_isnil(L, -1) ? 0 : np_state_type_error(L, "%s", lua_tostring(L, -1));
}

/* test(name, fn): by __call, so that the table itself comes first. */
static int test(lua_State *L)
{
    static const char usage[] = "test(name, function)";
    want(L, 2, LUA_TSTRING, usage);
    want(L, 3, LUA_TFUNCTION, usage);
    lua_settop(L, 3);
    return np_testhost_announce(L, host_of(L), "add", 2);
}

static int each(lua_State *L)
{
    static const char usage[] = "test.each(name, list, function)";
    want(L, 1, LUA_TSTRING, usage);
    want(L, 2, LUA_TTABLE, usage);
    want(L, 3, LUA_TFUNCTION, usage);
    lua_settop(L, 3);
    return np_testhost_announce(L, host_of(L), "each", 3);
}

typedef enum np_err on_ground(void *ctx, struct np_span given, struct np_buf *out,
                              struct np_buf *shown);

/* Hands the table on the top to the ground; what comes of it takes its place. */
static int hand_over(lua_State *L, struct np_test_host *h, const char *name, on_ground *act)
{
    np_testhost_helper(L, h, "prepare", 1);
    int at = lua_gettop(L);
    np_buf_reset(&h->given);
    np_buf_reset(&h->run);
    np_buf_reset(&h->trace);
    if (!np_ljson_encode(L, at, &h->given, NP_JSON_DEPTH))
        return np_state_type_error(L, "%s: %s", name, lua_tostring(L, -1));
    enum np_err err = act(h->order->ground->ctx, np_buf_view(&h->given), &h->run, &h->trace);
    if (err == NP_E_INVALID)
        return np_state_type_error(L, "%s: %.*s", name, (int)h->run.n, h->run.n ? h->run.p : "");
    if (err || np_buf_failed(&h->run))
        return luaL_error(L, "%s: %s", name, np_err_text(err ? err : NP_E_NOMEM));
    np_ljson_push(L, np_buf_view(&h->run));
    return 1;
}

int np_testhost_play(lua_State *L, struct np_test_host *h)
{
    return hand_over(L, h, "play", h->order->ground->play);
}

/* What is on the top for a test: what it is called in testing.lua, of whose fields alone it can ask. */
static int hand_back(lua_State *L, struct np_test_host *h, const char *class)
{
    lua_pushstring(L, class);
    np_testhost_helper(L, h, "hand_back", 2);
    return 1;
}

static int play(lua_State *L)
{
    struct np_test_host *h = host_of(L);
    if (!h->running)
        return np_state_type_error(L, "play: only tests can play, not their file");
    want(L, 1, LUA_TTABLE, "play{request = {…}}");
    lua_settop(L, 1);
    (void)np_testhost_play(L, h);
    return hand_back(L, h, "run");
}

static int alerts(lua_State *L)
{
    struct np_test_host *h = host_of(L);
    if (!h->running)
        return np_state_type_error(L, "alerts: only tests can ask, not their file");
    want(L, 1, LUA_TTABLE, "alerts{after_ms = …}");
    lua_settop(L, 1);
    (void)hand_over(L, h, "alerts", h->order->ground->alerts);
    return hand_back(L, h, "told");
}

int np_testhost_unexpected(lua_State *L, struct np_test_host *h)
{
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    np_buf_reset(&h->message);
    np_buf_put(&h->message, text, n);
    lua_pushliteral(L, UNEXPECTED);
    return lua_error(L);
}

static int expect(lua_State *L)
{
    struct np_test_host *h = host_of(L);
    if (lua_gettop(L) != 2)
        return np_state_type_error(L, "expect(got, wanted) takes two values, got %d",
                                   lua_gettop(L));
    np_testhost_helper(L, h, "compare", 2);
    return lua_isnil(L, -1) ? 0 : np_testhost_unexpected(L, h);
}

/* --- results --------------------------------------------------------------------------------------- */

/* The text of a line of the set's file, without the blanks around it. */
static struct np_span source_line(const struct np_policyset *set, const char *name, unsigned line)
{
    const struct np_set_file *f = np_set_file_find(set, name);
    if (!f || line == 0)
        return NP_SPAN_NONE;
    const char *p = f->source.p, *end = p + f->source.n;
    for (; line > 1 && p < end; line--) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        p = next ? next + 1 : end;
    }
    const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    stop = stop ? stop : end;
    while (p < stop && (*p == ' ' || *p == '\t'))
        p++;
    while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
        stop--;
    return np_span_make(p, (size_t)(stop - p));
}

static void tell(struct np_test_host *h, struct np_test_result *r)
{
    r->file = h->file->name;
    r->name = h->name;
    r->line = h->line;
    if (r->passed)
        h->counts->passed++;
    else
        h->counts->failed++;
    if (h->order->done)
        h->order->done(h->order->ctx, r);
}

/* What the state's fault says: at its place, in its own words or those of expect. */
static void tell_fault(struct np_test_host *h)
{
    const struct np_script_fault *f = &h->st->fault;
    struct np_span text = np_span_of(f->text);
    char place[sizeof f->file + 16];
    int n = snprintf(place, sizeof place, "%s:%u: ", f->file, f->line);
    if (f->file[0] && np_span_starts(text, place))
        text = np_span_make(text.p + n, text.n - (size_t)n);
    struct np_test_result r = {.at_file = f->file,
                               .at_line = f->line,
                               .source = source_line(h->set, f->file, f->line),
                               .message =
                                   np_span_is(text, UNEXPECTED) ? np_buf_view(&h->message) : text,
                               .run = np_buf_view(&h->trace)};
    r.steps = TEST_STEPS - h->st->steps_left;
    if (h->recorded && !f->file[0]) {
        r.at_file = h->recorded->name;
        r.at_line = h->broken ? h->broken : np_testcase_line(h->recorded);
        r.source = source_line(h->set, r.at_file, r.at_line);
    }
    tell(h, &r);
}

/* Something is wrong with the file as a whole. */
static void tell_file(struct np_test_host *h, const char *text)
{
    struct np_test_result r = {.at_file = h->file->name, .message = np_span_of(text)};
    tell(h, &r);
}

/* --- running --------------------------------------------------------------------------------------- */

/* Trusted: 1 host, 2 what testing.lua returned. */
static int open_file(lua_State *L)
{
    static const luaL_Reg natives[] = {{"test", test},
                                       {"each", each},
                                       {"play", play},
                                       {"alerts", alerts},
                                       {"expect", expect},
                                       {"recorded", np_testcase_recorded},
                                       {"guess", np_native_guess},
                                       {NULL, NULL}};
    struct np_test_host *h = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    h->module = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->st->env);
    luaL_newlibtable(L, natives);
    lua_pushlightuserdata(L, h);
    luaL_setfuncs(L, natives, 1);
    np_testhost_helper(L, h, "open", 2);
    h->env = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void push_tests(lua_State *L, const struct np_test_host *h)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->module);
    lua_getfield(L, -1, "tests");
}

/* Trusted: how many tests the file has announced. */
static int count_tests(lua_State *L)
{
    struct np_test_host *h = lua_touserdata(L, 1);
    push_tests(L, h);
    h->n_tests = (size_t)lua_rawlen(L, -1);
    return 0;
}

/* Trusted: name and line of test 2. */
static int read_test(lua_State *L)
{
    struct np_test_host *h = lua_touserdata(L, 1);
    push_tests(L, h);
    lua_rawgeti(L, -1, lua_tointeger(L, 2));
    lua_getfield(L, -1, "name");
    (void)snprintf(h->name, sizeof h->name, "%s", lua_tostring(L, -1));
    lua_getfield(L, -2, "line");
    h->line = (unsigned)lua_tointeger(L, -1);
    lua_getfield(L, -3, "case");
    h->recorded = lua_isstring(L, -1) ? np_set_file_find(h->set, lua_tostring(L, -1)) : NULL;
    return 0;
}

/* Limited: runs test 2. */
static int run_test(lua_State *L)
{
    struct np_test_host *h = lua_touserdata(L, 1);
    if (h->recorded) {
        np_testcase_run(L, h);
        return 0;
    }
    push_tests(L, h);
    lua_rawgeti(L, -1, lua_tointeger(L, 2));
    lua_getfield(L, -1, "args");
    int n_args = (int)lua_tointeger(L, -1);
    lua_getfield(L, -2, "fn");
    if (n_args > 0)
        lua_getfield(L, -3, "item");
    lua_call(L, n_args, 0);
    return 0;
}

/* Calls one of the functions above with the host and a number. */
static bool call_own(struct np_test_host *h, lua_CFunction f, size_t number, bool trusted)
{
    lua_State *L = h->st->L;
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, h);
    lua_pushinteger(L, (lua_Integer)number);
    return trusted ? np_state_call_trusted(h->st, 2, 0) : np_state_call(h->st, 2, 0, &test_limit);
}

static bool is_wanted(const struct np_test_host *h)
{
    char pattern[NP_TEST_NAME_BYTES];
    if (!h->order->filter)
        return true;
    (void)snprintf(pattern, sizeof pattern, "*%s*", h->order->filter);
    return fnmatch(pattern, h->name, 0) == 0 || fnmatch(pattern, h->file->name, 0) == 0;
}

static bool is_over(const struct np_test_host *h)
{
    return h->order->is_over && h->order->is_over(h->order->ctx);
}

static enum np_err run_tests(struct np_test_host *h)
{
    for (size_t i = 1; i <= h->n_tests && !is_over(h); i++) {
        if (!call_own(h, read_test, i, true))
            return NP_E_NOMEM;
        if (!is_wanted(h)) {
            h->counts->left_out++;
            continue;
        }
        np_buf_reset(&h->trace);
        h->order->ground->fresh(h->order->ground->ctx);
        h->running = h->st->testing = true;
        h->broken = 0;
        h->updated = false;
        bool ok = call_own(h, run_test, i, false);
        h->running = h->st->testing = false;
        struct np_test_result r = {.passed = true, .steps = TEST_STEPS - h->st->steps_left};
        if (h->updated)
            r.message = np_buf_view(&h->message);
        if (ok)
            tell(h, &r);
        else
            tell_fault(h);
        np_state_collect(h->st, true);
    }
    return NP_OK;
}

/* Opens a state with the file's environment; false without memory. */
static bool open_state(struct np_test_host *h)
{
    h->st = np_state_new_sandboxed(h->set);
    if (!h->st)
        return false;
    lua_State *L = h->st->L;
    lua_pushcfunction(L, open_file);
    lua_pushlightuserdata(L, h);
    return np_state_run_embedded(h->st, "neap/testing.lua") && np_state_call_trusted(h->st, 2, 0);
}

static enum np_err run_file(struct np_test_host *h)
{
    h->name[0] = '\0';
    h->line = 0;
    h->recorded = NULL;
    np_buf_reset(&h->trace);
    if (!open_state(h))
        return NP_E_NOMEM;
    lua_rawgeti(h->st->L, LUA_REGISTRYINDEX, h->env);
    if (!np_state_load_file(h->st, h->file, -1) || !np_state_call(h->st, 0, 0, &test_limit)) {
        tell_fault(h);
        return NP_OK;
    }
    if (!call_own(h, count_tests, 0, true))
        return NP_E_NOMEM;
    if (h->n_tests == 0)
        tell_file(h, "the file has no test: test(name, function) makes one");
    return run_tests(h);
}

enum np_err np_tests_run(struct np_policyset *set, const struct np_test_order *order,
                         struct np_test_counts *out)
{
    struct np_test_host h = {.order = order, .set = set, .counts = out};
    enum np_err err = NP_OK;
    *out = (struct np_test_counts){0};
    np_buf_init(&h.given, NP_JSON_OUT_BYTES);
    np_buf_init(&h.run, NP_JSON_OUT_BYTES);
    np_buf_init(&h.trace, TEXT_BYTES);
    np_buf_init(&h.message, TEXT_BYTES);
    for (size_t i = 0; i < set->n_files && !err; i++) {
        h.file = &set->files[i];
        if (np_set_file_kind(h.file->name) != NP_SET_TEST)
            continue;
        if (is_over(&h))
            break;
        out->files++;
        err = run_file(&h);
        np_state_free(h.st);
        h.st = NULL;
    }
    np_buf_free(&h.message);
    np_buf_free(&h.trace);
    np_buf_free(&h.run);
    np_buf_free(&h.given);
    return err;
}
