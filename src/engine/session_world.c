/* Making the world around a request: money that is spent, breakers, time, chance. */
#include "engine/session_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_NAMES 128
#define MAX_CLOCK_MS UINT64_C(3456000000) /* 40 days, as play takes it */

/* --- beginning anew ------------------------------------------------------------------------------- */

/* A new ground with this seed, on which what was made of the world is made again, but for what begins
 * with `but` (NULL: all of it). What runs have spent and learnt is gone. */
static bool restart(struct neap_session *s, uint64_t seed, const char *but)
{
    struct np_deed *last = np_session_hold(s->scene.deed);
    struct np_deed **chain = calloc((size_t)last->number + 1, sizeof(struct np_deed *));
    np_require(chain);
    for (struct np_deed *d = last; d; d = d->before)
        chain[d->number] = d;
    bool ok = np_session_start(s, last->set, seed);
    for (unsigned i = 1; ok && i <= last->number; i++) {
        const char *given = chain[i]->kind == NP_DEED_WORLD ? chain[i]->given : NULL;
        if (given && !(but && strncmp(given, but, strlen(but)) == 0))
            ok = np_session_perform(s, NP_DEED_WORLD, np_session_copy(np_span_of(given)));
    }
    free(chain);
    np_session_let_go(last);
    return ok;
}

static bool has_run(const struct neap_session *s)
{
    for (const struct np_deed *d = s->scene.deed; d; d = d->before) {
        if (d->kind == NP_DEED_RUN)
            return true;
    }
    return false;
}

static bool restart_and_say(struct neap_session *s, const char *but)
{
    bool runs = has_run(s);
    if (!restart(s, s->scene.deed->seed, but))
        return false;
    if (runs)
        np_session_say(s, "the ground began anew for it: what earlier runs spent is forgotten\n");
    return true;
}

/* {"kind":{"name":value}} */
static char *world(const char *kind, struct np_span name, struct np_span value)
{
    struct np_buf b;
    np_buf_init(&b, 4096);
    np_buf_printf(&b, "{\"%s\":{\"", kind);
    np_json_escape(&b, name);
    np_buf_puts(&b, "\"");
    if (value.n > 0)
        np_buf_printf(&b, ":%.*s}}", (int)value.n, value.p);
    np_require(!np_buf_failed(&b));
    char *text = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return text;
}

/* --- money ---------------------------------------------------------------------------------------- */

static int64_t wall_ms(const struct neap_session *s)
{
    return np_sim_wall_ms(np_sim_now_ns(np_play_sim(s->play)));
}

static size_t list_accounts(const struct neap_session *s, struct np_account_view *views)
{
    return np_ledger_list(np_sim_ledger(np_play_sim(s->play)), np_session_catalog(s), wall_ms(s),
                          views, MAX_NAMES);
}

static void say_account(struct neap_session *s, const struct np_account_view *v)
{
    char spent[NP_MONEY_TEXT], limit[NP_MONEY_TEXT];
    (void)np_money_format(v->spent_nusd, spent);
    (void)np_money_format(v->limit_nusd, limit);
    np_session_say(s, "%-32s $%s of $%s spent\n", v->name, spent, limit);
}

static bool say_accounts(struct neap_session *s)
{
    struct np_account_view *views = calloc(MAX_NAMES, sizeof *views);
    np_require(views);
    size_t n = list_accounts(s, views);
    for (size_t i = 0; i < n; i++)
        say_account(s, &views[i]);
    if (n == 0)
        np_session_say(s, "there is no budget: budgets.lua declares them\n");
    free(views);
    return true;
}

static bool unknown_account(struct neap_session *s, struct np_span name)
{
    const char *names[MAX_NAMES];
    struct np_account_view *views = calloc(MAX_NAMES, sizeof *views);
    np_require(views);
    size_t n = list_accounts(s, views);
    for (size_t i = 0; i < n; i++)
        names[i] = views[i].name;
    (void)np_session_unknown(s, "account in budgets.lua", name, names, n);
    free(views);
    return false;
}

