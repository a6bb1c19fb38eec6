/* The built-in requests, and what hooks made of them. */
#include "engine/probe.h"

#include "base/json.h"
#include "engine/alert_hook.h"
#include "engine/play.h"
#include "model/class.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED 1
#define GIVEN_BYTES ((size_t)4 << 20)
#define RUN_BYTES ((size_t)16 << 20)
#define LONG_TEXT 100000
#define MANY 40
/* No further request is tried once hooks have taken so many steps. */
#define MAX_STEPS INT64_C(3000000)
#define MAX_ENDPOINTS 8
#define MAX_TENANTS 8

/* What is different in a request. */
struct probe {
    const char *about; /* "a request whose model answers 429" */
    void (*request)(struct np_json_w *w);
    enum np_class fails; /* how providers fail; ok: they answer */
    const char *text;    /* their answer; NULL: a short one */
    bool long_text;      /* a long one instead */
    bool broke;          /* every budget is spent */
    bool broken;         /* every breaker is open */
    bool odd;            /* what the caller sent is odd: a wrong kind is no more than a fault */
    const char *endpoint, *tenant; /* NULL: the first */
};

/* All the probes of a set. */
struct probing {
    struct np_policyset *set;
    const struct np_catalog *catalog;
    struct np_problems *problems;
    const struct probe *probe; /* that runs */
    struct np_buf given, run;
    int64_t steps;
};

/* --- requests --------------------------------------------------------------------------------------- */

static void plain(struct np_json_w *w)
{
    np_json_w_cstr(w, "prompt", "How do I reset my VPN token?");
}

static void blank(struct np_json_w *w)
{
    np_json_w_cstr(w, "prompt", " ");
}

static void streamed(struct np_json_w *w)
{
    plain(w);
    np_json_w_bool(w, "stream", true);
}

/* Letters, long runs of blanks, and nothing at the end of a line: what slow patterns are slow on. */
static void put_long(struct np_json_w *w, const char *key, size_t n)
{
    char *text = malloc(n + 1);
    if (!text)
        return; /* without it the request has no prompt, and is refused */
    for (size_t i = 0; i < n; i++)
        text[i] = i % 7 == 6 || (i > n / 2 && i < n / 2 + n / 5) ? ' ' : (char)('a' + i % 26);
    np_json_w_str(w, key, np_span_make(text, n));
    free(text);
}

static void huge(struct np_json_w *w)
{
    put_long(w, "prompt", LONG_TEXT);
}

static void conversation(struct np_json_w *w)
{
    np_json_w_cstr(w, "system", "You are the internal helpdesk.");
    np_json_w_begin_key(w, "messages", '[');
    for (int i = 0; i < MANY; i++) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "role", i % 2 ? "assistant" : "user");
        np_json_w_cstr(w, "content", i % 5 ? "And then? \xc3\xa4\xf0\x9f\x98\x80 %d {{x}}" : "");
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    np_json_w_i64(w, "maxTokens", 1);
    np_json_w_f64(w, "temperature", 0.5);
}

static void long_context(struct np_json_w *w)
{
    plain(w);
    np_json_w_begin_key(w, "context", '[');
    for (int i = 0; i < MANY; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "doc-%d", i);
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "id", id);
        put_long(w, "text", 4000);
        np_json_w_i64(w, "priority", i % 3);
        np_json_w_bool(w, "pinned", i == 7);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

static void known_metadata(struct np_json_w *w)
{
    plain(w);
    np_json_w_begin_key(w, "metadata", '{');
    np_json_w_cstr(w, "tier", "gold");
    np_json_w_cstr(w, "team", "support");
    np_json_w_end(w, '}');
}

static void odd_metadata(struct np_json_w *w)
{
    static const char *const names[] = {"tier", "team", "user", "plan", "region", "on_degraded"};
    plain(w);
    np_json_w_cstr(w, "model", "no-such-model");
    np_json_w_begin_key(w, "metadata", '{');
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        np_json_w_i64(w, names[i], 7);
    np_json_w_end(w, '}');
}

