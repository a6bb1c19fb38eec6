/* The n-th allocation fails, for every n: while a script is made, and while hooks run. */
#include "script/adapter.h"
#include "script/kit.h"
#include "support/fail_alloc.h"

static const char *const files[] = {
    "admit.lua",
    "return function(req) req.messages[1].content = req.messages[1].content:upper()"
    " req.tags = {tier = req.metadata.tier, list = json.decode('[1,{\"a\":[2]}]')}"
    " req.context[1].text = ('x'):rep(2000) end",
    "lib/tiers.lua",
    "return {gold = {'claude', 'gpt-4.1'}}",
    "respond.lua",
    "return function(req, reply) reply.text = reply.text:gsub('%w+', function(w) return w .. '!' end)"
    " return reply end",
    "route.lua",
    "local tiers = require 'lib.tiers'\n"
    "return function(req) shared.set('k', ('y'):rep(100)) assert(#shared.get('k') == 100)"
    " return tiers[req.metadata.tier], template('busy', {name = req.tenant}) end",
    NULL,
};

START_TEST(a_script_is_made_whole_or_not_at_all)
{
    struct kit k;
    kit_open(&k, false, files);
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        struct np_script *s = np_script_new(&k.set, &k.powers, false);
        bool failed = np_fail_happened();
        np_fail_never();
        if (s && !failed) {
            np_script_free(s);
            break;
        }
        np_script_free(s);
    }
    ck_assert_uint_gt(n, 200);
    kit_close(&k);
}
END_TEST

static void run_all(struct kit *k)
{
    k->x->answer.text = NP_SPAN("The answer.");
    np_hook_admit(k->s, k->x, &k->refusal, &k->rep);
    np_hook_route(k->s, k->x, &k->rep);
    np_hook_respond(k->s, k->x, &k->verdict, &k->rep);
}

START_TEST(a_hook_without_memory_fails_and_the_exchange_stays_whole)
{
    struct kit k;
    kit_open(&k, false, files);
    for (size_t n = 0;; n++) {
        ck_assert_ptr_nonnull(kit_script(&k));
        np_exchange_free(k.x);
        k.x = kit_exchange(&k, KIT_BODY, "req_1");
        np_fail_nth(n);
        run_all(&k);
        bool failed = np_fail_happened();
        np_fail_never();
        ck_assert_uint_eq(k.x->request.n_messages, 1);
        ck_assert(k.x->request.messages[0].content.n > 20);
        ck_assert(k.x->n_plan == 0 || k.x->n_plan == 2);
        ck_assert_ptr_nonnull(k.x->answer.text.p);
        for (size_t i = 0; i < k.x->n_notes; i++)
            ck_assert(k.x->notes[i].returned.n == 0 || k.x->notes[i].returned.p);
        np_script_free(k.s);
        k.s = NULL;
        if (!failed) {
            ck_assert_uint_gt(n, 30);
            break;
        }
    }
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

START_TEST(a_script_is_renewed_whole_or_not_at_all)
{
    struct kit k;
    kit_open(&k, false, files);
    ck_assert_ptr_nonnull(kit_script(&k));
    ck_assert_int_eq(np_adapters_open(k.s), NP_OK);
    const struct np_stream_form *form = np_adapter_stream(k.s, NP_ADAPTER_ANTHROPIC);
    size_t n = 0;
    for (;; n++) {
        np_fail_nth(n);
        struct np_script *s = np_script_renew(k.s);
        bool failed = np_fail_happened();
        np_fail_never();
        if (s) {
            np_script_free(k.s);
            k.s = s;
        }
        /* Streams that are under way go on reading by it. */
        ck_assert_ptr_eq(np_adapter_stream(k.s, NP_ADAPTER_ANTHROPIC), form);
        if (!failed)
            break;
    }
    ck_assert_uint_gt(n, 400);
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("memory");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_script_is_made_whole_or_not_at_all);
    tcase_add_test(tc, a_script_is_renewed_whole_or_not_at_all);
    tcase_add_test(tc, a_hook_without_memory_fails_and_the_exchange_stays_whole);
    return kit_run(tc);
}
