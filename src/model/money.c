/* Money as text, and what tokens cost. Sums are exact in 128 bits and rounded up once. */
#include "model/money.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"

__extension__ typedef __int128 wide;

enum np_err np_money_parse(struct np_span decimal, unsigned scale, int64_t *out)
{
    int64_t v;
    enum np_err err = np_decimal_scaled(decimal, scale, &v);
    if (err)
        return err;
    if (v < 0 || v > NP_NUSD_MAX)
        return NP_E_RANGE;
    *out = v;
    return NP_OK;
}

enum np_err np_money_from_double(double value, unsigned scale, int64_t *out)
{
    if (isnan(value))
        return NP_E_SYNTAX;
    if (isinf(value))
        return NP_E_RANGE;
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (!(back < value) && !(back > value))
            break;
    }
    return np_money_parse(np_span_of(text), scale, out);
}

size_t np_money_format(int64_t nusd, char out[NP_MONEY_TEXT])
{
    size_t n = (size_t)(np_decimal_put_nano(out, nusd) - out);
    out[n] = '\0';
    return n;
}

void np_money_put(struct np_buf *b, int64_t nusd)
{
    char text[NP_DECIMAL_BYTES];
    np_buf_put(b, text, (size_t)(np_decimal_put_nano(text, nusd) - text));
}

void np_money_put_column(struct np_buf *b, int64_t nusd)
{
    uint64_t n = nusd < 0 ? 0 - (uint64_t)nusd : (uint64_t)nusd;
    char text[32];
    (void)snprintf(text, sizeof text, "%s%" PRIu64 ".%09" PRIu64, nusd < 0 ? "-" : "",
                   n / (uint64_t)NP_NUSD_PER_USD, n % (uint64_t)NP_NUSD_PER_USD);
    (void)np_buf_printf(b, "%18s", text);
}

/* From thousandths of nano-dollars, rounded up, with the price of the call itself. */
static enum np_err total(wide thousandths, int64_t per_request_nusd, int64_t *out)
{
    wide sum = (thousandths + 999) / 1000 + per_request_nusd;
    if (sum > NP_NUSD_MAX)
        return NP_E_RANGE;
    *out = (int64_t)sum;
    return NP_OK;
}

enum np_err np_price_cost(const struct np_price *p, const struct np_usage *u, int64_t *out_nusd)
{
    np_require(np_usage_possible(u));
    *out_nusd = 0;
    if (!p->priced)
        return NP_OK;
    const struct np_rates *r =
        p->above_tokens > 0 && u->prompt > p->above_tokens ? &p->above : &p->base;
    int64_t plain = u->prompt - u->cached - u->cache_write - u->cache_write_1h;
    wide sum = (wide)plain * r->input + (wide)u->cached * r->cached_input +
               (wide)u->cache_write * r->cache_write + (wide)u->cache_write_1h * r->cache_write_1h +
               (wide)(u->completion - u->reasoning) * r->output + (wide)u->reasoning * r->reasoning;
    return total(sum, p->per_request_nusd, out_nusd);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t dearest_input(const struct np_rates *r)
{
    return larger(larger(r->input, r->cached_input), larger(r->cache_write, r->cache_write_1h));
}

static int64_t dearest_output(const struct np_rates *r)
{
    return larger(r->output, r->reasoning);
}

/* A prompt of at most this length may yet turn out shorter: the base tier is always possible. */
static bool may_be_above(const struct np_price *p, int64_t prompt_tokens)
{
    return p->above_tokens > 0 && prompt_tokens > p->above_tokens;
}

enum np_err np_price_worst(const struct np_price *p, int64_t prompt_tokens,
                           int64_t completion_tokens, int64_t *out_nusd)
{
    np_require(prompt_tokens >= 0 && completion_tokens >= 0);
    *out_nusd = 0;
    if (!p->priced)
        return NP_OK;
    wide sum = (wide)prompt_tokens * dearest_input(&p->base) +
               (wide)completion_tokens * dearest_output(&p->base);
    if (may_be_above(p, prompt_tokens)) {
        wide above = (wide)prompt_tokens * dearest_input(&p->above) +
                     (wide)completion_tokens * dearest_output(&p->above);
        sum = above > sum ? above : sum;
    }
    return total(sum, p->per_request_nusd, out_nusd);
}

/* How many completion tokens this much pays for; thousandths of nano-dollars. */
static int64_t fit(const struct np_rates *r, int64_t prompt_tokens, wide thousandths)
{
    wide left = thousandths - (wide)prompt_tokens * dearest_input(r);
    if (left < 0)
        return -1;
    int64_t rate = dearest_output(r);
    if (rate == 0 || left / rate > INT64_MAX)
        return INT64_MAX;
    return (int64_t)(left / rate);
}

int64_t np_price_fit(const struct np_price *p, int64_t prompt_tokens, int64_t budget_nusd)
{
    np_require(prompt_tokens >= 0);
    if (!p->priced)
        return INT64_MAX;
    wide thousandths = ((wide)budget_nusd - p->per_request_nusd) * 1000;
    if (thousandths < 0)
        return -1;
    int64_t n = fit(&p->base, prompt_tokens, thousandths);
    if (may_be_above(p, prompt_tokens)) {
        int64_t above = fit(&p->above, prompt_tokens, thousandths);
        n = above < n ? above : n;
    }
    return n;
}
