/* Several keys of one provider: turns, holds, and what another key costs. */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const hello = "{\"prompt\":\"hello there\"}";

static void start(struct kit *k, const char *keys, const char *endpoint)
{
    char text[512];
    (void)setenv("KIT_KEY_A", "aaa", 1);
    (void)setenv("KIT_KEY_B", "bbb", 1);
    (void)setenv("KIT_KEY_C", "ccc", 1);
    (void)snprintf(text, sizeof text,
                   "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
                   "  api_keys = { %s } },\n"
                   "  anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1' } }\n",
                   keys);
    kit_file(k, "providers.lua", text);
    (void)snprintf(
        text, sizeof text,
        "return { ['/api/test/reply'] = { deadline_ms = 10000, max_tokens = 500, %s } }\n",
        endpoint);
    kit_file(k, "endpoints.lua", text);
    kit_start(k);
}

static double tokens(struct kit *k)
{
    const struct np_model *m = np_catalog_model(np_policyset_catalog(k->set), NP_SPAN("big"));
    return np_retry_budget_tokens(np_sim_guard(k->sim), m->provider);
}

START_TEST(free_keys_take_turns)
{
    struct kit k;
    kit_new(&k);
    start(&k, "env 'KIT_KEY_A', env 'KIT_KEY_B'", "models = { 'big' }");
    const struct kit_outcome *a = kit_ask(&k, hello);
    const struct kit_outcome *b = kit_ask(&k, hello);
    const struct kit_outcome *c = kit_ask(&k, hello);
    ck_assert_str_ne(a->attempt[0].key, b->attempt[0].key);
    ck_assert_str_eq(a->attempt[0].key, c->attempt[0].key);
    kit_free(&k);
}
END_TEST

/* 401, 402, 403 of one host say nothing of another. */
START_TEST(what_one_host_says_of_a_key_holds_it_for_no_other_host)
{
    static const unsigned statuses[] = {401, 402, 403, 429};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct kit k;
        kit_new(&k);
        kit_file(&k, "models.lua",
                 "local function of(p) return { provider = p, context = 8000, max_output = 100,\n"
                 "  usd_per_million = { input = 2, output = 8 } } end\n"
                 "return { big = of 'openai', small = of 'anthropic' }\n");
        (void)setenv("KIT_KEY_A", "aaa", 1);
        kit_file(&k, "providers.lua",
                 "local function at(url) return { adapter = 'openai', base_url = url,\n"
                 "  api_keys = { env 'KIT_KEY_A', env 'KIT_KEY_A' } } end\n"
                 "return { openai = at 'http://127.0.0.1:1/v1',\n"
                 "  anthropic = at 'http://127.0.0.1:2/v1' }\n");
        kit_step(&k, "big", (struct kit_step){.status = statuses[i], .retry_after = "30"});
        kit_start(&k);
        for (size_t round = 0; round < 2; round++) {
            const struct kit_outcome *o = kit_ask(&k, hello);
            ck_assert_str_eq(o->model, "small");
            ck_assert_uint_eq(o->n_skipped, round);
        }
        kit_free(&k);
    }
}
END_TEST

START_TEST(a_refused_key_is_followed_by_each_other_once_at_once_and_free)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 401});
    start(&k, "env 'KIT_KEY_A', env 'KIT_KEY_B', env 'KIT_KEY_C'",
          "models = { 'big', 'small' }, max_attempts = 6");
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 4);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(o->attempt[i].model, "big");
        ck_assert_int_eq(o->attempt[i].class, NP_CLASS_credential);
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(o->attempt[i].key, o->attempt[j].key);
    }
    ck_assert_str_eq(o->model, "small");
    ck_assert_double_ge(tokens(&k), 9.99);
    kit_free(&k);
}
END_TEST

START_TEST(other_keys_count_towards_max_attempts)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 401});
    start(&k, "env 'KIT_KEY_A', env 'KIT_KEY_B', env 'KIT_KEY_C'",
          "models = { 'big', 'small' }, max_attempts = 2");
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert(o->degraded);
    ck_assert_str_eq(np_reason_name(o->reason), "exhausted");
    kit_free(&k);
}
END_TEST

START_TEST(a_rate_limited_key_is_left_for_another_and_held)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 429, .retry_after = "30"});
    kit_step(&k, "big", (struct kit_step){.status = 200});
    start(&k, "env 'KIT_KEY_A', env 'KIT_KEY_B'", "models = { 'big' }, max_attempts = 4");
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 2);
    ck_assert_int_eq(o->attempt[0].retry_in_ms, 0);
    ck_assert_str_ne(o->attempt[0].key, o->attempt[1].key);
    ck_assert_str_eq(o->model, "big");
    const struct kit_outcome *p = kit_ask(&k, hello);
    const struct kit_outcome *q = kit_ask(&k, hello);
    ck_assert_str_eq(p->attempt[0].key, o->attempt[1].key);
    ck_assert_str_eq(q->attempt[0].key, o->attempt[1].key);
    kit_free(&k);
}
END_TEST

START_TEST(another_key_leaves_both_tries_of_the_candidate)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 401});
    kit_step(&k, "big", (struct kit_step){.status = 503});
    kit_step(&k, "big", (struct kit_step){.status = 503});
    start(&k, "env 'KIT_KEY_A', env 'KIT_KEY_B'", "models = { 'big', 'small' }, max_attempts = 6");
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 4);
    ck_assert_str_eq(o->attempt[2].model, "big");
    ck_assert_str_eq(o->attempt[3].model, "small");
    kit_free(&k);
}
END_TEST

START_TEST(with_every_key_held_the_candidate_is_passed_over_and_the_wait_is_told)
{
    struct kit k;
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 401});
    start(&k, "env 'KIT_KEY_A'", "models = { 'big' }");
    (void)kit_ask(&k, hello);
    const struct kit_outcome *o = kit_ask(&k, hello);
    ck_assert_uint_eq(o->n_attempts, 0);
    ck_assert_uint_eq(o->n_skipped, 1);
    ck_assert_int_eq(o->skipped[0], NP_SKIP_quota);
    ck_assert_str_eq(np_reason_name(o->reason), "exhausted");
    ck_assert_int_ge(o->retry_after_s, 59);
    ck_assert_int_le(o->retry_after_s, 60);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("keys");
    TCase *t = tcase_create("keys");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, free_keys_take_turns);
    tcase_add_test(t, what_one_host_says_of_a_key_holds_it_for_no_other_host);
    tcase_add_test(t, a_refused_key_is_followed_by_each_other_once_at_once_and_free);
    tcase_add_test(t, other_keys_count_towards_max_attempts);
    tcase_add_test(t, a_rate_limited_key_is_left_for_another_and_held);
    tcase_add_test(t, another_key_leaves_both_tries_of_the_candidate);
    tcase_add_test(t, with_every_key_held_the_candidate_is_passed_over_and_the_wait_is_told);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
