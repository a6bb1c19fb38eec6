/* Playing single requests: what is given takes effect, what is wrong is said, the run tells all. */
#include "engine/play.h"

#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stage {
    struct kit kit;
    struct np_play *play;
    struct np_buf out;
};

static void stage_open(struct stage *s)
{
    kit_start(&s->kit);
    s->play = np_play_new(s->kit.set, 1);
    ck_assert_ptr_nonnull(s->play);
    np_buf_init(&s->out, 1u << 20);
}

static void stage_new(struct stage *s)
{
    kit_new(&s->kit);
    stage_open(s);
}

static void stage_free(struct stage *s)
{
    np_buf_free(&s->out);
    np_play_free(s->play);
    kit_free(&s->kit);
}

static enum np_err try_play(struct stage *s, const char *given)
{
    struct np_json_fault fault;
    ck_assert_msg(np_json_check(np_span_of(given), NP_JSON_DEPTH, &fault) == NP_OK, "%s", given);
    np_buf_reset(&s->out);
    enum np_err err = np_play_run(s->play, np_span_of(given), &s->out);
    ck_assert_int_eq(np_buf_char(&s->out, '\0'), NP_OK);
    s->out.n--;
    return err;
}

/* Plays, and checks that the run holds each of these pieces of JSON. */
static void plays(struct stage *s, const char *given, const char *const *pieces)
{
    ck_assert_msg(try_play(s, given) == NP_OK, "%s", s->out.p);
    struct np_json_fault fault;
    ck_assert_int_eq(np_json_check(np_buf_view(&s->out), NP_JSON_DEPTH, &fault), NP_OK);
    for (; *pieces; pieces++)
        ck_assert_msg(strstr(s->out.p, *pieces), "no %s in %s", *pieces, s->out.p);
}

/* Checks that the last run's lines hold these texts, in this order. */
static void shows(struct stage *s, const char *const *pieces)
{
    struct np_span lines = np_play_shown(s->play);
    char *text = calloc(1, lines.n + 1), *at = text;
    ck_assert_ptr_nonnull(text);
    memcpy(text, lines.p, lines.n);
    for (; *pieces; pieces++) {
        at = strstr(at, *pieces);
        ck_assert_msg(at, "no %s in its place in\n%s", *pieces, text);
        at += strlen(*pieces);
    }
    free(text);
}

#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define HELLO "\"request\":{\"prompt\":\"hello there\"}"

START_TEST(where_nothing_is_said_a_good_answer_comes_after_300_ms)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{" HELLO "}",
          PIECES("\"status\":200", "\"text\":\"A good answer.\"", "\"model\":\"big\"",
                 "\"provider\":\"openai\"", "\"degraded\":false", "\"finish_reason\":\"stop\"",
                 "\"latency_ms\":300", "\"plan\":[\"big\",\"small\"]", "\"skipped\":[]",
                 "\"dropped\":[]", "\"route\":[]", "\"class\":\"ok\"", "\"calls\":[]"));
    shows(&s, PIECES("attempt 1 big           openai ok  ", " tokens  $", "  300 ms\n",
                     "ok  big  1 attempt  $", "  300 ms\n"));
    stage_free(&s);
}
END_TEST

START_TEST(a_client_that_leaves_is_told_as_one)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{" HELLO ",\"leaves_after_ms\":100}",
          PIECES("\"status\":499", "\"cancelled\":true", "\"degraded\":false", "\"latency_ms\":100",
                 "\"class\":\"cancelled\"", "\"latency_ms\":100"));
    shows(&s, PIECES("attempt 1 big           openai cancelled", "100 ms\n",
                     "cancelled  the client left  1 attempt  $", "  100 ms\n"));
    plays(&s, "{" HELLO ",\"leaves_after_ms\":301}",
          PIECES("\"status\":200,\"degraded\":false", "\"latency_ms\":300"));
    stage_free(&s);
}
END_TEST

START_TEST(answers_come_in_turn_and_the_last_repeats)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":[429,503],\"anthropic\":\"Sure.\"}}",
          PIECES("\"class\":\"rate_limited\",\"status\":429",
                 "\"class\":\"overloaded\",\"status\":503", "\"text\":\"Sure.\"",
                 "\"model\":\"small\""));
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":[500],\"anthropic\":\"Sure.\"}}",
          PIECES("\"retry_in_ms\":", "\"text\":\"Sure.\""));
    stage_free(&s);
}
END_TEST

