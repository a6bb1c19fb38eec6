/* The border between the exchange and the adapters of lua/neap/providers/.
 *
 * A request: `request(call, body)` gets what is asked for in one table that is used again and again,
 * puts the fields of the body into another one, and returns the path. Texts stand in them as light
 * userdata, pointers to spans of raw JSON, which the encoder splices in. What is the same for every
 * provider (the content type, its own headers, the key) is added here.
 *
 * An answer: `answer(reply, out)` gets what the module's `reads` name of the body (the rest is never
 * decoded) and the class that the status alone means, and writes what it understood into `out`. Whether usage is possible, and when to come again, is decided
 * here. An adapter that fails on what a provider sent leaves the status's class standing. */
#include "script/adapter.h"

#include <lauxlib.h>
#include <lua.h>

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "script/json.h"
#include "script/reads.h"
#include "script/script.h"

#define ERROR_BYTES 512
#define PATH_BYTES 256
#define MAX_RETRY_MS INT64_C(604800000) /* a week: whatever is longer means the same */

static const char *const module_files[NP_ADAPTER_COUNT] = {
    [NP_ADAPTER_OPENAI] = "neap/providers/openai.lua",
    [NP_ADAPTER_ANTHROPIC] = "neap/providers/anthropic.lua"};

/* Places in the table that np_script.adapters refers to. */
enum {
    AT_CALL = 1,
    AT_REPLY,
    AT_OUT,
    AT_MODULES /* and as many after it: those below of each adapter */
};
enum { OF_REQUEST, OF_ANSWER, OF_BODY, OF_FIELDS, OF_SYSTEM_AS, OF_READS, OF_COUNT };

static int place_of(enum np_adapter a, int what)
{
    return AT_MODULES + (int)a * OF_COUNT + what;
}

/* ------------------------------------------------------------------------------------ loading */

/* Pushes one of the things of the module at idx. */
static void push_part(lua_State *L, int idx, int part)
{
    static const char *const names[OF_COUNT] = {[OF_REQUEST] = "request",
                                                [OF_ANSWER] = "answer",
                                                [OF_FIELDS] = "headers",
                                                [OF_SYSTEM_AS] = "system_as",
                                                [OF_READS] = "reads"};
    if (part == OF_BODY) {
        lua_createtable(L, 0, 16);
        return;
    }
    lua_getfield(L, idx, names[part]);
    if (part == OF_READS) {
        (void)np_reads_push(L, -1);
        lua_remove(L, -2);
    }
}

