/* The hooks truncate, budget, retry, respond and degrade: what they get and what their answers do. */
#include "script/kit.h"

static struct np_candidate candidate(struct kit *k)
{
    return (struct np_candidate){.model = &k->models[0],
                                 .max_tokens = -1,
                                 .prompt_tokens = 812,
                                 .completion_max = 400,
                                 .estimated_nusd = 2500000,
                                 .worst_nusd = 5000000};
}

static struct np_attempt attempt(struct kit *k)
{
    return (struct np_attempt){.number = 2,
                               .model = &k->models[1],
                               .class = NP_CLASS_rate_limited,
                               .status = 429,
                               .error = NP_SPAN("slow down"),
                               .retry_after_ms = 1000,
                               .start_ns = NP_NS_PER_S,
                               .end_ns = NP_NS_PER_S + 250 * NP_NS_PER_MS,
                               .cost_nusd = 1000000,
                               .ended = true};
}

static void run(struct kit *k, enum np_hook hook)
{
    static struct np_candidate c;
    static struct np_attempt a;
    c = candidate(k);
    a = attempt(k);
    switch (hook) {
    case NP_HOOK_truncate:
        np_hook_truncate(k->s, k->x, &c, 500, &k->rep);
        break;
    case NP_HOOK_budget:
        np_hook_budget(k->s, k->x, &c, &k->verdict, &k->rep);
        break;
    case NP_HOOK_retry:
        np_hook_retry(k->s, k->x, &a, &k->verdict, &k->rep);
        break;
    case NP_HOOK_respond:
        k->x->answer.text = NP_SPAN("The answer.");
        k->x->answer.usage = (struct np_usage){.prompt = 10, .completion = 3};
        k->x->answered_by = &k->models[2];
        np_hook_respond(k->s, k->x, &k->verdict, &k->rep);
        break;
    default:
        np_hook_degrade(k->s, k->x, NP_REASON_budget, &k->rep);
    }
}

static void hook(struct kit *k, enum np_hook which, const char *body)
{
    static char name[32], source[4096];
    snprintf(name, sizeof name, "%s.lua", np_hook_name(which));
    snprintf(source, sizeof source, "return function(req, arg)\n%s\nend", body);
    kit_hook(k, name, source);
    run(k, which);
}

#define assert_nothing(k)                                                                    \
    ck_assert_msg((k)->rep.result == NP_HOOK_NOTHING, "result %d: %s", (int)(k)->rep.result, \
                  (k)->rep.error)

static void kept_are(const struct kit *k, bool a, bool b, bool c)
{
    ck_assert(k->x->request.context[0].kept == a);
    ck_assert(k->x->request.context[1].kept == b);
    ck_assert(k->x->request.context[2].kept == c);
}

START_TEST(truncate_keeps_the_items_that_it_returns_and_the_pinned_ones)
{
    static const char *const bodies[] = {
        "return {req.context[3]}",
        "return {'c'}",
        "return {{id='c'}}",
        "local keep = {} for _, item in ipairs(req.context) do"
        " if item.priority > 2 then keep[#keep + 1] = item end end return keep",
    };
    struct kit k;
    hook(&k, NP_HOOK_truncate, bodies[_i]);
    kit_assert_gave(&k);
    kept_are(&k, false, true, true);
    ck_assert(np_span_is(k.x->notes[0].returned, "kept 2 of 3"));
    kit_close(&k);
}
END_TEST

START_TEST(truncate_may_keep_nothing_and_gets_the_room)
{
    struct kit k;
    hook(&k, NP_HOOK_truncate, "assert(arg == 500) return {}");
    kit_assert_gave(&k);
    kept_are(&k, false, true, false);
    kit_close(&k);
}
END_TEST

START_TEST(an_unknown_item_fails_and_keeps_all)
{
    struct kit k;
    hook(&k, NP_HOOK_truncate, "return {'c', 'x'}");
    kit_assert_failed(&k, KIT_TYPE, "1 of the items are none of req.context");
    kept_are(&k, true, true, true);
    kit_close(&k);
}
END_TEST

START_TEST(budget_sees_the_estimate)
{
    struct kit k;
    hook(&k, NP_HOOK_budget,
         "assert(arg.model == 'gpt-4.1' and arg.provider == 'openai' and arg.tier == 'premium')\n"
         "assert(arg.prompt_tokens == 812 and arg.max_tokens == 400 and arg.timeout_ms == 30000)\n"
         "assert(arg.estimated_usd == 0.0025 and arg.worst_usd == 0.005)");
    assert_nothing(&k);
    ck_assert_int_eq(k.verdict.kind, NP_VERDICT_NONE);
    kit_close(&k);
}
END_TEST

