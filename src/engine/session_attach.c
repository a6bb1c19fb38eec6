/* .attach: a copy of a running instance's breakers, budgets and statistics. What is copied is the state
 * alone: no line ever runs there. */
#include "engine/session_impl.h"

#include "engine/admin_url.h"
#include "engine/fields.h"
#include "provider/fetch.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_BYTES ((size_t)8 << 20)
/* So many values make a quantile known (guard/stats.c), and 95 of 100 of them are below it. */
#define SAMPLES 100
#define MOST_MS 1e7

/* Does one change of the world; what is not known here is told and passed over. */
static bool try_world(struct neap_session *s, const char *kind, struct np_span name,
                      struct np_span value)
{
    struct np_buf b;
    np_buf_init(&b, 4096);
    np_buf_printf(&b, "{\"%s\":{\"%.*s\":%.*s}}", kind, (int)name.n, name.p, (int)value.n, value.p);
    char *given = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return np_session_perform(s, NP_DEED_WORLD, given);
}

/* --- what is copied ---------------------------------------------------------------------------------- */

struct copied {
    size_t breakers, budgets, models, endpoints;
};

static void copy_breakers(struct neap_session *s, struct np_span list, struct copied *c)
{
    struct np_span item;
    for (struct np_json_walk w = np_json_walk(list); np_json_item(&w, &item);) {
        struct np_span model = np_text_of(item, "model"), state = np_text_of(item, "state");
        char quoted[32];
        if (np_span_is(state, "closed") || !np_catalog_model(np_session_catalog(s), model))
            continue;
        (void)snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)state.n, state.p);
        c->breakers += try_world(s, "breakers", model, np_span_of(quoted));
    }
}

static bool is_account(struct neap_session *s, struct np_span name)
{
    struct np_account_view v;
    struct np_sim *sim = np_play_sim(s->play);
    return np_ledger_account(np_sim_ledger(sim), np_session_catalog(s), name,
                             np_sim_wall_ms(np_sim_now_ns(sim)), &v) == NP_OK;
}

static void copy_budgets(struct neap_session *s, struct np_span list, struct copied *c)
{
    struct np_span item, spent;
    for (struct np_json_walk w = np_json_walk(list); np_json_item(&w, &item);) {
        struct np_span name = np_text_of(item, "account");
        if (np_json_get(item, "spentUsd", &spent) && np_number_of(item, "spentUsd") > 0 &&
            is_account(s, name))
            c->budgets += try_world(s, "budgets", name, spent);
    }
}

/* How slow and how faulty something was there; false when that is not known. */
static bool read_statistics(struct np_span item, uint64_t *p95_ns, int *failed)
{
    double p95 = np_number_of(item, "p95Ms"), errors = np_number_of(item, "errorRate");
    if (p95 < 0 || p95 > MOST_MS)
        return false;
    *p95_ns = (uint64_t)(p95 * (double)NP_NS_PER_MS);
    *failed = errors > 0 && errors <= 1 ? (int)(errors * SAMPLES + 0.5) : 0;
    return true;
}

/* Models and endpoints become as slow and as faulty as they are there. Statistics are no deed: .undo and
 * .seed forget them. */
static void copy_models(struct neap_session *s, struct np_span list, struct copied *c)
{
    struct np_sim *sim = np_play_sim(s->play);
    struct np_span item;
    uint64_t p95_ns;
    int failed;
    for (struct np_json_walk w = np_json_walk(list); np_json_item(&w, &item);) {
        const struct np_model *m =
            np_catalog_model(np_session_catalog(s), np_text_of(item, "model"));
        if (!m || !read_statistics(item, &p95_ns, &failed))
            continue;
        for (int i = 0; i < SAMPLES; i++)
            np_stat_attempt(np_sim_guard(sim), m, np_sim_now_ns(sim), p95_ns, i >= failed, -1);
        c->models++;
    }
}

static void copy_endpoints(struct neap_session *s, struct np_span list, struct copied *c)
{
    struct np_sim *sim = np_play_sim(s->play);
    struct np_span item;
    uint64_t p95_ns;
    int failed;
    for (struct np_json_walk w = np_json_walk(list); np_json_item(&w, &item);) {
        const struct np_endpoint *e =
            np_catalog_endpoint(np_session_catalog(s), np_text_of(item, "path"));
        if (!e || !read_statistics(item, &p95_ns, &failed))
            continue;
        for (int i = 0; i < SAMPLES; i++)
            np_stat_exchange(np_sim_guard(sim), e, np_sim_now_ns(sim), p95_ns, i < failed, true,
                             false, 0);
        c->endpoints++;
    }
}

static void copy_all(struct neap_session *s, struct np_span status, struct copied *c)
{
    struct np_span list;
    if (np_json_get(status, "breakers", &list) && np_json_kind(list) == NP_JSON_ARRAY)
        copy_breakers(s, list, c);
    if (np_json_get(status, "breakers", &list) && np_json_kind(list) == NP_JSON_ARRAY)
        copy_models(s, list, c);
    if (np_json_get(status, "budgets", &list) && np_json_kind(list) == NP_JSON_ARRAY)
        copy_budgets(s, list, c);
    if (np_json_get(status, "endpoints", &list) && np_json_kind(list) == NP_JSON_ARRAY)
        copy_endpoints(s, list, c);
}

/* --- the command --------------------------------------------------------------------------------------- */

static bool take_status(struct neap_session *s, const char *url, struct np_span status)
{
    struct np_json_fault fault;
    struct copied c = {0};
    if (np_json_check(status, NP_JSON_DEPTH, &fault) || np_json_kind(status) != NP_JSON_OBJECT ||
        np_text_of(status, "policy").n == 0)
        return np_session_fail(s, "%s is no admin socket of neap", url);
    if (!np_session_start(s, np_session_set_of(s), s->scene.deed->seed))
        return false;
    copy_all(s, status, &c);
    struct np_span there = np_text_of(status, "policy");
    const char *here = np_policyset_version(np_session_set_of(s));
    bool same = np_span_is(there, here);
    np_session_say(s,
                   "copied: open breakers %zu, budgets %zu, statistics of models %zu, of endpoints "
                   "%zu\n",
                   c.breakers, c.budgets, c.models, c.endpoints);
    np_session_say(s, "it runs policies %.*s, %s\n", (int)there.n, there.p,
                   same ? "as this session does" : "this session has others");
    if (!same)
        np_session_say(s, "here are policies %s of %s; nothing of a line ever runs there\n", here,
                       s->o.dir);
    return true;
}

bool np_session_attach(struct neap_session *s, struct np_span args)
{
    char given[1024], url[1024], why[NEAP_WHY];
    struct np_buf body;
    unsigned status;
    if (args.n == 0 || args.n > 900)
        return np_session_fail(s, ".attach wants an admin URL: .attach http://127.0.0.1:9090");
    (void)snprintf(given, sizeof given, "%.*s", (int)args.n, args.p);
    if (np_admin_url(given, "/api/status", url, sizeof url, why))
        return np_session_fail(s, "%s", why);
    np_buf_init(&body, BODY_BYTES);
    bool ok = np_fetch_get(url, s->o.admin_token, &body, &status, why, sizeof why);
    if (!ok)
        (void)np_session_fail(s, "%s", why);
    else
        ok = take_status(s, url, np_buf_view(&body));
    np_buf_free(&body);
    return ok;
}
