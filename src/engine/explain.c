/* neap explain: one decision record, told as a person would tell it. Nothing is known here but what the
 * record says; what it does not say is not told. */
#include "engine/explain.h"

#include "engine/explain_lines.h"
#include "engine/fields.h"
#include "model/money.h"

#include <stdio.h>

/* --- words --------------------------------------------------------------------------------------- */

struct word {
    const char *name, *said;
};

static const struct word classes[] = {
    {"network", "the connection failed"},
    {"timeout", "it took too long and was cut"},
    {"rate_limited", "the provider asked to slow down"},
    {"quota", "the quota at the provider is used up"},
    {"overloaded", "the provider is overloaded"},
    {"server_error", "the provider failed"},
    {"bad_reply", "the reply can't be used"},
    {"cut", "the stream broke off after text had reached the client"},
    {"credential", "the provider does not take the key"},
    {"model_gone", "the provider does not have the model"},
    {"too_long", "the request is too long for the model"},
    {"filtered", "the provider's content filter refused"},
    {"rejected", "the provider does not take such a request"},
    {"cancelled", "the client went away"},
    {"deadline", "the endpoint's time was over"},
};

static const struct word skips[] = {
    {"budget", "it may cost more than one request is allowed"},
    {"breaker", "its breaker is open"},
    {"busy", "too many calls are in flight, or its retries are used up"},
    {"quota", "its quota is used up, it is left alone for a while"},
    {"deadline", "there is not enough time left for it"},
};

static const struct word reasons[] = {
    {"budget", "no budget had room"},
    {"breaker", "every breaker was open"},
    {"deadline", "the endpoint's time was over"},
    {"exhausted", "nothing in the plan gave an answer"},
    {"filtered", "a content filter refused"},
    {"shed", "neap or the providers were too busy"},
    {"policy", "a policy wanted it so"},
};

static const struct word settlements[] = {
    {"exact", "as the provider billed it"},
    {"estimated", "estimated, the provider did not say"},
    {"presumed", "presumed: how it ended is not known"},
};

/* What became of asking a second provider beside a slow first; what stands for each is said after it. */
static const struct word hedges[] = {
    {"won", "a second provider was asked beside the first, and answered first"},
    {"lost", "a second provider was asked beside the first, which answered first"},
    {"failed", "a second provider was asked beside the first, and failed"},
    {"left", "a second provider was asked beside the first; the client left"},
    {"provider", "no second provider was asked: the plan has no other that takes it"},
    {"share", "no second provider was asked: one request in twenty has one already"},
    {"retries", "no second provider was asked: the first one's retry budget is used up"},
    {"budget", "no second provider was asked: a budget or the cost cap has too little left"},
    {"breaker", "no second provider was asked: its breaker is not closed"},
    {"busy", "no second provider was asked: too many calls are in flight"},
    {"quota", "no second provider was asked: no key is free, or the tenant's tokens are used up"},
    {"attempts", "no second provider was asked: max_attempts are made"},
    {"deadline", "no second provider was asked: too little time is left"},
    {"policy", "no second provider was asked: a policy did not want it"},
};

#define SAID(table, name) said((table), sizeof(table) / sizeof *(table), (name))

/* What stands for a name; NULL: nothing does. */
static const char *said(const struct word *table, size_t n, struct np_span name)
{
    for (size_t i = 0; i < n; i++) {
        if (np_span_is(name, table[i].name))
            return table[i].said;
    }
    return NULL;
}

/* --- pieces -------------------------------------------------------------------------------------- */

static struct np_span object_of(struct np_span object, const char *key)
{
    struct np_span value;
    return np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_OBJECT
               ? value
               : NP_SPAN("{}");
}

static bool is_true(struct np_span object, const char *key)
{
    struct np_span value;
    return np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_TRUE;
}

static void put_money(struct np_buf *b, struct np_span object, const char *key)
{
    struct np_span value;
    if (np_json_get(object, key, &value) && np_json_kind(value) == NP_JSON_NUMBER)
        (void)np_buf_printf(b, "$%.*s", (int)value.n, value.p);
    else
        (void)np_buf_puts(b, "$0");
}

static void put_ms(struct np_buf *b, double ms)
{
    if (ms >= 10000)
        (void)np_buf_printf(b, "%.1f s", ms / 1000);
    else
        (void)np_buf_printf(b, "%.0f ms", ms);
}

