/* Connections counted by address. */
#include "http/limits.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct np_http_peer v4(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    ck_assert_int_eq(inet_pton(AF_INET, text, &a.sin_addr), 1);
    return np_http_peer_of((const struct sockaddr *)&a);
}

static struct np_http_peer v6(const char *text)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    ck_assert_int_eq(inet_pton(AF_INET6, text, &a.sin6_addr), 1);
    return np_http_peer_of((const struct sockaddr *)&a);
}

static bool same(struct np_http_peer a, struct np_http_peer b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

START_TEST(a_customer_s_ipv6_network_counts_as_one)
{
    ck_assert(same(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9")));
    ck_assert(!same(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1")));
    ck_assert(same(v6("::ffff:192.0.2.1"), v4("192.0.2.1")));
    ck_assert(!same(v4("192.0.2.1"), v4("192.0.2.2")));
}
END_TEST

START_TEST(one_address_gets_so_many_and_others_the_rest)
{
    struct np_http_limits *l = np_http_limits_new(3, 2);
    struct np_http_peer a = v4("192.0.2.1"), b = v4("192.0.2.2"), c = v4("192.0.2.3");
    ck_assert_int_eq(np_http_limits_take(l, &a), NP_HTTP_ROOM);
    ck_assert_int_eq(np_http_limits_take(l, &a), NP_HTTP_ROOM);
    ck_assert_int_eq(np_http_limits_take(l, &a), NP_HTTP_ROOM_NONE_FOR_ADDRESS);
    ck_assert_int_eq(np_http_limits_take(l, &b), NP_HTTP_ROOM);
    ck_assert_int_eq(np_http_limits_take(l, &c), NP_HTTP_ROOM_NONE);
    ck_assert_uint_eq(np_http_limits_count(l), 3);
    np_http_limits_give(l, &a);
    ck_assert_int_eq(np_http_limits_take(l, &c), NP_HTTP_ROOM);
    np_http_limits_give(l, &a);
    np_http_limits_give(l, &b);
    np_http_limits_give(l, &c);
    ck_assert_uint_eq(np_http_limits_count(l), 0);
    np_http_limits_free(l);
}
END_TEST

#define ADDRESSES 300

/* Against plain counters, over many more addresses than buckets stay empty. */
START_TEST(counts_stay_right_over_many_comings_and_goings)
{
    struct np_http_limits *l = np_http_limits_new(400, 4);
    struct np_http_peer peer[ADDRESSES];
    unsigned have[ADDRESSES] = {0}, all = 0, wrong = 0;
    uint32_t x = 12345;
    for (int i = 0; i < ADDRESSES; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.0.%d.%d", i / 100, i % 100);
        peer[i] = v4(text);
    }
    for (int step = 0; step < 200000; step++) {
        x = x * 1664525 + 1013904223;
        unsigned i = (x >> 8) % ADDRESSES;
        if ((x >> 30) != 0) {
            enum np_http_room want = have[i] == 4 ? NP_HTTP_ROOM_NONE_FOR_ADDRESS
                                     : all == 400 ? NP_HTTP_ROOM_NONE
                                                  : NP_HTTP_ROOM;
            wrong += np_http_limits_take(l, &peer[i]) != want;
            have[i] += want == NP_HTTP_ROOM;
            all += want == NP_HTTP_ROOM;
        } else if (have[i] > 0) {
            np_http_limits_give(l, &peer[i]);
            have[i]--;
            all--;
        }
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(np_http_limits_count(l), all);
    for (int i = 0; i < ADDRESSES; i++) {
        for (; have[i] > 0; have[i]--)
            np_http_limits_give(l, &peer[i]);
    }
    np_http_limits_free(l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *t = tcase_create("limits");
    tcase_add_test(t, a_customer_s_ipv6_network_counts_as_one);
    tcase_add_test(t, one_address_gets_so_many_and_others_the_rest);
    tcase_add_test(t, counts_stay_right_over_many_comings_and_goings);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
