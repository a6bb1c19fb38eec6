/* Says what a problem's code means: lua/neap/codes.lua and examples.lua, written down for people. */
#include "script/load.h"
#include "script/state.h"

/* One question; lives in the frame of who asks. */
struct question {
    const char *code;
    struct np_buf *out;
    bool found;
};

static void push_file(lua_State *L, const char *name)
{
    const struct np_embedded_file *file = np_embedded_find(name);
    np_require(file);
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, name, "t") != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 1);
}

/* The text of a field of the table on the top, each line behind an indent. */
static void put_lines(lua_State *L, const char *field, const char *title, struct np_buf *out)
{
    lua_getfield(L, -1, field);
    const char *p = lua_tostring(L, -1);
    if (p)
        np_buf_printf(out, "\n%s\n\n", title);
    while (p && *p) {
        size_t n = strcspn(p, "\n");
        np_buf_printf(out, n > 0 ? "    %.*s\n" : "\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
    lua_pop(L, 1);
}

/* The keys of the table at 2, for a guess. */
static void put_guess(lua_State *L, const struct question *q)
{
    const char *names[256];
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        if (n < sizeof names / sizeof names[0])
            names[n++] = lua_tostring(L, -2); /* the table keeps it */
        lua_pop(L, 1);
    }
    const char *guess = np_span_guess(np_span_of(q->code), names, n);
    np_buf_puts(q->out, guess ? guess : "");
}

/* Trusted: (question). */
static int answer(lua_State *L)
{
    struct question *q = lua_touserdata(L, 1);
    push_file(L, "neap/codes.lua");
    push_file(L, "neap/examples.lua");
    lua_getfield(L, 2, q->code);
    const char *text = lua_tostring(L, -1);
    q->found = text != NULL;
    if (!text) {
        put_guess(L, q);
        return 0;
    }
    np_buf_printf(q->out, "%s  %s\n", q->code, text);
    lua_getfield(L, 3, q->code);
    if (lua_istable(L, -1)) {
        put_lines(L, "wrong", "Wrong:", q->out);
        put_lines(L, "right", "Right:", q->out);
    }
    return 0;
}

enum np_err np_problems_explain(const char *code, struct np_buf *out)
{
    struct question q = {.code = code, .out = out};
    struct np_state *st = np_state_new_sandboxed(NULL);
    if (!st)
        return NP_E_NOMEM;
    lua_pushcfunction(st->L, answer);
    lua_pushlightuserdata(st->L, &q);
    bool ok = np_state_call_trusted(st, 1, 0);
    np_state_free(st);
    if (!ok || np_buf_failed(out))
        return NP_E_NOMEM;
    return q.found ? NP_OK : NP_E_NOTFOUND;
}
