"""The embedded ledger: budgets survive restarts and crashes, one process has the file, and a disk
that fails stops nobody but those whose money it would have had to note."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import case
import procs
import wire
from case import at_once
from policies import Policies

CENT = 10_000_000  # nano-dollars
ONE_CENT = {"usd_per_million": {"input": 0, "output": 0}, "usd_per_request": 0.01}


def set_of(url, limit_usd, window="none", **budget):
    """A set with one endpoint whose every call costs a cent, and a budget over all."""
    policies = Policies(url)
    policies.provider("p")
    policies.model("m", "p", **ONE_CENT)
    policies.endpoint("wall", ["m"])
    policies.budgets = [
        {"account": "global", "window": window, "limit_usd": limit_usd, **budget},
    ]
    return policies


class Ledger(case.Case):
    """Each test has a folder for its ledger and starts servers as it likes."""

    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="neap-ledger-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.mock.control(m={"first_ms": 1, "total_ms": 2})

    def start(self, policies, *flags, **kw):
        server = self.serve(
            policies,
            store=kw.pop("store", "sqlite:neap.db"),
            flags=("--state", self.state, *flags),
            **kw,
        )
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def ask(self, server, **kw):
        return server.ask("hello", "/api/wall/reply", timeout=60, **kw)

    def account(self, server):
        return server.admin("GET", "/api/budgets").json()["budgets"][0]

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            return db.execute(sql).fetchall()

    # -- walls

    def test_of_200_at_once_with_money_for_4_exactly_4_go_out(self):
        self.mock.control(m={"first_ms": 300, "total_ms": 300})
        before = self.mock.calls("m")
        server = self.start(set_of(self.mock.url, 0.04))
        replies = at_once(200, lambda i: self.ask(server))
        good = [r for r in replies if not r.json()["degraded"]]
        calls = self.mock.calls("m") - before
        case.say(f"money for 4 in a file, 200 at once: {len(good)} good, {calls} calls")
        self.assertEqual((len(good), calls), (4, 4))
        self.assertEqual({r.json().get("reason") for r in replies if r not in good}, {"budget"})
        self.assertEqual(self.account(server)["spentUsd"], 0.04)
        server.stop()
        self.assertEqual(self.rows("SELECT sum(cost_nusd) FROM settlements"), [(4 * CENT,)])

    def test_nobody_is_refused_while_the_limit_has_room(self):
        server = self.start(set_of(self.mock.url, 3.0))
        replies = at_once(100, lambda i: self.ask(server))
        replies += at_once(100, lambda i: self.ask(server))
        self.assertEqual([r for r in replies if r.json()["degraded"]], [])
        self.assertEqual(self.account(server)["spentUsd"], 2.0)
        waits = procs.wait_for(
            lambda: self.rows("SELECT sum(calls), sum(cost_nusd) FROM totals") == [(200, 200 * CENT)]
        )
        self.assertTrue(waits, self.rows("SELECT * FROM totals"))

    def test_waiting_for_money_asks_no_hook_twice_and_clients_may_leave(self):
        policies = set_of(self.mock.url, 100.0)
        policies.files["budget.lua"] = "return function(req, candidate) return nil end\n"
        server = self.start(policies)
        chance = random.Random(3)
        waits = [chance.uniform(0, 0.02) for _ in range(150)]

        def one(i):
            if i % 3:
                return self.ask(server)
            with server.conn() as conn:
                conn.send(wire.request("POST", "/api/wall/reply", {"prompt": "bye"}))
                time.sleep(waits[i])
            return None

        replies = [r for r in at_once(150, one) if r]
        self.assertEqual([r for r in replies if r.json()["degraded"]], [])
        for reply in replies[:30]:
            hooks = [h["name"] for h in server.decision(reply)["hooks"]]
            self.assertEqual(hooks, ["budget"], reply)
        idle = procs.wait_for(lambda: server.status()["inflight"] == 0, 10)
        self.assertTrue(idle, "exchanges are left")
        self.assertEqual(self.account(server)["reservedUsd"], 0)

    # -- lives

    def test_what_was_spent_is_known_after_a_restart_and_free_money_comes_back(self):
        policies = set_of(self.mock.url, 0.05, window="month")
        server = self.start(policies)
        for _ in range(3):
            self.assertGood(self.ask(server))
        server.stop()
        self.assertEqual(
            self.rows("SELECT granted - returned, exact, recovered FROM vectors"),
            [(3 * CENT, 3 * CENT, 0)],
        )
        server = self.start(policies)
        self.assertGood(self.ask(server))
        self.assertEqual(self.account(server)["spentUsd"], 0.04)
        self.assertGood(self.ask(server))
        self.assertDegraded(self.ask(server), "budget")
        server.stop()
        self.assertEqual(self.rows("SELECT boot FROM self"), [(2,)])
        self.assertEqual(
            self.rows("SELECT boot, sum(calls), sum(cost_nusd) FROM totals GROUP BY 1"),
            [(1, 3, 3 * CENT), (2, 2, 2 * CENT)],
        )

    def test_a_crash_never_forgets_money_and_counts_at_most_a_chunk_too_much(self):
        chance = random.Random(7)
        billed, under, over, largest = 0, 0, 0, 0
        policies = set_of(self.mock.url, 1000.0)
        calls = self.mock.calls("m")
        for _ in range(10):
            server = self.start(policies)
            stop = time.monotonic() + chance.uniform(0.05, 0.4)

            def load(i, server=server, stop=stop):
                with contextlib.suppress(Exception):
                    while time.monotonic() < stop:
                        self.ask(server)

            killer = at_once(
                5,
                lambda i, load=load, server=server, stop=stop: (
                    load(i)
                    if i
                    else (time.sleep(max(0, stop - time.monotonic() - 0.02)),
                          server.signal(signal.SIGKILL))
                ),
            )
            del killer
            server.process.wait()
            chunk = self.rows(
                "SELECT coalesce(sum(granted - returned - exact - estimated - presumed), 0)"
                " FROM vectors"
            )[0][0]
            largest = max(largest, chunk)
            billed = (self.mock.calls("m") - calls) * CENT
            # The next life books it; read from the file what it would.
            spent = self.rows(
                "SELECT coalesce(sum(max(granted - returned, exact + estimated + presumed)), 0)"
                " FROM vectors"
            )[0][0]
            under = max(under, billed - spent)
            before = over
            over = spent - billed
            self.assertLessEqual(over - before, chunk)
        server = self.start(policies)
        spent = procs.wait_for(lambda: round(self.account(server)["spentUsd"] * 1e9))
        case.say(
            f"10 kills: billed {billed} nusd, {max(0, under)} under, {spent - billed} over in all, "
            f"largest chunk {largest}"
        )
        self.assertLessEqual(under, 0)
        self.assertGreater(billed, 0)
        self.assertGreaterEqual(spent, billed)

    def test_a_second_process_on_the_file_is_told_who_has_it(self):
        policies = set_of(self.mock.url, 1.0)
        server = self.start(policies)
        code, _, err = procs.run(
            *("serve", "--policies", policies.path, "--listen", "127.0.0.1:0"),
            *("--admin", "127.0.0.1:0", "--state", self.state),
            env={**self.env, "NEAP_STORE": None},
        )
        self.assertEqual(code, 3, err)
        self.assertIn(f"process {server.process.pid}", err)
        self.assertIn("--state", err)
        self.assertGood(self.ask(server))

    # -- files that are wrong

    def failing_start(self, *flags, policies=None):
        policies = policies or set_of(self.mock.url, 1.0).write()
        code, _, err = procs.run(
            *("serve", "--policies", policies.path, "--listen", "127.0.0.1:0"),
            *("--admin", "127.0.0.1:0", *flags),
            env={**self.env, "NEAP_STORE": None},  # the default is meant
        )
        self.assertEqual(code, 3, err)
        self.assertNotIn("Sanitizer", err)
        return err

    def test_a_folder_that_is_not_there_is_told_with_what_would_be_right(self):
        err = self.failing_start("--store", f"sqlite:{self.state}/nowhere/x.db")
        self.assertIn(f"{self.state}/nowhere", err)
        self.assertIn("--state", err)

    def test_a_file_that_is_no_ledger_is_refused_and_left_alone(self):
        path = os.path.join(self.state, "neap.db")
        with open(path, "w", encoding="utf-8") as f:
            f.write("this is not a database, and it is long enough to tell\n" * 40)
        err = self.failing_start("--state", self.state)
        self.assertIn(path, err)
        self.assertIn("not a database", err)
        os.unlink(path)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE other (x)")
        self.assertIn("no ledger of neap", self.failing_start("--state", self.state))
        self.assertEqual(self.rows("SELECT count(*) FROM sqlite_schema"), [(1,)])

    def test_a_ledger_of_a_newer_version_is_refused(self):
        self.start(set_of(self.mock.url, 1.0)).stop()
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            db.execute("PRAGMA user_version = 99")
        self.assertIn("newer neap", self.failing_start("--state", self.state))

    # -- disks that fail

    def test_a_locked_file_is_waited_for_and_then_only_leased_money_is_spent(self):
        server = self.start(set_of(self.mock.url, 1000.0))
        self.assertGood(self.ask(server))
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            db.isolation_level = None
            db.execute("BEGIN IMMEDIATE")
            self.assertTrue(
                procs.wait_for(lambda: self.ask(server).json()["degraded"], 20),
                "leased money never ends",
            )
            reply = self.ask(server)
            self.assertDegraded(reply, "budget")
            self.assertEqual(server.metrics().get("neap_store_up"), 0)
            db.execute("ROLLBACK")
        good = procs.wait_for(lambda: not self.ask(server).json()["degraded"], 10, 0.1)
        self.assertTrue(good, "does not recover")
        self.assertEqual(server.metrics().get("neap_store_up"), 1)

    def test_a_full_disk_degrades_and_recovers_with_no_money_lost(self):
        if os.getuid() != 0:
            self.skipTest("a tmpfs wants root")
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", self.state],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            self.skipTest("a tmpfs can't be mounted here")
        try:
            self.full_disk()
        finally:
            subprocess.run(["umount", "-l", self.state], check=False)

    def full_disk(self):
        before = self.mock.calls("m")
        server = self.start(set_of(self.mock.url, 1000.0))
        self.assertGood(self.ask(server))
        filler = os.path.join(self.state, "filler")
        with contextlib.suppress(OSError):
            with open(filler, "wb", buffering=0) as f:
                while True:
                    f.write(b"x" * 4096)
        got = []
        until = time.monotonic() + 15
        while time.monotonic() < until and sum(r.json()["degraded"] for r in got) < 3:
            got.append(self.ask(server))
        self.assertTrue(all(r.status == 200 for r in got))
        degraded = sum(r.json()["degraded"] for r in got)
        self.assertEqual(degraded, 3, f"of {len(got)}")
        self.assertEqual(server.metrics().get("neap_store_up"), 0)
        os.unlink(filler)
        good = procs.wait_for(lambda: not self.ask(server).json()["degraded"], 10, 0.1)
        self.assertTrue(good, "does not recover")
        server.stop()
        billed = (self.mock.calls("m") - before) * CENT
        spent = self.rows("SELECT exact + estimated + presumed FROM vectors")[0][0]
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        case.say(f"full disk: {len(got)} answered, {degraded} degraded, billed - spent "
                 f"{billed - spent} nusd")
        self.assertEqual(spent, billed)
        self.assertEqual(
            self.rows("SELECT sum(cost_nusd) FROM totals"),
            self.rows("SELECT sum(cost_nusd) FROM settlements"),
        )


if __name__ == "__main__":
    case.main()
