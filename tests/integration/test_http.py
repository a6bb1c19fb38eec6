"""HTTP as clients speak it: request ids, 100-continue, connections that last, pipelines, HTTP/1.0, and
who may ask where nobody needs a key."""

import json
import re
import socket
import time

import case
import procs
import wire

MADE = re.compile(r"^req_[0-9a-z]{26}$")


class Http(case.Case):
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.endpoint("narrow", ["m"], body_bytes=100)

    flags = ("--hosts", "gateway.example,other.example:8443")

    # -- request ids

    def test_a_request_id_is_taken_from_the_client(self):
        for given in ("a", "A-b_c.9", "x" * 128):
            with self.subTest(given=given):
                reply = self.server.ask("a", headers={"X-Request-Id": given})
                self.assertGood(reply, requestId=given)
                self.assertEqual(reply.get("X-Request-Id"), given)

    def test_a_request_id_that_does_not_fit_is_replaced(self):
        for given in ("", "a b", "a/b", "x" * 129, "\u00e9", 'a"b', "a,b"):
            with self.subTest(given=given):
                reply = self.server.ask("a", headers={"X-Request-Id": given})
                self.assertRegex(reply.get("X-Request-Id"), MADE)

    def test_made_request_ids_sort_by_time(self):
        ids = []
        for _ in range(5):
            ids.append(self.server.ask("a").get("X-Request-Id"))
            time.sleep(0.002)
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(len(set(ids)), 5)

    # -- 100-continue

    def expect(self, path, body, announce=None):
        conn = self.server.conn()
        self.addCleanup(conn.close)
        data = json.dumps(body).encode()
        length = announce or len(data)
        conn.send(wire.request(path=path, body=b"", headers={"Content-Length": str(length),
                                                             "Expect": "100-continue"}))
        return conn, data

    def test_a_client_that_waits_is_told_to_continue(self):
        conn, data = self.expect(wire.REPLY, {"prompt": "a"})
        self.assertEqual(conn.head().status, 100)
        conn.send(data)
        self.assertGood(conn.reply())
        self.assertGood(conn.ask(body={"prompt": "b"}))

    def test_a_client_that_waits_is_told_at_once_that_its_body_is_too_large(self):
        conn, _ = self.expect("/api/narrow/reply", {}, announce=5000)
        reply = conn.reply()
        self.assertEqual(reply.interim, [])
        self.assertError(reply, 413, "too_large")

    def test_a_client_that_waits_is_told_at_once_that_its_path_is_unknown(self):
        conn, _ = self.expect("/nowhere", {}, announce=50)
        reply = conn.reply()
        self.assertEqual(reply.interim, [])
        self.assertError(reply, 404, "not_found")

    # -- connections

    def test_a_connection_lasts_over_good_and_refused_requests(self):
        with self.server.conn() as conn:
            for _ in range(3):
                self.assertGood(conn.ask(body={"prompt": "a"}))
                self.assertEqual(conn.ask(body=b"{").status, 400)
                self.assertEqual(conn.ask(path="/nowhere", body={"prompt": "a"}).status, 404)
                self.assertEqual(conn.ask("GET", wire.REPLY).status, 405)

    def test_connection_close_is_obeyed(self):
        with self.server.conn() as conn:
            reply = conn.ask(body={"prompt": "a"}, headers={"Connection": "close"})
            self.assertGood(reply)
            self.assertEqual(reply.get("Connection").lower(), "close")
            self.assertTrue(conn.closes())

    def test_pipelined_requests_are_answered_in_their_order(self):
        with self.server.conn() as conn:
            names = [f"pipe-{i}" for i in range(8)]
            conn.send(b"".join(wire.request(body={"prompt": "a"}, headers={"X-Request-Id": name})
                               for name in names))
            for name in names:
                self.assertGood(conn.reply(), requestId=name)

    def test_pipelined_requests_with_a_refused_one_between_keep_their_order(self):
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "a"}) + wire.request(body=b"{")
                      + wire.request(path="/nowhere", body={}) + wire.request(body={"prompt": "a"}))
            self.assertEqual([conn.reply().status for _ in range(4)], [200, 400, 404, 200])

    def test_a_chunked_body_is_taken_and_ends_its_connection(self):
        with self.server.conn() as conn:
            head = wire.request(headers={"Transfer-Encoding": "chunked",
                                         "Content-Type": "application/json"})
            conn.send(head + wire.chunked(b'{"prompt": "chunky"}', 3))
            self.assertGood(conn.reply())
            self.assertTrue(conn.closes())

    def test_a_request_that_comes_byte_by_byte_is_served(self):
        with self.server.conn() as conn:
            for byte in wire.request(body={"prompt": "a"}):
                conn.send(bytes([byte]))
            self.assertGood(conn.reply())

    def test_http_1_0_is_served_and_closed(self):
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "a"}, headers={"Host": None}, version="1.0"))
            self.assertGood(conn.reply())
            self.assertTrue(conn.closes())

    def test_http_1_0_with_keep_alive_lasts(self):
        with self.server.conn() as conn:
            for _ in range(2):
                reply = conn.ask(body={"prompt": "a"}, headers={"Connection": "keep-alive"},
                                 version="1.0")
                self.assertGood(reply)

    def test_a_chunk_that_is_none_is_the_callers_fault_and_no_leaving(self):
        with self.server.conn() as conn:
            head = wire.request(
                headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json", "X-Request-Id": "bad-chunk"}
            )
            conn.send(head + b"zz\r\n{}\r\n0\r\n\r\n")
            self.assertEqual(conn.head().status, 400)
        record = self.server.decision("bad-chunk")
        self.assertEqual((record["status"], record["outcome"]), (400, "invalid_request"))

    def test_a_client_that_leaves_in_its_second_body_has_left_whatever_came_before(self):
        with self.server.conn() as conn:
            self.assertEqual(conn.ask(body=b"{").status, 400)
            whole = wire.request(body={"prompt": "a"}, headers={"X-Request-Id": "half-a-body"})
            conn.send(whole[:-5])
        self.assertEqual(self.server.decision("half-a-body")["outcome"], "cancelled")

    def test_a_half_closed_client_counts_as_gone(self):
        self.mock.control(m={"stall_at": 0})
        try:
            before = self.mock.calls()["aborted"]
            with self.server.conn() as conn:
                conn.send(wire.request(body={"prompt": "a"}))
                self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] > 0))
                conn.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(procs.wait_for(lambda: self.mock.calls()["aborted"] > before))
        finally:
            self.mock.control()

    # -- who may ask

    def test_a_host_that_is_ours_is_served(self):
        port = self.server.port
        for host in ("127.0.0.1", f"127.0.0.1:{port}", "localhost", f"localhost:{port}", "[::1]",
                     "LOCALHOST", "gateway.example", "gateway.example:99", "other.example:8443"):
            with self.subTest(host=host):
                self.assertGood(self.server.ask("a", host=host))

    def test_a_host_that_is_not_ours_is_403(self):
        for host in ("evil.example", "gateway.example.evil.example", "192.0.2.1", "other.example",
                     "127.0.0.1.nip.io", ""):
            with self.subTest(host=host):
                self.assertEqual(self.server.ask("a", host=host).status, 403)

    def test_a_foreign_origin_is_403(self):
        port = self.server.port
        for origin in ("http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1",
                       f"http://127.0.0.1:{port}.evil.example", "file://"):
            with self.subTest(origin=origin):
                headers = {"Origin": origin}
                reply = self.server.ask("a", headers=headers, host=f"127.0.0.1:{port}")
                self.assertError(reply, 403, "forbidden")

    def test_our_own_origin_is_served(self):
        port = self.server.port
        for name in ("127.0.0.1", "localhost", "[::1]"):
            with self.subTest(name=name):
                headers = {"Origin": f"http://{name}:{port}"}
                self.assertGood(self.server.ask("a", headers=headers, host=f"127.0.0.1:{port}"))

    def test_a_foreign_site_is_403(self):
        for site in ("cross-site", "same-site", "something"):
            with self.subTest(site=site):
                reply = self.server.ask("a", headers={"Sec-Fetch-Site": site})
                self.assertError(reply, 403, "forbidden")
        for site in ("same-origin", "none"):
            self.assertGood(self.server.ask("a", headers={"Sec-Fetch-Site": site}))

    def test_a_refused_page_spends_nothing(self):
        before = self.mock.calls()["calls"]
        self.server.ask("a", headers={"Origin": "http://evil.example"})
        self.server.ask("a", host="evil.example")
        self.server.ask({"prompt": "a"}, headers={"Content-Type": "text/plain"})
        self.assertEqual(self.mock.calls()["calls"], before)

    def test_what_http_refused_is_counted_by_cause(self):
        before = self.server.metrics().get("neap_http_refused_total", cause="origin")
        self.server.ask("a", headers={"Origin": "http://evil.example"})
        after = self.server.metrics().get("neap_http_refused_total", cause="origin")
        self.assertEqual(after, before + 1)


if __name__ == "__main__":
    case.main()
