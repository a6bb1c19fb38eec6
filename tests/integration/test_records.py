"""What operators may ask of the newest decision records, and what records hold of calls that failed."""

import hashlib
import json
import os
import re
import resource
import time

import case
import procs
import wire

QUICK = {"first_ms": 1, "total_ms": 2}
TOKEN = {"NEAP_ADMIN_TOKEN": "records-token"}


class Records(case.Case):
    env = {**case.Case.env, **TOKEN}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"failures": 1000, "rate": 0, "open_ms": 100})
        policies.model("m", "p", usd_per_million={"input": 1000, "output": 2000})
        for name in ("assistant", "one", "two", "lost", "odd"):
            policies.endpoint(name, ["m"], max_attempts=1)
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 50}]

    def ask(self, name, **kw):
        reply = self.server.ask("hello", f"/api/{name}/reply", **kw)
        self.server.decision(reply)
        return reply.get("X-Request-Id")

    def listed(self, query=""):
        reply = self.server.admin("GET", "/api/requests" + query)
        self.assertEqual(reply.status, 200, reply)
        return reply.json()

    def explain(self, request_id, *flags, env=None):
        admin = f"127.0.0.1:{self.server.admin_port}"
        return procs.run("explain", request_id, "--admin", admin, *flags, env=TOKEN if env is None else env)

    # -- the list

    def test_the_newest_stand_first_and_before_leads_on(self):
        ids = [self.ask("one") for _ in range(5)]
        ids.reverse()
        page = self.listed("?endpoint=%2Fapi%2Fone%2Freply&limit=3")
        self.assertEqual([r["requestId"] for r in page["requests"]], ids[:3])
        self.assertEqual(page["next"], ids[2])
        page = self.listed(f"?endpoint=/api/one/reply&limit=3&before={ids[2]}")
        self.assertEqual([r["requestId"] for r in page["requests"]], ids[3:])
        self.assertIsNone(page["next"])

    def test_a_client_that_has_its_reply_finds_its_record_at_once(self):
        found, took = [], []
        for _ in range(40):
            request_id = self.server.ask("hello", "/api/two/reply").get("X-Request-Id")
            began = time.monotonic()
            found.append(self.server.admin("GET", "/api/requests/" + request_id).status)
            took.append(time.monotonic() - began)
        case.say(f"the record: {1000 * sorted(took)[20]:.1f} ms in the middle, {1000 * max(took):.1f} ms at the most")
        self.assertEqual(set(found), {200})

    def test_a_row_is_short(self):
        request_id = self.ask("two")
        row = self.listed("?limit=1&endpoint=/api/two/reply")["requests"][0]
        self.assertEqual(row["requestId"], request_id)
        self.assertEqual((row["tenant"], row["outcome"], row["status"]), ("anonymous", "ok", 200))
        self.assertEqual((row["provider"], row["model"], row["attempts"]), ("p", "m", 1))
        self.assertGreater(row["costUsd"], 0)
        self.assertNotIn("hooks", row)

    def test_rows_are_chosen_by_outcome_and_tenant(self):
        self.mock.control(m={"status": 503, **QUICK})
        request_id = self.ask("lost")
        self.mock.control()
        rows = self.listed("?outcome=degraded&tenant=anonymous")["requests"]
        self.assertIn(request_id, [r["requestId"] for r in rows])
        self.assertEqual({r["outcome"] for r in rows}, {"degraded"})
        self.assertEqual(self.listed("?tenant=nobody"), {"requests": [], "next": None})

    def test_a_query_that_makes_no_sense_is_refused_with_what_would_be_right(self):
        for query, words in (
            ("?limit=0", "from 1 to 1000"),
            ("?limit=1001", "from 1 to 1000"),
            ("?limit=many", "from 1 to 1000"),
            ("?limit", "from 1 to 1000"),
            ("?since=1", "limit, endpoint, tenant, outcome and before"),
            ("?tenant=%zz", "tenant is malformed"),
            ("?tenant=" + "x" * 600, "longer than 511 bytes"),
            ("?before=req_nobody", "kept in memory"),
        ):
            error = self.assertError(self.server.admin("GET", "/api/requests" + query), 400, "invalid_request")
            self.assertIn(words, error["message"], query)

    # -- one

    def test_a_request_is_the_record_in_the_file(self):
        request_id = self.ask("two")
        record = dict(self.server.decision(request_id))
        del record["bytes"]
        self.assertEqual(self.server.admin("GET", f"/api/requests/{request_id}").json(), record)

    def test_a_request_that_is_not_there_says_where_it_may_be(self):
        error = self.assertError(self.server.admin("GET", "/api/requests/req_nobody"), 404, "not_found")
        self.assertIn("--decisions", error["message"])
        self.assertError(self.server.admin("GET", "/api/requests/"), 404, "not_found")

    def test_the_token_is_asked_for(self):
        for path in ("/api/requests", f"/api/requests/{self.ask('two')}"):
            self.assertError(self.server.admin("GET", path, token=False), 401, "unauthorized")

    def test_a_running_instance_explains(self):
        request_id = self.ask("two", headers={"X-Request-Id": "asked-one"})
        self.ask("two", headers={"X-Request-Id": "asked-two"})
        code, text, said = self.explain("asked-o")
        self.assertEqual((code, said), (0, ""))
        self.assertIn(request_id, text)
        self.assertRegex(text, r"outcome +ok 200, answered by m")
        self.assertRegex(text, r"cost \$0\.\d+ of \$\d+\.\d+ held \(as the provider billed it\)")
        self.assertIn("more than one id begins so", self.explain("asked-")[2])
        self.assertEqual(self.explain("asked-")[0], 1)
        code, _, said = self.explain("req_nobody")
        self.assertEqual(code, 1)
        self.assertIn("no such request is kept in memory", said)
        code, _, said = self.explain(request_id, env={})
        self.assertEqual(code, 3)
        self.assertIn("NEAP_ADMIN_TOKEN", said)

    # -- what records hold

    def test_a_call_that_is_refused_at_the_door_has_a_record(self):
        kept = (
            (self.server.ask("x", "/nowhere"), "not_found", None),
            (self.server.ask("x", headers={"Content-Type": "text/plain"}), "unsupported_media_type", "message"),
            (self.server.ask("x", headers={"Origin": "http://evil.example"}), "forbidden", "message"),
            (self.server.ask("x", host="evil.example"), "forbidden", "message"),
            (self.server.ask("x", "/a%20b"), "invalid_request", None),
            (self.server.ask(b"{", "/api/odd/reply"), "invalid_request", None),
            (self.server.ask({"prompt": "secret", "maxTokens": "many"}), "invalid_request", "param"),
        )
        twice = self.server.ask("x", headers={"Transfer-Encoding": "chunked", "Content-Length": "1"})
        if b"<html>" not in twice.body:  # libmicrohttpd 1.0 refuses it itself, in its own words and without an id
            kept += ((twice, "invalid_request", None),)
        for reply, outcome, member in kept:
            record = self.server.decision(reply)
            self.assertEqual((record["outcome"], record["status"]), (outcome, reply.status), record)
            self.assertEqual((record["attempts"], record["costUsd"]), ([], 0), record)
            self.assertLess(record["bytes"], 1000)
            if member:
                self.assertTrue(record[member], record)
            if outcome == "invalid_request":
                self.assertNotIn("message", record)
            code, text, _ = self.explain(reply.get("X-Request-Id"))
            self.assertEqual(code, 0)
            self.assertIn(f"{outcome} {reply.status}", text)
            self.assertLogged(reply.get("X-Request-Id"))

    def test_an_attempt_says_what_was_held_and_what_the_provider_wished(self):
        self.mock.control(m={"status": 429, "retry_after_s": 7, **QUICK})
        record = self.server.decision(self.ask("odd"))
        self.mock.control()
        attempt = record["attempts"][0]
        self.assertEqual(attempt["class"], "rate_limited")
        self.assertGreater(attempt["reservedUsd"], 0)
        self.assertGreaterEqual(attempt["atMs"], 0)
        self.assertEqual(attempt["retryAfterMs"], 7000)

    def test_every_class_of_an_attempt_is_told(self):
        for spec, name in (
            ({"status": 500}, "server_error"),
            ({"status": 503}, "overloaded"),
            ({"status": 402}, "quota"),
            ({"status": 401}, "credential"),
            ({"status": 400}, "rejected"),
            ({"status": 405}, "bad_reply"),
        ):
            self.mock.control(m={**spec, **QUICK})
            record = self.server.decision(self.ask("lost"))
            self.mock.control()
            if not record["attempts"]:
                continue
            self.assertEqual(self.classes(record), [name])
            _, text, _ = self.explain(record["requestId"])
            self.assertIn(f"{spec['status']} {name}, ", text)

    def streamed(self, **spec):
        self.mock.control(m={"text": "one two three four five", **QUICK, **spec})
        conn = self.server.conn()
        self.addCleanup(conn.close)
        stream = self.server.stream("hello", conn=conn).follow()
        self.mock.control()
        return stream, self.server.decision(stream.head.get("X-Request-Id"))

    def test_a_stream_says_in_how_many_pieces_it_came_and_how_it_ended(self):
        stream, record = self.streamed(finish="length", total_ms=100)
        pieces = stream.order.count("delta")
        self.assertGreater(pieces, 1)
        (attempt,) = record["attempts"]
        self.assertEqual(attempt["deltas"], pieces)
        self.assertEqual((record["stream"], record["finishReason"]), (True, "length"))
        self.assertGreaterEqual(record["firstTextMs"], attempt["ttftMs"])
        self.assertLess(record["bytes"], 1000)
        text = self.explain(record["requestId"])[1]
        self.assertIn(f"sent on in {pieces} pieces", " ".join(text.split()))
        self.assertIn("which ended by length", " ".join(text.split()))

    def test_a_stream_that_broke_off_says_after_how_many_pieces(self):
        stream, record = self.streamed(fin_at=900, total_ms=100)
        (attempt,) = record["attempts"]
        self.assertEqual((attempt["class"], record["brokeOff"]), ("cut", True))
        self.assertEqual(attempt["deltas"], stream.order.count("delta"))
        self.assertNotIn("finishReason", record)

    def test_nothing_was_dropped(self):
        self.assertEqual(self.server.metrics().get("neap_log_dropped_total"), 0)


