/* The keeper's thread: reload jobs, the watch over the policy folder, and the burial of old states. */
#include "engine/keeper_impl.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_NS (100 * NP_NS_PER_MS)
#define KEEPER_NICE 10
#define POLL_NS (2 * NP_NS_PER_S)

/* --- has the folder changed? -------------------------------------------------------------------- */

static void mix(uint64_t *h, const void *p, size_t n)
{
    *h = (*h ^ np_fnv1a(p, n)) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Names, sizes and times of a folder's files, one level deep; for file systems that send no events. */
static uint64_t fingerprint(const char *dir, int depth)
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) != 0)
            continue;
        uint64_t h = 1;
        mix(&h, e->d_name, strlen(e->d_name));
        mix(&h, &st.st_size, sizeof st.st_size);
        mix(&h, &st.st_mtim, sizeof st.st_mtim);
        mix(&h, &st.st_ino, sizeof st.st_ino);
        char sub[4096];
        if (S_ISDIR(st.st_mode) && depth > 0 &&
            (size_t)snprintf(sub, sizeof sub, "%s/%s", dir, e->d_name) < sizeof sub)
            h += fingerprint(sub, depth - 1);
        sum += h; /* readdir's order does not matter */
    }
    (void)closedir(d);
    return sum;
}

static void watch_folders(struct np_keeper *k)
{
    static const char *const folders[] = {"", "/lib", "/templates"};
    const uint32_t mask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                          IN_DELETE_SELF | IN_MOVE_SELF;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s%s", k->engine->options.policies, folders[i]);
        /* A folder that is not there is seen by the poll when it comes. */
        if (n > 0 && (size_t)n < sizeof path && k->inotify.fd >= 0)
            (void)inotify_add_watch(k->inotify.fd, path, mask);
    }
}

static void on_inotify(void *ctx, uint32_t events)
{
    struct np_keeper *k = ctx;
    (void)events;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    while (read(k->inotify.fd, buf, sizeof buf) > 0) {
    }
    np_timer_set(np_loop_timers(k->loop), &k->settle, np_loop_now_ns(k->loop) + SETTLE_NS);
}

static void on_settled(void *ctx, uint64_t now_ns)
{
    struct np_keeper *k = ctx;
    (void)now_ns;
    k->fingerprint = fingerprint(k->engine->options.policies, 1);
    watch_folders(k);
    np_keeper_run_job(k, &(struct np_reload_job){.keeper = k, .kind = NP_RELOAD_ASKED});
}

static void on_poll(void *ctx, uint64_t now_ns)
{
    struct np_keeper *k = ctx;
    uint64_t seen = fingerprint(k->engine->options.policies, 1);
    if (seen != k->fingerprint && k->settle.slot == 0)
        np_timer_set(np_loop_timers(k->loop), &k->settle, now_ns + SETTLE_NS);
    np_timer_set(np_loop_timers(k->loop), &k->poll, now_ns + POLL_NS);
}

/* --- from other threads ------------------------------------------------------------------------- */

static void run_posted(void *ctx)
{
    struct np_reload_job *job = ctx;
    np_keeper_run_job(job->keeper, job);
    free(job);
}

void np_keeper_reload(struct np_keeper *k, enum np_reload_kind kind,
                      void (*done)(void *ctx, const struct np_reload_verdict *v), void *ctx)
{
    struct np_reload_job *job = malloc(sizeof *job);
    if (job) {
        *job = (struct np_reload_job){k, kind, done, ctx};
        if (np_loop_post(k->loop, run_posted, job) == NP_OK)
            return;
        free(job);
    }
    struct np_reload_verdict v = {.result = "rejected"};
    np_problems_init(&v.problems);
    np_problems_add(&v.problems, "", 0, 0, "N153", false, "too many reloads wait already");
    if (done)
        done(ctx, &v);
    np_problems_free(&v.problems);
}

static void bury_posted(void *ctx)
{
    np_here_free(ctx);
}

void np_keeper_bury(struct np_keeper *k, struct np_here *here)
{
    /* Closing a full state takes up to 120 ms: not on the worker, except when nothing else is left. */
    if (np_loop_post(k->loop, bury_posted, here) != NP_OK)
        np_here_free(here);
}

/* --- life --------------------------------------------------------------------------------------- */

struct np_keeper *np_keeper_new(struct neap_engine *e, struct np_policyset *first)
{
    struct np_keeper *k = calloc(1, sizeof *k);
    if (!k || !(k->loop = np_loop_new(&np_clock_live))) {
        free(k);
        return NULL;
    }
    k->engine = e;
    k->inotify = (struct np_watch){.ready = on_inotify, .ctx = k, .fd = -1};
    (void)pthread_mutex_init(&k->lock, NULL);
    (void)pthread_cond_init(&k->swapped, NULL);
    k->kept[k->n_kept++] = (struct np_generation){.number = ++k->numbers,
                                                  .set = np_policyset_hold(first),
                                                  .loaded_wall_ms = e->started_wall_ms};
    k->counts[NP_RELOAD_OK] = 1;
    np_timer_init(&k->settle, on_settled, k);
    np_timer_init(&k->poll, on_poll, k);
    return k;
}

/* What waits for nobody yields to requests: checking and testing a set may take seconds of CPU. Under
 * Linux a priority is a thread's. */
static void yield_to_workers(void)
{
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), KEEPER_NICE) != 0)
        np_log(NP_LOG_WARN, "reloads run at the priority of requests", NP_KVI("errno", errno));
}

static void *thread_main(void *arg)
{
    struct np_keeper *k = arg;
    yield_to_workers();
    np_loop_run(k->loop);
    return NULL;
}

enum np_err np_keeper_start(struct np_keeper *k)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0 || np_loop_add(k->loop, &k->inotify, fd, EPOLLIN) != NP_OK) {
        np_log(NP_LOG_WARN, "no inotify, the policy folder is polled",
               NP_KVS("folder", k->engine->options.policies));
        if (fd >= 0)
            (void)close(fd);
        k->inotify.fd = -1;
    }
    watch_folders(k);
    k->fingerprint = fingerprint(k->engine->options.policies, 1);
    np_timer_set(np_loop_timers(k->loop), &k->poll, np_loop_refresh_ns(k->loop) + POLL_NS);
    k->running = pthread_create(&k->thread, NULL, thread_main, k) == 0;
    return k->running ? NP_OK : NP_E_NOMEM;
}

void np_keeper_join(struct np_keeper *k)
{
    if (!k || !k->running)
        return;
    atomic_store(&k->closing, true);
    np_loop_stop(k->loop);
    (void)pthread_join(k->thread, NULL);
    k->running = false;
}

void np_keeper_free(struct np_keeper *k)
{
    if (!k)
        return;
    np_timer_stop(np_loop_timers(k->loop), &k->settle);
    np_timer_stop(np_loop_timers(k->loop), &k->poll);
    np_loop_turn(k->loop, 0); /* burials that came late, and verdicts that are still owed */
    if (k->inotify.fd >= 0) {
        int fd = k->inotify.fd;
        np_loop_remove(k->loop, &k->inotify);
        (void)close(fd);
    }
    for (size_t i = 0; i < k->n_kept; i++)
        np_policyset_drop(k->kept[i].set);
    np_loop_free(k->loop);
    (void)pthread_cond_destroy(&k->swapped);
    (void)pthread_mutex_destroy(&k->lock);
    free(k);
}
