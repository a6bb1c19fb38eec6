/* The monitor: a thread that looks every ten seconds whether something is worth telling, tells it, and
 * keeps the burn rates' minutes on disk. It alone writes the table; others see a copy. */
#include "engine/monitor.h"

#include "base/log.h"
#include "engine/alert_hook.h"
#include "engine/sinks.h"
#include "engine/slokeep.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (10 * NP_NS_PER_S)
#define SAVE_NS (60 * NP_NS_PER_S)

struct np_monitor {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    struct np_loop *loop;
    struct np_timer look, save;
    char path[4096]; /* of the minutes' file; "": they are not kept */
    /* Of this thread. */
    struct np_alert_memory memory;
    struct np_alert_facts facts;
    struct np_alerts table;
    struct np_alert_hook hook;
    struct np_sinks *sinks;
    const struct np_alert_rules *rules; /* of the look that is under way */
    struct np_account_view accounts[NP_ALERT_ACCOUNTS];
    /* What others see. */
    pthread_mutex_t lock;
    struct np_alerts shown;
};

/* --- the minutes' file -------------------------------------------------------------------------------- */

/* Beside the ledger's file: in the state folder, else in that of the store, else here. A ledger that
 * lives in memory leaves nothing behind, nor does what goes with it. */
static void find_path(const struct neap_engine *e, char *out, size_t size)
{
    struct np_ledger_totals totals;
    np_ledger_totals(e->ledger, &totals);
    struct np_span store = np_span_of(totals.store);
    const char *slash = strrchr(totals.store, '/');
    out[0] = '\0';
    if (np_span_starts(store, "memory:"))
        return;
    int n;
    if (e->options.state)
        n = snprintf(out, size, "%s/neap.slo", e->options.state);
    else if (np_span_starts(store, "sqlite:") && slash)
        n = snprintf(out, size, "%.*s/neap.slo", (int)(slash - totals.store) - 7, totals.store + 7);
    else
        n = snprintf(out, size, "neap.slo");
    if (n < 0 || (size_t)n >= size)
        out[0] = '\0';
}

static void save_minutes(struct np_monitor *m)
{
    struct np_policyset *set = np_keeper_current(m->engine->keeper);
    if (m->path[0] && np_slokeep_save(m->path, m->engine->guard, np_policyset_catalog(set),
                                      np_clock_mono_ns(&np_clock_live),
                                      np_clock_wall_ms(&np_clock_live)) != NP_OK)
        np_log(NP_LOG_DEBUG, "burn rates are kept in memory until the file can be written",
               NP_KVS("file", m->path));
    np_policyset_drop(set);
}

static void on_save(void *ctx, uint64_t now_ns)
{
    struct np_monitor *m = ctx;
    save_minutes(m);
    np_timer_set(np_loop_timers(m->loop), &m->save, now_ns + SAVE_NS);
}

/* --- telling ------------------------------------------------------------------------------------------ */

static void tell(void *ctx, const struct np_alert *a)
{
    struct np_monitor *m = ctx;
    np_sinks_send(m->sinks, m->rules, a);
    bool over = a->resolved_wall_ms != 0;
    bool page = strcmp(a->fact.severity, "page") == 0, info = strcmp(a->fact.severity, "info") == 0;
    np_log(over || info ? NP_LOG_INFO
           : page       ? NP_LOG_ERROR
                        : NP_LOG_WARN,
           over ? "alert resolved" : "alert", NP_KVS("alert", a->fact.alert),
           NP_KVS("severity", a->fact.severity), NP_KVS("subject", a->fact.subject),
           NP_KVS("text", a->fact.text));
}

static void on_sent(void *ctx, const struct np_alert *a, const char *label)
{
    struct np_monitor *m = ctx;
    np_alerts_sent(&m->table, a, label);
    pthread_mutex_lock(&m->lock);
    np_alerts_sent(&m->shown, a, label);
    pthread_mutex_unlock(&m->lock);
}

