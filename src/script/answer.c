/* Reading a provider's answer: the classes of statuses, Retry-After, and what the adapter understood.
 *
 * An answer: `answer(reply, out)` gets what the module's `reads` name of the body (the rest is never
 * decoded) and the class that the status alone means, and writes what it understood into `out`. Whether usage is possible, and when to come again, is decided
 * here. An adapter that fails on what a provider sent leaves the status's class standing. */
#include "script/adapter_impl.h"

#include <lauxlib.h>
#include <lua.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "script/load.h"
#include "script/reads.h"

#define ERROR_BYTES 512
#define MAX_RETRY_MS INT64_C(604800000) /* a week: whatever is longer means the same */

/* ---------------------------------------------------------------------------- class of a status */

/* What a status means when nothing else is known: the table of the contract. */
static enum np_class class_of_status(unsigned status)
{
    static const struct {
        unsigned status;
        enum np_class class;
    } rows[] = {
        {200, NP_CLASS_ok},           {401, NP_CLASS_credential}, {402, NP_CLASS_quota},
        {403, NP_CLASS_credential},   {404, NP_CLASS_model_gone}, {405, NP_CLASS_bad_reply},
        {406, NP_CLASS_bad_reply},    {407, NP_CLASS_bad_reply},  {408, NP_CLASS_server_error},
        {409, NP_CLASS_server_error}, {410, NP_CLASS_model_gone}, {421, NP_CLASS_bad_reply},
        {425, NP_CLASS_bad_reply},    {415, NP_CLASS_bad_reply},  {429, NP_CLASS_rate_limited},
        {451, NP_CLASS_filtered},     {503, NP_CLASS_overloaded}, {529, NP_CLASS_overloaded},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].class;
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

static bool is_digits(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

/* A number of units (fractions are cut up to the next one) in milliseconds; -1 when it is none. */
static int64_t units_to_ms(struct np_span s, unsigned ms_a_unit)
{
    unsigned long long whole;
    const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
    struct np_span head = dot ? np_span_make(s.p, (size_t)(dot - s.p)) : s;
    struct np_span tail = dot ? np_span_make(dot + 1, s.n - head.n - 1) : NP_SPAN("");
    if (head.n == 0 || !is_digits(head) || !is_digits(tail))
        return -1;
    /* Too many digits for a number are too long a time for anybody, too. */
    if (!np_span_to_u64(head, &whole) || whole >= (unsigned long long)MAX_RETRY_MS / ms_a_unit)
        return MAX_RETRY_MS;
    bool fraction = false;
    for (size_t i = 0; i < tail.n; i++)
        fraction = fraction || tail.p[i] != '0';
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

/* Overwrites a key wherever it stands. What is shorter than 8 bytes is no key of the real APIs, and
 * would hide words. */
static void hide(char *p, size_t n, const char *key)
{
    size_t key_n = strlen(key);
    char *end = p + n;
    while (key_n >= 8 && (p = memmem(p, (size_t)(end - p), key, key_n))) {
        memset(p, '*', key_n);
        p += key_n;
    }
}

/* A provider's own words, cut, in the arena; p NULL without memory. Some quote the key that they refuse,
 * whatever the status: none of the provider's keys is left in them. */
static struct np_span error_words(const struct answer_order *o, struct np_span s)
{
    const struct np_provider *p = o->m->provider;
    /* A key that begins in what is kept may end behind it. */
    s.n = s.n < ERROR_BYTES + NP_SECRET_BYTES ? s.n : ERROR_BYTES + NP_SECRET_BYTES;
    char *copy = np_arena_bytes(o->x->arena, s.n + 1);
    if (!copy)
        return NP_SPAN_NONE;
    memcpy(copy, s.p, s.n);
    for (size_t i = 0; i < p->n_keys; i++)
        hide(copy, s.n, p->keys[i].value);
    return shorten(np_span_make(copy, s.n));
}

/* The text of a field of `out`, on the top, kept in the arena; empty where it is none. */
static struct np_span out_text(lua_State *L, struct answer_order *o, const char *name,
                               bool is_error)
{
    struct np_span s = NP_SPAN("");
    lua_getfield(L, -1, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        s.p = lua_tolstring(L, -1, &s.n);
        s = is_error ? error_words(o, s) : np_arena_dup(o->x->arena, s);
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

/* A count of tokens; it stays as it is where none was said. What is no whole number in bounds is flagged. */
static void out_tokens(lua_State *L, const char *name, struct np_stream_usage *told, int64_t *count)
{
    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1)) {
        int whole = 0;
        lua_Integer v = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
        if (whole && v >= 0 && v <= NP_USAGE_MAX)
            *count = v;
        else
            told->flagged = true;
    }
    lua_pop(L, 1);
}

/* Parts and wholes are reckoned as for a stream of the same provider. */
static void take_usage(lua_State *L, const struct np_stream_form *form, struct np_answer *a)
{
    struct np_stream_usage told;
    struct np_usage u;
    bool possible = false;
    lua_getfield(L, -1, "has_usage");
    a->usage_reported = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!a->usage_reported)
        return;
    np_stream_usage_init(&told);
    out_tokens(L, "prompt", &told, &told.prompt);
    out_tokens(L, "completion", &told, &told.completion);
    out_tokens(L, "cached", &told, &told.cached);
    out_tokens(L, "cache_write", &told, &told.cache_write);
    out_tokens(L, "cache_write_5m", &told, &told.cache_write_5m);
    out_tokens(L, "cache_write_1h", &told, &told.cache_write_1h);
    out_tokens(L, "reasoning", &told, &told.reasoning);
    a->usage_flagged = !np_stream_usage_sum(form, &told, &u, &possible) || !possible;
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
    a->prompt_seen = out_whole(L, "prompt_seen", -1);
    take_usage(L, o->s->streams[o->m->provider->adapter], a);
    if (a->class == NP_CLASS_ok)
        a->text = out_text(L, o, "text", false);
}

/* Pushes `out`, emptied. Its keys stay, so that filling it takes no memory. */
static void push_out(lua_State *L, int all)
{
    static const char *const names[] = {
        "class",       "text",           "finish",         "error",      "has_usage",
        "prompt_seen", "limit_tokens",   "prompt",         "completion", "cached",
        "cache_write", "cache_write_5m", "cache_write_1h", "reasoning"};
    lua_rawgeti(L, all, NP_AT_OUT);
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
    lua_rawgeti(L, all, np_adapter_place(adapter, NP_OF_ANSWER));
    lua_rawgeti(L, all, NP_AT_REPLY);
    int reply = lua_gettop(L);
    lua_rawgeti(L, all, np_adapter_place(adapter, NP_OF_READS));
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
    enum np_err err = np_adapters_open(o->s);
    if (err)
        return err;
    if (!is_json_type(o->reply->content_type) ||
        np_json_check(o->reply->body, NP_JSON_DEPTH, &fault)) {
        if (o->out->class == NP_CLASS_ok)
            o->out->class = NP_CLASS_bad_reply;
        say_not_json(o);
        return o->err;
    }
    lua_pushcfunction(st->L, read_answer);
    lua_pushlightuserdata(st->L, o);
    if (np_state_call_trusted(st, 1, 0)) {
        if (o->x->trace.sampled && o->out->class == NP_CLASS_ok)
            (void)np_identity_read(o->reply->body, o->x->arena, &o->out->said);
        return o->err;
    }
    if (np_adapter_fault(o->s) == NP_E_NOMEM)
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
                              .limit_tokens = -1,
                              .prompt_seen = -1};
    struct answer_order o = {.s = s, .x = x, .m = m, .reply = reply, .out = out};
    if (reply->request_id.p) {
        struct np_span id = reply->request_id;
        id.n = id.n < NP_ID_CLIENT_MAX ? id.n : NP_ID_CLIENT_MAX;
        out->provider_request_id = np_arena_dup(x->arena, id);
        if (!out->provider_request_id.p)
            return NP_E_NOMEM;
    }
    enum np_err err = understand(&o);
    if (err || out->class != NP_CLASS_bad_reply || out->error.n > 0)
        return err;
    const char *words = np_arena_printf(x->arena, "status %u", reply->status);
    out->error = words ? np_span_of(words) : NP_SPAN("");
    return words ? NP_OK : NP_E_NOMEM;
}
