/* Decision records told for people: whatever a file of records holds, it is told in lines of at most 80
 * columns that do nothing to a terminal. */
#include "fuzz/fuzz.h"

#include "base/json.h"
#include "engine/explain.h"

FUZZ_SEEDS(
    SEED("{\"hooks\":[null,{\"name\":\"ro\x7f\xc2\x9bte\",\"returned\":\"nothing\"}]}"),
    SEED(
        "{\"requestId\":\"req_1\",\"at\":\"2026-11-30T10:00:00.000Z\",\"endpoint\":\"/api/a/reply\","
        "\"tenant\":\"acme\",\"policy\":\"3fa9c1e20b7d\",\"estimate\":{\"promptTokens\":10,\"worstUsd\":0.01},"
        "\"plan\":[\"big\",\"small\"],\"hooks\":[{\"name\":\"route\",\"us\":12,\"returned\":\"2 candidates\","
        "\"why\":\"it is cheap\"}],\"attempts\":[{\"provider\":\"openai\",\"model\":\"big\",\"atMs\":0,"
        "\"class\":\"rate_limited\",\"status\":429,\"error\":\"slow down\",\"latencyMs\":10,\"costUsd\":0,"
        "\"settled\":\"void\",\"retryInMs\":500},{\"provider\":\"openai\",\"model\":\"big\",\"class\":\"ok\","
        "\"status\":200,\"ttftMs\":5,\"latencyMs\":60,\"tokens\":{\"prompt\":10,\"completion\":5},"
        "\"costUsd\":0.001,\"settled\":\"exact\"}],\"skipped\":[{\"model\":\"small\",\"why\":\"breaker\"}],"
        "\"budget\":{\"accounts\":[\"global/day\"],\"reserved\":0.01,\"settled\":0.001},"
        "\"dropped\":[\"kb-1\"],\"outcome\":\"answered\",\"costUsd\":0.001,\"latencyMs\":600,\"overheadUs\":90}"),
    SEED(
        "{\"requestId\":\"\\u001b[2J\",\"attempts\":{},\"hooks\":7,\"plan\":[null],\"error\":{\"type\":\"x\"}}"),
    SEED(
        "{\"outcome\":\"degraded\",\"reason\":\"budget\",\"tenant\":\"\xe2\x80\xae evil \xf0\x9f\x98\x80\"}"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span record = np_span_make((const char *)data, n);
    struct np_json_fault fault;
    if (np_json_check(record, NP_JSON_DEPTH, &fault) || np_json_kind(record) != NP_JSON_OBJECT)
        return 0;
    struct np_buf out;
    np_buf_init(&out, (size_t)4 << 20);
    np_explain_tell(&out, record);
    size_t columns = 0;
    for (size_t i = 0; i < out.n; i++) {
        unsigned char c = (unsigned char)out.p[i];
        np_require((c >= 0x20 && c != 0x7f) || c == '\n');
        /* C1, of which some terminals take U+009B for ESC [. */
        np_require(c != 0xc2 || i + 1 == out.n || (unsigned char)out.p[i + 1] >= 0xa0);
        columns = c == '\n' ? 0 : columns + ((c & 0xc0) != 0x80);
        np_require(columns <= 80);
    }
    np_buf_free(&out);
    return 0;
}
