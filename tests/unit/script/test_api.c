/* The functions that policies may call. */
#include <unistd.h>

#include "base/log.h"
#include "script/kit.h"

static double p95(void *ctx, struct np_span name)
{
    (void)ctx;
    return np_span_is(name, "gpt-4.1") ? 900 : np_span_is(name, "claude") ? 400 : -1;
}

static double rate(void *ctx, struct np_span name)
{
    (void)ctx;
    return np_span_is(name, "claude") ? 0.25 : -1;
}

static bool spent(void *ctx, struct np_span account, struct np_span window, int64_t *out)
{
    (void)ctx;
    *out = np_span_is(window, "day") ? 1250000000 : 7;
    return np_span_is(account, "global");
}

static bool remaining(void *ctx, struct np_span account, int64_t *out)
{
    (void)ctx;
    *out = 500000000;
    return np_span_is(account, "tenant:acme");
}

static const char *breaker(void *ctx, struct np_span model)
{
    (void)ctx;
    return np_span_is(model, "claude") ? "open" : NULL;
}

/* Reads its names, so that a mistake shows. */
static double burn(void *ctx, struct np_span endpoint, struct np_span objective,
                   struct np_span window)
{
    if (objective.n == 0 && np_span_is(window, "1h"))
        return rate(ctx, endpoint);
    return np_span_is(objective, "cost_usd") && np_span_is(window, "30m") ? 7 : -1;
}

static void lend(struct kit *k)
{
    k->s = NULL;
    k->powers.p95_ms = p95;
    k->powers.error_rate = rate;
    k->powers.burn = burn;
    k->powers.spent = spent;
    k->powers.remaining = remaining;
    k->powers.breaker = breaker;
}

static void check(struct kit *k, const char *body)
{
    static char source[4096];
    snprintf(source, sizeof source, "return function(req)\n%s\nend", body);
    kit_open(k, false, (const char *const[]){"route.lua", source, NULL});
    lend(k);
    ck_assert_ptr_nonnull(kit_script(k));
    np_hook_route(k->s, k->x, &k->rep);
}

static const char *const truths[] = {
    "assert(stats.p95('gpt-4.1') == 900 and stats.p95('x') == nil)",
    "assert(stats.error_rate('claude') == 0.25 and stats.burn('claude') == 0.25)",
    "assert(stats.burn('claude', 'cost_usd', '30m') == 7)",
    "assert(stats.burn('claude', 'p95_ms') == nil and stats.burn('claude', nil, '1h') == 0.25)",
    "assert(stats.cost_usd('global', 'day') == 1.25 and stats.cost_usd('model:x', 'day') == nil)",
    "assert(stats.cost_usd('global') == 7e-9)",
    "assert(budget.remaining('tenant:acme') == 0.5 and budget.remaining('tenant:x/day') == nil)",
    "assert(breaker.state('claude') == 'open' and breaker.state('x') == nil)",
    "assert(tokens('one two three', 'claude') > 2 and tokens('') == 0)",
    "assert(now_ms() == 1790000000000)",
    "for _ = 1, 100 do local r = random() assert(r >= 0 and r < 1) end",
    "assert(backoff{base_ms=100, cap_ms=5000, jitter_ms=0, attempt=3} == 800)",
    "assert(backoff{base_ms=100, cap_ms=500, jitter_ms=0, attempt=900} == 500)",
    "for _ = 1, 99 do local w = backoff{attempt=1} assert(w >= 500 and w <= 620) end",
    "assert(pick{{'claude', 'gpt-4.1', 'gpt-4.1-mini'}, by='latency'} == 'claude')",
    "assert(pick{{'gpt-4.1-mini', 'gpt-4.1'}, by='latency'} == 'gpt-4.1')",
    "assert(pick{'gpt-4.1', 'gpt-4.1-mini', 'claude', by='cost'} == 'claude')",
    "assert(pick{models={'claude'}} == 'claude')",
    "local n = 0 for _ = 1, 1000 do if pick{{'claude', 'gpt-4.1'}, weights={3, 1}} == 'claude' then"
    " n = n + 1 end end assert(n > 650 and n < 850, n)",
    "for _ = 1, 50 do assert(pick{{'claude', 'gpt-4.1'}, weights={['gpt-4.1']=1, claude=0}} =="
    " 'gpt-4.1') end",
    "local n, moved = 0, 0 for i = 1, 1000 do\n"
    "local one = pick{{'claude', 'gpt-4.1', 'gpt-4.1-mini'}, sticky='t' .. i}\n"
    "assert(one == pick{{'gpt-4.1', 'gpt-4.1-mini', 'claude'}, sticky='t' .. i})\n"
    "if one == 'claude' then n = n + 1 end\n"
    "if one ~= 'claude' and one ~= pick{{'gpt-4.1', 'gpt-4.1-mini'}, sticky='t' .. i} then"
    " moved = moved + 1 end end assert(n > 250 and n < 420 and moved == 0, n)",
    "assert(template('busy', {name='Ann'}) == 'Sorry Ann, none.')",
    "assert(template('busy') == 'Sorry {{name}}, none.')",
    "assert(template('busy', {name=5, x=true}) == 'Sorry 5, none.')",
    "shared.set('k', 'v') assert(shared.get('k') == 'v' and shared.get('other') == nil)",
    "shared.set('k', 5) assert(shared.get('k') == 5 and math.type(shared.get('k')) == 'integer')",
    "shared.set('k', true) assert(shared.get('k') == true) shared.set('k', nil)"
    " assert(shared.get('k') == nil)",
    "assert(shared.incr('n') == 1 and shared.incr('n', 2.5) == 3.5)",
    "shared.set('k', 1, 0.5) assert(shared.get('k') == 1)",
    "log.info('a message', {b = 1, a = 'x', c = true})",
};

