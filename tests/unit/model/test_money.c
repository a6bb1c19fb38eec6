/* Money: texts, costs, worst costs, what fits. */
#include "model/money.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static const struct {
    const char *text;
    unsigned scale;
    enum np_err err;
    int64_t value;
} decimals[] = {
    {"0.02", 9, NP_OK, 20000000},
    {"50", 9, NP_OK, 50 * NP_NUSD_PER_USD},
    {"1e-3", 9, NP_OK, 1000000},
    {"0.000000001", 9, NP_OK, 1},
    {"0.0000000010", 9, NP_OK, 1},
    {"2.00", 6, NP_OK, 2000000},
    {"0", 9, NP_OK, 0},
    {"-0", 9, NP_OK, 0},
    {"9007199.254740992", 9, NP_OK, NP_NUSD_MAX},
    {"9007199.254740993", 9, NP_E_RANGE, 0},
    {"1e300", 9, NP_E_RANGE, 0},
    {"-0.01", 9, NP_E_RANGE, 0},
    {"0.0000000001", 9, NP_E_INVALID, 0},
    {"0.33333333333333333333333333", 9, NP_E_INVALID, 0},
    {"", 9, NP_E_SYNTAX, 0},
    {"-", 9, NP_E_SYNTAX, 0},
    {".5", 9, NP_E_SYNTAX, 0},
    {"5.", 9, NP_E_SYNTAX, 0},
    {"5.e1", 9, NP_E_SYNTAX, 0},
    {"+5", 9, NP_E_SYNTAX, 0},
    {"5e", 9, NP_E_SYNTAX, 0},
    {"5e+", 9, NP_E_SYNTAX, 0},
    {"1,5", 9, NP_E_SYNTAX, 0},
    {"1.2.3", 9, NP_E_SYNTAX, 0},
    {"0x10", 9, NP_E_SYNTAX, 0},
    {" 5", 9, NP_E_SYNTAX, 0},
    {"inf", 9, NP_E_SYNTAX, 0},
};

START_TEST(decimals_become_whole_numbers_without_loss_or_not_at_all)
{
    int64_t v = 77;
    enum np_err err = np_money_parse(np_span_of(decimals[_i].text), decimals[_i].scale, &v);
    ck_assert_msg(err == decimals[_i].err, "%s: %s", decimals[_i].text, np_err_text(err));
    ck_assert_msg(v == (err ? 77 : decimals[_i].value), "%s: %lld", decimals[_i].text,
                  (long long)v);
}
END_TEST

START_TEST(a_double_stands_for_the_decimal_that_was_written)
{
    int64_t v;
    ck_assert(!np_money_from_double(0.1, 9, &v));
    ck_assert_int_eq(v, 100000000);
    ck_assert(!np_money_from_double(0.3, 6, &v));
    ck_assert_int_eq(v, 300000);
    ck_assert(!np_money_from_double(3.75, 6, &v));
    ck_assert_int_eq(v, 3750000);
    ck_assert(!np_money_from_double(4503599.627370496, 9, &v));
    ck_assert_int_eq(v, INT64_C(4503599627370496));
    ck_assert(!np_money_from_double(1e-9, 9, &v));
    ck_assert_int_eq(v, 1);
    ck_assert_int_eq(np_money_from_double(1.0 / 3, 9, &v), NP_E_INVALID);
    ck_assert_int_eq(np_money_from_double(-1, 9, &v), NP_E_RANGE);
    ck_assert_int_eq(np_money_from_double(INFINITY, 9, &v), NP_E_RANGE);
    ck_assert_int_eq(np_money_from_double(NAN, 9, &v), NP_E_SYNTAX);
}
END_TEST

static const struct {
    int64_t nusd;
    const char *text;
} amounts[] = {
    {0, "0"},
    {1, "0.000000001"},
    {-1, "-0.000000001"},
    {478000, "0.000478"},
    {500000000, "0.5"},
    {-500000000, "-0.5"},
    {5 * NP_NUSD_PER_USD, "5"},
    {10 * NP_NUSD_PER_USD, "10"},
    {NP_NUSD_MAX, "9007199.254740992"},
    {INT64_MAX, "9223372036.854775807"},
    {INT64_MIN, "-9223372036.854775808"},
};

