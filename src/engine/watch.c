/* The keeper's thread: reload jobs, the watch over the policy folder, and the burial of old states. */
#include "engine/keeper_impl.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define SETTLE_NS (100 * NP_NS_PER_MS) /* a folder that changes is read when it was quiet so long */
#define UNSETTLED_NS (2 * NP_NS_PER_S) /* or at the latest after this */
#define KEEPER_NICE 10
#define POLL_NS (2 * NP_NS_PER_S)
/* The keeper may be busy for seconds; each dead state may be 24 MB. */
#define DEAD_MAX 8

/* --- has the folder changed? -------------------------------------------------------------------- */

static void settle(struct np_keeper *k, uint64_t now_ns)
{
    if (k->settle.slot == 0)
        k->unsettled_ns = now_ns;
    uint64_t at_ns = now_ns + SETTLE_NS, latest_ns = k->unsettled_ns + UNSETTLED_NS;
    np_timer_set(np_loop_timers(k->loop), &k->settle, at_ns < latest_ns ? at_ns : latest_ns);
}

static void on_inotify(void *ctx, uint32_t events)
{
    struct np_keeper *k = ctx;
    (void)events;
    if (np_folder_read(k->folder))
        settle(k, np_loop_now_ns(k->loop));
}

/* Whether the folder holds the set that was judged last. Contents decide: a print may be the same
 * although another set was judged meanwhile, as when a link was swapped and swapped back. */
static bool is_as_judged(const struct np_keeper *k)
{
    struct np_policyset *now = NULL;
    struct np_problems problems;
    np_problems_init(&problems);
    bool same = np_policyset_read(k->engine->options.policies, &now, &problems) == NP_OK &&
                strcmp(np_policyset_version(now), k->judged) == 0;
    np_policyset_drop(now);
    np_problems_free(&problems);
    return same;
}

/* Watches first, then the print, then the reading: what changes after any of them is seen again. */
static void on_settled(void *ctx, uint64_t now_ns)
{
    struct np_keeper *k = ctx;
    (void)now_ns;
    np_folder_watch(k->folder);
    if (np_folder_print(k->folder) == k->print && is_as_judged(k))
        return; /* what happened is no business of the set's */
    np_keeper_run_job(k, &(struct np_reload_job){
                             .keeper = k, .kind = NP_RELOAD_ANEW, .trigger = NP_TRIGGER_FOLDER});
}

static void on_poll(void *ctx, uint64_t now_ns)
{
    struct np_keeper *k = ctx;
    if (k->settle.slot == 0 && np_folder_print(k->folder) != k->print)
        settle(k, now_ns);
    np_timer_set(np_loop_timers(k->loop), &k->poll, now_ns + POLL_NS);
}

/* --- from other threads ------------------------------------------------------------------------- */

static void run_posted(void *ctx)
{
    struct np_reload_job *job = ctx;
    np_keeper_run_job(job->keeper, job);
    free(job);
}

void np_keeper_reload(struct np_keeper *k, enum np_reload_kind kind, enum np_trigger trigger,
                      void (*done)(void *ctx, const struct np_reload_verdict *v), void *ctx)
{
    struct np_reload_job *job = malloc(sizeof *job);
    if (job) {
        *job = (struct np_reload_job){k, kind, trigger, done, ctx};
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

struct dead {
    struct np_keeper *keeper;
    struct np_here *here;     /* either */
    struct np_script *script; /* or */
};

static void bury(const struct dead *d)
{
    if (d->here)
        np_here_free(d->here);
    np_script_free(d->script);
    atomic_fetch_sub_explicit(&d->keeper->n_dead, 1, memory_order_relaxed);
}

static void bury_posted(void *ctx)
{
    bury(ctx);
    free(ctx);
}

/* To close a full state takes some milliseconds: not on the worker, unless too many wait already. */
static void post_burial(struct dead d)
{
    size_t before = atomic_fetch_add_explicit(&d.keeper->n_dead, 1, memory_order_relaxed);
    struct dead *posted = before < DEAD_MAX ? malloc(sizeof *posted) : NULL;
    if (posted) {
        *posted = d;
        if (np_loop_post(d.keeper->loop, bury_posted, posted) == NP_OK)
            return;
        free(posted);
    }
    bury(&d);
}

void np_keeper_bury(struct np_keeper *k, struct np_here *here)
{
    post_burial((struct dead){.keeper = k, .here = here});
}

void np_keeper_bury_script(struct np_keeper *k, struct np_script *script)
{
    post_burial((struct dead){.keeper = k, .script = script});
}

/* --- life --------------------------------------------------------------------------------------- */

struct np_keeper *np_keeper_new(struct neap_engine *e, struct np_generation *first)
{
    struct np_keeper *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->loop = np_loop_new(&np_clock_live);
    k->folder = np_folder_new(e->options.policies);
    if (!k->loop || !k->folder) {
        np_loop_free(k->loop);
        np_folder_free(k->folder);
        free(k);
        return NULL;
    }
    k->engine = e;
    k->inotify = (struct np_watch){.ready = on_inotify, .ctx = k, .fd = -1};
    (void)pthread_mutex_init(&k->lock, NULL);
    (void)sem_init(&k->swapped, 0, 0);
    k->kept[k->n_kept++] = np_generation_hold(first);
    k->numbers = first->number;
    (void)snprintf(k->judged, sizeof k->judged, "%s", np_policyset_version(first->set));
    k->counts[NP_RELOAD_OK] = 1;
    np_timer_init(&k->settle, on_settled, k);
    np_timer_init(&k->poll, on_poll, k);
    np_timer_init(&k->trial, np_keeper_on_trial, k);
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
    np_keeper_test_first(k);
    np_loop_run(k->loop);
    return NULL;
}

enum np_err np_keeper_start(struct np_keeper *k)
{
    int fd = np_folder_fd(k->folder);
    if (fd < 0 || np_loop_add(k->loop, &k->inotify, fd, EPOLLIN) != NP_OK)
        np_log(NP_LOG_WARN, "no inotify, the policy folder is polled",
               NP_KVS("folder", k->engine->options.policies));
    np_folder_watch(k->folder);
    k->print = np_folder_print(k->folder);
    uint64_t now_ns = np_loop_refresh_ns(k->loop);
    settle(k, now_ns); /* it may have changed since the start has read it */
    np_timer_set(np_loop_timers(k->loop), &k->poll, now_ns + POLL_NS);
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
    np_timer_stop(np_loop_timers(k->loop), &k->trial);
    np_loop_turn(k->loop, 0); /* burials that came late, and verdicts that are still owed */
    np_loop_remove(k->loop, &k->inotify);
    np_folder_free(k->folder);
    for (size_t i = 0; i < k->n_kept; i++)
        np_generation_drop(k->kept[i]);
    np_generation_drop(k->trial_before);
    np_loop_free(k->loop);
    (void)sem_destroy(&k->swapped);
    (void)pthread_mutex_destroy(&k->lock);
    free(k);
}
