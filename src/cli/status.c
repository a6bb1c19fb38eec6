/* neap status: how a running instance is doing, once or again and again. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_S 2
/* The other screen of a terminal, where nothing of the user's is lost. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static volatile sig_atomic_t over;

static void end(int sig)
{
    (void)sig;
    over = 1;
}

/* From the top left corner; what is left of older lines is wiped. */
static void draw(const char *text)
{
    (void)fputs("\033[H", stdout);
    while (*text) {
        size_t n = strcspn(text, "\n");
        (void)printf("%.*s\033[K\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
    (void)fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static void show(const char *text, bool screen)
{
    if (screen) {
        draw(text);
        return;
    }
    (void)fputs(text, stdout);
    (void)putchar('\n');
    (void)fflush(stdout);
}

/* Until Ctrl-C. An instance that can't be asked for a while is told and asked again. NEAP_USAGE: there never
 * will be one. */
static enum neap_status watch(const struct neap_overview_options *o, bool screen,
                              char why[NEAP_WHY])
{
    enum neap_status status = NEAP_GOOD;
    struct sigaction act = {.sa_handler = end};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    if (screen)
        (void)fputs(ENTER, stdout);
    while (!over && !ferror(stdout)) {
        char *text = NULL;
        status = neap_overview(o, &text, why);
        if (status == NEAP_USAGE)
            break;
        show(status == NEAP_GOOD ? text : why, screen);
        free(text);
        (void)nanosleep(&(struct timespec){.tv_sec = PAUSE_S}, NULL);
    }
    if (screen)
        (void)fputs(LEAVE, stdout);
    return status == NEAP_USAGE ? status : NEAP_GOOD;
}

static int run(int argc, char **argv)
{
    struct neap_overview_options o = {.admin = "http://127.0.0.1:9090"};
    bool again = false;
    const struct np_flag flags[] = {{"--admin", NP_FLAG_TEXT, &o.admin, 0, 0},
                                    {"--json", NP_FLAG_SWITCH, &o.json, 0, 0},
                                    {"--watch", NP_FLAG_SWITCH, &again, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_status, flags, 3, argc, argv, NULL, 0, &n_rest))
        return NEAP_USAGE;
    bool terminal = isatty(STDOUT_FILENO) == 1;
    const char *no_colour = getenv("NO_COLOR");
    o.token = getenv("NEAP_ADMIN_TOKEN");
    o.colour = terminal && !(no_colour && no_colour[0]);
    char *text = NULL, why[NEAP_WHY] = "";
    enum neap_status status =
        again ? watch(&o, terminal && !o.json, why) : neap_overview(&o, &text, why);
    if (status == NEAP_GOOD && text)
        (void)fputs(text, stdout);
    else if (status)
        np_say(&np_cmd_status, "%s", why);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_status = {
    "status", "show how a running instance is doing",
    "status [--admin URL] [--watch] [--json]\n\n"
    "Endpoints against their objectives, models with breaker, latency and errors, budgets as bars,\n"
    "policy versions and alerts, from the admin socket of a running neap.\n\n"
    "    --admin URL    where it listens for operators (http://127.0.0.1:9090)\n"
    "    --watch        anew every 2 seconds, until Ctrl-C\n"
    "    --json         what /api/status says, as it stands\n\n"
    "NEAP_ADMIN_TOKEN is sent where it is set. Exit status: 0 good, 2 the command is wrong, 3 nobody\n"
    "answers there.",
    run};
