/* What the files of neap repl share. */
#ifndef NP_CLI_REPL_H
#define NP_CLI_REPL_H

#include "cli/cli.h"

/* --- repl_editor.c: lines from a terminal, by libedit ---------------------------------------------- */

struct np_editor;

/* NULL when the terminal can't be used. */
struct np_editor *np_editor_new(struct neap_session *session);
void np_editor_free(struct np_editor *e);

enum np_editor_end {
    NP_EDITOR_LINE,
    NP_EDITOR_INTERRUPTED /* Ctrl-C */,
    NP_EDITOR_CLOSED /* Ctrl-D */
};

/* Reads what stands before Enter, without it; a paste may bring several lines. *text is malloc'ed. */
enum np_editor_end np_editor_read(struct np_editor *e, const char *prompt, char **text);
/* An entry of the history, of one line or many. */
void np_editor_remember(struct np_editor *e, const char *text);
/* Whether Ctrl-C came since the last call. */
bool np_editor_interrupted(void);

/* --- repl_history.c: a file of readable text --------------------------------------------------------
 *
 * An entry begins at the start of a line; further lines of it begin with a tab. Entries are appended as
 * they come, so that sessions beside each other lose nothing. */

/* $XDG_STATE_HOME/neap/history, else ~/.local/state/neap/history; "" without a home. Makes the folder. */
void np_history_path(char *path, size_t size);
/* Gives each entry, the oldest first. A file that has grown long is cut to its newest part. */
void np_history_read(const char *path, void (*entry)(void *ctx, const char *text), void *ctx);
void np_history_append(const char *path, const char *text);

/* --- repl_inputrc.c ----------------------------------------------------------------------------------- */

/* What of ~/.inputrc (or $INPUTRC) has a meaning for libedit: the editing mode, and keys bound to the
 * usual functions. `bind` gets a key as libedit wants it and libedit's function. */
void np_inputrc_read(void (*mode)(void *ctx, const char *editor),
                     void (*bind)(void *ctx, const char *key, const char *function), void *ctx);

#endif
