/* The monitor: a thread that looks every ten seconds whether something is worth telling, tells it, and
 * keeps on disk what is to outlive the process. It alone writes the table and the daybook; others see
 * them under a short lock. */
#include "engine/monitor_impl.h"

#include "base/log.h"
#include "engine/alertkeep.h"
#include "engine/keepfile.h"
#include "engine/report.h"
#include "engine/slokeep.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (10 * NP_NS_PER_S)
#define SAVE_NS (60 * NP_NS_PER_S)
#define DAYS_HEAD "neap-days 1"
#define DAYS_BYTES ((size_t)64 << 20)
/* A daybook above this is written every tenth time only. */
#define DAYS_LARGE_BYTES ((size_t)512 << 10)
/* The last look of a day comes so long before its end, so that accounts are seen as it leaves them. */
#define DAY_END_MS 300

/* --- what is kept ------------------------------------------------------------------------------------- */

/* Beside the ledger's file: in the state folder, else in that of the store, else here. A ledger that
 * lives in memory leaves nothing behind, nor does what goes with it. */
static void find_folder(struct np_monitor *m)
{
    const struct neap_engine *e = m->engine;
    struct np_ledger_totals totals;
    np_ledger_totals(e->ledger, &totals);
    struct np_span store = np_span_of(totals.store);
    const char *slash = strrchr(totals.store, '/');
    int n;
    m->kept = !np_span_starts(store, "memory:");
    if (e->options.state)
        n = snprintf(m->folder, sizeof m->folder, "%s/", e->options.state);
    else if (np_span_starts(store, "sqlite:") && slash)
        n = snprintf(m->folder, sizeof m->folder, "%.*s/", (int)(slash - totals.store) - 7,
                     totals.store + 7);
    else
        n = 0;
    m->kept = m->kept && n >= 0 && (size_t)n < sizeof m->folder;
}

static const char *path_of(const struct np_monitor *m, const char *name, char out[4200])
{
    (void)snprintf(out, 4200, "%s%s", m->folder, name);
    return out;
}

static int64_t wall_ms(void)
{
    return np_clock_wall_ms(&np_clock_live);
}

static void save_minutes(struct np_monitor *m)
{
    char path[4200];
    struct np_policyset *set = np_keeper_current(m->engine->keeper);
    (void)!np_slokeep_save(path_of(m, "neap.slo", path), m->engine->guard,
                           np_policyset_catalog(set), np_clock_mono_ns(&np_clock_live), wall_ms());
    np_policyset_drop(set);
}

static void save_days(struct np_monitor *m)
{
    char path[4200];
    struct np_buf text;
    if (!m->kept)
        return;
    np_buf_init(&text, DAYS_BYTES);
    np_daybook_write(m->days, &text); /* this thread alone writes the book */
    m->days_bytes = text.n;
    m->days_skipped = 0;
    (void)!np_keep_save(path_of(m, "neap.days", path), DAYS_HEAD, &text);
    np_buf_free(&text);
}

static void save_alerts(struct np_monitor *m)
{
    char path[4200];
    m->alerts_changed = false;
    if (m->kept)
        (void)!np_alertkeep_save(path_of(m, "neap.alerts", path), &m->table);
}

static bool load_day_line(void *ctx, char *line)
{
    struct np_monitor *m = ctx;
    return np_daybook_read(m->days, line, wall_ms());
}

static void load(struct np_monitor *m, const struct np_catalog *c)
{
    char path[4200];
    uint64_t now_ns = np_clock_mono_ns(&np_clock_live);
    np_slokeep_load(path_of(m, "neap.slo", path), m->engine->guard, c, now_ns, wall_ms());
    np_keep_load(path_of(m, "neap.days", path), DAYS_HEAD, load_day_line, m);
    np_alertkeep_load(path_of(m, "neap.alerts", path), &m->table, now_ns);
    m->shown = m->table;
}

/* What the workers' tills took in goes to the book. */
static void pour(struct np_monitor *m)
{
    struct neap_engine *e = m->engine;
    for (size_t i = 0; i < e->n_workers; i++) {
        struct np_till_rows rows;
        np_till_empty(e->tills[i], &rows);
        pthread_mutex_lock(&m->lock);
        np_daybook_pour(m->days, &rows, &e->slots, wall_ms());
        pthread_mutex_unlock(&m->lock);
        if (rows.lost > 0)
            np_log(NP_LOG_WARN, "no memory for what was served and spent",
                   NP_KVI("entries", rows.lost));
        np_till_rows_free(&rows);
    }
}

