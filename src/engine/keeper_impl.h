/* Inside the keeper: its state, shared by keeper.c (generations) and watch.c (its thread, the folder). */
#ifndef NP_ENGINE_KEEPER_IMPL_H
#define NP_ENGINE_KEEPER_IMPL_H

#include "engine/engine_impl.h"
#include "engine/folder.h"

enum np_reload_result {
    NP_RELOAD_OK,
    NP_RELOAD_UNCHANGED,
    NP_RELOAD_REJECTED,
    NP_RELOAD_ROLLED_BACK
};

struct np_generation {
    unsigned number;
    struct np_policyset *set;
    int64_t loaded_wall_ms;
};

struct np_reload_job {
    struct np_keeper *keeper;
    enum np_reload_kind kind;
    void (*done)(void *ctx, const struct np_reload_verdict *v);
    void *ctx;
};

struct np_keeper {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    atomic_bool closing; /* no further reloads: the workers are going */
    struct np_loop *loop;
    /* watch.c */
    struct np_folder *folder;
    struct np_watch inotify;
    struct np_timer settle;
    uint64_t unsettled_ns; /* when the folder began to change */
    struct np_timer poll;  /* file systems without events */
    uint64_t print;        /* of the folder as it was read last; 0: unknown */
    /* keeper.c; lock for what other threads read */
    pthread_mutex_t lock;
    pthread_cond_t swapped;
    size_t swapping; /* workers that have not taken the new generation yet */
    struct np_generation kept[NP_KEPT_GENERATIONS]; /* the last is running */
    size_t n_kept;
    unsigned numbers;
    char rejected[16], rejected_why[512];
    int64_t rejected_wall_ms;
    char barred[16]; /* the version that was rolled back */
    uint64_t counts[4];
};

/* keeper.c: on the keeper's thread. */
void np_keeper_run_job(struct np_keeper *k, const struct np_reload_job *job);

#endif
