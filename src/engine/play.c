/* One play: reads what was given, sets the ground up, sends the request, lets time pass. */
#include "engine/play_impl.h"

#include "base/log.h"
#include "engine/alert_hook.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)16 << 20)
#define BODY_BYTES ((size_t)16 << 20)
#define LOG_BYTES ((size_t)64 << 10)
#define SHOWN_BYTES ((size_t)1 << 20)
#define MAX_AFTER_MS INT64_C(3456000000) /* 40 days */
#define MAX_GUESSES 128

/* --- words for what is wrong ------------------------------------------------------------------------ */

enum np_err np_play_fault(struct np_play *p, const char *fmt, ...)
{
    va_list ap;
    np_buf_reset(p->out);
    va_start(ap, fmt);
    (void)np_buf_vprintf(p->out, fmt, ap);
    va_end(ap);
    return NP_E_INVALID;
}

enum np_err np_play_unknown(struct np_play *p, const char *what, struct np_span name,
                            const char *const *names, size_t n)
{
    const char *guess = np_span_guess(name, names, n);
    return np_play_fault(p, "there is no %s \"%.*s\"%s%s%s", what, (int)name.n, name.p,
                         guess ? "; did you mean \"" : "", guess ? guess : "", guess ? "\"?" : "");
}

enum np_err np_play_text(struct np_play *p, const char *what, struct np_span value,
                         struct np_span *out)
{
    if (np_json_kind(value) != NP_JSON_STRING)
        return np_play_fault(p, "%s must be a string, is %s", what,
                             np_json_kind_name(np_json_kind(value)));
    struct np_span text;
    enum np_err err = np_json_text(p->arena, value, false, &text);
    if (err == NP_E_INVALID)
        return np_play_fault(p, "%s holds a NUL", what);
    if (err)
        return err;
    *out = np_arena_dup(p->arena, text);
    return out->p ? NP_OK : NP_E_NOMEM;
}

enum np_err np_play_name(struct np_play *p, struct np_span key, struct np_span *out)
{
    /* Keys are given as they stand between their quotes. */
    return np_play_text(p, "a name", np_span_make(key.p - 1, key.n + 2), out);
}

enum np_err np_play_whole(struct np_play *p, const char *what, struct np_span value, int64_t *out)
{
    if (np_json_kind(value) != NP_JSON_NUMBER || np_json_i64(value, out) || *out < 0)
        return np_play_fault(p, "%s must be a whole number, got %.*s", what,
                             (int)(value.n < 40 ? value.n : 40), value.p);
    return NP_OK;
}

/* --- what was given --------------------------------------------------------------------------------- */

static enum np_err want_object(struct np_play *p, const char *what, struct np_span value)
{
    if (np_json_kind(value) == NP_JSON_OBJECT)
        return NP_OK;
    return np_play_fault(p, "%s must be a table with names, is %s", what,
                         np_json_kind_name(np_json_kind(value)));
}

static enum np_err read_given(struct np_play *p, struct np_span given, struct np_play_given *g)
{
    static const char *const names[] = {"request",  "budgets", "breakers",       "providers",
                                        "after_ms", "seed",    "leaves_after_ms"};
    struct np_span *const parts[] = {&g->request, &g->budgets, &g->breakers, &g->providers};
    int64_t *const numbers[] = {&g->after_ms, &g->seed, &g->leaves_after_ms};
    struct np_span key, name, value;
    enum np_err err = want_object(p, "what is played", given);
    g->seed = -1;
    if (err)
        return err;
    for (struct np_json_walk w = np_json_walk(given); np_json_member(&w, &key, &value);) {
        size_t i = 0;
        err = np_play_name(p, key, &name);
        while (!err && i < 7 && !np_span_is(name, names[i]))
            i++;
        if (!err && i == 7)
            err = np_play_unknown(p, "field", name, names, 7);
        else if (!err && i >= 4)
            err = np_play_whole(p, names[i], value, numbers[i - 4]);
        else if (!err)
            err = want_object(p, names[i], value);
        if (err)
            return err;
        if (i < 4)
            *parts[i] = value;
    }
    if (g->after_ms > MAX_AFTER_MS || g->leaves_after_ms > MAX_AFTER_MS)
        return np_play_fault(p, "%s is more than 40 days",
                             g->after_ms > MAX_AFTER_MS ? "after_ms" : "leaves_after_ms");
    return NP_OK;
}

