/* Slots, the key index, lookups and windows. */
#include "model/catalog.h"

#include <check.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/fail_alloc.h"

static struct np_secret keys[2];
static struct np_provider providers[2];
static struct np_model models[3];
static struct np_endpoint endpoints[2];
static struct np_tenant tenants[3];
static uint8_t hashes[5][NP_SHA256_BYTES];
static const struct np_model *acme_models[] = {&models[1]};
static const struct np_endpoint *acme_endpoints[] = {&endpoints[0]};
static const struct np_template templates[] = {{"budget", {"Sorry.", 6}}};

/* Fills *c as a loader would. */
static void make(struct np_catalog *c)
{
    keys[0] = (struct np_secret){"env:A", "secret-a", 0};
    keys[1] = (struct np_secret){"env:B", "secret-b", 0};
    providers[0] = (struct np_provider){
        .name = "openai", .base_url = "http://a/v1", .keys = keys, .n_keys = 2};
    providers[1] = (struct np_provider){.name = "anthropic"};
    models[0] = (struct np_model){.name = "large", .provider = &providers[0]};
    models[1] = (struct np_model){.name = "small", .provider = &providers[0]};
    models[2] = (struct np_model){.name = "claude", .provider = &providers[1]};
    endpoints[0] = (struct np_endpoint){.path = "/api/assistant/reply"};
    endpoints[1] = (struct np_endpoint){.path = "/api/other/reply"};
    for (size_t i = 0; i < 5; i++)
        np_sha256(&"abcde"[i], 1, hashes[i]);
    const uint8_t(*h)[NP_SHA256_BYTES] = (const uint8_t(*)[NP_SHA256_BYTES])hashes;
    tenants[0] = (struct np_tenant){.name = "acme",
                                    .key_hashes = h,
                                    .n_keys = 2,
                                    .models = acme_models,
                                    .n_models = 1,
                                    .endpoints = acme_endpoints,
                                    .n_endpoints = 1};
    tenants[1] = (struct np_tenant){.name = "beta", .key_hashes = h + 2, .n_keys = 3};
    tenants[2] = (struct np_tenant){.name = "keyless"};
    *c = (struct np_catalog){.arena = np_arena_new(1 << 20),
                             .providers = providers,
                             .n_providers = 2,
                             .models = models,
                             .n_models = 3,
                             .endpoints = endpoints,
                             .n_endpoints = 2,
                             .tenants = tenants,
                             .n_tenants = 3,
                             .templates = templates,
                             .n_templates = 1};
}

