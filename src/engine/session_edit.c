/* Changing the set: .edit and .reload run the last request again and say what is different. */
#include "engine/session_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- what is different ------------------------------------------------------------------------------ */

/* What all calls of a hook returned, in short. */
static void put_returned(struct np_arena *a, struct np_buf *b, struct np_span calls)
{
    struct np_span call, value, text;
    bool first = true;
    for (struct np_json_walk w = np_json_walk(calls); np_json_item(&w, &call);) {
        if (!np_json_get(call, "returned", &value) || np_json_text(a, value, true, &text))
            continue;
        np_buf_printf(b, "%s%.*s", first ? "" : "; ", (int)text.n, text.p);
        first = false;
    }
}

/* Which models were tried, and how that ended. */
static void put_attempts(struct np_arena *a, struct np_buf *b, struct np_span attempts)
{
    struct np_span attempt, model, class, m, c;
    bool first = true;
    for (struct np_json_walk w = np_json_walk(attempts); np_json_item(&w, &attempt);) {
        if (!np_json_get(attempt, "model", &model) || !np_json_get(attempt, "class", &class) ||
            np_json_text(a, model, true, &m) || np_json_text(a, class, true, &c))
            continue;
        np_buf_printf(b, "%s%.*s %.*s", first ? "" : ", ", (int)m.n, m.p, (int)c.n, c.p);
        first = false;
    }
}

static void put_outcome(struct np_arena *a, struct np_buf *b, struct np_span run)
{
    static const char *const names[] = {"status", "model", "reason"};
    struct np_span value, text;
    for (size_t i = 0; i < 3; i++) {
        if (!np_json_get(run, names[i], &value))
            continue;
        if (np_json_kind(value) != NP_JSON_STRING)
            text = value;
        else if (np_json_text(a, value, true, &text))
            continue;
        np_buf_printf(b, "%s%.*s", i ? " " : "", (int)text.n, text.p);
    }
}

/* One thing to compare, as text. */
static void put_thing(struct np_arena *a, struct np_buf *b, struct np_span run, const char *name)
{
    struct np_span value, hooks;
    if (strcmp(name, "outcome") == 0)
        put_outcome(a, b, run);
    else if (strcmp(name, "attempts") == 0 && np_json_get(run, "attempts", &value))
        put_attempts(a, b, value);
    else if (np_json_get(run, "hooks", &hooks) && np_json_get(hooks, name, &value))
        put_returned(a, b, value);
    else if (np_json_get(run, name, &value) && np_json_kind(value) == NP_JSON_NUMBER)
        np_buf_span(b, value);
}

/* Compares one thing, and says it where it differs and s is not NULL. */
static bool say_thing(struct neap_session *s, struct np_span before, struct np_span after,
                      const char *name)
{
    struct np_buf was, is;
    struct np_arena *a = np_arena_new(NP_SESSION_TEXT_BYTES);
    np_require(a);
    np_buf_init(&was, NP_SESSION_TEXT_BYTES);
    np_buf_init(&is, NP_SESSION_TEXT_BYTES);
    put_thing(a, &was, before, name);
    put_thing(a, &is, after, name);
    bool same = np_span_eq(np_buf_view(&was), np_buf_view(&is));
    if (!same && s)
        np_session_say(s, "%s~ %-9s%s %.*s   (was %.*s)\n", np_session_style(s, NP_STYLE_YELLOW),
                       name, np_session_style(s, NP_STYLE_OFF), is.n ? (int)is.n : 7,
                       is.n ? is.p : "nothing", was.n ? (int)was.n : 7, was.n ? was.p : "nothing");
    np_buf_free(&was);
    np_buf_free(&is);
    np_arena_free(a);
    return !same;
}

bool np_session_say_changes(struct neap_session *s, struct np_span before, struct np_span after)
{
    static const char *const names[] = {"admit",    "route",    "truncate",  "budget",
                                        "attempts", "retry",    "respond",   "degrade",
                                        "outcome",  "cost_usd", "latency_ms"};
    bool any = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        any = say_thing(s, before, after, names[i]) || any;
    return any;
}

bool np_session_is_same(struct np_span before, struct np_span after)
{
    static const char *const names[] = {"route", "attempts", "outcome"};
    bool same = true;
    for (size_t i = 0; same && i < sizeof names / sizeof *names; i++)
        same = !say_thing(NULL, before, after, names[i]);
    return same;
}

