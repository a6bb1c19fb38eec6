/* The history of neap repl, as text that people can read and edit. */
#include "cli/repl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_BYTES ((size_t)256 << 10)
#define CUT_BYTES ((size_t)512 << 10)

/* Makes the folders of a path, for the owner alone. */
static void make_folders(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
}

void np_history_path(char *path, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    path[0] = '\0';
    if (state && state[0] == '/')
        n = snprintf(path, size, "%s/neap/history", state);
    else if (home && home[0] == '/')
        n = snprintf(path, size, "%s/.local/state/neap/history", home);
    if (n < 0 || (size_t)n >= size)
        path[0] = '\0';
    else
        make_folders(path);
}

/* The whole file, or its end when it is long; malloc'ed, NULL when there is none. */
static char *read_end(const char *path, bool *cut)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    (void)fseek(f, 0, SEEK_END);
    long size = ftell(f);
    *cut = size > (long)CUT_BYTES;
    size_t want = *cut ? KEPT_BYTES : size > 0 ? (size_t)size : 0;
    (void)fseek(f, -(long)want, SEEK_END);
    char *text = malloc(want + 1);
    size_t got = text ? fread(text, 1, want, f) : 0;
    (void)fclose(f);
    if (text)
        text[got] = '\0';
    return text;
}

/* Where the first whole entry begins in the end of a file. */
static char *first_entry(char *text)
{
    char *p = strchr(text, '\n');
    while (p && (p[1] == '\t' || p[1] == '\n'))
        p = strchr(p + 1, '\n');
    return p ? p + 1 : text;
}

/* Writes the file anew, whole or not at all. */
static void replace(const char *path, const char *text)
{
    char other[4096];
    int n = snprintf(other, sizeof other, "%s.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof other)
        return;
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    size_t length = strlen(text);
    bool ok = write(fd, text, length) == (ssize_t)length;
    if (close(fd) != 0 || !ok || rename(other, path) != 0)
        (void)unlink(other);
}

/* Takes the next entry off the text, in place: tabs at the starts of its lines go. */
static char *take_entry(char **rest)
{
    char *entry = *rest, *to = entry, *from = entry;
    if (!*from)
        return NULL;
    while (*from) {
        if (*from == '\n' && from[1] != '\t')
            break;
        *to++ = *from;
        from += *from == '\n' ? 2 : 1;
    }
    *rest = *from ? from + 1 : from;
    *to = '\0';
    return entry;
}

void np_history_read(const char *path, void (*entry)(void *ctx, const char *text), void *ctx)
{
    bool cut = false;
    char *text = path[0] ? read_end(path, &cut) : NULL;
    if (!text)
        return;
    char *rest = cut ? first_entry(text) : text;
    if (cut)
        replace(path, rest);
    for (char *e; (e = take_entry(&rest));) {
        if (*e)
            entry(ctx, e);
    }
    free(text);
}

void np_history_append(const char *path, const char *text)
{
    size_t n = 0, lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    char *entry = malloc(strlen(text) + lines + 1);
    int fd = path[0] ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    for (const char *p = text; entry && *p; p++) {
        entry[n++] = *p;
        if (*p == '\n')
            entry[n++] = '\t';
    }
    if (entry && fd >= 0) {
        entry[n++] = '\n';
        /* One write, so that sessions beside each other do not mix. A full disk loses history alone. */
        (void)!write(fd, entry, n);
    }
    if (fd >= 0)
        (void)close(fd);
    free(entry);
}
