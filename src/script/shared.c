/* shared.get/set/incr: a hash table with open addressing under one lock. Entries are found by linear
 * probing; a removed one leaves a mark until the table is rebuilt in place, when marks are many. When
 * it is full, what has outlived its time makes room. */
#include "script/shared.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/hash.h"

#define ENTRIES_MAX 4096
#define PLACES 8192
#define KEY_BYTES 256
#define STRING_BYTES 4096

struct entry {
    uint64_t hash;
    char *bytes; /* the key, then the string; NULL: free or removed */
    bool removed;
    uint16_t key_length;
    uint16_t string_length;
    uint8_t kind;
    double number;
    int64_t until_ms; /* 0: for ever */
};

struct np_shared {
    pthread_mutex_t lock;
    size_t n, marks;
    struct entry place[PLACES];
};

struct np_shared *np_shared_new(void)
{
    struct np_shared *s = calloc(1, sizeof *s);
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void np_shared_free(struct np_shared *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < PLACES; i++)
        free(s->place[i].bytes);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool is_over(const struct entry *e, int64_t now_ms)
{
    return e->until_ms != 0 && e->until_ms <= now_ms;
}

static struct entry *find(struct np_shared *s, struct np_span key, uint64_t hash)
{
    for (size_t i = hash % PLACES;; i = (i + 1) % PLACES) {
        struct entry *e = &s->place[i];
        if (!e->bytes && !e->removed)
            return NULL;
        if (e->bytes && e->hash == hash && e->key_length == key.n &&
            memcmp(e->bytes, key.p, key.n) == 0)
            return e;
    }
}

static void drop(struct np_shared *s, struct entry *e)
{
    free(e->bytes);
    *e = (struct entry){.removed = true};
    s->n--;
    s->marks++;
}

/* Puts every living entry where it is found without passing marks. In place: an entry that is lifted
 * out is put back before the next is looked at, so no memory is needed. */
static void rebuild(struct np_shared *s)
{
    for (size_t i = 0; i < PLACES; i++)
        s->place[i].removed = false;
    s->marks = 0;
    /* From a free place on, so that no run of entries is cut in two. */
    size_t start = 0;
    while (s->place[start].bytes)
        start++;
    for (size_t k = 1; k < PLACES; k++) {
        size_t from = (start + k) % PLACES;
        struct entry e = s->place[from];
        if (!e.bytes)
            continue;
        s->place[from] = (struct entry){0};
        size_t to = e.hash % PLACES;
        while (s->place[to].bytes)
            to = (to + 1) % PLACES;
        s->place[to] = e;
    }
}

static void make_room(struct np_shared *s, int64_t now_ms)
{
    if (s->n == ENTRIES_MAX)
        for (size_t i = 0; i < PLACES; i++)
            if (s->place[i].bytes && is_over(&s->place[i], now_ms))
                drop(s, &s->place[i]);
    if (s->n + s->marks > PLACES / 4 * 3)
        rebuild(s);
}

/* A new entry for a key that is not there; NULL when there is no room or no memory. */
static struct entry *add(struct np_shared *s, struct np_span key, uint64_t hash,
                         struct np_span text, int64_t now_ms)
{
    make_room(s, now_ms);
    if (s->n == ENTRIES_MAX)
        return NULL;
    char *bytes = malloc(key.n + text.n + 1);
    if (!bytes)
        return NULL;
    memcpy(bytes, key.p, key.n);
    if (text.n > 0)
        memcpy(bytes + key.n, text.p, text.n);
    size_t i = hash % PLACES;
    while (s->place[i].bytes)
        i = (i + 1) % PLACES;
    struct entry *e = &s->place[i];
    s->marks -= e->removed;
    s->n++;
    *e = (struct entry){.hash = hash,
                        .bytes = bytes,
                        .key_length = (uint16_t)key.n,
                        .string_length = (uint16_t)text.n};
    return e;
}

/* With the lock. The living entry of a key; one that is over is removed. */
static struct entry *living(struct np_shared *s, struct np_span key, uint64_t hash, int64_t now_ms)
{
    struct entry *e = find(s, key, hash);
    if (e && is_over(e, now_ms)) {
        drop(s, e);
        e = NULL;
    }
    return e;
}

void np_shared_get(struct np_shared *s, struct np_span key, int64_t now_ms,
                   struct np_shared_value *out)
{
    *out = (struct np_shared_value){.kind = NP_SHARED_NIL};
    uint64_t hash = np_fnv1a(key.p, key.n);
    pthread_mutex_lock(&s->lock);
    const struct entry *e = living(s, key, hash, now_ms);
    if (e && e->kind == NP_SHARED_STRING) {
        out->string = malloc((size_t)e->string_length + 1);
        if (out->string) {
            memcpy(out->string, e->bytes + e->key_length, e->string_length);
            out->string[e->string_length] = '\0';
            out->length = e->string_length;
            out->kind = NP_SHARED_STRING;
        }
    } else if (e) {
        out->kind = e->kind;
        out->number = e->number;
    }
    pthread_mutex_unlock(&s->lock);
}

enum np_err np_shared_set(struct np_shared *s, struct np_span key, const struct np_shared_value *v,
                          int64_t ttl_ms, int64_t now_ms)
{
    struct np_span text = NP_SPAN_NONE;
    if (v->kind == NP_SHARED_STRING)
        text = np_span_make(v->string, v->length);
    if (key.n > KEY_BYTES || text.n > STRING_BYTES)
        return NP_E_INVALID;
    uint64_t hash = np_fnv1a(key.p, key.n);
    enum np_err err = NP_OK;
    pthread_mutex_lock(&s->lock);
    struct entry *e = living(s, key, hash, now_ms);
    if (e)
        drop(s, e);
    if (v->kind != NP_SHARED_NIL) {
        e = add(s, key, hash, text, now_ms);
        if (e) {
            e->kind = (uint8_t)v->kind;
            e->number = v->number;
            e->until_ms = ttl_ms > 0 ? now_ms + ttl_ms : 0;
        } else {
            err = NP_E_FULL;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

enum np_err np_shared_incr(struct np_shared *s, struct np_span key, double by, int64_t ttl_ms,
                           int64_t now_ms, double *out)
{
    if (key.n > KEY_BYTES)
        return NP_E_INVALID;
    uint64_t hash = np_fnv1a(key.p, key.n);
    enum np_err err = NP_OK;
    pthread_mutex_lock(&s->lock);
    struct entry *e = living(s, key, hash, now_ms);
    if (!e) {
        e = add(s, key, hash, NP_SPAN_NONE, now_ms);
        if (e) {
            e->kind = NP_SHARED_NUMBER;
            e->until_ms = ttl_ms > 0 ? now_ms + ttl_ms : 0;
        }
    }
    if (!e)
        err = NP_E_FULL;
    else if (e->kind != NP_SHARED_NUMBER)
        err = NP_E_INVALID;
    else
        *out = e->number += by;
    pthread_mutex_unlock(&s->lock);
    return err;
}
