/* Judging what hooks return. An answer is read whole before anything of it is taken; what is not of
 * the right kind is an error of kind type that names the hook's file and line. */
#include "script/hook_call.h"

#include <math.h>
#include <stdio.h>

#include "script/json.h"
#include "script/lock.h"
#include "script/raw.h"
#include "script/request.h"
#include "script/views.h"

#define TEXT_BYTES ((size_t)1 << 20)
#define MESSAGE_BYTES 1024
#define TYPE_BYTES 64
#define WAIT_MS INT64_C(86400000)
#define RETURNED_BYTES 200

/* A copy in the exchange's arena; p is never NULL. */
static struct np_span keep(lua_State *L, const struct np_hook_call *call, struct np_span s)
{
    struct np_span copy = np_arena_dup(call->x->arena, s.p ? s : NP_SPAN(""));
    if (!copy.p)
        luaL_error(L, "the request's memory is used up");
    return copy;
}

static void give(struct np_hook_call *call, struct np_span returned)
{
    call->gave = true;
    call->returned = returned;
}

/* "max_tokens 200" for the record. */
static struct np_span in_short(struct np_hook_call *call, const char *what, int64_t n)
{
    char *p = np_arena_printf(call->x->arena, "%s %lld", what, (long long)n);
    return p ? np_span_of(p) : np_span_of(what);
}

/* Whether the answer is this word. */
static bool is_word(lua_State *L, const char *word)
{
    return lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), word) == 0;
}

static void wrong_kind(lua_State *L, const struct np_hook_call *call, const char *wanted)
{
    if (lua_type(L, 2) == LUA_TSTRING) {
        char text[NP_RAW_NAME];
        struct np_span word;
        word.p = lua_tolstring(L, 2, &word.n);
        np_state_type_error(L, "%s must return %s, returned the text %s", np_hook_name(call->hook),
                            wanted, np_raw_name(word, NULL, 0, text));
    }
    np_state_type_error(L, "%s must return %s, returned a %s", np_hook_name(call->hook), wanted,
                        luaL_typename(L, 2));
}

/* Makes the answer the table that it stands for; false when it is none. */
static bool is_table(lua_State *L)
{
    np_lock_reveal(L, 2);
    return lua_type(L, 2) == LUA_TTABLE;
}

static bool has(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    bool there = lua_rawget(L, 2) != LUA_TNIL;
    lua_pop(L, 1);
    return there;
}

/* ----------------------------------------------------------------------------------- refusals */

/* {403, "forbidden", "not today"} is taken as {status=, type=, message=}. */
static void name_positions(lua_State *L)
{
    static const char *const names[] = {"status", "type", "message"};
    if (lua_rawlen(L, 2) == 0)
        return;
    lua_createtable(L, 0, 3);
    for (int i = 0; i < 3; i++) {
        lua_rawgeti(L, 2, i + 1);
        lua_setfield(L, -2, names[i]);
    }
    if (lua_rawlen(L, 2) > 3)
        np_state_type_error(L, "a refusal is {status=, type=, message=}");
    lua_replace(L, 2);
}

static enum np_refusal_type type_of_name(struct np_span name)
{
    int t = 0;
    while (t < NP_REFUSAL_COUNT && !np_span_is(name, np_refusal_name((enum np_refusal_type)t)))
        t++;
    return (enum np_refusal_type)t;
}

static enum np_refusal_type type_of_status(int64_t status)
{
    for (int t = 0; t < NP_REFUSAL_COUNT; t++)
        if (np_refusal_status((enum np_refusal_type)t) == status)
            return (enum np_refusal_type)t;
    return status < 500 ? NP_REFUSAL_forbidden : NP_REFUSAL_policy_failed;
}

static bool is_type_name(struct np_span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!((name.p[i] >= 'a' && name.p[i] <= 'z') || name.p[i] == '_'))
            return false;
    return name.n > 0;
}

