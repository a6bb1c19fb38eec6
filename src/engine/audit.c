/* `neap ledger check`: the three books beside each other. Decision records are read line by line, the
 * metrics of a running instance over its admin socket; the ledger's file is the audit's of ledger/. */
#include <neap/neap.h>

#include "engine/admin_url.h"

#include "base/clock.h"
#include "base/json.h"
#include "ledger/audit.h"
#include "ledger/ledger.h"
#include "model/money.h"
#include "provider/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUT_BYTES (4u << 20)
#define METRICS_BYTES (64u << 20)
#define REQUESTS_SHOWN 10
#define ACCOUNTS_SHOWN 200
#define TRIES 6
#define PAUSE_US 400000
#define OLD_FILES 5

struct books {
    const struct neap_ledger_options *o;
    struct np_audit *audit;
    struct np_buf out;
    size_t faults, shown;
    int64_t skipped_lines;
    char *why;
};

static void say(struct books *b, const char *label, int64_t nusd, const char *note)
{
    (void)np_buf_printf(&b->out, "  %-44s", label);
    np_money_put_column(&b->out, nusd);
    (void)np_buf_printf(&b->out, "%s%s\n", *note ? "  " : "", note);
}

static void fault(struct books *b, const char *text, int64_t nusd)
{
    b->faults++;
    say(b, text, nusd, "DIFFERS");
}

/* --- decision records ----------------------------------------------------------------------------- */

static bool text_of(struct np_span object, const char *key, char *out, size_t size)
{
    struct np_span v;
    if (!np_json_get(object, key, &v) || np_json_kind(v) != NP_JSON_STRING)
        return false;
    v = np_json_inner(v);
    (void)snprintf(out, size, "%.*s", (int)(v.n < size ? v.n : size - 1), v.p);
    return true;
}

static int64_t money_of(struct np_span object, const char *key)
{
    struct np_span v;
    int64_t nusd = 0;
    if (!np_json_get(object, key, &v) || np_money_parse(v, 9, &nusd) != NP_OK)
        return 0;
    return nusd;
}

/* What of a record's cost an account pays: of a model or provider, what its own attempts cost. */
static int64_t share_of(struct np_span record, const char *account, int64_t cost_nusd)
{
    bool model = strncmp(account, "model:", 6) == 0;
    const char *name = strchr(account, ':'), *slash = strrchr(account, '/');
    struct np_span attempts, item, who;
    int64_t sum = 0;
    if ((!model && strncmp(account, "provider:", 9) != 0) || !name || !slash)
        return cost_nusd;
    struct np_span wanted = np_span_make(name + 1, (size_t)(slash - name - 1));
    if (!np_json_get(record, "attempts", &attempts) || np_json_kind(attempts) != NP_JSON_ARRAY)
        return 0;
    for (struct np_json_walk w = np_json_walk(attempts); np_json_item(&w, &item);) {
        if (np_json_get(item, model ? "model" : "provider", &who) &&
            np_span_eq(np_json_inner(who), wanted))
            sum += money_of(item, "costUsd");
    }
    return sum;
}

static enum np_err take_accounts(struct books *b, struct np_span record, int64_t at_ms,
                                 int64_t took_ms, int64_t cost_nusd)
{
    struct np_span budget, list, item;
    enum np_err err = NP_OK;
    if (!np_json_get(record, "budget", &budget) || np_json_kind(budget) != NP_JSON_OBJECT ||
        !np_json_get(budget, "accounts", &list) || np_json_kind(list) != NP_JSON_ARRAY)
        return NP_OK;
    for (struct np_json_walk w = np_json_walk(list); np_json_item(&w, &item) && !err;) {
        struct np_span name = np_json_inner(item);
        char account[NP_ACCOUNT_TEXT];
        if (name.n >= sizeof account)
            continue;
        (void)snprintf(account, sizeof account, "%.*s", (int)name.n, name.p);
        err =
            np_audit_paid(b->audit, account, at_ms, took_ms, share_of(record, account, cost_nusd));
    }
    return err;
}

