"""T7: 1,000 calls over the edge of a minute, on a file and on two instances of one Redis. No cent is lost, and
each stands in the window in which its call was.

ctest: labels long
ctest: timeout 300"""

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing

import case
import procs
from policies import Policies
from test_redis import CENT, ONE_CENT, Redis

CALLS = 1000
NEAR_MS = 250  # so near the edge a call may be of either window
MINUTE_MS = 60_000


class WindowEdge(case.Case):
    def setUp(self):
        self.mock.control(m={"first_ms": 1, "total_ms": 2})
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=20000)
        policies.budgets = [
            {"account": "global", "window": "minute", "limit_usd": 100},
            {"account": "global", "window": "none", "limit_usd": 1000},
        ]
        self.policies = policies

    def start(self, store):
        state = tempfile.mkdtemp(prefix="neap-edge-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        server = self.serve(self.policies, store=store, flags=("--state", state))
        server.state = state
        self.addCleanup(lambda: server.running and server.stop())
        return server

    def over_the_edge(self, servers):
        """Asks until the minute is over and a while longer; when each call began and ended, in ms."""
        time.sleep(max(0.0, 55 - time.time() % 60))
        edge = (time.time() // 60 + 1) * 60
        spans = []

        def ask(i):
            pace = 10 / (CALLS / 4)
            for n in range(CALLS // 4):
                begin = time.time()
                reply = servers[(i + n) % len(servers)].ask("hello", "/api/wall/reply", timeout=60)
                self.assertGood(reply)
                spans.append((begin * 1000, time.time() * 1000))
                time.sleep(max(0.0, pace - (time.time() - begin)))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return edge * 1000, spans

    def judge(self, what, edge, spans, windows):
        before, after = windows.get(edge - MINUTE_MS, 0), windows.get(edge, 0)
        sure = sum(end < edge - NEAR_MS for _, end in spans)
        perhaps = sum(begin < edge + NEAR_MS for begin, _ in spans)
        lost = len(spans) * CENT - sum(windows.values())
        misplaced = max(0, sure * CENT - before, before - perhaps * CENT) // CENT
        case.say(
            f"{what}: {len(spans)} calls, {before // CENT} before the edge and {after // CENT} after it; "
            f"misplaced {misplaced}, lost {lost} nusd"
        )
        self.assertEqual((misplaced, lost), (0, 0))
        self.assertGreater(before, 0)
        self.assertGreater(after, 0)

    def windows(self, servers, name):
        """What this instance, or all together, settled in each minute."""
        sums = {}
        for server in servers:
            with closing(sqlite3.connect(os.path.join(server.state, name))) as db:
                for start, settled in db.execute(
                    "SELECT start_ms, exact + estimated + presumed FROM vectors"
                    " WHERE account = 'global/minute' AND instance = (SELECT instance FROM self)"
                ):
                    sums[start] = sums.get(start, 0) + settled
        return sums

    def test_on_a_file(self):
        server = self.start("sqlite:neap.db")
        edge, spans = self.over_the_edge([server])
        server.stop()
        self.judge("a file", edge, spans, self.windows([server], "neap.db"))

    def test_on_a_redis_that_two_share(self):
        redis = Redis()
        self.addCleanup(redis.close)
        servers = [self.start(f"redis://127.0.0.1:{redis.port}/0") for _ in range(2)]
        edge, spans = self.over_the_edge(servers)
        for server in servers:
            server.stop()
        self.judge("Redis", edge, spans, self.windows(servers, "neap-journal.db"))
        for key in redis.cli("keys", "neap:{global/minute/*").splitlines():
            words = redis.cli("hgetall", key).splitlines()
            fields = dict(zip(words[::2], words[1::2]))
            leased = sum(int(v) * (1 if f[0] == "g" else -1) for f, v in fields.items() if f[:2] in ("g:", "r:"))
            settled = sum(int(v) for f, v in fields.items() if f.startswith("s:"))
            self.assertEqual(leased, settled, key)


if __name__ == "__main__":
    case.main()
