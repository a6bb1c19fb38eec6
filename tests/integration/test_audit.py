"""neap ledger check: the three books agree to the nano-dollar, and what makes them differ is named."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import tempfile

import case
import procs
from case import at_once
from policies import Policies

CALLS = 240
PRICES = {"m": {"input": 1.7, "output": 8.3}, "other": {"input": 0.37, "output": 1.61}}


def answer(model):
    """A quick answer, and what the provider itself charges for it."""
    return {"first_ms": 1, "total_ms": 2, "usd_per_million": PRICES[model]}


class Audit(case.Case):
    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="neap-audit-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.kept = os.path.join(self.state, "decisions")
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.provider("q", adapter="anthropic")
        policies.model("m", "p", usd_per_million=PRICES["m"])
        policies.model("other", "q", usd_per_million=PRICES["other"])
        policies.endpoint("wall", ["m", "other"])
        policies.budgets = [
            {"account": "global", "window": "none", "limit_usd": 50},
            {"account": "global", "window": "minute", "limit_usd": 40},
            {"account": "tenant", "window": "day", "limit_usd": 30},
            {"account": "model:m", "window": "hour", "limit_usd": 20},
            {"account": "provider:q", "window": "month", "limit_usd": 20},
        ]
        self.policies = policies
        self.mock.control(m=answer("m"), other=answer("other"))

    def start(self):
        server = self.serve(
            self.policies,
            store="sqlite:neap.db",
            flags=("--state", self.state, "--decisions", self.kept),
        )
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def check(self, *more):
        code, out, err = procs.run(
            *("ledger", "check", "--store", "sqlite:neap.db", "--state", self.state),
            *("--decisions", self.kept, *more),
        )
        return code, out + err

    def admin(self, server):
        return ("--admin", f"http://127.0.0.1:{server.admin_port}")

    def load(self, server, n=CALLS):
        rng = random.Random(7)
        whole = [rng.random() < 0.6 for _ in range(n)]

        def one(i):
            with contextlib.suppress(OSError, ValueError):
                if whole[i]:
                    return server.ask("hello " * (i % 40 + 1), "/api/wall/reply", timeout=30).status
                with server.conn() as conn:
                    stream = server.stream("hello", "/api/wall/reply", conn=conn)
                    if i % 3:
                        stream.follow()
            return 0

        return [status for at in range(0, n, 16) for status in at_once(16, lambda i, at=at: one(at + i))]

    def test_rows_records_and_metrics_agree_while_it_runs_and_after(self):
        server = self.start()
        self.load(server)
        self.mock.control(m={"status": 503}, other=answer("other"))
        self.load(server, 48)
        code, said = self.check(*self.admin(server))
        case.say(f"{CALLS + 48} calls, whole, streamed, left: {said.splitlines()[1].strip()}")
        self.assertEqual(code, 0, said)
        for word in ("llm_cost_usd_total", "model:m/hour", "provider:q/month", "the books agree"):
            self.assertIn(word, said)
        server.stop()
        code, said = self.check()
        self.assertEqual(code, 0, said)

    def test_the_ledger_holds_what_the_providers_themselves_charge(self):
        server = self.start()
        before = self.mock.bill()
        for i in range(60):
            model = ("m", "other")[i % 2]
            body = {"prompt": "hello " * (i % 40 + 1), "model": model, "maxTokens": 3 + i}
            if i % 3:
                self.assertEqual(server.ask(body, "/api/wall/reply").status, 200)
            else:
                with server.conn() as conn:
                    server.stream({**body, "stream": True}, "/api/wall/reply", conn=conn).follow()
        self.mock.control(m={"status": 503}, other=answer("other"))
        for _ in range(5):
            server.ask("hello", "/api/wall/reply")
        server.stop()
        billed = self.mock.bill() - before
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            booked = db.execute("SELECT sum(cost_nusd) FROM settlements").fetchone()[0]
        case.say(f"65 calls on two models: the providers charge {billed} nusd, {booked} are booked")
        self.assertGreater(billed, 0)
        self.assertEqual(booked, billed)

    def test_a_nano_dollar_more_in_one_row_is_found_and_its_request_named(self):
        server = self.start()
        ids = [server.ask("hello", "/api/wall/reply").get("X-Request-Id") for _ in range(5)]
        server.stop()
        self.assertEqual(self.check()[0], 0)
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            db.execute("UPDATE settlements SET cost_nusd = cost_nusd + 1 WHERE request = ?", [ids[2]])
            db.commit()
        code, said = self.check()
        self.assertEqual(code, 1, said)
        self.assertIn(f"request {ids[2]}:", said)
        self.assertNotIn(ids[1], said)
        self.assertIn("0.000000001  DIFFERS", said)

    def test_an_account_that_holds_what_no_record_says_is_named(self):
        server = self.start()
        server.ask("hello", "/api/wall/reply")
        server.stop()
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            db.execute(
                "UPDATE vectors SET exact = exact + 1, granted = granted + 1"
                " WHERE account LIKE 'tenant:%'"
            )
            db.commit()
        code, said = self.check()
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"tenant:\S+/day .*more is settled than records say")

    def test_a_record_that_was_taken_away_is_found(self):
        server = self.start()
        ids = [server.ask("hello", "/api/wall/reply").get("X-Request-Id") for _ in range(4)]
        server.stop()
        with open(self.kept, encoding="utf-8") as f:
            lines = [line for line in f if ids[2] not in line]
        with open(self.kept, "w", encoding="utf-8") as f:
            f.writelines(lines)
        code, said = self.check()
        self.assertEqual(code, 1, said)
        self.assertIn(f"request {ids[2]}:", said)

    def test_a_crash_is_told_and_what_it_took_is_covered_by_what_is_presumed(self):
        server = self.start()
        self.load(server, 32)
        server.signal(signal.SIGKILL)
        server.wait()
        code, said = self.check()
        self.assertEqual(code, 0, said)
        again = self.start()
        again.stop()
        code, said = self.check()
        self.assertEqual(code, 0, said)
        self.assertIn("1 lives ended by a crash", said)
        self.assertIn("presumed for a death", said)

    def test_what_cannot_be_read_is_told_with_what_would_be_right(self):
        code, _, err = procs.run("ledger", "check", "--store", "sqlite:neap.db", "--state", "nowhere")
        self.assertEqual(code, 3)
        self.assertIn("--store and --state are to be those of neap serve", err)
        code, _, err = procs.run("ledger", "check", "--store", "memory:")
        self.assertEqual(code, 2)
        self.assertIn("sqlite:PATH", err)
        self.assertEqual(procs.run("ledger", "prove")[0], 2)


if __name__ == "__main__":
    case.main()
