/* Members of JSON objects that have passed the check, by name: for those that read what a running
 * instance says. What is not there, or of another kind, reads as nothing. */
#ifndef NP_ENGINE_FIELDS_H
#define NP_ENGINE_FIELDS_H

#include "base/json.h"

/* The inside of a string, escapes kept; "" otherwise. */
static inline struct np_span np_text_of(struct np_span object, const char *key)
{
    struct np_span value;
    return np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_STRING
               ? np_json_inner(value)
               : NP_SPAN("");
}

/* A number, -1 otherwise. */
static inline double np_number_of(struct np_span object, const char *key)
{
    struct np_span value;
    double number = -1;
    if (np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_NUMBER)
        (void)!np_json_double(value, &number);
    return number;
}

/* The walk over a member that is a list; an empty one otherwise. */
static inline struct np_json_walk np_list_of(struct np_span object, const char *key)
{
    struct np_span value;
    if (np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_ARRAY)
        return np_json_walk(value);
    return np_json_walk(NP_SPAN("[]"));
}

#endif
