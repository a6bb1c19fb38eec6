/* The exchange's notes, and the texts that are made of it. */
#include "model/record.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "support/fail_alloc.h"

#define MS UINT64_C(1000000)

static struct np_provider openai = {.name = "openai"};
static struct np_model large = {.name = "gpt-4.1", .provider = &openai};
static struct np_model small = {.name = "gpt-4.1-mini", .provider = &openai};
static struct np_endpoint endpoint = {.path = "/api/assistant/reply"};
static struct np_tenant acme = {.name = "acme"};
static const struct np_budget budgets[] = {
    {NP_ACCOUNT_GLOBAL, "", NP_WINDOW_DAY, 1, false, false},
    {NP_ACCOUNT_EACH_TENANT, "", NP_WINDOW_DAY, 1, false, false},
    {NP_ACCOUNT_TENANT, "beta", NP_WINDOW_MONTH, 1, false, false},
    {NP_ACCOUNT_TENANT, "acme", NP_WINDOW_MONTH, 1, false, false},
    {NP_ACCOUNT_ENDPOINT, "/api/other/reply", NP_WINDOW_HOUR, 1, false, false},
    {NP_ACCOUNT_ENDPOINT, "/api/assistant/reply", NP_WINDOW_HOUR, 1, false, false},
    {NP_ACCOUNT_MODEL, "claude", NP_WINDOW_NONE, 1, false, false},
    {NP_ACCOUNT_MODEL, "gpt-4.1-mini", NP_WINDOW_NONE, 1, false, false},
    {NP_ACCOUNT_PROVIDER, "openai", NP_WINDOW_WEEK, 1, false, false},
};
static const struct np_catalog catalog = {.budgets = budgets, .n_budgets = 9};

static struct np_exchange *x;
static struct np_buf b;

static void parse(const char *body)
{
    struct np_refusal refusal;
    x->body = np_span_of(body);
    ck_assert(!np_request_parse(x->arena, x->body, &x->request, &refusal));
}

/* An exchange that met a 429, and was answered at the second attempt. */
static void setup(void)
{
    x = np_exchange_new(1 << 20);
    ck_assert(x && np_exchange_plan(x, 2));
    np_buf_init(&b, 1 << 16);
    x->id = "req_01jd";
    x->at_wall_ms = INT64_C(1795540844123);
    x->accept_ns = 1000 * MS;
    x->end_ns = 1911 * MS + 900000;
    x->upstream_ns = 911 * MS + 700000;
    x->endpoint = &endpoint;
    x->tenant = &acme;
    x->catalog = &catalog;
    x->policy = "3fa9c1e20b7d";
    parse("{\"prompt\":\"secret question\",\n\"context\":[{\"id\":\"kb-12\",\"text\":\"secret\"},"
          "{\"id\":\"kb-\\u0034\",\"text\":\"secret\"}]}");
    x->request.context[1].kept = false;
    x->plan[0] = (struct np_candidate){.model = &large};
    x->plan[1] = (struct np_candidate){.model = &small,
                                       .prompt_tokens = 800,
                                       .completion_max = 400,
                                       .estimated_nusd = 500000,
                                       .worst_nusd = 960000};
    x->n_plan = 2;
    x->at = 1;
    x->attempts = np_arena_array(x->arena, NP_MAX_ATTEMPTS, sizeof *x->attempts);
    ck_assert_ptr_nonnull(x->attempts);
    x->attempts[0] = (struct np_attempt){.number = 1,
                                         .model = &large,
                                         .class = NP_CLASS_rate_limited,
                                         .status = 429,
                                         .error = NP_SPAN("slow \"down\""),
                                         .start_ns = 1001 * MS,
                                         .end_ns = 1051 * MS,
                                         .retry_in_ms = 300,
                                         .after_notes = 2,
                                         .ended = true};
    x->attempts[1] = (struct np_attempt){.number = 2,
                                         .model = &small,
                                         .class = NP_CLASS_ok,
                                         .status = 200,
                                         .start_ns = 1351 * MS,
                                         .first_byte_ns = 1400 * MS,
                                         .end_ns = 1911 * MS,
                                         .usage = {812, 96, 10, 0, 0, 0},
                                         .cost_nusd = 478000,
                                         .settled = NP_SETTLED_EXACT,
                                         .retry_in_ms = -1,
                                         .after_notes = 2,
                                         .ended = true};
    x->n_attempts = 2;
    x->cost_nusd = 478000;
    x->reserved_max_nusd = 960000;
    x->answered_by = &small;
    x->outcome.status = 200;
    x->outcome.text = NP_SPAN("Sure.\n\"Yes\"");
    np_exchange_note_hook(x, NP_HOOK_admit, 2999, NP_SPAN("nothing"), NP_SPAN_NONE);
    np_exchange_note_hook(x, NP_HOOK_route, 4000, NP_SPAN("gpt-4.1, gpt-4.1-mini"),
                          NP_SPAN("gold"));
}

