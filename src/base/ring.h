/* A bounded queue of byte records from one thread to one other, without locks. A record that does
 * not fit is dropped and counted, never waited for. */
#ifndef NP_BASE_RING_H
#define NP_BASE_RING_H

#include "base/buf.h"
#include "base/span.h"

#include <stdint.h>

struct np_ring;

/* Capacity in bytes, rounded up to a power of two; NULL without memory. */
struct np_ring *np_ring_new(size_t bytes);
void np_ring_free(struct np_ring *r);
/* Producer: adds one record with a tag of the caller's; false when it was dropped. */
bool np_ring_put(struct np_ring *r, uint32_t tag, struct np_span record);
/* Producer: the same without a copy. b is what is free in one piece, `least` bytes or more; it grows no further, and
 * is never freed. False, and nothing is dropped: there is not so much. */
bool np_ring_open(struct np_ring *r, size_t least, struct np_buf *b);
/* Puts what was written to b; nothing else was put meanwhile. False: b has failed, and nothing is put. */
bool np_ring_close(struct np_ring *r, uint32_t tag, const struct np_buf *b);
/* Consumer: the oldest record, valid until np_ring_pop. False when the ring is empty. */
bool np_ring_peek(struct np_ring *r, uint32_t *tag, struct np_span *record);
void np_ring_pop(struct np_ring *r);
/* Records dropped so far; any thread. */
uint64_t np_ring_dropped(const struct np_ring *r);

#endif