/* A list of strings, told: "a, b, c". */
static size_t put_list(struct np_buf *b, struct np_span object, const char *key,
                       const char *between)
{
    struct np_span item;
    size_t n = 0;
    for (struct np_json_walk w = np_list_of(object, key); np_json_item(&w, &item);) {
        if (np_json_kind(item) != NP_JSON_STRING)
            continue;
        (void)np_buf_puts(b, n++ ? between : "");
        np_explain_text(b, np_json_inner(item));
    }
    return n;
}

static void put_member(struct np_buf *b, const char *before, struct np_span object, const char *key)
{
    struct np_span value = np_text_of(object, key);
    if (value.n == 0)
        return;
    (void)np_buf_puts(b, before);
    np_explain_text(b, value);
}

/* --- what happened, in order --------------------------------------------------------------------- */

/* Whether it may be a hook's name, and so stand in the column of labels. */
static bool is_hook_name(struct np_span name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < 'a' || name.p[i] > 'z')
            return false;
    }
    return name.n > 0 && name.n <= 10;
}

/* `line` is of the hook's own file. */
static void tell_place(struct np_buf *b, struct np_span h, struct np_span name)
{
    double line = np_number_of(h, "line");
    put_member(b, " (", h, "at");
    if (np_text_of(h, "at").n > 0)
        (void)np_buf_char(b, ')');
    else if (line > 0 && line < 1e7)
        (void)np_buf_printf(b, " (%.*s.lua:%.0f)", (int)name.n, name.p, line);
}

static void tell_hook(struct np_buf *out, struct np_buf *b, struct np_span h)
{
    char label[32];
    struct np_span name = np_text_of(h, "name"), returned = np_text_of(h, "returned");
    if (!is_hook_name(name))
        name = NP_SPAN("hook");
    (void)snprintf(label, sizeof label, "%.*s", (int)name.n, name.p);
    if (returned.n > 0)
        np_explain_text(b, returned);
    else
        (void)np_buf_puts(b, "nothing");
    put_member(b, ", because ", h, "why");
    put_member(b, ": ", h, "error");
    tell_place(b, h, name);
    (void)np_buf_printf(b, "  %.0f us", np_number_of(h, "us") < 0 ? 0 : np_number_of(h, "us"));
    np_explain_entry(out, label, b);
}

/* Why a candidate was passed over; by_hook: the budget hook had just said "next" of it. */
static void tell_skipped(struct np_buf *out, struct np_buf *b, struct np_span s, bool by_hook)
{
    struct np_span why = np_text_of(s, "why");
    bool budget = np_span_is(why, "budget");
    put_member(b, "", s, "model");
    put_member(b, ": ", s, "why");
    if (budget && np_text_of(s, "account").n > 0) {
        put_member(b, ", the budget ", s, "account");
        (void)np_buf_puts(b, " has no room for it");
    } else if (budget && by_hook) {
        (void)np_buf_puts(b, ", the budget hook wanted the next");
    } else if (SAID(skips, why)) {
        (void)np_buf_printf(b, ", %s", SAID(skips, why));
    }
    np_explain_entry(out, "skipped", b);
}

static void put_tokens(struct np_buf *b, struct np_span a)
{
    struct np_span tokens = object_of(a, "tokens");
    double prompt = np_number_of(tokens, "prompt"), completion = np_number_of(tokens, "completion");
    double cached = np_number_of(tokens, "cached");
    if (prompt < 0)
        return;
    (void)np_buf_printf(b, ", %.0f tokens in", prompt);
    if (cached > 0)
        (void)np_buf_printf(b, " (%.0f from its cache)", cached);
    (void)np_buf_printf(b, " and %.0f out", completion);
}

/* How it ended. */
static void put_end(struct np_buf *b, struct np_span a)
{
    struct np_span class = np_text_of(a, "class");
    const char *words = SAID(classes, class);
    if (is_true(a, "lost")) {
        (void)np_buf_puts(b, "ended, as the other had answered");
        return;
    }
    double status = np_number_of(a, "status");
    if (status > 0 && !np_span_is(class, "ok"))
        (void)np_buf_printf(b, "%.0f ", status);
    np_explain_text(b, class);
    if (words)
        (void)np_buf_printf(b, ", %s", words);
    put_member(b, ": ", a, "error");
    if (np_number_of(a, "retryAfterMs") > 0) {
        (void)np_buf_puts(b, "; it asks for ");
        put_ms(b, np_number_of(a, "retryAfterMs"));
    }
    put_member(b, "; its request id is ", a, "providerRequestId");
}

