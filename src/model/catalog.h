/* The catalogue: what the data files of one policy set say, checked and ready for use. Made whole at
 * load, read-only afterwards, freed with its generation. Every pointer leads into its arena.
 *
 * `slot` numbers come from the process's intern tables: they stay the same over reloads, so that
 * breakers, statistics, accounts and metrics carry on. */
#ifndef NP_MODEL_CATALOG_H
#define NP_MODEL_CATALOG_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/intern.h"
#include "base/span.h"
#include "model/money.h"

#include <stdint.h>

#define NP_MAX_PROVIDERS 64 /* slots, over the life of the process */
#define NP_MAX_PAIRS 512    /* provider and model */
#define NP_MAX_ENDPOINTS 64
#define NP_MAX_KEYS 16     /* a provider */
#define NP_MAX_PLAN 16     /* candidates of one plan */
#define NP_MAX_ACCOUNTS 12 /* accounts that one attempt touches */

/* A value that is never printed: `label` is what logs may show ("env:OPENAI_API_KEY"). */
struct np_secret {
    const char *label;
    const char *value;
    uint32_t slot; /* of it and its provider's base_url, for holds that survive reloads */
};

struct np_header {
    const char *name;
    const char *value;
};

struct np_breaker_rule {
    uint32_t failures; /* in a row; 0: never by count */
    double rate;       /* of at least min_calls in window_ms; 0: never by rate */
    uint32_t min_calls;
    uint32_t window_ms;
    uint32_t open_ms;
};

enum np_adapter { NP_ADAPTER_OPENAI, NP_ADAPTER_ANTHROPIC, NP_ADAPTER_COUNT };

struct np_provider {
    const char *name;
    uint32_t slot;
    enum np_adapter adapter;
    const char *base_url; /* without a trailing slash */
    const struct np_secret *keys;
    size_t n_keys; /* 0: none is sent */
    const struct np_header *headers;
    size_t n_headers;
    uint32_t connect_timeout_ms, first_token_timeout_ms, idle_timeout_ms, timeout_ms;
    struct np_breaker_rule breaker;
    uint32_t max_inflight; /* 0: no limit */
    uint32_t keep_warm;
};

struct np_model {
    const char *name; /* neap's own */
    const char *id;   /* the provider's */
    const char *tier; /* "" when not given */
    uint32_t slot;    /* of the pair provider and model */
    const struct np_provider *provider;
    int64_t context;    /* tokens of prompt and completion; 0: unknown */
    int64_t max_output; /* tokens; 0: unknown */
    struct np_price price;
    const char *as_of;
    struct np_span attrs; /* what spans say of it, of np_trace_parts; empty: not made */
};

/* What a hook's failure is replaced by. */
enum np_on_error { NP_ON_ERROR_DEFAULT, NP_ON_ERROR_REFUSE };

#define NP_HOOKS(X) X(admit) X(route) X(truncate) X(budget) X(retry) X(respond) X(degrade) X(alert)

enum np_hook {
#define NP_HOOK_ENUM(name) NP_HOOK_##name,
    NP_HOOKS(NP_HOOK_ENUM)
#undef NP_HOOK_ENUM
        NP_HOOK_COUNT
};

const char *np_hook_name(enum np_hook h);

struct np_slo {
    uint32_t p95_ms;
    double error_rate, degraded_rate;
    int64_t cost_nusd;
};

struct np_endpoint {
    const char *path;
    uint32_t slot;
    struct np_slo slo;
    const struct np_model *const *models;
    size_t n_models;
    uint32_t deadline_ms;
    uint32_t max_attempts;
    uint32_t hedge_after_ms; /* 0: none */
    int64_t max_cost_nusd;   /* -1: no cap */
    int64_t max_tokens;      /* completion tokens when the client asks for none, and at most */
    size_t body_bytes;
    struct np_span attrs; /* what spans say of it, of np_trace_parts; empty: not made */
    bool drain_on_disconnect;
    enum np_on_error on_error[NP_HOOK_COUNT];
};

struct np_tenant {
    const char *name;
    uint32_t slot; /* of the tenants' intern table */
    const uint8_t (*key_hashes)[NP_SHA256_BYTES];
    size_t n_keys;
    const struct np_endpoint *const *endpoints; /* n_endpoints 0: all */
    size_t n_endpoints;
    const struct np_model *const *models; /* n_models 0: all */
    size_t n_models;
    int64_t requests_per_minute, tokens_per_minute, concurrency; /* 0: no limit */
    unsigned priority;  /* 0 to 9: who goes first when there is more work than can be done */
    int64_t expires_ms; /* wall; 0: never */
    bool disabled;
};

