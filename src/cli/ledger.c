/* neap ledger: proves that the books agree, and gives back what the dead hold. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv)
{
    struct neap_ledger_options o = {.admin_token = getenv("NEAP_ADMIN_TOKEN")};
    const char *words[2] = {"", ""};
    const struct np_flag flags[] = {{"--store", NP_FLAG_TEXT, &o.store, 0, 0},
                                    {"--state", NP_FLAG_TEXT, &o.state, 0, 0},
                                    {"--decisions", NP_FLAG_TEXT, &o.decisions, 0, 0},
                                    {"--admin", NP_FLAG_TEXT, &o.admin, 0, 0}};
    char why[NEAP_WHY];
    char *text = NULL;
    size_t n;
    if (!np_flags_read(&np_cmd_ledger, flags, 4, argc, argv, words, 2, &n))
        return NEAP_USAGE;
    bool release = strcmp(words[0], "release") == 0;
    if (n != (release ? 2 : 1) || (!release && strcmp(words[0], "check") != 0)) {
        np_say(&np_cmd_ledger, "check, or release INSTANCE is wanted; got \"%s%s%s\"", words[0],
               n > 1 ? " " : "", words[1]);
        return NEAP_USAGE;
    }
    enum neap_status status =
        release ? neap_ledger_release(&o, words[1], &text, why) : neap_ledger_check(&o, &text, why);
    if (text)
        (void)fputs(text, stdout);
    /* Of a release that failed half-way there are both. */
    if (!text || (release && status != NEAP_GOOD))
        np_say(&np_cmd_ledger, "%s", why);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_ledger = {
    "ledger", "prove that the books of money agree, give back what a dead instance holds",
    "ledger check [--store URL] [--state DIR] [--decisions FILE] [--admin URL]\n"
    "       neap ledger release INSTANCE [--store URL] [--state DIR]\n\n"
    "check compares, to the nano-dollar, the ledger's rows with its totals, with the decision records of\n"
    "FILE (and FILE.1 to FILE.5), and with llm_cost_usd_total of the instance at URL; per account and\n"
    "window, whether what is leased, settled and recorded can be, and at Redis whether the server knows the\n"
    "same. Nothing is written. Calls that are under way make books of a running instance differ: ask while\n"
    "it is idle. sqlite:neap-journal.db looks at the journal beside a Redis alone.\n\n"
    "release makes free again what INSTANCE was granted and is not known to have spent, where it died and\n"
    "will not start again with its journal: else its share of a limit stays taken until the window ends.\n"
    "An instance that was heard of within the last 32 s is let be. What it spent unseen can then be spent\n"
    "twice; should it come back after all, it counts as spent.\n\n"
    "    --store URL         as for serve: sqlite:PATH (sqlite:neap.db), or redis://… with its journal\n"
    "    --state DIR         as for serve: the folder of the file or journal\n"
    "    --decisions FILE    decision records of the same instance\n"
    "    --admin URL         its admin socket; NEAP_ADMIN_TOKEN is sent where it is set\n\n"
    "Exit status: 0 they agree, it is done; 1 they differ, the instance lives or is unknown; 2 the command\n"
    "is wrong; 3 something can't be read.",
    run};
