/* neap explain: what happened to a request, and why. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv)
{
    struct neap_request_options o = {.admin = "http://127.0.0.1:9090"};
    const struct np_flag flags[] = {{"--admin", NP_FLAG_TEXT, &o.admin, 0, 0},
                                    {"--decisions", NP_FLAG_TEXT, &o.decisions, 0, 0},
                                    {"--json", NP_FLAG_SWITCH, &o.json, 0, 0}};
    const char *id = NULL;
    size_t n_rest;
    if (!np_flags_read(&np_cmd_explain, flags, 3, argc, argv, &id, 1, &n_rest))
        return NEAP_USAGE;
    if (n_rest == 0 || !id[0]) {
        np_say(&np_cmd_explain, "the id of a request is missing, as X-Request-Id tells it");
        return NEAP_USAGE;
    }
    /* What is said here counts more than what stands in the environment. */
    if (np_flag_given("--admin", argc, argv)) {
        if (np_flag_given("--decisions", argc, argv)) {
            np_say(&np_cmd_explain, "--admin and --decisions are two places to look: give one");
            return NEAP_USAGE;
        }
        o.decisions = NULL;
    }
    o.id = id;
    o.token = getenv("NEAP_ADMIN_TOKEN");
    char *text = NULL, why[NEAP_WHY] = "";
    enum neap_status status = neap_request_explain(&o, &text, why);
    if (status == NEAP_GOOD)
        (void)fputs(text, stdout);
    else
        np_say(&np_cmd_explain, "%s", why);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_explain = {
    "explain", "tell what happened to a request, and why",
    "explain ID [--admin URL | --decisions FILE] [--json]\n\n"
    "One request in order: the plan and why, what each hook decided, each attempt with its times and\n"
    "money, what was passed over, what it cost and which budgets paid. A running instance has its\n"
    "newest 10,000, files have all.\n\n"
    "    ID                  of a request (X-Request-Id), or the beginning of one\n"
    "    --admin URL         where an instance listens for operators (http://127.0.0.1:9090)\n"
    "    --decisions FILE    where neap serve --decisions writes; FILE.1 to FILE.5 are read too\n"
    "    --json              the record as it stands\n\n"
    "NEAP_ADMIN_TOKEN is sent where it is set. Exit status: 0 good, 1 there is no such request, 2 the\n"
    "command is wrong, 3 nobody answers, or the file can't be read.",
    run};