static bool set_budget(struct neap_session *s, struct np_span args)
{
    struct np_span name = np_session_word(&args), amount = np_session_word(&args);
    struct np_account_view v;
    int64_t nusd;
    if (name.n == 0)
        return say_accounts(s);
    if (np_ledger_account(np_sim_ledger(np_play_sim(s->play)), np_session_catalog(s), name,
                          wall_ms(s), &v))
        return unknown_account(s, name);
    if (amount.n > 0 && amount.p[0] == '$')
        amount = np_span_make(amount.p + 1, amount.n - 1);
    if (amount.n == 0 || args.n > 0 || np_money_parse(amount, 9, &nusd) || nusd < 0)
        return np_session_fail(s, "what is spent must be an amount of USD: .set budget %s 4.99",
                               v.name);
    if (nusd < v.spent_nusd) {
        char *but = world("budgets", np_span_of(v.name), NP_SPAN_NONE);
        bool ok = restart_and_say(s, but);
        free(but);
        if (!ok)
            return false;
    }
    return np_session_perform(s, NP_DEED_WORLD, world("budgets", np_span_of(v.name), amount));
}

/* --- .set ------------------------------------------------------------------------------------------ */

/* What .set can set, the first of them by commands of their own. */
static const char *const settable[] = {"budget",  "breaker",   "clock",       "seed",     "mock",
                                       "tenant",  "endpoint",  "prompt",      "messages", "system",
                                       "context", "maxTokens", "temperature", "stop",     "stream",
                                       "model",   "metadata"};

bool np_session_set(struct neap_session *s, struct np_span args)
{
    static np_session_run *const runs[] = {set_budget, np_session_breaker, np_session_clock,
                                           np_session_seed, np_session_mock};
    size_t n_runs = sizeof runs / sizeof *runs, n = sizeof settable / sizeof *settable;
    struct np_span rest = args, what = np_session_word(&rest);
    if (what.n == 0)
        return say_accounts(s);
    if (np_span_starts(what, "req."))
        what = np_span_make(what.p + 4, what.n - 4);
    const char *dot = memchr(what.p, '.', what.n);
    struct np_span head = np_span_make(what.p, dot ? (size_t)(dot - what.p) : what.n);
    for (size_t i = 0; i < n; i++) {
        if (np_span_is(head, settable[i]))
            return i < n_runs ? runs[i](s, rest) : np_session_set_field(s, what, rest);
    }
    return np_session_unknown(s, "thing to set", head, settable, n);
}

/* --- breakers -------------------------------------------------------------------------------------- */

static bool say_breakers(struct neap_session *s)
{
    const struct np_catalog *c = np_session_catalog(s);
    struct np_sim *sim = np_play_sim(s->play);
    for (size_t i = 0; i < c->n_models; i++) {
        struct np_breaker_view v;
        np_breaker_view(np_sim_guard(sim), &c->models[i], np_sim_now_ns(sim), &v);
        np_session_say(s, "%-24s %s", c->models[i].name, np_breaker_state_name(v.state));
        if (v.state == NP_BREAKER_OPEN)
            np_session_say(s, " for another %llu s",
                           (unsigned long long)((v.wait_ns + NP_NS_PER_S - 1) / NP_NS_PER_S));
        np_session_say(s, "\n");
    }
    return true;
}

static bool unknown_model(struct neap_session *s, struct np_span name)
{
    const struct np_catalog *c = np_session_catalog(s);
    const char *names[MAX_NAMES];
    size_t n = 0;
    for (; n < c->n_models && n < MAX_NAMES; n++)
        names[n] = c->models[n].name;
    return np_session_unknown(s, "model", name, names, n);
}

/* "open", "close" and "closed", "half_open" and "half-open"; -1: none of them. */
static int read_state(struct np_span word)
{
    static const char *const words[] = {"closed", "close", "half_open", "half-open", "open"};
    static const int states[] = {NP_BREAKER_CLOSED, NP_BREAKER_CLOSED, NP_BREAKER_HALF_OPEN,
                                 NP_BREAKER_HALF_OPEN, NP_BREAKER_OPEN};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (np_span_is(word, words[i]))
            return states[i];
    }
    return -1;
}

