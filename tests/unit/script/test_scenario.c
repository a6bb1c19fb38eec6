/* Scenarios of the imitation providers: what a file may say, chance that repeats, overrides. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script/scenario.h"
#include "support/fail_alloc.h"

static char path[64];
static struct np_buf why;
static struct np_scenario *s;
static struct np_imitation_answer a;

static void set_up(void)
{
    snprintf(path, sizeof path, "/tmp/neap-scenario-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    np_buf_init(&why, 8192);
}

static void tear_down(void)
{
    np_scenario_free(s);
    s = NULL;
    np_buf_free(&why);
    unlink(path);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void open_seeded(const char *text, uint64_t seed)
{
    np_scenario_free(s);
    write_file(text);
    np_buf_reset(&why);
    s = np_scenario_new(path, seed, &why);
    ck_assert_msg(s, "%.*s", (int)why.n, why.p);
}

static void open_text(const char *text)
{
    open_seeded(text, 1);
}

static struct np_imitation_call call_of(const char *model, uint64_t number)
{
    return (struct np_imitation_call){.provider = NP_SPAN("openai"),
                                      .model = np_span_of(model),
                                      .number = number,
                                      .prompt_tokens = 12,
                                      .max_tokens = 100,
                                      .prompt = NP_SPAN("\"Where is \\u00e9?\"")};
}

static void ask(const char *model, uint64_t number)
{
    struct np_imitation_call c = call_of(model, number);
    memset(&a, 0xaa, sizeof a);
    ck_assert_int_eq(np_scenario_ask(s, &c, &a), NP_OK);
}

static void override(const char *json)
{
    np_buf_reset(&why);
    enum np_err err = np_scenario_override(s, np_span_of(json), &why);
    ck_assert_msg(err == NP_OK, "%.*s", (int)why.n, why.p);
}

/* ------------------------------------------------------------------------------------- answers */

START_TEST(the_built_in_scenario_says_who_spoke_and_what_was_asked)
{
    s = np_scenario_new(NULL, 1, &why);
    ck_assert_ptr_nonnull(s);
    ask("gpt-4.1-2025-04-14", 1);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.text, "gpt-4.1-2025-04-14"));
    ck_assert_ptr_nonnull(strstr(a.text, "imitation"));
    ck_assert_ptr_nonnull(strstr(a.text, "Where is \xc3\xa9?"));
    ck_assert_int_eq(a.retry_after_s, -1);
    ck_assert_int_eq(a.stall_at, -1);
    ck_assert_int_eq(a.reset_at, -1);
    ck_assert_int_eq(a.fin_at, -1);
    ck_assert(!a.usage_given && !a.raw_given && !a.malformed && !a.empty && !a.no_usage);
}
END_TEST

static int by_value(const void *p, const void *q)
{
    int64_t x = *(const int64_t *)p, y = *(const int64_t *)q;
    return (x > y) - (x < y);
}

static int64_t median_total(const char *model)
{
    enum { N = 301 };
    int64_t ms[N];
    for (uint64_t i = 0; i < N; i++) {
        ask(model, i + 1);
        ck_assert_int_ge(a.first_ms, 0);
        ck_assert_int_ge(a.total_ms, a.first_ms);
        ms[i] = a.total_ms;
    }
    qsort(ms, N, sizeof ms[0], by_value);
    return ms[N / 2];
}

START_TEST(premium_models_of_the_built_in_scenario_are_slower_than_economical_ones)
{
    s = np_scenario_new(NULL, 1, &why);
    ck_assert_ptr_nonnull(s);
    int64_t premium = median_total("gpt-4.1"), economical = median_total("claude-haiku-4-5");
    ck_assert_int_ge(premium, 300);
    ck_assert_int_le(premium, 900);
    ck_assert_int_ge(economical, 150);
    ck_assert_int_le(economical, 300);
}
END_TEST