static void on_save(void *ctx, uint64_t now_ns)
{
    struct np_monitor *m = ctx;
    save_minutes(m);
    if (m->days_bytes < DAYS_LARGE_BYTES || ++m->days_skipped == 10)
        save_days(m);
    np_timer_set(np_loop_timers(m->loop), &m->save, now_ns + SAVE_NS);
}

/* --- the series of the dashboard ---------------------------------------------------------------------- */

static void on_sample(void *ctx, uint64_t now_ns)
{
    struct np_monitor *m = ctx;
    np_series_sample(m->engine->series, now_ns);
    np_timer_set(np_loop_timers(m->loop), &m->sample, np_series_next_ns(now_ns));
}

/* --- telling ------------------------------------------------------------------------------------------ */

/* To each sink that has not got it. What is over from an earlier life goes only to those who heard of it
 * then, not to a sink that is new. */
static void send_all(struct np_monitor *m, const struct np_alert *a, struct np_span json,
                     struct np_span slack)
{
    for (size_t i = 0; i < m->rules->n_sinks; i++) {
        const struct np_sink *sink = &m->rules->sinks[i];
        if (!m->begun && a->resolved_wall_ms && !np_label_in(a->sent_to, sink->label))
            continue;
        if (!np_label_in(a->resolved_wall_ms ? a->over_to : a->sent_to, sink->label))
            np_sinks_put(m->sinks, sink, a, sink->slack ? slack : json);
    }
}

static void tell(void *ctx, const struct np_alert *a)
{
    struct np_monitor *m = ctx;
    m->alerts_changed = true;
    send_all(m, a, NP_SPAN_NONE, NP_SPAN_NONE);
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
    if (strcmp(a->fact.alert, NP_DAILY_REPORT) == 0) {
        pthread_mutex_lock(&m->lock);
        (void)!np_daybook_sent(m->days, np_day_of(a->since_wall_ms), label, wall_ms());
        pthread_mutex_unlock(&m->lock);
        save_days(m);
        return;
    }
    np_alerts_sent(&m->table, a, label);
    pthread_mutex_lock(&m->lock);
    np_alerts_sent(&m->shown, a, label);
    pthread_mutex_unlock(&m->lock);
    save_alerts(m);
}

/* --- daily reports ------------------------------------------------------------------------------------ */

/* To the sinks that do not have it. */
static void send_report(struct np_monitor *m, int64_t day)
{
    struct np_alert a = {.since_wall_ms = day * NP_MS_PER_DAY};
    struct np_buf json, slack, text;
    struct np_json_w w;
    np_buf_init(&json, (size_t)64 << 10);
    np_buf_init(&slack, (size_t)64 << 10);
    np_buf_init(&text, (size_t)16 << 10);
    (void)snprintf(a.fact.alert, sizeof a.fact.alert, NP_DAILY_REPORT);
    (void)snprintf(a.sent_to, sizeof a.sent_to, "%s", np_daybook_sent_to(m->days, day));
    np_report_day(day, a.fact.subject);
    np_json_w_init(&w, &json);
    np_report_json(m->days, day, &w);
    np_report_text(m->days, day, &text);
    (void)np_buf_char(&text, '\0');
    struct np_buf plain;
    np_buf_init(&plain, (size_t)32 << 10);
    (void)np_buf_puts(&plain, "*neap, the day before*: ");
    np_sinks_plain(&plain, text.n ? text.p : "");
    np_json_w_init(&w, &slack);
    np_json_w_begin(&w, '{');
    np_json_w_str(&w, "text", np_buf_view(&plain));
    np_json_w_end(&w, '}');
    send_all(m, &a, np_buf_view(&json), np_buf_view(&slack));
    np_buf_free(&plain);
    np_buf_free(&text);
    np_buf_free(&slack);
    np_buf_free(&json);
}

/* Those that are owed; each once, whatever came between. */
static void report(struct np_monitor *m)
{
    int64_t day;
    bool any = false;
    while (np_daybook_due(m->days, m->rules->report_minute, wall_ms(), &day)) {
        np_report_log(m->days, day);
        pthread_mutex_lock(&m->lock);
        np_daybook_reported(m->days, day);
        (void)!np_daybook_sent(m->days, day, "log", wall_ms());
        pthread_mutex_unlock(&m->lock);
        send_report(m, day);
        any = true;
    }
    if (any)
        save_days(m);
}

