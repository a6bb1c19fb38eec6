/* The hook admit: what it may write, and that nothing stays of a hook that fails. */
#include "script/kit.h"

#include <math.h>

#include "model/tokens.h"

static void admit(struct kit *k, const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source, "return function(req)\n%s\nend", body);
    kit_hook(k, "admit.lua", source);
    np_hook_admit(k->s, k->x, &k->refusal, &k->rep);
}

static void assert_raw(struct np_span got, const char *wanted)
{
    ck_assert_msg(np_span_is(got, wanted), "got %.*s, wanted %s", (int)got.n, got.p, wanted);
}

#define assert_nothing(k)                                                                    \
    ck_assert_msg((k)->rep.result == NP_HOOK_NOTHING, "result %d: %s", (int)(k)->rep.result, \
                  (k)->rep.error)

START_TEST(scalars_are_written)
{
    struct kit k;
    admit(&k, "req.system = 'Say \"hi\"\\n'; req.max_tokens = 64; req.temperature = 0.25\n"
              "assert(req.system == 'Say \"hi\"\\n' and req.max_tokens == 64)");
    assert_nothing(&k);
    assert_raw(k.x->request.system, "\"Say \\\"hi\\\"\\n\"");
    ck_assert_int_eq(k.x->request.system_tokens,
                     np_tokens_estimate(NP_SPAN("Say \\\"hi\\\"\\n"), true) +
                         NP_TOKENS_PER_MESSAGE);
    ck_assert_int_eq(k.x->request.max_tokens, 64);
    ck_assert_double_eq(k.x->request.temperature, 0.25);
    assert_raw(k.x->request.temperature_raw, "0.25");
    kit_close(&k);
}
END_TEST

START_TEST(system_and_temperature_can_be_taken_away)
{
    struct kit k;
    admit(&k, "req.system = nil; req.temperature = nil");
    assert_nothing(&k);
    ck_assert_ptr_null(k.x->request.system.p);
    ck_assert_int_eq(k.x->request.system_tokens, 0);
    ck_assert(isnan(k.x->request.temperature));
    kit_close(&k);
}
END_TEST

START_TEST(messages_changed_in_place_count)
{
    struct kit k;
    admit(&k, "req.messages[1].content = 'short'\n"
              "table.insert(req.messages, {role='assistant', content='yes?'})");
    assert_nothing(&k);
    ck_assert_uint_eq(k.x->request.n_messages, 2);
    assert_raw(k.x->request.messages[0].content, "\"short\"");
    ck_assert_uint_eq(k.x->request.messages[0].bytes, 5);
    ck_assert_int_eq(k.x->request.messages[0].tokens,
                     np_tokens_estimate(NP_SPAN("short"), true) + NP_TOKENS_PER_MESSAGE);
    ck_assert_int_eq(k.x->request.messages[1].role, NP_ROLE_ASSISTANT);
    kit_close(&k);
}
END_TEST

START_TEST(a_message_that_is_left_alone_stays_the_clients_bytes)
{
    struct kit k;
    admit(&k, "table.insert(req.messages, 1, {role='system', content='first'})");
    assert_nothing(&k);
    const char *p = k.x->request.messages[1].content.p;
    ck_assert(p > k.x->body.p && p < k.x->body.p + k.x->body.n);
    kit_close(&k);
}
END_TEST

START_TEST(parts_are_shown_as_one_text_and_kept_as_they_were)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                               "\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}";
    struct kit k;
    kit_hook(&k, "admit.lua",
             "return function(req) assert(req.messages[1].content == 'a\\nb')"
             " req.messages[2] = {role='user', content='c'} end");
    np_exchange_free(k.x);
    k.x = kit_exchange(&k, body, "req_1");
    np_hook_admit(k.s, k.x, &k.refusal, &k.rep);
    assert_nothing(&k);
    ck_assert_int_eq(k.x->request.messages[0].content.p[0], '[');
    kit_close(&k);
}
END_TEST

START_TEST(messages_can_be_replaced_and_tokens_follow_at_once)
{
    struct kit k;
    admit(&k, "local before = req.prompt_tokens\n"
              "req.messages = {{role='user', content=('word '):rep(1000)}}\n"
              "assert(req.prompt_tokens > before + 500)\n"
              "req.messages[1].content = 'x'\n"
              "assert(req.prompt_tokens < before)");
    assert_nothing(&k);
    assert_raw(k.x->request.messages[0].content, "\"x\"");
    kit_close(&k);
}
END_TEST

