/* Inside of script/ only: candidate, attempt and reply as policies see them. One object of each kind a
 * state, which stands for something while its hook runs. */
#ifndef NP_SCRIPT_VIEWS_H
#define NP_SCRIPT_VIEWS_H

#include "script/script.h"

/* Makes the objects; once a state. Raises. */
void np_views_open(lua_State *L, struct np_script *s);
/* Push the object for the hook that begins. */
void np_views_push_candidate(lua_State *L, struct np_script *s, const struct np_candidate *c);
void np_views_push_attempt(lua_State *L, struct np_script *s, const struct np_attempt *a);
void np_views_push_reply(lua_State *L, struct np_script *s);
/* The hook is over. */
void np_views_end(struct np_script *s);
/* Whether the value at idx is the reply. */
bool np_views_is_reply(lua_State *L, const struct np_script *s, int idx);
/* Pushes the text that was written to reply.text; nil when none was. */
void np_views_push_new_text(lua_State *L, const struct np_script *s);

/* Replaces one of the objects at idx by a table of all that it shows; other values stay. For trusted
 * code. */
void np_views_reveal(lua_State *L, int idx);

/* Pushes the list of the attempts that have ended, as plain tables. */
void np_views_push_attempts(lua_State *L, struct np_script *s);

int64_t np_script_elapsed_ms(const struct np_script *s);
int64_t np_script_remaining_ms(const struct np_script *s);
double np_script_usd(int64_t nusd);

#endif