START_TEST(answers_of_a_model_come_before_those_of_its_provider)
{
    struct stage s;
    stage_new(&s);
    plays(&s,
          "{" HELLO ",\"providers\":{\"openai\":500,\"big\":{\"text\":\"Me.\",\"after_ms\":7}}}",
          PIECES("\"text\":\"Me.\"", "\"latency_ms\":7"));
    stage_free(&s);
}
END_TEST

static const char *const scripted[] = {"network",    "timeout",      "rate_limited", "quota",
                                       "overloaded", "server_error", "bad_reply",    "credential",
                                       "model_gone", "too_long",     "filtered",     "rejected"};

/* In both dialects. */
START_TEST(a_class_that_is_asked_for_is_the_class_that_comes)
{
    struct stage s;
    char given[256], class[64];
    const char *model = _i % 2 ? "small" : "big";
    kit_new(&s.kit);
    char endpoint[128];
    (void)snprintf(endpoint, sizeof endpoint,
                   "return { ['/api/test/reply'] = { models = { '%s' }, deadline_ms = 60000 } }",
                   model);
    kit_file(&s.kit, "endpoints.lua", endpoint);
    stage_open(&s);
    (void)snprintf(given, sizeof given, "{" HELLO ",\"providers\":{\"%s\":{\"error\":\"%s\"}}}",
                   model, scripted[_i / 2]);
    (void)snprintf(class, sizeof class, "\"attempts\":[{\"model\":\"%s\"", model);
    plays(&s, given, PIECES(class));
    (void)snprintf(class, sizeof class, "\"class\":\"%s\"", scripted[_i / 2]);
    ck_assert_msg(strstr(s.out.p, class), "%s", s.out.p);
    stage_free(&s);
}
END_TEST

#define STREAM "\"request\":{\"prompt\":\"hello there\",\"stream\":true}"

START_TEST(a_stream_comes_to_what_the_whole_answer_does)
{
    struct stage s;
    char given[512], want[2][128];
    stage_new(&s);
    for (int dialect = 0; dialect < 2; dialect++) {
        (void)snprintf(given, sizeof given,
                       "{" STREAM ",\"providers\":{\"openai\":%s,\"anthropic\":{\"text\":"
                       "\"w\u00f6rd by w\u00f6rd\",\"after_ms\":40,\"finish\":\"length\","
                       "\"usage\":{\"prompt\":1000,\"completion\":100,\"cached\":10}}}}",
                       dialect ? "404"
                               : "{\"text\":\"w\u00f6rd by w\u00f6rd\",\"finish\":\"length\"}");
        (void)snprintf(want[0], sizeof want[0], "\"text\":\"w\xc3\xb6rd by w\xc3\xb6rd\"");
        (void)snprintf(want[1], sizeof want[1], "\"model\":\"%s\"", dialect ? "small" : "big");
        plays(&s, given, PIECES(want[0], want[1], "\"finish_reason\":\"length\""));
    }
    stage_free(&s);
}
END_TEST

START_TEST(a_stream_that_is_scripted_to_be_cut_breaks_off)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{" STREAM ",\"providers\":{\"openai\":{\"text\":\"12345678\",\"error\":\"cut\"}}}",
          PIECES("\"text\":\"1234\"", "\"class\":\"cut\"", "\"finish_reason\":\"error\"",
                 "\"error\":{\"type\":\"upstream_failed\""));
    shows(&s, PIECES("cut", "broke off  big  upstream_failed"));
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":{\"error\":\"cut\"}}}",
          PIECES("\"class\":\"network\"", "\"model\":\"small\""));
    stage_free(&s);
}
END_TEST

START_TEST(usage_that_is_given_is_what_is_paid)
{
    struct stage s;
    stage_new(&s);
    const char *usage = "\"usage\":{\"prompt\":1000,\"completion\":100,\"cached\":0}";
    char given[256];
    (void)snprintf(given, sizeof given, "{" HELLO ",\"providers\":{\"openai\":{%s}}}", usage);
    plays(&s, given, PIECES("\"cost_usd\":0.0028"));
    (void)snprintf(given, sizeof given,
                   "{" HELLO ",\"providers\":{\"openai\":400,\"big\":404,\"anthropic\":{%s}}}",
                   usage);
    plays(&s, given, PIECES("\"model\":\"small\"", "\"cost_usd\":0.00056"));
    stage_free(&s);
}
END_TEST

