/* The hook route: what it reads of req, and what is made of what it returns. */
#include "script/kit.h"

static void plan_is(const struct kit *k, const char *first, const char *second)
{
    ck_assert_str_eq(k->x->plan[0].model->name, first);
    ck_assert_uint_eq(k->x->n_plan, second ? 2 : 1);
    if (second)
        ck_assert_str_eq(k->x->plan[1].model->name, second);
}

START_TEST(a_list_of_names_becomes_the_plan)
{
    struct kit k;
    kit_route(&k, "return {'claude', 'gpt-4.1'}, 'because'");
    kit_assert_gave(&k);
    plan_is(&k, "claude", "gpt-4.1");
    ck_assert_uint_eq(k.x->n_notes, 1);
    ck_assert(np_span_is(k.x->notes[0].returned, "claude, gpt-4.1"));
    ck_assert(np_span_is(k.x->notes[0].why, "because"));
    kit_close(&k);
}
END_TEST

START_TEST(a_candidate_may_have_its_own_settings)
{
    struct kit k;
    kit_route(&k,
              "return {{model='claude', timeout_ms=1500, max_tokens=20, hedge_after_ms=299.2}}");
    kit_assert_gave(&k);
    plan_is(&k, "claude", NULL);
    ck_assert_uint_eq(k.x->plan[0].timeout_ms, 1500);
    ck_assert_int_eq(k.x->plan[0].max_tokens, 20);
    ck_assert_uint_eq(k.x->plan[0].hedge_after_ms, 300);
    kit_close(&k);
}
END_TEST

START_TEST(nil_is_no_opinion)
{
    struct kit k;
    kit_route(&k, "return nil");
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    ck_assert_uint_eq(k.x->n_plan, 0);
    ck_assert(np_span_is(k.x->notes[0].returned, "nothing"));
    kit_close(&k);
}
END_TEST

START_TEST(an_absent_hook_leaves_no_note)
{
    struct kit k;
    kit_hook(&k, "retry.lua", "return function() end");
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_int_eq(k.rep.result, NP_HOOK_ABSENT);
    ck_assert_uint_eq(k.x->n_notes, 0);
    kit_close(&k);
}
END_TEST

static const struct {
    const char *body, *needle;
} wrong[] = {
    {"return 7", "route.lua:1: route must return a list of candidates, returned a number"},
    {"return 'claude'", "returned the text \"claude\""},
    {"return {}", "empty list"},
    {"return {model='claude'}", "must return a list"},
    {"return {'gpt-4.1-mni'}", "did you mean \"gpt-4.1-mini\"?"},
    {"return {{model='claude', timeout=5}}", "unknown key \"timeout\""},
    {"return {{model='claude', timeout_msec=5}}", "did you mean \"timeout_ms\"?"},
    {"return {{model='claude', timeout_ms='5'}}", "timeout_ms must be a whole number"},
    {"return {{model='claude', max_tokens=0}}", "max_tokens must be a whole number from 1"},
    {"return {true}", "candidate 1 must be a model's name"},
    {"local t = {} for i = 1, 17 do t[i] = 'claude' end return t", "17 candidates"},
    {"return {'claude'}, {}", "the second value, why, must be a string"},
    {"return req.promt_tokens", "did you mean \"prompt_tokens\"?"},
    {"return req[1]", "named fields only"},
    {"req.max_tokens = 5", "max_tokens can be written in admit only"},
    {"req.id = 'x'", "req.id is read-only"},
    {"req.messages[1] = nil", "read-only"},
    {"req.messages[1].content = 'x'", "read-only"},
    {"req.metadata.tier = 'x'", "read-only"},
    {"table.insert(req.context, {})", "read-only"},
    {"return stats.p95()", "bad argument #1"},
};

START_TEST(a_wrong_kind_is_a_failure_of_type_and_says_where)
{
    struct kit k;
    kit_route(&k, wrong[_i].body);
    kit_assert_failed(&k, KIT_TYPE, wrong[_i].needle);
    ck_assert_msg(strncmp(k.rep.error, "route.lua:", 10) == 0, "%s", k.rep.error);
    ck_assert_uint_eq(k.x->n_plan, 0);
    ck_assert(np_span_is(k.x->notes[0].returned, "failed: type"));
    kit_close(&k);
}
END_TEST

/* Each gives its models only if what it asks is true. */
static const char *const truths[] = {
    "req.id == 'req_1'",
    "req.endpoint == '/api/assistant/reply' and req.tenant == 'acme'",
    "#req.messages == 1 and req.messages[1].role == 'user'",
    "req.messages[1].content == 'How do I reset my \"VPN\"?'",
    "req.system == 'Be brief.'",
    "#req.context == 3 and req.context[2].pinned and not req.context[1].pinned",
    "req.context[1].priority == 1 and math.type(req.context[1].priority) == 'integer'",
    "req.context[3].priority == 2.5 and req.context[3].id == 'c'",
    "req.context[1].tokens > 0 and req.prompt_tokens > 20",
    "req.max_tokens == 300 and req.temperature == 0.5 and req.stream == false",
    "req.model == 'gpt-4.1'",
    "req.metadata.tier == 'gold' and req.metadata.n == 7 and req.metadata.none == nil",
    "req.metadata.deep.x[2] == 2 and #req.metadata.deep.x == 2",
    "req.metadata.nothing == nil and next(req.tags) == nil",
    "req.elapsed_ms == 0 and req.remaining_ms == 10000",
    "req.spent_usd == 0 and #req.attempts == 0",
    "req.messages == req.messages and req.metadata == req.metadata",
    "(function() local n = 0 for k in pairs(req.metadata) do n = n + 1 end return n end)() == 3",
    "(function() local n = 0 for _, m in ipairs(req.context) do n = n + m.priority end"
    " return n end)() == 8.5",
    "json.encode(req.metadata) == '{\"deep\":{\"x\":[1,2]},\"n\":7,\"tier\":\"gold\"}'",
    "type(req.metadata) == 'table' and rawlen(req.context) == 3",
    "type(req) == 'userdata' and getmetatable(req) == false",
    "table.concat(req.metadata.deep.x, ',') == '1,2'",
};