/* (module of each adapter …): the table of everything. */
static int collect(lua_State *L)
{
    lua_createtable(L, AT_MODULES + NP_ADAPTER_COUNT * OF_COUNT, 0);
    for (int i = AT_CALL; i <= AT_OUT; i++) {
        lua_createtable(L, 0, 16);
        lua_rawseti(L, -2, i);
    }
    for (int a = 0; a < NP_ADAPTER_COUNT; a++)
        for (int part = 0; part < OF_COUNT; part++) {
            push_part(L, a + 1, part);
            lua_rawseti(L, -2, place_of((enum np_adapter)a, part));
        }
    np_state_of(L)->script->adapters = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static enum np_err open_adapters(struct np_script *s)
{
    if (s->adapters != LUA_NOREF)
        return NP_OK;
    struct np_state *st = &s->state;
    lua_pushcfunction(st->L, collect);
    for (int a = 0; a < NP_ADAPTER_COUNT; a++)
        if (!np_state_run_embedded(st, module_files[a])) {
            lua_pop(st->L, a + 1);
            return NP_E_INVALID;
        }
    return np_state_call_trusted(st, NP_ADAPTER_COUNT, 0) ? NP_OK : NP_E_INVALID;
}

static enum np_err fault_err(const struct np_script *s)
{
    return s->state.fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
}

/* ------------------------------------------------------------------------- the texts of a request */

/* What Lua gets a pointer to; NULL spans are nil there. */
struct texts {
    struct np_span system;   /* a JSON string or a list of parts */
    struct np_span messages; /* a JSON array */
    struct np_span stop;
    struct np_span temperature;
};

static void put_message(struct np_buf *b, const char *role, struct np_span content)
{
    if (b->n > 1)
        np_buf_char(b, ',');
    np_buf_puts(b, "{\"role\":\"");
    np_buf_puts(b, role);
    np_buf_puts(b, "\",\"content\":");
    np_buf_span(b, content);
    np_buf_char(b, '}');
}

static enum np_err keep(struct np_arena *a, struct np_buf *b, struct np_span *out)
{
    if (np_buf_failed(b))
        return NP_E_NOMEM;
    *out = np_arena_dup(a, np_buf_view(b));
    return out->p ? NP_OK : NP_E_NOMEM;
}

/* All messages in their order, the system text first as one of its own. */
static enum np_err system_as_message(struct np_exchange *x, struct np_buf *b, struct texts *t)
{
    np_buf_reset(b);
    np_buf_char(b, '[');
    if (t->system.p)
        put_message(b, np_role_name(NP_ROLE_SYSTEM), t->system);
    for (size_t i = 0; i < x->request.n_messages; i++)
        put_message(b, np_role_name(x->request.messages[i].role), x->request.messages[i].content);
    np_buf_char(b, ']');
    return keep(x->arena, b, &t->messages);
}

static bool is_list(struct np_span json)
{
    return np_json_kind(json) == NP_JSON_ARRAY;
}

static void put_part(struct np_buf *b, struct np_span string)
{
    if (b->n > 1)
        np_buf_char(b, ',');
    np_buf_puts(b, "{\"type\":\"text\",\"text\":");
    np_buf_span(b, string);
    np_buf_char(b, '}');
}

/* The system text and what messages of that role say, as one string with blank lines between. */
static void join_strings(const struct np_exchange *x, struct np_span system, struct np_buf *b)
{
    np_buf_char(b, '"');
    if (system.p)
        np_buf_span(b, np_json_inner(system));
    for (size_t i = 0; i < x->request.n_messages; i++) {
        const struct np_message *m = &x->request.messages[i];
        if (m->role != NP_ROLE_SYSTEM)
            continue;
        if (b->n > 1)
            np_buf_puts(b, "\\n\\n");
        np_buf_span(b, np_json_inner(m->content));
    }
    np_buf_char(b, '"');
}

/* The same as a list of parts, where one of them is a list. */
static void join_parts(const struct np_exchange *x, struct np_span system, struct np_buf *b)
{
    np_buf_char(b, '[');
    if (system.p)
        put_part(b, system);
    for (size_t i = 0; i < x->request.n_messages; i++) {
        const struct np_message *m = &x->request.messages[i];
        if (m->role != NP_ROLE_SYSTEM)
            continue;
        if (!is_list(m->content)) {
            put_part(b, m->content);
            continue;
        }
        struct np_json_walk w = np_json_walk(m->content);
        for (struct np_span part; np_json_item(&w, &part);) {
            if (b->n > 1)
                np_buf_char(b, ',');
            np_buf_span(b, part);
        }
    }
    np_buf_char(b, ']');
}

/* Messages without those of role system, whose texts join the system text. */
static enum np_err system_as_field(struct np_exchange *x, struct np_buf *b, struct texts *t)
{
    bool any = false, lists = false;
    np_buf_reset(b);
    np_buf_char(b, '[');
    for (size_t i = 0; i < x->request.n_messages; i++) {
        const struct np_message *m = &x->request.messages[i];
        if (m->role != NP_ROLE_SYSTEM) {
            put_message(b, np_role_name(m->role), m->content);
            continue;
        }
        any = true;
        lists = lists || is_list(m->content);
    }
    np_buf_char(b, ']');
    enum np_err err = keep(x->arena, b, &t->messages);
    if (err || !any)
        return err;
    np_buf_reset(b);
    if (lists)
        join_parts(x, t->system, b);
    else
        join_strings(x, t->system, b);
    return keep(x->arena, b, &t->system);
}

static enum np_err gather(struct np_exchange *x, struct np_buf *b, bool as_field, struct texts *t)
{
    *t = (struct texts){.stop = x->request.stop, .temperature = x->request.temperature_raw};
    if (isnan(x->request.temperature))
        t->temperature = NP_SPAN_NONE;
    enum np_err err = np_request_system_json(x->arena, &x->request, &t->system);
    if (err)
        return err;
    return as_field ? system_as_field(x, b, t) : system_as_message(x, b, t);
}

/* --------------------------------------------------------------------------------- the request */

struct request_order {
    struct np_script *s;
    struct np_exchange *x;
    const struct np_candidate *c;
    const struct np_secret *key;
    struct np_wire *out;
    struct texts texts;
    enum np_err err;
};

static void set_raw(lua_State *L, const char *name, const struct np_span *json)
{
    if (json->p)
        lua_pushlightuserdata(L, (void *)(uintptr_t)json);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, name);
}

