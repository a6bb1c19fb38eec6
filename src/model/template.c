/* Filling {{name}} places. */
#include "model/template.h"

#include <inttypes.h>
#include <stdio.h>

/* The value of a place: the caller's first, then the exchange's own. p NULL: there is no such place. */
static struct np_span place_value(struct np_span name, const struct np_exchange *x,
                                  enum np_reason reason, const char *retry_after,
                                  const struct np_place *more, size_t n_more)
{
    for (size_t i = 0; i < n_more; i++) {
        if (np_span_eq(more[i].name, name))
            return more[i].value;
    }
    if (np_span_is(name, "requestId"))
        return np_span_of(x->id);
    if (np_span_is(name, "endpoint"))
        return np_span_of(x->endpoint ? x->endpoint->path : "");
    if (np_span_is(name, "tenant"))
        return np_span_of(x->tenant ? x->tenant->name : "");
    if (np_span_is(name, "reason"))
        return np_span_of(np_reason_name(reason));
    if (np_span_is(name, "retryAfter"))
        return np_span_of(retry_after);
    return NP_SPAN_NONE;
}

static struct np_span trim(struct np_span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

void np_template_fill(struct np_buf *out, struct np_span text, const struct np_exchange *x,
                      enum np_reason reason, int64_t retry_after_s, const struct np_place *more,
                      size_t n_more)
{
    char retry_after[24] = "";
    if (retry_after_s >= 0)
        (void)snprintf(retry_after, sizeof retry_after, "%" PRId64, retry_after_s);
    const char *p = text.p;
    const char *end = text.n ? text.p + text.n : text.p;
    while (p < end) {
        const char *open = memmem(p, (size_t)(end - p), "{{", 2);
        const char *close = open ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;
        if (!close) {
            (void)np_buf_put(out, p, (size_t)(end - p));
            return;
        }
        (void)np_buf_put(out, p, (size_t)(open - p));
        struct np_span name = trim(np_span_make(open + 2, (size_t)(close - open - 2)));
        struct np_span value = place_value(name, x, reason, retry_after, more, n_more);
        if (value.p)
            (void)np_buf_span(out, value);
        else
            (void)np_buf_put(out, open, (size_t)(close + 2 - open));
        p = close + 2;
    }
}

const char *np_template_builtin(enum np_reason reason)
{
    switch (reason) {
    case NP_REASON_budget:
        return "The budget for this assistant is used up for now. Please try again later.";
    case NP_REASON_filtered:
        return "This question can't be answered here.";
    case NP_REASON_deadline:
        return "The assistant took too long to answer. Please try again in a moment.";
    default:
        return "The assistant is not available right now. Please try again in a moment.";
    }
}
