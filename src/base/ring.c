/* The ring: a power of two of bytes in which whole records lie, each behind a head of 8 bytes and
 * padded to 8. A record never wraps: where it does not fit before the end, a skip mark fills the rest
 * and it starts at 0. So a record of up to half the ring always fits into an empty one.
 *
 * `written` belongs to the producer, `taken` to the consumer; both only grow. Each side keeps the
 * last that it saw of the other's, to leave the other's cache line alone.
 *
 * A large ring that is seldom more than a little full would in time touch all its memory. So where it is
 * found empty after some bytes, the next record lies at the begin again: `base` is the position that does.
 * The producer changes it while there is nothing to read, and publishes it with `written`. */
#include "base/ring.h"

#include "base/err.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LEAST_BYTES ((size_t)64)
#define MOST_BYTES ((size_t)1 << 30)
#define SKIP UINT32_MAX
#define ANEW_BYTES ((uint64_t)64 * 1024) /* that pass before it may begin anew */
#define LINE 64                          /* bytes of a cache line */

struct head {
    uint32_t bytes;
    uint32_t tag;
};

struct np_ring {
    alignas(LINE) _Atomic uint64_t written;
    uint64_t taken_seen;
    uint64_t opened; /* where the record that is being made will begin */
    uint64_t base;
    _Atomic uint64_t dropped;
    alignas(LINE) _Atomic uint64_t taken;
    uint64_t written_seen;
    alignas(LINE) size_t cap;
    alignas(LINE) char data[];
};

/* NULL also for more than 1 GiB. */
struct np_ring *np_ring_new(size_t bytes)
{
    size_t cap = LEAST_BYTES;
    if (bytes > MOST_BYTES) {
        return NULL;
    }
    while (cap < bytes) {
        cap *= 2;
    }
    struct np_ring *r = aligned_alloc(LINE, sizeof *r + cap);
    if (r) {
        memset(r, 0, sizeof *r);
        r->cap = cap;
    }
    return r;
}

void np_ring_free(struct np_ring *r)
{
    free(r);
}

/* What a record of n bytes takes in the ring. */
static size_t taking(size_t n)
{
    return sizeof(struct head) + ((n + 7) & ~(size_t)7);
}

static size_t offset(const struct np_ring *r, uint64_t position)
{
    return (size_t)((position - r->base) & (r->cap - 1));
}

static struct head *head_at(struct np_ring *r, uint64_t position)
{
    return (struct head *)(void *)(r->data + offset(r, position));
}

static void begin_anew(struct np_ring *r, uint64_t written)
{
    if (written - r->base < ANEW_BYTES) {
        return;
    }
    r->taken_seen = atomic_load_explicit(&r->taken, memory_order_acquire);
    if (r->taken_seen == written) {
        r->base = written;
    }
}

static bool fits(struct np_ring *r, uint64_t written, size_t need)
{
    if (need <= r->cap - (size_t)(written - r->taken_seen)) {
        return true;
    }
    r->taken_seen = atomic_load_explicit(&r->taken, memory_order_acquire);
    return need <= r->cap - (size_t)(written - r->taken_seen);
}

/* Where a record of n bytes will begin, in *at; false: there is no room. */
static bool find(struct np_ring *r, uint64_t written, size_t n, uint64_t *at)
{
    size_t to_end = r->cap - offset(r, written);
    size_t need = n < r->cap ? taking(n) : SIZE_MAX / 2;
    size_t skipped = need > to_end ? to_end : 0;
    *at = written + skipped;
    return fits(r, written, skipped + need);
}

/* Of n bytes that lie in their place, found for `written`. */
static void publish(struct np_ring *r, uint64_t written, uint64_t at, uint32_t tag, size_t n)
{
    if (at != written)
        *head_at(r, written) = (struct head){SKIP, 0};
    *head_at(r, at) = (struct head){(uint32_t)n, tag};
    atomic_store_explicit(&r->written, at + taking(n), memory_order_release);
}

bool np_ring_put(struct np_ring *r, uint32_t tag, struct np_span record)
{
    uint64_t written = atomic_load_explicit(&r->written, memory_order_relaxed), at;
    begin_anew(r, written);
    if (!find(r, written, record.n, &at)) {
        atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
        return false;
    }
    if (record.n > 0)
        memcpy(head_at(r, at) + 1, record.p, record.n);
    publish(r, written, at, tag, record.n);
    return true;
}

bool np_ring_open(struct np_ring *r, size_t least, struct np_buf *b)
{
    uint64_t written = atomic_load_explicit(&r->written, memory_order_relaxed);
    begin_anew(r, written);
    if (!find(r, written, least + 1, &r->opened))
        return false;
    size_t to_end = r->cap - offset(r, r->opened);
    size_t unused = r->cap - (size_t)(r->opened - r->taken_seen);
    uint32_t room = (uint32_t)((to_end < unused ? to_end : unused) - sizeof(struct head) - 1);
    *b = (struct np_buf){.p = (char *)(head_at(r, r->opened) + 1), .cap = room, .max = room};
    return true;
}

bool np_ring_close(struct np_ring *r, uint32_t tag, const struct np_buf *b)
{
    if (np_buf_failed(b))
        return false;
    publish(r, atomic_load_explicit(&r->written, memory_order_relaxed), r->opened, tag, b->n);
    return true;
}

bool np_ring_peek(struct np_ring *r, uint32_t *tag, struct np_span *record)
{
    uint64_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);
    if (taken == r->written_seen) {
        r->written_seen = atomic_load_explicit(&r->written, memory_order_acquire);
        if (taken == r->written_seen) {
            return false;
        }
    }
    const struct head *head = head_at(r, taken);
    if (head->bytes == SKIP) { /* a record follows: both were published at once */
        taken += r->cap - offset(r, taken);
        atomic_store_explicit(&r->taken, taken, memory_order_release);
        head = head_at(r, taken);
    }
    *tag = head->tag;
    *record = np_span_make((const char *)(head + 1), head->bytes);
    return true;
}

/* Only after a peek that gave a record. */
void np_ring_pop(struct np_ring *r)
{
    uint64_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);
    np_require(taken != r->written_seen);
    const struct head *head = head_at(r, taken);
    np_require(head->bytes != SKIP);
    atomic_store_explicit(&r->taken, taken + taking(head->bytes), memory_order_release);
}

uint64_t np_ring_dropped(const struct np_ring *r)
{
    return atomic_load_explicit(&r->dropped, memory_order_relaxed);
}