START_TEST(amounts_are_printed_exactly_and_short)
{
    char text[NP_MONEY_TEXT];
    size_t n = np_money_format(amounts[_i].nusd, text);
    ck_assert_str_eq(text, amounts[_i].text);
    ck_assert_uint_eq(n, strlen(text));
    struct np_buf b;
    np_buf_init(&b, 64);
    np_money_put(&b, amounts[_i].nusd);
    ck_assert(np_span_is(np_buf_view(&b), amounts[_i].text));
    np_buf_free(&b);
}
END_TEST

START_TEST(printed_amounts_read_back_the_same)
{
    uint64_t v = 1;
    for (int i = 0; i < 2000; i++) {
        v = v * 6364136223846793005u + 1442695040888963407u;
        int64_t amount = (int64_t)(v >> 11 >> (i % 50));
        char text[NP_MONEY_TEXT];
        int64_t back;
        size_t n = np_money_format(amount, text);
        ck_assert(!np_money_parse(np_span_make(text, n), 9, &back));
        ck_assert_int_eq(back, amount);
    }
}
END_TEST

/* 3 USD input, 0.3 cached, 3.75 and 6 written, 15 output, 20 reasoning; twice that above 1,000. */
static const struct np_price price = {
    .base = {3000000, 300000, 3750000, 6000000, 15000000, 20000000},
    .above = {6000000, 600000, 7500000, 12000000, 30000000, 40000000},
    .above_tokens = 1000,
    .per_request_nusd = 7,
    .priced = true,
};