static enum np_err take_record(struct books *b, struct np_span line)
{
    char id[160], at[40];
    struct np_json_fault where;
    struct np_span took;
    int64_t took_ms = 0;
    if (np_json_check(line, NP_JSON_DEPTH, &where) || np_json_kind(line) != NP_JSON_OBJECT ||
        !text_of(line, "requestId", id, sizeof id) || !text_of(line, "at", at, sizeof at)) {
        b->skipped_lines++;
        return NP_OK;
    }
    int64_t at_ms = np_clock_parse_utc(at), cost = money_of(line, "costUsd");
    if (np_json_get(line, "latencyMs", &took) && np_json_i64(took, &took_ms) != NP_OK)
        took_ms = 0;
    enum np_err err = np_audit_record(b->audit, id, at_ms, cost);
    return err || cost == 0 ? err : take_accounts(b, line, at_ms, took_ms + 1, cost);
}

static enum np_err read_file(struct books *b, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    enum np_err err = NP_OK;
    FILE *f = fopen(path, "re");
    if (!f)
        return NP_E_NOTFOUND;
    while (!err && (n = getline(&line, &room, f)) > 0)
        err = take_record(b, np_span_make(line, (size_t)n));
    free(line);
    (void)fclose(f);
    return err;
}

/* The file and those that it was before, the oldest first. */
static enum np_err read_records(struct books *b)
{
    char path[4096];
    for (int i = OLD_FILES; i > 0; i--) {
        (void)snprintf(path, sizeof path, "%s.%d", b->o->decisions, i);
        enum np_err err = read_file(b, path);
        if (err && err != NP_E_NOTFOUND)
            return err;
    }
    enum np_err err = read_file(b, b->o->decisions);
    if (err)
        (void)snprintf(b->why, NEAP_WHY, "--decisions %s can't be read", b->o->decisions);
    return err;
}

/* --- metrics -------------------------------------------------------------------------------------- */

/* The sum of a family's samples, in nano-dollars. */
static int64_t sum_metric(struct np_span text, const char *family)
{
    size_t n = strlen(family);
    int64_t sum = 0, nusd;
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t length = end ? (size_t)(end - text.p) : text.n;
        if (length > n && memcmp(text.p, family, n) == 0 &&
            (text.p[n] == '{' || text.p[n] == ' ')) {
            const char *blank = memrchr(text.p, ' ', length);
            struct np_span v = np_span_make(blank + 1, length - (size_t)(blank + 1 - text.p));
            if (np_money_parse(v, 9, &nusd) == NP_OK)
                sum += nusd;
        }
        text = np_span_make(text.p + length + (end != NULL), text.n - length - (end != NULL));
    }
    return sum;
}

static enum neap_status read_metrics(struct books *b, int64_t *cost, int64_t *settled)
{
    char url[1024];
    struct np_buf body;
    unsigned status;
    enum neap_status known = np_admin_url(b->o->admin, "/metrics", url, sizeof url, b->why);
    if (known)
        return known;
    np_buf_init(&body, METRICS_BYTES);
    bool ok = np_fetch_get(url, b->o->admin_token, &body, &status, b->why, NEAP_WHY);
    if (ok) {
        *cost = sum_metric(np_buf_view(&body), "llm_cost_usd_total");
        *settled = sum_metric(np_buf_view(&body), "neap_budget_settled_usd_total");
    }
    np_buf_free(&body);
    return ok ? NEAP_GOOD : NEAP_FAILED;
}

/* --- the table ------------------------------------------------------------------------------------ */

static void tell_account(void *ctx, const struct np_audit_line *l)
{
    struct books *b = ctx;
    char start[32] = "-";
    if (!l->fault && b->shown >= ACCOUNTS_SHOWN)
        return;
    if (b->shown++ == 0)
        (void)np_buf_printf(&b->out, "\n%-32s %-20s %18s %18s %18s %18s\n", "account", "window",
                            "limit", "leased", "settled", "by records");
    if (l->start_ms > 0)
        np_clock_format_utc(l->start_ms, start, sizeof start);
    (void)np_buf_printf(&b->out, "%-32s %-20.16s ", l->account, start);
    np_money_put_column(&b->out, l->limit);
    (void)np_buf_char(&b->out, ' ');
    np_money_put_column(&b->out, l->leased);
    (void)np_buf_char(&b->out, ' ');
    np_money_put_column(&b->out, l->settled);
    (void)np_buf_char(&b->out, ' ');
    if (b->o->decisions && l->compared)
        np_money_put_column(&b->out, l->paid);
    else
        (void)np_buf_printf(&b->out, "%18s", "-");
    (void)np_buf_printf(&b->out, "%s%s\n", l->fault ? "  " : "", l->fault ? l->fault : "");
    if (l->maybe > 0 || l->recovered > 0) {
        (void)np_buf_puts(&b->out, "    of it");
        if (l->maybe > 0) {
            (void)np_buf_puts(&b->out, " by records at the window's edge");
            np_money_put_column(&b->out, l->maybe);
        }
        if (l->recovered > 0) {
            (void)np_buf_puts(&b->out, " presumed for a death");
            np_money_put_column(&b->out, l->recovered);
        }
        (void)np_buf_char(&b->out, '\n');
    }
}

