/* The data files: what the schema refuses, with its place, and the catalogue that they become. */
#include "script/setkit.h"

#include "base/clock.h"
#include "base/hash.h"

static struct setkit k;

static void set_up(void)
{
    setkit_open(&k);
}

static void tear_down(void)
{
    setkit_close(&k);
}

/* ------------------------------------------------------------------------------- the catalogue */

START_TEST(what_is_not_said_has_the_contracts_defaults)
{
    setkit_assert_loads(&k);
    ck_assert_uint_eq(k.problems.n, 0);
    const struct np_provider *p = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider;
    ck_assert_str_eq(p->name, "openai");
    ck_assert_int_eq(p->adapter, NP_ADAPTER_OPENAI);
    ck_assert_uint_eq(p->connect_timeout_ms, 1000);
    ck_assert_uint_eq(p->first_token_timeout_ms, 8000);
    ck_assert_uint_eq(p->idle_timeout_ms, 10000);
    ck_assert_uint_eq(p->timeout_ms, 30000);
    ck_assert_uint_eq(p->breaker.failures, 5);
    ck_assert_double_eq(p->breaker.rate, 0.5);
    ck_assert_uint_eq(p->breaker.min_calls, 20);
    ck_assert_uint_eq(p->breaker.window_ms, 10000);
    ck_assert_uint_eq(p->breaker.open_ms, 60000);
    ck_assert_uint_eq(p->max_inflight, 0);
    ck_assert_uint_eq(p->n_keys, 0);
    const struct np_endpoint *e = np_catalog_endpoint(k.catalog, NP_SPAN("/api/assistant/reply"));
    ck_assert_uint_eq(e->deadline_ms, 10000);
    ck_assert_uint_eq(e->max_attempts, 3);
    ck_assert_int_eq(e->max_cost_nusd, -1);
    ck_assert_int_eq(e->max_tokens, 1024);
    ck_assert_uint_eq(e->body_bytes, 1048576);
    ck_assert(!e->drain_on_disconnect);
    for (int h = 0; h < NP_HOOK_COUNT; h++)
        ck_assert_int_eq(e->on_error[h], NP_ON_ERROR_DEFAULT);
    ck_assert_uint_eq(e->n_models, 2);
    ck_assert_str_eq(e->models[0]->name, "gpt-4.1");
    ck_assert_str_eq(e->models[1]->name, "claude");
    ck_assert_str_eq(k.catalog->anonymous->name, "anonymous");
    ck_assert_uint_eq(k.catalog->n_tenants, 0);
}
END_TEST

