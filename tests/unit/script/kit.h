/* For the tests of script/: a policy set written in the test, a small catalogue, one exchange, a clock
 * that stands still unless it is moved. */
#ifndef NP_TEST_SCRIPT_KIT_H
#define NP_TEST_SCRIPT_KIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "script/hooks.h"
#include "script/policyset_impl.h"
#include "script/shared.h"

#define KIT_BODY                                                                          \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"How do I reset my \\\"VPN\\\"?\"}]," \
    "\"system\":\"Be brief.\",\"context\":["                                              \
    "{\"id\":\"a\",\"text\":\"first\",\"priority\":1},"                                   \
    "{\"id\":\"b\",\"text\":\"second\",\"priority\":5,\"pinned\":true},"                  \
    "{\"id\":\"c\",\"text\":\"third\",\"priority\":2.5}],"                                \
    "\"maxTokens\":300,\"temperature\":0.5,\"model\":\"gpt-4.1\","                        \
    "\"metadata\":{\"tier\":\"gold\",\"n\":7,\"deep\":{\"x\":[1,2]},\"none\":null}}"

struct kit {
    struct np_provider provider;
    struct np_model models[3];
    const struct np_model *endpoint_models[3];
    struct np_endpoint endpoint;
    struct np_tenant tenant;
    struct np_template template;
    struct np_catalog catalog;
    struct np_set_file files[8];
    struct np_policyset set;
    struct np_powers powers;
    struct np_rng rng;
    struct np_clock clock;
    uint64_t now_ns;
    bool timed;
    struct np_script *s;
    struct np_exchange *x;
    struct np_hook_report rep;
    struct np_refusal refusal;
    struct np_verdict verdict;
};

static inline uint64_t kit_mono(void *ctx)
{
    return ((struct kit *)ctx)->now_ns;
}

static inline int64_t kit_wall(void *ctx)
{
    (void)ctx;
    return INT64_C(1790000000000);
}

static inline struct np_exchange *kit_exchange(struct kit *k, const char *body, const char *id)
{
    struct np_exchange *x = np_exchange_new((size_t)8 << 20);
    ck_assert_ptr_nonnull(x);
    x->id = np_arena_strdup(x->arena, id);
    ck_assert_ptr_nonnull(x->id);
    x->accept_ns = k->now_ns;
    x->deadline_ns = k->now_ns + 10 * NP_NS_PER_S;
    x->endpoint = &k->endpoint;
    x->tenant = &k->tenant;
    x->catalog = &k->catalog;
    x->policy = k->set.version;
    x->body = np_span_of(body);
    ck_assert_int_eq(np_request_parse(x->arena, x->body, &x->request, &k->refusal), NP_OK);
    return x;
}

static inline void kit_catalog(struct kit *k)
{
    static const char *const names[] = {"gpt-4.1", "gpt-4.1-mini", "claude"};
    k->provider = (struct np_provider){.name = "openai", .timeout_ms = 30000};
    for (int i = 0; i < 3; i++) {
        k->models[i] = (struct np_model){.name = names[i],
                                         .id = names[i],
                                         .tier = i == 0 ? "premium" : "",
                                         .provider = &k->provider,
                                         .price.priced = true,
                                         .price.base.input = 3000 - i * 1000,
                                         .price.base.output = 9000};
        k->endpoint_models[i] = &k->models[i];
    }
    k->endpoint = (struct np_endpoint){.path = "/api/assistant/reply",
                                       .models = k->endpoint_models,
                                       .n_models = 3,
                                       .max_tokens = 1024,
                                       .max_cost_nusd = -1,
                                       .deadline_ms = 10000};
    k->tenant = (struct np_tenant){.name = "acme"};
    k->template =
        (struct np_template){.name = "busy", .text = NP_SPAN("Sorry {{name}}, {{reason}}.")};
    k->catalog = (struct np_catalog){.providers = &k->provider,
                                     .n_providers = 1,
                                     .models = k->models,
                                     .n_models = 3,
                                     .endpoints = &k->endpoint,
                                     .n_endpoints = 1,
                                     .templates = &k->template,
                                     .n_templates = 1};
}

/* files: name, source, name, source, …, NULL. Sorts nothing: give them in order. */
static inline void kit_open(struct kit *k, bool timed, const char *const *files)
{
    memset(k, 0, sizeof *k);
    kit_catalog(k);
    size_t n = 0;
    for (; files[2 * n]; n++)
        k->files[n] =
            (struct np_set_file){.name = files[2 * n], .source = np_span_of(files[2 * n + 1])};
    k->set.files = k->files;
    k->set.n_files = n;
    k->set.catalog = &k->catalog;
    atomic_store(&k->set.holds, 1000);
    k->now_ns = 5 * NP_NS_PER_S;
    k->clock = (struct np_clock){kit_mono, kit_wall, k};
    np_rng_seed(&k->rng, 1);
    k->powers = (struct np_powers){.ctx = k, .clock = &k->clock, .rng = &k->rng};
    k->powers.shared = np_shared_new();
    k->timed = timed;
    if (timed) {
        ck_assert_int_eq(np_limiter_start(), NP_OK);
        k->powers.clock = &np_clock_live;
    }
    k->x = kit_exchange(k, KIT_BODY, "req_1");
}

static inline struct np_script *kit_script(struct kit *k)
{
    k->s = np_script_new(&k->set, &k->powers, k->timed);
    return k->s;
}

static inline void kit_close(struct kit *k)
{
    np_script_free(k->s);
    np_shared_free(k->powers.shared);
    np_exchange_free(k->x);
}

/* A set of one hook. */
static inline void kit_hook(struct kit *k, const char *file, const char *source)
{
    const char *const files[] = {file, source, NULL};
    kit_open(k, false, files);
    ck_assert_ptr_nonnull(kit_script(k));
}

/* Runs route of this source; the reports is in k->rep. */
static inline void kit_route(struct kit *k, const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source, "return function(req)\n%s\nend", body);
    kit_hook(k, "route.lua", source);
    np_hook_route(k->s, k->x, &k->rep);
}

#define kit_assert_gave(k)                                                                \
    ck_assert_msg((k)->rep.result == NP_HOOK_GAVE, "result %d: %s", (int)(k)->rep.result, \
                  (k)->rep.error)
#define kit_assert_failed(k, kind, needle)                                             \
    do {                                                                               \
        ck_assert_int_eq((k)->rep.result, NP_HOOK_FAILED);                             \
        ck_assert_msg(strstr((k)->rep.error, needle), "error is: %s", (k)->rep.error); \
        ck_assert_msg((k)->rep.failure == (kind), "failure %d: %s", (k)->rep.failure,  \
                      (k)->rep.error);                                                 \
    } while (0)

enum { KIT_ERROR, KIT_TIME, KIT_MEMORY, KIT_TYPE };

static inline int kit_run(TCase *tc)
{
    Suite *suite = suite_create("script");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

#endif
