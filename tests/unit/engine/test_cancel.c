/* Clients that leave: what is stopped, what is booked, what is given back. */
#include "engine/simkit.h"

#include <check.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";

/* One request whose client leaves after so many milliseconds. */
static const struct kit_outcome *ask_and_leave(struct kit *k, uint64_t after_ms)
{
    size_t before = k->n_outcomes;
    struct np_sim_client client = {.body = np_span_of(hello),
                                   .endpoint = "/api/test/reply",
                                   .leaves_after_ns = after_ms * NP_NS_PER_MS};
    ck_assert_int_eq(np_sim_add(k->sim, &client), NP_OK);
    np_sim_run(k->sim);
    ck_assert_uint_eq(k->n_outcomes, before + 1);
    return &k->outcome[before];
}

static const struct np_model *big(const struct kit *k)
{
    return np_catalog_model(np_policyset_catalog(k->set), NP_SPAN("big"));
}

static void check_nothing_is_held(struct kit *k)
{
    struct np_ledger_totals totals;
    struct np_meters *meters = np_sim_meters(k->sim);
    np_ledger_totals(np_sim_ledger(k->sim), &totals);
    ck_assert_uint_eq(totals.open_reservations, 0);
    ck_assert_int_eq(np_inflight_get(np_sim_guard(k->sim), big(k)->provider), 0);
    ck_assert_int_eq(np_meters_sum(&meters, 1, NP_FAMILY_llm_inflight, big(k)->slot, 0, 0), 0);
}

static void drain(struct kit *k)
{
    kit_file(k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big', 'small' }, deadline_ms = 10000,\n"
             "  max_tokens = 500, on_disconnect = 'drain' } }\n");
}

START_TEST(a_client_that_leaves_between_attempts_ends_the_wait_and_costs_nothing)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 503, .takes_ms = 100});
    kit_start(&k);
    const struct kit_outcome *o = ask_and_leave(&k, 300);
    ck_assert(o->client_gone);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->cost_nusd, 0);
    ck_assert_uint_eq(o->took_ns, 300 * NP_NS_PER_MS);
    /* Waiting for its turn is not neap's own time. */
    ck_assert_uint_eq(o->upstream_ns, 300 * NP_NS_PER_MS);
    check_nothing_is_held(&k);
    kit_free(&k);
}
END_TEST

START_TEST(a_client_that_leaves_during_the_probe_gives_it_back)
{
    struct kit k;
    kit_new(&k);
    kit_file(&k, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
             "           breaker = { failures = 1, open_ms = 200 } },\n"
             "         anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1' } }\n");
    kit_file(&k, "retry.lua", "return function() return 'next' end\n");
    kit_step(&k, "big", (struct kit_step){.status = 500});
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 5000});
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 10});
    kit_start(&k);
    (void)kit_ask(&k, hello);
    struct np_sim_client late = {.body = np_span_of(hello),
                                 .endpoint = "/api/test/reply",
                                 .at_ns = np_sim_now_ns(k.sim) + 1000 * NP_NS_PER_MS,
                                 .leaves_after_ns = 50 * NP_NS_PER_MS};
    ck_assert_int_eq(np_sim_add(k.sim, &late), NP_OK);
    np_sim_run(k.sim);
    ck_assert_int_eq(k.outcome[1].attempt[0].class, NP_CLASS_cancelled);
    check_nothing_is_held(&k);
    /* Two good probes close it. */
    ck_assert_str_eq(kit_ask(&k, hello)->model, "big");
    ck_assert_str_eq(kit_ask(&k, hello)->model, "big");
    ck_assert_int_eq(np_breaker_get(np_sim_guard(k.sim), big(&k), np_sim_now_ns(k.sim)),
                     NP_BREAKER_CLOSED);
    kit_free(&k);
}
END_TEST

START_TEST(a_client_that_left_is_no_error_of_the_model)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 5000});
    kit_start(&k);
    (void)ask_and_leave(&k, 100);
    double rate =
        np_stat_model_error_rate(np_sim_guard(k.sim), big(&k)->slot, np_sim_now_ns(k.sim));
    ck_assert_double_lt(rate, 0.001);
    kit_free(&k);
}
END_TEST

START_TEST(where_the_endpoint_drains_the_call_is_read_on_and_booked_exactly)
{
    struct kit k;
    kit_new(&k);
    drain(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 2000});
    kit_start(&k);
    const struct kit_outcome *o = ask_and_leave(&k, 500);
    ck_assert(o->client_gone);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->attempt[0].class, NP_CLASS_cancelled);
    ck_assert_int_eq(o->attempt[0].settled, NP_SETTLED_EXACT);
    ck_assert_int_eq(o->cost_nusd, 100 * 2000 + 50 * 8000);
    ck_assert_uint_eq(o->attempt[0].took_ms, 2000);
    check_nothing_is_held(&k);
    kit_free(&k);
}
END_TEST

START_TEST(a_drained_call_that_fails_is_not_repeated)
{
    struct kit k;
    kit_new(&k);
    drain(&k);
    kit_step(&k, "big", (struct kit_step){.status = 503, .takes_ms = 2000});
    kit_start(&k);
    const struct kit_outcome *o = ask_and_leave(&k, 500);
    ck_assert_uint_eq(o->n_attempts, 1);
    ck_assert_int_eq(o->cost_nusd, 0);
    check_nothing_is_held(&k);
    kit_free(&k);
}
END_TEST

START_TEST(more_than_32_drained_calls_are_cut_instead)
{
    struct kit k;
    kit_new(&k);
    drain(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .takes_ms = 2000});
    kit_start(&k);
    struct np_sim_client client = {.body = np_span_of(hello),
                                   .endpoint = "/api/test/reply",
                                   .leaves_after_ns = 500 * NP_NS_PER_MS};
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(np_sim_add(k.sim, &client), NP_OK);
    np_sim_run(k.sim);
    ck_assert_uint_eq(np_sim_open(k.sim), 0);
    /* The first to close are those that were cut. */
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(k.outcome[i].attempt[0].settled, NP_SETTLED_PRESUMED);
    for (int i = 8; i < KIT_MAX_OUTCOMES; i++)
        ck_assert_int_eq(k.outcome[i].attempt[0].settled, NP_SETTLED_EXACT);
    check_nothing_is_held(&k);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cancel");
    TCase *t = tcase_create("cancel");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, a_client_that_leaves_between_attempts_ends_the_wait_and_costs_nothing);
    tcase_add_test(t, a_client_that_leaves_during_the_probe_gives_it_back);
    tcase_add_test(t, a_client_that_left_is_no_error_of_the_model);
    tcase_add_test(t, where_the_endpoint_drains_the_call_is_read_on_and_booked_exactly);
    tcase_add_test(t, a_drained_call_that_fails_is_not_repeated);
    tcase_add_test(t, more_than_32_drained_calls_are_cut_instead);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
