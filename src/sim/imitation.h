/* Imitation providers over real HTTP: speaks the OpenAI and Anthropic APIs (whole replies and streams)
 * on one listening socket, answers as a scenario says, and misbehaves on purpose: stalls, resets,
 * cuts, malformed bodies, lying usage. Own small HTTP/1.1 server on raw sockets, since no well-behaved
 * library would do these things. One loop, one thread.
 *
 * Paths: any that ends in /chat/completions is OpenAI's, in /messages Anthropic's; POST /control takes
 * overrides, GET /calls the counters: {"calls": N, "bodies": N, "open": N, "aborted": N, "billed":
 * {"prompt": N, "completion": N, "aborted": N}, "models": {"gpt-4.1": N}, "bills": {"gpt-4.1":
 * {"calls": N, "prompt": N, "completion": N, "nusd": N}}}; everything else is 404. What
 * is no HTTP or too large gets 400 or 413 and the connection ends; so it does, without a word, where
 * memory is short. */
#ifndef NP_SIM_IMITATION_H
#define NP_SIM_IMITATION_H

#include "base/buf.h"
#include "base/loop.h"
#include "model/imitation.h"

struct np_imitation;

/* Where answers come from; lent by whoever puts the imitation together. */
struct np_imitation_source {
    enum np_err (*ask)(void *ctx, const struct np_imitation_call *call,
                       struct np_imitation_answer *out);
    /* Takes the body of POST /control; on failure *why says it. */
    enum np_err (*control)(void *ctx, struct np_span json, struct np_buf *why);
    void *ctx;
};

/* listen_fd is listening and not blocking; stays the caller's. */
struct np_imitation *np_imitation_new(struct np_loop *loop, int listen_fd,
                                      const struct np_imitation_source *source);
/* Closes every connection. */
void np_imitation_free(struct np_imitation *m);

#endif
