/* Request ids: "req_" and 26 characters of Crockford's base 32, lower case: 48 bits of wall time in
 * milliseconds, then 80 random bits (the layout of ULID), so that ids sort by time. */
#ifndef NP_BASE_ID_H
#define NP_BASE_ID_H

#include "base/rng.h"
#include "base/span.h"

#define NP_ID_BYTES 31 /* "req_" + 26 + NUL */
#define NP_ID_CLIENT_MAX 128

void np_id_make(struct np_rng *rng, int64_t wall_ms, char out[NP_ID_BYTES]);
/* Whether a client's id may be taken: [A-Za-z0-9._-]{1,128}. */
bool np_id_valid(struct np_span id);

#endif
