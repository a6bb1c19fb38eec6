/* neap status: what a running instance says of itself, as lines for people. */
#include <neap/neap.h>

#include "engine/admin_url.h"
#include "engine/fields.h"
#include "provider/fetch.h"

#include "base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BODY_BYTES ((size_t)8 << 20)
#define TEXT_BYTES ((size_t)1 << 20)
#define BAR_CELLS 20
#define DIM "\033[2m"
#define RED "\033[31m"
#define YELLOW "\033[33m"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"

struct page {
    struct np_buf *out;
    bool colour;
};

/* The words in a colour, which takes no columns. */
static void put(const struct page *p, const char *colour, const char *fmt, ...) NP_PRINTF(3, 4);

static void put(const struct page *p, const char *colour, const char *fmt, ...)
{
    bool coloured = p->colour && colour;
    if (coloured)
        (void)np_buf_puts(p->out, colour);
    va_list args;
    va_start(args, fmt);
    (void)np_buf_vprintf(p->out, fmt, args);
    va_end(args);
    if (coloured)
        (void)np_buf_puts(p->out, PLAIN);
}

/* A name cut to its column; the cut shows. */
static void put_name(const struct page *p, struct np_span name, size_t columns)
{
    if (name.n > columns)
        put(p, NULL, "%.*s… ", (int)columns - 1, name.p);
    else
        put(p, NULL, "%-*.*s ", (int)columns, (int)name.n, name.p);
}

/* --- figures ------------------------------------------------------------------------------------- */

/* "2 h 14 min", of the two largest units. */
static const char *duration(double seconds, char text[32])
{
    long s = seconds > 0 ? (long)seconds : 0;
    if (s < 60)
        (void)snprintf(text, 32, "%ld s", s);
    else if (s < 3600)
        (void)snprintf(text, 32, "%ld min", s / 60);
    else if (s < 86400)
        (void)snprintf(text, 32, "%ld h %ld min", s / 3600, s / 60 % 60);
    else
        (void)snprintf(text, 32, "%ld d %ld h", s / 86400, s / 3600 % 24);
    return text;
}

/* Unix seconds of "2026-11-24T22:11:42.474Z"; -1 for what is none. */
static double seconds_of(struct np_span iso)
{
    char text[32];
    struct tm tm = {0};
    (void)snprintf(text, sizeof text, "%.*s", iso.n < 31 ? (int)iso.n : 31, iso.p);
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (double)timegm(&tm) : -1;
}

static double now_s(void)
{
    return (double)np_clock_wall_ms(&np_clock_live) / 1000;
}

/* As few decimals as say it, two at least: "$0.0071", "$12.40". */
static const char *dollars(double usd, char text[32])
{
    int n = snprintf(text, 32, "$%.*f", usd < 0.1 ? 6 : 2, usd);
    const char *least = strchr(text, '.');
    while (least && n > 0 && text[n - 1] == '0' && text + n - 1 > least + 2)
        text[--n] = '\0';
    return text;
}

static const char *milliseconds(double ms, char text[32])
{
    if (ms < 0)
        return "-";
    (void)snprintf(text, 32, "%.0f ms", ms);
    return text;
}

static const char *percent(double share, char text[32])
{
    if (share < 0)
        return "-";
    (void)snprintf(text, 32, "%.3g %%", share * 100);
    return text;
}

/* --- sections ------------------------------------------------------------------------------------ */

static const char *burn_colour(double burn)
{
    return burn > 1 ? RED : burn > 0.8 ? YELLOW : GREEN;
}

static void objective(const struct page *p, struct np_span path, const char *what, const char *goal,
                      const char *now, double burn)
{
    put_name(p, path, 30);
    put(p, NULL, "%-9s %10s %12s ", what, goal, now);
    if (burn < 0)
        put(p, NULL, "%10s\n", "-");
    else
        put(p, burn_colour(burn), "%10.2f\n", burn);
}

/* Second calls since the start, where there were any. */
static void hedges(const struct page *p, struct np_span e)
{
    struct np_span h;
    if (!np_json_get(e, "hedges", &h))
        return;
    double won = np_number_of(h, "won"), lost = np_number_of(h, "lost");
    double asked = won + lost + np_number_of(h, "failed") + np_number_of(h, "left");
    put(p, NULL, "%31shedges    %.0f asked, %.0f of them answered first\n", "", asked, won);
}

