/* Texts with {{name}} places: degraded replies. */
#ifndef NP_MODEL_TEMPLATE_H
#define NP_MODEL_TEMPLATE_H

#include "base/buf.h"
#include "model/exchange.h"

/* A value for a place. */
struct np_place {
    struct np_span name, value;
};

/* Appends text with its places filled: first from `more`, then from the exchange: requestId endpoint
 * tenant reason retryAfter. An unknown place stays as it is. */
void np_template_fill(struct np_buf *out, struct np_span text, const struct np_exchange *x,
                      enum np_reason reason, int64_t retry_after_s, const struct np_place *more,
                      size_t n_more);

/* The built-in text for a reason, when the set has no template of its name. */
const char *np_template_builtin(enum np_reason reason);

#endif