static void tell_request(void *ctx, const struct np_audit_request *r)
{
    struct books *b = ctx;
    (void)np_buf_printf(&b->out, "  request %s: rows", r->request);
    np_money_put_column(&b->out, r->row_nusd);
    (void)np_buf_puts(&b->out, ", record");
    np_money_put_column(&b->out, r->record_nusd);
    (void)np_buf_puts(&b->out, r->crashed ? " (lost with a crash)\n" : "\n");
}

static void check_sums(struct books *b, const struct np_audit_sums *s)
{
    char note[96] = "";
    (void)snprintf(note, sizeof note, "%" PRId64 " settlements", s->rows + s->early);
    say(b, "ledger rows", s->all_nusd, note);
    if (s->pruned > 0)
        (void)snprintf(note, sizeof note, "%" PRId64 " are older than is kept", s->pruned);
    say(b, "ledger totals", s->total_nusd, s->pruned > 0 ? note : "");
    if (s->pruned < 0 || (s->pruned == 0 && s->all_nusd != s->total_nusd))
        fault(b, "rows - totals", s->all_nusd - s->total_nusd);
    if (s->crashes > 0)
        (void)np_buf_printf(&b->out, "  %" PRId64 " lives ended by a crash\n", s->crashes);
}

static enum np_err check_records(struct books *b, const struct np_audit_sums *s)
{
    char note[96];
    size_t faults, lost;
    (void)snprintf(note, sizeof note, "%" PRId64 " records", s->records);
    say(b, "decision records", s->record_nusd, note);
    if (s->early_nusd > 0)
        say(b, "rows before the first record, not compared", s->early_nusd, "");
    if (b->skipped_lines > 0)
        (void)np_buf_printf(&b->out, "  %" PRId64 " lines are no whole records\n",
                            b->skipped_lines);
    enum np_err err = np_audit_requests(b->audit, REQUESTS_SHOWN, &faults, &lost, tell_request, b);
    if (faults > 0) {
        (void)np_buf_printf(&b->out, "  %zu requests differ\n", faults);
        fault(b, "rows - records", s->row_nusd - s->record_nusd);
    }
    if (lost > 0)
        (void)np_buf_printf(&b->out, "  %zu requests have lost their row or record with a crash\n",
                            lost);
    return err;
}

static bool check_metrics(struct books *b, const struct np_audit_sums *s, int64_t cost,
                          int64_t settled)
{
    say(b, "ledger totals of the running life", s->boot_nusd, "");
    say(b, "neap_budget_settled_usd_total", settled, "");
    say(b, "llm_cost_usd_total", cost, "");
    if (cost != s->boot_nusd)
        fault(b, "llm_cost_usd_total - ledger totals", cost - s->boot_nusd);
    if (settled != s->boot_nusd)
        fault(b, "neap_budget_settled_usd_total - totals", settled - s->boot_nusd);
    return true;
}

/* --- a shared store ------------------------------------------------------------------------------- */

static void tell_shared(void *ctx, const struct np_audit_shared *l)
{
    struct books *b = ctx;
    char start[32] = "-";
    if (!l->fault && b->shown >= ACCOUNTS_SHOWN)
        return;
    if (b->shown++ == 0)
        (void)np_buf_printf(&b->out, "\n%-32s %-20s %9s %18s %18s %18s %18s\n", "at Redis",
                            "window", "instances", "leased", "settled", "by this one",
                            "by its journal");
    if (l->start_ms > 0)
        np_clock_format_utc(l->start_ms, start, sizeof start);
    (void)np_buf_printf(&b->out, "%-32s %-20.16s %9zu ", l->account, start, l->instances);
    const int64_t columns[] = {l->leased, l->settled, l->own, l->journal};
    for (size_t i = 0; i < 4; i++) {
        np_money_put_column(&b->out, columns[i]);
        (void)np_buf_puts(&b->out, i < 3 ? " " : "");
    }
    const char *words = l->fault ? l->fault : l->note ? l->note : "";
    (void)np_buf_printf(&b->out, "%s%s\n", words[0] ? "  " : "", words);
}

