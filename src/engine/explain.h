/* A decision record told in lines of at most 80 columns, for people. */
#ifndef NP_ENGINE_EXPLAIN_H
#define NP_ENGINE_EXPLAIN_H

#include "base/buf.h"

/* record has passed np_json_check and is an object. What came from outside is made harmless for a
 * terminal. */
void np_explain_tell(struct np_buf *out, struct np_span record);

#endif