START_TEST(slots_stay_the_same_over_reloads)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    ck_assert(!np_catalog_index(&c, &slots));
    ck_assert_uint_ne(models[0].slot, models[1].slot);
    ck_assert_uint_ne(keys[0].slot, keys[1].slot);
    ck_assert_str_eq(np_intern_name(slots.pairs, models[2].slot), "anthropic/claude");
    uint32_t large = models[0].slot, beta = tenants[1].slot, a = keys[0].slot, b = keys[1].slot;
    np_arena_free(c.arena);

    make(&c);
    models[1].provider = &providers[1];
    keys[1].value = "another";
    struct np_model first = models[0];
    models[0] = models[2];
    models[2] = first;
    ck_assert(!np_catalog_index(&c, &slots));
    ck_assert_uint_eq(models[2].slot, large);
    ck_assert_str_eq(np_intern_name(slots.pairs, models[1].slot), "anthropic/small");
    ck_assert_uint_eq(tenants[1].slot, beta);
    ck_assert_uint_eq(keys[0].slot, a);
    ck_assert_uint_ne(keys[1].slot, b);
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(a_key_is_another_one_at_another_address_and_the_same_at_the_same)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    struct np_secret same = keys[0];
    providers[1] = (struct np_provider){
        .name = "other", .base_url = "http://a/v1", .keys = &same, .n_keys = 1};
    ck_assert(!np_catalog_index(&c, &slots));
    ck_assert_uint_eq(same.slot, keys[0].slot);
    np_arena_free(c.arena);

    make(&c);
    providers[1] = (struct np_provider){
        .name = "other", .base_url = "http://b/v1", .keys = &same, .n_keys = 1};
    ck_assert(!np_catalog_index(&c, &slots));
    ck_assert_uint_ne(same.slot, keys[0].slot);
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(no_secret_stands_in_a_name_of_a_slot)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    ck_assert(!np_catalog_index(&c, &slots));
    for (uint32_t i = 0; i < np_intern_count(slots.secrets); i++)
        ck_assert_ptr_null(strstr(np_intern_name(slots.secrets, i), "secret-"));
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(a_tenant_is_found_by_each_of_its_keys_and_by_no_other)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    ck_assert(!np_catalog_index(&c, &slots));
    for (size_t i = 0; i < 5; i++)
        ck_assert_ptr_eq(np_catalog_tenant(&c, hashes[i]), &tenants[i < 2 ? 0 : 1]);
    uint8_t other[NP_SHA256_BYTES];
    for (size_t i = 0; i < NP_SHA256_BYTES; i++) {
        memcpy(other, hashes[3], sizeof other);
        other[i] ^= 1;
        ck_assert_ptr_null(np_catalog_tenant(&c, other));
    }
    memset(other, 0, sizeof other);
    ck_assert_ptr_null(np_catalog_tenant(&c, other));
    memset(other, 0xff, sizeof other);
    ck_assert_ptr_null(np_catalog_tenant(&c, other));
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(hashes_with_the_same_beginning_are_told_apart)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    for (size_t i = 0; i < 5; i++) {
        memset(hashes[i], 7, NP_SHA256_BYTES);
        hashes[i][31] = (uint8_t)i;
    }
    ck_assert(!np_catalog_index(&c, &slots));
    for (size_t i = 0; i < 5; i++)
        ck_assert_ptr_eq(np_catalog_tenant(&c, hashes[i]), &tenants[i < 2 ? 0 : 1]);
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(one_key_for_two_tenants_is_refused)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    memcpy(hashes[4], hashes[0], NP_SHA256_BYTES);
    ck_assert_int_eq(np_catalog_index(&c, &slots), NP_E_EXISTS);
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(names_lead_to_what_they_name)
{
    struct np_slots slots;
    struct np_catalog c;
    ck_assert(!np_slots_init(&slots));
    make(&c);
    c.n_tenants = 0;
    ck_assert(!np_catalog_index(&c, &slots));
    ck_assert_ptr_eq(np_catalog_model(&c, NP_SPAN("small")), &models[1]);
    ck_assert_ptr_null(np_catalog_model(&c, NP_SPAN("smal")));
    ck_assert_ptr_eq(np_catalog_endpoint(&c, NP_SPAN("/api/other/reply")), &endpoints[1]);
    ck_assert_ptr_null(np_catalog_endpoint(&c, NP_SPAN("/api/other/reply/")));
    ck_assert_ptr_eq(np_catalog_template(&c, NP_SPAN("budget")), &templates[0]);
    ck_assert_ptr_null(np_catalog_template(&c, NP_SPAN("")));
    ck_assert_str_eq(c.anonymous->name, "anonymous");
    ck_assert_ptr_null(np_catalog_tenant(&c, hashes[0]));
    np_arena_free(c.arena);
    np_slots_free(&slots);
}
END_TEST

START_TEST(a_tenant_may_use_what_is_listed_or_all)
{
    struct np_catalog c;
    make(&c);
    ck_assert(np_tenant_may_use_model(&tenants[0], &models[1]));
    ck_assert(!np_tenant_may_use_model(&tenants[0], &models[0]));
    ck_assert(np_tenant_may_use_model(&tenants[1], &models[0]));
    ck_assert(np_tenant_may_use_endpoint(&tenants[0], &endpoints[0]));
    ck_assert(!np_tenant_may_use_endpoint(&tenants[0], &endpoints[1]));
    ck_assert(np_tenant_may_use_endpoint(&tenants[1], &endpoints[1]));
    np_arena_free(c.arena);
}
END_TEST

/* Without keys of providers, because libcrypto's own allocations end the process when they fail. */
START_TEST(each_failing_allocation_is_no_memory_and_leaves_nothing)
{
    size_t n = 0;
    for (;; n++) {
        struct np_slots slots;
        struct np_catalog c;
        make(&c);
        providers[0].n_keys = 0;
        np_arena_free(c.arena);
        np_fail_nth(n);
        enum np_err err = np_slots_init(&slots);
        if (!err) {
            c.arena = np_arena_new(1 << 20);
            err = c.arena ? np_catalog_index(&c, &slots) : NP_E_NOMEM;
            np_arena_free(c.arena);
            np_slots_free(&slots);
        }
        np_fail_never();
        if (!np_fail_happened())
            break;
        ck_assert_int_eq(err, NP_E_NOMEM);
    }
    ck_assert_uint_gt(n, 10);
}
END_TEST

