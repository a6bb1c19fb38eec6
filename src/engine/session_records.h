/* Inside of session*.c: decision records that are run again. */
#ifndef NP_ENGINE_SESSION_RECORDS_H
#define NP_ENGINE_SESSION_RECORDS_H

#include "engine/session_impl.h"

/* The records of a file (at most its last 64 MiB), in their order; lines that are none are passed over. */
struct np_records {
    char *text;
    struct np_span *line;
    size_t n;
};

/* False: said. */
bool np_session_records_read(struct neap_session *s, const char *path,
                             struct np_records *r) NP_MUST_CHECK;
void np_session_records_free(struct np_records *r);
const struct np_span *np_session_records_find(const struct np_records *r, struct np_span id);

struct np_span np_session_record_id(struct np_span record);
/* Its request as play takes it, malloc'ed. *whole: its body was recorded; else a prompt of the same size
 * is made up. NULL: too long. */
char *np_session_record_request(struct np_span record, bool *whole);
/* Whether it came as far as to a hook or a plan; else it was refused at the door. */
bool np_session_record_was_decided(struct np_span record);
/* The list of its attempts; "[]" without. */
struct np_span np_session_record_attempts(struct np_span record);
struct np_span np_session_attempt_model(struct np_span attempt);
/* How an attempt ended, as an answer of play's, malloc'ed; NULL: it is not understood. */
char *np_session_attempt_answer(struct np_span record, struct np_span attempt);
/* Appends the answers of one model as items; how many. */
size_t np_session_record_answers(struct np_json_w *w, struct np_span record, struct np_span model);

/* session_git.c: writes the folder as it was at a commit into a new temporary folder, whose path is the
 * caller's to free (np_session_git_drop removes both). NULL: said. */
char *np_session_git_folder(struct neap_session *s, const char *dir, const char *revision);
void np_session_git_drop(char *folder);

#endif
