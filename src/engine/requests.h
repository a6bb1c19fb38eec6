/* /api/requests, /api/requests/ID and /api/requests/ID/explain: what operators may ask of the records that are kept in memory. */
#ifndef NP_ENGINE_REQUESTS_H
#define NP_ENGINE_REQUESTS_H

#include "engine/recent.h"
#include "model/class.h"

#define NP_REQUESTS_PATH "/api/requests"
#define NP_REQUESTS_WHY 256

/* Whether a path is one of the three. */
bool np_requests_is(struct np_span path);
/* Whether a path asks for what neap explain says, as text. */
bool np_requests_tells(struct np_span path);
/* Appends the answer. False: it is refused, type and why say how. */
bool np_requests_answer(struct np_recent *r, struct np_span path, struct np_span query,
                        struct np_buf *out, enum np_refusal_type *type, char why[NP_REQUESTS_WHY]);

#endif
