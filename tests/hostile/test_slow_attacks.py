"""Slow clients by the tool that is made for it, slowhttptest (T22): heads that never end, bodies that trickle and
readers that hardly read, 1,000 connections each. Meanwhile a good client's requests are as quick as ever and
none fails.

ctest: labels long
ctest: timeout 300
ctest: serial"""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import case
import wire

CONNECTIONS = 1000
SECONDS = 25

MODES = {
    "heads": ["-H", "-i", "5", "-x", "24"],
    "bodies": ["-B", "-i", "5", "-s", "8192", "-x", "10", "-f", "application/json"],
    "readers": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
}


@unittest.skipUnless(shutil.which("slowhttptest"), "slowhttptest is not installed")
class SlowAttacks(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    @staticmethod
    def good_client(server, stop):
        """Latencies of a client that asks on, and how many of its requests failed."""
        times, failed = [], 0
        while not stop.is_set():
            try:
                reply = server.ask("a")
                failed += reply.status != 200
                times.append(reply.ms)
            except (wire.Cut, OSError):
                failed += 1
            time.sleep(0.02)
        return times, failed

    def attack(self, mode, stop):
        url = f"http://127.0.0.1:{self.server.port}{wire.REPLY}"
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["slowhttptest", "-c", str(CONNECTIONS), "-r", "200", "-l", str(SECONDS), "-p", "2", "-u", url]
                + ["-t", "POST", *MODES[mode]],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "TERM": "dumb"},
                capture_output=True,
                timeout=SECONDS + 60,
                check=False,
            )
        stop.set()

    def open_connections(self):
        return sum(1 for fd in os.listdir(f"/proc/{self.server.process.pid}/fd"))

    def check(self, mode):
        """The control is a client of another neap at the same time: a busy machine slows both."""
        stop, got, most = threading.Event(), {}, [0]
        other = self.own(self.serve(self.policies))

        def ask(name, server):
            got[name] = self.good_client(server, stop)

        def watch():
            while not stop.is_set():
                most[0] = max(most[0], self.open_connections())
                time.sleep(0.2)

        threads = [threading.Thread(target=self.attack, args=(mode, stop)),
                   threading.Thread(target=watch),
                   threading.Thread(target=ask, args=("attacked", self.server)),
                   threading.Thread(target=ask, args=("other", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        p99 = {name: sorted(times)[int(len(times) * 0.99)] for name, (times, _) in got.items()}
        failed = got["attacked"][1]
        case.say(f"{mode}: p99 of a good client {p99['attacked']:.1f} ms, of another neap's {p99['other']:.1f} ms; {failed} "
                 f"of {len(got['attacked'][0])} failed; at most {most[0]} descriptors, {self.open_connections()} at the end")
        self.assertEqual(failed, 0)
        self.assertLess(p99["attacked"], max(2 * p99["other"], p99["other"] + 25))
        return most[0]

    def test_heads_that_never_end(self):
        self.assertGreater(self.check("heads"), CONNECTIONS // 2)

    def test_bodies_that_trickle(self):
        self.assertGreater(self.check("bodies"), CONNECTIONS // 2)

    def test_readers_that_hardly_read(self):
        self.check("readers")


if __name__ == "__main__":
    case.main()
