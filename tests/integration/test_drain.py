"""SIGTERM while requests come and long streams run (T39): nothing that was begun is dropped, streams end whole, money
that was leased and not spent goes back, and the exit status is 0."""

import os
import signal
import sqlite3
import tempfile
import threading
import time

import case
import procs
import wire

STREAMS = 20
ASKERS = 6
WORDS = 60
SCENARIO = f"""
local words = {{}}
for i = 1, {WORDS} do words[i] = "word" .. i end
return {{ models = {{
  long = {{ text = table.concat(words, " "), first_ms = 50, total_ms = 2500 }},
  quick = {{ text = "done", first_ms = 40, total_ms = 60 }},
}} }}
"""
TEXT = " ".join(f"word{i}" for i in range(1, WORDS + 1))


class Asker(threading.Thread):
    """Asks again and again, on a connection that lasts, until the server is gone. What is dropped: a request
    whose reply broke off, or that was the first on its connection and got none. (A connection that rests may be
    closed at the moment at which it is used again; every client asks once more then.)"""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.good = self.refused = self.retried = 0
        self.dropped = []
        self.start()

    def run(self):
        conn, asked = None, 0
        while True:
            try:
                if conn is None:
                    conn, asked = self.server.conn(), 0
            except OSError:
                return
            asked += 1
            try:
                reply = conn.ask(body={"prompt": "a"}, path="/api/quick/reply")
            except (wire.Cut, OSError) as fault:
                if conn.buffer or asked == 1 and "reset" not in str(fault).lower():
                    self.dropped.append(str(fault))
                self.retried += 1
                conn.close()
                conn = None
                continue
            self.good += reply.status == 200 and not reply.json()["degraded"]
            self.refused += reply.status == 503
            if reply.get("Connection") == "close":
                conn.close()
                conn = None


class Drain(case.Case):
    scenario = SCENARIO

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("long", "p")
        policies.model("quick", "p")
        policies.endpoint("assistant", ["long"])
        policies.endpoint("quick", ["quick"])
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 100.0}]
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-drain-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.file = os.path.join(cls.keep.name, "neap.db")

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, store=f"sqlite:{cls.file}", **kw)

    def accounts(self):
        """What the store has given out and not got back, and what was spent, in nano-dollars."""
        with sqlite3.connect(self.file) as db:
            return db.execute("SELECT sum(granted - returned - recovered), sum(exact + estimated + presumed)"
                              " FROM vectors").fetchone()

    def test_nothing_is_dropped_and_all_money_comes_back(self):
        streams = [self.server.stream("go") for _ in range(STREAMS)]
        for stream in streams:
            self.addCleanup(stream.conn.close)
            stream.follow(deltas=1)
        askers = [Asker(self.server) for _ in range(ASKERS)]
        time.sleep(0.7)
        self.server.signal(signal.SIGTERM)
        began = time.monotonic()
        turned = procs.wait_for(lambda: self.server.admin("GET", "/readyz").status == 503, 2)
        turned_ms = (time.monotonic() - began) * 1000
        for stream in streams:
            stream.follow()
        status = self.server.wait()
        took_ms = (time.monotonic() - began) * 1000
        for asker in askers:
            asker.join()
        good, refused, dropped = (sum(len(x) if isinstance(x, list) else x for x in (getattr(a, name) for a in askers))
                                  for name in ("good", "refused", "dropped"))
        whole = sum(stream.text == TEXT and stream.done is not None for stream in streams)
        held, spent = self.accounts()
        case.say(f"SIGTERM under load: /readyz turned after {turned_ms:.0f} ms, the end came after {took_ms:.0f} ms; "
                 f"{good} answered, {refused} refused, {dropped} dropped; {whole} of {STREAMS} streams whole; "
                 f"leased and not spent: {held - spent} nano-dollars")
        self.assertTrue(turned)
        self.assertEqual(dropped, 0, [a.dropped for a in askers])
        self.assertGreater(good, 10)
        self.assertEqual(whole, STREAMS)
        self.assertEqual(held, spent)
        self.assertGreater(spent, 0)
        self.assertEqual(status, 0)


if __name__ == "__main__":
    case.main()