START_TEST(req_shows_the_request)
{
    struct kit k;
    char body[512];
    snprintf(body, sizeof body, "if %s then return {'claude'} end", truths[_i]);
    kit_route(&k, body);
    ck_assert_msg(k.rep.result == NP_HOOK_GAVE, "not true: %s (%s)", truths[_i], k.rep.error);
    kit_close(&k);
}
END_TEST

START_TEST(time_that_has_passed_shows)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "return function(req) if req.elapsed_ms == 2500 and req.remaining_ms == 7500 then"
             " return {'claude'} end end");
    k.now_ns += 2500 * NP_NS_PER_MS;
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

START_TEST(a_req_that_was_kept_is_over_in_the_next_request)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "local kept, meta\n"
             "return function(req)\n"
             "  if kept == nil then kept = req; meta = req.metadata; return {'claude'} end\n"
             "  if kept == req then return {'gpt-4.1'} end\n"
             "  return {kept.model}\n"
             "end");
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    ck_assert_str_eq(k.x->plan[0].model->name, "gpt-4.1");
    struct np_exchange *other = kit_exchange(&k, KIT_BODY, "req_2");
    np_hook_route(k.s, other, &k.rep);
    kit_assert_failed(&k, KIT_ERROR, "route.lua:5: the request is over");
    np_exchange_free(other);
    kit_close(&k);
}
END_TEST

START_TEST(metadata_that_was_kept_is_over_too)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "local meta\n"
             "return function(req) meta = meta or req.metadata; local _ = meta.tier end");
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    struct np_exchange *other = kit_exchange(&k, KIT_BODY, "req_2");
    np_exchange_free(k.x);
    k.x = other;
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_failed(&k, KIT_ERROR, "the request is over");
    kit_close(&k);
}
END_TEST

START_TEST(an_error_names_its_file_and_line_and_leaves_the_plan)
{
    struct kit k;
    kit_route(&k, "local t = nil\nreturn t.x");
    kit_assert_failed(&k, KIT_ERROR, "route.lua:3: attempt to index a nil value");
    kit_close(&k);
}
END_TEST

START_TEST(an_error_that_is_a_table_is_described)
{
    struct kit k;
    kit_route(&k, "error(setmetatable({}, {__tostring = function() while true do end end}))");
    kit_assert_failed(&k, KIT_ERROR, "route.lua:2: the error is a table");
    kit_close(&k);
}
END_TEST

static const char *const leaks[] = {
    "return {req.messages[1].content}",
    "return req.messages[1].content",
    "return req[req.messages[1].content]",
    "return {{[req.messages[1].content] = 1}}",
    "template(req.messages[1].content)",
    "pick{req.messages[1].content}",
    "backoff{[req.messages[1].content] = 1}",
    "req.messages[1].content.x = 1",
    "return {'claude'} .. req.messages[1].content",
    "return #req.messages[1].content + req.messages[1].content",
    "require(req.messages[1].content)",
};

START_TEST(a_prompt_in_the_place_of_a_name_is_not_told)
{
    struct kit k;
    kit_route(&k, leaks[_i]);
    ck_assert_int_eq(k.rep.result, NP_HOOK_FAILED);
    ck_assert_msg(!strstr(k.rep.error, "reset"), "%s", k.rep.error);
    kit_close(&k);
}
END_TEST

START_TEST(a_long_error_is_cut_and_escaped)
{
    struct kit k;
    kit_route(&k, "error('a\\nb\\27' .. ('x'):rep(1000), 0)");
    kit_assert_failed(&k, KIT_ERROR, "a\\x0ab\\x1b");
    ck_assert_uint_lt(strlen(k.rep.error), 250);
    kit_close(&k);
}
END_TEST

START_TEST(a_long_why_is_cut_between_characters)
{
    struct kit k;
    kit_route(&k, "return {'claude'}, ('x'):rep(119) .. 'ä' .. 'more'");
    kit_assert_gave(&k);
    ck_assert_uint_eq(k.x->notes[0].why.n, 119);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("route");
    tcase_add_test(tc, a_list_of_names_becomes_the_plan);
    tcase_add_test(tc, a_candidate_may_have_its_own_settings);
    tcase_add_test(tc, nil_is_no_opinion);
    tcase_add_test(tc, an_absent_hook_leaves_no_note);
    tcase_add_loop_test(tc, a_wrong_kind_is_a_failure_of_type_and_says_where, 0,
                        sizeof wrong / sizeof wrong[0]);
    tcase_add_loop_test(tc, req_shows_the_request, 0, sizeof truths / sizeof truths[0]);
    tcase_add_test(tc, time_that_has_passed_shows);
    tcase_add_test(tc, a_req_that_was_kept_is_over_in_the_next_request);
    tcase_add_test(tc, metadata_that_was_kept_is_over_too);
    tcase_add_test(tc, an_error_names_its_file_and_line_and_leaves_the_plan);
    tcase_add_test(tc, an_error_that_is_a_table_is_described);
    tcase_add_loop_test(tc, a_prompt_in_the_place_of_a_name_is_not_told, 0,
                        sizeof leaks / sizeof leaks[0]);
    tcase_add_test(tc, a_long_error_is_cut_and_escaped);
    tcase_add_test(tc, a_long_why_is_cut_between_characters);
    return kit_run(tc);
}
