/* What operators see of the monitor: alerts, days, neap_alert_firing. From the admin thread. */
#include "engine/monitor_impl.h"

#include "engine/report.h"

#include <stdio.h>
#include <stdlib.h>

#define DAYS_SHOWN 8

/* A copy for the caller to free; NULL without memory. */
static struct np_alerts *copy_shown(struct np_monitor *m)
{
    struct np_alerts *t = malloc(sizeof *t);
    if (!t)
        return NULL;
    pthread_mutex_lock(&m->lock);
    *t = m->shown;
    pthread_mutex_unlock(&m->lock);
    return t;
}

static void time_field(struct np_json_w *w, const char *key, int64_t at_ms)
{
    char text[32];
    np_clock_format_utc(at_ms, text, sizeof text);
    np_json_w_cstr(w, key, text);
}

static void list_json(struct np_json_w *w, const struct np_alerts *t, const char *key, bool firing)
{
    np_json_w_begin_key(w, key, '[');
    for (size_t i = 0; i < t->n; i++) {
        const struct np_alert *a = &t->list[i];
        if ((a->resolved_wall_ms == 0) != firing)
            continue;
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "alert", a->fact.alert);
        np_json_w_cstr(w, "subject", a->fact.subject);
        np_json_w_cstr(w, "severity", a->fact.severity);
        np_json_w_cstr(w, "text", a->fact.text);
        np_json_w_f64(w, "value", a->fact.value);
        np_json_w_f64(w, "threshold", a->fact.threshold);
        time_field(w, "since", a->since_wall_ms);
        if (!firing)
            time_field(w, "resolvedAt", a->resolved_wall_ms);
        np_json_w_begin_key(w, "sentTo", '[');
        np_json_w_cstr(w, NULL, "log");
        for (const char *p = a->sent_to, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1)
            np_json_w_str(w, NULL, np_span_make(p, (size_t)(nl - p)));
        np_json_w_end(w, ']');
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

void np_monitor_json(struct np_monitor *m, struct np_buf *out)
{
    struct np_alerts *t = copy_shown(m);
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    if (t) {
        list_json(&w, t, "alerts", true);
        list_json(&w, t, "resolved", false);
        np_json_w_i64(&w, "lost", (int64_t)t->lost);
    }
    np_json_w_end(&w, '}');
    (void)np_buf_char(out, '\n');
    free(t);
}

static bool same_series(const struct np_alert *a, const struct np_alert *b)
{
    return b->resolved_wall_ms == 0 && strcmp(a->fact.alert, b->fact.alert) == 0 &&
           strcmp(a->fact.severity, b->fact.severity) == 0;
}

/* A series for each name and severity that fires: how many of them. */
void np_monitor_metrics(struct np_monitor *m, struct np_buf *out)
{
    struct np_alerts *t = copy_shown(m);
    struct np_buf labels;
    np_buf_init(&labels, 1024);
    np_prom_head(out, "neap_alert_firing", "gauge", "Alerts that fire, by name and severity");
    for (size_t i = 0; t && i < t->n; i++) {
        const struct np_alert *a = &t->list[i];
        int64_t n = 0;
        bool seen = a->resolved_wall_ms != 0;
        for (size_t k = 0; k < i && !seen; k++)
            seen = same_series(a, &t->list[k]);
        for (size_t k = i; k < t->n && !seen; k++)
            n += same_series(a, &t->list[k]);
        if (seen)
            continue;
        np_buf_reset(&labels);
        np_prom_label(&labels, "alert", a->fact.alert);
        np_prom_label(&labels, "severity", a->fact.severity);
        (void)np_buf_char(&labels, '\0');
        np_prom_i64(out, "neap_alert_firing", labels.p, n);
    }
    np_buf_free(&labels);
    free(t);
}

/* --- days --------------------------------------------------------------------------------------------- */

/* Today so far, and the days before it of which something is known. */
void np_monitor_days(struct np_monitor *m, struct np_buf *out)
{
    struct np_json_w w;
    int64_t today = np_day_of(np_clock_wall_ms(&np_clock_live));
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "days", '[');
    pthread_mutex_lock(&m->lock);
    for (int64_t back = 0; back < DAYS_SHOWN; back++) {
        if (back == 0 || np_daybook_total(m->days, today - back).n > 0)
            np_report_json(m->days, today - back, &w);
    }
    pthread_mutex_unlock(&m->lock);
    np_json_w_end(&w, ']');
    np_json_w_end(&w, '}');
    (void)np_buf_char(out, '\n');
}

int64_t np_monitor_spent_today(struct np_monitor *m, const struct np_model *of)
{
    char name[256];
    int64_t today = np_day_of(np_clock_wall_ms(&np_clock_live));
    (void)snprintf(name, sizeof name, "%s/%s", of->provider->name, of->name);
    pthread_mutex_lock(&m->lock);
    int64_t nusd = np_daybook_sum(m->days, today, NP_DAY_MODEL, name).cost_nusd;
    pthread_mutex_unlock(&m->lock);
    return nusd;
}