static void put_cost(struct np_buf *b, struct np_span a)
{
    struct np_span settled = np_text_of(a, "settled");
    const char *words = SAID(settlements, settled);
    if (np_span_is(settled, "void")) {
        (void)np_buf_puts(b, "cost nothing");
        return;
    }
    (void)np_buf_puts(b, "cost ");
    put_money(b, a, "costUsd");
    if (np_number_of(a, "reservedUsd") > 0) {
        (void)np_buf_puts(b, " of ");
        put_money(b, a, "reservedUsd");
        (void)np_buf_puts(b, " held");
    }
    if (is_true(a, "usageImpossible"))
        (void)np_buf_puts(b, " (estimated, what the provider reported is impossible)");
    else if (words)
        (void)np_buf_printf(b, " (%s)", words);
}

static void tell_attempt(struct np_buf *out, struct np_buf *b, struct np_span a, unsigned number)
{
    char label[32];
    double at = np_number_of(a, "atMs"), took = np_number_of(a, "latencyMs");
    double first = np_number_of(a, "ttftMs"), wait = np_number_of(a, "retryInMs");
    (void)snprintf(label, sizeof label, "attempt %u", number);
    put_member(b, "", a, "model");
    put_member(b, " of ", a, "provider");
    put_member(b, " with the key ", a, "key");
    if (is_true(a, "probe"))
        (void)np_buf_puts(b, ", a probe for its breaker");
    if (is_true(a, "hedge"))
        (void)np_buf_printf(b, ", beside attempt %u", number - 1);
    if (at >= 0) {
        (void)np_buf_puts(b, ", begun at ");
        put_ms(b, at);
    }
    (void)np_buf_puts(b, ", took ");
    put_ms(b, took);
    if (first >= 0 && first < took) {
        (void)np_buf_puts(b, ", first byte after ");
        put_ms(b, first);
    }
    np_explain_entry(out, label, b);
    put_end(b, a);
    put_tokens(b, a);
    double deltas = np_number_of(a, "deltas");
    if (deltas > 0)
        (void)np_buf_printf(b, ", sent on in %.0f piece%s", deltas, deltas > 1 ? "s" : "");
    np_explain_entry(out, "", b);
    put_cost(b, a);
    if (wait >= 0) {
        (void)np_buf_puts(b, wait > 0 ? "; waited " : "; went on at once");
        if (wait > 0)
            put_ms(b, wait);
    }
    np_explain_entry(out, "", b);
}

struct steps {
    struct np_json_walk attempts, skipped;
    struct np_span attempt, skip;
    bool has_attempt, has_skip;
    bool next; /* the last hook was budget, and said so */
    unsigned made;
};

/* Attempts and candidates passed over before a hook that was called after `until` attempts and is the
 * n-th. */
static void tell_before(struct np_buf *out, struct np_buf *b, struct steps *s, double until,
                        double n)
{
    for (;;) {
        bool skip_next = s->has_skip && np_number_of(s->skip, "attempts") <= (double)s->made &&
                         np_number_of(s->skip, "hooks") <= n;
        if (skip_next) {
            tell_skipped(out, b, s->skip, s->next);
            s->next = false;
            s->has_skip = np_json_item(&s->skipped, &s->skip);
        } else if (s->has_attempt && (double)s->made < until) {
            tell_attempt(out, b, s->attempt, ++s->made);
            s->has_attempt = np_json_item(&s->attempts, &s->attempt);
        } else {
            return;
        }
    }
}

/* Older records do not say after which attempt a hook was called: retry and respond follow one. */
static double attempts_before(struct np_span hook, unsigned made)
{
    struct np_span name = np_text_of(hook, "name");
    double attempts = np_number_of(hook, "attempts");
    bool follows = np_span_is(name, "retry") || np_span_is(name, "respond");
    return attempts >= 0 ? attempts : follows ? made + 1 : made;
}

