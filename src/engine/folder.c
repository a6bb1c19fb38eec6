/* Watches over a policy folder, and the way to it. */
#include "engine/folder.h"

#include "base/hash.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WATCHES 256 /* what is beyond is seen by the print */
#define MAX_LINKS 40    /* as the kernel has it */
/* On the way to a folder only names matter: the logs that are written beside it wake nobody. */
#define NAMES                                                                           \
    (IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | \
     IN_MOVE_SELF)
#define CHANGES (NAMES | IN_CLOSE_WRITE | IN_MODIFY)
#define GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

/* One name that is watched in a folder; the same folder may stand here with several names. */
struct watched {
    int wd;
    uint64_t name; /* its hash; 0: every name */
};

struct np_folder {
    const char *path;
    int fd;
    struct watched watched[MAX_WATCHES];
    size_t n;
};

struct np_folder *np_folder_new(const char *path)
{
    struct np_folder *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->path = path;
    f->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return f;
}

void np_folder_free(struct np_folder *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f);
}

int np_folder_fd(const struct np_folder *f)
{
    return f->fd;
}

/* --- placing watches ------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *name, size_t n)
{
    uint64_t h = np_fnv1a(name, n);
    return h ? h : 1;
}

/* A folder that can't be watched (it is gone, or the user's watches are used up) is left to the print.
 * One that stands on the way and is of the set besides keeps what is wanted of both. */
static void add(struct np_folder *f, const char *dir, uint64_t name)
{
    uint32_t wanted = IN_MASK_ADD | (name ? NAMES : CHANGES);
    int wd = f->n < MAX_WATCHES ? inotify_add_watch(f->fd, dir, wanted) : -1;
    if (wd < 0)
        return;
    for (size_t i = 0; i < f->n; i++) {
        if (f->watched[i].wd == wd && (f->watched[i].name == name || f->watched[i].name == 0))
            return;
    }
    f->watched[f->n++] = (struct watched){wd, name};
}

/* A way through the file system, taken step by step. */
struct way {
    char done[PATH_MAX]; /* without links; "" is the root */
    char rest[PATH_MAX];
    unsigned links;
};

static bool put(char out[PATH_MAX], const char *a, const char *b)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", a, b);
    return n >= 0 && n < PATH_MAX;
}

/* The next step's name, cut off the rest; false at the end. */
static bool next_step(struct way *w, char name[NAME_MAX + 1])
{
    const char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");
    if (n == 0 || n > NAME_MAX)
        return false;
    memcpy(name, p, n);
    name[n] = '\0';
    memmove(w->rest, p + n, strlen(p + n) + 1);
    return true;
}

/* Puts where the link leads before the rest of the way. */
static bool follow(struct way *w, const char *link)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0 || ++w->links > MAX_LINKS)
        return false;
    target[n] = '\0';
    if (!put(rest, target, w->rest))
        return false;
    memcpy(w->rest, rest, strlen(rest) + 1);
    if (target[0] == '/')
        w->done[0] = '\0';
    return true;
}

/* Takes one step; false where the way ends before its end. */
static bool step(struct np_folder *f, struct way *w, const char *name)
{
    char here[PATH_MAX];
    struct stat st;
    if (strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(w->done, '/');
        if (slash)
            *slash = '\0';
        return true;
    }
    add(f, w->done[0] ? w->done : "/", hash_of(name, strlen(name)));
    if (!put(here, w->done, name) || lstat(here, &st) != 0)
        return false;
    if (S_ISLNK(st.st_mode))
        return follow(w, here);
    memcpy(w->done, here, strlen(here) + 1);
    return true;
}

