/* Calling hooks: arguments, limits, notes. What a hook returned is judged within the same limits. */
#include "script/hooks.h"

#include <stdio.h>
#include <stdlib.h>

#include "script/adapter.h"
#include "script/hook_call.h"
#include "script/limits.h"
#include "script/mark.h"
#include "script/request.h"
#include "script/sandbox.h"
#include "script/views.h"

#define WHY_BYTES 120
/* A call this long was stopped late. */
#define STALL_NS (NP_HOOK_CPU_NS + 20 * NP_NS_PER_MS)

/* -------------------------------------------------------------------------------------- state */

/* Trusted: the objects that hooks get. */
static int set_up(lua_State *L)
{
    struct np_script *s = lua_touserdata(L, 1);
    np_fields_open(L, &s->fields);
    np_req_open(L, s);
    np_views_open(L, s);
    return 0;
}

/* Limited: runs a hook's file and keeps the function that it returns. */
static int load_hook(lua_State *L)
{
    struct np_script *s = np_state_of(L)->script;
    enum np_hook hook = (enum np_hook)lua_tointeger(L, 1);
    const struct np_set_file *file = lua_touserdata(L, 2);
    np_sandbox_load(L, file);
    lua_call(L, 0, 1);
    if (lua_type(L, -1) != LUA_TFUNCTION)
        return luaL_error(L, "%s must return a function, returned a %s", file->name,
                          luaL_typename(L, -1));
    np_mark_find(L, -1, s->set, &s->mark[hook]);
    s->hook[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool load_hooks(struct np_script *s)
{
    for (int hook = 0; hook < NP_HOOK_COUNT; hook++) {
        char name[32];
        snprintf(name, sizeof name, "%s.lua", np_hook_name((enum np_hook)hook));
        const struct np_set_file *file = np_set_file_find(s->set, name);
        if (!file)
            continue;
        lua_pushcfunction(s->state.L, load_hook);
        lua_pushinteger(s->state.L, hook);
        lua_pushlightuserdata(s->state.L, (void *)(uintptr_t)file);
        if (!np_state_call(&s->state, 2, 0, &np_limit_steps))
            return false;
    }
    return true;
}

/* Hooks stand on the stack above the handler, too, where their lines are read without a look into the
 * registry. */
static void stand_hooks(struct np_script *s)
{
    lua_State *L = s->state.L;
    for (int hook = 0; hook < NP_HOOK_COUNT; hook++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->hook[hook]);
        lua_replace(L, s->handler + 1 + hook);
    }
}

/* Trusted: libraries will be run anew. */
static int forget_modules(lua_State *L)
{
    lua_newtable(L);
    np_state_of(L)->modules = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct np_script *np_script_new(struct np_policyset *set, const struct np_powers *powers,
                                bool timed)
{
    struct np_script *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->set = np_policyset_hold(set);
    s->powers = *powers;
    s->timed = timed;
    s->adapters = LUA_NOREF;
    for (int hook = 0; hook < NP_HOOK_COUNT; hook++)
        s->hook[hook] = LUA_NOREF;
    if (np_state_open(&s->state, set) || !lua_checkstack(s->state.L, LUA_MINSTACK + NP_HOOK_COUNT))
        goto fail;
    s->state.script = s;
    s->handler = np_state_push_handler(&s->state);
    lua_settop(s->state.L, s->handler + NP_HOOK_COUNT);
    lua_pushcfunction(s->state.L, set_up);
    lua_pushlightuserdata(s->state.L, s);
    if (!np_state_call_trusted(&s->state, 1, 0) || !load_hooks(s))
        goto fail;
    stand_hooks(s);
    return s;
fail:
    np_script_free(s);
    return NULL;
}

bool np_script_turn(struct np_script *s, struct np_policyset *set)
{
    struct np_policyset *before = s->set;
    int hooks[NP_HOOK_COUNT], modules = s->state.modules;
    struct np_mark marks[NP_HOOK_COUNT];
    memcpy(hooks, s->hook, sizeof hooks);
    memcpy(marks, s->mark, sizeof marks);
    for (int hook = 0; hook < NP_HOOK_COUNT; hook++)
        s->hook[hook] = LUA_NOREF;
    s->state.set = s->set = set;
    lua_pushcfunction(s->state.L, forget_modules);
    if (np_state_call_trusted(&s->state, 0, 0) && load_hooks(s)) {
        stand_hooks(s);
        np_policyset_hold(set);
        np_policyset_drop(before);
        return true;
    }
    memcpy(s->hook, hooks, sizeof hooks);
    memcpy(s->mark, marks, sizeof marks);
    s->state.modules = modules;
    s->state.set = s->set = before;
    return false;
}

void np_script_free(struct np_script *s)
{
    if (!s)
        return;
    np_state_close(&s->state);
    for (int a = 0; a < NP_ADAPTER_COUNT; a++)
        free(s->streams[a]);
    np_policyset_drop(s->set);
    free(s);
}

struct np_script *np_script_renew(struct np_script *old)
{
    struct np_script *s = NULL;
    if (!old->state.lines)
        s = np_script_new(old->set, &old->powers, old->timed);
    if (!s)
        return NULL;
    s->state.interrupt = old->state.interrupt;
    if (old->adapters == LUA_NOREF)
        return s;
    if (np_adapters_open(s)) {
        np_script_free(s);
        return NULL;
    }
    /* The new ones say the same, but there may be streams under way that are read by the old ones. */
    for (int a = 0; a < NP_ADAPTER_COUNT; a++) {
        free(s->streams[a]);
        s->streams[a] = old->streams[a];
        old->streams[a] = NULL;
    }
    return s;
}

void np_script_idle(struct np_script *s)
{
    np_state_collect(&s->state, false);
}

void np_script_interrupt(struct np_script *s, const volatile sig_atomic_t *flag)
{
    s->state.interrupt = flag;
}

size_t np_script_bytes(const struct np_script *s)
{
    return s->state.used_bytes;
}

bool np_script_has(const struct np_script *s, enum np_hook hook)
{
    return s->hook[hook] != LUA_NOREF;
}

bool np_script_spoiled(const struct np_script *s)
{
    return s->state.spoiled;
}

/* --------------------------------------------------------------------------------------- call */

/* Pushes what the hook gets beside req; returns how many values. */
static int push_argument(lua_State *L, struct np_hook_call *call)
{
    switch (call->hook) {
    case NP_HOOK_truncate:
        lua_pushinteger(L, call->room_tokens);
        return 1;
    case NP_HOOK_budget:
        np_views_push_candidate(L, call->s, call->candidate);
        return 1;
    case NP_HOOK_retry:
        np_views_push_attempt(L, call->s, call->attempt);
        return 1;
    case NP_HOOK_respond:
        np_views_push_reply(L, call->s);
        return 1;
    case NP_HOOK_degrade:
        lua_pushstring(L, np_reason_name(call->s->reason));
        return 1;
    default:
        return 0;
    }
}

/* The hook's second value. */
static void take_why(lua_State *L, struct np_hook_call *call)
{
    int type = lua_type(L, 3);
    if (type == LUA_TNIL)
        return;
    if (type != LUA_TSTRING)
        np_state_type_error(L, "the second value, why, must be a string, got a %s",
                            luaL_typename(L, 3));
    struct np_span s;
    s.p = lua_tolstring(L, 3, &s.n);
    /* Cut between two characters. */
    if (s.n > WHY_BYTES)
        for (s.n = WHY_BYTES; s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80;)
            s.n--;
    call->why = np_arena_dup(call->x->arena, s);
}

/* What the hook gets first: req, or stats where there is no request. */
static void push_first(lua_State *L, const struct np_hook_call *call)
{
    if (call->hook != NP_HOOK_alert) {
        np_req_push(L, call->s);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->s->state.env);
    lua_getfield(L, -1, "stats");
    lua_remove(L, -2);
}

/* Protected and limited: 1 req or stats, 2 what the hook returned, 3 why. */
static int run_hook(lua_State *L)
{
    struct np_hook_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    push_first(L, call);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->s->hook[call->hook]);
    lua_pushvalue(L, 1);
    int n = push_argument(L, call);
    lua_call(L, 1 + n, 2);
    call->s->state.judged = call->s->hook[call->hook];
    call->s->state.judged_mark = &call->s->mark[call->hook];
    if (lua_type(L, 3) != LUA_TNIL)
        take_why(L, call);
    np_judges[call->hook](L, call);
    return 0;
}

static void report_failure(struct np_hook_call *call, struct np_hook_report *rep,
                           enum np_fault_kind kind, const char *text)
{
    static const char *const returned[] = {"failed: error", "failed: time", "failed: memory",
                                           "failed: type"};
    rep->result = NP_HOOK_FAILED;
    rep->failure = (int)kind;
    snprintf(rep->error, sizeof rep->error, "%s", text);
    call->returned = np_span_of(returned[kind]);
    call->why = NP_SPAN_NONE;
}

static bool call_lua(struct np_hook_call *call)
{
    struct np_script *s = call->s;
    uint64_t left = NP_REQUEST_HOOKS_NS - call->x->hooks_ns;
    struct np_limit limit = {s->timed, left < NP_HOOK_CPU_NS ? left : NP_HOOK_CPU_NS,
                             NP_HOOK_STEPS};
    s->x = call->x;
    lua_pushcfunction(s->state.L, run_hook);
    lua_pushlightuserdata(s->state.L, call);
    bool ok = np_state_call_kept(&s->state, s->handler, 1, 0, &limit);
    s->x = NULL;
    np_views_end(s);
    return ok;
}

static void call_timed(struct np_hook_call *call, struct np_hook_report *rep)
{
    struct np_script *s = call->s;
    uint64_t start_ns = np_clock_mono_ns(s->powers.clock);
    call->measured = s->powers.clock != &np_clock_live;
    uint64_t from_ns = call->measured ? np_clock_mono_ns(&np_clock_live) : 0;
    bool ok = call_lua(call);
    call->measured_ns = call->measured ? np_clock_mono_ns(&np_clock_live) - from_ns : 0;
    rep->ns = np_clock_mono_ns(s->powers.clock) - start_ns;
    if (!ok)
        report_failure(call, rep, s->state.fault.kind, s->state.fault.text);
    else
        rep->result = call->gave ? NP_HOOK_GAVE : NP_HOOK_NOTHING;
}

/* The lists that admit handed out can be written as long as a policy keeps them, but have no say. */
static void end_admit(struct np_script *s)
{
    np_draft_drop(s);
    if (!s->req)
        return;
    lua_rawgeti(s->state.L, LUA_REGISTRYINDEX, s->req_ref);
    lua_pushnil(s->state.L);
    lua_setiuservalue(s->state.L, -2, NP_REQ_CACHE);
    lua_pop(s->state.L, 1);
}

/* Where a hook failed and how, in Lua's words behind the place. */
static void note_failure(const struct np_hook_call *call, struct np_hook_note *note)
{
    const struct np_script_fault *f = &call->s->state.fault;
    struct np_span text = np_span_of(f->text);
    if (f->file[0]) {
        char place[sizeof f->file + 16];
        size_t n = (size_t)snprintf(place, sizeof place, "%s:%u: ", f->file, f->line);
        note->file = np_arena_strdup(call->x->arena, f->file);
        note->line = f->line;
        if (text.n > n && memcmp(text.p, place, n) == 0)
            text = np_span_make(text.p + n, text.n - n);
    }
    note->error = np_arena_dup(call->x->arena, text);
}

/* Where a hook returned. */
static inline void note_line(struct np_script *s, enum np_hook hook, struct np_hook_note *note)
{
    const struct np_mark *mark = &s->mark[hook];
    note->file = mark->file;
    if (mark->file)
        note->line = np_mark_line(s->state.L, s->handler + 1 + (int)hook, mark);
}

/* What more is known of a call on the simulated ground, whose own clock stands still meanwhile. */
static void note_more(const struct np_hook_call *call, struct np_hook_note *note)
{
    const struct np_state *st = &call->s->state;
    uint64_t us = call->measured_ns / 1000;
    note->ns = call->measured_ns;
    note->us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    note->steps = call->s->timed ? 0 : st->steps_given - st->steps_left;
}

/* What of a call's time counts against the request: a thread that did not run can't be held against the
 * policy. */
static uint64_t charged_ns(const struct np_state *st, uint64_t ns)
{
    uint64_t most = !st->timed ? ns : st->cpu_ns > 0 ? st->cpu_ns : NP_LIMIT_TICK_NS;
    return ns < most ? ns : most;
}

static void run(struct np_hook_call *call, struct np_hook_report *rep)
{
    struct np_script *s = call->s;
    struct np_exchange *x = call->x;
    uint64_t charged = 0;
    rep->ns = 0;
    rep->stalled = false;
    rep->error[0] = '\0';
    if (s->hook[call->hook] == LUA_NOREF) {
        rep->result = NP_HOOK_ABSENT;
        return;
    }
    call->returned = NP_SPAN("nothing");
    bool called = x->hooks_ns < NP_REQUEST_HOOKS_NS;
    if (!called) {
        report_failure(call, rep, NP_FAULT_KIND_TIME,
                       "the hooks of this request have used up their time");
    } else {
        np_state_make_room(&s->state);
        call_timed(call, rep);
        rep->stalled = s->state.cpu_ns > STALL_NS;
        charged = charged_ns(&s->state, rep->ns);
    }
    struct np_hook_note *note =
        np_exchange_note_hook(x, call->hook, rep->ns, call->returned, call->why);
    bool failed = rep->result == NP_HOOK_FAILED;
    if (note && failed && called)
        note_failure(call, note);
    if (note && !failed)
        note_line(s, call->hook, note);
    if (note && call->measured)
        note_more(call, note);
    x->hooks_ns -= rep->ns - charged;
}

/* -------------------------------------------------------------------------------------- hooks */

void np_hook_admit(struct np_script *s, struct np_exchange *x, struct np_refusal *refusal,
                   struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_admit, .refusal = refusal};
    if (s->hook[NP_HOOK_admit] != LUA_NOREF)
        np_draft_begin(s, x);
    run(&call, rep);
    if (rep->result != NP_HOOK_ABSENT)
        end_admit(s);
}

