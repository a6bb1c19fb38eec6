/* Money: texts become whole nano-dollars or are refused, and what is written reads back as the same;
 * prices never give less than nothing, and never more than the worst. */
#include "fuzz/fuzz.h"

#include "model/money.h"

#include <math.h>
#include <stdlib.h>

FUZZ_SEEDS(SEED("0.000478"), SEED("50"), SEED("1e-9"), SEED("-0.5"), SEED("9007199.254740992"),
           SEED("1e308"), SEED("00.10"), SEED("+1"), SEED("."), SEED("0x10"),
           SEED("12345678901234567890"), SEED("0.0000000001"), SEED("1E+2"));

static void read_back(int64_t nusd)
{
    char text[NP_MONEY_TEXT];
    int64_t again;
    size_t n = np_money_format(nusd, text);
    np_require(n > 0 && n < sizeof text);
    if (nusd >= 0 && nusd <= NP_NUSD_MAX) {
        np_require(np_money_parse(np_span_make(text, n), 9, &again) == NP_OK);
        np_require(again == nusd);
    }
}

static int64_t number(struct np_span *in)
{
    uint64_t v = 0;
    unsigned bytes = fuzz_byte(in) % 9;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | fuzz_byte(in);
    return (int64_t)(v & INT64_MAX);
}

static int64_t rate(struct np_span *in)
{
    return number(in) % (NP_NUSD_MAX + 1);
}

__extension__ typedef unsigned __int128 wide;

/* Each token once, at the price of its kind; rounded up once. */
static int64_t by_hand(const struct np_price *p, const struct np_usage *u)
{
    const struct np_rates *r =
        p->above_tokens > 0 && u->prompt > p->above_tokens ? &p->above : &p->base;
    int64_t kinds[][2] = {{u->cached, r->cached_input},
                          {u->cache_write, r->cache_write},
                          {u->cache_write_1h, r->cache_write_1h},
                          {u->reasoning, r->reasoning},
                          {u->prompt, r->input},
                          {u->completion, r->output}};
    kinds[4][0] -= kinds[0][0] + kinds[1][0] + kinds[2][0];
    kinds[5][0] -= kinds[3][0];
    wide sum = 999;
    for (size_t i = 0; i < 6; i++)
        sum += (wide)kinds[i][0] * (uint64_t)kinds[i][1];
    return (int64_t)(sum / 1000) + p->per_request_nusd;
}

static void prices(struct np_span in)
{
    struct np_price p = {
        .priced = true, .per_request_nusd = rate(&in), .above_tokens = number(&in)};
    int64_t *base = &p.base.input, *above = &p.above.input;
    for (unsigned i = 0; i < sizeof p.base / sizeof *base; i++) {
        base[i] = rate(&in);
        above[i] = rate(&in);
    }
    struct np_usage u = {.prompt = number(&in), .completion = number(&in)};
    u.cached = u.prompt ? number(&in) % u.prompt : 0;
    u.cache_write = u.prompt > u.cached ? number(&in) % (u.prompt - u.cached) : 0;
    int64_t rest = u.prompt - u.cached - u.cache_write;
    u.cache_write_1h = rest ? number(&in) % rest : 0;
    u.reasoning = u.completion ? number(&in) % u.completion : 0;
    if (!np_usage_possible(&u))
        return;
    int64_t cost, worst;
    enum np_err err = np_price_cost(&p, &u, &cost);
    np_require(err == NP_OK || err == NP_E_RANGE);
    np_require(err || (cost >= 0 && cost == by_hand(&p, &u)));
    if (!err && np_price_worst(&p, u.prompt, u.completion, &worst) == NP_OK)
        np_require(cost <= worst);
    int64_t fits = np_price_fit(&p, u.prompt, number(&in) % (NP_NUSD_MAX + 1));
    np_require(fits >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span text = np_span_make((const char *)data, n);
    int64_t nusd;
    for (unsigned scale = 0; scale <= 9; scale += 3) {
        if (np_money_parse(text, scale, &nusd) == NP_OK)
            read_back(nusd);
    }
    double d;
    if (n >= sizeof d) {
        memcpy(&d, data, sizeof d);
        if (np_money_from_double(d, 9, &nusd) == NP_OK) {
            np_require(isfinite(d));
            read_back(nusd);
        }
    }
    int64_t raw = 0;
    memcpy(&raw, data, n < sizeof raw ? n : sizeof raw);
    read_back(raw);
    prices(text);
    return 0;
}
