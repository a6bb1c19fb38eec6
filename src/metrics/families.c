/* The table of families: labels and buckets of each. */
#include "metrics/meters_impl.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const char *const token_kinds[] = {"prompt", "completion", "cached", "cache_write",
                                          "reasoning"};
static const char *const token_types[] = {"input", "output"};
static const char *const hook_failures[] = {"error", "time", "memory", "type"};
static const char *const hedge_results[] = {
#define NP_HEDGE_TEXT(name) #name,
    NP_HEDGES(NP_HEDGE_TEXT)
#undef NP_HEDGE_TEXT
};
static const char *const shed_causes[] = {"busy", "memory", "draining", "inflight", "cpu", "late"};
/* In the order of http/'s enum np_http_refusal, a wing that this one never includes. */
static const char *const http_causes[] = {
    "framing", "length_required", "too_large",   "path",        "host",        "origin",
    "timeout", "memory",          "slow_reader", "connections", "per_address", "descriptors"};

#define TEXT_LABEL(label, list)                                                        \
    {                                                                                  \
        .kind = NP_LABEL_TEXT, .name = label, .texts = list, .n_texts = COUNT_OF(list) \
    }

static const struct np_meter_label by_pair[3] = {{.kind = NP_LABEL_PAIR}};
static const struct np_meter_label by_tokens[3] = {{.kind = NP_LABEL_PAIR},
                                                   TEXT_LABEL("kind", token_kinds)};
static const struct np_meter_label by_token_type[3] = {{.kind = NP_LABEL_PAIR},
                                                       TEXT_LABEL("type", token_types)};
static const struct np_meter_label by_retry[3] = {{.kind = NP_LABEL_PAIR},
                                                  {.kind = NP_LABEL_NUMBER, .name = "status"},
                                                  {.kind = NP_LABEL_NUMBER, .name = "attempt"}};
static const struct np_meter_label by_attempts[3] = {{.kind = NP_LABEL_PAIR},
                                                     {.kind = NP_LABEL_CLASS, .name = "class"}};
static const struct np_meter_label by_skipped[3] = {{.kind = NP_LABEL_PAIR},
                                                    {.kind = NP_LABEL_SKIP, .name = "reason"}};
static const struct np_meter_label by_endpoint[3] = {
    {.kind = NP_LABEL_ENDPOINT, .name = "endpoint"}};
static const struct np_meter_label by_requests[3] = {
    {.kind = NP_LABEL_ENDPOINT, .name = "endpoint"},
    {.kind = NP_LABEL_NUMBER, .name = "status"},
    {.kind = NP_LABEL_TRUTH, .name = "degraded"}};
static const struct np_meter_label by_degraded[3] = {
    {.kind = NP_LABEL_ENDPOINT, .name = "endpoint"}, {.kind = NP_LABEL_REASON, .name = "reason"}};
static const struct np_meter_label by_hedges[3] = {{.kind = NP_LABEL_ENDPOINT, .name = "endpoint"},
                                                   TEXT_LABEL("result", hedge_results)};
static const struct np_meter_label by_hook[3] = {{.kind = NP_LABEL_HOOK, .name = "hook"}};
static const struct np_meter_label by_hook_errors[3] = {{.kind = NP_LABEL_HOOK, .name = "hook"},
                                                        TEXT_LABEL("kind", hook_failures)};
static const struct np_meter_label by_shed[3] = {TEXT_LABEL("cause", shed_causes)};
static const struct np_meter_label by_http_refused[3] = {TEXT_LABEL("cause", http_causes)};

#define US(n) ((int64_t)(n)*1000)
#define MS(n) US((n)*1000)

/* Calls and requests: 1 ms to a minute, finest where objectives are usually set. */
static const int64_t bounds_time[] = {
    MS(1),    MS(2.5),   MS(5),     MS(10),    MS(25),    MS(50),   MS(100),  MS(250),
    MS(500),  MS(1000),  MS(1500),  MS(2000),  MS(2500),  MS(3000), MS(4000), MS(5000),
    MS(7500), MS(10000), MS(15000), MS(20000), MS(30000), MS(60000)};
/* Our own work: 5 microseconds to 100 milliseconds. */
static const int64_t bounds_fine[] = {US(5),   US(10),  US(25),  US(50), US(75),  US(100),
                                      US(250), US(500), US(750), MS(1),  MS(2.5), MS(5),
                                      MS(10),  MS(25),  MS(50),  MS(100)};
/* 0.00001 to 1 USD. */
static const int64_t bounds_usd[] = {10000,     25000,     50000,     100000,    250000,   500000,
                                     1000000,   2500000,   5000000,   10000000,  25000000, 50000000,
                                     100000000, 250000000, 500000000, 1000000000};
/* Those that OpenTelemetry's conventions give. */
static const int64_t bounds_genai[] = {MS(10),    MS(20),    MS(40),    MS(80),   MS(160),
                                       MS(320),   MS(640),   MS(1280),  MS(2560), MS(5120),
                                       MS(10240), MS(20480), MS(40960), MS(81920)};
static const int64_t bounds_chunk[] = {MS(1),    MS(5),    MS(10),   MS(20),   MS(40),  MS(60),
                                       MS(80),   MS(100),  MS(250),  MS(500),  MS(750), MS(1000),
                                       MS(2500), MS(5000), MS(7500), MS(10000)};
static const int64_t bounds_tokens[] = {1,     4,     16,     64,      256,     1024,     4096,
                                        16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};

_Static_assert(COUNT_OF(bounds_time) <= NP_METER_BUCKETS, "too many buckets");
_Static_assert(COUNT_OF(bounds_fine) <= NP_METER_BUCKETS, "too many buckets");
_Static_assert(COUNT_OF(bounds_chunk) <= NP_METER_BUCKETS, "too many buckets");
_Static_assert(COUNT_OF(bounds_usd) <= NP_METER_BUCKETS, "too many buckets");

#define FAMILY(family, type_, name_, unit_, labels_, help_) \
    [NP_FAMILY_##family] = {.name = name_,                  \
                            .help = help_,                  \
                            .type = NP_METER_##type_,       \
                            .unit = NP_UNIT_##unit_,        \
                            .labels = by_##labels_},

const struct np_meter_family np_meter_families[NP_FAMILY_COUNT] = {NP_FAMILIES(FAMILY)};

#define BUCKETS(of)                     \
    {                                   \
        .bounds = of, .n = COUNT_OF(of) \
    }

const struct np_meter_buckets np_meter_buckets[NP_FAMILY_COUNT] = {
    [NP_FAMILY_llm_latency] = BUCKETS(bounds_time),
    [NP_FAMILY_llm_ttft] = BUCKETS(bounds_time),
    [NP_FAMILY_llm_connect] = BUCKETS(bounds_time),
    [NP_FAMILY_llm_cost] = BUCKETS(bounds_usd),
    [NP_FAMILY_request_duration] = BUCKETS(bounds_time),
    [NP_FAMILY_overhead] = BUCKETS(bounds_fine),
    [NP_FAMILY_hook_duration] = BUCKETS(bounds_fine),
    [NP_FAMILY_genai_duration] = BUCKETS(bounds_genai),
    [NP_FAMILY_genai_first_chunk] = BUCKETS(bounds_chunk),
    [NP_FAMILY_genai_tokens] = BUCKETS(bounds_tokens),
};

uint32_t np_meter_label_count(const struct np_meter_label *l)
{
    switch (l->kind) {
    case NP_LABEL_HOOK:
        return NP_HOOK_COUNT;
    case NP_LABEL_TEXT:
        return l->n_texts;
    default:
        return 0;
    }
}
