/* `neap ledger release`: the words for what ledger/ gives back. */
#include <neap/neap.h>

#include "base/buf.h"
#include "base/clock.h"
#include "ledger/release.h"
#include "model/money.h"

#include <stdio.h>
#include <string.h>

#define OUT_BYTES (64u << 20)

struct table {
    struct np_buf out;
    size_t n;
};

static void tell(void *ctx, const struct np_release_line *l)
{
    struct table *t = ctx;
    char start[32] = "-";
    if (t->n++ == 0)
        (void)np_buf_printf(&t->out, "%-32s %-20s %18s %18s %18s\n", "account", "window", "leased",
                            "settled", "given back");
    if (l->start_ms > 0)
        np_clock_format_utc(l->start_ms, start, sizeof start);
    (void)np_buf_printf(&t->out, "%-32s %-20.16s ", l->account, start);
    np_money_put_column(&t->out, l->leased);
    (void)np_buf_char(&t->out, ' ');
    np_money_put_column(&t->out, l->settled);
    (void)np_buf_char(&t->out, ' ');
    np_money_put_column(&t->out, l->nusd);
    (void)np_buf_char(&t->out, '\n');
}

static bool is_instance(const char *text)
{
    return strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;
}

/* `whole`: nothing failed. */
static void end_table(struct table *t, const struct np_release *r, bool whole)
{
    char heard[32];
    if (r->given + r->others == 0) {
        (void)np_buf_printf(&t->out, "instance %s holds nothing at %s\n", r->instance, r->name);
        return;
    }
    if (r->others > 0)
        (void)np_buf_printf(&t->out, "%sand %zu of calls, requests or tokens\n",
                            r->given > 0 ? "" : "no account of money, ", r->others);
    (void)np_buf_printf(&t->out, "\ninstance %s at %s", r->instance, r->name);
    if (!whole) {
        (void)np_buf_puts(
            &t->out, ": this is free again, what else it holds is not. Ask again for the rest\n");
        return;
    }
    if (r->heard_ms > 0) {
        np_clock_format_utc(r->heard_ms, heard, sizeof heard);
        (void)np_buf_printf(&t->out, ", heard of last at %s", heard);
    }
    (void)np_buf_puts(
        &t->out, ": what it held is free again. What it spent in its last moments and could not\n"
                 "tell is in that, so this much can be spent above a limit. Should it start again "
                 "with its journal, it counts\nas spent after all.\n");
}

enum neap_status neap_ledger_release(const struct neap_ledger_options *options,
                                     const char *instance, char **out, char why[NEAP_WHY])
{
    struct table t = {.n = 0};
    struct np_release r = {.store = options->store ? options->store : "sqlite:neap.db",
                           .state = options->state,
                           .instance = instance,
                           .tell = tell,
                           .ctx = &t};
    *out = NULL;
    if (!is_instance(instance)) {
        (void)snprintf(
            why, NEAP_WHY,
            "an instance is named by 16 hex digits (neap serve logs its own at the start, "
            "neap ledger check tells all); got \"%.64s\"",
            instance);
        return NEAP_USAGE;
    }
    np_buf_init(&t.out, OUT_BYTES);
    enum np_err err = np_release(&r, why, NEAP_WHY);
    if (!err || r.given + r.others > 0) {
        end_table(&t, &r, !err);
        (void)np_buf_char(&t.out, '\0');
        *out = np_buf_failed(&t.out) ? strdup("more went back than can be told here\n")
                                     : strdup(t.out.p);
    }
    np_buf_free(&t.out);
    switch (err) {
    case NP_OK:
        return NEAP_GOOD;
    case NP_E_BUSY:
    case NP_E_NOTFOUND:
        return NEAP_NO;
    case NP_E_INVALID:
        return NEAP_USAGE;
    default:
        return NEAP_FAILED;
    }
}