/* What an earlier life had told, and not every sink had got. */
static void tell_the_rest(struct np_monitor *m)
{
    int64_t day = np_daybook_last(m->days);
    for (size_t i = 0; i < m->table.n; i++) {
        const struct np_alert *a = &m->table.list[i];
        if (a->resolved_wall_ms == 0 || a->sent_to[0]) /* no end of what nobody heard of */
            send_all(m, a, NP_SPAN_NONE, NP_SPAN_NONE);
    }
    if (day >= 0 && m->rules->report_minute >= 0 &&
        np_label_in(np_daybook_sent_to(m->days, day), "log"))
        send_report(m, day);
    m->begun = true;
}

/* --- looking ------------------------------------------------------------------------------------------ */

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
                                   .wall_ms = wall_ms(),
                                   .accounts = m->accounts,
                                   .totals = &totals,
                                   .days = m->days,
                                   .rejected = rejected[0] ? rejected : NULL,
                                   .rolled_back = rolled_back[0] ? rolled_back : NULL};
    scene.n_accounts = np_ledger_list(e->ledger, c, scene.wall_ms, m->accounts, NP_ALERT_ACCOUNTS);
    pthread_mutex_lock(&m->lock);
    np_daybook_accounts(m->days, m->accounts, scene.n_accounts, scene.wall_ms);
    pthread_mutex_unlock(&m->lock);
    m->facts.n = m->facts.lost = 0;
    np_alert_rules_run(&scene, &m->memory, &m->facts);
    np_alert_hook_run(&m->hook, e, set, &m->facts);
    np_alerts_update(&m->table, &m->facts, scene.now_ns, scene.wall_ms, tell, m);
    pthread_mutex_lock(&m->lock);
    m->shown = m->table;
    pthread_mutex_unlock(&m->lock);
    if (m->alerts_changed)
        save_alerts(m);
}

/* In ten seconds, or where the day ends before that. */
static uint64_t next_look_ns(uint64_t now_ns)
{
    int64_t left_ms = NP_MS_PER_DAY - wall_ms() % NP_MS_PER_DAY - DAY_END_MS;
    uint64_t left_ns = left_ms > 0 ? (uint64_t)left_ms * NP_NS_PER_MS : LOOK_NS;
    return now_ns + (left_ns < LOOK_NS ? left_ns : LOOK_NS);
}

static void on_look(void *ctx, uint64_t now_ns)
{
    struct np_monitor *m = ctx;
    struct np_policyset *set = np_keeper_current(m->engine->keeper);
    m->rules = &np_policyset_catalog(set)->alerts;
    if (!m->begun)
        tell_the_rest(m);
    pour(m);
    look(m, set);
    report(m);
    m->rules = NULL;
    np_policyset_drop(set);
    np_timer_set(np_loop_timers(m->loop), &m->look, next_look_ns(now_ns));
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
    m->days = np_daybook_new();
    m->sinks = m->loop && m->days ? np_sinks_new(m->loop, e->options.ca_file,
                                                 &(struct np_sinks_ops){.sent = on_sent, .ctx = m})
                                  : NULL;
    if (!m->sinks) {
        np_monitor_free(m);
        return NULL;
    }
    np_timer_init(&m->look, on_look, m);
    np_timer_init(&m->save, on_save, m);
    np_timer_init(&m->sample, on_sample, m);
    find_folder(m);
    if (m->kept)
        load(m, c);
    return m;
}

static void *thread_main(void *arg)
{
    struct np_monitor *m = arg;
    uint64_t now_ns = np_loop_refresh_ns(m->loop);
    np_timer_set(np_loop_timers(m->loop), &m->look, now_ns);
    if (m->kept)
        np_timer_set(np_loop_timers(m->loop), &m->save, now_ns + SAVE_NS);
    np_timer_set(np_loop_timers(m->loop), &m->sample, np_series_next_ns(now_ns));
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
    if (!m)
        return;
    pour(m);
    if (m->kept) {
        save_minutes(m);
        save_days(m);
        save_alerts(m);
    }
}

void np_monitor_free(struct np_monitor *m)
{
    if (!m)
        return;
    np_alert_hook_close(&m->hook);
    np_sinks_free(m->sinks);
    np_daybook_free(m->days);
    if (m->loop)
        np_loop_free(m->loop);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
