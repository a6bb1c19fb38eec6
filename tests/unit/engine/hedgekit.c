/* See hedgekit.h. */
#include "engine/hedgekit.h"

#include <check.h>
#include <stdio.h>

struct kit hedge_kit;

void hedge_endpoint(const char *more)
{
    char text[512];
    (void)snprintf(
        text, sizeof text,
        "return { ['/api/test/reply'] = { models = { 'big', 'small' }, max_tokens = 500,\n"
        "  hedge_after_ms = 500, %s } }\n",
        more);
    kit_file(&hedge_kit, "endpoints.lua", text);
}

void hedge_setup(void)
{
    kit_new(&hedge_kit);
    hedge_endpoint("max_attempts = 4");
}

const struct np_model *hedge_model(const char *name)
{
    return np_catalog_model(np_policyset_catalog(hedge_kit.set), np_span_of(name));
}

void hedge_teardown(void)
{
    struct np_ledger_totals totals;
    struct np_meters *meters = np_sim_meters(hedge_kit.sim);
    np_ledger_totals(np_sim_ledger(hedge_kit.sim), &totals);
    ck_assert_uint_eq(totals.open_reservations, 0);
    ck_assert_uint_eq(totals.double_ends, 0);
    ck_assert_uint_eq(np_sim_open(hedge_kit.sim), 0);
    static const char *const names[] = {"big", "small"};
    for (size_t i = 0; i < 2; i++) {
        const struct np_model *m = hedge_model(names[i]);
        ck_assert_int_eq(np_inflight_get(np_sim_guard(hedge_kit.sim), m->provider), 0);
        ck_assert_int_eq(np_meters_sum(&meters, 1, NP_FAMILY_llm_inflight, m->slot, 0, 0), 0);
    }
    kit_free(&hedge_kit);
}

const struct np_endpoint *hedge_reply(void)
{
    return np_catalog_endpoint(np_policyset_catalog(hedge_kit.set), NP_SPAN("/api/test/reply"));
}

/* Starts the ground as if so many requests had come lately. */
void hedge_start_after(int requests)
{
    kit_start(&hedge_kit);
    for (int i = 0; i < requests; i++)
        np_hedge_share_count(np_sim_guard(hedge_kit.sim), hedge_reply(),
                             np_sim_now_ns(hedge_kit.sim));
}

struct kit_step hedge_takes(uint64_t ms)
{
    return (struct kit_step){.status = 200, .takes_ms = ms};
}

struct kit_step hedge_streamed(const char *body, uint64_t first_ms, uint64_t last_ms)
{
    return (struct kit_step){.status = 200,
                             .how = NP_CALL_COMPLETE,
                             .stream = true,
                             .body = body,
                             .first_ms = first_ms,
                             .takes_ms = last_ms};
}

int64_t hedge_counted(enum np_hedge came)
{
    struct np_meters *meters = np_sim_meters(hedge_kit.sim);
    return np_meters_sum(&meters, 1, NP_FAMILY_hedges, hedge_reply()->slot, (uint32_t)came, 0);
}
