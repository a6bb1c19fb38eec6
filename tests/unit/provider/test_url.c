/* Which URLs may be called, and the cache of parsed ones. */
#include "provider/pool.h"

#include "client.h"

#include <arpa/inet.h>

static const char *const good[] = {
    "https://api.openai.com/v1",    "https://api.anthropic.com", "https://api.anthropic.com/",
    "HTTPS://Example.com:8443/a/b", "http://127.0.0.1:8080",     "http://localhost:1",
    "http://10.0.0.1/v1",           "http://[::1]:8443/x",       "http://[fd00::1]/",
    "https://169.253.1.1",
};

static const struct {
    const char *url;
    const char *why; /* part of the reason */
} bad[] = {
    {"", "empty"},
    {"api.openai.com/v1", "does not begin"},
    {"ftp://example.com", "does not begin"},
    {"file:///etc/passwd", "does not begin"},
    {"http:/example.com", "does not begin"},
    {"https://", "does not begin"},
    {"http:///example.com", "no host"},
    {"http://user@example.com", "user name"},
    {"http://user:pass@example.com", "user name"},
    {"http://example.com/a@b", "user name"},
    {"http://example.com/?x=1", "query"},
    {"http://example.com/#x", "fragment"},
    {"http://good.com\\@evil.com", "user name"},
    {"http://good.com\\evil.com", "backslash"},
    {"http://exa mple.com", "blank"},
    {"http://example.com/\r\nX: y", "blank"},
    {"http://example.com/\x7f", "blank"},
    {"http://ex\xc3\xa4mple.com", "not ASCII"},
    {"http://example.com:99999", "no URL"},
    {"http://example.com:x", "no URL"},
    {"http://[::1", "no URL"},
    {"http://169.254.169%2e254/", "escape in its host"},
    {"http://example%2ecom", "escape in its host"},
    {"http://[fe80::1%2541]/", "escape in its host"},
    {"http://169.254.169.254/latest", "link-local or metadata"},
    {"http://169.254.0.1", "link-local or metadata"},
    {"http://0xa9fea9fe/", "link-local or metadata"},
    {"http://0Xa9fea9fe/", "link-local or metadata"},
    {"http://2852039166/", "link-local or metadata"},
    {"http://0251.0376.0251.0376/", "link-local or metadata"},
    {"http://169.254.43518/", "link-local or metadata"},
    {"http://100.100.100.200/", "link-local or metadata"},
    {"http://192.0.0.192/", "link-local or metadata"},
    {"http://[fd00:ec2::254]/", "link-local or metadata"},
    {"http://[fd20:ce::254]/", "link-local or metadata"},
    {"http://[fe80::1]/", "link-local or metadata"},
    {"http://[febf::1]/", "link-local or metadata"},
    {"http://[::ffff:169.254.169.254]/", "link-local or metadata"},
    {"http://[::ffff:a9fe:a9fe]/", "link-local or metadata"},
    {"http://[::169.254.169.254]/", "link-local or metadata"},
    {"http://[64:ff9b::a9fe:a9fe]/", "link-local or metadata"},
    {"http://[2002:a9fe:a9fe::1]/", "link-local or metadata"},
};

START_TEST(a_base_url_that_may_be_called_is_accepted)
{
    const char *why = "nothing";
    ck_assert_msg(np_upstream_url_ok(np_span_of(good[_i]), &why), "%s: %s", good[_i], why);
}
END_TEST

START_TEST(a_base_url_that_may_not_be_called_is_refused_with_the_reason)
{
    const char *why = "";
    ck_assert_msg(!np_upstream_url_ok(np_span_of(bad[_i].url), &why), "%s passed", bad[_i].url);
    ck_assert_msg(strstr(why, bad[_i].why) != NULL, "%s: %s", bad[_i].url, why);
}
END_TEST

START_TEST(a_url_with_a_nul_or_of_endless_length_is_refused)
{
    static char longest[4000] = "http://example.com/";
    memset(longest + 19, 'a', sizeof longest - 19);
    const char *why = "";
    ck_assert(!np_upstream_url_ok(np_span_make("http://a\0b", 10), &why));
    ck_assert(!np_upstream_url_ok(np_span_make(longest, sizeof longest), &why));
    ck_assert(!np_upstream_url_ok(np_span_make(longest, sizeof longest), NULL));
}
END_TEST

