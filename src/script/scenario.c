/* Scenarios: the file is run in the sandbox like a policy, lua/neap/imitate.lua reads it and makes the
 * answers. Chance is drawn without memory: the same seed, model, number of the call and purpose give the
 * same number, whatever else was asked meanwhile. */
#include "script/scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/money.h"
#include "script/json.h"
#include "script/load.h"
#include "script/state.h"

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define WHY_BYTES 4096

struct np_scenario {
    struct np_state state;
    uint64_t seed;
    /* The call that is asked for. */
    const struct np_imitation_call *call;
    struct np_imitation_answer *out;
    uint64_t draws; /* of the scenario's function, in this call */
    struct np_buf raw;
    struct np_buf text; /* what is read or said meanwhile; freed with the scenario */
};

/* Places in the registry; each is a table. */
static const char module_key = 0, kinds_key = 0, locate_key = 0, native_key = 0, state_key = 0;

static struct np_scenario *scenario_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ------------------------------------------------------------------------------------- chance */

static double chance(const struct np_scenario *s, struct np_span model, uint64_t number,
                     struct np_span purpose)
{
    struct np_rng rng;
    uint64_t mixed = s->seed * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ np_fnv1a(model.p, model.n)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ number) * UINT64_C(0x94d049bb133111eb);
    np_rng_seed(&rng, mixed ^ np_fnv1a(purpose.p, purpose.n));
    return np_rng_unit(&rng);
}

/* chance(model, number, purpose): 0 <= x < 1 */
static int native_chance(lua_State *L)
{
    struct np_span model, purpose;
    model.p = luaL_checklstring(L, 1, &model.n);
    purpose.p = luaL_checklstring(L, 3, &purpose.n);
    uint64_t number = (uint64_t)luaL_checkinteger(L, 2);
    lua_pushnumber(L, chance(scenario_of(L), model, number, purpose));
    return 1;
}

/* call.random() of a scenario's function. */
static int call_random(lua_State *L)
{
    struct np_scenario *s = scenario_of(L);
    if (!s->call)
        return luaL_error(L, "random belongs to a call that is over");
    char purpose[32];
    int n = snprintf(purpose, sizeof purpose, "random%llu", (unsigned long long)++s->draws);
    lua_pushnumber(L, chance(s, s->call->model, s->call->number, np_span_make(purpose, (size_t)n)));
    return 1;
}

static int native_secret(lua_State *L)
{
    (void)L;
    return 0;
}

/* ------------------------------------------------------------------------------------ reading */

/* (module, kinds, locate, lex): keeps them, and what they need of C. */
static int set_up(lua_State *L)
{
    struct np_scenario *s = lua_touserdata(L, 1);
    lua_setfield(L, 4, "lex");
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
    lua_pushvalue(L, 3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kinds_key);
    lua_pushvalue(L, 4);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &locate_key);
    lua_createtable(L, 0, 4);
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, native_chance, 1);
    lua_setfield(L, -2, "chance");
    lua_pushcfunction(L, np_native_guess);
    lua_setfield(L, -2, "guess");
    lua_pushcfunction(L, native_secret);
    lua_setfield(L, -2, "secret");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &native_key);
    return 0;
}

static bool open_modules(struct np_scenario *s)
{
    lua_State *L = s->state.L;
    lua_pushcfunction(L, set_up);
    lua_pushlightuserdata(L, s);
    return np_state_run_embedded(&s->state, "neap/imitate.lua") &&
           np_state_run_embedded(&s->state, "neap/kinds.lua") &&
           np_state_run_embedded(&s->state, "neap/locate.lua") &&
           np_state_run_embedded(&s->state, "neap/lex.lua") &&
           np_state_call_trusted(&s->state, 5, 0);
}

static void push_module(lua_State *L, const char *function)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key);
    lua_getfield(L, -1, function);
    lua_remove(L, -2);
}

/* Pushes what imitate.read makes of the value at 2; nil, and the problems appended to why. */
static void read_value(lua_State *L, const char *file, struct np_span source, struct np_buf *why)
{
    push_module(L, "read");
    lua_pushvalue(L, 2);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &native_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kinds_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &locate_key);
    lua_pushstring(L, file);
    if (source.p)
        lua_pushlstring(L, source.p, source.n);
    else
        lua_pushnil(L);
    lua_call(L, 6, 2);
    if (lua_isnil(L, -2)) {
        const char *text = lua_tostring(L, -1);
        np_buf_puts(why, text ? text : "no scenario");
    }
    lua_pop(L, 1);
}

