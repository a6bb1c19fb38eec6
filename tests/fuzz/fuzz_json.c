/* JSON: what the check accepts, the other readers must bear and read alike; what the writer writes, the
 * check accepts. */
#include "fuzz/fuzz.h"

#include "base/json.h"

FUZZ_SEEDS(SEED("{\"a\":[1,2.5e-3,{\"b\":null}],\"c\":\"\\u00e9\\ud83d\\ude00\\n\",\"d\":true}"),
           SEED(" [ ] "), SEED("\"\xe2\x80\xa8 raw \xf0\x9f\x98\x80\""), SEED("-0.0e+10"),
           SEED("9007199254740993"), SEED("{\"a\":1,\"a\":2}"),
           SEED("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
           SEED("{\"mod\\u0065l\":\"x\",\"\":{}}"), SEED("[1e400,-1e-400,123456789012345678901]"));

static void read_text(struct np_span value)
{
    struct np_arena *a = np_arena_new((size_t)1 << 20);
    struct np_span text;
    struct np_buf b, again;
    np_require(a);
    np_buf_init(&b, (size_t)1 << 20);
    np_buf_init(&again, (size_t)1 << 22);
    np_require(np_json_put_text(&b, value) == NP_OK);
    np_require(np_json_text(a, value, true, &text) == NP_OK);
    np_require(np_span_eq(text, np_buf_view(&b)));
    /* Written again, it is a string that says the same. */
    np_buf_puts(&again, "\"");
    np_json_escape(&again, text);
    np_buf_puts(&again, "\"");
    struct np_json_fault fault;
    np_require(np_json_check(np_buf_view(&again), 1, &fault) == NP_OK);
    np_buf_reset(&b);
    np_require(np_json_put_text(&b, np_buf_view(&again)) == NP_OK);
    np_require(np_span_eq(text, np_buf_view(&b)));
    np_buf_free(&b);
    np_buf_free(&again);
    np_arena_free(a);
}

static void read_value(struct np_span value, struct np_json_w *w, const char *key, unsigned depth)
{
    struct np_span name, item;
    int64_t whole;
    double number;
    np_require(depth <= NP_JSON_DEPTH);
    switch (np_json_kind(value)) {
    case NP_JSON_NUMBER:
        (void)!np_json_i64(value, &whole);
        (void)!np_json_double(value, &number);
        np_json_w_raw(w, key, value);
        break;
    case NP_JSON_STRING:
        read_text(value);
        np_json_w_raw(w, key, value);
        break;
    case NP_JSON_ARRAY: {
        key ? np_json_w_begin_key(w, key, '[') : np_json_w_begin(w, '[');
        struct np_json_walk items = np_json_walk(value);
        while (np_json_item(&items, &item))
            read_value(item, w, NULL, depth + 1);
        np_json_w_end(w, ']');
        break;
    }
    case NP_JSON_OBJECT: {
        key ? np_json_w_begin_key(w, key, '{') : np_json_w_begin(w, '{');
        struct np_json_walk members = np_json_walk(value);
        while (np_json_member(&members, &name, &item)) {
            np_require(name.p >= value.p && name.p + name.n <= value.p + value.n);
            read_value(item, w, "member", depth + 1);
        }
        (void)np_json_get(value, "a", &item);
        np_json_w_end(w, '}');
        break;
    }
    default:
        np_json_w_raw(w, key, value);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span text = np_span_make((const char *)data, n);
    struct np_json_fault fault = {0};
    if (np_json_check(text, NP_JSON_DEPTH, &fault)) {
        np_require(fault.offset <= n && fault.line >= 1 && fault.column >= 1 && fault.what);
        return 0;
    }
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, (size_t)16 << 20);
    np_json_w_init(&w, &b);
    read_value(text, &w, NULL, 0);
    np_require(!np_buf_failed(&b));
    np_require(np_json_check(np_buf_view(&b), NP_JSON_DEPTH, &fault) == NP_OK);
    np_buf_free(&b);
    return 0;
}
