/* candidate, attempt and reply. */
#include "script/views.h"

#include "script/request.h"

#define CANDIDATE_FIELDS                                                                    \
    (NP_FIELD_BIT(model) | NP_FIELD_BIT(provider) | NP_FIELD_BIT(tier) |                    \
     NP_FIELD_BIT(prompt_tokens) | NP_FIELD_BIT(max_tokens) | NP_FIELD_BIT(estimated_usd) | \
     NP_FIELD_BIT(worst_usd) | NP_FIELD_BIT(timeout_ms))
#define ATTEMPT_FIELDS                                                                           \
    (NP_FIELD_BIT(number) | NP_FIELD_BIT(model) | NP_FIELD_BIT(provider) | NP_FIELD_BIT(class) | \
     NP_FIELD_BIT(status) | NP_FIELD_BIT(error) | NP_FIELD_BIT(retry_after_ms) |                 \
     NP_FIELD_BIT(latency_ms) | NP_FIELD_BIT(remaining_ms) | NP_FIELD_BIT(cost_usd) |            \
     NP_FIELD_BIT(emitted))
#define REPLY_FIELDS                                                              \
    (NP_FIELD_BIT(text) | NP_FIELD_BIT(model) | NP_FIELD_BIT(provider) |          \
     NP_FIELD_BIT(finish_reason) | NP_FIELD_BIT(usage) | NP_FIELD_BIT(cost_usd) | \
     NP_FIELD_BIT(latency_ms))

/* What an object stands for; NULL: its hook is over. */
struct np_view {
    const void *p;
};

int64_t np_script_elapsed_ms(const struct np_script *s)
{
    uint64_t now = np_clock_mono_ns(s->powers.clock);
    return now > s->x->accept_ns ? (int64_t)((now - s->x->accept_ns) / NP_NS_PER_MS) : 0;
}

int64_t np_script_remaining_ms(const struct np_script *s)
{
    uint64_t now = np_clock_mono_ns(s->powers.clock);
    return s->x->deadline_ns > now ? (int64_t)((s->x->deadline_ns - now) / NP_NS_PER_MS) : 0;
}

double np_script_usd(int64_t nusd)
{
    return (double)nusd / (double)NP_NUSD_PER_USD;
}

static int push_span(lua_State *L, struct np_span s)
{
    if (s.p)
        lua_pushlstring(L, s.p, s.n);
    else
        lua_pushnil(L);
    return 1;
}

static int push_usd(lua_State *L, int64_t nusd)
{
    lua_pushnumber(L, np_script_usd(nusd));
    return 1;
}

static int push_integer(lua_State *L, int64_t n)
{
    lua_pushinteger(L, n);
    return 1;
}

static int push_text(lua_State *L, const char *text)
{
    lua_pushstring(L, text);
    return 1;
}

/* ---------------------------------------------------------------------------------- candidate */

