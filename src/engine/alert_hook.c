/* Running the alert hook between two looks of the monitor. */
#include "engine/alert_hook.h"

#include "base/log.h"

#include <stdio.h>

#define ARENA_BYTES ((size_t)256 << 10)

void np_alert_hook_close(struct np_alert_hook *h)
{
    np_script_free(h->script);
    np_policyset_drop(h->set);
    h->script = NULL;
    h->set = NULL;
}

/* A state of another set, or a new one where the memory of the old one failed. */
static void turn_to(struct np_alert_hook *h, struct neap_engine *e, struct np_policyset *set)
{
    if (h->set == set && !(h->script && np_script_spoiled(h->script)))
        return;
    np_alert_hook_close(h);
    h->set = np_policyset_hold(set);
    h->failed[0] = '\0';
    if (!np_policyset_has_hook(set, NP_HOOK_alert))
        return;
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&h->rng, seed);
    h->lender = (struct np_lender){.guard = e->guard,
                                   .ledger = e->ledger,
                                   .catalog = np_policyset_catalog(set),
                                   .clock = &np_clock_live};
    h->powers = np_lend(&h->lender, &h->rng, e->shared);
    h->script = np_script_new(set, &h->powers, true);
}

static void add(struct np_alert_facts *facts, const struct np_alarm *a)
{
    struct np_alert_fact f = {.value = 1, .threshold = 1};
    (void)snprintf(f.alert, sizeof f.alert, "%s", a->alert);
    (void)snprintf(f.subject, sizeof f.subject, "%s", a->subject);
    (void)snprintf(f.severity, sizeof f.severity, "%s", a->severity);
    (void)snprintf(f.text, sizeof f.text, "%s", a->text);
    np_alert_say(facts, &f);
}

static void tell_failure(struct np_alert_hook *h, const char *error)
{
    if (strcmp(h->failed, error) == 0)
        return;
    (void)snprintf(h->failed, sizeof h->failed, "%s", error);
    np_log(NP_LOG_WARN, "hook failed", NP_KVS("hook", "alert"), NP_KVS("error", error));
}

/* As those of requests are counted; `m` is this thread's. */
static void count(struct np_meters *m, const struct np_hook_report *rep)
{
    if (rep->result == NP_HOOK_ABSENT)
        return;
    np_meter_observe(m, NP_FAMILY_hook_duration, NP_HOOK_alert, 0, (int64_t)rep->ns);
    if (rep->stalled)
        np_meter_add(m, NP_FAMILY_hook_stall, NP_HOOK_alert, 0, 0, 1);
    if (rep->result == NP_HOOK_FAILED)
        np_meter_add(m, NP_FAMILY_hook_errors, NP_HOOK_alert, (uint32_t)rep->failure, 0, 1);
}

struct np_exchange *np_alert_stand_in(const struct np_policyset *set)
{
    const struct np_catalog *c = np_policyset_catalog(set);
    struct np_exchange *x = c->n_endpoints > 0 ? np_exchange_new(ARENA_BYTES) : NULL;
    if (!x)
        return NULL;
    x->id = "alert";
    x->catalog = c;
    x->endpoint = &c->endpoints[0];
    x->tenant = c->n_tenants > 0 ? &c->tenants[0] : c->anonymous;
    x->policy = np_policyset_version(set);
    x->at_wall_ms = np_clock_wall_ms(&np_clock_live);
    x->accept_ns = x->deadline_ns = np_clock_mono_ns(&np_clock_live);
    return x;
}

void np_alert_hook_run(struct np_alert_hook *h, struct neap_engine *e, struct np_policyset *set,
                       struct np_alert_facts *facts)
{
    struct np_alarms alarms;
    struct np_hook_report report;
    turn_to(h, e, set);
    struct np_exchange *x = h->script ? np_alert_stand_in(set) : NULL;
    if (!x)
        return;
    np_hook_alert(h->script, x, &alarms, &report);
    np_exchange_free(x);
    np_script_idle(h->script);
    count(e->meters[e->n_workers + 1], &report);
    if (report.result == NP_HOOK_FAILED)
        tell_failure(h, report.error);
    for (size_t i = 0; i < alarms.n; i++) {
        if (alarms.list[i].silence)
            np_alert_silence(facts, alarms.list[i].alert, alarms.list[i].subject);
        else
            add(facts, &alarms.list[i]);
    }
}
