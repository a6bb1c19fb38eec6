/* Money: whole nano-dollars in int64_t (suffix _nusd), never floats. Prices are nano-dollars per
 * 1,000 tokens, which is USD per million tokens times 10^6. One rounding up per attempt, of the
 * exact sum. */
#ifndef NP_MODEL_MONEY_H
#define NP_MODEL_MONEY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "model/usage.h"

#include <stdint.h>

#define NP_NUSD_PER_USD INT64_C(1000000000)
/* The largest amount that is taken anywhere: 2^53 nano-dollars, about 9,007,199 USD. */
#define NP_NUSD_MAX (INT64_C(1) << 53)
#define NP_MONEY_TEXT 24

/* What a model costs. Zero where it costs nothing. cached_input, cache_write, cache_write_1h and
 * reasoning default to input and output when the operator did not give them: the loader does that. */
struct np_rates {
    int64_t input, cached_input, cache_write, cache_write_1h, output, reasoning; /* nusd / 1,000 */
};

struct np_price {
    struct np_rates base;
    struct np_rates above; /* for the whole request once its prompt is longer than above_tokens */
    int64_t above_tokens;  /* 0: no such tier */
    int64_t per_request_nusd; /* added once an attempt */
    bool priced;              /* false: the operator gave no price; costs count as 0, unpriced */
};

/* A decimal ("0.02", "50", "1e-3") times 10^scale as a whole number: NP_E_SYNTAX when it is no
 * decimal, NP_E_INVALID when digits would be lost, NP_E_RANGE when it is negative or over
 * NP_NUSD_MAX. */
enum np_err np_money_parse(struct np_span decimal, unsigned scale, int64_t *out) NP_MUST_CHECK;
/* The same for a double that stands for a decimal the operator wrote: its shortest text that reads
 * back the same is parsed. */
enum np_err np_money_from_double(double value, unsigned scale, int64_t *out) NP_MUST_CHECK;
/* Dollars with up to 9 decimals, trailing zeros cut ("0.000478", "5", "-0.5"); returns its length. */
size_t np_money_format(int64_t nusd, char out[NP_MONEY_TEXT]);
void np_money_put(struct np_buf *b, int64_t nusd);
/* For columns: always 9 decimals, 18 wide. */
void np_money_put_column(struct np_buf *b, int64_t nusd);

/* What usage costs; NP_E_RANGE on overflow. u must be possible (np_usage_possible). */
enum np_err np_price_cost(const struct np_price *p, const struct np_usage *u,
                          int64_t *out_nusd) NP_MUST_CHECK;
/* The most that a call with at most these tokens can cost: the dearest of input, cached and written
 * for each prompt token, the dearer of output and reasoning for each completion token, in whichever
 * tier is dearer. NP_E_RANGE on overflow. */
enum np_err np_price_worst(const struct np_price *p, int64_t prompt_tokens,
                           int64_t completion_tokens, int64_t *out_nusd) NP_MUST_CHECK;
/* How many completion tokens fit into budget_nusd beside prompt_tokens at worst; -1 when not even
 * none does, INT64_MAX when completion is free. */
int64_t np_price_fit(const struct np_price *p, int64_t prompt_tokens, int64_t budget_nusd);

#endif
