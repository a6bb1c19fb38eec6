/* neap test: the tests of a policy set. */
#include "cli/cli.h"

#include <stdio.h>

static void say(void *ctx, const char *line)
{
    (void)ctx;
    (void)puts(line);
}

static void fault(void *ctx, const char *line)
{
    (void)ctx;
    np_say(&np_cmd_test, "%s", line);
}

static int run(int argc, char **argv)
{
    struct neap_test_options options = {.say = say, .fault = fault};
    const char *dir = np_default_set();
    bool watch = false;
    const struct np_flag flags[] = {
        {"-v", NP_FLAG_SWITCH, &options.verbose, 0, 0},
        {"--filter", NP_FLAG_TEXT, &options.filter, 0, 0},
        {"--junit", NP_FLAG_TEXT, &options.junit, 0, 0},
        {"--coverage", NP_FLAG_SWITCH, &options.coverage, 0, 0},
        {"--coverage-min", NP_FLAG_NUMBER, &options.coverage_min, 1, 100},
        {"--bench", NP_FLAG_SWITCH, &options.bench, 0, 0},
        {"--update", NP_FLAG_SWITCH, &options.update, 0, 0},
        {"--watch", NP_FLAG_SWITCH, &watch, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_test, flags, sizeof flags / sizeof *flags, argc, argv, &dir, 1,
                       &n_rest))
        return NEAP_USAGE;
    /* Whoever reads along a pipe sees each line when it is said. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    return (int)(watch ? neap_test_watch(dir, &options) : neap_test(dir, &options));
}

const struct np_command np_cmd_test = {
    "test", "run a policy set's tests",
    "test [DIR] [-v] [--filter PATTERN] [--junit FILE] [--coverage] [--coverage-min N]\n"
    "                 [--bench] [--update] [--watch]\n\n"
    "Runs the *_test.lua files of DIR (NEAP_POLICIES, else ./policies) on the simulated ground: the real\n"
    "engine, with virtual time and scripted providers. Prints each test that fails, with the line, what it got and wanted, and\n"
    "what the last run did; ends with \"N passed, N failed\".\n\n"
    "    -v                 each test that passes, too, with the steps of each hook\n"
    "    --filter PATTERN   only tests with PATTERN in their name or their file's; * and ? stand for any\n"
    "                       text and any letter\n"
    "    --junit FILE       the results as JUnit XML\n"
    "    --coverage         which lines of hooks and libraries ran, and which outcomes each hook had\n"
    "    --coverage-min N   the same, and exit status 1 when less than N per cent of the lines ran\n"
    "    --bench            steps and nanoseconds of each hook, and their change since the last time\n"
    "                       (kept in DIR/.neap/bench)\n"
    "    --update           recorded cases expect from now on what they got; says what changed\n"
    "    --watch            again whenever a file of DIR changes, until Ctrl-C\n\n"
    "Exit status: 0 all passed, 1 one failed, too few lines ran, the set does not load or nothing has the\n"
    "pattern in it, 2 a flag is wrong, 3 it could not run. With --watch that of the last run.",
    run};