START_TEST(context_is_written_with_its_ids_priorities_and_pins)
{
    struct kit k;
    admit(&k, "table.remove(req.context, 1)\n"
              "req.context[2].priority = 9; req.context[2].pinned = true\n"
              "req.context[3] = {id='new', text='<text>'}");
    assert_nothing(&k);
    const struct np_request *r = &k.x->request;
    ck_assert_uint_eq(r->n_context, 3);
    assert_raw(r->context[0].id, "\"b\"");
    ck_assert(r->context[0].pinned && r->context[1].pinned && !r->context[2].pinned);
    ck_assert_double_eq(r->context[1].priority, 9);
    assert_raw(r->context[2].text, "\"<text>\"");
    ck_assert_uint_eq(r->context[2].index, 2);
    ck_assert(r->context[2].kept && r->context[2].tokens > NP_TOKENS_PER_MESSAGE);
    kit_close(&k);
}
END_TEST

START_TEST(tags_are_kept_for_the_other_hooks)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"admit.lua",
                                   "return function(req) req.tags.gold = true;"
                                   " req.tags.list = {1, 'b'} end",
                                   "route.lua",
                                   "return function(req) if req.tags.gold and req.tags.list[2] == "
                                   "'b' then return {'claude'} end end",
                                   NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_admit(k.s, k.x, &k.refusal, &k.rep);
    assert_nothing(&k);
    assert_raw(k.x->tags, "{\"gold\":true,\"list\":[1,\"b\"]}");
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

START_TEST(a_refusal_is_taken_with_the_changes)
{
    struct kit k;
    admit(&k, "req.max_tokens = 5\n"
              "return {status=403, type='not_today', message='closed'}, 'hours'");
    kit_assert_gave(&k);
    ck_assert_uint_eq(k.refusal.status, 403);
    assert_raw(k.refusal.type_text, "not_today");
    assert_raw(k.refusal.message, "closed");
    ck_assert_int_eq(k.refusal.retry_after_s, -1);
    ck_assert_int_eq(k.x->request.max_tokens, 5);
    assert_raw(k.x->notes[0].why, "hours");
    kit_close(&k);
}
END_TEST

START_TEST(a_known_type_of_refusal_brings_its_status)
{
    struct kit k;
    admit(&k, "return {type='rate_limited', retry_after_s=30}");
    kit_assert_gave(&k);
    ck_assert_uint_eq(k.refusal.status, 429);
    ck_assert_int_eq(k.refusal.type, NP_REFUSAL_rate_limited);
    ck_assert_int_eq(k.refusal.retry_after_s, 30);
    kit_close(&k);
}
END_TEST

START_TEST(a_refusal_may_go_by_position)
{
    struct kit k;
    admit(&k, "return {403, 'forbidden', 'no'}");
    kit_assert_gave(&k);
    ck_assert_int_eq(k.refusal.type, NP_REFUSAL_forbidden);
    assert_raw(k.refusal.message, "no");
    kit_close(&k);
}
END_TEST

static const struct {
    const char *body, *needle;
} wrong[] = {
    {"req.max_tokens = 'many'", "req.max_tokens must be a whole number from 1 to 1048576"},
    {"req.max_tokens = 1.5", "got 1.5"},
    {"req.temperature = 3", "req.temperature must be a number from 0 to 2"},
    {"req.system = {}", "req.system must be a string or nil, got table"},
    {"req.messages = {}", "req.messages must not be empty"},
    {"req.messages = nil", "req.messages must be a table"},
    {"req.messages = {{role='user', contnet='x'}}", "did you mean \"content\"?"},
    {"req.messages = {{role='boss', content='x'}}", "messages[1].role must be"},
    {"req.messages = {{role='user'}}", "messages[1].content must be a string, got nothing"},
    {"req.messages = {{role='user', content='x'}, nil, {role='user', content='x'}}",
     "without holes"},
    {"req.messages = {'x'}", "must be a list of tables"},
    {"req.messages[1].content = 7", "content must be a string, got 7"},
    {"req.messages[1] = nil", "must not be empty"},
    {"req.context = {{id='a', text='x'}, {id='a', text='y'}}", "context[2].id is that of"},
    {"req.context = {{id='', text='x'}}", "context[1].id must have 1 to 256 bytes"},
    {"req.context = {{id='a', text='x', priority=0/0}}", "priority must be a finite number"},
    {"req.context = {{id='a', text='x', pinned=1}}", "pinned must be a boolean"},
    {"req.tags = {f = print, g = function() end}", "req.tags: JSON can't hold a function"},
    {"req.tags = {x = ('x'):rep(5000)}", "at most 4096 bytes"},
    {"req.id = 'x'", "req.id is read-only"},
    {"req.tennant = 'x'", "did you mean \"tenant\"?"},
    {"return 'no'", "admit must return nothing or a refusal"},
    {"return {}", "a refusal needs a status or a type"},
    {"return {status=200}", "status must be a whole number from 400 to 599"},
    {"return {status=400, messgae='x'}", "did you mean \"message\"?"},
    {"return {type='No!'}", "type has only a-z and _"},
};

