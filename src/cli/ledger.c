/* neap ledger: proves that the books agree. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv)
{
    struct neap_ledger_options o = {.admin_token = getenv("NEAP_ADMIN_TOKEN")};
    const char *verb = "";
    const struct np_flag flags[] = {{"--store", NP_FLAG_TEXT, &o.store, 0, 0},
                                    {"--state", NP_FLAG_TEXT, &o.state, 0, 0},
                                    {"--decisions", NP_FLAG_TEXT, &o.decisions, 0, 0},
                                    {"--admin", NP_FLAG_TEXT, &o.admin, 0, 0}};
    char why[NEAP_WHY];
    char *text = NULL;
    size_t n_rest;
    if (!np_flags_read(&np_cmd_ledger, flags, 4, argc, argv, &verb, 1, &n_rest))
        return NEAP_USAGE;
    if (strcmp(verb, "check") != 0) {
        np_say(&np_cmd_ledger, "check is wanted; got \"%s\"", verb);
        return NEAP_USAGE;
    }
    enum neap_status status = neap_ledger_check(&o, &text, why);
    if (text)
        (void)fputs(text, stdout);
    else
        np_say(&np_cmd_ledger, "%s", why);
    free(text);
    return status;
}

const struct np_command np_cmd_ledger = {
    "ledger", "prove that the books of money agree",
    "ledger check [--store URL] [--state DIR] [--decisions FILE] [--admin URL]\n\n"
    "Compares, to the nano-dollar, the ledger's rows with its totals, with the decision records of FILE\n"
    "(and FILE.1 to FILE.5), and with llm_cost_usd_total of the instance at URL; per account and window,\n"
    "whether what is leased, settled and recorded can be. Nothing is written. Calls that are under way make\n"
    "books of a running instance differ: ask while it is idle.\n\n"
    "    --store URL         as for serve: sqlite:PATH (sqlite:neap.db), or redis://… for its journal\n"
    "    --state DIR         as for serve: the folder of the file or journal\n"
    "    --decisions FILE    decision records of the same instance\n"
    "    --admin URL         its admin socket; NEAP_ADMIN_TOKEN is sent where it is set\n\n"
    "Exit status: 0 they agree, 1 they differ, 2 the command is wrong, 3 something can't be read.",
    run};
