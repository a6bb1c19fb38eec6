/* Random traces: the breaker against a reference that keeps every report in a list. */
#include "guard/guard.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define MS(n) ((uint64_t)(n)*NP_NS_PER_MS)
#define STEPS 100000
#define KEEP 2048

/* The contract in the plainest words: reports while closed, in the order in which they came. */
struct reference {
    struct {
        uint64_t at;
        bool failed;
    } report[KEEP];
    size_t n;
    enum np_breaker_state state;
    uint64_t until, advice_until;
    unsigned row, good;
    bool probe;
};

static uint64_t tenth(const struct np_breaker_rule *rule, uint64_t t)
{
    return t / (rule->window_ms * NP_NS_PER_MS / 10);
}

static void ref_open(struct reference *r, const struct np_breaker_rule *rule, uint64_t now)
{
    uint64_t until = now + MS(rule->open_ms);
    r->state = NP_BREAKER_OPEN;
    r->until = until > r->advice_until ? until : r->advice_until;
}

static bool ref_should_open(const struct reference *r, const struct np_breaker_rule *rule,
                            uint64_t now)
{
    unsigned calls = 0, failed = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (tenth(rule, now) - tenth(rule, r->report[i].at) < 10) {
            calls++;
            failed += r->report[i].failed;
        }
    }
    return (rule->failures > 0 && r->row >= rule->failures) ||
           (rule->rate > 0 && failed > 0 && calls >= rule->min_calls &&
            failed >= rule->rate * calls);
}

static enum np_pass ref_ask(struct reference *r, uint64_t now)
{
    if (r->state == NP_BREAKER_CLOSED) {
        return NP_PASS_YES;
    }
    if (r->state == NP_BREAKER_OPEN && now >= r->until) {
        r->state = NP_BREAKER_HALF_OPEN;
        r->good = 0;
        r->advice_until = 0;
    }
    if (r->state == NP_BREAKER_OPEN || r->probe) {
        return NP_PASS_NO;
    }
    r->probe = true;
    return NP_PASS_PROBE;
}

static void ref_failed(struct reference *r, const struct np_breaker_rule *rule, uint64_t now,
                       uint64_t advice, bool probe)
{
    if (r->state == NP_BREAKER_OPEN) {
        r->until = advice > r->until ? advice : r->until;
        return;
    }
    if (probe || r->state == NP_BREAKER_CLOSED) {
        r->row++;
        r->advice_until = advice > r->advice_until ? advice : r->advice_until;
    }
    if (probe) {
        ref_open(r, rule, now);
    }
}

static void ref_good(struct reference *r, bool probe)
{
    if (r->state == NP_BREAKER_CLOSED) {
        r->row = 0;
        r->advice_until = 0;
    }
    if (probe && ++r->good == 2) {
        r->state = NP_BREAKER_CLOSED;
        r->n = r->row = 0;
        r->advice_until = 0;
    }
}

static void ref_report(struct reference *r, const struct np_breaker_rule *rule, uint64_t now,
                       enum np_class c, int64_t retry_after_ms, bool probe)
{
    bool failed = np_class_trips_breaker(c);
    bool closed = r->state == NP_BREAKER_CLOSED;
    r->probe = r->probe && !probe;
    if (!failed && c != NP_CLASS_ok) {
        return;
    }
    if (failed) {
        ref_failed(r, rule, now, now + (retry_after_ms > 0 ? MS(retry_after_ms) : 0), probe);
    } else {
        ref_good(r, probe);
    }
    if (!closed) {
        return;
    }
    if (r->n == KEEP) {
        memmove(r->report, r->report + KEEP / 2, KEEP / 2 * sizeof r->report[0]);
        r->n = KEEP / 2;
    }
    r->report[r->n].at = now;
    r->report[r->n++].failed = failed;
    if (ref_should_open(r, rule, now)) {
        ref_open(r, rule, now);
    }
}

/* --- the trace ----------------------------------------------------------------------------------- */

struct trace {
    struct np_guard *g;
    struct reference *ref;
    struct np_provider provider;
    struct np_model model;
    struct np_rng rng;
    uint64_t now;
    bool probe;   /* we have it */
    unsigned ill; /* how sick the provider is, in percent */
    unsigned opened, mismatches;
};

