/* neap check: says what is wrong with a policy set. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv)
{
    bool deny_warnings = false;
    const struct np_flag flags[] = {{"--deny-warnings", NP_FLAG_SWITCH, &deny_warnings, 0, 0}};
    const char *dir = "policies";
    size_t n_rest;
    if (!np_flags_read(&np_cmd_check, flags, 1, argc, argv, &dir, 1, &n_rest))
        return NEAP_USAGE;
    char *text = NULL;
    enum neap_status status = neap_check(dir, deny_warnings, &text);
    if (text)
        (void)fputs(text, stdout);
    free(text);
    return status;
}

const struct np_command np_cmd_check = {
    "check", "say what is wrong with a policy set",
    "check [DIR] [--deny-warnings]\n\n"
    "Prints file:line:column: CODE problem, a line each. Exit status 1 when there are errors (with\n"
    "--deny-warnings: when there is anything), else 0. DIR is ./policies if not given.",
    run};
