/* Files in which a part of the engine's memory outlives the process: lines of text behind a first line
 * that names the kind. They are written anew beside the old one and renamed, so that a crash leaves a whole
 * one, and can be read by their owner alone. For threads that may wait for a disk. */
#ifndef NP_ENGINE_KEEPFILE_H
#define NP_ENGINE_KEEPFILE_H

#include "base/buf.h"

#include <stddef.h>

#define NP_KEEP_LINE_BYTES 16384

/* Calls line for each line behind the first, without its newline. No file is fine. A file of another kind
 * and lines for which it says false are passed over, and told in the log once. */
void np_keep_load(const char *path, const char *head, bool (*line)(void *ctx, char *text),
                  void *ctx);
/* Writes head and text; a failure is logged. A buffer that has failed is one. */
enum np_err np_keep_save(const char *path, const char *head, const struct np_buf *text);

#endif
