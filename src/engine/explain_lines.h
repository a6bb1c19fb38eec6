/* How a decision record's telling is set: a label in its column, a text beside it in lines of 80. */
#ifndef NP_ENGINE_EXPLAIN_LINES_H
#define NP_ENGINE_EXPLAIN_LINES_H

#include "base/buf.h"

#define NP_EXPLAIN_ENTRY_BYTES ((size_t)64 << 10)

/* Text of others, given as the inside of a JSON string: without its escapes, harmless. */
void np_explain_text(struct np_buf *b, struct np_span inner);
/* The text that was gathered in b, as an entry; empties b. */
void np_explain_entry(struct np_buf *out, const char *label, struct np_buf *b);

#endif
