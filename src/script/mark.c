/* Hooks that tell the line of their return: compiling them so, and reading what they told. */
#include "script/mark.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------- compiling */

void np_mark_look(lua_State *L, int idx, const struct np_policyset *set, struct np_mark_want *out)
{
    lua_Debug ar;
    lua_pushvalue(L, idx);
    lua_getinfo(L, ">S", &ar);
    const struct np_set_file *f = ar.source[0] == '@' ? np_set_file_find(set, ar.source + 1) : NULL;
    *out = (struct np_mark_want){f ? &set->files[f - set->files] : NULL, ar.linedefined,
                                 ar.lastlinedefined};
}

/* One file to be marked; lives in the frame of mark_file. */
struct job {
    const struct np_set_file *file;
    const struct np_mark_want *wants;
    size_t n;
};

/* Trusted: (job, what mark.lua and lex.lua return) gives what M.mark returns. */
static int mark_text(lua_State *L)
{
    const struct job *j = lua_touserdata(L, 1);
    lua_getfield(L, 2, "mark");
    lua_pushlstring(L, j->file->source.p, j->file->source.n);
    lua_pushvalue(L, 3);
    lua_newtable(L);
    for (size_t i = 0, n = 0; i < j->n; i++) {
        if (j->wants[i].file != j->file)
            continue;
        lua_createtable(L, 0, 2);
        lua_pushinteger(L, j->wants[i].first);
        lua_setfield(L, -2, "first");
        lua_pushinteger(L, j->wants[i].last);
        lua_setfield(L, -2, "last");
        lua_rawseti(L, -2, (lua_Integer)++n);
    }
    lua_call(L, 3, 2);
    return 2;
}

/* Takes the marked text and the local's name from the top of the stack, where they stay. */
static void take(struct np_state *st, struct np_policyset *set, struct np_set_file *file)
{
    char chunk[NP_FAULT_BYTES];
    struct np_span text, code;
    text.p = lua_tolstring(st->L, -2, &text.n);
    const char *name = lua_tostring(st->L, -1);
    (void)snprintf(chunk, sizeof chunk, "@%s", file->name);
    /* A file that is at a limit of the compiler's is beyond it with one local more. */
    if (!text.p || !name || !np_state_load(st, text, false, chunk, 0))
        return;
    if (np_state_dump(st, set->arena, &code) && code.p)
        file->mark = np_arena_strdup(set->arena, name);
    if (file->mark) {
        file->unmarked = file->bytecode;
        file->bytecode = code;
    }
    lua_pop(st->L, 1);
}

/* marker: where mark.lua and behind it lex.lua stand on the stack. */
static void mark_file(struct np_state *st, int marker, struct np_policyset *set, struct job *j)
{
    lua_State *L = st->L;
    lua_pushcfunction(L, mark_text);
    lua_pushlightuserdata(L, j);
    lua_pushvalue(L, marker);
    lua_pushvalue(L, marker + 1);
    if (!np_state_call_trusted(st, 3, 2))
        return;
    take(st, set, &set->files[j->file - set->files]);
    lua_pop(L, 2);
    np_state_collect(st, false);
}

static bool is_first_of_file(const struct np_mark_want *wants, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (wants[k].file == wants[i].file)
            return false;
    return true;
}

void np_mark_files(struct np_state *st, struct np_policyset *set, const struct np_mark_want *wants,
                   size_t n)
{
    int top = lua_gettop(st->L);
    if (n > 0 && np_state_run_embedded(st, "neap/mark.lua") &&
        np_state_run_embedded(st, "neap/lex.lua")) {
        for (size_t i = 0; i < n; i++) {
            struct job j = {wants[i].file, wants, n};
            if (is_first_of_file(wants, i))
                mark_file(st, top + 1, set, &j);
        }
    }
    lua_settop(st->L, top);
}

/* --------------------------------------------------------------------------------------- reading */

void np_mark_find(lua_State *L, int idx, const struct np_policyset *set, struct np_mark *out)
{
    struct np_mark_want of;
    const char *name;
    idx = lua_absindex(L, idx);
    *out = (struct np_mark){NULL, 0};
    np_mark_look(L, idx, set, &of);
    if (!of.file || !of.file->mark)
        return;
    for (int i = 1; (name = lua_getupvalue(L, idx, i)) != NULL; i++) {
        lua_pop(L, 1);
        if (strcmp(name, of.file->mark) == 0)
            *out = (struct np_mark){of.file->name, i};
    }
}
