/* Where an exchange stands in a trace, and its spans. */
#include "model/trace.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/exchange.h"
#include "support/fail_alloc.h"

#define MS UINT64_C(1000000)
#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static const struct np_trace_rule always = {NP_SAMPLE_ALL, true, 1};
static struct np_rng rng;
static struct np_trace t;

static void setup(void)
{
    np_rng_seed(&rng, 7);
}

static void begin(const struct np_trace_rule *rule, const char *parent, const char *state)
{
    np_trace_begin(&t, rule, &rng, np_span_of(parent), np_span_of(state));
}

static const char *header(unsigned attempt)
{
    static char text[NP_TRACEPARENT_BYTES];
    np_trace_header(&t, attempt, text);
    return text;
}

/* --- whose trace it is */

static const struct {
    const char *text;
    bool valid;
} parents[] = {
    {"00-" TRACE "-" PARENT "-01", true},
    {"00-" TRACE "-" PARENT "-00", true},
    {"00-" TRACE "-" PARENT "-ff", true},
    {"01-" TRACE "-" PARENT "-01", true},
    {"01-" TRACE "-" PARENT "-01-more", true},
    {"fe-" TRACE "-" PARENT "-01-", true},
    {"00-" TRACE "-" PARENT "-01-more", false},
    {"00-" TRACE "-" PARENT "-01-", false},
    {"01-" TRACE "-" PARENT "-01more", false},
    {"ff-" TRACE "-" PARENT "-01", false},
    {"0-" TRACE "-" PARENT "-01", false},
    {"00-" TRACE "-" PARENT "-0", false},
    {"00-" TRACE "-" PARENT "-", false},
    {"00-" TRACE "-" PARENT, false},
    {"00_" TRACE "-" PARENT "-01", false},
    {"00-" TRACE "_" PARENT "-01", false},
    {"00-" TRACE "-" PARENT "_01", false},
    {"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01", false},
    {"00-00000000000000000000000000000000-" PARENT "-01", false},
    {"00-" TRACE "-0000000000000000-01", false},
    {"00-" TRACE "-b7ad6b716920333g-01", false},
    {" 00-" TRACE "-" PARENT "-01", false},
    {"", false},
};

START_TEST(a_parent_is_taken_when_it_is_one)
{
    begin(NULL, parents[_i].text, NULL);
    ck_assert(t.known == parents[_i].valid);
    begin(&always, parents[_i].text, NULL);
    ck_assert(t.known && t.has_parent == parents[_i].valid);
}
END_TEST

START_TEST(without_a_rule_the_parent_goes_on_unchanged)
{
    begin(NULL, "00-" TRACE "-" PARENT "-00", "a=1");
    ck_assert_str_eq(header(1), "00-" TRACE "-" PARENT "-00");
    ck_assert(!t.own && !t.sampled);
    ck_assert(np_span_is(t.state, "a=1"));
}
END_TEST

START_TEST(without_a_rule_a_later_version_goes_on_as_version_0)
{
    begin(NULL, "01-" TRACE "-" PARENT "-01-more", NULL);
    ck_assert_str_eq(header(1), "00-" TRACE "-" PARENT "-01");
}
END_TEST

START_TEST(without_a_parent_a_state_means_nothing)
{
    begin(&always, "nonsense", "a=1");
    ck_assert_uint_eq(t.state.n, 0);
    ck_assert(t.known && !t.has_parent);
}
END_TEST

START_TEST(each_attempt_is_a_child_of_its_own)
{
    char first[NP_TRACEPARENT_BYTES];
    uint8_t id[NP_SPAN_ID_BYTES];
    begin(&always, "00-" TRACE "-" PARENT "-01", NULL);
    memcpy(first, header(1), sizeof first);
    ck_assert(np_span_starts(np_span_of(first), "00-" TRACE "-"));
    ck_assert(!strstr(first, PARENT));
    ck_assert_str_ne(first, header(2));
    ck_assert_str_eq(first, header(1));
    np_trace_attempt_id(&t, 1, id);
    ck_assert_mem_ne(id, t.span, sizeof id);
}
END_TEST

