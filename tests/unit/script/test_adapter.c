/* What is sent to a provider. */
#include "script/adapterkit.h"

/* ------------------------------------------------------------------------------------ requests */

static struct np_wire wire;

/* Asks a model for this body of a client's. */
static void request(const struct np_model *m, const char *body, const struct np_secret *with)
{
    struct np_refusal refusal;
    char error[256];
    ck_assert_int_eq(np_request_parse(x->arena, np_span_of(body), &x->request, &refusal), NP_OK);
    struct np_candidate c = {.model = m, .completion_max = 400};
    enum np_err err = np_adapter_request(s, x, &c, with, &wire, error);
    ck_assert_msg(err == NP_OK, "%d: %s", (int)err, error);
    struct np_json_fault fault;
    ck_assert_int_eq(np_json_check(wire.body, 64, &fault), NP_OK);
}

static const char *field(const char *name)
{
    for (size_t i = 0; i < wire.n_fields; i++)
        if (np_span_is(wire.fields[i].name, name))
            return wire.fields[i].value.p;
    return NULL;
}

static void assert_body(const char *want)
{
    ck_assert_msg(np_span_is(wire.body, want), "wanted %s\ngot    %.*s", want, (int)wire.body.n,
                  wire.body.p);
}

START_TEST(openai_gets_chat_completions)
{
    request(
        gpt,
        "{\"prompt\":\"Hi \\u00e9\\n\\\"you\\\"\",\"system\":\"Be brief.\",\"temperature\":0.20,"
        "\"stop\":[\"END\"],\"maxTokens\":400}",
        &key);
    ck_assert(np_span_is(wire.path, "/chat/completions"));
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
                "{\"role\":\"user\",\"content\":\"Hi \\u00e9\\n\\\"you\\\"\"}],"
                "\"model\":\"gpt-4.1-2025-04-14\",\"stop\":[\"END\"],\"temperature\":0.20}");
    ck_assert_str_eq(field("content-type"), "application/json");
    ck_assert_str_eq(field("authorization"), "Bearer sk-1");
    ck_assert_str_eq(field("X-Team"), "support");
    ck_assert_uint_eq(wire.n_fields, 3);
}
END_TEST

START_TEST(anthropic_gets_messages)
{
    request(
        claude,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
        "\"content\":\"Yes?\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Go\"}]}],"
        "\"stop\":[\"END\"],\"temperature\":1}",
        &key);
    ck_assert(np_span_is(wire.path, "/v1/messages"));
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
                "{\"role\":\"assistant\",\"content\":\"Yes?\"},"
                "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Go\"}]}],"
                "\"model\":\"claude-x\",\"stop_sequences\":[\"END\"],\"temperature\":1}");
    ck_assert_str_eq(field("x-api-key"), "sk-1");
    ck_assert_str_eq(field("anthropic-version"), "2023-06-01");
    ck_assert_str_eq(field("content-type"), "application/json");
    ck_assert_ptr_null(field("authorization"));
    ck_assert_uint_eq(wire.n_fields, 3);
}
END_TEST

START_TEST(what_anthropic_would_refuse_is_left_out_or_lowered)
{
    const char *body =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
        "\"content\":\"\"},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\","
        "\"content\":\" \\n\"}],\"stop\":[\" \",\"END\",\"\\n\\u000a\\t\"],\"temperature\":1.5}";
    request(claude, body, NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                "{\"role\":\"user\",\"content\":\"b\"}],\"model\":\"claude-x\","
                "\"stop_sequences\":[\"END\"],\"temperature\":1}");
    request(claude, "{\"prompt\":\"a\",\"stop\":\"\\n\\n\",\"temperature\":1.0}", NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"model\":\"claude-x\",\"temperature\":1.0}");
    request(gpt, body, NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                "{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"b\"},"
                "{\"role\":\"assistant\",\"content\":\" \\n\"}],\"model\":\"gpt-4.1-2025-04-14\","
                "\"stop\":[\" \",\"END\",\"\\n\\u000a\\t\"],\"temperature\":1.5}");
}
END_TEST

START_TEST(what_was_asked_before_does_not_stay)
{
    request(gpt, "{\"prompt\":\"a\",\"system\":\"s\",\"temperature\":0,\"stop\":[\"x\"]}", NULL);
    request(thinker, "{\"prompt\":\"b\"}", NULL);
    assert_body(
        "{\"max_completion_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],"
        "\"model\":\"o3\"}");
    request(gpt, "{\"prompt\":\"c\"}", NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],"
                "\"model\":\"gpt-4.1-2025-04-14\"}");
    ck_assert_ptr_null(field("authorization"));
}
END_TEST

START_TEST(kept_context_is_a_part_of_the_system_text)
{
    const char *body =
        "{\"prompt\":\"a\",\"system\":\"s\",\"context\":[{\"id\":\"kb-1\",\"text\":\"t\\n\"}]}";
    request(gpt, body, NULL);
    assert_body(
        "{\"max_tokens\":400,\"messages\":[{\"role\":\"system\",\"content\":\"s\\n\\n[kb-1]\\nt\\n\"},"
        "{\"role\":\"user\",\"content\":\"a\"}],\"model\":\"gpt-4.1-2025-04-14\"}");
    request(claude, body, NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"model\":\"claude-x\",\"system\":\"s\\n\\n[kb-1]\\nt\\n\"}");
}
END_TEST

