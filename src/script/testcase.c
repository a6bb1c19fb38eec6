/* recorded(pattern): each file is a test. A case is what play takes, as JSON, and `expect`: the
 * members of the run that are wanted, and in tables below only those of their members that stand there.
 * With a ground that rewrites, what a case expects becomes what it got. */
#include "script/testhost_impl.h"

#include "script/json.h"

#include <fnmatch.h>

int np_testcase_recorded(lua_State *L)
{
    struct np_test_host *h = lua_touserdata(L, lua_upvalueindex(1));
    size_t found = 0;
    if (lua_type(L, 1) != LUA_TSTRING)
        return np_state_type_error(L, "recorded(pattern): a string is wanted, got a %s",
                                   luaL_typename(L, 1));
    const char *pattern = lua_tostring(L, 1);
    for (size_t i = 0; i < h->set->n_files; i++) {
        const char *name = h->set->files[i].name;
        if (!np_span_starts(np_span_of(name), "cases/") ||
            fnmatch(pattern, name, FNM_PATHNAME) != 0)
            continue;
        lua_pushstring(L, name);
        (void)np_testhost_announce(L, h, "record", 1);
        lua_settop(L, 1);
        found++;
    }
    if (found == 0)
        return np_state_type_error(L,
                                   "recorded: no file of the set is called %s (recorded cases are "
                                   "cases/NAME.json)",
                                   pattern);
    return 0;
}

unsigned np_testcase_line(const struct np_set_file *f)
{
    static const char word[] = "\"expect\"";
    const char *at = memmem(f->source.p, f->source.n, word, sizeof word - 1);
    unsigned line = 1;
    for (const char *p = f->source.p; at && p < at; p++)
        line += *p == '\n';
    return line;
}

/* Puts the file with `expect` in the place of what it expected, or as its last member, into out. */
static void splice(struct np_buf *out, struct np_span source, struct np_span expect)
{
    struct np_span key, value, old = NP_SPAN_NONE, last = NP_SPAN_NONE;
    for (struct np_json_walk w = np_json_walk(source); np_json_member(&w, &key, &value);) {
        last = value;
        if (np_span_is(key, "expect"))
            old = value;
    }
    const char *end = source.p + source.n;
    if (old.p) {
        np_buf_put(out, source.p, (size_t)(old.p - source.p));
        np_buf_span(out, expect);
        np_buf_put(out, old.p + old.n, (size_t)(end - old.p - (ptrdiff_t)old.n));
        return;
    }
    const char *after = last.p + last.n;
    np_buf_put(out, source.p, (size_t)(after - source.p));
    np_buf_puts(out, ",\n  \"expect\": ");
    np_buf_span(out, expect);
    np_buf_puts(out, "\n}\n");
}

/* The judgement, {message=, json=}, is on the top. */
static void rewrite(lua_State *L, struct np_test_host *h)
{
    const struct np_test_ground *ground = h->order->ground;
    struct np_span json;
    np_buf_reset(&h->given);
    np_buf_reset(&h->message);
    lua_getfield(L, -1, "json");
    json.p = lua_tolstring(L, -1, &json.n);
    splice(&h->given, h->recorded->source, json);
    if (np_buf_failed(&h->given))
        luaL_error(L, "%s", np_err_text(NP_E_NOMEM));
    if (!ground->rewrite(ground->ctx, h->recorded->name, np_buf_view(&h->given), &h->message)) {
        lua_pushlstring(L, h->message.n ? h->message.p : "", h->message.n);
        luaL_error(L, "%s can't be written: %s", h->recorded->name, lua_tostring(L, -1));
    }
    lua_getfield(L, -2, "changes");
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    np_buf_reset(&h->message);
    np_buf_put(&h->message, text, n);
    h->updated = true;
}

void np_testcase_run(lua_State *L, struct np_test_host *h)
{
    struct np_json_fault fault;
    struct np_span source = h->recorded->source;
    if (np_json_check(source, NP_JSON_DEPTH, &fault)) {
        h->broken = fault.line;
        luaL_error(L, "%s is no JSON: %s at line %d, column %d", h->recorded->name, fault.what,
                   (int)fault.line, (int)fault.column);
    }
    np_ljson_push(L, source);
    np_testhost_helper(L, h, "split", 1); /* {given, expect}, or what is wrong */
    if (lua_isstring(L, -1))
        luaL_error(L, "%s: %s", h->recorded->name, lua_tostring(L, -1));
    int parts = lua_gettop(L);
    lua_getfield(L, parts, "given");
    (void)np_testhost_play(L, h);
    lua_getfield(L, parts, "expect");
    np_testhost_helper(L, h, "judge", 2); /* nil when the two are equal */
    if (lua_isnil(L, -1))
        return;
    if (h->order->ground->rewrite) {
        rewrite(L, h);
        return;
    }
    lua_getfield(L, -1, "message");
    np_testhost_unexpected(L, h);
}