/* --- taking a new set -------------------------------------------------------------------------------- */

/* The last request that was run; NULL: none. */
static struct np_deed *last_run(const struct neap_session *s)
{
    struct np_deed *d = s->scene.deed;
    while (d && d->kind != NP_DEED_RUN)
        d = d->before;
    return d;
}

/* Runs the last request again from where it was, by the new set. */
static bool run_again(struct neap_session *s, struct np_deed *run, struct np_policyset *set)
{
    char *before = np_session_copy(np_buf_view(&s->run));
    struct np_deed *kept = np_session_hold(run);
    bool ok = np_session_go(s, kept->before) && np_session_turn(s, set) &&
              np_session_perform(s, NP_DEED_RUN, np_session_copy(np_span_of(kept->given)));
    if (ok && !np_session_say_changes(s, np_span_of(before), np_buf_view(&s->run)))
        np_session_say(s, "the last request goes the same way as before\n");
    np_session_let_go(kept);
    free(before);
    return ok;
}

static bool take_set(struct neap_session *s, struct np_policyset *set)
{
    const char *old = np_policyset_version(np_session_set_of(s));
    if (strcmp(old, np_policyset_version(set)) == 0) {
        np_session_say(s, "nothing has changed: policies %s\n", old);
        return true;
    }
    np_session_say(s, "policies %s -> %s\n", old, np_policyset_version(set));
    struct np_deed *run = last_run(s);
    return run ? run_again(s, run, set) : np_session_turn(s, set);
}

bool np_session_reload(struct neap_session *s, struct np_span args)
{
    struct np_buf problems;
    if (args.n > 0)
        return np_session_fail(s, ".reload takes nothing: it reads %s again", s->o.dir);
    np_buf_init(&problems, NP_SESSION_TEXT_BYTES);
    struct np_policyset *set = np_session_load_set(s, s->o.dir, &problems);
    bool ok = set != NULL;
    if (ok) {
        np_session_say_span(s, np_buf_view(&problems));
        ok = take_set(s, set);
        np_policyset_drop(set);
    } else {
        (void)np_session_fail(s, "%.*sthe set does not load; %s stays in force", (int)problems.n,
                              problems.n ? problems.p : "",
                              np_policyset_version(np_session_set_of(s)));
    }
    np_buf_free(&problems);
    return ok;
}

/* --- .edit ------------------------------------------------------------------------------------------- */

/* The file of a name: "route", "route.lua", "lib/plan", "lib.plan", "route_test", "templates/budget.txt". */
static bool find_file(struct neap_session *s, struct np_span name, char *path, size_t size)
{
    static const char *const parts[][2] = {
        {"", ""}, {"", ".lua"}, {"lib/", ".lua"}, {"templates/", ".txt"}};
    if (np_span_starts(name, "lib."))
        name = np_span_make(name.p + 4, name.n - 4);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int n = snprintf(path, size, "%s/%s%.*s%s", s->o.dir, parts[i][0], (int)name.n, name.p,
                         parts[i][1]);
        if (n > 0 && (size_t)n < size && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

bool np_session_edit(struct neap_session *s, struct np_span args)
{
    char path[4096];
    if (args.n == 0)
        args = np_span_of(s->focus);
    if (!find_file(s, args, path, sizeof path) && !np_session_is_hook(args))
        return np_session_fail(
            s, "there is no file %.*s in %s: .edit route, .edit lib/plan, .edit models",
            (int)args.n, args.p, s->o.dir);
    if (np_session_is_hook(args)) {
        (void)snprintf(s->focus, sizeof s->focus, "%.*s", (int)args.n, args.p);
        (void)snprintf(path, sizeof path, "%s/%.*s.lua", s->o.dir, (int)args.n, args.p);
    }
    np_session_flush(s);
    if (!s->o.edit || !s->o.edit(s->o.ctx, path))
        return np_session_fail(s, "%s was not edited", path);
    return np_session_reload(s, NP_SPAN_NONE);
}

bool np_session_is_hook(struct np_span name)
{
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (np_span_is(name, np_hook_name((enum np_hook)h)))
            return true;
    }
    return false;
}
