/* The framing of server-sent events: bytes in, however they are cut, events out. Lines end at LF, CR or
 * CRLF and at nothing else (U+2028 may stand raw in JSON); several data lines of an event are joined
 * with LF; comments, ids and retries are passed over; a byte order mark may begin the stream. An event
 * that its stream does not end with an empty line is none.
 *
 * Bytes are looked at once. An event whose lines came in one piece is given as a view of that piece. */
#ifndef NP_PROVIDER_SSE_H
#define NP_PROVIDER_SSE_H

#include "base/buf.h"

#define NP_SSE_LINE_MAX ((size_t)1 << 20) /* a line, and the data of an event */
#define NP_SSE_NAME_MAX 40                /* longer names are cut; no provider has such */

struct np_sse {
    struct np_buf line;  /* the beginning of a line whose end has not come */
    struct np_buf data;  /* the data of the present event, where it is not `view` */
    struct np_span view; /* its one data line, in the piece that is being read; p NULL: none */
    char name[NP_SSE_NAME_MAX];
    unsigned mark; /* bytes of a byte order mark that have come; beyond 3: they may not any more */
    uint16_t name_n;
    bool any_data;
    bool after_cr; /* an LF that comes next belongs to the line that has ended */
};

/* An event: its name ("" where none was given) and data, valid until it returns. False: no further
 * events are wanted, and the rest of the piece is left unread. */
typedef bool np_sse_fn(void *ctx, struct np_span name, struct np_span data);

void np_sse_init(struct np_sse *s);
/* Begins anew for another stream; keeps its memory. */
void np_sse_reset(struct np_sse *s);
void np_sse_free(struct np_sse *s);
/* Reads the next piece. NP_E_FULL: a line or an event is larger than NP_SSE_LINE_MAX; NP_E_NOMEM.
 * After an error or a callback that returned false it may only be reset or freed. */
enum np_err np_sse_feed(struct np_sse *s, struct np_span piece, np_sse_fn *fn,
                        void *ctx) NP_MUST_CHECK;
/* Bytes that are kept of an event that has not come whole. */
size_t np_sse_kept(const struct np_sse *s);

#endif