START_TEST(every_key_of_an_answer_is_taken)
{
    open_text(
        "return { models = { m = { status = 418, text = 'x', retry_after_s = 3, first_ms = 4,\n"
        "total_ms = 5, stall_at = 6, reset_at = 7, fin_at = 8, malformed = true, empty = true,\n"
        "no_usage = true, byte_by_byte = true, usage = { prompt = -1, completion = 1.5,\n"
        "cached = 1e12 }, finish = 'odd', content_type = 'text/x', content_encoding = 'gzip',\n"
        "usd_per_million = { input = 1.7, output = 8.3 }, usd_per_request = 0.000000005,\n"
        "raw = 'a\\0b', error = { type = 't', code = 'c', message = 'm' } } } }");
    ask("m", 1);
    ck_assert_uint_eq(a.status, 418);
    ck_assert_str_eq(a.text, "x");
    ck_assert_int_eq(a.retry_after_s, 3);
    ck_assert_int_eq(a.first_ms, 4);
    ck_assert_int_eq(a.total_ms, 5);
    ck_assert_int_eq(a.stall_at, 6);
    ck_assert_int_eq(a.reset_at, 7);
    ck_assert_int_eq(a.fin_at, 8);
    ck_assert(a.malformed && a.empty && a.no_usage && a.byte_by_byte && a.usage_given);
    ck_assert_int_eq(a.nusd_prompt, 1700000);
    ck_assert_int_eq(a.nusd_completion, 8300000);
    ck_assert_int_eq(a.nusd_call, 5);
    ck_assert_double_eq(a.usage_prompt, -1);
    ck_assert_double_eq(a.usage_completion, 1.5);
    ck_assert_double_eq(a.usage_cached, 1e12);
    ck_assert_str_eq(a.finish, "odd");
    ck_assert_str_eq(a.content_type, "text/x");
    ck_assert_str_eq(a.content_encoding, "gzip");
    ck_assert(a.raw_given);
    ck_assert_uint_eq(a.raw_bytes, 3);
    ck_assert(memcmp(a.raw, "a\0b", 3) == 0);
    ck_assert_str_eq(a.error_type, "t");
    ck_assert_str_eq(a.error_code, "c");
    ck_assert_str_eq(a.error_message, "m");
}
END_TEST

START_TEST(a_list_is_taken_in_turn_and_its_last_repeats)
{
    open_text(
        "return { models = { m = { { status = 429 }, { status = 503 }, { text = 'ok' } } } }");
    static const unsigned want[] = {429, 503, 200, 200};
    for (uint64_t i = 0; i < 4; i++) {
        ask("m", i + 1);
        ck_assert_uint_eq(a.status, want[i]);
    }
    ck_assert_str_eq(a.text, "ok");
}
END_TEST

START_TEST(errors_have_the_words_of_their_status)
{
    open_text(
        "return { models = { m = { status = 429 }, n = { status = 529, error = { message = 'full' } } } }");
    ask("m", 1);
    ck_assert_str_eq(a.error_type, "rate_limit_error");
    ck_assert_str_eq(a.error_code, "rate_limit_exceeded");
    ask("n", 1);
    ck_assert_str_eq(a.error_type, "overloaded_error");
    ck_assert_str_eq(a.error_message, "full");
}
END_TEST

START_TEST(a_function_sees_the_call)
{
    open_text(
        "return { models = { ['*'] = function(call)\n"
        "return { text = table.concat({ call.provider, call.model, call.number, call.prompt_tokens,\n"
        "call.max_tokens, tostring(call.stream), call.now_ms, call.prompt }, ' ') } end } }");
    ask("m", 3);
    ck_assert_str_eq(a.text, "openai m 3 12 100 false 0 Where is \xc3\xa9?");
}
END_TEST