START_TEST(a_text_that_is_longer_than_allowed_is_cut_by_length)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{\"request\":{\"prompt\":\"hi\",\"maxTokens\":30}}",
          PIECES("\"finish_reason\":\"stop\"", "\"max_tokens\":30"));
    plays(&s,
          "{\"request\":{\"prompt\":\"hi\",\"maxTokens\":3},"
          "\"providers\":{\"openai\":\"one two three four five six\"}}",
          PIECES("\"finish_reason\":\"length\""));
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":{\"finish\":\"content_filter\"}}}",
          PIECES("\"finish_reason\":\"content_filter\""));
    stage_free(&s);
}
END_TEST

START_TEST(what_takes_longer_than_its_provider_may_is_a_timeout)
{
    struct stage s;
    kit_new(&s.kit);
    kit_file(&s.kit, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1',\n"
             "  first_token_timeout_ms = 2000 },\n"
             "  anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1' } }\n");
    stage_open(&s);
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":[{\"after_ms\":2001},{\"after_ms\":2000}]}}",
          PIECES("\"class\":\"timeout\",\"error\":\"first byte timeout\",\"latency_ms\":2000",
                 "\"class\":\"ok\",\"status\":200,\"latency_ms\":2000"));
    stage_free(&s);
}
END_TEST

/* --- breakers and time ------------------------------------------------------------------------------- */

START_TEST(an_open_breaker_passes_its_model_over)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{" HELLO ",\"breakers\":{\"big\":\"open\"}}",
          PIECES("\"model\":\"small\"", "\"skipped\":[{\"model\":\"big\",\"why\":\"breaker\"}]"));
    shows(&s, PIECES("skipped   big           breaker\nattempt 1 small         anthropic ok"));
    stage_free(&s);
}
END_TEST

START_TEST(a_half_open_breaker_lets_a_probe_pass)
{
    struct stage s;
    stage_new(&s);
    plays(&s,
          "{" HELLO
          ",\"breakers\":{\"big\":\"half_open\",\"small\":\"open\"},\"providers\":{\"big\":500}}",
          PIECES("\"degraded\":true", "{\"model\":\"small\",\"why\":\"breaker\"}"));
    plays(&s, "{" HELLO "}", PIECES("\"reason\":\"breaker\""));
    stage_free(&s);
}
END_TEST

START_TEST(breakers_and_time_carry_on_from_play_to_play)
{
    struct stage s;
    stage_new(&s);
    for (int i = 0; i < 3; i++)
        plays(&s, "{" HELLO ",\"providers\":{\"openai\":500}}", PIECES("\"model\":\"small\""));
    plays(&s, "{" HELLO "}", PIECES("{\"model\":\"big\",\"why\":\"breaker\"}"));
    plays(&s, "{" HELLO ",\"after_ms\":3600000}",
          PIECES("\"model\":\"big\"", "\"latency_ms\":300"));
    stage_free(&s);
}
END_TEST

/* --- accounts ---------------------------------------------------------------------------------------- */

static void with_money(struct stage *s)
{
    kit_new(&s->kit);
    kit_file(&s->kit, "tenants.lua",
             "return { acme = { keys = { 'sha256:' .. ('a'):rep(64) } },\n"
             "  globex = { keys = { 'sha256:' .. ('b'):rep(64) } } }\n");
    kit_file(
        &s->kit, "budgets.lua",
        "return { { account = 'global', window = 'day', limit_usd = 50 },\n"
        "  { account = 'tenant', window = 'day', limit_usd = 5 },\n"
        "  { account = 'tenant:acme', window = 'hour', limit_usd = 1, on_exceeded = 'reject' },\n"
        "  { account = 'model:big', window = 'month', limit_usd = 9 },\n"
        "  { account = 'provider:anthropic', window = 'none', limit_usd = 9 },\n"
        "  { account = 'endpoint:/api/test/reply', window = 'week', limit_usd = 9 } }\n");
    kit_file(&s->kit, "route.lua",
             "local accounts = { 'global/day', 'tenant:acme/day', 'tenant:globex/day',\n"
             "  'tenant:acme/hour', 'model:big/month', 'provider:anthropic/none',\n"
             "  'endpoint:/api/test/reply/week' }\n"
             "return function()\n"
             "  local texts = {}\n"
             "  for i, a in ipairs(accounts) do texts[i] = ('%g'):format(stats.cost_usd(a)) end\n"
             "  return nil, table.concat(texts, ' ')\n"
             "end\n");
    stage_open(s);
}

