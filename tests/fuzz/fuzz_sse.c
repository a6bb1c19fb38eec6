/* Server-sent events: a stream that is cut anywhere gives the events of the whole. The first two bytes
 * say how it is cut. */
#include "fuzz/fuzz.h"

#include "provider/sse.h"

FUZZ_SEEDS(SEED("\x01\x03"
                "data: {\"a\":1}\n\ndata: [DONE]\n\n"),
           SEED("\x05\x00"
                "event: ping\r\ndata:x\r\n\r\n: comment\r\rdata: a\rdata: b\r\r"),
           SEED("\x02\x07"
                "\xef\xbb\xbf"
                "data\n\ndata:\n\nid: 1\nretry: 5\ndata: \xe2\x80\xa8\n\n"),
           SEED("\x40\x01"
                "event: a\nevent: b\ndata: 1\n\nevent: none\n\ndata: cut"));

/* A sum over the events: their number, names, data and where each ends. */
struct sum {
    uint64_t hash;
    size_t events;
    size_t most; /* after so many it wants no more */
};

static void mix(struct sum *s, struct np_span bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        s->hash = (s->hash ^ (uint8_t)bytes.p[i]) * UINT64_C(0x100000001b3);
    s->hash = (s->hash ^ 0x1ff) * UINT64_C(0x100000001b3);
}

static bool on_event(void *ctx, struct np_span name, struct np_span data)
{
    struct sum *s = ctx;
    np_require(name.n <= NP_SSE_NAME_MAX && data.n <= NP_SSE_LINE_MAX);
    mix(s, name);
    mix(s, data);
    return ++s->events < s->most;
}

/* Reads it in pieces of first, then, first, … bytes; 0: the rest in one. */
static struct sum run(struct np_sse *sse, struct np_span in, size_t first, size_t then, size_t most)
{
    struct sum s = {.hash = UINT64_C(0xcbf29ce484222325), .most = most};
    size_t size = first;
    np_sse_reset(sse);
    while (in.n > 0 && s.events < most) {
        size_t n = size && size < in.n ? size : in.n;
        enum np_err err = np_sse_feed(sse, np_span_make(in.p, n), on_event, &s);
        np_require(err == NP_OK);
        in = np_span_make(in.p + n, in.n - n);
        size = size == first ? then : first;
    }
    np_require(np_sse_kept(sse) <= 2 * NP_SSE_LINE_MAX);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span in = np_span_make((const char *)data, n);
    size_t first = fuzz_byte(&in) + 1U, then = fuzz_byte(&in) + 1U;
    static struct np_sse sse;
    static bool made;
    if (!made)
        np_sse_init(&sse);
    made = true;
    for (size_t most = 1; most <= 1000; most += 999) {
        struct sum whole = run(&sse, in, 0, 0, most);
        struct sum cut = run(&sse, in, first, then, most);
        struct sum bytes = run(&sse, in, 1, 1, most);
        np_require(whole.events == cut.events && whole.hash == cut.hash);
        np_require(whole.events == bytes.events && whole.hash == bytes.hash);
    }
    return 0;
}