static void judge_refusal(lua_State *L, struct np_hook_call *call, struct np_refusal *out)
{
    static const char *const names[] = {"status", "type", "message", "retry_after_s"};
    name_positions(L);
    np_raw_check_keys(L, 2, "refusal", names, 4);
    int64_t status = np_raw_integer(L, 2, "refusal", "status", 400, 599, 0);
    struct np_span type = np_raw_string(L, 2, "refusal", "type", TYPE_BYTES);
    struct np_span message = np_raw_string(L, 2, "refusal", "message", MESSAGE_BYTES);
    int64_t retry_after_s = np_raw_integer(L, 2, "refusal", "retry_after_s", 0, 86400, -1);
    if (type.p && !is_type_name(type))
        np_state_type_error(L, "a refusal's type has only a-z and _");
    if (!type.p && status == 0)
        np_state_type_error(L, "a refusal needs a status or a type");
    enum np_refusal_type t = type.p ? type_of_name(type) : type_of_status(status);
    struct np_refusal r = {.retry_after_s = retry_after_s, .param = NP_SPAN("")};
    if (t == NP_REFUSAL_COUNT) {
        r.type_text = keep(L, call, type);
        t = type_of_status(status ? status : 403);
    }
    r.type = t;
    r.status = status ? (unsigned)status : np_refusal_status(t);
    r.message = message.p ? keep(L, call, message) : NP_SPAN("refused by policy");
    *out = r;
    give(call, in_short(call, "refused", r.status));
}

/* -------------------------------------------------------------------------------------- hooks */

static void judge_admit(lua_State *L, struct np_hook_call *call)
{
    struct np_refusal refusal;
    if (lua_type(L, 2) != LUA_TNIL) {
        if (!is_table(L))
            wrong_kind(L, call, "nothing or a refusal {status=, type=, message=}");
        judge_refusal(L, call, &refusal);
    }
    np_draft_commit(L, call->s);
    if (call->gave)
        *call->refusal = refusal;
}

static const struct np_model *find_model(lua_State *L, const struct np_hook_call *call,
                                         struct np_span name)
{
    const struct np_catalog *c = call->x->catalog;
    const struct np_model *m = np_catalog_model(c, name);
    if (m)
        return m;
    const char *names[256];
    size_t n = 0;
    for (; n < c->n_models && n < sizeof names / sizeof names[0]; n++)
        names[n] = c->models[n].name;
    char text[NP_RAW_NAME];
    np_state_type_error(L, "there is no model %s", np_raw_name(name, names, n, text));
    return NULL;
}

/* The entry is on the top, and stays. */
static void judge_candidate(lua_State *L, struct np_hook_call *call, size_t i,
                            struct np_candidate *out)
{
    static const char *const names[] = {"model", "timeout_ms", "max_tokens", "hedge_after_ms"};
    struct np_span model;
    *out = (struct np_candidate){.max_tokens = -1};
    if (lua_type(L, -1) == LUA_TSTRING) {
        model.p = lua_tolstring(L, -1, &model.n);
        out->model = find_model(L, call, model);
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE)
        np_state_type_error(L, "candidate %zu must be a model's name or a table, is a %s", i + 1,
                            luaL_typename(L, -1));
    char where[40];
    snprintf(where, sizeof where, "candidate %zu", i + 1);
    np_raw_check_keys(L, -1, where, names, 4);
    model = np_raw_string(L, -1, where, "model", 256);
    if (!model.p)
        np_state_type_error(L, "%s needs a model", where);
    out->model = find_model(L, call, model);
    out->timeout_ms = (uint32_t)np_raw_integer(L, -1, where, "timeout_ms", 1, WAIT_MS, 0);
    /* stats.p95 is a natural value here, and not a whole number. */
    double hedge_ms = ceil(np_raw_number(L, -1, where, "hedge_after_ms", 1, 0));
    out->hedge_after_ms = hedge_ms < WAIT_MS ? (uint32_t)hedge_ms : WAIT_MS;
    out->max_tokens = np_raw_integer(L, -1, where, "max_tokens", 1, NP_MAX_TOKENS, -1);
}

static struct np_span list_models(struct np_hook_call *call)
{
    char text[RETURNED_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < call->x->n_plan; i++) {
        struct np_span name = np_span_of(call->x->plan[i].model->name);
        if (n + name.n + 2 > sizeof text)
            break;
        if (i > 0) {
            text[n++] = ',';
            text[n++] = ' ';
        }
        memcpy(text + n, name.p, name.n);
        n += name.n;
    }
    return np_arena_dup(call->x->arena, np_span_make(text, n));
}

