/* The keeper: reads policy folders, judges them, hands new generations to the workers, and takes back
 * those whose hooks err. Nothing of this ever runs on a worker but the swap of a pointer. */
#include "engine/keeper_impl.h"

#include "base/log.h"
#include "engine/gate.h"

#include <stdio.h>
#include <stdlib.h>

#define TRIAL_NS (600 * NP_NS_PER_S)
#define TRIAL_LOOK_NS NP_NS_PER_S

/* --- words ------------------------------------------------------------------------------------------ */

/* The first error of the list, or its first warning: "file:line: text". */
static void first_of(const struct np_problems *problems, bool warning, char *out, size_t size)
{
    const struct np_problem *p = NULL;
    for (size_t i = 0; i < problems->n && !p; i++)
        p = problems->list[i].warning == warning ? &problems->list[i] : NULL;
    if (!p)
        (void)snprintf(out, size, "no memory");
    else if (!p->file[0])
        (void)snprintf(out, size, "%s", p->text);
    else
        (void)snprintf(out, size, "%s:%u: %s", p->file, p->line, p->text);
}

static enum np_reload_result reject(struct np_keeper *k, const char *version,
                                    enum np_trigger trigger, const struct np_problems *problems)
{
    char why[512];
    first_of(problems, false, why, sizeof why);
    np_history_reject(k, version, trigger, why);
    np_log(NP_LOG_ERROR, "policies rejected, the old ones go on", NP_KVS("version", version),
           NP_KVS("problem", why), NP_KVI("problems", problems->errors));
    return NP_RELOAD_REJECTED;
}

static void tell_warnings(const struct np_problems *problems)
{
    char first[512];
    if (problems->n == problems->errors)
        return;
    first_of(problems, true, first, sizeof first);
    np_log(NP_LOG_WARN, "policies have warnings", NP_KVI("count", problems->n - problems->errors),
           NP_KVS("first", first));
}

/* --- versions that were rolled back ----------------------------------------------------------------- */

static void bar(struct np_keeper *k, const char *version)
{
    char *slot = k->barred[k->n_barred++ % NP_KEPT_GENERATIONS];
    (void)snprintf(slot, sizeof k->barred[0], "%s", version);
}

static bool is_barred(const struct np_keeper *k, const char *version)
{
    for (size_t i = 0; i < NP_KEPT_GENERATIONS; i++) {
        if (strcmp(k->barred[i], version) == 0)
            return true;
    }
    return false;
}

/* --- one reload --------------------------------------------------------------------------------- */

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

static bool passes_check(struct np_keeper *k, struct np_policyset *set,
                         struct np_problems *problems)
{
    const struct neap_options *o = &k->engine->options;
    struct np_load_options options = {
        .slots = &k->engine->slots, .simulated = o->simulate, .trust_folder = o->trust_folder};
    return problems->errors == 0 && np_gate_check(set, &options, problems) == NP_OK &&
           np_gate_may_listen(set, o->listen, problems);
}

/* From now on the generation's hooks are held against those of the one before it. */
static void begin_trial(struct np_keeper *k, struct np_generation *before)
{
    uint64_t now_ns = np_loop_refresh_ns(k->loop);
    np_generation_drop(k->trial_before);
    k->trial_before = np_generation_hold(before);
    k->trial_until_ns = now_ns + TRIAL_NS;
    np_timer_set(np_loop_timers(k->loop), &k->trial, now_ns + TRIAL_LOOK_NS);
}

static void end_trial(struct np_keeper *k)
{
    np_timer_stop(np_loop_timers(k->loop), &k->trial);
    np_generation_drop(k->trial_before);
    k->trial_before = NULL;
}

