/* neap mock: the imitation providers as a program of their own. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>

static int run(int argc, char **argv)
{
    const char *listen = "127.0.0.1:8088";
    const char *scenario = NULL;
    const struct np_flag flags[] = {{"--listen", NP_FLAG_TEXT, &listen, 0, 0},
                                    {"--scenario", NP_FLAG_TEXT, &scenario, 0, 0}};
    size_t n_rest;
    if (!np_flags_read(&np_cmd_mock, flags, 2, argc, argv, NULL, 0, &n_rest))
        return NEAP_USAGE;
    sigset_t set;
    int sig;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    struct neap_mock *m = NULL;
    char why[NEAP_WHY] = "";
    enum neap_status status = neap_mock_start(listen, scenario, &m, why);
    if (status) {
        np_say(&np_cmd_mock, "%s", why);
        np_say_twin(&np_cmd_mock, why, argc, argv);
        return (int)status;
    }
    (void)printf("imitation providers on port %u: base_url http://127.0.0.1:%u/v1 (OpenAI), "
                 "http://127.0.0.1:%u (Anthropic)\n",
                 neap_mock_port(m), neap_mock_port(m), neap_mock_port(m));
    (void)fflush(stdout);
    (void)sigwait(&set, &sig);
    neap_mock_stop(m);
    return NEAP_GOOD;
}

const struct np_command np_cmd_mock = {
    "mock", "imitation providers on a socket of their own",
    "mock [--listen ADDR:PORT] [--scenario FILE.lua]\n\n"
    "Speaks the APIs of OpenAI and Anthropic on one port (127.0.0.1:8088), whole replies and streams,\n"
    "and misbehaves as the scenario says. POST /control {\"models\": {\"gpt-4.1\": {\"status\": 503}}}\n"
    "overrides it, {\"models\": {}} puts it right; GET /calls counts. The same scenario gives the same\n"
    "answers.\n\n"
    "A scenario is a Lua file that returns { seed = N, models = { NAME = ANSWER } }. NAME is a model, \"openai/*\",\n"
    "\"anthropic/*\" or \"*\"; ANSWER a table, a list of tables (in turn, the last one repeats) or function(call)\n"
    "that returns either:\n\n"
    "    status, text, error, retry_after_s       what is said\n"
    "    first_ms, total_ms                       when; a number or { p50 = , p95 = }\n"
    "    stall_at, reset_at, fin_at               the byte where it stands still, is reset or ends\n"
    "    malformed, empty, no_usage, byte_by_byte, usage, finish, content_type, content_encoding, raw\n"
    "    usd_per_million, usd_per_request         what GET /calls bills\n"
    "    faults                                   { { rate = 0.1, burst = 3, … } }: now and then this instead\n\n"
    "examples/scenarios/README.md says more of each.",
    run};
