"""What is left behind by requests that end before their time: bodies that the front refuses, clients
that leave, and a process that ends while calls are under way."""

import os
import signal
import threading
import time

import case
import policies as sets
import procs
import wire

SLOW = 'return { models = { ["*"] = { text = "late", first_ms = 1500, total_ms = 1500 } } }'


class Refused(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=2000)

    def head(self, name, **headers):
        given = {"X-Request-Id": name, "Content-Type": "application/json", **headers}
        lines = [f"POST {wire.REPLY} HTTP/1.1", "Host: 127.0.0.1"]
        return ("\r\n".join(lines + [f"{k}: {v}" for k, v in given.items()]) + "\r\n\r\n").encode()

    def test_a_body_that_comes_too_slowly_is_recorded_as_408(self):
        with self.server.conn(timeout=30) as conn:
            conn.send(self.head("too-slow", **{"Content-Length": "1000"}) + b"{")
            reply = conn.reply()
        self.assertEqual(reply.status, 408)
        record = self.server.decision("too-slow")
        self.assertEqual((record["outcome"], record["attempts"]), ("invalid_request", []))
        self.assertEqual(self.server.metrics().get("neap_requests_total", status=408), 1)
        self.assertLogged("request=too-slow .*status=408")

    def test_a_body_that_turns_out_too_large_is_recorded_as_413(self):
        with self.server.conn() as conn:
            conn.send(self.head("too-large", **{"Transfer-Encoding": "chunked"}))
            conn.send(wire.chunked(b"x" * 4000, 500))
            self.assertError(conn.reply(), 413, "too_large")
        record = self.server.decision("too-large")
        self.assertEqual(record["outcome"], "too_large")
        self.assertEqual(self.server.metrics().get("neap_requests_total", status=413), 1)

    def test_options_is_405_everywhere(self):
        for path in (wire.REPLY, "/nowhere"):
            reply = wire.ask(self.server.port, "OPTIONS", path)
            self.assertError(reply, 405, "method_not_allowed")
            self.assertEqual(reply.get("Allow"), "POST")

    def test_every_admin_answer_has_its_request_id(self):
        for method, path in (
            ("GET", "/healthz"),
            ("GET", "/metrics"),
            ("GET", "/nowhere"),
            ("POST", "/api/policies/reload"),
            ("OPTIONS", "/nowhere"),
        ):
            reply = self.server.admin(method, path, {"X-Request-Id": "mine.1"})
            self.assertEqual(reply.get("X-Request-Id"), "mine.1", reply)
            self.assertRegex(self.server.admin(method, path).get("X-Request-Id"), r"^req_\w{26}$")

    def test_a_rejected_set_is_shown_until_the_folder_is_put_right(self):
        def states():
            rows = self.server.admin("GET", "/api/policies").json()["generations"]
            return [row["state"] for row in rows]

        path = os.path.join(self.server.policies.path, "respond.lua")
        with open(path, "w", encoding="utf-8") as f:
            f.write("return function(")
        self.assertEqual(self.server.reload().status, 422)
        self.assertIn("rejected", states())
        os.unlink(path)
        self.assertEqual(self.server.reload().json()["result"], "unchanged")
        self.assertEqual(states(), ["running"])


class Ends(case.Case):
    """Each test ends a server of its own, under the sanitizers."""

    scenario = SLOW

    def start(self, drain="30", **fields):
        files = sets.Policies(self.mock.url)
        files.provider("p")
        files.model("m", "p")
        files.endpoint("assistant", ["m"], **fields)
        server = self.serve(files, flags=("--drain-seconds", drain))
        self.addCleanup(server.stop)
        self.started = [server]
        return server

    def in_flight(self, server, name):
        before = self.mock.calls("m")
        conn = server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(body={"prompt": "a"}, headers={"X-Request-Id": name}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") > before))
        return conn

    def ends(self, server):
        """Waits for its end without forgetting what it wrote."""
        server.process.wait(20)

    def test_what_is_cut_at_the_end_is_booked_and_recorded(self):
        server = self.start(drain="0")
        conn = self.in_flight(server, "cut-off")
        server.signal(signal.SIGTERM)
        self.assertError(conn.reply(), 503, "draining")
        self.ends(server)
        record = server.decision("cut-off")
        self.assertEqual((record["outcome"], self.classes(record)), ("draining", ["cancelled"]))
        self.assertEqual(record["attempts"][0]["settled"], "presumed")

    def test_a_call_that_is_read_on_ends_with_the_process(self):
        server = self.start(drain="0", on_disconnect="drain")
        self.in_flight(server, "read-on").close()
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        self.ends(server)
        record = server.decision("read-on")
        self.assertEqual(self.classes(record), ["cancelled"])
        self.assertEqual(record["attempts"][0]["settled"], "presumed")

    def test_a_call_that_is_read_on_is_waited_for_while_draining(self):
        server = self.start(on_disconnect="drain")
        self.in_flight(server, "read-out").close()
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        self.ends(server)
        self.assertEqual(server.decision("read-out")["attempts"][0]["settled"], "exact")

    def test_reloads_that_are_asked_for_at_the_end_harm_nothing(self):
        for pause in (0, 0.01, 0.05, 0.1):
            with self.subTest(pause=pause):
                server = self.start(drain="0")

                def reload():
                    try:
                        server.reload()
                    except (OSError, wire.Cut):
                        pass

                with open(os.path.join(server.policies.path, "retry.lua"), "w") as f:
                    f.write(f"return function() return nil end -- {pause}\n")
                threads = [threading.Thread(target=reload) for _ in range(8)]
                for thread in threads:
                    thread.start()
                time.sleep(pause)
                server.signal(signal.SIGHUP)
                server.signal(signal.SIGTERM)
                for thread in threads:
                    thread.join()
                server.stop()


if __name__ == "__main__":
    case.main()
