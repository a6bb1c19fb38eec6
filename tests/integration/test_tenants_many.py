"""What tenants' limits cost, and that they hold over instances: 10,000 tenants are no dearer than 10, and two
instances on one Redis let exactly what a minute allows through.

ctest: timeout 180
ctest: serial"""

import glob
import hashlib
import shutil
import statistics
import tempfile
import time
import unittest

import case
from case import at_once
from policies import Policies
from test_redis import Redis
from test_tenants import room_in_the_minute

ROUNDS, CALLS = 7, 300


def key(i):
    return f"key-of-tenant-{i}"


def tenants(n):
    return {
        f"t{i}": {
            "keys": ["sha256:" + hashlib.sha256(key(i).encode()).hexdigest()],
            "requests_per_minute": 1000000,
            "tokens_per_minute": 100000000,
            "concurrency": 1000,
        }
        for i in range(n)
    }


class Many(case.Case):
    def set_of(self, n):
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("wall", ["m"])
        policies.tenants = tenants(n)
        policies.budgets = [{"account": "tenant", "window": "day", "limit_usd": 1000}]
        return policies

    def cpu_s(self, server):
        total_ns = 0
        for path in glob.glob(f"/proc/{server.process.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as f:
                total_ns += int(f.read().split()[0])
        return total_ns / 1e9

    def spend(self, server, n):
        """CPU seconds of CALLS requests by tenants all over the table, one connection."""
        with server.conn() as conn:
            before = self.cpu_s(server)
            for i in range(CALLS):
                who = {"Authorization": f"Bearer {key(i * 7919 % n)}"}
                reply = conn.ask("POST", "/api/wall/reply", {"prompt": "hello"}, who)
                self.assertEqual(reply.status, 200)
            return self.cpu_s(server) - before

    def test_ten_thousand_tenants_cost_no_more_a_request_than_ten(self):
        self.mock.control(m={"first_ms": 0, "total_ms": 0})
        sizes = (10, 10000)
        servers = {n: self.serve(self.set_of(n), workers=1) for n in sizes}
        for server in servers.values():
            self.addCleanup(server.stop)
        for n in sizes:
            self.spend(servers[n], n)
        took = {n: [] for n in sizes}
        for _ in range(ROUNDS):
            for n in sizes:
                took[n].append(self.spend(servers[n], n))
        us = {n: statistics.median(took[n]) / CALLS * 1e6 for n in sizes}
        case.say(f"CPU a request: {us[10]:.0f} us with 10 tenants, {us[10000]:.0f} us with 10,000")
        self.assertLess(us[10000], 2 * us[10] + 50)


@unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
class Shared(case.Case):
    def start(self, redis, policies):
        state = tempfile.mkdtemp(prefix="neap-tenants-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        server = self.serve(
            policies, store=f"redis://127.0.0.1:{redis.port}/0", flags=("--state", state)
        )
        self.addCleanup(server.stop)
        return server

    def test_two_instances_let_exactly_a_minutes_requests_through(self):
        redis = Redis()
        self.addCleanup(redis.close)
        self.mock.control(m={"first_ms": 1, "total_ms": 2})
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("wall", ["m"], deadline_ms=20000)
        policies.tenants = tenants(1)
        policies.tenants["t0"] |= {"requests_per_minute": 40}
        servers = [self.start(redis, policies) for _ in range(2)]
        who = {"Authorization": f"Bearer {key(0)}"}
        before = self.mock.calls("m")
        room_in_the_minute(25)
        minute = int(time.time()) // 60

        def ask(i):
            return servers[i % 2].ask("hello", "/api/wall/reply", who, timeout=60).status

        replies = at_once(100, ask)
        end = time.monotonic() + 12
        # What one instance holds and does not use comes back when it is idle.
        while replies.count(200) < 40 and time.monotonic() < end:
            replies += [ask(0), ask(1)]
            time.sleep(0.2)
        calls = self.mock.calls("m") - before
        self.assertEqual(int(time.time()) // 60, minute, "the minute went over: too slow a machine")
        case.say(f"40 a minute, {len(replies)} asked on two instances: {replies.count(200)} passed")
        self.assertEqual((replies.count(200), calls), (40, 40))
        self.assertEqual(set(replies), {200, 429})


if __name__ == "__main__":
    case.main()
