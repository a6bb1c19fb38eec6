"""neap ledger check where instances share a Redis: journal, records and metrics agree, and the server knows
the same; what it knows otherwise is named."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing

import case
import procs
from case import at_once
from policies import Policies
from test_audit import PRICES, answer
from test_redis import Redis


class AuditShared(case.Case):
    def setUp(self):
        self.redis = Redis()
        self.addCleanup(self.redis.close)
        self.store = f"redis://127.0.0.1:{self.redis.port}/0"
        self.mock.control(m=answer("m"))
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", usd_per_million=PRICES["m"])
        policies.endpoint("wall", ["m"])
        policies.budgets = [
            {"account": "global", "window": "none", "limit_usd": 50},
            {"account": "tenant", "window": "day", "limit_usd": 30},
        ]
        self.policies = policies

    def start(self):
        state = tempfile.mkdtemp(prefix="neap-shared-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        kept = os.path.join(state, "decisions")
        server = self.serve(
            self.policies, store=self.store, flags=("--state", state, "--decisions", kept)
        )
        server.state = state
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def check(self, server, *more, store=None):
        code, out, err = procs.run(
            *("ledger", "check", "--store", store or self.store, "--state", server.state),
            *("--decisions", os.path.join(server.state, "decisions"), *more),
        )
        return code, out + err

    def name(self, server):
        with closing(sqlite3.connect(os.path.join(server.state, "neap-journal.db"))) as db:
            return db.execute("SELECT instance FROM self").fetchone()[0]

    def key(self):
        return next(k for k in self.redis.cli("keys", "neap:*").splitlines() if "global" in k)

    def test_the_books_of_two_instances_agree_with_the_server_and_the_providers(self):
        before = self.mock.bill()
        servers = [self.start() for _ in range(2)]
        at_once(40, lambda i: servers[i % 2].ask("hello " * (i + 1), "/api/wall/reply"))
        for server in servers:
            code, said = self.check(server, "--admin", f"127.0.0.1:{server.admin_port}")
            self.assertEqual(code, 0, said)
            self.assertRegex(said, r"at Redis +window +instances")
            self.assertRegex(said, rf"instance {self.name(server)} \(this one\) heard of ")
            server.stop()
            code, said = self.check(server)
            self.assertEqual(code, 0, said)
        billed, settled = self.mock.bill() - before, self.settled()
        case.say(f"40 calls on two instances: charged {billed} nusd, Redis has {settled}")
        self.assertEqual(settled, billed)

    def settled(self):
        words = self.redis.cli("hgetall", self.key()).splitlines()
        return sum(int(v) for f, v in zip(words[::2], words[1::2]) if f.startswith("s:"))

    def tampered(self, field, by):
        server = self.start()
        for _ in range(3):
            server.ask("hello", "/api/wall/reply")
        server.stop()
        self.assertEqual(self.check(server)[0], 0)
        self.redis.cli("hincrby", self.key(), f"{field}:{self.name(server)}", str(by))
        return server

    def test_a_nano_dollar_more_at_the_server_is_found(self):
        code, said = self.check(self.tampered("s", 1))
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"global/none .*the store says more than the journal")

    def test_more_leased_than_the_limit_is_found(self):
        code, said = self.check(self.tampered("g", 50_000_000_000))
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"global/none .*more is granted than the limit")

    def test_what_the_server_has_not_heard_of_a_dead_instance_is_told_and_no_fault(self):
        code, said = self.check(self.tampered("s", -1))
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"global/none .*the store hears of the rest at the next start")

    def test_without_the_server_it_fails_and_says_how_to_look_at_the_journal_alone(self):
        server = self.start()
        server.ask("hello", "/api/wall/reply")
        server.stop()
        self.redis.kill()
        code, said = self.check(server)
        self.assertEqual(code, 3, said)
        self.assertIn("--store sqlite:neap-journal.db", said)
        code, said = self.check(server, store="sqlite:neap-journal.db")
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    case.main()