START_TEST(nothing_is_kept_of_a_hook_that_wrote_a_wrong_kind)
{
    struct kit k;
    char body[1024];
    snprintf(body, sizeof body, "req.system = 'gone'; req.max_tokens = 1; req.tags = {a=1}\n%s",
             wrong[_i].body);
    admit(&k, body);
    kit_assert_failed(&k, KIT_TYPE, wrong[_i].needle);
    assert_raw(k.x->request.system, "\"Be brief.\"");
    ck_assert_int_eq(k.x->request.max_tokens, 300);
    ck_assert_uint_eq(k.x->request.n_messages, 1);
    ck_assert_uint_eq(k.x->request.n_context, 3);
    ck_assert_ptr_null(k.x->tags.p);
    kit_close(&k);
}
END_TEST

START_TEST(a_list_that_was_kept_has_no_say_after_admit)
{
    struct kit k;
    kit_open(&k, false,
             (const char *const[]){"admit.lua",
                                   "kept = require 'lib.keep'\n"
                                   "return function(req) kept[1] = req.messages end",
                                   NULL});
    /* Globals are refused, so this set does not load. */
    ck_assert_ptr_null(kit_script(&k));
    kit_close(&k);
    kit_open(
        &k, false,
        (const char *const[]){"admit.lua",
                              "local keep = require 'lib.keep'\n"
                              "return function(req) keep.messages = req.messages end",
                              "lib/keep.lua", "return {}", "route.lua",
                              "local keep = require 'lib.keep'\n"
                              "return function(req) keep.messages[1].content = 'x'\n"
                              "if req.messages[1].content ~= 'x' then return {'claude'} end end",
                              NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    np_hook_admit(k.s, k.x, &k.refusal, &k.rep);
    assert_nothing(&k);
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

START_TEST(what_is_read_only_may_be_assigned_from_without_becoming_writable)
{
    struct kit k;
    admit(&k, "req.tags = req.metadata\n"
              "req.tags.tier = 'none'\n"
              "assert(req.metadata.tier == 'gold')");
    assert_nothing(&k);
    assert_raw(k.x->tags, "{\"deep\":{\"x\":[1,2]},\"n\":7,\"tier\":\"none\"}");
    kit_close(&k);
}
END_TEST

START_TEST(an_error_after_changes_leaves_the_request)
{
    struct kit k;
    admit(&k, "req.messages[1].content = 'x'\nerror('stop')");
    kit_assert_failed(&k, KIT_ERROR, "admit.lua:3: stop");
    ck_assert(k.x->request.messages[0].content.n > 10);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("admit");
    tcase_add_test(tc, scalars_are_written);
    tcase_add_test(tc, system_and_temperature_can_be_taken_away);
    tcase_add_test(tc, messages_changed_in_place_count);
    tcase_add_test(tc, a_message_that_is_left_alone_stays_the_clients_bytes);
    tcase_add_test(tc, parts_are_shown_as_one_text_and_kept_as_they_were);
    tcase_add_test(tc, messages_can_be_replaced_and_tokens_follow_at_once);
    tcase_add_test(tc, context_is_written_with_its_ids_priorities_and_pins);
    tcase_add_test(tc, tags_are_kept_for_the_other_hooks);
    tcase_add_test(tc, a_refusal_is_taken_with_the_changes);
    tcase_add_test(tc, a_known_type_of_refusal_brings_its_status);
    tcase_add_test(tc, a_refusal_may_go_by_position);
    tcase_add_loop_test(tc, nothing_is_kept_of_a_hook_that_wrote_a_wrong_kind, 0,
                        sizeof wrong / sizeof wrong[0]);
    tcase_add_test(tc, a_list_that_was_kept_has_no_say_after_admit);
    tcase_add_test(tc, what_is_read_only_may_be_assigned_from_without_becoming_writable);
    tcase_add_test(tc, an_error_after_changes_leaves_the_request);
    return kit_run(tc);
}
