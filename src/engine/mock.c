/* The imitation providers as a thread with a socket of its own: `neap mock` and serve --simulate. */
#include <neap/neap.h>

#include "base/loop.h"
#include "http/dialect.h"
#include "script/scenario.h"
#include "sim/imitation.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEED 1

struct neap_mock {
    pthread_t thread;
    struct np_loop *loop;
    struct np_imitation *imitation;
    struct np_scenario *scenario;
    int fd;
    bool running;
};

static enum np_err ask(void *ctx, const struct np_imitation_call *call,
                       struct np_imitation_answer *out)
{
    struct neap_mock *m = ctx;
    return np_scenario_ask(m->scenario, call, out);
}

static enum np_err control(void *ctx, struct np_span json, struct np_buf *why)
{
    struct neap_mock *m = ctx;
    return np_scenario_override(m->scenario, json, why);
}

static void *thread_main(void *arg)
{
    struct neap_mock *m = arg;
    np_loop_run(m->loop);
    return NULL;
}

/* Opens the socket and reads the scenario. */
static enum neap_status prepare(struct neap_mock *m, const char *listen, const char *scenario,
                                char why[NEAP_WHY])
{
    const char *reason = "";
    if (!np_http_is_address(listen)) {
        (void)snprintf(why, NEAP_WHY, "--listen must be ADDRESS:PORT (127.0.0.1:8088), got \"%s\"",
                       listen);
        return NEAP_USAGE;
    }
    if (scenario && access(scenario, R_OK) != 0) {
        (void)snprintf(why, NEAP_WHY, "--scenario %s: %s", scenario, strerror(errno));
        return NEAP_FAILED;
    }
    m->fd = np_http_listen(listen, false, &reason);
    if (m->fd < 0) {
        (void)snprintf(why, NEAP_WHY, "%s", reason);
        return NEAP_FAILED;
    }
    struct np_buf text;
    np_buf_init(&text, NEAP_WHY - 1);
    m->scenario = np_scenario_new(scenario, SEED, &text);
    if (!m->scenario)
        (void)snprintf(why, NEAP_WHY, "%.*s", (int)text.n, text.p);
    np_buf_free(&text);
    return m->scenario ? NEAP_GOOD : NEAP_NO;
}

enum neap_status neap_mock_start(const char *listen, const char *scenario, struct neap_mock **out,
                                 char why[NEAP_WHY])
{
    struct neap_mock *m = calloc(1, sizeof *m);
    if (!m) {
        (void)snprintf(why, NEAP_WHY, "no memory");
        return NEAP_FAILED;
    }
    m->fd = -1;
    enum neap_status status = prepare(m, listen ? listen : "127.0.0.1:8088", scenario, why);
    if (status) {
        neap_mock_stop(m);
        return status;
    }
    struct np_imitation_source source = {ask, control, m};
    m->loop = np_loop_new(&np_clock_live);
    m->imitation = m->loop ? np_imitation_new(m->loop, m->fd, &source) : NULL;
    m->running = m->imitation && pthread_create(&m->thread, NULL, thread_main, m) == 0;
    if (!m->running) {
        (void)snprintf(why, NEAP_WHY, "no memory for the imitation providers");
        neap_mock_stop(m);
        return NEAP_FAILED;
    }
    *out = m;
    return NEAP_GOOD;
}

unsigned neap_mock_port(const struct neap_mock *m)
{
    return np_http_port(m->fd);
}

void neap_mock_stop(struct neap_mock *m)
{
    if (!m)
        return;
    if (m->running) {
        np_loop_stop(m->loop);
        (void)pthread_join(m->thread, NULL);
    }
    if (m->imitation)
        np_imitation_free(m->imitation);
    if (m->loop)
        np_loop_free(m->loop);
    if (m->scenario)
        np_scenario_free(m->scenario);
    if (m->fd >= 0)
        (void)close(m->fd);
    free(m);
}