/* Pushes `call`, filled. */
static void push_call(lua_State *L, int all, struct request_order *o)
{
    const struct np_model *m = o->c->model;
    lua_rawgeti(L, all, AT_CALL);
    lua_pushstring(L, m->id);
    lua_setfield(L, -2, "model");
    lua_pushinteger(L, o->c->completion_max);
    lua_setfield(L, -2, "max_tokens");
    lua_pushboolean(L, o->x->request.stream);
    lua_setfield(L, -2, "stream");
    set_raw(L, "system", &o->texts.system);
    set_raw(L, "messages", &o->texts.messages);
    set_raw(L, "stop", &o->texts.stop);
    set_raw(L, "temperature", &o->texts.temperature);
}

static enum np_err add_field(struct np_wire *w, struct np_span name, struct np_span value)
{
    for (size_t i = 0; i < w->n_fields; i++)
        if (np_span_eq_nocase(w->fields[i].name, name))
            return NP_OK;
    if (w->n_fields == NP_WIRE_FIELDS)
        return NP_E_FULL;
    w->fields[w->n_fields++] = (struct np_wire_field){name, value};
    return NP_OK;
}

static enum np_err add_key(struct request_order *o)
{
    struct np_arena *a = o->x->arena;
    if (o->c->model->provider->adapter == NP_ADAPTER_ANTHROPIC)
        return add_field(o->out, NP_SPAN("x-api-key"), np_span_of(o->key->value));
    const char *value = np_arena_printf(a, "Bearer %s", o->key->value);
    return value ? add_field(o->out, NP_SPAN("authorization"), np_span_of(value)) : NP_E_NOMEM;
}

/* The operator's headers come first: they win over the adapter's. */
static enum np_err add_fields(lua_State *L, int all, struct request_order *o)
{
    const struct np_provider *p = o->c->model->provider;
    enum np_err err = add_field(o->out, NP_SPAN("content-type"), NP_SPAN("application/json"));
    if (!err && o->key)
        err = add_key(o);
    for (size_t i = 0; !err && i < p->n_headers; i++)
        err = add_field(o->out, np_span_of(p->headers[i].name), np_span_of(p->headers[i].value));
    lua_rawgeti(L, all, place_of(p->adapter, OF_FIELDS));
    for (lua_pushnil(L); !err && lua_next(L, -2) != 0; lua_pop(L, 1)) {
        size_t name_n, value_n;
        const char *name = luaL_checklstring(L, -2, &name_n);
        const char *value = luaL_checklstring(L, -1, &value_n);
        struct np_span kept_name = np_arena_dup(o->x->arena, np_span_make(name, name_n));
        struct np_span kept_value = np_arena_dup(o->x->arena, np_span_make(value, value_n));
        err = kept_name.p && kept_value.p ? add_field(o->out, kept_name, kept_value) : NP_E_NOMEM;
    }
    return err;
}

/* (light userdata of struct request_order). Protected. */
static int make_request(lua_State *L)
{
    struct request_order *o = lua_touserdata(L, 1);
    struct np_state *st = np_state_of(L);
    enum np_adapter adapter = o->c->model->provider->adapter;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->s->adapters);
    int all = lua_gettop(L);
    lua_rawgeti(L, all, place_of(adapter, OF_SYSTEM_AS));
    o->err = gather(o->x, &st->scratch, strcmp(luaL_checkstring(L, -1), "field") == 0, &o->texts);
    if (o->err)
        return 0;
    lua_rawgeti(L, all, place_of(adapter, OF_BODY));
    int body = lua_gettop(L);
    lua_rawgeti(L, all, place_of(adapter, OF_REQUEST));
    push_call(L, all, o);
    lua_pushvalue(L, body);
    lua_call(L, 2, 1);
    size_t n;
    const char *path = luaL_checklstring(L, -1, &n);
    luaL_argcheck(L, n < PATH_BYTES, 1, "the path is too long");
    o->out->path = np_arena_dup(o->x->arena, np_span_make(path, n));
    np_buf_reset(&st->scratch);
    if (!np_ljson_encode(L, body, &st->scratch, NP_JSON_DEPTH))
        return lua_error(L);
    o->err = np_buf_failed(&st->scratch) ? NP_E_NOMEM : add_fields(L, all, o);
    if (!o->err)
        o->err = keep(o->x->arena, &st->scratch, &o->out->body);
    if (!o->err && !o->out->path.p)
        o->err = NP_E_NOMEM;
    return 0;
}