static void endpoint(const struct page *p, struct np_span e)
{
    char goal[32], now[32];
    struct np_span goals = NP_SPAN("{}"), burns = NP_SPAN("{}"), path = np_text_of(e, "path");
    (void)!np_json_get(e, "objectives", &goals);
    (void)!np_json_get(e, "burn1h", &burns);
    double p95 = np_number_of(goals, "p95_ms"), errors = np_number_of(goals, "error_rate");
    double degraded = np_number_of(goals, "degraded_rate"), cost = np_number_of(goals, "cost_usd");
    if (p95 > 0) {
        objective(p, path, "p95", milliseconds(p95, goal),
                  milliseconds(np_number_of(e, "p95Ms"), now), np_number_of(burns, "p95_ms"));
        path = NP_SPAN("");
    }
    if (errors > 0) {
        double burn = np_number_of(burns, "error_rate");
        objective(p, path, "errors", percent(errors, goal), percent(burn * errors, now), burn);
        path = NP_SPAN("");
    }
    if (degraded > 0) {
        double burn = np_number_of(burns, "degraded_rate");
        objective(p, path, "degraded", percent(degraded, goal), percent(burn * degraded, now),
                  burn);
        path = NP_SPAN("");
    }
    if (cost > 0) {
        double burn = np_number_of(burns, "cost_usd");
        objective(p, path, "cost", dollars(cost, goal), dollars(burn * cost, now), burn);
        path = NP_SPAN("");
    }
    if (path.n > 0)
        put(p, NULL, "%.*s  no objectives\n", (int)path.n, path.p);
    hedges(p, e);
}

static void model(const struct page *p, struct np_span m)
{
    char text[32];
    struct np_span state = np_text_of(m, "state");
    put_name(p, np_text_of(m, "provider"), 11);
    put_name(p, np_text_of(m, "model"), 21);
    bool closed = np_span_is(state, "closed");
    put(p,
        closed                      ? NULL
        : np_span_is(state, "open") ? RED
                                    : YELLOW,
        "%-10.*s", (int)state.n, state.p);
    put(p, NULL, " %9s", milliseconds(np_number_of(m, "p95Ms"), text));
    put(p, NULL, " %7s", percent(np_number_of(m, "errorRate"), text));
    put(p, NULL, " %5.0f", np_number_of(m, "inflight"));
    put(p, NULL, " %10s\n", dollars(np_number_of(m, "spentTodayUsd"), text));
}

/* Spent as #, reserved as +; what is over the limit fills it. */
static void bar(const struct page *p, double spent, double reserved, double limit)
{
    char cells[BAR_CELLS + 1];
    double share = limit > 0 ? (spent + reserved) / limit : 1;
    for (int i = 0; i < BAR_CELLS; i++) {
        double at = (i + 0.5) / BAR_CELLS * limit;
        cells[i] = at < spent ? '#' : at < spent + reserved ? '+' : '.';
    }
    cells[BAR_CELLS] = '\0';
    put(p, share >= 1 ? RED : share >= 0.8 ? YELLOW : GREEN, "[%s]", cells);
}

static void budget(const struct page *p, struct np_span b)
{
    char spent_text[32], limit_text[32], left[32];
    double spent = np_number_of(b, "spentUsd"), reserved = np_number_of(b, "reservedUsd");
    double limit = np_number_of(b, "limitUsd"), resets = seconds_of(np_text_of(b, "resetsAt"));
    put_name(p, np_text_of(b, "account"), 23);
    bar(p, spent, reserved, limit);
    put(p, NULL, " %8s of %-8s", dollars(spent, spent_text), dollars(limit, limit_text));
    if (resets > 0)
        put(p, DIM, " %s", duration(resets - now_s(), left));
    put(p, NULL, "\n");
}

static void generation(const struct page *p, struct np_span g)
{
    char ago[32];
    struct np_span state = np_text_of(g, "state"), version = np_text_of(g, "version");
    struct np_span error = np_text_of(g, "error"), trigger = np_text_of(g, "trigger");
    bool bad = np_span_is(state, "rejected") || np_span_is(state, "rolled_back");
    put(p, NULL, "%-14.*s ", (int)version.n, version.p);
    put(p, bad ? RED : NULL, "%-12.*s ", (int)state.n, state.p);
    put(p, NULL, "%s ago", duration(now_s() - seconds_of(np_text_of(g, "loadedAt")), ago));
    if (trigger.n > 0)
        put(p, NULL, ", by %.*s", (int)trigger.n, trigger.p);
    put(p, NULL, "\n");
    if (error.n > 0)
        put(p, RED, "    %.*s%s\n", error.n > 74 ? 73 : (int)error.n, error.p,
            error.n > 74 ? "…" : "");
}

/* A text in lines of 80 columns, broken between words, behind so many blanks. */
static void put_wrapped(const struct page *p, struct np_span text, size_t indent)
{
    while (text.n > 0) {
        size_t n = text.n < 80 - indent ? text.n : 80 - indent;
        while (n < text.n && n > 0 && text.p[n] != ' ')
            n--;
        if (n == 0)
            n = text.n < 80 - indent ? text.n : 80 - indent;
        put(p, NULL, "%*s%.*s\n", (int)indent, "", (int)n, text.p);
        n += n < text.n && text.p[n] == ' ';
        text = np_span_make(text.p + n, text.n - n);
    }
}

static void alert(const struct page *p, struct np_span a)
{
    char since[32];
    struct np_span name = np_text_of(a, "alert"), severity = np_text_of(a, "severity");
    put(p, np_span_is(severity, "page") ? RED : YELLOW, "%-7.*s ", (int)severity.n, severity.p);
    put_name(p, name, 24);
    put(p, DIM, "for %s\n", duration(now_s() - seconds_of(np_text_of(a, "since")), since));
    put_wrapped(p, np_text_of(a, "text"), 8);
}

