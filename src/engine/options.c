/* The options of `neap serve`: defaults, and clear words for what is wrong. */
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/recent.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/dialect.h"

/* Each takes 50 to 100 KB. */
#define INFLIGHT_A_WORKER 8192u

static enum neap_status wrong(char why[NEAP_WHY], const char *fmt, ...) NP_PRINTF(2, 3);

static enum neap_status wrong(char why[NEAP_WHY], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, NEAP_WHY, fmt, ap);
    va_end(ap);
    return NEAP_USAGE;
}

/* "a,b" into e->hosts. The copy lives as long as the process: options are read once. */
static enum neap_status split_hosts(struct neap_engine *e, const char *hosts, char why[NEAP_WHY])
{
    char *copy = hosts ? strdup(hosts) : NULL;
    e->hosts_text = copy;
    char *save = NULL;
    for (char *h = copy ? strtok_r(copy, ",", &save) : NULL; h; h = strtok_r(NULL, ",", &save)) {
        if (e->n_hosts == sizeof e->hosts / sizeof *e->hosts)
            return wrong(why, "--hosts: at most %zu names", sizeof e->hosts / sizeof *e->hosts);
        e->hosts[e->n_hosts++] = h;
    }
    return NEAP_GOOD;
}

static enum neap_status check_address(const char *flag, const char *addr_port, char why[NEAP_WHY])
{
    if (np_http_is_address(addr_port))
        return NEAP_GOOD;
    return wrong(why,
                 "%s must be ADDRESS:PORT (127.0.0.1:8080, [::1]:8080, localhost:8080), got \"%s\"",
                 flag, addr_port);
}

/* "degrade", or "share:N" into e->store_share. */
static enum neap_status check_store_loss(struct neap_engine *e, const char *what,
                                         char why[NEAP_WHY])
{
    unsigned long long n;
    if (!what || strcmp(what, "degrade") == 0)
        return NEAP_GOOD;
    if (strncmp(what, "share:", 6) == 0 && np_span_to_u64(np_span_of(what + 6), &n) && n >= 1 &&
        n <= 10000) {
        e->store_share = (unsigned)n;
        return NEAP_GOOD;
    }
    return wrong(
        why,
        "--on-store-loss: degrade, or share:N with the number of instances (1 to 10000), is "
        "wanted, got \"%s\"",
        what);
}

static enum neap_status set_log_level(const char *level, char why[NEAP_WHY])
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(level ? level : "info", names[i]) == 0) {
            np_log_level((enum np_log_level)i);
            return NEAP_GOOD;
        }
    }
    return wrong(why, "--log-level: debug, info, warn or error is wanted, got \"%s\"", level);
}

static unsigned cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > NP_MAX_WORKERS ? NP_MAX_WORKERS : (unsigned)n;
}

/* ./policies when it is there, else the installed set. */
static const char *default_policies(void)
{
    return access("policies", R_OK) == 0 ? "policies" : NEAP_DATADIR "/policies";
}

static void fill_in(struct neap_options *o)
{
    o->policies = o->policies ? o->policies : default_policies();
    o->listen = o->listen ? o->listen : "127.0.0.1:8080";
    o->admin = o->admin ? o->admin : "127.0.0.1:9090";
    o->store = o->store ? o->store : "sqlite:neap.db";
    o->log = o->log ? o->log : "-";
    o->workers = o->workers ? o->workers : cores();
    o->max_inflight = o->max_inflight ? o->max_inflight : INFLIGHT_A_WORKER * o->workers;
    o->max_wait_ms = o->max_wait_ms ? o->max_wait_ms : 100;
    o->drain_seconds = o->drain_seconds == UINT_MAX ? 0 : o->drain_seconds ? o->drain_seconds : 30;
    o->log_max_mb = o->log_max_mb ? o->log_max_mb : 100;
    o->keep_records = o->keep_records == UINT_MAX ? 0
                      : o->keep_records           ? o->keep_records
                                                  : NP_RECENT_RECORDS;
}

/* Port 0 is another one each time. */
static bool is_same_place(const char *a, const char *b)
{
    size_t n = strlen(a);
    return strcmp(a, b) == 0 && !(n > 2 && strcmp(a + n - 2, ":0") == 0);
}

/* Two things that would be in each other's way. */
static enum neap_status check_places(const struct neap_options *o, char why[NEAP_WHY])
{
    if (is_same_place(o->listen, o->admin))
        return wrong(why, "--listen and --admin are both %s: give one of them another port",
                     o->admin);
    if (o->decisions && strcmp(o->log, o->decisions) == 0 && strncmp(o->log, "/dev/", 5) != 0)
        return wrong(why, "--log and --decisions are both %s: give each a file of its own", o->log);
    return NEAP_GOOD;
}

enum neap_status np_options_check(struct neap_engine *e, const struct neap_options *given,
                                  char why[NEAP_WHY])
{
    struct neap_options *o = &e->options;
    *o = *given;
    fill_in(o);
    if (o->workers > NP_MAX_WORKERS)
        return wrong(why, "--workers must be from 1 to %d, got %u", NP_MAX_WORKERS, o->workers);
    if (o->record_bodies && !o->decisions)
        return wrong(why, "--record-bodies needs --decisions FILE, where the bodies would go");
    enum neap_status s = check_address("--listen", o->listen, why);
    if (!s)
        s = check_address("--admin", o->admin, why);
    if (!s)
        s = set_log_level(o->log_level, why);
    if (!s)
        s = check_places(o, why);
    if (s)
        return s;
    if (!np_http_is_loopback(o->admin) && !(o->admin_token && o->admin_token[0]))
        return wrong(why,
                     "--admin %s is not loopback: set NEAP_ADMIN_TOKEN, which then is asked for",
                     o->admin);
    if (!o->tls_cert != !o->tls_key)
        return wrong(why, "--tls-cert and --tls-key belong together; %s is missing",
                     o->tls_cert ? "--tls-key" : "--tls-cert");
    if (np_ledger_check(o->store, why, NEAP_WHY))
        return NEAP_USAGE;
    s = check_store_loss(e, o->on_store_loss, why);
    return s ? s : split_hosts(e, given->hosts, why);
}