static enum np_err find_tenant(struct np_play *p, struct np_span value, const char **out)
{
    const struct np_catalog *c = p->catalog;
    const char *names[MAX_GUESSES];
    struct np_span name;
    size_t n = 0;
    enum np_err err = np_play_text(p, "request.tenant", value, &name);
    if (err)
        return err;
    *out = name.p;
    if (c->n_tenants == 0 && np_span_is(name, c->anonymous->name))
        return NP_OK;
    if (c->n_tenants == 0)
        names[n++] = c->anonymous->name;
    for (size_t i = 0; i < c->n_tenants; i++) {
        if (np_span_is(name, c->tenants[i].name))
            return NP_OK;
        if (n < MAX_GUESSES)
            names[n++] = c->tenants[i].name;
    }
    return np_play_unknown(p, "tenant", name, names, n);
}

static enum np_err find_endpoint(struct np_play *p, struct np_span value, const char **out)
{
    const struct np_catalog *c = p->catalog;
    const char *names[NP_MAX_ENDPOINTS];
    struct np_span name;
    size_t n = 0;
    enum np_err err = np_play_text(p, "request.endpoint", value, &name);
    if (err)
        return err;
    *out = name.p;
    if (np_catalog_endpoint(c, name))
        return NP_OK;
    for (; n < c->n_endpoints && n < NP_MAX_ENDPOINTS; n++)
        names[n] = c->endpoints[n].path;
    return np_play_unknown(p, "endpoint", name, names, n);
}

/* Takes tenant and endpoint out of the request; the rest is the body, as a client would send it. */
static enum np_err read_request(struct np_play *p, struct np_play_given *g)
{
    struct np_json_w w;
    struct np_span key, value;
    enum np_err err = NP_OK;
    g->endpoint = p->catalog->endpoints[0].path;
    np_json_w_init(&w, &g->body);
    np_json_w_begin(&w, '{');
    for (struct np_json_walk walk = np_json_walk(g->request);
         !err && np_json_member(&walk, &key, &value);) {
        if (np_span_is(key, "tenant")) {
            err = find_tenant(p, value, &g->tenant);
        } else if (np_span_is(key, "endpoint")) {
            err = find_endpoint(p, value, &g->endpoint);
        } else {
            struct np_span name;
            err = np_play_name(p, key, &name);
            if (!err) {
                np_json_w_key(&w, name);
                np_json_w_raw(&w, NULL, value);
            }
        }
    }
    np_json_w_end(&w, '}');
    return err ? err : np_buf_failed(&g->body) ? NP_E_NOMEM : NP_OK;
}

/* --- playing ---------------------------------------------------------------------------------------- */

static void drop_lines(struct np_play *p)
{
    uint32_t tag;
    struct np_span line;
    while (np_ring_peek(p->log, &tag, &line))
        np_ring_pop(p->log);
}

/* Makes everything but the request as given. */
static enum np_err set_world(struct np_play *p, struct np_play_given *g)
{
    enum np_err err = NP_OK;
    if (g->providers.p)
        err = np_play_read_providers(p, g->providers);
    if (!err)
        err = np_play_breakers(p, g);
    if (!err && g->budgets.p)
        err = np_play_budgets(p, g->budgets, g->tenant);
    return err;
}

