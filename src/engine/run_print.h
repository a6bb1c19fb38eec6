/* A finished exchange told in lines, for people: the one place where `neap test` and `neap repl` get the
 * run from.
 *
 *     admit     3 us    96 steps   nothing
 *     route     9 us   412 steps   gpt-4.1, gpt-4.1-mini            route.lua:14
 *     attempt 1 gpt-4.1       openai 429 rate_limited  retry_after 1 s   2 ms virtual
 *     retry     2 us    88 steps   "next"                           retry.lua:9   because too slow
 *     attempt 2 gpt-4.1-mini  openai ok  96 tokens  $0.000478   911 ms virtual
 *     ok  gpt-4.1-mini  2 attempts  $0.000478  913 ms
 *
 * Steps and places are those of np_hook_note: on the live ground steps are not known and left out. What
 * came from outside (errors of providers, reasons) is escaped. */
#ifndef NP_ENGINE_RUN_PRINT_H
#define NP_ENGINE_RUN_PRINT_H

#include "base/buf.h"
#include "model/exchange.h"

/* Hooks, attempts and models that were passed over, in their order; a line each, with its end. */
void np_run_print_steps(struct np_buf *b, const struct np_exchange *x);
/* One call of a hook, without a line's end. */
void np_run_print_hook(struct np_buf *b, const struct np_hook_note *h);
/* The line of the outcome, with its end. */
void np_run_print_end(struct np_buf *b, const struct np_exchange *x);

#endif
