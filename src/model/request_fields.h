/* What the files that read a request share: fields of an object by table, and refusals that name
 * the place. For src/model/request_*.c only. */
#ifndef NP_MODEL_REQUEST_FIELDS_H
#define NP_MODEL_REQUEST_FIELDS_H

#include "model/request.h"

struct np_reader {
    struct np_arena *arena;
    struct np_refusal *refusal;
};

/* A place in the request: "context[2].priority" is {{NULL, "context", 2}, "priority", -1}. The
 * outermost, the request itself, is NULL. */
struct np_path {
    const struct np_path *up;
    const char *name;
    long index; /* -1: none */
};

/* Fills the refusal with the place as param and "PLACE MESSAGE" as message; returns NP_E_INVALID, or
 * NP_E_NOMEM. */
enum np_err np_reader_refuse(struct np_reader *r, const struct np_path *at, const char *fmt, ...)
    NP_PRINTF(3, 4) NP_MUST_CHECK;
/* "PLACE must be WANTED, got …": a client's text is told by its kind when it is private. */
enum np_err np_reader_wrong(struct np_reader *r, const struct np_path *at, const char *wanted,
                            struct np_span value, bool is_private) NP_MUST_CHECK;

/* Sorts the members of an object by the n names: values[i].p is NULL where a field is not given or
 * null. Refuses unknown, twice-given and escaped names. `object` may be of any kind; `what` is
 * what it should be. */
enum np_err np_reader_fields(struct np_reader *r, const struct np_path *at, struct np_span object,
                             const struct np_span *names, size_t n,
                             struct np_span *values) NP_MUST_CHECK;

/* A string that is private (a text) or may be shown; NP_OK when it is one. */
enum np_err np_reader_string(struct np_reader *r, const struct np_path *at, struct np_span value,
                             bool is_private) NP_MUST_CHECK;
enum np_err np_reader_bool(struct np_reader *r, const struct np_path *at, struct np_span value,
                           bool *out) NP_MUST_CHECK;
/* An items' count of a list; refuses other kinds, none, and more than max. */
enum np_err np_reader_list(struct np_reader *r, const struct np_path *at, struct np_span value,
                           size_t max, size_t *n) NP_MUST_CHECK;
/* A string that serves as a name: decoded, without U+0000, 1 to max bytes. */
enum np_err np_reader_name(struct np_reader *r, const struct np_path *at, struct np_span value,
                           size_t max, struct np_span *out) NP_MUST_CHECK;

/* The two lists of a request. */
enum np_err np_reader_messages(struct np_reader *r, struct np_span value,
                               struct np_request *out) NP_MUST_CHECK;
enum np_err np_reader_context(struct np_reader *r, struct np_span value,
                              struct np_request *out) NP_MUST_CHECK;

#endif
