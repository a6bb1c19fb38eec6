/* 10,000 requests on the simulated ground, a third of them streamed, with every fault by seeded chance and a
 * second provider beside a slow first: each gets exactly one reply within its deadline, none exceeds its
 * cost cap, and the books agree afterwards.
 *
 * ctest: labels sim */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUESTS 10000
#ifndef SEEDS
#define SEEDS 40 /* test_seeded_long.c has more; NEAP_SEEDS says another number */
#endif
#define OF_A_SEED 1000
#define CAP_NUSD 4000000 /* max_cost_usd = 0.004 */

struct run {
    struct kit kit;
    int requests;
    size_t closed, degraded, gone, refused, broken;
    size_t hedges[NP_HEDGE_COUNT]; /* requests by what became of theirs */
    uint64_t slowest_ns;
    int64_t dearest_nusd, sum_nusd;
    uint64_t decisions; /* a fold over every outcome, to see that the same seed gives the same */
};

/* A stream of some words, by chance cut before its end. */
static void chance_stream(enum np_adapter dialect, int completion, struct np_rng *rng,
                          struct np_sim_reply *out)
{
    static char openai[512], anthropic[512];
    (void)snprintf(
        openai, sizeof openai,
        "data: {\"choices\":[{\"delta\":{\"content\":\"Su\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{\"content\":\"re.\"},\"finish_reason\":\"stop\"}]}"
        "\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,"
        "\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n",
        completion);
    (void)snprintf(
        anthropic, sizeof anthropic,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":8}}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"text_delta\",\"text\":\"Sure.\"}}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
        "\"usage\":{\"output_tokens\":%d}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        completion);
    out->body = np_span_of(dialect == NP_ADAPTER_OPENAI ? openai : anthropic);
    out->stream = true;
    out->first_ns = out->takes_ns / (1 + np_rng_below(rng, 4));
    if (np_rng_below(rng, 6) == 0) {
        out->how = NP_CALL_RESET;
        out->body.n = out->body.n * np_rng_below(rng, 100) / 100;
    }
}

static void chance_reply(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                         struct np_rng *rng, struct np_sim_reply *out)
{
    static const unsigned statuses[] = {429, 503, 500, 529, 404, 401, 400, 402, 451, 302};
    (void)ctx;
    enum np_adapter dialect = order->model->provider->adapter;
    uint64_t dice = np_rng_below(rng, 100);
    out->takes_ns = (50 + np_rng_below(rng, 3000)) * NP_NS_PER_MS;
    if (dice < 60) {
        /* A provider keeps to the max_tokens that it was sent. */
        int completion = 1 + (int)np_rng_below(rng, (uint64_t)x->plan[x->at].completion_max);
        if (order->stream)
            chance_stream(dialect, completion, rng, out);
        else
            out->body = np_span_of(kit_good(dialect, "Sure.", 8, completion));
    } else if (dice < 80) {
        out->status = statuses[np_rng_below(rng, 10)];
        out->body = NP_SPAN("{\"error\":{\"message\":\"no\",\"type\":\"t\"}}");
        if (np_rng_below(rng, 2))
            out->retry_after = NP_SPAN("1");
    } else if (dice < 90) {
        out->status = 0;
        out->how = (enum np_call_how)(1 + np_rng_below(rng, 8));
        out->not_sent = out->how <= NP_CALL_NO_TLS;
    } else if (dice < 95) {
        out->takes_ns = 60 * NP_NS_PER_S;
    } else {
        out->body = NP_SPAN("{\"usage\":");
    }
}

static void chance_closed(void *ctx, const struct np_exchange *x)
{
    struct run *r = ctx;
    uint64_t took = x->end_ns - x->accept_ns;
    r->closed++;
    r->gone += x->client_gone;
    r->degraded += x->outcome.degraded;
    r->refused += x->outcome.refused;
    r->broken += x->outcome.broken;
    r->hedges[x->hedge]++;
    r->slowest_ns = took > r->slowest_ns ? took : r->slowest_ns;
    r->dearest_nusd = x->cost_nusd > r->dearest_nusd ? x->cost_nusd : r->dearest_nusd;
    r->sum_nusd += x->cost_nusd;
    ck_assert(x->client_gone || x->done);
    ck_assert_int_le(x->reserved_max_nusd, CAP_NUSD);
    ck_assert_int_le(x->cost_nusd, CAP_NUSD);
    const uint64_t facts[] = {x->outcome.status,      x->outcome.reason, x->n_attempts, took,
                              (uint64_t)x->cost_nusd, x->hedge};
    r->decisions = r->decisions * 31 + np_fnv1a(facts, sizeof facts);
}

static void play(struct run *r, uint64_t seed)
{
    kit_new(&r->kit);
    kit_file(&r->kit, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big', 'small' }, deadline_ms = 8000,\n"
             "  max_attempts = 4, max_tokens = 400, max_cost_usd = 0.004,\n"
             "  hedge_after_ms = 1200 } }\n");
    kit_file(&r->kit, "budgets.lua",
             "return { { account = 'global', window = 'hour', limit_usd = 8 },\n"
             "  { account = 'global', window = 'none', limit_usd = 100000 } }\n");
    kit_start(&r->kit);
    np_sim_free(r->kit.sim);
    struct np_sim_source source = {.call = chance_reply, .closed = chance_closed, .ctx = r};
    r->kit.sim = np_sim_new(r->kit.set, seed, &source);
    ck_assert_ptr_nonnull(r->kit.sim);
    struct np_rng rng;
    np_rng_seed(&rng, seed);
    uint64_t at_ns = np_sim_now_ns(r->kit.sim);
    for (int i = 0; i < r->requests; i++) {
        at_ns += np_rng_below(&rng, 200) * NP_NS_PER_MS;
        bool streams = np_rng_below(&rng, 3) == 0;
        struct np_sim_client client = {.body = streams
                                                   ? NP_SPAN("{\"prompt\":\"hi\",\"stream\":true}")
                                                   : NP_SPAN("{\"prompt\":\"hello\"}"),
                                       .endpoint = "/api/test/reply",
                                       .at_ns = at_ns};
        if (np_rng_below(&rng, 20) == 0)
            client.leaves_after_ns = 1 + np_rng_below(&rng, 4000) * NP_NS_PER_MS;
        ck_assert_int_eq(np_sim_add(r->kit.sim, &client), NP_OK);
    }
    np_sim_run(r->kit.sim);
}

/* Requests of which two calls were under way at once. */
static size_t hedged(const struct run *r)
{
    return r->hedges[NP_HEDGE_won] + r->hedges[NP_HEDGE_lost] + r->hedges[NP_HEDGE_failed] +
           r->hedges[NP_HEDGE_left];
}

START_TEST(every_request_gets_one_reply_in_time_and_under_its_cap)
{
    struct run r = {.requests = REQUESTS};
    play(&r, 7);
    printf("requests %d  degraded %zu  refused %zu  left %zu  slowest %.3f s  dearest %.6f USD\n",
           REQUESTS, r.degraded, r.refused, r.gone, (double)r.slowest_ns / 1e9,
           (double)r.dearest_nusd / 1e9);
    size_t second = hedged(&r);
    printf(
        "broken off %zu  second provider asked for %zu (%.2f %%), quicker in %zu, failed in %zu\n",
        r.broken, second, 100.0 * (double)second / REQUESTS, r.hedges[NP_HEDGE_won],
        r.hedges[NP_HEDGE_failed]);
    ck_assert_uint_gt(r.hedges[NP_HEDGE_won], 0);
    ck_assert_uint_gt(r.hedges[NP_HEDGE_lost], 0);
    ck_assert_uint_le(second, REQUESTS / 20);
    ck_assert_uint_eq(r.closed, REQUESTS);
    ck_assert_uint_eq(np_sim_open(r.kit.sim), 0);
    ck_assert_uint_le(r.slowest_ns, 8000 * NP_NS_PER_MS);
    ck_assert_uint_gt(r.degraded, 0);
    ck_assert_uint_gt(r.gone, 0);
    struct np_ledger_totals t;
    np_ledger_totals(np_sim_ledger(r.kit.sim), &t);
    ck_assert_uint_eq(t.open_reservations, 0);
    ck_assert_uint_eq(t.double_ends, 0);
    int64_t booked = t.settled_nusd[NP_SETTLED_EXACT] + t.settled_nusd[NP_SETTLED_ESTIMATED] +
                     t.settled_nusd[NP_SETTLED_PRESUMED];
    ck_assert_int_eq(booked, r.sum_nusd);
    kit_free(&r.kit);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_decisions)
{
    struct run a = {.requests = REQUESTS}, b = a, c = a;
    play(&a, 3);
    play(&b, 3);
    play(&c, 4);
    ck_assert_uint_eq(a.decisions, b.decisions);
    ck_assert_uint_ne(a.decisions, c.decisions);
    kit_free(&a.kit);
    kit_free(&b.kit);
    kit_free(&c.kit);
}
END_TEST

/* Counts of nano-dollars that two books of a run differ by. */
static int64_t books_differ(struct run *r)
{
    struct np_ledger_totals t;
    np_ledger_totals(np_sim_ledger(r->kit.sim), &t);
    int64_t booked = t.settled_nusd[NP_SETTLED_EXACT] + t.settled_nusd[NP_SETTLED_ESTIMATED] +
                     t.settled_nusd[NP_SETTLED_PRESUMED];
    struct np_account_view global;
    const struct np_catalog *c = np_policyset_catalog(r->kit.set);
    ck_assert_int_eq(np_ledger_account(np_sim_ledger(r->kit.sim), c, NP_SPAN("global/none"),
                                       np_sim_wall_ms(np_sim_now_ns(r->kit.sim)), &global),
                     NP_OK);
    ck_assert_uint_eq(t.open_reservations, 0);
    ck_assert_uint_eq(t.double_ends, 0);
    ck_assert_int_eq(global.reserved_nusd, 0);
    int64_t a = booked - r->sum_nusd, b = booked - global.spent_nusd;
    return (a < 0 ? -a : a) + (b < 0 ? -b : b);
}

START_TEST(the_books_agree_whatever_the_seed)
{
    const char *wanted = getenv("NEAP_SEEDS");
    int seeds = wanted ? atoi(wanted) : SEEDS;
    int64_t differ = 0, sum = 0;
    size_t closed = 0, second = 0;
    for (int seed = 0; seed < seeds; seed++) {
        struct run r = {.requests = OF_A_SEED};
        play(&r, (uint64_t)seed);
        int64_t d = books_differ(&r);
        if (d != 0)
            printf("seed %d differs by %lld nano-dollars\n", seed, (long long)d);
        differ += d;
        second += hedged(&r);
        sum += r.sum_nusd;
        closed += r.closed;
        kit_free(&r.kit);
    }
    printf("seeds %d  exchanges %zu  hedged %zu  paid %.9f USD  difference %lld nano-dollars\n",
           seeds, closed, second, (double)sum / 1e9, (long long)differ);
    ck_assert_int_eq(differ, 0);
    ck_assert_uint_eq(closed, (size_t)seeds * OF_A_SEED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("seeded");
    TCase *t = tcase_create("seeded");
    tcase_set_timeout(t, getenv("NEAP_SEEDS") || SEEDS > 100 ? 3500 : 100);
    tcase_add_test(t, every_request_gets_one_reply_in_time_and_under_its_cap);
    tcase_add_test(t, the_books_agree_whatever_the_seed);
    tcase_add_test(t, the_same_seed_gives_the_same_decisions);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
