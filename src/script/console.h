/* The Lua side of `neap repl`: lines of Lua in the policies' world. What a line sets, locals too, is
 * there for the next one; `req` is the loaded request, `_` the last decision record, `hooks` the
 * set's functions. The state is the session's own: it outlives grounds and sets. */
#ifndef NP_SCRIPT_CONSOLE_H
#define NP_SCRIPT_CONSOLE_H

#include "base/buf.h"
#include "model/exchange.h"
#include "script/policyset.h"
#include "script/powers.h"

#include <signal.h>

struct np_console;

/* The set is loaded, and held. Once *interrupt is not 0, what runs is stopped; may be NULL. NULL
 * without memory. */
struct np_console *np_console_new(struct np_policyset *set, const volatile sig_atomic_t *interrupt);
void np_console_free(struct np_console *c);
/* Another set: libraries and hooks are its own from now on; what lines have set stays. False: its
 * hooks do not load, and the old ones stay. */
bool np_console_turn(struct np_console *c, struct np_policyset *set) NP_MUST_CHECK;
/* What the functions of policies look at, and whose request `req` is (may be NULL); both stay the
 * caller's. Chance is the console's own. */
void np_console_look_at(struct np_console *c, const struct np_powers *powers,
                        struct np_exchange *x);

enum np_line { NP_LINE_GOOD, NP_LINE_MORE /* unfinished */, NP_LINE_FAILED };

/* Runs an expression or statements. Appends to out what is to be shown, lines with their ends: values,
 * what print was given, or what is wrong. */
enum np_line np_console_run(struct np_console *c, struct np_span text, struct np_buf *out);
/* Runs an expression and appends its value as JSON; on failure what is wrong goes to why. */
enum np_line np_console_json(struct np_console *c, struct np_span text, struct np_buf *json,
                             struct np_buf *why);
/* `_` becomes this record; empty: nil. */
void np_console_set_record(struct np_console *c, struct np_span record);
/* Appends a value of checked JSON as tables are shown, or as Lua source on one line. */
void np_console_show(struct np_console *c, struct np_span json, bool source, struct np_buf *out);
/* Tells the words that the path at the end of a line may become. */
void np_console_complete(struct np_console *c, struct np_span path,
                         void (*tell)(void *ctx, const char *word), void *ctx);

#endif