static void tell_steps(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    struct steps s = {.attempts = np_list_of(record, "attempts"),
                      .skipped = np_list_of(record, "skipped")};
    struct np_span hook;
    double n = 0;
    s.has_attempt = np_json_item(&s.attempts, &s.attempt);
    s.has_skip = np_json_item(&s.skipped, &s.skip);
    size_t before = out->n;
    (void)np_buf_char(out, '\n');
    for (struct np_json_walk w = np_list_of(record, "hooks"); np_json_item(&w, &hook); n++) {
        tell_before(out, b, &s, attempts_before(hook, s.made), n);
        tell_hook(out, b, hook);
        s.next = np_span_is(np_text_of(hook, "name"), "budget") &&
                 np_span_is(np_text_of(hook, "returned"), "next");
    }
    tell_before(out, b, &s, 1e9, 1e9);
    if (out->n == before + 1)
        out->n = before;
}

/* --- the whole ----------------------------------------------------------------------------------- */

/* Whose the plan is. */
static const char *whose_plan(struct np_span record)
{
    struct np_span hook;
    for (struct np_json_walk w = np_list_of(record, "hooks"); np_json_item(&w, &hook);) {
        struct np_span returned = np_text_of(hook, "returned");
        if (!np_span_is(np_text_of(hook, "name"), "route"))
            continue;
        if (np_span_starts(returned, "failed"))
            return "the endpoint's own order, for the route hook failed";
        if (returned.n == 0 || np_span_is(returned, "nothing"))
            return "the endpoint's own order, route left it so";
        return "route wanted it so";
    }
    return "the endpoint's own order, there is no route hook";
}

static void tell_plan(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    struct np_span estimate = object_of(record, "estimate");
    if (put_list(b, record, "plan", ", then ") == 0)
        return;
    (void)np_buf_printf(b, "; %s", whose_plan(record));
    np_explain_entry(out, "plan", b);
    if (np_number_of(estimate, "promptTokens") < 0)
        return;
    (void)np_buf_printf(b, "%.0f tokens in, at most %.0f out: about ",
                        np_number_of(estimate, "promptTokens"),
                        np_number_of(estimate, "maxTokens"));
    put_money(b, estimate, "costUsd");
    (void)np_buf_puts(b, ", at most ");
    put_money(b, estimate, "worstUsd");
    np_explain_entry(out, "estimate", b);
}

/* The model whose attempt was good, as a value; "" where none was. */
static void put_answering(struct np_buf *b, struct np_span record)
{
    struct np_span a, good = NP_SPAN("{}");
    for (struct np_json_walk w = np_list_of(record, "attempts"); np_json_item(&w, &a);) {
        if (np_span_is(np_text_of(a, "class"), "ok"))
            good = a;
    }
    put_member(b, ", answered by ", good, "model");
}

/* Whether a provider was. */
static bool asked(struct np_span record)
{
    struct np_json_walk w = np_list_of(record, "attempts");
    struct np_span attempt;
    return np_json_item(&w, &attempt);
}

static void tell_outcome(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    struct np_span outcome = np_text_of(record, "outcome"), reason = np_text_of(record, "reason");
    const char *words = SAID(reasons, reason);
    double status = np_number_of(record, "status");
    bool ok = np_span_is(outcome, "ok");
    np_explain_text(b, outcome);
    if (status > 0)
        (void)np_buf_printf(b, " %.0f", status);
    if (ok)
        put_answering(b, record);
    put_member(b, ", which ended by ", record, "finishReason");
    put_member(b, ", reason ", record, "reason");
    if (words)
        (void)np_buf_printf(b, ": %s", words);
    put_member(b, ": ", record, "message");
    if (np_text_of(record, "message").n > 0)
        put_member(b, ", at ", record, "param");
    else if (np_text_of(record, "param").n > 0)
        put_member(b, ": the request is not valid at ", record, "param");
    else if (np_span_is(outcome, "invalid_request") && !asked(record))
        (void)np_buf_puts(b, ": the body is no valid request");
    (void)np_buf_puts(b, ", after ");
    put_ms(b, np_number_of(record, "latencyMs"));
    (void)np_buf_puts(b, ", for ");
    put_money(b, record, "costUsd");
    np_explain_entry(out, "outcome", b);
}

static void tell_head(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    put_member(b, "", record, "requestId");
    np_explain_entry(out, "request", b);
    put_member(b, "", record, "at");
    put_member(b, "  ", record, "endpoint");
    put_member(b, "  tenant ", record, "tenant");
    np_explain_entry(out, "", b);
    put_member(b, "policy ", record, "policy");
    np_explain_entry(out, "", b);
}

/* What an account of a model or a provider has paid: what its own attempts cost; -1: the account is of
 * another kind and paid all. */