static void teardown(void)
{
    np_buf_free(&b);
    np_exchange_free(x);
}

static void expect(const char *want)
{
    ck_assert_msg(np_span_is(np_buf_view(&b), want), "\n got %.*s\nwant %s", (int)b.n, b.p, want);
}

START_TEST(a_reply_has_the_fields_of_the_contract_in_its_order)
{
    np_record_reply(&b, x);
    expect(
        "{\"requestId\":\"req_01jd\",\"text\":\"Sure.\\n\\\"Yes\\\"\",\"model\":\"gpt-4.1-mini\","
        "\"provider\":\"openai\",\"finishReason\":\"stop\",\"usage\":{\"promptTokens\":812,"
        "\"completionTokens\":96,\"cachedTokens\":10,\"costUsd\":0.000478},\"degraded\":false,"
        "\"attempts\":2,\"latencyMs\":911,\"policy\":\"3fa9c1e20b7d\",\"dropped\":[\"kb-\\u0034\"]}");
}
END_TEST

START_TEST(a_degraded_reply_says_why_and_shows_what_lost_attempts_cost)
{
    x->outcome.degraded = true;
    x->outcome.reason = NP_REASON_deadline;
    x->outcome.finish = NP_FINISH_degraded;
    x->outcome.text = NP_SPAN("Later.");
    x->answered_by = NULL;
    x->request.context[1].kept = true;
    np_record_reply(&b, x);
    expect("{\"requestId\":\"req_01jd\",\"text\":\"Later.\",\"model\":null,\"provider\":null,"
           "\"finishReason\":\"degraded\",\"usage\":{\"promptTokens\":0,\"completionTokens\":0,"
           "\"cachedTokens\":0,\"costUsd\":0.000478},\"degraded\":true,\"reason\":\"deadline\","
           "\"attempts\":2,\"latencyMs\":911,\"policy\":\"3fa9c1e20b7d\",\"dropped\":[]}");
}
END_TEST

START_TEST(an_error_has_its_type_message_param_and_request_id)
{
    struct np_refusal refusal = {.type = NP_REFUSAL_invalid_request,
                                 .message = NP_SPAN("maxTokens must be 1, got \"many\""),
                                 .param = NP_SPAN("maxTokens")};
    np_record_error(&b, &refusal, "req_1");
    expect("{\"error\":{\"type\":\"invalid_request\",\"message\":\"maxTokens must be 1, got "
           "\\\"many\\\"\",\"param\":\"maxTokens\",\"requestId\":\"req_1\"}}");
    np_buf_reset(&b);
    refusal.param = NP_SPAN_NONE;
    refusal.type_text = NP_SPAN("closed_on_sundays");
    np_record_error(&b, &refusal, "req_1");
    expect("{\"error\":{\"type\":\"closed_on_sundays\",\"message\":\"maxTokens must be 1, got "
           "\\\"many\\\"\",\"param\":null,\"requestId\":\"req_1\"}}");
}
END_TEST

