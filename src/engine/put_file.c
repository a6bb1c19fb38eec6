/* Files for people: written beside their place and renamed. */
#include "engine/put_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, struct np_span text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text = np_span_make(text.p + n, text.n - (size_t)n);
    }
    return true;
}

static bool write_directly(const char *path, struct np_span text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, text);
    return close(fd) == 0 && ok;
}

static bool write_renamed(const char *path, struct np_span text, mode_t mode)
{
    char beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0;
    /* Hidden, so that who watches the folder passes it over. */
    int n = snprintf(beside, sizeof beside, "%.*s.%s.XXXXXX", folder, path, path + folder);
    if (n < 0 || (size_t)n >= sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, text) && fchmod(fd, mode) == 0;
    ok = close(fd) == 0 && ok;
    if (ok && rename(beside, path) == 0)
        return true;
    int saved = errno;
    (void)unlink(beside);
    errno = saved;
    return false;
}

bool np_put_file(const char *path, struct np_span text, struct np_buf *why)
{
    struct stat st;
    char real[PATH_MAX];
    bool there = stat(path, &st) == 0;
    bool ok = there && !S_ISREG(st.st_mode)
                  ? write_directly(path, text)
                  : write_renamed(there && realpath(path, real) ? real : path, text,
                                  there ? st.st_mode & 07777 : 0644);
    if (!ok)
        np_buf_printf(why, "%s: %s", path, strerror(errno));
    return ok;
}