/* Why the last reload was refused, and why one was taken back; "" where it was not. */
static void read_reloads(struct neap_engine *e, char rejected[512], char rolled_back[512])
{
    struct np_generation_view views[NP_GENERATION_VIEWS];
    size_t n = np_keeper_generations(e->keeper, views, NP_GENERATION_VIEWS);
    rejected[0] = rolled_back[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (strcmp(views[i].state, "rejected") == 0)
            (void)snprintf(rejected, 512, "%s", views[i].error);
        if (strcmp(views[i].state, "rolled_back") == 0)
            (void)snprintf(rolled_back, 512, "%s", views[i].error);
    }
}

static void look(struct np_monitor *m, struct np_policyset *set)
{
    const struct np_catalog *c = np_policyset_catalog(set);
    struct neap_engine *e = m->engine;
    struct np_ledger_totals totals;
    char rejected[512], rolled_back[512];
    np_ledger_totals(e->ledger, &totals);
    read_reloads(e, rejected, rolled_back);
    struct np_alert_scene scene = {.catalog = c,
                                   .guard = e->guard,
                                   .now_ns = np_clock_mono_ns(&np_clock_live),
                                   .wall_ms = np_clock_wall_ms(&np_clock_live),
                                   .accounts = m->accounts,
                                   .totals = &totals,
                                   .rejected = rejected[0] ? rejected : NULL,
                                   .rolled_back = rolled_back[0] ? rolled_back : NULL};
    scene.n_accounts = np_ledger_list(e->ledger, c, scene.wall_ms, m->accounts, NP_ALERT_ACCOUNTS);
    m->facts.n = m->facts.lost = 0;
    np_alert_rules_run(&scene, &m->memory, &m->facts);
    m->rules = &c->alerts;
    np_alert_hook_run(&m->hook, e, set, &m->facts);
    np_alerts_update(&m->table, &m->facts, scene.now_ns, scene.wall_ms, tell, m);
    pthread_mutex_lock(&m->lock);
    m->shown = m->table;
    pthread_mutex_unlock(&m->lock);
}

static void on_look(void *ctx, uint64_t now_ns)
{
    struct np_monitor *m = ctx;
    struct np_policyset *set = np_keeper_current(m->engine->keeper);
    look(m, set);
    np_policyset_drop(set);
    np_timer_set(np_loop_timers(m->loop), &m->look, now_ns + LOOK_NS);
}

/* --- showing ------------------------------------------------------------------------------------------ */

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

/* --- life --------------------------------------------------------------------------------------------- */

struct np_monitor *np_monitor_new(struct neap_engine *e, const struct np_catalog *c)
{
    struct np_monitor *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->engine = e;
    np_require(pthread_mutex_init(&m->lock, NULL) == 0);
    m->loop = np_loop_new(&np_clock_live);
    m->sinks = m->loop ? np_sinks_new(m->loop, e->options.ca_file,
                                      &(struct np_sinks_ops){.sent = on_sent, .ctx = m})
                       : NULL;
    if (!m->sinks) {
        np_monitor_free(m);
        return NULL;
    }
    np_timer_init(&m->look, on_look, m);
    np_timer_init(&m->save, on_save, m);
    find_path(e, m->path, sizeof m->path);
    if (m->path[0])
        np_slokeep_load(m->path, e->guard, c, np_clock_mono_ns(&np_clock_live),
                        np_clock_wall_ms(&np_clock_live));
    return m;
}

static void *thread_main(void *arg)
{
    struct np_monitor *m = arg;
    uint64_t now_ns = np_loop_refresh_ns(m->loop);
    np_timer_set(np_loop_timers(m->loop), &m->look, now_ns);
    np_timer_set(np_loop_timers(m->loop), &m->save, now_ns + SAVE_NS);
    np_loop_run(m->loop);
    return NULL;
}

enum np_err np_monitor_start(struct np_monitor *m)
{
    m->running = pthread_create(&m->thread, NULL, thread_main, m) == 0;
    return m->running ? NP_OK : NP_E_NOMEM;
}

void np_monitor_join(struct np_monitor *m)
{
    if (!m || !m->running)
        return;
    np_loop_stop(m->loop);
    (void)pthread_join(m->thread, NULL);
    m->running = false;
}

void np_monitor_save(struct np_monitor *m)
{
    if (m)
        save_minutes(m);
}

void np_monitor_free(struct np_monitor *m)
{
    if (!m)
        return;
    np_alert_hook_close(&m->hook);
    np_sinks_free(m->sinks);
    if (m->loop)
        np_loop_free(m->loop);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
