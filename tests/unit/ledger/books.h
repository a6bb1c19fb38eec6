/* A small catalogue for the ledger's tests, and an exchange that walks through it. */
#ifndef NP_TEST_LEDGER_BOOKS_H
#define NP_TEST_LEDGER_BOOKS_H

#include "ledger/ledger.h"

#include <check.h>

#define USD(n) ((int64_t)((n)*1e9))
#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define NOON (20000 * DAY + 12 * HOUR)

#define MAX_BUDGETS 16

/* Fields may be changed between calls, as a reload would. */
static struct np_provider providers[2];
static struct np_model models[2];
static struct np_endpoint endpoints[2];
static struct np_tenant tenants[3];
static struct np_budget budgets[MAX_BUDGETS];
static struct np_catalog catalog;
static struct np_exchange x;
static struct np_ledger *l;

static void budget(enum np_account_kind kind, const char *name, enum np_window w, int64_t limit)
{
    ck_assert_uint_lt(catalog.n_budgets, MAX_BUDGETS);
    budgets[catalog.n_budgets++] =
        (struct np_budget){.kind = kind, .name = name, .window = w, .limit_nusd = limit};
}

static void books_open(void)
{
    providers[0] = (struct np_provider){.name = "openai", .slot = 4};
    providers[1] = (struct np_provider){.name = "anthropic", .slot = 5};
    models[0] = (struct np_model){.name = "gpt", .slot = 9, .provider = &providers[0]};
    models[1] = (struct np_model){.name = "claude", .slot = 8, .provider = &providers[1]};
    endpoints[0] = (struct np_endpoint){.path = "/api/assistant/reply", .slot = 1};
    endpoints[1] = (struct np_endpoint){.path = "/api/day", .slot = 2};
    tenants[0] = (struct np_tenant){.name = "acme", .slot = 11};
    tenants[1] = (struct np_tenant){.name = "bolt", .slot = 12};
    tenants[2] = (struct np_tenant){.name = "anonymous", .slot = 0};
    catalog = (struct np_catalog){.providers = providers,
                                  .n_providers = 2,
                                  .models = models,
                                  .n_models = 2,
                                  .endpoints = endpoints,
                                  .n_endpoints = 2,
                                  .tenants = tenants,
                                  .n_tenants = 2,
                                  .anonymous = &tenants[2],
                                  .budgets = budgets};
    x = (struct np_exchange){
        .id = "", .catalog = &catalog, .endpoint = &endpoints[0], .tenant = &tenants[0]};
    l = np_ledger_new();
    ck_assert_ptr_nonnull(l);
}

static void books_close(void)
{
    np_ledger_free(l);
}

#endif