enum np_err np_adapter_request(struct np_script *s, struct np_exchange *x,
                               const struct np_candidate *c, const struct np_secret *key,
                               struct np_wire *out, char error[256])
{
    out->path = out->body = NP_SPAN_NONE;
    out->n_fields = 0;
    error[0] = '\0';
    struct request_order o = {.s = s, .x = x, .c = c, .key = key, .out = out};
    enum np_err err = open_adapters(s);
    if (!err) {
        lua_pushcfunction(s->state.L, make_request);
        lua_pushlightuserdata(s->state.L, &o);
        err = np_state_call_trusted(&s->state, 1, 0) ? o.err : fault_err(s);
    } else {
        err = fault_err(s);
    }
    if (err == NP_E_INVALID)
        snprintf(error, 256, "%s", s->state.fault.text);
    else if (err)
        snprintf(error, 256, "%s", np_err_text(err));
    return err;
}

/* ---------------------------------------------------------------------------- class of a status */

/* What a status means when nothing else is known: the table of the contract. */
static enum np_class class_of_status(unsigned status)
{
    switch (status) {
    case 200:
        return NP_CLASS_ok;
    case 401:
    case 403:
        return NP_CLASS_credential;
    case 402:
        return NP_CLASS_quota;
    case 404:
    case 410:
        return NP_CLASS_model_gone;
    case 405:
    case 406:
    case 415:
        return NP_CLASS_bad_reply;
    case 408:
    case 409:
        return NP_CLASS_server_error;
    case 429:
        return NP_CLASS_rate_limited;
    case 451:
        return NP_CLASS_filtered;
    case 503:
    case 529:
        return NP_CLASS_overloaded;
    default:
        break;
    }
    if (status >= 500 && status < 600)
        return NP_CLASS_server_error;
    if (status >= 400 && status < 500)
        return NP_CLASS_rejected;
    return NP_CLASS_bad_reply;
}

/* --------------------------------------------------------------------------------- Retry-After */