START_TEST(addresses_of_metadata_services_are_refused_and_others_are_not)
{
    static const struct {
        int family;
        const char *address;
        bool refused;
    } rows[] = {
        {AF_INET, "169.254.169.254", true},
        {AF_INET, "169.254.0.0", true},
        {AF_INET, "169.255.0.0", false},
        {AF_INET, "127.0.0.1", false},
        {AF_INET, "100.100.100.200", true},
        {AF_INET, "100.100.100.201", false},
        {AF_INET6, "fe80::1", true},
        {AF_INET6, "fec0::1", false},
        {AF_INET6, "fd00:ec2::254", true},
        {AF_INET6, "fd00:ec2::23", true},
        {AF_INET6, "fd00:ec3::254", false},
        {AF_INET6, "::1", false},
        {AF_INET6, "::ffff:169.254.1.1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sockaddr_storage storage = {.ss_family = (sa_family_t)rows[i].family};
        struct sockaddr_in *in = (struct sockaddr_in *)&storage;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
        void *at = rows[i].family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr;
        ck_assert_int_eq(inet_pton(rows[i].family, rows[i].address, at), 1);
        ck_assert_msg(np_url_address_refused((struct sockaddr *)&storage) == rows[i].refused, "%s",
                      rows[i].address);
    }
    struct sockaddr unknown = {.sa_family = AF_UNIX};
    ck_assert(np_url_address_refused(&unknown));
}
END_TEST

START_TEST(a_path_that_some_parser_would_rewrite_is_refused)
{
    static const char *const paths[] = {"x",    "/../x", "/a/..", "/a/./b", "/a b",
                                        "/a#b", "/a\\b", "/.",    "/\x01",  "/\xc3\xa4"};
    struct client c;
    client_open(&c);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct np_url *url;
        enum np_err err =
            np_url_get(c.up, NP_SPAN("http://example.com/v1"), np_span_of(paths[i]), &url);
        ck_assert_msg(err == NP_E_INVALID, "%s passed", paths[i]);
    }
    client_close(&c);
}
END_TEST

static void assert_target(struct np_upstream *u, const char *base, const char *path,
                          const char *whole)
{
    struct np_url *url;
    char *text;
    ck_assert_int_eq(np_url_get(u, np_span_of(base), np_span_of(path), &url), NP_OK);
    ck_assert_int_eq(curl_url_get(url->parsed, CURLUPART_URL, &text, 0), CURLUE_OK);
    ck_assert_str_eq(text, whole);
    curl_free(text);
    np_url_release(url);
}

START_TEST(base_and_path_are_joined_as_they_stand)
{
    struct client c;
    client_open(&c);
    assert_target(c.up, "http://a.test/v1", "/chat", "http://a.test/v1/chat");
    assert_target(c.up, "http://a.test/v1/", "/chat", "http://a.test/v1/chat");
    assert_target(c.up, "http://a.test", "/m/a%2Fb:go?alt=sse", "http://a.test/m/a%2Fb:go?alt=sse");
    assert_target(c.up, "http://a.test", "/...", "http://a.test/...");
    assert_target(c.up, "http://a.test", "/a@b", "http://a.test/a@b");
    assert_target(c.up, "http://a.test/x/", "", "http://a.test/x/");
    client_close(&c);
}
END_TEST

START_TEST(parsed_urls_are_kept_up_to_a_bound_and_live_while_they_are_used)
{
    struct client c;
    client_open(&c);
    struct np_url *first, *again, *other;
    ck_assert_int_eq(np_url_get(c.up, NP_SPAN("http://a.test"), NP_SPAN("/0"), &first), NP_OK);
    ck_assert_int_eq(np_url_get(c.up, NP_SPAN("http://a.test"), NP_SPAN("/0"), &again), NP_OK);
    ck_assert_ptr_eq(first, again);
    np_url_release(again);
    for (int i = 0; i < 3 * NP_URLS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/x%d", i);
        ck_assert_int_eq(np_url_get(c.up, NP_SPAN("http://a.test"), np_span_of(path), &other),
                         NP_OK);
        np_url_release(other);
    }
    ck_assert_uint_eq(first->refs, 1);
    ck_assert_str_eq(first->text, "http://a.test/0");
    np_url_release(first);
    ck_assert_int_eq(np_url_get(c.up, NP_SPAN("http://a.test"), NP_SPAN("/x191"), &again), NP_OK);
    ck_assert_ptr_eq(again, other);
    np_url_release(again);
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("provider/url");
    TCase *t = tcase_create("url");
    tcase_add_loop_test(t, a_base_url_that_may_be_called_is_accepted, 0,
                        (int)(sizeof good / sizeof good[0]));
    tcase_add_loop_test(t, a_base_url_that_may_not_be_called_is_refused_with_the_reason, 0,
                        (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(t, a_url_with_a_nul_or_of_endless_length_is_refused);
    tcase_add_test(t, addresses_of_metadata_services_are_refused_and_others_are_not);
    tcase_add_test(t, a_path_that_some_parser_would_rewrite_is_refused);
    tcase_add_test(t, base_and_path_are_joined_as_they_stand);
    tcase_add_test(t, parsed_urls_are_kept_up_to_a_bound_and_live_while_they_are_used);
    suite_add_tcase(s, t);
    return run_suite(s);
}
