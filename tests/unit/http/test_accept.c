/* Taking connections: limits, and what happens without descriptors. */
#include "http/limits.h"
#include "http/rig.h"

#include <fcntl.h>
#include <sys/resource.h>

#define GET_WHOLE "GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n"

/* A client whose connection comes from another address of the loopback network. */
static struct client *client_from(const char *address)
{
    struct client *c = calloc(1, sizeof *c);
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)rig.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(inet_pton(AF_INET, address, &a.sin_addr), 1);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(c->fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    return c;
}

static void assert_refused(struct client *c, const char *words)
{
    send(c->fd, GET_WHOLE, strlen(GET_WHOLE), MSG_NOSIGNAL);
    struct reply r = client_read(c);
    ck_assert_int_eq(r.status, 503);
    ck_assert_str_eq(reply_header(&r, "Retry-After"), "1");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "application/json");
    ck_assert_ptr_nonnull(strstr(r.body, "\"type\":\"overloaded\""));
    ck_assert_ptr_nonnull(strstr(r.body, words));
    ck_assert(client_closed_within(c, 1000));
}

/* ------------------------------------------------------------------------------------------ limits */

static struct np_http_limits *limits;

static void setup_two(void)
{
    rig_listen();
    rig.config.max_connections = 2;
    rig_start();
}

static void setup_shared(void)
{
    rig_listen();
    limits = np_http_limits_new(3, 2);
    rig.config.limits = limits;
    rig_start();
}

static void teardown_shared(void)
{
    rig_teardown();
    ck_assert_uint_eq(np_http_limits_count(limits), 0);
    np_http_limits_free(limits);
}

START_TEST(a_connection_over_the_limit_is_told_503)
{
    struct client *a = client_new(), *b = client_new(), *c = client_new();
    ck_assert(alive(a));
    ck_assert(alive(b));
    assert_refused(c, "too many connections now");
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_connections], 1);
    ck_assert(alive(a));
    client_free(a);
    rig_turn_for(5);
    ck_assert_int_eq(ask(GET_WHOLE).status, 200);
    client_free(b);
    client_free(c);
}
END_TEST

START_TEST(who_rests_between_requests_gives_way)
{
    struct client *busy = client_new(), *resting = client_new(), *c;
    ck_assert(alive(resting));
    client_say(busy, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    rig_until(&rig.n_waiting, 1);
    rig_turn_for(1100);
    c = client_new();
    struct reply r = client_ask(c, GET_WHOLE);
    ck_assert_int_eq(r.status, 200);
    ck_assert(client_closed_within(resting, 500));
    rig_text(rig.waiting[0], 200, NP_SPAN("still there"), false);
    ck_assert_str_eq(client_read(busy).body, "still there");
    client_free(busy);
    client_free(resting);
    client_free(c);
}
END_TEST

START_TEST(one_address_leaves_room_for_others)
{
    struct client *a = client_new(), *b = client_new(), *c = client_new();
    ck_assert(alive(a));
    ck_assert(alive(b));
    assert_refused(c, "too many connections from this address");
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_per_address], 1);
    struct client *other = client_from("127.0.0.2"), *late = client_from("127.0.0.3");
    ck_assert(alive(other));
    assert_refused(late, "too many connections now");
    client_free(a);
    client_free(b);
    client_free(c);
    client_free(other);
    client_free(late);
    rig_turn_for(20);
    ck_assert_uint_eq(np_http_limits_count(limits), 0);
}
END_TEST

START_TEST(a_hundred_connections_at_once_are_all_taken)
{
    struct client *c[100];
    for (int i = 0; i < 100; i++) {
        c[i] = client_new();
        send(c[i]->fd, GET_WHOLE, strlen(GET_WHOLE), MSG_NOSIGNAL);
    }
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(client_read(c[i]).status, 200);
        client_free(c[i]);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------- descriptors */

/* Leaves the process n descriptors. */
static rlim_t starve(rlim_t n)
{
    struct rlimit r;
    int lowest = fcntl(rig.listen_fd, F_DUPFD, 0);
    ck_assert_int_ge(lowest, 0);
    close(lowest);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
    rlim_t was = r.rlim_cur;
    r.rlim_cur = (rlim_t)lowest + n;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
    return was;
}

static void feed(rlim_t was)
{
    struct rlimit r;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = was;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
}

START_TEST(without_descriptors_clients_are_told_503)
{
    struct client *c = client_new();
    send(c->fd, GET_WHOLE, strlen(GET_WHOLE), MSG_NOSIGNAL);
    rlim_t was = starve(0);
    struct reply r = client_read(c);
    feed(was);
    ck_assert_int_eq(r.status, 503);
    ck_assert_ptr_nonnull(strstr(r.body, "no descriptor"));
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_descriptors], 1);
    client_free(c);
}
END_TEST

START_TEST(with_descriptors_again_service_goes_on_soon)
{
    struct client *refused = client_new(), *c = client_new();
    send(refused->fd, GET_WHOLE, strlen(GET_WHOLE), MSG_NOSIGNAL);
    rlim_t was = starve(0);
    ck_assert_int_eq(client_read(refused).status, 503);
    feed(was);
    uint64_t start = rig_now();
    (void)client_ask(c, GET_WHOLE);
    ck_assert_int_eq(ask(GET_WHOLE).status, 200);
    ck_assert_uint_lt(rig_now() - start, 500 * MS);
    client_free(refused);
    client_free(c);
}
END_TEST

/* More wait than are refused in one go; the loop must not spin while it can do nothing. */
START_TEST(without_descriptors_the_loop_sleeps)
{
    struct client *c[120];
    for (int i = 0; i < 120; i++) {
        c[i] = client_new();
    }
    rlim_t was = starve(0);
    int turns = 0;
    for (uint64_t end = rig_now() + 300 * MS; rig_now() < end; turns++) {
        np_loop_turn(rig.loop, 100 * MS);
    }
    feed(was);
    ck_assert_int_le(turns, 20);
    for (int i = 0; i < 120; i++) {
        client_free(c[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("accept");
    TCase *t = tcase_create("two");
    tcase_add_checked_fixture(t, setup_two, rig_teardown);
    tcase_add_test(t, a_connection_over_the_limit_is_told_503);
    tcase_add_test(t, who_rests_between_requests_gives_way);
    suite_add_tcase(s, t);
    t = tcase_create("shared");
    tcase_add_checked_fixture(t, setup_shared, teardown_shared);
    tcase_add_test(t, one_address_leaves_room_for_others);
    suite_add_tcase(s, t);
    t = tcase_create("many");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_test(t, a_hundred_connections_at_once_are_all_taken);
    tcase_add_test(t, without_descriptors_clients_are_told_503);
    tcase_add_test(t, with_descriptors_again_service_goes_on_soon);
    tcase_add_test(t, without_descriptors_the_loop_sleeps);
    suite_add_tcase(s, t);
    return rig_run(s);
}