static struct np_span trim(struct np_span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = np_span_make(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* A number of units (fractions are cut up to the next one) in milliseconds; -1 when it is none. */
static int64_t units_to_ms(struct np_span s, unsigned ms_a_unit)
{
    unsigned long long whole;
    const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
    struct np_span head = dot ? np_span_make(s.p, (size_t)(dot - s.p)) : s;
    if (!np_span_to_u64(head, &whole))
        return -1;
    for (size_t i = head.n + 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
    if (whole >= (unsigned long long)MAX_RETRY_MS / ms_a_unit)
        return MAX_RETRY_MS;
    bool fraction = false;
    for (size_t i = head.n + 1; i < s.n; i++)
        fraction = fraction || s.p[i] != '0';
    return ((int64_t)whole + fraction) * (int64_t)ms_a_unit;
}

static int64_t date_to_ms(struct np_span s, int64_t wall_ms)
{
    char text[64];
    if (s.n >= sizeof text)
        return -1;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    int64_t at = np_clock_parse_http_date(text);
    if (at < 0)
        return -1;
    int64_t wait = at > wall_ms ? at - wall_ms : 0;
    return wait < MAX_RETRY_MS ? wait : MAX_RETRY_MS;
}

static int64_t retry_after(const struct np_wire_reply *r)
{
    if (r->retry_after_ms.p) {
        int64_t ms = units_to_ms(trim(r->retry_after_ms), 1);
        if (ms >= 0)
            return ms;
    }
    struct np_span s = r->retry_after.p ? trim(r->retry_after) : NP_SPAN_NONE;
    if (s.n == 0)
        return -1;
    int64_t ms = units_to_ms(s, 1000);
    return ms >= 0 ? ms : date_to_ms(s, r->wall_ms);
}

/* ---------------------------------------------------------------------------------- the answer */

struct answer_order {
    struct np_script *s;
    struct np_exchange *x;
    const struct np_model *m;
    const struct np_wire_reply *reply;
    struct np_answer *out;
    enum np_err err;
};

/* "application/json; charset=utf-8", "application/problem+json"; none at all is let pass. */
static bool is_json_type(struct np_span type)
{
    type = trim(type);
    const char *end = type.n ? memchr(type.p, ';', type.n) : NULL;
    if (end)
        type.n = (size_t)(end - type.p);
    type = trim(type);
    if (type.n == 0 || np_span_eq_nocase(type, NP_SPAN("application/json")))
        return true;
    return type.n > 5 && np_span_eq_nocase(np_span_make(type.p + type.n - 5, 5), NP_SPAN("+json"));
}

/* At most ERROR_BYTES, not in the middle of a character. */
static struct np_span shorten(struct np_span s)
{
    if (s.n <= ERROR_BYTES)
        return s;
    s.n = ERROR_BYTES;
    while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
        s.n--;
    return s;
}

/* The text of a field of `out`, on the top, kept in the arena; empty where it is none. */
static struct np_span out_text(lua_State *L, struct answer_order *o, const char *name,
                               bool is_error)
{
    struct np_span s = NP_SPAN("");
    lua_getfield(L, -1, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        s.p = lua_tolstring(L, -1, &s.n);
        s = np_arena_dup(o->x->arena, is_error ? shorten(s) : s);
        if (!s.p) {
            o->err = NP_E_NOMEM;
            s = NP_SPAN("");
        }
    }
    lua_pop(L, 1);
    return s;
}

static int64_t out_whole(lua_State *L, const char *name, int64_t without)
{
    int whole;
    lua_getfield(L, -1, name);
    lua_Integer v = lua_tointegerx(L, -1, &whole);
    bool number = lua_type(L, -1) == LUA_TNUMBER;
    lua_pop(L, 1);
    return number && whole ? v : without;
}

/* A count of tokens: 0 where none was said; false when what was said is no whole number in bounds. */
static bool out_tokens(lua_State *L, const char *name, int64_t *v)
{
    bool good = true;
    *v = 0;
    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1)) {
        int whole = 0;
        if (lua_type(L, -1) == LUA_TNUMBER)
            *v = lua_tointegerx(L, -1, &whole);
        good = whole && *v >= 0 && *v <= NP_USAGE_MAX;
    }
    lua_pop(L, 1);
    return good;
}

static void take_usage(lua_State *L, struct np_answer *a)
{
    struct np_usage u = {0};
    lua_getfield(L, -1, "has_usage");
    a->usage_reported = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!a->usage_reported)
        return;
    bool good = out_tokens(L, "prompt", &u.prompt);
    good = out_tokens(L, "completion", &u.completion) && good;
    good = out_tokens(L, "cached", &u.cached) && good;
    good = out_tokens(L, "cache_write", &u.cache_write) && good;
    good = out_tokens(L, "cache_write_1h", &u.cache_write_1h) && good;
    good = out_tokens(L, "reasoning", &u.reasoning) && good;
    a->usage_flagged = !good || !np_usage_possible(&u);
    if (!a->usage_flagged)
        a->usage = u;
}

/* Reads `out`, which is on the top. */
static void take_answer(lua_State *L, struct answer_order *o)
{
    struct np_answer *a = o->out;
    lua_getfield(L, -1, "class");
    if (lua_type(L, -1) == LUA_TSTRING) {
        enum np_class class = np_class_find(np_span_of(lua_tostring(L, -1)));
        if (class != NP_CLASS_COUNT)
            a->class = class;
    }
    lua_pop(L, 1);
    lua_getfield(L, -1, "finish");
    enum np_finish finish = lua_type(L, -1) == LUA_TSTRING
                                ? np_finish_find(np_span_of(lua_tostring(L, -1)))
                                : NP_FINISH_COUNT;
    a->finish = finish == NP_FINISH_COUNT ? NP_FINISH_stop : finish;
    lua_pop(L, 1);
    a->error = out_text(L, o, "error", true);
    a->limit_tokens = out_whole(L, "limit_tokens", -1);
    take_usage(L, a);
    if (a->class == NP_CLASS_ok)
        a->text = out_text(L, o, "text", false);
}

