/* For tests of the adapters: a set with a model of each kind, a state, an exchange. */
#ifndef NP_TEST_SCRIPT_ADAPTERKIT_H
#define NP_TEST_SCRIPT_ADAPTERKIT_H

#include "script/setkit.h"

#include <stdint.h>

#include "base/clock.h"
#include "base/json.h"
#include "script/adapter.h"
#include "support/fail_alloc.h"

#define WALL_MS INT64_C(784111777000) /* Sun, 06 Nov 1994 08:49:37 GMT */

static struct setkit k;
static struct np_script *s;
static struct np_exchange *x;
static const struct np_model *gpt, *thinker, *claude;
static const struct np_secret key = {.label = "env:K", .value = "sk-1"};

static inline void set_up(void)
{
    setkit_open(&k);
    setkit_write(&k, "providers.lua",
                 "return { openai = { adapter = 'openai', base_url = 'https://api.openai.com/v1',\n"
                 " headers = { ['X-Team'] = 'support' } }, anthropic = { adapter = 'anthropic',\n"
                 " base_url = 'https://api.anthropic.com' } }");
    setkit_write(
        &k, "models.lua",
        "local price = { input = 1, output = 2 }\n"
        "return { ['gpt-4.1'] = { provider = 'openai', id = 'gpt-4.1-2025-04-14', "
        "usd_per_million = price }, ['o3'] = { provider = 'openai', usd_per_million = price },"
        " claude = { provider = 'anthropic', id = 'claude-x', usd_per_million = price } }");
    setkit_assert_loads(&k);
    gpt = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"));
    thinker = np_catalog_model(k.catalog, NP_SPAN("o3"));
    claude = np_catalog_model(k.catalog, NP_SPAN("claude"));
    struct np_powers powers = {.clock = &np_clock_live};
    s = np_script_new(k.set, &powers, false);
    ck_assert_ptr_nonnull(s);
    x = np_exchange_new((size_t)8 << 20);
    ck_assert_ptr_nonnull(x);
}

static inline void tear_down(void)
{
    np_exchange_free(x);
    np_script_free(s);
    setkit_close(&k);
}

static struct np_answer answer;

static inline struct np_wire_reply reply_of(unsigned status, const char *body)
{
    return (struct np_wire_reply){.status = status,
                                  .content_type = NP_SPAN("application/json"),
                                  .body = np_span_of(body),
                                  .wall_ms = WALL_MS};
}

static inline void read_reply(const struct np_model *m, unsigned status, const char *body)
{
    struct np_wire_reply reply = reply_of(status, body);
    ck_assert_int_eq(np_adapter_answer(s, x, m, &reply, &answer), NP_OK);
}

#define OPENAI_GOOD                                                                                      \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"gpt-4.1\",\"choices\":[{"         \
    "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"S\\u00fc\\u0000re \\ud83d\\ude00\","  \
    "\"refusal\":null,\"tool_calls\":null},\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{" \
    "\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29,\"prompt_tokens_details\":"       \
    "{\"cached_tokens\":5,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":4}}}"

#endif
