/* The gate between a folder of policies and the requests. */
#include "engine/gate.h"

#include "base/clock.h"
#include "engine/play.h"
#include "engine/probe.h"
#include "http/dialect.h"
#include "script/testhost.h"

#include <stdio.h>
#include <time.h>

#define SEED 1
#define TEXT_BYTES 600

enum np_err np_gate_check(struct np_policyset *set, const struct np_load_options *options,
                          struct np_problems *problems)
{
    enum np_err loaded = np_policyset_load(set, options, problems);
    enum np_err looked = loaded == NP_E_NOMEM ? loaded : np_policyset_inspect(set, problems);
    enum np_err tried = loaded || looked ? NP_OK : np_probe(set, problems);
    np_policyset_place(set, problems);
    np_problems_settle(problems);
    if (loaded || looked || tried)
        return loaded ? loaded : looked ? looked : tried;
    return problems->errors > 0 ? NP_E_INVALID : NP_OK;
}

bool np_gate_may_listen(const struct np_policyset *set, const char *listen,
                        struct np_problems *problems)
{
    if (np_policyset_catalog(set)->n_tenants > 0 || np_http_is_loopback(listen))
        return true;
    np_problems_add(problems, "tenants.lua", 0, 0, "N150", false,
                    "there are no tenants, but neap listens on %s, which is not loopback: anybody "
                    "could spend the budget. Declare tenants with keys, or listen on 127.0.0.1",
                    listen);
    return false;
}

/* --- tests ------------------------------------------------------------------------------------------ */

struct trial {
    struct np_policyset *set;
    struct np_play *play; /* of the test that runs; NULL until it plays */
    struct np_problems *problems;
    const atomic_bool *stop;
    uint64_t until_ns; /* of this thread's CPU */
    bool cut;          /* the tests were not run to their end */
};

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
}

static bool is_over(void *ctx)
{
    struct trial *t = ctx;
    t->cut =
        t->cut || atomic_load_explicit(t->stop, memory_order_relaxed) || cpu_ns() > t->until_ns;
    return t->cut;
}

static void fresh(void *ctx)
{
    struct trial *t = ctx;
    np_play_free(t->play);
    t->play = NULL;
}

/* A test may play on and on, and hooks' steps are not its own: so the time is looked at here too. */
static enum np_err has_play(struct trial *t, struct np_buf *out)
{
    if (is_over(t)) {
        np_buf_puts(out, "the time that a reload gives to all tests is over");
        return NP_E_INVALID;
    }
    if (!t->play)
        t->play = np_play_new(t->set, SEED);
    return t->play ? NP_OK : NP_E_NOMEM;
}

static enum np_err play(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct trial *t = ctx;
    enum np_err err = has_play(t, out);
    (void)shown;
    return err ? err : np_play_run(t->play, given, out);
}

static enum np_err alerts(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct trial *t = ctx;
    enum np_err err = has_play(t, out);
    (void)shown;
    return err ? err : np_play_alerts(t->play, given, out);
}

/* A message of several lines as one. */
static void one_line(char *out, size_t size, struct np_span text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n && n + 3 < size; i++) {
        if (text.p[i] == '\n') {
            out[n++] = ';';
            out[n++] = ' ';
        } else {
            out[n++] = text.p[i];
        }
    }
    /* Cut between two characters. */
    while (n > 0 && n + 3 >= size && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
        n--;
    out[n] = '\0';
}

static void done(void *ctx, const struct np_test_result *r)
{
    struct trial *t = ctx;
    char text[TEXT_BYTES];
    if (r->passed || t->cut)
        return;
    bool placed = r->at_file[0] && r->at_line > 0;
    one_line(text, sizeof text, r->message);
    np_problems_add(t->problems, placed ? r->at_file : r->file, placed ? r->at_line : r->line, 0,
                    "N155", false, "%s%s%s%s", r->name[0] ? "the test \"" : "", r->name,
                    r->name[0] ? "\" fails: " : "", text);
}

enum np_err np_gate_test(struct np_policyset *set, const atomic_bool *stop,
                         struct np_problems *problems)
{
    struct trial t = {
        .set = set, .problems = problems, .stop = stop, .until_ns = cpu_ns() + NP_GATE_TESTS_NS};
    const struct np_test_ground ground = {
        .fresh = fresh, .play = play, .alerts = alerts, .ctx = &t};
    const struct np_test_order order = {
        .ground = &ground, .done = done, .is_over = is_over, .ctx = &t};
    struct np_test_counts counts;
    enum np_err err = np_tests_run(set, &order, &counts);
    fresh(&t);
    if (err)
        np_problems_add(problems, "", 0, 0, "N199", false, "the tests can't be run: %s",
                        np_err_text(err));
    else if (atomic_load(stop))
        np_problems_add(problems, "", 0, 0, "N154", false, "this instance is shutting down");
    else if (t.cut)
        np_problems_add(problems, "", 0, 0, "N156", false,
                        "the tests were stopped after %zu: all of them get %d s of CPU before a "
                        "set goes live. `neap test -v` shows which take long",
                        counts.passed + counts.failed, (int)(NP_GATE_TESTS_NS / NP_NS_PER_S));
    if (err)
        return err;
    return t.cut || counts.failed > 0 ? NP_E_INVALID : NP_OK;
}
