/* The table of alerts: which fire, since when, and who hears of it. */
#include "engine/alerts.h"

#include <string.h>

void np_alert_say(struct np_alert_facts *f, const struct np_alert_fact *fact)
{
    if (f->n == NP_ALERT_FACTS)
        f->lost++;
    else
        f->list[f->n++] = *fact;
}

void np_alert_silence(struct np_alert_facts *f, const char *alert, const char *subject)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct np_alert_fact *fact = &f->list[i];
        bool hit =
            strcmp(fact->alert, alert) == 0 && (!subject[0] || strcmp(fact->subject, subject) == 0);
        if (!hit)
            f->list[kept++] = *fact;
    }
    f->n = kept;
}

/* Thresholds are copied, never reckoned: equal ones have equal bytes. */
static bool same(const struct np_alert_fact *a, const struct np_alert_fact *b)
{
    return memcmp(&a->threshold, &b->threshold, sizeof a->threshold) == 0 &&
           a->window_ms == b->window_ms && strcmp(a->alert, b->alert) == 0 &&
           strcmp(a->subject, b->subject) == 0;
}

static struct np_alert *find(struct np_alerts *t, const struct np_alert_fact *f)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->list[i].resolved_wall_ms == 0 && same(&t->list[i].fact, f))
            return &t->list[i];
    }
    return NULL;
}

/* A free place, or that of what resolved longest ago; NULL: all fire. */
static struct np_alert *place(struct np_alerts *t)
{
    struct np_alert *oldest = NULL;
    if (t->n < NP_ALERTS)
        return &t->list[t->n++];
    for (size_t i = 0; i < t->n; i++) {
        struct np_alert *a = &t->list[i];
        if (a->resolved_wall_ms != 0 && (!oldest || a->resolved_wall_ms < oldest->resolved_wall_ms))
            oldest = a;
    }
    return oldest;
}

static void forget_old(struct np_alerts *t, int64_t wall_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct np_alert *a = &t->list[i];
        if (a->resolved_wall_ms == 0 || wall_ms - a->resolved_wall_ms < NP_ALERT_SHOWN_MS)
            t->list[kept++] = *a;
    }
    t->n = kept;
}

void np_alerts_update(struct np_alerts *t, const struct np_alert_facts *facts, uint64_t now_ns,
                      int64_t wall_ms, void (*tell)(void *ctx, const struct np_alert *a), void *ctx)
{
    t->lost += facts->lost;
    forget_old(t, wall_ms);
    for (size_t i = 0; i < facts->n; i++) {
        const struct np_alert_fact *f = &facts->list[i];
        struct np_alert *a = find(t, f);
        bool fires = a != NULL;
        if (!a && !(a = place(t))) {
            t->lost++;
            continue;
        }
        if (!fires)
            *a = (struct np_alert){.since_wall_ms = wall_ms};
        a->fact = *f;
        a->seen_ns = now_ns;
        if (!fires)
            tell(ctx, a);
    }
    for (size_t i = 0; i < t->n; i++) {
        struct np_alert *a = &t->list[i];
        if (a->resolved_wall_ms == 0 && now_ns - a->seen_ns >= NP_ALERT_QUIET_NS) {
            a->resolved_wall_ms = wall_ms;
            tell(ctx, a);
        }
    }
}

void np_alerts_sent(struct np_alerts *t, const struct np_alert *a, const char *label)
{
    for (size_t i = 0; i < t->n; i++) {
        struct np_alert *at = &t->list[i];
        if (at->since_wall_ms != a->since_wall_ms || !same(&at->fact, &a->fact))
            continue;
        if (a->resolved_wall_ms)
            (void)np_label_add(at->over_to, sizeof at->over_to, label);
        else
            (void)np_label_add(at->sent_to, sizeof at->sent_to, label);
    }
}