class Silent(procs.Serve):
    """A server that does not say that it has started: it is waited for on given ports."""

    def __init__(self, policies, flags, **kw):
        self.given = [wire.free_port() for _ in range(2)]
        where = [f"127.0.0.1:{port}" for port in self.given]
        super().__init__(policies, flags=(*flags, "--listen", where[0], "--admin", where[1]), **kw)

    def started(self):
        try:
            wire.Conn(self.given[1]).close()
        except OSError:
            return None
        return re.match(r"(\d+) (\d+)", "{} {}".format(*self.given))


class Less(case.Case):
    """Operators may want less written down."""

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def start(self, *flags):
        server = self.own(Silent(self.policies, flags, workers=1))
        request_id = server.ask("hello").get("X-Request-Id")
        # Whose record is in the file when the first one's line must be in the log.
        server.decision(server.ask("hello"))
        return server, request_id

    def test_no_record_is_kept_in_memory_where_none_is_wanted(self):
        server, request_id = self.start("--keep-records", "0")
        self.assertEqual(server.admin("GET", "/api/requests").json(), {"requests": [], "next": None})
        self.assertIn(request_id, server.log())

    def test_as_many_records_are_kept_as_are_wanted(self):
        server, _ = self.start("--keep-records", "2")
        ids = [server.ask("hello").get("X-Request-Id") for _ in range(3)]
        server.decision(ids[2])
        rows = procs.wait_for(lambda: server.admin("GET", "/api/requests").json()["requests"])
        self.assertEqual([row["requestId"] for row in rows], [ids[2], ids[1]])

    def test_the_log_leaves_out_what_is_less_than_its_level(self):
        server, request_id = self.start("--log-level", "warn")
        self.assertNotIn(request_id, server.log())
        self.assertNotIn("info started", server.log())

    def test_a_level_that_is_none_is_refused(self):
        code, _, said = procs.run("serve", "--log-level", "loud", "--policies", self.policies.path)
        self.assertEqual(code, 2)
        self.assertIn("debug, info, warn or error", said)


