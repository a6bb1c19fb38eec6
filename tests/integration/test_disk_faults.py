"""T12: the ledger's disk fails under load (strace makes system calls fail). Everybody is answered, the file
stays sound, not a call more goes out than the budget has money for, and none is forgotten.

ctest: timeout 240"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

import case
import procs
from policies import Policies
from test_redis import CENT, ONE_CENT

LIMIT = 500  # cents
# What fails, and which of the calls: all, or every third.
FAULTS = [
    ("fdatasync,fsync", "EIO", "1+"),
    ("fdatasync,fsync", "EIO", "1+3"),
    ("pwrite64", "EIO", "1+"),
    ("pwrite64", "EIO", "2+3"),
    ("pwrite64,ftruncate", "ENOSPC", "1+"),
    ("pwrite64,fdatasync", "ENOSPC", "1+3"),
]
FAULT_S = float(os.environ.get("NEAP_FAULT_S", "2"))


class Strace:
    """Makes system calls of a running process fail while it is there."""

    def __init__(self, pid, calls, error, when):
        self.folder = tempfile.mkdtemp(prefix="neap-strace-")
        self.output = os.path.join(self.folder, "calls")
        self.process = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), "-o", self.output, "-e", f"trace={calls}"]
            + ["-e", f"inject={calls}:error={error}:when={when}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = self.process.stderr.readline()

    @property
    def attached(self):
        return "attached" in self.said

    def end(self):
        """Lets go; how many calls it made fail."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=20)
        failed = 0
        if os.path.exists(self.output):
            with open(self.output, encoding="utf-8", errors="replace") as f:
                failed = sum("(INJECTED)" in line for line in f)
        shutil.rmtree(self.folder, ignore_errors=True)
        return failed


@case.unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class DiskFaults(case.Case):
    # Leaks are not looked for while somebody else traces.
    env = {**case.Case.env, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

    def start(self):
        self.state = tempfile.mkdtemp(prefix="neap-faults-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.mock.control(m={"first_ms": 1, "total_ms": 2})
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=20000)
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": LIMIT / 100}]
        server = self.serve(policies, store="sqlite:neap.db", flags=("--state", self.state))
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
            return db.execute(sql).fetchall()

    def load(self, server, seconds, got):
        """At the pace of somebody who does not use up the whole budget in one fault."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got.append(server.ask("hello", "/api/wall/reply", timeout=60))
            time.sleep(0.1)

    def under(self, server, fault):
        strace = Strace(server.process.pid, *fault)
        if not strace.attached:
            strace.end()
            self.skipTest(f"strace may not look at another process here: {strace.said.strip()}")
        got = []
        clients = [threading.Thread(target=self.load, args=(server, FAULT_S, got)) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        failed = strace.end()
        degraded = sum(r.json()["degraded"] for r in got)
        case.say(
            f"{fault[0]} {fault[1]} {fault[2]}: {failed} failed, {len(got)} answered, {degraded} degraded"
        )
        self.assertGreater(failed, 0)
        self.assertEqual({r.status for r in got}, {200})

    def good(self, server):
        return not server.ask("hello", "/api/wall/reply", timeout=60).json()["degraded"]

    def test_while_the_disk_fails_all_are_answered_and_no_money_is_lost_or_made(self):
        server = self.start()
        before = self.mock.calls("m")
        self.assertTrue(self.good(server))
        for fault in FAULTS:
            with self.subTest(fault):
                self.under(server, fault)
                good = procs.wait_for(lambda: self.good(server), 20, 0.1)
                self.assertTrue(good, "does not recover")
        while self.good(server):
            pass
        calls = self.mock.calls("m") - before
        server.stop()
        integrity = self.rows("PRAGMA integrity_check")
        exact, presumed = self.rows("SELECT exact, presumed FROM vectors")[0]
        case.say(
            f"{calls} calls of {LIMIT}: over-spend {max(0, calls - LIMIT)} cents, booked - billed"
            f" {exact + presumed - calls * CENT} nusd, integrity {integrity[0][0]}"
        )
        self.assertEqual(integrity, [("ok",)])
        self.assertEqual(calls, LIMIT)
        self.assertEqual((exact, presumed), (calls * CENT, 0))
        self.assertEqual(
            self.rows("SELECT sum(cost_nusd) FROM settlements"),
            self.rows("SELECT sum(cost_nusd) FROM totals"),
        )
        self.assertEqual(self.rows("SELECT sum(cost_nusd) FROM totals"), [(calls * CENT,)])


if __name__ == "__main__":
    case.main()