START_TEST(each_kind_of_token_has_its_price)
{
    static const struct {
        struct np_usage u;
        int64_t nusd;
    } rows[] = {
        {{0}, 7},
        {{.prompt = 100}, 300000 + 7},
        {{.prompt = 100, .cached = 100}, 30000 + 7},
        {{.prompt = 100, .cache_write = 100}, 375000 + 7},
        {{.prompt = 100, .cache_write_1h = 100}, 600000 + 7},
        {{.completion = 100}, 1500000 + 7},
        {{.completion = 100, .reasoning = 100}, 2000000 + 7},
        {{100, 100, 10, 20, 30, 40},
         (40 * 3000 + 10 * 300 + 20 * 3750 + 30 * 6000) + 60 * 15000 + 40 * 20000 + 7},
        {{.prompt = 1000}, 3000000 + 7},
        {{.prompt = 1001}, 6006000 + 7},
        {{.prompt = 1001, .completion = 1}, 6006000 + 30000 + 7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t cost;
        ck_assert(!np_price_cost(&price, &rows[i].u, &cost));
        ck_assert_msg(cost == rows[i].nusd, "row %zu: %lld", i, (long long)cost);
    }
}
END_TEST

START_TEST(the_sum_is_rounded_up_once)
{
    struct np_price p = {.base = {1, 1, 1, 1, 1, 1}, .priced = true};
    int64_t cost;
    ck_assert(!np_price_cost(&p, &(struct np_usage){.prompt = 1, .completion = 1}, &cost));
    ck_assert_int_eq(cost, 1);
    ck_assert(!np_price_cost(&p, &(struct np_usage){.prompt = 999, .completion = 1}, &cost));
    ck_assert_int_eq(cost, 1);
    ck_assert(!np_price_cost(&p, &(struct np_usage){.prompt = 1000, .completion = 1}, &cost));
    ck_assert_int_eq(cost, 2);
    ck_assert(!np_price_cost(&p, &(struct np_usage){0}, &cost));
    ck_assert_int_eq(cost, 0);
}
END_TEST

START_TEST(a_model_without_a_price_costs_nothing)
{
    struct np_price p = price;
    p.priced = false;
    int64_t cost = 77;
    ck_assert(!np_price_cost(&p, &(struct np_usage){.prompt = 5000}, &cost));
    ck_assert_int_eq(cost, 0);
    ck_assert(!np_price_worst(&p, 5000, 5000, &cost));
    ck_assert_int_eq(cost, 0);
    ck_assert_int_eq(np_price_fit(&p, 5000, 0), INT64_MAX);
}
END_TEST

START_TEST(what_is_too_much_is_out_of_range_and_does_not_wrap)
{
    struct np_price p = {.base = {NP_NUSD_MAX, 0, 0, 0, NP_NUSD_MAX, NP_NUSD_MAX}, .priced = true};
    int64_t cost;
    struct np_usage u = {.prompt = NP_USAGE_MAX, .completion = NP_USAGE_MAX};
    ck_assert_int_eq(np_price_cost(&p, &u, &cost), NP_E_RANGE);
    ck_assert_int_eq(np_price_worst(&p, INT64_MAX, INT64_MAX, &cost), NP_E_RANGE);
    ck_assert_int_eq(np_price_worst(&p, 1000, 0, &cost), NP_OK);
    ck_assert_int_eq(cost, NP_NUSD_MAX);
    ck_assert_int_eq(np_price_worst(&p, 1001, 0, &cost), NP_E_RANGE);
}
END_TEST

START_TEST(no_usage_within_the_bound_costs_more_than_the_worst)
{
    uint32_t seed = 3;
    for (int i = 0; i < 20000; i++) {
        struct np_usage u = {0};
        int64_t part[8], bound_prompt, bound_completion, cost, worst;
        for (int k = 0; k < 8; k++) {
            seed = seed * 1664525u + 1013904223u;
            part[k] = (seed >> 8) % (k == 7 ? 2000 : 500);
        }
        u.cached = part[0];
        u.cache_write = part[1];
        u.cache_write_1h = part[2];
        u.prompt = part[0] + part[1] + part[2] + part[3];
        u.reasoning = part[4];
        u.completion = part[4] + part[5];
        bound_prompt = u.prompt + part[6];
        bound_completion = u.completion + part[7];
        ck_assert(!np_price_cost(&price, &u, &cost));
        ck_assert(!np_price_worst(&price, bound_prompt, bound_completion, &worst));
        ck_assert_int_le(cost, worst);
    }
}
END_TEST

START_TEST(what_fits_is_the_most_whose_worst_cost_is_within_the_budget)
{
    for (int64_t prompt = 0; prompt < 1300; prompt += 97) {
        for (int64_t budget = 0; budget < 60000000; budget += 1234567) {
            int64_t n = np_price_fit(&price, prompt, budget), worst;
            if (n >= 0) {
                ck_assert(!np_price_worst(&price, prompt, n, &worst));
                ck_assert_int_le(worst, budget);
            }
            ck_assert(!np_price_worst(&price, prompt, n + 1, &worst));
            ck_assert_int_gt(worst, budget);
        }
    }
}
END_TEST

START_TEST(free_completions_always_fit_beside_a_prompt_that_does)
{
    struct np_price p = {.base = {.input = 1000000}, .priced = true};
    ck_assert_int_eq(np_price_fit(&p, 10, 10000), INT64_MAX);
    ck_assert_int_eq(np_price_fit(&p, 10, 9999), -1);
    ck_assert_int_eq(np_price_fit(&p, 0, 0), INT64_MAX);
    ck_assert_int_eq(np_price_fit(&p, 0, -1), -1);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
    Suite *s = suite_create("money");
    TCase *t = tcase_create("money");
    tcase_add_loop_test(t, decimals_become_whole_numbers_without_loss_or_not_at_all, 0,
                        COUNT(decimals));
    tcase_add_test(t, a_double_stands_for_the_decimal_that_was_written);
    tcase_add_loop_test(t, amounts_are_printed_exactly_and_short, 0, COUNT(amounts));
    tcase_add_test(t, printed_amounts_read_back_the_same);
    tcase_add_test(t, each_kind_of_token_has_its_price);
    tcase_add_test(t, the_sum_is_rounded_up_once);
    tcase_add_test(t, a_model_without_a_price_costs_nothing);
    tcase_add_test(t, what_is_too_much_is_out_of_range_and_does_not_wrap);
    tcase_add_test(t, no_usage_within_the_bound_costs_more_than_the_worst);
    tcase_add_test(t, what_fits_is_the_most_whose_worst_cost_is_within_the_budget);
    tcase_add_test(t, free_completions_always_fit_beside_a_prompt_that_does);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