class Doors(case.Case):
    """Refusals of keys, limits and lengths: each has a record, and none holds a key or a text."""

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=1024)
        keys = ["sha256:" + hashlib.sha256(b"a-client-key").hexdigest()]
        policies.tenants = {"acme": {"keys": keys, "requests_per_minute": 1}}

    def test_each_refusal_has_a_record(self):
        own = {"Authorization": "Bearer a-client-key"}
        asked = (
            (self.server.ask("secret text", headers={"Authorization": "Bearer a-wrong-key"}), 401),
            (self.server.ask("secret text" * 1000, headers=own), 413),
            (self.server.ask("secret text", headers=own), 200),
            (self.server.ask("secret text", headers=own), 429),
        )
        for reply, status in asked:
            self.assertEqual(reply.status, status, reply)
            record = self.server.decision(reply)
            self.assertEqual(record["status"], status, record)
            self.assertEqual(record["endpoint"], "/api/assistant/reply")
            self.assertEqual(record.get("tenant"), None if status == 401 else "acme", record)
            self.assertLess(record["bytes"], 1000)
        written = self.server.read("decisions")
        for secret in ("a-wrong-key", "a-client-key", "secret text"):
            self.assertNotIn(secret, written)


class Files(case.Case):
    """A file of records does not grow without end."""

    workers = 1
    flags = ("--log-max-mb", "1", "--record-bodies")

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def test_full_files_are_put_aside_and_five_are_kept(self):
        ids = []
        for i in range(60):
            ids.append(self.server.ask(f"{i} " + "x" * 150000).get("X-Request-Id"))
            time.sleep(0.02)  # longer than the writer's pause
        names = [self.server.path("decisions")]
        names += [f"{names[0]}.{i}" for i in range(1, 6)]
        self.assertTrue(procs.wait_for(lambda: all(map(os.path.exists, names))), names)
        self.assertFalse(os.path.exists(names[0] + ".6"))
        kept = []
        for name in reversed(names):
            with open(name, encoding="utf-8") as f:
                kept += [json.loads(line)["requestId"] for line in f]
            self.assertLess(os.path.getsize(name), 4 << 20)
            self.assertEqual(os.stat(name).st_mode & 0o077, 0)
        self.assertEqual(kept, ids[-len(kept) :])
        self.assertGreater(len(kept), 25)