static const struct probe probes[] = {
    {"a plain request", plain, .fails = NP_CLASS_ok},
    {"a prompt of one blank", blank, .fails = NP_CLASS_ok},
    {"a prompt of 100,000 bytes", huge, .fails = NP_CLASS_ok},
    {"a streamed request", streamed, .fails = NP_CLASS_ok},
    {"a conversation of 40 messages", conversation, .fails = NP_CLASS_ok},
    {"40 context items of 4,000 bytes each", long_context, .fails = NP_CLASS_ok},
    {"a request with metadata", known_metadata, .fails = NP_CLASS_ok},
    {"metadata of odd kinds", odd_metadata, .fails = NP_CLASS_ok, .odd = true},
    {"an answer of one blank", plain, .fails = NP_CLASS_ok, .text = " "},
    {"an answer of 100,000 bytes", plain, .fails = NP_CLASS_ok, .long_text = true},
    {"models that can't be reached (network)", plain, .fails = NP_CLASS_network},
    {"models that are too slow (timeout)", plain, .fails = NP_CLASS_timeout},
    {"models that answer 429 (rate_limited)", plain, .fails = NP_CLASS_rate_limited},
    {"models whose quota is used up (quota)", plain, .fails = NP_CLASS_quota},
    {"models that are overloaded", plain, .fails = NP_CLASS_overloaded},
    {"models that answer 500 (server_error)", plain, .fails = NP_CLASS_server_error},
    {"models that answer nonsense (bad_reply)", plain, .fails = NP_CLASS_bad_reply},
    {"a key that is not taken (credential)", plain, .fails = NP_CLASS_credential},
    {"models that are gone (model_gone)", plain, .fails = NP_CLASS_model_gone},
    {"a prompt that is too long for models (too_long)", long_context, .fails = NP_CLASS_too_long},
    {"a prompt that is filtered", plain, .fails = NP_CLASS_filtered},
    {"a request that models reject", plain, .fails = NP_CLASS_rejected},
    {"budgets that are spent", plain, .fails = NP_CLASS_ok, .broke = true},
    {"breakers that are open", plain, .fails = NP_CLASS_ok, .broken = true},
};

/* --- what is played --------------------------------------------------------------------------------- */

static void put_answer(struct np_json_w *w, const char *name, const struct probe *p)
{
    np_json_w_begin_key(w, name, '{');
    if (p->fails != NP_CLASS_ok)
        np_json_w_cstr(w, "error", np_class_name(p->fails));
    else if (p->long_text)
        put_long(w, "text", LONG_TEXT);
    else
        np_json_w_cstr(w, "text", p->text ? p->text : "Open the portal and choose \"reset\".");
    np_json_w_end(w, '}');
}

static const char *tenant_of(const struct probing *g)
{
    if (g->probe->tenant)
        return g->probe->tenant;
    return g->catalog->n_tenants > 0 ? g->catalog->tenants[0].name : g->catalog->anonymous->name;
}

/* The budget's account as plays name it: "tenant:acme/day". */
static void account_name(const struct probing *g, const struct np_budget *b, char *out, size_t size)
{
    static const char *const kinds[] = {
        [NP_ACCOUNT_GLOBAL] = "global", [NP_ACCOUNT_EACH_TENANT] = "tenant",
        [NP_ACCOUNT_TENANT] = "tenant", [NP_ACCOUNT_ENDPOINT] = "endpoint",
        [NP_ACCOUNT_MODEL] = "model",   [NP_ACCOUNT_PROVIDER] = "provider"};
    const char *of = b->kind == NP_ACCOUNT_EACH_TENANT ? tenant_of(g) : b->name;
    bool named = b->kind != NP_ACCOUNT_GLOBAL;
    (void)snprintf(out, size, "%s%s%s/%s", kinds[b->kind], named ? ":" : "", named ? of : "",
                   np_window_name(b->window));
}

static void put_budgets(struct np_json_w *w, const struct probing *g)
{
    np_json_w_begin_key(w, "budgets", '{');
    for (size_t i = 0; i < g->catalog->n_budgets; i++) {
        char name[256], spent[NP_MONEY_TEXT];
        size_t n = np_money_format(g->catalog->budgets[i].limit_nusd, spent);
        account_name(g, &g->catalog->budgets[i], name, sizeof name);
        np_json_w_raw(w, name, np_span_make(spent, n));
    }
    np_json_w_end(w, '}');
}

static void put_given(struct np_json_w *w, const struct probing *g)
{
    const struct np_catalog *c = g->catalog;
    const struct probe *p = g->probe;
    np_json_w_begin(w, '{');
    np_json_w_begin_key(w, "request", '{');
    p->request(w);
    np_json_w_cstr(w, "tenant", tenant_of(g));
    np_json_w_cstr(w, "endpoint", p->endpoint ? p->endpoint : c->endpoints[0].path);
    np_json_w_end(w, '}');
    np_json_w_begin_key(w, "providers", '{');
    for (size_t i = 0; i < c->n_providers; i++)
        put_answer(w, c->providers[i].name, p);
    np_json_w_end(w, '}');
    if (p->broke)
        put_budgets(w, g);
    if (p->broken) {
        np_json_w_begin_key(w, "breakers", '{');
        for (size_t i = 0; i < c->n_models; i++)
            np_json_w_cstr(w, c->models[i].name, "open");
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, '}');
}

/* --- what came of it -------------------------------------------------------------------------------- */