START_TEST(functions_do_what_they_say)
{
    struct kit k;
    check(&k, truths[_i]);
    ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "%s: %s", truths[_i], k.rep.error);
    kit_close(&k);
}
END_TEST

static const char *const wrong[] = {
    "stats.p95({})",
    "stats.p95()",
    "stats.p95(5)",
    "stats.error_rate(5)",
    "stats.burn(5)",
    "stats.burn('claude', 5)",
    "stats.cost_usd('global', 5)",
    "breaker.state(5)",
    "tokens(5)",
    "tokens('a', 5)",
    "template(5)",
    "json.decode(5)",
    "log.info(5)",
    "shared.get(5)",
    "shared.set(5, 1)",
    "shared.set('k', 1, '5')",
    "shared.incr(5)",
    "shared.incr('k', '5')",
    "shared.incr('k', 1, '5')",
    "stats.error_rate(true)",
    "stats.burn({})",
    "stats.burn('claude', 'cost')",
    "stats.burn('claude', 5 < 6)",
    "stats.burn('claude', 'cost_usd', '2h')",
    "stats.cost_usd('acme')",
    "stats.cost_usd('tenant:')",
    "stats.cost_usd('tenants:acme')",
    "stats.cost_usd('global', 'daily')",
    "stats.cost_usd('global/dya')",
    "stats.cost_usd('global', {})",
    "budget.remaining('acme')",
    "budget.remaining('globl')",
    "budget.remaining()",
    "breaker.state(nil)",
    "shared.get()",
    "shared.get({})",
    "shared.incr('k', 'x')",
    "shared.incr('k', 1, 'soon')",
    "json.decode({})",
    "json.encode()",
    "json.encode(type)",
    "require(5 < 6)",
    "require 'lib'",
    "tokens()",
    "backoff{attempts=1}",
    "backoff{base_ms='x'}",
    "backoff()",
    "pick{}",
    "pick{{'cluade'}}",
    "pick{{'claude'}, by='mood'}",
    "pick{{'claude'}, weights={0}}",
    "pick{{'claude'}, weights={x=1}}",
    "pick{weight={1}}",
    "pick{'claude', 'gpt-4.1', weight={1, 2}}",
    "pick{{'claude', 'gpt-4.1'}, wieghts={1, 2}}",
    "pick{'claude', 'gpt-4.1', [5 < 6]=1}",
    "template('bsuy')",
    "template('busy', {name={}})",
    "template('busy', {'x'})",
    "shared.set('', 1)",
    "shared.set('k', {})",
    "shared.set('k', ('x'):rep(5000))",
    "shared.set('k', 1, -1)",
    "shared.set('k', 'x') shared.incr('k')",
    "log.info()",
    "log.info('m', {['a b']=1})",
    "log.info('m', {a={}})",
    "log.info('m', 'x')",
};

START_TEST(a_wrong_kind_is_an_error_of_type)
{
    struct kit k;
    check(&k, wrong[_i]);
    kit_assert_failed(&k, KIT_TYPE, "route.lua:2: ");
    kit_close(&k);
}
END_TEST