START_TEST(retry_sees_the_attempt)
{
    struct kit k;
    hook(&k, NP_HOOK_retry,
         "assert(arg.number == 2 and arg.model == 'gpt-4.1-mini' and arg.provider == 'openai')\n"
         "assert(arg.class == 'rate_limited' and arg.status == 429 and arg.error == 'slow down')\n"
         "assert(arg.retry_after_ms == 1000 and arg.latency_ms == 250)\n"
         "assert(arg.remaining_ms == 10000 and arg.cost_usd == 0.001 and arg.emitted == false)");
    assert_nothing(&k);
    kit_close(&k);
}
END_TEST

START_TEST(req_lists_the_attempts_that_have_ended)
{
    struct kit k;
    kit_hook(&k, "retry.lua",
             "return function(req, a) if #req.attempts ~= a.number - 1 then error('count') end\n"
             "for _, one in ipairs(req.attempts) do assert(one.class == 'rate_limited') end end");
    struct np_attempt a = attempt(&k);
    for (unsigned n = 1; n <= 3; n++) {
        a.number = n;
        np_hook_retry(k.s, k.x, &a, &k.verdict, &k.rep);
        assert_nothing(&k);
        if (!k.x->attempts)
            k.x->attempts = np_arena_array(k.x->arena, NP_MAX_ATTEMPTS, sizeof a);
        ck_assert_ptr_nonnull(k.x->attempts);
        k.x->attempts[k.x->n_attempts++] = a;
    }
    kit_close(&k);
}
END_TEST

START_TEST(respond_sees_the_reply)
{
    struct kit k;
    hook(
        &k, NP_HOOK_respond,
        "assert(arg.text == 'The answer.' and arg.model == 'claude' and arg.provider == 'openai')\n"
        "assert(arg.finish_reason == 'stop' and arg.usage.completion_tokens == 3)\n"
        "assert(arg.cost_usd == 0 and arg.latency_ms == 0)\n"
        "return arg");
    assert_nothing(&k);
    kit_close(&k);
}
END_TEST

START_TEST(respond_changes_the_text)
{
    static const char *const bodies[] = {
        "arg.text = arg.text:upper() assert(arg.text == 'THE ANSWER.') return arg",
        "return {text = 'THE ANSWER.'}",
    };
    struct kit k;
    hook(&k, NP_HOOK_respond, bodies[_i]);
    kit_assert_gave(&k);
    ck_assert_int_eq(k.verdict.kind, NP_VERDICT_NONE);
    ck_assert(np_span_is(k.x->answer.text, "THE ANSWER."));
    kit_close(&k);
}
END_TEST

START_TEST(a_text_that_is_written_but_not_returned_is_not_taken)
{
    struct kit k;
    hook(&k, NP_HOOK_respond, "arg.text = 'x'");
    assert_nothing(&k);
    ck_assert(np_span_is(k.x->answer.text, "The answer."));
    kit_close(&k);
}
END_TEST

START_TEST(degrade_gives_text_status_and_wait)
{
    struct kit k;
    hook(&k, NP_HOOK_degrade,
         "assert(arg == 'budget') return {text='later', status=503, retry_after_s=60}");
    kit_assert_gave(&k);
    ck_assert(np_span_is(k.x->outcome.text, "later"));
    ck_assert_uint_eq(k.x->outcome.status, 503);
    ck_assert_int_eq(k.x->outcome.retry_after_s, 60);
    kit_close(&k);
}
END_TEST

START_TEST(degrade_fills_a_template)
{
    struct kit k;
    hook(&k, NP_HOOK_degrade, "return template('busy', {name = req.tenant})");
    kit_assert_gave(&k);
    ck_assert_msg(np_span_is(k.x->outcome.text, "Sorry acme, budget."), "%.*s",
                  (int)k.x->outcome.text.n, k.x->outcome.text.p);
    kit_close(&k);
}
END_TEST

static const struct {
    enum np_hook hook;
    const char *body;
    enum np_verdict_kind kind;
} verdicts[] = {
    {NP_HOOK_budget, "return 'next'", NP_VERDICT_NEXT},
    {NP_HOOK_budget, "return 'degrade'", NP_VERDICT_DEGRADE},
    {NP_HOOK_budget, "return {max_tokens = 77}", NP_VERDICT_LOWER},
    {NP_HOOK_budget, "return {status=429, type='budget_exceeded'}", NP_VERDICT_REFUSE},
    {NP_HOOK_retry, "return 'next'", NP_VERDICT_NEXT},
    {NP_HOOK_retry, "return 'degrade'", NP_VERDICT_DEGRADE},
    {NP_HOOK_retry, "return 'fail'", NP_VERDICT_FAIL},
    {NP_HOOK_retry, "return {retry_in_ms = 76.5}", NP_VERDICT_RETRY},
    {NP_HOOK_respond, "return 'degrade'", NP_VERDICT_DEGRADE},
};

