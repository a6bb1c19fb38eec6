/* Sending alerts to webhooks, from the monitor's loop: nothing waits for a receiver. Each sink gets its
 * messages in order, one at a time; what can't be delivered is tried five times, then given up and
 * logged. At most as many as there can be alerts wait for a sink; more are dropped and logged. Addresses
 * are never logged. */
#ifndef NP_ENGINE_SINKS_H
#define NP_ENGINE_SINKS_H

#include "base/loop.h"
#include "engine/alerts.h"

struct np_sinks;

struct np_sinks_ops {
    /* The message of this alert has reached the sink of this label. */
    void (*sent)(void *ctx, const struct np_alert *a, const char *label);
    void *ctx;
};

/* NULL without memory. */
struct np_sinks *np_sinks_new(struct np_loop *loop, const char *ca_file,
                              const struct np_sinks_ops *ops);
/* Sends a sink the alert as it is now, or `body` in its place where body.p is not NULL; all is copied.
 * Without an address nothing is sent. */
void np_sinks_put(struct np_sinks *s, const struct np_sink *sink, const struct np_alert *a,
                  struct np_span body);
/* What is under way is given up. */
void np_sinks_free(struct np_sinks *s);

/* What a sink is sent: for Slack one line of text, else the fields of /api/alerts. */
void np_sinks_body(const struct np_alert *a, bool slack, struct np_buf *out);
/* Slack reads & < > as its own: the text with those escaped. */
void np_sinks_plain(struct np_buf *b, const char *text);

#endif
