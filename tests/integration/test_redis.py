"""The shared ledger: instances on one Redis keep one wall, whatever happens to the server between
them. Each test has a Redis of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import case
import procs
from case import at_once
from policies import Policies

CENT = 10_000_000  # nano-dollars
ONE_CENT = {"usd_per_million": {"input": 0, "output": 0}, "usd_per_request": 0.01}


class Redis:
    """A redis-server that keeps nothing on disk, on a port of its own."""

    def __init__(self, *flags):
        self.folder = tempfile.mkdtemp(prefix="neap-redis-")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.flags = flags
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
            + ["--maxmemory-policy", "noeviction", "--dir", self.folder, *self.flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if not procs.wait_for(self.answers, 15):
            raise procs.Failed("redis-server does not start")

    def cli(self, *args, auth=()):
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *auth, *args],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout.strip()

    def answers(self):
        return self.cli("ping") in ("PONG", "NOAUTH Authentication required.")

    def hash(self):
        key = self.cli("keys", "neap:*").splitlines()[0]
        words = self.cli("hgetall", key).splitlines()
        return dict(zip(words[::2], words[1::2]))

    def sums(self):
        """What was granted and not given back, and what was settled, over all instances."""
        fields = self.hash().items()
        total = {kind: sum(int(v) for f, v in fields if f.startswith(kind + ":")) for kind in "grs"}
        return total["g"] - total["r"], total["s"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@case.unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
class Shared(case.Case):
    def setUp(self):
        self.redis = Redis("--enable-debug-command", "yes")
        self.addCleanup(lambda: self.redis.close())
        self.mock.control(m={"first_ms": 1, "total_ms": 2})

    def set_of(self, limit_usd, **budget):
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=20000)
        policies.budgets = [
            {"account": "global", "window": "none", "limit_usd": limit_usd, **budget},
        ]
        return policies

    def start(self, policies, *flags, state=None, url=None, **kw):
        state = state or tempfile.mkdtemp(prefix="neap-state-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        server = self.serve(
            policies,
            store=url or f"redis://127.0.0.1:{self.redis.port}/0",
            flags=("--state", state, *flags),
            **kw,
        )
        server.state = state
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def ask(self, server):
        return server.ask("hello", "/api/wall/reply", timeout=60)

    def good(self, server):
        return not self.ask(server).json()["degraded"]

    def store_up(self, server):
        return server.metrics().get("neap_store_up")

    def test_two_instances_keep_one_wall_and_nobody_is_refused_before_it(self):
        before = self.mock.calls("m")
        policies = self.set_of(0.40)
        servers = [self.start(policies) for _ in range(2)]
        replies = at_once(100, lambda i: self.ask(servers[i % 2]))
        good = sum(not r.json()["degraded"] for r in replies)
        # What one instance holds near the wall comes back when it is idle.
        end = time.monotonic() + 20
        while good < 40 and time.monotonic() < end:
            good += self.good(servers[good % 2])
            time.sleep(0.1)
        calls = self.mock.calls("m") - before
        case.say(f"money for 40, 100 at once on two instances: {good} good, {calls} calls")
        self.assertEqual((good, calls), (40, 40))
        self.assertFalse(self.good(servers[0]) or self.good(servers[1]))
        for server in servers:
            spent = procs.wait_for(
                lambda server=server: server.admin("GET", "/api/budgets").json()["budgets"][0][
                    "spentUsd"
                ]
                == 0.4,
                10,
                0.1,
            )
            self.assertTrue(spent, "each sees what all have spent")
            server.stop()
        self.assertEqual(self.redis.sums(), (40 * CENT, 40 * CENT))

    def test_free_money_comes_back_with_sigterm(self):
        server = self.start(self.set_of(100.0))
        for _ in range(3):
            self.assertTrue(self.good(server))
        self.assertGreater(self.redis.sums()[0], 3 * CENT)
        server.stop()
        self.assertEqual(self.redis.sums(), (3 * CENT, 3 * CENT))

    def test_a_killed_instance_counts_its_chunk_when_it_is_back(self):
        policies = self.set_of(100.0)
        server = self.start(policies)
        self.assertTrue(self.good(server))
        held = procs.wait_for(lambda: self.redis.sums()[0])
        server.signal(signal.SIGKILL)
        server.process.wait()
        server = self.start(policies, state=server.state)
        self.assertTrue(self.good(server))
        server.stop()
        got, settled = self.redis.sums()
        self.assertEqual(got, settled)
        self.assertTrue(2 * CENT <= settled <= held + 2 * CENT, (held, settled))

    def test_redis_away_is_never_on_the_way_and_leased_money_is_spent(self):
        server = self.start(self.set_of(1000.0))
        for _ in range(20):
            self.assertTrue(self.good(server))
        self.redis.process.send_signal(signal.SIGSTOP)
        times, degraded = [], 0
        end = time.monotonic() + 12
        while time.monotonic() < end and degraded < 5:
            begin = time.monotonic()
            reply = self.ask(server)
            times.append(time.monotonic() - begin)
            self.assertEqual(reply.status, 200)
            degraded += reply.json()["degraded"]
        times.sort()
        case.say(
            f"Redis stopped: {len(times)} calls, {len(times) - degraded} on leased money, slowest "
            f"{times[-1] * 1000:.0f} ms, median {times[len(times) // 2] * 1000:.0f} ms"
        )
        self.assertEqual(degraded, 5)
        self.assertGreater(len(times), 5)
        self.assertEqual(self.store_up(server), 0)
        self.redis.process.send_signal(signal.SIGCONT)
        self.assertTrue(procs.wait_for(lambda: self.good(server), 15, 0.1), "does not recover")
        self.assertEqual(self.store_up(server), 1)
        server.stop()
        got, settled = self.redis.sums()
        self.assertEqual(got, settled)

    def restarted(self):
        self.redis.kill()
        self.redis.start()

    def test_an_empty_redis_is_told_again_what_was_granted(self):
        self.forgetful(self.restarted)

    def test_a_redis_that_somebody_flushes_is_told_again_what_was_granted(self):
        self.forgetful(lambda: self.redis.cli("flushall"))

    def forgetful(self, forget):
        before = self.mock.calls("m")
        policies = self.set_of(0.60)
        servers = [self.start(policies) for _ in range(2)]
        for i in range(20):
            self.assertTrue(self.good(servers[i % 2]))
        forget()
        good, end = 0, time.monotonic() + 40
        while time.monotonic() < end and good < 40:
            good += sum(not r.json()["degraded"] for r in at_once(4, lambda i: self.ask(servers[i % 2])))
        calls = self.mock.calls("m") - before
        case.say(f"Redis forgot all: {calls} calls of 60 that the limit allows")
        self.assertEqual(calls, 60)
        self.assertFalse(self.good(servers[0]) or self.good(servers[1]))
        for server in servers:
            self.assertGreaterEqual(server.metrics().get("neap_store_epoch_changes_total"), 1)
            server.stop()
        self.assertEqual(self.redis.sums(), (60 * CENT, 60 * CENT))

    def test_a_server_that_takes_2_s_for_an_answer_is_on_nobodys_way(self):
        server = self.start(self.set_of(1000.0))
        times = {"calm": [], "slow": []}

        def measure(kind, seconds, pause_s):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begin = time.monotonic()
                self.assertTrue(self.good(server))
                times[kind].append((time.monotonic() - begin) * 1000)
                time.sleep(max(0.005, begin + pause_s - time.monotonic()))

        # What is leased lasts two seconds at the rate of late: half of it, so that a busy machine, on which that
        # rate was low, does not run out.
        measure("calm", 1, 0.02)  # so that what two seconds need is leased
        for _ in range(3):
            self.assertTrue(procs.wait_for(lambda: self.store_up(server) == 1 and self.good(server), 10))
            measure("calm", 1, 0.02)
            sleep = threading.Thread(target=lambda: self.redis.cli("debug", "sleep", "2"))
            sleep.start()
            measure("slow", 1.5, 0.04)
            sleep.join()
        p99 = {kind: sorted(of)[len(of) * 99 // 100] for kind, of in times.items()}
        case.say(
            f"Redis takes 2 s: {len(times['slow'])} calls, p99 {p99['slow']:.1f} ms beside {p99['calm']:.1f} ms"
        )
        self.assertLess(p99["slow"], 1000)  # whoever waited for it would wait longer

    def test_a_script_that_is_flushed_is_loaded_again(self):
        server = self.start(self.set_of(1000.0))
        self.assertTrue(self.good(server))
        self.redis.cli("script", "flush")
        for _ in range(60):
            self.assertTrue(self.good(server))
            time.sleep(0.02)
        self.assertEqual(self.store_up(server), 1)

    def test_a_server_that_takes_no_writes_is_a_store_that_is_lost(self):
        for name, begin, end in (
            ("read only", ("replicaof", "127.0.0.1", "1"), ("replicaof", "no", "one")),
            ("no memory", ("config", "set", "maxmemory", "1"), ("config", "set", "maxmemory", "0")),
        ):
            with self.subTest(name):
                server = self.start(self.set_of(1000.0))
                self.assertTrue(procs.wait_for(lambda server=server: self.good(server), 15, 0.1))
                self.redis.cli(*begin)
                lost = procs.wait_for(
                    lambda server=server: self.ask(server).json()["degraded"]
                    and self.store_up(server) == 0,
                    15,
                )
                self.assertTrue(lost, "is not noticed")
                self.redis.cli(*end)
                back = procs.wait_for(lambda server=server: self.good(server), 20, 0.1)
                self.assertTrue(back, "does not recover")
                server.stop()

    def test_a_server_that_talks_nonsense_stops_nobody(self):
        with socket.create_server(("127.0.0.1", 0)) as liar:
            answers = [b"+OK\r\n", b"$3\r\nabc\r\n", b"*-1\r\n", b"\x00\x01\x02\r\n", b"*1\r\n:7\r\n"]
            answers.append(b"-LOADING Redis is loading the dataset in memory\r\n")

            def lie():
                with contextlib.suppress(OSError):
                    for i in range(1000):
                        conn, _ = liar.accept()
                        with conn, contextlib.suppress(OSError):
                            while conn.recv(65536):
                                conn.sendall(answers[i % len(answers)])

            threading.Thread(target=lie, daemon=True).start()
            server = self.start(
                self.set_of(1.0), url=f"redis://127.0.0.1:{liar.getsockname()[1]}/0"
            )
            for _ in range(10):
                self.assertDegraded(self.ask(server), "budget")
                time.sleep(0.2)
            self.assertEqual(self.store_up(server), 0)
            liar.shutdown(socket.SHUT_RDWR)
        server.stop()

    def test_a_copied_journal_is_told_apart(self):
        policies = self.set_of(1000.0)
        first = self.start(policies)
        self.assertTrue(self.good(first))
        first.stop()
        copy = tempfile.mkdtemp(prefix="neap-state-")
        self.addCleanup(shutil.rmtree, copy, ignore_errors=True)
        shutil.copy(os.path.join(first.state, "neap-journal.db"), copy)
        first = self.start(policies, state=first.state)
        self.assertTrue(procs.wait_for(lambda: self.good(first), 15, 0.1))
        self.server = self.start(policies, state=copy)
        self.assertLogged("another neap goes on with this instance's journal")
        self.assertFalse(self.good(self.server))
        self.assertTrue(self.good(first))

    def test_without_the_store_each_may_use_its_share(self):
        before = self.mock.calls("m")
        self.redis.kill()
        server = self.start(self.set_of(0.40), "--on-store-loss", "share:4")
        replies = at_once(40, lambda i: self.ask(server))
        replies += [self.ask(server) for _ in range(20)]
        good = sum(not r.json()["degraded"] for r in replies)
        self.assertEqual((good, self.mock.calls("m") - before), (10, 10))
        self.redis.start()
        spent = procs.wait_for(lambda: self.redis.cli("keys", "neap:*") and self.redis.sums()[1], 20, 0.1)
        self.assertEqual(spent, 10 * CENT)

    def test_user_and_password_are_given_and_wrong_ones_told(self):
        self.redis.cli("acl", "setuser", "neap", "on", ">se%cret", "~neap:*", "+@all")
        self.redis.cli("acl", "setuser", "default", "off")
        url = f"redis://neap:se%25cret@127.0.0.1:{self.redis.port}/2"
        server = self.start(self.set_of(1.0), url=url)
        self.assertTrue(self.good(server))
        self.assertNotIn("cret", server.log())
        self.server = self.start(self.set_of(1.0), url=url.replace("25cret", "25wrong"))
        self.assertLogged("user and password were refused")
        self.assertEqual(self.store_up(self.server), 0)

    def test_a_server_that_may_forget_is_warned_of(self):
        self.redis.cli("config", "set", "maxmemory-policy", "allkeys-lru")
        self.server = self.start(self.set_of(1.0))
        self.assertLogged("set maxmemory-policy to noeviction")

    def test_urls_that_are_wrong_are_told_before_anything_starts(self):
        for url in ("redis://", "redis://h:70000", "redis://h/x", "redis://u:%zz@h"):
            code, _, err = procs.run("serve", "--store", url, env=self.env)
            self.assertEqual(code, 2, err)
            self.assertIn("redis://[USER:PASSWORD@]HOST", err)


if __name__ == "__main__":
    case.main()