START_TEST(everything_that_is_said_is_in_the_catalogue)
{
    setkit_write(
        &k, "providers.lua",
        "return { openai = { adapter = 'openai', base_url = 'https://api.openai.com/v1/',\n"
        " connect_timeout_ms = 1, first_token_timeout_ms = 2, idle_timeout_ms = 3,\n"
        " timeout_ms = 4, max_inflight = 5, keep_warm = 6,\n"
        " breaker = { failures = 7, rate = 0.25, min_calls = 8, window_ms = 900,\n"
        " open_ms = 10 }, headers = { ['X-Team'] = 'support', ['A-B'] = 'c d' } },\n"
        " anthropic = { adapter = 'anthropic', base_url = 'http://localhost:8081' } }");
    setkit_write(
        &k, "endpoints.lua",
        "return { ['/api/help_desk-2/reply'] = { models = { 'claude' }, deadline_ms = 11,\n"
        " slo = { p95_ms = 12, error_rate = 0.5, degraded_rate = 1, cost_usd = 0.01 },\n"
        " max_attempts = 13, hedge_after_ms = 10, max_cost_usd = 0.02, max_tokens = 14, body_bytes = 15,\n"
        " on_disconnect = 'drain', on_error = { admit = 'refuse', route = 'default' } } }");
    setkit_assert_loads(&k);
    const struct np_provider *p = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider;
    ck_assert_str_eq(p->base_url, "https://api.openai.com/v1");
    ck_assert_uint_eq(p->connect_timeout_ms, 1);
    ck_assert_uint_eq(p->first_token_timeout_ms, 2);
    ck_assert_uint_eq(p->idle_timeout_ms, 3);
    ck_assert_uint_eq(p->timeout_ms, 4);
    ck_assert_uint_eq(p->max_inflight, 5);
    ck_assert_uint_eq(p->keep_warm, 6);
    ck_assert_uint_eq(p->breaker.failures, 7);
    ck_assert_double_eq(p->breaker.rate, 0.25);
    ck_assert_uint_eq(p->breaker.min_calls, 8);
    ck_assert_uint_eq(p->breaker.window_ms, 900);
    ck_assert_uint_eq(p->breaker.open_ms, 10);
    ck_assert_uint_eq(p->n_headers, 2);
    ck_assert_str_eq(p->headers[0].name, "A-B");
    ck_assert_str_eq(p->headers[0].value, "c d");
    ck_assert_str_eq(p->headers[1].value, "support");
    const struct np_model *claude = np_catalog_model(k.catalog, NP_SPAN("claude"));
    ck_assert_int_eq(claude->provider->adapter, NP_ADAPTER_ANTHROPIC);
    ck_assert_str_eq(claude->id, "claude-sonnet");
    const struct np_endpoint *e = np_catalog_endpoint(k.catalog, NP_SPAN("/api/help_desk-2/reply"));
    ck_assert_uint_eq(e->deadline_ms, 11);
    ck_assert_uint_eq(e->slo.p95_ms, 12);
    ck_assert_double_eq(e->slo.error_rate, 0.5);
    ck_assert_double_eq(e->slo.degraded_rate, 1.0);
    ck_assert_int_eq(e->slo.cost_nusd, 10000000);
    ck_assert_uint_eq(e->max_attempts, 13);
    ck_assert_uint_eq(e->hedge_after_ms, 10);
    ck_assert_int_eq(e->max_cost_nusd, 20000000);
    ck_assert_int_eq(e->max_tokens, 14);
    ck_assert_uint_eq(e->body_bytes, 15);
    ck_assert(e->drain_on_disconnect);
    ck_assert_int_eq(e->on_error[NP_HOOK_admit], NP_ON_ERROR_REFUSE);
    ck_assert_int_eq(e->on_error[NP_HOOK_route], NP_ON_ERROR_DEFAULT);
}
END_TEST

START_TEST(prices_are_nano_dollars_for_a_thousand_tokens_with_their_defaults)
{
    setkit_write(&k, "models.lua",
                 "return { ['gpt-4.1'] = { provider = 'openai', usd_per_request = 0.000000001,\n"
                 " usd_per_million = { input = 2.00, cached_input = 0.075, output = 8, "
                 "reasoning = 9 } },\n"
                 " claude = { provider = 'anthropic', usd_per_million = { input = 3,\n"
                 " cached_input = 0.3, cache_write = 3.75, cache_write_1h = 6, output = 15,\n"
                 " above = { tokens = 200000, input = 6, output = 22.5 } } } }");
    setkit_assert_loads(&k);
    const struct np_price *gpt = &np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->price;
    ck_assert(gpt->priced);
    ck_assert_int_eq(gpt->per_request_nusd, 1);
    ck_assert_int_eq(gpt->base.input, 2000000);
    ck_assert_int_eq(gpt->base.cached_input, 75000);
    ck_assert_int_eq(gpt->base.cache_write, 2000000);
    ck_assert_int_eq(gpt->base.cache_write_1h, 2000000);
    ck_assert_int_eq(gpt->base.output, 8000000);
    ck_assert_int_eq(gpt->base.reasoning, 9000000);
    ck_assert_int_eq(gpt->above_tokens, 0);
    const struct np_price *claude = &np_catalog_model(k.catalog, NP_SPAN("claude"))->price;
    ck_assert_int_eq(claude->above_tokens, 200000);
    ck_assert_int_eq(claude->above.input, 6000000);
    ck_assert_int_eq(claude->above.cached_input, 600000);
    ck_assert_int_eq(claude->above.cache_write, 7500000);
    ck_assert_int_eq(claude->above.cache_write_1h, 12000000);
    ck_assert_int_eq(claude->above.output, 22500000);
    ck_assert_int_eq(claude->above.reasoning, 22500000);
}
END_TEST