void np_hook_route(struct np_script *s, struct np_exchange *x, struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_route};
    run(&call, rep);
}

void np_hook_truncate(struct np_script *s, struct np_exchange *x, const struct np_candidate *c,
                      int64_t room_tokens, struct np_hook_report *rep)
{
    struct np_hook_call call = {
        .s = s, .x = x, .hook = NP_HOOK_truncate, .candidate = c, .room_tokens = room_tokens};
    run(&call, rep);
}

void np_hook_budget(struct np_script *s, struct np_exchange *x, const struct np_candidate *c,
                    struct np_verdict *v, struct np_hook_report *rep)
{
    struct np_hook_call call = {
        .s = s, .x = x, .hook = NP_HOOK_budget, .candidate = c, .verdict = v};
    v->kind = NP_VERDICT_NONE;
    run(&call, rep);
}

void np_hook_retry(struct np_script *s, struct np_exchange *x, const struct np_attempt *a,
                   struct np_verdict *v, struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_retry, .attempt = a, .verdict = v};
    v->kind = NP_VERDICT_NONE;
    run(&call, rep);
}

void np_hook_respond(struct np_script *s, struct np_exchange *x, struct np_verdict *v,
                     struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_respond, .verdict = v};
    v->kind = NP_VERDICT_NONE;
    run(&call, rep);
}

void np_hook_degrade(struct np_script *s, struct np_exchange *x, enum np_reason reason,
                     struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_degrade};
    s->reason = reason;
    run(&call, rep);
    s->reason = NP_REASON_none;
}

void np_hook_alert(struct np_script *s, struct np_exchange *x, struct np_alarms *out,
                   struct np_hook_report *rep)
{
    struct np_hook_call call = {.s = s, .x = x, .hook = NP_HOOK_alert, .alarms = out};
    out->n = 0;
    run(&call, rep);
    if (rep->result != NP_HOOK_GAVE)
        out->n = 0;
}
