/* The texts of the error table, and the end of a process that finds itself in a state that can't
 * be. The stop writes to standard error alone: whatever else there is may be what is broken. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const texts[] = {
#define NP_ERR_TEXT(name, text) text,
    NP_ERRORS(NP_ERR_TEXT)
#undef NP_ERR_TEXT
};

const char *np_err_text(enum np_err err)
{
    size_t i = (size_t)err;
    return i < sizeof texts / sizeof texts[0] ? texts[i] : "unknown error";
}

_Noreturn void np_panic(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof text, "neap: %s:%d: required: %s\n", file, line, what);
    if (n > 0) {
        size_t bytes = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        ssize_t ignored = write(STDERR_FILENO, text, bytes);
        (void)ignored;
    }
    abort();
}