static const struct {
    const char *account, *spent; /* of those above, in their order */
} accounts[] = {{"global/day", "1.5 0 0 0 0 0 0"},
                {"tenant:acme/day", "0 1.5 0 0 0 0 0"},
                {"tenant:globex/day", "0 0 1.5 0 0 0 0"},
                {"tenant:acme/hour", "0 0 0 1.5 0 0 0"},
                {"model:big/month", "0 0 0 0 1.5 0 0"},
                {"provider:anthropic/none", "0 0 0 0 0 1.5 0"},
                {"endpoint:/api/test/reply/week", "0 0 0 0 0 0 1.5"}};

START_TEST(what_is_spent_is_booked_on_that_account_alone)
{
    struct stage s;
    char given[256], why[128];
    with_money(&s);
    (void)snprintf(given, sizeof given, "{" HELLO ",\"budgets\":{\"%s\":1.5}}",
                   accounts[_i].account);
    (void)snprintf(why, sizeof why, "\"why\":\"%s\"", accounts[_i].spent);
    plays(&s, given, PIECES(why));
    stage_free(&s);
}
END_TEST

START_TEST(a_used_up_account_decides)
{
    struct stage s;
    with_money(&s);
    plays(
        &s,
        "{\"request\":{\"prompt\":\"hi\",\"tenant\":\"acme\"},\"budgets\":{\"tenant:acme/hour\":1}}",
        PIECES("\"status\":429", "\"error\":{\"type\":\"budget_exceeded\"",
               "limit 1 USD, spent 1 USD"));
    shows(&s, PIECES("refused  429 budget_exceeded: "));
    plays(&s, "{\"request\":{\"prompt\":\"hi\",\"tenant\":\"globex\"}}", PIECES("\"status\":200"));
    stage_free(&s);
}
END_TEST

/* --- what is wrong ----------------------------------------------------------------------------------- */

static const struct {
    const char *given, *why;
} wrong[] = {
    {"[]", "what is played must be a table with names, is a list"},
    {"{}", "a request is missing: request = { prompt = … }"},
    {"{\"requst\":{}}", "there is no field \"requst\"; did you mean \"request\"?"},
    {"{\"request\":3}", "request must be a table with names, is a number"},
    {"{" HELLO ",\"after_ms\":-1}", "after_ms must be a whole number, got -1"},
    {"{" HELLO ",\"after_ms\":1e14}", "after_ms is more than 40 days"},
    {"{" HELLO ",\"leaves_after_ms\":1e14}", "leaves_after_ms is more than 40 days"},
    {"{\"request\":{\"tenant\":\"acm\"}}", "there is no tenant \"acm\"; did you mean \"acme\"?"},
    {"{\"request\":{\"tenant\":3}}", "request.tenant must be a string, is a number"},
    {"{\"request\":{\"endpoint\":\"/api/tst/reply\"}}",
     "there is no endpoint \"/api/tst/reply\"; did you mean \"/api/test/reply\"?"},
    {"{" HELLO ",\"breakers\":{\"bag\":\"open\"}}",
     "there is no model \"bag\"; did you mean \"big\"?"},
    {"{" HELLO ",\"breakers\":{\"big\":\"ajar\"}}", "there is no state of breakers \"ajar\""},
    {"{" HELLO ",\"budgets\":{\"globl/day\":1}}",
     "there is no account in budgets.lua \"globl/day\"; did you mean \"global/day\"?"},
    {"{" HELLO ",\"budgets\":{\"global/day\":\"1\"}}",
     "budgets: what is spent on global/day must be an amount of USD, got \"1\""},
    {"{" HELLO ",\"budgets\":{\"global/day\":-1}}",
     "budgets: what is spent on global/day must be an amount of USD, got -1"},
    {"{" HELLO ",\"providers\":{\"opanai\":500}}",
     "there is no provider or model \"opanai\"; did you mean \"openai\"?"},
    {"{" HELLO ",\"providers\":{\"openai\":true}}",
     "an answer is a status, a text or a table, not true"},
    {"{" HELLO ",\"providers\":{\"openai\":99}}", "an answer's status is from 200 to 599, got 99"},
    {"{" HELLO ",\"providers\":{\"openai\":{\"txt\":\"\"}}}",
     "there is no field of answers \"txt\"; did you mean \"text\"?"},
    {"{" HELLO ",\"providers\":{\"openai\":{\"after_ms\":1.5}}}",
     "an answer's after_ms must be a whole number, got 1.5"},
    {"{" HELLO ",\"providers\":{\"openai\":{\"usage\":{\"promt\":1}}}}",
     "there is no field of usage \"promt\"; did you mean \"prompt\"?"},
    {"{" HELLO ",\"providers\":{\"openai\":{\"error\":\"deadline\"}}}",
     "there is no error of providers \"deadline\""},
};