class Full(case.Case):
    """A disk that takes no more: a file that may not grow beyond its size."""

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    @classmethod
    def serve(cls, policies, **kw):
        return Silent(policies, ("--log-level", "error"), env=cls.env)  # whose log stays small

    def limit(self, size):
        hard = resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE)[1]
        limit = (hard if size is None else size, hard)
        resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE, limit)

    def lost(self):
        return self.server.metrics().get("neap_log_dropped_total")

    def test_records_that_a_full_disk_does_not_take_are_counted_and_spoil_no_other(self):
        before = self.server.ask("one")
        self.server.decision(before)
        path = self.server.path("decisions")
        self.limit(os.path.getsize(path) + 100)
        for i in range(3):
            self.assertEqual(self.server.ask("lost").status, 200)
            self.assertTrue(procs.wait_for(lambda i=i: self.lost() == i + 1), self.lost())
        self.limit(None)
        self.assertIn("decision records are lost", self.server.log())
        after = self.server.ask("two").get("X-Request-Id")
        self.assertTrue(procs.wait_for(lambda: after in self.server.read("decisions")))
        code, text, said = procs.run("explain", after, "--decisions", path, "--json")
        self.assertEqual((code, said), (0, ""))
        self.assertEqual(json.loads(text)["requestId"], after)
        self.assertEqual(self.lost(), 3)

if __name__ == "__main__":
    case.main()