struct reading {
    struct np_scenario *s;
    const char *file;
    struct np_span source;
    struct np_buf *why;
    bool good;
};

/* (light userdata of struct reading, what the file returned). Protected. */
static int take_scenario(lua_State *L)
{
    struct reading *r = lua_touserdata(L, 1);
    read_value(L, r->file, r->source, r->why);
    if (lua_isnil(L, -1))
        return 0;
    lua_getfield(L, -1, "seed");
    /* The file's seed and the caller's both count. */
    if (lua_isinteger(L, -1))
        r->s->seed ^= (uint64_t)lua_tointeger(L, -1) * UINT64_C(0xd6e8feb86659fd93);
    lua_pop(L, 1);
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_setfield(L, -2, "scenario");
    lua_createtable(L, 0, 8);
    lua_setfield(L, -2, "since");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    r->good = true;
    return 0;
}

static bool read_file(const char *path, struct np_buf *out, struct np_buf *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0;
    while (good) {
        good = np_buf_reserve(out, 4096) == NP_OK;
        ssize_t got = good ? read(fd, out->p + out->n, 4096) : -1;
        if (got == 0)
            break;
        if (got > 0)
            out->n += (size_t)got;
        good = got > 0 || (good && errno == EINTR);
    }
    if (!good)
        np_buf_printf(why, "%s: %s", path,
                      np_buf_failed(out) ? "is larger than 1 MiB" : strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

static bool load(struct np_scenario *s, const char *path, struct np_buf *why)
{
    static const char built_in[] = "neap/scenario.lua";
    struct reading r = {.s = s, .file = path ? path : built_in, .why = why};
    char chunk[WHY_BYTES];
    if (path) {
        if (!read_file(path, &s->text, why))
            return false;
        r.source = np_buf_view(&s->text);
    } else {
        const struct np_embedded_file *f = np_embedded_find(built_in);
        np_require(f);
        r.source = np_span_make((const char *)f->bytes, f->size);
    }
    snprintf(chunk, sizeof chunk, "@%s", r.file);
    lua_State *L = s->state.L;
    lua_pushcfunction(L, take_scenario);
    lua_pushlightuserdata(L, &r);
    if (!np_state_load(&s->state, r.source.p ? r.source : NP_SPAN(""), false, chunk, 0) ||
        !np_state_call(&s->state, 0, 1, &np_limit_steps) ||
        !np_state_call_trusted(&s->state, 2, 0)) {
        np_buf_puts(why, s->state.fault.text);
        return false;
    }
    return r.good;
}

struct np_scenario *np_scenario_new(const char *path, uint64_t seed, struct np_buf *why)
{
    struct np_scenario *s = calloc(1, sizeof *s);
    if (!s) {
        np_buf_puts(why, np_err_text(NP_E_NOMEM));
        return NULL;
    }
    s->seed = seed;
    np_buf_init(&s->raw, NP_IMITATION_RAW);
    np_buf_init(&s->text, MAX_FILE_BYTES);
    enum np_err err = np_state_open(&s->state, NULL);
    if (err || !lua_checkstack(s->state.L, 40)) {
        np_buf_puts(why, np_err_text(NP_E_NOMEM));
        np_scenario_free(s);
        return NULL;
    }
    if (!open_modules(s)) {
        np_buf_puts(why, s->state.fault.text);
        np_scenario_free(s);
        return NULL;
    }
    if (!load(s, path, why)) {
        np_scenario_free(s);
        return NULL;
    }
    np_state_collect(&s->state, true);
    return s;
}

void np_scenario_free(struct np_scenario *s)
{
    if (!s)
        return;
    np_state_close(&s->state);
    np_buf_free(&s->raw);
    np_buf_free(&s->text);
    free(s);
}

/* ------------------------------------------------------------------------------------- asking */

static void set_span(lua_State *L, const char *name, struct np_span s)
{
    lua_pushlstring(L, s.p ? s.p : "", s.n);
    lua_setfield(L, -2, name);
}

static void set_whole(lua_State *L, const char *name, int64_t v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, name);
}

/* Pushes the call as scenarios see it. */
static void push_call(lua_State *L, struct np_scenario *s)
{
    const struct np_imitation_call *c = s->call;
    lua_createtable(L, 0, 10);
    set_span(L, "provider", c->provider);
    set_span(L, "model", c->model);
    set_whole(L, "number", (int64_t)c->number);
    set_whole(L, "prompt_tokens", c->prompt_tokens);
    if (c->max_tokens >= 0)
        set_whole(L, "max_tokens", c->max_tokens);
    lua_pushboolean(L, c->stream);
    lua_setfield(L, -2, "stream");
    set_whole(L, "now_ms", c->now_ms);
    if (c->prompt.n > 0 && np_json_kind(c->prompt) == NP_JSON_STRING)
        np_ljson_push_string(L, c->prompt);
    else
        lua_pushliteral(L, "");
    lua_setfield(L, -2, "prompt");
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, call_random, 1);
    lua_setfield(L, -2, "random");
}