START_TEST(what_is_wrong_is_said_and_nothing_is_played)
{
    struct stage s;
    with_money(&s);
    ck_assert_int_eq(try_play(&s, wrong[_i].given), NP_E_INVALID);
    ck_assert_str_eq(s.out.p, wrong[_i].why);
    plays(&s, "{" HELLO "}", PIECES("\"status\":200"));
    stage_free(&s);
}
END_TEST

START_TEST(what_was_spent_or_opened_in_a_test_cannot_be_undone_in_it)
{
    struct stage s;
    with_money(&s);
    plays(&s, "{" HELLO ",\"budgets\":{\"global/day\":2},\"breakers\":{\"big\":\"open\"}}",
          PIECES("\"status\":200"));
    ck_assert_int_eq(try_play(&s, "{" HELLO ",\"budgets\":{\"global/day\":1}}"), NP_E_INVALID);
    ck_assert_ptr_nonnull(strstr(s.out.p, "USD were spent on global/day earlier in this test"));
    ck_assert_int_eq(try_play(&s, "{" HELLO ",\"breakers\":{\"big\":\"closed\"}}"), NP_E_INVALID);
    ck_assert_str_eq(s.out.p, "the breaker of big was opened earlier in this test");
    stage_free(&s);
}
END_TEST

/* --- the run ----------------------------------------------------------------------------------------- */

START_TEST(what_the_client_would_be_refused_is_in_the_run)
{
    struct stage s;
    stage_new(&s);
    plays(&s, "{\"request\":{\"prompt\":\"hi\",\"maxTokens\":0}}",
          PIECES("\"status\":400", "\"error\":{\"type\":\"invalid_request\"",
                 "\"param\":\"maxTokens\"", "\"attempts\":[]"));
    ck_assert_ptr_null(strstr(s.out.p, "\"text\""));
    stage_free(&s);
}
END_TEST

START_TEST(the_lines_tell_hooks_and_attempts_in_their_order)
{
    struct stage s;
    kit_new(&s.kit);
    kit_file(&s.kit, "route.lua", "return function() return {'big', 'small'}, 'my reasons' end\n");
    kit_file(&s.kit, "retry.lua", "return function() return 'next' end\n");
    kit_file(&s.kit, "respond.lua", "return function() error('oh') end\n");
    stage_open(&s);
    plays(&s, "{" HELLO ",\"providers\":{\"openai\":500}}",
          PIECES("\"retry\":[{\"returned\":\"next\"}]",
                 "\"respond\":[{\"returned\":\"failed: error\"}]"));
    shows(&s, PIECES("route  ", " us  ", " steps  big, small  ", "  route.lua:1 ",
                     "  because my reasons\n", "attempt 1 big           openai 500 server_error  ",
                     "  300 ms  ", "scripted by the test\nretry  ", " steps  \"next\"  ",
                     "  retry.lua:1\n", "attempt 2 small         anthropic ok  ", "respond  ",
                     "failed: error  ", "  respond.lua:1 ", " oh\n", "ok  small  2 attempts  $"));
    stage_free(&s);
}
END_TEST