static void judge_route(lua_State *L, struct np_hook_call *call)
{
    struct np_candidate plan[NP_MAX_PLAN];
    if (lua_type(L, 2) == LUA_TNIL)
        return;
    if (!is_table(L))
        wrong_kind(L, call, "a list of candidates");
    size_t n = lua_rawlen(L, 2);
    if (n == 0)
        np_state_type_error(L, has(L, "model")
                                   ? "route must return a list: {{model = …}}"
                                   : "route returned an empty list; nil is \"no opinion\"");
    if (n > NP_MAX_PLAN)
        np_state_type_error(L, "route returned %zu candidates; at most %d can be tried", n,
                            NP_MAX_PLAN);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        judge_candidate(L, call, i, &plan[i]);
        lua_pop(L, 1);
    }
    if (!np_exchange_plan(call->x, n))
        luaL_error(L, "the request's memory is used up");
    memcpy(call->x->plan, plan, n * sizeof plan[0]);
    call->x->n_plan = n;
    give(call, list_models(call));
}

/* The id on the top becomes the key of the set at `ids`. */
static void add_id(lua_State *L, int ids, size_t i)
{
    np_lock_reveal(L, -1);
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushliteral(L, "id");
        lua_rawget(L, -2);
        lua_replace(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        np_state_type_error(L, "item %zu is neither one of req.context nor its id", i + 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, ids);
}

/* A table with names instead of a list, which would be read as an empty one. */
static bool has_only_names(lua_State *L, int idx)
{
    if (lua_rawlen(L, idx) > 0)
        return false;
    lua_pushnil(L);
    if (!lua_next(L, idx))
        return false;
    lua_pop(L, 2);
    return true;
}

static void judge_truncate(lua_State *L, struct np_hook_call *call)
{
    struct np_request *r = &call->x->request;
    if (lua_type(L, 2) == LUA_TNIL)
        return;
    if (!is_table(L) || has_only_names(L, 2))
        wrong_kind(L, call, "the list of context items to keep");
    size_t n = lua_rawlen(L, 2), found = 0;
    lua_settop(L, 3);
    lua_createtable(L, 0, (int)n);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        add_id(L, 4, i);
    }
    bool keep_item[NP_MAX_CONTEXT];
    for (size_t i = 0; i < r->n_context; i++) {
        np_ljson_push_string(L, r->context[i].id);
        keep_item[i] = lua_rawget(L, 4) != LUA_TNIL;
        lua_pop(L, 1);
        found += keep_item[i];
    }
    if (found < n)
        np_state_type_error(L, "%zu of the items are none of req.context, or there twice",
                            n - found);
    size_t kept = 0;
    for (size_t i = 0; i < r->n_context; i++) {
        r->context[i].kept = r->context[i].pinned || keep_item[i];
        kept += r->context[i].kept;
    }
    char *text = np_arena_printf(call->x->arena, "kept %zu of %zu", kept, r->n_context);
    give(call, text ? np_span_of(text) : NP_SPAN("kept"));
}

static bool judge_word(lua_State *L, struct np_hook_call *call, const char *word,
                       enum np_verdict_kind kind)
{
    if (!is_word(L, word))
        return false;
    call->verdict->kind = kind;
    give(call, np_span_of(word));
    return true;
}

static void judge_budget(lua_State *L, struct np_hook_call *call)
{
    static const char *const names[] = {"max_tokens"};
    if (lua_type(L, 2) == LUA_TNIL || judge_word(L, call, "next", NP_VERDICT_NEXT) ||
        judge_word(L, call, "degrade", NP_VERDICT_DEGRADE))
        return;
    if (!is_table(L))
        wrong_kind(L, call, "nothing, {max_tokens=}, \"next\", \"degrade\" or a refusal");
    if (has(L, "max_tokens")) {
        np_raw_check_keys(L, 2, "budget's answer", names, 1);
        int64_t n = np_raw_integer(L, 2, "budget's answer", "max_tokens", 1, NP_MAX_TOKENS, 0);
        call->verdict->kind = NP_VERDICT_LOWER;
        call->verdict->max_tokens = n;
        give(call, in_short(call, "max_tokens", n));
        return;
    }
    judge_refusal(L, call, &call->verdict->refusal);
    call->verdict->kind = NP_VERDICT_REFUSE;
}

