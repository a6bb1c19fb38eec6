/* Inside of script/ only: a frame of a hook that is held: its place, its variables, values in it. */
#ifndef NP_SCRIPT_FRAME_H
#define NP_SCRIPT_FRAME_H

#include "script/script.h"

/* What is kept while a run is watched. */
struct np_frame_world {
    int module; /* registry: console.lua, which shows values */
    int traced; /* registry: depth -> { function, name -> text } */
    int64_t steps_left;
};

struct np_frame {
    lua_State *L;
    lua_Debug ar;
    const char *file;
    unsigned line;
    int depth; /* levels of the stack below it */
};

bool np_frame_open(struct np_frame_world *w, struct np_script *s) NP_MUST_CHECK;
void np_frame_close(struct np_frame_world *w, struct np_script *s);

/* The frame whose line begins; false when it is none of the set's. */
bool np_frame_of(struct np_frame *f, lua_State *L, const lua_Debug *ar, const struct np_script *s);
/* The text of its line, blanks before it kept. */
struct np_span np_frame_source(const struct np_frame *f, const struct np_script *s);
/* Append: its locals, a line each; the calls that led here; an expression's values or what is wrong. */
void np_frame_locals(struct np_frame *f, struct np_frame_world *w, struct np_buf *out);
void np_frame_where(struct np_frame *f, const struct np_script *s, struct np_buf *out);
void np_frame_print(struct np_frame *f, struct np_frame_world *w, struct np_span text,
                    struct np_buf *out);
/* Whether an expression is true in it. False when it can't be told, and out says why. */
bool np_frame_test(struct np_frame *f, struct np_frame_world *w, struct np_span text, bool *yes,
                   struct np_buf *out);
/* Appends the line with the locals that have changed since its last one. */
void np_frame_trace(struct np_frame *f, struct np_frame_world *w, const struct np_script *s,
                    struct np_buf *out);

#endif
