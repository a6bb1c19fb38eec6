/* Lines with a chunk's size that the library has no room for. */
#include "http/rig.h"

#define HEAD "POST /whole HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LINE_BYTES 20000

/* Says the head and what is given, then so many bytes of a line that does not end. */
static struct client *begin(const char *chunks, char filling, size_t n)
{
    static char line[LINE_BYTES];
    struct client *c = client_new();
    memset(line, filling, sizeof line);
    client_say(c, HEAD);
    client_say(c, chunks);
    client_send(c, line, n);
    return c;
}

/* libmicrohttpd 1.0 refuses it itself, an extension twice: then its reply is lost, and the connection ends
 * by a deadline. */
static bool refuses_twice(void)
{
    return np_front_version()[0] != '0';
}

static void check_refused(const char *chunks, char filling)
{
    struct client *c = begin(chunks, filling, LINE_BYTES);
    ck_assert_uint_eq(rig.wholes, 0);
    if (refuses_twice() && filling == 'a') {
        rig_turn_for(100);
        ck_assert_uint_eq(rig.wholes, 0);
        client_free(c);
        return;
    }
    struct reply r = client_read(c);
    ck_assert_msg(r.status == 400 || r.status == 413, "%s: %d", chunks, r.status);
    ck_assert(client_closed_within(c, 2000));
    ck_assert_uint_eq(rig.wholes, 0);
    client_free(c);
}

START_TEST(a_chunk_extension_that_does_not_fit_is_refused_at_once)
{
    check_refused("5;", 'a');
    unsigned told = rig.refused[NP_HTTP_REFUSAL_framing] + rig.refused[NP_HTTP_REFUSAL_too_large];
    ck_assert_uint_eq(told, refuses_twice() ? 0 : 1);
}
END_TEST

/* libmicrohttpd 1.0.1 takes the end of a line with an extension for the first byte of what follows it, so that
 * the chunk does not end where it should. It may refuse that; what it read must never pass for the body. */
START_TEST(a_chunk_extension_is_ignored_or_refused_but_never_read_as_the_body)
{
    static const char *const bodies[] = {
        "5;a\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        "3\r\nhel\r\n2;a\r\nlo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0;a\r\n\r\n",
    };
    struct client *c = client_new();
    client_say(c, HEAD);
    client_say(c, bodies[_i]);
    struct reply r = client_read(c);
    if (r.status == 200 || !refuses_twice()) {
        ck_assert_str_eq(r.body, "hello");
    } else {
        ck_assert_int_eq(r.status, 400);
        ck_assert_uint_eq(rig.wholes, 0);
    }
    ck_assert(client_closed_within(c, 2000));
    client_free(c);
}
END_TEST

START_TEST(a_chunk_size_with_too_many_zeros_is_refused_at_once)
{
    check_refused("", '0');
}
END_TEST

START_TEST(a_later_chunk_line_that_does_not_fit_is_refused_at_once)
{
    check_refused("5\r\nhello\r\n5;", 'a');
}
END_TEST

START_TEST(a_chunk_line_that_does_not_fit_ends_with_its_client)
{
    struct client *c = begin(refuses_twice() ? "" : "5;", refuses_twice() ? '0' : 'a', LINE_BYTES);
    client_close(c);
    rig_until(&rig.gones, 1);
    client_free(c);
}
END_TEST

/* Somewhere here the line fills all the memory there is, and nothing more is there to be read. */
START_TEST(a_chunk_line_that_just_fits_lets_the_loop_sleep)
{
    struct client *c = begin("5;", 'a', 6800 - strlen(HEAD));
    rig_turn_for(10);
    for (int i = 0; i < 400 && rig.gones == 0; i++) {
        ck_assert_int_eq(send(c->fd, "a", 1, MSG_NOSIGNAL), 1);
        uint64_t start = rig_now();
        for (int turns = 0; turns < 8; turns++) {
            np_loop_turn(rig.loop, 2 * MS);
        }
        ck_assert_msg(rig.gones > 0 || rig_now() - start >= 4 * MS, "8 turns in %u us at byte %d",
                      (unsigned)((rig_now() - start) / 1000), i);
    }
    ck_assert_uint_eq(rig.gones, 1);
    client_free(c);
}
END_TEST

START_TEST(a_chunked_body_that_comes_byte_by_byte_beside_it_is_served)
{
    const char *body = refuses_twice() ? "5\r\nhello\r\n0\r\n\r\n" : "5;slow\r\nhello\r\n0\r\n\r\n";
    struct client *c = client_new(), *other = begin("5;", 'a', 6800 - strlen(HEAD));
    client_say(c, HEAD);
    for (size_t i = 0; body[i]; i++) {
        struct client *bad = begin("5;", 'a', LINE_BYTES);
        ck_assert_uint_eq(client_send(c, body + i, 1), 1);
        ck_assert(refuses_twice() || client_read(bad).status != 0);
        client_free(bad);
    }
    ck_assert_str_eq(client_read(c).body, "hello");
    client_free(c);
    client_free(other);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chunks");
    TCase *t = tcase_create("chunks");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_test(t, a_chunk_extension_that_does_not_fit_is_refused_at_once);
    tcase_add_loop_test(t, a_chunk_extension_is_ignored_or_refused_but_never_read_as_the_body, 0,
                        4);
    tcase_add_test(t, a_chunk_size_with_too_many_zeros_is_refused_at_once);
    tcase_add_test(t, a_later_chunk_line_that_does_not_fit_is_refused_at_once);
    tcase_add_test(t, a_chunk_line_that_does_not_fit_ends_with_its_client);
    tcase_add_test(t, a_chunk_line_that_just_fits_lets_the_loop_sleep);
    tcase_add_test(t, a_chunked_body_that_comes_byte_by_byte_beside_it_is_served);
    suite_add_tcase(s, t);
    return rig_run(s);
}
