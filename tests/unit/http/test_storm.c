/* Clients that do anything at any time, by seeded chance: pieces of requests, good and bad, replies
 * that come early, late or never, closes and resets at any byte. Each call that saw `head` must get
 * its `gone`, and the front must still serve afterwards. */
#include "http/rig.h"

#include "base/rng.h"

#define CLIENTS 24
#define STEPS 4000

static const char *const pieces[] = {
    "GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /whole?q HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\r\n",
    "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "POST /whole HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n",
    "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsomething",
    "POST /whole HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n",
    "GET /whole HTTP/1.0\r\n\r\n",
    "\r\n",
    "GET",
    " /later HTTP/1.1\r\nHost: localhost\r\n",
    "Host: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "5\r\nhello\r\n",
    "\0\x01\x7f garbage",
};

static void act(struct client **slot, struct np_rng *rng)
{
    struct client *c = *slot;
    if (!c) {
        *slot = client_new();
        return;
    }
    uint64_t what = np_rng_below(rng, 20);
    if (what < 10) {
        const char *piece = pieces[np_rng_below(rng, sizeof pieces / sizeof pieces[0])];
        size_t n = strlen(piece);
        n = np_rng_below(rng, 4) == 0 ? np_rng_below(rng, n + 1) : n;
        send(c->fd, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (what < 17) {
        client_pull(c);
        c->n = 0;
        if (client_ended(c)) {
            client_free(c);
            *slot = NULL;
        }
    } else if (what == 17) {
        shutdown(c->fd, SHUT_WR);
    } else {
        struct linger l = {.l_onoff = what == 18, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        client_free(c);
        *slot = NULL;
    }
}

START_TEST(every_call_ends_once_whatever_clients_do)
{
    struct client *clients[CLIENTS] = {NULL};
    struct np_rng rng;
    np_rng_seed(&rng, (uint64_t)_i);
    for (int i = 0; i < STEPS; i++) {
        act(&clients[np_rng_below(&rng, CLIENTS)], &rng);
        if (rig.n_waiting > 0 && np_rng_below(&rng, 30) == 0) {
            struct np_http_call *call = rig.waiting[0];
            rig.waiting[0] = rig.waiting[--rig.n_waiting];
            rig_text(call, 200, NP_SPAN("later"), np_rng_below(&rng, 4) == 0);
        }
        if (np_rng_below(&rng, 3) == 0) {
            np_loop_turn(rig.loop, 0);
        }
    }
    ck_assert_uint_gt(rig.heads, 100);
    ck_assert_uint_gt(rig.left, 0);
    ck_assert_uint_gt(rig.sent, 100);
    ck_assert_uint_eq(np_front_open(rig.front), rig.heads - rig.gones);
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i]) {
            client_free(clients[i]);
        }
    }
    rig_until(&rig.gones, rig.heads);
    ck_assert_int_eq(ask("GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 404);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("storm");
    TCase *t = tcase_create("storm");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_loop_test(t, every_call_ends_once_whatever_clients_do, 1, 9);
    suite_add_tcase(s, t);
    return rig_run(s);
}
