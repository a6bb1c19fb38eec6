/* neap test --watch: the tests again whenever the folder has changed and been quiet for a moment. Signals
 * come by a descriptor, so that none is lost between two looks. */
#include <neap/neap.h>

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/span.h"

#define SETTLE_MS 100
#define AWAY_MS 200 /* between two looks for a folder that is away */
#define PATH_BYTES 4096
#define MASK                                                                                 \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | \
     IN_MOVE_SELF | IN_ATTRIB)

struct watching {
    const char *dir;
    const struct neap_test_options *options;
    int inotify, signals;
    char changed[PATH_BYTES]; /* the name that changed last; "": none yet */
};

static void say(const struct watching *w, const char *text, const char *more)
{
    char line[2 * PATH_BYTES];
    (void)snprintf(line, sizeof line, "%s%s", text, more);
    w->options->say(w->options->ctx, line);
}

/* Folders come and go, and with each the watch; adding one twice changes nothing. */
static bool watch_folders(const struct watching *w)
{
    static const char *const folders[] = {"", "/lib", "/templates", "/cases"};
    bool any = false;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[PATH_BYTES];
        int n = snprintf(path, sizeof path, "%s%s", w->dir, folders[i]);
        if (n > 0 && (size_t)n < sizeof path)
            any |= inotify_add_watch(w->inotify, path, MASK) >= 0;
    }
    return any;
}

/* Hidden names (editors', our own) and copies that editors keep do not count. */
static bool counts(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '.' && name[0] != '#' && !(n > 0 && name[n - 1] == '~');
}

/* Reads what there is; true when something of the set changed. */
static bool read_events(struct watching *w)
{
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false;
    for (ssize_t n; (n = read(w->inotify, buf, sizeof buf)) > 0;) {
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)p;
            const char *name = e->len > 0 ? e->name : "";
            p += sizeof *e + e->len;
            if (e->mask & IN_IGNORED || (name[0] && !counts(name)))
                continue;
            changed = true;
            if (name[0])
                (void)snprintf(w->changed, sizeof w->changed, "%s", name);
        }
    }
    return changed;
}

/* Waits for a change that has come to rest. False: a signal wants it to end. */
static bool wait_for_change(struct watching *w)
{
    bool changed = false;
    for (;;) {
        struct pollfd fds[] = {{w->inotify, POLLIN, 0}, {w->signals, POLLIN, 0}};
        int n = poll(fds, 2, changed ? SETTLE_MS : -1);
        if (n < 0 && errno != EINTR)
            return false;
        if (fds[1].revents)
            return false;
        if (n == 0)
            return true;
        if (n > 0 && fds[0].revents)
            changed |= read_events(w);
    }
}

/* Where the folder is away, for a checkout say: waits until it is there. False: a signal wants it to end. */
static bool wait_for_folder(struct watching *w)
{
    bool told = false;
    while (!watch_folders(w)) {
        struct pollfd fd = {w->signals, POLLIN, 0};
        if (!told)
            say(w, "waiting for ", w->dir);
        told = true;
        if (poll(&fd, 1, AWAY_MS) > 0)
            return false;
    }
    return true;
}

static enum neap_status watch(struct watching *w)
{
    enum neap_status status = NEAP_FAILED;
    if (!watch_folders(w)) {
        say(w, "there is no folder to watch: ", w->dir);
        return NEAP_FAILED;
    }
    for (;;) {
        if (!wait_for_folder(w))
            return status;
        status = neap_test(w->dir, w->options);
        say(w, "", "");
        say(w, "watching ", w->dir);
        if (!wait_for_change(w))
            return status;
        say(w, "changed: ", w->changed);
    }
}

enum neap_status neap_test_watch(const char *dir, const struct neap_test_options *options)
{
    struct watching w = {.dir = dir, .options = options};
    enum neap_status status = NEAP_FAILED;
    sigset_t wanted, before;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &wanted, &before);
    w.signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    w.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w.signals >= 0 && w.inotify >= 0)
        status = watch(&w);
    else
        say(&w, "the folder can't be watched: ", strerror(errno));
    /* The signal that ended it is taken here, not by whoever called. */
    struct signalfd_siginfo taken;
    if (w.signals >= 0 && poll(&(struct pollfd){w.signals, POLLIN, 0}, 1, 0) > 0)
        (void)!read(w.signals, &taken, sizeof taken);
    if (w.inotify >= 0)
        (void)close(w.inotify);
    if (w.signals >= 0)
        (void)close(w.signals);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}
