/* Calls of policies: bytes become a hook that calls what policies may call with whatever values, nested and
 * in a row. No call ends the process, keeps the limiter from ending the hook, or leaves the exchange in a
 * state that its record cannot tell. */
#include "fuzz/fuzz.h"

#include "base/log.h"
#include "model/record.h"

/* The kit of the unit tests, outside of libcheck. */
#include <check.h>
#undef ck_assert_ptr_nonnull
#undef ck_assert_int_eq
#define ck_assert_ptr_nonnull(p) np_require((p) != NULL)
#define ck_assert_int_eq(a, b) np_require((a) == (b))
#include "unit/script/kit.h"

FUZZ_SEEDS(SEED("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"),
           SEED("\x10\x13\x11\x00\x20\x02\x30\x31\x32\x05\x06\x07"),
           SEED("\x28\x15\x16\x17\x3a\x3b\x3c\x01\x02\x03\x44\x41\x42"),
           SEED("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4"));

/* What is called. */
static const char *const functions[] = {
    "stats.p95",
    "stats.error_rate",
    "stats.cost_usd",
    "stats.burn",
    "breaker.state",
    "budget.remaining",
    "tokens",
    "backoff",
    "pick",
    "template",
    "shared.get",
    "shared.set",
    "shared.incr",
    "random",
    "now_ms",
    "log.debug",
    "log.info",
    "log.warn",
    "log.error",
    "json.encode",
    "json.decode",
    "require",
    "string.format",
    "string.rep",
    "string.sub",
    "string.find",
    "string.match",
    "string.gmatch",
    "string.gsub",
    "string.byte",
    "string.char",
    "string.upper",
    "string.reverse",
    "string.len",
    "string.pack",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "table.unpack",
    "table.move",
    "table.pack",
    "math.floor",
    "math.random",
    "math.tointeger",
    "math.fmod",
    "math.max",
    "utf8.char",
    "utf8.codepoint",
    "utf8.offset",
    "utf8.len",
    "utf8.codes",
    "tostring",
    "tonumber",
    "type",
    "pairs",
    "ipairs",
    "next",
    "select",
    "setmetatable",
    "getmetatable",
    "rawget",
    "rawequal",
    "rawlen",
    "pcall",
    "xpcall",
    "error",
    "assert",
    "function(...) return ... end",
    "function(t) for k, v in pairs(t) do t[k] = nil end return t end",
    "function(t) return t.x, t[1], #t end",
    "function(a, b) return a .. b end",
    "function(a, b) return a < b end",
    "function(a, b) return a // b end",
    "function(f) return f(f) end"};

/* What it is called with: v[1] to v[8] are what came of earlier calls. */
static const char *const values[] = {
    "nil",
    "true",
    "0",
    "-1",
    "1.5",
    "0/0",
    "1/0",
    "math.maxinteger",
    "math.mininteger",
    "''",
    "'gpt-4.1'",
    "'/api/assistant/reply'",
    "'global/day'",
    "'%s%d%q%99.99f'",
    "'(.-)%1%b()%f[%w]+$'",
    "'a\\0b\\xff'",
    "('x'):rep(3000)",
    "('('):rep(200)",
    "{}",
    "{ 1, 2, 3 }",
    "{ models = { 'gpt-4.1', 'claude' }, by = 'cost' }",
    "{ base_ms = 1, cap_ms = 2, jitter_ms = 3, attempt = 4 }",
    "{ [1.5] = 1, [true] = 2, x = { y = {} } }",
    "setmetatable({}, { __index = function(_, k) return k end })",
    "setmetatable({}, { __tostring = function() return 7 end, __name = 'z' })",
    "setmetatable({}, { __close = error, __len = function() return -1 end, __call = print })",
    "function() error({}) end",
    "function() while true do end end",
    "function(...) return ... end",
    "req",
    "req.messages",
    "req.context",
    "req.metadata",
    "req.context[2]",
    "req.messages[1]",
    "string",
    "_ENV",
    "_G",
    "v",
    "v[1]",
    "v[2]",
    "v[3]",
    "v[4]",
    "v[5]",
    "v[6]",
    "v[7]",
    "v[8]",
    "req.id",
    "'{\"a\":[1,{}]}'",
    "pcall"};

/* What may be written to the request. */
static const char *const fields[] = {"req.max_tokens",
                                     "req.temperature",
                                     "req.tags",
                                     "req.system",
                                     "req.context",
                                     "req.context[1].text",
                                     "req.messages",
                                     "req.messages[1].content",
                                     "req.id",
                                     "req.context[1].priority",
                                     "req.context[2].pinned",
                                     "req.nobody"};

#define PICK(list, in) list[fuzz_byte(in) % (sizeof list / sizeof list[0])]

static void statement(struct np_buf *b, struct np_span *in, unsigned n)
{
    uint8_t kind = fuzz_byte(in);
    if (kind % 4 == 3) {
        (void)np_buf_printf(b, "pcall(function() %s = %s end)\n", PICK(fields, in),
                            PICK(values, in));
        return;
    }
    (void)np_buf_printf(b, "_, v[%u] = pcall(%s", n % 8 + 1, PICK(functions, in));
    for (unsigned i = 0; i < kind % 4U + 1U; i++)
        (void)np_buf_printf(b, ", %s", PICK(values, in));
    np_buf_puts(b, ")\n");
}

static void run_hook(const char *file, const char *source)
{
    struct kit k;
    const char *const files[] = {file, source, NULL};
    kit_open(&k, false, files);
    struct np_script *s = kit_script(&k);
    if (s) {
        if (strcmp(file, "admit.lua") == 0)
            np_hook_admit(s, k.x, &k.refusal, &k.rep);
        else if (strcmp(file, "route.lua") == 0)
            np_hook_route(s, k.x, &k.rep);
        else
            np_hook_degrade(s, k.x, NP_REASON_budget, &k.rep);
        np_require(!k.rep.stalled && memchr(k.rep.error, '\0', sizeof k.rep.error));
        struct np_buf b;
        np_buf_init(&b, (size_t)1 << 20);
        k.x->outcome.status = 200;
        np_record_decision(&b, k.x, false);
        np_require(b.n > 0);
        np_buf_free(&b);
        np_script_idle(s);
    }
    kit_close(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const hooks[] = {"admit.lua", "route.lua", "degrade.lua"};
    struct np_span in = np_span_make((const char *)data, n);
    const char *hook = PICK(hooks, &in);
    np_log_level(NP_LOG_ERROR);
    struct np_buf b;
    np_buf_init(&b, 65536);
    np_buf_puts(&b, "return function(req)\nlocal v, _ = {}\n");
    for (unsigned i = 0; in.n > 0 && i < 12; i++)
        statement(&b, &in, i);
    np_buf_puts(&b, "return v[1], v[2]\nend\n");
    (void)np_buf_char(&b, '\0');
    np_require(!np_buf_failed(&b));
    run_hook(hook, b.p);
    np_buf_free(&b);
    return 0;
}