static void tell_instances(struct books *b, const struct np_audit_instance *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char heard[32] = "never";
        if (list[i].heard_ms > 0)
            np_clock_format_utc(list[i].heard_ms, heard, sizeof heard);
        (void)np_buf_printf(&b->out, "  instance %s%s heard of %s, holds money in %zu accounts\n",
                            list[i].name, list[i].self ? " (this one)" : "", heard, list[i].holds);
    }
}

/* What Redis says of the same accounts. */
static enum np_err check_shared(struct books *b, const char *store)
{
    struct np_audit_instance instances[NP_AUDIT_INSTANCES];
    size_t faults = 0, n = 0;
    char why[512] = "";
    b->shown = 0;
    enum np_err err =
        np_audit_store(b->audit, store, &faults, tell_shared, b, instances, &n, why, sizeof why);
    if (err)
        (void)snprintf(b->why, NEAP_WHY,
                       "%s. The journal alone is looked at with --store sqlite:neap-journal.db",
                       why);
    else
        tell_instances(b, instances, n);
    b->faults += faults;
    return err;
}

static enum neap_status compare(struct books *b, int64_t cost, int64_t settled)
{
    struct np_audit_sums sums = {0};
    size_t faults = 0;
    enum np_err err = np_audit_sums(b->audit, &sums);
    if (!err) {
        (void)np_buf_printf(&b->out, "%s%s\n", np_audit_path(b->audit),
                            np_audit_alive(b->audit) ? " (in use)" : "");
        check_sums(b, &sums);
    }
    if (!err && b->o->decisions)
        err = check_records(b, &sums);
    if (!err && b->o->admin)
        (void)check_metrics(b, &sums, cost, settled);
    if (!err)
        err = np_audit_accounts(b->audit, b->o->decisions != NULL, &faults, tell_account, b);
    if (err) {
        (void)snprintf(b->why, NEAP_WHY, "the ledger %s can't be read", np_audit_path(b->audit));
        return NEAP_FAILED;
    }
    b->faults += faults;
    const char *store = b->o->store ? b->o->store : "";
    if (strncmp(store, "redis", 5) == 0 && check_shared(b, store))
        return NEAP_FAILED;
    (void)np_buf_puts(&b->out, b->faults > 0 ? "\nthe books differ\n" : "\nthe books agree\n");
    return b->faults > 0 ? NEAP_NO : NEAP_GOOD;
}

static enum neap_status check_once(struct books *b)
{
    int64_t cost = 0, settled = 0;
    const char *store = b->o->store ? b->o->store : "sqlite:neap.db";
    b->faults = b->shown = 0;
    b->skipped_lines = 0;
    np_buf_reset(&b->out);
    enum neap_status status = b->o->admin ? read_metrics(b, &cost, &settled) : NEAP_GOOD;
    if (status)
        return status;
    if (strcmp(store, "memory:") != 0 && np_ledger_check(store, b->why, NEAP_WHY))
        return NEAP_USAGE;
    enum np_err err = np_audit_open(store, b->o->state, &b->audit, b->why, NEAP_WHY);
    status = strcmp(store, "memory:") == 0 ? NEAP_USAGE : NEAP_FAILED;
    if (!err && b->o->decisions)
        err = read_records(b);
    if (!err)
        status = compare(b, cost, settled);
    np_audit_free(b->audit);
    b->audit = NULL;
    return status;
}

enum neap_status neap_ledger_check(const struct neap_ledger_options *options, char **out,
                                   char why[NEAP_WHY])
{
    struct books b = {.o = options, .why = why};
    enum neap_status status = NEAP_NO;
    *out = NULL;
    (void)snprintf(why, NEAP_WHY, "no memory");
    np_buf_init(&b.out, OUT_BYTES);
    /* Rows, records and metrics of a running instance are some milliseconds apart. */
    for (int i = 0; i < TRIES && status == NEAP_NO; i++) {
        if (i > 0)
            (void)usleep(PAUSE_US);
        status = check_once(&b);
        if (!options->admin && !(options->store && strncmp(options->store, "redis", 5) == 0))
            break;
    }
    if (status == NEAP_GOOD || status == NEAP_NO) {
        (void)np_buf_char(&b.out, '\0');
        *out = np_buf_failed(&b.out) ? NULL : strdup(b.out.p);
        status = *out ? status : NEAP_FAILED;
    }
    np_buf_free(&b.out);
    return status;
}
