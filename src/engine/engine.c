/* The engine's life: everything is made in one order, and freed in the reverse. */
#include "engine/engine_impl.h"

#include "base/log.h"
#include "engine/gate.h"
#include "engine/monitor.h"
#include "engine/otel.h"
#include "http/dialect.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WANTED_FILES 65536
#define FILES_OTHERS 24
#define FILES_A_WORKER 12
#define CONNECTIONS_A_WORKER 16384u
/* How long what ends a drain may take to reach its clients. */
#define LAST_WORDS_NS (500 * NP_NS_PER_MS)
/* Sockets of refused clients that are read on for a moment: of each front, and of all what part. */
#define LINGERING_A_FRONT 256u
#define LINGERING_PART 16u

/* Descriptors: two a request in flight and some for the rest. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    rlim_t wanted = r.rlim_max < WANTED_FILES ? r.rlim_max : WANTED_FILES;
    if (r.rlim_cur < wanted) {
        r.rlim_cur = wanted;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* As many connections as there are descriptors for: a request in flight takes two, and some are for the
 * rest (measured: 25 with one worker, 5 a further one, when nothing is under way). Those who are refused
 * have a share of their own, or a crowd of them would take what providers and operators need. */
static void fit_connections(struct neap_engine *e)
{
    struct neap_options *o = &e->options;
    struct rlimit r;
    rlim_t others = FILES_OTHERS + FILES_A_WORKER * (rlim_t)e->n_workers;
    rlim_t room = UINT_MAX;
    rlim_t fronts = e->n_workers + 1u; /* and the operators' */
    e->lingering = LINGERING_A_FRONT;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != RLIM_INFINITY) {
        rlim_t left = r.rlim_cur > others ? r.rlim_cur - others : 0;
        rlim_t lingering = left / LINGERING_PART / fronts;
        lingering = lingering > LINGERING_A_FRONT ? LINGERING_A_FRONT : lingering;
        e->lingering = lingering > 0 ? (unsigned)lingering : 1;
        left -= left > fronts * e->lingering ? fronts * e->lingering : left;
        room = left > 2 ? left / 2 : 1;
    }
    if (o->max_connections > room)
        np_log(NP_LOG_WARN, "--max-connections is more than there are descriptors for",
               NP_KVI("wanted", o->max_connections), NP_KVI("connections", room));
    if (o->max_connections == 0)
        o->max_connections = CONNECTIONS_A_WORKER * (unsigned)e->n_workers;
    if (o->max_connections > room)
        o->max_connections = (unsigned)room;
    if (o->max_connections_per_address == 0)
        o->max_connections_per_address = (o->max_connections + 1) / 2;
}

/* glibc would give the heap's top back after each batch of requests and fault it in again: measured at
 * 13 to 30 us a request. Without effect where another allocator is linked. */
static void keep_heap(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)mallopt(M_TOP_PAD, 4 << 20);
}

/* What would stop a reload stops no start, as long as the set loads: neap must come up again with what it
 * ran before, and a hook that fails has its default. */
static enum neap_status load_first(struct neap_engine *e, struct np_policyset **out,
                                   char why[NEAP_WHY])
{
    struct np_problems problems;
    struct np_load_options options = {.slots = &e->slots,
                                      .simulated = e->options.simulate,
                                      .trust_folder = e->options.trust_folder};
    struct np_policyset *set = NULL;
    np_problems_init(&problems);
    enum np_err err = np_policyset_read(e->options.policies, &set, &problems);
    if (!err)
        err = np_policyset_load(set, &options, &problems);
    if (!err && !np_gate_may_listen(set, e->options.listen, &problems))
        err = NP_E_INVALID;
    struct np_buf text;
    np_buf_init(&text, NEAP_WHY - 64);
    np_problems_print(&problems, &text);
    while (text.n > 0 && text.p[text.n - 1] == '\n')
        text.n--;
    if (err)
        (void)snprintf(why, NEAP_WHY, "the policies in %s are not valid:\n%.*s",
                       e->options.policies, (int)text.n, text.n ? text.p : "");
    else if (text.n > 0)
        np_log(NP_LOG_WARN, "policies have warnings", NP_KVI("count", problems.n));
    bool unread = np_problems_have(&problems, NP_UNREADABLE);
    np_buf_free(&text);
    np_problems_free(&problems);
    if (err) {
        np_policyset_drop(set);
        return unread ? NEAP_FAILED : NEAP_NO;
    }
    *out = set;
    return NEAP_GOOD;
}