START_TEST(a_decision_record_is_one_line_of_what_was_decided)
{
    np_exchange_note_skip(x, &large, NP_SKIP_breaker);
    np_record_decision(&b, x, false);
    expect(
        "{\"requestId\":\"req_01jd\",\"at\":\"2026-11-24T17:20:44.123Z\","
        "\"endpoint\":\"/api/assistant/reply\",\"tenant\":\"acme\",\"policy\":\"3fa9c1e20b7d\","
        "\"estimate\":{\"promptTokens\":800,\"maxTokens\":400,\"costUsd\":0.0005,"
        "\"worstUsd\":0.00096},\"plan\":[\"gpt-4.1\",\"gpt-4.1-mini\"],"
        "\"hooks\":[{\"name\":\"admit\",\"us\":2,\"returned\":\"nothing\"},{\"name\":\"route\","
        "\"us\":4,\"returned\":\"gpt-4.1, gpt-4.1-mini\",\"why\":\"gold\"}],"
        "\"attempts\":[{\"provider\":\"openai\",\"model\":\"gpt-4.1\",\"atMs\":1,\"class\":\"rate_limited\","
        "\"status\":429,\"error\":\"slow \\\"down\\\"\",\"latencyMs\":50,\"costUsd\":0,"
        "\"settled\":\"void\",\"retryInMs\":300},{\"provider\":\"openai\","
        "\"model\":\"gpt-4.1-mini\",\"atMs\":351,\"class\":\"ok\",\"status\":200,\"ttftMs\":49,"
        "\"latencyMs\":560,\"tokens\":{\"prompt\":812,\"completion\":96,\"cached\":10},"
        "\"costUsd\":0.000478,\"settled\":\"exact\"}],"
        "\"skipped\":[{\"model\":\"gpt-4.1\",\"why\":\"breaker\",\"hooks\":2,\"attempts\":2}],"
        "\"budget\":{\"accounts\":[\"global/day\",\"tenant:acme/day\",\"tenant:acme/month\","
        "\"endpoint:/api/assistant/reply/hour\",\"model:gpt-4.1-mini/none\","
        "\"provider:openai/week\"],\"reserved\":0.00096,\"settled\":0.000478},"
        "\"dropped\":[\"kb-\\u0034\"],\"outcome\":\"ok\",\"status\":200,"
        "\"costUsd\":0.000478,\"latencyMs\":911,\"overheadUs\":200}\n");
    struct np_json_fault fault;
    ck_assert(!np_json_check(np_buf_view(&b), NP_JSON_DEPTH, &fault));
}
END_TEST

START_TEST(a_plain_request_takes_less_than_a_kilobyte)
{
    static const struct np_catalog plain = {.budgets = budgets, .n_budgets = 2};
    x->catalog = &plain;
    x->attempts[0] = x->attempts[1];
    x->n_attempts = 1;
    for (int i = 0; i < 3; i++)
        np_exchange_note_hook(x, NP_HOOK_respond, 4000, NP_SPAN("nothing"), NP_SPAN_NONE);
    np_record_decision(&b, x, false);
    printf("a plain decision record: %zu bytes\n", b.n);
    ck_assert_uint_lt(b.n, 1000);
}
END_TEST

START_TEST(outcomes_have_their_names)
{
    static const struct {
        bool degraded, refused, gone;
        struct np_span type_text;
        const char *part;
    } rows[] = {
        {false, false, false, {NULL, 0}, "\"outcome\":\"ok\",\"status\":200,\"costUsd\""},
        {true, false, false, {NULL, 0}, "\"outcome\":\"degraded\",\"reason\":\"budget\","},
        {false, true, false, {NULL, 0}, "\"outcome\":\"budget_exceeded\","},
        {false, true, false, {"no_gold", 7}, "\"outcome\":\"no_gold\","},
        {true, false, true, {NULL, 0}, "\"outcome\":\"cancelled\","},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        x->outcome.degraded = rows[i].degraded;
        x->outcome.reason = NP_REASON_budget;
        x->outcome.refused = rows[i].refused;
        x->outcome.refusal.type = NP_REFUSAL_budget_exceeded;
        x->outcome.refusal.type_text = rows[i].type_text;
        x->client_gone = rows[i].gone;
        np_buf_reset(&b);
        np_record_decision(&b, x, false);
        np_buf_char(&b, '\0');
        ck_assert_msg(strstr(b.p, rows[i].part) != NULL, "row %zu: %s", i, b.p);
    }
}
END_TEST

START_TEST(a_call_that_was_refused_at_the_door_has_a_short_record_without_what_it_quotes)
{
    struct np_refusal r = {.type = NP_REFUSAL_unauthorized,
                           .status = 401,
                           .message = NP_SPAN("a key is required"),
                           .retry_after_s = -1};
    np_record_refusal(&b, &r, "req_3", 0, "/api/assistant/reply", 2 * MS + 5000);
    expect("{\"requestId\":\"req_3\",\"at\":\"1970-01-01T00:00:00.000Z\","
           "\"endpoint\":\"/api/assistant/reply\",\"attempts\":[],\"outcome\":\"unauthorized\","
           "\"status\":401,\"message\":\"a key is required\",\"costUsd\":0,\"latencyMs\":2,"
           "\"overheadUs\":2005}\n");
    np_buf_reset(&b);
    r = (struct np_refusal){.type = NP_REFUSAL_invalid_request,
                            .status = 400,
                            .message = NP_SPAN("got \"secret\""),
                            .param = NP_SPAN("maxTokens")};
    np_record_refusal(&b, &r, "req_3", 0, NULL, 0);
    expect("{\"requestId\":\"req_3\",\"at\":\"1970-01-01T00:00:00.000Z\",\"attempts\":[],"
           "\"outcome\":\"invalid_request\",\"status\":400,\"param\":\"maxTokens\",\"costUsd\":0,"
           "\"latencyMs\":0,\"overheadUs\":0}\n");
}
END_TEST

