/* The error table, and the stop for what can't be. An error is neap's own failure; what a policy
 * decides is a verdict and never travels here. */
#ifndef NP_BASE_ERR_H
#define NP_BASE_ERR_H

#include <stdbool.h>

/*      name            text */
#define NP_ERRORS(X)                             \
    X(OK, "no error")                            \
    X(NOMEM, "out of memory")                    \
    X(FULL, "a bounded buffer or table is full") \
    X(INVALID, "invalid value")                  \
    X(SYNTAX, "malformed text")                  \
    X(RANGE, "number out of range")              \
    X(NOTFOUND, "not found")                     \
    X(EXISTS, "already there")                   \
    X(BUSY, "busy")                              \
    X(IO, "input or output failed")              \
    X(TIMEOUT, "time ran out")                   \
    X(CLOSED, "closed")                          \
    X(REFUSED, "refused")                        \
    X(UNSUPPORTED, "not supported")

enum np_err {
#define NP_ERR_ENUM(name, text) NP_E_##name,
    NP_ERRORS(NP_ERR_ENUM)
#undef NP_ERR_ENUM
};

#define NP_OK NP_E_OK
#define NP_MUST_CHECK __attribute__((warn_unused_result))
#define NP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* The text of an error; never NULL. */
const char *np_err_text(enum np_err err);

/* Ends the process with file, line and what was required. Used for states that can't be, in
 * release builds too. */
_Noreturn void np_panic(const char *file, int line, const char *what);

#define np_require(cond) ((cond) ? (void)0 : np_panic(__FILE__, __LINE__, #cond))

#endif
