/* neap repl: lines from a terminal, from -e or from standard input. */
#include "cli/repl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LINES 256

/* What the session's callbacks know. */
struct talk {
    struct np_editor *editor; /* NULL: no terminal */
    bool colour;
    size_t asked; /* -e: the next of lines that the stepper gets */
    const char *const *lines;
    size_t n_lines;
};

static void say(void *ctx, const char *text, bool problem)
{
    (void)ctx;
    FILE *to = problem && !isatty(STDOUT_FILENO) ? stderr : stdout;
    (void)fflush(stdout);
    (void)fputs(text, to);
    (void)fflush(to);
}

/* Lines for a run that is held in the stepper. */
static char *ask(void *ctx, const char *prompt)
{
    struct talk *t = ctx;
    char *line = NULL, shown[96];
    size_t cap = 0;
    if (t->editor) {
        (void)snprintf(shown, sizeof shown, t->colour ? "\1\033[33m\1%s\1\033[0m\1" : "%s", prompt);
        return np_editor_read(t->editor, shown, &line) == NP_EDITOR_LINE ? line : NULL;
    }
    if (t->lines)
        return t->asked < t->n_lines ? strdup(t->lines[t->asked++]) : NULL;
    ssize_t n = getline(&line, &cap, stdin);
    if (n <= 0) {
        free(line);
        return NULL;
    }
    if (line[n - 1] == '\n')
        line[n - 1] = '\0';
    return line;
}

/* $VISUAL or $EDITOR; NULL: none is chosen. */
static const char *chosen_editor(void)
{
    const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
    return visual && visual[0] ? visual : editor && editor[0] ? editor : NULL;
}

/* Opens $VISUAL, $EDITOR or vi. While it runs Ctrl-C is its own. Without a terminal only what was chosen is
 * run, and does not read the session's lines. */
static bool edit(void *ctx, const char *path)
{
    (void)ctx;
    const char *chosen = chosen_editor();
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    char command[1024];
    if (!chosen && !terminal) {
        (void)fprintf(stderr, "an editor needs a terminal: change the file, then .reload; or name "
                              "one that needs none in EDITOR\n");
        return false;
    }
    chosen = chosen ? chosen : "vi";
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    int status = -1;
    (void)snprintf(command, sizeof command, "exec %s \"$0\"%s", chosen,
                   terminal ? "" : " </dev/null");
    (void)fflush(stdout);
    (void)sigaction(SIGINT, &ignore, &before);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)execl("/bin/sh", "sh", "-c", command, path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    (void)sigaction(SIGINT, &before, NULL);
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    (void)fprintf(stderr, "the editor \"%s\" ended badly; EDITOR or VISUAL name another one\n",
                  chosen);
    return false;
}

/* --- at a terminal ------------------------------------------------------------------------------------ */

/* Appends a line to what is unfinished. */
static char *join(char *text, char *line)
{
    if (!text)
        return line;
    size_t n = strlen(text) + strlen(line) + 2;
    char *all = malloc(n);
    if (!all)
        abort();
    (void)snprintf(all, n, "%s\n%s", text, line);
    free(text);
    free(line);
    return all;
}

/* A whole line, of one or more: runs it. False to leave. */
static bool run_text(struct talk *t, struct neap_session *s, char **text)
{
    enum neap_line end = neap_session_line(s, *text);
    if (end == NEAP_LINE_MORE)
        return true;
    np_editor_remember(t->editor, *text);
    free(*text);
    *text = NULL;
    return end != NEAP_LINE_LEAVE;
}

static void talk(struct talk *t, struct neap_session *s)
{
    const char *first = t->colour ? "\1\033[1m\1>\1\033[0m\1 " : "> ";
    char *text = NULL, *line;
    bool on = true;
    neap_session_greet(s);
    while (on) {
        switch (np_editor_read(t->editor, text ? ". " : first, &line)) {
        case NP_EDITOR_LINE:
            text = join(text, line);
            on = run_text(t, s, &text);
            break;
        case NP_EDITOR_INTERRUPTED:
            free(text);
            text = NULL;
            break;
        default:
            on = false;
        }
    }
    free(text);
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
    bool ended = false; /* by "--" */
    for (int i = 1; i < *argc; i++) {
        ended |= strcmp(argv[i], "--") == 0;
        if (ended || strcmp(argv[i], "-e") != 0) {
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

/* -e lines. What the stepper asks for comes from them, too. */
static bool run_lines(struct talk *t, struct neap_session *s)
{
    bool good = true, leave = false;
    while (t->asked < t->n_lines && !leave)
        good = run_given(s, t->lines[t->asked++], &leave) && good;
    return good;
}

static int run_session(struct talk *t, struct neap_session *s)
{
    bool terminal = !t->lines && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (terminal)
        t->editor = np_editor_new(s);
    if (t->editor) {
        talk(t, s);
        np_editor_free(t->editor);
        return NEAP_GOOD;
    }
    bool good = t->lines ? run_lines(t, s) : run_stdin(s);
    return good ? NEAP_GOOD : NEAP_NO;
}

static unsigned width_of_terminal(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

/* Colours are for terminals, and not for those who said no (no-color.org). */
static bool wants_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && no[0]) && !(term && strcmp(term, "dumb") == 0);
}

static bool attach(struct neap_session *s, const char *url)
{
    char line[1024];
    (void)snprintf(line, sizeof line, ".attach %s", url);
    return neap_session_line(s, line) == NEAP_LINE_GOOD;
}

static int run(int argc, char **argv)
{
    struct talk t = {.colour = wants_colour()};
    struct neap_session_options options = {.dir = np_default_set(),
                                           .admin_token = getenv("NEAP_ADMIN_TOKEN"),
                                           .colour = t.colour,
                                           .width = width_of_terminal(),
                                           .say = say,
                                           .ask = ask,
                                           .edit = edit,
                                           .ctx = &t};
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
        return (int)status;
    }
    if (options.attach && !attach(s, options.attach)) {
        neap_session_free(s);
        return NEAP_FAILED;
    }
    t.lines = n_lines ? lines : NULL;
    t.n_lines = n_lines;
    int result = run_session(&t, s);
    neap_session_free(s);
    return result;
}

const struct np_command np_cmd_repl = {
    "repl", "work with a policy set by hand",
    "repl [DIR] [-e LINE]… [--decisions FILE] [--attach ADMIN-URL]\n\n"
    "A session with the policy set DIR (NEAP_POLICIES, else ./policies) on the simulated ground: the real\n"
    "engine, with virtual time and scripted providers; nothing is called, nothing is paid. Lines that begin with a dot are\n"
    "commands (.help lists them), all else is Lua in the policies' world.\n\n"
    "    -e LINE            runs the line and leaves; may be given several times\n"
    "    --decisions FILE   decision records, for .load ID and .diff\n"
    "    --attach URL       begins with a copy of that instance's breakers, budgets and statistics\n\n"
    "Without a terminal lines come from standard input. Exit status: 0 good, 1 a line failed or the set\n"
    "does not load, 2 the command is wrong, 3 it could not run: no folder, nobody to attach to.",
    run};
