/* Words of others that quote a request: what they quote is taken out before anybody else reads them. */
#ifndef NP_MODEL_QUOTE_H
#define NP_MODEL_QUOTE_H

#include "base/arena.h"
#include "base/span.h"

#define NP_QUOTE_TEXT_BYTES 1024 /* of a text that is looked at; the rest is cut off */
#define NP_QUOTE_LEAST 16        /* bytes in a row that make a quotation */

/* The text with an asterisk for each byte of a quotation from the body; the text itself where it quotes
 * nothing. p NULL without memory. Takes a look at each eighth byte of the body. */
struct np_span np_quote_hide(struct np_arena *a, struct np_span text, struct np_span body);

#endif