static int candidate_field(lua_State *L, const struct np_candidate *c, enum np_field f)
{
    switch (f) {
    case NP_FIELD_model:
        return push_text(L, c->model->name);
    case NP_FIELD_provider:
        return push_text(L, c->model->provider->name);
    case NP_FIELD_tier:
        return push_text(L, c->model->tier);
    case NP_FIELD_prompt_tokens:
        return push_integer(L, c->prompt_tokens);
    case NP_FIELD_max_tokens:
        return push_integer(L, c->completion_max);
    case NP_FIELD_estimated_usd:
        return push_usd(L, c->estimated_nusd);
    case NP_FIELD_worst_usd:
        return push_usd(L, c->worst_nusd);
    case NP_FIELD_timeout_ms:
        return push_integer(L, c->timeout_ms ? c->timeout_ms : c->model->provider->timeout_ms);
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------------------------ attempt */

static int push_latency(lua_State *L, const struct np_attempt *a)
{
    return push_integer(
        L, a->end_ns > a->start_ns ? (int64_t)((a->end_ns - a->start_ns) / NP_NS_PER_MS) : 0);
}

static int attempt_field(lua_State *L, const struct np_attempt *a, enum np_field f)
{
    switch (f) {
    case NP_FIELD_number:
        return push_integer(L, a->number);
    case NP_FIELD_model:
        return push_text(L, a->model->name);
    case NP_FIELD_provider:
        return push_text(L, a->model->provider->name);
    case NP_FIELD_class:
        return push_text(L, np_class_name(a->class));
    case NP_FIELD_status:
        return push_integer(L, a->status);
    case NP_FIELD_error:
        return push_span(L, a->error);
    case NP_FIELD_retry_after_ms:
        return a->retry_after_ms < 0 ? push_span(L, NP_SPAN_NONE)
                                     : push_integer(L, a->retry_after_ms);
    case NP_FIELD_latency_ms:
        return push_latency(L, a);
    case NP_FIELD_cost_usd:
        return push_usd(L, a->cost_nusd);
    case NP_FIELD_emitted:
        lua_pushboolean(L, a->emitted);
        return 1;
    default:
        return 0;
    }
}

void np_views_push_attempts(lua_State *L, struct np_script *s)
{
    lua_createtable(L, (int)s->x->n_attempts, 0);
    lua_Integer place = 0;
    for (size_t i = 0; i < s->x->n_attempts; i++) {
        if (!s->x->attempts[i].ended)
            continue;
        lua_createtable(L, 0, 10);
        for (int f = 1; f < NP_FIELD_COUNT; f++)
            if (attempt_field(L, &s->x->attempts[i], (enum np_field)f))
                lua_setfield(L, -2, np_field_name((enum np_field)f));
        lua_rawseti(L, -2, ++place);
    }
}

/* -------------------------------------------------------------------------------------- reply */

static int push_usage(lua_State *L, const struct np_usage *u)
{
    const struct {
        const char *name;
        int64_t n;
    } counts[] = {{"prompt_tokens", u->prompt},
                  {"completion_tokens", u->completion},
                  {"cached_tokens", u->cached},
                  {"cache_write_tokens", u->cache_write + u->cache_write_1h},
                  {"reasoning_tokens", u->reasoning}};
    lua_createtable(L, 0, 5);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        lua_pushinteger(L, counts[i].n);
        lua_setfield(L, -2, counts[i].name);
    }
    return 1;
}

/* The text is made once, and is what was written if something was. */
static int push_reply_text(lua_State *L, const struct np_exchange *x)
{
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_pushlstring(L, x->answer.text.p ? x->answer.text.p : "", x->answer.text.n);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    return 1;
}

static int reply_field(lua_State *L, const struct np_exchange *x, enum np_field f)
{
    switch (f) {
    case NP_FIELD_text:
        return push_reply_text(L, x);
    case NP_FIELD_model:
        return push_text(L, x->answered_by ? x->answered_by->name : NULL);
    case NP_FIELD_provider:
        return push_text(L, x->answered_by ? x->answered_by->provider->name : NULL);
    case NP_FIELD_finish_reason:
        return push_text(L, np_finish_name(x->answer.finish));
    case NP_FIELD_usage:
        return push_usage(L, &x->answer.usage);
    case NP_FIELD_cost_usd:
        return push_usd(L, x->cost_nusd);
    case NP_FIELD_latency_ms:
        return push_integer(L, np_script_elapsed_ms(np_state_of(L)->script));
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------------------------ objects */

static const void *shown(lua_State *L, const char *what)
{
    const struct np_view *v = lua_touserdata(L, 1);
    if (!v->p)
        luaL_error(L, "%s is over: it stands for something in its own hook only", what);
    return v->p;
}

static enum np_field field_at_2(lua_State *L)
{
    return np_field_of(L, &np_state_of(L)->script->fields, 2);
}

static int candidate_index(lua_State *L)
{
    return candidate_field(L, shown(L, "candidate"), field_at_2(L))
               ? 1
               : np_unknown_field(L, "candidate", CANDIDATE_FIELDS);
}

static int attempt_index(lua_State *L)
{
    const struct np_attempt *a = shown(L, "attempt");
    enum np_field f = field_at_2(L);
    if (f == NP_FIELD_remaining_ms)
        return push_integer(L, np_script_remaining_ms(np_state_of(L)->script));
    return attempt_field(L, a, f) ? 1 : np_unknown_field(L, "attempt", ATTEMPT_FIELDS);
}

static int reply_index(lua_State *L)
{
    return reply_field(L, shown(L, "reply"), field_at_2(L))
               ? 1
               : np_unknown_field(L, "reply", REPLY_FIELDS);
}

static int read_only(lua_State *L)
{
    return np_state_type_error(L, "%s is read-only", lua_tostring(L, lua_upvalueindex(1)));
}

static int reply_newindex(lua_State *L)
{
    (void)shown(L, "reply");
    enum np_field f = field_at_2(L);
    if (f == NP_FIELD_none || !(REPLY_FIELDS >> f & 1))
        return np_unknown_field(L, "reply", REPLY_FIELDS);
    if (f != NP_FIELD_text)
        return np_state_type_error(L, "reply.%s is read-only; only reply.text can be changed",
                                   np_field_name(f));
    if (lua_type(L, 3) != LUA_TSTRING)
        return np_state_type_error(L, "reply.text must be a string, got a %s", luaL_typename(L, 3));
    lua_settop(L, 3);
    lua_setiuservalue(L, 1, 1);
    np_state_of(L)->script->reply_changed = true;
    return 0;
}

static struct np_view *make(lua_State *L, const char *name, lua_CFunction index,
                            lua_CFunction newindex, int *ref)
{
    struct np_view *v = lua_newuserdatauv(L, sizeof *v, 1);
    v->p = NULL;
    lua_newtable(L);
    lua_pushcfunction(L, index);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_pushcclosure(L, newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_setmetatable(L, -2);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return v;
}

void np_views_open(lua_State *L, struct np_script *s)
{
    s->candidate = make(L, "candidate", candidate_index, read_only, &s->candidate_ref);
    s->attempt = make(L, "attempt", attempt_index, read_only, &s->attempt_ref);
    s->reply = make(L, "reply", reply_index, reply_newindex, &s->reply_ref);
}

void np_views_push_candidate(lua_State *L, struct np_script *s, const struct np_candidate *c)
{
    s->candidate->p = c;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->candidate_ref);
}

void np_views_push_attempt(lua_State *L, struct np_script *s, const struct np_attempt *a)
{
    s->attempt->p = a;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->attempt_ref);
}

void np_views_push_reply(lua_State *L, struct np_script *s)
{
    s->reply->p = s->x;
    s->reply_changed = false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->reply_ref);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, 1);
}