static enum neap_status out_of_memory(char why[NEAP_WHY])
{
    (void)snprintf(why, NEAP_WHY, "no memory to start");
    return NEAP_FAILED;
}

static enum neap_status make_shared(struct neap_engine *e, char why[NEAP_WHY])
{
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    e->guard = np_guard_new(seed);
    e->shared = np_shared_new();
    e->meters[e->n_workers] = np_meters_new();
    e->meters[e->n_workers + 1] = np_meters_new();
    e->series = np_series_new(np_clock_mono_ns(&np_clock_live));
    e->limits =
        np_http_limits_new(e->options.max_connections, e->options.max_connections_per_address);
    if (np_slots_init(&e->slots) != NP_OK || !e->guard || !e->shared || !e->limits ||
        !e->meters[e->n_workers] || !e->meters[e->n_workers + 1] || !e->series ||
        np_limiter_start() != NP_OK || np_otel_new(e, &e->otel) != NP_OK)
        return out_of_memory(why);
    return NEAP_GOOD;
}

#define CERTIFICATE_WARN_DAYS 7

/* How long the certificate lasts; a warning when that is not long. */
static void log_certificate(const struct np_tls *t)
{
    int64_t left_ms = np_tls_expires_wall_ms(t) - np_clock_wall_ms(&np_clock_live);
    int64_t days = left_ms / 86400000;
    if (left_ms <= 0)
        np_log(NP_LOG_ERROR, "tls certificate has expired; renew it and send SIGHUP",
               NP_KVI("days_ago", -days));
    else
        np_log(days < CERTIFICATE_WARN_DAYS ? NP_LOG_WARN : NP_LOG_INFO, "tls certificate in use",
               NP_KVI("days_left", days));
}

static enum neap_status load_tls(struct neap_engine *e, char why[NEAP_WHY])
{
    if (!e->options.tls_cert)
        return NEAP_GOOD;
    char text[NP_TLS_WHY];
    e->tls = np_tls_new(e->options.tls_cert, e->options.tls_key, text);
    if (!e->tls) {
        (void)snprintf(why, NEAP_WHY, "%s", text);
        return NEAP_FAILED;
    }
    log_certificate(e->tls);
    return NEAP_GOOD;
}

/* The files that may have been renewed; what is wrong with them leaves all as it was. */
static void renew_tls(struct neap_engine *e)
{
    char why[NP_TLS_WHY];
    bool changed;
    if (!e->tls)
        return;
    if (np_tls_renew(e->tls, &changed, why))
        np_log(NP_LOG_ERROR, "tls files not taken, the old certificate stays",
               NP_KVS("error", why));
    else if (changed)
        log_certificate(e->tls);
}

static enum neap_status open_ledger(struct neap_engine *e, const struct np_policyset *set,
                                    char why[NEAP_WHY])
{
    struct np_ledger_config config = {.store = e->options.store,
                                      .state = e->options.state,
                                      .share = e->store_share,
                                      .clock = &np_clock_live};
    enum np_err err = np_ledger_open(&config, &e->ledger, why, NEAP_WHY);
    if (err == NP_E_INVALID || err == NP_E_UNSUPPORTED)
        return NEAP_USAGE;
    if (err)
        return NEAP_FAILED;
    np_ledger_warm(e->ledger, np_policyset_catalog(set), np_clock_wall_ms(&np_clock_live));
    return NEAP_GOOD;
}

static enum neap_status start_simulation(struct neap_engine *e, char why[NEAP_WHY])
{
    if (!e->options.simulate)
        return NEAP_GOOD;
    enum neap_status s = neap_mock_start("127.0.0.1:0", e->options.scenario, &e->mock, why);
    if (s)
        return s;
    (void)snprintf(e->simulate_url, sizeof e->simulate_url, "http://127.0.0.1:%u",
                   neap_mock_port(e->mock));
    return NEAP_GOOD;
}

static int open_socket(const char *addr, bool shared, char why[NEAP_WHY])
{
    const char *reason = "";
    int fd = np_http_listen(addr, shared, &reason);
    if (fd < 0)
        (void)snprintf(why, NEAP_WHY, "%s", reason);
    return fd;
}