START_TEST(tenants_are_found_by_the_hash_of_their_key)
{
    uint8_t hash[NP_SHA256_BYTES];
    char hex[65], text[1024];
    np_sha256("secret", 6, hash);
    np_hex(hash, sizeof hash, hex);
    snprintf(text, sizeof text,
             "return { acme = { keys = { 'sha256:%s' }, endpoints = { '/api/assistant/reply' },\n"
             " models = { 'claude' }, requests_per_minute = 600, tokens_per_minute = 200000,\n"
             " concurrency = 50, priority = 7, expires = '2027-06-30', disabled = true } }",
             hex);
    setkit_write(&k, "tenants.lua", text);
    setkit_assert_loads(&k);
    const struct np_tenant *t = np_catalog_tenant(k.catalog, hash);
    ck_assert_ptr_nonnull(t);
    ck_assert_str_eq(t->name, "acme");
    ck_assert_int_eq(t->requests_per_minute, 600);
    ck_assert_int_eq(t->tokens_per_minute, 200000);
    ck_assert_int_eq(t->concurrency, 50);
    ck_assert_int_eq(t->expires_ms, np_clock_parse_utc("2027-06-30"));
    ck_assert(t->disabled && t->priority == 7);
    ck_assert(np_tenant_may_use_model(t, np_catalog_model(k.catalog, NP_SPAN("claude"))));
    ck_assert(!np_tenant_may_use_model(t, np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))));
    ck_assert(np_tenant_may_use_endpoint(t, &k.catalog->endpoints[0]));
}
END_TEST

START_TEST(budgets_and_templates_are_taken)
{
    setkit_write(
        &k, "budgets.lua",
        "return { { account = 'global', window = 'day', limit_usd = 50 },\n"
        " { account = 'tenant', window = 'month', limit_usd = 5.5, on_exceeded = 'reject',\n"
        "   unknown = 'worst' },\n"
        " { account = 'tenant:anonymous', window = 'hour', limit_usd = 1 },\n"
        " { account = 'endpoint:/api/assistant/reply', window = 'none', limit_usd = 0 },\n"
        " { account = 'model:claude', window = 'minute', limit_usd = 1 },\n"
        " { account = 'provider:openai', window = 'week', limit_usd = 0.000000001 } }");
    setkit_write(&k, "templates/budget.txt", "Sorry, {{tenant}}.\n\n");
    setkit_write(&k, "templates/shed.txt", "");
    setkit_assert_loads(&k);
    static const struct {
        enum np_account_kind kind;
        const char *name;
        enum np_window window;
        int64_t limit;
    } want[] = {{NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, INT64_C(50000000000)},
                {NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_MONTH, INT64_C(5500000000)},
                {NP_ACCOUNT_TENANT, "anonymous", NP_WINDOW_HOUR, INT64_C(1000000000)},
                {NP_ACCOUNT_ENDPOINT, "/api/assistant/reply", NP_WINDOW_NONE, 0},
                {NP_ACCOUNT_MODEL, "claude", NP_WINDOW_MINUTE, INT64_C(1000000000)},
                {NP_ACCOUNT_PROVIDER, "openai", NP_WINDOW_WEEK, 1}};
    ck_assert_uint_eq(k.catalog->n_budgets, 6);
    for (size_t i = 0; i < 6; i++) {
        const struct np_budget *b = &k.catalog->budgets[i];
        ck_assert_int_eq(b->kind, want[i].kind);
        ck_assert_str_eq(b->name, want[i].name);
        ck_assert_int_eq(b->window, want[i].window);
        ck_assert_int_eq(b->limit_nusd, want[i].limit);
        ck_assert_int_eq(b->reject, i == 1);
        ck_assert_int_eq(b->unknown_worst, i == 1);
    }
    ck_assert_uint_eq(k.catalog->n_templates, 2);
    const struct np_template *t = np_catalog_template(k.catalog, NP_SPAN("budget"));
    ck_assert(np_span_is(t->text, "Sorry, {{tenant}}.\n"));
    ck_assert_uint_eq(np_catalog_template(k.catalog, NP_SPAN("shed"))->text.n, 0);
}
END_TEST

/* ------------------------------------------------------------------------------------- secrets */

#define WITH_KEYS                                                                       \
    "return { openai = { adapter = 'openai', base_url = 'https://api.openai.com/v1',\n" \
    "  api_keys = { env 'NEAP_TEST_A', env 'NEAP_TEST_B', file 'key' },\n"              \
    "  headers = { ['X-Org'] = env 'NEAP_TEST_A' } },\n"                                \
    " anthropic = { adapter = 'anthropic', base_url = 'https://api.anthropic.com' } }"

