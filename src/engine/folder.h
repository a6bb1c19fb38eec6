/* Sees that a policy folder may have changed: by inotify on everything that decides what is in it, and
 * by a print of names, sizes and times for file systems that send no events. What decides: the folder
 * itself with lib, templates and cases, where links in them lead, and each step of the way to it, so
 * that a link on the way which is swapped, or a folder which is renamed, is seen too.
 *
 * Belongs to one thread. It never reads contents and never says what has changed: the reader does. */
#ifndef NP_ENGINE_FOLDER_H
#define NP_ENGINE_FOLDER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct np_folder;

/* path is kept. NULL without memory. */
struct np_folder *np_folder_new(const char *path);
void np_folder_free(struct np_folder *f);
/* Readable when something happened; -1: only the print tells. */
int np_folder_fd(const struct np_folder *f);
/* Places the watches for what is there now; those of what is there no longer are taken away. */
void np_folder_watch(struct np_folder *f);
/* Reads what has happened; whether any of it concerns the folder. */
bool np_folder_read(struct np_folder *f);
/* A print over names, places, sizes, times and modes of the files; 0 when there is no folder. Dot
 * files have no part in it, but what they lead to has. */
uint64_t np_folder_print(const struct np_folder *f);

#endif
