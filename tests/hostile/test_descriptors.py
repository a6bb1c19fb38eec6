"""Without descriptors or memory (T29): neap refuses, does not spin, and serves again within a second."""

import os
import resource
import shutil
import signal
import subprocess
import time
import unittest

import case
import procs
import wire

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Starved(case.Case):
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def cpu_share(self, seconds=2.0):
        """Of one core, over so many seconds."""
        before, began = cpu_s(self.server.process.pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_s(self.server.process.pid) - before) / (time.monotonic() - began)

    def assertDoesNotSpin(self, share):
        """Beside what it takes at rest, which on a busy machine and with a sanitizer is not nothing."""
        self.assertLess(share - min(self.idle, 0.05), 0.05)

    def setUp(self):
        self.idle = self.cpu_share(1.0)

    def served_after(self):
        """Seconds until a request on a new connection is answered well."""
        began = time.monotonic()

        def good():
            try:
                return self.server.ask("a", timeout=2).status == 200
            except (wire.Cut, OSError):
                return False

        self.assertTrue(procs.wait_for(good, 10), "it does not serve again")
        return time.monotonic() - began

    def outcomes(self, conns):
        """How many of the connections are served, told 503, closed without a word, left hanging."""
        served = told = closed = hanging = 0
        for conn in conns:
            try:
                conn.socket.settimeout(3)
                conn.send(wire.request("GET", "/nothing"))
                status = conn.reply().status
                served += status == 404
                told += status == 503
            except TimeoutError:
                hanging += 1
            except (wire.Cut, OSError):
                closed += 1
        return served, told, closed, hanging


class FewDescriptors(Starved):
    flags = ("--max-connections-per-address", "64")

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, **kw, prefix=("prlimit", "--nofile=64:64"))

    def test_a_crowd_that_is_turned_away_takes_no_descriptor_of_providers_and_operators(self):
        inside = [self.server.conn() for _ in range(8)]
        crowd = [self.server.conn() for _ in range(200)]
        ready = self.server.admin("GET", "/readyz").status
        for conn in inside:
            conn.send(wire.request(body={"prompt": "a"}))
        replies = [conn.reply() for conn in inside]
        for conn in inside + crowd:
            conn.close()
        self.assertEqual(ready, 200)
        for reply in replies:
            self.assertGood(reply)

    def test_with_64_descriptors_the_rest_is_told_503_and_nothing_spins(self):
        conns = [self.server.conn() for _ in range(100)]
        served, told, closed, hanging = self.outcomes(conns)
        share = self.cpu_share()
        for conn in conns:
            conn.close()
        after = self.served_after()
        case.say(f"64 descriptors, 100 connections: {served} served, {told} told 503, {closed} closed, {hanging} "
                 f"hanging; CPU while full {share * 100:.1f} %, at rest {self.idle * 100:.1f} %; served again after "
                 f"{after * 1000:.0f} ms")
        self.assertGreaterEqual(served, 4)
        self.assertEqual(served + told, 100)
        self.assertDoesNotSpin(share)
        self.assertLess(after, 1.0)


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class Injected(Starved):
    def inject(self, what):
        """Has a system call fail from now on; returns what ends that."""
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={what.split(':')[0]}", "-e", f"inject={what}"]
            + ["-p", str(self.server.process.pid)],
            stderr=subprocess.PIPE,
        )
        pid = self.server.process.pid

        def traced():
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                return f"TracerPid:\t{tracer.pid}\n" in f.read()

        if not procs.wait_for(traced, 10):
            said = tracer.communicate(timeout=5)[1].decode() if tracer.poll() is not None else ""
            tracer.kill()
            raise AssertionError(f"strace does not attach: {said}")
        time.sleep(0.3)  # to the threads, too

        def end():
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            tracer.stderr.close()

        return end

    def check(self, what):
        self.assertGood(self.server.ask("a"))
        end = self.inject(what)
        try:
            conns = [self.server.conn() for _ in range(40)]
            for conn in conns:
                conn.send(wire.request("GET", "/nothing"))
            share = self.cpu_share()
        finally:
            end()
        began = time.monotonic()
        after = self.served_after()
        for conn in conns:
            conn.close()
        case.say(f"{what}: CPU while it fails {share * 100:.1f} %, at rest {self.idle * 100:.1f} %; served again after "
                 f"{(time.monotonic() - began) * 1000:.0f} ms")
        self.assertDoesNotSpin(share)
        self.assertLess(after, 1.0)

    def test_accept4_that_fails_with_emfile(self):
        self.check("accept4:error=EMFILE")

    def test_accept4_that_fails_with_enfile(self):
        self.check("accept4:error=ENFILE")

    def test_epoll_ctl_that_fails_with_enomem(self):
        self.check("epoll_ctl:error=ENOMEM")


class FullMemory(Starved):
    """The process may have so much memory and no more; large bodies take it all."""

    sanitized = b"__asan_init" in open(procs.NEAP, "rb").read()
    env = {**case.Case.env}
    if sanitized:
        # A sanitizer's own memory is beyond any RLIMIT_AS: its allocator keeps the limit instead.
        env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + \
            ":soft_rss_limit_mb=260:allocator_may_return_null=1:quarantine_size_mb=1"

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=16 << 20)

    def rss_mb(self):
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

    def test_large_bodies_that_take_all_memory_are_refused_and_it_recovers(self):
        self.assertGood(self.server.ask("a"))
        if not self.sanitized:
            with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
                bytes_now = int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(self.server.process.pid, resource.RLIMIT_AS, (bytes_now + (80 << 20),) * 2)
        conns = []
        size = 15 << 20
        piece = b" " * (1 << 20)
        refused = 0
        for _ in range(24):
            conn = self.server.conn()
            conns.append(conn)
            try:
                conn.send(wire.request(headers={"Content-Length": str(size), "Content-Type": "application/json"}))
                for _ in range(14):
                    conn.send(piece)
            except OSError:
                pass
        for conn in conns:
            conn.socket.settimeout(0.3)
            try:
                refused += conn.reply().status == 503
            except (wire.Cut, OSError):
                refused += conn.closes(0.01)
        share = self.cpu_share()
        for conn in conns:
            conn.close()
        time.sleep(0.3)
        after = self.served_after()
        case.say(f"24 bodies of 15 MB: {refused} refused or closed, RSS {self.rss_mb()} MB; CPU while full "
                 f"{share * 100:.1f} %, at rest {self.idle * 100:.1f} %; served again after {after * 1000:.0f} ms")
        self.assertGreaterEqual(refused, 1)
        self.assertDoesNotSpin(share)
        self.assertLess(after, 1.0)


if __name__ == "__main__":
    case.main()
