/* Inside of script/ only: Lua's patterns, with a matcher that can be stopped. */
#ifndef NP_SCRIPT_MATCH_H
#define NP_SCRIPT_MATCH_H

#include <lua.h>

#include <stddef.h>

#define NP_MATCH_CAPTURES 32

struct np_matcher {
    lua_State *L;
    const char *text, *text_end;
    const char *pattern_end;
    int depth_left;
    int fuel;  /* single steps until the limit is looked at */
    int level; /* captures, open or closed */
    struct {
        const char *start;
        ptrdiff_t length; /* or NP_CAPTURE_… */
    } capture[NP_MATCH_CAPTURES];
};

enum { NP_CAPTURE_OPEN = -1, NP_CAPTURE_POSITION = -2 };

void np_match_init(struct np_matcher *m, lua_State *L, const char *text, size_t text_n,
                   const char *pattern, size_t pattern_n);
/* Matches the pattern at s alone: the end of the match, or NULL. Raises errors of the pattern, and
 * the stop. */
const char *np_match_at(struct np_matcher *m, const char *s, const char *pattern);
/* Pushes capture i, or the whole match from s to e when the pattern has no captures and i is 0. */
void np_match_push_capture(struct np_matcher *m, int i, const char *s, const char *e);
/* Pushes all; the whole match when there are none and s is not NULL. Returns how many. */
int np_match_push_captures(struct np_matcher *m, const char *s, const char *e);

#endif