START_TEST(keys_come_from_the_environment_and_from_files)
{
    setkit_write(&k, "providers.lua", WITH_KEYS);
    setkit_write(&k, ".key", "");
    setkit_write(&k, "README.md", "");
    char path[256];
    snprintf(path, sizeof path, "%s/key", k.dir);
    setkit_write(&k, "key", "from-file \r\n");
    ck_assert_int_eq(setenv("NEAP_TEST_A", "from-a", 1), 0);
    ck_assert_int_eq(setenv("NEAP_TEST_B", "from-b\n", 1), 0);
    setkit_assert_loads(&k);
    const struct np_provider *p = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider;
    ck_assert_uint_eq(p->n_keys, 3);
    ck_assert_str_eq(p->keys[0].value, "from-a");
    ck_assert_str_eq(p->keys[0].label, "env:NEAP_TEST_A");
    ck_assert_str_eq(p->keys[1].value, "from-b");
    ck_assert_str_eq(p->keys[2].value, "from-file");
    ck_assert_str_eq(p->keys[2].label, "file:key");
    ck_assert_uint_ne(p->keys[0].slot, p->keys[1].slot);
    ck_assert_str_eq(p->headers[0].value, "from-a");
}
END_TEST

START_TEST(keys_that_are_not_set_are_told_by_name_and_line)
{
    unsetenv("NEAP_TEST_A");
    setenv("NEAP_TEST_B", " \n", 1);
    setkit_write(&k, "providers.lua", WITH_KEYS);
    ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
    ck_assert_str_eq(
        setkit_text(&k),
        "providers.lua:2:16: N206 openai.api_keys[1] env:NEAP_TEST_A is not set\n"
        "providers.lua:2:35: N206 openai.api_keys[2] env:NEAP_TEST_B is empty\n"
        "providers.lua:2:54: N206 openai.api_keys[3] file:key does not exist\n"
        "providers.lua:3:15: N206 openai.headers[\"X-Org\"] env:NEAP_TEST_A is not set\n");
}
END_TEST

START_TEST(on_the_simulated_ground_keys_that_are_not_set_have_a_stand_in)
{
    unsetenv("NEAP_TEST_A");
    setenv("NEAP_TEST_B", "b", 1);
    setkit_write(&k, "providers.lua", WITH_KEYS);
    k.simulated = true;
    setkit_assert_loads(&k);
    ck_assert_uint_eq(k.problems.n, 0);
    const struct np_provider *p = np_catalog_model(k.catalog, NP_SPAN("gpt-4.1"))->provider;
    ck_assert_uint_eq(p->n_keys, 3); /* held and tried in turn as where all of them are set */
    ck_assert_str_eq(p->keys[0].label, "env:NEAP_TEST_A");
    ck_assert_str_eq(p->keys[1].label, "env:NEAP_TEST_B");
    ck_assert_uint_ne(p->keys[0].slot, p->keys[2].slot);
    ck_assert_uint_eq(p->n_headers, 0);
}
END_TEST

START_TEST(a_key_that_would_break_a_header_is_refused_without_being_shown)
{
    setenv("NEAP_TEST_A", "sk-canary\r\nX-Evil: b", 1);
    setenv("NEAP_TEST_B", "b", 1);
    setkit_write(&k, "key", "c");
    setkit_write(&k, "providers.lua", WITH_KEYS);
    setkit_assert_refused(&k, "env:NEAP_TEST_A holds a byte that can't stand in a header");
    ck_assert_ptr_null(strstr(setkit_text(&k), "canary"));
}
END_TEST

START_TEST(no_lua_can_see_the_value_of_a_key)
{
    setenv("NEAP_TEST_A", "sk-canary", 1);
    static const char *const tries[] = {
        "error(tostring(env 'NEAP_TEST_A'))",
        "error(env 'NEAP_TEST_A' .. '')",
        "error((env 'NEAP_TEST_A').value)",
        "error(#env 'NEAP_TEST_A')",
        "error(json.encode({ env 'NEAP_TEST_A' }))",
        "error(getmetatable(env 'NEAP_TEST_A'))",
        "return { openai = { adapter = 'openai', base_url = env 'NEAP_TEST_A' } }",
        "return { openai = { adapter = env 'NEAP_TEST_A', base_url = 'https://a.b' } }",
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        setkit_write(&k, "providers.lua", tries[i]);
        ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
        ck_assert_msg(!strstr(setkit_text(&k), "canary"), "%s", setkit_text(&k));
    }
    setkit_write(&k, "providers.lua", tries[0]);
    setkit_assert_refused(&k, "providers.lua:1: N105 env:NEAP_TEST_A");
}
END_TEST

START_TEST(hooks_and_libraries_have_neither_env_nor_file)
{
    setkit_write(&k, "route.lua", "local x = env 'HOME' return function() end");
    setkit_assert_refused(&k, "route.lua:1: N105 attempt to call a nil value (global 'env')");
}
END_TEST