static int64_t share_of(struct np_span record, struct np_span account)
{
    bool model = np_span_starts(account, "model:");
    size_t skip = model ? 6 : 9;
    const char *slash = account.n > 0 ? memrchr(account.p, '/', account.n) : NULL;
    if ((!model && !np_span_starts(account, "provider:")) || !slash || slash < account.p + skip)
        return -1;
    struct np_span item, cost,
        name = np_span_make(account.p + skip, (size_t)(slash - account.p) - skip);
    int64_t sum = 0, nusd;
    for (struct np_json_walk w = np_list_of(record, "attempts"); np_json_item(&w, &item);) {
        if (np_span_eq(np_text_of(item, model ? "model" : "provider"), name) &&
            np_json_get(item, "costUsd", &cost) && np_money_parse(cost, 9, &nusd) == NP_OK)
            sum += nusd;
    }
    return sum;
}

/* "global/day, model:m/day ($0.02)": each account, with its share where it did not pay all. */
static size_t put_accounts(struct np_buf *b, struct np_span record, struct np_span budget)
{
    struct np_span item, cost;
    int64_t all = 0;
    size_t n = 0;
    if (np_json_get(budget, "settled", &cost))
        (void)!np_money_parse(cost, 9, &all);
    for (struct np_json_walk w = np_list_of(budget, "accounts"); np_json_item(&w, &item);) {
        if (np_json_kind(item) != NP_JSON_STRING)
            continue;
        char text[NP_MONEY_TEXT];
        int64_t share = share_of(record, np_json_inner(item));
        (void)np_buf_puts(b, n++ ? ", " : "");
        np_explain_text(b, np_json_inner(item));
        if (share >= 0 && share < all)
            (void)np_buf_printf(b, " ($%.*s)", (int)np_money_format(share, text), text);
    }
    return n;
}

static void tell_money(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    struct np_span budget = object_of(record, "budget");
    if (np_number_of(budget, "settled") < 0)
        return;
    put_money(b, budget, "settled");
    (void)np_buf_puts(b, " of ");
    put_money(b, budget, "reserved");
    (void)np_buf_puts(b, " held");
    size_t before = b->n;
    (void)np_buf_puts(b, ", from ");
    if (put_accounts(b, record, budget) == 0) {
        b->n = before;
        (void)np_buf_puts(b, "; no budget stands over it");
    }
    np_explain_entry(out, "paid", b);
}

static void tell_hedge(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    const char *words = SAID(hedges, np_text_of(record, "hedge"));
    struct np_span item, cost = NP_SPAN_NONE;
    int64_t nusd;
    if (words)
        (void)np_buf_puts(b, words);
    for (struct np_json_walk w = np_list_of(record, "attempts"); np_json_item(&w, &item);) {
        if (words && is_true(item, "lost") && np_json_get(item, "costUsd", &cost) &&
            np_money_parse(cost, 9, &nusd) == NP_OK && nusd > 0) {
            (void)np_buf_puts(b, "; the call that was ended cost ");
            put_money(b, item, "costUsd");
        }
    }
    np_explain_entry(out, "hedge", b);
}

static void tell_times(struct np_buf *out, struct np_buf *b, struct np_span record)
{
    double first = np_number_of(record, "firstTextMs"), own = np_number_of(record, "overheadUs");
    put_ms(b, np_number_of(record, "latencyMs"));
    if (own >= 0)
        (void)np_buf_printf(b, ", %.3f ms of it in neap itself", own / 1000);
    if (is_true(record, "stream"))
        (void)np_buf_puts(b,
                          is_true(record, "brokeOff") ? "; a stream that broke off" : "; streamed");
    if (first >= 0) {
        (void)np_buf_puts(b, ", first text at ");
        put_ms(b, first);
    }
    np_explain_entry(out, "time", b);
}

void np_explain_tell(struct np_buf *out, struct np_span record)
{
    struct np_buf b;
    np_buf_init(&b, NP_EXPLAIN_ENTRY_BYTES);
    tell_head(out, &b, record);
    tell_outcome(out, &b, record);
    tell_plan(out, &b, record);
    tell_steps(out, &b, record);
    tell_hedge(out, &b, record);
    (void)np_buf_char(out, '\n');
    tell_money(out, &b, record);
    tell_times(out, &b, record);
    if (put_list(&b, record, "dropped", ", ") > 0)
        np_explain_entry(out, "dropped", &b);
    np_buf_free(&b);
}
