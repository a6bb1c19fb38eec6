/* Holding hooks at their lines, for people: before a line of the set runs, what stands there is said and
 * commands are read, until the hook may go on. Works on states whose calls are bounded by steps. */
#ifndef NP_SCRIPT_STEPPER_H
#define NP_SCRIPT_STEPPER_H

#include "base/buf.h"
#include "script/hooks.h"

struct np_stepper;

/* Who talks with the operator. */
struct np_stepper_host {
    void (*say)(void *ctx, const char *text); /* whole lines */
    /* The next command, malloc'ed; NULL: the run goes on without further stops. */
    char *(*ask)(void *ctx, const char *prompt);
    void *ctx;
};

/* NULL without memory. */
struct np_stepper *np_stepper_new(const struct np_stepper_host *host);
void np_stepper_free(struct np_stepper *p);

/* Adds a breakpoint: "route.lua:14", "route:14 if req.stream". False, and why says what is wrong. */
bool np_stepper_break(struct np_stepper *p, const struct np_policyset *set, struct np_span text,
                      char *why, size_t size) NP_MUST_CHECK;
/* Takes all breakpoints away. */
void np_stepper_clear(struct np_stepper *p);
size_t np_stepper_breaks(const struct np_stepper *p);
/* Appends the breakpoints, one a line. */
void np_stepper_list(const struct np_stepper *p, struct np_buf *out);

struct np_stepper_order {
    const char
        *hook;  /* the run is held where this hook begins; "": where any does; NULL: nowhere */
    bool trace; /* each line is said with the locals that have changed */
};

/* From here on hooks of the script are held and traced, until np_stepper_end. False without memory. */
bool np_stepper_begin(struct np_stepper *p, struct np_script *s,
                      const struct np_stepper_order *order) NP_MUST_CHECK;
/* Whether the run came to where it was to be held first; true where it was to be held nowhere. */
bool np_stepper_end(struct np_stepper *p);

#endif
