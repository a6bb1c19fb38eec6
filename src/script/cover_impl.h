/* Inside of script/ only. */
#ifndef NP_SCRIPT_COVER_IMPL_H
#define NP_SCRIPT_COVER_IMPL_H

#include "script/cover.h"

struct np_cover;
struct np_state;

/* A line of the chunk that Lua calls `source` ("@route.lua") runs in this state. */
void np_cover_hit(struct np_cover *c, struct np_state *st, const char *source, int line);

/* bytecode.c: calls line for every instruction that a person wrote, in any order. False when it is no
 * bytecode as this Lua writes it, with debug information. */
bool np_bytecode_lines(struct np_span code, void (*line)(void *ctx, unsigned line), void *ctx);

#endif