enum np_account_kind {
    NP_ACCOUNT_GLOBAL,
    NP_ACCOUNT_EACH_TENANT,
    NP_ACCOUNT_TENANT,
    NP_ACCOUNT_ENDPOINT,
    NP_ACCOUNT_MODEL,
    NP_ACCOUNT_PROVIDER
};

enum np_window {
    NP_WINDOW_MINUTE,
    NP_WINDOW_HOUR,
    NP_WINDOW_DAY,
    NP_WINDOW_WEEK,
    NP_WINDOW_MONTH,
    NP_WINDOW_NONE
};

const char *np_window_name(enum np_window w);
/* The start of the window that holds wall_ms (UTC; weeks begin on Monday; NONE: 0) and its end
 * (NONE: INT64_MAX). */
int64_t np_window_start(enum np_window w, int64_t wall_ms);
int64_t np_window_end(enum np_window w, int64_t wall_ms);

struct np_budget {
    enum np_account_kind kind;
    const char *name; /* what follows the colon; "" for global and tenant (each) */
    enum np_window window;
    int64_t limit_nusd;
    bool reject;        /* on_exceeded: false degrade, true 429 */
    bool unknown_worst; /* what a call whose usage never came is booked at: false p95 */
};

/* Where alerts are sent. */
struct np_sink {
    const char
        *label;      /* what may be shown: "env:ALERT_WEBHOOK", or "sinks[2]" for one written out */
    const char *url; /* as secret as a key; NULL: not set, on the simulated ground only */
    bool slack;      /* false: JSON */
};

/* alerts.lua; all zero without it. */
struct np_alert_rules {
    const struct np_sink *sinks;
    size_t n_sinks;
    const double *budget; /* parts of a limit */
    size_t n_budget;
    double p95_jump; /* 0: not watched */
    bool burn, breaker, reload;
    int32_t report_minute; /* of the day, UTC; -1: no report */
};

struct np_template {
    const char *name; /* file name without .txt */
    struct np_span text;
};

struct np_catalog {
    struct np_arena *arena;
    const struct np_provider *providers;
    size_t n_providers;
    const struct np_model *models;
    size_t n_models;
    const struct np_endpoint *endpoints;
    size_t n_endpoints;
    const struct np_tenant *tenants; /* sorted by nothing; keys are found by np_catalog_tenant */
    size_t n_tenants;                /* 0: everybody is "anonymous" */
    const struct np_tenant *anonymous;
    const struct np_budget *budgets;
    size_t n_budgets;
    struct np_alert_rules alerts;
    const struct np_template *templates;
    size_t n_templates;
    const struct np_key_entry *key_index; /* sorted by hash; made by np_catalog_index */
    size_t n_key_index;
};

struct np_key_entry {
    uint8_t hash[NP_SHA256_BYTES];
    const struct np_tenant *tenant;
};

/* The process's intern tables that give slots. */
struct np_slots {
    struct np_intern *providers;
    struct np_intern *pairs; /* "provider/model" */
    struct np_intern *endpoints;
    struct np_intern *tenants;
    struct np_intern *secrets; /* by label, a hash of the value, and the address it is sent to */
};

enum np_err np_slots_init(struct np_slots *s) NP_MUST_CHECK;
void np_slots_free(struct np_slots *s);

/* Gives slots to providers, models, endpoints, tenants and keys, makes the anonymous tenant and the
 * key index. The catalogue's arrays must be filled; call once. */
enum np_err np_catalog_index(struct np_catalog *c, const struct np_slots *slots) NP_MUST_CHECK;

const struct np_model *np_catalog_model(const struct np_catalog *c, struct np_span name);
const struct np_endpoint *np_catalog_endpoint(const struct np_catalog *c, struct np_span path);
const struct np_template *np_catalog_template(const struct np_catalog *c, struct np_span name);
/* The tenant of a key's SHA-256; NULL when unknown. Compares in constant time. */
const struct np_tenant *np_catalog_tenant(const struct np_catalog *c,
                                          const uint8_t hash[NP_SHA256_BYTES]);
bool np_tenant_may_use_endpoint(const struct np_tenant *t, const struct np_endpoint *e);
bool np_tenant_may_use_model(const struct np_tenant *t, const struct np_model *m);

#endif
