/* The keeper: one thread that reads policy folders, judges them, hands new generations to the workers
 * and frees old ones. Nothing of this ever runs on a worker but the swap of a pointer. */
#include "engine/keeper_impl.h"

#include "base/log.h"
#include "engine/gate.h"

#include <stdio.h>
#include <stdlib.h>

/* --- the swap: every worker takes its new state, the last one's word ends the wait -------------- */

struct swap_order {
    struct np_here *next;
    struct np_keeper *keeper;
};

static void swap_done(void *ctx)
{
    struct np_keeper *k = ctx;
    pthread_mutex_lock(&k->lock);
    k->swapping--;
    pthread_cond_signal(&k->swapped);
    pthread_mutex_unlock(&k->lock);
}

static void swap_on_worker(void *ctx)
{
    struct swap_order *o = ctx;
    np_worker_swap(o->next->worker, o->next, swap_done, o->keeper);
    free(o);
}

/* Makes a state for each worker, or none. */
static bool make_states(struct np_keeper *k, struct np_policyset *set, struct swap_order **orders)
{
    struct neap_engine *e = k->engine;
    for (size_t i = 0; i < e->n_workers; i++) {
        orders[i] = calloc(1, sizeof *orders[i]);
        if (orders[i]) {
            orders[i]->keeper = k;
            orders[i]->next = np_here_new(e->workers[i], set);
        }
        if (!orders[i] || !orders[i]->next) {
            for (size_t j = 0; j <= i; j++) {
                if (orders[j])
                    np_here_free(orders[j]->next);
                free(orders[j]);
            }
            return false;
        }
    }
    return true;
}

