/* Writing through req, in admit alone. Everything goes into a draft in the exchange's arena; only a
 * hook that comes to a good end has its draft put into the exchange. */
#include "script/request.h"

#include <math.h>
#include <stdio.h>

#include "model/tokens.h"
#include "script/json.h"
#include "script/lists.h"
#include "script/lock.h"
#include "script/raw.h"

#define ID_BYTES 256
#define TAGS_BYTES 4096
#define TAGS_DEPTH 4

void np_draft_begin(struct np_script *s, const struct np_exchange *x)
{
    s->draft = (struct np_draft){.request = x->request, .tags = x->tags, .open = true};
}

void np_draft_drop(struct np_script *s)
{
    s->draft.open = s->draft.lists = false;
}

/* ------------------------------------------------------------------------------------ helpers */

static void *need(lua_State *L, void *p)
{
    if (!p)
        luaL_error(L, "the request's memory is used up");
    return p;
}

static void *need_array(lua_State *L, struct np_script *s, size_t n, size_t size)
{
    return need(L, np_arena_array(s->x->arena, n ? n : 1, size));
}

/* The string at idx as a raw JSON string in the arena. */
static struct np_span raw_string(lua_State *L, struct np_script *s, int idx)
{
    struct np_span text;
    text.p = lua_tolstring(L, idx, &text.n);
    struct np_buf *b = &s->state.scratch;
    np_buf_reset(b);
    np_buf_char(b, '"');
    np_json_escape(b, text);
    np_buf_char(b, '"');
    if (np_buf_failed(b))
        luaL_error(L, "a text of more than %d bytes", (int)b->max);
    struct np_span raw = np_arena_dup(s->x->arena, np_buf_view(b));
    (void)need(L, (void *)(uintptr_t)raw.p);
    return raw;
}

static int64_t tokens_of(struct np_span raw)
{
    return np_tokens_estimate(np_json_inner(raw), true);
}

/* The place of the table at entry in the draft's list, or 0; *same: its text is as it was. The text
 * is at `text`. */
