/* neap repl: lines from a terminal, from -e or from standard input. */
#include "cli/repl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINES 256

static void say(void *ctx, const char *text, bool problem)
{
    (void)ctx;
    FILE *to = problem && !isatty(STDOUT_FILENO) ? stderr : stdout;
    (void)fflush(stdout);
    (void)fputs(text, to);
    (void)fflush(to);
}

/* --- without a terminal ----------------------------------------------------------------------------- */

/* One of -e. True when it was good. */
static bool run_given(struct neap_session *s, const char *text, bool *leave)
{
    enum neap_line end = neap_session_line(s, text);
    *leave = end == NEAP_LINE_LEAVE;
    if (end == NEAP_LINE_MORE)
        (void)fprintf(stderr, "unfinished: %s\n", text);
    return end == NEAP_LINE_GOOD || end == NEAP_LINE_LEAVE;
}

/* Reads lines to the end; what is unfinished gets the lines behind it. True when all were good. */
static bool run_stdin(struct neap_session *s)
{
    char *line = NULL, *text = NULL;
    size_t cap = 0, n = 0;
    ssize_t got;
    bool good = true, leave = false;
    while (!leave && (got = getline(&line, &cap, stdin)) > 0) {
        text = realloc(text, n + (size_t)got + 1);
        if (!text)
            abort();
        memcpy(text + n, line, (size_t)got + 1);
        enum neap_line end = neap_session_line(s, text);
        n = end == NEAP_LINE_MORE ? n + (size_t)got : 0;
        leave = end == NEAP_LINE_LEAVE;
        good = good && end != NEAP_LINE_FAILED;
    }
    if (n > 0)
        (void)fprintf(stderr, "unfinished: %s", text);
    free(line);
    free(text);
    return good && n == 0;
}

/* --- the command ------------------------------------------------------------------------------------- */

/* Takes -e LINE out of the arguments. False after the fault was said. */
static bool take_lines(int *argc, char **argv, const char **lines, size_t *n)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "-e") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (i + 1 == *argc || *n == MAX_LINES) {
            np_say(&np_cmd_repl, i + 1 == *argc ? "-e needs a line" : "too many lines");
            return false;
        }
        lines[(*n)++] = argv[++i];
    }
    *argc = kept;
    return true;
}

static int run_session(struct neap_session *s, const char *const *lines, size_t n)
{
    bool good = true, leave = false;
    for (size_t i = 0; i < n && !leave; i++)
        good = run_given(s, lines[i], &leave) && good;
    if (n == 0)
        good = run_stdin(s);
    return good ? NEAP_GOOD : NEAP_NO;
}

static int run(int argc, char **argv)
{
    struct neap_session_options options = {.dir = "policies", .say = say};
    const char *lines[MAX_LINES];
    size_t n_lines = 0, n_rest;
    const struct np_flag flags[] = {{"--decisions", NP_FLAG_TEXT, &options.decisions, 0, 0},
                                    {"--attach", NP_FLAG_TEXT, &options.attach, 0, 0}};
    if (!take_lines(&argc, argv, lines, &n_lines) ||
        !np_flags_read(&np_cmd_repl, flags, 2, argc, argv, &options.dir, 1, &n_rest))
        return NEAP_USAGE;
    char why[NEAP_WHY];
    struct neap_session *s;
    enum neap_status status = neap_session_new(&options, &s, why);
    if (status) {
        (void)fprintf(stderr, "%s\n", why);
        return status;
    }
    int result = run_session(s, lines, n_lines);
    neap_session_free(s);
    return result;
}

const struct np_command np_cmd_repl = {
    "repl", "work with a policy set by hand",
    "repl [DIR] [-e LINE]… [--decisions FILE] [--attach ADMIN-URL]\n\n"
    "A session with the policy set DIR (./policies) on the simulated ground: the real engine, with virtual\n"
    "time and scripted providers; nothing is called, nothing is paid. Lines that begin with a dot are\n"
    "commands (.help lists them), all else is Lua in the policies' world.\n\n"
    "    -e LINE            runs the line and leaves; may be given several times\n"
    "    --decisions FILE   decision records, for .load ID and .diff\n"
    "    --attach URL       begins with a copy of that instance's breakers, budgets and statistics\n\n"
    "Without a terminal lines come from standard input. Exit status: 0 good, 1 a line failed or the set\n"
    "does not load.",
    run};