/* A play stands for one request of many: its endpoint's share of hedges is not used up. */
static void make_room_for_hedge(const struct np_play *p, const struct np_play_given *g)
{
    const struct np_endpoint *e = np_catalog_endpoint(p->catalog, np_span_of(g->endpoint));
    uint64_t now_ns = np_sim_now_ns(p->sim);
    uint64_t at_ns = p->at_ns > now_ns ? p->at_ns : now_ns;
    while (e && !np_hedge_share_left(np_sim_guard(p->sim), e, at_ns))
        np_hedge_share_count(np_sim_guard(p->sim), e, at_ns);
}

static enum np_err play(struct np_play *p, struct np_span given, struct np_play_given *g)
{
    enum np_err err = read_given(p, given, g);
    if (!err && !g->request.p)
        err = np_play_fault(p, "a request is missing: request = { prompt = … }");
    if (!err)
        err = read_request(p, g);
    if (!err)
        err = set_world(p, g);
    if (err)
        return err;
    struct np_sim_client client = {.body = np_buf_view(&g->body),
                                   .endpoint = g->endpoint,
                                   .tenant = g->tenant,
                                   .at_ns = p->at_ns,
                                   .leaves_after_ns = (uint64_t)g->leaves_after_ms * NP_NS_PER_MS};
    make_room_for_hedge(p, g);
    if (g->seed >= 0)
        np_sim_seed(p->sim, (uint64_t)g->seed);
    drop_lines(p);
    np_log_use_ring(p->log);
    err = np_sim_add(p->sim, &client);
    if (!err)
        np_sim_run(p->sim);
    np_log_use_ring(NULL);
    return err;
}

static enum np_err pass(struct np_play *p, struct np_span given, struct np_play_given *g)
{
    enum np_err err = read_given(p, given, g);
    if (!err)
        err = set_world(p, g);
    if (!err)
        np_sim_pass(p->sim, p->at_ns);
    return err;
}

static enum np_err look(struct np_play *p, struct np_span given, struct np_play_given *g)
{
    struct np_alarms alarms;
    struct np_hook_report report;
    enum np_err err = read_given(p, given, g);
    if (!err && (g->request.p || g->providers.p || g->leaves_after_ms))
        err = np_play_fault(p, "the alert hook is asked without a request: play some before");
    if (!err && !np_policyset_has_hook(p->set, NP_HOOK_alert))
        err = np_play_fault(p, "the set has no alert.lua");
    if (!err)
        err = set_world(p, g);
    if (err)
        return err;
    struct np_exchange *x = np_alert_stand_in(p->set);
    if (!x)
        return NP_E_NOMEM;
    np_sim_pass(p->sim, p->at_ns);
    if (g->seed >= 0)
        np_sim_seed(p->sim, (uint64_t)g->seed);
    x->accept_ns = x->deadline_ns = np_sim_now_ns(p->sim);
    x->at_wall_ms = np_sim_wall_ms(x->accept_ns);
    drop_lines(p);
    np_log_use_ring(p->log);
    np_hook_alert(np_sim_script(p->sim), x, &alarms, &report);
    np_log_use_ring(NULL);
    np_play_on_alerts(p, x, &alarms);
    np_exchange_free(x);
    return NP_OK;
}

/* Makes the exchange and reads its body, as the driver would. */
static enum np_err make(struct np_play *p, struct np_span given, struct np_play_given *g)
{
    struct np_refusal refusal = {.retry_after_s = -1};
    enum np_err err = read_given(p, given, g);
    if (!err && !g->request.p)
        err = np_play_fault(p, "a request is missing");
    if (!err)
        err = read_request(p, g);
    if (err)
        return err;
    struct np_sim_client client = {
        .body = np_buf_view(&g->body), .endpoint = g->endpoint, .tenant = g->tenant};
    struct np_exchange *x;
    err = np_sim_exchange(p->sim, &client, &x);
    if (err)
        return err;
    err = np_request_parse(x->arena, x->body, &x->request, &refusal);
    if (err == NP_E_INVALID)
        err = np_play_fault(p, "%.*s", (int)refusal.message.n, refusal.message.p);
    if (err)
        np_exchange_free(x);
    else
        p->made = x;
    return err;
}

