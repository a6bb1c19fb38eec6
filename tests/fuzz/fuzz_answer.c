/* Answers of providers, whole and streamed, in both dialects, through the driver on the simulated ground:
 * whatever the texts hold, each exchange ends once, in a class, with its money settled. The first two bytes
 * say how the call goes; what follows a NUL, if there is one, is the Retry-After. */
#include "fuzz/fuzz.h"

#include "engine/simground.h"
#include "fuzz/set.h"
#include "ledger/ledger.h"

#define CHOICE \
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\u00e9\"},\"finish_reason\":null}]}"

FUZZ_SEEDS(
    SEED(
        "\x10\x00"
        "data: " CHOICE "\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n"),
    SEED(
        "\x11\x00"
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":"
        "{\"input_tokens\":7,\"cache_read_input_tokens\":null,\"output_tokens\":1}}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":"
        "\"text_delta\",\"text\":\"hello\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\","
        "\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    SEED(
        "\x11\x00"
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,"
        "\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":9,\"cache_creation\":{"
        "\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":5}}}}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},"
        "\"usage\":{\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":2}}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    SEED("\x01\x00{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"usage\":{\"input_tokens\":1,"
         "\"cache_creation_input_tokens\":9,\"cache_creation\":{\"ephemeral_5m_input_tokens\":4,"
         "\"ephemeral_1h_input_tokens\":5},\"output_tokens\":2}}"),
    SEED("\x00\x01{\"detail\":[{\"loc\":[\"body\",0],\"msg\":\"required\"}],\"message\":\"x\"}"),
    SEED(
        "\x00\x01{\"error\":{\"type\":\"exceed_context_size_error\",\"n_ctx\":64,\"n_prompt_tokens\":70}}"),
    SEED("\x11\x00"
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"),
    SEED("\x00\x00{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"length\"}],"
         "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1e30}}"),
    SEED(
        "\x01\x00{\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"tool_use\"}],\"stop_reason\":"
        "\"max_tokens\",\"usage\":{\"input_tokens\":-1,\"output_tokens\":2.5}}"),
    SEED("\x00\x01{\"error\":{\"message\":\"maximum context length is 9 tokens\",\"code\":"
         "\"context_length_exceeded\"}}"),
    SEED("\x00\x02{\"error\":{\"message\":\"slow\",\"code\":\"insufficient_quota\"}}\x00"
         "7.5"),
    SEED(
        "\x01\x03{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\x00"
        "Wed, 21 Oct 2026 07:28:00 GMT"));

static const unsigned statuses[] = {200, 400, 429, 529, 200, 500, 302, 413};
static const enum np_call_how ends[] = {NP_CALL_COMPLETE, NP_CALL_RESET, NP_CALL_IDLE_TIMEOUT,
                                        NP_CALL_BAD_FRAMING};

struct order {
    uint8_t how, status;
    struct np_span body, retry_after;
    unsigned closed;
};

static void on_call(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                    struct np_rng *rng, struct np_sim_reply *out)
{
    const struct order *o = ctx;
    (void)x;
    (void)order;
    (void)rng;
    bool stream = o->how & 0x10;
    out->stream = stream && o->status % 8 == 0;
    out->status = statuses[o->status % 8];
    out->how = ends[o->how >> 1 & 3];
    out->takes_ns = (uint64_t)(o->status >> 3) * 100 * NP_NS_PER_MS + NP_NS_PER_MS;
    out->content_type = out->stream ? NP_SPAN("text/event-stream") : NP_SPAN("application/json");
    out->body = o->body;
    out->retry_after = o->retry_after;
}

static void on_closed(void *ctx, const struct np_exchange *x)
{
    struct order *o = ctx;
    o->closed++;
    np_require(x->reserved_nusd == 0 && x->cost_nusd >= 0 && x->n_attempts >= 1);
    np_require(x->client_gone || (x->outcome.status >= 200 && x->outcome.status < 600));
    int64_t sum = 0;
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct np_attempt *a = &x->attempts[i];
        np_require(a->ended && a->class < NP_CLASS_COUNT && a->cost_nusd >= 0);
        np_require(a->settled != NP_SETTLED_VOID || a->cost_nusd == 0);
        sum += a->cost_nusd;
    }
    np_require(sum == x->cost_nusd);
}

static struct np_policyset *set(void)
{
    static struct np_slots slots;
    static struct np_policyset *loaded;
    struct np_problems problems;
    if (loaded)
        return loaded;
    set_make();
    np_require(np_slots_init(&slots) == NP_OK);
    loaded = set_load(&slots, &problems);
    np_problems_free(&problems);
    np_require(loaded);
    return loaded;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct order o = {.body = np_span_make((const char *)data, n)};
    o.how = fuzz_byte(&o.body);
    o.status = fuzz_byte(&o.body);
    const char *nul = o.body.n ? memchr(o.body.p, '\0', o.body.n) : NULL;
    if (nul && !(o.how & 0x10)) {
        o.retry_after = np_span_make(nul + 1, o.body.n - (size_t)(nul + 1 - o.body.p));
        o.body.n = (size_t)(nul - o.body.p);
    }
    struct np_sim_source source = {.call = on_call, .closed = on_closed, .ctx = &o};
    struct np_sim *sim = np_sim_new(set(), 1, &source);
    np_require(sim);
    struct np_sim_client client = {.body = o.how & 0x10
                                               ? NP_SPAN("{\"prompt\":\"hello\",\"stream\":true}")
                                               : NP_SPAN("{\"prompt\":\"hello\"}"),
                                   .endpoint = o.how & 1 ? "/api/small/reply" : "/api/big/reply",
                                   .leaves_after_ns = o.how & 0x80 ? 150 * NP_NS_PER_MS : 0};
    np_require(np_sim_add(sim, &client) == NP_OK);
    np_sim_run(sim);
    np_require(o.closed == 1 && np_sim_open(sim) == 0);
    struct np_ledger_totals totals;
    np_ledger_totals(np_sim_ledger(sim), &totals);
    np_require(totals.open_reservations == 0 && totals.double_ends == 0);
    np_sim_free(sim);
    return 0;
}