/* Pushes `out`, emptied. Its keys stay, so that filling it takes no memory. */
static void push_out(lua_State *L, int all)
{
    static const char *const names[] = {"class",     "text",         "finish",    "error",
                                        "has_usage", "limit_tokens", "prompt",    "completion",
                                        "cached",    "cache_write",  "reasoning", "cache_write_1h"};
    lua_rawgeti(L, all, AT_OUT);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, names[i]);
    }
}

/* (light userdata of struct answer_order). Protected. */
static int read_answer(lua_State *L)
{
    struct answer_order *o = lua_touserdata(L, 1);
    enum np_adapter adapter = o->m->provider->adapter;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->s->adapters);
    int all = lua_gettop(L);
    push_out(L, all);
    int out = lua_gettop(L);
    lua_rawgeti(L, all, place_of(adapter, OF_ANSWER));
    lua_rawgeti(L, all, AT_REPLY);
    int reply = lua_gettop(L);
    lua_rawgeti(L, all, place_of(adapter, OF_READS));
    const struct np_reads *reads = lua_touserdata(L, -1);
    np_reads_fill(L, reply, reads, o->reply->body);
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)o->reply->status);
    lua_setfield(L, reply, "status");
    lua_pushstring(L, np_class_name(o->out->class));
    lua_setfield(L, reply, "class");
    lua_pushvalue(L, out);
    lua_call(L, 2, 0);
    take_answer(L, o);
    return 0;
}

/* A good status without a good body is a bad reply; the words say what came instead. */
static void say_not_json(struct answer_order *o)
{
    struct np_span type = o->reply->content_type;
    const char *text = o->reply->body.n == 0
                           ? np_arena_strdup(o->x->arena, "the reply is empty")
                           : np_arena_printf(o->x->arena, "the reply is not JSON (%.*s)",
                                             (int)(type.n < 80 ? type.n : 80),
                                             type.n ? type.p : "no content type");
    o->out->error = text ? np_span_of(text) : NP_SPAN("");
    if (!text)
        o->err = NP_E_NOMEM;
}

static enum np_err understand(struct answer_order *o)
{
    struct np_state *st = &o->s->state;
    struct np_json_fault fault;
    enum np_err err = open_adapters(o->s);
    if (err)
        return fault_err(o->s);
    if (!is_json_type(o->reply->content_type) ||
        np_json_check(o->reply->body, NP_JSON_DEPTH, &fault)) {
        if (o->out->class == NP_CLASS_ok)
            o->out->class = NP_CLASS_bad_reply;
        say_not_json(o);
        return o->err;
    }
    lua_pushcfunction(st->L, read_answer);
    lua_pushlightuserdata(st->L, o);
    if (np_state_call_trusted(st, 1, 0))
        return o->err;
    if (fault_err(o->s) == NP_E_NOMEM)
        return NP_E_NOMEM;
    if (o->out->class == NP_CLASS_ok)
        o->out->class = NP_CLASS_bad_reply;
    o->out->error = NP_SPAN("the reply has not the form that this provider's replies have");
    return NP_OK;
}

enum np_err np_adapter_answer(struct np_script *s, struct np_exchange *x, const struct np_model *m,
                              const struct np_wire_reply *reply, struct np_answer *out)
{
    *out = (struct np_answer){.class = class_of_status(reply->status),
                              .text = NP_SPAN(""),
                              .error = NP_SPAN(""),
                              .provider_request_id = NP_SPAN(""),
                              .retry_after_ms = retry_after(reply),
                              .limit_tokens = -1};
    struct answer_order o = {.s = s, .x = x, .m = m, .reply = reply, .out = out};
    if (reply->request_id.p) {
        struct np_span id = reply->request_id;
        id.n = id.n < NP_ID_CLIENT_MAX ? id.n : NP_ID_CLIENT_MAX;
        out->provider_request_id = np_arena_dup(x->arena, id);
        if (!out->provider_request_id.p)
            return NP_E_NOMEM;
    }
    return understand(&o);
}
