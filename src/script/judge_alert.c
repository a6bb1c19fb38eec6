/* Judging what the alert hook returns: a list of alarms and silences, taken whole or not at all. */
#include "script/hook_call.h"

#include <stdio.h>

#include "script/raw.h"

static void take(struct np_span from, char *to, size_t size)
{
    (void)snprintf(to, size, "%.*s", (int)from.n, from.p ? from.p : "");
}

static bool is_severity(struct np_span s)
{
    return np_span_is(s, "page") || np_span_is(s, "ticket") || np_span_is(s, "info");
}

static bool flag(lua_State *L, int idx, const char *where, const char *name)
{
    np_raw_push(L, idx, where, name, LUA_TBOOLEAN, true);
    bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

/* The table on the top. */
static void judge_one(lua_State *L, const char *where, struct np_alarm *a)
{
    static const char *const names[] = {"alert", "subject", "severity", "text", "silence"};
    int idx = lua_gettop(L);
    np_raw_check_keys(L, idx, where, names, sizeof names / sizeof *names);
    struct np_span alert = np_raw_string(L, idx, where, "alert", sizeof a->alert - 1);
    struct np_span subject = np_raw_string(L, idx, where, "subject", sizeof a->subject - 1);
    struct np_span severity = np_raw_string(L, idx, where, "severity", sizeof a->severity - 1);
    struct np_span text = np_raw_string(L, idx, where, "text", sizeof a->text - 1);
    a->silence = flag(L, idx, where, "silence");
    if (!alert.p || alert.n == 0)
        np_state_type_error(L, "%s needs the name of an alert, such as alert = \"slow\"", where);
    if (!a->silence && (!text.p || !severity.p || !is_severity(severity)))
        np_state_type_error(L, "%s needs a text and a severity: \"page\", \"ticket\" or \"info\"",
                            where);
    take(alert, a->alert, sizeof a->alert);
    take(subject, a->subject, sizeof a->subject);
    take(severity, a->severity, sizeof a->severity);
    take(text, a->text, sizeof a->text);
}

void np_judge_alert(lua_State *L, struct np_hook_call *call)
{
    size_t n;
    if (lua_type(L, 2) == LUA_TNIL)
        return;
    if (lua_type(L, 2) != LUA_TTABLE)
        np_state_type_error(L, "alert must return nothing or a list, returned a %s",
                            luaL_typename(L, 2));
    n = lua_rawlen(L, 2);
    if (n > NP_ALARMS || (n == 0 && (lua_pushnil(L), lua_next(L, 2))))
        np_state_type_error(L, "alert must return a list of at most %d tables", NP_ALARMS);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        (void)snprintf(where, sizeof where, "alarm %zu", i + 1);
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        if (lua_type(L, -1) != LUA_TTABLE)
            np_state_type_error(L, "%s must be a table, got a %s", where, luaL_typename(L, -1));
        judge_one(L, where, &call->alarms->list[i]);
        lua_pop(L, 1);
    }
    call->alarms->n = n;
    call->gave = n > 0;
    call->returned = NP_SPAN("alarms");
}
