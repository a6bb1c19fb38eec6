/* The commands of a session, and their help. */
#include "engine/session_impl.h"

#include <stdio.h>

#define MAX_COMMANDS 48

const struct np_session_command np_session_commands[] = {
    {"load", np_session_load, true, ".load ID [from FILE] | FILE | {TABLE}",
     "takes a request: of the decision log, a file or a Lua table",
     ".load {prompt = \"hi\", metadata = {tier = \"gold\"}}"},
    {"set", np_session_set, true, ".set budget ACCOUNT USD | FIELD VALUE",
     "what is spent, or a field of the request; alone: the budgets",
     ".set budget global/day 49.50"},
    {"mock", np_session_mock, true, ".mock NAME ANSWER, ANSWER, …",
     "what a provider or model answers in turn; the last one repeats",
     ".mock openai 429, timeout, ok \"Sure.\" in 900ms"},
    {"breaker", np_session_breaker, true, ".breaker open|half_open|close MODEL",
     "opens and closes breakers; alone: shows them", ".breaker open gpt-4.1"},
    {"clock", np_session_clock, true, ".clock +30s", "lets time pass; alone: what time it is",
     ".clock +2h"},
    {"seed", np_session_seed, true, ".seed NUMBER",
     "begins a new ground with that chance; the world stays as it was set", ".seed 7"},
    {"run", np_session_do_run, true, ".run", "sends the request through the policies", ".run"},
    {"step", np_session_step, true, ".step [HOOK]",
     "the same, held where a hook begins: n s o c l w p EXPR b q", ".step retry"},
    {"break", np_session_break, false, ".break FILE:LINE [if EXPR]",
     "holds runs there; off: nowhere; alone: the breakpoints", ".break route.lua:14 if req.stream"},
    {"trace", np_session_trace, false, ".trace on|off",
     "says each line that runs, with the locals that changed", ".trace on"},
    {"why", np_session_why, false, ".why", "the last run in sentences", ".why"},
    {"cost", np_session_cost, false, ".cost", "what the last run cost, and how that came", ".cost"},
    {"edit", np_session_edit, true, ".edit [FILE]",
     "opens your editor; then reloads, runs again and says what changed", ".edit route"},
    {"reload", np_session_reload, true, ".reload", "reads the set again, as .edit does afterwards",
     ".reload"},
    {"diff", np_session_diff, false, ".diff COMMIT|DIR [FILE] [--last N]",
     "compares another set with this one on recorded requests", ".diff HEAD~1 --last 500"},
    {"show", np_session_show_difference, false, ".show [N]",
     "a request that differed in .diff, both ways", ".show 1"},
    {"test", np_session_test, true, ".test \"NAME\" [HOOK]",
     "writes what was run as a test beside the hook, and runs that",
     ".test \"a_gold_tenant_falls_back\" route"},
    {"attach", np_session_attach, true, ".attach URL",
     "copies a running instance's breakers, budgets and statistics",
     ".attach http://127.0.0.1:9090"},
    {"doc", np_session_doc, false, ".doc NAME", "says what a hook, field or function is",
     ".doc req.prompt_tokens"},
    {"undo", np_session_undo, false, ".undo", "takes the last change back", ".undo"},
    {"save", np_session_save, false, ".save FILE", "writes the lines of this session",
     ".save session.neap"},
    {"more", np_session_more, false, ".more", "shows the rest of what was cut", ".more"},
    {"help", np_session_help, false, ".help [COMMAND]", "says what there is", ".help load"},
    {"quit", np_session_quit, false, ".quit", "leaves, as .exit and Ctrl-D do", ".quit"},
    {"exit", np_session_quit, false, ".exit", "the same as .quit", ".exit"},
};

const size_t np_session_n_commands = sizeof np_session_commands / sizeof *np_session_commands;

const struct np_session_command *np_session_command(struct np_span name)
{
    for (size_t i = 0; i < np_session_n_commands; i++) {
        if (np_span_is(name, np_session_commands[i].name))
            return &np_session_commands[i];
    }
    return NULL;
}

bool np_session_unknown_command(struct neap_session *s, struct np_span name)
{
    const char *names[MAX_COMMANDS];
    for (size_t i = 0; i < np_session_n_commands && i < MAX_COMMANDS; i++)
        names[i] = np_session_commands[i].name;
    const char *guess = np_span_guess(name, names, np_session_n_commands);
    return np_session_fail(s, "there is no command .%.*s%s%s%s", (int)name.n, name.p,
                           guess ? "; did you mean ." : "; .help lists them", guess ? guess : "",
                           guess ? "?" : "");
}

static bool help_on(struct neap_session *s, struct np_span name)
{
    if (name.p[0] == '.')
        name = np_span_make(name.p + 1, name.n - 1);
    const struct np_session_command *c = np_session_command(name);
    if (!c)
        return np_session_unknown_command(s, name);
    np_session_say(s, "%s%s%s\n    %s\n    for example: %s\n", np_session_style(s, NP_STYLE_BOLD),
                   c->usage, np_session_style(s, NP_STYLE_OFF), c->what, c->example);
    return true;
}

static void put_commands(const struct neap_session *s, struct np_buf *text)
{
    for (size_t i = 0; i < np_session_n_commands; i++) {
        const struct np_session_command *c = &np_session_commands[i];
        np_buf_printf(text, "  %s.%-8s%s %s\n", np_session_style(s, NP_STYLE_BOLD), c->name,
                      np_session_style(s, NP_STYLE_OFF), c->what);
    }
    np_buf_puts(text,
                "\n.help COMMAND says more. All else is Lua in the policies' world; what a line\n"
                "sets is there for the next one. req is the request, _ the last decision\n"
                "record, hooks.route(req) calls a hook.\n");
}

bool np_session_help(struct neap_session *s, struct np_span args)
{
    struct np_buf text;
    if (args.n > 0)
        return help_on(s, args);
    np_buf_init(&text, NP_SESSION_TEXT_BYTES);
    put_commands(s, &text);
    np_session_say_prose(s, np_buf_view(&text));
    np_buf_free(&text);
    return true;
}

bool np_session_more(struct neap_session *s, struct np_span args)
{
    (void)args;
    if (s->more.n == 0)
        return np_session_fail(s, "there is nothing more to show");
    struct np_buf rest = s->more;
    np_buf_init(&s->more, NP_SESSION_TEXT_BYTES);
    np_session_show(s, np_buf_view(&rest));
    np_buf_free(&rest);
    return true;
}

bool np_session_quit(struct neap_session *s, struct np_span args)
{
    (void)args;
    s->leave = true;
    return true;
}
