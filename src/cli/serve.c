/* neap serve: the gateway itself, from flags to signals. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void *wait_for_second(void *arg)
{
    sigset_t *set = arg;
    int sig;
    do {
        if (sigwait(set, &sig) != 0)
            return NULL;
    } while (sig != SIGTERM && sig != SIGINT);
    /* A second SIGTERM exits at once. */
    _exit(NEAP_GOOD);
}

/* SIGHUP, SIGUSR1 until SIGTERM or SIGINT. */
static void serve_signals(struct neap_engine *e, const sigset_t *set)
{
    for (;;) {
        int sig;
        if (sigwait(set, &sig) != 0)
            continue;
        if (sig == SIGHUP)
            neap_engine_reload(e);
        else if (sig == SIGUSR1)
            neap_engine_reopen(e);
        else
            return;
    }
}

/* Blocks the signals that serve_signals takes, in this thread and all that it starts. */
static void block_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGHUP);
    (void)sigaddset(set, SIGUSR1);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk */
}

static bool read_options(struct neap_options *o, int argc, char **argv)
{
    const struct np_flag flags[] = {
        {"--policies", NP_FLAG_TEXT, &o->policies, 0, 0},
        {"--trust-folder", NP_FLAG_SWITCH, &o->trust_folder, 0, 0},
        {"--listen", NP_FLAG_TEXT, &o->listen, 0, 0},
        {"--admin", NP_FLAG_TEXT, &o->admin, 0, 0},
        {"--tls-cert", NP_FLAG_TEXT, &o->tls_cert, 0, 0},
        {"--tls-key", NP_FLAG_TEXT, &o->tls_key, 0, 0},
        {"--store", NP_FLAG_TEXT, &o->store, 0, 0},
        {"--state", NP_FLAG_TEXT, &o->state, 0, 0},
        {"--on-store-loss", NP_FLAG_TEXT, &o->on_store_loss, 0, 0},
        {"--workers", NP_FLAG_NUMBER, &o->workers, 1, 64},
        {"--max-connections", NP_FLAG_NUMBER, &o->max_connections, 1, 1048576},
        {"--max-connections-per-address", NP_FLAG_NUMBER, &o->max_connections_per_address, 1,
         1048576},
        {"--max-inflight", NP_FLAG_NUMBER, &o->max_inflight, 1, 1048576},
        {"--max-wait-ms", NP_FLAG_NUMBER, &o->max_wait_ms, 1, 60000},
        {"--hosts", NP_FLAG_TEXT, &o->hosts, 0, 0},
        {"--log", NP_FLAG_TEXT, &o->log, 0, 0},
        {"--decisions", NP_FLAG_TEXT, &o->decisions, 0, 0},
        {"--record-bodies", NP_FLAG_SWITCH, &o->record_bodies, 0, 0},
        {"--log-max-mb", NP_FLAG_NUMBER, &o->log_max_mb, 1, 1048576},
        {"--log-level", NP_FLAG_TEXT, &o->log_level, 0, 0},
        {"--keep-records", NP_FLAG_NUMBER, &o->keep_records, 0, 1000000},
        {"--drain-seconds", NP_FLAG_NUMBER, &o->drain_seconds, 0, 86400},
        {"--simulate", NP_FLAG_SWITCH, &o->simulate, 0, 0},
        {"--scenario", NP_FLAG_TEXT, &o->scenario, 0, 0},
        {"--ca-file", NP_FLAG_TEXT, &o->ca_file, 0, 0},
    };
    size_t n_rest;
    o->drain_seconds = 30;
    o->keep_records = 10000;
    o->admin_token = getenv("NEAP_ADMIN_TOKEN");
    if (!np_flags_read(&np_cmd_serve, flags, sizeof flags / sizeof *flags, argc, argv, NULL, 0,
                       &n_rest))
        return false;
    if (o->scenario && !o->simulate && np_flag_given("--scenario", argc, argv)) {
        np_say(&np_cmd_serve,
               "--scenario says how imitation providers behave: it needs --simulate");
        return false;
    }
    if (o->drain_seconds == 0)
        o->drain_seconds = UINT_MAX;
    if (o->keep_records == 0)
        o->keep_records = UINT_MAX;
    return true;
}

