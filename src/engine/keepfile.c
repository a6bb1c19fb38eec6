/* Files that keep memory over restarts. */
#include "engine/keepfile.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void load_lines(FILE *f, const char *path, bool (*line)(void *ctx, char *text), void *ctx)
{
    char text[NP_KEEP_LINE_BYTES];
    size_t odd = 0;
    while (fgets(text, sizeof text, f)) {
        size_t n = strlen(text);
        bool whole = n > 0 && text[n - 1] == '\n';
        if (whole)
            text[n - 1] = '\0';
        odd += !whole || !line(ctx, text);
    }
    if (odd > 0)
        np_log(NP_LOG_WARN, "lines of a state file were passed over", NP_KVS("file", path),
               NP_KVI("lines", odd));
}

void np_keep_load(const char *path, const char *head, bool (*line)(void *ctx, char *text),
                  void *ctx)
{
    char first[64];
    FILE *f = fopen(path, "re");
    if (!f) {
        if (errno != ENOENT)
            np_log(NP_LOG_WARN, "a state file can't be read, what it kept begins anew",
                   NP_KVS("file", path), NP_KVS("error", strerror(errno)));
        return;
    }
    size_t n = strlen(head);
    if (fgets(first, sizeof first, f) && strncmp(first, head, n) == 0 &&
        strcmp(first + n, "\n") == 0)
        load_lines(f, path, line, ctx);
    else
        np_log(NP_LOG_WARN, "a state file is of another kind, what it kept begins anew",
               NP_KVS("file", path));
    (void)fclose(f);
}

static bool put(int fd, struct np_span text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = np_span_make(text.p + n, text.n - (size_t)n);
    }
    return true;
}

static bool put_all(int fd, const char *head, const struct np_buf *text)
{
    return put(fd, np_span_of(head)) && put(fd, NP_SPAN("\n")) && put(fd, np_buf_view(text)) &&
           fsync(fd) == 0;
}

enum np_err np_keep_save(const char *path, const char *head, const struct np_buf *text)
{
    char beside[4096];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return NP_E_RANGE;
    if (np_buf_failed(text)) {
        np_log(NP_LOG_ERROR, "a state file can't be written", NP_KVS("file", path),
               NP_KVS("error", "no memory"));
        return NP_E_NOMEM;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && put_all(fd, head, text);
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && rename(beside, path) == 0)
        return NP_OK;
    np_log(NP_LOG_ERROR, "a state file can't be written", NP_KVS("file", path),
           NP_KVS("error", strerror(good ? errno : error)));
    (void)unlink(beside);
    return NP_E_IO;
}