static size_t remembered(lua_State *L, int cache, int entry, int text, bool messages, bool *same)
{
    size_t place = 0;
    *same = false;
    if (lua_rawgeti(L, cache, messages ? NP_CACHE_MESSAGES : NP_CACHE_ITEMS) == LUA_TTABLE) {
        lua_pushvalue(L, entry);
        lua_rawget(L, -2);
        place = (size_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (place == 0)
        return 0;
    lua_rawgeti(L, cache, messages ? NP_CACHE_MESSAGE_TEXTS : NP_CACHE_ITEM_TEXTS);
    lua_rawgeti(L, -1, (lua_Integer)place);
    *same = lua_rawequal(L, -1, text);
    lua_pop(L, 2);
    return place;
}

/* ----------------------------------------------------------------------------------- messages */

static enum np_role role_at_top(lua_State *L, const char *where)
{
    const char *name = lua_tostring(L, -1);
    for (int r = 0; r < NP_ROLE_COUNT; r++)
        if (strcmp(name, np_role_name((enum np_role)r)) == 0)
            return (enum np_role)r;
    np_state_type_error(L, "%s.role must be \"system\", \"user\" or \"assistant\"", where);
    return NP_ROLE_COUNT;
}

/* The entry is on the top, and stays. */
static void read_message(lua_State *L, struct np_script *s, int cache, const char *where,
                         struct np_message *out)
{
    static const char *const names[] = {"role", "content"};
    int entry = lua_gettop(L);
    np_lock_reveal(L, entry);
    np_raw_check_keys(L, entry, where, names, 2);
    np_raw_push(L, entry, where, "role", LUA_TSTRING, false);
    enum np_role role = role_at_top(L, where);
    np_raw_push(L, entry, where, "content", LUA_TSTRING, false);
    bool same;
    size_t place = remembered(L, cache, entry, entry + 2, true, &same);
    if (same) {
        *out = s->draft.request.messages[place - 1];
    } else {
        out->content = raw_string(L, s, entry + 2);
        out->tokens = tokens_of(out->content) + NP_TOKENS_PER_MESSAGE;
        out->bytes = np_json_inner(out->content).n;
    }
    out->role = role;
    lua_settop(L, entry);
}

/* The length of the list at idx, whose entries must all be tables. */
static size_t list_length(lua_State *L, int idx, const char *name, size_t max)
{
    size_t n = lua_rawlen(L, idx), seen = 0;
    if (n > max)
        np_state_type_error(L, "req.%s may have at most %d entries", name, (int)max);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        seen++;
        if (lua_type(L, -1) != LUA_TTABLE)
            np_state_type_error(L, "req.%s must be a list of tables, has a %s", name,
                                luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    if (seen != n)
        np_state_type_error(L, "req.%s must be a list without holes or names", name);
    np_state_poll(L, (int64_t)n);
    return n;
}

static void read_messages(lua_State *L, struct np_script *s, int cache, int list)
{
    size_t n = list_length(L, list, "messages", NP_MAX_MESSAGES);
    if (n == 0)
        np_state_type_error(L, "req.messages must not be empty");
    struct np_message *all = need_array(L, s, n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "messages[%zu]", i + 1);
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        read_message(L, s, cache, where, &all[i]);
        lua_pop(L, 1);
    }
    s->draft.request.messages = all;
    s->draft.request.n_messages = n;
    if (!np_request_asks(&s->draft.request))
        np_state_type_error(
            L, "req.messages must have one of role \"user\" or \"assistant\" that is not "
               "empty");
    np_lists_remember(L, cache, list, NP_FIELD_messages, n);
}

/* ------------------------------------------------------------------------------------ context */

/* Pushes id, text, priority and pinned of the entry. */
static void push_item_fields(lua_State *L, int entry, const char *where)
{
    static const char *const names[] = {"id", "text", "priority", "pinned", "tokens"};
    np_raw_check_keys(L, entry, where, names, 5);
    np_raw_push(L, entry, where, "id", LUA_TSTRING, false);
    np_raw_push(L, entry, where, "text", LUA_TSTRING, false);
    np_raw_push(L, entry, where, "priority", LUA_TNUMBER, true);
    np_raw_push(L, entry, where, "pinned", LUA_TBOOLEAN, true);
    size_t n = lua_rawlen(L, entry + 1);
    if (n == 0 || n > ID_BYTES || memchr(lua_tostring(L, entry + 1), '\0', n))
        np_state_type_error(L, "%s.id must have 1 to %d bytes", where, ID_BYTES);
    if (!isfinite(lua_tonumber(L, entry + 3)))
        np_state_type_error(L, "%s.priority must be a finite number", where);
}

/* The entry is on the top, and stays; the set of the ids before it is at `ids`. */
static void read_item(lua_State *L, struct np_script *s, int cache, int ids, const char *where,
                      struct np_context_item *out)
{
    int entry = lua_gettop(L);
    np_lock_reveal(L, entry);
    push_item_fields(L, entry, where);
    lua_pushvalue(L, entry + 1);
    if (lua_rawget(L, ids) != LUA_TNIL)
        np_state_type_error(L, "%s.id is that of an item before it", where);
    lua_pushvalue(L, entry + 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, ids);
    bool same;
    size_t place = remembered(L, cache, entry, entry + 2, false, &same);
    *out = (struct np_context_item){.kept = true};
    if (same)
        out->text = s->draft.request.context[place - 1].text;
    else
        out->text = raw_string(L, s, entry + 2);
    out->id = raw_string(L, s, entry + 1);
    out->priority = lua_tonumber(L, entry + 3);
    out->pinned = lua_toboolean(L, entry + 4);
    out->tokens = tokens_of(out->text) + tokens_of(out->id) + NP_TOKENS_PER_MESSAGE;
    lua_settop(L, entry);
}

static void read_context(lua_State *L, struct np_script *s, int cache, int list)
{
    size_t n = list_length(L, list, "context", NP_MAX_CONTEXT);
    struct np_context_item *all = need_array(L, s, n, sizeof *all);
    lua_newtable(L);
    int ids = lua_gettop(L);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "context[%zu]", i + 1);
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        read_item(L, s, cache, ids, where, &all[i]);
        all[i].index = (uint32_t)i;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    s->draft.request.context = all;
    s->draft.request.n_context = n;
    np_lists_remember(L, cache, list, NP_FIELD_context, n);
}

/* --------------------------------------------------------------------------------------- tags */

static void read_tags(lua_State *L, struct np_script *s, int cache, int tags)
{
    (void)cache;
    struct np_buf *b = &s->state.scratch;
    np_buf_reset(b);
    if (!np_ljson_encode(L, tags, b, TAGS_DEPTH))
        np_state_type_error(L, "req.tags: %s", lua_tostring(L, -1));
    if (b->n > TAGS_BYTES)
        np_state_type_error(L, "req.tags must have at most %d bytes as JSON", TAGS_BYTES);
    bool empty = b->n == 2;
    s->draft.tags = empty ? NP_SPAN_NONE : np_arena_dup(s->x->arena, np_buf_view(b));
    if (!empty)
        (void)need(L, (void *)(uintptr_t)s->draft.tags.p);
}

/* ------------------------------------------------------------------------------------- writing */

static void expect(lua_State *L, bool good, const char *field, const char *wanted)
{
    if (!good)
        np_state_type_error(L, "req.%s must be %s, got %s", field, wanted,
                            lua_type(L, 3) == LUA_TNUMBER ? lua_tostring(L, 3)
                                                          : luaL_typename(L, 3));
}

static void write_system(lua_State *L, struct np_script *s)
{
    struct np_request *r = &s->draft.request;
    int type = lua_type(L, 3);
    expect(L, type == LUA_TSTRING || type == LUA_TNIL, "system", "a string or nil");
    r->system = type == LUA_TNIL ? NP_SPAN_NONE : raw_string(L, s, 3);
    r->system_tokens = type == LUA_TNIL ? 0 : tokens_of(r->system) + NP_TOKENS_PER_MESSAGE;
}

static void write_max_tokens(lua_State *L, struct np_script *s)
{
    int whole = 0;
    lua_Integer n = lua_type(L, 3) == LUA_TNUMBER ? lua_tointegerx(L, 3, &whole) : 0;
    expect(L, whole && n >= 1 && n <= NP_MAX_TOKENS, "max_tokens",
           "a whole number from 1 to 1048576");
    s->draft.request.max_tokens = n;
}

static void write_temperature(lua_State *L, struct np_script *s)
{
    struct np_request *r = &s->draft.request;
    int type = lua_type(L, 3);
    double t = type == LUA_TNIL ? (double)NAN : lua_tonumber(L, 3);
    expect(L, type == LUA_TNIL || (type == LUA_TNUMBER && t >= 0 && t <= 2), "temperature",
           "a number from 0 to 2, or nil");
    r->temperature = t;
    r->temperature_raw = NP_SPAN_NONE;
    if (type == LUA_TNIL)
        return;
    struct np_buf *b = &s->state.scratch;
    np_buf_reset(b);
    (void)np_ljson_encode(L, 3, b, 1);
    r->temperature_raw = np_arena_dup(s->x->arena, np_buf_view(b));
    (void)need(L, (void *)(uintptr_t)r->temperature_raw.p);
}

typedef void list_reader(lua_State *L, struct np_script *s, int cache, int list);

static list_reader *const list_readers[NP_FIELD_COUNT] = {
    [NP_FIELD_messages] = read_messages,
    [NP_FIELD_context] = read_context,
    [NP_FIELD_tags] = read_tags,
};

/* The table is read at once, so that what is wrong with it is told where it was written, and again
 * at the end, as it may be changed until then. */
static void write_list(lua_State *L, struct np_script *s, enum np_field f)
{
    if (lua_type(L, 3) == LUA_TNIL && f != NP_FIELD_messages) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    expect(L, lua_type(L, 3) == LUA_TTABLE, np_field_name(f), "a table");
    /* The table behind a view is not for policies: req then makes one of the draft's. */
    bool view = np_lock_is(L, 3);
    np_lock_reveal(L, 3);
    np_req_push_cache(L, 1);
    list_readers[f](L, s, lua_gettop(L), 3);
    if (view)
        lua_pushnil(L);
    else
        lua_pushvalue(L, 3);
    lua_rawseti(L, -2, f);
    s->draft.lists = true;
}

int np_req_newindex(lua_State *L)
{
    struct np_script *s = np_state_of(L)->script;
    enum np_field f = np_field_of(L, &s->fields, 2);
    lua_settop(L, 3);
    bool scalar = f == NP_FIELD_system || f == NP_FIELD_max_tokens || f == NP_FIELD_temperature;
    if (!scalar && !list_readers[f])
        return np_state_type_error(L, "req.%s is read-only", np_field_name(f));
    if (!s->draft.open)
        return np_state_type_error(L, "req.%s can be written in admit only", np_field_name(f));
    if (f == NP_FIELD_system)
        write_system(L, s);
    else if (f == NP_FIELD_max_tokens)
        write_max_tokens(L, s);
    else if (f == NP_FIELD_temperature)
        write_temperature(L, s);
    else
        write_list(L, s, f);
    return 0;
}

void np_draft_settle(lua_State *L, struct np_script *s)
{
    static const enum np_field lists[] = {NP_FIELD_messages, NP_FIELD_context, NP_FIELD_tags};
    if (!s->draft.lists)
        return;
    int top = lua_gettop(L);
    np_req_push_cache(L, 1);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lua_rawgeti(L, top + 1, lists[i]) == LUA_TTABLE)
            list_readers[lists[i]](L, s, top + 1, top + 2);
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
}

void np_draft_commit(lua_State *L, struct np_script *s)
{
    np_draft_settle(L, s);
    s->x->request = s->draft.request;
    s->x->tags = s->draft.tags;
    np_draft_drop(s);
}