/* (light userdata of the scenario): the call, the spec or nil, and the turn. Protected. */
static int choose(lua_State *L)
{
    struct np_scenario *s = lua_touserdata(L, 1);
    push_call(L, s);
    push_module(L, "choose");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 2);
    return 3;
}

static int64_t whole(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    int64_t v = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool truth(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static void copy_text(lua_State *L, const char *name, char *to, size_t size)
{
    size_t n = 0;
    lua_getfield(L, -1, name);
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : "";
    n = n < size - 1 ? n : size - 1;
    memcpy(to, p, n);
    to[n] = '\0';
    lua_pop(L, 1);
}

static double usage_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    double v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

static void take_usage(lua_State *L, struct np_imitation_answer *a)
{
    lua_getfield(L, -1, "usage");
    if (lua_istable(L, -1)) {
        a->usage_given = true;
        a->usage_prompt = usage_field(L, "prompt");
        a->usage_completion = usage_field(L, "completion");
        a->usage_cached = usage_field(L, "cached");
    }
    lua_pop(L, 1);
}

/* A price that has no whole number of nano-dollars counts as none. */
static int64_t price_field(lua_State *L, const char *name, unsigned scale)
{
    int64_t nusd = 0;
    lua_getfield(L, -1, name);
    if (!lua_isnumber(L, -1) || np_money_from_double(lua_tonumber(L, -1), scale, &nusd) != NP_OK)
        nusd = 0;
    lua_pop(L, 1);
    return nusd;
}

static void take_price(lua_State *L, struct np_imitation_answer *a)
{
    a->nusd_call = price_field(L, "usd_per_request", 9);
    lua_getfield(L, -1, "usd_per_million");
    if (lua_istable(L, -1)) {
        a->nusd_prompt = price_field(L, "input", 6);
        a->nusd_completion = price_field(L, "output", 6);
    }
    lua_pop(L, 1);
}

static enum np_err take_raw(lua_State *L, struct np_scenario *s)
{
    struct np_imitation_answer *a = s->out;
    lua_getfield(L, -1, "raw");
    if (lua_type(L, -1) == LUA_TSTRING) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        np_buf_reset(&s->raw);
        if (np_buf_reserve(&s->raw, 1) || np_buf_put(&s->raw, p, n))
            return NP_E_NOMEM;
        a->raw_given = true;
        a->raw = s->raw.p;
        a->raw_bytes = n;
    }
    lua_pop(L, 1);
    return NP_OK;
}

/* What imitate.answer made is on the top. */
static enum np_err take_answer(lua_State *L, struct np_scenario *s)
{
    struct np_imitation_answer *a = s->out;
    a->status = (unsigned)whole(L, "status");
    copy_text(L, "text", a->text, sizeof a->text);
    copy_text(L, "error_type", a->error_type, sizeof a->error_type);
    copy_text(L, "error_code", a->error_code, sizeof a->error_code);
    copy_text(L, "error_message", a->error_message, sizeof a->error_message);
    copy_text(L, "finish", a->finish, sizeof a->finish);
    copy_text(L, "content_type", a->content_type, sizeof a->content_type);
    copy_text(L, "content_encoding", a->content_encoding, sizeof a->content_encoding);
    a->retry_after_s = whole(L, "retry_after_s");
    a->first_ms = whole(L, "first_ms");
    a->total_ms = whole(L, "total_ms");
    a->stall_at = whole(L, "stall_at");
    a->reset_at = whole(L, "reset_at");
    a->fin_at = whole(L, "fin_at");
    a->malformed = truth(L, "malformed");
    a->empty = truth(L, "empty");
    a->no_usage = truth(L, "no_usage");
    a->byte_by_byte = truth(L, "byte_by_byte");
    take_usage(L, a);
    take_price(L, a);
    return take_raw(L, s);
}

/* (light userdata of the scenario, call, turn, spec or what its function returned, whether it was one).
 * Protected; raises when the answer is none. */
static int answer(lua_State *L)
{
    struct np_scenario *s = lua_touserdata(L, 1);
    if (lua_toboolean(L, 5)) {
        push_module(L, "read_spec");
        lua_pushvalue(L, 4);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &native_key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &kinds_key);
        lua_call(L, 3, 1);
        lua_replace(L, 4);
    }
    push_module(L, "answer");
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 2);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &native_key);
    lua_call(L, 4, 1);
    if (take_answer(L, s) != NP_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* The call, the spec and the turn are on the stack: calls the spec where it is a function, then
 * fills s->out. */
static bool answer_by(struct np_scenario *s)
{
    lua_State *L = s->state.L;
    int call = lua_gettop(L) - 2, spec = call + 1, turn = call + 2;
    bool is_function = lua_isfunction(L, spec);
    lua_pushcfunction(L, answer);
    lua_pushlightuserdata(L, s);
    lua_pushvalue(L, call);
    lua_pushvalue(L, turn);
    lua_pushvalue(L, spec);
    if (is_function) {
        lua_pushvalue(L, call);
        if (!np_state_call(&s->state, 1, 1, &np_limit_steps))
            return false;
    }
    lua_pushboolean(L, is_function);
    return np_state_call_trusted(&s->state, 5, 0);
}

/* What was wrong with the scenario is the answer, so that it is seen where it is looked for. */
static void blame_scenario(struct np_scenario *s, unsigned status, const char *type,
                           const char *text)
{
    struct np_imitation_answer *a = s->out;
    a->status = status;
    snprintf(a->error_type, sizeof a->error_type, "%s", type);
    snprintf(a->error_message, sizeof a->error_message, "%s", text);
}

enum np_err np_scenario_ask(struct np_scenario *s, const struct np_imitation_call *call,
                            struct np_imitation_answer *out)
{
    struct np_state *st = &s->state;
    memset(out, 0, sizeof *out);
    out->retry_after_s = out->stall_at = out->reset_at = out->fin_at = -1;
    s->call = call;
    s->out = out;
    s->draws = 0;
    lua_pushcfunction(st->L, choose);
    lua_pushlightuserdata(st->L, s);
    bool good = np_state_call_trusted(st, 1, 3);
    if (good && lua_isnil(st->L, -2))
        blame_scenario(s, 404, "not_found_error", "The scenario has no such model.");
    else if (good)
        good = answer_by(s);
    s->call = NULL;
    lua_settop(st->L, 0);
    if (!good)
        blame_scenario(s, 500, "scenario_failed", st->fault.text);
    np_state_collect(st, false);
    return !good && st->fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_OK;
}

/* ---------------------------------------------------------------------------------- overrides */

/* (light userdata of struct reading with the JSON as source). Protected. */
static int take_overrides(lua_State *L)
{
    struct reading *r = lua_touserdata(L, 1);
    np_ljson_push(L, r->source);
    read_value(L, "", NP_SPAN_NONE, r->why);
    if (lua_isnil(L, -1))
        return 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    lua_getfield(L, -2, "models");
    lua_setfield(L, -2, "overrides");
    lua_createtable(L, 0, 8);
    lua_setfield(L, -2, "since");
    r->good = true;
    return 0;
}

enum np_err np_scenario_override(struct np_scenario *s, struct np_span json, struct np_buf *why)
{
    struct np_json_fault fault;
    enum np_err err = np_json_check(json, 32, &fault);
    if (err) {
        np_buf_printf(why, "line %u, column %u: %s", fault.line, fault.column, fault.what);
        return NP_E_INVALID;
    }
    struct reading r = {.s = s, .source = json, .why = why};
    lua_pushcfunction(s->state.L, take_overrides);
    lua_pushlightuserdata(s->state.L, &r);
    if (np_state_call_trusted(&s->state, 1, 0))
        return r.good ? NP_OK : NP_E_INVALID;
    np_buf_puts(why, s->state.fault.text);
    return s->state.fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
}
