/* neap version. */
#include "cli/cli.h"

#include <stdio.h>

static int run(int argc, char **argv)
{
    bool verbose = false;
    const struct np_flag flags[] = {{"-v", NP_FLAG_SWITCH, &verbose, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_version, flags, 1, argc, argv, NULL, 0, &n_rest))
        return NEAP_USAGE;
    const char *revision = NEAP_REVISION; /* of release builds */
    (void)printf("neap %s%s%s%s\n", neap_version(), revision[0] ? " (" : "", revision,
                 revision[0] ? ")" : "");
    if (verbose) {
        char text[1024];
        neap_version_libraries(text, sizeof text);
        (void)fputs(text, stdout);
    }
    return NEAP_GOOD;
}

const struct np_command np_cmd_version = {"version", "say which neap this is",
                                          "version [-v]\n\n-v: with the libraries as loaded.", run};