START_TEST(what_is_wrong_in_a_function_is_the_answer)
{
    open_text(
        "return { models = { m = function(call)\n return { stauts = 3 } end,\n"
        "n = function() local x = nil; return x.y end, o = function() while true do end end,\n"
        "p = function() return 7 end, q = function() return function() end end } }");
    static const char *const rows[][2] = {
        {"m", "stauts is no field here (did you mean \"status\"?)"},
        {"n", "attempt to index a nil value"},
        {"o", "it took more steps than a hook may"},
        {"p", "must be a table, got 7"},
        {"q", "returns a table, not a function"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(rows[i][0], 1);
        ck_assert_uint_eq(a.status, 500);
        ck_assert_str_eq(a.error_type, "scenario_failed");
        ck_assert_msg(strstr(a.error_message, rows[i][1]), "%s", a.error_message);
    }
}
END_TEST

START_TEST(a_model_is_found_by_name_then_without_its_date_then_by_provider_then_by_star)
{
    open_text(
        "return { models = { ['gpt-4.1'] = { text = 'dateless' }, ['gpt-4.1-2025-04-14'] = { text = 'exact' },\n"
        "['openai/*'] = { text = 'provider' } } }");
    static const char *const rows[][2] = {{"gpt-4.1-2025-04-14", "exact"},
                                          {"gpt-4.1-2025-05-15", "dateless"},
                                          {"gpt-4.1-20250515", "dateless"},
                                          {"gpt-4.1-mini", "provider"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(rows[i][0], 1);
        ck_assert_str_eq(a.text, rows[i][1]);
    }
    struct np_imitation_call c = call_of("gpt-4.1-mini", 1);
    c.provider = NP_SPAN("anthropic");
    ck_assert_int_eq(np_scenario_ask(s, &c, &a), NP_OK);
    ck_assert_uint_eq(a.status, 404);
}
END_TEST

/* -------------------------------------------------------------------------------------- chance */

#define CHANCY                                                                          \
    "return { models = { ['*'] = { first_ms = { p50 = 100, p95 = 300 },\n"              \
    " total_ms = { p50 = 400, p95 = 1000 }, faults = { { rate = 0.1, status = 503 },\n" \
    " { rate = 0.05, status = 429, retry_after_s = 1, burst = 3 } } } } }"

struct seen {
    unsigned status;
    int64_t first_ms, total_ms;
};

static void look(const char *model, uint64_t number, struct seen *out)
{
    ask(model, number);
    *out = (struct seen){a.status, a.first_ms, a.total_ms};
}

START_TEST(the_same_seed_gives_the_same_answers_whatever_else_is_asked)
{
    enum { N = 200 };
    struct seen first[N], again;
    open_seeded(CHANCY, 7);
    for (uint64_t i = 0; i < N; i++)
        look("m", i + 1, &first[i]);
    open_seeded(CHANCY, 7);
    for (uint64_t i = N; i-- > 0;) {
        ask("another", i + 1);
        look("m", i + 1, &again);
        ck_assert_uint_eq(again.status, first[i].status);
        ck_assert_int_eq(again.first_ms, first[i].first_ms);
        ck_assert_int_eq(again.total_ms, first[i].total_ms);
    }
    size_t same = 0;
    open_seeded(CHANCY, 8);
    for (uint64_t i = 0; i < N; i++) {
        look("m", i + 1, &again);
        same += again.total_ms == first[i].total_ms;
    }
    ck_assert_uint_lt(same, N / 4);
}
END_TEST

START_TEST(the_seed_of_the_file_counts_too)
{
    struct seen one, two;
    open_text("return { seed = 1, models = { m = { total_ms = { p50 = 1000, p95 = 9000 } } } }");
    look("m", 1, &one);
    open_text("return { seed = 2, models = { m = { total_ms = { p50 = 1000, p95 = 9000 } } } }");
    look("m", 1, &two);
    ck_assert_int_ne(one.total_ms, two.total_ms);
}
END_TEST

START_TEST(latencies_have_the_median_and_the_percentile_that_were_asked_for)
{
    enum { N = 2000 };
    static int64_t ms[N];
    open_text("return { models = { m = { total_ms = { p50 = 400, p95 = 1000 } } } }");
    for (uint64_t i = 0; i < N; i++) {
        ask("m", i + 1);
        ms[i] = a.total_ms;
    }
    qsort(ms, N, sizeof ms[0], by_value);
    ck_assert_int_ge(ms[N / 2], 370);
    ck_assert_int_le(ms[N / 2], 430);
    ck_assert_int_ge(ms[N * 95 / 100], 900);
    ck_assert_int_le(ms[N * 95 / 100], 1100);
}
END_TEST

START_TEST(faults_come_at_their_rate_and_in_bursts)
{
    enum { N = 4000 };
    static unsigned status[N + 1];
    size_t n503 = 0, alone = 0, n429 = 0;
    open_text(CHANCY);
    for (uint64_t i = 0; i < N; i++) {
        ask("m", i + 1);
        status[i] = a.status;
        n503 += a.status == 503;
        n429 += a.status == 429;
        if (a.status == 429)
            ck_assert_int_eq(a.retry_after_s, 1);
    }
    ck_assert_uint_ge(n503, N * 8 / 100);
    ck_assert_uint_le(n503, N * 12 / 100);
    ck_assert_uint_ge(n429, N * 9 / 100); /* 5 % begin, three calls each, some hidden by 503 */
    ck_assert_uint_le(n429, N * 16 / 100);
    for (size_t i = 1; i + 1 < N; i++)
        alone += status[i] == 429 && status[i - 1] == 200 && status[i + 1] == 200;
    ck_assert_uint_eq(alone, 0);
}
END_TEST

START_TEST(a_function_has_chance_that_repeats)
{
    const char *text =
        "return { models = { m = function(call) return { text = call.random() .. ' ' .. "
        "call.random() } end } }";
    char first[NP_IMITATION_TEXT];
    open_text(text);
    ask("m", 1);
    snprintf(first, sizeof first, "%s", a.text);
    ask("m", 2);
    ck_assert_str_ne(a.text, first);
    ask("m", 1);
    ck_assert_str_eq(a.text, first);
    ck_assert_int_ne(strncmp(a.text, strchr(a.text, ' ') + 1, 8), 0);
}
END_TEST

/* ----------------------------------------------------------------------------------- overrides */

START_TEST(overrides_go_before_the_scenario_until_they_are_replaced)
{
    open_text("return { models = { ['gpt-4.1'] = { text = 'one' }, ['*'] = { text = 'star' } } }");
    override("{\"models\":{\"gpt-4.1\":{\"status\":503},\"*\":{\"text\":\"over\"}}}");
    ask("gpt-4.1-2025-04-14", 1);
    ck_assert_uint_eq(a.status, 503);
    ask("other", 1);
    ck_assert_str_eq(a.text, "over");
    override("{\"models\":{\"other\":{\"status\":500}}}");
    ask("gpt-4.1", 2);
    ck_assert_str_eq(a.text, "one");
    ask("other", 2);
    ck_assert_uint_eq(a.status, 500);
    override("{\"models\":{}}");
    ask("other", 3);
    ck_assert_str_eq(a.text, "star");
}
END_TEST

START_TEST(a_list_of_an_override_begins_with_its_first_call)
{
    open_text("return { models = { ['*'] = { text = 'star' } } }");
    override(
        "{\"models\":{\"*\":[{\"status\":429,\"retry_after_s\":2},{\"status\":200,\"text\":\"then\"}]}}");
    ask("m", 41);
    ck_assert_uint_eq(a.status, 429);
    ck_assert_int_eq(a.retry_after_s, 2);
    ask("n", 7);
    ck_assert_uint_eq(a.status, 429);
    ask("m", 42);
    ck_assert_str_eq(a.text, "then");
    ask("m", 43);
    ck_assert_str_eq(a.text, "then");
}
END_TEST

START_TEST(overrides_that_can_not_be_leave_the_old_ones)
{
    static const char *const rows[][2] = {
        {"{", "line 1, column 2"},
        {"[]", "needs the field models"},
        {"7", "must be a table, got 7"},
        {"{\"models\":{\"m\":{\"stauts\":3}}}",
         "models.m.stauts is no field here (did you mean \"status\"?)"},
        {"{\"models\":{\"m\":{\"status\":3}}}",
         "models.m.status must be a whole number from 100 to 599, got 3"},
        {"{\"models\":{\"m\":\"x\"}}", "models.m must be a table, got \"x\""},
        {"{\"modells\":{}}", "did you mean \"models\"?"},
    };
    open_text("return { models = { ['*'] = { text = 'star' } } }");
    override("{\"models\":{\"*\":{\"text\":\"over\"}}}");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        np_buf_reset(&why);
        ck_assert_int_eq(np_scenario_override(s, np_span_of(rows[i][0]), &why), NP_E_INVALID);
        np_buf_char(&why, '\0');
        ck_assert_msg(strstr(why.p, rows[i][1]), "%s: %s", rows[i][0], why.p);
        ask("m", 1);
        ck_assert_str_eq(a.text, "over");
    }
}
END_TEST

/* --------------------------------------------------------------------------------- what is wrong */

START_TEST(a_scenario_that_can_not_be_says_where)
{
    static const char *const rows[][2] = {
        {"return {", ":1: "},
        {"return 7", ": must be a table, got 7"},
        {"return {}", ":1:8: needs the field models"},
        {"return { models = {\n  m = { sttus = 4 } } }",
         ":2:9: models.m.sttus is no field here (did you mean \"status\"?)"},
        {"return { models = { m = { first_ms = { p50 = 9, p95 = 3 } } } }", "needs 0 < p50 <= p95"},
        {"return { models = { m = { faults = { { rate = 2 } } } } }",
         ":1:40: models.m.faults[1].rate must be a number from 0 to 1, got 2"},
        {"error 'no'", ":1: no"},
        {"while true do end", "more steps"},
        {"return os.exit()", "nil value (global 'os')"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file(rows[i][0]);
        np_buf_reset(&why);
        ck_assert_ptr_null(np_scenario_new(path, 1, &why));
        np_buf_char(&why, '\0');
        ck_assert_msg(strstr(why.p, rows[i][1]), "%s: %s", rows[i][0], why.p);
    }
    unlink(path);
    np_buf_reset(&why);
    ck_assert_ptr_null(np_scenario_new(path, 1, &why));
    np_buf_char(&why, '\0');
    ck_assert_ptr_nonnull(strstr(why.p, "No such file"));
}
END_TEST

START_TEST(whichever_allocation_fails_there_is_no_scenario_and_nothing_is_left)
{
    write_file(CHANCY);
    bool good = false;
    for (size_t n = 0; !good; n += 1 + n / 40) {
        struct np_imitation_call c = call_of("m", 1);
        np_buf_reset(&why);
        np_fail_from(n);
        s = np_scenario_new(path, 1, &why);
        enum np_err err = s ? np_scenario_ask(s, &c, &a) : NP_E_NOMEM;
        if (s && !err)
            err = np_scenario_override(s, NP_SPAN("{\"models\":{\"m\":{\"status\":503}}}"), &why);
        np_fail_never();
        good = !np_fail_happened();
        ck_assert(err == NP_OK || err == NP_E_NOMEM);
        ck_assert(!good || err == NP_OK);
        np_scenario_free(s);
        s = NULL;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script/scenario");
    TCase *c = tcase_create("scenario");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, the_built_in_scenario_says_who_spoke_and_what_was_asked);
    tcase_add_test(c, premium_models_of_the_built_in_scenario_are_slower_than_economical_ones);
    tcase_add_test(c, every_key_of_an_answer_is_taken);
    tcase_add_test(c, a_list_is_taken_in_turn_and_its_last_repeats);
    tcase_add_test(c, errors_have_the_words_of_their_status);
    tcase_add_test(c, a_function_sees_the_call);
    tcase_add_test(c, what_is_wrong_in_a_function_is_the_answer);
    tcase_add_test(c, a_model_is_found_by_name_then_without_its_date_then_by_provider_then_by_star);
    tcase_add_test(c, the_same_seed_gives_the_same_answers_whatever_else_is_asked);
    tcase_add_test(c, the_seed_of_the_file_counts_too);
    tcase_add_test(c, latencies_have_the_median_and_the_percentile_that_were_asked_for);
    tcase_add_test(c, faults_come_at_their_rate_and_in_bursts);
    tcase_add_test(c, a_function_has_chance_that_repeats);
    tcase_add_test(c, overrides_go_before_the_scenario_until_they_are_replaced);
    tcase_add_test(c, a_list_of_an_override_begins_with_its_first_call);
    tcase_add_test(c, overrides_that_can_not_be_leave_the_old_ones);
    tcase_add_test(c, a_scenario_that_can_not_be_says_where);
    tcase_add_test(c, whichever_allocation_fails_there_is_no_scenario_and_nothing_is_left);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