START_TEST(system_messages_join_the_system_text_for_anthropic)
{
    request(claude,
            "{\"system\":\"one\",\"messages\":[{\"role\":\"system\",\"content\":\"two \\\"2\\\"\"},"
            "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"three\"}]}",
            NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"model\":\"claude-x\",\"system\":\"one\\n\\ntwo \\\"2\\\"\\n\\nthree\"}");
    request(claude,
            "{\"messages\":[{\"role\":\"system\",\"content\":\"only\"},"
            "{\"role\":\"user\",\"content\":\"a\"}]}",
            NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"model\":\"claude-x\",\"system\":\"only\"}");
    request(claude,
            "{\"system\":\"one\",\"messages\":[{\"role\":\"system\",\"content\":"
            "[{\"type\":\"text\",\"text\":\"two\"},{\"type\":\"text\",\"text\":\"3\"}]},"
            "{\"role\":\"user\",\"content\":\"a\"}]}",
            NULL);
    assert_body("{\"max_tokens\":400,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"model\":\"claude-x\",\"system\":[{\"type\":\"text\",\"text\":\"one\"},"
                "{\"type\":\"text\",\"text\":\"two\"},{\"type\":\"text\",\"text\":\"3\"}]}");
}
END_TEST

START_TEST(an_operators_header_wins_over_the_adapters)
{
    setkit_write(&k, "providers.lua",
                 "return { openai = { adapter = 'openai', base_url = 'https://a.b' }, anthropic = {"
                 " adapter = 'anthropic', base_url = 'https://c.d',"
                 " headers = { ['Anthropic-Version'] = '2026-10-21' } } }");
    setkit_assert_loads(&k);
    request(np_catalog_model(k.catalog, NP_SPAN("claude")), "{\"prompt\":\"a\"}", NULL);
    ck_assert_str_eq(field("Anthropic-Version"), "2026-10-21");
    ck_assert_ptr_null(field("anthropic-version"));
}
END_TEST

START_TEST(whichever_allocation_fails_it_says_so)
{
    for (size_t n = 0, done = 0; !done; n++) {
        np_exchange_free(x);
        x = np_exchange_new((size_t)1 << 20);
        ck_assert_ptr_nonnull(x);
        struct np_refusal refusal;
        const char *body = "{\"prompt\":\"a\",\"system\":\"s\"}";
        ck_assert_int_eq(np_request_parse(x->arena, np_span_of(body), &x->request, &refusal),
                         NP_OK);
        struct np_candidate c = {.model = n % 2 ? gpt : claude, .completion_max = 400};
        struct np_wire_reply reply = reply_of(200, OPENAI_GOOD);
        char error[256];
        np_fail_from(n);
        enum np_err err = np_adapter_request(s, x, &c, &key, &wire, error);
        enum np_err read_err = np_adapter_answer(s, x, gpt, &reply, &answer);
        np_fail_never();
        done = !np_fail_happened();
        ck_assert(err == NP_OK || err == NP_E_NOMEM);
        ck_assert(read_err == NP_OK || read_err == NP_E_NOMEM);
        if (done) {
            ck_assert_int_eq(err, NP_OK);
            ck_assert_int_eq(read_err, NP_OK);
            ck_assert_int_eq(answer.class, NP_CLASS_ok);
        }
    }
}
END_TEST

START_TEST(measured_request_and_answer)
{
    struct np_refusal refusal;
    const char *body =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"How do I reset my VPN token?\"}],"
        "\"system\":\"You are the internal helpdesk.\",\"temperature\":0.2}";
    struct np_wire_reply reply = reply_of(200, OPENAI_GOOD);
    uint64_t start = np_clock_mono_ns(&np_clock_live);
    enum { N = 2000 };
    for (int i = 0; i < N; i++) {
        char error[256];
        if (i % 50 == 0) {
            np_exchange_free(x);
            x = np_exchange_new((size_t)8 << 20);
            ck_assert_int_eq(np_request_parse(x->arena, np_span_of(body), &x->request, &refusal),
                             NP_OK);
        }
        struct np_candidate c = {.model = gpt, .completion_max = 400};
        ck_assert_int_eq(np_adapter_request(s, x, &c, &key, &wire, error), NP_OK);
        ck_assert_int_eq(np_adapter_answer(s, x, gpt, &reply, &answer), NP_OK);
        np_script_idle(s);
    }
    uint64_t ns = np_clock_mono_ns(&np_clock_live) - start;
    printf("adapter: request and answer %.1f us\n", (double)ns / N / 1000);
    ck_assert_uint_lt(np_script_bytes(s), (size_t)4 << 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script/adapter");
    TCase *c = tcase_create("adapter");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, openai_gets_chat_completions);
    tcase_add_test(c, anthropic_gets_messages);
    tcase_add_test(c, what_anthropic_would_refuse_is_left_out_or_lowered);
    tcase_add_test(c, what_was_asked_before_does_not_stay);
    tcase_add_test(c, kept_context_is_a_part_of_the_system_text);
    tcase_add_test(c, system_messages_join_the_system_text_for_anthropic);
    tcase_add_test(c, an_operators_header_wins_over_the_adapters);
    tcase_add_test(c, whichever_allocation_fails_it_says_so);
    tcase_add_test(c, measured_request_and_answer);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
