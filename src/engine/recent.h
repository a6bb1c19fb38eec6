/* The newest decision records, kept in memory for operators. The writer thread adds, the admin thread
 * reads; a short lock is between them, workers never come here. Bounded in records and in bytes. */
#ifndef NP_ENGINE_RECENT_H
#define NP_ENGINE_RECENT_H

#include "base/buf.h"
#include "base/err.h"

#define NP_RECENT_RECORDS 10000
#define NP_RECENT_BYTES ((size_t)64 << 20)

struct np_recent;

/* What a list is asked for. Empty texts: everything. */
struct np_recent_query {
    size_t limit;
    struct np_span endpoint, tenant, outcome;
    struct np_span before; /* an id: only what is older */
};

/* NULL without memory. */
struct np_recent *np_recent_new(size_t max_records, size_t max_bytes);
void np_recent_free(struct np_recent *r);
/* How many records are kept at most. */
size_t np_recent_max(const struct np_recent *r);
/* Keeps a copy of a record as model/record.h writes it; one without memory, or larger than all of the
 * room, is passed over. */
void np_recent_add(struct np_recent *r, struct np_span record);
/* Appends {"requests": [rows, the newest first], "next": the id to ask before for more, or null}.
 * NP_E_INVALID: `before` is not kept (any more). */
enum np_err np_recent_list(struct np_recent *r, const struct np_recent_query *q,
                           struct np_buf *out) NP_MUST_CHECK;
/* Appends the newest record of an id, or of the one id that begins so. How many ids were found: 0, 1, or
 * 2 for more, of which nothing is appended. */
unsigned np_recent_get(struct np_recent *r, struct np_span id, struct np_buf *out);

#endif