/* ------------------------------------------------------------------------------ what is refused */

struct refusal {
    const char *file, *text, *line;
};

static void assert_refusals(const struct refusal *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        setkit_write(&k, "providers.lua", SETKIT_PROVIDERS);
        setkit_write(&k, "models.lua", SETKIT_MODELS);
        setkit_write(&k, "endpoints.lua", SETKIT_ENDPOINTS);
        setkit_write(&k, "tenants.lua", "return {}");
        setkit_write(&k, "budgets.lua", "return {}");
        setkit_write(&k, "alerts.lua", "return {}");
        setkit_write(&k, rows[i].file, rows[i].text);
        setkit_assert_refused(&k, rows[i].line);
    }
}

#define PROVIDER(fields)                                                                              \
    "return {\n  openai = { adapter = 'openai', base_url = 'https://api.openai.com/v1',\n    " fields \
    " },\n  anthropic = { adapter = 'anthropic', base_url = 'https://a.b' } }"
#define ADDRESS(url)                                           \
    "return { openai = { adapter = 'openai', base_url = '" url \
    "' }, anthropic = { adapter = 'anthropic', base_url = 'https://a.b' } }"
#define ENDPOINT(fields) \
    "return {\n  ['/api/assistant/reply'] = { models = { 'claude' },\n    " fields " } }"

START_TEST(providers_that_can_not_be_are_refused_with_their_place)
{
    static const struct refusal rows[] = {
        {"providers.lua", "return 7",
         "providers.lua:1:1: N106 a data file returns a table, this one returns number"},
        {"providers.lua", "return {}",
         "providers.lua:1:8: N203 must have 1 to 64 providers, has 0"},
        {"providers.lua", PROVIDER("time_out_ms = 3"),
         "providers.lua:3:5: N201 openai.time_out_ms is no field here (did you mean \"timeout_ms\"?)"},
        {"providers.lua", PROVIDER("timeout_ms = '3'"),
         "providers.lua:3:5: N202 openai.timeout_ms must be a whole number from 1 to 600000, got \"3\""},
        {"providers.lua", PROVIDER("timeout_ms = 2.5"),
         "providers.lua:3:5: N203 openai.timeout_ms must be"},
        {"providers.lua", PROVIDER("timeout_ms = -1"), "got -1"},
        {"providers.lua", PROVIDER("timeout_ms = 0/0"),
         "N203 openai.timeout_ms must be a whole number"},
        {"providers.lua", PROVIDER("breaker = { rate = 2 }"),
         "providers.lua:3:17: N203 openai.breaker.rate must be a number from 0 to 1, got 2"},
        {"providers.lua", PROVIDER("breaker = true"), "openai.breaker must be a table, got true"},
        {"providers.lua", PROVIDER("api_key = 'sk-1'"),
         "providers.lua:3:5: N202 openai.api_key must be env \"NAME\" or file \"PATH\", got \"sk-1\""},
        {"providers.lua", PROVIDER("'x'"), "providers.lua:3:5: N201 openai[1] has no name"},
        {"providers.lua", PROVIDER("[true] = 1"), "N201 openai has a key that is a boolean"},
        {"providers.lua", "return { openai = { adapter = 'opanai', base_url = 'https://a.b' } }",
         "N203 openai.adapter must be \"openai\" or \"anthropic\", got \"opanai\" (did you mean \"openai\"?)"},
        {"providers.lua", "return { ['a b'] = { adapter = 'openai', base_url = 'https://a.b' } }",
         "N203 [\"a b\"] must be a name of letters"},
        {"providers.lua", "return setmetatable({}, { __index = {} })", "must be a plain table"},
        {"providers.lua", PROVIDER("headers = { ['X\\n'] = 'a' }"), "N208"},
        {"providers.lua", PROVIDER("headers = { ['X-A'] = 'a\\r\\nX-Evil: b' }"),
         "N208 openai.headers[\"X-A\"] holds bytes that can't stand in a header"},
        {"providers.lua", PROVIDER("headers = { ['Content-Length'] = '1' }"),
         "is written by neap itself"},
    };
    assert_refusals(rows, sizeof rows / sizeof rows[0]);
}
END_TEST

