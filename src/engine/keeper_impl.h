/* Inside the keeper: its state, shared by keeper.c (generations) and watch.c (its thread, the folder). */
#ifndef NP_ENGINE_KEEPER_IMPL_H
#define NP_ENGINE_KEEPER_IMPL_H

#include "engine/engine_impl.h"
#include "engine/folder.h"

#include <semaphore.h>

enum np_reload_result {
    NP_RELOAD_OK,
    NP_RELOAD_UNCHANGED,
    NP_RELOAD_REJECTED,
    NP_RELOAD_ROLLED_BACK
};

/* A set that is not in force, and why. */
struct np_refused {
    unsigned number; /* 0: it never was */
    char version[16];
    char why[512];
    int64_t wall_ms;
    enum np_trigger trigger;
    struct np_tally_sum sum;
};

struct np_reload_job {
    struct np_keeper *keeper;
    enum np_reload_kind kind;
    enum np_trigger trigger;
    void (*done)(void *ctx, const struct np_reload_verdict *v);
    void *ctx;
};

struct np_keeper {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    atomic_bool closing; /* no further reloads: the workers are going */
    struct np_loop *loop;
    _Atomic size_t n_dead; /* states that wait to be freed */
    /* watch.c */
    struct np_folder *folder;
    struct np_watch inotify;
    struct np_timer settle;
    uint64_t unsettled_ns; /* when the folder began to change */
    struct np_timer poll;  /* file systems without events */
    uint64_t print;        /* of the folder before it was read last; 0: there was none */
    char judged[16];       /* the version that was judged last; "": it could not be read */
    struct np_timer trial; /* looks whether the newest generation's hooks err */
    uint64_t trial_until_ns;
    struct np_generation *trial_before;   /* what it is held against; NULL: it has stood the test */
    char barred[NP_KEPT_GENERATIONS][16]; /* versions that were rolled back; a ring */
    size_t n_barred;
    /* swap.c */
    sem_t swapped; /* posted by each worker that has taken the new generation */
    /* history.c: what other threads read too, under the lock */
    pthread_mutex_t lock;
    struct np_generation *kept[NP_KEPT_GENERATIONS]; /* the last is running */
    size_t n_kept;
    unsigned numbers;
    struct np_refused rejected, rolled_back; /* version "": none */
    uint64_t counts[4];
};

/* keeper.c: on the keeper's thread. */
void np_keeper_run_job(struct np_keeper *k, const struct np_reload_job *job);
/* keeper.c: runs the tests of the set that the process began with; what fails is told. */
void np_keeper_test_first(struct np_keeper *k);
/* keeper.c: the timer of the trial. */
void np_keeper_on_trial(void *ctx, uint64_t now_ns);

/* swap.c: gives each worker a state of the generation, and waits until all have taken it. False: there
 * was no memory for the states, and nothing has changed. */
bool np_keeper_swap(struct np_keeper *k, struct np_generation *gen) NP_MUST_CHECK;

/* history.c: the running generation, held for the caller. */
struct np_generation *np_history_current(struct np_keeper *k);
/* history.c: the one before it, held; NULL: there is none. */
struct np_generation *np_history_before(struct np_keeper *k);
/* history.c: a generation went live; takes over the hold. */
void np_history_add(struct np_keeper *k, struct np_generation *gen);
/* history.c: the running one goes on with other keys; takes over the hold. */
void np_history_renew(struct np_keeper *k, struct np_generation *gen);
/* history.c: the running one was taken back, and `gen` (whose hold is taken over) runs in the place of
 * the one before it. */
void np_history_back(struct np_keeper *k, struct np_generation *gen, enum np_trigger trigger,
                     const char *why);
/* history.c: a set was rejected; NULL: the folder is good again. */
void np_history_reject(struct np_keeper *k, const char *version, enum np_trigger trigger,
                       const char *why);
void np_history_count(struct np_keeper *k, enum np_reload_result result);

#endif