/* A bare `return function() … end` takes the same number of steps everywhere, a loop as many more. */
START_TEST(steps_and_the_line_of_return_are_counted)
{
    struct stage s;
    kit_new(&s.kit);
    kit_file(&s.kit, "route.lua",
             "local function inner()\n  return 3\nend\nreturn function(req)\n"
             "  local n = 0\n  for i = 1, 100 do n = n + i end\n"
             "  if n > 1 then\n    inner()\n    return {'big'}, 'a'\n  end\n  return nil\nend\n");
    kit_file(&s.kit, "respond.lua",
             "return function()\n  local n = 0\n  for i = 1, 50000 do n = n + i end\nend\n");
    stage_open(&s);
    plays(&s, "{" HELLO "}",
          PIECES("{\"hook\":\"route\",\"returned\":\"big\",\"why\":\"a\","
                 "\"at\":\"route.lua:9\",\"steps\":2"));
    const char *at = strstr(s.out.p, "\"at\":\"respond.lua:4\",\"steps\":");
    ck_assert_msg(at, "%s", s.out.p);
    long steps = strtol(strrchr(at, ':') + 1, NULL, 10);
    printf("play: a loop of 50,000 took %ld steps, exactly it would be about 100,005\n", steps);
    ck_assert_int_ge(steps, 99500);
    ck_assert_int_le(steps, 100100);
    stage_free(&s);
}
END_TEST

START_TEST(dropped_context_is_named)
{
    struct stage s;
    stage_new(&s);
    char *given = malloc(80000);
    ck_assert_ptr_nonnull(given);
    int n = snprintf(given, 80000,
                     "{\"request\":{\"prompt\":\"hi\",\"context\":["
                     "{\"id\":\"small\",\"text\":\"x\",\"priority\":2},"
                     "{\"id\":\"large\",\"text\":\"");
    for (int i = 0; i < 9000; i++)
        n += snprintf(given + n, 80000 - (size_t)n, "word ");
    (void)snprintf(given + n, 80000 - (size_t)n, "\"}]}}");
    plays(&s, given, PIECES("\"dropped\":[\"large\"]"));
    free(given);
    stage_free(&s);
}
END_TEST

START_TEST(the_same_play_gives_the_same_run)
{
    struct stage a, b;
    const char *given = "{" HELLO ",\"providers\":{\"openai\":[429,500],\"anthropic\":500}}";
    stage_new(&a);
    stage_new(&b);
    plays(&a, given, PIECES("\"degraded\":true"));
    plays(&b, given, PIECES("\"degraded\":true"));
    ck_assert_str_eq(a.out.p, b.out.p);
    stage_free(&b);
    stage_free(&a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("play");
    TCase *tc = tcase_create("play");
    tcase_add_test(tc, where_nothing_is_said_a_good_answer_comes_after_300_ms);
    tcase_add_test(tc, a_client_that_leaves_is_told_as_one);
    tcase_add_test(tc, answers_come_in_turn_and_the_last_repeats);
    tcase_add_test(tc, answers_of_a_model_come_before_those_of_its_provider);
    tcase_add_loop_test(tc, a_class_that_is_asked_for_is_the_class_that_comes, 0,
                        2 * sizeof scripted / sizeof *scripted);
    tcase_add_test(tc, usage_that_is_given_is_what_is_paid);
    tcase_add_test(tc, a_text_that_is_longer_than_allowed_is_cut_by_length);
    tcase_add_test(tc, a_stream_comes_to_what_the_whole_answer_does);
    tcase_add_test(tc, a_stream_that_is_scripted_to_be_cut_breaks_off);
    tcase_add_test(tc, what_takes_longer_than_its_provider_may_is_a_timeout);
    tcase_add_test(tc, an_open_breaker_passes_its_model_over);
    tcase_add_test(tc, a_half_open_breaker_lets_a_probe_pass);
    tcase_add_test(tc, breakers_and_time_carry_on_from_play_to_play);
    tcase_add_loop_test(tc, what_is_spent_is_booked_on_that_account_alone, 0,
                        sizeof accounts / sizeof *accounts);
    tcase_add_test(tc, a_used_up_account_decides);
    tcase_add_loop_test(tc, what_is_wrong_is_said_and_nothing_is_played, 0,
                        sizeof wrong / sizeof *wrong);
    tcase_add_test(tc, what_was_spent_or_opened_in_a_test_cannot_be_undone_in_it);
    tcase_add_test(tc, what_the_client_would_be_refused_is_in_the_run);
    tcase_add_test(tc, the_lines_tell_hooks_and_attempts_in_their_order);
    tcase_add_test(tc, steps_and_the_line_of_return_are_counted);
    tcase_add_test(tc, dropped_context_is_named);
    tcase_add_test(tc, the_same_play_gives_the_same_run);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
