/* Inside of session*.c: a session of `neap repl`.
 *
 * What a session has done to its ground is a chain of deeds (requests, changes of the world, sets that
 * took over), each pointing at the one before. The ground is deterministic, so that undoing is going back
 * to an earlier deed and doing the chain again on a new ground. Deeds are counted and never changed. */
#ifndef NP_ENGINE_SESSION_IMPL_H
#define NP_ENGINE_SESSION_IMPL_H

#include <neap/neap.h>

#include "engine/play.h"
#include "script/console.h"
#include "script/stepper.h"
#include "script/words.h"

#include <signal.h>

#define NP_SESSION_TEXT_BYTES ((size_t)16 << 20)
#define NP_SESSION_UNDO 100
#define NP_SESSION_DEEDS 10000
#define NP_SESSION_LINES 20 /* of one value, then .more */

enum np_deed_kind { NP_DEED_START, NP_DEED_RUN, NP_DEED_WORLD, NP_DEED_TURN };

struct np_deed {
    struct np_deed *before; /* NULL: the start */
    enum np_deed_kind kind;
    unsigned number; /* of deeds before it */
    size_t holds;
    uint64_t seed;
    struct np_policyset *set; /* that is in force after it */
    char *given;              /* RUN, WORLD: what was given to the play */
};

/* Where a session stands: all that .undo brings back. */
struct np_scene {
    struct np_deed *deed;
    char *request; /* JSON object, with tenant and endpoint; as play takes it */
    char *mocks;   /* JSON object: provider or model -> answers */
};

/* What a changing line was, and where the session stood before it. */
struct np_session_mark {
    struct np_scene scene;
    char *line;
};

struct neap_session {
    struct neap_session_options o;
    struct np_slots slots;
    struct np_scene scene;
    struct np_play *play;
    struct np_console *console;
    struct np_words *words;
    struct np_exchange *x; /* the request of the scene; NULL: none was made */
    volatile sig_atomic_t interrupted;
    struct np_session_mark marks[NP_SESSION_UNDO];
    size_t n_marks;
    struct np_buf saved; /* the good lines so far, for .save */
    struct np_buf asked; /* what the stepper was told within the line that runs */
    struct np_buf more;  /* what .more shows next */
    struct np_buf out;   /* being said */
    struct np_buf run;   /* the last run, as JSON; empty: none */
    struct np_buf why;   /* the last run in sentences */
    struct np_buf costs; /* and what it cost */
    int64_t runs_nusd;   /* all runs on this ground */
    struct np_stepper *stepper;
    bool reached; /* the last run came to where it was to be held */
    bool trace;
    char *differences[200]; /* of the last .diff, as text */
    size_t n_differences;
    char focus[32]; /* the hook that is worked on */
    bool failed;    /* the line that runs said a problem */
    bool leave;
};

/* --- session.c --------------------------------------------------------------------------------- */

/* Gathers text; np_session_flush hands it out. */
void np_session_say(struct neap_session *s, const char *fmt, ...) NP_PRINTF(2, 3);
void np_session_say_span(struct neap_session *s, struct np_span text);
/* The same for sentences, which are broken where they are wider than the terminal. */
void np_session_say_prose(struct neap_session *s, struct np_span text);
/* Reads and loads a folder; what the gate of neap serve says of it is appended. NULL: it does not load. */
struct np_policyset *np_session_load_set(struct neap_session *s, const char *dir,
                                         struct np_buf *problems) NP_MUST_CHECK;
/* Shows lines, the first 20 at once and the rest by .more. */
void np_session_show(struct neap_session *s, struct np_span text);
void np_session_flush(struct neap_session *s);
/* Says why the line failed; a line's end is added. Returns false. */
bool np_session_fail(struct neap_session *s, const char *fmt, ...) NP_PRINTF(2, 3);
/* The same for a name that leads nowhere. */
bool np_session_unknown(struct neap_session *s, const char *what, struct np_span name,
                        const char *const *names, size_t n);

enum np_style {
    NP_STYLE_OFF,
    NP_STYLE_BOLD,
    NP_STYLE_DIM,
    NP_STYLE_RED,
    NP_STYLE_GREEN,
    NP_STYLE_YELLOW
};
/* The escape sequence; "" without colour. */
const char *np_session_style(const struct neap_session *s, enum np_style style);

/* --- session_words.c: what commands are given ---------------------------------------------------- */

/* Appends text with its lines broken between words where they are wider than the terminal; what is
 * broken off stands below the second column of the line, if it has one. */
void np_session_wrap(const struct neap_session *s, struct np_span text, struct np_buf *out);

/* Cuts blanks at both ends. */
struct np_span np_session_trim(struct np_span text);
/* Takes the first word off (a quoted text is one, quotes included); empty at the end. */
struct np_span np_session_word(struct np_span *rest);
/* Takes the first part before a comma that stands outside of quotes and brackets. */
struct np_span np_session_part(struct np_span *rest);
/* A malloc'ed copy; np_require on memory. */
char *np_session_copy(struct np_span text);

/* --- session_commands.c -------------------------------------------------------------------------- */

