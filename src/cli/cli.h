/* The command line: one command is one file and one row of the table in main.c. */
#ifndef NP_CLI_CLI_H
#define NP_CLI_CLI_H

#include <neap/neap.h>

#include <stdbool.h>
#include <stddef.h>

struct np_command {
    const char *name;
    const char *summary;               /* one line */
    const char *usage;                 /* whole text, after "usage: neap " */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

extern const struct np_command np_cmd_serve, np_cmd_check, np_cmd_test, np_cmd_repl, np_cmd_mock,
    np_cmd_key, np_cmd_ledger, np_cmd_version, np_cmd_init, np_cmd_types, np_cmd_status,
    np_cmd_explain;

/* One flag of a command, with its environment twin (NEAP_ and the name in capitals). */
struct np_flag {
    const char *name; /* "--listen" */
    enum { NP_FLAG_TEXT, NP_FLAG_NUMBER, NP_FLAG_SWITCH } kind;
    void *into;        /* const char **, unsigned *, bool * */
    unsigned min, max; /* of a number */
};

/* Reads the environment twins, then the arguments ("--flag VALUE" or "--flag=VALUE"; "--" ends the
 * flags). Positional arguments are left in rest, at most max_rest. False after the fault was said on
 * standard error. */
bool np_flags_read(const struct np_command *cmd, const struct np_flag *flags, size_t n, int argc,
                   char **argv, const char **rest, size_t max_rest, size_t *n_rest);

/* Whether a flag stands in the arguments themselves, not only in the environment. */
bool np_flag_given(const char *name, int argc, char **argv);

/* Where the first flag that a fault names comes from the environment alone, says so, too. */
void np_say_twin(const struct np_command *cmd, const char *why, int argc, char **argv);

/* The policy set where none is named: that of NEAP_POLICIES, else ./policies. */
const char *np_default_set(void);

/* Says a fault on standard error as "neap COMMAND: …". */
void np_say(const struct np_command *cmd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
