/* Writing a small file for a person: whole or not at all. */
#ifndef NP_ENGINE_PUT_FILE_H
#define NP_ENGINE_PUT_FILE_H

#include "base/buf.h"

/* Puts text into a file beside path and renames it; what was there stays until then, with its mode. A
 * path that is no ordinary file (a pipe, /dev/stdout) is written directly. False: why says the reason. */
bool np_put_file(const char *path, struct np_span text, struct np_buf *why) NP_MUST_CHECK;

#endif
