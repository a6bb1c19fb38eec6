/* The arena: a chain of chunks, of which the first holds the arena itself. The chunk that blocks are
 * cut from is the chain's head; blocks that would waste much of a chunk get one of their own size,
 * which is hung behind the head so that the head goes on being cut. All chunks end together.
 *
 * Under ASan what was not handed out is poisoned, and a gap is left behind each block, so that a
 * write past a block is caught although the chunk goes on. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
enum { GAP = 8, LEAST_ALIGN = 8 }; /* ASan's granule */
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { GAP = 0, LEAST_ALIGN = 1 };
#endif

#define FIRST_CHUNK 3072 /* a plain exchange with its driver fits, streamed or not */
#define NEXT_CHUNK 512   /* then doubling */
#define CHUNK_MAX 65536  /* stays below glibc's mmap threshold */
#define ALONE_LEAST 1024 /* a block of this size has memory of its own, so that it can end before */
#define PRINT_AT_ONCE 256 /* most printed names and messages are shorter */

struct chunk {
    struct chunk *next;
    uint32_t cap : 31;  /* bytes of data */
    uint32_t alone : 1; /* it holds one block, larger than what others are cut from */
    uint32_t cut;       /* of which are handed out, gaps included */
    alignas(max_align_t) char data[];
};

struct np_arena {
    struct chunk *head;
    size_t next_chunk; /* bytes to ask for next, header included */
    size_t max_bytes;
    size_t used;
};

static struct chunk *chunk_new(size_t bytes)
{
    struct chunk *c = bytes <= INT32_MAX ? malloc(bytes) : NULL;
    if (c) {
        c->next = NULL;
        c->alone = false;
        c->cap = (uint32_t)(bytes - sizeof *c) & INT32_MAX;
        c->cut = 0;
        POISON(c->data, c->cap);
    }
    return c;
}

/* Cuts a block from a chunk; NULL when it does not fit. bytes is bounded by the caller. */
static char *chunk_cut(struct chunk *c, size_t bytes, size_t align)
{
    size_t start = (c->cut + (align - 1)) & ~(align - 1);
    if (start > c->cap || c->cap - start < bytes + GAP) {
        return NULL;
    }
    c->cut = (uint32_t)(start + bytes + GAP);
    UNPOISON(c->data + start, bytes);
    return c->data + start;
}

struct np_arena *np_arena_new(size_t max_bytes)
{
    struct chunk *c = chunk_new(FIRST_CHUNK);
    if (!c) {
        return NULL;
    }
    void *block = chunk_cut(c, sizeof(struct np_arena), alignof(max_align_t));
    struct np_arena *a = block;
    np_require(a);
    a->head = c;
    a->next_chunk = NEXT_CHUNK;
    a->max_bytes = max_bytes;
    a->used = 0;
    return a;
}

void np_arena_free(struct np_arena *a)
{
    struct chunk *c = a ? a->head : NULL;
    while (c) {
        struct chunk *next = c->next;
        UNPOISON(c->data, c->cap);
        free(c);
        c = next;
    }
}

void np_arena_drop(struct np_arena *a, const void *block)
{
    for (struct chunk **at = &a->head; *at; at = &(*at)->next) {
        struct chunk *c = *at;
        if (c->alone && c->data == block) {
            a->used -= c->cut - GAP;
            *at = c->next;
            UNPOISON(c->data, c->cap);
            free(c);
            return;
        }
    }
}

/* A chunk in which the block fits, cut already. */
static char *grow(struct np_arena *a, size_t bytes, size_t align)
{
    size_t need = sizeof(struct chunk) + bytes + GAP;
    bool own = need > a->next_chunk / 2 || bytes >= ALONE_LEAST;
    struct chunk *c = chunk_new(own ? need : a->next_chunk);
    if (!c) {
        return NULL;
    }
    if (own) {
        c->alone = true;
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
        if (a->next_chunk < CHUNK_MAX) {
            a->next_chunk *= 2;
        }
    }
    return chunk_cut(c, bytes, align);
}

/* An empty block counts as one byte, so that every block has an address of its own and a loop of
 * empty ones ends too. */
static char *take(struct np_arena *a, size_t bytes, size_t align)
{
    bytes = bytes ? bytes : 1;
    align = align > LEAST_ALIGN ? align : LEAST_ALIGN;
    if (bytes > a->max_bytes - a->used || bytes > SIZE_MAX / 2) {
        return NULL;
    }
    char *p = bytes < ALONE_LEAST ? chunk_cut(a->head, bytes, align) : NULL;
    if (!p) {
        p = grow(a, bytes, align);
    }
    if (p) {
        a->used += bytes;
    }
    return p;
}

void *np_arena_alloc(struct np_arena *a, size_t bytes)
{
    void *p = take(a, bytes, alignof(max_align_t));
    return p ? memset(p, 0, bytes) : NULL;
}

void *np_arena_array(struct np_arena *a, size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / size) {
        return NULL;
    }
    return np_arena_alloc(a, n * size);
}

char *np_arena_bytes(struct np_arena *a, size_t bytes)
{
    return take(a, bytes, 1);
}

struct np_span np_arena_dup(struct np_arena *a, struct np_span s)
{
    char *p = s.n < SIZE_MAX ? take(a, s.n + 1, 1) : NULL;
    if (!p) {
        return NP_SPAN_NONE;
    }
    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    p[s.n] = '\0';
    return np_span_make(p, s.n);
}

char *np_arena_strdup(struct np_arena *a, const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *p = take(a, bytes, 1);
    return p ? memcpy(p, s, bytes) : NULL;
}

char *np_arena_printf(struct np_arena *a, const char *fmt, ...)
{
    char at_once[PRINT_AT_ONCE];
    char *p = NULL;
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(at_once, sizeof at_once, fmt, ap);
    if (n >= 0) {
        size_t bytes = (size_t)n + 1;
        p = take(a, bytes, 1);
        if (p && bytes <= sizeof at_once) {
            memcpy(p, at_once, bytes);
        } else if (p) {
            vsnprintf(p, bytes, fmt, again);
        }
    }
    va_end(again);
    va_end(ap);
    return p;
}

size_t np_arena_used(const struct np_arena *a)
{
    return a->used;
}