START_TEST(addresses_that_must_not_be_called_are_refused)
{
    static const struct refusal rows[] = {
        {"providers.lua", ADDRESS("ftp://a.b"),
         "N208 openai.base_url must begin with https:// or http://"},
        {"providers.lua", ADDRESS("https://"), "has no host"},
        {"providers.lua", ADDRESS("https://u:p@a.b/v1"), "must have no user in it"},
        {"providers.lua", ADDRESS("https://a.b/v1?x=1"), "no query and no fragment"},
        {"providers.lua", ADDRESS("https://a.b/v1#x"), "no query and no fragment"},
        {"providers.lua", ADDRESS("https://a.b\\\\@evil/"), "no query and no fragment"},
        {"providers.lua", ADDRESS("https://a b/"), "holds bytes that no address has"},
        {"providers.lua", ADDRESS("http://169.254.169.254/latest"),
         "leads to a link-local address"},
        {"providers.lua", ADDRESS("http://0xa9fea9fe/"), "an IPv4 address that can't be read"},
        {"providers.lua", ADDRESS("http://2852039166/"), "an IPv4 address that can't be read"},
        {"providers.lua", ADDRESS("http://169.0376.169.254/"),
         "an IPv4 address that can't be read"},
        {"providers.lua", ADDRESS("http://0251.254.169.254/"),
         "an IPv4 address that can't be read"},
        {"providers.lua", ADDRESS("http://[fe80::1]:80/"), "leads to a link-local address"},
        {"providers.lua", ADDRESS("http://[fd00:ec2::254]/"), "a cloud's metadata service"},
        {"providers.lua", ADDRESS("http://[::ffff:169.254.169.254]/"), "can't be read"},
        {"providers.lua", ADDRESS("http://metadata.google.internal/"),
         "a cloud's metadata service"},
        {"providers.lua", ADDRESS("http://a.b:99999/"), "has no proper port"},
        {"providers.lua", ADDRESS("http://a:b:1/"), "has no proper host"},
    };
    assert_refusals(rows, sizeof rows / sizeof rows[0]);
    setkit_write(&k, "providers.lua", ADDRESS("http://127.0.0.1:8081/v1"));
    setkit_assert_loads(&k);
    setkit_write(&k, "providers.lua", ADDRESS("http://[::1]:8081"));
    setkit_assert_loads(&k);
    ck_assert_uint_eq(k.problems.n, 0);
}
END_TEST

START_TEST(models_that_can_not_be_are_refused)
{
    static const struct refusal rows[] = {
        {"models.lua",
         "return { a = { provider = 'openia' }, claude = { provider = 'openai' }, "
         "['gpt-4.1'] = { provider = 'openai' } }",
         "models.lua:1:16: N205 a.provider names the provider \"openia\", which providers.lua does "
         "not have (did you mean \"openai\"?)"},
        {"models.lua", "return { a = { provider = 'openai', usd_per_million = { input = 1 } } }",
         "N204 a.usd_per_million needs the field output"},
        {"models.lua",
         "return { a = { provider = 'openai', usd_per_million = { input = -1, output = 1 } } }",
         "N203 a.usd_per_million.input is negative or too much: -1"},
        {"models.lua",
         "return { a = { provider = 'openai', usd_per_million = { input = 0.0000001, output = 1 } } }",
         "has more decimals than money is counted in"},
        {"models.lua", "return { a = { provider = 'openai', as_of = 'yesterday' } }",
         "N203 a.as_of must be a date such as \"2027-06-30\", got \"yesterday\""},
        {"models.lua", "return { a = { provider = 'openai', context = 0 } }",
         "N203 a.context must be"},
        {"models.lua", "return { a = { provider = 'openai', id = 'x y' } }", "N203 a.id must be"},
    };
    assert_refusals(rows, sizeof rows / sizeof rows[0]);
}
END_TEST