/* The same version with other keys takes the place of the running generation; another follows it. */
static bool put_in_force(struct np_keeper *k, struct np_policyset *set,
                         struct np_generation *current, bool known, enum np_trigger trigger)
{
    struct np_generation *gen =
        known ? np_generation_renew(current, set, trigger)
              : np_generation_new(set, k->numbers + 1, trigger, k->engine->n_workers);
    if (!gen || !np_keeper_swap(k, gen)) {
        np_generation_drop(gen);
        return false;
    }
    if (known) {
        np_history_renew(k, gen);
    } else {
        k->numbers++;
        np_history_add(k, gen);
        begin_trial(k, current);
        memset(k->barred, 0, sizeof k->barred);
    }
    np_log(NP_LOG_INFO, known ? "keys read again" : "policies in force",
           NP_KVS("version", np_policyset_version(set)),
           NP_KVS("trigger", np_trigger_name(trigger)));
    return true;
}

/* Judges a set that was read, and puts it in force where it is new and good. */
static enum np_reload_result take(struct np_keeper *k, struct np_policyset *set,
                                  struct np_generation *current, enum np_trigger trigger,
                                  struct np_reload_verdict *v)
{
    const char *version = np_policyset_version(set);
    bool known = strcmp(version, np_policyset_version(current->set)) == 0;
    if (!known && is_barred(k, version)) {
        np_problems_add(&v->problems, "", 0, 0, "N151", false,
                        "this version was rolled back; it is not tried again until it changes");
        return NP_RELOAD_REJECTED;
    }
    /* Known ones too: a file that belongs to no set takes no part in the version, nor do keys. */
    if (!passes_check(k, set, &v->problems) ||
        (!known && np_gate_test(set, &k->closing, &v->problems)))
        return reject(k, version, trigger, &v->problems);
    if (known && same_keys(np_policyset_catalog(set), np_policyset_catalog(current->set))) {
        np_history_reject(k, NULL, trigger, NULL); /* the folder was put right again */
        return NP_RELOAD_UNCHANGED;
    }
    if (!put_in_force(k, set, current, known, trigger))
        return reject(k, version, trigger, &v->problems);
    np_ledger_warm(k->engine->ledger, np_policyset_catalog(set), np_clock_wall_ms(&np_clock_live));
    tell_warnings(&v->problems);
    (void)snprintf(v->version, sizeof v->version, "%s", version);
    return NP_RELOAD_OK;
}

static enum np_reload_result read_anew(struct np_keeper *k, enum np_trigger trigger,
                                       struct np_reload_verdict *v)
{
    struct np_policyset *set = NULL;
    struct np_generation *current = np_history_current(k);
    enum np_reload_result result;
    (void)snprintf(v->version, sizeof v->version, "%s", np_policyset_version(current->set));
    k->print = np_folder_print(k->folder);
    if (np_policyset_read(k->engine->options.policies, &set, &v->problems))
        result = reject(k, "unread", trigger, &v->problems);
    else
        result = take(k, set, current, trigger, v);
    (void)snprintf(k->judged, sizeof k->judged, "%s", set ? np_policyset_version(set) : "");
    np_policyset_drop(set);
    np_generation_drop(current);
    return result;
}

/* --- back --------------------------------------------------------------------------------------- */

/* The generation again, with the keys of now; where they are gone, with those that it had. */
static struct np_generation *with_keys_of_now(struct np_keeper *k, struct np_generation *before,
                                              enum np_trigger trigger)
{
    struct np_generation *gen = NULL;
    struct np_problems problems;
    struct np_policyset *set = np_policyset_again(before->set);
    np_problems_init(&problems);
    if (set && passes_check(k, set, &problems))
        gen = np_generation_renew(before, set, trigger);
    np_problems_free(&problems);
    np_policyset_drop(set);
    return gen ? gen : np_generation_hold(before);
}

