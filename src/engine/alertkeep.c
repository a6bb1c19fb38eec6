/* The file of the alerts: one JSON object a line. */
#include "engine/alertkeep.h"

#include "engine/fields.h"
#include "engine/keepfile.h"

#include <stdio.h>

#define HEAD "neap-alerts 1"
#define TEXT_BYTES ((size_t)4 << 20)

struct loading {
    struct np_alerts *table;
    uint64_t now_ns;
};

/* A text member without its escapes; what does not fit is cut. */
static void take(struct np_span object, const char *key, char *out, size_t size)
{
    struct np_span value;
    struct np_buf text;
    np_buf_init(&text, 4096);
    if (np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_STRING &&
        np_json_put_text(&text, value) == NP_OK)
        (void)snprintf(out, size, "%.*s", (int)text.n, text.n ? text.p : "");
    np_buf_free(&text);
}

static bool load_line(void *ctx, char *line)
{
    struct loading *l = ctx;
    struct np_json_fault fault;
    struct np_span object = np_span_of(line);
    if (np_json_check(object, 4, &fault) || np_json_kind(object) != NP_JSON_OBJECT)
        return false;
    struct np_alert a = {.seen_ns = l->now_ns};
    take(object, "alert", a.fact.alert, sizeof a.fact.alert);
    take(object, "subject", a.fact.subject, sizeof a.fact.subject);
    take(object, "severity", a.fact.severity, sizeof a.fact.severity);
    take(object, "text", a.fact.text, sizeof a.fact.text);
    take(object, "sentTo", a.sent_to, sizeof a.sent_to);
    take(object, "overTo", a.over_to, sizeof a.over_to);
    a.fact.value = np_number_of(object, "value");
    a.fact.threshold = np_number_of(object, "threshold");
    a.fact.window_ms = (int64_t)np_number_of(object, "window");
    a.since_wall_ms = (int64_t)np_number_of(object, "since");
    a.resolved_wall_ms = (int64_t)np_number_of(object, "resolved");
    if (!a.fact.alert[0] || !a.fact.severity[0] || a.since_wall_ms <= 0 || a.resolved_wall_ms < 0 ||
        l->table->n == NP_ALERTS)
        return false;
    l->table->list[l->table->n++] = a;
    return true;
}

void np_alertkeep_load(const char *path, struct np_alerts *t, uint64_t now_ns)
{
    struct loading l = {t, now_ns};
    np_keep_load(path, HEAD, load_line, &l);
}

enum np_err np_alertkeep_save(const char *path, const struct np_alerts *t)
{
    struct np_buf text;
    np_buf_init(&text, TEXT_BYTES);
    for (size_t i = 0; i < t->n; i++) {
        const struct np_alert *a = &t->list[i];
        struct np_json_w w;
        np_json_w_init(&w, &text);
        np_json_w_begin(&w, '{');
        np_json_w_cstr(&w, "alert", a->fact.alert);
        np_json_w_cstr(&w, "subject", a->fact.subject);
        np_json_w_cstr(&w, "severity", a->fact.severity);
        np_json_w_cstr(&w, "text", a->fact.text);
        np_json_w_f64(&w, "value", a->fact.value);
        np_json_w_f64(&w, "threshold", a->fact.threshold);
        np_json_w_i64(&w, "window", a->fact.window_ms);
        np_json_w_i64(&w, "since", a->since_wall_ms);
        np_json_w_i64(&w, "resolved", a->resolved_wall_ms);
        np_json_w_cstr(&w, "sentTo", a->sent_to);
        np_json_w_cstr(&w, "overTo", a->over_to);
        np_json_w_end(&w, '}');
        (void)np_buf_char(&text, '\n');
    }
    enum np_err err = np_keep_save(path, HEAD, &text);
    np_buf_free(&text);
    return err;
}