void np_views_end(struct np_script *s)
{
    s->candidate->p = s->attempt->p = s->reply->p = NULL;
}

bool np_views_is_reply(lua_State *L, const struct np_script *s, int idx)
{
    return lua_touserdata(L, idx) == s->reply;
}

void np_views_push_new_text(lua_State *L, const struct np_script *s)
{
    lua_pushnil(L);
    if (!s->reply_changed)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->reply_ref);
    lua_getiuservalue(L, -1, 1);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

void np_views_reveal(lua_State *L, int idx)
{
    const struct np_script *s = np_state_of(L)->script;
    const struct np_view *v = lua_touserdata(L, idx);
    idx = lua_absindex(L, idx);
    if (!v || !s || (v != s->candidate && v != s->attempt && v != s->reply) || !v->p)
        return;
    uint64_t fields = v == s->candidate ? CANDIDATE_FIELDS
                      : v == s->attempt ? ATTEMPT_FIELDS
                                        : REPLY_FIELDS;
    lua_createtable(L, 0, 12);
    for (int f = 1; f < NP_FIELD_COUNT; f++) {
        if (!(fields >> f & 1))
            continue;
        lua_getfield(L, idx, np_field_name((enum np_field)f));
        lua_setfield(L, -2, np_field_name((enum np_field)f));
    }
    lua_replace(L, idx);
}
