/* neap init: a policy set to begin with. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv)
{
    const char *dir = "policies";
    size_t n_rest;
    if (!np_flags_read(&np_cmd_init, NULL, 0, argc, argv, &dir, 1, &n_rest))
        return NEAP_USAGE;
    char why[NEAP_WHY] = "", *text = NULL;
    enum neap_status status = neap_init(dir, &text, why);
    if (status)
        np_say(&np_cmd_init, "%s", why);
    else if (text)
        (void)fputs(text, stdout);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_init = {
    "init", "write a policy set to begin with",
    "init [DIR]\n\n"
    "Writes data files, hooks with their tests and types for editors into DIR (./policies), which is made\n"
    "if it is not there. The set passes its check and its tests. A file that is in the way is never\n"
    "written over: then nothing is written. Exit status: 0 written, 1 a file is in the way, 3 it could not\n"
    "be written.",
    run};