static enum np_class some_class(struct trace *t)
{
    static const enum np_class bad[] = {NP_CLASS_network,    NP_CLASS_timeout,
                                        NP_CLASS_overloaded, NP_CLASS_rate_limited,
                                        NP_CLASS_bad_reply,  NP_CLASS_server_error};
    static const enum np_class other[] = {NP_CLASS_rejected, NP_CLASS_cancelled, NP_CLASS_deadline,
                                          NP_CLASS_cut, NP_CLASS_quota};
    if (np_rng_below(&t->rng, 20) == 0) {
        return other[np_rng_below(&t->rng, 5)];
    }
    return np_rng_below(&t->rng, 100) < t->ill ? bad[np_rng_below(&t->rng, 6)] : NP_CLASS_ok;
}

static void step_report(struct trace *t, bool probe)
{
    enum np_class c = some_class(t);
    int64_t advice = -1;
    if (np_class_trips_breaker(c) && np_rng_below(&t->rng, 10) == 0) {
        advice = (int64_t)np_rng_below(&t->rng, 8000);
    }
    t->probe = t->probe && !probe;
    np_breaker_report(t->g, &t->model, t->now, c, advice, probe);
    ref_report(t->ref, &t->provider.breaker, t->now, c, advice, probe);
}

static void step_ask(struct trace *t)
{
    enum np_pass want = ref_ask(t->ref, t->now);
    t->mismatches += np_breaker_ask(t->g, &t->model, t->now) != want;
    t->probe = t->probe || want == NP_PASS_PROBE;
}

/* Looks at everything that can be seen from outside. */
static void compare(struct trace *t)
{
    const struct reference *r = t->ref;
    bool over = r->state == NP_BREAKER_OPEN && t->now >= r->until;
    enum np_breaker_state want = over ? NP_BREAKER_HALF_OPEN : r->state;
    bool pass = want == NP_BREAKER_CLOSED || (want == NP_BREAKER_HALF_OPEN && !r->probe);
    struct np_breaker_view v;
    np_breaker_view(t->g, &t->model, t->now, &v);
    t->mismatches += np_breaker_get(t->g, &t->model, t->now) != want || v.state != want ||
                     np_breaker_would_pass(t->g, &t->model, t->now) != pass ||
                     (want == NP_BREAKER_OPEN && v.wait_ns != r->until - t->now) ||
                     (want == NP_BREAKER_CLOSED && v.failures_in_row != r->row);
    t->opened = (unsigned)v.opened;
}

static void step(struct trace *t)
{
    switch (np_rng_below(&t->rng, 10)) {
    case 0:
        step_ask(t);
        break;
    case 1:
        if (t->probe) {
            np_breaker_release(t->g, &t->model, t->now);
            t->ref->probe = t->probe = false;
        }
        break;
    case 2:
        step_report(t, t->probe);
        break;
    case 3:
        t->now += MS(np_rng_below(&t->rng, np_rng_below(&t->rng, 10) == 0 ? 15000 : 400));
        break;
    case 4:
        t->ill = np_rng_below(&t->rng, 50) == 0 ? (unsigned)np_rng_below(&t->rng, 101) : t->ill;
        break;
    default:
        step_report(t, false);
        break;
    }
}

/* Rules of many kinds, one a loop. */
START_TEST(it_does_what_a_list_of_all_reports_would_do)
{
    static const struct np_breaker_rule rules[] = {
        {.failures = 5, .rate = 0.5, .min_calls = 20, .window_ms = 10000, .open_ms = 5000},
        {.failures = 0, .rate = 0.3, .min_calls = 10, .window_ms = 1000, .open_ms = 2000},
        {.failures = 3, .rate = 0, .min_calls = 0, .window_ms = 10000, .open_ms = 1000},
        {.failures = 50, .rate = 0.07, .min_calls = 100, .window_ms = 3000, .open_ms = 500},
        {.failures = 1, .rate = 1, .min_calls = 1, .window_ms = 10, .open_ms = 0},
    };
    struct trace t = {.g = np_guard_new(1),
                      .ref = calloc(1, sizeof(struct reference)),
                      .provider = {.name = "p", .breaker = rules[_i]},
                      .model = {.name = "m"},
                      .now = 5 * NP_NS_PER_S,
                      .ill = 10};
    t.model.provider = &t.provider;
    np_rng_seed(&t.rng, (uint64_t)_i + 41);
    for (int i = 0; i < STEPS; i++) {
        step(&t);
        compare(&t);
    }
    printf("breaker_trace: rule %d, %d steps, opened %u times, %u mismatches\n", _i, STEPS,
           t.opened, t.mismatches);
    ck_assert_uint_eq(t.mismatches, 0);
    ck_assert_uint_gt(t.opened, 100);
    free(t.ref);
    np_guard_free(t.g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("breaker_trace");
    TCase *t = tcase_create("traces");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, it_does_what_a_list_of_all_reports_would_do, 0, 5);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
