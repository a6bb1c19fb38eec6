/* neap explain: what happened to a request, and why. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv)
{
    struct neap_request_options o = {0};
    const struct np_flag flags[] = {{"--decisions", NP_FLAG_TEXT, &o.decisions, 0, 0},
                                    {"--json", NP_FLAG_SWITCH, &o.json, 0, 0}};
    const char *id = NULL;
    size_t n_rest;
    if (!np_flags_read(&np_cmd_explain, flags, 2, argc, argv, &id, 1, &n_rest))
        return NEAP_USAGE;
    if (n_rest == 0 || !id[0]) {
        np_say(&np_cmd_explain, "the id of a request is missing, as X-Request-Id tells it");
        return NEAP_USAGE;
    }
    if (!o.decisions) {
        np_say(&np_cmd_explain, "--decisions FILE is missing, where neap serve writes its records");
        return NEAP_USAGE;
    }
    o.id = id;
    char *text = NULL, why[NEAP_WHY] = "";
    enum neap_status status = neap_request_explain(&o, &text, why);
    if (status == NEAP_GOOD)
        (void)fputs(text, stdout);
    else
        np_say(&np_cmd_explain, "%s", why);
    free(text);
    return status;
}

const struct np_command np_cmd_explain = {
    "explain", "tell what happened to a request, and why",
    "explain ID --decisions FILE [--json]\n\n"
    "One request in order: the plan and why, what each hook decided, each attempt with its times and\n"
    "money, what was passed over, what it cost and which budgets paid.\n\n"
    "    ID                  of a request (X-Request-Id), or the beginning of one\n"
    "    --decisions FILE    where neap serve --decisions writes; FILE.1 to FILE.5 are read too\n"
    "    --json              the record as it stands\n\n"
    "Exit status: 0 good, 1 there is no such request, 2 the command is wrong, 3 the file can't be\n"
    "read.",
    run};