START_TEST(the_flags_say_whether_it_is_sampled_and_whether_its_id_is_random)
{
    static const struct {
        const char *flags;
        bool all;
        const char *want;
    } rows[] = {{"-01", true, "-01"}, {"-00", true, "-00"}, {"-03", true, "-03"},
                {"-02", true, "-02"}, {"-ff", true, "-03"}, {"-00", false, "-01"},
                {"-01", false, "-01"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char parent[64];
        struct np_trace_rule rule = {NP_SAMPLE_ALL, rows[i].all, 1};
        snprintf(parent, sizeof parent, "00-" TRACE "-" PARENT "%s", rows[i].flags);
        begin(&rule, parent, NULL);
        ck_assert_str_eq(header(1) + 52, rows[i].want);
    }
}
END_TEST

START_TEST(a_state_that_can_not_stand_in_a_header_is_left_out)
{
    char longest[NP_TRACESTATE_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[NP_TRACESTATE_MAX + 1] = '\0';
    begin(&always, parents[0].text, longest);
    ck_assert_uint_eq(t.state.n, 0);
    longest[NP_TRACESTATE_MAX] = '\0';
    begin(&always, parents[0].text, longest);
    ck_assert_uint_eq(t.state.n, NP_TRACESTATE_MAX);
    begin(&always, parents[0].text, "a=1\r\nHost: evil");
    ck_assert_uint_eq(t.state.n, 0);
    begin(&always, parents[0].text, "a=\xc3\xa9");
    ck_assert_uint_eq(t.state.n, 0);
}
END_TEST

START_TEST(a_ratio_chooses_so_many_and_the_same_everywhere)
{
    static const double ratios[] = {0, 0.01, 0.25, 0.5, 1};
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        struct np_trace_rule rule = {NP_SAMPLE_RATIO, false, ratios[i]};
        unsigned chosen = 0, other = 0, n = 20000;
        for (unsigned k = 0; k < n; k++) {
            begin(&rule, NULL, NULL);
            bool first = t.sampled;
            chosen += first;
            np_trace_begin(&t, &rule, &rng, np_span_of(header(1)), NP_SPAN_NONE);
            other += t.sampled != first;
        }
        printf("ratio %g: %u of %u\n", ratios[i], chosen, n);
        ck_assert_double_eq_tol(chosen / (double)n, ratios[i], 0.015);
        ck_assert_uint_eq(other, 0);
        ck_assert(ratios[i] > 0 || chosen == 0);
        ck_assert(ratios[i] < 1 || chosen == n);
    }
}
END_TEST

/* --- spans */

static struct np_provider providers[] = {
    {.name = "openai", .base_url = "https://api.openai.com/v1"},
    {.name = "six", .base_url = "http://[::1]:8443/v1", .adapter = NP_ADAPTER_ANTHROPIC},
    {.name = "plain", .base_url = "http://model.internal"},
};
static struct np_model models[] = {{.name = "gpt", .id = "gpt-2026", .provider = &providers[0]},
                                   {.name = "claude", .id = "claude", .provider = &providers[1]},
                                   {.name = "local", .id = "local", .provider = &providers[2]}};
static struct np_endpoint endpoint = {.path = "/api/assistant/reply"};
static struct np_tenant acme = {.name = "acme"};
static struct np_exchange *x;

static void make(void)
{
    setup();
    x = np_exchange_new(1 << 20);
    ck_assert(x && np_exchange_plan(x, 3));
    x->endpoint = &endpoint;
    x->tenant = &acme;
    x->policy = "3fa9c1e20b7d";
    x->accept_ns = 1000 * MS;
    x->end_ns = 2000 * MS;
    x->request.temperature = NAN;
    x->n_attempts = 3;
    x->attempts = np_arena_array(x->arena, 3, sizeof *x->attempts);
    ck_assert_ptr_nonnull(x->attempts);
    for (unsigned i = 0; i < 3; i++) {
        x->plan[i] = (struct np_candidate){.model = &models[i], .completion_max = 100};
        x->attempts[i] = (struct np_attempt){.number = i + 1,
                                             .candidate = i,
                                             .model = &models[i],
                                             .class = i < 2 ? NP_CLASS_timeout : NP_CLASS_ok,
                                             .retry_in_ms = -1,
                                             .error = NP_SPAN("secret"),
                                             .start_ns = (1100 + 100 * i) * MS,
                                             .end_ns = (1150 + 100 * i) * MS};
    }
    np_trace_begin(&x->trace, &always, &rng, NP_SPAN_NONE, NP_SPAN_NONE);
}

static void unmake(void)
{
    np_exchange_free(x);
}

static unsigned write(struct np_buf *b, bool json)
{
    const struct np_span_facts facts = {.https = true, .unix_offset_ns = INT64_C(1700000000) << 30};
    struct np_otlp o;
    np_otlp_init(&o, b, json);
    return np_trace_spans(&o, x, &facts);
}

static bool holds(const struct np_buf *b, const char *text)
{
    return memmem(b->p, b->n, text, strlen(text)) != NULL;
}

START_TEST(where_a_provider_is_stands_in_its_spans)
{
    struct np_buf b;
    np_buf_init(&b, 1 << 16);
    ck_assert_uint_eq(write(&b, true), 4);
    ck_assert(holds(&b, "\"server.address\",\"value\":{\"stringValue\":\"api.openai.com\"}"));
    ck_assert(holds(&b, "\"server.port\",\"value\":{\"intValue\":\"443\"}"));
    ck_assert(holds(&b, "\"server.address\",\"value\":{\"stringValue\":\"::1\"}"));
    ck_assert(holds(&b, "\"server.port\",\"value\":{\"intValue\":\"8443\"}"));
    ck_assert(holds(&b, "\"server.address\",\"value\":{\"stringValue\":\"model.internal\"}"));
    ck_assert(holds(&b, "\"server.port\",\"value\":{\"intValue\":\"80\"}"));
    ck_assert(holds(&b, "\"gen_ai.provider.name\",\"value\":{\"stringValue\":\"anthropic\"}"));
    ck_assert(holds(&b, "\"url.scheme\",\"value\":{\"stringValue\":\"https\"}"));
    np_buf_free(&b);
}
END_TEST

START_TEST(what_a_provider_said_is_in_no_span)
{
    struct np_buf b;
    np_buf_init(&b, 1 << 16);
    (void)write(&b, true);
    ck_assert(!holds(&b, "secret"));
    np_buf_free(&b);
}
END_TEST

START_TEST(an_attempt_without_an_end_ends_with_its_request)
{
    struct np_buf b;
    np_buf_init(&b, 1 << 16);
    x->attempts[2].end_ns = 0;
    (void)write(&b, true);
    char want[64];
    uint64_t end = 2000 * MS + ((uint64_t)1700000000 << 30);
    snprintf(want, sizeof want, "\"endTimeUnixNano\":\"%llu\"", (unsigned long long)end);
    const char *first = memmem(b.p, b.n, want, strlen(want));
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(memmem(first + 1, b.n - (size_t)(first + 1 - b.p), want, strlen(want)));
    np_buf_free(&b);
}
END_TEST

START_TEST(spans_are_the_same_with_what_was_written_down_before)
{
    struct np_buf without, with;
    np_buf_init(&without, 1 << 16);
    np_buf_init(&with, 1 << 16);
    (void)write(&without, false);
    ck_assert_int_eq(np_trace_parts(x->arena, &endpoint, NULL), NP_OK);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(np_trace_parts(x->arena, NULL, &models[i]), NP_OK);
    ck_assert_uint_gt(endpoint.attrs.n, 50);
    (void)write(&with, false);
    endpoint.attrs = NP_SPAN_NONE;
    for (unsigned i = 0; i < 3; i++)
        models[i].attrs = NP_SPAN_NONE;
    ck_assert_uint_eq(with.n, without.n);
    ck_assert_mem_eq(with.p, without.p, with.n);
    np_buf_free(&without);
    np_buf_free(&with);
}
END_TEST

START_TEST(whichever_allocation_fails_the_spans_are_not_taken_for_whole)
{
    for (int json = 0; json < 2; json++) {
        size_t n = 0;
        for (bool happened = true; happened; n++) {
            struct np_buf b;
            np_buf_init(&b, 1 << 16);
            np_fail_nth(n);
            (void)write(&b, json);
            happened = np_fail_happened();
            np_fail_never();
            ck_assert(np_buf_failed(&b) == happened);
            np_buf_free(&b);
        }
        ck_assert_uint_gt(n, 2);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *c = tcase_create("context");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_loop_test(c, a_parent_is_taken_when_it_is_one, 0,
                        (int)(sizeof parents / sizeof *parents));
    tcase_add_test(c, without_a_rule_the_parent_goes_on_unchanged);
    tcase_add_test(c, without_a_rule_a_later_version_goes_on_as_version_0);
    tcase_add_test(c, without_a_parent_a_state_means_nothing);
    tcase_add_test(c, each_attempt_is_a_child_of_its_own);
    tcase_add_test(c, the_flags_say_whether_it_is_sampled_and_whether_its_id_is_random);
    tcase_add_test(c, a_state_that_can_not_stand_in_a_header_is_left_out);
    tcase_add_test(c, a_ratio_chooses_so_many_and_the_same_everywhere);
    suite_add_tcase(s, c);
    c = tcase_create("spans");
    tcase_add_checked_fixture(c, make, unmake);
    tcase_add_test(c, where_a_provider_is_stands_in_its_spans);
    tcase_add_test(c, spans_are_the_same_with_what_was_written_down_before);
    tcase_add_test(c, what_a_provider_said_is_in_no_span);
    tcase_add_test(c, an_attempt_without_an_end_ends_with_its_request);
    tcase_add_test(c, whichever_allocation_fails_the_spans_are_not_taken_for_whole);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