static enum np_reload_result roll_back(struct np_keeper *k, enum np_trigger trigger,
                                       const char *why, struct np_reload_verdict *v)
{
    struct np_generation *bad = np_history_current(k), *before = np_history_before(k);
    struct np_generation *gen = before ? with_keys_of_now(k, before, trigger) : NULL;
    enum np_reload_result result = NP_RELOAD_REJECTED;
    if (!before) {
        np_problems_add(&v->problems, "", 0, 0, "N152", false,
                        "there is no earlier generation to go back to");
    } else if (!np_keeper_swap(k, gen)) {
        np_problems_add(&v->problems, "", 0, 0, "N199", false, "%s", np_err_text(NP_E_NOMEM));
        np_generation_drop(gen);
    } else {
        bar(k, np_policyset_version(bad->set));
        end_trial(k);
        np_history_back(k, gen, trigger, why);
        np_log(NP_LOG_ERROR, "policies rolled back", NP_KVS("from", np_policyset_version(bad->set)),
               NP_KVS("to", np_policyset_version(before->set)), NP_KVS("why", why));
        np_ledger_warm(k->engine->ledger, np_policyset_catalog(gen->set),
                       np_clock_wall_ms(&np_clock_live));
        result = NP_RELOAD_ROLLED_BACK;
    }
    (void)snprintf(v->version, sizeof v->version, "%s",
                   np_policyset_version(result == NP_RELOAD_ROLLED_BACK ? before->set : bad->set));
    np_generation_drop(before);
    np_generation_drop(bad);
    return result;
}

static void describe_errors(const struct np_tally_sum *s, char *out, size_t size)
{
    uint64_t calls = 0, errors = 0;
    int worst = 0;
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        calls += s->calls[h];
        errors += s->errors[h];
        worst = s->errors[h] > s->errors[worst] ? h : worst;
    }
    (void)snprintf(out, size, "hooks failed in %llu of %llu calls, %llu of them %s",
                   (unsigned long long)errors, (unsigned long long)calls,
                   (unsigned long long)s->errors[worst], np_hook_name((enum np_hook)worst));
}

static void run(struct np_keeper *k, const struct np_reload_job *job, const char *why)
{
    static const char *const names[] = {"ok", "unchanged", "rejected", "rolled_back"};
    struct np_reload_verdict v = {.version = ""};
    np_problems_init(&v.problems);
    enum np_reload_result result = NP_RELOAD_REJECTED;
    if (atomic_load(&k->closing))
        np_problems_add(&v.problems, "", 0, 0, "N154", false, "this instance is shutting down");
    else if (job->kind == NP_RELOAD_ROLLBACK)
        result = roll_back(k, job->trigger, why, &v);
    else
        result = read_anew(k, job->trigger, &v);
    v.result = names[result];
    /* That there is nothing to go back to is no set that failed. */
    if (job->kind != NP_RELOAD_ROLLBACK || result == NP_RELOAD_ROLLED_BACK)
        np_history_count(k, result);
    if (job->done)
        job->done(job->ctx, &v);
    np_problems_free(&v.problems);
}

void np_keeper_run_job(struct np_keeper *k, const struct np_reload_job *job)
{
    run(k, job, "an operator asked for it");
}

void np_keeper_on_trial(void *ctx, uint64_t now_ns)
{
    struct np_keeper *k = ctx;
    struct np_tally_sum now, before;
    struct np_generation *current = np_history_current(k);
    np_generation_sum(current, &now);
    np_generation_sum(k->trial_before, &before);
    np_generation_drop(current);
    if (np_tally_errs(&now, &before)) {
        char why[256];
        describe_errors(&now, why, sizeof why);
        run(k, &(struct np_reload_job){k, NP_RELOAD_ROLLBACK, NP_TRIGGER_ERRORS, NULL, NULL}, why);
    } else if (now_ns >= k->trial_until_ns) {
        end_trial(k);
    }
    if (k->trial_before)
        np_timer_set(np_loop_timers(k->loop), &k->trial, now_ns + TRIAL_LOOK_NS);
}

void np_keeper_test_first(struct np_keeper *k)
{
    struct np_generation *first = np_history_current(k);
    struct np_problems problems;
    np_problems_init(&problems);
    if (np_gate_test(first->set, &k->closing, &problems) && !atomic_load(&k->closing)) {
        char why[sizeof first->fault];
        first_of(&problems, false, why, sizeof why);
        pthread_mutex_lock(&k->lock);
        (void)snprintf(first->fault, sizeof first->fault, "%s", why);
        pthread_mutex_unlock(&k->lock);
        np_log(NP_LOG_ERROR, "tests of the running policies fail", NP_KVS("problem", why),
               NP_KVI("problems", problems.errors));
    }
    np_problems_free(&problems);
    np_generation_drop(first);
}