/* A slip of the pen is answered with what was meant. */
static const char *const slips[][2] = {
    {"pick{'gpt-4.1-mni'}", "there is no model \"gpt-4.1-mni\"; did you mean \"gpt-4.1-mini\"?"},
    {"stats.cost_usd('global', 'dya')", "did you mean \"day\"?"},
    {"budget.remaining('acme')", "an account is global, tenant:NAME, "},
    {"backoff{attempts=1}", "did you mean \"attempt\"?"},
    {"template('bsuy')", "did you mean \"busy\"?"},
};

START_TEST(a_slip_of_the_pen_is_told_with_what_is_near)
{
    struct kit k;
    check(&k, slips[_i][0]);
    kit_assert_failed(&k, KIT_TYPE, slips[_i][1]);
    kit_close(&k);
}
END_TEST

START_TEST(by_cost_is_where_the_request_fits_and_costs_least)
{
    struct kit k;
    const char *route =
        "return function(req) return {pick{'gpt-4.1', 'gpt-4.1-mini', 'claude', by='cost'}} end";
    kit_hook(&k, "route.lua", route);
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_str_eq(k.x->plan[0].model->name, "claude");
    /* 300 tokens of answer do not fit beside the prompt. */
    k.models[2].context = 310;
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_str_eq(k.x->plan[0].model->name, "gpt-4.1-mini");
    /* Cheap to read, dear to write. */
    k.models[1].price.base.output = 90000;
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_str_eq(k.x->plan[0].model->name, "gpt-4.1");
    /* Where nothing is known or nothing fits, the first. */
    k.models[0].price.priced = false;
    k.models[1].max_output = 10;
    k.models[1].context = 15;
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_str_eq(k.x->plan[0].model->name, "gpt-4.1");
    kit_close(&k);
}
END_TEST

START_TEST(what_the_ground_does_not_lend_is_nil)
{
    struct kit k;
    kit_route(&k, "assert(stats.p95('x') == nil and stats.cost_usd('global') == nil)\n"
                  "assert(budget.remaining('global') == nil and breaker.state('claude') == nil)\n"
                  "assert(pick{{'claude', 'gpt-4.1'}, by='latency'} == 'claude')");
    ck_assert_msg(k.rep.result == NP_HOOK_NOTHING, "%s", k.rep.error);
    kit_close(&k);
}
END_TEST

START_TEST(a_log_line_has_message_sorted_fields_place_and_request)
{
    struct kit k;
    char path[] = "/tmp/neap_log_XXXXXX", line[1024] = "";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(np_log_open(path), NP_OK);
    check(&k, "log.warn('low on money', {zeta = 1.5, alpha = 'x y', flag = false})");
    np_log_close();
    FILE *f = fdopen(fd, "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    fclose(f);
    unlink(path);
    ck_assert_msg(strstr(line, "warn low on money alpha=\"x y\" flag=false zeta=1.5 file=route.lua "
                               "line=2 request_id=req_1"),
                  "%s", line);
    kit_close(&k);
}
END_TEST

START_TEST(a_value_outlives_its_script_but_not_its_time)
{
    struct kit k;
    kit_hook(&k, "route.lua",
             "return function() if shared.get('k') then return {'claude'} end"
             " shared.set('k', 1, 2) end");
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    np_script_free(k.s);
    ck_assert_ptr_nonnull(kit_script(&k));
    k.now_ns += 1900 * NP_NS_PER_MS;
    np_hook_route(k.s, k.x, &k.rep);
    kit_assert_gave(&k);
    k.now_ns += 200 * NP_NS_PER_MS;
    np_hook_route(k.s, k.x, &k.rep);
    ck_assert_int_eq(k.rep.result, NP_HOOK_NOTHING);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("api");
    tcase_add_loop_test(tc, functions_do_what_they_say, 0, sizeof truths / sizeof truths[0]);
    tcase_add_loop_test(tc, a_wrong_kind_is_an_error_of_type, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_loop_test(tc, a_slip_of_the_pen_is_told_with_what_is_near, 0,
                        sizeof slips / sizeof slips[0]);
    tcase_add_test(tc, by_cost_is_where_the_request_fits_and_costs_least);
    tcase_add_test(tc, what_the_ground_does_not_lend_is_nil);
    tcase_add_test(tc, a_log_line_has_message_sorted_fields_place_and_request);
    tcase_add_test(tc, a_value_outlives_its_script_but_not_its_time);
    return kit_run(tc);
}
