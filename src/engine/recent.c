/* A circle of records: the oldest goes when there are too many or they are too large. Many records come
 * for each list that is asked for, so what lists filter by is read when one is.
 *
 * Texts of usual length lie one behind the other in chunks, which go in the order in which they came and are used
 * again: freed one by one, their pages would go back to the kernel and come again with each few records. */
#include "engine/recent.h"

#include "base/id.h"
#include "engine/fields.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define ID_BYTES (NP_ID_CLIENT_MAX + 1)
#define BREATH 256 /* records that are looked at while the writer waits */

#define CHUNK_BYTES ((size_t)64 << 10)
#define LONG_BYTES (CHUNK_BYTES / 8) /* longer texts have memory of their own */

struct chunk {
    struct chunk *next; /* the newer one */
    size_t used, texts; /* that are kept */
    char text[CHUNK_BYTES];
};

struct entry {
    char *text;
    size_t n;
};

struct np_recent {
    pthread_mutex_t lock;
    struct entry *entry; /* a circle of max */
    size_t max, first, n;
    size_t bytes, max_bytes;
    uint64_t added;                /* ever */
    struct chunk *oldest, *newest; /* NULL: none */
    struct chunk *spare;           /* to be used again, or NULL */
};

struct np_recent *np_recent_new(size_t max_records, size_t max_bytes)
{
    struct np_recent *r = calloc(1, sizeof *r);
    struct entry *entries = calloc(max_records, sizeof *entries);
    if (!r || !entries) {
        free(r);
        free(entries);
        return NULL;
    }
    (void)pthread_mutex_init(&r->lock, NULL);
    r->entry = entries;
    r->max = max_records;
    r->max_bytes = max_bytes;
    return r;
}

size_t np_recent_max(const struct np_recent *r)
{
    return r->max;
}

/* --- memory -------------------------------------------------------------------------------------- */

static bool add_chunk(struct np_recent *r)
{
    struct chunk *c = r->spare ? r->spare : malloc(sizeof *c);
    r->spare = NULL;
    if (!c)
        return false;
    c->next = NULL;
    c->used = c->texts = 0;
    *(r->newest ? &r->newest->next : &r->oldest) = c;
    r->newest = c;
    return true;
}

/* NULL without memory. */
static char *place(struct np_recent *r, size_t n)
{
    if (n > LONG_BYTES)
        return malloc(n);
    if ((!r->newest || n > CHUNK_BYTES - r->newest->used) && !add_chunk(r))
        return NULL;
    char *text = r->newest->text + r->newest->used;
    r->newest->used += n;
    r->newest->texts++;
    return text;
}

/* Of the oldest text: in a chunk it is in the oldest one. */
static void let_go(struct np_recent *r, const struct entry *e)
{
    struct chunk *c = r->oldest;
    if (e->n > LONG_BYTES) {
        free(e->text);
        return;
    }
    if (--c->texts > 0)
        return;
    r->oldest = c->next;
    if (!r->oldest)
        r->newest = NULL;
    free(r->spare);
    r->spare = c;
}

static void drop_oldest(struct np_recent *r)
{
    struct entry *e = &r->entry[r->first];
    r->bytes -= e->n;
    let_go(r, e);
    *e = (struct entry){0};
    r->first = (r->first + 1) % r->max;
    r->n--;
}

void np_recent_free(struct np_recent *r)
{
    if (!r)
        return;
    while (r->n > 0)
        drop_oldest(r);
    free(r->spare);
    (void)pthread_mutex_destroy(&r->lock);
    free(r->entry);
    free(r);
}

/* --- records ------------------------------------------------------------------------------------- */

/* The inside of a string of the record, escapes kept; "" when there is none. Names are there once. */
static struct np_span text_of(const struct entry *e, const char *key)
{
    struct np_json_walk walk = np_json_walk(np_span_make(e->text, e->n));
    struct np_span name, value;
    while (np_json_member(&walk, &name, &value)) {
        if (np_span_is(name, key))
            return np_json_kind(value) == NP_JSON_STRING ? np_json_inner(value) : NP_SPAN("");
    }
    return NP_SPAN("");
}

/* The i-th, the newest is 0. */
static const struct entry *at(const struct np_recent *r, size_t i)
{
    return &r->entry[(r->first + r->n - 1 - i) % r->max];
}

