/* Estimating how many tokens a text has, without a tokenizer: one pass by character class. Tokens
 * never exceed bytes (byte-level BPE), which is the only bound. */
#ifndef NP_MODEL_TOKENS_H
#define NP_MODEL_TOKENS_H

#include "base/span.h"

#include <stdint.h>

/* An estimate for UTF-8 text. With json_escaped, text is the inside of a JSON string: an escape
 * counts as the character that it stands for. */
int64_t np_tokens_estimate(struct np_span text, bool json_escaped);

/* What framing adds for each message, in tokens; generous. */
#define NP_TOKENS_PER_MESSAGE 8

#endif