/* Watches each step of the way to path; its real place in w->done. False: it is not there. */
static bool watch_way(struct np_folder *f, struct way *w, const char *path)
{
    char name[NAME_MAX + 1];
    w->links = 0;
    w->done[0] = '\0';
    if (path[0] != '/' && !getcwd(w->done, sizeof w->done))
        return false;
    if (strcmp(w->done, "/") == 0)
        w->done[0] = '\0';
    if (strlen(path) >= sizeof w->rest)
        return false;
    memcpy(w->rest, path, strlen(path) + 1);
    while (next_step(w, name)) {
        if (!step(f, w, name))
            return false;
    }
    return true;
}

/* Watches the folders that the links in dir lead into: an edit there is an edit of the set. */
static void watch_targets(struct np_folder *f, const char *dir)
{
    char path[PATH_MAX], real[PATH_MAX], last[PATH_MAX] = "";
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        /* Where a file system does not say what an entry is, realpath finds out. */
        if (e->d_name[0] == '.' || (e->d_type != DT_LNK && e->d_type != DT_UNKNOWN) ||
            !put(path, dir, e->d_name) || !realpath(path, real))
            continue;
        char *slash = strrchr(real, '/');
        *(slash == real ? slash + 1 : slash) = '\0';
        if (strcmp(real, last) != 0)
            add(f, real, 0);
        memcpy(last, real, sizeof last);
    }
    (void)closedir(d);
}

void np_folder_watch(struct np_folder *f)
{
    static const char *const folders[] = {"lib", "templates", "cases"};
    struct watched before[MAX_WATCHES];
    size_t n_before = f->n;
    struct way way;
    if (f->fd < 0)
        return;
    memcpy(before, f->watched, n_before * sizeof *before);
    f->n = 0;
    if (watch_way(f, &way, f->path)) {
        char root[PATH_MAX], path[PATH_MAX];
        memcpy(root, way.done, sizeof root);
        add(f, root[0] ? root : "/", 0);
        watch_targets(f, root);
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
            if (!put(path, root, folders[i]) || !watch_way(f, &way, path))
                continue;
            add(f, way.done, 0);
            watch_targets(f, way.done);
        }
    }
    for (size_t i = 0; i < n_before; i++) {
        size_t j = 0;
        while (j < f->n && f->watched[j].wd != before[i].wd)
            j++;
        if (j == f->n)
            (void)inotify_rm_watch(f->fd, before[i].wd);
    }
}

/* --- what has happened ----------------------------------------------------------------------------- */

static bool concerns(const struct np_folder *f, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW)
        return true;
    uint64_t name = e->len > 0 ? hash_of(e->name, strlen(e->name)) : 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct watched *w = &f->watched[i];
        if (w->wd == e->wd &&
            (e->len > 0 ? w->name == 0 || w->name == name : w->name == 0 || (e->mask & GONE)))
            return true;
    }
    return false;
}

bool np_folder_read(struct np_folder *f)
{
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool any = false;
    for (ssize_t n; (n = read(f->fd, buf, sizeof buf)) > 0;) {
        for (const char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const void *)p;
            any = any || concerns(f, e);
            p += sizeof *e + e->len;
        }
    }
    return any;
}

/* --- the print -------------------------------------------------------------------------------------- */

static void mix(uint64_t *h, const void *p, size_t n)
{
    *h = (*h ^ np_fnv1a(p, n)) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t print_of(const char *dir, int depth)
{
    uint64_t sum = 1;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        char sub[PATH_MAX];
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) != 0)
            continue;
        const uint64_t facts[] = {(uint64_t)st.st_size,        (uint64_t)st.st_dev,
                                  (uint64_t)st.st_ino,         (uint64_t)st.st_mode,
                                  (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec};
        uint64_t h = 1;
        mix(&h, e->d_name, strlen(e->d_name));
        mix(&h, facts, sizeof facts);
        if (S_ISDIR(st.st_mode) && depth > 0 && put(sub, dir, e->d_name))
            h += print_of(sub, depth - 1);
        sum += h; /* readdir's order does not matter */
    }
    (void)closedir(d);
    return sum ? sum : 1;
}

uint64_t np_folder_print(const struct np_folder *f)
{
    return print_of(f->path, 1);
}
