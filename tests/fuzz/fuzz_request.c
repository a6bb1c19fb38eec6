/* Bodies of clients: refused with a reason, or read into views that lie within the body; what is kept of
 * the context fits, and pinned items stay. */
#include "fuzz/fuzz.h"

#include "model/request.h"
#include "model/tokens.h"

FUZZ_SEEDS(
    SEED("{\"prompt\":\"How do I reset it?\",\"maxTokens\":5,\"temperature\":0.5}"),
    SEED("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
         "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"system\",\"content\":\"c\"}]}"),
    SEED(
        "{\"prompt\":\"x\",\"system\":\"be \\u0062rief\",\"context\":[{\"id\":\"a\",\"text\":\"t\","
        "\"priority\":2.5},{\"id\":\"b\",\"text\":\"u\",\"pinned\":true}],\"stop\":[\"END\"],"
        "\"stream\":true,\"model\":\"m\",\"metadata\":{\"a\":{\"b\":[]}}}"),
    SEED("{\"prompt\":null,\"maxToken\":1}"));

static bool within(struct np_span part, struct np_span whole)
{
    return !part.p || part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void read_request(struct np_arena *a, struct np_request *r, struct np_span body)
{
    struct np_span system;
    np_require(r->n_messages >= 1 && r->n_messages <= NP_MAX_MESSAGES);
    np_require(r->n_context <= NP_MAX_CONTEXT && r->max_tokens <= NP_MAX_TOKENS);
    for (size_t i = 0; i < r->n_messages; i++)
        np_require(within(r->messages[i].content, body) && r->messages[i].tokens >= 0);
    np_require(within(r->system, body) && within(r->stop, body) && within(r->metadata, body));
    int64_t before = np_request_prompt_tokens(r), bound = np_request_prompt_bound(r);
    np_require(before >= 0 && bound >= 0);
    np_require(np_request_keep_by_priority(r, before / 2) <= before);
    for (size_t i = 0; i < r->n_context; i++)
        np_require(!r->context[i].pinned || r->context[i].kept);
    np_require(np_request_prompt_bound(r) <= bound);
    if (np_request_system_json(a, r, &system) == NP_OK && system.p) {
        struct np_json_fault fault;
        np_require(np_json_check(system, 1, &fault) == NP_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span body = np_span_make((const char *)data, n);
    struct np_arena *a = np_arena_new((size_t)8 << 20);
    struct np_request r;
    struct np_refusal refusal = {0};
    np_require(a);
    enum np_err err = np_request_parse(a, body, &r, &refusal);
    np_require(err == NP_OK || err == NP_E_INVALID);
    if (err)
        np_require(refusal.message.n > 0);
    else
        read_request(a, &r, body);
    np_require(np_tokens_estimate(body, true) >= 0);
    np_arena_free(a);
    return 0;
}