typedef enum np_err act(struct np_play *p, struct np_span given, struct np_play_given *g);

/* Does one of the two in an arena of its own. */
static enum np_err perform(struct np_play *p, act *what, struct np_span given, struct np_buf *out)
{
    struct np_play_given g = {0};
    p->scripts = NULL;
    p->n_scripts = 0;
    p->out = out;
    np_buf_reset(&p->shown);
    p->arena = np_arena_new(ARENA_BYTES);
    if (!p->arena)
        return NP_E_NOMEM;
    np_buf_init(&g.body, BODY_BYTES);
    enum np_err err = what(p, given, &g);
    np_buf_free(&g.body);
    np_arena_free(p->arena);
    p->arena = NULL;
    return !err && np_buf_failed(out) ? NP_E_NOMEM : err;
}

enum np_err np_play_run(struct np_play *p, struct np_span given, struct np_buf *out)
{
    return perform(p, play, given, out);
}

enum np_err np_play_world(struct np_play *p, struct np_span given, struct np_buf *out)
{
    return perform(p, pass, given, out);
}

enum np_err np_play_alerts(struct np_play *p, struct np_span given, struct np_buf *out)
{
    return perform(p, look, given, out);
}

enum np_err np_play_exchange(struct np_play *p, struct np_span given, const char *id,
                             struct np_exchange **x, struct np_buf *out)
{
    enum np_err err = perform(p, make, given, out);
    if (err)
        return err;
    id = np_arena_strdup(p->made->arena, id);
    if (!id) {
        np_exchange_free(p->made);
        return NP_E_NOMEM;
    }
    p->made->id = id;
    *x = p->made;
    return NP_OK;
}

struct np_span np_play_record(const struct np_play *p)
{
    return np_buf_view(&p->record);
}

enum np_err np_play_turn(struct np_play *p, struct np_policyset *set)
{
    enum np_err err = np_sim_turn(p->sim, set);
    if (err)
        return err;
    np_policyset_hold(set);
    np_policyset_drop(p->set);
    p->set = set;
    p->catalog = np_policyset_catalog(set);
    return NP_OK;
}

struct np_play *np_play_new_timed(struct np_policyset *set, uint64_t seed, bool timed)
{
    struct np_play *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->set = np_policyset_hold(set);
    p->catalog = np_policyset_catalog(set);
    np_buf_init(&p->body, BODY_BYTES);
    np_buf_init(&p->shown, SHOWN_BYTES);
    np_buf_init(&p->record, BODY_BYTES);
    p->log = np_ring_new(LOG_BYTES);
    struct np_sim_source source = {np_play_on_call, np_play_on_closed, p, timed};
    p->sim = np_sim_new(set, seed, &source);
    if (!p->log || !p->sim) {
        np_play_free(p);
        return NULL;
    }
    return p;
}

struct np_play *np_play_new(struct np_policyset *set, uint64_t seed)
{
    return np_play_new_timed(set, seed, false);
}

struct np_span np_play_shown(const struct np_play *p)
{
    return np_buf_view(&p->shown);
}

void np_play_watch(struct np_play *p, void (*seen)(void *ctx, const struct np_exchange *x),
                   void *ctx)
{
    p->seen = seen;
    p->seen_ctx = ctx;
}

struct np_sim *np_play_sim(struct np_play *p)
{
    return p->sim;
}

void np_play_free(struct np_play *p)
{
    if (!p)
        return;
    np_sim_free(p->sim);
    if (p->log)
        np_ring_free(p->log);
    np_buf_free(&p->body);
    np_buf_free(&p->shown);
    np_buf_free(&p->record);
    np_policyset_drop(p->set);
    free(p);
}
