/* neap test: the tests of a policy set. */
#include "cli/cli.h"

#include <stdio.h>

static void say(void *ctx, const char *line)
{
    (void)ctx;
    (void)puts(line);
}

static int run(int argc, char **argv)
{
    struct neap_test_options options = {.say = say};
    const char *dir = "policies";
    const struct np_flag flags[] = {{"-v", NP_FLAG_SWITCH, &options.verbose, 0, 0},
                                    {"--filter", NP_FLAG_TEXT, &options.filter, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_test, flags, 2, argc, argv, &dir, 1, &n_rest))
        return NEAP_USAGE;
    return neap_test(dir, &options);
}

const struct np_command np_cmd_test = {
    "test", "run a policy set's tests",
    "test [DIR] [-v] [--filter PATTERN]\n\n"
    "Runs the *_test.lua files of DIR (./policies) on the simulated ground: the real engine, with virtual\n"
    "time and scripted providers. Prints each test that fails, with the line, what it got and wanted, and\n"
    "what the last run did; ends with \"N passed, N failed\".\n\n"
    "    -v                 each test that passes, too\n"
    "    --filter PATTERN   only tests with PATTERN in their name or their file's; * and ? stand for any\n"
    "                       text and any letter\n\n"
    "Exit status: 0 all passed, 1 one failed, the set does not load or nothing has the pattern in it.",
    run};