static bool is_empty(struct np_span object, const char *key)
{
    struct np_span item;
    struct np_json_walk w = np_list_of(object, key);
    return !np_json_item(&w, &item);
}

/* A heading and a line for each of the list, nothing when it is empty. */
static void section(const struct page *p, struct np_span object, const char *key,
                    const char *heading, void (*line)(const struct page *, struct np_span))
{
    struct np_span item;
    bool first = true;
    for (struct np_json_walk w = np_list_of(object, key); np_json_item(&w, &item); first = false) {
        if (first)
            put(p, DIM, "\n%s\n", heading);
        line(p, item);
    }
}

/* What wakes people first. */
static void alerts(const struct page *p, struct np_span said)
{
    static const char *const severities[] = {"page", "ticket", "info"};
    struct np_span a;
    put(p, DIM, is_empty(said, "alerts") ? "\nno alert fires\n" : "\nalerts\n");
    for (size_t i = 0; i < 3; i++) {
        for (struct np_json_walk w = np_list_of(said, "alerts"); np_json_item(&w, &a);) {
            if (np_span_is(np_text_of(a, "severity"), severities[i]))
                alert(p, a);
        }
    }
}

static void head(const struct page *p, struct np_span status)
{
    char up[32];
    struct np_span version = np_text_of(status, "version"), policy = np_text_of(status, "policy");
    struct np_span draining, simulate = np_text_of(status, "simulate");
    double workers = np_number_of(status, "workers");
    put(p, NULL, "neap %.*s  up %s  %.0f worker%s  %.0f in flight  policy %.*s", (int)version.n,
        version.p, duration(now_s() - seconds_of(np_text_of(status, "startedAt")), up), workers,
        workers > 1 ? "s" : "", np_number_of(status, "inflight"), (int)policy.n, policy.p);
    if (simulate.n > 0)
        put(p, YELLOW, "\nimitation providers: nothing is called, nothing is paid");
    if (np_json_get(status, "draining", &draining) && np_json_kind(draining) == NP_JSON_TRUE)
        put(p, YELLOW, "\ndraining: it takes no further requests");
    put(p, NULL, "\n");
}

/* --- asking -------------------------------------------------------------------------------------- */

/* What stands at a path of the admin socket, checked. */
static enum neap_status ask(const struct neap_overview_options *o, const char *path,
                            struct np_buf *body, char why[NEAP_WHY])
{
    char url[1024];
    unsigned status = 0;
    struct np_json_fault fault;
    np_buf_init(body, BODY_BYTES);
    enum neap_status known = np_admin_url(o->admin, path, url, sizeof url, why);
    if (known)
        return known;
    if (!np_fetch_get(url, o->token, body, &status, why, NEAP_WHY))
        return NEAP_FAILED;
    if (np_json_check(np_buf_view(body), NP_JSON_DEPTH, &fault)) {
        (void)snprintf(why, NEAP_WHY, "%s did not answer as a neap does: %s", url, fault.what);
        return NEAP_FAILED;
    }
    return NEAP_GOOD;
}

static void tell(const struct neap_overview_options *o, struct np_span status, struct np_buf *out)
{
    const struct page p = {out, o->colour};
    char why[NEAP_WHY];
    struct np_buf more;
    head(&p, status);
    section(&p, status, "endpoints",
            "endpoint                       objective       goal          now  burn in 1h",
            endpoint);
    section(&p, status, "breakers",
            "provider    model                 breaker          p95  errors  open      today",
            model);
    section(&p, status, "budgets",
            "account                 spent # reserved +        spent of limit    resets in",
            budget);
    if (ask(o, "/api/policies", &more, why) == NEAP_GOOD)
        section(&p, np_buf_view(&more), "generations", "policies", generation);
    np_buf_free(&more);
    if (ask(o, "/api/alerts", &more, why) == NEAP_GOOD)
        alerts(&p, np_buf_view(&more));
    np_buf_free(&more);
}

enum neap_status neap_overview(const struct neap_overview_options *o, char **out,
                               char why[NEAP_WHY])
{
    struct np_buf status, text;
    *out = NULL;
    np_buf_init(&text, TEXT_BYTES);
    enum neap_status asked = ask(o, "/api/status", &status, why);
    bool good = asked == NEAP_GOOD;
    if (good && o->json)
        (void)np_buf_span(&text, np_buf_view(&status));
    else if (good)
        tell(o, np_buf_view(&status), &text);
    np_buf_free(&status);
    (void)np_buf_char(&text, '\0');
    if (good && !np_buf_failed(&text))
        *out = strdup(text.p);
    if (good && !*out)
        (void)snprintf(why, NEAP_WHY, "no memory");
    np_buf_free(&text);
    return *out ? NEAP_GOOD : asked ? asked : NEAP_FAILED;
}
