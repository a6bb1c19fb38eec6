"""The long proofs of money: 200 kills, 100,000 calls, a fleet twenty times. Truth is the provider's own bill.

ctest: labels long
ctest: timeout 3600
ctest: serial"""

import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time

import case
import procs
import wire
from policies import Policies
from test_audit import PRICES
from test_fleet import Fleet, own_network
from test_redis import ONE_CENT

KILLS = int(os.environ.get("NEAP_KILLS", "200"))
CALLS = int(os.environ.get("NEAP_CALLS", "100000"))
ROUNDS = int(os.environ.get("NEAP_FLEET_ROUNDS", "20"))

FAULTS = """
local prices = { m = { input = 1.7, output = 8.3 }, other = { input = 0.37, output = 1.61 } }
return { seed = 11, models = {
  ["*"] = function(call)
    if call.number % 23 == 3 then return { status = 503, first_ms = 0, total_ms = 0 } end
    if call.number % 97 == 7 then return { status = 429, first_ms = 0, total_ms = 0 } end
    local price = prices[call.model]
    if call.number % 37 == 5 then return { first_ms = 60, total_ms = 90, usd_per_million = price } end
    return { first_ms = 0, total_ms = 1, usd_per_million = price }
  end,
} }
"""


class Books(case.Case):
    scenario = FAULTS

    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="neap-proof-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.decisions = os.path.join(self.state, "decisions")
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.provider("q", adapter="anthropic")
        policies.model("m", "p", usd_per_million=PRICES["m"])
        policies.model("other", "q", usd_per_million=PRICES["other"])
        policies.endpoint("wall", ["m", "other"], hedge_after_ms=30)
        policies.budgets = [
            {"account": "global", "window": "none", "limit_usd": 5000},
            {"account": "tenant", "window": "day", "limit_usd": 5000},
            {"account": "model:m", "window": "hour", "limit_usd": 5000},
        ]
        self.policies = policies

    def check(self, *more):
        return procs.run(
            *("ledger", "check", "--store", "sqlite:neap.db", "--state", self.state),
            *("--decisions", self.decisions, *more),
            timeout=300,
        )

    def load(self, server, n, done):
        """Whole answers and streams on one connection after the other; some are left half read."""
        at = 0
        while at < n:
            with contextlib.suppress(OSError, wire.Cut, ValueError), server.conn() as conn:
                while at < n:
                    at += 1
                    if at % 5:
                        conn.ask("POST", "/api/wall/reply", {"prompt": "hello " * (at % 9)})
                    else:
                        stream = server.stream("hello", "/api/wall/reply", conn=conn)
                        if at % 50 == 0:
                            break
                        stream.follow()
        done.append(at)

    def test_three_books_of_100000_calls_agree_to_the_nano_dollar(self):
        server = self.serve(
            self.policies,
            store="sqlite:neap.db",
            flags=("--state", self.state, "--decisions", self.decisions),
        )
        done = []
        threads = [
            threading.Thread(target=self.load, args=(server, CALLS // 4, done)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(1)
        code, said, err = self.check("--admin", f"http://127.0.0.1:{server.admin_port}")
        metrics = server.metrics()
        cost, billed = metrics.get("llm_cost_usd_total"), self.mock.bill() / 1e9
        hedges = {result: int(metrics.get("neap_hedges_total", result=result))
                  for result in ("won", "lost", "failed", "left", "share")}
        server.stop()
        with open(self.decisions, encoding="utf-8") as f:
            attempts = sum(line.count('"settled":"') for line in f)
        case.say(f"{sum(done)} calls, {attempts} attempts, hedges {hedges}, the provider's: "
                 f"{self.mock.calls()}\n{said}{err}")
        self.assertEqual(code, 0)
        self.assertGreater(hedges["won"] + hedges["lost"], 0)
        case.say(f"booked {cost:.9f} USD, the providers charge {billed:.9f}: {cost / billed:.4f}")
        # Streams that were left and hedges that lost are estimated, all else is exact.
        self.assertTrue(1 <= cost / billed < 1.15, cost / billed)


class Kills(case.Case):
    def test_kill_9_never_forgets_money_and_counts_at_most_a_chunk_a_death_too_much(self):
        state = tempfile.mkdtemp(prefix="neap-kills-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"])
        limit_usd = 10 * KILLS
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": limit_usd}]
        self.mock.control(m={"first_ms": 0, "total_ms": 1, "usd_per_request": 0.01})
        before = self.mock.bill("m")
        rng = random.Random(5)
        flags = ("--state", state, "--decisions", state + "/decisions")
        for _ in range(KILLS):
            server = self.serve(policies, workers=1, store="sqlite:neap.db", flags=flags)
            stop = threading.Event()

            def ask(server=server, stop=stop):
                while not stop.is_set():
                    with contextlib.suppress(OSError, wire.Cut, ValueError):
                        server.ask("hello", "/api/wall/reply", timeout=3)

            threads = [threading.Thread(target=ask) for _ in range(2)]
            for thread in threads:
                thread.start()
            time.sleep(0.05 + 0.3 * rng.random())
            stop.set()
            server.signal(signal.SIGKILL)
            server.wait()
            for thread in threads:
                thread.join()
        server = self.serve(policies, workers=1, store="sqlite:neap.db", flags=flags)
        account = server.admin("GET", "/api/budgets").json()["budgets"][0]
        server.stop()
        spent = round(account["spentUsd"] * 1e9)
        bill = self.mock.bill("m") - before
        chunk = limit_usd * 1e9 / 20
        code, said, err = procs.run("ledger", "check", "--store", "sqlite:neap.db", *flags)
        case.say(
            f"{KILLS} kills: bill {bill / 1e9:.2f} USD, booked {spent / 1e9:.2f}: under"
            f" {max(0, bill - spent) / 1e9:.2f}, over {max(0, spent - bill) / 1e9:.2f}"
            f" ({(spent - bill) / KILLS / 1e9:.3f} a kill)"
        )
        self.assertGreaterEqual(spent, bill)
        self.assertLessEqual(spent - bill, KILLS * chunk)
        self.assertEqual(code, 0, said + err)


class FleetLong(Fleet):
    def test_four_instances_spend_at_most_one_limit_whatever_happens_to_them(self):
        for seed in range(100, 100 + ROUNDS):
            self.one_round(seed)


del Fleet


if __name__ == "__main__":
    own_network()
    case.main()