START_TEST(endpoints_that_can_not_be_are_refused)
{
    static const struct refusal rows[] = {
        {"endpoints.lua", "return { ['/v1/chat/completions'] = { models = { 'claude' } } }",
         "N209 [\"/v1/chat/completions\"] is not served yet"},
        {"endpoints.lua", "return { ['/api/reply'] = { models = { 'claude' } } }",
         "must be a path of the form /api/NAME/reply"},
        {"endpoints.lua", "return { ['/api/../reply'] = { models = { 'claude' } } }",
         "must be a path"},
        {"endpoints.lua", "return { ['/api/a/reply'] = { models = {} } }",
         "N203 [\"/api/a/reply\"].models must have 1 to 16 of models, has 0"},
        {"endpoints.lua", "return { ['/api/a/reply'] = { models = { 'claude', 'gpt-41' } } }",
         "N205 [\"/api/a/reply\"].models[2] names the model \"gpt-41\", which models.lua does not "
         "have (did you mean \"gpt-4.1\"?)"},
        {"endpoints.lua", "return { ['/api/a/reply'] = { models = { 'claude', 'claude' } } }",
         "N207 [\"/api/a/reply\"].models[2] is there twice"},
        {"endpoints.lua", ENDPOINT("max_attempts = 17"), "endpoints.lua:3:5: N203"},
        {"endpoints.lua", ENDPOINT("on_error = { admitt = 'refuse' }"), "did you mean \"admit\"?"},
        {"endpoints.lua", ENDPOINT("on_disconnect = 'close'"), "must be \"abort\" or \"drain\""},
        {"endpoints.lua", ENDPOINT("slo = { cost_usd = 1e300 }"), "is negative or too much"},
    };
    assert_refusals(rows, sizeof rows / sizeof rows[0]);
}
END_TEST

#define HASH_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

START_TEST(tenants_budgets_and_alerts_that_can_not_be_are_refused)
{
    static const struct refusal rows[] = {
        {"tenants.lua", "return { acme = { keys = { 'sk-123' } } }",
         "N203 acme.keys[1] must be \"sha256:\""},
        {"tenants.lua", "return { acme = {} }", "N204 acme needs the field keys"},
        {"tenants.lua", "return { anonymous = { keys = { '" HASH_A "' } } }",
         "N203 anonymous is the name"},
        {"tenants.lua",
         "return { a = { keys = { '" HASH_A "' } }, b = { keys = { '" HASH_A "' } } }",
         "N207 b.keys[1] is a key of \"a\" already"},
        {"tenants.lua", "return { a = { keys = { '" HASH_A "' }, models = { 'gpt' } } }",
         "N205 a.models[1] names the model \"gpt\""},
        {"tenants.lua",
         "return { a = { keys = { '" HASH_A "' }, endpoints = { '/api/x/reply' } } }",
         "N205 a.endpoints[1] names the endpoint"},
        {"tenants.lua", "return { a = { keys = { '" HASH_A "' }, expires = '2027-13-30' } }",
         "N203 a.expires"},
        {"budgets.lua", "return { { account = 'globl', window = 'day', limit_usd = 1 } }",
         "N203 [1].account must be \"global\""},
        {"budgets.lua", "return { { account = 'tenant:acme', window = 'day', limit_usd = 1 } }",
         "budgets.lua:1:12: N205 [1].account names the tenant \"acme\""},
        {"budgets.lua", "return { { account = 'model:x', window = 'day', limit_usd = 1 } }",
         "N205"},
        {"budgets.lua", "return { { account = 'global', window = 'year', limit_usd = 1 } }",
         "N203 [1].window"},
        {"budgets.lua", "return { { account = 'global', window = 'day' } }",
         "N204 [1] needs the field limit_usd"},
        {"budgets.lua",
         "return { { account = 'global', window = 'day', limit_usd = 1 },\n"
         " { account = 'global', window = 'day', limit_usd = 2 } }",
         "budgets.lua:2:4: N207 [2].account has a budget for each day already"},
        {"budgets.lua",
         "local t = {} for i, w in ipairs { 'minute', 'hour', 'day', 'week', 'month' } do\n"
         "for _, a in ipairs { 'global', 'tenant', 'model:claude' } do\n"
         "t[#t + 1] = { account = a, window = w, limit_usd = 1 } end end return t",
         "N203 has up to 15 budgets for one call; 12 are the most"},
        {"alerts.lua", "return { sinks = { { webhook = 'ftp://x' } } }", "N208 sinks[1].webhook"},
        {"alerts.lua", "return { budget = { 0.8, 11 } }",
         "N203 budget[2] must be a part of the limit"},
        {"alerts.lua", "return { daily_report = '8' }", "N203 daily_report"},
        {"alerts.lua", "return { burns = true }",
         "N201 burns is no field here (did you mean \"burn\"?)"},
    };
    assert_refusals(rows, sizeof rows / sizeof rows[0]);
}
END_TEST