static const struct {
    enum np_window w;
    const char *now, *start, *end;
} windows[] = {
    {NP_WINDOW_MINUTE, "2026-11-24T17:20:44Z", "2026-11-24T17:20:00Z", "2026-11-24T17:21:00Z"},
    {NP_WINDOW_MINUTE, "2026-11-24T17:20:00Z", "2026-11-24T17:20:00Z", "2026-11-24T17:21:00Z"},
    {NP_WINDOW_HOUR, "2026-11-24T17:20:44Z", "2026-11-24T17:00:00Z", "2026-11-24T18:00:00Z"},
    {NP_WINDOW_DAY, "2026-12-31T23:59:59Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"},
    {NP_WINDOW_WEEK, "2026-11-24T17:20:44Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
    {NP_WINDOW_WEEK, "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
    {NP_WINDOW_WEEK, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"},
    {NP_WINDOW_MONTH, "2026-11-24T17:20:44Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
    {NP_WINDOW_MONTH, "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
    {NP_WINDOW_MONTH, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
    {NP_WINDOW_MONTH, "2027-02-28T23:59:59Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"},
    {NP_WINDOW_MONTH, "2000-01-31T00:00:00Z", "2000-01-01T00:00:00Z", "2000-02-01T00:00:00Z"},
};

START_TEST(windows_are_spans_of_the_calendar_in_utc)
{
    int64_t now = np_clock_parse_utc(windows[_i].now);
    ck_assert_int_eq(np_window_start(windows[_i].w, now), np_clock_parse_utc(windows[_i].start));
    ck_assert_int_eq(np_window_end(windows[_i].w, now), np_clock_parse_utc(windows[_i].end));
}
END_TEST

START_TEST(windows_follow_each_other_without_gaps)
{
    for (enum np_window w = NP_WINDOW_MINUTE; w < NP_WINDOW_NONE; w++) {
        int64_t at = INT64_C(-100000000000);
        for (int i = 0; i < 2000; i++) {
            int64_t start = np_window_start(w, at), end = np_window_end(w, at);
            ck_assert(start <= at && at < end);
            ck_assert_int_eq(np_window_start(w, end), end);
            ck_assert_int_eq(np_window_start(w, end - 1), start);
            at = end + (end - start) * (i % 7);
        }
    }
    ck_assert_int_eq(np_window_start(NP_WINDOW_NONE, 12345), 0);
    ck_assert_int_eq(np_window_end(NP_WINDOW_NONE, 12345), INT64_MAX);
    ck_assert_str_eq(np_window_name(NP_WINDOW_MONTH), "month");
    ck_assert_str_eq(np_window_name(NP_WINDOW_NONE), "none");
}
END_TEST

START_TEST(hooks_have_their_names)
{
    ck_assert_str_eq(np_hook_name(NP_HOOK_admit), "admit");
    ck_assert_str_eq(np_hook_name(NP_HOOK_alert), "alert");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("catalog");
    TCase *t = tcase_create("catalog");
    tcase_add_test(t, slots_stay_the_same_over_reloads);
    tcase_add_test(t, a_key_is_another_one_at_another_address_and_the_same_at_the_same);
    tcase_add_test(t, no_secret_stands_in_a_name_of_a_slot);
    tcase_add_test(t, a_tenant_is_found_by_each_of_its_keys_and_by_no_other);
    tcase_add_test(t, hashes_with_the_same_beginning_are_told_apart);
    tcase_add_test(t, one_key_for_two_tenants_is_refused);
    tcase_add_test(t, names_lead_to_what_they_name);
    tcase_add_test(t, a_tenant_may_use_what_is_listed_or_all);
    tcase_add_test(t, each_failing_allocation_is_no_memory_and_leaves_nothing);
    tcase_add_test(t, hooks_have_their_names);
    suite_add_tcase(s, t);
    t = tcase_create("windows");
    tcase_add_loop_test(t, windows_are_spans_of_the_calendar_in_utc, 0,
                        (int)(sizeof windows / sizeof windows[0]));
    tcase_add_test(t, windows_follow_each_other_without_gaps);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
