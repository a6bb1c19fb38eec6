/* neap check: says what is wrong with a policy set. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int explain(const char *code)
{
    char *text = NULL;
    enum neap_status status = neap_explain(code, &text);
    if (status == NEAP_GOOD)
        (void)fputs(text, stdout);
    else if (status == NEAP_USAGE)
        np_say(&np_cmd_check, "there is no code \"%s\"%s%s%s", code,
               text[0] ? ", did you mean " : "", text, text[0] ? "?" : "");
    else
        np_say(&np_cmd_check, "no memory");
    free(text);
    return (int)status;
}

static int run(int argc, char **argv)
{
    struct neap_check_options options = {.format = "text"};
    const char *dir = np_default_set(), *code = NULL;
    const struct np_flag flags[] = {
        {"--deny-warnings", NP_FLAG_SWITCH, &options.deny_warnings, 0, 0},
        {"--format", NP_FLAG_TEXT, &options.format, 0, 0},
        {"--explain", NP_FLAG_TEXT, &code, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_check, flags, 3, argc, argv, &dir, 1, &n_rest))
        return NEAP_USAGE;
    if (code)
        return explain(code);
    char *text = NULL;
    enum neap_status status = neap_check(dir, &options, &text);
    if (status == NEAP_USAGE)
        np_say(&np_cmd_check, "--format is text, json or github, got \"%s\"", options.format);
    if (status == NEAP_FAILED && !text)
        np_say(&np_cmd_check, "no memory");
    if (text)
        (void)fputs(text, stdout);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_check = {
    "check", "say what is wrong with a policy set",
    "check [DIR] [--deny-warnings] [--format text|json|github] | --explain CODE\n\n"
    "Loads DIR (NEAP_POLICIES, else ./policies), looks at its data and its code, and tries each hook on\n"
    "built-in requests on the simulated ground. Prints file:line:column: CODE problem, a line each, all of them at once.\n\n"
    "    --deny-warnings    warnings are as bad as errors\n"
    "    --format FORMAT    text; json: one object; github: workflow commands\n"
    "    --explain CODE     what a code means, with an example that is wrong and one that is right\n\n"
    "A comment `-- neap: allow CODE reason` behind a line, or alone above it, allows a warning.\n"
    "Exit status: 0 good, 1 there are errors (or with --deny-warnings anything), 2 the command is wrong,\n"
    "3 it could not run.",
    run};