START_TEST(all_problems_of_all_files_are_told_at_once_in_their_order)
{
    setkit_write(&k, "providers.lua", PROVIDER("a = 1, timeout_ms = {}"));
    setkit_write(&k, "models.lua", "return { claude = { provider = 'x' },\n b = 3 }");
    setkit_write(&k, "endpoints.lua", "return { ['/api/a/reply'] = { models = { 'b', 'c' } } }");
    ck_assert_int_eq(setkit_load(&k), NP_E_INVALID);
    ck_assert_str_eq(
        setkit_text(&k),
        "providers.lua:3:5: N201 openai.a is no field here\n"
        "providers.lua:3:12: N202 openai.timeout_ms must be a whole number from 1 to 600000, got a table\n"
        "models.lua:1:10: N220 warning: claude has no price: its calls count as free, no budget holds them\n"
        "models.lua:1:21: N205 claude.provider names the provider \"x\", which providers.lua does not have\n"
        "models.lua:2:2: N202 b must be a table, got 3\n"
        "endpoints.lua:1:47: N205 [\"/api/a/reply\"].models[2] names the model \"c\", which models.lua "
        "does not have\n");
}
END_TEST

/* ----------------------------------------------------------------------------------- warnings */

START_TEST(what_can_hardly_be_meant_is_a_warning)
{
    static const struct refusal rows[] = {
        {"models.lua",
         "return { ['gpt-4.1'] = { provider = 'openai' }, claude = { provider = 'openai' } }",
         "models.lua:1:49: N220 warning: claude has no price"},
        {"models.lua",
         "return { ['gpt-4.1'] = { provider = 'openai', usd_per_request = 1, as_of = '2020-01-01' },"
         " claude = { provider = 'openai', usd_per_request = 1 } }",
         "N221 warning: [\"gpt-4.1\"].as_of is older than 180 days"},
        {"endpoints.lua", ENDPOINT("max_cost_usd = 0.0001"), "endpoints.lua:3:5: N222 warning:"},
        {"endpoints.lua", ENDPOINT("deadline_ms = 500"), "endpoints.lua:3:5: N223 warning:"},
        {"endpoints.lua", ENDPOINT("hedge_after_ms = 10000"),
         "endpoints.lua:3:5: N227 warning: [\"/api/assistant/reply\"].hedge_after_ms never comes"},
        {"endpoints.lua", ENDPOINT("hedge_after_ms = 10, max_attempts = 1"),
         "hedge_after_ms has no effect: max_attempts"},
        {"endpoints.lua", ENDPOINT("hedge_after_ms = 10"),
         "hedge_after_ms has no effect: all models"},
        {"endpoints.lua", ENDPOINT("cache = { ttl_s = 300, stale_if_error_s = 86400 }"),
         "N224 warning:"},
        {"providers.lua", ADDRESS("http://api.example.com/v1"),
         "N225 warning: openai.base_url is not https"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setkit_write(&k, "providers.lua", SETKIT_PROVIDERS);
        setkit_write(&k, "models.lua", SETKIT_MODELS);
        setkit_write(&k, "endpoints.lua", SETKIT_ENDPOINTS);
        setkit_write(&k, rows[i].file, rows[i].text);
        setkit_assert_warns(&k, rows[i].line);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("script/catalog");
    TCase *c = tcase_create("catalog");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, what_is_not_said_has_the_contracts_defaults);
    tcase_add_test(c, everything_that_is_said_is_in_the_catalogue);
    tcase_add_test(c, prices_are_nano_dollars_for_a_thousand_tokens_with_their_defaults);
    tcase_add_test(c, tenants_are_found_by_the_hash_of_their_key);
    tcase_add_test(c, budgets_and_templates_are_taken);
    tcase_add_test(c, keys_come_from_the_environment_and_from_files);
    tcase_add_test(c, keys_that_are_not_set_are_told_by_name_and_line);
    tcase_add_test(c, on_the_simulated_ground_keys_that_are_not_set_have_a_stand_in);
    tcase_add_test(c, a_key_that_would_break_a_header_is_refused_without_being_shown);
    tcase_add_test(c, no_lua_can_see_the_value_of_a_key);
    tcase_add_test(c, hooks_and_libraries_have_neither_env_nor_file);
    tcase_add_test(c, providers_that_can_not_be_are_refused_with_their_place);
    tcase_add_test(c, addresses_that_must_not_be_called_are_refused);
    tcase_add_test(c, models_that_can_not_be_are_refused);
    tcase_add_test(c, endpoints_that_can_not_be_are_refused);
    tcase_add_test(c, tenants_budgets_and_alerts_that_can_not_be_are_refused);
    tcase_add_test(c, all_problems_of_all_files_are_told_at_once_in_their_order);
    tcase_add_test(c, what_can_hardly_be_meant_is_a_warning);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