/* Whether the same fault of the same line was told for another request. */
static bool is_told(const struct np_problems *p, const char *file, unsigned line, const char *code,
                    struct np_span why)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct np_problem *q = &p->list[i];
        size_t n = strlen(q->text);
        if (q->line == line && strcmp(q->code, code) == 0 && strcmp(q->file, file) == 0 &&
            n >= why.n && memcmp(q->text + n - why.n, why.p, why.n) == 0)
            return true;
    }
    return false;
}

static void tell(const struct probing *g, const struct np_hook_note *h)
{
    char file[64];
    (void)snprintf(file, sizeof file, "%s%s", h->file ? h->file : np_hook_name(h->hook),
                   h->file ? "" : ".lua");
    bool type = np_span_is(h->returned, "failed: type") && !g->probe->odd;
    const char *code = type ? "N401" : "N402";
    struct np_span why = h->error.n > 0 ? h->error : h->returned;
    if (is_told(g->problems, file, h->line, code, why))
        return;
    np_problems_add(g->problems, file, h->line, 0, code, !type, "%s fails for %s: %.*s",
                    np_hook_name(h->hook), g->probe->about, (int)why.n, why.p);
}

static void seen(void *ctx, const struct np_exchange *x)
{
    struct probing *g = ctx;
    for (size_t i = 0; i < x->n_notes; i++) {
        g->steps += x->notes[i].steps;
        if (np_span_starts(x->notes[i].returned, "failed: "))
            tell(g, &x->notes[i]);
    }
}

static enum np_err run(struct probing *g, const struct probe *p)
{
    struct np_json_w w;
    if (g->steps > MAX_STEPS)
        return NP_OK;
    g->probe = p;
    np_buf_reset(&g->given);
    np_buf_reset(&g->run);
    np_json_w_init(&w, &g->given);
    put_given(&w, g);
    struct np_play *play = np_play_new(g->set, SEED);
    if (!play || np_buf_failed(&g->given)) {
        np_play_free(play);
        return NP_E_NOMEM;
    }
    np_play_watch(play, seen, g);
    enum np_err err = np_play_run(play, np_buf_view(&g->given), &g->run);
    np_play_free(play);
    /* What can't be played with this set (more names than a play takes) tells nothing about it. */
    return err == NP_E_NOMEM ? err : NP_OK;
}

static enum np_err run_all(struct probing *g)
{
    const struct np_catalog *c = g->catalog;
    enum np_err err = NP_OK;
    for (size_t i = 0; !err && i < sizeof probes / sizeof probes[0]; i++)
        err = run(g, &probes[i]);
    struct probe other = {.request = known_metadata, .fails = NP_CLASS_ok};
    char about[200];
    other.about = about;
    for (size_t i = 1; !err && i < c->n_endpoints && i < MAX_ENDPOINTS; i++) {
        (void)snprintf(about, sizeof about, "a request to %s", c->endpoints[i].path);
        other.endpoint = c->endpoints[i].path;
        err = run(g, &other);
    }
    other.endpoint = NULL;
    for (size_t i = 1; !err && i < c->n_tenants && i < MAX_TENANTS; i++) {
        (void)snprintf(about, sizeof about, "a request of the tenant %s", c->tenants[i].name);
        other.tenant = c->tenants[i].name;
        err = run(g, &other);
    }
    return err;
}

/* The hook that no request calls. */
static enum np_err run_alert(struct probing *g)
{
    static const struct probe quiet = {.about = "the statistics of a process that has just begun"};
    struct np_alarms alarms;
    struct np_hook_report report;
    if (!np_policyset_has_hook(g->set, NP_HOOK_alert))
        return NP_OK;
    struct np_play *play = np_play_new(g->set, SEED);
    struct np_exchange *x = play ? np_alert_stand_in(g->set) : NULL;
    if (x) {
        g->probe = &quiet;
        np_hook_alert(np_sim_script(np_play_sim(play)), x, &alarms, &report);
        seen(g, x);
    }
    np_exchange_free(x);
    np_play_free(play);
    return x ? NP_OK : NP_E_NOMEM;
}

static bool has_hooks(const struct np_policyset *set)
{
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (np_policyset_has_hook(set, (enum np_hook)h))
            return true;
    }
    return false;
}

enum np_err np_probe(struct np_policyset *set, struct np_problems *problems)
{
    struct probing g = {.set = set, .catalog = np_policyset_catalog(set), .problems = problems};
    if (!has_hooks(set) || g.catalog->n_endpoints == 0)
        return NP_OK;
    np_buf_init(&g.given, GIVEN_BYTES);
    np_buf_init(&g.run, RUN_BYTES);
    enum np_err err = run_all(&g);
    if (!err)
        err = run_alert(&g);
    np_buf_free(&g.given);
    np_buf_free(&g.run);
    return err;
}