START_TEST(what_never_happened_is_left_out)
{
    struct np_exchange *y = np_exchange_new(1 << 16);
    ck_assert_ptr_nonnull(y);
    y->id = "req_2";
    y->outcome.refused = true;
    y->outcome.refusal.type = NP_REFUSAL_unauthorized;
    np_record_decision(&b, y, false);
    expect("{\"requestId\":\"req_2\",\"at\":\"1970-01-01T00:00:00.000Z\",\"attempts\":[],"
           "\"outcome\":\"unauthorized\",\"costUsd\":0,\"latencyMs\":0,\"overheadUs\":0}\n");
    np_exchange_free(y);
}
END_TEST

START_TEST(bodies_are_in_the_record_only_where_they_are_wanted)
{
    np_record_decision(&b, x, false);
    np_buf_char(&b, '\0');
    ck_assert_ptr_null(strstr(b.p, "secret"));
    ck_assert_ptr_null(strstr(b.p, "Sure."));
    np_buf_reset(&b);
    np_record_decision(&b, x, true);
    struct np_span line = np_buf_view(&b), request, reply, prompt;
    struct np_json_fault fault;
    ck_assert(!np_json_check(line, NP_JSON_DEPTH, &fault));
    ck_assert_ptr_eq(memchr(line.p, '\n', line.n), line.p + line.n - 1);
    ck_assert(np_json_get(line, "request", &request));
    ck_assert(np_json_get(request, "prompt", &prompt));
    ck_assert(np_span_is(prompt, "\"secret question\""));
    ck_assert(np_json_get(line, "reply", &reply));
    ck_assert(np_span_is(reply, "\"Sure.\\n\\\"Yes\\\"\""));
}
END_TEST

START_TEST(a_body_that_was_not_understood_is_recorded_as_text)
{
    x->request = (struct np_request){0};
    x->body = NP_SPAN("{\n\"x\xff");
    x->outcome.refused = true;
    np_record_decision(&b, x, true);
    struct np_span line = np_buf_view(&b), request, reply;
    struct np_json_fault fault;
    ck_assert(!np_json_check(line, NP_JSON_DEPTH, &fault));
    ck_assert(np_json_get(line, "request", &request));
    ck_assert(np_span_is(request, "\"{\\n\\\"x\xef\xbf\xbd\""));
    ck_assert(!np_json_get(line, "reply", &reply));
}
END_TEST

START_TEST(notes_beyond_the_last_place_are_counted_only)
{
    uint64_t before = x->hooks_ns;
    for (int i = 0; i < 100; i++) {
        np_exchange_note_hook(x, NP_HOOK_retry, 1000, NP_SPAN("next"), NP_SPAN_NONE);
        np_exchange_note_skip(x, &small, NP_SKIP_busy);
    }
    ck_assert_uint_eq(x->n_notes, NP_MAX_HOOK_NOTES);
    ck_assert_uint_eq(x->n_skipped, NP_MAX_SKIPS);
    ck_assert_uint_eq(x->hooks_ns - before, 100000);
    ck_assert_str_eq(np_settled_name(NP_SETTLED_PRESUMED), "presumed");
}
END_TEST

START_TEST(notes_and_skips_are_kept_in_order_as_their_lists_grow)
{
    for (unsigned i = (unsigned)x->n_notes; i < NP_MAX_HOOK_NOTES; i++)
        np_exchange_note_hook(x, NP_HOOK_retry, i * UINT64_C(1000), NP_SPAN("next"), NP_SPAN_NONE);
    while (x->n_skipped < NP_MAX_SKIPS)
        np_exchange_note_skip(x, x->n_skipped % 2 ? &small : &large, NP_SKIP_busy);
    ck_assert_int_eq(x->notes[0].hook, NP_HOOK_admit);
    for (unsigned i = 2; i < NP_MAX_HOOK_NOTES; i++)
        ck_assert_uint_eq(x->notes[i].us, i);
    for (unsigned i = 1; i < NP_MAX_SKIPS; i++) {
        ck_assert_ptr_eq(x->skipped[i].model, i % 2 ? &small : &large);
        ck_assert_uint_eq(x->skipped[i].after_notes, NP_MAX_HOOK_NOTES);
    }
}
END_TEST