static int run(int argc, char **argv)
{
    struct neap_options options = {0};
    if (!read_options(&options, argc, argv))
        return NEAP_USAGE;
    static sigset_t set; /* the thread that waits for a second SIGTERM outlives this function */
    block_signals(&set);
    /* Keys live in this process: no core file, no ptrace by others. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    struct neap_engine *e = NULL;
    char why[NEAP_WHY] = "";
    enum neap_status status = neap_engine_start(&options, &e, why);
    if (status) {
        np_say(&np_cmd_serve, "%s", why);
        np_say_twin(&np_cmd_serve, why, argc, argv);
        return (int)status;
    }
    serve_signals(e, &set);
    pthread_t second;
    if (pthread_create(&second, NULL, wait_for_second, &set) == 0)
        (void)pthread_detach(second);
    (void)neap_engine_drain(e);
    neap_engine_stop(e);
    return NEAP_GOOD;
}

const struct np_command np_cmd_serve = {
    "serve", "answer clients",
    "serve [FLAGS]\n\n"
    "    --policies DIR        the policy set (./policies, else the installed one)\n"
    "    --trust-folder        take files of it that others may write, too\n"
    "    --listen ADDR:PORT    for clients (127.0.0.1:8080)\n"
    "    --admin ADDR:PORT     for operators (127.0.0.1:9090); off loopback NEAP_ADMIN_TOKEN is needed\n"
    "    --tls-cert F --tls-key F\n"
    "                          clients speak TLS: PEM chain and key; SIGHUP takes renewed files\n"
    "    --store URL           where budgets are kept: sqlite:PATH (sqlite:neap.db), redis://HOST:PORT/DB\n"
    "                          (rediss:// with TLS) for several instances, or memory:\n"
    "    --state DIR           the folder for it, and for the journal beside a Redis (the working directory)\n"
    "    --on-store-loss degrade|share:N\n"
    "                          without the store: only what is leased already, or each of N\n"
    "                          instances its share of what is left (degrade)\n"
    "    --workers N           threads that serve (one a core)\n"
    "    --max-connections N   of clients (16384 a worker, or what descriptors are there for)\n"
    "    --max-connections-per-address N\n"
    "                          of one client address, an IPv6 network of /64 being one (half of them)\n"
    "    --max-inflight N      requests under way; more wait a moment or are told 503 (8192 a worker)\n"
    "    --max-wait-ms N       how long one waits at most, or a tenth of the time that it has left (100)\n"
    "    --hosts NAME,…        names that Host may have beside loopback and the listen address\n"
    "    --log FILE|-          the log (standard error)\n"
    "    --log-level LEVEL     debug, info, warn or error: no lines of less (info)\n"
    "    --decisions FILE      one JSON line a request: what was decided, and why\n"
    "    --record-bodies       prompts and replies too, in the decision records\n"
    "    --keep-records N      newest decision records in memory, for explain and the dashboard (10000)\n"
    "    --log-max-mb N        log and decision records begin anew when they are larger (100); five kept\n"
    "    --drain-seconds N     how long SIGTERM waits for what is in flight (30)\n"
    "    --ca-file FILE        certificates trusted for providers instead of the system's\n"
    "    --simulate            imitation providers inside the process: no key, no network\n"
    "    --scenario FILE.lua   how the imitation providers behave\n\n"
    "OTEL_EXPORTER_OTLP_ENDPOINT and the other OTEL_* variables of the environment send traces and metrics to a\n"
    "collector: README.md, Monitoring.\n\n"
    "SIGHUP reloads policies and TLS files, SIGUSR1 reopens log files, SIGTERM drains and ends, a second one\n"
    "ends at once. Exit status: 0 good, 1 the policies are not valid, 2 a flag is wrong, 3 it could\n"
    "not run: a file or folder can't be read, an address is taken.",
    run};