/* One socket a worker, all on the port that the first one got. The first is opened alone, so that a
 * port that another program listens on is refused rather than shared. */
static enum neap_status make_workers(struct neap_engine *e, struct np_generation *gen,
                                     char why[NEAP_WHY])
{
    const char *colon = strrchr(e->options.listen, ':');
    char addr[256];
    (void)snprintf(addr, sizeof addr, "%s", e->options.listen);
    for (size_t i = 0; i < e->n_workers; i++) {
        e->listen_fds[i] = open_socket(addr, i > 0, why);
        if (e->listen_fds[i] < 0)
            return NEAP_FAILED;
        e->workers[i] = np_worker_new(e, (unsigned)i, e->listen_fds[i], gen);
        if (!e->workers[i])
            return out_of_memory(why);
        if (i == 0) {
            e->port = np_http_port(e->listen_fds[0]);
            (void)snprintf(addr, sizeof addr, "%.*s:%u", (int)(colon - e->options.listen),
                           e->options.listen, e->port);
        }
    }
    return NEAP_GOOD;
}

static enum neap_status make_rest(struct neap_engine *e, struct np_generation *gen,
                                  char why[NEAP_WHY])
{
    e->admin_fd = open_socket(e->options.admin, false, why);
    if (e->admin_fd < 0)
        return NEAP_FAILED;
    e->admin_port = np_http_port(e->admin_fd);
    e->writer = np_writer_new(e, e->options.decisions, why, NEAP_WHY);
    if (!e->writer)
        return NEAP_FAILED;
    e->keeper = np_keeper_new(e, gen);
    e->monitor = e->keeper ? np_monitor_new(e, np_policyset_catalog(gen->set)) : NULL;
    e->admin = e->monitor ? np_admin_new(e, e->admin_fd) : NULL;
    return e->admin ? NEAP_GOOD : out_of_memory(why);
}

static enum neap_status start_threads(struct neap_engine *e, char why[NEAP_WHY])
{
    enum np_err err = np_writer_start(e->writer);
    for (size_t i = 0; i < e->n_workers && !err; i++)
        err = np_worker_start(e->workers[i]);
    if (!err)
        err = np_keeper_start(e->keeper);
    if (!err)
        err = np_monitor_start(e->monitor);
    if (!err)
        err = np_otel_start(e->otel);
    if (!err)
        err = np_admin_start(e->admin);
    return err ? out_of_memory(why) : NEAP_GOOD;
}

static enum neap_status build(struct neap_engine *e, char why[NEAP_WHY])
{
    struct np_policyset *set = NULL;
    struct np_generation *gen = NULL;
    enum neap_status s = make_shared(e, why);
    if (!s)
        s = load_tls(e, why);
    if (!s)
        s = load_first(e, &set, why);
    if (!s && !(gen = np_generation_new(set, 1, NP_TRIGGER_START, e->n_workers)))
        s = out_of_memory(why);
    if (!s)
        s = open_ledger(e, set, why);
    if (!s)
        s = start_simulation(e, why);
    if (!s)
        s = make_workers(e, gen, why);
    if (!s)
        s = make_rest(e, gen, why);
    if (!s)
        s = start_threads(e, why);
    np_generation_drop(gen);
    np_policyset_drop(set);
    return s;
}

static const char *store_name(const struct neap_engine *e)
{
    struct np_ledger_totals totals;
    np_ledger_totals(e->ledger, &totals);
    return totals.store;
}

enum neap_status neap_engine_start(const struct neap_options *options, struct neap_engine **out,
                                   char why[NEAP_WHY])
{
    struct neap_engine *e = calloc(1, sizeof *e);
    if (!e)
        return out_of_memory(why);
    e->admin_fd = -1;
    for (size_t i = 0; i < NP_MAX_WORKERS; i++)
        e->listen_fds[i] = -1;
    enum neap_status s = np_options_check(e, options, why);
    if (!s && np_log_open(e->options.log) != NP_OK) {
        (void)snprintf(why, NEAP_WHY, "--log %s: %s", e->options.log, np_log_fault());
        s = NEAP_FAILED;
    }
    if (!s) {
        e->started_wall_ms = np_clock_wall_ms(&np_clock_live);
        e->n_workers = e->options.workers;
        raise_file_limit();
        fit_connections(e);
        keep_heap();
        s = build(e, why);
    }
    if (s) {
        neap_engine_stop(e);
        return s;
    }
    np_log(NP_LOG_INFO, "started", NP_KVI("port", e->port), NP_KVI("admin_port", e->admin_port),
           NP_KVI("workers", e->n_workers), NP_KVB("simulate", e->options.simulate),
           NP_KVS("store", store_name(e)));
    *out = e;
    return NEAP_GOOD;
}