START_TEST(attempts_are_kept_in_order_as_their_list_grows)
{
    struct np_exchange *y = np_exchange_new(1 << 20);
    ck_assert_ptr_nonnull(y);
    for (unsigned i = 1; i <= NP_MAX_ATTEMPTS; i++) {
        struct np_attempt *a = np_exchange_attempt(y);
        ck_assert_ptr_nonnull(a);
        a->number = i;
        y->n_attempts++;
    }
    ck_assert_ptr_null(np_exchange_attempt(y));
    for (unsigned i = 0; i < NP_MAX_ATTEMPTS; i++)
        ck_assert_uint_eq(y->attempts[i].number, i + 1);
    np_exchange_free(y);
}
END_TEST

START_TEST(a_note_that_finds_no_memory_is_counted_only)
{
    size_t few = 8 * sizeof(struct np_hook_note);
    struct np_exchange *y = np_exchange_new(sizeof *y + few);
    ck_assert_ptr_nonnull(y);
    size_t kept = 0;
    for (int i = 0; i < 20; i++)
        kept += np_exchange_note_hook(y, NP_HOOK_retry, 1000, NP_SPAN_NONE, NP_SPAN_NONE) != NULL;
    ck_assert_uint_ge(kept, 1);
    ck_assert_uint_lt(kept, 8);
    ck_assert_uint_eq(y->n_notes, kept);
    ck_assert_uint_eq(y->hooks_ns, 20000);
    for (int i = 0; i < 20; i++)
        np_exchange_note_skip(y, &small, NP_SKIP_busy);
    ck_assert_uint_lt(y->n_skipped, 20);
    np_exchange_free(y);
}
END_TEST

START_TEST(an_exchange_without_memory_is_none)
{
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        struct np_exchange *y = np_exchange_new(1 << 20);
        np_fail_never();
        np_exchange_free(y);
        if (y)
            break;
    }
    ck_assert_uint_ge(n, 1);
    ck_assert_ptr_null(np_exchange_new(100));
}
END_TEST

START_TEST(a_record_marks_the_attempt_beside_another_and_the_one_that_lost)
{
    x->attempts[0].lost = true;
    x->attempts[1].hedge = true;
    x->hedge = NP_HEDGE_won;
    np_record_decision(&b, x, false);
    ck_assert_ptr_nonnull(memmem(b.p, b.n, "\"lost\":true", 11));
    const char *second = memmem(b.p, b.n, "\"hedge\":true", 12);
    const char *outcome = memmem(b.p, b.n, "\"hedge\":\"won\"", 13);
    ck_assert(second && outcome && second < outcome);
}
END_TEST

START_TEST(of_a_broken_stream_the_usage_is_that_of_who_spoke)
{
    x->outcome.broken = true;
    x->outcome.finish = NP_FINISH_error;
    x->attempts[0].emitted = true;
    x->attempts[0].usage = (struct np_usage){.prompt = 7, .completion = 3};
    np_record_stream_end(&b, x);
    ck_assert_ptr_nonnull(memmem(b.p, b.n, "\"promptTokens\":7,\"completionTokens\":3", 37));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("record");
    TCase *t = tcase_create("record");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_record_marks_the_attempt_beside_another_and_the_one_that_lost);
    tcase_add_test(t, of_a_broken_stream_the_usage_is_that_of_who_spoke);
    tcase_add_test(t, a_reply_has_the_fields_of_the_contract_in_its_order);
    tcase_add_test(t, a_degraded_reply_says_why_and_shows_what_lost_attempts_cost);
    tcase_add_test(t, an_error_has_its_type_message_param_and_request_id);
    tcase_add_test(t, a_decision_record_is_one_line_of_what_was_decided);
    tcase_add_test(t, a_plain_request_takes_less_than_a_kilobyte);
    tcase_add_test(t, outcomes_have_their_names);
    tcase_add_test(t,
                   a_call_that_was_refused_at_the_door_has_a_short_record_without_what_it_quotes);
    tcase_add_test(t, what_never_happened_is_left_out);
    tcase_add_test(t, bodies_are_in_the_record_only_where_they_are_wanted);
    tcase_add_test(t, a_body_that_was_not_understood_is_recorded_as_text);
    tcase_add_test(t, notes_beyond_the_last_place_are_counted_only);
    tcase_add_test(t, notes_and_skips_are_kept_in_order_as_their_lists_grow);
    tcase_add_test(t, attempts_are_kept_in_order_as_their_list_grows);
    tcase_add_test(t, a_note_that_finds_no_memory_is_counted_only);
    tcase_add_test(t, an_exchange_without_memory_is_none);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