START_TEST(words_and_tables_become_verdicts)
{
    struct kit k;
    hook(&k, verdicts[_i].hook, verdicts[_i].body);
    kit_assert_gave(&k);
    ck_assert_int_eq(k.verdict.kind, verdicts[_i].kind);
    if (k.verdict.kind == NP_VERDICT_LOWER)
        ck_assert_int_eq(k.verdict.max_tokens, 77);
    if (k.verdict.kind == NP_VERDICT_RETRY)
        ck_assert_int_eq(k.verdict.retry_in_ms, 77);
    if (k.verdict.kind == NP_VERDICT_REFUSE)
        ck_assert_uint_eq(k.verdict.refusal.status, 429);
    kit_close(&k);
}
END_TEST

static const struct {
    enum np_hook hook;
    const char *body, *needle;
} wrong[] = {
    {NP_HOOK_budget, "return 'fail'", "budget must return nothing, {max_tokens=}"},
    {NP_HOOK_budget, "return {max_tokens = 5, x = 1}", "unknown key \"x\""},
    {NP_HOOK_budget, "return {max_token = 5}", "unknown key"},
    {NP_HOOK_budget, "arg.model = 'x'", "candidate is read-only"},
    {NP_HOOK_budget, "return arg.estimatd_usd", "did you mean \"estimated_usd\"?"},
    {NP_HOOK_retry, "return {retry_in_ms = -1}", "retry_in_ms must be a number of at least 0"},
    {NP_HOOK_retry, "return {}", "retry must return {retry_in_ms=}"},
    {NP_HOOK_retry, "return arg.text", "attempt has no field \"text\""},
    {NP_HOOK_retry, "return 'nxt'", "returned the text \"nxt\""},
    {NP_HOOK_respond, "return 'The answer'", "respond must return nothing, the reply"},
    {NP_HOOK_respond, "arg.model = 'x' return arg", "only reply.text can be changed"},
    {NP_HOOK_respond, "arg.text = 5 return arg", "reply.text must be a string"},
    {NP_HOOK_respond, "return {txt = 'x'}", "did you mean \"text\"?"},
    {NP_HOOK_truncate, "return 5", "the list of context items to keep"},
    {NP_HOOK_truncate, "return {first = 'c'}", "the list of context items to keep"},
    {NP_HOOK_truncate, "return {5}", "item 1 is neither"},
    {NP_HOOK_degrade, "return {status = 'x'}", "status must be a whole number from 200 to 599"},
    {NP_HOOK_degrade, "return {text = 5}", "text must be a string, got 5"},
    {NP_HOOK_degrade, "return template('bussy')", "did you mean \"busy\""},
};

START_TEST(a_wrong_kind_is_a_failure_of_type_and_changes_nothing)
{
    struct kit k;
    hook(&k, wrong[_i].hook, wrong[_i].body);
    kit_assert_failed(&k, KIT_TYPE, wrong[_i].needle);
    ck_assert_int_eq(k.verdict.kind, NP_VERDICT_NONE);
    ck_assert_uint_eq(k.x->outcome.status, 0);
    kept_are(&k, true, true, true);
    kit_close(&k);
}
END_TEST

START_TEST(a_candidate_that_was_kept_is_over)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"budget.lua",
                                   "local keep = require 'lib.keep'\n"
                                   "return function(req, c) keep.c = c end",
                                   "lib/keep.lua", "return {}", "route.lua",
                                   "local keep = require 'lib.keep'\n"
                                   "return function(req) return {keep.c.model} end",
                                   NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    run(&k, NP_HOOK_budget);
    assert_nothing(&k);
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_failed(&k, KIT_ERROR, "candidate is over");
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("verdicts");
    tcase_add_loop_test(tc, truncate_keeps_the_items_that_it_returns_and_the_pinned_ones, 0, 4);
    tcase_add_test(tc, truncate_may_keep_nothing_and_gets_the_room);
    tcase_add_test(tc, an_unknown_item_fails_and_keeps_all);
    tcase_add_test(tc, budget_sees_the_estimate);
    tcase_add_test(tc, retry_sees_the_attempt);
    tcase_add_test(tc, req_lists_the_attempts_that_have_ended);
    tcase_add_test(tc, respond_sees_the_reply);
    tcase_add_loop_test(tc, respond_changes_the_text, 0, 2);
    tcase_add_test(tc, a_text_that_is_written_but_not_returned_is_not_taken);
    tcase_add_test(tc, degrade_gives_text_status_and_wait);
    tcase_add_test(tc, degrade_fills_a_template);
    tcase_add_loop_test(tc, words_and_tables_become_verdicts, 0,
                        sizeof verdicts / sizeof verdicts[0]);
    tcase_add_loop_test(tc, a_wrong_kind_is_a_failure_of_type_and_changes_nothing, 0,
                        sizeof wrong / sizeof wrong[0]);
    tcase_add_test(tc, a_candidate_that_was_kept_is_over);
    return kit_run(tc);
}
