/* What a provider's answer says of itself: its id, and the model that gave it, which may be a dated one or
 * another than was asked for. Shown to operators in traces, never relied on. */
#ifndef NP_MODEL_IDENTITY_H
#define NP_MODEL_IDENTITY_H

#include "base/arena.h"
#include "base/span.h"

#include <stdbool.h>

#define NP_IDENTITY_BYTES 128 /* of each at most */

struct np_identity {
    struct np_span id, model; /* n 0: not said */
};

/* Reads it of a whole answer, or of an event of a stream, which has passed np_json_check; copies into the
 * arena. Providers have it among the first members. What is too long, or no plain name, counts as not said:
 * no text of an answer goes this way. False: nothing was said. */
bool np_identity_read(struct np_span json, struct np_arena *a, struct np_identity *out);

#endif
