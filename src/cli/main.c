/* neap: the table of commands. */
#include "cli/cli.h"

#include "base/span.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct np_command *const commands[] = {
    &np_cmd_serve, &np_cmd_init,   &np_cmd_types,   &np_cmd_check, &np_cmd_test,   &np_cmd_repl,
    &np_cmd_mock,  &np_cmd_status, &np_cmd_explain, &np_cmd_key,   &np_cmd_ledger, &np_cmd_version,
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *to)
{
    (void)fputs("neap stands between an application and its LLM providers.\n\n"
                "usage: neap COMMAND [FLAGS]\n\n",
                to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)fprintf(to, "    %-8s  %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\nneap COMMAND --help says more. Every flag has an environment twin: --listen is "
                "NEAP_LISTEN.\n",
                to);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int unknown(const char *name)
{
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i]->name;
    const char *guess = np_span_guess(np_span_of(name), names, N_COMMANDS);
    (void)fprintf(stderr, "neap: unknown command \"%s\"%s%s%s; neap --help lists them\n", name,
                  guess ? ", did you mean " : "", guess ? guess : "", guess ? "?" : "");
    return NEAP_USAGE;
}

/* A closed standard stream would give its number to a socket, and the log would be written there. In the
 * place of standard output stands what can't be written, so that lost words are noticed. */
static bool fill_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        int how = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR;
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", how) != fd)
            return false;
    }
    return true;
}

/* NULL: there is no such command. */
static const struct np_command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    }
    return NULL;
}

/* "help", "help COMMAND". */
static int help(int argc, char **argv)
{
    const struct np_command *about = argc > 2 ? find(argv[2]) : NULL;
    if (argc > 2 && !about)
        return unknown(argv[2]);
    if (about)
        (void)printf("usage: neap %s\n", about->usage);
    else
        usage(stdout);
    return NEAP_GOOD;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return NEAP_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return help(argc, argv);
    const struct np_command *cmd = find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (!cmd)
        return unknown(argv[1]);
    if (!asks_for_help(argc - 1, argv + 1))
        return cmd->run(argc - 1, argv + 1);
    (void)printf("usage: neap %s\n", cmd->usage);
    return NEAP_GOOD;
}

/* A verdict that nobody could read is no verdict. */
int main(int argc, char **argv)
{
    if (!fill_standard_streams())
        return NEAP_FAILED;
    int status = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)fputs("neap: standard output could not be written\n", stderr);
    return NEAP_FAILED;
}