static bool swap_all(struct np_keeper *k, struct np_policyset *set)
{
    struct neap_engine *e = k->engine;
    struct swap_order *orders[NP_MAX_WORKERS];
    if (!make_states(k, set, orders))
        return false;
    pthread_mutex_lock(&k->lock);
    k->swapping = e->n_workers;
    pthread_mutex_unlock(&k->lock);
    for (size_t i = 0; i < e->n_workers; i++) {
        /* A worker whose queue is full is busy with others' calls: it empties it every turn. */
        while (np_loop_post(np_worker_loop(e->workers[i]), swap_on_worker, orders[i]) != NP_OK)
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    pthread_mutex_lock(&k->lock);
    while (k->swapping > 0)
        pthread_cond_wait(&k->swapped, &k->lock);
    pthread_mutex_unlock(&k->lock);
    return true;
}

/* --- generations -------------------------------------------------------------------------------- */

static void remember(struct np_keeper *k, struct np_policyset *set)
{
    struct np_generation *g = k->kept;
    pthread_mutex_lock(&k->lock);
    if (k->n_kept == NP_KEPT_GENERATIONS) {
        np_policyset_drop(g[0].set);
        memmove(g, g + 1, sizeof *g * (NP_KEPT_GENERATIONS - 1));
        k->n_kept--;
    }
    g[k->n_kept++] = (struct np_generation){.number = ++k->numbers,
                                            .set = np_policyset_hold(set),
                                            .loaded_wall_ms = np_clock_wall_ms(&np_clock_live)};
    k->rejected[0] = '\0';
    pthread_mutex_unlock(&k->lock);
}

struct np_policyset *np_keeper_current(struct np_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    struct np_policyset *set = np_policyset_hold(k->kept[k->n_kept - 1].set);
    pthread_mutex_unlock(&k->lock);
    return set;
}

size_t np_keeper_generations(struct np_keeper *k, struct np_generation_view *out, size_t max)
{
    pthread_mutex_lock(&k->lock);
    size_t n = 0;
    if (k->rejected[0] && n < max) {
        out[n] =
            (struct np_generation_view){.loaded_wall_ms = k->rejected_wall_ms, .state = "rejected"};
        (void)snprintf(out[n].version, sizeof out[n].version, "%s", k->rejected);
        (void)snprintf(out[n].error, sizeof out[n].error, "%s", k->rejected_why);
        n++;
    }
    for (size_t i = k->n_kept; i-- > 0 && n < max; n++) {
        const struct np_generation *g = &k->kept[i];
        out[n] = (struct np_generation_view){.number = g->number,
                                             .loaded_wall_ms = g->loaded_wall_ms,
                                             .state = i + 1 == k->n_kept ? "running" : "kept"};
        (void)snprintf(out[n].version, sizeof out[n].version, "%s", np_policyset_version(g->set));
    }
    pthread_mutex_unlock(&k->lock);
    return n;
}

void np_keeper_counts(struct np_keeper *k, uint64_t out[4])
{
    pthread_mutex_lock(&k->lock);
    memcpy(out, k->counts, sizeof k->counts);
    pthread_mutex_unlock(&k->lock);
}

/* --- one reload --------------------------------------------------------------------------------- */

static void reject(struct np_keeper *k, const char *version, const struct np_problems *problems)
{
    const struct np_problem *first = NULL;
    for (size_t i = 0; i < problems->n && !first; i++)
        first = problems->list[i].warning ? NULL : &problems->list[i];
    pthread_mutex_lock(&k->lock);
    (void)snprintf(k->rejected, sizeof k->rejected, "%s", version);
    (void)snprintf(k->rejected_why, sizeof k->rejected_why, "%s:%u: %s", first ? first->file : "",
                   first ? first->line : 0, first ? first->text : "no memory");
    k->rejected_wall_ms = np_clock_wall_ms(&np_clock_live);
    pthread_mutex_unlock(&k->lock);
    np_log(NP_LOG_ERROR, "policies rejected, the old ones go on", NP_KVS("version", version),
           NP_KVS("problem", k->rejected_why), NP_KVI("problems", problems->errors));
}

/* Whether both sets of one version have the same keys: what `file` names may have changed. */
static bool same_keys(const struct np_catalog *a, const struct np_catalog *b)
{
    for (size_t i = 0; i < a->n_providers; i++) {
        const struct np_provider *p = &a->providers[i], *q = &b->providers[i];
        if (p->n_keys != q->n_keys)
            return false;
        for (size_t j = 0; j < p->n_keys; j++) {
            if (p->keys[j].slot != q->keys[j].slot)
                return false;
        }
    }
    return true;
}

static void forget_rejected(struct np_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->rejected[0] = '\0';
    pthread_mutex_unlock(&k->lock);
}

/* Judges a set that was read, and puts it in force where it is new and good. */
static enum np_reload_result take(struct np_keeper *k, struct np_policyset *set,
                                  struct np_policyset *current, struct np_reload_verdict *v)
{
    struct np_load_options options = {.slots = &k->engine->slots,
                                      .simulated = k->engine->options.simulate,
                                      .trust_folder = k->engine->options.trust_folder};
    bool known = strcmp(np_policyset_version(set), np_policyset_version(current)) == 0;
    if (!known && strcmp(np_policyset_version(set), k->barred) == 0) {
        np_problems_add(&v->problems, "", 0, 0, "N151", false,
                        "this version was rolled back; it is not tried again until it changes");
        return NP_RELOAD_REJECTED;
    }
    /* Known ones too: a file that belongs to no set takes no part in the version, nor do keys. */
    if (v->problems.errors > 0 || np_gate_check(set, &options, &v->problems) ||
        !np_gate_may_listen(set, k->engine->options.listen, &v->problems)) {
        reject(k, np_policyset_version(set), &v->problems);
        return NP_RELOAD_REJECTED;
    }
    if (known && same_keys(np_policyset_catalog(set), np_policyset_catalog(current))) {
        forget_rejected(k); /* the folder was put right again */
        return NP_RELOAD_UNCHANGED;
    }
    if (!known && np_gate_test(set, &k->closing, &v->problems)) {
        reject(k, np_policyset_version(set), &v->problems);
        return NP_RELOAD_REJECTED;
    }
    if (!swap_all(k, set)) {
        reject(k, np_policyset_version(set), &v->problems);
        return NP_RELOAD_REJECTED;
    }
    remember(k, set);
    k->barred[0] = '\0';
    (void)snprintf(v->version, sizeof v->version, "%s", np_policyset_version(set));
    np_log(NP_LOG_INFO, known ? "keys read again" : "policies in force",
           NP_KVS("version", v->version));
    return NP_RELOAD_OK;
}

static enum np_reload_result read_anew(struct np_keeper *k, struct np_reload_verdict *v)
{
    struct np_policyset *set = NULL;
    struct np_policyset *current = np_keeper_current(k);
    enum np_reload_result result = NP_RELOAD_REJECTED;
    (void)snprintf(v->version, sizeof v->version, "%s", np_policyset_version(current));
    if (np_policyset_read(k->engine->options.policies, &set, &v->problems))
        reject(k, "unread", &v->problems);
    else
        result = take(k, set, current, v);
    np_policyset_drop(set);
    np_policyset_drop(current);
    return result;
}

static enum np_reload_result roll_back(struct np_keeper *k, struct np_reload_verdict *v)
{
    pthread_mutex_lock(&k->lock);
    struct np_policyset *before =
        k->n_kept > 1 ? np_policyset_hold(k->kept[k->n_kept - 2].set) : NULL;
    struct np_policyset *bad = np_policyset_hold(k->kept[k->n_kept - 1].set);
    pthread_mutex_unlock(&k->lock);
    enum np_reload_result result = NP_RELOAD_REJECTED;
    if (!before) {
        np_problems_add(&v->problems, "", 0, 0, "N152", false,
                        "there is no earlier generation to go back to");
    } else if (swap_all(k, before)) {
        pthread_mutex_lock(&k->lock);
        np_policyset_drop(k->kept[--k->n_kept].set);
        pthread_mutex_unlock(&k->lock);
        (void)snprintf(k->barred, sizeof k->barred, "%s", np_policyset_version(bad));
        np_log(NP_LOG_WARN, "policies rolled back", NP_KVS("from", k->barred),
               NP_KVS("to", np_policyset_version(before)));
        result = NP_RELOAD_ROLLED_BACK;
    }
    (void)snprintf(v->version, sizeof v->version, "%s",
                   np_policyset_version(result == NP_RELOAD_ROLLED_BACK ? before : bad));
    np_policyset_drop(before);
    np_policyset_drop(bad);
    return result;
}

void np_keeper_run_job(struct np_keeper *k, const struct np_reload_job *job)
{
    static const char *const names[] = {"ok", "unchanged", "rejected", "rolled_back"};
    struct np_reload_verdict v = {.version = ""};
    np_problems_init(&v.problems);
    enum np_reload_result result = NP_RELOAD_REJECTED;
    if (k->closing)
        np_problems_add(&v.problems, "", 0, 0, "N154", false, "this instance is shutting down");
    else
        result = job->kind == NP_RELOAD_ROLLBACK ? roll_back(k, &v) : read_anew(k, &v);
    v.result = names[result];
    pthread_mutex_lock(&k->lock);
    k->counts[result]++;
    pthread_mutex_unlock(&k->lock);
    if (job->done)
        job->done(job->ctx, &v);
    np_problems_free(&v.problems);
}
