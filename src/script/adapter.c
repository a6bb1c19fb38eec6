/* The border between the exchange and the adapters of lua/neap/providers/.
 *
 * A request: `request(call, body)` gets what is asked for in one table that is used again and again,
 * puts the fields of the body into another one, and returns the path. Texts stand in them as light
 * userdata, pointers to spans of raw JSON, which the encoder splices in. What is the same for every
 * provider (the content type, its own headers, the key) is added here. Answers are read in answer.c.
 */
#include "script/adapter_impl.h"

#include <lauxlib.h>
#include <lua.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "script/json.h"
#include "script/reads.h"

#define SPARE_BYTES ((size_t)64 << 20)
#define PATH_BYTES 256

static const char *const module_files[NP_ADAPTER_COUNT] = {
    [NP_ADAPTER_OPENAI] = "neap/providers/openai.lua",
    [NP_ADAPTER_ANTHROPIC] = "neap/providers/anthropic.lua"};

/* ------------------------------------------------------------------------------------ loading */

/* What the table on the top declares, outside of Lua's memory: streams outlive a state. */
static void keep_stream(lua_State *L, enum np_adapter adapter)
{
    struct np_stream_form **f = &np_state_of(L)->script->streams[adapter];
    if (!*f)
        *f = malloc(sizeof **f);
    if (!*f)
        luaL_error(L, "no memory for a stream's form");
    np_adapter_stream_read(L, -1, *f);
}

/* Pushes one of the things of the module at idx. */
static void push_part(lua_State *L, int idx, enum np_adapter adapter, enum np_module_part part)
{
    static const char *const names[NP_OF_COUNT] = {
        [NP_OF_REQUEST] = "request",     [NP_OF_ANSWER] = "answer", [NP_OF_HEADERS] = "headers",
        [NP_OF_SYSTEM_AS] = "system_as", [NP_OF_READS] = "reads",   [NP_OF_STREAM] = "stream"};
    if (part == NP_OF_BODY) {
        lua_createtable(L, 0, 16);
        return;
    }
    lua_getfield(L, idx, names[part]);
    if (part == NP_OF_READS) {
        (void)np_reads_push(L, -1);
        lua_remove(L, -2);
    }
    if (part == NP_OF_STREAM)
        keep_stream(L, adapter);
}

/* (module of each adapter …): the table of everything. */
static int collect(lua_State *L)
{
    lua_createtable(L, NP_AT_MODULES + NP_ADAPTER_COUNT * NP_OF_COUNT, 0);
    for (int i = NP_AT_CALL; i <= NP_AT_OUT; i++) {
        lua_createtable(L, 0, 16);
        lua_rawseti(L, -2, i);
    }
    for (int a = 0; a < NP_ADAPTER_COUNT; a++)
        for (int part = 0; part < NP_OF_COUNT; part++) {
            push_part(L, a + 1, (enum np_adapter)a, (enum np_module_part)part);
            lua_rawseti(L, -2, np_adapter_place((enum np_adapter)a, (enum np_module_part)part));
        }
    np_state_of(L)->script->adapters = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum np_err np_adapter_fault(const struct np_script *s)
{
    return s->state.fault.kind == NP_FAULT_KIND_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
}

enum np_err np_adapters_open(struct np_script *s)
{
    if (s->adapters != LUA_NOREF)
        return NP_OK;
    struct np_state *st = &s->state;
    lua_pushcfunction(st->L, collect);
    for (int a = 0; a < NP_ADAPTER_COUNT; a++)
        if (!np_state_run_embedded(st, module_files[a])) {
            lua_pop(st->L, a + 1);
            return np_adapter_fault(s);
        }
    return np_state_call_trusted(st, NP_ADAPTER_COUNT, 0) ? NP_OK : np_adapter_fault(s);
}

/* ------------------------------------------------------------------------- the texts of a request */

/* What Lua gets a pointer to; NULL spans are nil there. */
struct texts {
    struct np_arena *spare;  /* what is only needed until the body is written; freed after it */
    struct np_span system;   /* a JSON string or a list of parts */
    struct np_span messages; /* a JSON array */
    struct np_span stop;
    struct np_span stop_words; /* those of stop that are more than blanks */
    struct np_span temperature;
};

/* Whether a JSON string holds nothing but white space. Without memory it is taken for more. */
static bool is_blank(struct np_arena *a, struct np_span string)
{
    struct np_span text = np_json_inner(string);
    if (text.n && memchr(text.p, '\\', text.n) && np_json_text(a, string, true, &text))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!strchr(" \t\n\v\f\r", text.p[i]) || text.p[i] == '\0')
            return false;
    return true;
}

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
    return keep(t->spare, b, &t->messages);
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

