"""neap ledger release: what a dead instance holds is free again, what a living one holds is let be, and
who comes back after all counts what it holds."""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
import threading

import case
import procs
import wire
from policies import Policies
from test_redis import CENT, ONE_CENT, Redis
from test_tenants import hashed, key


class Release(case.Case):
    def setUp(self):
        self.mock.control(m={"first_ms": 1, "total_ms": 2})

    def folder(self):
        state = tempfile.mkdtemp(prefix="neap-release-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        return state

    def set_of(self, limit_usd):
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=5000)
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": limit_usd}]
        return policies

    def start(self, policies, state, store):
        server = self.serve(policies, store=store, flags=("--state", state))
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def good(self, server):
        return not server.ask("hello", "/api/wall/reply", timeout=30).json()["degraded"]

    def release(self, instance, store, *flags):
        code, out, err = procs.run("ledger", "release", instance, "--store", store, *flags)
        return code, out + err

    def instance(self, state, name):
        with contextlib.closing(sqlite3.connect(os.path.join(state, name))) as db:
            return db.execute("SELECT instance FROM self").fetchone()[0]

    def vector(self, state, name="neap.db"):
        with contextlib.closing(sqlite3.connect(os.path.join(state, name))) as db:
            return db.execute(
                "SELECT granted - returned, exact + estimated + presumed, presumed FROM vectors"
                " WHERE instance = (SELECT instance FROM self)"
            ).fetchone()

    # -- a file

    def killed_with_a_file(self, policies):
        state = self.folder()
        server = self.start(policies, state, "sqlite:neap.db")
        self.assertTrue(self.good(server))
        procs.wait_for(lambda: self.vector(state)[1] == CENT)
        self.assertGreater(self.vector(state)[0], CENT)
        code, said = self.release(self.instance(state, "neap.db"), "sqlite:neap.db", "--state", state)
        self.assertEqual(code, 1, said)
        self.assertIn(f"in use by another neap (process {server.process.pid}): stop it first", said)
        server.signal(signal.SIGKILL)
        server.wait()
        return state

    def test_a_file_gives_back_what_no_death_needs_to_presume(self):
        policies = self.set_of(100.0)
        state = self.killed_with_a_file(policies)
        held = self.vector(state)[0]
        name = self.instance(state, "neap.db")
        code, said = self.release(name, "sqlite:neap.db", "--state", state)
        self.assertEqual(code, 0, said)
        self.assertIn("global/none", said)
        self.assertIn(f"{(held - CENT) / 1e9:.9f}", said)
        self.assertEqual(self.vector(state), (CENT, CENT, 0))
        code, said = self.release(name, "sqlite:neap.db", "--state", state)
        self.assertEqual((code, "holds nothing" in said), (0, True), said)
        server = self.start(policies, state, "sqlite:neap.db")
        self.assertEqual(server.admin("GET", "/api/budgets").json()["budgets"][0]["spentUsd"], 0.01)

    def test_a_living_one_is_let_be_by_another_name_of_its_file(self):
        state = self.folder()
        server = self.start(self.set_of(100.0), state, "sqlite:neap.db")
        self.assertTrue(self.good(server))
        held = self.vector(state)[0]
        self.assertGreater(held, 0)
        os.symlink("neap.db", os.path.join(state, "link.db"))
        code, said = self.release(self.instance(state, "neap.db"), "sqlite:link.db", "--state", state)
        self.assertEqual((code, "in use by another neap" in said), (1, True), said)
        self.assertEqual(self.vector(state)[0], held)

    def test_an_instance_that_nobody_knows_is_told(self):
        policies = self.set_of(1.0)
        state = self.folder()
        self.start(policies, state, "sqlite:neap.db").stop()
        code, said = self.release("0123456789abcdef", "sqlite:neap.db", "--state", state)
        self.assertEqual(code, 1, said)
        self.assertIn("knows no instance 0123456789abcdef", said)

    def test_what_is_no_instance_and_what_is_no_store_is_told(self):
        for args, code, words in (
            (("release",), 2, "release INSTANCE is wanted"),
            (("release", "me"), 2, "16 hex digits"),
            (("check", "me"), 2, "release INSTANCE is wanted"),
            (("release", "0123456789abcdef", "--store", "memory:"), 2, "redis://HOST:PORT/DB"),
            (("release", "0123456789abcdef", "--store", "sqlite:/nowhere/x.db"), 3, "/nowhere/x.db"),
            (("release", "0123456789abcdef", "--store", "redis://127.0.0.1:1"), 3, "redis://127.0.0.1:1/0"),
        ):
            with self.subTest(args):
                got, _, err = procs.run("ledger", *args)
                self.assertEqual(got, code, err)
                self.assertIn(words, err)

    # -- a shared store

    def shared(self):
        redis = Redis("--enable-debug-command", "yes")
        self.addCleanup(redis.close)
        return redis, f"redis://127.0.0.1:{redis.port}/0"

    def aged(self, redis, instance):
        """The store last heard of it 33 s before it really did."""
        there = redis.cli("keys", "neap:*").splitlines()[0]
        heard = int(redis.cli("hget", there, f"t:{instance}"))
        redis.cli("hset", there, f"t:{instance}", str(heard - 33000))

    def test_a_shared_store_gives_a_dead_ones_money_to_the_living(self):
        redis, store = self.shared()
        policies = self.set_of(0.20)
        states = [self.folder(), self.folder()]
        servers = [self.start(policies, state, store) for state in states]
        self.assertTrue(self.good(servers[0]))
        dead = self.instance(states[0], "neap-journal.db")
        servers[0].signal(signal.SIGSTOP)
        fields = redis.hash()
        held = int(fields[f"g:{dead}"]) - int(fields[f"r:{dead}"])
        code, said = self.release(dead, store)
        self.assertEqual(code, 1, said)
        self.assertIn("may live", said)
        servers[0].signal(signal.SIGKILL)
        servers[0].wait()
        while self.good(servers[1]):
            pass
        before = self.mock.calls("m")
        self.aged(redis, dead)
        code, said = self.release(dead, store)
        self.assertEqual(code, 0, said)
        self.assertIn("heard of last at", said)
        settled = int(redis.hash()[f"s:{dead}"])
        self.assertIn(f"{(held - settled) / 1e9:.9f}", said)
        self.assertTrue(procs.wait_for(lambda: self.good(servers[1]), 15, 0.1), "is not lent again")
        while self.good(servers[1]):
            pass
        got = self.mock.calls("m") - before
        case.say(f"a dead instance held {held / CENT:.0f} cents: {got} calls more for the living")
        self.assertEqual(got * CENT, held - settled)

    def test_a_released_instance_that_is_back_counts_and_no_grant_hides_behind_it(self):
        """Of 20 cents the stopped one holds some, which are released and spent by the other; it goes on with
        them once: the excess is what was released, and then the wall stands."""
        redis, store = self.shared()
        policies = self.set_of(0.20)
        states = [self.folder(), self.folder()]
        servers = [self.start(policies, state, store) for state in states]
        before = self.mock.calls("m")
        self.mock.control(m={"first_ms": 1500, "total_ms": 1500})
        waiter = threading.Thread(target=lambda: self.good(servers[0]))
        waiter.start()
        stopped = self.instance(states[0], "neap-journal.db")
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") > before, 10))
        servers[0].signal(signal.SIGSTOP)
        self.mock.control(m={"first_ms": 0, "total_ms": 1})
        self.aged(redis, stopped)
        fields = redis.hash()
        held = int(fields[f"g:{stopped}"]) - int(fields[f"r:{stopped}"])
        code, said = self.release(stopped, store)
        self.assertEqual(code, 0, said)
        while self.good(servers[1]) or procs.wait_for(lambda: self.good(servers[1]), 2, 0.2):
            pass
        servers[0].signal(signal.SIGCONT)
        waiter.join()
        for _ in range(60):
            self.good(servers[0])
            self.good(servers[1])
        calls = self.mock.calls("m") - before
        for server in servers:
            server.stop()
        got, settled = redis.sums()
        case.say(f"20 cents, {held / CENT:.0f} released while stopped and back: {calls} calls")
        self.assertGreaterEqual(calls, 20)
        self.assertLessEqual(calls * CENT, 20 * CENT + held)
        self.assertEqual((got, settled), (calls * CENT, calls * CENT))

    def test_what_went_back_before_a_refusal_is_told(self):
        """The last account that is looked at lost something of late, which the first look does not see."""
        redis, store = self.shared()
        policies = self.set_of(100.0)
        policies.budgets.append({"account": "global", "window": "month", "limit_usd": 90.0})
        state = self.folder()
        server = self.start(policies, state, store)
        self.assertTrue(self.good(server))
        server.signal(signal.SIGKILL)
        server.wait()
        dead = self.instance(state, "neap-journal.db")
        first, last = redis.cli("scan", "0", "match", "neap:*", "count", "100").splitlines()[1:]
        now = int(redis.cli("time").splitlines()[0]) * 1000
        for there in (first, last):
            redis.cli("hset", there, f"t:{dead}", str(now - 40000))
        redis.cli("hset", last, "lost", str(now))
        code, out, err = procs.run("ledger", "release", dead, "--store", store)
        self.assertEqual((code, "may live" in err), (1, True), err)
        accounts = [there.split("{")[1].rpartition("/")[0] for there in (first, last)]
        self.assertEqual([account in out for account in accounts], [True, False], out)
        self.assertIn("this is free again, what else it holds is not", out)
        redis.cli("hdel", last, "lost")
        code, out, err = procs.run("ledger", "release", dead, "--store", store)
        self.assertEqual(code, 0, err)
        self.assertEqual([account in out for account in accounts], [False, True], out)

    def test_who_holds_something_is_named_where_the_instance_is_unknown(self):
        _, store = self.shared()
        state = self.folder()
        server = self.start(self.set_of(100.0), state, store)
        self.assertTrue(self.good(server))
        code, said = self.release("0123456789abcdef", store)
        self.assertEqual(code, 1, said)
        self.assertIn(self.instance(state, "neap-journal.db"), said)

    # -- calls at once

    def crash_with_calls(self, policies, state, store):
        """An instance dies with both calls under way that its tenant may have at once."""
        server = self.start(policies, state, store)
        self.mock.control(m={"first_ms": 3000, "total_ms": 3000})
        before = self.mock.calls("m")
        callers = [threading.Thread(target=self.as_acme, args=(server,)) for _ in range(2)]
        for caller in callers:
            caller.start()
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") - before == 2, 10))
        server.signal(signal.SIGKILL)
        server.wait()
        for caller in callers:
            caller.join()
        self.mock.control(m={"first_ms": 1, "total_ms": 2})

    def limited(self):
        policies = self.set_of(100.0)
        policies.tenants = {"acme": {"keys": [hashed("acme")], "concurrency": 2}}
        return policies

    def as_acme(self, server):
        with contextlib.suppress(OSError, ValueError, wire.Cut):
            headers = {"Authorization": f"Bearer {key('acme')}"}
            return server.ask("hello", "/api/wall/reply", headers, timeout=20).status
        return 0

    def test_calls_that_a_crash_ended_take_no_place_afterwards(self):
        policies = self.limited()
        for store in ("sqlite:neap.db", self.shared()[1]):
            with self.subTest(store):
                state = self.folder()
                self.crash_with_calls(policies, state, store)
                server = self.start(policies, state, store)
                self.assertEqual([self.as_acme(server) for _ in range(3)], [200] * 3)
                server.stop()

    def test_calls_of_a_dead_instance_are_no_money_in_what_is_told(self):
        redis, store = self.shared()
        for at in ("sqlite:neap.db", store):
            with self.subTest(at):
                state = self.folder()
                self.crash_with_calls(self.limited(), state, at)
                dead = self.instance(state, "neap.db" if at != store else "neap-journal.db")
                for there in redis.cli("keys", "neap:*").splitlines():
                    redis.cli("hdel", there, f"t:{dead}")
                code, said = self.release(dead, at, "--state", state)
                self.assertEqual(code, 0, said)
                self.assertIn("global/none", said)
                self.assertNotIn("calls:", said)
                self.assertIn("and 1 of calls, requests or tokens", said)

    def test_calls_of_a_dead_instance_take_no_place_of_the_living(self):
        redis, store = self.shared()
        policies = self.limited()
        dead = self.folder()
        self.crash_with_calls(policies, dead, store)
        server = self.start(policies, self.folder(), store)
        self.assertEqual(self.as_acme(server), 429)
        name = self.instance(dead, "neap-journal.db")
        place = next(k for k in redis.cli("keys", "neap:*").splitlines() if "calls:acme" in k)
        heard = int(redis.cli("hget", place, f"t:{name}"))
        redis.cli("hset", place, f"t:{name}", str(heard - 33000))
        self.assertTrue(procs.wait_for(lambda: self.as_acme(server) == 200, 10, 0.2))


if __name__ == "__main__":
    case.main()