static bool set_breaker(struct neap_session *s, const struct np_model *m,
                        enum np_breaker_state wanted)
{
    struct np_sim *sim = np_play_sim(s->play);
    enum np_breaker_state now = np_breaker_get(np_sim_guard(sim), m, np_sim_now_ns(sim));
    struct np_span name = np_span_of(m->name);
    char state[24];
    if (now != NP_BREAKER_CLOSED && now != wanted) {
        char *but = world("breakers", name, NP_SPAN_NONE);
        bool ok = restart_and_say(s, but);
        free(but);
        if (!ok)
            return false;
    }
    (void)snprintf(state, sizeof state, "\"%s\"", np_breaker_state_name(wanted));
    if (wanted != NP_BREAKER_CLOSED &&
        !np_session_perform(s, NP_DEED_WORLD, world("breakers", name, np_span_of(state))))
        return false;
    return say_breakers(s);
}

bool np_session_breaker(struct neap_session *s, struct np_span args)
{
    struct np_span first = np_session_word(&args), second = np_session_word(&args);
    if (first.n == 0)
        return say_breakers(s);
    /* Either order is understood. */
    if (read_state(first) < 0 && read_state(second) >= 0) {
        struct np_span swap = first;
        first = second;
        second = swap;
    }
    int state = read_state(first);
    if (state < 0 || args.n > 0)
        return np_session_fail(s,
                               ".breaker takes open, half_open or close, and a model: .breaker "
                               "open %s",
                               np_session_catalog(s)->models[0].name);
    const struct np_model *m = np_catalog_model(np_session_catalog(s), second);
    return m ? set_breaker(s, m, (enum np_breaker_state)state) : unknown_model(s, second);
}

/* --- time and chance --------------------------------------------------------------------------------- */

static bool say_clock(struct neap_session *s)
{
    char at[32];
    np_clock_format_utc(wall_ms(s), at, sizeof at);
    np_session_say(s, "%s, virtual\n", at);
    return true;
}

bool np_session_read_span_ms(struct np_span text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = 0;
    unsigned long long n;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct np_span unit = np_session_trim(np_span_make(text.p + digits, text.n - digits));
    if (!np_span_to_u64(np_span_make(text.p, digits), &n) || n > MAX_CLOCK_MS)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (np_span_is(unit, units[i].unit) && n * units[i].ms <= MAX_CLOCK_MS) {
            *ms = n * units[i].ms;
            return true;
        }
    }
    return false;
}

bool np_session_clock(struct neap_session *s, struct np_span args)
{
    uint64_t ms;
    if (args.n == 0)
        return say_clock(s);
    if (args.p[0] == '+')
        args = np_span_make(args.p + 1, args.n - 1);
    if (!np_session_read_span_ms(args, &ms))
        return np_session_fail(s,
                               ".clock lets time pass, at most 40 days: .clock +30s (ms, s, m, h, "
                               "d); got \"%.*s\"",
                               (int)args.n, args.p);
    struct np_buf b;
    np_buf_init(&b, 64);
    np_buf_printf(&b, "{\"after_ms\":%llu}", (unsigned long long)ms);
    char *given = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    return np_session_perform(s, NP_DEED_WORLD, given) && (np_session_look(s), say_clock(s));
}

bool np_session_seed(struct neap_session *s, struct np_span args)
{
    unsigned long long seed;
    if (args.n == 0) {
        np_session_say(s, "seed %llu\n", (unsigned long long)s->scene.deed->seed);
        return true;
    }
    if (!np_span_to_u64(args, &seed))
        return np_session_fail(s, ".seed takes a whole number: .seed 7");
    if (!restart(s, seed, NULL))
        return false;
    np_session_say(s, "a new ground, seed %llu: nothing was run on it yet\n", seed);
    return true;
}