static void judge_retry(lua_State *L, struct np_hook_call *call)
{
    static const char *const names[] = {"retry_in_ms"};
    if (lua_type(L, 2) == LUA_TNIL || judge_word(L, call, "next", NP_VERDICT_NEXT) ||
        judge_word(L, call, "degrade", NP_VERDICT_DEGRADE) ||
        judge_word(L, call, "fail", NP_VERDICT_FAIL))
        return;
    if (!is_table(L) || !has(L, "retry_in_ms"))
        wrong_kind(L, call, "{retry_in_ms=}, \"next\", \"degrade\" or \"fail\"");
    np_raw_check_keys(L, 2, "retry's answer", names, 1);
    double ms = ceil(np_raw_number(L, 2, "retry's answer", "retry_in_ms", 0, 0));
    call->verdict->retry_in_ms = ms < (double)WAIT_MS ? (int64_t)ms : WAIT_MS;
    call->verdict->kind = NP_VERDICT_RETRY;
    give(call, in_short(call, "retry_in_ms", call->verdict->retry_in_ms));
}

static void judge_respond(lua_State *L, struct np_hook_call *call)
{
    static const char *const names[] = {"text"};
    struct np_span text = NP_SPAN_NONE;
    if (lua_type(L, 2) == LUA_TNIL || judge_word(L, call, "degrade", NP_VERDICT_DEGRADE))
        return;
    if (np_views_is_reply(L, call->s, 2)) {
        np_views_push_new_text(L, call->s);
        text.p = lua_tolstring(L, -1, &text.n);
        if (!text.p)
            return;
    } else {
        if (!is_table(L))
            wrong_kind(L, call, "nothing, the reply, {text=} or \"degrade\"");
        np_raw_check_keys(L, 2, "respond's answer", names, 1);
        text = np_raw_string(L, 2, "respond's answer", "text", TEXT_BYTES);
        if (!text.p)
            np_state_type_error(L, "respond's table needs a text");
    }
    call->x->answer.text = keep(L, call, text);
    give(call, in_short(call, "text of", (int64_t)text.n));
}

static void judge_degrade(lua_State *L, struct np_hook_call *call)
{
    static const char *const names[] = {"text", "status", "retry_after_s"};
    struct np_outcome *out = &call->x->outcome;
    struct np_span text;
    int64_t status = 0, retry_after_s = -1;
    if (lua_type(L, 2) == LUA_TNIL)
        return;
    if (lua_type(L, 2) == LUA_TSTRING) {
        text.p = lua_tolstring(L, 2, &text.n);
    } else {
        if (!is_table(L))
            wrong_kind(L, call, "{text=, status=, retry_after_s=} or a text");
        np_raw_check_keys(L, 2, "degrade's answer", names, 3);
        text = np_raw_string(L, 2, "degrade's answer", "text", TEXT_BYTES);
        status = np_raw_integer(L, 2, "degrade's answer", "status", 200, 599, 0);
        retry_after_s = np_raw_integer(L, 2, "degrade's answer", "retry_after_s", 0, 86400, -1);
        if (status == 204 || status == 205 || status == 304)
            np_state_type_error(L, "degrade's answer: status %d carries no text: 200, say",
                                (int)status);
    }
    if (text.p)
        out->text = keep(L, call, text);
    if (status)
        out->status = (unsigned)status;
    if (retry_after_s >= 0)
        out->retry_after_s = retry_after_s;
    give(call, status ? in_short(call, "status", status) : NP_SPAN("text"));
}

np_judge *const np_judges[NP_HOOK_COUNT] = {
    [NP_HOOK_admit] = judge_admit,       [NP_HOOK_route] = judge_route,
    [NP_HOOK_truncate] = judge_truncate, [NP_HOOK_budget] = judge_budget,
    [NP_HOOK_retry] = judge_retry,       [NP_HOOK_respond] = judge_respond,
    [NP_HOOK_degrade] = judge_degrade,   [NP_HOOK_alert] = np_judge_alert,
};