/* What an assistant did not say: an empty answer among the messages is refused where it is no last one. */
static bool says_nothing(struct np_arena *a, const struct np_message *m)
{
    if (m->role != NP_ROLE_ASSISTANT)
        return false;
    return m->bytes == 0 || (!is_list(m->content) && is_blank(a, m->content));
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
            if (!says_nothing(t->spare, m))
                put_message(b, np_role_name(m->role), m->content);
            continue;
        }
        any = true;
        lists = lists || is_list(m->content);
    }
    np_buf_char(b, ']');
    enum np_err err = keep(t->spare, b, &t->messages);
    if (err || !any)
        return err;
    np_buf_reset(b);
    if (lists)
        join_parts(x, t->system, b);
    else
        join_strings(x, t->system, b);
    return keep(t->spare, b, &t->system);
}

static enum np_err gather_stop_words(struct np_buf *b, struct texts *t)
{
    struct np_json_walk w = np_json_walk(t->stop);
    size_t n = 0;
    np_buf_reset(b);
    for (struct np_span word; np_json_item(&w, &word);)
        if (!is_blank(t->spare, word)) {
            np_buf_char(b, n++ ? ',' : '[');
            np_buf_span(b, word);
        }
    np_buf_char(b, ']');
    return n ? keep(t->spare, b, &t->stop_words) : NP_OK;
}

static enum np_err gather(struct np_exchange *x, struct np_buf *b, bool as_field, struct texts *t)
{
    *t = (struct texts){
        .spare = t->spare, .stop = x->request.stop, .temperature = x->request.temperature_raw};
    if (isnan(x->request.temperature))
        t->temperature = NP_SPAN_NONE;
    enum np_err err = np_request_system_json(t->spare, &x->request, &t->system);
    if (!err && t->stop.p)
        err = gather_stop_words(b, t);
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
    lua_rawgeti(L, all, NP_AT_CALL);
    lua_pushstring(L, m->id);
    lua_setfield(L, -2, "model");
    lua_pushinteger(L, o->c->completion_max);
    lua_setfield(L, -2, "max_tokens");
    lua_pushboolean(L, o->x->request.stream);
    lua_setfield(L, -2, "stream");
    set_raw(L, "system", &o->texts.system);
    set_raw(L, "messages", &o->texts.messages);
    set_raw(L, "stop", &o->texts.stop);
    set_raw(L, "stop_words", &o->texts.stop_words);
    set_raw(L, "temperature", &o->texts.temperature);
    if (o->texts.temperature.p)
        lua_pushnumber(L, o->x->request.temperature);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, "degrees");
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
    lua_rawgeti(L, all, np_adapter_place(p->adapter, NP_OF_HEADERS));
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

const struct np_stream_form *np_adapter_stream(struct np_script *s, enum np_adapter adapter)
{
    return np_adapters_open(s) ? NULL : s->streams[adapter];
}

/* (light userdata of struct request_order). Protected. */
static int make_request(lua_State *L)
{
    struct request_order *o = lua_touserdata(L, 1);
    struct np_state *st = np_state_of(L);
    enum np_adapter adapter = o->c->model->provider->adapter;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->s->adapters);
    int all = lua_gettop(L);
    lua_rawgeti(L, all, np_adapter_place(adapter, NP_OF_SYSTEM_AS));
    o->err = gather(o->x, &st->scratch, strcmp(luaL_checkstring(L, -1), "field") == 0, &o->texts);
    if (o->err)
        return 0;
    lua_rawgeti(L, all, np_adapter_place(adapter, NP_OF_BODY));
    int body = lua_gettop(L);
    lua_rawgeti(L, all, np_adapter_place(adapter, NP_OF_REQUEST));
    push_call(L, all, o);
    lua_pushvalue(L, body);
    lua_call(L, 2, 2);
    size_t n;
    const char *path = luaL_checklstring(L, -2, &n);
    o->out->hidden_tokens = lua_toboolean(L, -1);
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
    enum np_err err = np_adapters_open(s);
    if (!err && !(o.texts.spare = np_arena_new(SPARE_BYTES)))
        err = NP_E_NOMEM;
    if (!err) {
        lua_pushcfunction(s->state.L, make_request);
        lua_pushlightuserdata(s->state.L, &o);
        err = np_state_call_trusted(&s->state, 1, 0) ? o.err : np_adapter_fault(s);
    }
    np_arena_free(o.texts.spare);
    if (err == NP_E_INVALID)
        snprintf(error, 256, "%s", s->state.fault.text);
    else if (err)
        snprintf(error, 256, "%s", np_err_text(err));
    return err;
}