void np_recent_add(struct np_recent *r, struct np_span record)
{
    while (record.n > 0 && record.p[record.n - 1] == '\n')
        record.n--;
    if (record.n == 0 || record.n > r->max_bytes)
        return;
    (void)pthread_mutex_lock(&r->lock);
    while (r->n > 0 && (r->n == r->max || r->bytes + record.n > r->max_bytes))
        drop_oldest(r);
    char *text = place(r, record.n);
    if (text) {
        memcpy(text, record.p, record.n);
        r->entry[(r->first + r->n) % r->max] = (struct entry){.text = text, .n = record.n};
        r->n++;
        r->added++;
        r->bytes += record.n;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- rows ---------------------------------------------------------------------------------------- */

static void copy_member(struct np_json_w *w, struct np_span record, const char *key)
{
    struct np_span value;
    if (np_json_get(record, key, &value))
        np_json_w_raw(w, key, value);
}

/* The model that answered, or was tried last, and how many attempts there were. */
static void put_attempts(struct np_json_w *w, struct np_span record)
{
    struct np_span item, last = NP_SPAN("{}");
    int64_t n = 0;
    for (struct np_json_walk k = np_list_of(record, "attempts"); np_json_item(&k, &item); n++)
        last = item;
    copy_member(w, last, "provider");
    copy_member(w, last, "model");
    np_json_w_i64(w, "attempts", n);
}

static void put_row(struct np_json_w *w, struct np_span record)
{
    static const char *const before[] = {"requestId", "at", "endpoint", "tenant", "policy"};
    static const char *const behind[] = {"outcome",   "reason",  "status",
                                         "latencyMs", "costUsd", "stream"};
    np_json_w_begin(w, '{');
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        copy_member(w, record, before[i]);
    put_attempts(w, record);
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        copy_member(w, record, behind[i]);
    np_json_w_end(w, '}');
}

static bool fits(const struct entry *e, const char *key, struct np_span wanted)
{
    return wanted.n == 0 || np_span_eq(text_of(e, key), wanted);
}

static bool matches(const struct entry *e, const struct np_recent_query *q)
{
    return fits(e, "endpoint", q->endpoint) && fits(e, "tenant", q->tenant) &&
           fits(e, "outcome", q->outcome);
}

/* Where a list begins; r->n: `before` is not kept. */
static size_t begin(const struct np_recent *r, struct np_span before)
{
    if (before.n == 0)
        return 0;
    for (size_t i = 0; i < r->n; i++) {
        if (np_span_eq(text_of(at(r, i), "requestId"), before))
            return i + 1;
    }
    return SIZE_MAX;
}

static void copy_id(const struct entry *e, char out[ID_BYTES])
{
    struct np_span id = text_of(e, "requestId");
    size_t n = id.n < ID_BYTES ? id.n : ID_BYTES - 1;
    memcpy(out, id.p, n);
    out[n] = '\0';
}

/* The writer must not wait for a long look through everything. */
static void let_others(struct np_recent *r)
{
    (void)pthread_mutex_unlock(&r->lock);
    (void)sched_yield();
    (void)pthread_mutex_lock(&r->lock);
}

enum np_err np_recent_list(struct np_recent *r, const struct np_recent_query *q, struct np_buf *out)
{
    struct np_json_w w;
    char last[ID_BYTES] = "";
    size_t rows = 0, looked = 0;
    (void)pthread_mutex_lock(&r->lock);
    size_t i = begin(r, q->before);
    if (i == SIZE_MAX) {
        (void)pthread_mutex_unlock(&r->lock);
        return NP_E_INVALID;
    }
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "requests", '[');
    bool more = false;
    /* By number in the order of coming, which stays when others come or go. */
    for (uint64_t above = r->added - i; above > r->added - r->n; above--) {
        const struct entry *e = at(r, (size_t)(r->added - above));
        if (matches(e, q)) {
            more = rows == q->limit;
            if (more)
                break;
            put_row(&w, np_span_make(e->text, e->n));
            copy_id(e, last);
            rows++;
        }
        if (++looked % BREATH == 0)
            let_others(r);
    }
    np_json_w_end(&w, ']');
    if (more)
        np_json_w_cstr(&w, "next", last);
    else
        np_json_w_null(&w, "next");
    np_json_w_end(&w, '}');
    (void)pthread_mutex_unlock(&r->lock);
    (void)np_buf_char(out, '\n');
    return NP_OK;
}

/* --- one ----------------------------------------------------------------------------------------- */

unsigned np_recent_get(struct np_recent *r, struct np_span id, struct np_buf *out)
{
    const struct entry *found = NULL;
    bool whole = false, other = false;
    (void)pthread_mutex_lock(&r->lock);
    struct np_span found_id = NP_SPAN_NONE;
    for (size_t i = 0; i < r->n && !whole; i++) {
        const struct entry *e = at(r, i);
        struct np_span its = text_of(e, "requestId");
        if (id.n == 0 || its.n < id.n || memcmp(its.p, id.p, id.n) != 0)
            continue;
        whole = its.n == id.n;
        other = other || (found && !np_span_eq(found_id, its));
        if (!found || whole) {
            found = e;
            found_id = its;
        }
    }
    unsigned n = !found ? 0 : other && !whole ? 2 : 1;
    if (n == 1) {
        (void)np_buf_put(out, found->text, found->n);
        (void)np_buf_char(out, '\n');
    }
    (void)pthread_mutex_unlock(&r->lock);
    return n;
}