/* args are trimmed. False after the fault was said. */
typedef bool np_session_run(struct neap_session *s, struct np_span args);

struct np_session_command {
    const char *name;
    np_session_run *run;
    bool changes; /* the scene: a mark is made before it */
    const char *usage;
    const char *what; /* in one sentence */
    const char *example;
};

extern const struct np_session_command np_session_commands[];
extern const size_t np_session_n_commands;
const struct np_session_command *np_session_command(struct np_span name);
/* name is without its dot. */
bool np_session_unknown_command(struct neap_session *s, struct np_span name);

np_session_run np_session_help, np_session_more, np_session_quit; /* session_commands.c */
np_session_run np_session_load, np_session_set,
    np_session_mock; /* session_load.c, session_world.c */
np_session_run np_session_breaker, np_session_clock, np_session_seed; /* session_world.c */
np_session_run np_session_undo, np_session_save;                      /* session_scene.c */
np_session_run np_session_do_run, np_session_reload;                  /* session_run.c */

np_session_run np_session_doc;                                      /* session_doc.c */
np_session_run np_session_why, np_session_cost;                     /* session_tell.c */
np_session_run np_session_edit;                                     /* session_edit.c */
np_session_run np_session_step, np_session_break, np_session_trace; /* session_step.c */
np_session_run np_session_test;                                     /* session_write.c */
np_session_run np_session_attach;                                   /* session_attach.c */
np_session_run np_session_diff, np_session_show_difference;         /* session_diff.c */

/* --- session_scene.c ----------------------------------------------------------------------------- */

/* The set that is in force. */
struct np_policyset *np_session_set_of(const struct neap_session *s);
const struct np_catalog *np_session_catalog(const struct neap_session *s);
/* A new ground with this set and seed, on which nothing has happened. False: said. */
bool np_session_start(struct neap_session *s, struct np_policyset *set, uint64_t seed);
/* Does something to the ground and remembers it; the run goes to s->run. Takes given, malloc'ed. */
bool np_session_perform(struct neap_session *s, enum np_deed_kind kind, char *given);
/* Another set takes over on the ground as it is. */
bool np_session_turn(struct neap_session *s, struct np_policyset *set);
/* Goes to a place in the chain, by a new ground. */
bool np_session_go(struct neap_session *s, struct np_deed *deed);
/* Another request; takes json, malloc'ed. False, and the old one stays: it is wrong, and said. */
bool np_session_request(struct neap_session *s, char *json);
/* What the console shows follows the scene. */
void np_session_look(struct neap_session *s);
void np_session_mark(struct neap_session *s, struct np_span line);
/* Forgets the last mark when the scene is as it was then, or the line failed. */
void np_session_unmark(struct neap_session *s, bool failed);
void np_session_scene_free(struct np_scene *scene);
struct np_deed *np_session_hold(struct np_deed *deed);
void np_session_let_go(struct np_deed *deed);

/* --- session_world.c, session_mock.c --------------------------------------------------------------- */

/* "900ms", "30s", "5m", "2h", "1d". */
bool np_session_read_span_ms(struct np_span text, uint64_t *ms);
/* A field of the loaded request becomes the value of a Lua expression. */
bool np_session_set_field(struct neap_session *s, struct np_span path, struct np_span value);

/* --- session_test.c ------------------------------------------------------------------------------ */

struct np_test_counts;
/* Runs the set's tests that the filter lets through (NULL: all). What the last failing one says is
 * appended to failure, which may be NULL. False without memory. */
bool np_session_prove(struct np_policyset *set, const char *filter, struct np_test_counts *counts,
                      struct np_buf *failure) NP_MUST_CHECK;
/* Where the test of that name stands in the file; *line 0: nowhere. False without memory. */
bool np_session_find_test(struct np_policyset *set, const char *file, const char *name,
                          unsigned *line) NP_MUST_CHECK;

/* --- session_tell.c, session_edit.c, session_step.c, session_run.c ---------------------------------- */

/* The runs of this ground are written down in s->why and s->costs, which are empty now. */
void np_session_watch(struct neap_session *s, struct np_play *play);
/* Says what is different in two runs of one request; false when nothing is. */
bool np_session_say_changes(struct neap_session *s, struct np_span before, struct np_span after);
/* Whether two runs of one request went the same way: plan, attempts, outcome. */
bool np_session_is_same(struct np_span before, struct np_span after);
bool np_session_is_hook(struct np_span name);
bool np_session_stepper(struct neap_session *s);
/* Runs what is given under the eyes of the stepper; hook as in np_stepper_order. Takes given. */
bool np_session_run_watched(struct neap_session *s, const char *hook, char *given);
bool np_session_run_and_say(struct neap_session *s, const char *hook);

/* --- session_load.c ------------------------------------------------------------------------------ */

/* Runs text as a Lua expression and gives its JSON, malloc'ed; NULL: the fault was said. */
char *np_session_value(struct neap_session *s, struct np_span text);
/* A file of at most 16 MiB, malloc'ed and ended by NUL; NULL: said. */
char *np_session_file(struct neap_session *s, const char *path, size_t *n);
/* Says what is loaded, in one line. */
void np_session_say_request(struct neap_session *s);

#endif
