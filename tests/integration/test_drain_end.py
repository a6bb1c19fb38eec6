"""The time to drain is over while calls are still under way: each of their clients gets its one reply, what was called
is paid for, the money that is left goes back, and the exit status is 0."""

import os
import signal
import sqlite3
import tempfile
import time

import case
import procs
import wire

DRAIN_S = 1
SCENARIO = """
return { seed = 7, models = {
  endless = { text = string.rep("word ", 800), first_ms = 20, total_ms = 100000 },
  silent = { text = "late", first_ms = 100000, total_ms = 100000 },
  failing = { status = 503 },
} }
"""


class DrainEnd(case.Case):
    scenario = SCENARIO
    flags = ("--drain-seconds", str(DRAIN_S))

    @classmethod
    def prepare(cls, policies):
        limits = {"first_token_timeout_ms": 100000, "idle_timeout_ms": 100000, "timeout_ms": 100000}
        policies.provider("p", **limits)
        for name in ("endless", "silent", "failing"):
            policies.model(name, "p")
        policies.endpoint("assistant", ["endless"], deadline_ms=100000)
        policies.endpoint("silent", ["silent"], deadline_ms=100000)
        policies.endpoint("failing", ["failing"], deadline_ms=100000)
        policies.endpoint("drain", ["silent"], deadline_ms=100000, on_disconnect="drain")
        policies.hook("retry", "() return { retry_in_ms = 60000 }")
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 100.0}]
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-drain-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.file = os.path.join(cls.keep.name, "neap.db")

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, store=f"sqlite:{cls.file}", **kw)

    def begun(self, path, stream):
        conn = self.server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(path=f"/api/{path}/reply", body={"prompt": "a", "stream": stream}))
        return conn

    def test_whoever_still_waits_is_told(self):
        stream = self.server.stream("go")
        self.addCleanup(stream.conn.close)
        stream.follow(deltas=1)
        waiting = [self.begun(path, streamed) for path in ("silent", "failing")
                   for streamed in (False, True)]
        left = self.begun("drain", False)
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("silent") == 3 and self.mock.calls("failing") == 2, 15))
        left.close()
        began = time.monotonic()
        self.server.signal(signal.SIGTERM)
        for conn in waiting:
            reply = conn.reply()
            self.assertError(reply, 503, "draining")
            self.assertEqual(reply.get("Retry-After"), "1")
        self.assertBroken(stream.follow(), "draining")
        status = self.server.wait()
        case.say(f"{len(waiting)} replies and the end of a stream; over after "
                 f"{time.monotonic() - began:.1f} s of {DRAIN_S}")
        self.assertEqual(status, 0)
        self.assertGreater(time.monotonic() - began, DRAIN_S - 0.1)
        records = list(self.server.read_records().values())
        self.assertEqual(sorted(r["outcome"] for r in records), ["cancelled"] + ["draining"] * 5)
        with sqlite3.connect(self.file) as db:
            held, spent = db.execute("SELECT sum(granted - returned - recovered), sum(exact + estimated + presumed)"
                                     " FROM vectors").fetchone()
        self.assertEqual(held, spent)
        self.assertEqual(spent, sum(round(r["costUsd"] * 1e9) for r in records))
        self.assertGreater(spent, 0)


if __name__ == "__main__":
    case.main()
