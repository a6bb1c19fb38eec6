/* What went live, what was rejected, what was taken back: the keeper writes it, operators read it. */
#include "engine/keeper_impl.h"

#include <stdio.h>

static struct np_generation *last(struct np_keeper *k)
{
    return k->kept[k->n_kept - 1];
}

struct np_generation *np_history_current(struct np_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    struct np_generation *gen = np_generation_hold(last(k));
    pthread_mutex_unlock(&k->lock);
    return gen;
}

struct np_generation *np_history_before(struct np_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    struct np_generation *gen = k->n_kept > 1 ? np_generation_hold(k->kept[k->n_kept - 2]) : NULL;
    pthread_mutex_unlock(&k->lock);
    return gen;
}

struct np_policyset *np_keeper_current(struct np_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    struct np_policyset *set = np_policyset_hold(last(k)->set);
    pthread_mutex_unlock(&k->lock);
    return set;
}

void np_history_add(struct np_keeper *k, struct np_generation *gen)
{
    struct np_generation *old = NULL;
    pthread_mutex_lock(&k->lock);
    if (k->n_kept == NP_KEPT_GENERATIONS) {
        old = k->kept[0];
        memmove(k->kept, k->kept + 1, sizeof *k->kept * (NP_KEPT_GENERATIONS - 1));
        k->n_kept--;
    }
    k->kept[k->n_kept++] = gen;
    k->rejected.version[0] = '\0';
    pthread_mutex_unlock(&k->lock);
    np_generation_drop(old);
}

void np_history_renew(struct np_keeper *k, struct np_generation *gen)
{
    pthread_mutex_lock(&k->lock);
    struct np_generation *old = last(k);
    k->kept[k->n_kept - 1] = gen;
    k->rejected.version[0] = '\0';
    pthread_mutex_unlock(&k->lock);
    np_generation_drop(old);
}

static void refuse(struct np_refused *r, const char *version, enum np_trigger trigger,
                   const char *why)
{
    *r = (struct np_refused){.trigger = trigger, .wall_ms = np_clock_wall_ms(&np_clock_live)};
    (void)snprintf(r->version, sizeof r->version, "%s", version);
    (void)snprintf(r->why, sizeof r->why, "%s", why);
}

void np_history_back(struct np_keeper *k, struct np_generation *gen, enum np_trigger trigger,
                     const char *why)
{
    pthread_mutex_lock(&k->lock);
    np_require(k->n_kept > 1);
    struct np_generation *bad = last(k), *before = k->kept[k->n_kept - 2];
    refuse(&k->rolled_back, np_policyset_version(bad->set), trigger, why);
    k->rolled_back.number = bad->number;
    np_generation_sum(bad, &k->rolled_back.sum);
    k->kept[--k->n_kept - 1] = gen;
    pthread_mutex_unlock(&k->lock);
    np_generation_drop(bad);
    np_generation_drop(before);
}

void np_history_reject(struct np_keeper *k, const char *version, enum np_trigger trigger,
                       const char *why)
{
    pthread_mutex_lock(&k->lock);
    if (version)
        refuse(&k->rejected, version, trigger, why);
    else
        k->rejected.version[0] = '\0';
    pthread_mutex_unlock(&k->lock);
}

void np_history_count(struct np_keeper *k, enum np_reload_result result)
{
    pthread_mutex_lock(&k->lock);
    k->counts[result]++;
    pthread_mutex_unlock(&k->lock);
}

void np_keeper_counts(struct np_keeper *k, uint64_t out[4])
{
    pthread_mutex_lock(&k->lock);
    memcpy(out, k->counts, sizeof k->counts);
    pthread_mutex_unlock(&k->lock);
}

/* --- as operators see it ---------------------------------------------------------------------------- */

static void view_refused(const struct np_refused *r, const char *state,
                         struct np_generation_view *out)
{
    *out = (struct np_generation_view){.number = r->number,
                                       .loaded_wall_ms = r->wall_ms,
                                       .state = state,
                                       .trigger = r->trigger,
                                       .sum = r->sum};
    (void)snprintf(out->version, sizeof out->version, "%s", r->version);
    (void)snprintf(out->error, sizeof out->error, "%s", r->why);
}

static void view_generation(const struct np_generation *g, const char *state,
                            struct np_generation_view *out)
{
    *out = (struct np_generation_view){.number = g->number,
                                       .loaded_wall_ms = g->loaded_wall_ms,
                                       .state = state,
                                       .trigger = g->trigger};
    np_generation_sum(g, &out->sum);
    (void)snprintf(out->version, sizeof out->version, "%s", np_policyset_version(g->set));
    (void)snprintf(out->error, sizeof out->error, "%s", g->fault);
}

size_t np_keeper_generations(struct np_keeper *k, struct np_generation_view *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&k->lock);
    if (k->rejected.version[0] && n < max)
        view_refused(&k->rejected, "rejected", &out[n++]);
    if (k->rolled_back.version[0] && n < max)
        view_refused(&k->rolled_back, "rolled_back", &out[n++]);
    for (size_t i = k->n_kept; i-- > 0 && n < max; n++)
        view_generation(k->kept[i], i + 1 == k->n_kept ? "running" : "kept", &out[n]);
    pthread_mutex_unlock(&k->lock);
    return n;
}