void neap_engine_reload(struct neap_engine *e)
{
    renew_tls(e);
    np_keeper_reload(e->keeper, NP_RELOAD_ANEW, NP_TRIGGER_SIGNAL, NULL, NULL);
}

void neap_engine_reopen(struct neap_engine *e)
{
    np_writer_reopen(e->writer);
}

static size_t still_open(const struct neap_engine *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_workers; i++)
        n += np_worker_open(e->workers[i]);
    return n;
}

/* Whether every worker has taken the order: clients that wait in a backlog get an answer first. */
static bool all_drained(const struct neap_engine *e)
{
    for (size_t i = 0; i < e->n_workers; i++) {
        if (!np_worker_drained(e->workers[i]))
            return false;
    }
    return true;
}

/* Waits until nothing is open, for so long at most. */
static void wait_for_open(const struct neap_engine *e, uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    uint64_t until = np_clock_mono_ns(&np_clock_live) + ns;
    while ((still_open(e) > 0 || !all_drained(e)) && !atomic_load(&e->hurry) &&
           np_clock_mono_ns(&np_clock_live) < until)
        (void)nanosleep(&pause, NULL);
}

bool neap_engine_drain(struct neap_engine *e)
{
    atomic_store(&e->draining, true);
    np_log(NP_LOG_INFO, "draining", NP_KVI("open", still_open(e)));
    for (size_t i = 0; i < e->n_workers; i++)
        np_worker_drain(e->workers[i]);
    wait_for_open(e, e->options.drain_seconds * NP_NS_PER_S);
    size_t left = still_open(e);
    if (left > 0 && !atomic_load(&e->hurry)) {
        for (size_t i = 0; i < e->n_workers; i++)
            np_worker_dismiss(e->workers[i]);
        wait_for_open(e, LAST_WORDS_NS);
    }
    np_log(NP_LOG_INFO, "drained", NP_KVI("left", left));
    return left == 0;
}

void neap_engine_hurry(struct neap_engine *e)
{
    atomic_store(&e->hurry, true);
}

void neap_engine_stop(struct neap_engine *e)
{
    if (!e)
        return;
    np_admin_join(e->admin);
    np_monitor_join(e->monitor);
    np_keeper_join(e->keeper);
    for (size_t i = 0; i < e->n_workers; i++) {
        if (e->workers[i])
            np_worker_join(e->workers[i]);
    }
    for (size_t i = 0; i < e->n_workers; i++) {
        if (e->workers[i])
            np_worker_close(e->workers[i]);
    }
    np_writer_stop(e->writer);
    np_otel_stop(e->otel);
    np_monitor_save(e->monitor);
    for (size_t i = 0; i < e->n_workers; i++)
        np_worker_free(e->workers[i]);
    np_otel_free(e->otel);
    np_monitor_free(e->monitor);
    np_keeper_free(e->keeper);
    np_admin_free(e->admin);
    neap_mock_stop(e->mock);
    for (size_t i = 0; i < NP_MAX_WORKERS; i++) {
        if (e->listen_fds[i] >= 0)
            (void)close(e->listen_fds[i]);
    }
    if (e->admin_fd >= 0)
        (void)close(e->admin_fd);
    np_meters_free(e->meters[e->n_workers]);
    np_meters_free(e->meters[e->n_workers + 1]);
    np_series_free(e->series);
    np_tls_free(e->tls);
    np_http_limits_free(e->limits);
    np_shared_free(e->shared);
    np_ledger_free(e->ledger);
    np_guard_free(e->guard);
    np_slots_free(&e->slots);
    free(e->hosts_text);
    free(e);
    np_log_close();
}

unsigned neap_engine_port(const struct neap_engine *e)
{
    return e->port;
}

unsigned neap_engine_admin_port(const struct neap_engine *e)
{
    return e->admin_port;
}
