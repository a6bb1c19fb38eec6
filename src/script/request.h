/* Inside of script/ only: the handle `req`, and what admit may write through it. */
#ifndef NP_SCRIPT_REQUEST_H
#define NP_SCRIPT_REQUEST_H

#include "script/lock.h"
#include "script/script.h"

/* The block of a req. */
struct np_req_handle {
    struct np_lock_owner owner; /* alive: the exchange, NULL once the script turned to another */
    uint64_t accept_ns;
};

/* What is kept beside a req: the view of its metadata, and a table of the lists handed out. */
enum { NP_REQ_METADATA = 1, NP_REQ_CACHE, NP_REQ_VALUES = NP_REQ_CACHE };

/* The keys of that table, beside those of fields. */
enum np_req_cache {
    NP_CACHE_MESSAGES = NP_FIELD_COUNT, /* the tables that were made: table -> its place */
    NP_CACHE_MESSAGE_TEXTS,             /* and their texts: place -> text */
    NP_CACHE_ITEMS,
    NP_CACHE_ITEM_TEXTS,
    NP_CACHE_ATTEMPTS /* how many attempts the list has */
};

/* Makes the metatables; once a state. Raises. */
void np_req_open(lua_State *L, struct np_script *s);
/* Pushes the handle of s->x: the same one as at the last hook if that was the exchange's too. */
void np_req_push(lua_State *L, struct np_script *s);
/* Replaces a req at idx by a table of all that it shows; other values stay. For trusted code. */
void np_req_reveal(lua_State *L, int idx);

/* What req shows now: the draft while admit runs, else the exchange's request. */
static inline const struct np_request *np_req_shown(const struct np_script *s)
{
    return s->draft.open ? &s->draft.request : &s->x->request;
}

/* What a completion may have at most: the request's wish within the endpoint's bound. */
int64_t np_req_max_tokens(const struct np_script *s);

/* Pushes the table of the cache for the handle at idx, making it on first use. */
void np_req_push_cache(lua_State *L, int idx);

/* lists.c: getters that push a list and remember it; the handle is at 1. */
int np_req_get_messages(lua_State *L, struct np_script *s);
int np_req_get_context(lua_State *L, struct np_script *s);
int np_req_get_tags(lua_State *L, struct np_script *s);

/* draft.c. The handle is at 1, the value at 3. Raise errors of kind type. */
int np_req_newindex(lua_State *L);
void np_draft_begin(struct np_script *s, const struct np_exchange *x);
/* Takes in what was changed within the lists that were handed out; the handle is at 1. */
void np_draft_settle(lua_State *L, struct np_script *s);
/* Puts the draft into the exchange; the handle is at 1. */
void np_draft_commit(lua_State *L, struct np_script *s);
/* Forgets it. */
void np_draft_drop(struct np_script *s);

/* Raises "req has no field …", with a guess among the names given as bits. */
int np_unknown_field(lua_State *L, const char *what, uint64_t fields);

#define NP_FIELD_BIT(name) (UINT64_C(1) << NP_FIELD_##name)

#endif
